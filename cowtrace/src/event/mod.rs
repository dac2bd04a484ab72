//! What the kernel program tells, owned and checked. Stage 4: knows the records, nothing of processes or causes.

pub mod decode;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use cowtrace_ebpf::event as raw;
use cowtrace_ebpf::state::ProcessKey;

pub use decode::{DecodeError, decode};

/// One record of the ring buffer. Times are `CLOCK_MONOTONIC` nanoseconds.
#[derive(Clone, Debug)]
pub enum Event {
    /// A page fault, decided; later than others by as long as the thread did without one.
    Fault(Box<raw::Fault>),
    /// An interpreter stack not seen before in its image.
    Stack(Stack),
    /// A code object not seen before in its image.
    Code(Box<Code>),
    /// A type not seen before in its image.
    Type(raw::Type),
    /// The text of a string, met in the stack that follows.
    Text(raw::Text),
    /// A native stack that the kernel program does not know.
    StackCopy(Box<StackCopy>),
    /// A new process or thread.
    Fork(raw::Fork),
    /// Another program runs.
    Exec(Box<Exec>),
    /// A thread has ended.
    Exit(raw::Exit),
    /// A process without a known interpreter goes on faulting.
    Hint(raw::Hint),
    /// A process that was there before is followed.
    Join(raw::Join),
    /// Where the module table of such a process lies.
    Modules(raw::Modules),
}

/// An interpreter stack, innermost frame first.
#[derive(Clone, Debug)]
pub struct Stack {
    /// A process that has it.
    pub process: ProcessKey,
    /// Its identity.
    pub hash: u64,
    /// Why the walk ended.
    pub end: raw::StackEnd,
    /// The frames.
    pub frames: Vec<raw::Frame>,
}

/// The part of a native stack that a thread has in use, at a fault.
#[derive(Clone, Debug)]
pub struct StackCopy {
    /// The process.
    pub process: ProcessKey,
    /// Its number, which the thread's next fault has.
    pub id: u64,
    /// Key of the place in the table of templates.
    pub key: u64,
    /// Identity of the interpreter's stack; 0 = none.
    pub interpreter_stack: u64,
    /// Why it ends, one of [`cowtrace_ebpf::native::copy_end`].
    pub end: u32,
    /// The registers, in the order of `struct pt_regs`.
    pub registers: [u64; raw::REGISTERS],
    /// The stack from [`cowtrace_ebpf::native::first_word`] on.
    pub words: Vec<u64>,
}

/// A code object.
#[derive(Clone, Debug)]
pub struct Code {
    /// A process that has it.
    pub process: ProcessKey,
    /// When the image was made.
    pub image: u64,
    /// Address of the object.
    pub address: u64,
    /// Checksum of its unchanging words.
    pub identity: u64,
    /// Index of the plan it was read by.
    pub plan: u32,
    /// First line.
    pub first_line: i32,
    /// File name, as it lies in memory.
    pub file: raw::FileName,
    /// Qualified name, as it lies in memory.
    pub name: raw::FunctionName,
    /// Line table, or as much of it as is kept.
    pub lines: Vec<u8>,
    /// Its whole length.
    pub lines_full: u32,
    /// Number of its bytecode units, if they lie in the object; else 0.
    pub units: u64,
    /// Owner byte of the frame it was met in.
    pub owner: u8,
}

/// Another program runs in a process.
#[derive(Clone, Debug)]
pub struct Exec {
    /// When; also the identity of the image.
    pub time: u64,
    /// The process.
    pub process: ProcessKey,
    /// Where its `brk` heap begins; not the start of a page; 0 = not readable.
    pub heap: u64,
    /// The new name.
    pub comm: [u8; 16],
    /// The file as it was named to exec; empty = not readable.
    pub file: Vec<u8>,
    /// The arguments, the last one cut if they are long; empty = not readable.
    pub arguments: Vec<Vec<u8>>,
}
