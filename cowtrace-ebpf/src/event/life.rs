//! What happens in the tree's life: forks, execs, exits, and processes that were there before.

use bytemuck::{Pod, Zeroable};

use super::Header;
use crate::state::{ModuleTable, ProcessKey};

/// Bits of [`Fork::flags`].
pub mod fork_flag {
    /// A thread of the same process.
    pub const THREAD: u32 = 1 << 0;
    /// A new process in the same memory (vfork, `posix_spawn`).
    pub const SHARES_MEMORY: u32 = 1 << 1;
}

/// A new process or thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Fork {
    /// Kind, time.
    pub header: Header,
    /// Who forked.
    pub parent: ProcessKey,
    /// The new process (for a thread: the same as `parent`).
    pub child: ProcessKey,
    /// Thread that forked.
    pub parent_tid: u32,
    /// Thread id of the new one.
    pub child_tid: u32,
    /// Bits of [`fork_flag`].
    pub flags: u32,
    /// The child's generation.
    pub generation: u32,
    /// The child's private pages at this moment: anonymous resident and swapped out, as the kernel's counters tell.
    pub inherited_pages: u64,
    /// The module table, to be found again in the child.
    pub modules: ModuleTable,
    /// Identity of the interpreter stack that forked; 0 = none. Parent and child are still inside the fork while their
    /// outermost frames are these.
    pub stack: u64,
    /// The child's image.
    pub image: u64,
    /// The name it starts with.
    pub comm: [u8; 16],
}

/// Bytes kept of an executed file's name.
pub const EXEC_FILE: usize = 256;
/// Bytes kept of a command line.
pub const ARGUMENTS: usize = 1024;

/// A process runs another program.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Exec {
    /// Kind, time.
    pub header: Header,
    /// The process, whose memory is new from here on.
    pub process: ProcessKey,
    /// Where its `brk` heap begins, of which there is nothing yet; not the start of a page; 0 = not readable.
    pub heap: u64,
    /// The new name.
    pub comm: [u8; 16],
    /// Length of `file` with its terminating zero; 0 = not readable.
    pub file_len: u32,
    /// Length of `arguments`; 0 = not readable.
    pub arguments_len: u32,
    /// The file as it was named to exec.
    pub file: [u8; EXEC_FILE],
    /// The arguments, each ended by a zero byte.
    pub arguments: [u8; ARGUMENTS],
}

/// Bits of [`Exit::flags`].
pub mod exit_flag {
    /// It was the last thread: the process has ended.
    pub const LAST: u32 = 1 << 0;
}

/// A thread has exited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Exit {
    /// Kind, time.
    pub header: Header,
    /// Its process.
    pub process: ProcessKey,
    /// Thread id.
    pub tid: u32,
    /// `task_struct.exit_code`: status << 8 or the signal, as `wait` has it.
    pub code: u32,
    /// Bits of [`exit_flag`].
    pub flags: u32,
    /// Always zero.
    pub zero: u32,
    /// Last name.
    pub comm: [u8; 16],
}

/// A process for which no interpreter is known goes on faulting: time to look at its mappings again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Hint {
    /// Kind, time.
    pub header: Header,
    /// The process.
    pub process: ProcessKey,
}

/// A process that was there before is followed from now on, because of its parents or its cgroup. Processes that userspace
/// itself puts into [`crate::state::FOLLOW`] are not told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Join {
    /// Kind, time.
    pub header: Header,
    /// The process.
    pub process: ProcessKey,
    /// The nearest process above it that is followed; zeros = none is.
    pub parent: ProcessKey,
    /// Identity of what it runs.
    pub image: u64,
    /// Generations below `parent`'s.
    pub generation: u32,
    /// Always zero.
    pub zero: u32,
    /// Its name.
    pub comm: [u8; 16],
}

/// Where the module table of a process lies that was there before, as it is before the first write that is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Modules {
    /// Kind, time.
    pub header: Header,
    /// The process.
    pub process: ProcessKey,
    /// The table.
    pub modules: ModuleTable,
}
