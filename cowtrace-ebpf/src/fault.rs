//! The life of one fault: begun at its entry, marked by what happens inside it, decided and written when the thread's
//! next fault begins. So no probe is needed at its end, the dearest place for one.

use cowtrace_ebpf::{
    config::{FUNCTIONS, LATENCY, LIST_ALL},
    drops::DropReason,
    event::{FAULT_HEAD, FAULT_MIDDLE, FAULT_SHORT, Fault, StackEnd, flag, kind},
    outcome::{ERROR_PRESENT, ERROR_WRITE, Outcome, Seen, decide, rss},
    state::{FOREIGN, Interrupted, ProcessKey, Thread, UserRegisters, pending},
};

use crate::{
    callers, counters, emit,
    join::{self, Wanted},
    maps::{self, Made, PrivatePage, config},
    read, registers, tree, walk,
};

/// Highest address of user space with 5-level page tables; kernel addresses lie above.
const USER_END: u64 = 1 << 56;
/// A page made private by one thread explains another thread's fault on it for this long (nanoseconds). The fault that
/// came too late was raised before the page was changed; what can lie between is an interrupt, or a virtual CPU that
/// did not run.
const LATE: u64 = 100_000_000;

/// The time that the entry probe takes is measured at every so many faults of a thread and counted as often.
const MEASURED_EVERY: u64 = 16;

/// How the kernel told of a fault.
pub(crate) struct Entry {
    /// The exact address; with [`flag::PAGE_ONLY`] the page's.
    pub(crate) address: u64,
    /// `struct pt_regs` of the interrupted code; 0 = none was interrupted.
    pub(crate) registers: u64,
    /// Bits of [`cowtrace_ebpf::outcome`], which are those of x86's error code.
    pub(crate) error: u32,
    /// Whether the kernel made the access, as far as the address of the interrupted instruction does not tell.
    pub(crate) kernel_mode: bool,
    /// Bits of [`flag`] that only whoever told of it knows.
    pub(crate) flags: u32,
    /// [`Thread::memory`].
    pub(crate) memory: u64,
}

/// A fault of the current thread begins.
#[inline(always)]
pub(crate) fn begin(entry: &Entry) {
    let Some(thread) = maps::thread(read::current_tid()).or_else(|| join::current(Wanted::Armed)) else {
        return;
    };
    begin_in(thread, entry);
}

/// A fault begins in a thread's slot.
#[inline(always)]
pub(crate) fn begin_in(thread: &mut Thread, entry: &Entry) {
    if thread.pending & pending::BUSY != 0 || entry.address >= USER_END {
        return;
    }
    let time = read::now();
    let repeated = is_pending(thread, entry);
    finish(thread);
    let before = (registers::ip(&thread.interrupted), registers::sp(&thread.interrupted));
    if entry.registers == 0 {
        thread.interrupted = Interrupted::default();
    } else if !registers::interrupted_onto(entry.registers, &mut thread.interrupted) {
        return;
    }
    let (ip, sp) = (registers::ip(&thread.interrupted), registers::sp(&thread.interrupted));
    // No program has instructions there but the page of old system calls, which the kernel itself executes.
    let kernel_mode = entry.kernel_mode || ip >= USER_END;
    let Some(session) = maps::session() else { return };
    let listed = session.forked != 0 || config!(flags) & LIST_ALL != 0;

    // The look at the page, below, brings its old entry into the TLB; when the kernel then makes the page writable in place,
    // which needs no flush, the instruction faults once more for nothing.
    let repeated = repeated && before == (ip, sp);
    thread.begun += 1;
    thread.registers = entry.registers;
    thread.page = 0;
    thread.end = 0;
    thread.memory = entry.memory;
    let fault = &mut thread.fault;
    fault.header = emit::header(kind::FAULT, FAULT_HEAD, time);
    fault.address = entry.address;
    fault.error = entry.error;
    fault.latency = 0;
    fault.stack = 0;
    fault.stack_end = 0;
    fault.state = 0;
    fault.native = 0;
    fault.generation = 0;
    fault.order = 0;
    fault.flags = entry.flags;
    if kernel_mode {
        begin_in_kernel(fault, &mut thread.user, session.user_registers);
    } else {
        thread.user = UserRegisters { at: entry.registers, sp };
        fault.ip = ip;
        fault.syscall = -1;
        if session.user_registers == 0 {
            learn_registers(&mut session.user_registers, entry.registers);
        }
    }
    let begun = thread.begun;
    thread.pending = pending::FAULT | if listed { pending::LISTED } else { 0 };
    counters::begin(thread);
    if repeated {
        thread.pending |= pending::REPEATED;
    }
    if kernel_mode && config!(flags) & FUNCTIONS == 0 && faults_disabled() {
        thread.pending |= pending::REFUSED;
    } else if listed && entry.flags & flag::FOREIGN == 0 {
        let write_protected = ERROR_PRESENT | ERROR_WRITE;
        if entry.error & write_protected == write_protected || config!(flags) & LIST_ALL != 0 {
            look(thread);
        }
    }
    if entry.flags & flag::FOREIGN != 0 {
        return;
    }
    tree::hint(begun, time);
    if begun.is_multiple_of(MEASURED_EVERY)
        && let Some(thread) = maps::thread(read::current_tid())
    {
        thread.totals.probe_ns += (read::now() - time) * MEASURED_EVERY;
    }
}

