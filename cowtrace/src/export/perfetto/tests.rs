//! What was written, decoded again and played as Perfetto plays it.

use std::collections::{HashMap, HashSet};

use super::proto::{
    DebugAnnotation, InternedData, TYPE_COUNTER, TYPE_INSTANT, TYPE_SLICE_BEGIN, TYPE_SLICE_END,
};
use super::*;
use crate::export::mixture::{HOSTILE, MISSING, trace};
use crate::export::samples;
use crate::record::schema::{Outcome, ProcessTotals};

/// What a reader knows after the whole trace.
#[derive(Default)]
struct Played {
    tracks: HashMap<u64, proto::TrackDescriptor>,
    attributes: Vec<Attribute>,
    /// Slices, instants: track, category, name, begin, end, depth, annotations, stack outermost first.
    events: Vec<Event>,
    /// Values by track, in their order.
    counters: HashMap<u64, Vec<i64>>,
}

#[derive(Debug, Default)]
struct Event {
    track: u64,
    category: String,
    name: String,
    time: u64,
    end: Option<u64>,
    depth: usize,
    annotations: HashMap<String, String>,
    stack: Vec<String>,
    flows: Vec<u64>,
}

/// Interned strings by kind and number; one that comes twice is a mistake.
#[derive(Default)]
struct Names(HashMap<(&'static str, u64), String>, HashMap<u64, Vec<u64>>);

impl Names {
    fn learn(&mut self, new: InternedData) {
        let names = [
            ("category", new.event_categories),
            ("name", new.event_names),
            ("annotation", new.debug_annotation_names),
        ];
        for (kind, names) in names {
            names.into_iter().for_each(|name| self.add(kind, name.iid, name.name));
        }
        let strings = [
            ("function", new.function_names),
            ("path", new.source_paths),
            ("value", new.debug_annotation_string_values),
        ];
        for (kind, strings) in strings {
            strings.into_iter().for_each(|string| self.add(kind, string.iid, string.str));
        }
        for frame in new.frames {
            let function = self.of("function", frame.function_name_id.unwrap());
            let path = frame.source_path_iid.map_or_else(String::new, |path| self.of("path", path));
            let line = frame.line_number.unwrap_or_default();
            self.add("frame", frame.iid, Some(format!("{function} {path} {line}")));
        }
        for stack in new.callstacks {
            assert!(self.1.insert(stack.iid.unwrap(), stack.frame_ids).is_none());
        }
    }

    fn add(&mut self, kind: &'static str, iid: Option<u64>, text: Option<String>) {
        let iid = iid.filter(|iid| *iid > 0).unwrap();
        assert!(self.0.insert((kind, iid), text.unwrap()).is_none(), "{kind} {iid} comes twice");
    }

    fn of(&self, kind: &'static str, iid: u64) -> String {
        self.0[&(kind, iid)].clone()
    }

    fn value(&self, annotation: &DebugAnnotation) -> String {
        let text = |(named, value): (bool, &DebugAnnotation)| {
            let name = value.name_iid.filter(|_| named).map(|name| self.of("annotation", name) + "=");
            name.unwrap_or_default() + &self.value(value)
        };
        let of = annotation;
        match (of.bool_value, of.uint_value, of.int_value, of.pointer_value, of.string_value_iid) {
            (Some(value), ..) => value.to_string(),
            (_, Some(value), ..) => value.to_string(),
            (_, _, Some(value), ..) => value.to_string(),
            (_, _, _, Some(value), _) => format!("{value:#x}"),
            (.., Some(iid)) => self.of("value", iid),
            _ if of.dict_entries.is_empty() => {
                of.array_values.iter().map(|v| text((false, v))).collect::<Vec<_>>().join(";")
            }
            _ => of.dict_entries.iter().map(|v| text((true, v))).collect::<Vec<_>>().join(","),
        }
    }
}

fn play(trace: &Trace) -> Played {
    let mut out = Vec::new();
    write(trace, &mut out).unwrap();
    let packets = proto::Trace::decode(&out[..]).unwrap().packet;
    let (mut played, mut names) = (Played::default(), Names::default());
    let mut open: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut now = 0;
    for (nth, packet) in packets.into_iter().enumerate() {
        assert_eq!(packet.trusted_packet_sequence_id, Some(1));
        assert_eq!(packet.sequence_flags, Some(if nth == 0 { proto::CLEARED } else { proto::NEEDED }));
        played.attributes.extend(packet.trace_attributes.map(|a| a.attribute).unwrap_or_default());
        names.learn(packet.interned_data.unwrap_or_default());
        if let Some(track) = packet.track_descriptor {
            assert!(played.tracks.insert(track.uuid.unwrap(), track).is_none(), "a track comes twice");
        }
        let Some(event) = packet.track_event else { continue };
        let (time, track) = (packet.timestamp.unwrap(), event.track_uuid.unwrap());
        assert!(time >= now && played.tracks.contains_key(&track), "{time} after {now}, track {track}");
        now = time;
        let of_track = open.entry(track).or_default();
        let kind = event.r#type.unwrap();
        match kind {
            TYPE_COUNTER => {
                played.counters.entry(track).or_default().push(event.counter_value.unwrap());
                continue;
            }
            TYPE_SLICE_END => {
                played.events[of_track.pop().expect("a slice that began")].end = Some(time);
                continue;
            }
            TYPE_SLICE_BEGIN => of_track.push(played.events.len()),
            _ => assert_eq!(kind, TYPE_INSTANT),
        }
        let frames = event.callstack_iid.map(|iid| names.1[&iid].clone()).unwrap_or_default();
        played.events.push(Event {
            track,
            category: names.of("category", event.category_iids[0]),
            name: names.of("name", event.name_iid.unwrap()),
            time,
            end: None,
            depth: of_track.len() - usize::from(kind == TYPE_SLICE_BEGIN),
            annotations: event
                .debug_annotations
                .iter()
                .map(|a| (names.of("annotation", a.name_iid.unwrap()), names.value(a)))
                .collect(),
            stack: frames.into_iter().map(|frame| names.of("frame", frame)).collect(),
            flows: [event.flow_ids, event.terminating_flow_ids].concat(),
        });
    }
    assert!(open.values().all(Vec::is_empty), "a slice has no end");
    played
}

impl Played {
    fn of<'p>(&'p self, category: &str) -> Vec<&'p Event> {
        self.events.iter().filter(|event| event.category == category).collect()
    }

    /// The process of a track.
    fn pid(&self, track: u64) -> i32 {
        let track = &self.tracks[&track];
        let of_thread = track.thread.as_ref().and_then(|thread| thread.pid);
        of_thread
            .or_else(|| track.process.as_ref()?.pid)
            .unwrap_or_else(|| self.pid(track.parent_uuid.unwrap()))
    }
}

