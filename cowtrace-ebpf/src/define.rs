//! What a record refers to and userspace may not be able to read later, because the child that made it is gone by then:
//! code objects, types, names. Each is sent when it is first met in an image.

use cowtrace_ebpf::{
    drops::DropReason,
    event::{
        CODE_HEAD, FILE_NAME, FUNCTION_NAME, Frame, FunctionName, KEY, LINE_TABLE, TEXT, Text, Type,
        UNREADABLE, kind,
    },
    plan::{MAX_FRAMES, Plan, UNUSED, walker},
    state::{Process, Thread},
};

use crate::{
    emit::{self, Wake},
    image::image_word,
    maps, read, ruby,
    walk::mix,
};

/// Values of the table of what was sent; of a type its flags, too, whose lowest bit is of no interest.
pub(crate) const SENT: u64 = 1;

/// Completes a frame of the new stack in this CPU's buffer and sends what it refers to; 0 = something did not fit into the
/// ring.
///
/// A global function that takes numbers alone: the verifier goes through it once, not once for each frame.
#[expect(unsafe_code, reason = "only an exported function is global in the object's type information")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn define_frame(index: u64) -> u64 {
    u64::from(frame(index as usize).unwrap_or(false))
}

#[inline(always)]
fn frame(index: usize) -> Option<bool> {
    let scratch = maps::scratch()?;
    if index >= MAX_FRAMES {
        return None;
    }
    let frame = &mut scratch.stack.frames[index];
    let thread = maps::thread(read::current_tid())?;
    let process = maps::process(&thread.process)?;
    let plan = maps::plan(process.plan)?;
    if plan.walker == walker::STACKED {
        return Some(ruby::ruby_define(index as u64) != 0);
    }
    if let Some(unit) = read::user::<u16>(unit_address(frame, plan)) {
        frame.unit = unit;
        frame.unit_read = 1;
    }
    let mut complete = true;
    let key = mix(mix(process.image, frame.identity), frame.code);
    if maps::SEEN.get_ptr(key).is_none() {
        complete = code(frame, thread, process, plan);
        if complete {
            let _ = maps::SEEN.insert(key, SENT, 0);
        }
    }
    if frame.argument != 0 {
        complete &= argument(frame.argument, thread, plan);
    }
    Some(complete)
}

/// Address of a frame's bytecode unit.
#[inline(always)]
fn unit_address(frame: &Frame, plan: &Plan) -> u64 {
    if plan.frame_index_shift == UNUSED {
        return frame.instruction;
    }
    let bytecode = read::user::<u64>(frame.code + u64::from(plan.code_bytecode)).unwrap_or(0);
    bytecode.wrapping_add(u64::from(plan.bytes_data)).wrapping_add(frame.instruction)
}

#[inline(never)]
fn code(frame: &Frame, thread: &Thread, process: &mut Process, plan: &Plan) -> bool {
    let Some(record) = maps::code_scratch() else { return false };
    record.header = emit::header(kind::CODE, CODE_HEAD, thread.fault.header.time);
    record.process = thread.process;
    record.image = process.image;
    record.address = frame.code;
    record.identity = frame.identity;
    record.plan = process.plan;
    record.first_line = -1;
    read::user_onto(frame.code + u64::from(plan.code_first_line), &mut record.first_line);
    record.units = 0;
    record.owner = frame.owner;
    if plan.object_size != UNUSED && plan.frame_index_shift == UNUSED {
        read::user_onto(frame.code + u64::from(plan.object_size), &mut record.units);
    }
    let file = &mut record.file;
    let at = frame.code + u64::from(plan.code_file);
    string::<FILE_NAME>(at, &mut file.characters, &mut file.state, &mut file.bytes, plan);
    let name = &mut record.name;
    let at = frame.code + u64::from(plan.code_name);
    string::<FUNCTION_NAME>(at, &mut name.characters, &mut name.state, &mut name.bytes, plan);
    note_argument_function(&record.name, frame.code, process, plan);
    let lines = read::user::<u64>(frame.code + u64::from(plan.code_lines)).unwrap_or(0);
    let full = read::user::<u64>(lines + u64::from(plan.bytes_length)).unwrap_or(0);
    let len = if full > LINE_TABLE as u64 { LINE_TABLE as u32 } else { full as u32 };
    record.lines_full = full as u32;
    record.lines_len =
        if read::user_into(lines + u64::from(plan.bytes_data), &mut record.lines, len) { len } else { 0 };
    let len = CODE_HEAD + if len as usize > LINE_TABLE { LINE_TABLE } else { len as usize };
    record.header.len = len as u32;
    emit::record(record, len, Wake::No, DropReason::RingDefinition)
}

/// Remembers the code object if it is the one whose frames' first local variable is wanted.
#[inline(always)]
pub(crate) fn note_argument_function(name: &FunctionName, code: u64, process: &mut Process, plan: &Plan) {
    if is_argument_function(name, plan) {
        process.argument_code = code;
        let _ = maps::ARGUMENT_CODE.insert(process.image, code, 0);
        if let Some(session) = maps::session() {
            maps::add_shared(&mut session.argument_codes, 1);
        }
    }
}

#[inline(always)]
fn is_argument_function(name: &FunctionName, plan: &Plan) -> bool {
    let wanted = &plan.argument_function;
    let mut difference = wanted.len ^ u64::from(name.characters);
    let mut index = 0;
    while index < wanted.words.len() {
        let mut word = 0;
        let mut byte = 0;
        while byte < 8 {
            word |= u64::from(name.bytes[index * 8 + byte]) << (byte * 8);
            byte += 1;
        }
        difference |= (word ^ wanted.words[index]) & wanted.mask[index];
        index += 1;
    }
    difference == 0 && wanted.len != 0
}

