//! A small reader of BTF, the kernel's own description of its types: where a member of a struct lies, what an
//! enumerator's value is, how many arguments a tracepoint has.
//!
//! aya uses BTF but keeps its members to itself, and has no field relocations for Rust, so the offsets that the kernel
//! half needs are looked up here. The crate `btf` 0.5.1 (November 2022, nothing since) turns every type into owned values
//! at load, 225 ms on a kernel of 126,000 types against 2 ms here, does not look into anonymous structs and unions, and
//! gives up at a kind that it does not know; `btf-rs` is LGPL.
//!
//! The bytes may be anything: every access is checked, every walk has an end. Only little-endian data is read, the byte
//! order of every machine that cowtrace runs on. Format:
//! <https://github.com/torvalds/linux/blob/v6.18/Documentation/bpf/btf.rst>.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod walk;

#[cfg(test)]
pub(super) mod tests;

use std::ops::Range;

/// Where the kernel shows its types.
pub const KERNEL: &str = "/sys/kernel/btf/vmlinux";

/// Length of a type's fixed part.
const TYPE_HEADER: usize = 12;

/// Why a question to BTF has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The bytes are not BTF of this byte order and version.
    #[error("not BTF: magic {magic:#06x} version {version}, expected 0xeb9f version 1")]
    NotBtf {
        /// First two bytes.
        magic: u16,
        /// Third byte.
        version: u8,
    },
    /// A section or a type goes past the end.
    #[error("BTF is cut short at byte {at} of {length}")]
    CutShort {
        /// First byte that is missing.
        at: usize,
        /// Bytes there are.
        length: usize,
    },
    /// A kind of type that this reader does not know and the data does not describe.
    #[error("BTF type {id} is of unknown kind {kind}")]
    UnknownKind {
        /// Number of the type.
        id: u32,
        /// Its kind.
        kind: u8,
    },
    /// No struct has this name.
    #[error("no struct {0}")]
    NoStruct(String),
    /// The struct has no such member.
    #[error("struct {structure} has no member {path}")]
    NoMember {
        /// The struct.
        structure: String,
        /// Path of the member.
        path: String,
    },
    /// Types refer to each other in a circle, or nest deeper than any kernel's.
    #[error("BTF types of {0} are nested without end")]
    Endless(String),
}

/// Kinds of types, as numbered in the format.
pub(super) mod kind {
    pub(in crate::kernel) const INT: u8 = 1;
    pub(in crate::kernel) const POINTER: u8 = 2;
    pub(in crate::kernel) const ARRAY: u8 = 3;
    pub(in crate::kernel) const STRUCT: u8 = 4;
    pub(in crate::kernel) const UNION: u8 = 5;
    pub(in crate::kernel) const ENUM: u8 = 6;
    pub(in crate::kernel) const TYPEDEF: u8 = 8;
    pub(in crate::kernel) const VOLATILE: u8 = 9;
    pub(in crate::kernel) const CONST: u8 = 10;
    pub(in crate::kernel) const RESTRICT: u8 = 11;
    pub(in crate::kernel) const FUNCTION: u8 = 12;
    pub(in crate::kernel) const FUNCTION_PROTOTYPE: u8 = 13;
    pub(in crate::kernel) const FLOAT: u8 = 16;
    pub(in crate::kernel) const TYPE_TAG: u8 = 18;
    pub(in crate::kernel) const ENUM64: u8 = 19;
}

/// Bytes that follow the fixed part of each kind: once, and per element.
const LAYOUTS: [(u8, u8); 20] = [
    (0, 0),  // unknown
    (4, 0),  // int
    (0, 0),  // pointer
    (12, 0), // array
    (0, 12), // struct
    (0, 12), // union
    (0, 8),  // enum
    (0, 0),  // forward
    (0, 0),  // typedef
    (0, 0),  // volatile
    (0, 0),  // const
    (0, 0),  // restrict
    (0, 0),  // function
    (0, 8),  // function prototype
    (4, 0),  // variable
    (0, 12), // data section
    (0, 0),  // float
    (4, 0),  // declaration tag
    (0, 0),  // type tag
    (0, 12), // enum64
];

