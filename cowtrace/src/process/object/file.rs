//! What an ELF file tells before anybody runs it: its first content, the libraries it asks for, which names it kept.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use object::elf;
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::read::{ReadRef as _, StringTable};

use super::{ENDIAN, Header, Object, ObjectError, Segment};
use crate::memory::Memory;

/// A part of a file that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it lies in the file.
    pub offset: u64,
    /// Bytes of it in the file.
    pub size: u64,
    /// Address of its first byte as in the file.
    pub address: u64,
}

/// The libraries that a file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Libraries {
    /// Their names (`DT_NEEDED`).
    pub needed: Vec<PathBuf>,
    /// Folders in which to look first (`DT_RUNPATH`, `DT_RPATH`), `$ORIGIN` not yet replaced.
    pub folders: Vec<PathBuf>,
}

/// How many names of functions and variables a file has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// All of its own (`.symtab`); 0 = stripped.
    pub all: usize,
    /// Those that others may use (`.dynsym`).
    pub exported: usize,
}

impl Object {
    /// Parts that are data from the start and may be written.
    pub fn data(&self) -> impl Iterator<Item = Part> {
        self.parts(|flags| flags.0 & elf::PF_W.0 != 0)
    }

    /// Parts that are neither code nor may be written.
    pub fn constants(&self) -> impl Iterator<Item = Part> {
        self.parts(|flags| flags.0 & (elf::PF_W.0 | elf::PF_X.0) == 0)
    }

    fn parts(&self, wanted: impl Fn(elf::ProgramFlags) -> bool) -> impl Iterator<Item = Part> {
        let part = |segment: &Segment| Part {
            offset: segment.offset,
            size: segment.file_size,
            address: segment.address,
        };
        self.segments.iter().filter(move |segment| wanted(segment.flags)).map(part)
    }

    /// Bytes of the file; `None` = they are not all there, or are more than a table may have.
    #[must_use]
    pub fn bytes(&self, offset: u64, size: u64) -> Option<&[u8]> {
        (&self.data).read_bytes_at(offset, size).ok()
    }

    /// The libraries that it asks for; none if it asks for no loader.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn libraries(&self) -> Result<Libraries, ObjectError> {
        self.find_libraries().map_err(|source| self.malformed(source))
    }

    fn find_libraries(&self) -> object::read::Result<Libraries> {
        let mut libraries = Libraries::default();
        let mut entries = None;
        for segment in Header::parse(&self.data)?.program_headers(ENDIAN, &self.data)? {
            entries = entries.or(segment.dynamic(ENDIAN, &self.data)?);
        }
        let entries = entries.unwrap_or_default();
        let value = |tag: elf::DynamicTag| {
            entries.iter().find(|entry| entry.d_tag(ENDIAN) == tag).map(|entry| entry.d_val(ENDIAN))
        };
        let Some((start, size)) = value(elf::DT_STRTAB).zip(value(elf::DT_STRSZ)) else {
            return Ok(libraries);
        };
        let Some(offset) = self.offset_of(start) else { return Ok(libraries) };
        let strings = StringTable::new(&self.data, offset, offset.saturating_add(size));
        for entry in entries.iter().take_while(|entry| entry.d_tag(ENDIAN) != elf::DT_NULL) {
            let text = || u32::try_from(entry.d_val(ENDIAN)).ok().and_then(|at| strings.get(at).ok());
            match entry.d_tag(ENDIAN) {
                elf::DT_NEEDED => libraries.needed.extend(text().map(path)),
                elf::DT_RUNPATH | elf::DT_RPATH => {
                    let folders = text().into_iter().flat_map(|text| text.split(|&byte| byte == b':'));
                    libraries.folders.extend(folders.map(path));
                }
                _ => {}
            }
        }
        Ok(libraries)
    }

    /// Which names it kept.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn names(&self) -> Result<Names, ObjectError> {
        let count = |kind| {
            let symbols = self.sections()?.symbols(ENDIAN, &self.data, kind)?;
            Ok(symbols.iter().filter(|symbol| symbol.st_shndx.get(ENDIAN) != elf::SHN_UNDEF).count())
        };
        let names = || Ok(Names { all: count(elf::SHT_SYMTAB)?, exported: count(elf::SHT_DYNSYM)? });
        names().map_err(|source| self.malformed(source))
    }

    /// Where in the file the byte at an address of it lies; `None` = it is not loaded from the file.
    #[must_use]
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        let inside = |segment: &Segment| {
            address.checked_sub(segment.address).filter(|inside| *inside < segment.file_size)
        };
        self.segments.iter().find_map(|segment| inside(segment)?.checked_add(segment.offset))
    }
}

/// Memory as it is when the file has been loaded and nothing has run, addresses as in the file. What is all zeros then, or
/// is filled in by the loader, cannot be read.
impl Memory for Object {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.offset_of(address).and_then(|offset| self.bytes(offset, buffer.len() as u64));
        let bytes = bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn this_program() {
        let object = Object::open(Path::new("/proc/self/exe")).unwrap();
        let libraries = object.libraries().unwrap();
        assert!(libraries.needed.iter().any(|name| name == Path::new("libc.so.6")), "{libraries:?}");
        let names = object.names().unwrap();
        assert!(names.all > 1000, "{names:?}");
        let (constants, data) = (object.constants().count(), object.data().count());
        assert!(constants > 0 && data > 0, "{constants} {data}");
        let first = object.first_address().unwrap();
        let mut magic = [0; 4];
        object.read(first, &mut magic).unwrap();
        assert_eq!(&magic, b"\x7fELF");
        assert!(object.read(u64::MAX - 2, &mut magic).is_err());
    }
}
