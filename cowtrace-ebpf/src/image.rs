//! The memory around a write, as it was before, and whether it tells what was written.

use cowtrace_ebpf::{
    event::{IMAGE_BEFORE, IMAGE_WORDS, flag},
    plan::{Plan, UNUSED},
    state::{Process, Thread},
};

use crate::{define, maps, read};

/// Above this a word is an address, not a count of references.
const MOST_COUNTED: u64 = 1 << 24;
/// Bits that are never set in the word of an object's padding (u16, left as it was found), lock (u8) and collector's marks (u8).
const NO_MARKS: u64 = 0xfc_0000;
/// A write this far behind the start of the module table's keys cannot lie in that table.
const MODULE_TABLE_SPAN: u64 = 1 << 22;

/// The memory around the write, as it still is; `false` = it cannot be read.
#[inline(always)]
pub(crate) fn around(thread: &mut Thread) -> bool {
    let address = thread.fault.address;
    let image = &mut thread.fault.image;
    image.key_len = 0;
    image.len = 0;
    let word = address & !7;
    let page = maps::pages().start(address);
    let start = if word < page + IMAGE_BEFORE { page } else { word - IMAGE_BEFORE };
    image.address = start;
    let mut len = (IMAGE_WORDS * 8) as u64;
    if !read::user_words(start, &mut image.words) {
        // The next page may not be there.
        let rest = maps::pages().rest(start);
        len = if rest < len { rest } else { len };
        if !read::user_part(start, &mut image.words, len as u32) {
            return false;
        }
    }
    image.len = len as u32;
    thread.fault.flags |= flag::IMAGE;
    true
}

/// The memory around the write, as it still is, and the names of what it may belong to. Whether that is all that has to
/// be known: a reference count, or a collector's head.
#[inline(always)]
pub(crate) fn image(thread: &mut Thread, process: &mut Process, plan: &Plan) -> bool {
    if !around(thread) {
        return false;
    }
    let address = thread.fault.address;
    let word = address & !7;
    if process.modules.keys != 0
        && address.wrapping_sub(process.modules.keys) < MODULE_TABLE_SPAN
        && read::user::<u64>(process.modules.dict + u64::from(plan.dict_keys)) == Some(process.modules.keys)
    {
        thread.fault.flags |= flag::MODULE_TABLE;
    }
    if plan.object_type > 8 {
        define::key(word.wrapping_sub(8), thread, process, plan);
        return long_head(word) != 0;
    }
    // A reference count lies one word before its type, a collector's link two or three.
    if define::type_of(image_word(thread, word + 8), thread, process, plan) != 0
        && image_word(thread, word).wrapping_sub(1) < MOST_COUNTED
    {
        return true;
    }
    // Without references it is no object any more.
    let mut flags = 0;
    if image_word(thread, word + 8) != 0 {
        flags = define::type_of(image_word(thread, word + 16), thread, process, plan);
    }
    if image_word(thread, word + 16) != 0 {
        flags |= define::type_of(image_word(thread, word + 24), thread, process, plan);
    }
    if (flags >> (plan.type_has_gc_bit & 63)) & 1 != 0 {
        thread.fault.generation = generation(thread.fault.state, process, plan);
        return true;
    }
    define::key(word.wrapping_sub(8), thread, process, plan);
    false
}

/// Whether a word lies in an object's head, where that is longer than a count and a type (1, else 0): what the owning thread,
/// the collector and other threads count and mark lies in the three words before the type, the marks in the second.
///
/// Global for the same reason as [`crate::walk::walk_frame`]. Writes nothing to the thread's fault.
#[expect(unsafe_code, reason = "only an exported function is global in the object's type information")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn long_head(word: u64) -> u64 {
    let Some(thread) = maps::thread(read::current_tid()) else { return 0 };
    let Some(process) = maps::process(&thread.process) else { return 0 };
    let Some(plan) = maps::plan(process.plan) else { return 0 };
    let mut found = 0;
    let mut distance = 8;
    while distance <= 24 {
        let marks = image_word(thread, (word + distance).wrapping_sub(16));
        if marks & NO_MARKS == 0
            && define::type_of(image_word(thread, word + distance), thread, process, plan) != 0
        {
            found = 1;
        }
        distance += 8;
    }
    found
}

/// One more than the generation that is collected, if a collection is under way: the oldest of those whose counts are 0.
/// 0 = it cannot be told.
#[inline(always)]
fn generation(state: u64, process: &Process, plan: &Plan) -> u8 {
    let first = if plan.runtime_gc_counts != UNUSED {
        process.runtime + u64::from(plan.runtime_gc_counts)
    } else if plan.interpreter_gc_counts != UNUSED {
        let Some(interpreter) = read::user::<u64>(state + u64::from(plan.thread_interpreter)) else {
            return 0;
        };
        interpreter + u64::from(plan.interpreter_gc_counts)
    } else {
        return 0;
    };
    let stride = u64::from(plan.gc_count_stride);
    let mut generation = 0;
    while generation < 3 {
        if read::user::<u32>(first + stride * u64::from(generation)) != Some(0) {
            return generation;
        }
        generation += 1;
    }
    generation
}

/// A word of the image around the fault's address, 0 if it was not kept.
#[inline(always)]
pub(crate) fn image_word(thread: &Thread, address: u64) -> u64 {
    let image = &thread.fault.image;
    let offset = address.wrapping_sub(image.address);
    let index = (offset >> 3) as usize;
    if index >= IMAGE_WORDS || offset + 8 > u64::from(image.len) {
        return 0;
    }
    // Linux 6.12 forgets the first check at the second.
    image.words[maps::opaque(index) & (IMAGE_WORDS - 1)]
}
