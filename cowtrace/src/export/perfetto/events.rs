//! What happened, by time: lives of processes, forks, execs, imports, collections, counters and faults.

use std::io;

use super::Packets;
use super::interned::Interned;
use super::proto::{
    DebugAnnotation, TYPE_COUNTER, TYPE_INSTANT, TYPE_SLICE_BEGIN, TYPE_SLICE_END, TrackEvent,
};
use super::slices::Slices;
use super::tracks::{self, Threads};
use crate::export::stacks::{self, Stacks, is_copy};
use crate::export::timeline::{Fork, Import, Point, Span, Thread, Timeline, end_of};
use crate::export::{told, word};
use crate::record::schema::{Fault, Id, Operation, Outcome, Process, Region, Site, Trace, Write};

/// What is no fault.
#[derive(Clone, Copy)]
enum Mark<'a> {
    /// A process begins to live.
    Start(usize),
    /// A process forks.
    Fork(Fork),
    /// A process begins to run another program.
    Exec(usize),
    Import(&'a Import<'a>),
    Collection(Span<'a>),
    /// A process has copied so much.
    Copied(usize, Point),
}

/// Annotations of each value of a table, made when it is first met.
type Known = Vec<Option<Vec<DebugAnnotation>>>;

/// Writes the events of a trace.
pub(super) struct Events<'a> {
    trace: &'a Trace,
    timeline: &'a Timeline<'a>,
    threads: Threads,
    stacks: Stacks<'a>,
    slices: Slices,
    operations: Known,
    writes: Known,
    sites: Known,
    regions: Known,
}

impl<'a> Events<'a> {
    pub(super) fn new(trace: &'a Trace, timeline: &'a Timeline<'a>) -> Self {
        Self {
            trace,
            timeline,
            threads: Threads::new(trace, timeline),
            stacks: Stacks::new(trace),
            slices: Slices::default(),
            operations: Known::new(),
            writes: Known::new(),
            sites: Known::new(),
            regions: Known::new(),
        }
    }

    /// Writes all of them.
    pub(super) fn write(mut self, packets: &mut Packets<'_>) -> io::Result<()> {
        self.whole(packets)?;
        let mut marks = marks(self.trace, self.timeline).into_iter().peekable();
        for fault in &self.trace.faults {
            while let Some((time, mark)) = marks.next_if(|(time, _)| *time <= fault.time) {
                self.mark(packets, time, mark)?;
            }
            self.fault(packets, fault)?;
        }
        for (time, mark) in marks {
            self.mark(packets, time, mark)?;
        }
        let over = self.slices.over();
        ends(packets, over)
    }

    /// What there is to say about the whole trace.
    fn whole(&self, packets: &mut Packets<'_>) -> io::Result<()> {
        let (header, interned) = (&self.trace.header, &mut packets.interned);
        let missing = header.missing.iter().map(|sentence| interned.value(sentence)).collect();
        let losses = self.trace.losses.iter().map(|loss| DebugAnnotation {
            dict_entries: vec![
                interned.text("stage", &loss.stage),
                interned.uint("cpu", loss.cpu.into()),
                interned.uint("count", loss.count),
            ],
            ..DebugAnnotation::default()
        });
        let losses = losses.collect();
        let debug_annotations = vec![
            interned.text("command", &header.command.join(" ")),
            interned.list("missing", missing),
            interned.list("losses", losses),
        ];
        let name = format!("cowtrace {}", header.version);
        let event = instant(interned, tracks::WHOLE, "trace", &name);
        packets.event(0, TrackEvent { debug_annotations, ..event })
    }

    fn mark(&mut self, packets: &mut Packets<'_>, time: u64, mark: Mark<'_>) -> io::Result<()> {
        ends(packets, self.slices.over_before(time))?;
        match mark {
            Mark::Start(index) => self.life(packets, index),
            Mark::Fork(fork) => self.fork(packets, fork),
            Mark::Exec(index) => {
                let event = instant(&mut packets.interned, tracks::process(index), "exec", "exec");
                packets.event(time, event)
            }
            Mark::Import(import) => self.import(packets, import),
            Mark::Collection(span) => self.collection(packets, span),
            Mark::Copied(process, point) => {
                let value = i64::try_from(point.bytes).unwrap_or(i64::MAX);
                packets.event(
                    time,
                    TrackEvent {
                        r#type: Some(TYPE_COUNTER),
                        track_uuid: Some(tracks::counter(process)),
                        counter_value: Some(value),
                        ..TrackEvent::default()
                    },
                )
            }
        }
    }

    /// A process from its fork to its end, with its totals. Those that did not end are open up to the trace's last moment.
    fn life(&mut self, packets: &mut Packets<'_>, index: usize) -> io::Result<()> {
        let Some(process) = self.trace.processes.get(index) else { return Ok(()) };
        let track = tracks::process(index);
        self.slices.open(track, process.end.unwrap_or(self.timeline.end).max(process.start));
        let interned = &mut packets.interned;
        let event = TrackEvent {
            debug_annotations: of_process(interned, process),
            terminating_flow_ids: process.parent.map(|_| track).into_iter().collect(),
            ..begin(interned, track, "process", &process.comm)
        };
        packets.event(process.start, event)
    }

