//! A part of a trace: some of its processes, some of its time.
//!
//! [`Filter::apply`] makes a smaller trace of a whole one, for a report and for every export. All processes stay in its
//! tree, because who shared memory with whom is told by all of them, but faults and totals are those of the part:
//!
//! * Of a chosen process without limits of time, the kernel's totals stand as they are.
//! * Within limits of time, totals are counted from the listed faults: the kernel did not count by time.
//! * A process that was not chosen, or did not live within the limits, has none.
//! * What was lost stays as it is, and is said to be of the whole trace.
//!
//! What the part is stands as the first sentence of [`Header::missing`](crate::record::schema::Header::missing), so that
//! every export says it; the report says it above its answer.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::escape::escape;
use super::numbers::{count, counted, joined, time};
use super::scope::Scope;
use crate::record::schema::{Collection, Outcome, OutcomeTotal, ProcessTotals, Summary, Trace};

/// Processes that a sentence names.
const NAMED: usize = 4;

/// What is wanted of a trace. Nothing given = everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Processes that are wanted: those that any of these names; empty = all.
    pub processes: Vec<Selector>,
    /// Nanoseconds since the start of the trace, from which on; `None` = from its start.
    pub since: Option<u64>,
    /// The same, before which; `None` = to its end.
    pub until: Option<u64>,
}

/// How processes are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The process with this id. There may be several, one after the other.
    Pid(u32),
    /// Every process with this name (`comm`).
    Name(String),
    /// Every worker: it was forked while it was watched, inherited memory, and ran its parent's program to its end.
    Worker,
}

/// Text that is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoFilter {
    /// No time.
    #[error("not a time since the start of the trace, as in 1.5s, 200ms or 2min (without a unit: seconds)")]
    Time,
    /// No process.
    #[error("not a process: a pid, a name, or 'worker' for every worker")]
    Process,
    /// The limits are the wrong way round.
    #[error("no time is left between {} and {}", time(*since), time(*until))]
    Empty {
        /// From which on.
        since: u64,
        /// Before which.
        until: u64,
    },
    /// No process was chosen.
    #[error("the trace has no process {selector}{}", known(processes))]
    Nobody {
        /// What was asked for.
        selector: Selector,
        /// Names of processes that there are.
        processes: Vec<String>,
    },
}

fn known(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(", there are {}", joined(names)) }
}

/// Units of time, in nanoseconds. A number without one is seconds.
static UNITS: &[(&str, f64)] = &[
    ("", 1e9),
    ("s", 1e9),
    ("ms", 1e6),
    ("us", 1e3),
    ("µs", 1e3),
    ("ns", 1.0),
    ("min", 60e9),
    ("h", 3600e9),
];

/// Nanoseconds from `1.5s`, `200ms`, `2min`, or seconds without a unit.
///
/// # Errors
///
/// When it is no such time, or one of more than 64 bits.
pub fn moment(text: &str) -> Result<u64, NoFilter> {
    let text = text.trim();
    let (number, unit) =
        text.split_at(text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len()));
    let unit = UNITS.iter().find(|(name, _)| *name == unit.trim_start()).ok_or(NoFilter::Time)?.1;
    let number: f64 = number.parse().map_err(|_no_number| NoFilter::Time)?;
    let nanoseconds = (number * unit).round();
    // Numbers above 2^53 ns (104 days) are rounded to the next that a double can hold.
    (nanoseconds < u64::MAX as f64).then_some(nanoseconds as u64).ok_or(NoFilter::Time)
}

impl FromStr for Selector {
    type Err = NoFilter;

    fn from_str(text: &str) -> Result<Self, NoFilter> {
        match text {
            "" => Err(NoFilter::Process),
            "worker" | "workers" => Ok(Self::Worker),
            text => Ok(text.parse().map_or_else(|_no_pid| Self::Name(text.to_owned()), Self::Pid)),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => write!(f, "{pid}"),
            Self::Name(name) => write!(f, "'{}'", escape(name)),
            Self::Worker => write!(f, "that is a worker"),
        }
    }
}

/// What was left out of a trace, for the report about the rest.
#[derive(Clone, Debug)]
pub struct Part {
    /// By process: whether it is in the part.
    chosen: Vec<bool>,
    /// The limits of time, if there are any.
    since: Option<u64>,
    until: Option<u64>,
    /// The words for it: `process 7001 python3, from 0.5 s to 1.5 s`.
    words: String,
    /// Totals of the whole trace.
    whole: Summary,
    /// Faults of the whole trace that are not listed, by outcome.
    unlisted: Vec<(Outcome, u64)>,
}

