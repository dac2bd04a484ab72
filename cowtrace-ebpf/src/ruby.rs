//! An interpreter whose frames lie one behind the other at the end of a stack, and whose objects lie in slots of pages of one
//! heap, where a collector marks them: its frames and its code objects. Offsets are the plan's.

use bytemuck::Zeroable;
use cowtrace_ebpf::{
    drops::DropReason,
    event::{
        CODE_HEAD, Code, FILE_NAME, FUNCTION_NAME, Frame, NATIVE_METHOD, StackEnd, TEXT, Text, UNREADABLE,
        kind,
    },
    plan::{BODY, MAX_FRAMES, POSITIONS, Plan, UNUSED},
    state::{Process, Thread},
};

use crate::{
    define::{SENT, note_argument_function},
    emit::{self, Wake},
    maps::{self, Scratch},
    read,
    walk::{self, mix, word},
};

/// Bits of a frame's flags that tell its kind, and a frame of a method that is native code.
/// <https://github.com/ruby/ruby/blob/v3_1_2/vm_core.h#L1203>
const FRAME_KIND: u64 = 0x7fff_0001;
const NATIVE_FRAME: u64 = 0x5555_0001;
/// Low bits of an object's flags: its type; of an object of the interpreter itself which one, behind them.
const TYPE: u64 = 0x1f;
const STRING: u64 = 5;
const ARRAY: u64 = 7;
const INTERNAL: u64 = 0x1a;
const INTERNAL_SHIFT: u64 = 12;
const INTERNAL_KINDS: u64 = 15;
const METHOD_ENTRY: u64 = 6;
/// A string that holds its characters itself has at most so many, as far as its flags can tell.
const EMBEDDED_LENGTH: u64 = 31;
/// Numbers of names that one array has; of each it has the name and a symbol. Bits of a number that tell the name's scope.
/// <https://github.com/ruby/ruby/blob/v3_1_2/symbol.c#L68>
const UNIT: u64 = 512;
const IN_UNIT: u64 = 2;
const SCOPE_BITS: u64 = 4;
/// Local variables that are believed.
const MOST_LOCALS: u32 = 1 << 12;
/// Entries of lines that there is room for in a record.
const ENTRIES: usize = 4096 - BODY - POSITIONS;

/// Where the frames of a thread end. The outermost one is the interpreter's own, and no frame of the program.
#[inline(always)]
pub(crate) fn end_of_frames(thread_state: u64, plan: &Plan) -> u64 {
    let mut stack = [0u64; 2];
    let context = read::user::<u64>(thread_state + u64::from(plan.thread_frame)).unwrap_or(0);
    read::user_words(context + u64::from(plan.ruby.context_stack), &mut stack);
    stack[0].wrapping_add(stack[1].wrapping_mul(8)).wrapping_sub(u64::from(plan.frame_size))
}

/// One step of the walk in this CPU's buffer; 0 = it has ended. Global, so that the verifier goes through it once.
#[expect(unsafe_code, reason = "only an exported function is global in the object's type information")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn ruby_frame() -> u64 {
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
    if frame >= scratch.limit {
        return Err(StackEnd::Complete);
    }
    let depth = scratch.stack.depth as usize;
    if depth >= MAX_FRAMES {
        return Err(StackEnd::TooDeep);
    }
    if !read::user_part(frame, &mut scratch.frame, u32::from(plan.frame_size)) {
        return Err(StackEnd::Unreadable);
    }
    scratch.next = frame + u64::from(plan.frame_size);
    let sequence = word(&scratch.frame, plan.frame_code);
    let instruction = word(&scratch.frame, plan.frame_instruction);
    let environment = word(&scratch.frame, plan.ruby.frame_environment);
    if sequence == 0 {
        return native(scratch, environment, plan);
    }
    if instruction == 0 {
        // A block that is native code.
        return Ok(());
    }
    let body = read::user::<u64>(sequence + u64::from(plan.ruby.code_body)).ok_or(StackEnd::Unreadable)?;
    if !read::user_words(body + u64::from(plan.code_identity), &mut scratch.words) {
        return Err(StackEnd::Unreadable);
    }
    let mut identity = body;
    for word in scratch.words {
        identity = mix(identity, word);
    }
    let argument = if body == scratch.argument_code { first_local(body, environment, plan) } else { 0 };
    scratch.stack.hash = mix(mix(mix(scratch.stack.hash, identity), instruction), argument);
    walk::push(scratch, Frame { code: body, identity, instruction, argument, ..Frame::zeroed() })
}

