//! Since when a page is private in each process, and by which write: also where a write that is asked about needed no copy
//! because another had made its page private before.

use std::io;

use super::escape::{escape, shorten};
use super::numbers::{count, counted, time};
use super::scope::Scope;
use super::table::{Paper, Tone};
use super::words;
use crate::record::schema::{Fault, Outcome, Page, PageState, Trace};

/// Bytes of a page.
const PAGE: u64 = 4096;
/// Processes that are told of, unless all are asked for.
const ROWS: usize = 12;

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The page that holds an address.
    Page(u64),
    /// The page that holds the value of a key of `sys.modules`.
    Key(String),
}

/// Text that is no question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoQuestion {
    /// Not a number.
    #[error("not an address: a number as in 0x7f00deadbeef or 140000")]
    Address,
    /// Not a key of a table whose entries are known.
    #[error("not a key as in sys.modules[statistics]")]
    Key,
}

/// The question after an address: hexadecimal with `0x`, else decimal.
///
/// # Errors
///
/// When it is no number of 64 bits.
pub fn page(text: &str) -> Result<Question, NoQuestion> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let number = hexadecimal.map_or_else(|| text.parse().ok(), |digits| u64::from_str_radix(digits, 16).ok());
    number.map(Question::Page).ok_or(NoQuestion::Address)
}

/// The question after a key: `sys.modules[statistics]`, the key with or without quotes.
///
/// # Errors
///
/// When it has another form.
pub fn key(text: &str) -> Result<Question, NoQuestion> {
    let inner = text.strip_prefix("sys.modules[").and_then(|rest| rest.strip_suffix(']'));
    let name = inner.map(|inner| {
        let quoted = |quote| inner.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
        quoted('\'').or_else(|| quoted('"')).unwrap_or(inner)
    });
    name.filter(|name| !name.is_empty()).map(|name| Question::Key(name.to_owned())).ok_or(NoQuestion::Key)
}

/// The answer for one process.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Index into [`Trace::processes`].
    pub process: usize,
    /// The address asked about.
    pub address: u64,
    /// What became of its page.
    pub state: PageState,
    /// Index into [`Trace::faults`] of the write that made it private, last.
    pub fault: Option<usize>,
}

/// Faults (indices) of a process on a page that made it private, with whether they are of its present epoch, in the order of time.
#[must_use]
pub fn history(trace: &Trace, process: usize, address: u64) -> Vec<(usize, bool)> {
    let present = epoch(trace, process);
    let made = |fault: &Fault| {
        fault.process == process
            && fault.address / PAGE == address / PAGE
            && matches!(fault.outcome, Outcome::Copy | Outcome::FileCopy | Outcome::Reuse | Outcome::ZeroFill)
    };
    let born = trace.processes.get(process).and_then(|p| p.execs.last().copied()).unwrap_or_default();
    let faults = trace.faults.iter().enumerate().filter(|(_, fault)| fault.time >= born && made(fault));
    faults.map(|(index, fault)| (index, fault.time >= present)).collect()
}

/// When a process's memory was last shared by a fork, its own or one that it made. 0 = never.
fn epoch(trace: &Trace, process: usize) -> u64 {
    let forks = trace.processes.iter().filter(|p| p.parent == Some(process) && p.inherited_bytes > 0);
    let own = trace.processes.get(process).filter(|p| p.parent.is_some()).map(|p| p.start);
    forks.map(|child| child.start).chain(own).max().unwrap_or_default()
}

fn answer(trace: &Trace, process: usize, address: u64) -> Answer {
    let history = history(trace, process, address);
    let fault = history.last().map(|(fault, _)| *fault);
    let lost =
        trace.processes.get(process).is_some_and(|p| p.totals.outcomes.iter().any(|(_, t)| t.lost > 0));
    let state = match history.last() {
        Some((_, true)) => PageState::Private,
        _ if lost => PageState::Unknown,
        Some((_, false)) => PageState::PrivateBeforeFork,
        None => PageState::Shared,
    };
    Answer { process, address, state, fault }
}

/// The answers to one question, for each process that has the page: with a key those where its place is known, with an
/// address those that wrote to the page, and those that share memory with one of them.
#[must_use]
pub fn answers(trace: &Trace, question: &Question) -> Vec<Answer> {
    match question {
        Question::Key(name) => places(trace, name).map(|(p, address)| answer(trace, p, address)).collect(),
        Question::Page(address) => {
            let scope = Scope::new(trace, None);
            let all = (0..trace.processes.len()).map(|process| answer(trace, process, *address));
            all.filter(|answer| answer.fault.is_some() || scope.is_main(answer.process)).collect()
        }
    }
}

/// Where a key's value lay in each process, as of the last time that it was seen there.
fn places<'a>(trace: &'a Trace, name: &'a str) -> impl Iterator<Item = (usize, u64)> + 'a {
    (0..trace.processes.len()).filter_map(move |process| {
        let tables = trace.module_tables.iter();
        let seen = tables.flat_map(|table| {
            table.seen.iter().filter(|(p, _)| *p == process).map(move |(_, time)| (*time, table))
        });
        // What it has run since has other tables.
        let born = trace.processes[process].execs.last().copied().unwrap_or_default();
        let (_, table) = seen.filter(|(time, _)| *time >= born).max_by_key(|(time, _)| *time)?;
        table.entries.iter().find(|(key, _)| key == name).map(|(_, address)| (process, *address))
    })
}

