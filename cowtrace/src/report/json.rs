//! The report as one JSON object: the same rows and sentences, with the trace's own names beside the words.

use std::io;

use serde::Serialize;

use super::budget::Verdict;
use super::causes::{self, Cause, Unanswered};
use super::cuts::Class;
use super::explain::{self, Explained};
use super::filter::PartLine;
use super::imports::{self, ImportLine};
use super::scope::{Copied, Scope, Untouched};
use super::{Options, closing, forks};
use crate::record::collections::{self, CollectionLine};
use crate::record::forks::ForkLine;
use crate::record::json;
use crate::record::latency::LatencyLine;
use crate::record::page::{self, PageLine};
use crate::record::schema::{Header, Interpreter, Loss, Operation, Outcome, SCHEMA, Site, Trace};

/// The object.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: u32,
    version: &'a str,
    command: &'a [String],
    /// Processes that ran already and were named.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    attached: &'a [u32],
    /// The cgroup that was followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<&'a str>,
    start: &'a str,
    kernel: &'a str,
    /// As in `uname -m`; null = the recording does not say: x86_64.
    architecture: Option<&'a str>,
    /// Bytes of the traced machine's pages.
    page_size: u64,
    rung: &'a str,
    probes: &'a [String],
    missing: &'a [String],
    interpreters: &'a [Interpreter],
    /// What part of the trace it is about; null = the whole.
    part: Option<PartLine>,
    /// The sentences of the text.
    answer: &'a [String],
    /// Cut of `causes`.
    by: &'static str,
    causes: Vec<Row<'a>>,
    /// What is not known, and why.
    unanswered: Vec<Reason>,
    processes: Vec<Process<'a>>,
    /// Imported modules, most bytes first.
    imports: Vec<ImportLine<'a>>,
    /// Garbage collections that copied pages.
    collections: Vec<CollectionLine<'a>>,
    /// What forks cost while their children lived.
    forks: Vec<ForkLine>,
    /// How long copies took, by process; empty unless it was measured.
    latencies: Vec<LatencyLine>,
    losses: &'a [Loss],
    /// Every cause explained, if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    explain: Vec<Explained>,
    /// The histories that were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pages: Vec<PageLine<'a>>,
    /// Whether the budget is passed, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<&'a Verdict>,
    /// The closing lines of the text.
    notes: Vec<Note>,
    summary: Summary,
}

/// Copies; `copied_bytes` are of memory that a fork shared.
#[derive(Serialize)]
struct Amount {
    copies: u64,
    copied_bytes: u64,
    file_copies: u64,
    file_copied_bytes: u64,
}

#[derive(Serialize)]
struct Row<'a> {
    text: &'a str,
    what: &'a str,
    class: &'static str,
    #[serde(flatten)]
    amount: Amount,
    /// Part of all copied bytes, 0 to 1.
    share: f64,
    /// Processes that copied.
    pids: Vec<u32>,
    /// What was mostly written, in words.
    written: &'a str,
    /// What the row's faults were doing; null unless the rows are operations.
    operation: Option<&'a Operation>,
    /// Their place; null unless the rows are operations.
    site: Option<&'a Site>,
}

#[derive(Serialize)]
struct Process<'a> {
    pid: u32,
    ppid: u32,
    generation: u32,
    comm: &'a str,
    /// Index of its parent in the list; null for those that nobody in it forked.
    parent: Option<usize>,
    /// It ran the program that the answer is about.
    main: bool,
    /// It is a worker: it was forked while it was watched, inherited memory, and ran its parent's program to its end.
    worker: bool,
    /// It is in the part that is reported; its numbers are 0 otherwise.
    chosen: bool,
    exe: Option<&'a str>,
    start: u64,
    end: Option<u64>,
    exit_status: Option<i32>,
    inherited_bytes: u64,
    /// It was there before the trace; `inherited_bytes` is a baseline.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    attached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'a str>,
    #[serde(flatten)]
    amount: Amount,
    /// Pages that it wrote in place as their last owner.
    reuses: u64,
    /// What it inherited and never wrote to; null = not known, or it inherited nothing.
    still_shared_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Reason {
    what: &'static str,
    #[serde(flatten)]
    amount: Amount,
    /// The reason that most of it has.
    reason: String,
    /// There are other reasons.
    others: bool,
}

