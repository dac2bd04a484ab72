//! The tree of processes: who forked whom, what each runs, which memory each has mapped. Stage 5.
//!
//! Events come in the order in which the kernel wrote them, which for forks, execs and exits of one process is the order
//! in which they happened.

mod mapped;

use std::collections::HashMap;
use std::iter;
use std::sync::Arc;

use cowtrace_ebpf::event::{self as raw, exit_flag, fork_flag};
use cowtrace_ebpf::state::{ModuleTable, ProcessKey};

use super::baseline::Baseline;
use super::existing::Arrival;
use super::mmap_log::MmapLog;
use crate::event::Exec;
use crate::page::PageSize;

pub use mapped::Mapped;

/// One process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its identity.
    pub key: ProcessKey,
    /// Its number as a parent's, for the command itself cowtrace's.
    pub parent_pid: u32,
    /// Index of the parent; `None` = the command itself.
    pub parent: Option<usize>,
    /// 0 for the command itself, +1 for each fork.
    pub generation: u32,
    /// When it was forked.
    pub start: u64,
    /// When its last thread exited.
    pub end: Option<u64>,
    /// When it ran another program.
    pub execs: Vec<u64>,
    /// Last name.
    pub comm: [u8; 16],
    /// The file it runs, as it was named to exec.
    pub exe: Vec<u8>,
    /// The command line of what it runs.
    pub command: Vec<Vec<u8>>,
    /// Pages it inherited; of one that was there before its baseline tells.
    pub inherited_pages: u64,
    /// It was there before, and what it had when it began to be followed.
    pub attached: Option<Attached>,
    /// The container that it is in.
    pub container: Option<Arc<str>>,
    /// It began in its parent's own memory (vfork, `posix_spawn`).
    pub borrows: bool,
    /// As `wait` has it.
    pub exit_code: Option<u32>,
    /// Identity of what it runs: shared with those it was forked from since the last exec.
    pub image: u64,
    /// Where the interpreter's module table lay at the last fork.
    pub modules: ModuleTable,
    /// Identity of the interpreter stack inside whose fork it was made, or which it forked last; 0 = none.
    pub fork_stack: u64,
    forked: bool,
    /// Where its image's `brk` heap begins; 0 = not known.
    heap: u64,
    maps: Option<Mapped>,
    reads: u32,
}

/// What is known of a process that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// Its memory was not looked at yet, or could not be.
    Unknown,
    /// It had this.
    Had(Baseline),
}

impl Process {
    /// A process of which only its identity is known.
    fn new(key: ProcessKey) -> Self {
        Self {
            key,
            parent_pid: 0,
            parent: None,
            generation: 0,
            start: key.start,
            end: None,
            execs: Vec::new(),
            comm: [0; 16],
            exe: Vec::new(),
            command: Vec::new(),
            inherited_pages: 0,
            borrows: false,
            attached: None,
            container: None,
            exit_code: None,
            image: 0,
            modules: bytemuck::Zeroable::zeroed(),
            fork_stack: 0,
            forked: true,
            heap: 0,
            maps: None,
            reads: 0,
        }
    }

    /// What a process that was there before had when it began to be followed.
    #[must_use]
    pub const fn baseline(&self) -> Option<Baseline> {
        match self.attached {
            Some(Attached::Had(baseline)) => Some(baseline),
            Some(Attached::Unknown) | None => None,
        }
    }

    /// Memory that it inherited, which the kernel counts in pages, or shared when it began to be followed.
    #[must_use]
    pub fn inherited_bytes(&self, pages: PageSize) -> u64 {
        self.baseline().map_or_else(|| pages.of_pages(self.inherited_pages), |baseline| baseline.shared)
    }
}

/// All processes.
#[derive(Debug, Default)]
pub struct Tree {
    processes: Vec<Process>,
    indices: HashMap<ProcessKey, usize>,
    readings: u64,
    /// What the kernel told of mappings.
    log: MmapLog,
}

impl Tree {
    /// Begins without a process.
    #[must_use]
    pub fn empty(log: MmapLog) -> Self {
        Self { log, ..Self::default() }
    }

    /// Begins with the command itself; of mappings that cannot be read any more, the log is asked.
    #[must_use]
    pub fn new(key: ProcessKey, parent_pid: u32, log: MmapLog) -> Self {
        let mut tree = Self::empty(log);
        tree.add(Process { parent_pid, image: key.start, forked: false, ..Process::new(key) });
        tree
    }

    fn add(&mut self, process: Process) -> usize {
        let index = self.processes.len();
        self.indices.insert(process.key, index);
        self.processes.push(process);
        index
    }

    /// All processes, in the order in which they were made.
    #[must_use]
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// Index of a process; `None` = its fork was not seen.
    #[must_use]
    pub fn index(&self, key: ProcessKey) -> Option<usize> {
        self.indices.get(&key).copied()
    }

    /// The process with an index from [`Tree::index`].
    #[must_use]
    pub fn get(&self, index: usize) -> &Process {
        &self.processes[index]
    }

    /// A process whose fork was lost on the way: only that it was there is known, until [`Tree::complete`].
    pub fn lost(&mut self, key: ProcessKey) -> usize {
        self.add(Process::new(key))
    }

    /// A process that was there before is followed from now on. One of which events have come already is filled in; one
    /// that turned out to be forked while it was looked for is left as it is.
    pub fn attach(&mut self, found: &Arrival) {
        let index = self.index(found.key).unwrap_or_else(|| self.lost(found.key));
        if self.processes[index].image != 0 {
            return;
        }
        let parent = self.index(found.parent).filter(|&parent| !self.is_below(parent, index));
        let same = parent.is_some_and(|parent| self.processes[parent].image == found.image);
        let process = &mut self.processes[index];
        process.parent_pid = found.parent_pid;
        process.parent = parent;
        process.generation = found.generation;
        // It was forked by its parent and then ran what it runs.
        process.execs = if parent.is_some() && !same { vec![0] } else { Vec::new() };
        process.comm = found.comm;
        process.exe.clone_from(&found.exe);
        process.command.clone_from(&found.command);
        process.attached = Some(Attached::Unknown);
        process.container.clone_from(&found.container);
        process.image = found.image;
    }

