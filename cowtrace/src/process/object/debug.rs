//! What an ELF file tells of its debug information: where a separate file with it would be, and its sections.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;

use object::elf;
use object::read::SymbolIndex;
use object::read::elf::{
    CompressionHeader as _, FileHeader as _, ProgramHeader as _, Rela as _, SectionHeader as _, Sym as _,
};

use super::{ENDIAN, Header, Object};

/// Bytes of a build id: SHA-1 has 20; those of other lengths exist, and of less than this two files may have the same.
const BUILD_ID: std::ops::RangeInclusive<usize> = 8..=64;

/// The name of a separate file with debug information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugLink<'data> {
    /// Its name without a folder.
    pub name: &'data OsStr,
    /// CRC-32 of its content.
    pub checksum: u32,
}

impl Object {
    /// The number by which the linker marked this build; `None` = it did not.
    #[must_use]
    pub fn build_id(&self) -> Option<&[u8]> {
        let segments = Header::parse(&self.data).ok()?.program_headers(ENDIAN, &self.data).ok()?;
        for segment in segments {
            let Ok(Some(mut notes)) = segment.notes(ENDIAN, &self.data) else { continue };
            while let Ok(Some(note)) = notes.next() {
                if note.name() == elf::ELF_NOTE_GNU && note.n_type(ENDIAN) == elf::NT_GNU_BUILD_ID {
                    return Some(note.desc()).filter(|id| BUILD_ID.contains(&id.len()));
                }
            }
        }
        None
    }

    /// Where its debug information went when it was stripped; `None` = it does not tell, or names no file of a folder.
    /// <https://sourceware.org/gdb/current/onlinedocs/gdb.html/Separate-Debug-Files.html>
    #[must_use]
    pub fn debug_link(&self) -> Option<DebugLink<'_>> {
        let sections = self.sections().ok()?;
        let (_, section) = sections.section_by_name(ENDIAN, b".gnu_debuglink")?;
        let data = section.data(ENDIAN, &self.data).ok()?;
        let end = data.iter().position(|&byte| byte == 0)?;
        let name = data.get(..end)?;
        let checksum = data.get((end + 1).next_multiple_of(4)..)?.first_chunk()?;
        let plain = !name.is_empty() && !name.contains(&b'/') && name != b"." && name != b"..";
        plain.then(|| DebugLink { name: OsStr::from_bytes(name), checksum: u32::from_le_bytes(*checksum) })
    }

    /// Whether it has a section of this name, with content.
    #[must_use]
    pub fn has_section(&self, name: &str) -> bool {
        let found = self.sections().map(|sections| {
            let found = sections.section_by_name(ENDIAN, name.as_bytes());
            found.is_some_and(|(_, section)| section.sh_type(ENDIAN) != elf::SHT_NOBITS)
        });
        found.unwrap_or(false)
    }

    /// Bytes of its sections of debug information, as many as there are when none is compressed any more.
    #[must_use]
    pub fn debug_bytes(&self) -> u64 {
        let Ok(sections) = self.sections() else { return 0 };
        let size = |section: &elf::SectionHeader64<_>| {
            let name = sections.section_name(ENDIAN, section).unwrap_or_default();
            if !name.starts_with(b".debug_") || section.sh_type(ENDIAN) == elf::SHT_NOBITS {
                return 0;
            }
            match section.compression(ENDIAN, &self.data) {
                Ok(Some((header, ..))) => header.ch_size(ENDIAN),
                Ok(None) => section.sh_size(ENDIAN),
                Err(_) => u64::MAX,
            }
        };
        sections.iter().map(size).fold(0, u64::saturating_add)
    }

    /// The content of a section, no longer compressed, from the file itself; `None` = there is none, it has more than `most`
    /// bytes, or cannot be read.
    #[must_use]
    pub fn section_content(&self, file: &File, name: &str, most: u64) -> Option<Vec<u8>> {
        let sections = self.sections().ok()?;
        let (_, section) = sections.section_by_name(ENDIAN, name.as_bytes())?;
        let (offset, size, compressed) = match section.compression(ENDIAN, &self.data).ok()? {
            Some((header, offset, size)) => {
                (offset, size, Some((header.ch_type(ENDIAN), header.ch_size(ENDIAN))))
            }
            None => {
                let (offset, size) = section.file_range(ENDIAN)?;
                (offset, size, None)
            }
        };
        // What is said to be there but is not must cost no memory.
        let present = offset.checked_add(size)? <= file.metadata().ok()?.len();
        if size > most || !present || compressed.is_some_and(|(_, whole)| whole > most) {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        file.read_exact_at(&mut bytes, offset).ok()?;
        let Some((method, whole)) = compressed else { return Some(bytes) };
        let mut content = Vec::new();
        let read = match method {
            elf::ELFCOMPRESS_ZLIB => {
                flate2::read::ZlibDecoder::new(bytes.as_slice()).take(whole).read_to_end(&mut content)
            }
            elf::ELFCOMPRESS_ZSTD => {
                zstd::Decoder::new(bytes.as_slice()).ok()?.take(whole).read_to_end(&mut content)
            }
            _ => return None,
        };
        (read.ok()? as u64 == whole).then_some(content)
    }

    /// The exported function or variable that covers an address as in the file, as the linker named it.
    #[must_use]
    pub fn exported(&self, address: u64) -> Option<String> {
        let sections = self.sections().ok()?;
        let symbols = sections.symbols(ENDIAN, &self.data, elf::SHT_DYNSYM).ok()?;
        let covers = |symbol: &&elf::Sym64<_>| {
            let inside = address.checked_sub(symbol.st_value(ENDIAN));
            !symbol.is_undefined(ENDIAN) && inside.is_some_and(|inside| inside < symbol.st_size(ENDIAN))
        };
        let name = symbols.iter().find(covers)?.name(ENDIAN, symbols.strings()).ok()?;
        (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
    }

    /// The function or variable whose address the loader writes to this address; `None` = none.
    #[must_use]
    pub fn relocated(&self, address: u64) -> Option<String> {
        let sections = self.sections().ok()?;
        let symbols = sections.symbols(ENDIAN, &self.data, elf::SHT_DYNSYM).ok()?;
        let tables = sections.iter().filter_map(|section| section.rela(ENDIAN, &self.data).ok()?);
        let entry =
            tables.flat_map(|(entries, _)| entries).find(|entry| entry.r_offset(ENDIAN) == address)?;
        let symbol = symbols.symbol(SymbolIndex(entry.r_sym(ENDIAN, false) as usize)).ok()?;
        let name = symbol.name(ENDIAN, symbols.strings()).ok()?;
        (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
    }
}