/// Whether the thread's last fault was a write to the same place for which no page was allocated.
#[inline(always)]
fn is_pending(thread: &Thread, entry: &Entry) -> bool {
    let was = pending::FAULT | pending::ENDED;
    let marks = pending::ALLOCATED | pending::UNDONE | pending::REFUSED;
    thread.pending & was != 0
        && thread.pending & marks == 0
        && thread.fault.address == entry.address
        && thread.fault.error == entry.error
        && entry.error & (ERROR_PRESENT | ERROR_WRITE) == ERROR_PRESENT | ERROR_WRITE
}

/// Writes into the fault what can only be seen now: of the process, and, if it has an interpreter, of its stack and of the
/// memory around the address.
#[inline(always)]
fn look(thread: &mut Thread) {
    let assigned = maps::assigned();
    if thread.plain != assigned + 1 {
        let Some(process) = maps::process(&thread.process) else { return };
        tree::adopt(process);
        thread.fault.epoch = process.epoch;
        thread.image = process.image;
        let threaded = tree::is_threaded(process);
        if threaded {
            thread.fault.flags |= flag::THREADED;
        }
        if process.plan != 0 {
            walk::capture();
            return;
        }
        // Alone, only this thread itself can change any of it, by a fork or an exec.
        thread.plain = if threaded { 0 } else { assigned + 1 };
    }
    thread.fault.stack_end = StackEnd::NoPlan as u8;
    thread.pending |= pending::BUSY;
    callers::name_stack(thread);
    thread.pending &= !pending::BUSY;
}

/// In kernel mode the interesting instruction is the program's system call.
#[inline(always)]
fn begin_in_kernel(fault: &mut Fault, user: &mut UserRegisters, user_registers: u64) {
    *user = UserRegisters { at: 0, sp: 0 };
    fault.flags |= flag::KERNEL_MODE;
    // Whoever it is that reaches into another process's memory, that one's threads may do the same at once.
    if fault.flags & flag::FOREIGN != 0
        || maps::process(&fault.process).is_some_and(|process| tree::is_threaded(process))
    {
        fault.flags |= flag::THREADED;
    }
    fault.ip = 0;
    fault.syscall = -1;
    if user_registers == 0 {
        return;
    }
    let Some(stack) = tree::field::<u64>(read::current_task(), config!(task_stack)) else { return };
    if let Some((call, ip, sp)) = registers::called(stack + user_registers) {
        fault.syscall = call;
        if fault.flags & flag::FOREIGN != 0 {
            return;
        }
        fault.ip = ip;
        *user = UserRegisters { at: stack + user_registers, sp };
    }
}

/// The user registers lie at the same distance from the bottom of every kernel stack; a user fault shows it.
#[inline(always)]
fn learn_registers(distance: &mut u64, registers: u64) {
    if let Some(stack) = tree::field::<u64>(read::current_task(), config!(task_stack)) {
        *distance = registers.wrapping_sub(stack);
    }
}

