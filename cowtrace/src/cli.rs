//! The command line: what may be written, and what it means once checked.
//!
//! `Arguments` is what clap reads, [`Options`] what the rest of cowtrace gets. Values of `--by`, `--sort` and `--format`
//! come from the tables of reports and exports, through the functions at the end of this file.

pub mod generate;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, ValueEnum};

use crate::diag::{LARGEST_BUFFER, size};
use crate::process::identity::RunAs;
use crate::report::private::{self, Question};
use crate::{export, report};

const EXAMPLES: &str = "\
Examples:
  sudo cowtrace -- python app.py             what was copied after fork, and why
  sudo cowtrace --by site -- python app.py   the same by line of code
  sudo cowtrace -d 30 -- gunicorn app        the first 30 seconds
  sudo cowtrace -o run.jsonl -- ./server     every copy as a line of JSON as well
  sudo env PATH=\"$PATH\" cowtrace -- python app.py
                        with your own PATH (a virtual environment): sudo has another

The command keeps its input, output and terminal; the report goes to stderr.

Exit status: the command's own, or 128+n if signal n ended it;
  125 cowtrace failed, 126 the command cannot be run, 127 it was not found,
  2 cowtrace was called wrongly.";

/// What clap reads.
#[derive(Debug, Parser)]
#[command(
    name = "cowtrace",
    version,
    about = "Names the write that caused each copy-on-write page copy in a forked program",
    override_usage = "cowtrace [OPTIONS] [--] COMMAND [ARGS]...",
    after_help = EXAMPLES,
    arg_required_else_help = true,
    max_term_width = 120
)]
struct Arguments {
    /// The program to run and trace, and its arguments; what follows it belongs to it
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// End the trace after so many seconds (fractions allowed); the command goes on
    #[arg(short, long, value_name = "SECONDS", value_parser = duration)]
    duration: Option<Duration>,

    /// Write the trace to this file as well; its extension chooses the format
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Format of the file, whatever its extension
    #[arg(short, long, value_name = "NAME", requires = "output",
          value_parser = PossibleValuesParser::new(format_names()))]
    format: Option<String>,

    /// Run the command as root instead of the user who called sudo
    #[arg(long, conflicts_with = "user")]
    as_root: bool,

    /// Run the command as this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// Room for records on their way out of the kernel, a power of two (units K, M, G)
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = buffer)]
    buffer: u32,

    /// Measure the time inside each fault; makes every fault slower
    #[arg(long)]
    latency: bool,

    /// List every fault, of every outcome, from the start of the command
    #[arg(long)]
    all: bool,

    /// No report on stderr
    #[arg(short, long)]
    quiet: bool,

    /// Say what cowtrace does (-vv: in detail; -vvv: with the evidence for each write)
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// What each row of the report stands for
    #[arg(long, value_name = "CUT", help_heading = "Report", value_parser = PossibleValuesParser::new(report_names()))]
    by: Option<String>,

    /// What the rows are sorted by, highest first
    #[arg(long, value_name = "COLUMN", help_heading = "Report",
          value_parser = PossibleValuesParser::new(sort_names()))]
    sort: Option<String>,

    /// Rows to show at most; 0 = all
    #[arg(long, value_name = "N", help_heading = "Report")]
    limit: Option<usize>,

    /// Say what each cause is, why it writes to shared memory, and what is usually done about it
    #[arg(long, help_heading = "Report")]
    explain: bool,

    /// Say since when the page at this address is private in each process, and by which write (repeatable)
    #[arg(long, value_name = "ADDRESS", help_heading = "Report", value_parser = private::page)]
    page: Vec<Question>,

    /// The same for the page that holds a module's entry of `sys.modules`, by its name (repeatable)
    #[arg(long, value_name = "KEY", help_heading = "Report", value_parser = private::key)]
    key: Vec<Question>,

    /// The report as JSON
    #[arg(long, help_heading = "Report")]
    json: bool,

    /// Whether the report is coloured (auto: on a terminal without NO_COLOR)
    #[arg(long, value_name = "WHEN", help_heading = "Report", value_enum, default_value_t = Color::Auto)]
    color: Color,
}

