//! Chrome's Trace Event Format, JSON object form: a track for each process, for Perfetto's and Chrome's viewers.
//!
//! Processes are slices from their start to their end; imports, collections and faults are slices inside, faults of which the
//! time was not measured instants; forks are arrows from parent to child; copied bytes are a counter. The stack of a fault is
//! its `sf`, a node of `stackFrames`.

#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, Write as _};
use std::num::NonZero;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::Format;
use super::notes::notes;
use super::stacks::{Frame, Node, Stacks, bounded};
use super::timeline::{Fork, Import, Span, Thread, Timeline};
use super::told;
use crate::record::json as visible;
use crate::record::schema::{Fault, Outcome, Process, Trace};

/// The format.
pub(super) const FORMAT: Format = Format {
    name: "chrome",
    extensions: &["trace.json", "chrome.json", "json"],
    about: "Chrome Trace Event JSON: a timeline with a track for each process (ui.perfetto.dev, chrome://tracing)",
    write,
};

/// Nanoseconds as the microseconds that the format counts in.
#[derive(Clone, Copy)]
struct Micros(u64);

impl Serialize for Micros {
    #[expect(clippy::cast_precision_loss, reason = "exact for a hundred days")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1000.0)
    }
}

/// An address of the target, `"0x…"`.
struct Address(u64);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

/// Any event; which fields it has depends on its phase.
#[derive(Serialize)]
struct Event<'a, A> {
    ph: &'static str,
    name: &'a str,
    cat: &'a str,
    pid: u32,
    tid: u32,
    ts: Micros,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<Micros>,
    /// Scope of an instant: `t` = its thread, `p` = its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    /// Number of an arrow.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    /// `e` = an arrow ends at the slice around it.
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    /// Number of the stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    sf: Option<usize>,
    args: A,
}

impl<'a, A> Event<'a, A> {
    fn new(
        ph: &'static str,
        name: &'a str,
        cat: &'a str,
        (pid, tid): (u32, u32),
        time: u64,
        args: A,
    ) -> Self {
        let (dur, s, id, bp, sf) = (None, None, None, None, None);
        Self { ph, name, cat, pid, tid, ts: Micros(time), dur, s, id, bp, sf, args }
    }
}

/// What a fault was about.
#[derive(Serialize)]
struct FaultArgs<'a> {
    address: Address,
    outcome: Outcome,
    bytes: u64,
    operation: &'a str,
    write: &'a str,
    site: Option<&'a str>,
    region: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    collection: Option<u32>,
}

/// The events, one a line, and the commas between them.
struct Events<'a> {
    out: BufWriter<&'a mut dyn io::Write>,
    first: bool,
}

impl Events<'_> {
    fn write<T: Serialize>(&mut self, event: &T) -> io::Result<()> {
        let begin: &[u8] = if std::mem::replace(&mut self.first, false) { b"\n" } else { b",\n" };
        self.out.write_all(begin)?;
        visible::write(&mut self.out, event)
    }

    /// A name of a process or thread.
    fn metadata(&mut self, name: &str, track: (u32, u32), args: &Value) -> io::Result<()> {
        let (pid, tid) = track;
        self.write(&json!({"ph": "M", "name": name, "pid": pid, "tid": tid, "args": args}))
    }
}

/// Where a process's and a thread's events go.
struct Tracks<'a> {
    trace: &'a Trace,
    timeline: Timeline<'a>,
}

impl Tracks<'_> {
    fn of(&self, thread: Thread) -> (u32, u32) {
        let id = self.timeline.ids.get(thread.process).copied().unwrap_or_default();
        let first = self.trace.processes.get(thread.process).is_some_and(|process| process.pid == thread.tid);
        (id, if first { id } else { thread.tid })
    }

    fn process(&self, index: usize) -> (u32, u32) {
        let id = self.timeline.ids.get(index).copied().unwrap_or_default();
        (id, id)
    }
}

