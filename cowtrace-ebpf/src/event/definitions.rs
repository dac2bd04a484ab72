//! What is sent once: stacks, code objects, types and strings that were not seen before.

use bytemuck::{Pod, Zeroable};

use super::Header;
use crate::state::ProcessKey;

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
    /// Number of the [`super::StackEnd`].
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

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Stack, frames) == STACK_HEAD);
    assert!(offset_of!(Code, lines) == CODE_HEAD);
    assert!(size_of::<Frame>() == 40);
};
