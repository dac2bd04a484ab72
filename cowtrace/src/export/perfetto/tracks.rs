//! Tracks: their numbers, names and order.

use std::collections::HashMap;

use super::proto::{
    CounterDescriptor, EXPLICIT, ProcessDescriptor, SIZE_BYTES, ThreadDescriptor, TrackDescriptor,
};
use crate::export::stacks::bounded;
use crate::export::timeline::{Thread, Timeline};
use crate::record::schema::{Process, Trace};

/// The track that stands for the whole trace, with what is missing of it. Number 0 is the root of all tracks.
pub(super) const WHOLE: u64 = 1;

/// The track of a process: its life, forks and execs.
pub(super) const fn process(index: usize) -> u64 {
    2 + 2 * index as u64
}

/// The counter of a process.
pub(super) const fn counter(index: usize) -> u64 {
    process(index) + 1
}

/// The tracks of threads.
pub(super) struct Threads(HashMap<Thread, u64>);

impl Threads {
    pub(super) fn new(trace: &Trace, timeline: &Timeline<'_>) -> Self {
        let numbers = timeline.threads.iter().copied().zip(process(trace.processes.len())..);
        Self(numbers.collect())
    }

    /// The track of a thread; that of the whole trace if its process is not known.
    pub(super) fn of(&self, thread: Thread) -> u64 {
        self.0.get(&thread).copied().unwrap_or(WHOLE)
    }
}

/// Every track.
pub(super) fn descriptors(trace: &Trace, timeline: &Timeline<'_>) -> Vec<TrackDescriptor> {
    let root = TrackDescriptor {
        uuid: Some(0),
        process_ordering: Some(EXPLICIT),
        thread_ordering: Some(EXPLICIT),
        ..TrackDescriptor::default()
    };
    let whole = TrackDescriptor {
        uuid: Some(WHOLE),
        name: Some("cowtrace".to_owned()),
        description: Some("What was traced, what of it is missing or was lost.".to_owned()),
        ..TrackDescriptor::default()
    };
    let mut all = vec![root, whole];
    for (rank, &index) in timeline.order.iter().enumerate() {
        let Some(of) = trace.processes.get(index) else { continue };
        all.push(TrackDescriptor {
            uuid: Some(process(index)),
            process: Some(process_descriptor(of, id(timeline, index))),
            sibling_order_rank: Some(small(rank)),
            ..TrackDescriptor::default()
        });
        all.push(TrackDescriptor {
            uuid: Some(counter(index)),
            name: Some("copied".to_owned()),
            description: Some("Bytes that its listed faults copied so far.".to_owned()),
            parent_uuid: Some(process(index)),
            counter: Some(CounterDescriptor { unit: Some(SIZE_BYTES) }),
            ..TrackDescriptor::default()
        });
    }
    let threads = Threads::new(trace, timeline);
    let ranks = timeline.threads.iter().enumerate();
    all.extend(ranks.map(|(rank, thread)| TrackDescriptor {
        uuid: Some(threads.of(*thread)),
        thread: Some(thread_descriptor(trace, timeline, *thread)),
        sibling_order_rank: Some(small(rank)),
        ..TrackDescriptor::default()
    }));
    all
}

fn process_descriptor(process: &Process, id: u32) -> ProcessDescriptor {
    let mut labels = vec![format!("generation {}", process.generation)];
    if id != process.pid {
        labels.push(format!("pid {}, used again", process.pid));
    }
    ProcessDescriptor {
        pid: Some(id.cast_signed()),
        cmdline: process.command.iter().map(|word| bounded(word)).collect(),
        process_name: Some(bounded(&process.comm)),
        start_timestamp_ns: i64::try_from(process.start).ok(),
        process_labels: labels,
    }
}

fn thread_descriptor(trace: &Trace, timeline: &Timeline<'_>, thread: Thread) -> ThreadDescriptor {
    let id = id(timeline, thread.process);
    let process = trace.processes.get(thread.process);
    let first = process.is_some_and(|process| process.pid == thread.tid);
    ThreadDescriptor {
        pid: Some(id.cast_signed()),
        // A process's first thread is known by that its number is that of the process.
        tid: Some(if first { id } else { thread.tid }.into()),
        thread_name: process.filter(|_| first).map(|process| bounded(&process.comm)),
    }
}

/// The number by which a process is told from all others.
fn id(timeline: &Timeline<'_>, process: usize) -> u32 {
    timeline.ids.get(process).copied().unwrap_or_default()
}

fn small(rank: usize) -> i32 {
    i32::try_from(rank).unwrap_or(i32::MAX)
}
