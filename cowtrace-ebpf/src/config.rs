//! What userspace tells the kernel program before it is loaded: read-only globals, by name.

use bytemuck::{Pod, Zeroable};

/// The global that holds [`Config`].
pub const CONFIG: &str = "CONFIG";

/// Offset that stands for "this kernel does not have the field".
pub const ABSENT: u32 = u32::MAX;

/// [`Config::flags`]: list every fault, of every outcome, from the start.
pub const LIST_ALL: u32 = 1 << 0;
/// [`Config::flags`]: the end-of-fault probe is attached, latency is meaningful.
pub const LATENCY: u32 = 1 << 1;
/// [`Config::flags`]: processes are followed that were there before; [`crate::state::FOLLOW`] names them.
pub const ATTACH: u32 = 1 << 2;
/// [`Config::flags`]: faults are seen as calls of the kernel's own handler, not as exceptions.
pub const FUNCTIONS: u32 = 1 << 3;
/// [`Config::flags`]: userspace cannot unwind native stacks of this kind of machine: none is copied.
pub const NO_CALLERS: u32 = 1 << 4;

/// Byte offsets of kernel fields, from the running kernel's BTF, and switches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Config {
    /// Bits above.
    pub flags: u32,
    /// `task_struct.pid`.
    pub task_pid: u32,
    /// `task_struct.tgid`.
    pub task_tgid: u32,
    /// `task_struct.start_time`: nanoseconds, `CLOCK_MONOTONIC`.
    pub task_start_time: u32,
    /// `task_struct.mm`.
    pub task_mm: u32,
    /// `task_struct.group_leader`, whose start time is the process's.
    pub task_group_leader: u32,
    /// `task_struct.stack`: lowest address of the kernel stack.
    pub task_stack: u32,
    /// What a thread's own data lies at: `task_struct.thread.fsbase` on x86, `thread.uw.tp_value` on arm64.
    pub task_thread_pointer: u32,
    /// `task_struct.comm`.
    pub task_comm: u32,
    /// `task_struct.exit_code`.
    pub task_exit_code: u32,
    /// `task_struct.pagefault_disabled`.
    pub task_pagefault_disabled: u32,
    /// `task_struct.rss_stat.count`: what the thread has not yet added to its memory's counters. Gone since Linux 6.2.
    pub task_counters: u32,
    /// `task_struct.real_parent`.
    pub task_real_parent: u32,
    /// `task_struct.signal`.
    pub task_signal: u32,
    /// `signal_struct.live`: threads that have not begun to exit.
    pub signal_live: u32,
    /// `mm_struct.arg_start`.
    pub mm_arg_start: u32,
    /// `mm_struct.arg_end`.
    pub mm_arg_end: u32,
    /// `mm_struct.start_brk`: where the heap begins.
    pub mm_start_brk: u32,
    /// `mm_struct.start_stack`: where the first thread's stack began.
    pub mm_start_stack: u32,
    /// `mm_struct.rss_stat[MM_ANONPAGES]`: the shared part of the counter (`percpu_counter.count`, or a plain one).
    pub mm_anon: u32,
    /// `mm_struct.rss_stat[MM_SWAPENTS]`, shared part.
    pub mm_swap: u32,
    /// `mm_struct.owner`: one of the threads that have this memory.
    pub memory_owner: u32,
    /// `vm_area_struct.vm_mm`.
    pub area_memory: u32,
    /// `linux_binprm.filename`.
    pub bprm_filename: u32,
    /// `__GFP_ZERO` of this kernel.
    pub gfp_zero: u32,
    /// `__GFP_MOVABLE` of this kernel.
    pub gfp_movable: u32,
    /// `__GFP_HIGHMEM` of this kernel.
    pub gfp_highmem: u32,
    /// `__GFP_DIRECT_RECLAIM` of this kernel.
    pub gfp_direct_reclaim: u32,
    /// Bits that no allocation for a private page has: `__GFP_WRITE` (page cache that is about to be written).
    pub gfp_never: u32,
    /// `pfn` in the record of `mm_page_alloc`.
    pub allocated_frame: u32,
    /// `order` there.
    pub allocated_order: u32,
    /// `gfp_flags` there.
    pub allocated_flags: u32,
    /// `pfn` in the record of `mm_page_free`.
    pub freed_frame: u32,
    /// `filename` in the record of `sched_process_exec`: its place.
    pub executed_name: u32,
    /// `old_pid` there.
    pub executed_old: u32,
    /// Pages are of 2 to this power bytes ([`crate::page::PageSize`]).
    pub page_shift: u32,
    /// `struct pt_regs`: offset of what [`crate::state::Interrupted`] is.
    pub registers_interrupted: u32,
    /// Position in [`crate::state::Interrupted::words`] of the system call's number, in its low half.
    pub interrupted_call: u32,
    /// … of the instruction pointer.
    pub interrupted_ip: u32,
    /// … of the stack pointer.
    pub interrupted_sp: u32,
    /// `struct pt_regs`: offset of the first four arguments of a function.
    pub registers_arguments: u32,
    /// Not 0 if these lie there from the fourth to the first.
    pub arguments_reversed: u32,
    /// `struct pt_regs`: offset of what a function returns.
    pub registers_returned: u32,
    /// Process id of cowtrace, which never follows itself.
    pub own_pid: u32,
}

const _: () = assert!(size_of::<Config>() == 176);
