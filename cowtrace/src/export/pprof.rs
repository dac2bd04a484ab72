//! pprof: copied pages and bytes by stack, with process, operation and write as labels.
//!
//! Faults that are alike in all of that are one sample, so that the profile is as long as there are different ones. It has
//! the faults that copied; what is not listed is said in the comments.

mod proto;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, BufWriter, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;

use self::proto::{Label, Profile, Sample, ValueType};
use self::tables::Places;
use super::notes::notes;
use super::stacks::{Frame, bounded, called, is_copy};
use super::{Format, told, word};
use crate::record::schema::{Fault, Id, NativeFrame, Operation, Outcome, Process, PythonFrame, Trace, Write};

/// The format.
pub(super) const FORMAT: Format = Format {
    name: "pprof",
    extensions: &["pb.gz"],
    about: "pprof: copied pages and bytes by stack, for go tool pprof and what reads its profiles",
    write,
};

/// Messages are handed over in pieces of about so many bytes.
const PIECE: usize = 1 << 16;

/// What faults of one sample have in common. Of the write only its frame counts: see [`Frame::write`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    process: usize,
    outcome: Outcome,
    operation: Id<Operation>,
    python: Id<Vec<PythonFrame>>,
    native: Id<Vec<NativeFrame>>,
    /// Location of the write's frame.
    write: u64,
}

/// Faults of one sample.
struct Group {
    key: Key,
    /// Any of their writes.
    write: Id<Write>,
    copies: u64,
    bytes: u64,
}

/// Writes a trace: samples first, then what they name.
fn write(trace: &Trace, out: &mut dyn io::Write) -> io::Result<()> {
    let mut out = Pieces::new(out);
    let mut places = Places::new(trace);
    let groups = groups(trace, &mut places);
    let strings = places.strings();
    let mut value_type = |r#type, unit| ValueType { r#type: strings.of(r#type), unit: strings.of(unit) };
    let sample_type = vec![value_type("copies", "count"), value_type("copied", "bytes")];
    let default_sample_type = sample_type[1].r#type;
    let comment = comments(trace).iter().map(|comment| strings.of(comment)).collect();
    let start = trace.header.start.parse::<jiff::Timestamp>().ok();
    out.write(&Profile {
        sample_type,
        default_sample_type,
        comment,
        time_nanos: start.map_or(0, |start| i64::try_from(start.as_nanosecond()).unwrap_or_default()),
        duration_nanos: signed(trace.summary.duration),
        ..Profile::default()
    })?;
    let mut samples = Samples::new(trace, &mut places);
    for group in &groups {
        out.write(&Profile { sample: vec![samples.of(group)], ..Profile::default() })?;
    }
    let (mapping, location, function, strings) = places.into_parts();
    for location in location {
        out.write(&Profile { location: vec![location], ..Profile::default() })?;
    }
    for function in function {
        out.write(&Profile { function: vec![function], ..Profile::default() })?;
    }
    out.write(&Profile { mapping, ..Profile::default() })?;
    for string in strings.into_all() {
        out.write(&Profile { string_table: vec![string], ..Profile::default() })?;
    }
    out.finish()
}

/// Messages one after the other are one message with the fields of all: it is written as it comes.
struct Pieces<'a> {
    out: BufWriter<GzEncoder<&'a mut dyn io::Write>>,
    buffer: Vec<u8>,
}

impl<'a> Pieces<'a> {
    fn new(out: &'a mut dyn io::Write) -> Self {
        let out = BufWriter::with_capacity(PIECE, GzEncoder::new(out, Compression::default()));
        Self { out, buffer: Vec::new() }
    }

    fn write(&mut self, piece: &Profile) -> io::Result<()> {
        self.buffer.clear();
        piece.encode(&mut self.buffer).map_err(io::Error::other)?;
        self.out.write_all(&self.buffer)
    }

    fn finish(self) -> io::Result<()> {
        let compressed = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        compressed.finish()?.flush()
    }
}

