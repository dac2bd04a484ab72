//! Processes that run already: what `/proc` tells of them.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use cowtrace_ebpf::state::ProcessKey;
use nix::time::{ClockId, clock_gettime};
use procfs::process::{Process, Stat, StatFlags};

use super::container;
use crate::memory::{Live, Memory as _};

/// Arguments of a command line that are kept, and bytes of it.
const ARGUMENTS: usize = 256;
const ARGUMENT_BYTES: usize = 4096;

/// A process as a look at all of them shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// Its number.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// When it was made: ticks since the machine's start. Tells it from a later one with its number.
    pub ticks: u64,
    /// Threads.
    pub threads: u32,
    /// It has ended, and nobody has asked for its status yet.
    pub zombie: bool,
    /// Its first thread has begun to end: the kernel's news of that may have come already.
    pub exiting: bool,
    /// It is the kernel's own.
    pub kernel: bool,
}

/// A process that is to be followed.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its identity.
    pub key: ProcessKey,
    /// The process above it that is followed; zeros = none.
    pub parent: ProcessKey,
    /// Its parent's number, followed or not.
    pub parent_pid: u32,
    /// Generations below the uppermost that is followed.
    pub generation: u32,
    /// Identity of what it runs: the same for processes that were forked without an exec between them.
    pub image: u64,
    /// Its name.
    pub comm: [u8; 16],
    /// The file that it runs; empty = not known.
    pub exe: Vec<u8>,
    /// Its command line.
    pub command: Vec<Vec<u8>>,
    /// The container that it is in.
    pub container: Option<Arc<str>>,
}

/// What one exec has made: the same in every process that was forked since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageIdentity {
    /// Where the kernel laid random bytes (`AT_RANDOM`).
    address: u64,
    /// The bytes: new at each exec, inherited at each fork.
    bytes: [u8; 16],
    /// The file.
    device: u64,
    inode: u64,
}

/// Position of the pointer to random bytes in the auxiliary vector.
const AT_RANDOM: u64 = 25;

impl ImageIdentity {
    /// Reads it; `None` = the process is gone or has no memory.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let vector = fs::read(format!("/proc/{pid}/auxv")).ok()?;
        let (words, _) = vector.as_chunks::<8>();
        let (pairs, _) = words.as_chunks::<2>();
        let pair = pairs.iter().find(|[key, _]| u64::from_ne_bytes(*key) == AT_RANDOM);
        let address = u64::from_ne_bytes(pair?[1]);
        let mut bytes = [0; 16];
        Live::new(pid).read(address, &mut bytes).ok()?;
        let file = fs::metadata(format!("/proc/{pid}/exe")).ok();
        let (device, inode) = file.map_or((0, 0), |file| (file.dev(), file.ino()));
        Some(Self { address, bytes, device, inode })
    }
}

impl Brief {
    /// Looks at one process; `None` = there is none with this number.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = Process::new(i32::try_from(pid).ok()?).and_then(|process| process.stat()).ok()?;
        Self::from_stat(&stat)
    }

    fn from_stat(stat: &Stat) -> Option<Self> {
        let flags = StatFlags::from_bits_truncate(stat.flags);
        Some(Self {
            pid: u32::try_from(stat.pid).ok()?,
            parent: u32::try_from(stat.ppid).unwrap_or(0),
            ticks: stat.starttime,
            threads: u32::try_from(stat.num_threads).unwrap_or(1),
            zombie: matches!(stat.state, 'Z' | 'X'),
            exiting: flags.contains(StatFlags::PF_EXITING),
            kernel: flags.contains(StatFlags::PF_KTHREAD),
        })
    }

    /// Its identity for a trace: about when it was made, by the clock of the kernel program.
    #[must_use]
    pub fn key(&self) -> ProcessKey {
        let nanos = |clock| {
            let time = clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
            u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
        };
        let asleep = nanos(ClockId::CLOCK_BOOTTIME).saturating_sub(nanos(ClockId::CLOCK_MONOTONIC));
        let ticks = procfs::ticks_per_second().max(1);
        let since_boot = u128::from(self.ticks) * 1_000_000_000 / u128::from(ticks);
        let start = u64::try_from(since_boot).unwrap_or(u64::MAX).saturating_sub(asleep);
        ProcessKey { start: start.max(1), pid: self.pid, zero: 0 }
    }
}

