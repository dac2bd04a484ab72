//! Values of the maps that both sides touch: the process table with its totals.

use bytemuck::{Pod, Zeroable};

use crate::outcome::OUTCOMES;

/// Name of the hash map [`ProcessKey`] → [`Process`].
pub const PROCESSES: &str = "PROCESSES";
/// Name of the hash map tid → thread slot. Userspace only seeds it (see [`Thread`]) and reads what is left at the end.
pub const THREADS: &str = "THREADS";
/// Set in a key of [`THREADS`]: the slot is for one fault that the thread with the rest of the number causes in another process's
/// memory, which is the process of the slot. Thread ids are below 2^22.
pub const FOREIGN: u32 = 1 << 31;
/// Name of the ring buffer.
pub const RING: &str = "RING";
/// Name of the per-CPU array of dropped records, indexed by [`crate::drops::DropReason`].
pub const DROPS: &str = "DROPS";
/// Name of the array of one [`Session`].
pub const SESSION: &str = "SESSION";

/// Name of the hash map process id → [`Follow`], used with [`crate::config::ATTACH`] alone: every living process of the
/// tree. Whoever puts a process in first, userspace or the kernel program, gives it its key; the kernel program takes it
/// out at the exit of its last thread.
pub const FOLLOW: &str = "FOLLOW";
/// Name of the array of one [`Attaching`], written by userspace alone.
pub const ATTACHING: &str = "ATTACHING";

/// A process, told apart from an earlier one with the same number by its start time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C)]
pub struct ProcessKey {
    /// `task_struct.start_time` of the group leader, nanoseconds of `CLOCK_MONOTONIC`. For the command itself and processes
    /// that were there before, a time that userspace chose: about when they were made.
    pub start: u64,
    /// Process id (tgid) in the initial PID namespace.
    pub pid: u32,
    /// Always zero.
    pub zero: u32,
}

/// The memory of the module table as it was at the last fork.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ModuleTable {
    /// Address of the dict object; 0 = not known.
    pub dict: u64,
    /// Address of its keys table; 0 = not known.
    pub keys: u64,
    /// First bytes of the keys table.
    pub header: [u8; 32],
}

/// [`Process::flags`]: shares its memory with the parent until it calls exec (vfork, `CLONE_VM`).
pub const SHARES_MEMORY: u32 = 1 << 0;
/// [`Process::flags`]: its last thread has exited.
pub const ENDED: u32 = 1 << 1;
/// [`Process::flags`]: userspace has looked and will not look again: no more hints.
pub const NO_HINTS: u32 = 1 << 2;

/// [`Process::flags`]: was there before; its threads were not counted one by one, the kernel's own count holds.
pub const JOINED: u32 = 1 << 3;
/// [`Process::flags`]: with [`JOINED`], its module table was looked for.
pub const LOOKED: u32 = 1 << 4;

/// Name of the hash map [`Process::image`] → [`Assignment`], written by userspace alone.
pub const ASSIGNMENTS: &str = "ASSIGNMENTS";
/// Name of the array of one counter that userspace raises after each new assignment.
pub const ASSIGNED: &str = "ASSIGNED";

/// Which interpreter an image runs, and where its state lies: for every process that has the image, by exec or fork.
///
/// Userspace never writes into [`PROCESSES`] while a process lives; the kernel program copies this at the process's
/// next fault or fork.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Assignment {
    /// Address of the interpreter's runtime state.
    pub runtime: u64,
    /// Address of the type of types.
    pub type_type: u64,
    /// Address of the type of strings.
    pub string_type: u64,
    /// Index into the plans; 0 = none, and no more hints.
    pub plan: u32,
    /// Always zero.
    pub zero: u32,
}

/// What the kernel program knows of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Process {
    /// When the image was made: time of the last exec, inherited through forks. Names of code and types hold within it.
    pub image: u64,
    /// Address of the interpreter's runtime state.
    pub runtime: u64,
    /// Address of the type of types.
    pub type_type: u64,
    /// Address of the type of strings.
    pub string_type: u64,
    /// Code object of the plan's `argument_function`, once met.
    pub argument_code: u64,
    /// Value of [`Session::argument_codes`] when it was last looked for in vain.
    pub argument_checked: u64,
    /// The module table at the last fork; with [`JOINED`] at the first look at its frames, if that was later.
    pub modules: ModuleTable,
    /// Who forked it; zeros for the command itself.
    pub parent: ProcessKey,
    /// Index into the plans; 0 = no interpreter known.
    pub plan: u32,
    /// 0 for the command itself, +1 for each fork.
    pub generation: u32,
    /// Bits above.
    pub flags: u32,
    /// Forks that write-protected this process's pages (as parent or child); tells writes to one page apart.
    pub epoch: u32,
    /// Threads alive; not right with [`JOINED`].
    pub threads: u64,
    /// Value of [`ASSIGNED`] when the assignments were last looked at.
    pub checked: u64,
    /// Totals of the threads that are gone.
    pub totals: Totals,
}

