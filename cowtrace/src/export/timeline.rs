//! What a timeline shows beside the faults: processes in the order of their tree, imports and collections as spans, forks
//! and execs as instants, copied bytes as a counter.
//!
//! An import is told by its page faults alone: it began at the first of them or a little before, and ended at the last or
//! a little later. One that touches no page is not there.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZero;

use super::stacks::is_copy;
use crate::record::schema::{Collection, Fault, Operation, Trace};

/// A counter has at most about so many points over the whole trace: more than any screen has columns.
const POINTS: u64 = 10_000;

/// What is derived from a trace for a timeline.
#[derive(Debug)]
pub(super) struct Timeline<'a> {
    /// The trace's last moment.
    pub(super) end: u64,
    /// Indices of all processes: each after its parent and before its parent's later children.
    pub(super) order: Vec<usize>,
    /// For each process (by its index) a number of its own: its pid, another one where the pid was used before.
    pub(super) ids: Vec<u32>,
    /// Threads that took a listed fault or ran a collection, with each process's first thread in any case: by process, the
    /// first thread first.
    pub(super) threads: Vec<Thread>,
    /// Imports, by their start; one that is part of another comes after it, and ends before it.
    pub(super) imports: Vec<Import<'a>>,
    /// Collections, in their order.
    pub(super) collections: Vec<Span<'a>>,
    /// Forks, by time.
    pub(super) forks: Vec<Fork>,
    /// For each process (by its index) its copied bytes so far, by time, from 0 at its start on.
    pub(super) copied: Vec<Vec<Point>>,
}

/// A thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Thread {
    /// Index into [`Trace::processes`].
    pub(super) process: usize,
    /// Thread id.
    pub(super) tid: u32,
}

/// Successive faults of one thread in the import of one module, those of the imports that are part of it included. Faults of
/// a collection do not end it.
#[derive(Clone, Debug)]
pub(super) struct Import<'a> {
    /// Who imported.
    pub(super) thread: Thread,
    /// The module; `None` = not known.
    pub(super) module: Option<&'a str>,
    /// `reload` where it is one.
    pub(super) detail: Option<&'a str>,
    /// Time of its first listed fault.
    pub(super) start: u64,
    /// End of its last listed fault.
    pub(super) end: u64,
    /// Pages copied.
    pub(super) pages: u64,
    /// Bytes copied.
    pub(super) bytes: u64,
}

/// A collection with the end of its last fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'a> {
    /// The collection.
    pub(super) collection: &'a Collection,
    /// End of its last listed fault.
    pub(super) end: u64,
}

/// A process forks another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fork {
    /// When.
    pub(super) time: u64,
    /// Index of the process that forked.
    pub(super) parent: usize,
    /// Index of the new one.
    pub(super) child: usize,
}

/// A value of a counter, from this time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// When.
    pub(super) time: u64,
    /// Pages copied so far by listed faults.
    pub(super) pages: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

impl<'a> Timeline<'a> {
    /// Looks at every process and every listed fault.
    pub(super) fn new(trace: &'a Trace) -> Self {
        let end = last_moment(trace);
        let mut forks: Vec<Fork> = trace.processes.iter().enumerate().filter_map(fork).collect();
        forks.sort_by_key(|fork| (fork.time, fork.child));
        let (mut imports, mut counters) = (Imports::default(), Counters::new(trace, end));
        let mut collections: Vec<Span<'_>> =
            trace.collections.iter().map(|collection| Span { collection, end: collection.end }).collect();
        let mut threads: BTreeSet<(usize, bool, u32)> = (0..trace.processes.len())
            .map(|process| key(trace, Thread { process, tid: trace.processes[process].pid }))
            .collect();
        let mut last = None;
        for fault in trace.faults.iter().filter(|fault| fault.process < trace.processes.len()) {
            let thread = Thread { process: fault.process, tid: fault.tid };
            if last.replace(thread) != Some(thread) {
                threads.insert(key(trace, thread));
            }
            imports.see(trace, fault);
            counters.count(fault);
            let number = fault.collection.and_then(|number| (number as usize).checked_sub(1));
            if let Some(span) = number.and_then(|index| collections.get_mut(index)) {
                span.end = span.end.max(end_of(fault));
            }
        }
        let collecting = collections.iter().map(|span| span.collection);
        let collecting = collecting.filter(|collection| collection.process < trace.processes.len());
        threads.extend(collecting.map(|c| key(trace, Thread { process: c.process, tid: c.tid })));
        Self {
            end,
            order: order(trace),
            ids: ids(trace),
            threads: threads.into_iter().map(|(process, _, tid)| Thread { process, tid }).collect(),
            imports: imports.finish(),
            collections,
            forks,
            copied: counters.finish(),
        }
    }
}

