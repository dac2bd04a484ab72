//! The command line: what may be written, and what it means once checked.
//!
//! `Arguments` is what clap reads, [`Task`] what the rest of cowtrace gets. Values of `--by`, `--sort` and `--format`
//! come from the tables of reports and exports, by `values`.

mod doctor;
pub mod generate;
mod parts;
mod report;
#[cfg(feature = "top")]
mod top;
mod trace;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

pub use doctor::Doctor;
pub use parts::Diff;
pub use report::{Color, Export, Info, Report, Show};
pub use trace::{Options, Output, Target};
pub use values::{RECORDING, format_names, format_of, output_names, report_names, sort_names};

const EXAMPLES: &str = "\
Examples:
  sudo cowtrace -- python app.py             what was copied after fork, and why
  sudo cowtrace --by site -- python app.py   the same by line of code
  sudo cowtrace -d 30 -- gunicorn app        the first 30 seconds
  sudo cowtrace -p 4711                      a pool that runs already, until Ctrl-C
  sudo cowtrace record -o run.cow -- ./app   keep everything; look later, without root:
  cowtrace report run.cow                    the same answer, and other cuts of it
  cowtrace diff before.cow after.cow         did the change help?
  cowtrace export run.cow -o run.html        a timeline to look at, or the format of another tool
  sudo cowtrace top -p 4711                  look at it while it runs; also with a command
  cowtrace doctor                            what this machine lets it see, and what is missing
  sudo env PATH=\"$PATH\" cowtrace -- python app.py
                        with your own PATH (a virtual environment): sudo has another

The command keeps its input, output and terminal; the report goes to stderr.
A command that is called like a subcommand is run by `cowtrace -- NAME`.

Exit status: the command's own, or 128+n if signal n ended it;
  125 cowtrace failed, 126 the command cannot be run, 127 it was not found,
  2 cowtrace was called wrongly, 3 a --budget is passed (and the command did not fail).";

/// What clap reads.
#[derive(Debug, Parser)]
#[command(
    name = "cowtrace",
    version,
    about = "Names the write that caused each copy-on-write page copy in a forked program",
    override_usage = "cowtrace [OPTIONS] [--] COMMAND [ARGS]...\n       cowtrace [OPTIONS] --pid PID\n       cowtrace SUBCOMMAND",
    after_help = EXAMPLES,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    subcommand_value_name = "SUBCOMMAND",
    subcommand_help_heading = "Subcommands",
    disable_help_subcommand = true,
    max_term_width = 120
)]
struct Arguments {
    #[command(subcommand)]
    subcommand: Option<Sub>,

    #[command(flatten)]
    bare: Bare,
}

/// The form without a subcommand.
#[derive(clap::Args, Debug)]
struct Bare {
    #[command(flatten)]
    trace: trace::TraceArguments,

    #[command(flatten)]
    report: report::ReportArguments,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Trace a command and keep everything in a file, to be looked at later
    #[command(
        override_usage = "cowtrace record [OPTIONS] [--] COMMAND [ARGS]...\n       cowtrace record [OPTIONS] --pid PID"
    )]
    Record(Box<trace::TraceArguments>),
    /// Trace a command, or processes that run already, and look at them in the terminal meanwhile
    #[cfg(feature = "top")]
    #[command(
        override_usage = "cowtrace top [OPTIONS] [--] COMMAND [ARGS]...\n       cowtrace top [OPTIONS] --pid PID",
        after_help = top::NOTES
    )]
    Top(Box<top::TopArguments>),
    /// The answer to a recording, and other cuts of it
    Report(report::ShowArguments),
    /// A recording in the format of another tool, or as a page to look at
    Export(report::ExportArguments),
    /// What has changed between recordings, and whether it is more than noise
    Diff(parts::DiffArguments),
    /// What a recording is of, and whether it is whole
    Info(report::InfoArguments),
    /// What this machine and its interpreters let cowtrace see, what is missing, and what to do about it
    #[command(after_help = doctor::STATUSES)]
    Doctor(doctor::DoctorArguments),
    /// Completions of the command line for a shell
    #[command(after_help = generate::SHELLS)]
    Completions(generate::CompletionsArguments),
    /// The manual's pages, in the language of `man`
    #[command(after_help = generate::READING)]
    Man(generate::ManArguments),
}

/// What the user asked for, checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Trace a command, and report or keep what was seen.
    Trace(Box<Options>),
    /// Trace a command, look at it while it runs, and report what was seen.
    #[cfg(feature = "top")]
    Top(Box<Options>),
    /// Report a recording.
    Report(Box<Show>),
    /// Export a recording.
    Export(Export),
    /// Compare recordings.
    Diff(Box<Diff>),
    /// Describe a recording.
    Info(Info),
    /// Look at the machine.
    Doctor(Doctor),
    /// Print completions.
    Completions(Shell),
    /// Write the manual's pages into a folder; `None` = print the first.
    Man(Option<PathBuf>),
}

impl Task {
    /// How much cowtrace says of itself: 0, 1, 2, 3.
    #[must_use]
    pub const fn verbose(&self) -> u8 {
        match self {
            Self::Trace(options) => options.verbose,
            #[cfg(feature = "top")]
            Self::Top(options) => options.verbose,
            _ => 0,
        }
    }
}

/// Reads the process's command line. Ends the process for `--help`, `--version` (status 0) and wrong usage (2).
#[must_use]
pub fn parse() -> Task {
    parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// With clap's words for wrong usage, and for `--help` and `--version`.
pub fn parse_from(words: impl IntoIterator<Item = OsString>) -> Result<Task, clap::Error> {
    check(Arguments::try_parse_from(words)?)
}

/// The command line's definition, for what is generated from it.
#[must_use]
pub fn definition() -> clap::Command {
    Arguments::command()
}

fn check(arguments: Arguments) -> Result<Task, clap::Error> {
    let Arguments { subcommand, bare: Bare { trace, report } } = arguments;
    Ok(match subcommand {
        None => Task::Trace(Box::new(trace::bare(trace, report)?)),
        Some(Sub::Record(trace)) => Task::Trace(Box::new(trace::record(*trace, true)?)),
        #[cfg(feature = "top")]
        Some(Sub::Top(top)) => Task::Top(Box::new(top.checked()?)),
        Some(Sub::Report(show)) => Task::Report(Box::new(show.checked()?)),
        Some(Sub::Export(export)) => Task::Export(export.checked()?),
        Some(Sub::Diff(diff)) => Task::Diff(Box::new(diff.checked()?)),
        Some(Sub::Info(report::InfoArguments { file, json })) => Task::Info(Info { file, json }),
        Some(Sub::Doctor(doctor)) => Task::Doctor(doctor.checked()),
        Some(Sub::Completions(generate::CompletionsArguments { shell })) => Task::Completions(shell),
        Some(Sub::Man(generate::ManArguments { output })) => Task::Man(output),
    })
}

/// Wrong usage that clap itself cannot tell.
fn invalid(message: &str) -> clap::Error {
    Arguments::command().error(ErrorKind::ValueValidation, message)
}

#[cfg(test)]
mod tests;
