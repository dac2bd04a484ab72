//! Any bytes as a record of the ring buffer.

use std::mem::size_of;

use bytemuck::{NoUninit, Zeroable as _, bytes_of};
use cowtrace_ebpf::event::{
    self as raw, ARGUMENTS, CODE_HEAD, EXEC_FILE, Header, LINE_TABLE, STACK_HEAD, kind,
};
use cowtrace_ebpf::native::{self, COPY_HEAD, RED_ZONE};
use cowtrace_ebpf::plan::MAX_FRAMES;

use super::decode::{decode, kind_of};
use super::{Event, Exec};

/// What is decoded holds no more than the record, nothing behind the record counts, and a record that is made of what was
/// decoded is the same again.
pub(crate) fn records(bytes: &[u8]) {
    one(bytes);
    // The same with a length that is right, which is hard to guess.
    let mut whole = bytes.to_vec();
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if let Some(place) = whole.get_mut(4..8) {
        place.copy_from_slice(&len.to_ne_bytes());
        one(&whole);
    }
}

fn one(bytes: &[u8]) {
    let Ok(event) = decode(bytes) else { return };
    let header: Header = bytemuck::pod_read_unaligned(&bytes[..size_of::<Header>()]);
    assert_eq!(kind_of(bytes), header.kind);
    bounded(&event);
    let (made, exact) = encode(&event);
    let own = &bytes[..header.len as usize];
    if exact {
        // Behind the length, which may tell of more than its kind has.
        assert_eq!(own[8..made.len()], made[8..], "{event:?}");
    }
    let again = decode(&made).expect("what was made of a record is one");
    assert_eq!(encode(&again).0, made, "{event:?}");
    // What lies behind a record is another's.
    let mut longer = own.to_vec();
    longer.extend_from_slice(&[0xa5; 64]);
    let same = decode(&longer).expect("it was a record before");
    assert_eq!(encode(&same).0, made, "{event:?}");
}

fn bounded(event: &Event) {
    match event {
        Event::Stack(stack) => assert!(stack.frames.len() <= MAX_FRAMES),
        Event::Code(code) => assert!(code.lines.len() <= LINE_TABLE),
        Event::StackCopy(copy) => assert!(copy.words.len() * 8 <= native::MAX_COPY + RED_ZONE as usize),
        Event::Exec(exec) => {
            assert!(exec.file.len() < EXEC_FILE);
            assert!(exec.arguments.iter().map(|word| word.len() + 1).sum::<usize>() <= ARGUMENTS + 1);
        }
        _ => {}
    }
}

/// The record of an event, and whether it holds every byte that the event's own record held.
fn encode(event: &Event) -> (Vec<u8>, bool) {
    match event {
        Event::Fault(fault) => {
            let whole = bytes_of(&**fault);
            (with_len(whole.to_vec(), kind::FAULT), false)
        }
        Event::Stack(stack) => {
            let mut record = raw::Stack::zeroed();
            (record.process, record.hash) = (stack.process, stack.hash);
            record.depth = u32::try_from(stack.frames.len()).unwrap_or(u32::MAX);
            record.end = stack.end as u32;
            record.frames[..stack.frames.len()].copy_from_slice(&stack.frames);
            let len = STACK_HEAD + stack.frames.len() * size_of::<raw::Frame>();
            (with_len(bytes_of(&record)[..len].to_vec(), kind::STACK), false)
        }
        Event::Code(code) => {
            let mut record = raw::Code::zeroed();
            (record.process, record.image, record.address) = (code.process, code.image, code.address);
            (record.identity, record.plan, record.first_line) = (code.identity, code.plan, code.first_line);
            (record.file, record.name, record.owner) = (code.file, code.name, code.owner);
            (record.lines_full, record.units) = (code.lines_full, code.units);
            record.lines_len = u32::try_from(code.lines.len()).unwrap_or(u32::MAX);
            record.lines[..code.lines.len()].copy_from_slice(&code.lines);
            (with_len(bytes_of(&record)[..CODE_HEAD + code.lines.len()].to_vec(), kind::CODE), false)
        }
        Event::StackCopy(copy) => {
            let mut record = native::StackCopy::zeroed();
            (record.process, record.id, record.key) = (copy.process, copy.id, copy.key);
            (record.interpreter_stack, record.end) = (copy.interpreter_stack, copy.end);
            record.registers = copy.registers;
            record.len = u32::try_from(copy.words.len() * 8).unwrap_or(u32::MAX);
            let mut made = bytes_of(&record)[..COPY_HEAD].to_vec();
            made.extend(copy.words.iter().flat_map(|word| word.to_ne_bytes()));
            (with_len(made, kind::STACK_COPY), false)
        }
        Event::Exec(exec) => (executed(exec), false),
        Event::Type(record) => plain(record, kind::TYPE),
        Event::Text(record) => plain(record, kind::TEXT),
        Event::Fork(record) => plain(record, kind::FORK),
        Event::Exit(record) => plain(record, kind::EXIT),
        Event::Hint(record) => plain(record, kind::HINT),
        Event::Modules(record) => plain(record, kind::MODULES),
        Event::Join(record) => plain(record, kind::JOIN),
    }
}

fn executed(exec: &Exec) -> Vec<u8> {
    let mut record = raw::Exec::zeroed();
    (record.process, record.heap, record.comm) = (exec.process, exec.heap, exec.comm);
    record.header.time = exec.time;
    record.file[..exec.file.len()].copy_from_slice(&exec.file);
    record.file_len = u32::try_from(exec.file.len() + 1).unwrap_or(u32::MAX);
    let mut arguments = exec.arguments.join(&0);
    if !exec.arguments.is_empty() {
        arguments.push(0);
    }
    // The last one has no zero behind it where there is no room for one.
    arguments.truncate(ARGUMENTS);
    record.arguments[..arguments.len()].copy_from_slice(&arguments);
    record.arguments_len = u32::try_from(arguments.len()).unwrap_or(u32::MAX);
    with_len(bytes_of(&record).to_vec(), kind::EXEC)
}

fn plain<T: NoUninit>(record: &T, kind: u16) -> (Vec<u8>, bool) {
    (with_len(bytes_of(record).to_vec(), kind), true)
}

/// A record with its header.
fn with_len(mut record: Vec<u8>, kind: u16) -> Vec<u8> {
    let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
    record[..2].copy_from_slice(&kind.to_ne_bytes());
    record[4..8].copy_from_slice(&len.to_ne_bytes());
    record
}
