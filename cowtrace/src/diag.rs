//! Everything that cowtrace says to the user outside a report: what happened, and what to do about it.
//!
//! One or two sentences each, never a backtrace. Only [`tell`] prints; it writes to stderr, for stdout is the program's,
//! or keeps it until the terminal is free (see [`held`]).
//! Exit statuses are the promise of `cowtrace --help`: 125 cowtrace failed, 126 the command cannot be run, 127 not found.

pub mod held;

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

use held::say;

/// Exit status when cowtrace itself failed.
pub const FAILED: u8 = 125;
/// Exit status when the command was found but cannot be run.
pub const CANNOT_RUN: u8 = 126;
/// Exit status when the command was not found.
pub const NOT_FOUND: u8 = 127;

/// Something to tell the user.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's and field's meaning is in its sentence")]
pub enum Notice {
    #[error("cowtrace needs root to attach kernel probes: run it with sudo (the command still runs as you)")]
    NotRoot,
    #[error(
        "root lacks {} here, as in a container: run cowtrace on the host, or give the container these capabilities",
        missing.join(" and ")
    )]
    Confined { missing: Vec<String> },
    #[error(
        "this is a container with process numbers of its own, which the kernel's probes do not use: run cowtrace on the \
         host, or start the container with the host's (--pid=host)"
    )]
    PidNamespace,
    #[error(
        "the kernel is locked down (confidentiality), so no probe may read memory: boot with lockdown=integrity or less"
    )]
    Lockdown,
    #[error(
        "the kernel does not describe its types ({path} is missing): use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as \
         those of current distributions are"
    )]
    NoBtf { path: &'static str },
    #[error(
        "this is a machine of the kind {name}, of whose registers cowtrace knows nothing: run it on x86-64"
    )]
    NoArchitecture { name: &'static str },
    #[error(
        "kernel {release} has no usable tracepoint {name}: use a kernel for x86-64 of version 5.8 or later, built with \
         CONFIG_FTRACE"
    )]
    NoTracepoint { name: &'static str, release: String },
    #[error(
        "kernel {release} lets nobody attach to its fault handler ({why}): without `--rung functions` cowtrace uses tracepoints"
    )]
    NoFunctions { release: String, why: String },
    #[error(
        "kernel {release} lets nobody attach to its fault handler ({why}), and has no tracepoints of page faults, as only those \
         of x86-64 have: use a kernel built with CONFIG_FPROBE or CONFIG_KPROBES, and with no lockdown of them"
    )]
    NoFaults { release: String, why: String },
    #[error("kernels for {machine} have no tracepoints of page faults: leave out `--rung base`")]
    NoExceptions { machine: &'static str },
    #[error("kernel {release} has no BPF ring buffers: use Linux 5.8 or later")]
    NoRingBuffer { release: String },
    #[error(
        "kernel {release} is not one that cowtrace knows ({what}): a newer cowtrace may; please report it"
    )]
    OddKernel { release: String, what: String },
    #[error(
        "the kernel refused a probe ({what}): `-v` shows its reasons; please report them with the kernel's release"
    )]
    Refused { what: String },
    #[error(
        "the recording {} stops here ({why}); what was recorded before is kept, and the command goes on",
        shown(path)
    )]
    RecordingStopped { path: PathBuf, why: String },
    #[error(
        "recorded {what} in {path} ({size}): `cowtrace report {path}` shows them", path = shown(path)
    )]
    Recorded { path: PathBuf, what: String, size: String },
    #[error("cannot write {}: {why}", shown(path))]
    NotExported { path: PathBuf, why: String },
    #[error("cannot read {}: {what}", shown(path))]
    NoRecording { path: PathBuf, what: String },
    #[error("{} exists: choose another name, or write over it with --force", shown(path))]
    Exists { path: PathBuf },
    #[error("cannot read {}: {}", shown(path), reason(source))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: command not found", shown(command))]
    CommandNotFound { command: PathBuf },
    #[error(
        "{}: its first line names an interpreter that does not exist, {}: install it or correct the line",
        shown(command),
        shown(interpreter)
    )]
    NoInterpreter { command: PathBuf, interpreter: PathBuf },
    #[error(
        "{}: the loader that it was linked for does not exist here: it was built for another system",
        shown(command)
    )]
    NoLoader { command: PathBuf },
    #[error("{}: cannot be run: {}{}", shown(command), reason(source), cannot_run_hint(source))]
    CannotRun { command: PathBuf, source: io::Error },
    #[error("cannot start the command ({what}): {}", reason(source))]
    CannotStart { what: &'static str, source: io::Error },
    #[error("there is no user {}: give --user a name or number that `getent passwd` lists", shown(name))]
    NoUser { name: PathBuf },
    #[error("--user needs root: run cowtrace with sudo")]
    UserNeedsRoot,
    #[error(
        "cannot write {}: {}: choose a file that {} may write with `-o`",
        shown(path), reason(source), if *caller { "the user who called sudo" } else { "you" }
    )]
    CannotWrite { path: PathBuf, caller: bool, source: io::Error },
    #[error(
        "cannot write all of {}: {}: the file holds a part of the trace, the report above all of it",
        shown(path),
        reason(source)
    )]
    Unwritten { path: PathBuf, source: io::Error },
    #[error(
        "details of {faults} faults were lost because the buffer was full, with {names} names and {lifecycle} forks, execs \
         and exits (totals are right): {}",
        buffer_hint(*buffer)
    )]
    Lost { faults: u64, names: u64, lifecycle: u64, buffer: u64 },
    #[error(
        "details of {faults} faults were not kept because cowtrace had as much memory as it may (totals are right): try \
         `--memory {}`, or `cowtrace record`, which keeps them in a file",
        size(memory.saturating_mul(2))
    )]
    Unkept { faults: u64, memory: u64 },
    #[error("{count} times: {what} Trace fewer processes at once.")]
    LostElsewhere { count: u64, what: &'static str },
    #[error(
        "{name} {version} of {} is not one that cowtrace knows: its frames are not seen, its writes are attributed by \
         native symbols only",
        shown(path)
    )]
    UnknownInterpreter { name: String, version: String, path: PathBuf },
    #[error("there is no process {pid} here: `pgrep -a NAME` lists those that there are{}", inner(*elsewhere))]
    NoProcess { pid: u32, elsewhere: Option<u32> },
    #[error("{pid} is a thread of process {process}: trace the process with `-p {process}`")]
    IsThread { pid: u32, process: u32 },
    #[error("{pid} is a thread of the kernel, which has no memory of its own: choose a program's process")]
    KernelThread { pid: u32 },
    #[error("process {pid} has ended and only waits for its parent, process {parent}, to ask for its status")]
    Zombie { pid: u32, parent: u32 },
    #[error("{pid} is cowtrace itself, which does not trace itself: choose another process")]
    Itself { pid: u32 },
    #[error(
        "there is no cgroup of version 2 here (no file system of type cgroup2 is mounted): name processes with -p"
    )]
    NoCgroups,
    #[error(
        "there is no control group {} under {}: `cat /proc/PID/cgroup` shows that of a process in its line 0::",
        shown(path),
        shown(mount)
    )]
    NoCgroup { path: PathBuf, mount: PathBuf },
    #[error("tracing {what}: press Ctrl-C to end the trace and see the report")]
    Attached { what: String },
    #[error("the trace ended while the command was running (pid {pid}): it goes on, untraced")]
    StillRunning { pid: i32 },
    #[error(
        "the trace ended while the command was stopped (pid {pid}): it is left stopped, but at a terminal the kernel ends \
         a stopped job that nobody waits for"
    )]
    LeftStopped { pid: i32 },
    #[error("the command was stopped by {signal}: tracing goes on when it does (`kill -CONT {pid}`)")]
    Stopped { signal: &'static str, pid: i32 },
    #[error("cowtrace top draws on a terminal, and {why}: `cowtrace -- COMMAND` reports at the end instead")]
    NoTerminal { why: &'static str },
    #[error("{left_out} bytes of the command's output before these are not kept")]
    OutputLost { left_out: u64 },
    #[error("interrupted: waiting for the command to end; press Ctrl-C again to end the trace now")]
    Interrupted,
    /// What the trace lacks: a sentence of one of the tables.
    #[error("{0}")]
    Missing(String),
    /// What nothing above covers: the chain of causes.
    #[error("{0}")]
    Other(String),
}

impl Notice {
    /// Status to exit with if this ends cowtrace.
    #[must_use]
    pub const fn status(&self) -> u8 {
        match self {
            Self::CommandNotFound { .. } | Self::NoInterpreter { .. } | Self::NoLoader { .. } => NOT_FOUND,
            Self::CannotRun { .. } => CANNOT_RUN,
            _ => FAILED,
        }
    }
}

/// Why cowtrace ends, and with which status.
#[derive(Debug, thiserror::Error)]
#[error("{notice}")]
pub struct Failure {
    /// What to tell.
    pub notice: Notice,
    /// Exit status.
    pub status: u8,
}

impl<N: Into<Notice>> From<N> for Failure {
    fn from(notice: N) -> Self {
        let notice = notice.into();
        Self { status: notice.status(), notice }
    }
}

/// Tells the user. A stderr that is closed or full is no reason to fail: nobody would hear of it.
pub fn tell(notice: &Notice) {
    // One write, so that lines of the traced program do not come between.
    say(&format!("cowtrace: {notice}\n"));
}

/// Largest ring buffer: sizes are powers of two in 32 bits.
pub const LARGEST_BUFFER: u64 = 1 << 31;

fn buffer_hint(buffer: u64) -> String {
    let doubled = buffer.saturating_mul(2);
    if doubled > LARGEST_BUFFER {
        "trace a shorter time with `--duration`, or without `--all`".to_owned()
    } else {
        format!("try `--buffer {}`", size(doubled))
    }
}

/// A size the way `--buffer` takes it.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    units
        .iter()
        .find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// Text that a terminal can be shown: control characters are escaped.
fn shown(text: impl AsRef<OsStr>) -> String {
    let text = text.as_ref().to_string_lossy();
    let escape = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(escape).collect::<Vec<String>>().concat()
}

/// Why a system call failed, without its number.
fn reason(source: &io::Error) -> String {
    let known = source.raw_os_error().map(|number| nix::errno::Errno::from_raw(number).desc());
    known.map_or_else(|| source.to_string(), str::to_owned)
}

/// Where a process is that somebody in a container gave this number.
fn inner(elsewhere: Option<u32>) -> String {
    elsewhere.map_or_else(String::new, |pid| format!("; a container has one, which is process {pid} here"))
}

fn cannot_run_hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EACCES) => " (is it a file, and executable by the user that runs it?)",
        Some(libc::ENOEXEC) => " (it is neither a program for this machine nor a script)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_the_documented_ones() {
        let status = |notice: Notice| Failure::from(notice).status;
        assert_eq!(status(Notice::NotRoot), 125);
        assert_eq!(status(Notice::CommandNotFound { command: "x".into() }), 127);
        let source = io::Error::from_raw_os_error(libc::EACCES);
        assert_eq!(status(Notice::CannotRun { command: "x".into(), source }), 126);
    }

    #[test]
    fn sentences_say_what_to_do() {
        let lost = Notice::Lost { faults: 7, names: 0, lifecycle: 0, buffer: 64 << 20 };
        assert!(lost.to_string().ends_with("`--buffer 128M`"), "{lost}");
        let source = io::Error::from_raw_os_error(libc::EACCES);
        let refused = Notice::CannotRun { command: "./x".into(), source };
        assert!(refused.to_string().contains("executable"), "{refused}");
    }

    #[test]
    fn names_cannot_drive_the_terminal() {
        let notice = Notice::CommandNotFound { command: "a\x1b[2J\nb\u{9b}".into() };
        assert_eq!(notice.to_string(), "a\\u{1b}[2J\\nb\\u{9b}: command not found");
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        assert_eq!(
            [size(0), size(1000), size(4096), size(64 << 20), size(3 << 30)],
            ["0", "1000", "4K", "64M", "3G"]
        );
    }
}
