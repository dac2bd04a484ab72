//! Places in code: sites and the frames of stacks.

use serde::{Deserialize, Serialize};

use super::read;

/// The innermost line of the user's own code; for native code the innermost function outside the libraries that come with
/// its language, allocators among them.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash, Serialize)]
pub struct Site {
    /// Source file, or the object of native code without lines.
    pub file: Option<String>,
    /// Line; `None` = native code without lines.
    pub line: Option<u32>,
    /// The line is near the right one: see [`PythonFrame::approximate`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
    /// Function or symbol.
    pub function: Option<String>,
    /// Whose code it is, if it is not the user's own: a package, `standard library`, or the file of native code.
    pub library: Option<String>,
}

/// Whose a frame is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameLanguage {
    /// CPython's.
    #[default]
    Python,
    /// Ruby's.
    Ruby,
}

impl FrameLanguage {
    /// What recordings from before there was another leave out.
    #[must_use]
    pub fn is_python(&self) -> bool {
        *self == Self::Python
    }
}

/// One frame of an interpreter, of whichever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct PythonFrame {
    /// Whose it is.
    #[serde(skip_serializing_if = "FrameLanguage::is_python")]
    pub language: FrameLanguage,
    /// Qualified name; of Ruby its label, such as `block in each_pair`.
    pub function: String,
    /// File as the interpreter names it; `<native>` for a method of Ruby's that is native code.
    pub file: String,
    /// Line; `None` = the instruction has none.
    pub line: Option<u32>,
    /// The frame ran machine code that the interpreter had compiled from its instructions, and was not told at each of them
    /// where it was: the line is that of an instruction before, or of the end of the loop.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
    /// Base opcode at the instruction; `None` = not read.
    pub op: Option<&'static str>,
}

/// One native frame. The outermost one of a stack that is not whole stands for what is missing: it has no object, and why
/// in brackets as its symbol.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Hash, Serialize)]
pub struct NativeFrame {
    /// Symbol whose size covers the address, or an inlined function; `None` = there is none.
    pub symbol: Option<String>,
    /// File that holds the code.
    pub object: Option<String>,
    /// Offset in that file: of the instruction that faulted; of a caller's frame that of the last byte of its call, which is
    /// what lines are looked up by.
    #[serde(serialize_with = "hexadecimal", deserialize_with = "read::hexadecimal")]
    pub offset: u64,
    /// Source file, as the debug information names it; `None` = there is none that tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in it; `None` as for `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The function was compiled into the one of the next frame, which has the same address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inlined: bool,
    /// What names the code may be out of date: a list of compiled functions that has changed since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
    /// Why there is no symbol, where more can be said than that the file has none for this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

fn hexadecimal<S: serde::Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:#x}"))
}
