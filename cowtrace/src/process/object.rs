//! Facts of an ELF file that a process has mapped: where its symbols and sections are, and where it was loaded.
//!
//! Files are the target's: they may be no ELF at all, lie about every length, shrink while they are read, or be a FIFO by
//! now. So they are read, never mapped, and only their tables, within [`MAX_TABLE`].

mod bounded;
mod debug;
mod file;
mod open;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::LittleEndian;
use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, SectionTable, Sym as _};

use self::bounded::Bounded;
use super::maps::Mapping;
use crate::page;

pub use self::bounded::MAX_TABLE;
pub use self::debug::DebugLink;
pub use self::file::{Libraries, Names, Part};
pub use self::open::{open, open_mapped};

const ENDIAN: LittleEndian = LittleEndian;

type Header = FileHeader64<LittleEndian>;
type Sections<'data> = SectionTable<'data, Header, &'data Bounded>;

/// Why a file's facts are not known.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It could not be opened.
    #[error("failed to open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is something else under its name.
    #[error("{} is no regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// Its process is gone, and under its path there is another file or none.
    #[error("{} is no longer the file that was mapped", path.display())]
    Replaced {
        /// The path as the process saw it.
        path: PathBuf,
    },
    /// It is not what a loader would accept, or has a table beyond [`MAX_TABLE`].
    #[error("{} is not a 64-bit ELF file that can be read", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: object::read::Error,
    },
}

/// A symbol or section of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Address as in the file, before the load bias is added.
    pub address: u64,
    /// Bytes; 0 = not told.
    pub size: u64,
}

/// A part of the file that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
    flags: elf::ProgramFlags,
}

/// An ELF file of 64 bits, little-endian.
#[derive(Debug)]
pub struct Object {
    path: PathBuf,
    data: Bounded,
    /// Loaded where its addresses say (`ET_EXEC`).
    fixed: bool,
    segments: Vec<Segment>,
}

impl Object {
    /// Opens a file and reads its headers.
    ///
    /// # Errors
    /// When it is not a regular ELF file of 64 bits.
    pub fn open(path: &Path) -> Result<Self, ObjectError> {
        Self::of_file(Arc::new(open(path)?), path)
    }

    /// The same for the file that a mapping shows.
    ///
    /// # Errors
    /// As [`Object::open`].
    pub fn of_mapping(pid: u32, mapping: &Mapping) -> Result<Self, ObjectError> {
        Self::of_file(Arc::new(open_mapped(pid, mapping)?), mapping.path.as_deref().unwrap_or(Path::new("")))
    }

    /// The same for a regular file that is open; `path` is for messages.
    ///
    /// # Errors
    /// When it is no ELF file of 64 bits.
    pub fn of_file(file: Arc<File>, path: &Path) -> Result<Self, ObjectError> {
        let data = Bounded::new(file);
        let headers = || {
            let header = Header::parse(&data)?;
            let segments = header.program_headers(ENDIAN, &data)?.iter().filter_map(segment).collect();
            Ok((header.e_type(ENDIAN) == elf::ET_EXEC, segments))
        };
        let (fixed, segments) =
            headers().map_err(|source| ObjectError::Malformed { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), data, fixed, segments })
    }

    /// Whether its addresses are final, so that it has no load bias (`ET_EXEC`).
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// Address of the first loaded segment as in the file.
    #[must_use]
    pub fn first_address(&self) -> Option<u64> {
        self.segments.first().map(|segment| segment.address)
    }

    /// Address as in the file of a file offset; `None` = that byte is not loaded.
    #[must_use]
    pub fn address_of(&self, file_offset: u64) -> Option<u64> {
        let holds = |segment: &&Segment| {
            file_offset.checked_sub(segment.offset).is_some_and(|inside| inside < segment.file_size)
        };
        let segment = self.segments.iter().find(holds)?;
        Some(segment.address.wrapping_add(file_offset - segment.offset))
    }

    /// Bytes of the file that are loaded from an address on.
    #[must_use]
    pub fn loaded_behind(&self, address: u64) -> Option<u64> {
        self.segment_of(address).map(|(segment, inside)| segment.file_size - inside)
    }

    fn segment_of(&self, address: u64) -> Option<(&Segment, u64)> {
        let inside = |segment: &Segment| {
            address.checked_sub(segment.address).filter(|inside| *inside < segment.file_size)
        };
        self.segments.iter().find_map(|segment| Some((segment, inside(segment)?)))
    }

    /// The linker's index of the unwind information (`PT_GNU_EH_FRAME`).
    #[must_use]
    pub fn unwind_index(&self) -> Option<Place> {
        let headers = Header::parse(&self.data).ok()?.program_headers(ENDIAN, &self.data).ok()?;
        let index = headers.iter().find(|header| header.p_type(ENDIAN) == elf::PT_GNU_EH_FRAME)?;
        Some(Place { address: index.p_vaddr(ENDIAN), size: index.p_filesz(ENDIAN) })
    }

    /// Whether an address as in the file belongs to it, data that begins as zeros included.
    #[must_use]
    pub fn is_loaded(&self, address: u64) -> bool {
        self.segments.iter().any(|segment| {
            address.checked_sub(segment.address).is_some_and(|inside| inside < segment.memory_size)
        })
    }

    /// What has to be added to addresses of the file, given one of its mappings; `None` = the mapping shows no segment.
    #[must_use]
    pub fn bias(&self, mapping: &Mapping) -> Option<u64> {
        if self.fixed {
            return Some(0);
        }
        // A page can hold the end of one segment and the start of the next; the mapping then begins with the later one.
        let first_page = |segment: &Segment| page::here().start(segment.offset);
        let holds = |segment: &&Segment| {
            first_page(segment) <= mapping.offset
                && mapping.offset.saturating_sub(segment.offset) < segment.file_size
        };
        let segment = self.segments.iter().filter(holds).max_by_key(|segment| first_page(segment))?;
        let address = segment.address.wrapping_sub(segment.offset).wrapping_add(mapping.offset);
        Some(mapping.start.wrapping_sub(address))
    }

    /// Looks for dynamic symbols that the file defines; the answers are in the order of the names.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn symbols<const N: usize>(&self, names: [&str; N]) -> Result<[Option<Place>; N], ObjectError> {
        self.find_symbols(names).map_err(|source| self.malformed(source))
    }

    fn find_symbols<const N: usize>(&self, names: [&str; N]) -> object::read::Result<[Option<Place>; N]> {
        let mut found = [None; N];
        let sections = self.sections()?;
        let symbols = sections.symbols(ENDIAN, &self.data, elf::SHT_DYNSYM)?;
        if symbols.is_empty() {
            return Ok(found);
        }
        // The table of names at once: asking for each name would be a system call each.
        let strings = sections.section(symbols.string_section())?.data(ENDIAN, &self.data)?;
        for symbol in symbols.iter().filter(|symbol| !symbol.is_undefined(ENDIAN)) {
            let name = strings.get(symbol.st_name(ENDIAN) as usize..).unwrap_or_default();
            let is_name = |wanted: &str| {
                name.strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
            };
            if let Some(index) = names.iter().position(|wanted| is_name(wanted)) {
                found[index] = Some(Place { address: symbol.st_value(ENDIAN), size: symbol.st_size(ENDIAN) });
            }
        }
        Ok(found)
    }

    /// Looks for a loaded section; `None` = there is none of that name, or the file has no section headers.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn section(&self, name: &str) -> Result<Option<Place>, ObjectError> {
        let find = || {
            let sections = self.sections()?;
            let section = sections.section_by_name(ENDIAN, name.as_bytes()).map(|(_, section)| section);
            Ok(section
                .map(|section| Place { address: section.sh_addr(ENDIAN), size: section.sh_size(ENDIAN) }))
        };
        Ok(find().map_err(|source| self.malformed(source))?.filter(|place| place.address != 0))
    }

    fn sections(&self) -> object::read::Result<Sections<'_>> {
        Header::parse(&self.data)?.sections(ENDIAN, &self.data)
    }

    fn malformed(&self, source: object::read::Error) -> ObjectError {
        ObjectError::Malformed { path: self.path.clone(), source }
    }
}