/// A [`Part`] in JSON.
#[derive(Debug, Serialize)]
pub(super) struct PartLine {
    text: String,
    since: Option<u64>,
    until: Option<u64>,
    pids: Vec<u32>,
    /// Totals are counted from listed faults.
    counted_from_listed: bool,
    /// Faults of the whole trace.
    whole_faults: u64,
    /// Faults of the whole trace that are not listed.
    whole_unlisted: u64,
}

impl Filter {
    /// Checks what can be checked without a trace.
    ///
    /// # Errors
    ///
    /// When no time is left between the limits.
    pub const fn check(&self) -> Result<(), NoFilter> {
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => Err(NoFilter::Empty { since, until }),
            _ => Ok(()),
        }
    }

    /// True when everything is wanted.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.processes.is_empty() && self.since.is_none() && self.until.is_none()
    }

    /// Leaves of a trace what is wanted. `None` = everything is: the trace is as it was. Otherwise the part is to be given
    /// to the report, in [`Options::part`](super::Options::part).
    ///
    /// # Errors
    ///
    /// When a selector chooses no process, or no time is left; the trace is then as it was.
    pub fn apply(&self, trace: &mut Trace) -> Result<Option<Part>, NoFilter> {
        self.check()?;
        if self.is_everything() {
            return Ok(None);
        }
        let chosen = self.chosen(trace)?;
        let mut unlisted: Vec<(Outcome, u64)> = Outcome::ALL.map(|outcome| (outcome, 0)).to_vec();
        for (outcome, sum) in &mut unlisted {
            *sum = trace.processes.iter().map(|process| process.totals.of(*outcome).unlisted).sum();
        }
        let part = Part {
            words: self.words(trace, &chosen),
            chosen,
            since: self.since,
            until: self.until,
            whole: trace.summary.clone(),
            unlisted,
        };
        trace.faults.retain(|fault| part.holds(fault.process, fault.time));
        // An answer about a page is told by its whole history.
        trace.pages.clear();
        totals(trace, &part);
        collections(trace);
        trace.header.missing.insert(0, part.sentence());
        Ok(Some(part))
    }

    /// By process: whether it is wanted and lived within the limits.
    fn chosen(&self, trace: &Trace) -> Result<Vec<bool>, NoFilter> {
        let scope = Scope::new(trace, None);
        let mut chosen = vec![self.processes.is_empty(); trace.processes.len()];
        for selector in &self.processes {
            let mut found = false;
            for (index, process) in trace.processes.iter().enumerate() {
                let is = match selector {
                    Selector::Pid(pid) => process.pid == *pid,
                    Selector::Name(name) => process.comm == *name,
                    Selector::Worker => scope.inherited(index).is_some(),
                };
                chosen[index] |= is;
                found |= is;
            }
            if !found {
                return Err(NoFilter::Nobody { selector: selector.clone(), processes: names(trace) });
            }
        }
        for (chosen, process) in chosen.iter_mut().zip(&trace.processes) {
            *chosen &= self.until.is_none_or(|until| process.start < until)
                && self.since.is_none_or(|since| process.end.is_none_or(|end| end >= since));
        }
        Ok(chosen)
    }

    fn words(&self, trace: &Trace, chosen: &[bool]) -> String {
        let mut parts = Vec::new();
        if !self.processes.is_empty() {
            let processes = trace.processes.iter().zip(chosen).filter(|(_, chosen)| **chosen);
            let names: Vec<String> = processes.map(|(process, _)| super::words::process(process)).collect();
            parts.push(match names.len() {
                0 => "no process".to_owned(),
                1 => format!("process {}", names[0]),
                all if all <= NAMED => format!("processes {}", joined(&names)),
                all => {
                    let more = format!("{} more", count((all - NAMED) as u64));
                    format!("processes {} and {more}", names[..NAMED].join(", "))
                }
            });
        }
        parts.extend(match (self.since, self.until) {
            (None, None) => None,
            (Some(since), None) => Some(format!("from {} on", exact(since))),
            (None, Some(until)) => Some(format!("up to {}", exact(until))),
            (Some(since), Some(until)) => Some(format!("from {} to {}", exact(since), exact(until))),
        });
        parts.join(", ")
    }
}

/// A limit of time as it was asked for, without rounding.
fn exact(nanoseconds: u64) -> String {
    let digits = |value: String| value.trim_end_matches('0').trim_end_matches('.').to_owned();
    match nanoseconds {
        0 => "0 s".to_owned(),
        1_000_000_000.. => {
            digits(format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)) + " s"
        }
        _ => digits(format!("{}.{:06}", nanoseconds / 1_000_000, nanoseconds % 1_000_000)) + " ms",
    }
}

