//! What processes have mapped, as the kernel told of it: for those that are gone before anybody could read their maps.
//!
//! The kernel tells of every `mmap`, `brk` and `mprotect`, and of each exec before the new program's first mapping; not of
//! `munmap`. A mapping that was taken away stays in the log until another one takes its place, so it answers questions about
//! addresses that were mapped, for a fault needs a mapping, and none about those that were not.

mod events;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::maps::{Kind, Mapping, Maps};

pub use events::MmapEvents;

/// Entries that are kept of one process; one with more lives long enough to be read.
const MOST_OF_ONE: usize = 8192;
/// Entries that are kept of all.
const MOST: usize = 1 << 20;
/// How long entries are kept (nanoseconds) that are of no living process of the tree: its fork may not have been told yet, or
/// its faults are still to be looked at.
const KEPT: u64 = 30_000_000_000;
/// How far the first thread's stack may grow below what the kernel told of it, if nothing lies there: the usual limit.
const STACK: u64 = 8 << 20;

/// One piece of news of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// Its memory is new.
    Exec,
    /// It mapped something, or changed what may be done with it.
    Mapped(Mapping),
}

/// All that the kernel told, by process. Shared by those who write and those who ask.
#[derive(Clone, Debug, Default)]
pub struct MmapLog(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    processes: HashMap<u32, Process>,
    /// Processes of the tree that are alive.
    followed: HashSet<u32>,
    entries: usize,
    lost: u64,
}

#[derive(Debug, Default)]
struct Process {
    /// `CLOCK_MONOTONIC` nanoseconds and what happened then; sorted when it is asked for.
    entries: Vec<(u64, Entry)>,
    /// Some entries were left out: it is not answered for.
    incomplete: bool,
}

/// A part of a process's life: from when on, and until when, its mappings count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its number.
    pub pid: u32,
    /// When it was forked.
    pub from: u64,
    /// When it forked the next one; `u64::MAX` = it is the last.
    pub until: u64,
}

impl MmapLog {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process of the tree: its entries are kept while it lives.
    pub fn follow(&self, pid: u32) {
        self.lock().followed.insert(pid);
    }

    /// The process has ended.
    pub fn ended(&self, pid: u32) {
        self.lock().followed.remove(&pid);
    }

    /// Pieces of news that did not get here, of whichever process of the machine.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lock().lost
    }

    /// What the last process of a line of forks had mapped in its image, which the first of them began by the exec at `image`;
    /// `None` = the log does not hold all of it.
    #[must_use]
    pub fn maps(&self, line: &[Life], image: u64) -> Option<Maps> {
        let mut log = self.lock();
        let mut mappings: Vec<Mapping> = Vec::new();
        for (index, life) in line.iter().enumerate() {
            let Some(process) = log.processes.get_mut(&life.pid) else {
                // One that forked and mapped nothing of its own is not told of.
                if index == 0 {
                    return None;
                }
                continue;
            };
            if process.incomplete {
                return None;
            }
            process.entries.sort_by_key(|(time, _)| *time);
            let mut from = process.entries.partition_point(|(time, _)| *time < life.from);
            if index == 0 {
                // The exec is told of before the program is mapped, and seen when it is.
                let exec = |(time, entry): &(u64, Entry)| *time <= image && *entry == Entry::Exec;
                from = process.entries.iter().rposition(exec)? + 1;
            }
            let own = process.entries[from..].iter().take_while(|(time, _)| *time <= life.until);
            for (_, entry) in own {
                let Entry::Mapped(mapping) = entry else { break };
                lay(&mut mappings, mapping);
            }
        }
        drop(log);
        grow_stack(&mut mappings);
        (!mappings.is_empty()).then(|| Maps::from_mappings(mappings))
    }
}

impl Log {
    fn add(&mut self, pid: u32, time: u64, entry: Entry) {
        let process = self.processes.entry(pid).or_default();
        if process.incomplete {
            return;
        }
        if process.entries.len() >= MOST_OF_ONE || self.entries >= MOST {
            self.entries -= process.entries.len();
            *process = Process { entries: Vec::new(), incomplete: true };
            return;
        }
        process.entries.push((time, entry));
        self.entries += 1;
    }

    /// Forgets what nobody will ask for.
    fn tidy(&mut self, now: u64) {
        let Self { processes, followed, entries, .. } = self;
        processes.retain(|pid, process| {
            let last = process.entries.iter().map(|(time, _)| *time).max();
            let keep = followed.contains(pid) || last.is_some_and(|last| last.saturating_add(KEPT) > now);
            if !keep {
                *entries -= process.entries.len();
            }
            keep
        });
    }
}

/// Puts a mapping on top of those that are there.
fn lay(mappings: &mut Vec<Mapping>, new: &Mapping) {
    let mut kept = Vec::with_capacity(mappings.len() + 2);
    for old in mappings.drain(..) {
        if old.end <= new.start || new.end <= old.start {
            kept.push(old);
            continue;
        }
        if old.start < new.start {
            kept.push(Mapping { end: new.start, ..old.clone() });
        }
        if new.end < old.end {
            kept.push(Mapping { start: new.end, offset: old.file_offset(new.end), ..old });
        }
    }
    kept.push(new.clone());
    *mappings = kept;
}

/// The stack grows by faults, which are not told of.
fn grow_stack(mappings: &mut [Mapping]) {
    let Some(stack) = mappings.iter().position(|mapping| mapping.kind == Kind::Stack) else { return };
    let start = mappings[stack].start;
    let below = mappings.iter().map(|mapping| mapping.end).filter(|&end| end <= start).max().unwrap_or(0);
    mappings[stack].start = below.max(start.saturating_sub(STACK));
}

#[cfg(test)]
mod tests;
