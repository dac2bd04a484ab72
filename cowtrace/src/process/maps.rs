//! A process's mappings: what lies at an address, which file to open for it and which name to show.
//!
//! Own parser over bytes, because paths need not be UTF-8. The kernel's format is ambiguous in two places: a newline in a
//! path is written `\012`, a backslash as itself; and ` (deleted)` may be part of a name. Both are read the common way.
//! <https://github.com/torvalds/linux/blob/v6.12/fs/proc/task_mmu.c#L245>

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::record::schema::Region;

/// Size of a page.
pub const PAGE: u64 = 4096;
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
            Kind::File => ("file", self.path_to_show(), Some(self.file_offset(address & !(PAGE - 1)))),
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
            let mapping = parse_line(line).ok_or_else(|| {
                invalid(format!("not a line of a maps file: {:?}", String::from_utf8_lossy(line)))
            })?;
            mappings.push(mapping);
        }
        // The kernel sorts them, but a text read in pieces may repeat a mapping that changed in between.
        mappings.sort_by_key(|mapping: &Mapping| mapping.start);
        Ok(Self { mappings })
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

/// `start-end perms offset major:minor inode    name`
fn parse_line(line: &[u8]) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        let (field, tail) = rest.split_at(end);
        rest = tail.get(1..).unwrap_or_default();
        std::str::from_utf8(field).ok()
    };
    let (start, end) = field()?.split_once('-')?;
    let (start, end) = (hex(start)?, hex(end)?);
    let permissions = field()?.as_bytes();
    let &[read, write, execute, share] = permissions else { return None };
    let offset = hex(field()?)?;
    let (major, minor) = field()?.split_once(':')?;
    let device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let inode = field()?.parse().ok()?;
    let name = rest.trim_ascii_start();
    let shared = share == b's';
    let (kind, path, deleted) = classify(name, inode, shared);
    (start < end).then_some(Mapping {
        start,
        end,
        offset,
        readable: read == b'r',
        writable: write == b'w',
        executable: execute == b'x',
        shared,
        device,
        inode,
        kind,
        path,
        deleted,
    })
}

fn hex(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

fn classify(name: &[u8], inode: u64, shared: bool) -> (Kind, Option<PathBuf>, bool) {
    match name {
        b"" => (Kind::Anonymous, None, false),
        b"[heap]" => (Kind::Heap, None, false),
        b"[stack]" => (Kind::Stack, None, false),
        // How the kernel names shared memory without a file.
        b"/dev/zero (deleted)" if shared => (Kind::Anonymous, None, false),
        // Named by prctl(PR_SET_VMA_ANON_NAME).
        [b'[', b'a', b'n', b'o', b'n', b':' | b'_', ..] if inode == 0 || shared => {
            (Kind::Anonymous, None, false)
        }
        _ if name.starts_with(b"/") || (inode != 0 && !name.starts_with(b"anon_inode:")) => {
            let deleted = name.strip_suffix(b" (deleted)");
            let path = OsString::from_vec(unescape(deleted.unwrap_or(name)));
            (Kind::File, Some(path.into()), deleted.is_some())
        }
        _ => (Kind::Special(String::from_utf8_lossy(name).into_owned()), None, false),
    }
}

fn unescape(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(br"\012") {
            plain.push(b'\n');
            rest = tail;
        } else {
            plain.push(first);
            rest = tail;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\
00400000-0041f000 r--p 00000000 fe:01 131 /usr/bin/python3.11\n\
0041f000-006d2000 r-xp 0001f000 fe:01 131                        /usr/bin/python3.11\n\
0b3f6000-0b4d1000 rw-p 00000000 00:00 0                          [heap]\n\
7f0000000000-7f0000001000 rw-p 00002000 fe:01 77 /tmp/new\\012line\xff (deleted)\n\
7f0000001000-7f0000002000 rw-s 00000000 00:01 99 /dev/zero (deleted)\n\
7f0000002000-7f0000003000 rw-p 00000000 00:00 0 \n\
7f0000003000-7f0000004000 rw-p 00000000 00:00 0 [anon:glibc: malloc]\n\
7f0000005000-7f0000006000 rw-s 00000000 00:0e 12 anon_inode:[perf_event]\n\
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n\
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

    #[test]
    fn kinds_and_paths() {
        let maps = Maps::parse(TEXT).unwrap();
        let kinds: Vec<_> = maps.iter().map(|mapping| mapping.kind.clone()).collect();
        let special = |name: &str| Kind::Special(name.into());
        let (a, f) = (Kind::Anonymous, Kind::File);
        let perf = special("anon_inode:[perf_event]");
        let expected = [
            f.clone(),
            f.clone(),
            Kind::Heap,
            f,
            a.clone(),
            a.clone(),
            a,
            perf,
            Kind::Stack,
            special("[vsyscall]"),
        ];
        assert_eq!(kinds, expected);

        let text = maps.find(0x0042_0000).unwrap();
        assert!(text.executable && text.readable && !text.writable && !text.shared);
        assert_eq!(text.device, (0xfe, 1));
        assert_eq!(text.file_name(), Some(&b"python3.11"[..]));
        assert_eq!(text.path_to_open(7), Some("/proc/7/root/usr/bin/python3.11".into()));

        let odd = maps.find(0x7f00_0000_0fff).unwrap();
        assert!(odd.deleted);
        assert_eq!(odd.path.as_ref().unwrap().as_os_str().as_bytes(), b"/tmp/new\nline\xff");
        assert_eq!(odd.path_to_open(7), Some("/proc/7/map_files/7f0000000000-7f0000001000".into()));
        assert_eq!(odd.path_to_show().unwrap(), "/tmp/new\nline\u{fffd}");
    }

    #[test]
    fn regions() {
        let maps = Maps::parse(TEXT).unwrap();
        let region = maps.region(0x0042_0123);
        assert_eq!((region.kind, region.offset), ("file", Some(0x2_0000)));
        assert_eq!(maps.region(0x0b3f_6000).kind, "heap");
        assert_eq!(maps.region(0x7f00_0000_4000).kind, "unknown", "a gap");
        assert_eq!(maps.region(0).kind, "unknown");
        assert_eq!(maps.region(u64::MAX).kind, "unknown");
    }

    #[test]
    fn own_maps_hold_own_code() {
        let maps = Maps::of(std::process::id()).unwrap();
        let here = own_maps_hold_own_code as *const () as u64;
        let mapping = maps.find(here).unwrap();
        assert!(mapping.executable && mapping.kind == Kind::File);
        assert!(mapping.path_to_open(std::process::id()).unwrap().exists());
    }

    #[test]
    fn garbage_is_an_error() {
        for line in [&b"x"[..], b"1-2", b"2-1 r--p 0 0:0 0 ", b"1-2 r--p 0 0:0 x ", b"1-2 r-p 0 0:0 0 \xff"] {
            assert!(Maps::parse(line).is_err(), "{line:?}");
        }
    }
}
