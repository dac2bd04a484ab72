//! The code that the kernel maps into each process, `[vdso]`: an ELF file in memory.

use std::io::Write as _;

use blazesym::symbolize::Input;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::elf::{Mapped, Names};
use crate::memory::{Live, Memory as _};
use crate::process::maps::Mapping;

/// Bytes of it: a few pages.
const MOST_BYTES: u64 = 64 << 10;
/// Programs of 32 bits, which have another one, lie below.
const LOW: u64 = 1 << 32;

/// The kernel's code as it was read from the first process that had it: all have the same.
#[derive(Debug, Default)]
pub(super) struct Vdso {
    read: Option<(u64, Mapped)>,
    names: Names,
}

impl Vdso {
    /// The function at an address of its mapping.
    pub(super) fn find(&mut self, pid: u32, mapping: &Mapping, address: u64) -> Option<String> {
        let len = mapping.end - mapping.start;
        if mapping.start < LOW || len > MOST_BYTES {
            return None;
        }
        if self.read.as_ref().is_none_or(|(known, _)| *known != len) {
            self.read = Some((len, copy(pid, mapping, len)?));
        }
        let (_, image) = self.read.as_ref()?;
        self.names.of(image, Input::VirtOffset(address - mapping.start))
    }
}

fn copy(pid: u32, mapping: &Mapping, len: u64) -> Option<Mapped> {
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    Live::new(pid).read(mapping.start, &mut bytes).ok()?;
    let mut file = std::fs::File::from(memfd_create(c"vdso", MFdFlags::MFD_CLOEXEC).ok()?);
    file.write_all(&bytes).ok()?;
    Mapped::new(&file, false).ok()
}
