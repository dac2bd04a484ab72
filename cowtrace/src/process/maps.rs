//! A process's mappings: what lies at an address, which file to open for it and which name to show.

pub(super) mod parse;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::page;
use crate::record::schema::Region;

/// Bytes of a maps file that are read at most.
const MAX_BYTES: u64 = 256 << 20;

/// What a mapping is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The `brk` heap.
    Heap,
    /// The first thread's stack.
    Stack,
    /// No file: `mmap`ed memory, other threads' stacks, a library's `.bss`.
    Anonymous,
    /// A file; its path is [`Mapping::path`].
    File,
    /// Anything else, by the kernel's name for it, e.g. `[vdso]`.
    Special(String),
}

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// Address after the last.
    pub end: u64,
    /// Offset of `start` in the file.
    pub offset: u64,
    /// May be read.
    pub readable: bool,
    /// May be written.
    pub writable: bool,
    /// May be executed.
    pub executable: bool,
    /// Writes go to the file or to other processes.
    pub shared: bool,
    /// Major and minor number of the file's device.
    pub device: (u32, u32),
    /// Inode of the file; 0 = no file.
    pub inode: u64,
    /// What it is.
    pub kind: Kind,
    /// Path of the file as the process sees it, to be shown; for opening see [`Mapping::path_to_open`].
    pub path: Option<PathBuf>,
    /// The file has no name any more.
    pub deleted: bool,
}

impl Mapping {
    /// The path under which this process, in its own mount namespace, can open the file; `None` = there is no file.
    ///
    /// It may name something else by now, a FIFO among others: open it by [`super::object::open`].
    #[must_use]
    pub fn path_to_open(&self, pid: u32) -> Option<PathBuf> {
        if self.kind != Kind::File {
            return None;
        }
        match &self.path {
            Some(path) if !self.deleted && path.is_absolute() => {
                let mut whole = OsString::from(format!("/proc/{pid}/root"));
                whole.push(path.as_os_str());
                Some(whole.into())
            }
            _ => Some(format!("/proc/{pid}/map_files/{:x}-{:x}", self.start, self.end).into()),
        }
    }

    /// The path as text, with replacement characters where it is not UTF-8.
    #[must_use]
    pub fn path_to_show(&self) -> Option<String> {
        self.path.as_deref().map(|path| path.to_string_lossy().into_owned())
    }

    /// Last component of the path.
    #[must_use]
    pub fn file_name(&self) -> Option<&[u8]> {
        self.path.as_deref().and_then(Path::file_name).map(OsStrExt::as_bytes)
    }

    /// Where an address of this mapping lies in the file.
    #[must_use]
    pub const fn file_offset(&self, address: u64) -> u64 {
        self.offset.wrapping_add(address.wrapping_sub(self.start))
    }

    /// The region for the record of a fault at this address.
    #[must_use]
    pub fn region(&self, address: u64) -> Region {
        let (kind, path, offset) = match &self.kind {
            Kind::Heap => ("heap", None, None),
            Kind::Stack => ("stack", None, None),
            Kind::Anonymous => ("anonymous", None, None),
            Kind::Special(name) => ("special", Some(name.clone()), None),
            Kind::File => ("file", self.path_to_show(), Some(self.file_offset(page::here().start(address)))),
        };
        Region { kind, path, offset }
    }
}

/// The mappings of a process at one moment, sorted by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maps {
    mappings: Vec<Mapping>,
}

impl Maps {
    /// The mappings of a running process.
    ///
    /// # Errors
    /// When the process is gone or may not be looked at, or the kernel's text is not understood.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let read = File::open(format!("/proc/{pid}/maps"))?.take(MAX_BYTES).read_to_end(&mut bytes)?;
        if read as u64 == MAX_BYTES {
            return Err(invalid(format!("the maps of process {pid} are longer than {MAX_BYTES} bytes")));
        }
        Self::parse(&bytes)
    }

    /// The mappings in the text of a maps file.
    ///
    /// # Errors
    /// When a line is not understood.
    pub fn parse(bytes: &[u8]) -> io::Result<Self> {
        let mut mappings = Vec::new();
        for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let mapping = parse::line(line).ok_or_else(|| {
                invalid(format!("not a line of a maps file: {:?}", String::from_utf8_lossy(line)))
            })?;
            mappings.push(mapping);
        }
        Ok(Self::from_mappings(mappings))
    }

    /// Mappings that do not overlap.
    #[must_use]
    pub fn from_mappings(mut mappings: Vec<Mapping>) -> Self {
        // The kernel sorts them, but a text read in pieces may repeat a mapping that changed in between.
        mappings.sort_by_key(|mapping| mapping.start);
        Self { mappings }
    }

    /// Calls the memory without a file where the `brk` heap begins what it is. The kernel's news of the first `brk` come before
    /// it counts as the heap: <https://github.com/torvalds/linux/blob/v6.18/mm/mmap.c>, `brk`.
    pub fn name_heap(&mut self, start: u64) {
        let Some(page) = start.checked_next_multiple_of(page::here().bytes()).filter(|&page| page != 0)
        else {
            return;
        };
        let begins = |mapping: &&mut Mapping| (mapping.start..mapping.end).contains(&page);
        if let Some(mapping) = self.mappings.iter_mut().find(begins).filter(|m| m.kind == Kind::Anonymous) {
            mapping.kind = Kind::Heap;
        }
    }

    /// Names files as other mappings name the same ones.
    pub fn name_as(&mut self, others: &Self) {
        let files = |mapping: &&Mapping| mapping.kind == Kind::File;
        let names: HashMap<_, _> =
            others.iter().filter(files).map(|mapping| ((mapping.device, mapping.inode), mapping)).collect();
        for mapping in self.mappings.iter_mut().filter(|mapping| mapping.kind == Kind::File) {
            if let Some(same) = names.get(&(mapping.device, mapping.inode)) {
                mapping.path.clone_from(&same.path);
                mapping.deleted = same.deleted;
            }
        }
    }

    /// The mapping that holds an address.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<&Mapping> {
        let after = self.mappings.partition_point(|mapping| mapping.start <= address);
        self.mappings[..after].last().filter(|mapping| address < mapping.end)
    }

    /// The region that holds an address; kind `unknown` if there is none.
    #[must_use]
    pub fn region(&self, address: u64) -> Region {
        self.find(address)
            .map_or(Region { kind: "unknown", path: None, offset: None }, |found| found.region(address))
    }

    /// All mappings, lowest address first.
    pub fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter()
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
