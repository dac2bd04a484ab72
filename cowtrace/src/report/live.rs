//! A trace that is looked at while it comes about: the pieces come in, [`Live::look`] says what the report would be made of
//! now, by the report's own code.
//!
//! For what is looked at it keeps the latest faults, about which something may still be found out, and of those before only
//! sums, by everything that a table of causes or processes tells apart. For the report at the end it keeps every fault, too,
//! until they are too many: then the report is made of the sums, and says what they do not tell. So memory grows with the
//! processes and the places in their code, not with the faults.

use rustc_hash::FxHashMap;

use super::causes;
use super::cuts::Cut;
use super::groups::is_exec;
use super::numbers::count;
use super::programs::{Program, Programs};
use super::scope::{Scope, Untouched};
use super::view::{Amount, Kind, amount};
use super::words;
use crate::record::build::Builder;
use crate::record::piece::Piece;
use crate::record::schema::{Alike, Fault, Header, Id, Loss, Outcome, Region, Trace};
use crate::record::sink::Listener;

/// So many of the latest faults are kept as they are, up to twice as many until they are added up.
const LATEST: usize = 1 << 15;

/// So many faults are all kept for the report at the end: about 100 MiB.
const WHOLE: usize = 1 << 20;

/// A trace that comes about.
#[derive(Debug)]
pub struct Live {
    builder: Builder,
    /// [`LATEST`].
    latest: usize,
    /// The same with every fault; `None` = they have become too many.
    whole: Option<Builder>,
    /// [`WHOLE`].
    most: usize,
    numbers: FxHashMap<Key, usize>,
    /// By region: the first that differs from it in nothing but its offset.
    places: Vec<Id<Region>>,
    known: FxHashMap<(&'static str, Option<String>), Id<Region>>,
    /// Something about the trace does not fit together, in words.
    misfit: Option<String>,
}

/// What faults have in common that are added up: all that a report may tell apart, now or when it knows more of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    process: usize,
    program: Option<Program>,
    is_shared: bool,
    is_after_fork: bool,
    outcome: Outcome,
    region: usize,
    operation: usize,
    write: usize,
    site: usize,
    python: usize,
    native: usize,
}

/// What a trace comes to by now.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// What is traced, and by which means.
    pub header: Header,
    /// Nanoseconds since the start.
    pub duration: u64,
    /// CPU time of cowtrace itself, user and kernel side, nanoseconds.
    pub tool_cpu_ns: u64,
    /// All faults of the tree.
    pub faults: u64,
    /// What all processes copied while memory was shared.
    pub total: Amount,
    /// The part of it whose details were lost.
    pub without_details: Amount,
    /// What was lost, by stage and CPU.
    pub losses: Vec<Loss>,
    /// Every process, parents before their children.
    pub processes: Vec<Process>,
    /// The rows of the table of causes, in no order.
    pub causes: Vec<Cause>,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number and name, safe to print.
    pub name: String,
    /// Process id.
    pub pid: u32,
    /// Index of the parent in [`Now::processes`]; `None` = its parent is not watched.
    pub parent: Option<usize>,
    /// What it inherited; `None` = it was not forked while it was watched, or runs another program than its parent.
    pub inherited: Option<u64>,
    /// What it copied of memory that a fork shared.
    pub copied: Amount,
    /// First writes to privately mapped files.
    pub files: Amount,
    /// What it inherited and still shares.
    pub shared: Shared,
    /// Exit status, 128+n for a signal; `None` = it is running.
    pub exit_status: Option<i32>,
    /// It has ended.
    pub has_ended: bool,
}

/// What a process inherited and never wrote to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shared {
    /// It inherited nothing that it still has.
    #[default]
    Nothing,
    /// Not known: details were lost, or it forked itself and may have copied the same page twice.
    Unknown,
    /// So many bytes.
    Bytes(u64),
}

/// One row of the table of causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Where, in words that are safe to print.
    pub place: String,
    /// What was done there, or mostly written.
    pub what: String,
    /// Part of the table.
    pub kind: Kind,
    /// How much was copied.
    pub copied: Amount,
    /// Processes that copied.
    pub processes: u64,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            builder: Builder::default(),
            latest: LATEST,
            whole: Some(Builder::default()),
            most: WHOLE,
            numbers: FxHashMap::default(),
            places: Vec::new(),
            known: FxHashMap::default(),
            misfit: None,
        }
    }
}

