//! What a record refers to and userspace may not be able to read later, because the child that made it is gone by then:
//! code objects, types, names. Each is sent when it is first met in an image.

use bytemuck::Zeroable;
use cowtrace_ebpf::{
    drops::DropReason,
    event::{
        CODE_HEAD, FILE_NAME, FUNCTION_NAME, Frame, KEY, LINE_TABLE, ShortText, TEXT, Text, Type, UNREADABLE, kind,
    },
    plan::Plan,
    state::{Process, Thread},
};

use crate::{
    emit::{self, Wake},
    maps, read,
    walk::{image_word, mix},
};

/// Values of the table of what was sent.
const SENT: u64 = 1;

/// Completes a frame of a new stack and sends what it refers to; `false` = something did not fit into the ring.
#[inline(never)]
pub(crate) fn frame(frame: &mut Frame, thread: &Thread, process: &mut Process, plan: &Plan) -> bool {
    if let Some(unit) = read::user::<u16>(frame.instruction) {
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
    complete
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
    record.first_line = read::user::<i32>(frame.code + u64::from(plan.code_first_line)).unwrap_or(-1);
    let pointer = |offset: u16| read::user::<u64>(frame.code + u64::from(offset)).unwrap_or(0);
    (record.file.characters, record.file.state) =
        string::<FILE_NAME>(pointer(plan.code_file), &mut record.file.bytes, plan);
    (record.name.characters, record.name.state) =
        string::<FUNCTION_NAME>(pointer(plan.code_name), &mut record.name.bytes, plan);
    if is_argument_function(&record.name.bytes, plan) {
        process.argument_code = frame.code;
    }
    let lines = pointer(plan.code_lines);
    let full = read::user::<u64>(lines + u64::from(plan.bytes_length)).unwrap_or(0);
    record.lines_full = if full > u64::from(UNREADABLE) { UNREADABLE } else { full as u32 };
    record.lines_len = if full > LINE_TABLE as u64 { LINE_TABLE as u32 } else { full as u32 };
    if !read::user_into(lines + u64::from(plan.bytes_data), &mut record.lines, record.lines_len) {
        record.lines_len = 0;
    }
    let len = record.lines_len as usize;
    let len = CODE_HEAD + if len > LINE_TABLE { LINE_TABLE } else { len };
    record.header.len = len as u32;
    emit::record(record, len, Wake::No, DropReason::RingDefinition)
}

#[inline(always)]
fn is_argument_function(name: &[u8; FUNCTION_NAME], plan: &Plan) -> bool {
    let mut same = plan.argument_function[0] != 0;
    let mut index = 0;
    while index < plan.argument_function.len() {
        same &= name[index] == plan.argument_function[index];
        index += 1;
    }
    same
}

/// Reads a string object's start: characters of the whole string ([`UNREADABLE`] = none) and state word.
#[inline(always)]
fn string<const N: usize>(object: u64, bytes: &mut [u8; N], plan: &Plan) -> (u32, u32) {
    *bytes = [0; N];
    if object == 0 {
        return (UNREADABLE, 0);
    }
    let Some(length) = read::user::<u64>(object + u64::from(plan.string_length)) else { return (UNREADABLE, 0) };
    let Some(state) = read::user::<u32>(object + u64::from(plan.string_state)) else { return (UNREADABLE, 0) };
    let ascii = (state >> (plan.string_ascii_bit & 31)) & 1 != 0;
    let data = object + u64::from(if ascii { plan.string_ascii } else { plan.string_wide });
    let width = if ascii { 1 } else { 4 };
    let characters = if length > u64::from(UNREADABLE - 1) { UNREADABLE - 1 } else { length as u32 };
    let most = N as u64;
    let full = if length > most / width { most as u32 } else { (length * width) as u32 };
    if read::user_into(data, bytes, full) {
        return (characters, state);
    }
    // Wider than it is, the string seemed to reach into a page that is not there.
    let least = if length > most { most as u32 } else { length as u32 };
    if read::user_into(data, bytes, least) { (characters, state) } else { (UNREADABLE, 0) }
}

/// Sends the text of an import's argument.
#[inline(always)]
fn argument(object: u64, thread: &Thread, plan: &Plan) -> bool {
    let mut record = Text {
        header: emit::header(kind::TEXT, size_of::<Text>(), thread.fault.header.time),
        process: thread.process,
        address: object,
        text: ShortText::zeroed(),
    };
    (record.text.characters, record.text.state) = string::<TEXT>(object, &mut record.text.bytes, plan);
    emit::record(&record, size_of::<Text>(), Wake::No, DropReason::RingDefinition)
}

/// Whether the word at an address points to a type object; one that was not met before is sent.
#[inline(always)]
pub(crate) fn type_of(address: u64, thread: &Thread, process: &Process, plan: &Plan) -> bool {
    let candidate = image_word(thread, address);
    if candidate & 7 != 0 || candidate < 0x1_0000 || candidate >> 47 != 0 {
        return false;
    }
    let key = mix(process.image, candidate);
    if maps::SEEN.get_ptr(key).is_some() {
        return true;
    }
    new_type(candidate, key, thread, process, plan)
}

#[inline(never)]
fn new_type(candidate: u64, key: u64, thread: &Thread, process: &Process, plan: &Plan) -> bool {
    let type_at = u64::from(plan.object_type);
    let Some(meta) = read::user::<u64>(candidate + type_at) else { return false };
    // A class's class is `type`, or derived from it and then an object of it.
    if meta != process.type_type && read::user::<u64>(meta + type_at) != Some(process.type_type) {
        return false;
    }
    if meta != process.type_type && meta == candidate {
        return false;
    }
    let mut record = Type {
        header: emit::header(kind::TYPE, size_of::<Type>(), thread.fault.header.time),
        process: thread.process,
        image: process.image,
        address: candidate,
        name_address: 0,
        len: 0,
        zero: 0,
        name: [0; cowtrace_ebpf::event::TYPE_NAME],
    };
    if let Some(name) = read::user::<u64>(candidate + u64::from(plan.type_name)) {
        record.name_address = name;
        record.len = read::user_string(name, &mut record.name);
    }
    if emit::record(&record, size_of::<Type>(), Wake::No, DropReason::RingDefinition) {
        let _ = maps::SEEN.insert(key, SENT, 0);
    }
    true
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
