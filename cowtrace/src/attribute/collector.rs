//! Collections in interpreters whose functions have no names: many collector heads in a row, written by one instruction
//! under one stack, is what a collection looks like and hardly anything else does.

use std::collections::HashMap;

/// So many in a row are a collection; a list that loses a few neighbours makes fewer.
const RUN: usize = 8;

/// The runs of all threads.
#[derive(Debug, Default)]
pub(super) struct Runs {
    threads: HashMap<(usize, u32), Run>,
}

#[derive(Debug, Default)]
struct Run {
    ip: u64,
    stack: u64,
    faults: Vec<usize>,
    long: bool,
}

/// What a fault does to its thread's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not in a collection, as far as can be told now.
    No,
    /// In one; so were these faults, which could not be told before.
    Yes(Vec<usize>),
}

impl Runs {
    /// A fault on a collector's head, by its number in the list of faults.
    pub(super) fn head(&mut self, process: usize, tid: u32, ip: u64, stack: u64, fault: usize) -> Answer {
        let run = self.threads.entry((process, tid)).or_default();
        if run.ip != ip || run.stack != stack {
            *run = Run { ip, stack, ..Run::default() };
        }
        if run.long {
            return Answer::Yes(Vec::new());
        }
        run.faults.push(fault);
        if run.faults.len() < RUN {
            return Answer::No;
        }
        run.long = true;
        let mut earlier = std::mem::take(&mut run.faults);
        earlier.pop();
        Answer::Yes(earlier)
    }

    /// A fault on something else ends the thread's run, unless it came from within the collection: another instruction
    /// under the same stack, while the run goes on.
    pub(super) fn other(&mut self, process: usize, tid: u32, stack: u64) {
        if let Some(run) = self.threads.get_mut(&(process, tid))
            && run.stack != stack
        {
            *run = Run::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The eighth in a row tells of the seven before; a ninth needs to tell nothing.
    #[test]
    fn a_run_is_told_late_but_whole() {
        let mut runs = Runs::default();
        for fault in 0..RUN - 1 {
            assert_eq!(runs.head(0, 1, 5, 9, fault), Answer::No);
        }
        let earlier: Vec<usize> = (0..RUN - 1).collect();
        assert_eq!(runs.head(0, 1, 5, 9, RUN - 1), Answer::Yes(earlier));
        assert_eq!(runs.head(0, 1, 5, 9, RUN), Answer::Yes(Vec::new()));
    }

    /// Another stack in between begins a new run; another thread does not.
    #[test]
    fn a_run_is_one_thread_under_one_stack() {
        let mut runs = Runs::default();
        for fault in 0..RUN {
            runs.other(0, 1, 8);
            assert_eq!(runs.head(0, 1, 5, 9, fault), Answer::No);
        }
        for fault in 0..RUN - 1 {
            runs.head(0, 2, 5, 9, fault);
            runs.other(0, 3, 8);
        }
        assert!(matches!(runs.head(0, 2, 5, 9, RUN), Answer::Yes(_)));
    }
}