/// A frame of a method that is native code: its entry lies in front of the environment.
#[inline(always)]
fn native(scratch: &mut Scratch, environment: u64, plan: &Plan) -> Result<(), StackEnd> {
    let flags = read::user::<u64>(environment).unwrap_or(0);
    let entry =
        read::user::<u64>(environment.wrapping_sub(u64::from(plan.ruby.environment_method))).unwrap_or(0);
    let of = read::user::<u64>(entry).unwrap_or(0);
    let is_entry = of & TYPE == INTERNAL && (of >> INTERNAL_SHIFT) & INTERNAL_KINDS == METHOD_ENTRY;
    if flags & FRAME_KIND != NATIVE_FRAME || !is_entry {
        return Ok(());
    }
    let depth = scratch.stack.depth as usize;
    if depth >= MAX_FRAMES {
        return Err(StackEnd::TooDeep);
    }
    let definition = read::user::<u64>(entry + u64::from(plan.ruby.method_definition)).unwrap_or(0);
    let identity = mix(entry, definition);
    scratch.stack.hash = mix(scratch.stack.hash, identity);
    walk::push(scratch, Frame { code: entry, identity, owner: NATIVE_METHOD, ..Frame::zeroed() })
}

/// A frame's first local variable, if it is an object.
#[inline(always)]
fn first_local(body: u64, environment: u64, plan: &Plan) -> u64 {
    let locals = read::user::<u32>(body + u64::from(plan.ruby.body_locals)).unwrap_or(0);
    if locals == 0 || locals > MOST_LOCALS {
        return 0;
    }
    let before = u64::from(plan.ruby.environment_size) + u64::from(locals) * 8;
    let value = read::user::<u64>(environment.wrapping_sub(before)).unwrap_or(0);
    if value & 7 == 0 && read::user::<u64>(value).unwrap_or(0) & TYPE == STRING { value } else { 0 }
}

/// Sends what a frame of the new stack in this CPU's buffer refers to; 0 = something did not fit into the ring.
#[expect(unsafe_code, reason = "only an exported function is global in the object's type information")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn ruby_define(index: u64) -> u64 {
    u64::from(define(index as usize).unwrap_or(false))
}

#[inline(always)]
fn define(index: usize) -> Option<bool> {
    let scratch = maps::scratch()?;
    if index >= MAX_FRAMES {
        return None;
    }
    let frame = &scratch.stack.frames[index];
    let thread = maps::thread(read::current_tid())?;
    let process = maps::process(&thread.process)?;
    let plan = maps::plan(process.plan)?;
    let mut complete = true;
    let key = mix(mix(process.image, frame.identity), frame.code);
    if maps::SEEN.get_ptr(key).is_none() {
        complete = code(frame, thread, process, plan).unwrap_or(false);
        if complete {
            let _ = maps::SEEN.insert(key, SENT, 0);
        }
    }
    if frame.argument != 0
        && let Some(record) = maps::text_scratch()
    {
        record.header = emit::header(kind::TEXT, size_of::<Text>(), thread.fault.header.time);
        record.process = thread.process;
        record.address = frame.argument;
        let into = &mut record.text;
        string::<TEXT>(frame.argument, &mut into.characters, &mut into.state, &mut into.bytes, plan);
        complete &= emit::record(record, size_of::<Text>(), Wake::No, DropReason::RingDefinition);
    }
    Some(complete)
}

#[inline(always)]
fn code(frame: &Frame, thread: &Thread, process: &mut Process, plan: &Plan) -> Option<bool> {
    let record = maps::code_scratch()?;
    record.header = emit::header(kind::CODE, CODE_HEAD, thread.fault.header.time);
    record.process = thread.process;
    record.image = process.image;
    record.address = frame.code;
    record.identity = frame.identity;
    record.plan = process.plan;
    record.first_line = -1;
    record.units = 0;
    record.owner = frame.owner;
    record.file.characters = UNREADABLE;
    record.name.characters = UNREADABLE;
    let len = if frame.owner == NATIVE_METHOD {
        let definition = read::user::<u64>(frame.code + u64::from(plan.ruby.method_definition)).unwrap_or(0);
        let name = read::user::<u64>(definition + u64::from(plan.ruby.definition_name)).unwrap_or(0);
        let name = named(name, process.string_type, plan).unwrap_or(0);
        let into = &mut record.name;
        string::<FUNCTION_NAME>(name, &mut into.characters, &mut into.state, &mut into.bytes, plan);
        record.lines_full = 0;
        0
    } else {
        sequence(frame.code, record, plan)?;
        note_argument_function(&record.name, frame.code, process, plan);
        let len = BODY + POSITIONS + ENTRIES;
        if (record.lines_full as usize) < len { record.lines_full as usize } else { len }
    };
    record.lines_len = len as u32;
    let len = CODE_HEAD + if len > record.lines.len() { record.lines.len() } else { len };
    record.header.len = len as u32;
    Some(emit::record(record, len, Wake::No, DropReason::RingDefinition))
}

