//! Since when a page is private in each process, and by which write: also where a write that is asked about needed no copy
//! because another had made its page private before.

use std::io;

use super::escape::{escape, shorten};
use super::numbers::{count, counted, time};
use super::scope::Scope;
use super::table::{Paper, Tone};
use super::words;
use crate::record::schema::{Added, Fault, ModuleTable, Outcome, Page, PageState, Trace};

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
    /// The key asked about was added after the process was forked.
    pub added: Option<Added>,
    /// What became of its page.
    pub state: PageState,
    /// Index into [`Trace::faults`] of the write that made it private, last.
    pub fault: Option<usize>,
}

/// Faults (indices) of a process on a page that made it private, with whether they are of its present epoch, in the order of time.
#[must_use]
pub fn history(trace: &Trace, process: usize, address: u64) -> Vec<(usize, bool)> {
    let present = epoch(trace, process);
    let pages = trace.header.pages();
    let made = |fault: &Fault| {
        fault.process == process
            && pages.number(fault.address) == pages.number(address)
            && matches!(fault.outcome, Outcome::Copy | Outcome::FileCopy | Outcome::Reuse | Outcome::ZeroFill)
    };
    let born = trace.processes.get(process).and_then(|p| p.execs.last().copied()).unwrap_or_default();
    let faults = trace.faults.iter().enumerate().filter(|(_, fault)| fault.time >= born && made(fault));
    faults.map(|(index, fault)| (index, fault.time >= present)).collect()
}

/// When a process's memory was last shared by a fork, its own or one that it made. 0 = never.
fn epoch(trace: &Trace, process: usize) -> u64 {
    let forks = trace.processes.iter().filter(|p| p.forked_from() == Some(process));
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
    Answer { process, address, added: None, state, fault }
}

/// The answers to one question, for each process that has the page: with a key those where its place is known, with an
/// address those that wrote to the page, and those that share memory with one of them.
#[must_use]
pub fn answers(trace: &Trace, question: &Question) -> Vec<Answer> {
    let processes = 0..trace.processes.len();
    match question {
        Question::Key(name) => processes.flat_map(|process| of_key(trace, process, name)).collect(),
        Question::Page(address) => {
            let scope = Scope::new(trace, None);
            let all = processes.map(|process| answer(trace, process, *address));
            all.filter(|answer| answer.fault.is_some() || scope.is_main(answer.process)).collect()
        }
    }
}

/// The answers about a key's value in one process, by the table that it had when it was seen last: one; or none, where its
/// place is not known; or several, where it was added to one of several pages.
fn of_key(trace: &Trace, process: usize, name: &str) -> Vec<Answer> {
    let tables = trace.module_tables.iter();
    let seen = tables.flat_map(|table| {
        table.seen.iter().filter(|(p, _)| *p == process).map(move |(_, time)| (*time, table))
    });
    // What it has run since has other tables.
    let born = trace.processes[process].execs.last().copied().unwrap_or_default();
    let Some((time, table)) = seen.filter(|(time, _)| *time >= born).max_by_key(|(time, _)| *time) else {
        return Vec::new();
    };
    match table.entries.iter().find(|(key, _)| key == name) {
        Some((_, address)) => vec![answer(trace, process, *address)],
        None => added(trace, process, time, table, name),
    }
}

/// The answers about a key that a process was seen to add to its table, which it had at this time. The write that added it
/// is known only where it was the first one to its page.
fn added(trace: &Trace, process: usize, time: u64, table: &ModuleTable, name: &str) -> Vec<Answer> {
    let key = format!("sys.modules['{name}']");
    let since = || trace.faults.iter().filter(|fault| fault.process == process && fault.time >= time);
    let is_named = |fault: &&Fault| {
        let named = trace.writes.get(fault.write).and_then(|write| write.name.as_ref()) == Some(&key);
        named && table.free.contains(&fault.address)
    };
    if let Some(fault) = since().find(is_named) {
        return vec![Answer { added: Some(Added::Here), ..answer(trace, process, fault.address) }];
    }
    let imports = |fault: &Fault| {
        let operation = trace.operations.get(fault.operation);
        operation.is_some_and(|operation| operation.chain.iter().any(|module| module == name))
    };
    let mut faults = trace.faults.iter().enumerate();
    let import = faults.find(|(_, f)| f.process == process && f.time >= time && imports(f));
    let Some((import, _)) = import else { return Vec::new() };
    if table.free.is_empty() {
        let (address, state) = (table.free.start, PageState::Replaced);
        return vec![Answer { process, address, added: None, state, fault: Some(import) }];
    }
    let size = trace.header.pages();
    let pages = size.number(table.free.start)..=size.number(table.free.end - 1);
    let answers = pages.map(|page| answer(trace, process, table.free.start.max(size.of_pages(page))));
    // It was written, so it lies on a page that was.
    let mut answers: Vec<Answer> =
        answers.filter(|answer| matches!(answer.state, PageState::Private | PageState::Unknown)).collect();
    let added = if answers.len() == 1 { Added::Here } else { Added::Perhaps };
    answers.iter_mut().for_each(|answer| answer.added = Some(added));
    answers
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
    if let (Some(_), false) = (scope.part, questions.is_empty()) {
        paper.line(Tone::Plain, "")?;
        return paper.paragraph(
            Tone::Strong,
            "",
            "since when a page is private is told of a whole trace only",
        );
    }
    for question in questions {
        let answers = answers(scope.trace, question);
        paper.line(Tone::Plain, "")?;
        paper.paragraph(Tone::Strong, "", &format!("{}:", question.called()))?;
        if answers.is_empty() {
            paper.paragraph(Tone::Plain, "  ", nobody(question))?;
        }
        let most = if all { usize::MAX } else { ROWS };
        let met = is_met(scope.trace, question);
        for answer in answers.iter().take(most) {
            paper.paragraph(Tone::Plain, "  ", &sentence(scope, question, answer, met))?;
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
            "its place is not known: no process had this key at a fork or was seen to import it, or it was gone before its \
             table could be read"
        }
    }
}

