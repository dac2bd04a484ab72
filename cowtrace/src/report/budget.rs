//! A budget for what is copied: passed or not, and by which causes.
//!
//! What counts is what the report calls copied: copies of memory that a fork shared, as the kernel counted them, without
//! first writes to privately mapped files. A budget is for each worker or for all processes of the tree together. A worker
//! is a process that was forked while it was watched, inherited memory, and ran to its end the program that had most to
//! share.

use std::str::FromStr;

use serde::Serialize;

use super::escape::{escape, shorten};
use super::numbers::{count, counted, joined, plural, size};
use super::scope::Copied;
use super::sums::{Process, Sums};
use crate::record::schema::SCHEMA;

/// Exit status of cowtrace when a budget is passed.
pub const STATUS: u8 = 3;

/// Causes that a sentence names, at most.
const NAMED: usize = 5;

/// So much may be copied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    amount: Amount,
    of: Of,
}

/// How much.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    Bytes(u64),
    /// Percent of what was inherited.
    Percent(f64),
}

/// Of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Of {
    /// Of every single worker.
    Worker,
    /// Of all processes together.
    Tree,
}

/// Text that is no budget.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a budget: a number with a unit (B, kB, MB, GB, KiB, MiB, GiB, or % of what is inherited), for each worker \
     with /worker, else for the whole tree, as in 30MiB/worker, 2GB/tree, 10%/worker"
)]
pub struct NoBudget;

/// Units, in bytes; `%` is apart.
static UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

impl Budget {
    /// Reads `30MiB/worker`, `500KiB`, `2GiB/tree`, `10%/worker`. Without `/worker` it is for the whole tree; spaces
    /// before the unit and the letters' case in it are free.
    ///
    /// # Errors
    ///
    /// When it is something else, or more bytes than 64 bits can tell.
    pub fn parse(text: &str) -> Result<Self, NoBudget> {
        let (amount, of) = text.split_once('/').unwrap_or((text, "tree"));
        let of = match of.trim() {
            "worker" => Of::Worker,
            "tree" => Of::Tree,
            _ => return Err(NoBudget),
        };
        let amount = amount.trim();
        let end = amount.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or(NoBudget)?;
        let (number, unit) = amount.split_at(end);
        let number: f64 = number.parse().map_err(|_no_number| NoBudget)?;
        let unit = unit.trim();
        if unit == "%" {
            return Ok(Self { amount: Amount::Percent(number), of });
        }
        let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or(NoBudget)?.1;
        let bytes = (number * unit as f64).round();
        if bytes >= u64::MAX as f64 {
            return Err(NoBudget);
        }
        Ok(Self { amount: Amount::Bytes(bytes as u64), of })
    }

    /// Compares what was copied with it.
    #[must_use]
    pub fn check(&self, sums: &Sums) -> Verdict {
        let workers: Vec<&Process> = sums.workers().collect();
        let inherited = workers.iter().filter_map(|worker| worker.inherited).sum();
        let measured = match self.of {
            Of::Worker => {
                let each = workers.iter().map(|worker| {
                    let allowed = self.allowed(worker.inherited.unwrap_or_default());
                    Measured { worker: Some(*worker), copied: worker.copied.bytes, allowed }
                });
                // The worst is the one that copied most beyond what it may, or came nearest to it.
                let over = each.clone().filter(Measured::is_over).count();
                let worst =
                    each.max_by_key(|one| (i128::from(one.copied) - i128::from(one.allowed), one.copied));
                worst.map(|worst| (worst, over as u64))
            }
            Of::Tree => {
                let copied = sums.processes.iter().map(|process| process.copied.bytes).sum();
                let tree = Measured { worker: None, copied, allowed: self.allowed(inherited) };
                // A part of nothing says nothing.
                let says = matches!(self.amount, Amount::Bytes(_)) || inherited > 0;
                says.then(|| (tree, u64::from(tree.is_over())))
            }
        };
        let excess = measured.map_or(0, |(worst, _)| worst.copied.saturating_sub(worst.allowed));
        let worst = measured.and_then(|(worst, _)| worst.worker);
        Verdict {
            kind: "budget",
            schema: SCHEMA,
            recording: sums.name.clone(),
            of: self.of,
            passed: excess > 0,
            allowed_bytes: measured.map(|(worst, _)| worst.allowed),
            allowed_percent: match self.amount {
                Amount::Percent(percent) => Some(percent),
                Amount::Bytes(_) => None,
            },
            copied_bytes: measured.map(|(worst, _)| worst.copied),
            worst: worst.map(|worker| Worker {
                pid: worker.pid,
                comm: worker.comm.clone(),
                inherited_bytes: worker.inherited,
            }),
            workers: workers.len() as u64,
            over: measured.map_or(0, |(_, over)| over),
            excess_bytes: excess,
            causes: if excess > 0 { causes(sums, worst, excess) } else { Vec::new() },
            may_be_higher: sums.doubts.clone(),
            part: sums.part.clone(),
        }
    }

    fn allowed(&self, inherited: u64) -> u64 {
        match self.amount {
            Amount::Bytes(bytes) => bytes,
            Amount::Percent(percent) => (inherited as f64 * percent / 100.0).floor() as u64,
        }
    }
}

