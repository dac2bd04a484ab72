//! The columns, in their order: name, type and where each value comes from.

use std::borrow::Cow;
use std::collections::HashMap;
use std::num::NonZero;

use parquet::basic::{Encoding, LogicalType, Repetition, Type as Physical};
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::schema::types::Type;

use crate::export::stacks::{Frame, bounded, collapsed};
use crate::export::word;
use crate::record::schema::{Fault, Operation, Outcome, Process, Region, Site, Trace, Write};

/// One column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    /// No row is without a value.
    pub(super) required: bool,
    pub(super) kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Nanoseconds, bytes or an offset: signed, so that differences and sums of it are what one expects in SQL.
    Size(fn(&Trace, &Fault) -> Option<u64>),
    /// An address of the target.
    Address(fn(&Fault) -> u64),
    /// An id, a line, a number.
    Number(fn(&Trace, &Fault) -> Option<u32>),
    /// A string: which value of the trace it comes from, and what is written of that value. The same value is asked
    /// about once a group.
    Text(fn(&Trace, &Fault) -> Option<usize>, Text),
}

/// The string of a value of the trace, `None` = not known or none.
pub(super) type Text = fn(&Trace, usize) -> Option<Cow<'_, str>>;

/// Every column.
pub(super) static COLUMNS: &[Column] = &[
    required("time_ns", Kind::Size(|_, fault| Some(fault.time))),
    optional("pid", Kind::Number(|trace, fault| process(trace, fault.process).map(|process| process.pid))),
    required("tid", Kind::Number(|_, fault| Some(fault.tid))),
    optional(
        "generation",
        Kind::Number(|trace, fault| process(trace, fault.process).map(|process| process.generation)),
    ),
    optional("comm", Kind::Text(|_, fault| Some(fault.process), |trace, at| text(&process(trace, at)?.comm))),
    required("address", Kind::Address(|fault| fault.address)),
    required("ip", Kind::Address(|fault| fault.ip)),
    required(
        "outcome",
        Kind::Text(outcome, |_, at| Outcome::ALL.get(at).map(|outcome| word(outcome).into())),
    ),
    required("bytes", Kind::Size(|_, fault| Some(fault.bytes))),
    optional("latency_ns", Kind::Size(|_, fault| fault.latency.map(NonZero::get))),
    of_region("region_kind", |trace, at| region(trace, at).map(|region| region.kind.into())),
    of_region("region_path", |trace, at| text(region(trace, at)?.path.as_ref()?)),
    optional("region_offset", Kind::Size(|trace, fault| trace.regions.get(fault.region)?.offset)),
    of_operation("operation_kind", |trace, at| operation(trace, at).map(|operation| operation.kind.into())),
    of_operation("operation_name", |trace, at| text(operation(trace, at)?.name.as_ref()?)),
    of_operation("operation_detail", |trace, at| text(operation(trace, at)?.detail.as_ref()?)),
    of_operation("operation_chain", chain),
    of_operation("operation_confidence", |trace, at| {
        operation(trace, at).map(|operation| word(&operation.confidence).into())
    }),
    of_operation("operation_reason", |trace, at| text(operation(trace, at)?.reason.as_ref()?)),
    of_write("write_kind", |trace, at| written(trace, at).map(|write| write.kind.into())),
    of_write("write_type", |trace, at| text(written(trace, at)?.of.as_ref()?)),
    of_write("write_name", |trace, at| text(written(trace, at)?.name.as_ref()?)),
    of_write("write_action", |trace, at| written(trace, at)?.action.map(Into::into)),
    of_write("write_confidence", |trace, at| written(trace, at).map(|write| word(&write.confidence).into())),
    of_write("write_reason", |trace, at| text(written(trace, at)?.reason.as_ref()?)),
    of_site("site_file", |trace, at| text(site(trace, at)?.file.as_ref()?)),
    optional("site_line", Kind::Number(|trace, fault| trace.sites.get(fault.site?)?.line)),
    of_site("site_function", |trace, at| text(site(trace, at)?.function.as_ref()?)),
    of_site("site_library", |trace, at| text(site(trace, at)?.library.as_ref()?)),
    optional(
        "python_stack",
        Kind::Text(
            |_, fault| Some(fault.python.index()),
            |trace, at| stack(trace.python.values().get(at)?.iter().rev().map(Frame::python)),
        ),
    ),
    optional(
        "native_stack",
        Kind::Text(
            |_, fault| Some(fault.native.index()),
            |trace, at| stack(trace.native.values().get(at)?.iter().rev().map(Frame::native)),
        ),
    ),
    optional("collection", Kind::Number(|_, fault| fault.collection)),
];