/// Events of a process and the last value of its counter are the kernel's totals, less what is not listed.
#[test]
fn totals() {
    let trace = trace();
    let played = play(&trace);
    for (index, process) in trace.processes.iter().enumerate() {
        let mut bytes = 0;
        for outcome in Outcome::ALL {
            let faults = played.of(&word_of(outcome));
            let faults = faults.iter().filter(|event| played.pid(event.track).cast_unsigned() == process.pid);
            let of: Vec<u64> = faults.map(|event| event.annotations["bytes"].parse().unwrap()).collect();
            let total = process.totals.of(outcome);
            assert_eq!(of.len() as u64, total.faults - total.unlisted - total.lost, "{outcome:?}");
            bytes += of.iter().sum::<u64>();
        }
        let counter = &played.counters[&tracks::counter(index)];
        assert_eq!((counter[0], counter.last().unwrap().cast_unsigned()), (0, bytes));
    }
    let attribute = |key: &str| played.attributes.iter().find(|a| a.key.as_deref() == Some(key)).unwrap();
    let copies = i64::try_from(trace.summary.copies).unwrap();
    assert_eq!(attribute("cowtrace.copies").long_value, Some(copies));
    assert_eq!(attribute("cowtrace.loss.ring.cpu1").long_value, Some(2));
    assert_eq!(attribute("cowtrace.missing.1").string_value.as_deref(), Some(MISSING));
    let whole = played.of("trace")[0];
    assert_eq!(whole.annotations["missing"], MISSING);
    assert_eq!(whole.annotations["losses"], "stage=ring,cpu=1,count=2");
    let lives = played.of("process");
    let totals = &lives[1].annotations["totals"];
    assert!(totals.starts_with("copy=faults=9,unlisted=0,lost=2,"), "{totals}");
}

fn word_of(outcome: Outcome) -> String {
    crate::export::word(&outcome)
}