/// Copies by what they have in common, in the order in which they first came.
fn groups<'a>(trace: &'a Trace, places: &mut Places<'a>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut positions: HashMap<Key, usize> = HashMap::new();
    let mut writes: HashMap<usize, u64> = HashMap::new();
    for fault in trace.faults.iter().filter(|fault| is_copy(fault)) {
        let written = || places.of(Frame::write(trace.writes.get(fault.write)));
        let key = key(fault, *writes.entry(fault.write.index()).or_insert_with(written));
        let position = *positions.entry(key).or_insert_with(|| {
            groups.push(Group { key, write: fault.write, copies: 0, bytes: 0 });
            groups.len() - 1
        });
        let group = &mut groups[position];
        group.copies += 1;
        group.bytes = group.bytes.saturating_add(fault.bytes);
    }
    groups
}

fn key(fault: &Fault, write: u64) -> Key {
    let &Fault { process, outcome, operation, python, native, .. } = fault;
    Key { process, outcome, operation, python, native, write }
}

/// Makes samples of groups.
struct Samples<'a, 'p> {
    trace: &'a Trace,
    places: &'p mut Places<'a>,
    /// Locations of a stack, by its id.
    python: HashMap<usize, Vec<u64>>,
    native: HashMap<(usize, bool), Vec<u64>>,
}

impl<'a, 'p> Samples<'a, 'p> {
    fn new(trace: &'a Trace, places: &'p mut Places<'a>) -> Self {
        Self { trace, places, python: HashMap::new(), native: HashMap::new() }
    }

    fn of(&mut self, group: &Group) -> Sample {
        let (trace, key) = (self.trace, group.key);
        let python = self.python.entry(key.python.index()).or_insert_with(|| {
            let frames = trace.python.get(key.python).into_iter().flatten();
            frames.map(|frame| self.places.of(Frame::python(frame))).collect()
        });
        let interpreted = !python.is_empty();
        let native = self.native.entry((key.native.index(), interpreted)).or_insert_with(|| {
            let frames = trace.native.get(key.native).map_or(&[][..], Vec::as_slice);
            called(frames, interpreted).iter().map(|frame| self.places.native(frame)).collect()
        });
        let location_id = [key.write].iter().chain(&*native).chain(&*python).copied().collect();
        Sample {
            location_id,
            value: vec![signed(group.copies), signed(group.bytes)],
            label: self.labels(group),
        }
    }

    fn labels(&mut self, group: &Group) -> Vec<Label> {
        let (trace, key) = (self.trace, group.key);
        let write = trace.writes.get(group.write);
        let strings = self.places.strings();
        let mut label =
            |key: &str, value: &str| Label { key: strings.of(key), str: strings.of(&bounded(value)) };
        let process = trace.processes.get(key.process).map_or_else(|| "unknown".to_owned(), name);
        let operation = trace.operations.get(key.operation);
        let operation = operation.map_or_else(|| "unknown".to_owned(), told::operation);
        let mut labels = vec![
            label("process", &process),
            label("operation", &operation),
            label("write", write.map_or("unknown", |write| write.kind)),
            label("outcome", &word(&key.outcome)),
        ];
        labels.extend(write.and_then(|write| write.of.as_deref()).map(|of| label("type", of)));
        labels
    }
}

/// A process as a label: its pid and its name.
fn name(process: &Process) -> String {
    format!("{} {}", process.pid, process.comm)
}

/// What was traced, what of it is missing and what was lost.
fn comments(trace: &Trace) -> Vec<String> {
    let header = &trace.header;
    let mut all = vec![
        format!("cowtrace {}, Linux {}", header.version, header.kernel),
        format!("command: {}", bounded(&header.command.join(" "))),
    ];
    all.extend(notes(trace));
    for process in &trace.processes {
        for outcome in [Outcome::Copy, Outcome::FileCopy] {
            let total = process.totals.of(outcome);
            if total.unlisted + total.lost > 0 {
                all.push(format!(
                    "not in this profile: {} of {} {} faults of process {}, {} of them lost",
                    total.unlisted + total.lost,
                    total.faults,
                    word(&outcome),
                    bounded(&name(process)),
                    total.lost
                ));
            }
        }
    }
    all
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
