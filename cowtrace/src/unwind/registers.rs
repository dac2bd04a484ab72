//! The registers and the stack's words that unwinding works on, with where each value came from.

use std::collections::BTreeSet;

use cowtrace_ebpf::event::{REGISTERS, STACK_POINTER};
use cowtrace_ebpf::native::first_word;

use super::End;
use crate::event::StackCopy;

/// Registers with a DWARF number below that of the return address.
pub(super) const GENERAL: usize = 16;
/// DWARF number of the frame pointer.
pub(super) const RBP: usize = 6;
/// DWARF number of the stack pointer.
pub(super) const RSP: usize = 7;
/// DWARF number that stands for the return address.
pub(super) const RIP: usize = 16;
/// What a function leaves as it was: `rbx`, `rbp`, `r12` to `r15` (System V ABI for x86-64, figure 3.4).
pub(super) const SAVED: [usize; 6] = [3, 6, 12, 13, 14, 15];

/// Position in `struct pt_regs` of each register by its DWARF number (System V ABI for x86-64, figure 3.36).
const POSITIONS: [u8; GENERAL] = [10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0];
/// Position of the instruction pointer.
const INSTRUCTION: usize = 16;

/// What a value depends on beside what was used before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nothing.
    Used,
    /// What the register at this position of `struct pt_regs` was at the fault.
    Register(u8),
    /// The word at this position of the copy.
    Word(usize),
}

/// A register's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) value: u64,
    pub(super) origin: Origin,
}

/// A frame's registers.
#[derive(Clone, Debug)]
pub(super) struct Registers {
    /// By DWARF number; `None` = not known in this frame.
    pub(super) general: [Option<Value>; GENERAL],
    /// Address of its code.
    pub(super) pc: u64,
    /// The registers at the fault that were used.
    used: BTreeSet<u8>,
    /// All registers at the fault.
    initial: [u64; REGISTERS],
}

impl Registers {
    pub(super) fn new(initial: &[u64; REGISTERS]) -> Self {
        let general = POSITIONS.map(|position| {
            let value = initial[usize::from(position)];
            let origin = if usize::from(position) == STACK_POINTER {
                // It belongs to the key of the place.
                Origin::Used
            } else {
                Origin::Register(position)
            };
            Some(Value { value, origin })
        });
        Self { general, pc: initial[INSTRUCTION], used: BTreeSet::new(), initial: *initial }
    }

    /// The registers at the fault that decided the stack: position in `struct pt_regs`, and content.
    pub(super) fn used(&self) -> impl ExactSizeIterator<Item = (u8, u64)> {
        self.used.iter().map(|&position| (position, self.initial[usize::from(position)]))
    }

    /// What a register holds, which from here on the stack depends on.
    pub(super) fn take(&mut self, number: usize, words: &mut Words<'_>) -> Result<u64, End> {
        if number == RIP {
            return Ok(self.pc);
        }
        let value = self.general.get(number).copied().flatten().ok_or(End::Malformed)?;
        match value.origin {
            Origin::Used => {}
            Origin::Register(position) => {
                if !words.settled {
                    self.used.insert(position);
                }
            }
            Origin::Word(index) => words.depend(index),
        }
        Ok(value.value)
    }
}

/// The words of a copied stack.
#[derive(Debug)]
pub(super) struct Words<'a> {
    first: u64,
    words: &'a [u64],
    used: BTreeSet<usize>,
    /// No more words are needed to know the stack.
    settled: bool,
    beyond: bool,
}

impl<'a> Words<'a> {
    pub(super) fn new(copy: &'a StackCopy) -> Self {
        Self {
            first: first_word(copy.registers[STACK_POINTER]),
            words: &copy.words,
            used: BTreeSet::new(),
            settled: false,
            beyond: false,
        }
    }

    /// The word at an address.
    pub(super) fn read(&mut self, address: u64) -> Result<Value, End> {
        let index = address.wrapping_sub(self.first) / 8;
        let word = usize::try_from(index).ok().and_then(|index| Some((index, *self.words.get(index)?)));
        match word {
            Some((index, value)) if address.is_multiple_of(8) => {
                Ok(Value { value, origin: Origin::Word(index) })
            }
            _ => {
                self.beyond |= address >= self.first;
                Err(End::Unreadable)
            }
        }
    }

    /// Whether something behind the copied words was asked for.
    pub(super) const fn beyond(&self) -> bool {
        self.beyond
    }

    /// The stack depends on this word.
    pub(super) fn depend(&mut self, index: usize) {
        if !self.settled {
            self.used.insert(index);
        }
    }

    /// From here on the stack follows from what is known otherwise.
    pub(super) const fn settle(&mut self) {
        self.settled = true;
    }

    /// The words that decided the stack: position, and content.
    pub(super) fn used(&self) -> impl ExactSizeIterator<Item = (usize, u64)> {
        self.used.iter().map(|&index| (index, self.words[index]))
    }
}