/// Looks at all processes.
///
/// # Errors
/// If `/proc` cannot be listed.
pub fn all() -> io::Result<Vec<Brief>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        // One that has ended meanwhile is none.
        found.extend(pid.and_then(Brief::of));
    }
    Ok(found)
}

/// The processes with these numbers and all below them, parents before their children, each once.
#[must_use]
pub fn below(all: &[Brief], roots: &[u32]) -> Vec<Brief> {
    let by_pid: HashMap<u32, &Brief> = all.iter().map(|brief| (brief.pid, brief)).collect();
    let mut children: HashMap<u32, Vec<&Brief>> = HashMap::new();
    for brief in all {
        children.entry(brief.parent).or_default().push(brief);
    }
    // One that is below another comes with it.
    let is_below = |pid: u32| {
        let parents = std::iter::successors(by_pid.get(&pid), |brief| by_pid.get(&brief.parent));
        parents.skip(1).take(all.len()).any(|brief| roots.contains(&brief.pid))
    };
    let mut open: Vec<&Brief> =
        roots.iter().filter(|pid| !is_below(**pid)).filter_map(|pid| by_pid.get(pid).copied()).collect();
    let mut found: Vec<Brief> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut next = 0;
    while let Some(&brief) = open.get(next) {
        next += 1;
        if seen.insert(brief.pid) {
            found.push(brief.clone());
            open.extend(children.get(&brief.pid).into_iter().flatten());
        }
    }
    found
}

/// What a process is, in its own words and the kernel's; what could not be read is empty.
#[derive(Clone, Debug)]
pub struct Description {
    /// Its name.
    pub comm: [u8; 16],
    /// The file that it runs.
    pub exe: Vec<u8>,
    /// Its command line.
    pub command: Vec<Vec<u8>>,
    /// The container that it is in.
    pub container: Option<Arc<str>>,
}

/// Describes a process.
#[must_use]
pub fn describe(pid: u32) -> Description {
    let mut comm = [0; 16];
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    for (to, from) in comm.iter_mut().take(15).zip(name) {
        *to = *from;
    }
    let exe = fs::read_link(format!("/proc/{pid}/exe"))
        .map_or_else(|_| Vec::new(), |path| path.into_os_string().into_vec());
    Description { comm, exe, command: command(pid), container: container::of(pid).map(Arc::from) }
}

/// The command line of a process, as far as it is kept; empty = it is gone, or has none.
#[must_use]
pub fn command(pid: u32) -> Vec<Vec<u8>> {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = text.get(..ARGUMENT_BYTES).unwrap_or(&text);
    let text = text.strip_suffix(&[0]).unwrap_or(text);
    if text.is_empty() {
        return Vec::new();
    }
    text.split(|&byte| byte == 0).take(ARGUMENTS).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brief(pid: u32, parent: u32) -> Brief {
        Brief { pid, parent, ticks: 1, threads: 1, zombie: false, exiting: false, kernel: false }
    }

    /// Parents come first, whoever is asked for twice comes once, and a loop ends.
    #[test]
    fn a_tree_is_found() {
        let all = [brief(9, 7), brief(7, 1), brief(8, 9), brief(5, 1), brief(1, 0)];
        let pids = |roots: &[u32]| below(&all, roots).iter().map(|brief| brief.pid).collect::<Vec<_>>();
        assert_eq!(pids(&[7]), [7, 9, 8]);
        assert_eq!(pids(&[8, 7, 7]), [7, 9, 8]);
        assert_eq!(pids(&[5, 8]), [5, 8]);
        assert_eq!(pids(&[4]), [0; 0]);
        let circle = [brief(2, 3), brief(3, 2)];
        assert_eq!(below(&circle, &[2]).len(), 0, "each is below the other");
    }

    /// What is known of this process, by its own word.
    #[test]
    fn this_process_is_described() {
        let pid = std::process::id();
        let me = all().unwrap().into_iter().find(|brief| brief.pid == pid).unwrap();
        assert!(!me.zombie && !me.exiting && !me.kernel && me.threads >= 1);
        assert_eq!(Brief::of(pid).unwrap().ticks, me.ticks);
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap();
        assert!(u128::from(me.key().start) < now.as_nanos());
        assert!(!command(pid).is_empty() && !describe(pid).exe.is_empty());
        assert_eq!(ImageIdentity::of(pid), ImageIdentity::of(pid));
        assert!(ImageIdentity::of(pid).is_some());
    }
}
