//! What each fork cost while its child lived, and on which side of a fork a copy was made.
//!
//! Two processes share pages after a fork; whoever writes to one first copies it. During redis' BGSAVE that is the process
//! that forked, not its child.
//!
//! * **Side.** A copy is on the *parent* side while a process that the writer had forked, or one that was forked from
//!   that, was alive in the memory that it was forked with; on the *child* side otherwise, if the writer was forked itself
//!   and has run no other program since. What is left is a copy just behind the end of the last such child, whose memory
//!   was not torn down yet (parent side), or of a page that no fork shared that was watched: of pages that KSM had merged,
//!   or of memory that was shared before the trace began (neither).
//! * **Life.** From the fork to the child's exit or exec, what the child copied, and what its parent copied meanwhile. When
//!   several children live at once, a copy by their parent is counted for each of them: these figures are no parts of a sum.
//!
//! redis' own figure, `rdb_last_cow_size`, is the child's `Private_Dirty` of `/proc/PID/smaps`, read by the child at its end:
//! <https://github.com/redis/redis/blob/7.0.15/src/childinfo.c>,
//! <https://github.com/redis/redis/blob/7.0.15/src/zmalloc.c> (`zmalloc_get_private_dirty`). A page is private there when no
//! other process maps it: pages that the child copied, and old pages that the child has for itself since its parent copied
//! them. So the sum of both sides is the figure to compare. redis' has, beyond it, pages that are the child's alone without
//! a copy: what it allocated anew, pages of files that it wrote to (`file_copy`), and pages that its parent has given back.

mod sides;

use serde::Serialize;

use super::schema::{Outcome, Process, Trace};

pub use sides::{Side, Sides};

/// How the life of a fork ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The child exited.
    Exit,
    /// The child ran another program.
    Exec,
    /// Not before the trace did.
    Running,
}

/// Pages that were copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Copies {
    /// Faults with outcome `copy`.
    pub copies: u64,
    /// Their bytes.
    pub copied_bytes: u64,
}

/// One fork that shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The child, an index into [`Trace::processes`].
    pub process: usize,
    /// Who forked it, another.
    pub parent: usize,
    /// When.
    pub start: u64,
    /// When its life ended; `None` = it was running when the trace ended.
    pub end: Option<u64>,
    /// How.
    pub ended: Ended,
    /// Copied by the child in its life.
    pub by_child: Copies,
    /// Copied by the parent meanwhile.
    pub by_parent: Copies,
    /// Copies of either process of which it is not known when they were made: so many more there may be.
    pub lost: u64,
}

impl Fork {
    /// What both have copied.
    #[must_use]
    pub const fn total(&self) -> Copies {
        let (child, parent) = (self.by_child, self.by_parent);
        Copies {
            copies: child.copies + parent.copies,
            copied_bytes: child.copied_bytes + parent.copied_bytes,
        }
    }
}

/// A fork as JSON has it, in JSON Lines and in a report.
#[derive(Clone, Debug, Serialize)]
pub struct ForkLine {
    pid: u32,
    ppid: u32,
    start: u64,
    end: Option<u64>,
    ended: Ended,
    by_child: Copies,
    by_parent: Copies,
    copied_bytes: u64,
    lost: u64,
}

/// The line of a fork.
#[must_use]
pub fn line(trace: &Trace, fork: &Fork) -> ForkLine {
    let pid = |process: usize| trace.processes.get(process).map_or(0, |process| process.pid);
    ForkLine {
        pid: pid(fork.process),
        ppid: pid(fork.parent),
        start: fork.start,
        end: fork.end,
        ended: fork.ended,
        by_child: fork.by_child,
        by_parent: fork.by_parent,
        copied_bytes: fork.total().copied_bytes,
        lost: fork.lost,
    }
}

/// Who forked it; parents come before their children, anything else is no parent.
fn parent_of(process: &Process, index: usize) -> Option<usize> {
    process.forked_from().filter(|parent| *parent < index)
}

/// When a process gave up the memory that it was forked with.
fn life(process: &Process) -> (Option<u64>, Ended) {
    match (process.execs.first(), process.end) {
        (Some(exec), _) => (Some(*exec), Ended::Exec),
        (None, Some(end)) => (Some(end), Ended::Exit),
        (None, None) => (None, Ended::Running),
    }
}

/// Every fork that shared memory, in the order of their children.
#[must_use]
pub fn forks(trace: &Trace) -> Vec<Fork> {
    // Of sums nobody knows which of them was before an end.
    if !trace.alike.is_empty() {
        return Vec::new();
    }
    let spans: Vec<Span> =
        trace.processes.iter().enumerate().filter_map(|(index, _)| span(trace, index)).collect();
    let mut counts = vec![Counts::default(); trace.processes.len()];
    for span in &spans {
        counts[span.process].times.extend([span.start, span.child_until]);
        counts[span.parent].times.extend([span.start, span.parent_until]);
    }
    counts.iter_mut().for_each(Counts::begin);
    for fault in trace.faults.iter().filter(|fault| fault.outcome == Outcome::Copy) {
        if let Some(counts) = counts.get_mut(fault.process) {
            counts.copy(fault.time, fault.bytes);
        }
    }
    let lost = |process: usize| trace.processes[process].totals.of(Outcome::Copy).lost;
    let forks = spans.into_iter().map(|Span { process, parent, start, child_until, parent_until }| {
        let (end, ended) = life(&trace.processes[process]);
        Fork {
            process,
            parent,
            start,
            end,
            ended,
            by_child: counts[process].between(start, child_until),
            by_parent: counts[parent].between(start, parent_until),
            lost: lost(process) + lost(parent),
        }
    });
    forks.collect()
}

