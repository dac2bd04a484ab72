//! Faults as calls of the kernel's own handler, `handle_mm_fault`
//! (<https://github.com/torvalds/linux/blob/v6.18/mm/memory.c>): those that an exception raises, and those that raise none, where
//! the kernel reaches a process's pages by `get_user_pages` for a system call, of the process itself or of another.

use bytemuck::Zeroable;
use cowtrace_ebpf::{
    event::{StackEnd, flag},
    outcome::{ERROR_PRESENT, ERROR_USER, ERROR_WRITE},
    state::{FOREIGN, ProcessKey, Thread, pending},
};

use crate::{
    emit,
    fault::{self, Entry},
    join::{self, Wanted},
    maps::{self, config},
    read,
    tree::{self, Task},
};
use cowtrace_ebpf::drops::DropReason;

/// `enum fault_flag` (`include/linux/mm_types.h`), the same since they were macros.
const FAULT_FLAG_WRITE: u32 = 1 << 0;
const FAULT_FLAG_USER: u32 = 1 << 6;
/// Since Linux 6.0: whoever only reads takes a copy of its own, for the page is to stay where it is.
const FAULT_FLAG_UNSHARE: u32 = 1 << 10;

/// `enum vm_fault_reason`: `VM_FAULT_ERROR`, every reason for which nothing was done.
const VM_FAULT_ERROR: u32 = 0x1 | 0x2 | 0x10 | 0x20 | 0x40 | 0x800;
/// The handler is to be called again for the same access.
const VM_FAULT_RETRY: u32 = 0x400;

/// The arguments of `handle_mm_fault`.
pub(crate) struct Call {
    /// `struct vm_area_struct`.
    pub(crate) area: u64,
    /// The exact address of an exception, else that of the page.
    pub(crate) address: u64,
    /// `FAULT_FLAG_*`.
    pub(crate) flags: u32,
    /// `struct pt_regs` of the interrupted code; 0 = no exception.
    pub(crate) registers: u64,
}

/// The handler is called.
#[inline(always)]
pub(crate) fn begin(call: &Call) {
    let tid = read::current_tid();
    let thread = maps::thread(tid).or_else(|| join::current(Wanted::Armed));
    // Most faults of the machine are of processes that nobody follows.
    if thread.is_none() && call.registers != 0 {
        return;
    }
    let Some(memory) = tree::field::<u64>(call.area, config!(area_memory)) else { return };
    let is_own = Task(read::current_task()).memory() == Some(memory);
    match thread {
        Some(thread) if is_own => {
            if !goes_on(thread, call) {
                fault::begin_in(thread, &entry(call, memory, false));
            }
        }
        _ if call.registers == 0 => {
            let _ = begin_foreign(tid | FOREIGN, call, memory);
        }
        _ => {}
    }
}

/// Whether the handler is called again for the access for which it asked for that.
#[inline(always)]
fn goes_on(thread: &mut Thread, call: &Call) -> bool {
    let again = thread.pending & (pending::FAULT | pending::RETRY) == pending::FAULT | pending::RETRY
        && thread.fault.address == call.address
        && thread.registers == call.registers;
    if again {
        thread.pending &= !pending::RETRY;
    }
    again
}

/// x86's error code says whether the page was there; a caller of the handler does not. What can be read is there; of another
/// process's memory nothing can be read here, and a page that is written to there most often is.
#[inline(always)]
fn entry(call: &Call, memory: u64, foreign: bool) -> Entry {
    let mut error = 0;
    if call.flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE) != 0 {
        error |= ERROR_WRITE;
    }
    if call.flags & FAULT_FLAG_USER != 0 {
        error |= ERROR_USER;
    }
    let present = if foreign { error & ERROR_WRITE != 0 } else { read::user::<u8>(call.address).is_some() };
    if present {
        error |= ERROR_PRESENT;
    }
    let mut flags = 0;
    if call.registers == 0 {
        flags |= flag::PAGE_ONLY;
    }
    if foreign {
        flags |= flag::FOREIGN;
    }
    Entry {
        address: call.address,
        registers: call.registers,
        error,
        kernel_mode: call.flags & FAULT_FLAG_USER == 0,
        flags,
        memory,
    }
}

