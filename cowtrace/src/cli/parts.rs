//! Options that leave a part of a trace, compare traces, or hold them to a budget.

use std::path::PathBuf;

use clap::Args;

use super::invalid;
use super::report::Color;
use crate::report::budget::Budget;
use crate::report::filter::{self, Filter, Selector};

/// What clap reads of a part.
#[derive(Args, Debug)]
pub(super) struct FilterArguments {
    /// Only this process: a pid, a name, or `worker` for every worker (repeatable)
    #[arg(long, value_name = "PID|NAME", help_heading = "Part of the trace")]
    process: Vec<Selector>,

    /// Only what was after this time since the start, as in 1.5s or 200ms
    #[arg(long, value_name = "TIME", help_heading = "Part of the trace", value_parser = filter::moment)]
    since: Option<u64>,

    /// Only what was before this time since the start
    #[arg(long, value_name = "TIME", help_heading = "Part of the trace", value_parser = filter::moment)]
    until: Option<u64>,
}

impl FilterArguments {
    pub(super) fn checked(self) -> Result<Filter, clap::Error> {
        let filter = Filter { processes: self.process, since: self.since, until: self.until };
        filter.check().map_err(|error| invalid(&error.to_string()))?;
        Ok(filter)
    }
}

/// What clap reads of a budget.
#[derive(Args, Debug)]
pub(super) struct BudgetArguments {
    /// End with status 3 if more was copied, e.g. 30MiB/worker, 2GiB/tree, 10%/worker
    #[arg(long, value_name = "AMOUNT")]
    pub(super) budget: Option<Budget>,
}

/// What clap reads of `diff`.
#[derive(Args, Debug)]
pub(super) struct DiffArguments {
    /// A recording from before the change, and one from after it
    #[arg(value_name = "RECORDING", num_args = 2, conflicts_with_all = ["before", "after"], required_unless_present_all = ["before", "after"])]
    recordings: Vec<PathBuf>,

    /// Several recordings from before the change: they tell changes from noise
    #[arg(long, value_name = "RECORDING", num_args = 1.., requires = "after")]
    before: Vec<PathBuf>,

    /// Several recordings from after it
    #[arg(long, value_name = "RECORDING", num_args = 1.., requires = "before")]
    after: Vec<PathBuf>,

    /// Also rows without a change
    #[arg(long)]
    all: bool,

    /// As JSON
    #[arg(long)]
    json: bool,

    /// Whether it is coloured (auto: on a terminal without NO_COLOR)
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Color::Auto)]
    color: Color,

    #[command(flatten)]
    budget: BudgetArguments,

    #[command(flatten)]
    filter: FilterArguments,
}

/// Recordings to compare.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// Of the one side; never empty.
    pub before: Vec<PathBuf>,
    /// Of the other; never empty. The budget is for these.
    pub after: Vec<PathBuf>,
    /// Rows without a change, too.
    pub all: bool,
    /// As JSON.
    pub json: bool,
    /// Coloured or not.
    pub color: Color,
    /// So much may be copied after the change.
    pub budget: Option<Budget>,
    /// The part of each recording that is compared.
    pub filter: Filter,
}

impl DiffArguments {
    pub(super) fn checked(self) -> Result<Diff, clap::Error> {
        let Self { mut recordings, mut before, mut after, all, json, color, budget, filter } = self;
        if recordings.len() == 2 {
            after = recordings.split_off(1);
            before = recordings;
        }
        Ok(Diff { before, after, all, json, color, budget: budget.budget, filter: filter.checked()? })
    }
}
