//! What a write may belong to of an interpreter that keeps its objects in slots of pages of one heap: the memory around it,
//! the slot that holds it, the stack of the thread's frames, the innermost frame's variables; and whether its collector is at
//! work. Offsets are the plan's.

use bytemuck::Zeroable;
use cowtrace_ebpf::{
    event::{BLOCK_WORDS, Detail, flag},
    plan::Plan,
    state::{Process, Thread},
};

use crate::{image::around, maps, read, registers, walk::word};

/// Words in front of the stack pointer: local variables and operands.
const VALUES: u64 = 24;
/// Bytes of a slot.
const LEAST_SLOT: u64 = 40;
const MOST_SLOT: u64 = 1280;

/// Completes the current thread's fault: memory around the address, registers, the slot that holds it, what the collector is at.
#[expect(unsafe_code, reason = "only an exported function is global in the object's type information")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn ruby_evidence() -> u64 {
    let Some(thread) = maps::thread(read::current_tid()) else { return 0 };
    let Some(process) = maps::process(&thread.process) else { return 0 };
    let Some(plan) = maps::plan(process.plan) else { return 0 };
    around(thread);
    collecting(thread, process, plan);
    thread.fault.flags |= flag::DETAIL;
    thread.fault.detail = Detail::zeroed();
    if thread.fault.flags & flag::KERNEL_MODE == 0 {
        registers::all(thread.registers, thread.user.sp, &mut thread.fault.detail.registers);
    }
    stack(thread, plan);
    if !slot(thread, plan) {
        values(thread, plan);
    }
    0
}

/// Whether the collector is at work, and whether it collects the young objects alone.
#[inline(always)]
fn collecting(thread: &mut Thread, process: &Process, plan: &Plan) {
    let heap = read::user::<u64>(process.runtime + u64::from(plan.ruby.runtime_heap)).unwrap_or(0);
    let flags = read::user::<u32>(heap + u64::from(plan.ruby.heap_flags)).unwrap_or(0);
    if (flags >> (plan.ruby.collecting_bit & 31)) & 1 != 0 {
        thread.fault.flags |= flag::COLLECTING;
        thread.fault.generation = if (flags >> (plan.ruby.minor_bit & 31)) & 1 != 0 { 1 } else { 3 };
    }
}

/// Whether the address lies on the stack of the thread's frames. The thread's state becomes that of its execution context.
#[inline(always)]
fn stack(thread: &mut Thread, plan: &Plan) {
    if thread.fault.state == 0 {
        return;
    }
    let context = read::user::<u64>(thread.fault.state + u64::from(plan.thread_frame)).unwrap_or(0);
    thread.fault.state = context;
    let mut range = [0u64; 2];
    read::user_words(context + u64::from(plan.ruby.context_stack), &mut range);
    if thread.fault.address.wrapping_sub(range[0]) < range[1].wrapping_mul(8) {
        thread.fault.flags |= flag::FRAME_CHUNK;
    }
}

/// Finds the slot that holds the address; `false` = it does not lie in a page of the heap. Whatever looks like such a page
/// has to hold together: this memory may be anything.
#[inline(always)]
fn slot(thread: &mut Thread, plan: &Plan) -> bool {
    let Some(scratch) = maps::scratch() else { return false };
    let shift = plan.ruby.page_shift & 31;
    let room = 1u64 << shift;
    let address = thread.fault.address;
    let page = (address >> shift) << shift;
    let record = read::user::<u64>(page).unwrap_or(0);
    if record & 7 != 0 || record < 0x1_0000 || record >> 47 != 0 {
        return false;
    }
    if !read::user_part(record, &mut scratch.frame, 64) {
        return false;
    }
    let at = plan.ruby.page_slot_size;
    let sizes = word(&scratch.frame, at) >> ((at & 7) * 8);
    let (size, count) = (sizes & 0xffff, (sizes >> 16) & 0xffff);
    let start = word(&scratch.frame, plan.ruby.page_start);
    if !(LEAST_SLOT..=MOST_SLOT).contains(&size)
        || size & 7 != 0
        || count == 0
        || count * size > room
        || start.wrapping_sub(page) > room - count * size
    {
        return false;
    }
    let detail = &mut thread.fault.detail;
    detail.pool = page;
    if address < start || address - start >= count * size {
        return true;
    }
    let block = start + (address - start) / size * size;
    detail.block = block;
    detail.size = size as u32;
    let rest = page + room - block;
    let len = if rest < (BLOCK_WORDS * 8) as u64 { rest as u32 } else { (BLOCK_WORDS * 8) as u32 };
    read::user_part(block, &mut detail.head, len);
    true
}

/// The receiver of the innermost frame, its variables and operands: what is written may be one's memory.
#[inline(always)]
fn values(thread: &mut Thread, plan: &Plan) {
    let frame = thread.innermost;
    if frame == 0 {
        return;
    }
    let top = read::user::<u64>(frame + u64::from(plan.ruby.frame_stack_pointer)).unwrap_or(0);
    let values = &mut thread.fault.detail.values;
    if read::user_words(top.wrapping_sub(VALUES * 8), values) {
        values[0] = read::user::<u64>(frame + u64::from(plan.ruby.frame_receiver)).unwrap_or(0);
        thread.fault.flags |= flag::VALUES;
    }
}
