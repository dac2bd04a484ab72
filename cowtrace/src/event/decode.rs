//! Bytes of the ring buffer → [`Event`]. Safe code; every length is checked against what is there. A record that does
//! not hold together is an error, never a guess.

use std::mem::size_of;

use bytemuck::Pod;
use cowtrace_ebpf::event::{
    self as raw, ARGUMENTS, CODE_HEAD, EXEC_FILE, FAULT_HEAD, Header, LINE_TABLE, STACK_HEAD, StackEnd, kind,
};
use cowtrace_ebpf::native::{self, COPY_HEAD};
use cowtrace_ebpf::outcome::Outcome;
use cowtrace_ebpf::plan::MAX_FRAMES;

use super::{Code, Event, Exec, Stack, StackCopy};

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than what its kind needs.
    #[error("record of kind {kind} has {found} bytes, expected {expected}")]
    Length {
        /// Its kind, 0 if not even that can be read.
        kind: u16,
        /// Bytes that are there.
        found: usize,
        /// Bytes that should be.
        expected: usize,
    },
    /// A kind that was never given.
    #[error("unknown record kind {0}")]
    Kind(u16),
    /// A number that was never given.
    #[error("unknown {what} {number}")]
    Number {
        /// What it should be.
        what: &'static str,
        /// The number.
        number: u32,
    },
}

/// Reads one record.
///
/// # Errors
/// It is cut short, or of an unknown kind.
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    let header: Header = prefix(bytes, 0)?;
    let kind = header.kind;
    if bytes.len() < header.len as usize {
        return Err(DecodeError::Length { kind, found: bytes.len(), expected: header.len as usize });
    }
    let bytes = &bytes[..header.len as usize];
    Ok(match kind {
        kind::FAULT => Event::Fault(Box::new(fault(bytes)?)),
        kind::STACK => Event::Stack(stack(bytes)?),
        kind::CODE => Event::Code(Box::new(code(bytes)?)),
        kind::TYPE => Event::Type(prefix(bytes, kind)?),
        kind::TEXT => Event::Text(prefix(bytes, kind)?),
        kind::STACK_COPY => Event::StackCopy(Box::new(stack_copy(bytes)?)),
        kind::FORK => Event::Fork(prefix(bytes, kind)?),
        kind::EXEC => Event::Exec(Box::new(exec(bytes)?)),
        kind::EXIT => Event::Exit(prefix(bytes, kind)?),
        kind::HINT => Event::Hint(prefix(bytes, kind)?),
        kind::MODULES => Event::Modules(prefix(bytes, kind)?),
        kind::JOIN => Event::Join(prefix(bytes, kind)?),
        other => return Err(DecodeError::Kind(other)),
    })
}

/// The kind of a record, before anything else of it is looked at.
#[must_use]
pub fn kind_of(bytes: &[u8]) -> u16 {
    prefix::<Header>(bytes, 0).map_or(0, |header| header.kind)
}

fn prefix<T: Pod>(bytes: &[u8], kind: u16) -> Result<T, DecodeError> {
    let short = DecodeError::Length { kind, found: bytes.len(), expected: size_of::<T>() };
    bytes.get(..size_of::<T>()).map(bytemuck::pod_read_unaligned).ok_or(short)
}

/// Reads a record whose last field may be cut: what is missing is zero.
fn padded<T: Pod>(bytes: &[u8], head: usize, kind: u16) -> Result<T, DecodeError> {
    if bytes.len() < head {
        return Err(DecodeError::Length { kind, found: bytes.len(), expected: head });
    }
    let mut value = T::zeroed();
    let len = bytes.len().min(size_of::<T>());
    bytemuck::bytes_of_mut(&mut value)[..len].copy_from_slice(&bytes[..len]);
    Ok(value)
}

fn fault(bytes: &[u8]) -> Result<raw::Fault, DecodeError> {
    let fault: raw::Fault = padded(bytes, FAULT_HEAD, kind::FAULT)?;
    let number = u32::from(fault.outcome);
    Outcome::from_number(fault.outcome).ok_or(DecodeError::Number { what: "outcome", number })?;
    Ok(fault)
}

fn stack(bytes: &[u8]) -> Result<Stack, DecodeError> {
    let record: raw::Stack = padded(bytes, STACK_HEAD, kind::STACK)?;
    let depth = (record.depth as usize).min(MAX_FRAMES);
    let expected = STACK_HEAD + depth * size_of::<raw::Frame>();
    if bytes.len() < expected {
        return Err(DecodeError::Length { kind: kind::STACK, found: bytes.len(), expected });
    }
    let end = u8::try_from(record.end).ok().and_then(StackEnd::from_number);
    let end = end.ok_or(DecodeError::Number { what: "end of a stack", number: record.end })?;
    Ok(Stack { process: record.process, hash: record.hash, end, frames: record.frames[..depth].to_vec() })
}

