//! Names of code that a program compiled while it ran, from the list that it writes for `perf`: `/tmp/perf-PID.map`.
//! <https://github.com/torvalds/linux/blob/v6.18/tools/perf/Documentation/jit-interface.txt>
//!
//! Everybody may write to `/tmp`: only a list that belongs to the process's user or to root counts.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::elf::clean;

/// Bytes of a list that are read.
const MOST_BYTES: u64 = 128 << 20;
/// Functions that are kept.
const MOST_FUNCTIONS: usize = 2 << 20;
/// Functions that are looked at for one address: those that begin closest before it.
const MOST_LOOKED_AT: usize = 1 << 14;
/// A list that grows is read again after this time, and longer the longer that took.
const AGAIN: Duration = Duration::from_millis(500);
/// Part of the time that is spent on reading.
const SHARE: u32 = 20;

/// The list of one process.
#[derive(Debug)]
pub(super) struct PerfMap {
    path: PathBuf,
    owner: u32,
    read: Option<List>,
}

/// A list as it was read.
#[derive(Debug)]
struct List {
    /// Modification time, nanoseconds, and length.
    stamp: (i64, i64, u64),
    at: Instant,
    took: Duration,
    /// In the order of their starts; of those that start at the same address the last one of the file is last.
    functions: Vec<Function>,
    /// Longest function: no further back than this one may begin that holds an address.
    longest: u64,
    /// It was another one when it was read first.
    changed: bool,
}

#[derive(Debug)]
struct Function {
    start: u64,
    size: u64,
    /// Line of the file.
    line: u32,
    name: Box<str>,
}

impl PerfMap {
    /// That of a living process; `None` = it is gone.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        // The innermost namespace is the one in which the process knows itself.
        let own: u32 = line("NSpid:")?.split_ascii_whitespace().next_back()?.parse().ok()?;
        let owner = line("Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok()?;
        let path = format!("/proc/{pid}/root/tmp/perf-{own}.map").into();
        Some(Self { path, owner, read: None })
    }

    /// The function at an address, and whether another one may have been there.
    pub(super) fn find(&mut self, address: u64) -> Option<(String, bool)> {
        self.refresh();
        self.read.as_ref()?.find(address)
    }

    /// Reads the list, or reads it again if it has changed.
    fn refresh(&mut self) {
        let waits = |list: &List| list.at.elapsed() < AGAIN.max(list.took * SHARE);
        if self.read.as_ref().is_some_and(waits) {
            return;
        }
        let begin = Instant::now();
        let Some((file, stamp)) = open(&self.path, self.owner) else { return };
        if let Some(list) = self.read.as_mut().filter(|list| list.stamp == stamp) {
            list.at = begin;
            return;
        }
        let mut bytes = Vec::new();
        if file.take(MOST_BYTES).read_to_end(&mut bytes).is_err() {
            return;
        }
        let (functions, longest) = parse(&bytes);
        let changed = self.read.is_some();
        let at = Instant::now();
        self.read = Some(List { stamp, at, took: at - begin, functions, longest, changed });
    }
}

impl List {
    /// See [`PerfMap::find`].
    fn find(&self, address: u64) -> Option<(String, bool)> {
        let after = self.functions.partition_point(|function| function.start <= address);
        let near = self.functions[..after].iter().rev().take(MOST_LOOKED_AT);
        let near = near.take_while(|function| address - function.start < self.longest);
        let mut found: Option<&Function> = None;
        let mut several = false;
        for function in near.filter(|function| address - function.start < function.size) {
            several |= found.is_some_and(|other| other.name != function.name);
            found = found.filter(|other| other.line > function.line).or(Some(function));
        }
        found.map(|function| (function.name.to_string(), several || self.changed))
    }
}

fn open(path: &Path, owner: u32) -> Option<(File, (i64, i64, u64))> {
    // Opening a FIFO would wait, and a link could lead to a file of somebody else's.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let counts = metadata.is_file() && [owner, 0].contains(&metadata.uid());
    counts.then(|| (file, (metadata.mtime(), metadata.mtime_nsec(), metadata.len())))
}

/// The functions of a list, and how long the longest is; lines that make no sense are left out.
fn parse(bytes: &[u8]) -> (Vec<Function>, u64) {
    let lines = bytes.split(|&byte| byte == b'\n').zip(0..);
    let function = |(bytes, line): (&[u8], u32)| {
        let mut parts = bytes.splitn(3, |&byte| byte == b' ');
        let (start, size) = (hexadecimal(parts.next()?)?, hexadecimal(parts.next()?)?);
        let name = clean(&String::from_utf8_lossy(parts.next()?));
        let sound = size > 0 && start.checked_add(size).is_some() && !name.is_empty();
        sound.then(|| Function { start, size, line, name: name.into() })
    };
    let mut functions: Vec<_> = lines.filter_map(function).take(MOST_FUNCTIONS).collect();
    functions.sort_by_key(|function| (function.start, function.line));
    let longest = functions.iter().map(|function| function.size).max().unwrap_or_default();
    (functions, longest)
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(digits).ok()?;
    u64::from_str_radix(digits.strip_prefix("0x").unwrap_or(digits), 16).ok()
}

