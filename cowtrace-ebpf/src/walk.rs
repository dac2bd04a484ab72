//! Interpreter frames at the moment of the fault, and what else of an interpreter is looked at then. Everything about an interpreter is data
//! (`Plan`): no language and no version here. The target's memory may be hostile: every loop and length is bounded.

use bytemuck::Zeroable;
use cowtrace_ebpf::{
    drops::DropReason,
    event::{Frame, STACK_HEAD, StackEnd, flag, kind},
    plan::{FRAME_WORDS, MAX_FRAMES, Plan, UNUSED, walker},
    state::{JOINED, LOOKED, Process, Thread, pending},
};

use crate::{
    callers, define, detail, emit,
    image::image,
    maps::{self, Scratch, WINDOW},
    modules::{look_for_modules, note_modules},
    read, ruby, slots,
    thread_state::{current_frame, state_word, thread_state},
};

/// Copies of a code object's bytecode that are believed.
const MOST_COPIES: u64 = 1 << 16;
/// Bytes of bytecode that are believed.
const MOST_BYTECODE: u64 = 1 << 24;
/// Bytes in front of a frame that are read with it.
const FRAMES_BEFORE: u64 = 1024;

/// Writes into the current thread's fault what can only be seen now.
#[inline(always)]
pub(crate) fn capture() {
    let Some(thread) = maps::thread(read::current_tid()) else { return };
    thread.pending |= pending::BUSY;
    thread.fault.flags |= flag::WALKED;
    stack();
    walk_evidence();
}

/// The rest, behind the interpreter's stack. Global for the same reason as [`walk_frame`].
///
/// Takes no reference, and none is held across a call of a global function: those look the same entries up again, and
/// what one of them writes must not be taken for unchanged.
#[expect(unsafe_code, reason = "only an exported function is global in the object's type information")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn walk_evidence() -> u64 {
    let Some(mut thread) = maps::thread(read::current_tid()) else { return 0 };
    if thread.pending & pending::MODULES != 0 {
        look_for_modules();
        let Some(again) = maps::thread(read::current_tid()) else { return 0 };
        thread = again;
    }
    callers::name_stack(thread);
    let mut stacked = false;
    if let Some(process) = maps::process(&thread.process)
        && let Some(plan) = maps::plan(process.plan)
    {
        stacked = plan.walker == walker::STACKED;
        if !stacked && !image(thread, process, plan) {
            detail::look(thread, process, plan);
        }
    }
    if !stacked {
        thread.pending &= !(pending::BUSY | pending::MODULES);
        return 0;
    }
    slots::ruby_evidence();
    let Some(thread) = maps::thread(read::current_tid()) else { return 0 };
    thread.pending &= !(pending::BUSY | pending::MODULES);
    0
}

/// The stack of the current thread, which is about to fork; 0 = none. There is no fault under way, so that the thread's
/// record is free to work in.
#[inline(always)]
pub(crate) fn forking_stack() -> u64 {
    let Some(thread) = maps::thread(read::current_tid()) else { return 0 };
    thread.pending = pending::BUSY;
    thread.fault.stack = 0;
    thread.fault.header.time = read::now();
    stack();
    note_modules();
    let Some(thread) = maps::thread(read::current_tid()) else { return 0 };
    thread.pending = 0;
    thread.fault.stack
}

/// Walks the current thread's frames and names its stack in its fault; a stack not seen before is sent.
///
/// What sends is not called by what walks: older kernels allow 512 bytes of stack in all.
#[inline(always)]
fn stack() {
    // The function whose argument is wanted was met in this very stack: its frames are walked again, with arguments.
    if walk_stack() == NEW && send_stack() != 0 && walk_stack() == NEW {
        send_stack();
    }
}

/// [`walk_stack`]'s answer if the stack was not seen before.
const NEW: u64 = 1;

/// Walks the current thread's frames and names its stack in its fault; [`NEW`] = it is to be sent, else 0. Global for the
/// same reason as [`walk_frame`].
#[expect(unsafe_code, reason = "only an exported function is global in the object's type information")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn walk_stack() -> u64 {
    match walk() {
        Ok(new) => u64::from(new),
        Err(end) => {
            if let Some(thread) = maps::thread(read::current_tid()) {
                thread.fault.stack_end = end as u8;
            }
            0
        }
    }
}