    /// The moment at which a process forks: an arrow leads from it to the new one's life.
    fn fork(&self, packets: &mut Packets<'_>, fork: Fork) -> io::Result<()> {
        let processes = &self.trace.processes;
        let (Some(_), Some(child)) = (processes.get(fork.parent), processes.get(fork.child)) else {
            return Ok(());
        };
        let interned = &mut packets.interned;
        let event = TrackEvent {
            debug_annotations: vec![interned.uint("child", child.pid.into())],
            flow_ids: vec![tracks::process(fork.child)],
            ..instant(interned, tracks::process(fork.parent), "fork", "fork")
        };
        packets.event(fork.time, event)
    }

    fn import(&mut self, packets: &mut Packets<'_>, import: &Import<'_>) -> io::Result<()> {
        let track = self.threads.of(import.thread);
        self.slices.open(track, import.end);
        let name = match (import.detail, import.module) {
            (detail, Some(module)) => format!("{} {module}", detail.unwrap_or("import")),
            (_, None) => "import of an unknown module".to_owned(),
        };
        let interned = &mut packets.interned;
        let mut debug_annotations =
            vec![interned.uint("pages", import.pages), interned.uint("bytes", import.bytes)];
        debug_annotations.extend(import.module.map(|module| interned.text("module", module)));
        let event = TrackEvent { debug_annotations, ..begin(interned, track, "import", &name) };
        packets.event(import.start, event)
    }

    fn collection(&mut self, packets: &mut Packets<'_>, span: Span<'_>) -> io::Result<()> {
        let collection = span.collection;
        let track = self.threads.of(Thread { process: collection.process, tid: collection.tid });
        self.slices.open(track, span.end.max(collection.start));
        let interned = &mut packets.interned;
        let mut name = format!("collection {}", collection.number);
        let mut debug_annotations = vec![
            interned.uint("number", collection.number.into()),
            interned.uint("pages", collection.pages),
            interned.uint("bytes", collection.bytes),
        ];
        if let Some(generation) = collection.generation {
            name = format!("{name}, generation {generation}");
            debug_annotations.push(interned.uint("generation", generation.into()));
        }
        if let Some(site) = collection.site.and_then(|site| self.trace.sites.get(site)) {
            debug_annotations.extend(of_site(interned, site));
        }
        let event = TrackEvent { debug_annotations, ..begin(interned, track, "gc", &name) };
        packets.event(collection.start, event)
    }

    /// A fault: as long as it took where that was measured, a moment otherwise.
    fn fault(&mut self, packets: &mut Packets<'_>, fault: &Fault) -> io::Result<()> {
        ends(packets, self.slices.over_before(fault.time))?;
        let trace = self.trace;
        let track = self.threads.of(Thread { process: fault.process, tid: fault.tid });
        let stack = self.stacks.of(fault);
        let interned = &mut packets.interned;
        let written = stacks::Frame::write(trace.writes.get(fault.write)).name();
        let outcome = word(&fault.outcome);
        let name = if is_copy(fault) { written } else { format!("{outcome}: {written}") };
        let mut event = match fault.latency {
            Some(_) => begin(interned, track, &outcome, &name),
            None => instant(interned, track, &outcome, &name),
        };
        event.callstack_iid = Some(interned.stack(&self.stacks, stack));
        #[expect(clippy::cast_precision_loss, reason = "a fault copies at most a huge page")]
        let weight = fault.bytes as f64;
        event.callstack_weight = Some(weight);
        event.debug_annotations =
            vec![interned.pointer("address", fault.address), interned.uint("bytes", fault.bytes)];
        let annotations = &mut event.debug_annotations;
        let operation = trace.operations.get(fault.operation);
        annotations.extend(known(&mut self.operations, interned, fault.operation, operation, of_operation));
        let write = trace.writes.get(fault.write);
        annotations.extend(known(&mut self.writes, interned, fault.write, write, of_write));
        let region = trace.regions.get(fault.region);
        annotations.extend(known(&mut self.regions, interned, fault.region, region, of_region));
        if let Some(id) = fault.site {
            annotations.extend(known(&mut self.sites, interned, id, trace.sites.get(id), of_site));
        }
        packets.event(fault.time, event)?;
        if fault.latency.is_some() {
            self.slices.open(track, end_of(fault));
        }
        Ok(())
    }
}

