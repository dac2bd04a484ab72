//! The native stack of a fault: named by a template that userspace has made of an earlier one, or copied for it to unwind.
//! Every length is bounded, and so is the number of copies in a time: what is beyond is counted, and the fault goes without.

use cowtrace_ebpf::{
    config::NO_CALLERS,
    drops::DropReason,
    event::{REGISTERS, kind},
    native::{
        ALTERNATIVES, COPY_HEAD, FIRST_COPY, MAX_COPY, MAX_REGISTERS, MAX_SLOTS, NEAR_SLOTS, Near, RED_ZONE,
        Slot, StackCopy, Template, Unrecorded, copy_end, first_word,
    },
    page::PageSize,
    state::{Thread, UserRegisters},
};

use crate::{
    emit::{self, Wake},
    maps::{self, WINDOW, config},
    read, registers, tree,
    walk::mix,
};

/// Copies that one CPU makes at once, after a time without.
const BURST: u64 = 4096;
/// Nanoseconds after which one more may be made.
const REFILL: u64 = 250_000;
/// Copies are made while the ring is not fuller than this part of it: faults come first.
const RING_PART: u64 = 4;
/// Pages that a copy touches at most.
const PAGES: u64 = MAX_COPY as u64 / PageSize::SMALLEST.bytes() + 1;

/// Names the native stack in the thread's fault.
#[inline(never)]
pub(crate) fn name_stack(thread: &mut Thread) {
    thread.fault.native = name(thread);
}

#[inline(always)]
fn name(thread: &mut Thread) -> u64 {
    let UserRegisters { at, sp } = thread.user;
    if config!(flags) & NO_CALLERS != 0 {
        return Unrecorded::Processor as u64;
    }
    if at == 0 {
        return Unrecorded::NoRegisters as u64;
    }
    let key = mix(mix(mix(thread.image, thread.fault.ip), sp), thread.fault.stack);
    let first = first_word(sp);
    let near = &thread.near;
    if near.key == key && fits_near(&near.words, near.slots, near.span, behind(first, near.start.into())) {
        return near.id;
    }
    let mut alternative = 0;
    while alternative < ALTERNATIVES {
        let Some(template) = maps::template(key.wrapping_add(alternative)) else { break };
        if fits(template, first, at) {
            keep_near(&mut thread.near, key, template);
            return template.id;
        }
        alternative += 1;
    }
    copy(thread, key)
}

/// Keeps a template at hand, if it is a small one.
#[inline(always)]
fn keep_near(near: &mut Near, key: u64, template: &Template) {
    let Template { slots, registers, start, span, .. } = *template;
    if registers != 0 || usize::from(slots) > NEAR_SLOTS || usize::from(span) > WINDOW {
        return;
    }
    near.key = key;
    near.id = template.id;
    near.slots = slots;
    near.start = start;
    near.span = span;
    let mut index = 0;
    while index < NEAR_SLOTS {
        near.words[index] = template.words[index];
        index += 1;
    }
}

/// The address of a word.
#[inline(always)]
const fn behind(first: u64, words: u64) -> u64 {
    first.wrapping_add(words.wrapping_mul(8))
}

/// Whether registers and stack are now what they were when the template's stack was unwound.
#[inline(always)]
fn fits(template: &Template, first: u64, registers: u64) -> bool {
    let mut index = 0;
    while index < MAX_REGISTERS {
        if index >= usize::from(template.registers) {
            break;
        }
        let at = template.which[index] % REGISTERS as u64;
        if read::kernel::<u64>(behind(registers, at)) != Some(template.register_values[index]) {
            return false;
        }
        index += 1;
    }
    let first = behind(first, template.start.into());
    if usize::from(template.span) <= WINDOW {
        fits_near(&template.words, template.slots, template.span, first)
    } else {
        fits_far(template, first)
    }
}

