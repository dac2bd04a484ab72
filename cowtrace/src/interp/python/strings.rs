//! String objects: from their state word and bytes to text.

use cowtrace_ebpf::event::UNREADABLE;
use cowtrace_ebpf::plan::Plan;

use crate::memory::Memory;

/// Bytes of a string that are read from memory at most.
const MAX_BYTES: usize = 256;

/// How the state word tells the form of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringState {
    /// Bits of a u32: 2 to 4 the bytes of a character, 5 whether the characters lie in the object, 6 whether they are
    /// ASCII.
    /// <https://github.com/python/cpython/blob/v3.11.7/Include/cpython/unicodeobject.h#L186>
    Bits32,
    /// A byte of other matters, then a byte: bits 0 to 2 the bytes of a character, 3 whether the characters lie in the
    /// object, 4 whether they are ASCII. Builds without the lock, since 3.14.
    /// <https://github.com/python/cpython/blob/v3.14.0/Include/cpython/unicodeobject.h>
    Bytes,
}

/// Form of a string whose characters lie in the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    width: usize,
    ascii: bool,
}

impl StringState {
    fn form(self, state: u32) -> Option<Form> {
        let bits = match self {
            Self::Bits32 => state >> 2,
            Self::Bytes => state >> 8,
        };
        let (width, compact, ascii) = (bits & 7, bits & (1 << 3) != 0, bits & (1 << 4) != 0);
        (compact && matches!(width, 1 | 2 | 4) && (!ascii || width == 1))
            .then_some(Form { width: width as usize, ascii })
    }
}

/// Text of a string of so many characters that begins with these bytes; ends with `…` if some are missing.
pub(super) fn decode(kind: StringState, state: u32, characters: u32, bytes: &[u8]) -> Option<String> {
    if characters == UNREADABLE {
        return None;
    }
    let Form { width, .. } = kind.form(state)?;
    let characters = characters as usize;
    let kept = characters.min(bytes.len() / width);
    let bytes = &bytes[..kept * width];
    // Latin-1 is the first block of Unicode. A lone surrogate (an undecodable byte of a file name) is no character.
    let units = bytes.chunks_exact(width).map(|unit| {
        let value = unit.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
        char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER)
    });
    let cut = (kept < characters).then_some('…');
    Some(units.chain(cut).collect())
}

/// Text of the string object at an address, cut after [`MAX_BYTES`].
pub(super) fn read(
    kind: StringState,
    plan: &Plan,
    memory: &dyn Memory,
    string_type: u64,
    address: u64,
) -> Option<String> {
    let at = |offset: u16| address.checked_add(offset.into());
    if memory.u64(at(plan.object_type)?).ok()? != string_type {
        return None;
    }
    let state = memory.u32(at(plan.string_state)?).ok()?;
    let characters = u32::try_from(memory.u64(at(plan.string_length)?).ok()?).ok()?;
    let Form { width, ascii } = kind.form(state)?;
    let data = at(if ascii { plan.string_ascii } else { plan.string_wide })?;
    let mut bytes = [0; MAX_BYTES];
    let bytes = &mut bytes[..MAX_BYTES.min((characters as usize).saturating_mul(width))];
    memory.read(data, bytes).ok()?;
    decode(kind, state, characters, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCII: u32 = 1 << 2 | 1 << 5 | 1 << 6 | 1 << 7;
    const LATIN1: u32 = 1 << 2 | 1 << 5 | 1 << 7;
    const UCS2: u32 = 2 << 2 | 1 << 5 | 1 << 7;
    const UCS4: u32 = 4 << 2 | 1 << 5 | 1 << 7;

    fn text(state: u32, characters: u32, bytes: &[u8]) -> Option<String> {
        decode(StringState::Bits32, state, characters, bytes)
    }

    #[test]
    fn widths() {
        assert_eq!(text(ASCII, 4, b"name\0\0\0").unwrap(), "name");
        assert_eq!(text(ASCII, 0, b"").unwrap(), "");
        assert_eq!(text(LATIN1, 2, b"\xfc!").unwrap(), "ü!");
        assert_eq!(text(UCS2, 2, &[0xc0, 0x03, b'x', 0, 9, 9]).unwrap(), "πx");
        assert_eq!(text(UCS4, 1, &[0x87, 0xd4, 1, 0]).unwrap(), "\u{1d487}");
        assert_eq!(text(UCS2, 1, &[0x80, 0xdc]).unwrap(), "\u{fffd}", "a lone surrogate");
        assert_eq!(text(UCS4, 1, &[0xff; 4]).unwrap(), "\u{fffd}");
    }

    #[test]
    fn cut_and_unreadable() {
        assert_eq!(text(ASCII, 10, b"name").unwrap(), "name…");
        assert_eq!(text(UCS2, 2, &[b'x', 0, b'y']).unwrap(), "x…");
        assert_eq!(text(ASCII, UNREADABLE, b"name"), None);
        assert_eq!(text(ASCII, UNREADABLE - 1, b"").unwrap(), "…");
        assert_eq!(text(ASCII & !(1 << 5), 4, b"name"), None, "its characters lie elsewhere");
        assert_eq!(text(3 << 2 | 1 << 5, 4, b"name"), None, "no such width");
        assert_eq!(text(UCS2 | 1 << 6, 2, b"name"), None, "ASCII has one byte a character");
    }
}