impl Live {
    /// What the trace comes to by now. `cut` is what the rows of causes stand for, `process` the only one whose causes are
    /// told, `directory` what file names are shown relative to.
    pub fn look(&mut self, cut: Cut, process: Option<usize>, directory: Option<&str>) -> Now {
        let trace = self.builder.so_far();
        let scope = Scope::new(trace, directory);
        let summary = &trace.summary;
        let causes = causes::of(&scope, cut, process).into_iter().map(|cause| Cause {
            kind: cause.class.into(),
            copied: amount(&cause.copied),
            processes: cause.processes(),
            place: cause.place,
            what: cause.what,
        });
        Now {
            duration: summary.duration,
            tool_cpu_ns: summary.tool_cpu_ns,
            faults: summary.faults,
            total: amount(&scope.total()),
            without_details: amount(&scope.without_details()),
            losses: trace.losses.clone(),
            processes: (0..trace.processes.len()).map(|index| process_of(&scope, index)).collect(),
            causes: causes.collect(),
            header: trace.header.clone(),
        }
    }

    /// The finished trace, when every piece has come.
    #[must_use]
    pub fn finish(self) -> Trace {
        let cut = self.misfit.map(|misfit| format!("A part of the trace is missing: {misfit}."));
        if let Some(whole) = self.whole {
            return whole.finish(cut);
        }
        let mut trace = self.builder.finish(cut);
        trace.header.missing.push(format!(
            "Of more than {} faults sums were kept: what each fork cost while its child lived, and how long copies took, is \
             not told (`cowtrace record` keeps every fault).",
            count(self.most as u64)
        ));
        trace
    }

    /// Adds up the faults that came first.
    fn add_up(&mut self) {
        let number = self.builder.faults().len().saturating_sub(self.latest);
        let oldest = self.builder.take_oldest(number);
        let Self { builder, numbers, places, known, .. } = self;
        let trace = builder.so_far();
        let programs = Programs::new(trace);
        let forks = trace.processes.iter().filter(|process| process.parent.is_some());
        let first_fork = forks.map(|process| process.start).min();
        for region in trace.regions.values().iter().skip(places.len()) {
            let id = Id::new(u32::try_from(places.len()).unwrap_or(u32::MAX));
            places.push(*known.entry((region.kind, region.path.clone())).or_insert(id));
        }
        let exec: Vec<bool> = trace.operations.values().iter().map(is_exec).collect();
        let mut keyed = Vec::with_capacity(oldest.len());
        for mut fault in oldest {
            fault.region = places.get(fault.region.index()).copied().unwrap_or(fault.region);
            let is_exec = exec.get(fault.operation.index()).copied().unwrap_or_default();
            let key = Key {
                process: fault.process,
                program: programs.of(trace, fault.process, fault.time),
                is_shared: !is_exec && programs.is_shared(trace, fault.process, fault.time),
                is_after_fork: first_fork.is_some_and(|first| fault.time >= first),
                outcome: fault.outcome,
                region: fault.region.index(),
                operation: fault.operation.index(),
                write: fault.write.index(),
                site: fault.site.map_or(usize::MAX, |site| site.index()),
                python: fault.python.index(),
                native: fault.native.index(),
            };
            keyed.push((key, fault));
        }
        let alike = builder.alike();
        for (key, fault) in keyed {
            let number = *numbers.entry(key).or_insert_with(|| {
                alike.push(Alike { first: fault, last: fault.time, faults: 0, bytes: 0 });
                alike.len() - 1
            });
            if let Some(alike) = alike.get_mut(number) {
                add(alike, &fault);
            }
        }
    }
}

fn add(alike: &mut Alike, fault: &Fault) {
    alike.faults += 1;
    alike.bytes += fault.bytes;
    alike.last = alike.last.max(fault.time);
    if fault.time < alike.first.time {
        alike.first = *fault;
    }
}

impl Listener for Live {
    fn take(&mut self, piece: Piece) {
        if let Some(whole) = &mut self.whole {
            // What does not fit here does not fit below, where it is told.
            let _ = whole.take(piece.clone());
            if whole.faults().len() > self.most {
                self.whole = None;
            }
        }
        if let Err(misfit) = self.builder.take(piece) {
            log::error!("a piece of the trace does not fit: {misfit}");
            self.misfit.get_or_insert(misfit.to_string());
        }
        if self.builder.faults().len() >= 2 * self.latest {
            self.add_up();
        }
    }
}

fn process_of(scope: &Scope<'_>, index: usize) -> Process {
    let process = &scope.trace.processes[index];
    let copied = scope.copied(index);
    Process {
        name: words::process(process),
        pid: process.pid,
        parent: process.parent.filter(|parent| *parent < index),
        inherited: scope.is_child(index).then_some(process.inherited_bytes),
        copied: Amount { pages: copied.pages, bytes: copied.bytes },
        files: Amount { pages: copied.file_pages, bytes: copied.file_bytes },
        shared: match scope.untouched(index) {
            Untouched::Nothing => Shared::Nothing,
            Untouched::Unknown => Shared::Unknown,
            Untouched::Bytes(bytes) => Shared::Bytes(bytes),
        },
        exit_status: process.exit_status,
        has_ended: process.end.is_some(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
