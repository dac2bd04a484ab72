//! The Firefox Profiler's processed profile format: a track for each process and thread, each copied page a sample that
//! weighs its bytes, faults, imports, collections, forks and execs as markers, copied bytes as a counter.
//!
//! A profile is made for each process by itself, and the parts are put together in the order of the tree: a library's own
//! order is that of the starts, and one profile of all would be in memory at once.

mod markers;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, BufWriter, Write as _};

use fxprof_processed_profile::{
    CategoryColor, CategoryHandle, CpuDelta, Frame, FrameFlags, FrameInfo, GraphColor, MarkerTiming, Profile,
    ReferenceTimestamp, SamplingInterval, StackHandle, StringHandle, ThreadHandle, Timestamp, WeightType,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use self::markers::{Event, FaultMarker, Span};
use super::Format;
use super::notes::notes;
use super::palette::{self, KINDS};
use super::stacks::{Stack, Stacks, bounded, is_copy};
use super::timeline::{Thread, Timeline, by_process, end_of};
use crate::record::json as visible;
use crate::record::schema::{Fault, Trace};

/// The format.
pub(super) const FORMAT: Format = Format {
    name: "firefox",
    extensions: &["firefox.json", "profile.json", "json"],
    about: "Firefox Profiler: a timeline with stacks by copied bytes (profiler.firefox.com)",
    write,
};

/// Colours of the kinds of operations, in the order of [`KINDS`], from the few that the format has and documents: the library's
/// `LightGreen` and `DarkGray` are not among them.
const COLORS: [CategoryColor; KINDS.len()] = [
    CategoryColor::Blue,
    CategoryColor::Red,
    CategoryColor::Green,
    CategoryColor::Magenta,
    CategoryColor::Purple,
    CategoryColor::Orange,
    CategoryColor::Yellow,
    CategoryColor::LightBlue,
    CategoryColor::Brown,
    CategoryColor::LightRed,
    CategoryColor::Gray,
];

/// The parts of a written profile that are put together.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    threads: Vec<&'a RawValue>,
    counters: Vec<Value>,
}

fn write(trace: &Trace, out: &mut dyn io::Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let timeline = Timeline::new(trace);
    out.write_all(b"{\"meta\":")?;
    visible::write(&mut out, &meta(trace)?)?;
    out.write_all(b",\"libs\":[],\"pages\":[],\"profilerOverhead\":[],\"threads\":[")?;
    let mut stacks = Stacks::new(trace);
    let own = Own::new(trace, &timeline);
    let (mut threads, mut counters) = (0, Vec::new());
    for &index in &timeline.order {
        let part = Part::new(trace, &timeline, index).filled(&mut stacks, &own);
        let mut text = Vec::new();
        visible::write(&mut text, &part)?;
        let parts: Parts<'_> = serde_json::from_slice(&text).map_err(io::Error::from)?;
        counters.extend(parts.counters.into_iter().map(|mut counter| {
            counter["mainThreadIndex"] = json!(threads);
            counter
        }));
        for thread in parts.threads {
            let comma = if threads > 0 { ",\n" } else { "\n" };
            write!(out, "{comma}{}", thread.get())?;
            threads += 1;
        }
    }
    out.write_all(b"\n],\"counters\":")?;
    visible::write(&mut out, &counters)?;
    out.write_all(b"}\n")?;
    out.flush()
}

/// For each process the positions of what is its own.
struct Own {
    faults: Vec<Vec<u32>>,
    imports: Vec<Vec<u32>>,
    collections: Vec<Vec<u32>>,
    forks: Vec<Vec<u32>>,
}

impl Own {
    fn new(trace: &Trace, timeline: &Timeline<'_>) -> Self {
        Self {
            faults: by_process(trace, &trace.faults, |fault| fault.process),
            imports: by_process(trace, &timeline.imports, |import| import.thread.process),
            collections: by_process(trace, &timeline.collections, |span| span.collection.process),
            forks: by_process(trace, &timeline.forks, |fork| fork.parent),
        }
    }
}

