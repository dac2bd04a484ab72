//! Native stacks: how the two halves share the work of unwinding.
//!
//! The kernel program cannot unwind code without frame pointers, and a copy of the stack at every fault would cost more than
//! the fault. But unwinding is a function of the code, the instruction, a few registers and those words of the stack that it
//! reads. So at the first fault of a place the kernel program sends a [`StackCopy`]; userspace unwinds it and writes back a
//! [`Template`]: which words were read and what they were. At the next fault of the place with the same words the
//! kernel program sends no more than the template's number, and the answer is as exact as the first.

use bytemuck::{Pod, Zeroable};

use crate::event::{Header, REGISTERS};
use crate::state::ProcessKey;

/// Name of the hash map key of a place → [`Template`], written by userspace alone.
pub const TEMPLATES: &str = "TEMPLATES";
/// Templates of one place: the second is found under the place's key plus 1, and so on, none is left out.
pub const ALTERNATIVES: u64 = 4;
/// Bytes of a stack that are copied at most.
pub const MAX_COPY: usize = 16 << 10;
/// 8-byte words of a stack that a template compares at most: its frames' return addresses, and what few of them need
/// besides.
pub const MAX_SLOTS: usize = 128;
/// Registers that a template compares at most, beside the instruction and stack pointers, which are in the key.
pub const MAX_REGISTERS: usize = 4;
/// Bytes below the stack pointer that belong to the innermost function all the same.
pub const RED_ZONE: u64 = 128;
/// The least number that is a stack's; below are those of [`Unrecorded`].
pub const FIRST_ID: u64 = 16;
/// Numbers from here on are those of copies.
pub const FIRST_COPY: u64 = 1 << 63;

/// Address of the first word of a copy, from which a template counts.
#[must_use]
pub const fn first_word(stack_pointer: u64) -> u64 {
    (stack_pointer & !7).wrapping_sub(RED_ZONE)
}

macro_rules! reasons {
    ($($variant:ident = $number:literal, $about:literal;)*) => {
        /// Why a fault has no native stack.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Unrecorded { $(#[doc = $about] $variant = $number,)* }

        impl Unrecorded {
            /// The reason with this number; `None` for a number that was never given.
            #[must_use]
            pub const fn from_number(number: u64) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The reason in words.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }
        }
    };
}

reasons! {
    NotAsked = 0, "the fault was not looked at";
    Limit = 1, "more new stacks than are copied";
    NoRegisters = 2, "the registers of the system call are not known";
    Unreadable = 3, "the stack could not be read";
    Processor = 4, "stacks of this machine's processor are not unwound";
}

/// Why a copy ends where it ends.
pub mod copy_end {
    /// The place where the thread's stack began.
    pub const TOP: u32 = 0;
    /// [`super::MAX_COPY`].
    pub const LIMIT: u32 = 1;
    /// What follows is not there.
    pub const UNREADABLE: u32 = 2;
}

/// The stack of a thread that takes a fault. Sent with `len` bytes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct StackCopy {
    /// Kind, time.
    pub header: Header,
    /// The process.
    pub process: ProcessKey,
    /// Its number, [`crate::event::Fault::native`] of the thread's next fault record.
    pub id: u64,
    /// Key of the place in [`TEMPLATES`].
    pub key: u64,
    /// [`crate::event::Fault::stack`].
    pub interpreter_stack: u64,
    /// Bytes of the stack, the red zone included.
    pub len: u32,
    /// One of [`copy_end`].
    pub end: u32,
    /// The registers, as in [`crate::event::Detail::registers`].
    pub registers: [u64; REGISTERS],
    /// The stack from [`first_word`] on: first the red zone, zeros if it is not there.
    pub red_zone: [u64; RED_ZONE as usize / 8],
    /// What follows it.
    pub stack: [u64; MAX_COPY / 8],
}

/// Length of a copy's record without the stack.
pub const COPY_HEAD: usize = 224;

/// A word of a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Slot {
    /// Its position, counted in words from [`Template::start`].
    pub offset: u64,
    /// What it is.
    pub value: u64,
}

/// What a stack is known by. What is compared first comes first, so that it takes few cache lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Template {
    /// Number of the stack.
    pub id: u64,
    /// Words to compare.
    pub slots: u16,
    /// Registers to compare.
    pub registers: u16,
    /// Position of the first word, counted in words from the stack's [`first_word`].
    pub start: u16,
    /// Words from there up to and with the last that is compared.
    pub span: u16,
    /// The words, those nearest to the stack pointer first.
    pub words: [Slot; MAX_SLOTS],
    /// Positions of the registers in `struct pt_regs`, in 8-byte words.
    pub which: [u64; MAX_REGISTERS],
    /// What the registers are.
    pub register_values: [u64; MAX_REGISTERS],
}

/// Words that a [`Near`] holds at most.
pub const NEAR_SLOTS: usize = 16;

/// The template that a thread's faults fitted last, if it is a small one: mostly the next fault fits it, too, and need not
/// look it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Near {
    /// Key of the place; 0 = there is none.
    pub key: u64,
    /// [`Template::id`].
    pub id: u64,
    /// [`Template::slots`].
    pub slots: u16,
    /// Always zero.
    pub zero: u16,
    /// [`Template::start`].
    pub start: u16,
    /// [`Template::span`].
    pub span: u16,
    /// [`Template::words`].
    pub words: [Slot; NEAR_SLOTS],
}

impl Default for Template {
    fn default() -> Self {
        Zeroable::zeroed()
    }
}

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(StackCopy, red_zone) == COPY_HEAD);
    assert!(size_of::<Template>() == 16 + MAX_REGISTERS * 16 + MAX_SLOTS * 16);
    assert!(MAX_COPY / 8 <= u16::MAX as usize);
};