/// When the report is coloured: on a terminal unless `NO_COLOR` is set, always, or never.
#[expect(missing_docs, reason = "clap shows them at length otherwise")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// The answer for an output. `no_color` and `term` are the variables `NO_COLOR` (<https://no-color.org>) and `TERM`.
    #[must_use]
    pub fn applies(self, terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
        let wanted = no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|term| term != "dumb");
        match self {
            Self::Auto => terminal && wanted,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// What the user asked for, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The command and its arguments; never empty.
    pub command: Vec<OsString>,
    /// Whom it runs as.
    pub run_as: RunAs,
    /// How long to trace; `None` = until the command ends.
    pub duration: Option<Duration>,
    /// File to write.
    pub output: Option<Output>,
    /// Size of the ring buffer in bytes, a power of two.
    pub buffer: u32,
    /// Measure latencies.
    pub latency: bool,
    /// List every fault.
    pub all: bool,
    /// Pages whose history is asked about: in the report, and in the output.
    pub questions: Vec<Question>,
    /// The report on stderr; `None` = none.
    pub report: Option<Report>,
    /// How much cowtrace says of itself: 0, 1, 2, 3.
    pub verbose: u8,
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where.
    pub path: PathBuf,
    /// One of the names of [`format_names`].
    pub format: String,
}

/// How the report looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One of the names of [`report_names`]; `None` = the default.
    pub by: Option<String>,
    /// One of the names of [`sort_names`]; `None` = the default.
    pub sort: Option<String>,
    /// Rows at most; `None` = the default, `Some(0)` = all.
    pub limit: Option<usize>,
    /// Explain every cause.
    pub explain: bool,
    /// As JSON.
    pub json: bool,
    /// Coloured or not.
    pub color: Color,
}

/// Reads the process's command line. Ends the process for `--help`, `--version` (status 0) and wrong usage (2).
#[must_use]
pub fn parse() -> Options {
    parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// With clap's words for wrong usage, and for `--help` and `--version`.
pub fn parse_from(words: impl IntoIterator<Item = OsString>) -> Result<Options, clap::Error> {
    check(Arguments::try_parse_from(words)?)
}

fn check(arguments: Arguments) -> Result<Options, clap::Error> {
    let run_as = match (arguments.as_root, arguments.user) {
        (true, _) => RunAs::AsIs,
        (false, Some(name)) => RunAs::User(name),
        (false, None) => RunAs::Caller,
    };
    let output = arguments.output.map(|path| output(path, arguments.format)).transpose()?;
    let Arguments { by, sort, limit, explain, json, color, .. } = arguments;
    let questions = [arguments.page, arguments.key].concat();
    Ok(Options {
        command: arguments.command,
        run_as,
        duration: arguments.duration,
        output,
        buffer: arguments.buffer,
        latency: arguments.latency,
        all: arguments.all,
        questions,
        report: (!arguments.quiet).then_some(Report { by, sort, limit, explain, json, color }),
        verbose: arguments.verbose,
    })
}

fn output(path: PathBuf, format: Option<String>) -> Result<Output, clap::Error> {
    let found = format.or_else(|| format_of(&path).map(str::to_owned));
    let Some(format) = found else {
        let message = format!(
            "no format has the extension of '{}': choose one with --format ({})",
            path.to_string_lossy().escape_debug(),
            format_names().join(", ")
        );
        return Err(Arguments::command().error(ErrorKind::ValueValidation, message));
    };
    Ok(Output { path, format })
}

fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let seconds = seconds.filter(|duration| !duration.is_zero());
    seconds.ok_or_else(|| "not a number of seconds above 0, as in 10 or 0.5".to_owned())
}

/// Bytes from a number with a unit, up to the next power of two that a ring buffer can have.
fn buffer(text: &str) -> Result<u32, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit.to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(not_a_size()),
    };
    let number: u64 = number.parse().map_err(|_not_a_number| not_a_size())?;
    let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes <= LARGEST_BUFFER);
    let bytes = bytes.ok_or_else(|| format!("a kernel buffer has at most {}", size(LARGEST_BUFFER)))?;
    if bytes == 0 {
        return Err(format!("a kernel buffer has at least {}", size(procfs::page_size())));
    }
    let rounded = bytes.max(procfs::page_size()).next_power_of_two();
    u32::try_from(rounded).map_err(|error| error.to_string())
}

fn not_a_size() -> String {
    "not a size: a whole number, and K, M or G".to_owned()
}

/// Names of `--by`, the default first.
#[must_use]
pub fn report_names() -> Vec<&'static str> {
    report::REPORTS.iter().map(|report| report.name).collect()
}

/// Names of `--sort`, the default first.
#[must_use]
pub fn sort_names() -> Vec<&'static str> {
    report::SORTS.iter().map(|sort| sort.name).collect()
}

/// Names of `--format`.
#[must_use]
pub fn format_names() -> Vec<&'static str> {
    export::FORMATS.iter().map(|format| format.name).collect()
}

/// The format that a file's extension stands for.
#[must_use]
pub fn format_of(path: &std::path::Path) -> Option<&'static str> {
    export::by_path(path).ok().map(|format| format.name)
}

#[cfg(test)]
mod tests;