/// The types of one kernel.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    strings: Range<usize>,
    index: Index,
}

/// Where types are, found in one pass. Names are looked at only when one is asked for, and only of the kind that is meant:
/// a kernel has ten times as many functions and pointers as it has structs.
#[derive(Debug, Default)]
struct Index {
    /// Where each type begins; type n is at n - 1, for type 0 is `void` and is not stored.
    all: Vec<u32>,
    structs: Vec<u32>,
    typedefs: Vec<u32>,
    enums: Vec<u32>,
}

/// The fixed part of a type.
#[derive(Clone, Copy, Debug)]
struct Type {
    name: u32,
    kind: u8,
    /// Number of members, values or parameters.
    elements: u32,
    flag: bool,
    /// Size in bytes or number of another type, by kind.
    size_or_type: u32,
    /// Where its elements begin.
    body: usize,
}

impl Btf {
    /// Finds where every type is. Names are not looked at.
    ///
    /// # Errors
    /// If the bytes are not BTF or end too early.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let cut = |at| BtfError::CutShort { at, length: bytes.len() };
        let head = u32_at(&bytes, 0).ok_or_else(|| cut(0))?.to_le_bytes();
        let (magic, version) = (u16::from_le_bytes([head[0], head[1]]), head[2]);
        if magic != 0xeb9f || version != 1 {
            return Err(BtfError::NotBtf { magic, version });
        }
        let header = u32_at(&bytes, 4).ok_or_else(|| cut(4))? as usize;
        let section = |field: usize| {
            let offset = u32_at(&bytes, field).ok_or_else(|| cut(field))? as usize;
            let length = u32_at(&bytes, field + 4).ok_or_else(|| cut(field))? as usize;
            let start = header.checked_add(offset).ok_or_else(|| cut(offset))?;
            let end = start.checked_add(length).ok_or_else(|| cut(start))?;
            if end > bytes.len() { Err(cut(end)) } else { Ok(start..end) }
        };
        let (types, strings) = (section(8)?, section(16)?);
        // A header of 32 bytes or more has a third section: the lengths of kinds, for readers older than the kinds.
        let layouts = if header >= 32 { section(24)? } else { 0..0 };
        let index = index(&bytes, types, &bytes[layouts])?;
        Ok(Self { bytes, strings, index })
    }

    /// Number of types, `void` included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.all.len() + 1
    }

    /// Whether there is no type but `void`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.all.is_empty()
    }

    /// The value of an enumerator, of whichever enum.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<u64> {
        self.types(&self.index.enums).find_map(|t| {
            let stride = if t.kind == kind::ENUM { 8 } else { 12 };
            (0..t.elements as usize).find_map(|element| {
                let at = t.body + element * stride;
                if !self.is_named(u32_at(&self.bytes, at)?, name) {
                    return None;
                }
                let low = u64::from(u32_at(&self.bytes, at + 4)?);
                let high = if t.kind == kind::ENUM64 { u32_at(&self.bytes, at + 8)? } else { 0 };
                Some(low | u64::from(high) << 32)
            })
        })
    }

    /// How many arguments a program on this raw tracepoint gets; `None` = the kernel has no such tracepoint.
    ///
    /// Every tracepoint has a typedef of a function pointer whose first parameter is private:
    /// <https://github.com/torvalds/linux/blob/v6.18/include/trace/bpf_probe.h>.
    #[must_use]
    pub fn tracepoint_arguments(&self, name: &str) -> Option<u32> {
        let name = format!("btf_trace_{name}");
        let typedef = self.types(&self.index.typedefs).find(|t| self.is_named(t.name, &name))?;
        let pointer = self.get(typedef.size_or_type).filter(|t| t.kind == kind::POINTER)?;
        let prototype = self.get(pointer.size_or_type).filter(|t| t.kind == kind::FUNCTION_PROTOTYPE)?;
        prototype.elements.checked_sub(1)
    }

    /// Parameters of a function of the kernel; `None` = there is no such function, or the compiler has left nothing of it.
    #[must_use]
    pub fn function_parameters(&self, name: &str) -> Option<u32> {
        let mut functions = self.types(&self.index.all).filter(|t| t.kind == kind::FUNCTION);
        let function = functions.find(|t| self.is_named(t.name, name))?;
        let prototype = self.get(function.size_or_type).filter(|t| t.kind == kind::FUNCTION_PROTOTYPE)?;
        Some(prototype.elements)
    }

    /// The type with this number; `None` for `void` and numbers that are not there.
    fn get(&self, id: u32) -> Option<Type> {
        let start = *self.index.all.get((id as usize).checked_sub(1)?)? as usize;
        type_at(&self.bytes, start)
    }

    fn types(&self, starts: &[u32]) -> impl Iterator<Item = Type> {
        starts.iter().filter_map(|&start| type_at(&self.bytes, start as usize))
    }

    fn structs(&self, name: &str) -> impl Iterator<Item = Type> {
        self.types(&self.index.structs).filter(move |t| self.is_named(t.name, name))
    }

    /// Whether the string at this offset is `name`.
    fn is_named(&self, offset: u32, name: &str) -> bool {
        let strings = self.bytes.get(self.strings.clone()).unwrap_or_default();
        let rest = strings.get(offset as usize..).unwrap_or_default();
        rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }
}

