//! Whatever comes out of the ring: what the kernel has counted is listed, was not to be, or is lost, and the recording says so.

use std::collections::HashMap;
use std::mem::size_of;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use bytemuck::{Zeroable as _, bytes_of};
use cowtrace_ebpf::drops::DropReason;
use cowtrace_ebpf::event::{self as raw, FAULT_HEAD, FAULT_SHORT, Header, kind};
use cowtrace_ebpf::outcome::Outcome;
use cowtrace_ebpf::state::{ProcessKey, Totals};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof, proptest};

use super::*;
use crate::classify;
use crate::process::mmap_log::MmapLog;
use crate::process::tree::Tree;
use crate::record::fixture;
use crate::record::from::{Recorder, losses};
use crate::record::piece::{Piece, State};
use crate::record::schema::Trace;
use crate::record::sink::Sink;
use crate::session::allowance::STAGE;
use crate::session::pipeline::Backlog;

/// Numbers that no process of this machine has.
const FIRST_PID: u32 = 1 << 30;
const PROCESSES: u32 = 5;

fn key(number: u32) -> ProcessKey {
    ProcessKey { pid: FIRST_PID + number, ..ProcessKey::default() }
}

/// What becomes of a record on its way.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Whole,
    /// The ring had no room for it.
    Dropped,
    /// So much of it is other than it was written.
    Damaged(u16),
}

#[derive(Clone, Debug)]
enum Step {
    Fault {
        process: u32,
        outcome: usize,
        address: u64,
        short: bool,
        shared: bool,
        way: Way,
    },
    Fork {
        parent: u32,
        child: u32,
    },
    Exec(u32),
    Exit(u32),
    /// Bytes that are no record.
    Noise(Vec<u8>),
}

fn way() -> impl Strategy<Value = Way> {
    let ways = [Way::Whole, Way::Whole, Way::Whole, Way::Dropped];
    prop_oneof![4 => (0..4_usize).prop_map(move |at| ways[at]), 1 => any::<u16>().prop_map(Way::Damaged)]
}

fn step() -> impl Strategy<Value = Step> {
    let process = || 0..PROCESSES;
    prop_oneof![
        12 => (process(), 0..Outcome::ALL.len(), any::<u64>(), any::<(bool, bool)>(), way()).prop_map(
            |(process, outcome, address, (short, shared), way)| Step::Fault {
                process, outcome, address, short, shared, way,
            }
        ),
        2 => (process(), process()).prop_map(|(parent, child)| Step::Fork { parent, child }),
        1 => process().prop_map(Step::Exec),
        1 => process().prop_map(Step::Exit),
        1 => vec(any::<u8>(), 0..64).prop_map(Step::Noise),
    ]
}

/// The kernel half: counts every fault, and sends what it lists.
#[derive(Default)]
struct Kernel {
    ring: Vec<u8>,
    totals: HashMap<ProcessKey, Totals>,
    dropped: u64,
    /// Records that the decoder cannot read, faults among them by what they were.
    unreadable: u64,
    unread: HashMap<(ProcessKey, usize), u64>,
}

impl Kernel {
    fn send(&mut self, bytes: &[u8]) {
        self.ring.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_ne_bytes());
        self.ring.extend_from_slice(bytes);
    }

    fn record<T: bytemuck::NoUninit>(&mut self, kind: u16, time: u64, record: &T) {
        let mut bytes = bytes_of(record).to_vec();
        let header = Header { kind, cpu: 0, len: u32::try_from(bytes.len()).unwrap(), time };
        bytes[..size_of::<Header>()].copy_from_slice(bytes_of(&header));
        self.send(&bytes);
    }

    fn step(&mut self, time: u64, step: &Step, list_all: bool) {
        match step {
            Step::Fork { parent, child } => {
                let fork =
                    raw::Fork { parent: key(*parent), child: key(*child), image: 1, ..raw::Fork::default() };
                self.record(kind::FORK, time, &fork);
            }
            Step::Exec(process) => {
                let exec = raw::Exec { process: key(*process), ..raw::Exec::zeroed() };
                self.record(kind::EXEC, time, &exec);
            }
            Step::Exit(process) => {
                let (process, flags) = (key(*process), raw::exit_flag::LAST);
                self.record(
                    kind::EXIT,
                    time,
                    &raw::Exit { process, tid: process.pid, flags, ..raw::Exit::default() },
                );
            }
            Step::Noise(bytes) => {
                // What happens to be a record is one.
                self.unreadable += u64::from(decode(bytes).is_err());
                if decode(bytes).is_err() {
                    self.send(bytes);
                }
            }
            Step::Fault { process, outcome, address, short, shared, way } => {
                let of = Outcome::ALL[*outcome];
                let process = key(*process);
                let totals = self.totals.entry(process).or_default();
                totals.faults[*outcome] += 1;
                match of {
                    Outcome::Copy => totals.copied_bytes += 4096,
                    Outcome::FileCopy => totals.file_copied_bytes += 4096,
                    _ => {}
                }
                if !*shared || !(of.is_listed() || list_all) {
                    totals.unlisted[*outcome] += 1;
                    return;
                }
                let mut fault = raw::Fault::zeroed();
                (fault.process, fault.tid, fault.address) = (process, process.pid, *address);
                fault.outcome = u8::try_from(*outcome).unwrap();
                let len = if *short { FAULT_HEAD } else { FAULT_SHORT };
                fault.header = Header { kind: kind::FAULT, cpu: 0, len: u32::try_from(len).unwrap(), time };
                let mut bytes = bytes_of(&fault)[..len].to_vec();
                match way {
                    Way::Whole => self.send(&bytes),
                    Way::Dropped => {
                        totals.lost[*outcome] += 1;
                        self.dropped += 1;
                    }
                    // Cut, or of a kind or an outcome that there is not.
                    Way::Damaged(how) => {
                        match how % 3 {
                            0 => bytes.truncate(usize::from(*how) % len),
                            1 => bytes[1] = 0xff,
                            _ => bytes[size_of::<Header>() + size_of_before_outcome()] = 0xff,
                        }
                        self.unreadable += 1;
                        *self.unread.entry((process, *outcome)).or_default() += 1;
                        self.send(&bytes);
                    }
                }
            }
        }
    }
}