/// For each process the positions of the things that are its own, in their order.
pub(super) fn by_process<T>(trace: &Trace, things: &[T], process: impl Fn(&T) -> usize) -> Vec<Vec<u32>> {
    let mut positions = vec![Vec::new(); trace.processes.len()];
    for (position, thing) in (0..).zip(things) {
        if let Some(own) = positions.get_mut(process(thing)) {
            own.push(position);
        }
    }
    positions
}

/// When a fault ended; when it began if that was not measured.
pub(super) fn end_of(fault: &Fault) -> u64 {
    fault.time.saturating_add(fault.latency.map_or(0, NonZero::get))
}

/// Orders threads: by process, its first thread first.
fn key(trace: &Trace, thread: Thread) -> (usize, bool, u32) {
    let first = trace.processes.get(thread.process).is_some_and(|process| process.pid == thread.tid);
    (thread.process, !first, thread.tid)
}

fn last_moment(trace: &Trace) -> u64 {
    let of_processes = trace.processes.iter().map(|process| process.end.unwrap_or(process.start));
    let of_faults = trace.faults.iter().map(end_of);
    of_processes.chain(of_faults).chain([trace.summary.duration]).max().unwrap_or_default()
}

fn fork((child, process): (usize, &crate::record::schema::Process)) -> Option<Fork> {
    process.parent.map(|parent| Fork { time: process.start, parent, child })
}

/// Indices of the processes, depth first. A file may say anything about who is whose parent: each is there once all the same.
pub(super) fn order(trace: &Trace) -> Vec<usize> {
    let number = trace.processes.len();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); number];
    let mut roots = Vec::new();
    for (index, process) in trace.processes.iter().enumerate() {
        match process.parent.filter(|parent| *parent < number && *parent != index) {
            Some(parent) => children[parent].push(index),
            None => roots.push(index),
        }
    }
    let (mut order, mut seen) = (Vec::with_capacity(number), vec![false; number]);
    // Those that no root leads to come last, each with what hangs from it.
    for root in roots.into_iter().chain(0..number) {
        let mut waiting = vec![root];
        while let Some(index) = waiting.pop() {
            if !std::mem::replace(&mut seen[index], true) {
                order.push(index);
                waiting.extend(children[index].iter().rev());
            }
        }
    }
    order
}

/// A number for each process that no other has: timelines take processes with the same number for one.
fn ids(trace: &Trace) -> Vec<u32> {
    let mut used: HashSet<u32> = HashSet::new();
    let first: Vec<bool> = trace.processes.iter().map(|process| used.insert(process.pid)).collect();
    // Above the kernel's largest pid, and small enough for readers that know 31 bits.
    let mut free = (1 << 30..).filter(|id| !used.contains(id));
    let named = trace.processes.iter().zip(first);
    named.map(|(process, first)| if first { process.pid } else { free.next().unwrap_or(u32::MAX) }).collect()
}

/// Finds imports in faults that come by time.
#[derive(Default)]
struct Imports<'a> {
    found: Vec<Import<'a>>,
    /// Positions in `found` of each thread's imports under way, outermost first.
    open: HashMap<Thread, Vec<usize>>,
}