/// A profile without processes: what all have in common.
fn common(trace: &Trace) -> (Profile, Vec<CategoryHandle>) {
    // An unreadable time of day is the beginning of time, which nobody takes for the true one.
    let start = trace.header.start.parse::<jiff::Timestamp>().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^53")]
    let start = ReferenceTimestamp::from_millis_since_unix_epoch(start.as_millisecond() as f64);
    let product = format!("cowtrace: {}", bounded(&trace.header.command.join(" ")));
    let mut profile = Profile::new(&product, start, SamplingInterval::from_millis(1));
    profile.set_os_name(&format!("Linux {}", bounded(&trace.header.kernel)));
    profile.set_symbolicated(true);
    let categories = COLORS.iter().enumerate();
    let categories =
        categories.map(|(at, color)| profile.add_category(&palette::words_of(at), *color)).collect();
    profile.static_schema_marker_type::<FaultMarker>();
    profile.static_schema_marker_type::<Span>();
    profile.static_schema_marker_type::<Event>();
    (profile, categories)
}

/// What the profile says about itself, with what must be known beside its numbers.
fn meta(trace: &Trace) -> io::Result<Value> {
    let (profile, _) = common(trace);
    let mut whole = serde_json::to_value(profile).map_err(io::Error::from)?;
    let mut meta = whole["meta"].take();
    let entry = |note: String| json!({"label": "Note", "format": "string", "value": note});
    let entries: Vec<Value> = notes(trace).into_iter().map(entry).collect();
    meta["extra"] = json!([{"label": "cowtrace", "entries": entries}]);
    meta["importedFrom"] = json!("cowtrace");
    // Required by the format, and told by the library of none of its users: frames do come from walking stacks.
    meta["stackwalk"] = json!(1);
    Ok(meta)
}

/// One process's profile under construction.
struct Part<'a> {
    trace: &'a Trace,
    timeline: &'a Timeline<'a>,
    index: usize,
    profile: Profile,
    categories: Vec<CategoryHandle>,
    threads: HashMap<u32, ThreadHandle>,
    /// Stacks that are there already, by thread and category.
    known: HashMap<(ThreadHandle, Stack, usize), Option<StackHandle>>,
}

impl<'a> Part<'a> {
    fn new(trace: &'a Trace, timeline: &'a Timeline<'a>, index: usize) -> Self {
        let (mut profile, categories) = common(trace);
        let of = &trace.processes[index];
        let (id, start) = (timeline.ids[index], at(of.start));
        let process = profile.add_process(&bounded(&of.comm), id, start);
        if let Some(end) = of.end {
            profile.set_process_end_time(process, at(end));
        }
        let mut threads = HashMap::new();
        for &Thread { tid, .. } in threads_of(timeline, index) {
            let first = tid == of.pid;
            let thread = profile.add_thread(process, if first { id } else { tid }, start, first);
            let name = if first { bounded(&of.comm) } else { format!("thread {tid}") };
            profile.set_thread_name(thread, &name);
            profile.set_thread_samples_weight_type(thread, WeightType::Bytes);
            profile.set_thread_show_markers_in_timeline(thread, true);
            if let Some(end) = of.end {
                profile.set_thread_end_time(thread, at(end));
            }
            threads.insert(tid, thread);
        }
        let about = "Bytes that this process's page faults have copied so far";
        let counter = profile.add_counter(process, "Copied bytes", "Memory", about);
        profile.set_counter_color(counter, GraphColor::Orange);
        let (mut bytes, mut pages) = (0, 0);
        for point in &timeline.copied[index] {
            let (more, operations) =
                (point.bytes - bytes, u32::try_from(point.pages - pages).unwrap_or(u32::MAX));
            profile.add_counter_sample(counter, at(point.time), float(more), operations);
            (bytes, pages) = (point.bytes, point.pages);
        }
        Self { trace, timeline, index, profile, categories, threads, known: HashMap::new() }
    }

    fn filled(mut self, stacks: &mut Stacks<'a>, own: &Own) -> Profile {
        self.spans(own);
        self.events(own);
        let labels = &mut Vec::new();
        for &fault in &own.faults[self.index] {
            self.fault(stacks, labels, &self.trace.faults[fault as usize]);
        }
        self.profile
    }

    /// A copied page is a sample and a marker, any other listed fault a marker.
    fn fault(&mut self, stacks: &mut Stacks<'a>, labels: &mut Vec<StringHandle>, fault: &Fault) {
        let Some(&thread) = self.threads.get(&fault.tid) else { return };
        let stack = stacks.of(fault);
        for frame in stacks.frames().iter().skip(labels.len()) {
            labels.push(self.profile.intern_string(&frame.label()));
        }
        let kind = palette::position(self.trace.operations.get(fault.operation));
        let handle = self.stack(stacks, labels, (thread, stack, kind));
        if is_copy(fault) {
            let weight = i32::try_from(fault.bytes).unwrap_or(i32::MAX);
            self.profile.add_sample(thread, at(fault.time), handle, CpuDelta::ZERO, weight);
        }
        let name = labels[stacks.nodes()[stack.index()].frame as usize];
        let marker = FaultMarker::new(&mut self.profile, self.trace, fault, name, self.categories[kind]);
        let timing = match fault.latency {
            Some(_) => MarkerTiming::Interval(at(fault.time), at(end_of(fault))),
            None => MarkerTiming::Instant(at(fault.time)),
        };
        let marker = self.profile.add_marker(thread, timing, marker);
        self.profile.set_marker_stack(thread, marker, handle);
    }