/// Address of the string that is the name with a number.
#[inline(always)]
fn named(number: u64, symbols: u64, plan: &Plan) -> Option<u64> {
    let is_operator = number <= u64::from(plan.ruby.last_operator);
    let number = if is_operator { number } else { number >> SCOPE_BITS };
    let units = read::user::<u64>(symbols + u64::from(plan.ruby.symbols_names))?;
    let unit = item(units, number / UNIT, plan)?;
    item(unit, number % UNIT * IN_UNIT, plan)
}

/// An array object's item.
#[inline(always)]
fn item(array: u64, index: u64, plan: &Plan) -> Option<u64> {
    let flags = read::user::<u64>(array)?;
    let mut items = array + u64::from(plan.ruby.array_items);
    if flags & TYPE != ARRAY {
        return None;
    }
    if (flags >> (plan.ruby.array_embedded_bit & 63)) & 1 == 0 {
        items = read::user::<u64>(array + u64::from(plan.ruby.array_pointer))?;
    }
    read::user::<u64>(items.wrapping_add(index.wrapping_mul(8)))
}

/// Names and lines of an instruction sequence, from its body.
#[inline(always)]
fn sequence(body: u64, record: &mut Code, plan: &Plan) -> Option<()> {
    let ruby = &plan.ruby;
    read::user_onto(body + u64::from(plan.code_first_line), &mut record.first_line);
    record.first_line >>= ruby.first_line_shift & 31;
    let mut file = read::user::<u64>(body + u64::from(plan.code_file)).unwrap_or(0);
    if read::user::<u64>(file).unwrap_or(0) & TYPE == ARRAY {
        // The name and the real path.
        file = read::user::<u64>(file + u64::from(ruby.array_items)).unwrap_or(0);
    }
    let into = &mut record.file;
    string::<FILE_NAME>(file, &mut into.characters, &mut into.state, &mut into.bytes, plan);
    let name = read::user::<u64>(body + u64::from(plan.code_name)).unwrap_or(0);
    let into = &mut record.name;
    string::<FUNCTION_NAME>(name, &mut into.characters, &mut into.state, &mut into.bytes, plan);
    let (own, rest) = record.lines.split_first_chunk_mut::<BODY>()?;
    read::user_into(body, own, u32::from(ruby.body_size));
    let (positions, rest) = rest.split_first_chunk_mut::<POSITIONS>()?;
    let table = read::user::<u64>(body + u64::from(ruby.body_positions)).unwrap_or(0);
    if !read::user_into(table, positions, POSITIONS as u32) {
        // So many bytes reach into a page that is not there.
        let rest = maps::pages().rest(table);
        read::user_into(table, positions, rest as u32);
    }
    let entries = rest.first_chunk_mut::<ENTRIES>()?;
    let at = read::user::<u64>(body + u64::from(ruby.body_entries)).unwrap_or(0);
    let count = read::user::<u32>(body + u64::from(ruby.body_entry_count)).unwrap_or(0);
    let len = u64::from(count) * u64::from(ruby.entry_size);
    let len = if len > u64::from(u32::MAX / 2) { u32::MAX / 2 } else { len as u32 };
    read::user_into(at, entries, len);
    record.lines_full = (BODY + POSITIONS) as u32 + len;
    Some(())
}

/// The start of a string object: length ([`UNREADABLE`] = none), flags, bytes.
#[inline(never)]
fn string<const N: usize>(object: u64, length: &mut u32, state: &mut u32, bytes: &mut [u8; N], plan: &Plan) {
    *length = UNREADABLE;
    let Some(flags) = read::user::<u64>(object) else { return };
    if flags & TYPE != STRING {
        return;
    }
    *state = flags as u32;
    let elsewhere = (flags >> (plan.ruby.string_elsewhere_bit & 63)) & 1 != 0;
    let mut full = read::user::<u64>(object + u64::from(plan.string_length)).unwrap_or(0);
    let mut data = object + u64::from(plan.string_ascii);
    if elsewhere {
        data = read::user::<u64>(object + u64::from(plan.ruby.string_pointer)).unwrap_or(0);
    } else if plan.ruby.string_length_bit != UNUSED {
        full = (flags >> (plan.ruby.string_length_bit & 63)) & EMBEDDED_LENGTH;
    }
    let len = if full > N as u64 { N as u32 } else { full as u32 };
    if read::user_into(data, bytes, len) {
        *length = full as u32;
    }
}
