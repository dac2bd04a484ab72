//! Memory of another process, or of a recorded one, behind one small trait. Stage 2: knows no structure that lies in it.
//!
//! A read that fails or comes back short is an error: what could not be read is never taken for zeros. Everything read is
//! the target's and may be anything; whoever follows a pointer bounds the steps, whoever reads a length caps it.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;

use nix::sys::sysinfo::sysinfo;

use crate::page::{self, PageSize};

/// Bit of a pagemap entry (<https://docs.kernel.org/admin-guide/mm/pagemap.html>).
const SWAPPED: u64 = 1 << 62;
/// Bytes that [`Memory::c_string`] fetches at a time; divides a page, so that a string's end at the end of a mapping
/// is found without touching what lies behind.
const CHUNK: u64 = 64;

/// Memory that can be read by address.
pub trait Memory {
    /// Fills the whole buffer from `address`, or fails.
    ///
    /// # Errors
    /// When any byte of the range could not be read; the buffer's content is then meaningless.
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// One byte.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn u8(&self, address: u64) -> io::Result<u8> {
        let mut bytes = [0; 1];
        self.read(address, &mut bytes)?;
        Ok(bytes[0])
    }

    /// A 32-bit word.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn u32(&self, address: u64) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// A signed 32-bit word.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn i32(&self, address: u64) -> io::Result<i32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(i32::from_le_bytes(bytes))
    }

    /// A 64-bit word, a pointer among others.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn u64(&self, address: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The bytes of a string up to its terminating zero, which is left out.
    ///
    /// # Errors
    /// As [`Memory::read`], and when there is no zero within `max` bytes.
    fn c_string(&self, address: u64, max: usize) -> io::Result<Vec<u8>> {
        let mut string = Vec::new();
        let mut at = address;
        while string.len() < max {
            let mut chunk = [0; CHUNK as usize];
            // Always less than CHUNK, so it fits.
            let wanted = (CHUNK - at % CHUNK) as usize;
            let chunk = &mut chunk[..wanted.min(max - string.len())];
            if self.read(at, chunk).is_err() {
                // Recorded memory may end with the string.
                for (offset, byte) in (0..).zip(chunk.iter_mut()) {
                    *byte = self.u8(at + offset)?;
                    if *byte == 0 {
                        break;
                    }
                }
            }
            if let Some(end) = chunk.iter().position(|&byte| byte == 0) {
                string.extend_from_slice(&chunk[..end]);
                return Ok(string);
            }
            string.extend_from_slice(chunk);
            at = at.checked_add(chunk.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("no string of at most {max} bytes at {address:#x}"),
        ))
    }
}

/// Memory of a running process, read through `/proc/PID/mem`.
///
/// Not through `process_vm_readv`: that pins the pages, and since Linux 6.0 a page that is still shared since a fork is
/// copied before it is pinned, also for reading. The process would then find its own page already copied, and what it
/// writes later would be no copy any more. `/proc/PID/mem` pins nothing.
/// <https://github.com/torvalds/linux/blob/v6.0/include/linux/mm.h#L3009>
///
/// What is swapped out is not read: to read it brings it back, and the process's own fault would never come.
#[derive(Debug)]
pub struct Live {
    pid: u32,
    /// Opened by the first read; `None` = that failed.
    file: OnceCell<Option<File>>,
    /// Tells what is swapped out; `None` = nothing can be, for the machine has no swap.
    pagemap: OnceCell<Option<File>>,
    /// Its process has let go of it, for good.
    gone: Cell<bool>,
}

impl Live {
    /// The memory of the process with this number at the moment of the first read.
    #[must_use]
    pub const fn new(pid: u32) -> Self {
        Self { pid, file: OnceCell::new(), pagemap: OnceCell::new(), gone: Cell::new(false) }
    }

    fn file(&self) -> io::Result<&File> {
        if self.file.get().is_none() {
            let opened = File::open(format!("/proc/{}/mem", self.pid));
            let file = match opened {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            // Set once only: nobody else has it.
            let _ = self.file.set(file);
        }
        let file = self.file.get().and_then(Option::as_ref);
        file.filter(|_| !self.gone.get()).ok_or_else(gone)
    }

    /// Whether a page of the range is swapped out.
    fn is_swapped(&self, address: u64, len: usize) -> bool {
        let pagemap = self.pagemap.get_or_init(|| {
            let has_swap = sysinfo().is_ok_and(|info| info.swap_total() > 0);
            has_swap.then(|| File::open(format!("/proc/{}/pagemap", self.pid)).ok()).flatten()
        });
        let Some(pagemap) = pagemap else { return false };
        entries(page::here(), address, len).any(|place| {
            let mut entry = [0; 8];
            let read = pagemap.read_exact_at(&mut entry, place);
            read.is_ok() && u64::from_ne_bytes(entry) & SWAPPED != 0
        })
    }
}

/// Where a pagemap has the entries of the pages in a range of at least one byte: 8 bytes for each page.
fn entries(pages: PageSize, address: u64, len: usize) -> impl Iterator<Item = u64> {
    let last = pages.number(address.saturating_add(len.saturating_sub(1) as u64));
    (pages.number(address)..=last).map(|page| page.saturating_mul(8))
}

/// Some memory that was read at once: what lies in it costs no further read.
#[derive(Debug)]
pub struct Window<'a, M: ?Sized> {
    memory: &'a M,
    start: u64,
    bytes: [u8; WINDOW],
    len: usize,
}

/// Bytes of a [`Window`].
const WINDOW: usize = 128;

impl<'a, M: Memory + ?Sized> Window<'a, M> {
    /// Reads what lies around an address, so many bytes before it included. If not all of that is there, nothing is kept.
    pub fn around(memory: &'a M, address: u64, before: u64) -> Self {
        let start = address.saturating_sub(before);
        let mut bytes = [0; WINDOW];
        let len = if memory.read(start, &mut bytes).is_ok() { WINDOW } else { 0 };
        Self { memory, start, bytes, len }
    }
}