impl Question {
    /// How what is asked about is called.
    fn called(&self) -> String {
        match self {
            Self::Page(address) => format!("the page of {address:#x}"),
            Self::Key(name) => format!("the page that holds {}", key_name(name)),
        }
    }
}

fn key_name(name: &str) -> String {
    format!("sys.modules['{}']", shorten(&escape(name), 60))
}

/// Writes the answers as text.
pub(super) fn write(
    scope: &Scope<'_>,
    questions: &[Question],
    all: bool,
    paper: &mut Paper<'_>,
) -> io::Result<()> {
    for question in questions {
        let answers = answers(scope.trace, question);
        paper.line(Tone::Plain, "")?;
        paper.paragraph(Tone::Strong, "", &format!("{}:", question.called()))?;
        if answers.is_empty() {
            paper.paragraph(Tone::Plain, "  ", nobody(question))?;
        }
        let most = if all { usize::MAX } else { ROWS };
        for answer in answers.iter().take(most) {
            paper.paragraph(Tone::Plain, "  ", &sentence(scope, question, answer))?;
        }
        if answers.len() > most {
            let more = counted((answers.len() - most) as u64, "more process");
            paper.paragraph(Tone::Faint, "  ", &format!("… and {more} (--limit 0 shows all)"))?;
        }
    }
    Ok(())
}

const fn nobody(question: &Question) -> &'static str {
    match question {
        Question::Page(_) => "no process is known to have it",
        Question::Key(_) => {
            "its place is not known: no process that forked had this key, or it was gone before its table could be read"
        }
    }
}

/// `7001 python3 (0x7f…): copied at 123.0 ms by refcount of str, import of json at a.py:3 (f)`.
fn sentence(scope: &Scope<'_>, question: &Question, answer: &Answer) -> String {
    let who = scope.trace.processes.get(answer.process).map_or_else(String::new, words::process);
    let at = match question {
        Question::Key(_) => format!(" ({:#x})", answer.address),
        Question::Page(_) => String::new(),
    };
    let process = scope.trace.processes.get(answer.process);
    let forked = process.is_some_and(|process| process.parent.is_some());
    let shared = epoch(scope.trace, answer.process) > 0;
    let by = |fault| cause(scope, fault);
    let fault = answer.fault.and_then(|fault| scope.trace.faults.get(fault));
    let became = match (answer.state, fault) {
        (PageState::Private, Some(fault)) => by(fault),
        (PageState::PrivateBeforeFork, Some(fault)) => {
            format!("made private before its last fork, {}; not written since: shared again", by(fault))
        }
        (PageState::Unknown, _) => {
            let lost: u64 = process.map_or(0, |p| p.totals.outcomes.iter().map(|(_, t)| t.lost).sum());
            format!("no write to it is listed, but {} of this process have lost their details", count(lost))
        }
        _ if forked => "never written by this process after its fork: still shared".to_owned(),
        _ if shared => "never written by this process after its last fork: still shared".to_owned(),
        _ => "this process has shared no memory by a fork".to_owned(),
    };
    format!("{who}{at}: {became}")
}

/// What made a page private.
fn cause(scope: &Scope<'_>, fault: &Fault) -> String {
    let trace = scope.trace;
    let how = match fault.outcome {
        Outcome::Reuse => "taken over as its last owner",
        Outcome::ZeroFill => "made as a fresh page",
        _ => "copied",
    };
    let written =
        trace.writes.get(fault.write).map_or_else(|| "unknown write".to_owned(), words::write_exact);
    let operation = trace.operations.get(fault.operation);
    let deed = operation.and_then(|operation| match operation.kind {
        "call" | "native" | "unknown" => None,
        _ => words::deed(operation).or_else(|| super::cuts::machinery(operation)),
    });
    let site = fault.site.and_then(|site| trace.sites.get(site)).map(|site| words::site(site, scope));
    let mut text = format!("{how} at {} by {written}", time(fault.time));
    if let Some(deed) = deed {
        text += &format!(", {deed}");
    }
    if let Some(site) = site {
        text += &format!(" at {site}");
    }
    text
}

/// The answers to these questions, for the record.
#[must_use]
pub fn pages(trace: &Trace, questions: &[Question]) -> Vec<Page> {
    let mut pages = Vec::new();
    for question in questions {
        let key = match question {
            Question::Key(name) => Some(format!("sys.modules['{name}']")),
            Question::Page(_) => None,
        };
        pages.extend(answers(trace, question).into_iter().map(|answer| Page {
            process: answer.process,
            address: answer.address,
            key: key.clone(),
            state: answer.state,
            fault: answer.fault,
        }));
    }
    pages
}

#[cfg(test)]
mod tests;