    /// The handle of a stack, all of whose frames have the category of the operation.
    fn stack(
        &mut self,
        stacks: &Stacks<'a>,
        labels: &[StringHandle],
        key: (ThreadHandle, Stack, usize),
    ) -> Option<StackHandle> {
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let (thread, stack, kind) = key;
        let mut handle = None;
        for frame in stacks.path(stack) {
            let frame = FrameInfo {
                frame: Frame::Label(labels[frame as usize]),
                category_pair: self.categories[kind].into(),
                flags: FrameFlags::empty(),
            };
            let frame = self.profile.intern_frame(thread, frame);
            handle = Some(self.profile.intern_stack(thread, handle, frame));
        }
        self.known.insert(key, handle);
        handle
    }

    /// Imports and collections.
    fn spans(&mut self, own: &Own) {
        let kind = |kind: &str| KINDS.iter().position(|(name, _)| *name == kind).unwrap_or_default();
        let (import_category, gc_category) = (self.categories[kind("import")], self.categories[kind("gc")]);
        for &position in &own.imports[self.index] {
            let import = &self.timeline.imports[position as usize];
            let Some(&thread) = self.threads.get(&import.thread.tid) else { continue };
            let what = import.detail.map_or_else(|| "import".to_owned(), bounded);
            let about = import.module.map_or_else(|| "?".to_owned(), bounded);
            let (name, about) = (self.profile.intern_string(&what), self.profile.intern_string(&about));
            let (pages, bytes) = (import.pages, import.bytes);
            let marker = Span { name, category: import_category, about, pages, bytes };
            self.profile.add_marker(thread, MarkerTiming::Interval(at(import.start), at(import.end)), marker);
        }
        for &position in &own.collections[self.index] {
            let span = &self.timeline.collections[position as usize];
            let collection = span.collection;
            let Some(&thread) = self.threads.get(&collection.tid) else { continue };
            let of =
                collection.generation.map_or_else(String::new, |number| format!(", generation {number}"));
            let about = self.profile.intern_string(&format!("number {}{of}", collection.number));
            let name = self.profile.intern_string("collection");
            let (pages, bytes) = (collection.pages, collection.bytes);
            let marker = Span { name, category: gc_category, about, pages, bytes };
            self.profile.add_marker(
                thread,
                MarkerTiming::Interval(at(collection.start), at(span.end)),
                marker,
            );
        }
    }

    /// Forks by this process, and its execs.
    fn events(&mut self, own: &Own) {
        let process = &self.trace.processes[self.index];
        let Some(&thread) = self.threads.get(&process.pid) else { return };
        let forks = own.forks[self.index].iter().map(|position| {
            let fork = &self.timeline.forks[*position as usize];
            let child = &self.trace.processes[fork.child];
            ("fork", fork.time, format!("{} {}", child.pid, bounded(&child.comm)))
        });
        let execs = process.execs.iter().map(|time| ("exec", *time, bounded(&process.comm)));
        for (name, time, about) in forks.chain(execs) {
            let (name, about) = (self.profile.intern_string(name), self.profile.intern_string(&about));
            self.profile.add_marker(thread, MarkerTiming::Instant(at(time)), Event { name, about });
        }
    }
}

/// The threads of a process, its first thread first.
fn threads_of<'a>(timeline: &'a Timeline<'_>, process: usize) -> &'a [Thread] {
    let begin = timeline.threads.partition_point(|thread| thread.process < process);
    let end = timeline.threads.partition_point(|thread| thread.process <= process);
    &timeline.threads[begin..end]
}

fn at(time: u64) -> Timestamp {
    Timestamp::from_nanos_since_reference(time)
}

#[expect(clippy::cast_precision_loss, reason = "the format counts in floats, exact to 2^53")]
const fn float(number: u64) -> f64 {
    number as f64
}
