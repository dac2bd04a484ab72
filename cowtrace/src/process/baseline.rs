//! The private memory of a process that runs already: what of it another process still has too, and what is its own.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};

use super::maps::{Kind, Mapping, Maps};

/// Bytes of a file of mappings that are read at most.
const MAX_BYTES: u64 = 1 << 30;

/// Anonymous memory of a process at one moment, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// In memory, and mapped by another process too: a write copies it.
    pub shared: u64,
    /// Its own, in memory or swapped out.
    pub own: u64,
}

/// What the kernel tells of one mapping, in KiB.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    shared_clean: u64,
    shared_dirty: u64,
    anonymous: u64,
    swap: u64,
}

impl Baseline {
    /// Reads it of a running process. The process goes on; what it writes meanwhile may be in it or not.
    ///
    /// # Errors
    /// When the process is gone or may not be looked at.
    pub fn of(pid: u32) -> io::Result<Self> {
        let file = File::open(format!("/proc/{pid}/smaps"))?.take(MAX_BYTES);
        let mut baseline = Self::default();
        let mut mapping: Option<Mapping> = None;
        let mut counts = Counts::default();
        for line in BufReader::new(file).split(b'\n') {
            let line = line?;
            // Names of counters begin with a capital, addresses do not.
            if !line.first().is_some_and(u8::is_ascii_uppercase) {
                baseline.add(mapping.as_ref(), counts);
                counts = Counts::default();
                mapping = Maps::parse(&line).ok().and_then(|maps| maps.iter().next().cloned());
                continue;
            }
            counts.line(&line);
        }
        baseline.add(mapping.as_ref(), counts);
        Ok(baseline)
    }

    /// Adds a mapping.
    fn add(&mut self, mapping: Option<&Mapping>, counts: Counts) {
        let Some(mapping) = mapping.filter(|mapping| !mapping.shared) else { return };
        let Counts { shared_clean, shared_dirty, anonymous, swap } = counts;
        let shared = match mapping.kind {
            // What the page cache has of the file counts as shared or own too; what a process wrote is dirty.
            Kind::File => shared_dirty,
            Kind::Heap | Kind::Stack | Kind::Anonymous | Kind::Special(_) => shared_clean + shared_dirty,
        };
        let shared = shared.min(anonymous);
        self.shared += shared * 1024;
        self.own += (anonymous - shared + swap) * 1024;
    }
}

impl Counts {
    /// Takes a line as in `Shared_Dirty:       12 kB`.
    fn line(&mut self, line: &[u8]) {
        let Ok(line) = std::str::from_utf8(line) else { return };
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(number)) = (words.next(), words.next()) else { return };
        let counter = match name {
            "Shared_Clean:" => &mut self.shared_clean,
            "Shared_Dirty:" => &mut self.shared_dirty,
            "Anonymous:" => &mut self.anonymous,
            "Swap:" => &mut self.swap,
            _ => return,
        };
        // More than memory can hold is no number of the kernel's.
        *counter = number.parse().unwrap_or(0).min(1 << 50);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mapping's counts come to what another process has and what it has not.
    #[test]
    fn what_is_shared_and_what_is_own() {
        let mapping = |text: &[u8]| Maps::parse(text).unwrap().iter().next().cloned();
        let mut counts = Counts::default();
        for line in ["Shared_Clean: 4 kB", "Shared_Dirty: 16 kB", "Anonymous: 32 kB", "Swap: 8 kB", "odd"] {
            counts.line(line.as_bytes());
        }
        let of = |text: &[u8]| {
            let mut baseline = Baseline::default();
            baseline.add(mapping(text).as_ref(), counts);
            (baseline.shared / 1024, baseline.own / 1024)
        };
        assert_eq!(of(b"7f00000000-7f00100000 rw-p 00000000 00:00 0 "), (20, 20));
        assert_eq!(of(b"7f00000000-7f00100000 rw-p 00000000 08:01 7 /usr/lib/x.so"), (16, 24));
        assert_eq!(of(b"7f00000000-7f00100000 rw-s 00000000 00:01 7 /dev/zero (deleted)"), (0, 0));
    }

    /// This process has memory of its own and shares none of it, for it has no child.
    #[test]
    fn of_a_running_process() {
        let own = vec![1_u8; 8 << 20];
        let baseline = Baseline::of(std::process::id()).unwrap();
        assert!(baseline.own >= own.len() as u64, "{baseline:?}");
        assert!(Baseline::of(u32::MAX).is_err());
    }
}
