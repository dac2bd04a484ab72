//! The records in the ring buffer. Each begins with a [`Header`]; `len` covers the whole record, tail included.

mod definitions;
mod life;

use bytemuck::{Pod, Zeroable};

use crate::state::ProcessKey;

pub use definitions::*;
pub use life::*;

/// What a record is. Numbers have gaps on purpose and are never reused.
pub mod kind {
    /// [`super::Fault`].
    pub const FAULT: u16 = 1;
    /// [`super::Stack`].
    pub const STACK: u16 = 10;
    /// [`super::Code`].
    pub const CODE: u16 = 11;
    /// [`super::Type`].
    pub const TYPE: u16 = 12;
    /// [`super::Text`].
    pub const TEXT: u16 = 13;
    /// [`crate::native::StackCopy`].
    pub const STACK_COPY: u16 = 14;
    /// [`super::Fork`].
    pub const FORK: u16 = 20;
    /// [`super::Exec`].
    pub const EXEC: u16 = 21;
    /// [`super::Exit`].
    pub const EXIT: u16 = 22;
    /// [`super::Hint`].
    pub const HINT: u16 = 23;
    /// [`super::Join`].
    pub const JOIN: u16 = 24;
    /// [`super::Modules`].
    pub const MODULES: u16 = 25;
}

/// The start of every record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// One of [`kind`].
    pub kind: u16,
    /// CPU that wrote it.
    pub cpu: u16,
    /// Bytes of the whole record.
    pub len: u32,
    /// `CLOCK_MONOTONIC` nanoseconds of what it tells (for a fault: its entry).
    pub time: u64,
}

/// 8-byte words kept around the address, as they were before the write.
pub const IMAGE_WORDS: usize = 8;
/// Bytes of [`Image`] before the written 8-byte word.
pub const IMAGE_BEFORE: u64 = 24;
/// Characters kept of a key.
pub const KEY: usize = 48;

/// Bits of [`Fault::flags`].
pub mod flag {
    /// The kernel wrote for a system call (copy to user, signal frame, …).
    pub const KERNEL_MODE: u32 = 1 << 0;
    /// `latency` was measured.
    pub const LATENCY: u32 = 1 << 1;
    /// The process had an interpreter plan, `stack` and `stack_end` tell what the walk found.
    pub const WALKED: u32 = 1 << 2;
    /// [`super::Image`] follows.
    pub const IMAGE: u32 = 1 << 3;
    /// The address lies behind the start of the module table's keys, near enough to be in it, and that table is
    /// the one in use at this moment.
    pub const MODULE_TABLE: u32 = 1 << 4;
    /// The process had more than one thread.
    pub const THREADED: u32 = 1 << 5;
    /// [`super::Detail`] follows: the image alone did not tell what was written.
    pub const DETAIL: u32 = 1 << 6;
    /// The address lies in the part of the thread's chunk of frames that is set aside for them.
    pub const FRAME_CHUNK: u32 = 1 << 7;
    /// [`super::Detail::values`] are there. Without, the thread's last fault that had them came from the same
    /// instruction of the same stack, and this one follows it through memory page by page.
    pub const VALUES: u32 = 1 << 8;
    /// The interpreter says of itself that its collector is at work.
    pub const COLLECTING: u32 = 1 << 9;
    /// A thread of another process, or of the kernel, reached into this one's memory: `tid` and `syscall` are that thread's,
    /// `ip` is 0.
    pub const FOREIGN: u32 = 1 << 10;
    /// The kernel reached the page by `get_user_pages`: `address` may be the page's, where more than one byte is wanted.
    pub const PAGE_ONLY: u32 = 1 << 11;
    /// A translation of the process was flushed inside the fault; said only while pages of hugetlbfs are looked for.
    pub const FLUSHED: u32 = 1 << 16;
}

