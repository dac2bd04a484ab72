//! The records in the ring buffer. Each begins with a [`Header`]; `len` covers the whole record, tail included.

use bytemuck::{Pod, Zeroable};

use crate::state::{ModuleTable, ProcessKey};

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
    /// The exact byte address.
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
    /// x86's page-fault error code.
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
    /// r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_ax, rip, cs, flags, rsp: the order of
    /// `struct pt_regs`. Zeros in kernel mode.
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

/// One interpreter frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Frame {
    /// Address of the code object.
    pub code: u64,
    /// Checksum of its unchanging words; with the address the key of [`Code`].
    pub identity: u64,
    /// Address of the bytecode unit in the code object, also where the frame runs a copy of it; with
    /// [`crate::plan::Plan::frame_index_shift`] its offset in the bytecode, negative before the first.
    pub instruction: u64,
    /// First local variable if the plan asked for it, else 0; its text was sent just before as [`Text`].
    pub argument: u64,
    /// The two bytes at `instruction`: opcode and argument.
    pub unit: u16,
    /// Owner byte; of a plan without such bytes 1 for a method that is native code, whose code object is its entry.
    pub owner: u8,
    /// 1 if `unit` could be read.
    pub unit_read: u8,
    /// Always zero.
    pub zero: u32,
}

/// An interpreter stack that was not seen before in this image, innermost frame first. Sent with `depth` frames.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Stack {
    /// Kind, time.
    pub header: Header,
    /// A process that has it.
    pub process: ProcessKey,
    /// Identity.
    pub hash: u64,
    /// Frames that follow.
    pub depth: u32,
    /// Number of the [`StackEnd`].
    pub end: u32,
    /// The frames.
    pub frames: [Frame; crate::plan::MAX_FRAMES],
}

/// Length of a stack record without its frames.
pub const STACK_HEAD: usize = 48;

/// Bytes kept of a file name.
pub const FILE_NAME: usize = 256;
/// Bytes kept of a qualified name.
pub const FUNCTION_NAME: usize = 128;
/// Bytes kept of a line table.
pub const LINE_TABLE: usize = 4096;

/// [`Frame::owner`] of a method that is native code.
pub const NATIVE_METHOD: u8 = 1;

/// A code object that was not seen before in this image. Sent with `lines_len` bytes of the line table.
///
/// With [`crate::plan::walker::STACKED`] `lines` begins with the body's own words ([`crate::plan::BODY`]) and the table of
/// positions ([`crate::plan::POSITIONS`]), and only then has the entries; a native method has neither file nor lines.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Code {
    /// Kind, time.
    pub header: Header,
    /// A process that has it.
    pub process: ProcessKey,
    /// When the image was made ([`crate::state::Process::image`]).
    pub image: u64,
    /// Address of the object.
    pub address: u64,
    /// [`Frame::identity`].
    pub identity: u64,
    /// First line.
    pub first_line: i32,
    /// Index of the plan it was read by.
    pub plan: u32,
    /// Number of its bytecode units, if they lie in the object.
    pub units: u64,
    /// [`Frame::owner`].
    pub owner: u8,
    /// Always zero.
    pub zero: [u8; 7],
    /// The file name.
    pub file: FileName,
    /// The qualified name.
    pub name: FunctionName,
    /// Length of the line table in the object.
    pub lines_full: u32,
    /// Bytes of it that follow.
    pub lines_len: u32,
    /// The line table.
    pub lines: [u8; LINE_TABLE],
}

/// Length of a code record without its line table.
pub const CODE_HEAD: usize = 488;

macro_rules! names {
    ($($name:ident, $len:ident, $about:literal;)*) => {$(
        #[doc = $about]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
        #[repr(C)]
        pub struct $name {
            /// Characters of the whole string; [`UNREADABLE`] = it could not be read.
            pub characters: u32,
            /// The string's state word: tells the width of a character.
            pub state: u32,
            /// Its first bytes, as they lie in memory.
            pub bytes: [u8; $len],
        }
    )*};
}

names! {
    FileName, FILE_NAME, "A file name of the target.";
    FunctionName, FUNCTION_NAME, "A function's name in the target.";
    ShortText, TEXT, "A short string of the target.";
}

/// [`FileName::characters`] and its like: the string could not be read.
pub const UNREADABLE: u32 = u32::MAX;

/// Bytes kept of a type's name.
pub const TYPE_NAME: usize = 96;

/// A type object that was not seen before in this image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Type {
    /// Kind, time.
    pub header: Header,
    /// A process that has it.
    pub process: ProcessKey,
    /// When the image was made.
    pub image: u64,
    /// Address of the type object.
    pub address: u64,
    /// Address of its name.
    pub name_address: u64,
    /// The type's flags; 0 = they could not be read.
    pub flags: u64,
    /// Bytes of the name, 0 = it could not be read at this moment (its page was not mapped here).
    pub len: u32,
    /// Always zero.
    pub zero: u32,
    /// The name.
    pub name: [u8; TYPE_NAME],
}

