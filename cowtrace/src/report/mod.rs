//! The answer for people: a screen of text about a finished trace, or the same as JSON.
//!
//! Works from a [`Trace`] alone and writes to what it is given; prints nothing, reads no environment. Reading order:
//! `programs` and `scope` (which copies count), `cuts` (how they become rows), `causes`, `answer`, `sheet`, `processes`, `closing`, `table`.

mod answer;
pub mod budget;
mod causes;
mod closing;
mod collections;
mod cuts;
pub mod diff;
pub mod escape;
mod explain;
pub mod filter;
mod forks;
mod groups;
mod imports;
mod json;
pub mod live;
mod modules;
pub mod numbers;
pub mod private;
mod processes;
mod programs;
mod scope;
mod sheet;
mod starts;
pub mod sums;
mod table;
#[cfg(test)]
pub(crate) mod tests;
pub mod view;
pub(crate) mod words;

use std::io;

use causes::Cause;
pub use cuts::{Cut, REPORTS, Report, SORTS, Sort};
use scope::Scope;
use table::{Paper, Tone};

use crate::record::schema::Trace;

/// What a report is to look like.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Columns of the terminal.
    pub width: usize,
    /// Whether lines may be bold, dim and underlined.
    pub color: bool,
    /// What the rows are.
    pub by: Cut,
    /// Order of the rows; `None` = own code first, most bytes first.
    pub sort: Option<&'static Sort>,
    /// At most so many rows of own code; `None` = as many as a screen bears.
    pub limit: Option<usize>,
    /// Every row and every process.
    pub all: bool,
    /// Files below this directory are named relative to it; `None` = by their last part.
    pub directory: Option<&'a str>,
    /// Pages whose history is asked about.
    pub questions: &'a [private::Question],
    /// Whether every cause is explained.
    pub explain: bool,
    /// What part of a trace it is, from [`filter::Filter::apply`]; `None` = it is whole.
    pub part: Option<&'a filter::Part>,
    /// Whether its budget is passed, for the JSON; `None` = it has none.
    pub verdict: Option<&'a budget::Verdict>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            width: 80,
            color: false,
            by: &REPORTS[0],
            sort: None,
            limit: None,
            all: false,
            directory: None,
            questions: &[],
            explain: false,
            part: None,
            verdict: None,
        }
    }
}

/// A cut or an order that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {what} is called '{}', there are {}", escape::escape(name), known.join(", "))]
pub struct Unknown {
    /// `report` or `order`.
    pub what: &'static str,
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: Vec<&'static str>,
}

/// The cut with this name.
///
/// # Errors
///
/// When there is none.
pub fn cut(name: &str) -> Result<Cut, Unknown> {
    let known = || REPORTS.iter().map(|report| report.name).collect();
    let found = REPORTS.iter().find(|report| report.name == name);
    found.ok_or_else(|| Unknown { what: "report", name: name.to_owned(), known: known() })
}

/// The order with this name.
///
/// # Errors
///
/// When there is none.
pub fn sort(name: &str) -> Result<&'static Sort, Unknown> {
    let known = || SORTS.iter().map(|sort| sort.name).collect();
    let found = SORTS.iter().find(|sort| sort.name == name);
    found.ok_or_else(|| Unknown { what: "order", name: name.to_owned(), known: known() })
}

/// Writes the report as text.
///
/// # Errors
///
/// When `out` cannot be written.
pub fn write(trace: &Trace, options: &Options<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    let scope = Scope::of_part(trace, options.directory, options.part);
    let operations = sorted(causes::causes(&scope, &REPORTS[0]), None);
    let mut paper = Paper { out, width: options.width, color: options.color };
    if let Some(part) = options.part {
        paper.paragraph(Tone::Strong, "", &closing::part(&scope, part))?;
    }
    for sentence in answer::sentences(&scope, &operations) {
        paper.paragraph(Tone::Plain, "", &sentence)?;
    }
    if scope.total().all_pages() > 0 {
        let rows = if std::ptr::eq(options.by, &REPORTS[0]) && options.sort.is_none() {
            operations
        } else {
            sorted(causes::causes(&scope, options.by), options.sort)
        };
        paper.line(Tone::Plain, "")?;
        sheet::grid(&scope, options, &rows).write(&mut paper)?;
        for text in sheet::notes(&scope) {
            paper.paragraph(Tone::Faint, "", &text)?;
        }
    }
    if trace.processes.len() > 1 {
        paper.line(Tone::Plain, "")?;
        processes::grid(&scope, options.all).write(&mut paper)?;
    }
    let by_process = options.by.name == "process";
    if let Some(forks) = forks::grid(&scope, by_process, options.all) {
        paper.line(Tone::Plain, "")?;
        forks.write(&mut paper)?;
    }
    if let Some(latencies) = forks::latencies(&scope, options.all) {
        paper.line(Tone::Plain, "")?;
        latencies.write(&mut paper)?;
    }
    if let Some(imports) = imports::grid(&scope, options.all) {
        paper.line(Tone::Plain, "")?;
        imports.write(&mut paper)?;
    }
    if let Some(collections) = collections::grid(&scope, options.all) {
        paper.line(Tone::Plain, "")?;
        collections.write(&mut paper)?;
    }
    if options.explain {
        explain::write(&scope, options.all, &mut paper)?;
    }
    private::write(&scope, options.questions, options.all, &mut paper)?;
    paper.line(Tone::Plain, "")?;
    for closing::Line { label, text, tone } in closing::lines(&scope) {
        paper.paragraph(tone, &format!("{label:<13}"), &text)?;
    }
    Ok(())
}

/// Writes the report as one JSON object on one line.
///
/// # Errors
///
/// When `out` cannot be written.
pub fn write_json(trace: &Trace, options: &Options<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    let scope = Scope::of_part(trace, options.directory, options.part);
    let operations = sorted(causes::causes(&scope, &REPORTS[0]), None);
    let answer = answer::sentences(&scope, &operations);
    let rows = sorted(causes::causes(&scope, options.by), options.sort);
    json::write(&scope, options, &answer, &rows, out)
}

/// Own code first and most bytes first, or as asked for.
fn sorted(mut rows: Vec<Cause>, sort: Option<&'static Sort>) -> Vec<Cause> {
    rows.sort_by(SORTS[0].compare);
    match sort {
        Some(sort) => rows.sort_by(sort.compare),
        None => rows.sort_by_key(|row| row.class),
    }
    rows
}
