//! The version of an interpreter that does not tell it in its memory: until 3.10. Its file has it as text.

use std::io::Read as _;

use super::layout::Version;
use crate::process::maps::Mapping;
use crate::process::object::open_mapped;

/// Bytes of a file that are looked through at most.
const MOST_BYTES: u64 = 64 << 20;
/// Minor versions that do not tell.
const MINORS: std::ops::RangeInclusive<u32> = 8..=10;
/// Longest text of a version that is believed, `3.10.13`.
const LONGEST: usize = 8;

/// The version that a file was made from; `None` = none is in it, or more than one.
pub(super) fn of_file(pid: u32, mapping: &Mapping) -> Option<Version> {
    let mut bytes = Vec::new();
    open_mapped(pid, mapping).ok()?.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    in_bytes(&bytes)
}

/// `PY_VERSION` as a string of its own: <https://github.com/python/cpython/blob/v3.10.13/Include/patchlevel.h>.
fn in_bytes(bytes: &[u8]) -> Option<Version> {
    let mut found = None;
    let mut rest = bytes;
    while let Some(at) = rest.windows(3).position(|window| window == b"\x003.") {
        rest = &rest[at + 1..];
        let Some(version) = text(rest) else { continue };
        if found.is_some_and(|found| found != version) {
            return None;
        }
        found = Some(version);
    }
    found
}

fn text(bytes: &[u8]) -> Option<Version> {
    let end = bytes.iter().take(LONGEST).position(|&byte| byte == 0)?;
    let mut numbers = std::str::from_utf8(&bytes[..end]).ok()?.split('.').map(|number| number.parse::<u32>().ok());
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
        for none in [&b"\x003.9.18"[..], b"3.9.18\0", b"\x003.9\0", b"\x003.11.7\0", b"\x003.9.999\0", b"\x003.9.1.2\0", b""] {
            assert_eq!(version(none), None, "{}", none.escape_ascii());
        }
    }
}