/// Any bytes as a list: each function that is found is one of its lines, and the one that was written last.
#[cfg(any(test, fuzzing))]
pub(super) fn check(bytes: &[u8]) {
    let (functions, longest) = parse(bytes);
    assert!(functions.len() <= bytes.split(|&byte| byte == b'\n').count());
    assert!(functions.is_sorted_by_key(|function| (function.start, function.line)));
    let at = Instant::now();
    let list = List { stamp: (0, 0, 0), at, took: Duration::ZERO, functions, longest, changed: false };
    // Some of them, for each is looked for among all.
    for Function { start, size, .. } in list.functions.iter().step_by(1 + list.functions.len() / 16) {
        assert!(*size > 0 && *size <= longest);
        for address in [*start, start + size / 2, start + (size - 1)] {
            let holds = |function: &&Function| {
                address.checked_sub(function.start).is_some_and(|inside| inside < function.size)
            };
            let last = list.functions.iter().filter(holds).max_by_key(|function| function.line);
            let (name, _) = list.find(address).expect("the address of a function");
            assert_eq!(Some(name.as_str()), last.map(|function| &*function.name));
            assert!(!name.contains(char::is_control));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn list(name: &str, content: &[u8]) -> PerfMap {
        let path = std::env::temp_dir().join(format!("cowtrace-{name}-{}.map", std::process::id()));
        fs::write(&path, content).unwrap();
        let owner = fs::metadata(&path).unwrap().uid();
        PerfMap { path, owner, read: None }
    }

    /// Names with spaces and escapes, lines that make no sense, code that took the place of other code.
    #[test]
    fn lines() {
        let text = b"1000 20 first\n0x1020 10 a (b) c\nfoo\n1 2\n 3\nffffffffffffffff 2 beyond\n\
            2000 0 empty\n3000 10 \x1b[31mred\xff\n1000 10 second\n4000 10 \n";
        let mut map = list("lines", text);
        assert_eq!(map.find(0x1000), Some(("second".to_owned(), true)));
        assert_eq!(map.find(0x101f), Some(("first".to_owned(), false)));
        assert_eq!(map.find(0x1020), Some(("a (b) c".to_owned(), false)));
        assert_eq!(map.find(0x3008), Some(("\u{fffd}[31mred\u{fffd}".to_owned(), false)));
        for nothing in [0, 0xfff, 0x1030, 0x2000, 0x4000, u64::MAX] {
            assert_eq!(map.find(nothing), None, "{nothing:#x}");
        }
        fs::remove_file(&map.path).unwrap();
    }

    /// A list that has changed is read again, and what it says may not be what was there.
    #[test]
    fn a_list_that_changes() {
        let mut map = list("changes", b"1000 20 first\n");
        assert_eq!(map.find(0x1010), Some(("first".to_owned(), false)));
        fs::write(&map.path, b"1000 20 first\n1010 10 other\n").unwrap();
        assert_eq!(map.find(0x1010), Some(("first".to_owned(), false)), "not yet");
        map.read.as_mut().unwrap().at -= Duration::from_secs(60);
        assert_eq!(map.find(0x1010), Some(("other".to_owned(), true)));
        fs::remove_file(&map.path).unwrap();
        assert_eq!(map.find(0x1010), Some(("other".to_owned(), true)), "it is remembered");
    }

    /// A list of a million functions, each of which is found.
    #[test]
    fn a_long_list() {
        let text: String = (0..1_000_000_u64).map(|at| format!("{:x} 10 f{at}\n", at * 16)).collect();
        let mut map = list("long", text.as_bytes());
        let begin = Instant::now();
        for at in (0..1_000_000_u64).step_by(9999) {
            assert_eq!(map.find(at * 16 + 3), Some((format!("f{at}"), false)));
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        fs::remove_file(&map.path).unwrap();
    }

    /// Nobody is waited for, and nobody else is believed.
    #[test]
    fn not_a_list() {
        let mut map = list("not", b"1000 20 first\n");
        map.owner = u32::MAX;
        let mine = nix::unistd::geteuid();
        if !mine.is_root() {
            assert_eq!(map.find(0x1000), None, "somebody else's");
        }
        let target = map.path.with_extension("target");
        fs::rename(&map.path, &target).unwrap();
        std::os::unix::fs::symlink(&target, &map.path).unwrap();
        assert_eq!(map.find(0x1000), None, "a link");
        fs::remove_file(&map.path).unwrap();
        nix::unistd::mkfifo(&map.path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(map.find(0x1000), None, "a FIFO");
        fs::remove_file(&map.path).unwrap();
        fs::remove_file(&target).unwrap();
    }
}