/// Whether something is known to lie there: any address may be asked about, but what processes had mapped is not recorded.
fn is_met(trace: &Trace, question: &Question) -> bool {
    match question {
        Question::Key(_) => true,
        Question::Page(address) => {
            let pages = trace.header.pages();
            trace.faults.iter().any(|fault| pages.number(fault.address) == pages.number(*address))
        }
    }
}

/// `7001 python3 (0x7f…): copied at 123.0 ms by refcount of str, import of json at a.py:3 (f)`.
fn sentence(scope: &Scope<'_>, question: &Question, answer: &Answer, met: bool) -> String {
    let who = scope.trace.processes.get(answer.process).map_or_else(String::new, words::process);
    let at = match (question, answer.added) {
        (Question::Page(_), _) => String::new(),
        (Question::Key(_), None) => format!(" ({:#x})", answer.address),
        (Question::Key(_), Some(Added::Here)) => format!(" ({:#x}, added after its fork)", answer.address),
        (Question::Key(_), Some(Added::Perhaps)) => {
            format!(" ({:#x} or another page, added after its fork)", answer.address)
        }
    };
    let process = scope.trace.processes.get(answer.process);
    let forked = process.is_some_and(|process| process.parent.is_some());
    let shared = epoch(scope.trace, answer.process) > 0;
    let by = |fault| cause(scope, fault);
    let mapped = if met { "" } else { ", if it is mapped" };
    let fault = answer.fault.and_then(|fault| scope.trace.faults.get(fault));
    let became = match (answer.state, fault) {
        (PageState::Private, Some(fault)) => by(fault),
        (PageState::PrivateBeforeFork, Some(fault)) => {
            format!("made private before its last fork, {}; not written since: shared again", by(fault))
        }
        (PageState::Replaced, Some(fault)) => {
            format!("its table was full at the fork; the key went to a new one, {}", since(scope, fault))
        }
        (PageState::Unknown, _) => {
            let lost: u64 = process.map_or(0, |p| p.totals.outcomes.iter().map(|(_, t)| t.lost).sum());
            format!("no write to it is listed, but {} of this process have lost their details", count(lost))
        }
        _ if forked => format!("never written by this process after its fork: still shared{mapped}"),
        _ if shared => format!("never written by this process after its last fork: still shared{mapped}"),
        _ => "this process has shared no memory by a fork".to_owned(),
    };
    format!("{who}{at}: {became}")
}

/// What made a page private.
fn cause(scope: &Scope<'_>, fault: &Fault) -> String {
    let how = match fault.outcome {
        Outcome::Reuse => "taken over as its last owner",
        Outcome::ZeroFill => "made as a fresh page",
        _ => "copied",
    };
    let written =
        scope.trace.writes.get(fault.write).map_or_else(|| "unknown write".to_owned(), words::write_exact);
    format!("{how} at {} by {written}{}", time(fault.time), circumstances(scope, fault, ", "))
}

/// `after 123.0 ms by import of json at a.py:3 (f)`.
fn since(scope: &Scope<'_>, fault: &Fault) -> String {
    format!("after {}{}", time(fault.time), circumstances(scope, fault, " by "))
}

/// What the program was doing and where, as far as that says something.
fn circumstances(scope: &Scope<'_>, fault: &Fault, before: &str) -> String {
    let trace = scope.trace;
    let operation = trace.operations.get(fault.operation);
    let deed = operation.and_then(|operation| match operation.kind {
        "call" | "native" | "unknown" => None,
        _ => words::deed(operation).or_else(|| super::cuts::machinery(operation)),
    });
    let site = fault.site.and_then(|site| trace.sites.get(site)).map(|site| words::site(site, scope));
    let deed = deed.map_or_else(String::new, |deed| format!("{before}{deed}"));
    let site = site.map_or_else(String::new, |site| format!(" at {site}"));
    deed + &site
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
            added: answer.added,
            state: answer.state,
            fault: answer.fault,
        }));
    }
    pages
}

#[cfg(test)]
mod tests;
