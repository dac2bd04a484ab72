//! Every fault looked at once: what each process copied, and copies that are alike in all that a report asks for, added up.
//! There are millions of faults and hundreds of groups.

use std::thread;

use rustc_hash::FxHashMap;

use super::programs::Programs;
use super::scope::Copied;
use crate::record::schema::{Alike, Fault, Operation, Outcome, Trace};

/// Faults below which another thread is not worth its start.
const FEW: usize = 1 << 16;

/// Copies that are alike: of one process while it ran one program, with one operation, write, site and region.
pub(super) struct Group {
    /// The first of them.
    pub(super) fault: Fault,
    /// All of them.
    pub(super) copied: Copied,
    /// Time of the last.
    pub(super) last: u64,
}

/// What copies of one group share, as numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    process: usize,
    operation: usize,
    write: usize,
    site: usize,
    region: usize,
    is_file: bool,
    ran_main: bool,
}

/// What looking at the faults tells.
pub(super) struct Looked {
    /// By process: what is listed of its copies since its memory is shared.
    pub(super) listed: Vec<Copied>,
    /// By process: what is listed of those before.
    pub(super) before: Vec<Copied>,
    /// By process: whether a pool's machinery ran in it.
    pub(super) worker: Vec<bool>,
    /// What was copied while nothing was shared, although there had been a fork.
    pub(super) unshared: Copied,
    /// The copies since memory is shared, in the order of their first ones.
    pub(super) groups: Vec<Group>,
    numbers: FxHashMap<Key, usize>,
}

/// Looks at the faults of a trace.
pub(super) fn look(trace: &Trace, programs: &Programs) -> Looked {
    let forks = trace.processes.iter().filter(|process| process.parent.is_some());
    let glance = Glance {
        trace,
        programs,
        first_fork: forks.map(|process| process.start).min(),
        is_exec: trace.operations.values().iter().map(is_exec).collect(),
        is_pool: trace.operations.values().iter().map(|o| o.kind == "worker_bookkeeping").collect(),
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let each = trace.faults.len().div_ceil(threads).max(FEW);
    thread::scope(|scope| {
        let mut parts = trace.faults.chunks(each);
        let first = parts.next().unwrap_or_default();
        let others: Vec<_> = parts.map(|part| scope.spawn(|| glance.at(&[], part))).collect();
        let mut all = glance.at(&trace.alike, first);
        for other in others {
            match other.join() {
                Ok(other) => all.add(other),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

/// True for exec itself: what it writes to is the new program's memory, which nobody shares yet.
pub(super) fn is_exec(operation: &Operation) -> bool {
    operation.kind == "startup" && operation.name.as_deref() == Some("exec")
}

struct Glance<'a> {
    trace: &'a Trace,
    programs: &'a Programs,
    first_fork: Option<u64>,
    is_exec: Vec<bool>,
    is_pool: Vec<bool>,
}

impl Glance<'_> {
    fn at(&self, alike: &[Alike], faults: &[Fault]) -> Looked {
        let processes = self.trace.processes.len();
        let mut looked = Looked {
            listed: vec![Copied::default(); processes],
            before: vec![Copied::default(); processes],
            worker: vec![false; processes],
            unshared: Copied::default(),
            groups: Vec::new(),
            numbers: FxHashMap::default(),
        };
        let mut latest = None;
        for Alike { first, last, faults, bytes } in alike {
            self.count(&mut looked, &mut latest, first, &Copied::of(first.outcome, *faults, *bytes), *last);
        }
        for fault in faults {
            let copied = Copied::of(fault.outcome, 1, fault.bytes);
            self.count(&mut looked, &mut latest, fault, &copied, fault.time);
        }
        looked
    }

    /// Counts faults that are alike, of which this is the first. `latest` is the group that was counted before.
    fn count(
        &self,
        looked: &mut Looked,
        latest: &mut Option<(Key, usize)>,
        fault: &Fault,
        copied: &Copied,
        last: u64,
    ) {
        if fault.process >= looked.listed.len() {
            return;
        }
        if !self.is_shared(fault) {
            looked.before[fault.process].add(copied);
            if self.first_fork.is_some_and(|first| fault.time >= first) {
                looked.unshared.add(copied);
            }
            return;
        }
        looked.worker[fault.process] |= of(&self.is_pool, fault);
        if !matches!(fault.outcome, Outcome::Copy | Outcome::FileCopy) {
            return;
        }
        looked.listed[fault.process].add(copied);
        let key = self.key(fault);
        // What comes one behind the other is mostly alike.
        let number = match *latest {
            Some((known, number)) if known == key => number,
            _ => looked.number(key, fault),
        };
        *latest = Some((key, number));
        let group = &mut looked.groups[number];
        group.copied.add(copied);
        group.last = group.last.max(last);
    }

    /// True when something was shared at the time of the fault.
    fn is_shared(&self, fault: &Fault) -> bool {
        !of(&self.is_exec, fault) && self.programs.is_shared(self.trace, fault.process, fault.time)
    }

    fn key(&self, fault: &Fault) -> Key {
        Key {
            process: fault.process,
            operation: fault.operation.index(),
            write: fault.write.index(),
            site: fault.site.map_or(usize::MAX, |site| site.index()),
            region: fault.region.index(),
            is_file: fault.outcome == Outcome::FileCopy,
            ran_main: self.programs.ran_main(self.trace, fault.process, fault.time),
        }
    }
}

fn of(operations: &[bool], fault: &Fault) -> bool {
    operations.get(fault.operation.index()).copied().unwrap_or_default()
}

impl Looked {
    /// The group with this key; a new one begins with the fault and is empty.
    fn number(&mut self, key: Key, fault: &Fault) -> usize {
        *self.numbers.entry(key).or_insert_with(|| {
            self.groups.push(Group { fault: *fault, copied: Copied::default(), last: fault.time });
            self.groups.len() - 1
        })
    }

    /// Adds what later faults told.
    fn add(&mut self, later: Self) {
        let Self { listed, before, worker, unshared, groups, numbers } = later;
        self.listed.iter_mut().zip(&listed).for_each(|(all, one)| all.add(one));
        self.before.iter_mut().zip(&before).for_each(|(all, one)| all.add(one));
        self.worker.iter_mut().zip(worker).for_each(|(all, one)| *all |= one);
        self.unshared.add(&unshared);
        let mut keys: Vec<(usize, Key)> = numbers.into_iter().map(|(key, number)| (number, key)).collect();
        keys.sort_unstable_by_key(|(number, _)| *number);
        for (group, (_, key)) in groups.into_iter().zip(keys) {
            let number = self.number(key, &group.fault);
            let all = &mut self.groups[number];
            all.copied.add(&group.copied);
            all.last = all.last.max(group.last);
        }
    }
}