/// When the copies of a fork count.
struct Span {
    process: usize,
    parent: usize,
    start: u64,
    /// Up to when those by the child do.
    child_until: u64,
    /// Up to when those by the parent do.
    parent_until: u64,
}

/// The fork that made a process; `None` = no fork that was watched, or none that shared memory.
fn span(trace: &Trace, index: usize) -> Option<Span> {
    let process = &trace.processes[index];
    let parent = parent_of(process, index)?;
    let child_until = life(process).0.unwrap_or(u64::MAX);
    // What the parent runs next has other memory.
    let exec = trace.processes[parent].execs.iter().copied().find(|exec| *exec > process.start);
    let parent_until = exec.unwrap_or(u64::MAX).min(child_until);
    Some(Span { process: index, parent, start: process.start, child_until, parent_until })
}

/// What one process had copied by certain times: there are few of them, and many copies.
#[derive(Clone, Default)]
struct Counts {
    /// The times, sorted from [`Counts::begin`] on.
    times: Vec<u64>,
    /// What had been copied before each of them; those that no copy has reached yet are missing.
    before: Vec<Copies>,
    now: Copies,
}

impl Counts {
    fn begin(&mut self) {
        self.times.sort_unstable();
        self.times.dedup();
    }

    /// Copies come in the order of time.
    fn copy(&mut self, time: u64, bytes: u64) {
        while self.times.get(self.before.len()).is_some_and(|reached| *reached <= time) {
            self.before.push(self.now);
        }
        self.now.copies += 1;
        self.now.copied_bytes = self.now.copied_bytes.saturating_add(bytes);
    }

    fn between(&self, from: u64, until: u64) -> Copies {
        let at = |time: u64| self.times.binary_search(&time).ok().and_then(|at| self.before.get(at));
        let (first, behind) = (at(from).unwrap_or(&self.now), at(until).unwrap_or(&self.now));
        Copies {
            copies: behind.copies.saturating_sub(first.copies),
            copied_bytes: behind.copied_bytes.saturating_sub(first.copied_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::{Builder, operation, page, write};

    /// A server that saves: it copies while the child lives, before and after nothing is counted.
    #[test]
    fn both_sides_in_the_childs_life() {
        let mut b = Builder::new(&["redis-server"]);
        let copy = page(operation("native", ""), write("unknown", "", ""), None);
        let server = b.process(None, "redis-server", 0);
        let saver = b.process(Some(server), "redis-rdb-bgsave", 1 << 20);
        b.faults(saver, 3, &copy);
        b.faults(server, 7, &copy);
        let mut trace = b.finish();
        trace.processes[saver].end = trace.faults.last().map(|fault| fault.time);
        let forks = forks(&trace);
        assert_eq!(forks.len(), 1);
        assert_eq!(forks[0].by_child, Copies { copies: 3, copied_bytes: 3 * 4096 });
        // The last one came at its end.
        assert_eq!(forks[0].by_parent, Copies { copies: 6, copied_bytes: 6 * 4096 });
        assert_eq!((forks[0].ended, forks[0].lost), (Ended::Exit, 0));
        let sides = Sides::new(&trace);
        let side = |nth: usize| sides.of(trace.faults[nth].process, trace.faults[nth].time);
        assert_eq!((side(0), side(3)), (Some(Side::Child), Some(Side::Parent)));
        // Behind its end there is nobody else.
        assert_eq!(side(9), Some(Side::Parent));
        assert_eq!(sides.of(server, 0), None);
    }

    /// A copy at the moment of an end is behind it; lives may begin and end before the first copy and behind the last.
    #[test]
    fn counts_by_times() {
        let mut counts = Counts { times: vec![u64::MAX, 5, 30, 10, 20, 20], ..Counts::default() };
        counts.begin();
        for time in [10, 15, 20, 25] {
            counts.copy(time, 4096);
        }
        let copies = |from, until| counts.between(from, until).copies;
        assert_eq!(copies(5, 10), 0);
        assert_eq!((copies(5, 20), copies(10, 20), copies(20, 30)), (2, 2, 2));
        assert_eq!((copies(5, u64::MAX), copies(30, u64::MAX)), (4, 0));
        assert_eq!(copies(30, 5), 0, "the end before the beginning");
        assert_eq!(counts.between(5, 30).copied_bytes, 4 * 4096);
    }

    /// A process in the middle is its child's parent while that lives, its grandchildren included, and a child again then.
    #[test]
    fn a_child_that_forks() {
        let mut b = Builder::new(&["tree"]);
        let indices: Vec<usize> =
            (0..4u64).map(|nth| b.process((nth as usize).checked_sub(1), "tree", nth * 4096)).collect();
        let mut trace = b.finish();
        let times = [(0, None), (100, None), (200, Some(300)), (250, Some(400))];
        for (index, (start, end)) in indices.iter().zip(times) {
            (trace.processes[*index].start, trace.processes[*index].end) = (start, end);
        }
        let at = |trace: &Trace, process, time| Sides::new(trace).of(process, time);
        assert_eq!(at(&trace, 1, 150), Some(Side::Child));
        assert_eq!(at(&trace, 1, 299), Some(Side::Parent));
        assert_eq!(at(&trace, 1, 399), Some(Side::Parent), "the grandchild lives");
        assert_eq!(at(&trace, 1, 400), Some(Side::Child));
        // The grandchild runs something else.
        trace.processes[3].execs = vec![350];
        assert_eq!(at(&trace, 1, 360), Some(Side::Child));
        assert_eq!(at(&trace, 3, 360), None, "its memory is new");
        // So does the one in the middle.
        trace.processes[1].execs = vec![320];
        assert_eq!(at(&trace, 1, 330), None);
        assert_eq!(forks(&trace)[0].ended, Ended::Exec);
    }
}