/// Bytes between a fault's header and its outcome.
const fn size_of_before_outcome() -> usize {
    std::mem::offset_of!(raw::Fault, outcome) - size_of::<Header>()
}

/// Runs the third thread's own code over it.
fn traced(kernel: &mut Kernel, list_all: bool, closed: bool, memory: u64) -> Trace {
    let tree = Tree::new(key(0), 1, MmapLog::default());
    let work = Work {
        attributor: Attributor::new(tree, 0, list_all, true),
        recorder: Recorder::new(Sink::memory(None), 0, list_all),
        header: fixture::Builder::new(&["true"]).finish().header,
        allowance: Allowance::new(memory),
    };
    let (to, from) = sync_channel(8);
    to.send(Message::Records(kernel.ring.clone())).unwrap();
    drop(to);
    let served = Served(Arc::new(Backlog::default()));
    let Attributed { tree, mut output, mut recorder, undecoded, left_out: _, dropped } =
        attribute(work, &from, &served);
    assert_eq!(undecoded, kernel.unreadable, "every record that cannot be read is counted");
    dropped.count(&mut kernel.totals);
    recorder.hand_on(&tree, &mut output, &kernel.totals);
    let drops = [(DropReason::Ring, 0, kernel.dropped)];
    let losses = losses(&drops, undecoded).into_iter().chain(dropped.losses()).collect();
    let state = State { closed, losses, ..State::default() };
    recorder.sink.take(Piece::State(state));
    recorder.sink.finish().trace
}

fn lost(kernel: &Kernel) -> u64 {
    kernel.totals.values().flat_map(|totals| totals.lost).sum()
}

fn accounted(kernel: &Kernel, trace: &Trace, closed: bool, before: u64) {
    for (key, counted) in &kernel.totals {
        let index = trace.processes.iter().position(|process| process.pid == key.pid);
        for (at, outcome) in Outcome::ALL.iter().enumerate() {
            let recorded = classify::recorded(*outcome);
            let of = |fault: &&crate::record::schema::Fault| {
                Some(fault.process) == index && fault.outcome == recorded
            };
            let listed = trace.faults.iter().filter(of).count() as u64;
            let unread = kernel.unread.get(&(*key, at)).copied().unwrap_or_default();
            // What the kernel has counted is what came, what was not to come, what it lost, and what could not be read.
            assert_eq!(
                counted.faults[at],
                listed + counted.unlisted[at] + counted.lost[at] + unread,
                "{outcome:?} of {key:?}"
            );
            let Some(process) = index.map(|index| &trace.processes[index]) else {
                assert_eq!(listed, 0);
                continue;
            };
            let total = process.totals.of(recorded);
            assert_eq!((total.faults, total.unlisted), (counted.faults[at], counted.unlisted[at]));
            // A recording without its end finds out itself what is missing.
            let lost = counted.lost[at] + if closed { 0 } else { unread };
            assert_eq!(total.lost, lost, "{outcome:?} of {key:?}");
        }
    }
    let told = |stage: &str| {
        trace.losses.iter().filter(|loss| loss.stage == stage).map(|loss| loss.count).sum::<u64>()
    };
    assert_eq!(told("decode"), kernel.unreadable);
    assert_eq!(told(DropReason::Ring.stage()), kernel.dropped);
    assert_eq!(told(STAGE), lost(kernel) - before);
}

proptest! {
    #[test]
    fn totals_are_listed_and_lost(steps in vec(step(), 1..150), list_all: bool, closed: bool, room: bool) {
        let mut kernel = Kernel::default();
        for (time, step) in (10..).zip(&steps) {
            kernel.step(time, step, list_all);
        }
        let before = lost(&kernel);
        let trace = traced(&mut kernel, list_all, closed, if room { u64::MAX } else { 0 });
        accounted(&kernel, &trace, closed, before);
    }
}