/// Everything but faults, by time. At one moment what is whole comes before its parts.
fn marks<'a>(trace: &'a Trace, timeline: &'a Timeline<'a>) -> Vec<(u64, Mark<'a>)> {
    let processes = || trace.processes.iter().enumerate();
    let execs = processes().flat_map(|(index, process)| process.execs.iter().map(move |time| (*time, index)));
    let mut all: Vec<(u64, Mark<'_>)> = Vec::new();
    all.extend(timeline.forks.iter().map(|fork| (fork.time, Mark::Fork(*fork))));
    all.extend(processes().map(|(index, process)| (process.start, Mark::Start(index))));
    all.extend(execs.map(|(time, index)| (time, Mark::Exec(index))));
    all.extend(timeline.imports.iter().map(|import| (import.start, Mark::Import(import))));
    all.extend(timeline.collections.iter().map(|span| (span.collection.start, Mark::Collection(*span))));
    for (process, points) in timeline.copied.iter().enumerate() {
        all.extend(points.iter().map(|point| (point.time, Mark::Copied(process, *point))));
    }
    all.sort_by_key(|(time, _)| *time);
    all
}

fn ends(packets: &mut Packets<'_>, over: Vec<(u64, u64)>) -> io::Result<()> {
    over.into_iter().try_for_each(|(time, track)| packets.event(time, end(track)))
}

fn end(track: u64) -> TrackEvent {
    TrackEvent { r#type: Some(TYPE_SLICE_END), track_uuid: Some(track), ..TrackEvent::default() }
}

fn begin(interned: &mut Interned, track: u64, category: &str, name: &str) -> TrackEvent {
    TrackEvent { r#type: Some(TYPE_SLICE_BEGIN), ..instant(interned, track, category, name) }
}

fn instant(interned: &mut Interned, track: u64, category: &str, name: &str) -> TrackEvent {
    TrackEvent {
        r#type: Some(TYPE_INSTANT),
        track_uuid: Some(track),
        category_iids: vec![interned.category(category)],
        name_iid: Some(interned.name(name)),
        ..TrackEvent::default()
    }
}

/// The annotations of a value of a table.
fn known<'k, T>(
    known: &'k mut Known,
    interned: &mut Interned,
    id: Id<T>,
    value: Option<&T>,
    make: fn(&mut Interned, &T) -> Vec<DebugAnnotation>,
) -> impl Iterator<Item = DebugAnnotation> + use<'k, T> {
    if value.is_some() && known.len() <= id.index() {
        known.resize(id.index() + 1, None);
    }
    let found = value.map(|value| {
        let place = &mut known[id.index()];
        place.get_or_insert_with(|| make(interned, value)).as_slice()
    });
    found.unwrap_or_default().iter().cloned()
}

fn of_operation(interned: &mut Interned, operation: &Operation) -> Vec<DebugAnnotation> {
    let mut all = vec![
        interned.text("operation", &told::operation(operation)),
        interned.text("operation_kind", operation.kind),
    ];
    all.extend(operation.name.as_deref().map(|name| interned.text("operation_name", name)));
    all
}

fn of_write(interned: &mut Interned, write: &Write) -> Vec<DebugAnnotation> {
    let mut all = vec![interned.text("write", write.kind)];
    all.extend(write.of.as_deref().map(|of| interned.text("type", of)));
    all.extend(write.name.as_deref().map(|name| interned.text("object", name)));
    all.extend(write.action.map(|action| interned.text("action", action)));
    all.push(interned.text("confidence", &word(&write.confidence)));
    all.extend(write.reason.as_deref().map(|reason| interned.text("reason", reason)));
    all
}

fn of_region(interned: &mut Interned, region: &Region) -> Vec<DebugAnnotation> {
    vec![interned.text("region", &told::region(region))]
}

fn of_site(interned: &mut Interned, site: &Site) -> Vec<DebugAnnotation> {
    vec![interned.text("site", &told::site(site))]
}

fn of_process(interned: &mut Interned, process: &Process) -> Vec<DebugAnnotation> {
    let totals = Outcome::ALL.iter().map(|outcome| {
        let total = process.totals.of(*outcome);
        let fields = vec![
            interned.uint("faults", total.faults),
            interned.uint("unlisted", total.unlisted),
            interned.uint("lost", total.lost),
        ];
        interned.dictionary(&word(outcome), fields)
    });
    let totals = totals.collect();
    let mut all = vec![
        interned.uint("pid", process.pid.into()),
        interned.uint("ppid", process.ppid.into()),
        interned.uint("generation", process.generation.into()),
        interned.text("command", &process.command.join(" ")),
        interned.uint("inherited_bytes", process.inherited_bytes),
        interned.uint("copied_bytes", process.totals.copied_bytes),
        interned.uint("file_copied_bytes", process.totals.file_copied_bytes),
        interned.dictionary("totals", totals),
    ];
    all.extend(process.exe.as_deref().map(|exe| interned.text("exe", exe)));
    all.extend(process.exit_status.map(|status| interned.int("exit_status", status.into())));
    if process.end.is_none() {
        all.push(interned.bool("running", true));
    }
    all
}