/// Names the stack by its hash; whether it was not seen before.
#[inline(always)]
fn walk() -> Result<bool, StackEnd> {
    let thread = maps::thread(read::current_tid()).ok_or(StackEnd::NoThreadState)?;
    let process = maps::process(&thread.process).ok_or(StackEnd::NoThreadState)?;
    let plan = maps::plan(process.plan).ok_or(StackEnd::NoPlan)?;
    if process.plan == 0 {
        return Err(StackEnd::NoPlan);
    }
    thread.innermost = 0;
    let state = thread_state(thread, process, plan);
    if state == 0 {
        return Err(StackEnd::NoThreadState);
    }
    // Not before: the table is found through the thread's state, and is looked for once.
    if process.flags & (JOINED | LOOKED) == JOINED {
        thread.pending |= pending::MODULES;
    }
    thread.fault.state = state;
    let frame = maps::scratch().map_or(0, |scratch| current_frame(&scratch.state, plan));
    if frame == 0 {
        return Err(StackEnd::NoFrame);
    }
    thread.innermost = frame;
    if process.argument_code == 0
        && let Some(session) = maps::session()
        && session.argument_codes != process.argument_checked
    {
        process.argument_checked = session.argument_codes;
        process.argument_code =
            maps::ARGUMENT_CODE.get_ptr(process.image).and_then(maps::copied).unwrap_or(0);
    }
    frames(frame, process, plan, state);
    name_stack(thread)
}

/// Names the stack in this CPU's buffer; whether it was not seen before, and is to be sent.
#[inline(always)]
fn name_stack(thread: &mut Thread) -> Result<bool, StackEnd> {
    let scratch = maps::scratch().ok_or(StackEnd::Unreadable)?;
    thread.fault.stack_end = scratch.stack.end as u8;
    let depth = scratch.stack.depth;
    if depth == 0 {
        return Ok(false);
    }
    let hash = mix(scratch.stack.hash, scratch.image) | 1;
    thread.fault.stack = hash;
    if maps::SEEN.get_ptr(hash).is_some() {
        return Ok(false);
    }
    let record = &mut scratch.stack;
    record.header = emit::header(kind::STACK, STACK_HEAD, thread.fault.header.time);
    record.process = thread.process;
    record.hash = hash;
    Ok(true)
}

/// Sends the stack in this CPU's buffer, after what it refers to. 1 = the function whose argument is wanted was met in it,
/// else 0. Global for the same reason as [`walk_frame`].
#[expect(unsafe_code, reason = "only an exported function is global in the object's type information")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn send_stack() -> u64 {
    let Some(scratch) = maps::scratch() else { return 0 };
    let depth = scratch.stack.depth;
    let mut complete = true;
    let mut index = 0;
    while index < MAX_FRAMES {
        if index as u32 >= depth {
            break;
        }
        complete &= define::define_frame(index as u64) != 0;
        index += 1;
    }
    let Some(scratch) = maps::scratch() else { return 0 };
    let known = scratch.argument_code;
    let record = &mut scratch.stack;
    let len = STACK_HEAD + depth as usize * size_of::<Frame>();
    record.header.len = len as u32;
    if emit::record(record, len, emit::Wake::No, DropReason::RingDefinition) && complete {
        let _ = maps::SEEN.insert(record.hash, 1, 0);
    }
    let process = maps::thread(read::current_tid()).and_then(|thread| maps::process(&thread.process));
    u64::from(process.is_some_and(|process| process.argument_code != known))
}

/// One step of a multiplicative hash over 8-byte words.
#[inline(always)]
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

/// The word of the frame's window that holds the byte at an offset. The offset comes from the plan; one outside the window
/// reads another word of it.
#[inline(always)]
pub(crate) fn word(window: &[u64; FRAME_WORDS], offset: u16) -> u64 {
    window[usize::from(offset >> 3) & (FRAME_WORDS - 1)]
}

/// Reads the chain of frames into the scratch stack, with hash, depth and why it ended.
///
/// The results go through memory, of which the verifier forgets the values: handed back as they are, each possible depth
/// would be a case of its own for all that follows.
#[inline(always)]
fn frames(first: u64, process: &Process, plan: &Plan, state: u64) {
    let Some(scratch) = maps::scratch() else { return };
    let stacked = plan.walker == walker::STACKED;
    scratch.limit = if stacked { ruby::end_of_frames(state, plan) } else { 0 };
    scratch.stack.hash = 0;
    scratch.stack.depth = 0;
    scratch.stack.end = StackEnd::TooDeep as u32;
    scratch.window_len = 0;
    scratch.next = first;
    scratch.plan = process.plan;
    scratch.image = process.image;
    scratch.argument_code = process.argument_code;
    let mut step = 0;
    while step < MAX_FRAMES + MAX_FRAMES / 2 {
        step += 1;
        let goes_on = if stacked { ruby::ruby_frame() } else { walk_frame() };
        if goes_on == 0 {
            return;
        }
    }
}

/// One step of the walk in this CPU's buffer; 0 = it has ended.
///
/// A global function without pointers: the verifier goes through it once, not once for each step.
#[expect(unsafe_code, reason = "only an exported function is global in the object's type information")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn walk_frame() -> u64 {
    let Some(scratch) = maps::scratch() else { return 0 };
    match step(scratch) {
        Ok(()) => 1,
        Err(end) => {
            scratch.stack.end = end as u32;
            0
        }
    }
}