fn index(bytes: &[u8], types: Range<usize>, layouts: &[u8]) -> Result<Index, BtfError> {
    let cut = |at| BtfError::CutShort { at, length: types.end };
    // A type takes 25 bytes on average.
    let mut index = Index { all: Vec::with_capacity(types.len() / 24), ..Index::default() };
    let mut at = types.start;
    while at < types.end {
        let found = type_at(bytes, at).ok_or_else(|| cut(at))?;
        let (once, each) = layout(found.kind, layouts).ok_or_else(|| BtfError::UnknownKind {
            id: u32::try_from(index.all.len() + 1).unwrap_or(u32::MAX),
            kind: found.kind,
        })?;
        let start = u32::try_from(at).ok().ok_or_else(|| cut(at))?;
        index.all.push(start);
        match found.kind {
            kind::STRUCT => index.structs.push(start),
            kind::TYPEDEF => index.typedefs.push(start),
            kind::ENUM | kind::ENUM64 => index.enums.push(start),
            _ => {}
        }
        let elements = (found.elements as usize).checked_mul(usize::from(each)).ok_or_else(|| cut(at))?;
        at = found.body + usize::from(once) + elements;
        if at > types.end {
            return Err(cut(at));
        }
    }
    Ok(index)
}

/// What follows the fixed part of this kind.
fn layout(kind: u8, described: &[u8]) -> Option<(u8, u8)> {
    LAYOUTS.get(usize::from(kind)).copied().or_else(|| {
        let entry = described.get(usize::from(kind) * 4..)?;
        Some((*entry.first()?, *entry.get(1)?))
    })
}

fn type_at(bytes: &[u8], at: usize) -> Option<Type> {
    let info = u32_at(bytes, at + 4)?;
    Some(Type {
        name: u32_at(bytes, at)?,
        // Bits 16-23 and 29-30 were unused, and zero, before kinds and counts were widened.
        kind: u8::try_from(info >> 24 & 0x7f).unwrap_or_default(),
        elements: info & 0xff_ffff,
        flag: info >> 31 == 1,
        size_or_type: u32_at(bytes, at + 8)?,
        body: at + TYPE_HEADER,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}