    /// Where the module table of a process lies.
    pub fn modules(&mut self, index: usize, modules: ModuleTable) {
        self.processes[index].modules = modules;
    }

    /// What a process had when it began to be followed.
    pub fn had(&mut self, key: ProcessKey, baseline: Baseline) {
        let process = self.index(key).map(|index| &mut self.processes[index]);
        if let Some(attached) = process.and_then(|process| process.attached.as_mut()) {
            *attached = Attached::Had(baseline);
        }
    }

    /// What the kernel's table tells of a process whose fork was lost.
    pub fn complete(&mut self, key: ProcessKey, parent: ProcessKey, generation: u32) {
        let index = self.index(key).unwrap_or_else(|| self.lost(key));
        if self.processes[index].image != 0 {
            return;
        }
        let parent_index = self.index(parent).filter(|&parent| !self.is_below(parent, index));
        let process = &mut self.processes[index];
        process.parent_pid = parent.pid;
        process.parent = parent_index;
        process.generation = generation;
    }

    /// The kernel's table says that a process has ended, whether or not its exit was told.
    pub fn ended(&mut self, key: ProcessKey, by: u64) {
        if let Some(index) = self.index(key) {
            self.processes[index].end.get_or_insert(by);
        }
    }

    /// Whether a process itself began what it runs, by exec, and has not forked since.
    #[must_use]
    pub fn began(&self, index: usize) -> bool {
        let process = &self.processes[index];
        let inherited = process.parent.is_some_and(|parent| self.processes[parent].image == process.image);
        !inherited && !process.forked
    }

    /// Whether a process is another one or was forked from it, at whatever distance.
    fn is_below(&self, index: usize, above: usize) -> bool {
        iter::successors(Some(index), |&at| self.processes[at].parent).any(|at| at == above)
    }

    /// Whether every process has ended.
    #[must_use]
    pub fn all_ended(&self) -> bool {
        self.processes.iter().all(|process| process.end.is_some())
    }

    /// A process or thread was made.
    pub fn fork(&mut self, fork: &raw::Fork) {
        if fork.flags & fork_flag::THREAD != 0 {
            return;
        }
        // A parent that was there before may fork before all is known of it.
        let parent = Some(self.index(fork.parent).unwrap_or_else(|| self.lost(fork.parent)));
        if let Some(parent) = parent {
            let process = &mut self.processes[parent];
            if fork.flags & fork_flag::SHARES_MEMORY == 0 {
                process.modules = fork.modules;
                process.fork_stack = fork.stack;
            }
            process.forked = true;
            process.reads = 0;
        }
        let from = parent.map(|parent| &self.processes[parent]);
        // A process that is forked is new: whoever is below it already is so by a mistake.
        let known = self.index(fork.child);
        let parent = parent.filter(|&parent| known.is_none_or(|child| !self.is_below(parent, child)));
        let process = Process {
            key: fork.child,
            parent_pid: fork.parent.pid,
            parent,
            generation: fork.generation,
            start: fork.header.time,
            end: None,
            execs: Vec::new(),
            comm: fork.comm,
            exe: from.map(|process| process.exe.clone()).unwrap_or_default(),
            command: from.map(|process| process.command.clone()).unwrap_or_default(),
            inherited_pages: fork.inherited_pages,
            attached: None,
            container: from.and_then(|process| process.container.clone()),
            borrows: fork.flags & fork_flag::SHARES_MEMORY != 0,
            exit_code: None,
            image: fork.image,
            modules: fork.modules,
            fork_stack: fork.stack,
            forked: false,
            heap: from.map_or(0, |process| process.heap),
            maps: from.and_then(|process| process.maps.clone()),
            reads: 0,
        };
        match known {
            Some(index) => self.processes[index] = process,
            None => {
                self.add(process);
            }
        }
    }

    /// A process runs another program: its memory is new.
    pub fn exec(&mut self, exec: &Exec) {
        let Some(index) = self.index(exec.process) else { return };
        let process = &mut self.processes[index];
        process.execs.push(exec.time);
        process.comm = exec.comm;
        // By these names a process runs again what it runs.
        let again = [&b"/proc/self/exe"[..], b"/proc/thread-self/exe"].contains(&exec.file.as_slice());
        if !again || process.exe.is_empty() {
            process.exe.clone_from(&exec.file);
        }
        process.command.clone_from(&exec.arguments);
        process.image = exec.time;
        process.modules = bytemuck::Zeroable::zeroed();
        process.fork_stack = 0;
        process.forked = false;
        process.heap = exec.heap;
        process.maps = None;
        process.reads = 0;
    }

    /// A thread has ended.
    pub fn exit(&mut self, exit: &raw::Exit) {
        let Some(index) = self.index(exit.process) else { return };
        let process = &mut self.processes[index];
        let last = exit.flags & exit_flag::LAST != 0;
        // Threads have names of their own; a process is called as its first one.
        if exit.tid == exit.process.pid {
            process.comm = exit.comm;
        }
        if exit.tid == exit.process.pid || (last && process.exit_code.is_none()) {
            // Other threads have names of their own.
            process.comm = exit.comm;
            process.exit_code = Some(exit.code);
        }
        if last {
            process.end = Some(exit.header.time);
        }
    }
}

#[cfg(test)]
mod tests;