/// Whether the current thread has switched page faults off: then the kernel refuses the access instead of serving it.
///
/// The read itself happens with page faults off, and counts as one (`copy_from_kernel_nofault`,
/// <https://github.com/torvalds/linux/blob/v6.18/mm/maccess.c>).
#[inline(always)]
fn faults_disabled() -> bool {
    tree::field::<u32>(read::current_task(), config!(task_pagefault_disabled)).is_some_and(|n| n > 1)
}

/// The slot of the fault that the current thread may be in.
#[inline(always)]
fn slot() -> Option<&'static mut Thread> {
    let tid = read::current_tid();
    let own = maps::thread(tid);
    if config!(flags) & FUNCTIONS == 0 {
        return own;
    }
    match own {
        Some(thread) if thread.pending & pending::FAULT != 0 => Some(thread),
        _ => maps::thread(tid | FOREIGN),
    }
}

/// The current thread's fault, if the kernel is still in it: it has not returned from its handler, or, where that is not seen,
/// the registers that it interrupted still lie where they were.
#[inline(always)]
pub(crate) fn current() -> Option<&'static mut Thread> {
    let thread = slot()?;
    if config!(flags) & FUNCTIONS != 0 {
        let bits = thread.pending & (pending::FAULT | pending::BUSY | pending::RETRY);
        return (bits == pending::FAULT).then_some(thread);
    }
    if thread.pending & (pending::FAULT | pending::BUSY) != pending::FAULT {
        return None;
    }
    if registers::interrupted(thread.registers)? != thread.interrupted {
        counters::end(thread);
        return None;
    }
    Some(thread)
}

/// A movable page was allocated inside the current thread's fault.
#[inline(always)]
pub(crate) fn allocated(page: u64, order: u32, zeroed: bool) {
    let Some(thread) = current() else { return };
    counters::compare(thread);
    if thread.rss & rss::SWAP != 0 {
        // The page from swap is mapped already: this one is for its copy.
        thread.pending |= pending::COPIED_BACK;
    } else if thread.pending & pending::ALLOCATED != 0 {
        return;
    }
    thread.page = page;
    thread.fault.order = order as u8;
    thread.pending |= pending::ALLOCATED;
    if zeroed {
        thread.pending |= pending::ZEROED;
    }
    let present = thread.fault.error & ERROR_PRESENT != 0;
    let write = thread.fault.error & ERROR_WRITE != 0;
    if write && present && thread.fault.flags & flag::THREADED != 0 {
        made_private(thread);
    }
    // First touch of a private file page: it is known only now that something will be copied.
    let undecided = thread.fault.flags & (flag::WALKED | flag::IMAGE) == 0;
    if write && !present && !zeroed && order == 0 && undecided && thread.pending & pending::LISTED != 0 {
        look(thread);
    }
}

/// A page was freed; inside a fault it may be the one that the fault allocated.
#[inline(always)]
pub(crate) fn freed(page: u64) {
    let Some(thread) = slot() else { return };
    if thread.page != page || thread.pending & pending::ALLOCATED == 0 || current().is_none() {
        return;
    }
    thread.pending = (thread.pending & !pending::ALLOCATED) | pending::UNDONE;
}

/// Notes that this thread is about to make the page private, for threads that come too late.
#[inline(always)]
fn made_private(thread: &Thread) {
    let (key, made) = private(thread);
    // A full table forgets the oldest; an error here leaves a late fault named `reuse`.
    let _ = maps::PRIVATE.insert(key, made, 0);
}

#[inline(always)]
fn private(thread: &Thread) -> (PrivatePage, Made) {
    let fault = &thread.fault;
    (
        PrivatePage { start: fault.process.start, page: maps::pages().number(fault.address) },
        Made { time: fault.header.time, epoch: u64::from(fault.epoch) },
    )
}

/// Whether another thread of the process had just made the page private when this fault was served.
#[inline(always)]
fn too_late(thread: &Thread) -> bool {
    let (key, mine) = private(thread);
    if let Some(made) = maps::PRIVATE.get_ptr(key).and_then(maps::copied)
        && made.epoch == mine.epoch
        && mine.time.wrapping_add(LATE).wrapping_sub(made.time) < 2 * LATE
    {
        return true;
    }
    let _ = maps::PRIVATE.insert(key, mine, 0);
    false
}