fn write(trace: &Trace, out: &mut dyn io::Write) -> io::Result<()> {
    let mut events = Events { out: BufWriter::with_capacity(1 << 16, out), first: true };
    let tracks = Tracks { trace, timeline: Timeline::new(trace) };
    events.out.write_all(b"{\"displayTimeUnit\":\"ns\",\"otherData\":")?;
    visible::write(&mut events.out, &about(trace))?;
    events.out.write_all(b",\"traceEvents\":[")?;
    names(&mut events, &tracks)?;
    for (index, process) in trace.processes.iter().enumerate() {
        life(&mut events, &tracks, index, process)?;
    }
    for (number, fork) in tracks.timeline.forks.iter().enumerate() {
        arrow(&mut events, &tracks, number, *fork)?;
    }
    for import in &tracks.timeline.imports {
        slice_of_import(&mut events, &tracks, import)?;
    }
    for span in &tracks.timeline.collections {
        slice_of_collection(&mut events, &tracks, span)?;
    }
    let stacks = faults(&mut events, &tracks)?;
    for (index, points) in tracks.timeline.copied.iter().enumerate() {
        for point in points {
            let args = json!({"bytes": point.bytes});
            events.write(&Event::new("C", "copied bytes", "", tracks.process(index), point.time, args))?;
        }
    }
    events.out.write_all(b"\n],\"stackFrames\":{")?;
    frames(&mut events.out, &stacks)?;
    events.out.write_all(b"\n}}\n")?;
    events.out.flush()
}

fn about(trace: &Trace) -> Value {
    let header = &trace.header;
    let command: Vec<String> = header.command.iter().map(|word| bounded(word)).collect();
    json!({
        "cowtrace": header.version,
        "command": command.join(" "),
        "start": header.start,
        "kernel": header.kernel,
        "notes": notes(trace),
    })
}

/// Names of processes and threads; the viewers sort by the positions that are told here.
fn names(events: &mut Events<'_>, tracks: &Tracks<'_>) -> io::Result<()> {
    for (position, &index) in tracks.timeline.order.iter().enumerate() {
        let process = &tracks.trace.processes[index];
        let track = tracks.process(index);
        let label = format!("generation {}, forked by {}", process.generation, process.ppid);
        events.metadata("process_name", track, &json!({"name": bounded(&process.comm)}))?;
        events.metadata("process_labels", track, &json!({"labels": label}))?;
        events.metadata("process_sort_index", track, &json!({"sort_index": position}))?;
    }
    for (position, &thread) in tracks.timeline.threads.iter().enumerate() {
        let track = tracks.of(thread);
        let comm = tracks.trace.processes.get(thread.process).map_or("", |process| process.comm.as_str());
        let name = if track.0 == track.1 { bounded(comm) } else { format!("thread {}", thread.tid) };
        events.metadata("thread_name", track, &json!({"name": name}))?;
        events.metadata("thread_sort_index", track, &json!({"sort_index": position}))?;
    }
    Ok(())
}

fn life(events: &mut Events<'_>, tracks: &Tracks<'_>, index: usize, process: &Process) -> io::Result<()> {
    let track = tracks.process(index);
    let end = process.end.unwrap_or(tracks.timeline.end);
    let command: Vec<String> = process.command.iter().take(64).map(|word| bounded(word)).collect();
    let args = json!({
        "generation": process.generation,
        "ppid": process.ppid,
        "exe": process.exe.as_deref().map(bounded),
        "command": bounded(&command.join(" ")),
        "inherited_bytes": process.inherited_bytes,
        "exit_status": process.exit_status,
        "copied_bytes": process.totals.copied_bytes,
        "file_copied_bytes": process.totals.file_copied_bytes,
    });
    let name = bounded(&process.comm);
    let dur = Some(Micros(end.saturating_sub(process.start)));
    events.write(&Event { dur, ..Event::new("X", &name, "process", track, process.start, args) })?;
    for &time in &process.execs {
        let exec = Event::new("i", "exec", "process", track, time, json!({}));
        events.write(&Event { s: Some("p"), ..exec })?;
    }
    Ok(())
}

/// A fork is an instant of the parent and an arrow to the child.
fn arrow(events: &mut Events<'_>, tracks: &Tracks<'_>, number: usize, fork: Fork) -> io::Result<()> {
    if fork.parent >= tracks.trace.processes.len() {
        return Ok(());
    }
    let (parent, child) = (tracks.process(fork.parent), tracks.process(fork.child));
    let args = json!({"child": tracks.trace.processes[fork.child].pid});
    let instant = Event::new("i", "fork", "fork", parent, fork.time, args);
    events.write(&Event { s: Some("p"), ..instant })?;
    let (begin, end) = (
        Event::new("s", "fork", "fork", parent, fork.time, json!({})),
        Event::new("f", "fork", "fork", child, fork.time, json!({})),
    );
    events.write(&Event { id: Some(number), ..begin })?;
    events.write(&Event { id: Some(number), bp: Some("e"), ..end })
}

