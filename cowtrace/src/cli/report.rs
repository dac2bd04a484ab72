//! Options of what is shown: of the bare form, of `report`, `export` and `info`.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use super::invalid;
use super::parts::{BudgetArguments, FilterArguments};
use super::trace::{Output, output};
use super::values::{RECORDING, format_names, report_names, sort_names};
use crate::report::budget::Budget;
use crate::report::filter::Filter;
use crate::report::private::{self, Question};

/// What clap reads of a report.
#[derive(Args, Debug)]
pub(super) struct ReportArguments {
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

    #[command(flatten)]
    filter: FilterArguments,
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
    /// The part of the trace that it is about.
    pub filter: Filter,
}

impl ReportArguments {
    /// The report, and what is asked beside it.
    pub(super) fn checked(self) -> Result<(Report, Vec<Question>), clap::Error> {
        let Self { by, sort, limit, explain, page, key, json, color, filter } = self;
        let (filter, questions) = (filter.checked()?, [page, key].concat());
        if !filter.is_everything() && !questions.is_empty() {
            return Err(invalid(
                "--page and --key ask about a whole trace: leave out --process, --since and --until",
            ));
        }
        Ok((Report { by, sort, limit, explain, json, color, filter }, questions))
    }
}

/// What clap reads of `report`.
#[derive(Args, Debug)]
pub(super) struct ShowArguments {
    /// A recording
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    report: ReportArguments,

    #[command(flatten)]
    budget: BudgetArguments,
}

/// A recording to report.
#[derive(Clone, Debug, PartialEq)]
pub struct Show {
    /// The recording.
    pub file: PathBuf,
    /// How the report looks.
    pub report: Report,
    /// Pages whose history is asked about.
    pub questions: Vec<Question>,
    /// So much may be copied.
    pub budget: Option<Budget>,
}

impl ShowArguments {
    pub(super) fn checked(self) -> Result<Show, clap::Error> {
        let (report, questions) = self.report.checked()?;
        Ok(Show { file: self.file, report, questions, budget: self.budget.budget })
    }
}

/// What clap reads of `export`.
#[derive(Args, Debug)]
pub(super) struct ExportArguments {
    /// A recording
    #[arg(value_name = "RECORDING")]
    file: PathBuf,

    /// File to write; its extension chooses the format, - is stdout
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Format of the file, whatever its extension
    #[arg(short, long, value_name = "NAME", value_parser = PossibleValuesParser::new(format_names()))]
    format: Option<String>,

    /// Write over the file if it exists
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    filter: FilterArguments,
}

/// A recording to export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The recording.
    pub file: PathBuf,
    /// What to write; the path `-` is stdout.
    pub output: Output,
    /// The part of it that is exported.
    pub filter: Filter,
}

impl ExportArguments {
    pub(super) fn checked(self) -> Result<Export, clap::Error> {
        let output = output(self.output, self.format, self.force, &format_names())?;
        if output.format == RECORDING {
            return Err(invalid("a recording is exported to another format: choose one with --format"));
        }
        Ok(Export { file: self.file, output, filter: self.filter.checked()? })
    }
}

/// What clap reads of `info`.
#[derive(Args, Debug)]
pub(super) struct InfoArguments {
    /// A recording
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// A recording to describe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The recording.
    pub file: PathBuf,
    /// As JSON.
    pub json: bool,
}
