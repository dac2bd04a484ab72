//! The version of an interpreter that does not tell it in its memory: until 3.10. Its file has it as text.

use std::os::unix::fs::FileExt as _;

use super::layout::Version;
use crate::process::maps::{Mapping, Maps};
use crate::process::object::{Object, Part, open_mapped};

/// Bytes of a mapping that are looked through at most.
const MOST_BYTES: u64 = 32 << 20;
/// Minor versions that do not tell.
const MINORS: std::ops::RangeInclusive<u32> = 8..=10;
/// Longest text of a version that is believed, `3.10.13`.
const LONGEST: usize = 8;

/// The version that a file was made from; `None` = none is in its constants, or more than one.
pub(super) fn of_file(pid: u32, maps: &Maps, mapping: &Mapping) -> Option<Version> {
    let file = open_mapped(pid, mapping).ok()?;
    let is_constants = |other: &&Mapping| {
        (other.device, other.inode) == (mapping.device, mapping.inode) && !other.executable && !other.writable
    };
    let mut found = None;
    for constants in maps.iter().filter(is_constants) {
        let len = constants.end.saturating_sub(constants.start).min(MOST_BYTES);
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        let read = file.read_at(&mut bytes, constants.offset).ok()?;
        let version = in_bytes(bytes.get(..read)?);
        if found.is_some() && version.is_some() && version != found {
            return None;
        }
        found = found.or(version);
    }
    found
}

/// The same for a file that nobody has mapped.
pub(super) fn of_object(object: &Object) -> Option<Version> {
    let version = |part: Part| in_bytes(object.bytes(part.offset, part.size.min(MOST_BYTES))?);
    let mut found = None;
    for version in object.constants().filter_map(version) {
        if found.is_some_and(|found| found != version) {
            return None;
        }
        found = Some(version);
    }
    found
}

/// `PY_VERSION` as a string, or as the end of one: the linker lets a string share the end of a longer one.
/// <https://github.com/python/cpython/blob/v3.10.13/Include/patchlevel.h>
fn in_bytes(bytes: &[u8]) -> Option<Version> {
    let mut found = None;
    let mut rest = bytes;
    while let Some(at) = rest.windows(3).position(|window| &window[1..] == b"3." && !is_part(window[0])) {
        rest = &rest[at + 1..];
        let Some(version) = text(rest) else { continue };
        if found.is_some_and(|found| found != version) {
            return None;
        }
        found = Some(version);
    }
    found
}

/// Whether a byte before a version would be part of it.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'.'
}

/// The row's version for a file that says `python3.9` in its name alone.
pub(super) fn of_name(name: &str) -> Option<Version> {
    let (major, minor) = name.split_once('.')?;
    let minor = minor.parse::<u32>().ok().filter(|minor| MINORS.contains(minor))?;
    (major == "3").then_some(Version(3 << 24 | minor << 16 | 0xf0))
}

fn text(bytes: &[u8]) -> Option<Version> {
    let end = bytes.iter().take(LONGEST).position(|&byte| byte == 0)?;
    let mut numbers =
        std::str::from_utf8(&bytes[..end]).ok()?.split('.').map(|number| number.parse::<u32>().ok());
    let (major, minor, micro) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let is_version = major == 3 && MINORS.contains(&minor) && micro < 256 && numbers.next().is_none();
    is_version.then_some(Version(major << 24 | minor << 16 | micro << 8 | 0xf0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of a version alone between zeros; two different ones tell nothing.
    #[test]
    fn versions() {
        let version = |bytes: &[u8]| in_bytes(bytes).map(|version| version.to_string());
        assert_eq!(version(b"x\x003.9.18\0python3.9\0").as_deref(), Some("3.9.18"));
        assert_eq!(version(b"\x003.10.13\0\x003.10.13\0").as_deref(), Some("3.10.13"));
        assert_eq!(version(b"\x003.9.18\0 \x003.8.1\0"), None);
        assert_eq!(version(b"/usr/src/Python-3.8.18\0").as_deref(), Some("3.8.18"));
        for none in [
            &b"\x003.9.18"[..],
            b"3.9.18\0",
            b"\x0013.9.1\0",
            b"\x003.9\0",
            b"\x003.11.7\0",
            b"\x003.9.999\0",
            b"\x003.9.1.2\0",
            b"",
        ] {
            assert_eq!(version(none), None, "{}", none.escape_ascii());
        }
        assert_eq!(of_name("3.9").map(|version| version.to_string()).as_deref(), Some("3.9.0"));
        for none in ["3.7", "3.11", "2.9", "3", "", "3.9.1"] {
            assert_eq!(of_name(none), None, "{none}");
        }
    }
}