/// A living process of a tree that was there before, or came from one that was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Follow {
    /// Its identity.
    pub key: ProcessKey,
    /// See [`Process::parent`].
    pub parent: ProcessKey,
    /// See [`Process::image`].
    pub image: u64,
    /// See [`Process::generation`].
    pub generation: u32,
    /// Not 0: its faults count. Before, userspace is still finding out what it is.
    pub armed: u32,
}

/// Which processes the kernel program takes into [`FOLLOW`] by itself, at their next fork or exec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Attaching {
    /// Not 0 while userspace looks for the tree's processes: those with a parent, grandparent, … in the tree.
    pub kin: u64,
    /// Those in the cgroup (v2) with this id, or in one below it; 0 = none.
    pub cgroup: u64,
}

/// Faults counted in the kernel: right even when details are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Totals {
    /// Bytes of `copy` outcomes: [`crate::page::PageSize::together`] by each page's order.
    pub copied_bytes: u64,
    /// Bytes of `file_copy` outcomes.
    pub file_copied_bytes: u64,
    /// Nanoseconds spent in the fault-entry probe, from a sample of the faults.
    pub probe_ns: u64,
    /// Faults by outcome.
    pub faults: [u64; OUTCOMES],
    /// Of these, the ones that are not listed because nothing was shared yet, or the outcome is not asked for.
    pub unlisted: [u64; OUTCOMES],
    /// Of these, the ones whose details were lost.
    pub lost: [u64; OUTCOMES],
}

impl Totals {
    /// Adds another thread's or process's totals.
    pub fn add(&mut self, other: &Totals) {
        let mut outcome = 0;
        while outcome < OUTCOMES {
            self.faults[outcome] += other.faults[outcome];
            self.unlisted[outcome] += other.unlisted[outcome];
            self.lost[outcome] += other.lost[outcome];
            outcome += 1;
        }
        self.copied_bytes += other.copied_bytes;
        self.file_copied_bytes += other.file_copied_bytes;
        self.probe_ns += other.probe_ns;
    }
}

/// One thread of the tree: its totals so far and the fault that is being handled or was handled last.
///
/// A fault is decided and written when the thread's next one begins, at its exit, or at the end of the session.
///
/// What every fault touches comes first, so that it takes few cache lines: the copying of a page has just emptied the
/// cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Thread {
    /// Bits of [`pending`].
    pub pending: u32,
    /// Resident-set counters that changed in this fault.
    pub rss: u32,
    /// Kernel address of the registers that the fault interrupted.
    pub registers: u64,
    /// `struct page` of the page allocated in this fault; 0 = none.
    pub page: u64,
    /// Time of the fault's end, 0 = not measured.
    pub end: u64,
    /// Faults that began in this thread.
    pub begun: u64,
    /// One more than [`ASSIGNED`] was when the process was last seen to have one thread and no interpreter; 0 = it has to
    /// be looked at.
    pub plain: u64,
    /// [`Process::image`] as it was then.
    pub image: u64,
    /// The program's own registers in this fault; those that it interrupted, or that its system call was made with.
    pub user: UserRegisters,
    /// What its native stack was known by last.
    pub near: crate::native::Near,
    /// What the fault interrupted: to tell whether the kernel is still in it.
    pub interrupted: Interrupted,
    /// Totals since this thread began.
    pub totals: Totals,
    /// The record under construction.
    pub fault: crate::event::Fault,
    /// The process that it belongs to.
    pub process: ProcessKey,
    /// `task_struct.start_time` of this thread.
    pub start: u64,
    /// Last interpreter thread state found for this thread; checked before use.
    pub thread_state: u64,
    /// The innermost interpreter frame that the last walk found; 0 = none.
    pub innermost: u64,
    /// Of the last faults for which the values of that frame were not needed anew.
    pub run: Run,
    /// `mm_struct` that the fault is in, with [`crate::config::FUNCTIONS`].
    pub memory: u64,
    /// With [`pending::COUNTING`]: what the thread had kept of the resident-set counters when the fault began.
    pub counters: [i32; COUNTERS],
}