/// Reads the start of the string object that the pointer at `at` names: characters of the whole string
/// ([`UNREADABLE`] = none), state word, bytes. With few branches, since each doubles what the verifier has to go through.
#[inline(never)]
fn string<const N: usize>(at: u64, characters: &mut u32, state: &mut u32, bytes: &mut [u8; N], plan: &Plan) {
    *characters = UNREADABLE;
    let Some(object) = read::user::<u64>(at) else { return };
    text::<N>(object, characters, state, bytes, plan);
}

#[inline(always)]
fn text<const N: usize>(
    object: u64,
    characters: &mut u32,
    state: &mut u32,
    bytes: &mut [u8; N],
    plan: &Plan,
) {
    let mut length = 0u64;
    read::user_onto(object + u64::from(plan.string_length), &mut length);
    read::user_onto(object + u64::from(plan.string_state), state);
    let ascii = u64::from((*state >> (plan.string_ascii_bit & 31)) & 1);
    let (narrow, wide) = (u64::from(plan.string_ascii), u64::from(plan.string_wide));
    let data = object.wrapping_add(wide).wrapping_add(ascii.wrapping_mul(narrow.wrapping_sub(wide)));
    if read::user_into(data, bytes, N as u32) {
        *characters = length as u32;
        return;
    }
    // So many bytes reach into a page that is not there.
    let len = if length > N as u64 { N as u32 } else { length as u32 };
    if read::user_into(data, bytes, len) {
        *characters = length as u32;
    }
}

/// Sends the text of an import's argument.
#[inline(never)]
fn argument(object: u64, thread: &Thread, plan: &Plan) -> bool {
    let Some(record) = maps::text_scratch() else { return false };
    record.header = emit::header(kind::TEXT, size_of::<Text>(), thread.fault.header.time);
    record.process = thread.process;
    record.address = object;
    let into = &mut record.text;
    into.characters = UNREADABLE;
    text::<TEXT>(object, &mut into.characters, &mut into.state, &mut into.bytes, plan);
    emit::record(record, size_of::<Text>(), Wake::No, DropReason::RingDefinition)
}

/// Whether a word points to a type object; one that was not met before is sent. Its flags, with [`SENT`]; 0 = it is none.
#[inline(always)]
pub(crate) fn type_of(candidate: u64, thread: &Thread, process: &Process, plan: &Plan) -> u64 {
    if candidate & 7 != 0 || candidate < 0x1_0000 || candidate >> 47 != 0 {
        return 0;
    }
    let key = mix(process.image, candidate);
    if let Some(flags) = maps::SEEN.get_ptr(key).and_then(maps::copied) {
        return flags;
    }
    new_type(candidate, key, thread, process, plan)
}

#[inline(never)]
fn new_type(candidate: u64, key: u64, thread: &Thread, process: &Process, plan: &Plan) -> u64 {
    let type_at = u64::from(plan.object_type);
    let Some(meta) = read::user::<u64>(candidate + type_at) else { return 0 };
    // A class's class is `type`, or a class of classes, which is an object of `type` itself.
    if meta != process.type_type {
        let flags = read::user::<u64>(meta + u64::from(plan.type_flags)).unwrap_or(0);
        let is_meta = (flags >> (plan.type_is_meta_bit & 63)) & 1 != 0;
        if !is_meta || read::user::<u64>(meta + type_at) != Some(process.type_type) {
            return 0;
        }
    }
    let Some(record) = maps::type_scratch() else { return SENT };
    record.header = emit::header(kind::TYPE, size_of::<Type>(), thread.fault.header.time);
    record.process = thread.process;
    record.image = process.image;
    record.address = candidate;
    record.name_address = 0;
    record.len = 0;
    read::user_onto(candidate + u64::from(plan.type_flags), &mut record.flags);
    if let Some(name) = read::user::<u64>(candidate + u64::from(plan.type_name)) {
        record.name_address = name;
        record.len = read::user_string(name, &mut record.name);
    }
    let flags = record.flags | SENT;
    if emit::record(record, size_of::<Type>(), Wake::No, DropReason::RingDefinition) {
        let _ = maps::SEEN.insert(key, flags, 0);
    }
    flags
}

/// If the word at an address points to an ASCII string, keeps the string's start: the key of the dict entry whose value
/// is about to be written.
#[inline(always)]
pub(crate) fn key(address: u64, thread: &mut Thread, process: &Process, plan: &Plan) {
    let object = image_word(thread, address);
    if object & 7 != 0 || object < 0x1_0000 || object >> 47 != 0 {
        return;
    }
    if read::user::<u64>(object + u64::from(plan.object_type)) != Some(process.string_type) {
        return;
    }
    let Some(length) = read::user::<u64>(object + u64::from(plan.string_length)) else { return };
    let Some(state) = read::user::<u32>(object + u64::from(plan.string_state)) else { return };
    if (state >> (plan.string_ascii_bit & 31)) & 1 == 0 {
        return;
    }
    let len = if length > KEY as u64 { KEY as u32 } else { length as u32 };
    if read::user_into(object + u64::from(plan.string_ascii), &mut thread.fault.image.key, len) {
        thread.fault.image.key_len = len;
    }
}
