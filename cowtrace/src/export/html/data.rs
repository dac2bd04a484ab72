//! The data of the page, which its scripts draw: one JSON object.

use serde::Serialize;

use super::super::timeline::Timeline;
use super::flame::{self, Flame};
use super::limits::Limits;
use super::memory::{self, Memory};
use super::strings::Strings;
use super::timeline::{self, Cells, Faults, Spans};
use crate::record::schema::Trace;
use crate::report::escape::escape;
use crate::report::view::{Amount, Kind, View};

/// Everything. Text is safe to print; it is still to be put into the page as text only.
#[derive(Serialize)]
pub(super) struct Document {
    /// Nanoseconds from the trace's start to its end.
    duration: u64,
    /// Bytes of a page.
    page_bytes: u64,
    pub(super) total: Sum,
    /// Part of the total without details.
    lost: Sum,
    pub(super) causes: Vec<Cause>,
    pub(super) processes: Vec<Process>,
    pub(super) timeline: Cells,
    pub(super) faults: Faults,
    spans: Spans,
    pub(super) flame: Flame,
    pub(super) memory: Memory,
    strings: Strings,
    #[serde(skip)]
    limits: Limits,
}

/// Copied pages and their bytes.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Sum {
    pub(super) pages: u64,
    pub(super) bytes: u64,
}

/// A row of the table of causes.
#[derive(Serialize)]
pub(super) struct Cause {
    place: String,
    what: String,
    /// `own`, `native`, `machinery`, `unknown`; `rest` for those that are not named.
    kind: &'static str,
    #[serde(flatten)]
    pub(super) copied: Sum,
    /// In how many processes.
    processes: usize,
    /// In how many of them a pool's machinery ran.
    workers: usize,
    /// Whole path of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

/// A row of the timeline and of the map.
#[derive(Serialize)]
pub(super) struct Process {
    /// `None` for those that are not named.
    pid: Option<u32>,
    name: String,
    /// Row of its parent.
    parent: Option<usize>,
    generation: u32,
    start: u64,
    end: Option<u64>,
    execs: Vec<u64>,
    exit: Option<i32>,
    /// `None` for one that was not forked while it was watched, or went on to another program.
    inherited: Option<u64>,
    #[serde(flatten)]
    pub(super) copied: Sum,
    worker: bool,
}

impl From<Amount> for Sum {
    fn from(amount: Amount) -> Self {
        Self { pages: amount.pages, bytes: amount.bytes }
    }
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.pages += other.pages;
        self.bytes += other.bytes;
    }
}

impl Document {
    pub(super) fn new(trace: &Trace, view: &View<'_>) -> Self {
        let timeline = Timeline::new(trace);
        let duration = timeline.end.max(1);
        let limits = Limits::new(trace, view, &timeline.order);
        let page_bytes = trace.header.pages().bytes();
        let mut strings = Strings::default();
        Self {
            duration,
            page_bytes,
            total: view.total().into(),
            lost: view.without_details().into(),
            causes: causes(view, &limits),
            processes: processes(trace, view, &limits),
            timeline: timeline::cells(trace, view, &limits, duration),
            faults: timeline::faults(trace, view, &limits, &mut strings),
            spans: timeline::spans(&timeline, &limits, &mut strings),
            flame: flame::flame(trace, view, &limits, &mut strings),
            memory: memory::memory(trace, view, &limits, &mut strings, duration),
            strings,
            limits,
        }
    }

    /// The page's row of a cause of the view.
    pub(super) fn cause(&self, cause: usize) -> usize {
        self.limits.cause(cause)
    }
}

fn causes(view: &View<'_>, limits: &Limits) -> Vec<Cause> {
    let mut named = Vec::new();
    let (mut rest, mut others) = (Sum::default(), 0);
    let mut rest_processes = std::collections::HashSet::new();
    for (index, row) in view.causes().enumerate() {
        let copied = row.copied.into();
        if limits.cause(index) != named.len() || named.len() == limits.named_causes.len() {
            rest.add(copied);
            others += 1;
            rest_processes.extend(row.processes().map(|(process, _)| process));
            continue;
        }
        named.push(Cause {
            place: row.place.to_owned(),
            what: row.what.to_owned(),
            kind: match row.kind {
                Kind::Own => "own",
                Kind::Native => "native",
                Kind::Machinery => "machinery",
                Kind::Unknown => "unknown",
            },
            copied,
            processes: row.processes().count(),
            workers: row.processes().filter(|(process, _)| view.is_worker(*process)).count(),
            path: row.site.and_then(|site| site.file.as_deref()).map(escape),
        });
    }
    if others > 0 {
        named.push(Cause {
            place: format!("{others} smaller rows"),
            what: String::new(),
            kind: "rest",
            copied: rest,
            processes: rest_processes.len(),
            workers: rest_processes.iter().filter(|process| view.is_worker(**process)).count(),
            path: None,
        });
    }
    named
}

fn processes(trace: &Trace, view: &View<'_>, limits: &Limits) -> Vec<Process> {
    let mut rows: Vec<Process> = limits
        .named_processes
        .iter()
        .map(|&index| {
            let process = &trace.processes[index];
            Process {
                pid: Some(process.pid),
                name: escape(&process.comm),
                parent: process.parent.and_then(|parent| limits.process(parent)),
                generation: process.generation,
                start: process.start,
                end: process.end,
                execs: process.execs.clone(),
                exit: process.exit_status,
                inherited: view.is_child(index).then_some(process.inherited_bytes),
                copied: view.copied(index).into(),
                worker: view.is_worker(index),
            }
        })
        .collect();
    let others: Vec<usize> =
        (0..trace.processes.len()).filter(|index| limits.process(*index).is_none()).collect();
    if !others.is_empty() {
        let mut copied = Sum::default();
        others.iter().for_each(|index| copied.add(view.copied(*index).into()));
        rows.push(Process {
            pid: None,
            name: format!("{} other processes", others.len()),
            parent: None,
            generation: 0,
            start: others.iter().map(|index| trace.processes[*index].start).min().unwrap_or_default(),
            end: None,
            execs: Vec::new(),
            exit: None,
            inherited: None,
            copied,
            worker: false,
        });
    }
    rows
}
