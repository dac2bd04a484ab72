//! Resident-set counters: which of them changed in a fault.
//!
//! Since Linux 6.2 every change is told by its tracepoint. Before, a thread keeps the changes of its own faults to itself, in
//! `task_struct.rss_stat`, and adds them to its memory's at the beginning of every 64th call of the handler and before it drops
//! mappings, executes or exits; only that is told
//! (`add_mm_counter_fast`, `sync_mm_rss`, <https://github.com/torvalds/linux/blob/v6.1/mm/memory.c>). There the thread's own
//! counters are compared with what they were when the fault began.

use cowtrace_ebpf::{
    config::ABSENT,
    event::flag,
    state::{COUNTERS, Thread, pending},
};

use crate::{maps::config, read, tree};

/// What the current thread has changed and not yet added to its memory's counters; `None` = this kernel's threads keep nothing.
#[inline(always)]
fn kept() -> Option<[i32; COUNTERS]> {
    tree::field(read::current_task(), config!(task_counters))
}

/// A fault of the current thread begins.
#[inline(always)]
pub(crate) fn begin(thread: &mut Thread) {
    thread.rss = 0;
    // What changes of another process's memory is told at once (`add_mm_counter_fast`).
    if thread.fault.flags & flag::FOREIGN == 0
        && let Some(counters) = kept()
    {
        thread.counters = counters;
        thread.pending |= pending::COUNTING;
    }
}

/// Inside the current thread's fault, a counter of the memory that it is in is changed.
#[inline(always)]
pub(crate) fn changed(thread: &mut Thread, member: u32) {
    if config!(task_counters) == ABSENT || thread.fault.flags & flag::FOREIGN != 0 || !added(thread, member) {
        thread.rss |= 1 << (member & 31);
    }
}

/// Whether what is being added is no more than what the thread had kept when the fault began.
#[inline(always)]
fn added(thread: &mut Thread, member: u32) -> bool {
    let Some(before) = thread.counters.get_mut(member as usize) else { return false };
    let at = read::current_task() + u64::from(member) * size_of::<i32>() as u64;
    match tree::field::<i32>(at, config!(task_counters)) {
        None | Some(0) => false,
        Some(count) => {
            let same = count == *before;
            // What was kept is zero from now on. Where this is a change that goes past what is kept (of a huge page), it is
            // not, and will be found to have changed.
            *before = 0;
            same
        }
    }
}

/// Notes which counters have changed so far.
#[inline(always)]
pub(crate) fn compare(thread: &mut Thread) {
    if thread.pending & pending::COUNTING == 0 || thread.fault.tid != read::current_tid() {
        return;
    }
    let Some([file, anon, swap, shmem]) = kept() else { return };
    let before = thread.counters;
    thread.rss |= u32::from(file != before[0])
        | u32::from(anon != before[1]) << 1
        | u32::from(swap != before[2]) << 2
        | u32::from(shmem != before[3]) << 3;
}

/// The fault is over: what changes from now on is none of its doing. Only the first call for a fault has an effect.
#[inline(always)]
pub(crate) fn end(thread: &mut Thread) {
    compare(thread);
    thread.pending &= !pending::COUNTING;
}
