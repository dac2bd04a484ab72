//! What stripped programs of some distributions keep beside their exported symbols: `.gnu_debugdata`, a compressed ELF file with
//! the rest of the functions, and nothing but these.
//! <https://sourceware.org/gdb/current/onlinedocs/gdb.html/MiniDebugInfo.html>

use std::fs::File;
use std::io::{self, Read as _};

use lzma_rust2::XzReader;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::elf::Mapped;
use crate::process::object::Object;

/// Its section.
pub(super) const SECTION: &str = ".gnu_debugdata";
/// Bytes of the section.
const MOST_COMPRESSED: u64 = 16 << 20;
/// Bytes of the file in it.
const MOST_BYTES: u64 = 64 << 20;
/// KiB that decompressing may take.
const MOST_MEMORY: u32 = 64 << 10;

/// The file in the section; `None` = there is none that can be read.
pub(super) fn find(object: &Object, file: &File) -> Option<Mapped> {
    let compressed = object.section_content(file, SECTION, MOST_COMPRESSED)?;
    decompressed(&compressed).ok()
}

fn decompressed(compressed: &[u8]) -> io::Result<Mapped> {
    let mut copy = File::from(memfd_create(c"cowtrace", MFdFlags::MFD_CLOEXEC)?);
    let mut content = XzReader::new_mem_limit(compressed, false, MOST_MEMORY).take(MOST_BYTES);
    io::copy(&mut content, &mut copy)?;
    Mapped::new(&copy, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is no such file is an error, not a panic.
    #[test]
    fn not_compressed() {
        let header = [0xfd, b'7', b'z', b'X', b'Z', 0, 0, 4];
        for bytes in [&b""[..], b"\x7fELF", &header, &[header.as_slice(), &[0xff; 100]].concat()] {
            assert!(decompressed(bytes).is_err(), "{bytes:x?}");
        }
    }
}