impl<'a> Imports<'a> {
    fn see(&mut self, trace: &'a Trace, fault: &Fault) {
        let thread = Thread { process: fault.process, tid: fault.tid };
        let operation = trace.operations.get(fault.operation);
        if fault.collection.is_some() || operation.is_some_and(|operation| operation.kind == "gc") {
            return;
        }
        let Some(operation) = operation.filter(|operation| operation.kind == "import") else {
            self.open.remove(&thread);
            return;
        };
        let open = self.open.entry(thread).or_default();
        let detail = operation.detail.as_deref();
        let chain = chain(operation);
        let same = |found: &[Import<'a>], open: &[usize]| {
            let both = open.iter().zip(&chain);
            both.take_while(|(at, module)| found[**at].module == **module && found[**at].detail == detail)
                .count()
        };
        open.truncate(same(&self.found, open));
        for &module in chain.iter().skip(open.len()) {
            open.push(self.found.len());
            let (start, end) = (fault.time, fault.time);
            self.found.push(Import { thread, module, detail, start, end, pages: 0, bytes: 0 });
        }
        for at in &*open {
            let import = &mut self.found[*at];
            import.end = import.end.max(end_of(fault));
            import.pages += u64::from(is_copy(fault));
            import.bytes += if is_copy(fault) { fault.bytes } else { 0 };
        }
    }

    fn finish(self) -> Vec<Import<'a>> {
        self.found
    }
}

/// Modules that are being imported, outermost first.
fn chain(operation: &Operation) -> Vec<Option<&str>> {
    if operation.chain.is_empty() {
        return vec![operation.name.as_deref()];
    }
    operation.chain.iter().map(|module| Some(module.as_str())).collect()
}

/// Adds up copied bytes by process.
struct Counters {
    /// For each process its points.
    points: Vec<Vec<Point>>,
    /// For each process a later value than its last point's that is not a point.
    waiting: Vec<Option<Point>>,
    /// Time between two points of one process.
    step: u64,
}

impl Counters {
    fn new(trace: &Trace, end: u64) -> Self {
        let starts =
            trace.processes.iter().map(|process| vec![Point { time: process.start, pages: 0, bytes: 0 }]);
        let points: Vec<Vec<Point>> = starts.collect();
        Self { waiting: vec![None; points.len()], points, step: end / POINTS }
    }

    fn count(&mut self, fault: &Fault) {
        if !is_copy(fault) {
            return;
        }
        let (points, waiting) = (&mut self.points[fault.process], &mut self.waiting[fault.process]);
        let Some(&last) = points.last() else { return };
        let before = waiting.unwrap_or(last);
        let bytes = before.bytes.saturating_add(fault.bytes);
        let now = Point { time: fault.time, pages: before.pages + 1, bytes };
        if now.time.saturating_sub(last.time) < self.step {
            *waiting = Some(now);
            return;
        }
        // What the counter had reached before a pause must not look as if it came after it.
        points.extend(waiting.take());
        points.push(now);
    }

