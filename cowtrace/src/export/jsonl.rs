//! JSON Lines, schema 1: one object a line, the plainest export. Fields may be added, never renamed.

#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, Write as _};
use std::num::NonZero;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::Format;
use crate::record::forks::{Side, Sides};
use crate::record::schema::{
    Fault, Header, Loss, NativeFrame, Operation, Outcome, OutcomeTotal, Process, ProcessTotals, PythonFrame,
    Region, Site, Trace, Write,
};
use crate::record::{collections, forks, json, latency, page};

/// The format.
pub(super) const FORMAT: Format = Format {
    name: "jsonl",
    extensions: &["jsonl", "ndjson"],
    about: "JSON Lines, schema 1: everything, one object a line",
    write,
};

/// A line: its type, then its fields.
#[derive(Serialize)]
struct Line<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    fields: T,
}

#[derive(Serialize)]
struct ProcessLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    pid: u32,
    ppid: u32,
    generation: u32,
    start: u64,
    end: Option<u64>,
    execs: &'a [u64],
    comm: &'a str,
    exe: Option<&'a str>,
    command: &'a [String],
    inherited_bytes: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    attached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'a str>,
    exit_status: Option<i32>,
    totals: Totals<'a>,
    copied_bytes: u64,
    file_copied_bytes: u64,
}

#[derive(Serialize)]
struct FaultLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    time: u64,
    pid: Option<u32>,
    tid: u32,
    address: Address,
    ip: Address,
    outcome: Outcome,
    /// Of a copy; null = no fork that was watched shared the page, or it is no copy.
    side: Option<Side>,
    bytes: u64,
    latency: Option<u64>,
    region: Option<&'a Region>,
    operation: Option<OperationField<'a>>,
    write: Option<&'a Write>,
    site: Option<&'a Site>,
    python: &'a [PythonFrame],
    native: &'a [NativeFrame],
}

/// An operation, with the number of the collection that it is for this fault.
#[derive(Serialize)]
struct OperationField<'a> {
    #[serde(flatten)]
    operation: &'a Operation,
    #[serde(skip_serializing_if = "Option::is_none")]
    collection: Option<u32>,
}

#[derive(Serialize)]
struct SummaryLine {
    #[serde(rename = "type")]
    kind: &'static str,
    faults: u64,
    copies: u64,
    copied_bytes: u64,
    file_copies: u64,
    reuses: u64,
    lost: u64,
    tool_cpu_ns: u64,
    setup_ns: u64,
    probe_ns: u64,
    duration: u64,
    processes: Vec<ProcessSummary>,
}

#[derive(Serialize)]
struct ProcessSummary {
    pid: u32,
    copies: u64,
    copied_bytes: u64,
    inherited_bytes: u64,
}

/// An address of the target, `"0x…"`.
struct Address(u64);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

/// Totals by the name of the outcome, every outcome present.
struct Totals<'a>(&'a ProcessTotals);

impl Serialize for Totals<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Outcome::ALL.len()))?;
        for outcome in Outcome::ALL {
            let total: OutcomeTotal = self.0.of(outcome);
            map.serialize_entry(&outcome, &total)?;
        }
        map.end()
    }
}

/// Writes a trace: header, processes, faults, collections, forks, latencies, pages that were asked about, losses, summary.
fn write(trace: &Trace, out: &mut dyn io::Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, out);
    line(&mut out, &Line::<&Header> { kind: "header", fields: &trace.header })?;
    for process in &trace.processes {
        line(&mut out, &process_line(process))?;
    }
    let sides = Sides::new(trace);
    for fault in &trace.faults {
        line(&mut out, &fault_line(trace, &sides, fault))?;
    }
    for collection in &trace.collections {
        line(&mut out, &Line { kind: "collection", fields: collections::line(trace, collection) })?;
    }
    for fork in forks::forks(trace) {
        line(&mut out, &Line { kind: "fork", fields: forks::line(trace, &fork) })?;
    }
    for latency in latency::latencies(trace) {
        line(&mut out, &Line { kind: "latency", fields: latency::line(trace, &latency) })?;
    }
    for asked in &trace.pages {
        line(&mut out, &page::line(trace, asked))?;
    }
    for loss in &trace.losses {
        line(&mut out, &Line::<&Loss> { kind: "loss", fields: loss })?;
    }
    line(&mut out, &summary_line(trace))?;
    out.flush()
}

fn line<T: Serialize>(out: &mut BufWriter<&mut dyn io::Write>, value: &T) -> io::Result<()> {
    json::write(out, value)?;
    out.write_all(b"\n")
}

/// A process with its totals.
pub(super) fn process_line(process: &Process) -> impl Serialize + '_ {
    ProcessLine {
        kind: "process",
        pid: process.pid,
        ppid: process.ppid,
        generation: process.generation,
        start: process.start,
        end: process.end,
        execs: &process.execs,
        comm: &process.comm,
        exe: process.exe.as_deref(),
        command: &process.command,
        inherited_bytes: process.inherited_bytes,
        attached: process.attached,
        private_bytes: process.private_bytes,
        container: process.container.as_deref(),
        exit_status: process.exit_status,
        totals: Totals(&process.totals),
        copied_bytes: process.totals.copied_bytes,
        file_copied_bytes: process.totals.file_copied_bytes,
    }
}

fn fault_line<'a>(trace: &'a Trace, sides: &Sides<'_>, fault: &Fault) -> FaultLine<'a> {
    FaultLine {
        kind: "fault",
        time: fault.time,
        pid: trace.processes.get(fault.process).map(|process| process.pid),
        tid: fault.tid,
        address: Address(fault.address),
        ip: Address(fault.ip),
        outcome: fault.outcome,
        side: (fault.outcome == Outcome::Copy).then(|| sides.of(fault.process, fault.time)).flatten(),
        bytes: fault.bytes,
        latency: fault.latency.map(NonZero::get),
        region: trace.regions.get(fault.region),
        operation: trace
            .operations
            .get(fault.operation)
            .map(|operation| OperationField { operation, collection: fault.collection }),
        write: trace.writes.get(fault.write),
        site: fault.site.and_then(|site| trace.sites.get(site)),
        python: trace.python.get(fault.python).map_or(&[], Vec::as_slice),
        native: trace.native.get(fault.native).map_or(&[], Vec::as_slice),
    }
}

/// The totals of the whole trace.
pub(super) fn summary_line(trace: &Trace) -> impl Serialize {
    let summary = &trace.summary;
    SummaryLine {
        kind: "summary",
        faults: summary.faults,
        copies: summary.copies,
        copied_bytes: summary.copied_bytes,
        file_copies: summary.file_copies,
        reuses: summary.reuses,
        lost: summary.lost,
        tool_cpu_ns: summary.tool_cpu_ns,
        setup_ns: summary.setup_ns,
        probe_ns: summary.probe_ns,
        duration: summary.duration,
        processes: trace.processes.iter().map(process_summary).collect(),
    }
}

fn process_summary(process: &Process) -> ProcessSummary {
    ProcessSummary {
        pid: process.pid,
        copies: process.totals.faults(Outcome::Copy),
        copied_bytes: process.totals.copied_bytes,
        inherited_bytes: process.inherited_bytes,
    }
}