/// Bytes kept of a text.
pub const TEXT: usize = 96;

/// A string of the target, met while walking: the module that is being imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Text {
    /// Kind, time.
    pub header: Header,
    /// The process.
    pub process: ProcessKey,
    /// Address of the string object.
    pub address: u64,
    /// The string.
    pub text: ShortText,
}

/// Bits of [`Fork::flags`].
pub mod fork_flag {
    /// A thread of the same process.
    pub const THREAD: u32 = 1 << 0;
    /// A new process in the same memory (vfork, `posix_spawn`).
    pub const SHARES_MEMORY: u32 = 1 << 1;
}

/// A new process or thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Fork {
    /// Kind, time.
    pub header: Header,
    /// Who forked.
    pub parent: ProcessKey,
    /// The new process (for a thread: the same as `parent`).
    pub child: ProcessKey,
    /// Thread that forked.
    pub parent_tid: u32,
    /// Thread id of the new one.
    pub child_tid: u32,
    /// Bits of [`fork_flag`].
    pub flags: u32,
    /// The child's generation.
    pub generation: u32,
    /// The child's private pages at this moment: anonymous resident and swapped out, as the kernel's counters tell.
    pub inherited_pages: u64,
    /// The module table, to be found again in the child.
    pub modules: ModuleTable,
    /// Identity of the interpreter stack that forked; 0 = none. Parent and child are still inside the fork while their
    /// outermost frames are these.
    pub stack: u64,
    /// The child's image.
    pub image: u64,
    /// The name it starts with.
    pub comm: [u8; 16],
}

/// Bytes kept of an executed file's name.
pub const EXEC_FILE: usize = 256;
/// Bytes kept of a command line.
pub const ARGUMENTS: usize = 1024;

/// A process runs another program.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Exec {
    /// Kind, time.
    pub header: Header,
    /// The process, whose memory is new from here on.
    pub process: ProcessKey,
    /// Where its `brk` heap begins, of which there is nothing yet; not the start of a page; 0 = not readable.
    pub heap: u64,
    /// The new name.
    pub comm: [u8; 16],
    /// Length of `file` with its terminating zero; 0 = not readable.
    pub file_len: u32,
    /// Length of `arguments`; 0 = not readable.
    pub arguments_len: u32,
    /// The file as it was named to exec.
    pub file: [u8; EXEC_FILE],
    /// The arguments, each ended by a zero byte.
    pub arguments: [u8; ARGUMENTS],
}

/// Bits of [`Exit::flags`].
pub mod exit_flag {
    /// It was the last thread: the process has ended.
    pub const LAST: u32 = 1 << 0;
}

/// A thread has exited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Exit {
    /// Kind, time.
    pub header: Header,
    /// Its process.
    pub process: ProcessKey,
    /// Thread id.
    pub tid: u32,
    /// `task_struct.exit_code`: status << 8 or the signal, as `wait` has it.
    pub code: u32,
    /// Bits of [`exit_flag`].
    pub flags: u32,
    /// Always zero.
    pub zero: u32,
    /// Last name.
    pub comm: [u8; 16],
}

/// A process for which no interpreter is known goes on faulting: time to look at its mappings again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Hint {
    /// Kind, time.
    pub header: Header,
    /// The process.
    pub process: ProcessKey,
}

/// A process that was there before is followed from now on, because of its parents or its cgroup. Processes that userspace
/// itself puts into [`crate::state::FOLLOW`] are not told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Join {
    /// Kind, time.
    pub header: Header,
    /// The process.
    pub process: ProcessKey,
    /// The nearest process above it that is followed; zeros = none is.
    pub parent: ProcessKey,
    /// Identity of what it runs.
    pub image: u64,
    /// Generations below `parent`'s.
    pub generation: u32,
    /// Always zero.
    pub zero: u32,
    /// Its name.
    pub comm: [u8; 16],
}

/// Where the module table of a process lies that was there before, as it is before the first write that is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Modules {
    /// Kind, time.
    pub header: Header,
    /// The process.
    pub process: ProcessKey,
    /// The table.
    pub modules: ModuleTable,
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Header>() == 16);
    assert!(size_of::<Fault>() == FAULT_SHORT + size_of::<Detail>());
    assert!(offset_of!(Fault, detail) == FAULT_SHORT);
    assert!(offset_of!(Fault, image) == FAULT_HEAD);
    assert!(offset_of!(Stack, frames) == STACK_HEAD);
    assert!(offset_of!(Code, lines) == CODE_HEAD);
    assert!(size_of::<Frame>() == 40);
    assert!(size_of::<Image>() == 128);
};