const fn required(name: &'static str, kind: Kind) -> Column {
    Column { name, required: true, kind }
}

const fn optional(name: &'static str, kind: Kind) -> Column {
    Column { name, required: false, kind }
}

const fn of_region(name: &'static str, text: Text) -> Column {
    optional(name, Kind::Text(|_, fault| Some(fault.region.index()), text))
}

const fn of_operation(name: &'static str, text: Text) -> Column {
    optional(name, Kind::Text(|_, fault| Some(fault.operation.index()), text))
}

const fn of_write(name: &'static str, text: Text) -> Column {
    optional(name, Kind::Text(|_, fault| Some(fault.write.index()), text))
}

const fn of_site(name: &'static str, text: Text) -> Column {
    optional(name, Kind::Text(|_, fault| fault.site.map(|site| site.index()), text))
}

fn process(trace: &Trace, at: usize) -> Option<&Process> {
    trace.processes.get(at)
}

fn region(trace: &Trace, at: usize) -> Option<&Region> {
    trace.regions.values().get(at)
}

fn operation(trace: &Trace, at: usize) -> Option<&Operation> {
    trace.operations.values().get(at)
}

fn written(trace: &Trace, at: usize) -> Option<&Write> {
    trace.writes.values().get(at)
}

fn site(trace: &Trace, at: usize) -> Option<&Site> {
    trace.sites.values().get(at)
}

fn outcome(_: &Trace, fault: &Fault) -> Option<usize> {
    Outcome::ALL.iter().position(|outcome| *outcome == fault.outcome)
}

/// Bytes up to which a name is kept whole: more than a path may have. In each group it is there once, unless it and others
/// are so long that a table of them would be too large.
const LONGEST: usize = 64 << 10;

#[expect(clippy::unnecessary_wraps, reason = "the form of what is not always known")]
fn text(text: &String) -> Option<Cow<'_, str>> {
    Some(if text.len() > LONGEST { bounded(text).into() } else { text.into() })
}

/// Imports under way, outermost first.
fn chain(trace: &Trace, at: usize) -> Option<Cow<'_, str>> {
    join(operation(trace, at)?.chain.iter().map(|module| collapsed(module)))
}

/// A stack, outermost frame first.
fn stack<'a>(frames: impl Iterator<Item = Frame<'a>>) -> Option<Cow<'a, str>> {
    join(frames.map(|frame| collapsed(&frame.label())))
}

/// A list as one string, as in CSV.
fn join<'a>(parts: impl Iterator<Item = String>) -> Option<Cow<'a, str>> {
    let parts: Vec<String> = parts.collect();
    (!parts.is_empty()).then(|| parts.join(";").into())
}

impl Column {
    /// Its part of the file's schema.
    pub(super) fn of_schema(&self) -> Result<Type, ParquetError> {
        let integer = |bits, signed| LogicalType::integer(bits, signed);
        let (physical, logical) = match self.kind {
            Kind::Size(_) => (Physical::INT64, integer(64, true)),
            Kind::Address(_) => (Physical::INT64, integer(64, false)),
            Kind::Number(_) => (Physical::INT32, integer(32, false)),
            Kind::Text(..) => (Physical::BYTE_ARRAY, LogicalType::String),
        };
        let repetition = if self.required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
        Type::primitive_type_builder(self.name, physical)
            .with_repetition(repetition)
            .with_logical_type(Some(logical))
            .build()
    }

    /// How its values are stored, if not as a dictionary: these hardly ever come twice.
    pub(super) fn encoding(&self) -> Option<Encoding> {
        matches!(self.name, "time_ns" | "address" | "latency_ns").then_some(Encoding::DELTA_BINARY_PACKED)
    }
}

/// Strings that were met in one group.
pub(super) struct Texts<'a> {
    trace: &'a Trace,
    text: Text,
    met: HashMap<usize, Option<ByteArray>>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(trace: &'a Trace, text: Text) -> Self {
        Self { trace, text, met: HashMap::new() }
    }

    pub(super) fn of(&mut self, key: usize) -> Option<ByteArray> {
        let text =
            || (self.text)(self.trace, key).map(|text| ByteArray::from(text.into_owned().into_bytes()));
        self.met.entry(key).or_insert_with(text).clone()
    }
}
