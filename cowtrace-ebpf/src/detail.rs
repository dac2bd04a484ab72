//! What else can only be seen at the fault, where the memory around the address alone does not tell what is written: the
//! registers of the writing instruction, and the block of the interpreter's allocator that holds the address.

use bytemuck::Zeroable;
use cowtrace_ebpf::{
    event::{BLOCK_WORDS, Detail, flag},
    plan::{FRAME_WORDS, Plan, UNUSED},
    state::{Process, Thread},
};

use crate::{define, maps, read, registers, thread_state::state_word, walk::word};

/// Classes of block sizes that pools have.
const CLASSES: u32 = 32;
/// Bytes of a block of class 0, and by which each class is larger than the one before.
const GRAIN: u64 = 16;

/// Completes the current thread's fault.
#[inline(never)]
pub(crate) fn look(thread: &mut Thread, process: &Process, plan: &Plan) {
    thread.fault.flags |= flag::DETAIL;
    thread.fault.detail = Detail::zeroed();
    if thread.fault.flags & flag::KERNEL_MODE == 0 {
        registers::all(thread.registers, thread.user.sp, &mut thread.fault.detail.registers);
    }
    frame_chunk(thread, plan);
    let in_pool = plan.pool_shift != UNUSED && block(thread, plan);
    frame_values(thread, plan, in_pool);
    if !in_pool {
        return;
    }
    // An object begins its block, or comes behind its collector's head, or behind that and what the interpreter keeps in
    // front of it.
    let head = thread.fault.detail.head;
    if define::type_of(head[1], thread, process, plan) == 0
        && define::type_of(head[3], thread, process, plan) == 0
    {
        define::type_of(head[5], thread, process, plan);
    }
}

/// Whether the address lies where the interpreter keeps the thread's frames.
#[inline(always)]
fn frame_chunk(thread: &mut Thread, plan: &Plan) {
    // The walk has read the state.
    let Some(scratch) = maps::scratch() else { return };
    if plan.thread_chunk == UNUSED || thread.fault.state == 0 {
        return;
    }
    let start = state_word(&scratch.state, plan.thread_chunk);
    let limit = state_word(&scratch.state, plan.thread_chunk.wrapping_add(16));
    if start <= thread.fault.address && thread.fault.address < limit {
        thread.fault.flags |= flag::FRAME_CHUNK;
    }
}

/// The variables and operands of the innermost frame: the object that an instruction writes to is among them, while its
/// registers may hold no more of it than the address of its memory. Small blocks lie beside those of other objects; one
/// that fills pages is most likely that of the page before.
#[inline(always)]
fn frame_values(thread: &mut Thread, plan: &Plan, in_pool: bool) {
    let Thread { fault, run, innermost, .. } = thread;
    let goes_on = run.goes_on(fault.stack, fault.ip, maps::pages().number(fault.address));
    if *innermost == 0 || (goes_on && !in_pool) {
        return;
    }
    if read::user_words(*innermost + u64::from(plan.frame_local0), &mut fault.detail.values) {
        fault.flags |= flag::VALUES;
    }
}

/// Finds the block that holds the address; `false` = there is none.
///
/// A pool begins with the number of its used blocks (u32) and the first of its free ones. Whatever looks like its header
/// has to hold together: this memory may be anything.
#[inline(always)]
fn block(thread: &mut Thread, plan: &Plan) -> bool {
    let Some(scratch) = maps::scratch() else { return false };
    let shift = plan.pool_shift & 31;
    let address = thread.fault.address;
    let pool = (address >> shift) << shift;
    if !read::user_part(pool, &mut scratch.frame, 64) {
        return false;
    }
    let room = 1u64 << shift;
    let header = u64::from(plan.pool_header);
    let class = half(&scratch.frame, plan.pool_class);
    let size = (u64::from(class) + 1) * GRAIN;
    let used = u64::from(scratch.frame[0] as u32);
    let free = scratch.frame[1];
    if class >= CLASSES
        || u64::from(half(&scratch.frame, plan.pool_last)) + size != room
        || used == 0
        || used * size > room
        || free != 0 && free.wrapping_sub(pool + header) >= room - header
    {
        return false;
    }
    let detail = &mut thread.fault.detail;
    detail.pool = pool;
    if address < pool + header {
        return true;
    }
    let start = pool + header + (address - pool - header) / size * size;
    if start + size > pool + room {
        return false;
    }
    detail.block = start;
    detail.size = size as u32;
    let rest = pool + room - start;
    let len = if rest < (BLOCK_WORDS * 8) as u64 { rest as u32 } else { (BLOCK_WORDS * 8) as u32 };
    read::user_part(start, &mut detail.head, len)
}

/// The 4-byte word of a header at an offset.
#[inline(always)]
fn half(window: &[u64; FRAME_WORDS], offset: u16) -> u32 {
    (word(window, offset) >> ((offset & 4) * 8)) as u32
}