#[derive(Serialize)]
struct Note {
    about: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Summary {
    faults: u64,
    #[serde(flatten)]
    amount: Amount,
    /// What programs wrote to as they started, not part of it: they shared it with nobody.
    unshared: Amount,
    /// Part of it without details.
    without_details: Amount,
    reuses: u64,
    lost: u64,
    tool_cpu_ns: u64,
    setup_ns: u64,
    probe_ns: u64,
    duration: u64,
}

impl From<Copied> for Amount {
    fn from(copied: Copied) -> Self {
        let Copied { pages, bytes, file_pages, file_bytes } = copied;
        Self { copies: pages, copied_bytes: bytes, file_copies: file_pages, file_copied_bytes: file_bytes }
    }
}

/// Writes the object and ends the line.
pub(super) fn write(
    scope: &Scope<'_>,
    options: &Options<'_>,
    answer: &[String],
    rows: &[Cause],
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let Trace { header, losses, .. } = scope.trace;
    let Header { version, command, attached, start, kernel, rung, .. } = header;
    let Header { probes, missing, interpreters, .. } = header;
    let limit = if options.all { usize::MAX } else { options.limit.unwrap_or(usize::MAX) };
    let total = scope.total().all_bytes();
    let notes = closing::lines(scope).into_iter().map(|line| Note { about: line.label, text: line.text });
    let document = Document {
        kind: "report",
        schema: SCHEMA,
        version,
        command,
        attached,
        cgroup: header.cgroup.as_deref(),
        start,
        kernel,
        architecture: header.architecture.as_deref(),
        page_size: header.pages().bytes(),
        rung,
        probes,
        missing,
        interpreters,
        part: scope.part.map(|part| part.line(scope.trace)),
        answer,
        by: options.by.name,
        causes: rows.iter().take(limit).map(|cause| row(scope, options, cause, total)).collect(),
        unanswered: causes::unanswered(scope).into_iter().map(reason).collect(),
        processes: (0..scope.trace.processes.len()).map(|index| process(scope, index)).collect(),
        imports: imports::lines(scope),
        collections: collections(scope),
        forks: forks::lines(scope),
        latencies: forks::latency_lines(scope),
        losses,
        explain: if options.explain { explain::causes(scope) } else { Vec::new() },
        pages: scope.trace.pages.iter().map(|page| page::line(scope.trace, page)).collect(),
        budget: options.verdict,
        notes: notes.collect(),
        summary: summary(scope),
    };
    let mut out = io::BufWriter::new(out);
    json::write(&mut out, &document)?;
    io::Write::write_all(&mut out, b"\n")?;
    io::Write::flush(&mut out)
}

fn row<'a>(scope: &Scope<'a>, options: &Options<'_>, cause: &'a Cause, total: u64) -> Row<'a> {
    let named = options.by.name == "operation";
    let own = named && cause.class == Class::Own;
    Row {
        text: &cause.place,
        what: &cause.what,
        class: match cause.class {
            Class::Own => "own",
            Class::Native => "native",
            Class::Machinery => "machinery",
            Class::Unknown => "unknown",
        },
        amount: cause.copied.into(),
        share: if total == 0 { 0.0 } else { cause.bytes() as f64 / total as f64 },
        pids: cause.by_process.keys().filter_map(|p| Some(scope.trace.processes.get(*p)?.pid)).collect(),
        written: &cause.written,
        operation: scope.trace.operations.get(cause.operation).filter(|_| named),
        site: cause.site.and_then(|site| scope.trace.sites.get(site)).filter(|_| own),
    }
}

fn process<'a>(scope: &Scope<'a>, index: usize) -> Process<'a> {
    let process = &scope.trace.processes[index];
    Process {
        pid: process.pid,
        ppid: process.ppid,
        generation: process.generation,
        comm: &process.comm,
        parent: process.parent,
        main: scope.is_main(index),
        worker: scope.inherited(index).is_some(),
        chosen: scope.is_chosen(index),
        exe: process.exe.as_deref(),
        start: process.start,
        end: process.end,
        exit_status: process.exit_status,
        inherited_bytes: process.inherited_bytes,
        attached: process.attached,
        private_bytes: process.private_bytes,
        container: process.container.as_deref(),
        amount: scope.copied(index).into(),
        reuses: process.totals.faults(Outcome::Reuse),
        still_shared_bytes: match scope.untouched(index) {
            Untouched::Bytes(bytes) => Some(bytes),
            Untouched::Nothing | Untouched::Unknown => None,
        },
    }
}

fn reason(unanswered: Unanswered) -> Reason {
    let Unanswered { what, copied, reason, others } = unanswered;
    Reason { what, amount: copied.into(), reason, others }
}

fn collections<'a>(scope: &Scope<'a>) -> Vec<CollectionLine<'a>> {
    let copying = scope.trace.collections.iter().filter(|collection| collection.pages > 0);
    copying.map(|collection| collections::line(scope.trace, collection)).collect()
}

fn summary(scope: &Scope<'_>) -> Summary {
    let summary = &scope.trace.summary;
    Summary {
        faults: summary.faults,
        amount: scope.total().into(),
        unshared: scope.unshared().into(),
        without_details: scope.without_details().into(),
        reuses: summary.reuses,
        lost: summary.lost,
        tool_cpu_ns: summary.tool_cpu_ns,
        setup_ns: summary.setup_ns,
        probe_ns: summary.probe_ns,
        duration: summary.duration,
    }
}