impl FromStr for Budget {
    type Err = NoBudget;

    fn from_str(text: &str) -> Result<Self, NoBudget> {
        Self::parse(text)
    }
}

/// A worker or the tree, beside what it may copy.
#[derive(Clone, Copy)]
struct Measured<'a> {
    worker: Option<&'a Process>,
    copied: u64,
    allowed: u64,
}

impl Measured<'_> {
    const fn is_over(&self) -> bool {
        self.copied > self.allowed
    }
}

/// The largest causes of one worker, or of all processes, until they explain what is too much.
fn causes(sums: &Sums, worst: Option<&Process>, excess: u64) -> Vec<Cause> {
    let mut all: Vec<Copied> = vec![Copied::default(); sums.causes.len()];
    let processes: Vec<&Process> = worst.map_or_else(|| sums.processes.iter().collect(), |worst| vec![worst]);
    for (cause, copied) in processes.iter().flat_map(|process| &process.causes) {
        if let Some(sum) = all.get_mut(*cause) {
            sum.add(copied);
        }
    }
    let mut causes: Vec<Cause> = sums
        .causes
        .iter()
        .zip(&all)
        .filter(|(_, copied)| copied.bytes > 0)
        .map(|(name, copied)| Cause { text: name.words(), copied_bytes: copied.bytes, copies: copied.pages })
        .collect();
    causes.sort_by(|a, b| b.copied_bytes.cmp(&a.copied_bytes).then_with(|| a.text.cmp(&b.text)));
    let mut explained = 0;
    let needed = causes.iter().take_while(|cause| {
        let more = explained < excess;
        explained += cause.copied_bytes;
        more
    });
    let needed = needed.count();
    causes.truncate(needed);
    causes
}

/// Whether a budget was passed, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: u32,
    /// What the recording is called.
    recording: String,
    of: Of,
    /// More was copied than may be: cowtrace ends with [`STATUS`].
    pub passed: bool,
    /// What the worst worker, or the tree, may copy; null = there was nothing to compare.
    allowed_bytes: Option<u64>,
    /// The same as asked for, if it was in percent.
    allowed_percent: Option<f64>,
    /// What it copied.
    copied_bytes: Option<u64>,
    /// The worker that copied most beyond what it may, or came nearest to it; null for a tree.
    worst: Option<Worker>,
    workers: u64,
    /// Workers that copied more than they may; for a tree 1 if it did.
    over: u64,
    excess_bytes: u64,
    /// The largest causes until they explain the excess.
    causes: Vec<Cause>,
    /// Why the true number may be higher; empty = it is exact.
    may_be_higher: Vec<String>,
    /// What part of the trace it is about; null = the whole.
    part: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Worker {
    pid: u32,
    comm: String,
    inherited_bytes: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
struct Cause {
    text: String,
    copied_bytes: u64,
    copies: u64,
}

impl Verdict {
    /// What its recording is called, safe to print.
    #[must_use]
    pub fn recording(&self) -> String {
        escape(&self.recording)
    }

    /// What it is, in sentences for a terminal: safe to print, without a line break.
    #[must_use]
    pub fn sentences(&self) -> String {
        let mut text = self.outcome();
        if let Some(part) = &self.part {
            text += &format!(" Only a part of the trace was looked at: {part}.");
        }
        if !self.may_be_higher.is_empty() {
            text += &format!(" The true number may be higher: {}.", joined(&self.may_be_higher));
        }
        text
    }

    fn outcome(&self) -> String {
        let (Some(allowed), Some(copied)) = (self.allowed_bytes, self.copied_bytes) else {
            return "Budget not tested: no process inherited memory.".to_owned();
        };
        let percent = self.allowed_percent.map_or_else(String::new, |percent| {
            let whose = if self.worst.is_some() { "it" } else { "workers" };
            format!(" ({percent} % of what {whose} inherited)")
        });
        let who = match &self.worst {
            Some(worker) => {
                let name = format!("{} {}", worker.pid, shorten(&escape(&worker.comm), 32));
                if self.workers == 1 {
                    format!("worker {name}")
                } else {
                    format!("the worst worker, {name},")
                }
            }
            None => "the tree".to_owned(),
        };
        if !self.passed {
            return format!(
                "Within budget: {who} copied {} of {} allowed{percent}.",
                size(copied),
                size(allowed)
            );
        }
        let others = match (&self.worst, self.workers) {
            (None, _) | (_, 1) => String::new(),
            _ => format!(
                "; {} of {} {} over",
                count(self.over),
                counted(self.workers, "worker"),
                are(self.over)
            ),
        };
        let mut causes: Vec<String> = self
            .causes
            .iter()
            .take(NAMED)
            .map(|cause| format!("{} {}", shorten(&cause.text, 96), size(cause.copied_bytes)))
            .collect();
        if let Some(more @ 1..) = self.causes.len().checked_sub(NAMED) {
            causes.push(counted(more as u64, "more cause"));
        }
        format!(
            "Budget passed: {who} copied {}, {} more than the {} allowed{percent}{others}. Largest {}: {}.",
            size(copied),
            size(self.excess_bytes),
            size(allowed),
            plural(self.causes.len() as u64, "cause"),
            causes.join("; ")
        )
    }
}

const fn are(number: u64) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests;
