//! Perfetto's own format: a track for each process and thread in the order of the tree, with imports and collections as
//! slices, each listed fault with its stack inside of them, and copied bytes as a counter.
//!
//! Packets are written one at a time, by time. All are one sequence, whose interned strings and stacks are never cleared.

mod events;
mod interned;
mod proto;
mod slices;
#[cfg(test)]
mod tests;
mod tracks;

use std::io::{self, BufWriter, Write as _};

use prost::Message as _;
use prost::encoding::{WireType, encode_key};

use self::events::Events;
use self::interned::Interned;
use self::proto::{Attribute, Clock, ClockSnapshot, TraceAttributes, TracePacket, TrackEvent};
use super::Format;
use super::stacks::bounded;
use super::timeline::Timeline;
use crate::record::schema::Trace;

/// The format.
pub(super) const FORMAT: Format = Format {
    name: "perfetto",
    extensions: &["pftrace", "perfetto-trace"],
    about: "Perfetto: a timeline with a track for each process, for ui.perfetto.dev and its SQL",
    write,
};

/// The sequence of all packets.
const SEQUENCE: u32 = 1;

/// Writes a trace: clocks and attributes, tracks, then what happened.
fn write(trace: &Trace, out: &mut dyn io::Write) -> io::Result<()> {
    let timeline = Timeline::new(trace);
    let mut packets = Packets::new(out);
    packets.write(TracePacket { clock_snapshot: clocks(trace), ..TracePacket::default() })?;
    let trace_attributes = Some(TraceAttributes { attribute: attributes(trace) });
    packets.write(TracePacket { trace_attributes, ..TracePacket::default() })?;
    for track in tracks::descriptors(trace, &timeline) {
        packets.write(TracePacket { track_descriptor: Some(track), ..TracePacket::default() })?;
    }
    Events::new(trace, &timeline).write(&mut packets)?;
    packets.out.flush()
}

/// What time it was by the wall clock. Packets name no clock, and so go by the default one: here it starts with the trace.
fn clocks(trace: &Trace) -> Option<ClockSnapshot> {
    let start: jiff::Timestamp = trace.header.start.parse().ok()?;
    let clock = |id, time| Clock { clock_id: Some(id), timestamp: Some(time) };
    let wall = u64::try_from(start.as_nanosecond()).ok()?;
    Some(ClockSnapshot { clocks: vec![clock(proto::BOOTTIME, 0), clock(proto::REALTIME, wall)] })
}

/// What is about the whole trace, as its viewer's overview shows it.
fn attributes(trace: &Trace) -> Vec<Attribute> {
    let (header, summary) = (&trace.header, &trace.summary);
    let mut all = vec![
        text("version", &header.version),
        text("command", &bounded(&header.command.join(" "))),
        text("start", &header.start),
        text("kernel", &header.kernel),
        number("schema", header.schema.into()),
        number("faults", summary.faults),
        number("copies", summary.copies),
        number("copied_bytes", summary.copied_bytes),
        number("file_copies", summary.file_copies),
        number("reuses", summary.reuses),
        number("lost", summary.lost),
    ];
    let missing = header.missing.iter().zip(1..);
    all.extend(missing.map(|(sentence, nth)| text(&format!("missing.{nth}"), &bounded(sentence))));
    let losses = trace.losses.iter();
    all.extend(
        losses.map(|loss| number(&format!("loss.{}.cpu{}", bounded(&loss.stage), loss.cpu), loss.count)),
    );
    all
}

fn text(key: &str, value: &str) -> Attribute {
    Attribute { string_value: Some(value.to_owned()), ..attribute(key) }
}

fn number(key: &str, value: u64) -> Attribute {
    Attribute { long_value: Some(i64::try_from(value).unwrap_or(i64::MAX)), ..attribute(key) }
}

fn attribute(key: &str) -> Attribute {
    Attribute { key: Some(format!("cowtrace.{key}")), ..Attribute::default() }
}

/// Writes packets one after the other: as fields of a message they are a trace.
struct Packets<'a> {
    out: BufWriter<&'a mut dyn io::Write>,
    interned: Interned,
    buffer: Vec<u8>,
    begun: bool,
}

impl<'a> Packets<'a> {
    fn new(out: &'a mut dyn io::Write) -> Self {
        let out = BufWriter::with_capacity(1 << 16, out);
        Self { out, interned: Interned::default(), buffer: Vec::new(), begun: false }
    }

    /// Writes an event with what is interned for it.
    fn event(&mut self, time: u64, event: TrackEvent) -> io::Result<()> {
        let interned_data = self.interned.take();
        let (timestamp, track_event) = (Some(time), Some(event));
        self.write(TracePacket { timestamp, track_event, interned_data, ..TracePacket::default() })
    }

    fn write(&mut self, mut packet: TracePacket) -> io::Result<()> {
        packet.trusted_packet_sequence_id = Some(SEQUENCE);
        let first = !std::mem::replace(&mut self.begun, true);
        packet.sequence_flags = Some(if first { proto::CLEARED } else { proto::NEEDED });
        packet.first_packet_on_sequence = first.then_some(true);
        self.buffer.clear();
        encode_key(proto::PACKET, WireType::LengthDelimited, &mut self.buffer);
        packet.encode_length_delimited(&mut self.buffer).map_err(io::Error::other)?;
        self.out.write_all(&self.buffer)
    }
}
