//! CSV (RFC 4180): a row for each listed fault.
//!
//! Text is what it was: a reader gets back the very names of the target, quotes, line feeds and NULs included. So nothing is
//! put before a field that begins like a formula; who opens the file in a spreadsheet imports its columns as text. What is
//! not known or not there is an empty field. Frames of a stack, and imports of a chain, are joined by `;`, each escaped as in
//! collapsed stacks.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufWriter};
use std::num::NonZero;

use csv::WriterBuilder;
use serde::Serialize;

use super::Format;
use super::stacks::{Frame, collapsed};
use crate::record::schema::{Confidence, Fault, Id, NativeFrame, Operation, Outcome, PythonFrame, Trace};

/// The format.
pub(super) const FORMAT: Format = Format {
    name: "csv",
    extensions: &["csv"],
    about: "CSV: a row for each listed fault, with names as they are (import them as text into a spreadsheet)",
    write,
};

/// A row; the fields are the columns.
#[derive(Serialize)]
struct Row<'a> {
    time_ns: u64,
    pid: Option<u32>,
    tid: u32,
    generation: Option<u32>,
    comm: Option<&'a str>,
    address: &'a str,
    ip: &'a str,
    outcome: Outcome,
    bytes: u64,
    latency_ns: Option<u64>,
    region_kind: Option<&'a str>,
    region_path: Option<&'a str>,
    region_offset: Option<u64>,
    operation_kind: Option<&'a str>,
    operation_name: Option<&'a str>,
    operation_detail: Option<&'a str>,
    operation_chain: &'a str,
    operation_confidence: Option<Confidence>,
    operation_reason: Option<&'a str>,
    write_kind: Option<&'a str>,
    write_type: Option<&'a str>,
    write_name: Option<&'a str>,
    write_action: Option<&'a str>,
    write_confidence: Option<Confidence>,
    write_reason: Option<&'a str>,
    site_file: Option<&'a str>,
    site_line: Option<u32>,
    site_function: Option<&'a str>,
    site_library: Option<&'a str>,
    python_stack: &'a str,
    native_stack: &'a str,
    collection: Option<u32>,
}

/// The names of [`Row`]'s fields: they stand in the first line of a file without rows, too.
const COLUMNS: [&str; 32] = [
    "time_ns",
    "pid",
    "tid",
    "generation",
    "comm",
    "address",
    "ip",
    "outcome",
    "bytes",
    "latency_ns",
    "region_kind",
    "region_path",
    "region_offset",
    "operation_kind",
    "operation_name",
    "operation_detail",
    "operation_chain",
    "operation_confidence",
    "operation_reason",
    "write_kind",
    "write_type",
    "write_name",
    "write_action",
    "write_confidence",
    "write_reason",
    "site_file",
    "site_line",
    "site_function",
    "site_library",
    "python_stack",
    "native_stack",
    "collection",
];

fn write(trace: &Trace, out: &mut dyn io::Write) -> io::Result<()> {
    let mut out = WriterBuilder::new().has_headers(false).from_writer(BufWriter::with_capacity(1 << 16, out));
    let mut joined = Joined::default();
    let (mut address, mut ip) = (String::new(), String::new());
    out.write_record(COLUMNS)?;
    for fault in &trace.faults {
        hexadecimal(&mut address, fault.address);
        hexadecimal(&mut ip, fault.ip);
        joined.add(trace, fault);
        out.serialize(row(trace, fault, &joined, (&address, &ip)))?;
    }
    out.flush()
}

fn row<'a>(
    trace: &'a Trace,
    fault: &Fault,
    joined: &'a Joined,
    (address, ip): (&'a str, &'a str),
) -> Row<'a> {
    let process = trace.processes.get(fault.process);
    let region = trace.regions.get(fault.region);
    let operation = trace.operations.get(fault.operation);
    let write = trace.writes.get(fault.write);
    let site = fault.site.and_then(|site| trace.sites.get(site));
    Row {
        time_ns: fault.time,
        pid: process.map(|process| process.pid),
        tid: fault.tid,
        generation: process.map(|process| process.generation),
        comm: process.map(|process| process.comm.as_str()),
        address,
        ip,
        outcome: fault.outcome,
        bytes: fault.bytes,
        latency_ns: fault.latency.map(NonZero::get),
        region_kind: region.map(|region| region.kind),
        region_path: region.and_then(|region| region.path.as_deref()),
        region_offset: region.and_then(|region| region.offset),
        operation_kind: operation.map(|operation| operation.kind),
        operation_name: operation.and_then(|operation| operation.name.as_deref()),
        operation_detail: operation.and_then(|operation| operation.detail.as_deref()),
        operation_chain: joined.chains.get(&fault.operation).map_or("", String::as_str),
        operation_confidence: operation.map(|operation| operation.confidence),
        operation_reason: operation.and_then(|operation| operation.reason.as_deref()),
        write_kind: write.map(|write| write.kind),
        write_type: write.and_then(|write| write.of.as_deref()),
        write_name: write.and_then(|write| write.name.as_deref()),
        write_action: write.and_then(|write| write.action),
        write_confidence: write.map(|write| write.confidence),
        write_reason: write.and_then(|write| write.reason.as_deref()),
        site_file: site.and_then(|site| site.file.as_deref()),
        site_line: site.and_then(|site| site.line),
        site_function: site.and_then(|site| site.function.as_deref()),
        site_library: site.and_then(|site| site.library.as_deref()),
        python_stack: joined.python.get(&fault.python).map_or("", String::as_str),
        native_stack: joined.native.get(&fault.native).map_or("", String::as_str),
        collection: fault.collection,
    }
}

