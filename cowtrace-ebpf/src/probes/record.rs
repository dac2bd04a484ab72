//! Tracepoints by the records that the kernel writes of them for its own tracing (`include/trace/events/kmem.h`, `sched.h`).
//!
//! Since Linux 7.0 a kernel that preempts may preempt the program of a raw tracepoint, and then lets it run for no other task of
//! the CPU; that of a record is never preempted. The other raw tracepoints lie where the kernel preempts nothing: under a spinlock,
//! with interrupts off, or in a soft interrupt.

use aya_ebpf::{EbpfContext, macros::tracepoint, programs::TracePointContext};

use super::page;
use crate::{
    fault,
    maps::config,
    read,
    tree::{self, Task, field},
};

/// A field of the record.
#[inline(always)]
fn word<T: Copy>(context: &TracePointContext, offset: u32) -> Option<T> {
    field(context.as_ptr() as u64, offset)
}

#[tracepoint]
fn mm_page_alloc_record(context: TracePointContext) -> u32 {
    // Frames stand for pages; the last number stands for none.
    if let (Some(frame), Some(order), Some(flags)) = (
        word::<u64>(&context, config!(allocated_frame)),
        word::<u32>(&context, config!(allocated_order)),
        word::<u32>(&context, config!(allocated_flags)),
    ) && frame != u64::MAX
    {
        page::allocated(frame, order, flags);
    }
    0
}

#[tracepoint]
fn mm_page_free_record(context: TracePointContext) -> u32 {
    if let Some(frame) = word(&context, config!(freed_frame)) {
        fault::freed(frame);
    }
    0
}

/// Where in a record a text lies: `__data_loc`, whose upper half is its length.
const PLACE: u32 = 0xffff;

#[tracepoint]
fn sched_process_exec_record(context: TracePointContext) -> u32 {
    let record = context.as_ptr() as u64;
    let name = word::<u32>(&context, config!(executed_name)).map(|place| record + u64::from(place & PLACE));
    if let Some(old) = word(&context, config!(executed_old)) {
        tree::executed(&context, Task(read::current_task()), old, name);
    }
    0
}

#[tracepoint]
fn sched_process_exit_record(context: TracePointContext) -> u32 {
    tree::exited(&context, Task(read::current_task()));
    0
}
