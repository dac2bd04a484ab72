//! Which program each process ran, and when: memory is shared only among those that run the same one since its exec.

use std::collections::{BTreeMap, HashMap};

use crate::record::schema::Trace;

/// A program from its exec on, in every process that goes on with it after a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Program {
    /// What ran before cowtrace came.
    Before,
    /// Begun while it was watched.
    Begun {
        /// Who began it.
        process: usize,
        /// At which of its execs; 0 = what the trace began with.
        exec: usize,
    },
}

/// The programs of a trace.
pub(super) struct Programs {
    /// By process: what it was forked with.
    first: Vec<Program>,
    /// By process: what it ran last.
    last: Vec<Program>,
    /// By process: when the memory of what it was forked with began to be shared; most never run anything else.
    first_since: Vec<Option<u64>>,
    /// When processes began to share a program's memory.
    shared_since: HashMap<Program, u64>,
    /// The one that had most to share.
    main: Option<Program>,
}

/// Whether the trace began with processes that ran already.
const fn is_before(trace: &Trace) -> bool {
    trace.header.command.is_empty() || trace.header.is_attached()
}

impl Programs {
    /// Follows every process from its fork through its execs.
    pub(super) fn new(trace: &Trace) -> Self {
        let mut programs = Self {
            first: Vec::new(),
            last: Vec::new(),
            first_since: Vec::new(),
            shared_since: HashMap::new(),
            main: None,
        };
        let mut inherited: BTreeMap<Program, u64> = BTreeMap::new();
        for (index, process) in trace.processes.iter().enumerate() {
            // Parents come before their children; anything else is no parent.
            let parent = process.parent.filter(|parent| *parent < index);
            let first = match parent {
                Some(parent) => programs.at(trace, parent, process.start),
                None if is_before(trace) => Program::Before,
                None => Program::Begun { process: index, exec: 0 },
            };
            programs.first.push(first);
            let last = programs.at(trace, index, u64::MAX);
            programs.last.push(last);
            // A child of vfork only borrows: it writes to its parent's pages.
            if parent.is_some() && process.inherited_bytes > 0 {
                let since = programs.shared_since.entry(first).or_insert(process.start);
                *since = process.start.min(*since);
                if last == first {
                    *inherited.entry(first).or_default() += process.inherited_bytes;
                }
            }
        }
        if is_before(trace) {
            programs.shared_since.insert(Program::Before, 0);
        }
        let since = |program| programs.shared_since.get(program).copied();
        programs.first_since = programs.first.iter().map(since).collect();
        let most = inherited.into_iter().rev().max_by_key(|(_, bytes)| *bytes);
        programs.main = most.map(|(program, _)| program).or_else(|| programs.last.first().copied());
        programs
    }

    /// What a process ran at this time.
    fn at(&self, trace: &Trace, process: usize, time: u64) -> Program {
        match trace.processes[process].execs.partition_point(|exec| *exec <= time) {
            0 => self.first[process],
            exec => Program::Begun { process, exec },
        }
    }

    /// What a process ran at this time; `None` = there is no such process.
    pub(super) fn of(&self, trace: &Trace, process: usize, time: u64) -> Option<Program> {
        (process < self.first.len()).then(|| self.at(trace, process, time))
    }

    /// True when the memory of what the process ran at this time was shared by a fork.
    pub(super) fn is_shared(&self, trace: &Trace, process: usize, time: u64) -> bool {
        let Some(first_since) = self.first_since.get(process) else { return false };
        let since = match trace.processes[process].execs.first() {
            Some(exec) if *exec <= time => self.shared_since.get(&self.at(trace, process, time)),
            Some(_) | None => first_since.as_ref(),
        };
        since.is_some_and(|since| time >= *since)
    }

    /// True when the process ran the main program at this time.
    pub(super) fn ran_main(&self, trace: &Trace, process: usize, time: u64) -> bool {
        process < self.first.len() && Some(self.at(trace, process, time)) == self.main
    }

    /// True for processes that ran the main program to their end.
    pub(super) fn is_main(&self, process: usize) -> bool {
        self.last.get(process).is_some_and(|program| Some(*program) == self.main)
    }

    /// True for a process that was forked and still ran the program of its parent.
    pub(super) fn went_on(&self, process: usize) -> bool {
        self.last.get(process) == self.first.get(process)
    }
}
