//! From a frame to its caller's, by a row of a table or by the frame pointer.

use gimli::{
    CfaRule, Encoding, EndianSlice, EvaluationResult, Format, LittleEndian, Register, RegisterRule,
    UnwindExpression,
};
use gimli::{EhFrame, UnwindTableRow, Value as Number};

use super::End;
use super::registers::{GENERAL, Origin, RBP, RSP, Registers, SAVED, Value, Words};

/// How the bytes of a table are read.
pub(super) type Bytes<'data> = EndianSlice<'data, LittleEndian>;
/// A row of a table.
type Row = UnwindTableRow<usize>;

/// Steps of an expression.
const MAX_OPERATIONS: u32 = 1000;

/// What a step met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stepped {
    /// The frame is the outermost.
    pub(super) outermost: bool,
    /// The frame is one that the kernel made for a signal: its caller was interrupted anywhere.
    pub(super) signal: bool,
    /// The frame is an interpreter's loop.
    pub(super) interpreter: bool,
}

/// Restores the caller's registers.
pub(super) fn by_row(
    row: &Row,
    section: &EhFrame<Bytes<'_>>,
    return_address: Register,
    signal: bool,
    registers: &mut Registers,
    words: &mut Words<'_>,
) -> Result<Stepped, End> {
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            registers.take(usize::from(register.0), words)?.wrapping_add_signed(*offset)
        }
        CfaRule::Expression(expression) => evaluate(expression, section, None, registers, words)?,
    };
    let mut restore = |number: usize, rule: Option<RegisterRule<usize>>| {
        let value = match rule {
            None => SAVED.contains(&number).then(|| registers.general[number]).flatten(),
            Some(RegisterRule::SameValue) => registers.general.get(number).copied().flatten(),
            Some(RegisterRule::Offset(offset)) => words.read(cfa.wrapping_add_signed(offset)).ok(),
            Some(RegisterRule::ValOffset(offset)) => {
                Some(Value { value: cfa.wrapping_add_signed(offset), origin: Origin::Used })
            }
            Some(RegisterRule::Register(from)) => {
                registers.general.get(usize::from(from.0)).copied().flatten()
            }
            Some(RegisterRule::Expression(expression)) => {
                let at = evaluate(&expression, section, Some(cfa), registers, words)?;
                words.read(at).ok()
            }
            Some(RegisterRule::ValExpression(expression)) => {
                let value = evaluate(&expression, section, Some(cfa), registers, words)?;
                Some(Value { value, origin: Origin::Used })
            }
            Some(_) => None,
        };
        Ok(value)
    };
    let rule = row.register(return_address);
    if matches!(rule, Some(RegisterRule::Undefined)) {
        return Ok(Stepped { outermost: true, ..Stepped::default() });
    }
    let pc = match rule {
        None => return Err(End::Malformed),
        rule => restore(usize::from(return_address.0), rule)?.ok_or(End::Unreadable)?,
    };
    let mut caller = [None; GENERAL];
    for (number, slot) in (0_u16..).zip(caller.iter_mut()) {
        *slot = restore(usize::from(number), row.register(Register(number)))?;
    }
    if row.register(Register(7)).is_none() {
        caller[RSP] = Some(Value { value: cfa, origin: Origin::Used });
    }
    arrive(registers, words, caller, pc, signal)
}

/// Goes to the caller's frame.
fn arrive(
    registers: &mut Registers,
    words: &mut Words<'_>,
    caller: [Option<Value>; GENERAL],
    pc: Value,
    signal: bool,
) -> Result<Stepped, End> {
    let below = registers.general[RSP].map_or(0, |sp| sp.value);
    registers.general = caller;
    let sp = registers.take(RSP, words)?;
    if let Origin::Word(index) = pc.origin {
        words.depend(index);
    }
    registers.pc = pc.value;
    if pc.value == 0 {
        return Ok(Stepped { outermost: true, ..Stepped::default() });
    }
    // A signal may have a stack of its own. Otherwise callers lie above what they call.
    if sp <= below && !signal {
        return Err(End::Malformed);
    }
    Ok(Stepped { signal, ..Stepped::default() })
}

/// Restores the caller's registers from a frame that begins with the caller's frame pointer.
pub(super) fn by_frame_pointer(registers: &mut Registers, words: &mut Words<'_>) -> Result<Stepped, End> {
    let frame = registers.take(RBP, words).map_err(|_unknown| End::NoTable)?;
    let sp = registers.general[RSP].map_or(0, |sp| sp.value);
    // So a program begins (System V ABI for x86-64, 3.4.1).
    if frame == 0 {
        return Ok(Stepped { outermost: true, ..Stepped::default() });
    }
    if frame < sp || !frame.is_multiple_of(8) {
        return Err(End::NoTable);
    }
    let saved = words.read(frame)?;
    let pc = words.read(frame.wrapping_add(8))?;
    let mut caller = [None; GENERAL];
    caller[RBP] = Some(saved);
    caller[RSP] = Some(Value { value: frame.wrapping_add(16), origin: Origin::Used });
    arrive(registers, words, caller, pc, false)
}

const ENCODING: Encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 4 };

/// Evaluates an expression; the stack depends on everything that it looks at.
fn evaluate(
    expression: &UnwindExpression<usize>,
    section: &EhFrame<Bytes<'_>>,
    initial: Option<u64>,
    registers: &mut Registers,
    words: &mut Words<'_>,
) -> Result<u64, End> {
    let malformed = |_error| End::Malformed;
    let mut evaluation = expression.get(section).map_err(malformed)?.evaluation(ENCODING);
    evaluation.set_max_iterations(MAX_OPERATIONS);
    if let Some(initial) = initial {
        evaluation.set_initial_value(initial);
    }
    let mut state = evaluation.evaluate().map_err(malformed)?;
    loop {
        state = match state {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresRegister { register, .. } => {
                let value = registers.take(usize::from(register.0), words)?;
                evaluation.resume_with_register(Number::Generic(value))
            }
            EvaluationResult::RequiresMemory { address, size: 8, .. } => {
                let word = words.read(address)?;
                if let Origin::Word(index) = word.origin {
                    words.depend(index);
                }
                evaluation.resume_with_memory(Number::Generic(word.value))
            }
            _ => return Err(End::Malformed),
        }
        .map_err(malformed)?;
    }
    match evaluation.value_result() {
        Some(value) => value.to_u64(u64::MAX).map_err(malformed),
        // An expression of a location: its value is an address.
        None => match evaluation.result().first().map(|piece| piece.location.clone()) {
            Some(gimli::Location::Address { address }) => Ok(address),
            _ => Err(End::Malformed),
        },
    }
}