#[inline(always)]
fn step(scratch: &mut Scratch) -> Result<(), StackEnd> {
    let plan = maps::plan(scratch.plan).ok_or(StackEnd::NoPlan)?;
    let frame = scratch.next;
    if frame == 0 {
        return Err(StackEnd::Complete);
    }
    let depth = scratch.stack.depth as usize;
    if depth >= MAX_FRAMES {
        return Err(StackEnd::TooDeep);
    }
    let at = window_of(scratch, frame, plan).ok_or(StackEnd::Unreadable)?;
    let field = |scratch: &Scratch, offset: u16| {
        scratch.window[(at as usize + usize::from(offset >> 3)) & (WINDOW - 1)] >> ((offset & 7) * 8)
    };
    scratch.next = field(scratch, plan.frame_previous);
    let owner = field(scratch, plan.frame_owner) as u8;
    if u16::from(owner) >= plan.owner_shim {
        return Ok(());
    }
    let code = field(scratch, plan.frame_code) & !plan.code_tag;
    let mut instruction = field(scratch, plan.frame_instruction);
    let copy = if plan.frame_copy == UNUSED { 0 } else { field(scratch, plan.frame_copy) as u32 };
    if !read::user_words(code + u64::from(plan.code_identity), &mut scratch.words) {
        return Err(StackEnd::Unreadable);
    }
    let mut identity = code;
    for word in scratch.words {
        identity = mix(identity, word);
    }
    if plan.frame_index_shift != UNUSED {
        instruction = i64::from(instruction as i32).wrapping_shl(u32::from(plan.frame_index_shift)) as u64;
    }
    if plan.frame_copy != UNUSED {
        instruction = in_code_object(instruction, code, u64::from(copy), plan);
    }
    let argument = if code == scratch.argument_code {
        read::user::<u64>(frame + u64::from(plan.frame_local0)).unwrap_or(0) & !plan.code_tag
    } else {
        0
    };
    scratch.stack.hash = mix(mix(mix(scratch.stack.hash, identity), instruction), argument);
    push(scratch, Frame { code, identity, instruction, argument, owner, ..Frame::zeroed() })
}

/// Puts a frame behind the others of the scratch stack.
#[inline(always)]
pub(crate) fn push(scratch: &mut Scratch, frame: Frame) -> Result<(), StackEnd> {
    let depth = maps::opaque(scratch.stack.depth as usize);
    if depth >= MAX_FRAMES {
        return Err(StackEnd::TooDeep);
    }
    scratch.stack.frames[depth] = frame;
    scratch.stack.depth += 1;
    Ok(())
}

/// Makes sure that a frame is in this CPU's window; the number of its first word there, `None` = it cannot be read.
///
/// Where frames lie one behind the other, as calls made them, those that called this one are most likely right in front of
/// it, and come with it.
#[inline(always)]
fn window_of(scratch: &mut Scratch, frame: u64, plan: &Plan) -> Option<u64> {
    let size = u64::from(plan.frame_size);
    let offset = frame.wrapping_sub(scratch.window_start);
    if offset < scratch.window_len && scratch.window_len - offset >= size && offset & 7 == 0 {
        return Some(offset >> 3);
    }
    let mut before = 0;
    if plan.thread_chunk != UNUSED {
        let chunk = state_word(&scratch.state, plan.thread_chunk);
        let limit = state_word(&scratch.state, plan.thread_chunk.wrapping_add(16));
        if chunk <= frame && frame < limit {
            before = frame - chunk;
        }
    }
    before = if before < FRAMES_BEFORE { before & !7 } else { FRAMES_BEFORE };
    scratch.window_start = frame - before;
    scratch.window_len = before + size;
    if read::user_part(frame - before, &mut scratch.window, (before + size) as u32) {
        return Some(before >> 3);
    }
    scratch.window_start = frame;
    scratch.window_len = size;
    if read::user_part(frame, &mut scratch.window, size as u32) {
        return Some(0);
    }
    scratch.window_len = 0;
    None
}

/// The address in a code object's own bytecode of an instruction in one of its copies; as it came if that is no copy's.
#[inline(always)]
fn in_code_object(instruction: u64, code: u64, copy: u64, plan: &Plan) -> u64 {
    if copy == 0 || copy >= MOST_COPIES {
        return instruction;
    }
    let copies = read::user::<u64>(code + u64::from(plan.code_copies)).unwrap_or(0);
    let start = read::user::<u64>(copies + 8 + copy * 8).unwrap_or(0);
    let offset = instruction.wrapping_sub(start);
    if start == 0 || offset >= MOST_BYTECODE {
        return instruction;
    }
    code + u64::from(plan.code_bytecode) + offset
}