/// Processes come in the order of their tree, with their threads, an arrow from fork to life.
#[test]
fn tracks_and_forks() {
    let mut trace = trace();
    trace.processes[0].end = None;
    trace.processes[0].execs = vec![70];
    trace.faults[2].tid = 9001;
    let played = play(&trace);
    let mut processes: Vec<&proto::TrackDescriptor> =
        played.tracks.values().filter(|track| track.process.is_some()).collect();
    processes.sort_by_key(|track| track.sibling_order_rank);
    let told: Vec<(i32, &str)> = processes
        .iter()
        .map(|track| track.process.as_ref().unwrap())
        .map(|process| (process.pid.unwrap(), process.process_name.as_deref().unwrap()))
        .collect();
    assert_eq!(told, [(7000, "python3"), (7001, HOSTILE)]);
    assert_eq!(played.tracks[&0].process_ordering, Some(proto::EXPLICIT));
    let threads: HashSet<(i32, i64)> = played
        .tracks
        .values()
        .filter_map(|track| track.thread.as_ref())
        .map(|thread| (thread.pid.unwrap(), thread.tid.unwrap()))
        .collect();
    assert_eq!(threads, HashSet::from([(7000, 7000), (7001, 7001), (7001, 9001)]));
    let (lives, forks) = (played.of("process"), played.of("fork"));
    assert_eq!((forks.len(), forks[0].annotations["child"].as_str()), (1, "7001"));
    assert_eq!(forks[0].flows, lives[1].flows);
    assert!(forks[0].time == lives[1].time && forks[0].track == lives[0].track && forks[0].depth == 1);
    assert_eq!(lives[1].end, trace.processes[1].end);
    assert_eq!((lives[0].end, &*lives[0].annotations["running"]), (Some(trace.summary.duration), "true"));
    assert_eq!((played.of("exec")[0].time, played.of("exec")[0].track), (70, lives[0].track));
}

/// Faults are parts of their imports and collections, last as long as was measured, and have stacks and reasons.
#[test]
fn faults() {
    let trace = trace();
    let played = play(&trace);
    let copies = played.of("copy");
    assert_eq!(copies[1].end, Some(copies[1].time + 310));
    let swap = copies[0];
    assert_eq!((swap.end, swap.depth), (None, 0));
    assert_eq!(
        swap.stack[..3],
        [
            "<module> /home/ann/multi.py 12",
            "f;g /home/ann/multi.py 9",
            "insertdict /usr/lib/libpython3.11.so.1.0 0"
        ]
    );
    assert!(swap.stack[3].starts_with("dict entry a\0b") && swap.name.starts_with("dict entry a\0b"));
    for (name, value) in [
        ("address", "0x7f0000000018"),
        ("write", "dict_entry"),
        ("type", "dict"),
        ("site", "/home/ann/multi.py:9 (f)"),
        ("operation_kind", "module_swap"),
        ("operation_name", HOSTILE),
        ("region", "anonymous"),
        ("bytes", "4096"),
    ] {
        assert_eq!(swap.annotations[name], value, "{name}");
    }
    assert!(swap.annotations["object"].len() < 4096, "a name of the target is bounded");
    let imports: Vec<(&str, usize)> =
        played.of("import").iter().map(|import| (import.name.as_str(), import.depth)).collect();
    assert_eq!(imports, [("import a", 0), ("import a.b", 1)]);
    assert!(copies[3..5].iter().all(|copy| copy.depth == 2));
    let collection = played.of("gc")[0];
    assert_eq!((&*collection.name, &*collection.annotations["pages"]), ("collection 1, generation 2", "4"));
    assert!(
        copies[5..]
            .iter()
            .all(|copy| copy.depth == 1 && copy.annotations["operation"] == "unknown: no stack")
    );
    assert_eq!(collection.end, Some(copies.last().unwrap().time));
    let reuses = played.of("reuse");
    assert!(reuses.len() == 5 && reuses.iter().all(|reuse| reuse.name == "reuse: refcount of str"));
}

/// Ids that are not there and times that contradict each other give a trace all the same.
#[test]
fn contradictions() {
    let mut trace = trace();
    trace.faults[0].process = 99;
    trace.faults[0].write = crate::record::schema::Id::new(99);
    trace.collections[0].process = 98;
    trace.processes[1].parent = Some(97);
    trace.processes[1].end = Some(0);
    trace.processes[0].totals = ProcessTotals::default();
    trace.faults[1].latency = std::num::NonZero::new(u64::MAX);
    trace.header.start = "yesterday".to_owned();
    let played = play(&trace);
    assert_eq!(played.of("copy").len() + played.of("reuse").len(), trace.faults.len());
    assert!(play(&Trace::default()).events.len() == 1);
}

/// A disk that is full is that error.
#[test]
fn full() {
    assert_eq!(write(&trace(), &mut samples::Full).unwrap_err().kind(), io::ErrorKind::StorageFull);
}