fn slice_of_import(events: &mut Events<'_>, tracks: &Tracks<'_>, import: &Import<'_>) -> io::Result<()> {
    let module = import.module.map_or_else(|| "?".to_owned(), bounded);
    let name = format!("{} {module}", import.detail.map_or_else(|| "import".to_owned(), bounded));
    let args = json!({"pages": import.pages, "bytes": import.bytes});
    let event = Event::new("X", &name, "import", tracks.of(import.thread), import.start, args);
    events.write(&Event { dur: Some(Micros(import.end.saturating_sub(import.start))), ..event })
}

fn slice_of_collection(events: &mut Events<'_>, tracks: &Tracks<'_>, span: &Span<'_>) -> io::Result<()> {
    let collection = span.collection;
    if collection.process >= tracks.trace.processes.len() {
        return Ok(());
    }
    let generation =
        collection.generation.map_or_else(String::new, |number| format!(" (generation {number})"));
    let name = format!("collection {}{generation}", collection.number);
    let site = collection.site.and_then(|site| tracks.trace.sites.get(site)).map(told::site);
    let args = json!({"pages": collection.pages, "bytes": collection.bytes, "site": site});
    let track = tracks.of(Thread { process: collection.process, tid: collection.tid });
    let event = Event::new("X", &name, "gc", track, collection.start, args);
    events.write(&Event { dur: Some(Micros(span.end.saturating_sub(collection.start))), ..event })
}

fn faults<'a>(events: &mut Events<'_>, tracks: &Tracks<'a>) -> io::Result<Stacks<'a>> {
    let trace = tracks.trace;
    let mut stacks = Stacks::new(trace);
    let operations: Vec<String> = trace.operations.values().iter().map(told::operation).collect();
    let writes: Vec<String> = trace.writes.values().iter().map(told::write).collect();
    let sites: Vec<String> = trace.sites.values().iter().map(told::site).collect();
    let regions: Vec<String> = trace.regions.values().iter().map(told::region).collect();
    let mut names: Vec<String> = Vec::new();
    for fault in trace.faults.iter().filter(|fault| fault.process < trace.processes.len()) {
        let stack = stacks.of(fault);
        let frame = stacks.nodes()[stack.index()].frame as usize;
        names.extend(stacks.frames().iter().skip(names.len()).map(Frame::name));
        let kind = trace.operations.get(fault.operation).map_or("unknown", |operation| operation.kind);
        let args = FaultArgs {
            address: Address(fault.address),
            outcome: fault.outcome,
            bytes: fault.bytes,
            operation: operations.get(fault.operation.index()).map_or("unknown", String::as_str),
            write: writes.get(fault.write.index()).map_or("unknown", String::as_str),
            site: fault.site.and_then(|site| sites.get(site.index())).map(String::as_str),
            region: regions.get(fault.region.index()).map_or("unknown", String::as_str),
            collection: fault.collection,
        };
        let track = tracks.of(Thread { process: fault.process, tid: fault.tid });
        let event = Event::new(phase(fault), &names[frame], kind, track, fault.time, args);
        let dur = fault.latency.map(|time| Micros(NonZero::get(time)));
        let s = dur.is_none().then_some("t");
        events.write(&Event { dur, s, sf: Some(stack.index()), ..event })?;
    }
    Ok(stacks)
}

/// A fault whose time was measured is a slice.
const fn phase(fault: &Fault) -> &'static str {
    if fault.latency.is_some() { "X" } else { "i" }
}

/// The nodes of the stacks' tree, by their numbers.
fn frames(out: &mut impl io::Write, stacks: &Stacks<'_>) -> io::Result<()> {
    for (number, Node { caller, frame }) in stacks.nodes().iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        let frame = &stacks.frames()[*frame as usize];
        write!(out, "{comma}\n\"{number}\":")?;
        match caller {
            Some(caller) => visible::write(out, &json!({"name": frame.label(), "parent": caller.index()}))?,
            None => visible::write(out, &json!({"name": frame.label()}))?,
        }
    }
    Ok(())
}