/// The first names of a trace's processes.
fn names(trace: &Trace) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for process in &trace.processes {
        let name = super::words::process(process);
        if names.len() == NAMED {
            names.push("others".to_owned());
            break;
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

impl Part {
    /// Whether a fault of this process at this time is in it.
    fn holds(&self, process: usize, at: u64) -> bool {
        self.is_chosen(process)
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
    }

    /// Whether the process (index into [`Trace::processes`]) is in it.
    #[must_use]
    pub fn is_chosen(&self, process: usize) -> bool {
        self.chosen.get(process).copied().unwrap_or_default()
    }

    /// Whether it has limits of time, so that totals are counted from listed faults.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// What it is: `process 7001 python3, from 0.5 s to 1.5 s`.
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// Totals of the whole trace.
    pub(super) const fn whole(&self) -> &Summary {
        &self.whole
    }

    /// Faults of the whole trace with this outcome that are not listed.
    pub(super) fn unlisted(&self, outcome: Outcome) -> u64 {
        self.unlisted.iter().find(|(o, _)| *o == outcome).map_or(0, |(_, sum)| *sum)
    }

    /// What it is and what its totals are, in one sentence: it stands in the header of the trace that is left.
    #[must_use]
    pub fn sentence(&self) -> String {
        let totals =
            if self.is_timed() { "totals are counted from its listed faults" } else { "totals are theirs" };
        format!(
            "Everything but a part of the trace ({}): {totals}, other processes are named without theirs; what was \
             lost and what tracing cost is of the whole trace ({}).",
            self.words,
            counted(self.whole.faults, "fault")
        )
    }

    pub(super) fn line(&self, trace: &Trace) -> PartLine {
        let chosen = trace.processes.iter().zip(&self.chosen).filter(|(_, chosen)| **chosen);
        PartLine {
            text: self.words.clone(),
            since: self.since,
            until: self.until,
            pids: chosen.map(|(process, _)| process.pid).collect(),
            counted_from_listed: self.is_timed(),
            whole_faults: self.whole.faults,
            whole_unlisted: self.unlisted.iter().map(|(_, sum)| sum).sum(),
        }
    }
}

/// Makes the totals those of the part.
fn totals(trace: &mut Trace, part: &Part) {
    for (index, process) in trace.processes.iter_mut().enumerate() {
        if part.is_timed() || !part.is_chosen(index) {
            process.totals = ProcessTotals {
                outcomes: Outcome::ALL.map(|outcome| (outcome, OutcomeTotal::default())).to_vec(),
                ..ProcessTotals::default()
            };
        }
    }
    if part.is_timed() {
        for fault in &trace.faults {
            let Some(process) = trace.processes.get_mut(fault.process) else { continue };
            let totals = &mut process.totals;
            if let Some((_, total)) =
                totals.outcomes.iter_mut().find(|(outcome, _)| *outcome == fault.outcome)
            {
                total.faults += 1;
            }
            match fault.outcome {
                Outcome::Copy => totals.copied_bytes += fault.bytes,
                Outcome::FileCopy => totals.file_copied_bytes += fault.bytes,
                _ => {}
            }
        }
    }
    let sum = |number: fn(&ProcessTotals) -> u64| trace.processes.iter().map(|p| number(&p.totals)).sum();
    trace.summary = Summary {
        faults: sum(|totals| totals.outcomes.iter().map(|(_, total)| total.faults).sum()),
        copies: sum(|totals| totals.faults(Outcome::Copy)),
        copied_bytes: sum(|totals| totals.copied_bytes),
        file_copies: sum(|totals| totals.faults(Outcome::FileCopy)),
        reuses: sum(|totals| totals.faults(Outcome::Reuse)),
        ..trace.summary.clone()
    };
}

/// Leaves the collections that have a fault in the part, with what that part of them copied. They keep their numbers.
fn collections(trace: &mut Trace) {
    let mut left: Vec<Collection> = std::mem::take(&mut trace.collections);
    let places: std::collections::HashMap<u32, usize> =
        left.iter().enumerate().map(|(place, collection)| (collection.number, place)).collect();
    let mut met = vec![false; left.len()];
    for fault in &trace.faults {
        let Some(&place) = fault.collection.and_then(|number| places.get(&number)) else { continue };
        let collection = &mut left[place];
        if !std::mem::replace(&mut met[place], true) {
            (collection.start, collection.pages, collection.bytes) = (fault.time, 0, 0);
        }
        collection.end = fault.time;
        collection.pages += u64::from(fault.bytes > 0);
        collection.bytes += fault.bytes;
    }
    let mut met = met.into_iter();
    left.retain(|_| met.next().unwrap_or_default());
    trace.collections = left;
}

#[cfg(test)]
mod tests;
