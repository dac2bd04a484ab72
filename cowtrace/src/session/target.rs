//! What a session traces: a command that it starts, or processes that run already.

use std::ffi::OsString;
use std::path::Path;

use procfs::process::Process;

use crate::diag::Notice;
use crate::process::cgroup::Cgroup;
use crate::process::command::{Command, Streams};
use crate::process::existing::{self, Brief};
use crate::process::identity::{self, Account, RunAs};

/// What to trace.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A command.
    Command {
        /// It and its arguments.
        words: &'a [OsString],
        /// Whom it runs as.
        run_as: &'a RunAs,
    },
    /// Processes that run already, until the user ends the trace, its time is over, or, without a control group, the last of
    /// them has ended.
    Attach {
        /// Those with these numbers, with everything below them.
        pids: &'a [u32],
        /// Those in this control group, now and later: see [`Cgroup::find`].
        cgroup: Option<&'a Path>,
    },
}

/// What is known of a target before the output is opened.
pub(super) enum Wanted<'a> {
    /// A command, and whom it runs as.
    Command(&'a [OsString], Option<Account>),
    /// Processes that run already.
    Existing(Existing),
}

/// A target that can be traced.
pub(super) enum Prepared {
    /// A command, ready to be started.
    Command(Command),
    /// Processes that run already.
    Existing(Existing),
}

impl<'a> Wanted<'a> {
    /// # Errors
    /// If there is no such user, process or control group.
    pub(super) fn of(target: &Target<'a>) -> Result<Self, Notice> {
        Ok(match *target {
            Target::Command { words, run_as } => Self::Command(words, identity::resolve(run_as)?),
            Target::Attach { pids, cgroup } => Self::Existing(Existing::find(pids, cgroup)?),
        })
    }

    /// A command gets these streams.
    ///
    /// # Errors
    /// If the command cannot be run.
    pub(super) fn prepare(self, streams: Streams) -> Result<Prepared, Notice> {
        Ok(match self {
            Self::Command(words, account) => Prepared::Command(Command::new(words, account)?.with(streams)),
            Self::Existing(existing) => Prepared::Existing(existing),
        })
    }
}

/// Processes that are to be attached to, looked at before anything is loaded.
#[derive(Clone, Debug)]
pub(super) struct Existing {
    /// The uppermost ones.
    pub(super) pids: Vec<u32>,
    /// The control group.
    pub(super) cgroup: Option<Cgroup>,
    /// All of them by now, with those below.
    pub(super) processes: Vec<Brief>,
}

impl Existing {
    /// Finds them.
    ///
    /// # Errors
    /// With the first that cannot be traced, and why.
    pub(super) fn find(pids: &[u32], cgroup: Option<&Path>) -> Result<Self, Notice> {
        let mut uppermost: Vec<u32> = Vec::new();
        for &pid in pids {
            if !uppermost.contains(&pid) {
                check(pid)?;
                uppermost.push(pid);
            }
        }
        let cgroup = cgroup.map(Cgroup::find).transpose()?;
        let mut existing = Self { pids: uppermost, cgroup, processes: Vec::new() };
        existing.processes = existing.look()?;
        Ok(existing)
    }

    /// All of them at this moment, parents before their children.
    ///
    /// # Errors
    /// If `/proc` cannot be listed.
    pub(super) fn look(&self) -> Result<Vec<Brief>, Notice> {
        let all = existing::all().map_err(|error| Notice::Other(format!("cannot list /proc: {error}")))?;
        let mut roots = self.pids.clone();
        roots.extend(self.cgroup.iter().flat_map(Cgroup::processes));
        let mut found = existing::below(&all, &roots);
        let own = std::process::id();
        found.retain(|brief| brief.pid != own && !brief.kernel && !(brief.zombie && brief.threads <= 1));
        Ok(found)
    }

    /// The command line of the first of them; empty = there is none yet.
    pub(super) fn command(&self) -> Vec<String> {
        let first = self.pids.first().copied().or_else(|| self.processes.first().map(|brief| brief.pid));
        let words = first.map(existing::command).unwrap_or_default();
        words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }
}

/// Whether there is a process with this number that can be traced.
fn check(pid: u32) -> Result<(), Notice> {
    if pid == std::process::id() {
        return Err(Notice::Itself { pid });
    }
    let Some(brief) = Brief::of(pid) else {
        return Err(Notice::NoProcess { pid, elsewhere: elsewhere(pid) });
    };
    let number = i32::try_from(pid).unwrap_or_default();
    let status = Process::new(number).and_then(|process| process.status());
    let process = status.ok().and_then(|status| u32::try_from(status.tgid).ok());
    match process {
        Some(process) if process != pid => Err(Notice::IsThread { pid, process }),
        None => Err(Notice::NoProcess { pid, elsewhere: elsewhere(pid) }),
        Some(_) if brief.kernel => Err(Notice::KernelThread { pid }),
        Some(_) if brief.zombie && brief.threads <= 1 => Err(Notice::Zombie { pid, parent: brief.parent }),
        Some(_) => Ok(()),
    }
}

/// A process that has this number in a PID namespace of its own, as in a container.
fn elsewhere(pid: u32) -> Option<u32> {
    let all = existing::all().ok()?;
    let is_it = |brief: &&Brief| {
        let text = std::fs::read_to_string(format!("/proc/{}/status", brief.pid)).unwrap_or_default();
        let numbers = text.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        let inner = numbers.split_ascii_whitespace().skip(1).last();
        inner.and_then(|number| number.parse().ok()) == Some(pid)
    };
    all.iter().find(is_it).map(|brief| brief.pid)
}