/// Writes of one instruction, called from the same place, that go through memory page by page: what it works on is
/// read at the first of them, and now and then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Run {
    /// [`crate::event::Fault::stack`] of them all.
    pub stack: u64,
    /// Their instruction.
    pub ip: u64,
    /// Number of the page that was written last.
    pub page: u64,
    /// Faults since what it works on was read.
    pub length: u64,
}

/// Faults of a [`Run`] after which what it works on is read again.
pub const LONGEST_RUN: u64 = 16;

impl Run {
    /// Adds a fault; whether it goes on with the run.
    pub const fn goes_on(&mut self, stack: u64, ip: u64, page: u64) -> bool {
        let near = page.wrapping_sub(self.page).wrapping_add(1) <= 2;
        let goes_on = stack != 0 && stack == self.stack && ip == self.ip && near && self.length < LONGEST_RUN;
        self.stack = stack;
        self.ip = ip;
        self.page = page;
        self.length = if goes_on { self.length + 1 } else { 0 };
        goes_on
    }
}

/// Where the registers of a thread's own code lie while the kernel works for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct UserRegisters {
    /// Kernel address of its `struct pt_regs`; 0 = not known.
    pub at: u64,
    /// Its stack pointer.
    pub sp: u64,
}

/// Words of [`Interrupted`].
pub const INTERRUPTED: usize = 5;

/// What an exception or a system call interrupted: the part of `struct pt_regs` that has its instruction pointer, its stack
/// pointer, its flags, and −1 or the number of the system call. Where it lies there, and in which order these are, is in
/// [`crate::config::Config`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Interrupted {
    /// The words.
    pub words: [u64; INTERRUPTED],
}

/// `NR_MM_COUNTERS` (`include/linux/mm_types_task.h`).
pub const COUNTERS: usize = 4;

/// Bits of [`Thread::pending`].
pub mod pending {
    /// There is a fault that has not been written yet.
    pub const FAULT: u32 = 1 << 0;
    /// The record is to be listed if its outcome is.
    pub const LISTED: u32 = 1 << 1;
    /// The entry probe is at work for this thread: faults of its own reads are not the thread's.
    pub const BUSY: u32 = 1 << 2;
    /// A page was allocated for it.
    pub const ALLOCATED: u32 = 1 << 3;
    /// … and given back.
    pub const UNDONE: u32 = 1 << 4;
    /// The allocation asked for a zeroed page.
    pub const ZEROED: u32 = 1 << 5;
    /// The access was refused.
    pub const REFUSED: u32 = 1 << 6;
    /// The instruction faulted again at the same place, with nothing in between.
    pub const REPEATED: u32 = 1 << 7;
    /// A page was allocated behind the one that came back from swap.
    pub const COPIED_BACK: u32 = 1 << 8;
    /// Where the process's module table lies has not been told yet.
    pub const MODULES: u32 = 1 << 9;
    /// The handler asked to be called again for it.
    pub const RETRY: u32 = 1 << 10;
    /// In place of [`FAULT`]: it has been written, its end was seen.
    pub const ENDED: u32 = 1 << 11;
    /// Which resident-set counters changed has to be found out by comparing, and has not been to the end.
    pub const COUNTING: u32 = 1 << 12;
}

/// State of the whole session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Session {
    /// Not 0 once the tree has forked: faults are listed from here on.
    pub forked: u64,
    /// Distance of a thread's user registers from the bottom of its kernel stack; learned at the first user fault.
    pub user_registers: u64,
    /// Times that the function whose argument is wanted was met, in whichever image.
    pub argument_codes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first write of an instruction is no run; those on the pages beside it are, until it has been long enough.
    #[test]
    fn runs_of_writes() {
        let mut run = Run::default();
        assert!(!run.goes_on(7, 1, 100));
        for page in 101..=100 + LONGEST_RUN {
            assert!(run.goes_on(7, 1, page), "{page}");
        }
        assert!(!run.goes_on(7, 1, 101 + LONGEST_RUN), "read anew");
        assert!(run.goes_on(7, 1, 100 + LONGEST_RUN), "backwards");
        assert!(!run.goes_on(7, 1, 900), "elsewhere");
        assert!(!run.goes_on(7, 2, 901), "another instruction");
        assert!(!run.goes_on(8, 2, 902), "called from elsewhere");
        assert!(!run.goes_on(0, 2, 903) && !run.goes_on(0, 2, 904), "nobody knows from where");
    }
}