impl<M: Memory + ?Sized> Memory for Window<'_, M> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        let at = address.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let kept = at.and_then(|at| self.bytes[..self.len].get(at..)?.get(..buffer.len()));
        match kept {
            Some(kept) => {
                buffer.copy_from_slice(kept);
                Ok(())
            }
            None => self.memory.read(address, buffer),
        }
    }
}

/// Memories of running processes that were opened: to open one takes longer than to read from it.
#[derive(Debug, Default)]
pub struct Memories {
    open: HashMap<u32, Rc<Live>>,
}

/// Memories that are kept open at most.
const MOST_OPEN: usize = 128;

impl Memories {
    /// The memory of the process with this number.
    pub fn of(&mut self, pid: u32) -> Rc<Live> {
        if self.open.len() >= MOST_OPEN && !self.open.contains_key(&pid) {
            self.open.clear();
        }
        Rc::clone(self.open.entry(pid).or_insert_with(|| Rc::new(Live::new(pid))))
    }

    /// The process has begun, ended or executed another program: what was opened is not its memory any more.
    pub fn forget(&mut self, pid: u32) {
        self.open.remove(&pid);
    }
}

/// What is said of a process that has ended.
fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ESRCH)
}

impl Memory for Live {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        let len = buffer.len();
        let file = self.file()?;
        if self.is_swapped(address, len) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "it is swapped out"));
        }
        let read = file.read_at(buffer, address)?;
        if read == len {
            return Ok(());
        }
        // Memory that is not mapped is an error; nothing at all is read once the process has let go of its memory.
        if read == 0 {
            self.gone.set(true);
            return Err(gone());
        }
        let message = format!("read {read} of {len} bytes at {address:#x} of process {}", self.pid);
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, message))
    }
}

/// Recorded memory: pieces, each with its address.
#[derive(Clone, Debug, Default)]
pub struct Fixture {
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Fixture {
    /// Adds a piece. Where pieces overlap, the one added last holds.
    #[must_use]
    pub fn with(mut self, address: u64, bytes: impl Into<Vec<u8>>) -> Self {
        self.pieces.push((address, bytes.into()));
        self
    }

    fn byte(&self, address: u64) -> Option<u8> {
        self.pieces.iter().rev().find_map(|(start, bytes)| {
            let at = usize::try_from(address.checked_sub(*start)?).ok()?;
            bytes.get(at).copied()
        })
    }
}

impl Memory for Fixture {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        for (offset, byte) in buffer.iter_mut().enumerate() {
            let recorded = address.checked_add(offset as u64).and_then(|at| self.byte(at));
            *byte = recorded.ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("not recorded: {address:#x} + {offset}"))
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pagemap has an entry for each page of whichever size.
    #[test]
    fn entries_are_counted_in_the_machines_pages() {
        let found = |bytes, address, len| -> Vec<u64> {
            entries(PageSize::of_bytes(bytes).unwrap(), address, len).collect()
        };
        assert_eq!(found(4096, 0x2_0000, 0x1_0000), (0x20..0x30).map(|page| page * 8).collect::<Vec<_>>());
        assert_eq!(found(16384, 0x2_0000, 0x1_0000), [0x40, 0x48, 0x50, 0x58]);
        assert_eq!(found(65536, 0x2_0000, 0x1_0000), [0x10]);
        assert_eq!(found(65536, 0x2_ffff, 2), [0x10, 0x18]);
        assert_eq!(found(4096, 0x2_ffff, 1), [0x2f * 8]);
    }

    #[test]
    fn live_reads_own_memory_whole_or_not_at_all() {
        let value = Box::new(0x1122_3344_5566_7788_u64);
        let memory = Live::new(std::process::id());
        let address = std::ptr::from_ref(&*value) as u64;
        assert_eq!(memory.u64(address).unwrap(), *value);
        assert_eq!(memory.u32(address).unwrap(), 0x5566_7788);
        assert!(memory.u64(0).is_err());
        assert!(memory.u64(u64::MAX - 3).is_err());
    }

    #[test]
    fn strings_are_bounded() {
        let long = [b'x'; 200];
        let memory = Fixture::default().with(0x1003, *b"name\0rest").with(0x2000, long);
        assert_eq!(memory.c_string(0x1003, 5).unwrap(), b"name");
        assert_eq!(memory.c_string(0x1003, 500).unwrap(), b"name", "nothing is needed behind its end");
        assert!(memory.c_string(0x1003, 4).is_err(), "the zero lies behind the bound");
        assert!(memory.c_string(0x2000, 100).is_err());
        assert!(memory.c_string(0x2000, 1000).is_err(), "memory ends before a zero");
        assert!(memory.c_string(u64::MAX, 10).is_err());
    }

    #[test]
    fn a_window_reads_as_its_memory_does() {
        let memory = Fixture::default().with(0x1000, [7; 200]).with(0x1010, 5_u64.to_le_bytes());
        for before in [0x10, 0x100] {
            let window = Window::around(&memory, 0x1010, before);
            assert_eq!(window.u64(0x1010).unwrap(), 5);
            assert_eq!(window.u8(0x10c7).unwrap(), 7, "behind it");
            assert!(window.u64(0x10c7).is_err());
        }
    }

    #[test]
    fn a_hole_is_an_error() {
        let memory = Fixture::default().with(0x1000, [1, 2, 3, 4]).with(0x1005, [6, 7, 8]);
        assert!(memory.u64(0x1000).is_err());
        assert_eq!(memory.i32(0x1000).unwrap(), 0x0403_0201);
    }
}
