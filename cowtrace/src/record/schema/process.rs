//! Processes of a trace, and what the kernel counted of each.

use serde::{Deserialize, Serialize};

/// One process of the tree.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Who forked it; for the command itself cowtrace.
    pub ppid: u32,
    /// Index of the parent in [`Trace::processes`](super::Trace::processes); `None` for the command itself.
    pub parent: Option<usize>,
    /// 0 for the command itself, +1 for each fork.
    pub generation: u32,
    /// When it was forked; 0 for one that was there before the trace.
    pub start: u64,
    /// When its last thread exited; `None` = it was running when the trace ended.
    pub end: Option<u64>,
    /// When it began to run another program, by exec; 0 = before the trace, after its parent had forked it.
    pub execs: Vec<u64>,
    /// Last name.
    pub comm: String,
    /// File it runs; `None` = not found out.
    pub exe: Option<String>,
    /// Command line of what it runs.
    pub command: Vec<String>,
    /// Private memory at the moment it was forked; 0 for one that began by sharing all of its parent's memory (vfork).
    ///
    /// With [`Process::attached`] a baseline from `/proc/PID/smaps`, read right after the process began to be followed:
    /// the anonymous memory that it still shared with another process then, in memory. That is `Shared_Clean` and
    /// `Shared_Dirty` of every private mapping without a file, and of private mappings of files as much of `Shared_Dirty`
    /// as `Anonymous` allows. What was swapped out is not in it: who shares that is not told. 0 also if it could not be
    /// read: then [`Process::private_bytes`] is `None`.
    pub inherited_bytes: u64,
    /// It was there before the trace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attached: bool,
    /// With `attached`: anonymous memory that was its own when [`Process::inherited_bytes`] was read, in memory or swapped
    /// out. Which writes had made it its own nobody saw. `None` = not read, or it was forked while traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_bytes: Option<u64>,
    /// The container that it was in when the trace, or the process, began: the runtime's id of it (64 hexadecimal digits for
    /// Docker, Podman, containerd and CRI-O), or the name that LXC or systemd-nspawn gave it; by its cgroup. `None` = none
    /// that its cgroup names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// It began in its parent's own memory, of which no page is copied for that (vfork, `posix_spawn`); not in recordings made
    /// before this was told.
    #[serde(default)]
    pub borrows: bool,
    /// Exit status, 128+n for a signal; `None` = not ended.
    pub exit_status: Option<i32>,
    /// Totals of this process.
    pub totals: ProcessTotals,
}

impl Process {
    /// The process (index into [`Trace::processes`](super::Trace::processes)) that forked it and shared pages with it from then
    /// on; `None` = nobody did, or it borrowed all of its parent's memory. What it inherited says less: the kernel's counter
    /// lags.
    #[must_use]
    pub fn forked_from(&self) -> Option<usize> {
        self.parent.filter(|_| !self.borrows)
    }
}

/// Totals of one process, counted in the kernel.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct ProcessTotals {
    /// Faults by outcome, every outcome present.
    pub outcomes: Vec<(Outcome, OutcomeTotal)>,
    /// Bytes of `copy`.
    pub copied_bytes: u64,
    /// Bytes of `file_copy`.
    pub file_copied_bytes: u64,
}

impl ProcessTotals {
    /// Faults with this outcome.
    #[must_use]
    pub fn faults(&self, outcome: Outcome) -> u64 {
        self.of(outcome).faults
    }

    /// The total of this outcome; all 0 if the kernel counted none.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> OutcomeTotal {
        self.outcomes.iter().find(|(o, _)| *o == outcome).map_or_else(OutcomeTotal::default, |(_, t)| *t)
    }
}

/// Faults with one outcome. `faults = listed + unlisted + lost`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct OutcomeTotal {
    /// All.
    pub faults: u64,
    /// Not listed: before the first fork, or an outcome that was not asked for.
    pub unlisted: u64,
    /// Details lost.
    pub lost: u64,
}

/// What the kernel did about a fault.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are explained where they are decided, in the kernel half")]
pub enum Outcome {
    Copy,
    FileCopy,
    Reuse,
    ZeroFill,
    SharedWrite,
    Read,
    SwapIn,
    Other,
    Failed,
}

impl Outcome {
    /// Every outcome, in the order in which they are listed.
    pub const ALL: [Self; 9] = [
        Self::Copy,
        Self::FileCopy,
        Self::Reuse,
        Self::ZeroFill,
        Self::SharedWrite,
        Self::Read,
        Self::SwapIn,
        Self::Other,
        Self::Failed,
    ];
}
