//! What each subcommand does: a checked [`Task`] in, an exit status out.

mod diff;
mod doctor;
mod generate;
mod recorded;
#[cfg(feature = "top")]
mod top;
mod trace;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use crate::cli::{self, Task};
use crate::diag::{Failure, Notice};
use crate::process::launch::Inherited;
use crate::record::schema::Trace;
use crate::report::budget::{STATUS, Verdict};
use crate::report::filter::Part;
use crate::report::private::Question;
use crate::{diag, export, report};

/// Does what was asked for; returns the status to exit with. `inherited` is the state of the process at its start.
///
/// # Errors
/// With what the user is to be told.
pub fn run(task: &Task, inherited: io::Result<Inherited>) -> Result<u8, Failure> {
    match task {
        Task::Trace(options) => {
            let failed = |error| Notice::Other(format!("cannot read the signal mask: {error}"));
            trace::run(options, &inherited.map_err(failed)?)
        }
        #[cfg(feature = "top")]
        Task::Top(options) => {
            let failed = |error| Notice::Other(format!("cannot read the signal mask: {error}"));
            top::run(options, &inherited.map_err(failed)?)
        }
        Task::Report(show) => recorded::report(show),
        Task::Export(export) => recorded::export(export),
        Task::Diff(wanted) => diff::run(wanted),
        Task::Info(info) => recorded::info(info),
        Task::Doctor(doctor) => doctor::run(doctor),
        Task::Completions(shell) => generate::completions(*shell),
        Task::Man(folder) => generate::man(folder.as_deref()),
    }
}

/// Where a report goes.
struct Screen {
    /// Columns of it.
    width: usize,
    color: bool,
}

impl Screen {
    fn of(out: &(impl IsTerminal + AsFd), color: cli::Color) -> Self {
        let color = color.applies(
            out.is_terminal(),
            std::env::var_os("NO_COLOR").as_deref(),
            std::env::var_os("TERM").as_deref(),
        );
        let width = terminal_size::terminal_size_of(out).map_or(100, |(width, _)| usize::from(width.0));
        Self { width, color }
    }
}

/// What a report is of, beside its trace.
struct About<'a> {
    /// Pages that are asked about.
    questions: &'a [Question],
    /// Every row.
    all: bool,
    /// What part of a trace it is.
    part: Option<&'a Part>,
    /// Whether its budget is passed.
    verdict: Option<&'a Verdict>,
}

/// Says whether a budget was passed; returns the status to exit with instead of a good one.
fn tell_verdict(verdict: Option<&Verdict>) -> u8 {
    let Some(verdict) = verdict else { return 0 };
    diag::tell(&Notice::Other(verdict.sentences()));
    if verdict.passed { STATUS } else { 0 }
}

/// Writes a report as it was asked for.
fn write_report(
    trace: &Trace,
    wanted: &cli::Report,
    about: &About<'_>,
    screen: &Screen,
    out: &mut dyn Write,
) -> io::Result<()> {
    let directory = std::env::current_dir().ok();
    let by = wanted.by.as_deref().and_then(|name| report::cut(name).ok());
    let sort = wanted.sort.as_deref().and_then(|name| report::sort(name).ok());
    let defaults = report::Options::default();
    let shown = report::Options {
        width: screen.width,
        color: screen.color,
        by: by.unwrap_or(defaults.by),
        sort,
        limit: wanted.limit,
        all: about.all || wanted.limit == Some(0),
        directory: directory.as_deref().and_then(Path::to_str),
        questions: about.questions,
        explain: wanted.explain,
        part: about.part,
        verdict: about.verdict,
    };
    if wanted.json {
        report::write_json(trace, &shown, out)?;
    } else {
        report::write(trace, &shown, out)?;
    }
    out.flush()
}

/// Writes a trace in the format of another tool.
fn write_export(trace: &Trace, format: &str, path: &Path, file: &mut File) -> Result<(), Notice> {
    let format = export::by_name(format).map_err(|error| Notice::Other(error.to_string()))?;
    let failed = |source| Notice::Unwritten { path: path.into(), source };
    (format.write)(trace, file).and_then(|()| file.flush()).map_err(failed)
}
