//! What the command writes while the terminal is taken over. It goes to a file in memory, so that the command never waits
//! and never fails; of what is old the memory is given back.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// So much of the output is kept at least, of much more the rest is given up.
pub const KEPT: u64 = 64 << 10;
/// Memory is given back in pieces of this size.
const PIECE: u64 = 1 << 20;

/// The output of a command.
#[derive(Debug)]
pub struct Capture {
    file: File,
    /// Bytes from the start that were poured out or given up.
    done: AtomicU64,
    /// Bytes from the start whose memory was given back.
    freed: AtomicU64,
}

impl Capture {
    /// Nothing yet.
    ///
    /// # Errors
    /// If there can be no file in memory.
    pub fn new() -> io::Result<Self> {
        let file = File::from(memfd_create(c"output", MFdFlags::MFD_CLOEXEC)?);
        Ok(Self { file, done: AtomicU64::new(0), freed: AtomicU64::new(0) })
    }

    /// What the command is to write to.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Bytes that the command has written.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Whether it has written nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last bytes, at most so many.
    #[must_use]
    pub fn tail(&self, most: u64) -> Vec<u8> {
        let len = self.len();
        self.read(len.saturating_sub(most), len)
    }

    /// The last lines as text, at most so many, each without its end.
    #[must_use]
    pub fn lines(&self, most: usize) -> Vec<String> {
        let tail = self.tail(KEPT.min(most as u64 * 1024));
        let text = String::from_utf8_lossy(&tail);
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(most)).map(|line| (*line).to_owned()).collect()
    }

    fn read(&self, from: u64, to: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or_default()];
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, from + read as u64) {
                Ok(more @ 1..) => read += more,
                // The command has made its output shorter.
                Ok(0) | Err(_) => break,
            }
        }
        bytes.truncate(read);
        bytes
    }

    /// Gives the memory of what is old back.
    pub fn tidy(&self) {
        let freed = self.freed.load(Ordering::Relaxed);
        let old = self.len().saturating_sub(KEPT) / PIECE * PIECE;
        if old <= freed {
            return;
        }
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let (start, length) = (i64::try_from(freed), i64::try_from(old - freed));
        let (Ok(start), Ok(length)) = (start, length) else { return };
        match fallocate(&self.file, flags, start, length) {
            Ok(()) => self.freed.store(old, Ordering::Relaxed),
            Err(error) => log::info!("output: {error}"),
        }
    }

    /// Writes what has come since the last time to `out`; of much only the end. Returns how many bytes were left out.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn pour(&self, out: &mut dyn Write) -> io::Result<u64> {
        let (done, len) = (self.done.load(Ordering::Relaxed), self.len());
        let from = done.max(len.saturating_sub(KEPT));
        let bytes = self.read(from, len);
        self.done.store(from + bytes.len() as u64, Ordering::Relaxed);
        out.write_all(&bytes)?;
        out.flush()?;
        Ok(from - done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written comes out once, in order; of much only the end, and it is told how much is missing.
    #[test]
    fn output_comes_out_once() {
        let capture = Capture::new().unwrap();
        let mut command = capture.file.try_clone().unwrap();
        assert!(capture.is_empty() && capture.lines(3).is_empty());
        command.write_all(b"one\ntwo\nthree").unwrap();
        assert_eq!(capture.lines(2), ["two", "three"]);
        let mut out = Vec::new();
        assert_eq!(capture.pour(&mut out).unwrap(), 0);
        command.write_all(b"\nfour\n").unwrap();
        assert_eq!(capture.pour(&mut out).unwrap(), 0);
        assert_eq!(out, b"one\ntwo\nthree\nfour\n");
        let before = capture.len();
        for number in 0..400_000 {
            writeln!(command, "{number}").unwrap();
        }
        let mut out = Vec::new();
        let gone = capture.pour(&mut out).unwrap();
        assert_eq!(gone + out.len() as u64, capture.len() - before);
        assert!(out.len() as u64 == KEPT && out.ends_with(b"399999\n"));
    }

    /// The memory of what is old is given back; the end can still be read.
    #[test]
    fn memory_is_bounded() {
        use std::os::unix::fs::MetadataExt;
        let capture = Capture::new().unwrap();
        let mut command = capture.file.try_clone().unwrap();
        for _ in 0..64 {
            command.write_all(&[b'x'; 1 << 20]).unwrap();
            capture.tidy();
            let held = capture.file.metadata().unwrap().blocks() * 512;
            assert!(held <= PIECE + KEPT + (1 << 20), "{held}");
        }
        assert_eq!(capture.tail(3), b"xxx");
        assert_eq!(capture.len(), 64 << 20);
    }
}