/// A thread that is not the process's own reaches into its memory: it gets a slot for this one fault.
#[inline(always)]
fn begin_foreign(slot: u32, call: &Call, memory: u64) -> Option<()> {
    // What cowtrace itself reads there is none of the program's doing.
    if read::current_pid() == config!(own_pid) {
        return None;
    }
    if let Some(thread) = maps::thread(slot)
        && goes_on(thread, call)
    {
        return None;
    }
    let key = owner(memory)?;
    let process = maps::process(&key)?;
    let fresh = maps::new_thread()?;
    *fresh = Thread::zeroed();
    fresh.process = key;
    fresh.image = process.image;
    fresh.fault.process = key;
    fresh.fault.tid = read::current_tid();
    fresh.fault.epoch = process.epoch;
    let fresh: &Thread = fresh;
    if maps::THREADS.insert(slot, fresh, 0).is_err() {
        emit::dropped(DropReason::ThreadTable);
        return None;
    }
    let thread = maps::thread(slot)?;
    fault::begin_in(thread, &entry(call, memory, true));
    thread.fault.stack_end = StackEnd::NoFrame as u8;
    Some(())
}

/// The process of the tree that has this memory: `mm_struct.owner` is one of its threads. While a program is being loaded its new
/// memory is not yet anybody's.
#[inline(always)]
fn owner(memory: u64) -> Option<ProcessKey> {
    let owner = Task(tree::field(memory, config!(memory_owner))?);
    if owner.memory()? != memory {
        return None;
    }
    if let Some(thread) = maps::thread(owner.tid()?) {
        return Some(thread.process);
    }
    let follow = maps::follow(owner.pid()?)?;
    (follow.armed != 0).then_some(follow.key)
}

/// The handler returns.
#[inline(always)]
pub(crate) fn end(returned: u32) {
    let tid = read::current_tid();
    let (slot, foreign) = match maps::thread(tid) {
        Some(thread) if thread.pending & pending::FAULT != 0 => (tid, false),
        _ => (tid | FOREIGN, true),
    };
    let Some(thread) = maps::thread(slot) else { return };
    if thread.pending & pending::FAULT == 0 {
        return;
    }
    if returned & VM_FAULT_RETRY != 0 {
        thread.pending |= pending::RETRY;
        return;
    }
    if returned & VM_FAULT_ERROR != 0 {
        thread.pending |= pending::REFUSED;
    }
    thread.end = read::now();
    let bits = thread.pending;
    fault::finish(thread);
    // The thread's next fault asks what this one was.
    thread.pending = bits & !pending::FAULT | pending::ENDED;
    if foreign {
        let key = thread.process;
        fault::settle(thread, &key);
        let _ = maps::THREADS.remove(slot);
    }
}

/// Codes of `SIGSEGV` after a fault (`include/uapi/asm-generic/siginfo.h`): `SEGV_MAPERR`, `SEGV_ACCERR`, `SEGV_PKUERR`.
const REFUSALS: [u32; 3] = [1, 2, 4];
/// Where `si_code` and `si_addr` lie in `struct kernel_siginfo`.
const CODE: u64 = 8;
const ADDRESS: u64 = 16;
const SIGSEGV: u32 = 11;

/// The kernel generates a signal: for an access where nothing is mapped, or of a forbidden kind, the handler was not called.
#[inline(always)]
pub(crate) fn signalled(signal: u32, information: u64) -> Option<()> {
    // Small numbers stand for signals without information.
    if signal != SIGSEGV || information < 4096 {
        return None;
    }
    let thread = maps::thread(read::current_tid())?;
    if !REFUSALS.contains(&read::kernel::<u32>(information + CODE)?) {
        return None;
    }
    let address = read::kernel::<u64>(information + ADDRESS)?;
    let refused = pending::ENDED | pending::REFUSED;
    // The handler itself has said so already.
    if thread.pending & refused == refused && thread.fault.address == address {
        return None;
    }
    let entry = Entry {
        address,
        registers: thread.user.at,
        error: ERROR_USER,
        kernel_mode: false,
        flags: 0,
        memory: thread.memory,
    };
    fault::begin_in(thread, &entry);
    thread.pending |= pending::REFUSED;
    fault::finish(thread);
    Some(())
}