/// Decides and writes the fault that is pending, if there is one.
#[inline(always)]
pub(crate) fn finish(thread: &mut Thread) {
    if thread.pending & pending::FAULT == 0 {
        return;
    }
    counters::end(thread);
    let bits = thread.pending;
    thread.pending = 0;
    let seen = Seen {
        error: thread.fault.error,
        allocated: bits & pending::ALLOCATED != 0,
        undone: bits & pending::UNDONE != 0,
        zeroed: bits & pending::ZEROED != 0,
        order: thread.fault.order,
        rss: thread.rss,
        copied_back: bits & pending::COPIED_BACK != 0,
        refused: bits & pending::REFUSED != 0,
        threaded: thread.fault.flags & flag::THREADED != 0,
        answered: config!(flags) & FUNCTIONS != 0,
    };
    let mut outcome = decide(&seen);
    let spurious = bits & pending::REPEATED != 0
        || thread.fault.flags & flag::THREADED != 0 && matches!(outcome, Outcome::Reuse) && too_late(thread);
    if matches!(outcome, Outcome::Reuse) && spurious {
        outcome = Outcome::Other;
    }
    count(thread, outcome, bits & pending::LISTED != 0);
}

#[inline(always)]
fn count(thread: &mut Thread, outcome: Outcome, listed: bool) {
    let index = outcome as usize;
    let bytes = maps::pages().together(thread.fault.order);
    thread.totals.faults[index] += 1;
    match outcome {
        Outcome::Copy => thread.totals.copied_bytes += bytes,
        Outcome::FileCopy => thread.totals.file_copied_bytes += bytes,
        _ => {}
    }
    if !listed || (!outcome.is_listed() && config!(flags) & LIST_ALL == 0) {
        thread.totals.unlisted[index] += 1;
        return;
    }
    let end = thread.end;
    let fault = &mut thread.fault;
    fault.outcome = outcome as u8;
    if config!(flags) & LATENCY != 0 && end > fault.header.time {
        fault.latency = end - fault.header.time;
        fault.flags |= flag::LATENCY;
    }
    let len = if fault.flags & flag::VALUES != 0 {
        size_of::<Fault>()
    } else if fault.flags & flag::DETAIL != 0 {
        FAULT_MIDDLE
    } else if fault.flags & flag::IMAGE != 0 {
        FAULT_SHORT
    } else {
        FAULT_HEAD
    };
    fault.header.len = len as u32;
    if !emit::record(fault, len, emit::Wake::No, DropReason::Ring) {
        thread.totals.lost[index] += 1;
    }
}

/// A fault's end, with `--latency`.
#[inline(always)]
pub(crate) fn ended() {
    if let Some(thread) = maps::thread(read::current_tid())
        && thread.pending & pending::FAULT != 0
        && thread.end == 0
    {
        thread.end = read::now();
    }
}

/// The kernel generates a signal for a refused access.
#[inline(always)]
pub(crate) fn refused() {
    if let Some(thread) = current() {
        thread.pending |= pending::REFUSED;
    }
}

/// A translation of the current thread's process was flushed, by itself.
#[inline(always)]
pub(crate) fn flushed() {
    if let Some(thread) = current() {
        thread.fault.flags |= flag::FLUSHED;
    }
}

/// A resident-set counter changed: of interest if it is that of the current thread's own memory.
#[inline(always)]
pub(crate) fn counter_changed(memory: u64, member: u32) {
    if let Some(thread) = current()
        && memory_of(thread) == Some(memory)
    {
        counters::changed(thread, member);
    }
}

/// The memory that a thread's fault is in.
#[inline(always)]
fn memory_of(thread: &Thread) -> Option<u64> {
    if config!(flags) & FUNCTIONS != 0 {
        return Some(thread.memory);
    }
    tree::field(read::current_task(), config!(task_mm))
}

/// Moves a thread's totals into its process's.
#[inline(always)]
pub(crate) fn settle(thread: &mut Thread, key: &ProcessKey) {
    if let Some(process) = maps::process(key) {
        maps::add(&mut process.totals, &thread.totals);
        thread.totals = bytemuck::Zeroable::zeroed();
    }
}