/// One page fault. Sent without [`Detail::values`], [`Fault::detail`] or [`Fault::image`] when there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Fault {
    /// `time` = entry.
    pub header: Header,
    /// The process that faulted.
    pub process: ProcessKey,
    /// The exact byte address; with [`flag::PAGE_ONLY`] that of the page.
    pub address: u64,
    /// User instruction pointer; in kernel mode that of the system call.
    pub ip: u64,
    /// Nanoseconds from entry to end, with [`flag::LATENCY`].
    pub latency: u64,
    /// Identity of the interpreter stack ([`Stack::hash`]); 0 = none.
    pub stack: u64,
    /// Thread id.
    pub tid: u32,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Bits of [`crate::outcome`]: x86's page-fault error code; of a call of the kernel's handler, what the same access would have
    /// given there, on whichever machine.
    pub error: u32,
    /// In kernel mode the system call's number, else −1.
    pub syscall: i32,
    /// Number of the [`crate::outcome::Outcome`].
    pub outcome: u8,
    /// Order of the new page.
    pub order: u8,
    /// Number of the [`StackEnd`].
    pub stack_end: u8,
    /// One more than the generation that the collector is at if this is its write, oldest = 3; 0 = not known.
    pub generation: u8,
    /// Times that the process's pages had been write-protected by a fork.
    pub epoch: u32,
    /// Address of the interpreter's state of the thread, with [`flag::WALKED`]; 0 = none.
    pub state: u64,
    /// The native stack: [`crate::native::Template::id`] or [`crate::native::StackCopy::id`]; below
    /// [`crate::native::FIRST_ID`] the number of the [`crate::native::Unrecorded`].
    pub native: u64,
    /// Memory around the address before the write, with [`flag::IMAGE`].
    pub image: Image,
    /// What else can only be seen at the fault, with [`flag::DETAIL`].
    pub detail: Detail,
}

/// Length of a fault record without its [`Image`].
pub const FAULT_HEAD: usize = 104;
/// Length of a fault record without its [`Detail`].
pub const FAULT_SHORT: usize = FAULT_HEAD + size_of::<Image>();
/// Length of a fault record without its [`Detail::values`].
pub const FAULT_MIDDLE: usize = size_of::<Fault>() - FRAME_VALUES * size_of::<u64>();

/// Registers in a [`Detail`].
pub const REGISTERS: usize = 20;
/// Position of the stack pointer in [`Detail::registers`].
pub const STACK_POINTER: usize = 19;
/// 8-byte words kept of a block's start.
pub const BLOCK_WORDS: usize = 6;
/// 8-byte words kept of the innermost frame's variables and operands.
pub const FRAME_VALUES: usize = 24;

/// The allocator's block that holds the address, the registers of the writing instruction, the values of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Detail {
    /// The first of `struct pt_regs`, and last the stack pointer. On x86-64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax,
    /// rcx, rdx, rsi, rdi, orig_ax, rip, cs, flags, rsp; on arm64 x0 to x18, sp. Zeros in kernel mode.
    pub registers: [u64; REGISTERS],
    /// Address of the block; 0 = the address does not lie in a pool of the interpreter's allocator.
    pub block: u64,
    /// Its size in bytes. With `block` = 0 and `pool` not 0: the address lies in the pool's header.
    pub size: u32,
    /// Always zero.
    pub zero: u32,
    /// Address of the pool; 0 = none.
    pub pool: u64,
    /// Start of the block before the write. Bytes beyond its end are a neighbour's.
    pub head: [u64; BLOCK_WORDS],
    /// The innermost interpreter frame's local variables and, behind them, what its instruction works on; beyond its end
    /// whatever lies there. Zeros = there is no frame, or it could not be read. With [`flag::VALUES`].
    pub values: [u64; FRAME_VALUES],
}

impl Default for Detail {
    fn default() -> Self {
        Zeroable::zeroed()
    }
}

/// Memory around a fault's address as it was before the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Image {
    /// Address of the first word.
    pub address: u64,
    /// Valid bytes of `words`, a multiple of 8.
    pub len: u32,
    /// Length of `key`; 0 = the word before the address was no string.
    pub key_len: u32,
    /// The memory.
    pub words: [u64; IMAGE_WORDS],
    /// Start of the string that the word before the address points to: a dict entry's key if this is its value.
    pub key: [u8; KEY],
}

impl Default for Image {
    fn default() -> Self {
        Zeroable::zeroed()
    }
}

macro_rules! stack_ends {
    ($($variant:ident = $number:literal, $about:literal;)*) => {
        /// Why a walk of interpreter frames ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum StackEnd { $(#[doc = $about] $variant = $number,)* }

        impl StackEnd {
            /// The end with this number; `None` for a number that was never given.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<StackEnd> {
                match number { $($number => Some(StackEnd::$variant),)* _ => None }
            }

            /// The reason in words.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(StackEnd::$variant => $about,)* }
            }
        }
    };
}

stack_ends! {
    Complete = 0, "the outermost frame was reached";
    NoPlan = 1, "no interpreter was known for the process";
    NoThreadState = 2, "the thread had no interpreter state";
    NoFrame = 3, "the thread was not running interpreter code";
    Unreadable = 4, "a frame or code object could not be read";
    TooDeep = 5, "the stack was deeper than what is kept";
}
const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Header>() == 16);
    assert!(size_of::<Fault>() == FAULT_SHORT + size_of::<Detail>());
    assert!(offset_of!(Fault, detail) == FAULT_SHORT);
    assert!(offset_of!(Fault, image) == FAULT_HEAD);
    assert!(size_of::<Image>() == 128);
};