fn stack_copy(bytes: &[u8]) -> Result<StackCopy, DecodeError> {
    let record: native::StackCopy = padded(bytes, COPY_HEAD, kind::STACK_COPY)?;
    let len = (record.len as usize).min(bytes.len() - COPY_HEAD) / 8;
    Ok(StackCopy {
        process: record.process,
        id: record.id,
        key: record.key,
        interpreter_stack: record.interpreter_stack,
        end: record.end,
        registers: record.registers,
        words: record.red_zone.iter().chain(&record.stack).copied().take(len).collect(),
    })
}

fn code(bytes: &[u8]) -> Result<Code, DecodeError> {
    let record: raw::Code = padded(bytes, CODE_HEAD, kind::CODE)?;
    let len = (record.lines_len as usize).min(LINE_TABLE).min(bytes.len() - CODE_HEAD);
    Ok(Code {
        process: record.process,
        image: record.image,
        address: record.address,
        identity: record.identity,
        plan: record.plan,
        first_line: record.first_line,
        file: record.file,
        name: record.name,
        lines: record.lines[..len].to_vec(),
        lines_full: record.lines_full,
        units: record.units,
        owner: record.owner,
    })
}

fn exec(bytes: &[u8]) -> Result<Exec, DecodeError> {
    let record: raw::Exec = prefix(bytes, kind::EXEC)?;
    let file_len = (record.file_len as usize).min(EXEC_FILE).saturating_sub(1);
    let arguments = &record.arguments[..(record.arguments_len as usize).min(ARGUMENTS)];
    let arguments = arguments.strip_suffix(&[0]).unwrap_or(arguments);
    Ok(Exec {
        time: record.header.time,
        process: record.process,
        heap: record.heap,
        comm: record.comm,
        file: record.file[..file_len].to_vec(),
        arguments: if arguments.is_empty() {
            Vec::new()
        } else {
            arguments.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect()
        },
    })
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use cowtrace_ebpf::event::{FAULT_MIDDLE, FAULT_SHORT};

    use super::*;

    fn fault_record() -> raw::Fault {
        let mut fault = raw::Fault::zeroed();
        fault.header = Header { kind: kind::FAULT, cpu: 1, len: size_of::<raw::Fault>() as u32, time: 5 };
        fault.address = 0x7f00_1234_5678;
        fault
    }

    /// A fault comes with and without the memory around it.
    #[test]
    fn reads_every_length_of_a_fault() {
        let mut fault = fault_record();
        let whole = bytemuck::bytes_of(&fault).to_vec();
        assert!(matches!(decode(&whole), Ok(Event::Fault(read)) if *read == fault));
        for len in [FAULT_HEAD, FAULT_SHORT, FAULT_MIDDLE] {
            fault.header.len = len as u32;
            let short = &bytemuck::bytes_of(&fault)[..len];
            assert!(matches!(decode(short), Ok(Event::Fault(read)) if read.address == fault.address));
        }
    }

    /// Every cut of every length is an error or a record, and none is a panic.
    #[test]
    fn refuses_what_is_cut() {
        let whole = bytemuck::bytes_of(&fault_record()).to_vec();
        for len in 0..whole.len() {
            assert!(decode(&whole[..len]).is_err(), "{len} bytes were taken for a record");
        }
    }

    /// Lengths inside a record are not believed beyond its end.
    #[test]
    fn does_not_believe_lengths() {
        let mut stack = raw::Stack::zeroed();
        stack.header = Header { kind: kind::STACK, cpu: 0, len: STACK_HEAD as u32, time: 0 };
        stack.depth = u32::MAX;
        assert!(matches!(decode(&bytemuck::bytes_of(&stack)[..STACK_HEAD]), Err(DecodeError::Length { .. })));

        let mut code = raw::Code::zeroed();
        code.header = Header { kind: kind::CODE, cpu: 0, len: CODE_HEAD as u32, time: 0 };
        code.lines_len = u32::MAX;
        let Ok(Event::Code(code)) = decode(&bytemuck::bytes_of(&code)[..CODE_HEAD]) else {
            panic!("no code")
        };
        assert!(code.lines.is_empty());

        let mut copy = native::StackCopy::zeroed();
        copy.header = Header { kind: kind::STACK_COPY, cpu: 0, len: COPY_HEAD as u32 + 20, time: 0 };
        copy.len = u32::MAX;
        let Ok(Event::StackCopy(copy)) = decode(&bytemuck::bytes_of(&copy)[..COPY_HEAD + 20]) else {
            panic!("no copy")
        };
        assert_eq!(copy.words.len(), 2);
    }

    /// A number that no outcome or kind has is named in the error.
    #[test]
    fn names_unknown_numbers() {
        let mut fault = fault_record();
        fault.outcome = 200;
        assert_eq!(
            decode(bytemuck::bytes_of(&fault)).err(),
            Some(DecodeError::Number { what: "outcome", number: 200 })
        );
        fault.header.kind = 999;
        assert_eq!(decode(bytemuck::bytes_of(&fault)).err(), Some(DecodeError::Kind(999)));
    }
}