/// The words lie near each other: one read is cheaper than one for each.
#[inline(always)]
fn fits_near<const N: usize>(words: &[Slot; N], slots: u16, span: u16, first: u64) -> bool {
    let Some(scratch) = maps::scratch() else { return false };
    if !read::user_part(first, &mut scratch.window, u32::from(span) * 8) {
        return false;
    }
    let mut index = 0;
    while index < N && index < WINDOW {
        if index >= usize::from(slots) {
            break;
        }
        let Slot { offset, value } = words[index];
        if scratch.window[offset as usize & (WINDOW - 1)] != value {
            return false;
        }
        index += 1;
    }
    true
}

#[inline(always)]
fn fits_far(template: &Template, first: u64) -> bool {
    let mut index = 0;
    while index < MAX_SLOTS {
        if index >= usize::from(template.slots) {
            break;
        }
        let Slot { offset, value } = template.words[index];
        if read::user::<u64>(behind(first, offset)) != Some(value) {
            return false;
        }
        index += 1;
    }
    true
}

/// Sends the stack; the copy's number, or why there is none.
#[inline(always)]
fn copy(thread: &Thread, key: u64) -> u64 {
    let Some(id) = permission() else {
        emit::dropped(DropReason::NativeStack);
        return Unrecorded::Limit as u64;
    };
    let Some(record) = maps::stack_copy() else { return Unrecorded::Unreadable as u64 };
    record.header = emit::header(kind::STACK_COPY, COPY_HEAD, thread.fault.header.time);
    record.process = thread.process;
    record.id = id;
    record.key = key;
    record.interpreter_stack = thread.fault.stack;
    if !registers::all(thread.user.at, thread.user.sp, &mut record.registers) {
        return Unrecorded::NoRegisters as u64;
    }
    if !read_stack(record, thread.user.sp) {
        return Unrecorded::Unreadable as u64;
    }
    let len = COPY_HEAD + record.len as usize;
    record.header.len = len as u32;
    if emit::record(record, len, Wake::Yes, DropReason::NativeStack) { id } else { Unrecorded::Limit as u64 }
}

/// Whether one more copy may be made now, and its number.
#[inline(always)]
fn permission() -> Option<u64> {
    let bucket = maps::bucket()?;
    let now = read::now();
    let earned = now.wrapping_sub(bucket.filled) / REFILL;
    if earned > 0 {
        let tokens = bucket.tokens + earned;
        bucket.tokens = if tokens > BURST { BURST } else { tokens };
        bucket.filled = now;
    }
    if bucket.tokens == 0 || emit::fuller_than(RING_PART) {
        return None;
    }
    bucket.tokens -= 1;
    bucket.copies += 1;
    Some(FIRST_COPY | u64::from(read::cpu()) << 44 | bucket.copies)
}

/// Reads from the stack pointer's words up to where the thread's stack began, as far as that is known and not too far.
#[inline(always)]
fn read_stack(record: &mut StackCopy, sp: u64) -> bool {
    let first = sp & !7;
    let task = read::current_task();
    // Nobody may ever have touched what lies below.
    let _ = read::user_words(first_word(sp), &mut record.red_zone);
    let mut room = u64::MAX;
    if let Some(memory) = tree::field::<u64>(task, config!(task_mm))
        && let Some(top) = tree::field::<u64>(memory, config!(mm_start_stack))
        && top > sp
    {
        room = top - first;
    }
    // The C library keeps what belongs to a thread at the top of its stack, and the thread pointer points there.
    if let Some(base) = tree::field::<u64>(task, config!(task_thread_pointer))
        && base > sp
        && base - first < room
    {
        room = base - first;
    }
    let mut len = room;
    record.end = copy_end::TOP;
    if room > MAX_COPY as u64 {
        len = MAX_COPY as u64;
        record.end = copy_end::LIMIT;
    }
    if read_words(record, first, len) {
        return true;
    }
    record.end = copy_end::UNREADABLE;
    let mut pages = PAGES;
    while pages > 0 {
        pages -= 1;
        let reach = maps::pages().rest(first) + pages * maps::pages().bytes();
        if reach < len && read_words(record, first, reach) {
            return true;
        }
    }
    false
}

#[inline(always)]
fn read_words(record: &mut StackCopy, first: u64, len: u64) -> bool {
    let len = (len & !7) as u32;
    record.len = RED_ZONE as u32 + len;
    read::user_part(first, &mut record.stack, len)
}
