//! On which side of a fork a process is at a time.

use serde::Serialize;

use super::{life, parent_of};
use crate::record::schema::Trace;

/// Who made a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// A process that was forked.
    Child,
    /// A process that had forked one that lived.
    Parent,
}

/// Tells on which side of a fork a process was at a time.
pub struct Sides<'a> {
    trace: &'a Trace,
    /// By process: when it forked, the execs before, and when the last of those that shared its memory by then was gone.
    forked: Vec<Vec<(u64, usize, u64)>>,
}

impl<'a> Sides<'a> {
    /// Looks at every process once.
    #[must_use]
    pub fn new(trace: &'a Trace) -> Self {
        let processes = &trace.processes;
        let mut gone: Vec<u64> = processes.iter().map(|p| life(p).0.unwrap_or(u64::MAX)).collect();
        let mut forked = vec![Vec::new(); processes.len()];
        // Children come behind their parents.
        for (index, process) in processes.iter().enumerate().rev() {
            let Some(parent) = parent_of(process, index) else { continue };
            let execs = processes[parent].execs.partition_point(|exec| *exec <= process.start);
            if execs == 0 {
                gone[parent] = gone[parent].max(gone[index]);
            }
            forked[parent].push((process.start, execs, gone[index]));
        }
        for forks in &mut forked {
            forks.sort_unstable();
            let mut last: Option<(usize, u64)> = None;
            for (_, execs, gone) in forks.iter_mut() {
                if let Some((_, before)) = last.filter(|(image, _)| *image == *execs) {
                    *gone = before.max(*gone);
                }
                last = Some((*execs, *gone));
            }
        }
        Self { trace, forked }
    }

    /// The side of a process (index into [`Trace::processes`]) at this time; `None` = no fork that was watched shared what
    /// it wrote to.
    #[must_use]
    pub fn of(&self, process: usize, time: u64) -> Option<Side> {
        let of = self.trace.processes.get(process)?;
        let execs = of.execs.partition_point(|exec| *exec <= time);
        let forks = &self.forked[process];
        let last = forks.partition_point(|(start, ..)| *start <= time).checked_sub(1).map(|at| forks[at]);
        let last = last.filter(|(_, image, _)| *image == execs);
        if last.is_some_and(|(_, _, gone)| gone > time) {
            return Some(Side::Parent);
        }
        if execs == 0 && parent_of(of, process).is_some() {
            return Some(Side::Child);
        }
        last.map(|_| Side::Parent)
    }
}
