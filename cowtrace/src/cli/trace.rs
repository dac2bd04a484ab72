//! Options of what traces: of the bare form and of `record`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Args};

use super::parts::BudgetArguments;
use super::report::{Report, ReportArguments};
use super::values::{DEFAULT_BUFFER, buffer, duration, format_of, memory, output_names, process, rung};
use super::{invalid, values};
use crate::kernel::rung::Wanted;
use crate::process::identity::RunAs;
use crate::report::budget::Budget;
use crate::report::private::Question;

/// The file that `record` writes unless it is told another.
const RECORDED: &str = "cowtrace.cow";

/// What clap reads of a trace.
#[derive(Args, Debug)]
pub(super) struct TraceArguments {
    /// The program to run and trace, and its arguments; what follows it belongs to it
    #[arg(required_unless_present_any = ["pid", "cgroup"], conflicts_with_all = ["pid", "cgroup"],
          trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Trace a process that runs already, everything below it, and what it forks, until Ctrl-C or their end (repeatable,
    /// or with commas)
    #[arg(short, long, value_name = "PID", value_delimiter = ',', value_parser = process)]
    pid: Vec<u32>,

    /// Trace every process in this control group (v2), now and later, as of a service: a path below /sys/fs/cgroup, or as in
    /// /proc/PID/cgroup
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,

    /// End the trace after so many seconds (fractions allowed); the command goes on
    #[arg(short, long, value_name = "SECONDS", value_parser = duration)]
    duration: Option<Duration>,

    /// Write the trace to this file; its extension chooses the format, .cow is a recording
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Format of the file, whatever its extension
    #[arg(short, long, value_name = "NAME", requires = "output",
          value_parser = PossibleValuesParser::new(output_names()))]
    format: Option<String>,

    /// Write over the file if it exists
    #[arg(long)]
    force: bool,

    /// Run the command as root instead of the user who called sudo
    #[arg(long, conflicts_with_all = ["user", "pid", "cgroup"])]
    as_root: bool,

    /// Run the command as this user
    #[arg(long, value_name = "NAME", conflicts_with_all = ["pid", "cgroup"])]
    user: Option<String>,

    /// Room for records on their way out of the kernel, a power of two (units K, M, G)
    #[arg(long, value_name = "SIZE", default_value = DEFAULT_BUFFER, value_parser = buffer)]
    buffer: u32,

    /// Memory that cowtrace may have for itself before it keeps no more details of faults, which then count as lost (units
    /// K, M, G); half of the machine's unless said otherwise
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: Option<u64>,

    /// How faults are seen: as exceptions (base), or as calls of the kernel's fault handler (functions), which shows writes by
    /// ptrace, process_vm_writev, O_DIRECT and io_uring too, where the kernel lets it be attached to
    #[arg(long, value_name = "NAME", value_parser = rung())]
    rung: Option<Wanted>,

    /// Measure the time inside each fault; makes every fault slower
    #[arg(long)]
    latency: bool,

    /// List every fault, of every outcome, from the start of the command
    #[arg(long)]
    all: bool,

    /// Say nothing at the end
    #[arg(short, long)]
    quiet: bool,

    /// Say what cowtrace does (-vv: in detail; -vvv: with the evidence for each write)
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    #[command(flatten)]
    budget: BudgetArguments,
}

/// What the user asked to be traced, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What is traced.
    pub target: Target,
    /// How long to trace; `None` = until the command, or every process, ends.
    pub duration: Option<Duration>,
    /// File to write.
    pub output: Option<Output>,
    /// Size of the ring buffer in bytes, a power of two.
    pub buffer: u32,
    /// Bytes of memory that cowtrace may have for itself; `None` = half of the machine's.
    pub memory: Option<u64>,
    /// How faults are to be seen.
    pub rung: Wanted,
    /// Measure latencies.
    pub latency: bool,
    /// List every fault.
    pub all: bool,
    /// Say nothing at the end.
    pub quiet: bool,
    /// Pages whose history is asked about: in the report, and in the output.
    pub questions: Vec<Question>,
    /// The report on stderr; `None` = none.
    pub report: Option<Report>,
    /// So much may be copied.
    pub budget: Option<Budget>,
    /// How much cowtrace says of itself: 0, 1, 2, 3.
    pub verbose: u8,
}

/// What is traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A command.
    Command {
        /// It and its arguments; never empty.
        words: Vec<OsString>,
        /// Whom it runs as.
        run_as: RunAs,
    },
    /// Processes that run already; one of the two at least is there.
    Attach {
        /// Those with these numbers, with all below them.
        pids: Vec<u32>,
        /// Those in this control group.
        cgroup: Option<PathBuf>,
    },
}

impl Target {
    /// How it may be called in a word: the program, or the processes.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Command { words, .. } => {
                words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default()
            }
            Self::Attach { pids, cgroup: None } => {
                let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
                pids.join(", ")
            }
            Self::Attach { cgroup: Some(path), .. } => path.display().to_string(),
        }
    }
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where.
    pub path: PathBuf,
    /// One of the names of [`values::output_names`].
    pub format: String,
    /// Write over one that exists.
    pub force: bool,
}

impl Output {
    /// Whether it is a recording.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.format == values::RECORDING
    }
}

/// Checks the bare form.
pub(super) fn bare(trace: TraceArguments, report: ReportArguments) -> Result<Options, clap::Error> {
    let (report, questions) = report.checked()?;
    let mut options = record(trace, false)?;
    options.report = (!options.quiet).then_some(report);
    options.questions = questions;
    Ok(options)
}

/// Checks `record`, which always writes a file.
pub(super) fn record(arguments: TraceArguments, always: bool) -> Result<Options, clap::Error> {
    let run_as = match (arguments.as_root, arguments.user) {
        (true, _) => RunAs::AsIs,
        (false, Some(name)) => RunAs::User(name),
        (false, None) => RunAs::Caller,
    };
    let target = if arguments.pid.is_empty() && arguments.cgroup.is_none() {
        Target::Command { words: arguments.command, run_as }
    } else {
        Target::Attach { pids: arguments.pid, cgroup: arguments.cgroup }
    };
    let path = arguments.output.or_else(|| always.then(|| PathBuf::from(RECORDED)));
    let output =
        path.map(|path| output(path, arguments.format, arguments.force, &output_names())).transpose()?;
    Ok(Options {
        target,
        duration: arguments.duration,
        output,
        buffer: arguments.buffer,
        memory: arguments.memory,
        rung: arguments.rung.unwrap_or_default(),
        latency: arguments.latency,
        all: arguments.all,
        quiet: arguments.quiet,
        questions: Vec::new(),
        report: None,
        budget: arguments.budget.budget,
        verbose: arguments.verbose,
    })
}

/// A file and its format.
pub(super) fn output(
    path: PathBuf,
    format: Option<String>,
    force: bool,
    names: &[&str],
) -> Result<Output, clap::Error> {
    let format = match format {
        Some(format) => format,
        None => format_of(&path)
            .map_err(|why| invalid(&format!("{why}: choose one with --format ({})", names.join(", "))))?
            .to_owned(),
    };
    Ok(Output { path, format, force })
}
