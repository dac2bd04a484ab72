//! What a line of the log holds: words, instructions and names as a reader of the line has them.

use cowtrace_ebpf::event::BLOCK_WORDS;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::attribute::{Allocator, Heap, KnownType, ModuleEntry, Owner, Phase, Structure};
use crate::record::schema::{Confidence, Write};
use crate::symbolize::instruction;
use crate::symbolize::native::StaticData;

/// What was known about one write, and what was said of it. Of what is left out nothing was known, or it was not so.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Capture {
    /// The process, as the trace numbers it.
    pub pid: u32,
    /// Full version of its interpreter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// See [`crate::attribute::Evidence::address`].
    pub address: Hex,
    /// Kind of the region.
    pub region: String,
    /// The kernel wrote.
    #[serde(default, skip_serializing_if = "is_false")]
    pub kernel_mode: bool,
    /// … for this system call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syscall: Option<String>,
    /// Memory around the address before the write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Words>,
    /// Types that words of the image or the block point to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<CapturedType>,
    /// Distance from an object's start to its type; 0 = no interpreter.
    pub type_distance: u64,
    /// The instruction, and what follows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// In the order of [`cowtrace_ebpf::event::Detail::registers`]; empty = not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registers: Vec<Hex>,
    /// The allocator's block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<CapturedBlock>,
    /// The pool of that block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// The object that owns what was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The structure of the interpreter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structure: Option<Structure>,
    /// The variable of a program or library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<StaticData>,
    /// What memory tells of a process without interpreter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heap: Option<Heap>,
    /// The address lies next to the stack pointer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub near_stack: bool,
    /// The place in the table of `sys.modules`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_entry: Option<ModuleEntry>,
    /// Address of the dict `sys.modules`; 0 = not known.
    pub modules: Hex,
    /// Name that the innermost frame's instruction stores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_name: Option<String>,
    /// A type in one of the registers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_in_register: Option<String>,
    /// … which is what is stored.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stores_type: bool,
    /// The innermost frames; `None` = there is no interpreter stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<Vec<CapturedFrame>>,
    /// Innermost native symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// File that holds the instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// … which is that of the interpreter.
    #[serde(default, skip_serializing_if = "is_false")]
    pub in_interpreter: bool,
    /// There should be interpreter frames, but they could not be had.
    #[serde(default, skip_serializing_if = "is_false")]
    pub frames_missing: bool,
    /// What a thread without interpreter frames is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Why there is no interpreter stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_stack: Option<String>,
    /// What was said.
    pub write: Said,
}

/// Memory, and the key in front of it: see [`cowtrace_ebpf::event::Image`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Words {
    /// Address of the first word.
    pub address: Hex,
    /// The words.
    pub words: Vec<Hex>,
    /// Start of the string that the word before the written one points to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
}

/// A type.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CapturedType {
    /// Its address.
    pub address: Hex,
    /// What is known of it.
    #[serde(flatten)]
    pub known: KnownType,
}

/// A block, as far as it is not found out anew.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CapturedBlock {
    /// See [`crate::attribute::Block::address`].
    pub address: Hex,
    /// Bytes.
    pub size: u64,
    /// Whose it is.
    pub by: Allocator,
    /// It is a header of the allocator's.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_header: bool,
    /// It begins with a link. A replay finds that out anew.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_linked: bool,
    /// It was read after the write. A replay finds that out anew.
    #[serde(default, skip_serializing_if = "is_false")]
    pub late: bool,
    /// Its first words.
    pub head: [Hex; BLOCK_WORDS],
}

/// A pool.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Pool {
    /// Where it begins.
    pub address: Hex,
    /// Bytes.
    pub size: u64,
}

/// An interpreter frame.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CapturedFrame {
    /// Base name of the instruction.
    pub op: Option<String>,
    /// File.
    pub file: String,
    /// Function.
    pub function: String,
    /// Line.
    pub line: Option<u32>,
}

/// An answer: a [`Write`], but for its reason.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Said {
    /// [`Write::kind`].
    pub kind: String,
    /// Type of the object.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Which one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What was done to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// How sure.
    pub confidence: Confidence,
}

impl Said {
    /// What an answer says.
    #[must_use]
    pub fn of(write: &Write) -> Self {
        Self {
            kind: write.kind.to_owned(),
            of: write.of.clone(),
            name: write.name.clone(),
            action: write.action.map(str::to_owned),
            confidence: write.confidence,
        }
    }
}

/// A number that is written as a text, `0x7f00`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hex(pub u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").ok_or_else(|| D::Error::custom("a number without 0x"))?;
        u64::from_str_radix(digits, 16).map(Self).map_err(D::Error::custom)
    }
}

/// Bytes that are written as a text of two digits each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code(pub [u8; instruction::LONGEST]);

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut code = [0; instruction::LONGEST];
        if text.len() != 2 * code.len() || !text.is_ascii() {
            return Err(D::Error::custom("not as many digits as an instruction may have"));
        }
        for (at, byte) in code.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(D::Error::custom)?;
        }
        Ok(Self(code))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}