    fn finish(mut self) -> Vec<Vec<Point>> {
        self.points.iter_mut().zip(self.waiting).for_each(|(points, waiting)| points.extend(waiting));
        self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::{Builder, operation, page, write};

    fn import(chain: &[&str]) -> crate::record::fixture::Page {
        let chain: Vec<String> = chain.iter().map(|module| (*module).to_owned()).collect();
        let mut import = operation("import", &chain[0]);
        import.chain = chain;
        page(import, write("refcount", "str", ""), None)
    }

    /// A module's import goes on through those that it begins and through collections, and ends with another operation.
    #[test]
    fn imports_are_nested() {
        let mut b = Builder::new(&["x"]);
        let only = b.process(None, "x", 0);
        b.faults(only, 2, &import(&["a"]));
        b.faults(only, 1, &import(&["a", "b"]));
        b.collection(only, Some(0), 3, &page(operation("gc", ""), write("gc_header", "", ""), None));
        b.faults(only, 1, &import(&["a", "b"]));
        b.faults(only, 1, &import(&["a", "c"]));
        b.faults(only, 1, &page(operation("call", ""), write("refcount", "", ""), None));
        b.faults(only, 1, &import(&["a"]));
        let mut trace = b.finish();
        let all = trace.faults.len() - 1;
        trace.faults[all].latency = NonZero::new(77);
        let time = |at: usize| trace.faults[at].time;
        let timeline = Timeline::new(&trace);
        let told: Vec<_> = timeline
            .imports
            .iter()
            .map(|i| (i.module.unwrap(), i.start, i.end, i.pages, i.bytes / 4096))
            .collect();
        assert_eq!(
            told,
            [
                ("a", time(0), time(7), 5, 5),
                ("b", time(2), time(6), 2, 2),
                ("c", time(7), time(7), 1, 1),
                ("a", time(all), time(all) + 77, 1, 1),
            ]
        );
        assert_eq!(timeline.collections[0].end, time(5));
        assert_eq!(timeline.end, trace.summary.duration);
    }

    /// Each thread imports by itself, and only what was copied counts.
    #[test]
    fn threads_are_apart() {
        let mut b = Builder::new(&["x"]);
        let only = b.process(None, "x", 0);
        b.faults(only, 4, &import(&["a"]));
        let mut trace = b.finish();
        let pid = trace.processes[only].pid;
        trace.faults[1].tid = pid + 1;
        trace.faults[2].outcome = crate::record::schema::Outcome::Reuse;
        trace.faults[2].bytes = 0;
        let timeline = Timeline::new(&trace);
        let told: Vec<_> = timeline.imports.iter().map(|i| (i.thread.tid, i.pages, i.end)).collect();
        assert_eq!(told, [(pid, 2, trace.faults[3].time), (pid + 1, 1, trace.faults[1].time)]);
        let tids: Vec<u32> = timeline.threads.iter().map(|thread| thread.tid).collect();
        assert_eq!(tids, [pid, pid + 1]);
    }

    /// Children come behind their parent, whatever was forked in between; a circle harms nobody.
    #[test]
    fn tree_order() {
        let mut b = Builder::new(&["x"]);
        let root = b.process(None, "x", 0);
        let first = b.process(Some(root), "x", 0);
        let second = b.process(Some(root), "x", 0);
        let grandchild = b.process(Some(first), "x", 0);
        let mut trace = b.finish();
        let timeline = Timeline::new(&trace);
        assert_eq!(timeline.order, [root, first, grandchild, second]);
        let forks: Vec<_> = timeline.forks.iter().map(|fork| (fork.parent, fork.child)).collect();
        assert_eq!(forks, [(root, first), (root, second), (first, grandchild)]);
        trace.processes[first].parent = Some(grandchild);
        trace.processes[second].parent = Some(99);
        trace.processes[second].pid = trace.processes[root].pid;
        let timeline = Timeline::new(&trace);
        assert_eq!(timeline.order, [root, second, first, grandchild]);
        let ids: HashSet<u32> = timeline.ids.iter().copied().collect();
        assert_eq!((ids.len(), timeline.ids[root]), (4, trace.processes[root].pid));
    }

    /// The counter starts at 0, ends at the total, has what it had before a pause, and few points.
    #[test]
    fn counter() {
        let mut b = Builder::new(&["x"]);
        let only = b.process(None, "x", 0);
        b.faults(only, 50_000, &import(&["a"]));
        let mut trace = b.finish();
        let copied = trace.summary.copied_bytes;
        trace.faults.last_mut().unwrap().time += trace.summary.duration;
        let points = Timeline::new(&trace).copied.remove(only);
        assert_eq!(points[0], Point { time: 0, pages: 0, bytes: 0 });
        let [.., before, last] = points[..] else { unreachable!("two points") };
        assert_eq!(last, Point { time: trace.faults.last().unwrap().time, pages: 50_000, bytes: copied });
        assert_eq!((before.time, before.bytes), (trace.faults[49_998].time, copied - 4096));
        assert!(points.len() < 2 * usize::try_from(POINTS).unwrap(), "{}", points.len());
        assert!(points.windows(2).all(|two| two[0].bytes < two[1].bytes && two[0].time <= two[1].time));
    }

    /// A fault whose process is not there is passed by.
    #[test]
    fn foreign_faults() {
        let mut b = Builder::new(&["x"]);
        let only = b.process(None, "x", 0);
        b.faults(only, 1, &import(&["a"]));
        let mut trace = b.finish();
        trace.faults[0].process = 5;
        let timeline = Timeline::new(&trace);
        assert_eq!((timeline.imports.len(), timeline.copied[0].len(), timeline.threads.len()), (0, 1, 1));
    }
}
