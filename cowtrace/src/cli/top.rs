//! Options of `top`: those of a trace, and what of the report's have a meaning while it runs.

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::report::{Color, Report};
use super::trace::{Options, TraceArguments, record};
use super::values::report_names;
use crate::report::filter::Filter;

pub(super) const NOTES: &str = "\
Keys: q or Ctrl-C end the view and the trace, ? explains the others.

The numbers are those of the report, a moment ago; the report itself follows at the end, as without `top`. After a million
faults only sums are kept of those of long ago, so that memory does not grow with the time; the report says what they do
not tell. With an output that is no recording (-o run.html) every fault is kept.

What of the command's input and output is the terminal is not while it is looked at: its input is empty, the end of its
output (64 KiB) can be seen with `o` and is written when the view ends. What is redirected stays so. A program that opens
the terminal itself (/dev/tty) disturbs the picture.

After q the command goes on, untraced: cowtrace prints the report, passes its output on and waits for it to end; then Ctrl-C
goes to the command. Processes of -p and --cgroup are let go. Exit statuses are those of `cowtrace -- COMMAND`. NO_COLOR is
respected.";

/// What clap reads of `top`.
#[derive(Args, Debug)]
pub(super) struct TopArguments {
    #[command(flatten)]
    trace: TraceArguments,

    /// What each row of causes stands for (`b` changes it), and each row of the report at the end
    #[arg(long, value_name = "CUT", help_heading = "Report", value_parser = PossibleValuesParser::new(report_names()))]
    by: Option<String>,

    /// Say in the report at the end what each cause is, and what is usually done about it
    #[arg(long, help_heading = "Report")]
    explain: bool,

    /// The report at the end as JSON
    #[arg(long, help_heading = "Report")]
    json: bool,

    /// Whether there are colours (auto: unless NO_COLOR is set)
    #[arg(long, value_name = "WHEN", help_heading = "Report", value_enum, default_value_t = Color::Auto)]
    color: Color,
}

impl TopArguments {
    pub(super) fn checked(self) -> Result<Options, clap::Error> {
        let Self { trace, by, explain, json, color } = self;
        let mut options = record(trace, false)?;
        let report = Report { by, sort: None, limit: None, explain, json, color, filter: Filter::default() };
        options.report = (!options.quiet).then_some(report);
        Ok(options)
    }
}