fn segment(header: &ProgramHeader64<LittleEndian>) -> Option<Segment> {
    (header.p_type(ENDIAN) == elf::PT_LOAD).then(|| Segment {
        offset: header.p_offset(ENDIAN),
        address: header.p_vaddr(ENDIAN),
        file_size: header.p_filesz(ENDIAN),
        memory_size: header.p_memsz(ENDIAN),
        flags: header.p_flags(ENDIAN),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::maps::{Kind, Maps};

    #[test]
    fn libc_of_this_process() {
        let maps = Maps::of(std::process::id()).unwrap();
        let is_libc =
            |mapping: &&Mapping| mapping.kind == Kind::File && mapping.file_name() == Some(b"libc.so.6");
        let Some(first) = maps.iter().find(is_libc) else {
            eprintln!("SKIPPED (allowed): this test program has no shared libc");
            return;
        };
        let object = Object::open(first.path.as_deref().unwrap()).unwrap();
        assert!(!object.is_fixed());
        // Other tests read the file by mapping it once more.
        let is_loaded = |mapping: &&Mapping| is_libc(mapping) && mapping.executable;
        let loaded = object.bias(maps.iter().find(is_loaded).unwrap()).unwrap();
        let biases: Vec<_> = maps.iter().filter(is_libc).filter_map(|mapping| object.bias(mapping)).collect();
        assert!(biases.iter().filter(|&&bias| bias == loaded).count() > 2, "{loaded:x} {biases:x?}");

        let [getpid, missing] = object.symbols(["getpid", "no_such_symbol"]).unwrap();
        let getpid = getpid.unwrap();
        assert_eq!(missing, None);
        let mapping = maps.find(loaded.wrapping_add(getpid.address)).unwrap();
        assert!(mapping.executable, "the symbol lies in code");
        let offset = mapping.file_offset(loaded.wrapping_add(getpid.address));
        assert_eq!(object.address_of(offset), Some(getpid.address));
        assert!(object.section(".text").unwrap().is_some_and(|text| text.address < getpid.address));
        assert_eq!(object.section(".no_such_section").unwrap(), None);
    }

    /// Every byte of the headers wrong in turn, and every length: an answer or an error, no panic, no great memory.
    #[test]
    fn hostile_files() {
        let path = std::env::temp_dir().join(format!("cowtrace-object-{}", std::process::id()));
        let whole = std::fs::read("/proc/self/exe").unwrap();
        let headers = &whole[..whole.len().min(1 << 16)];
        for at in (0..64).chain((64..1024).step_by(4)) {
            let mut bytes = headers.to_vec();
            bytes[at] ^= 0xff;
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(object) = Object::open(&path) {
                let _ = object.symbols(["_PyRuntime"]);
                let _ = object.section(".PyRuntime");
            }
        }
        for length in [0, 1, 63, 64, 100, 1000] {
            std::fs::write(&path, &headers[..length]).unwrap();
            assert!(length >= 64 || Object::open(&path).is_err());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Object::open(Path::new("/dev/zero")), Err(ObjectError::NotRegular { .. })));
    }
}