/// Lists as one field each, made once for all faults that have the same.
#[derive(Default)]
struct Joined {
    chains: HashMap<Id<Operation>, String>,
    python: HashMap<Id<Vec<PythonFrame>>, String>,
    native: HashMap<Id<Vec<NativeFrame>>, String>,
}

impl Joined {
    fn add(&mut self, trace: &Trace, fault: &Fault) {
        self.chains.entry(fault.operation).or_insert_with(|| {
            let operation = trace.operations.get(fault.operation);
            join(operation.into_iter().flat_map(|operation| &operation.chain).map(|module| collapsed(module)))
        });
        self.python.entry(fault.python).or_insert_with(|| {
            let frames = trace.python.get(fault.python).into_iter().flatten().rev();
            join(frames.map(|frame| collapsed(&Frame::python(frame).label())))
        });
        self.native.entry(fault.native).or_insert_with(|| {
            let frames = trace.native.get(fault.native).into_iter().flatten().rev();
            join(frames.map(|frame| collapsed(&Frame::native(frame).label())))
        });
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(";")
}

fn hexadecimal(text: &mut String, number: u64) {
    text.clear();
    // Writing to a string does not fail.
    let _ = write!(text, "{number:#x}");
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap as Map;

    use super::super::samples::{self, HOSTILE, written};
    use super::*;

    fn rows(trace: &Trace) -> Vec<Map<String, String>> {
        let text = written(&FORMAT, trace);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        reader.deserialize().map(Result::unwrap).collect()
    }

    /// Each fault is a row, the sums are the trace's, and the columns hold what they are called after.
    #[test]
    fn rows_are_faults() {
        let trace = samples::usual();
        let rows = rows(&trace);
        assert_eq!(rows.len(), trace.faults.len());
        let copies: Vec<_> = rows.iter().filter(|row| row["outcome"].ends_with("copy")).collect();
        let bytes: u64 = copies.iter().map(|row| row["bytes"].parse::<u64>().unwrap()).sum();
        assert_eq!((copies.len() as u64, bytes), samples::copied(&trace.faults));
        let row = &rows[3];
        for (column, value) in [
            ("pid", "7001"),
            ("generation", "1"),
            ("comm", "python3"),
            ("address", "0x7f0000000018"),
            ("outcome", "copy"),
            ("latency_ns", "40"),
            ("region_kind", "anonymous"),
            ("region_path", ""),
            ("operation_kind", "import"),
            ("operation_name", "statistics"),
            ("operation_chain", "statistics;decimal"),
            ("operation_confidence", "certain"),
            ("write_kind", "refcount"),
            ("write_type", "str"),
            ("write_name", "'b'"),
            ("write_confidence", "likely"),
            ("site_file", "/home/ann/multi.py"),
            ("site_line", "6"),
            ("python_stack", "<module> (ann/multi.py:12);f (ann/multi.py:6)"),
            ("native_stack", "insertdict (libpython3.11.so.1.0)"),
            ("collection", ""),
        ] {
            assert_eq!(row[column], value, "{column}");
        }
        assert_eq!((rows[2]["latency_ns"].as_str(), rows[5]["collection"].as_str()), ("", "1"));
    }

    /// Whatever a name has in it, the reader gets it back, and joined ones can be taken apart.
    #[test]
    fn names_survive() {
        let trace = samples::hostile();
        let rows = rows(&trace);
        assert_eq!(rows.len(), trace.faults.len());
        for (nth, name) in HOSTILE.iter().enumerate() {
            let row = &rows[nth * 4];
            for column in ["comm", "region_path", "operation_reason", "write_name", "site_function"] {
                assert_eq!(row[column], *name, "{column}");
            }
            assert_eq!(row["python_stack"].split(';').count(), 2);
            assert_eq!(row["operation_chain"].split(';').count(), 2);
        }
    }

    /// A trace without faults still says what the columns are; a full disk is an error.
    #[test]
    fn empty_and_full() {
        assert_eq!(written(&FORMAT, &Trace::default()).trim_end(), COLUMNS.join(","));
        assert_eq!(
            write(&samples::usual(), &mut samples::Full).unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
    }
}
