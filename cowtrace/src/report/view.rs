//! The report as values: its sentences, its rows, and to which row each fault belongs, for those who show it in another
//! form than a table of text.

use super::causes::{self, Cause};
use super::cuts::{Class, REPORTS, SORTS};
pub use super::programs::Program;
use super::scope::{Copied, Scope};
use super::table::Tone;
use super::{answer, closing, sheet, words};
use crate::record::schema::{Fault, Operation, Region, Site, Trace, Write};

/// What a trace comes to, by the cut that is shown without `--by`.
pub struct View<'a> {
    scope: Scope<'a>,
    causes: Vec<Cause>,
    rows: Vec<Option<u32>>,
    answer: Vec<String>,
}

/// Part of the table that a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The program's own code.
    Own,
    /// Other native code.
    Native,
    /// What a fork, a pool, a start, an exit or a library does by itself.
    Machinery,
    /// Not known.
    Unknown,
}

/// Copies; the sum of those of memory that a fork shared, and of first writes to privately mapped files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub pages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One row of the table of causes.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Where, in words that are safe to print.
    pub place: &'a str,
    /// What was done there, or mostly written.
    pub what: &'a str,
    /// Part of the table.
    pub kind: Kind,
    /// How much was copied.
    pub copied: Amount,
    /// The place itself, as it came from the target; `None` unless the row is one place.
    pub site: Option<&'a Site>,
    cause: &'a Cause,
}

impl Row<'_> {
    /// Processes that copied (indices into [`Trace::processes`]), with their pages.
    pub fn processes(&self) -> impl Iterator<Item = (usize, u64)> {
        self.cause.by_process.iter().map(|(process, pages)| (*process, *pages))
    }
}

/// A sentence about how far the trace can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is about, in a word or two.
    pub about: &'static str,
    /// Without full stop.
    pub text: String,
    /// It must not be overlooked.
    pub strong: bool,
}

impl<'a> View<'a> {
    /// Looks at every fault.
    #[must_use]
    pub fn new(trace: &'a Trace) -> Self {
        let scope = Scope::new(trace, None);
        let (causes, numbers) = causes::numbered(&scope, &REPORTS[0]);
        let mut ordered: Vec<(usize, Cause)> = causes.into_iter().enumerate().collect();
        ordered.sort_by(|(_, a), (_, b)| a.class.cmp(&b.class).then_with(|| (SORTS[0].compare)(a, b)));
        let (order, causes): (Vec<usize>, Vec<Cause>) = ordered.into_iter().unzip();
        let mut places = vec![None; order.len()];
        for (place, number) in order.into_iter().enumerate() {
            places[number] = u32::try_from(place).ok();
        }
        let row = |fault: &Fault| places[numbers.of(&scope, fault).filter(|_| scope.is_copy(fault))?];
        let rows = trace.faults.iter().map(row).collect();
        let answer = answer::sentences(&scope, &causes);
        Self { scope, causes, rows, answer }
    }

    /// The answer in sentences, most important first; never empty.
    #[must_use]
    pub fn answer(&self) -> &[String] {
        &self.answer
    }

    /// The rows of the table of causes: own code first, most bytes first.
    pub fn causes(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        self.causes.iter().map(|cause| Row {
            place: &cause.place,
            what: &cause.what,
            kind: cause.class.into(),
            copied: amount(&cause.copied),
            site: cause
                .site
                .filter(|_| cause.class == Class::Own)
                .and_then(|site| self.scope.trace.sites.get(site)),
            cause,
        })
    }

    /// For every fault of the trace its row in [`View::causes`]; `None` = it is no copy, or nothing was shared yet.
    #[must_use]
    pub fn rows(&self) -> &[Option<u32>] {
        &self.rows
    }

    /// What all processes copied while memory was shared, whether it is listed or not.
    #[must_use]
    pub fn total(&self) -> Amount {
        amount(&self.scope.total())
    }

    /// The part of it that is of mapped files, no memory that a fork shared.
    #[must_use]
    pub fn files(&self) -> Amount {
        let total = self.scope.total();
        Amount { pages: total.file_pages, bytes: total.file_bytes }
    }

    /// The part of it whose details were lost.
    #[must_use]
    pub fn without_details(&self) -> Amount {
        amount(&self.scope.without_details())
    }

    /// What one process copied while memory was shared.
    #[must_use]
    pub fn copied(&self, process: usize) -> Amount {
        amount(&self.scope.copied(process))
    }

    /// True for a process that was forked while it was watched and went on with its parent's program.
    #[must_use]
    pub fn is_child(&self, process: usize) -> bool {
        self.scope.is_child(process)
    }

    /// True when a pool's machinery ran in the process.
    #[must_use]
    pub fn is_worker(&self, process: usize) -> bool {
        self.scope.is_worker(process)
    }

    /// True when memory of the fault's program was shared by a fork at the time.
    #[must_use]
    pub fn is_shared(&self, fault: &Fault) -> bool {
        self.scope.is_shared(fault)
    }

    /// What a process ran at this time: addresses of different programs have nothing to do with each other.
    #[must_use]
    pub fn program(&self, process: usize, time: u64) -> Option<Program> {
        self.scope.program(process, time)
    }

    /// What is to be said of the table.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        sheet::notes(&self.scope)
    }

    /// How far the trace can be trusted: what was lost, not seen, left out.
    #[must_use]
    pub fn closing(&self) -> Vec<Note> {
        let lines = closing::lines(&self.scope).into_iter();
        lines
            .map(|line| Note { about: line.label, text: line.text, strong: line.tone == Tone::Strong })
            .collect()
    }

    /// A place in the words of the report.
    #[must_use]
    pub fn site(&self, site: &Site) -> String {
        words::site(site, &self.scope)
    }

    /// A mapping in the words of the report.
    #[must_use]
    pub fn region(&self, region: &Region) -> String {
        words::region(region, &self.scope)
    }
}

/// A write in the words of the report.
#[must_use]
pub fn write(write: &Write) -> String {
    words::write_exact(write)
}

/// An operation in the words of the report.
#[must_use]
pub fn operation(operation: &Operation) -> String {
    words::action(operation).unwrap_or_else(|| words::operation_kind(operation.kind))
}

impl From<Class> for Kind {
    fn from(class: Class) -> Self {
        match class {
            Class::Own => Self::Own,
            Class::Native => Self::Native,
            Class::Machinery => Self::Machinery,
            Class::Unknown => Self::Unknown,
        }
    }
}

pub(super) const fn amount(copied: &Copied) -> Amount {
    Amount { pages: copied.all_pages(), bytes: copied.all_bytes() }
}
