//! Two threads between the ring buffer and the finished list of faults.
//!
//! The first empties the ring, and looks at processes the moment they start an interpreter; it never waits for anything
//! but the second, through a bounded channel. The second decodes and attributes. When it falls behind, the ring fills, and
//! the kernel counts what it drops: the traced program never waits.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cowtrace_ebpf::event::{self as raw, Fault, exit_flag, fork_flag, kind};
use cowtrace_ebpf::state::{ProcessKey, Totals};
use rustix::process::setpriority_process;
use rustix::thread::gettid;

use super::baselines::Asking;
use super::callers::{Answers, Callers};
use super::discovery::Discovery;
use super::mappings::Mappings;
use crate::attribute::{Attributor, Output};
use crate::bpf::{Plans, Ring, Templates};
use crate::event::decode::{decode, kind_of};
use crate::event::{Event, StackCopy};
use crate::interp::Found;
use crate::process::baseline::Baseline;
use crate::process::existing::{self, Arrival, Brief};
use crate::process::maps::Maps;
use crate::process::tree::Tree;
use crate::record::from::Recorder;
use crate::record::piece::{self, State};
use crate::record::schema::{Header, Interpreter};

/// Batches that may wait for the second thread.
const BATCHES: usize = 256;
/// Bytes of a batch, about.
const BATCH: usize = 256 << 10;
/// Bytes of records that a program can make a second, about: decides how often the ring is looked at.
const RATE: u64 = 200 << 20;

/// From the first thread to the second.
pub(super) enum Message {
    /// Records, each behind its length.
    Records(Vec<u8>),
    /// What native stacks are: before the faults that have them.
    Callers(Answers),
    /// An image runs this interpreter.
    Interpreter(u64, Arc<Found>),
    /// What a process had mapped when it was looked at, and the file it runs: for the records that follow.
    Saw(ProcessKey, Arc<Maps>, Option<Vec<u8>>),
    /// A process that was there before is followed from now on.
    Attached(Box<Arrival>),
    /// What such a process had then.
    Had(ProcessKey, Baseline),
    /// A fault that the kernel program still held when it was detached.
    Last(Box<Fault>),
    /// What the kernel has counted by now.
    Counted(Box<Counted>),
}

/// What the first thread is to do between two looks at the ring.
pub(super) enum Order {
    /// A process that was there before runs this image: its number.
    Image(u64, u32),
    /// These are followed as soon as this has been done.
    Attach(Vec<Arrival>),
}

/// What the kernel has counted.
#[derive(Default)]
pub(super) struct Counted {
    /// Totals of each process.
    pub(super) totals: HashMap<ProcessKey, Totals>,
    /// Figures of the whole.
    pub(super) state: State,
}

/// The kernel's tables that the first thread writes.
pub(super) struct Tables {
    pub(super) plans: Plans,
    pub(super) templates: Templates,
}

/// What the second thread works with.
pub(super) struct Work {
    pub(super) attributor: Attributor,
    pub(super) recorder: Recorder,
    /// What is known of the trace at its start.
    pub(super) header: Header,
}

/// The interpreters that were met, each with why its frames are not seen, if so.
pub(super) type Met = Vec<(Interpreter, Option<String>)>;

/// The running pair.
pub(super) struct Pipeline {
    stop: Arc<AtomicBool>,
    alive: Arc<AtomicI64>,
    /// Processes that have ended, as they end.
    pub(super) ended: Receiver<ProcessKey>,
    orders: Sender<(Order, Sender<()>)>,
    to: SyncSender<Message>,
    reader: JoinHandle<io::Result<Met>>,
    attributor: JoinHandle<Attributed>,
}

/// The second thread alone, when the ring is empty for good.
pub(super) struct Drained {
    to: SyncSender<Message>,
    attributor: JoinHandle<Attributed>,
}

/// What the second thread leaves.
pub(super) struct Attributed {
    pub(super) tree: Tree,
    pub(super) output: Output,
    pub(super) recorder: Recorder,
    /// Records that could not be decoded.
    pub(super) undecoded: u64,
}

impl Pipeline {
    pub(super) fn start(
        ring: Ring,
        ring_bytes: u32,
        tables: Tables,
        mappings: Mappings,
        root: Option<ProcessKey>,
        asking: Asking,
        work: impl FnOnce() -> Work + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let alive = Arc::new(AtomicI64::new(root.map_or(0, |_| 1)));
        let (to, from) = sync_channel(BATCHES);
        let (ended_to, ended) = channel();
        let (orders, ordered) = channel();
        let mut reader = Reader {
            ring,
            pause: pause(ring_bytes),
            mappings,
            discovery: Discovery::new(tables.plans, root),
            callers: Callers::new(tables.templates),
            orders: ordered,
            asking,
            to: to.clone(),
            ended: ended_to,
            stop: Arc::clone(&stop),
            alive: Arc::clone(&alive),
        };
        let reader = thread::Builder::new().name("ring".to_owned()).spawn(move || reader.run())?;
        let attributor =
            thread::Builder::new().name("attribute".to_owned()).spawn(move || attribute(work(), &from))?;
        Ok(Self { stop, alive, ended, orders, to, reader, attributor })
    }

    /// Whether processes of the tree are running, as far as the ring has told.
    pub(super) fn any_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed) > 0
    }

    /// Has the first thread do something, and waits until it has.
    ///
    /// # Errors
    /// The thread has ended.
    pub(super) fn order(&self, order: Order) -> io::Result<()> {
        let (done, wait) = channel();
        let ended = || io::Error::other("the thread that reads the ring has ended");
        self.orders.send((order, done)).map_err(|_unsent| ended())?;
        wait.recv().map_err(|_unanswered| ended())
    }

    /// A way to the second thread.
    pub(super) fn sender(&self) -> SyncSender<Message> {
        self.to.clone()
    }

    /// Tells what the kernel has counted by now, if the second thread is not too busy to be told.
    pub(super) fn counted(&self, counted: Counted) {
        let _ = self.to.try_send(Message::Counted(Box::new(counted)));
    }

    /// Empties the ring for the last time. To be called when the probes are detached.
    pub(super) fn drain(self) -> io::Result<(Met, Drained)> {
        self.stop.store(true, Ordering::Relaxed);
        let met = self.reader.join().map_err(|_panic| panicked())??;
        Ok((met, Drained { to: self.to, attributor: self.attributor }))
    }
}

impl Drained {
    /// A fault that the kernel program still held.
    pub(super) fn last(&self, fault: Fault) {
        // The thread ends only when this sender is gone; if it has panicked, `join` will tell.
        let _ = self.to.send(Message::Last(Box::new(fault)));
    }

    /// Waits until everything is attributed.
    pub(super) fn join(self) -> io::Result<Attributed> {
        drop(self.to);
        self.attributor.join().map_err(|_panic| panicked())
    }
}

fn panicked() -> io::Error {
    io::Error::other("a thread of cowtrace has panicked")
}

/// How long the ring may be left alone: it must not be more than a quarter full by then, and a process that forks has to be
/// looked at while it lives.
fn pause(ring_bytes: u32) -> Duration {
    let micros = u64::from(ring_bytes) * 1_000_000 / 4 / RATE;
    Duration::from_micros(micros.clamp(500, 2_000))
}

/// Records, each behind its length; the last of them decoded, if it tells of the tree's life.
#[derive(Default)]
struct Piece {
    records: Vec<u8>,
    /// Copied stacks, which are not among the records.
    copies: Vec<Box<StackCopy>>,
    last: Option<Event>,
}

struct Reader {
    ring: Ring,
    pause: Duration,
    mappings: Mappings,
    discovery: Discovery,
    callers: Callers,
    orders: Receiver<(Order, Sender<()>)>,
    asking: Asking,
    to: SyncSender<Message>,
    ended: Sender<ProcessKey>,
    stop: Arc<AtomicBool>,
    alive: Arc<AtomicI64>,
}

impl Reader {
    fn run(&mut self) -> io::Result<Met> {
        hurry();
        loop {
            let last = self.stop.load(Ordering::Relaxed);
            let mut total = 0;
            loop {
                let (count, pieces) = self.take();
                total += count;
                // After the ring: what a fault's process had mapped was told before the fault.
                self.mappings.drain();
                // Whoever ordered something waits with what it causes in the ring.
                self.obey()?;
                for piece in pieces {
                    self.pass_on(piece)?;
                }
                if count == 0 {
                    break;
                }
            }
            if last && total == 0 {
                return Ok(std::mem::take(&mut self.discovery.met));
            }
            if !last {
                self.ring.wait(self.pause)?;
            }
        }
    }

    /// Takes records out of the ring, cut behind each that tells of the tree's life.
    fn take(&mut self) -> (usize, Vec<Piece>) {
        let mut pieces = Vec::new();
        let mut piece = Piece { records: Vec::with_capacity(BATCH), ..Piece::default() };
        let count = self.ring.drain(|record| {
            let kind = kind_of(record);
            if kind == kind::STACK_COPY
                && let Ok(Event::StackCopy(copy)) = decode(record)
            {
                piece.copies.push(copy);
                return;
            }
            let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
            piece.records.extend_from_slice(&len.to_ne_bytes());
            piece.records.extend_from_slice(record);
            if matches!(kind, kind::FORK | kind::EXEC | kind::EXIT | kind::HINT | kind::JOIN) {
                piece.last = decode(record).ok();
                pieces.push(std::mem::take(&mut piece));
            }
        });
        pieces.push(piece);
        (count, pieces)
    }

    /// Hands records over. What a forking process has mapped is told before its fork, for the child; what an executing one
    /// has, behind its exec, which forgets everything.
    fn pass_on(&mut self, piece: Piece) -> io::Result<()> {
        let Piece { records, copies, last } = piece;
        let mut answers = Answers::default();
        for copy in copies {
            self.callers.copy(&copy, &mut answers);
        }
        if !answers.is_empty() {
            // The other thread ends only after this one.
            let _ = self.to.send(Message::Callers(answers));
        }
        let before = matches!(last, Some(Event::Fork(_) | Event::Join(_)));
        if let Some(event) = last.as_ref().filter(|_| before) {
            self.lifecycle(event);
        }
        if !records.is_empty() {
            self.send(Message::Records(records))?;
        }
        if let Some(event) = last.as_ref().filter(|_| !before) {
            self.lifecycle(event);
        }
        Ok(())
    }

    fn obey(&mut self) -> io::Result<()> {
        while let Ok((order, done)) = self.orders.try_recv() {
            match order {
                Order::Image(image, pid) => self.discovery.image(image, pid, &self.to),
                Order::Attach(found) => {
                    for found in found {
                        self.discovery.runs(found.key, found.image);
                        self.send(Message::Attached(Box::new(found)))?;
                    }
                }
            }
            // Nobody waits any more when the session is over.
            let _ = done.send(());
        }
        Ok(())
    }

    fn send(&self, message: Message) -> io::Result<()> {
        let ended = |_unsent| io::Error::other("the attributing thread has ended");
        self.to.send(message).map_err(ended)
    }

    /// The kernel program has taken in a process that was there before.
    fn joined(&mut self, join: &raw::Join) {
        let pid = join.process.pid;
        let existing::Description { exe, command, container, .. } = existing::describe(pid);
        let found = Arrival {
            key: join.process,
            parent: join.parent,
            parent_pid: Brief::of(pid).map_or(join.parent.pid, |brief| brief.parent),
            generation: join.generation,
            image: join.image,
            comm: join.comm,
            exe,
            command,
            container,
        };
        self.discovery.runs(found.key, found.image);
        self.discovery.image(found.image, pid, &self.to);
        self.asking.ask(found.key);
        // The other thread ends only after this one.
        let _ = self.to.send(Message::Attached(Box::new(found)));
    }

    fn lifecycle(&mut self, event: &Event) {
        if let Event::Join(join) = event {
            self.joined(join);
        }
        self.discovery.event(event, &self.to);
        let exec = matches!(event, Event::Exec(_));
        if exec {
            self.callers.event(event);
        }
        for (process, maps) in self.discovery.seen.drain(..) {
            self.callers.saw(process, maps);
        }
        if !exec {
            self.callers.event(event);
        }
        match event {
            Event::Fork(fork) if fork.flags & fork_flag::THREAD == 0 => {
                self.mappings.log.follow(fork.child.pid);
                self.alive.fetch_add(1, Ordering::Relaxed);
            }
            Event::Exit(exit) if exit.flags & exit_flag::LAST != 0 => {
                self.mappings.log.ended(exit.process.pid);
                self.alive.fetch_sub(1, Ordering::Relaxed);
                // Nobody listens any more only when the session is over.
                let _ = self.ended.send(exit.process);
            }
            _ => {}
        }
    }
}

/// Raises the current thread's priority: it looks at processes that may be gone in a moment, where others work on every CPU.
fn hurry() {
    if let Err(error) = setpriority_process(Some(gettid()), NICE) {
        log::debug!("priority not raised: {error}");
    }
}

/// Highest priority of a thread that shares the CPUs.
const NICE: i32 = -20;

/// Faults after which they are handed on.
const PIECE: usize = 1 << 16;
/// Faults after which they are handed on even if that takes a moment.
const PILE: usize = 8 * PIECE;
/// How long the second thread waits for something to do.
const IDLE: Duration = Duration::from_millis(100);

/// The second thread: decodes and attributes until the first has ended.
fn attribute(work: Work, from: &Receiver<Message>) -> Attributed {
    let Work { mut attributor, mut recorder, mut header } = work;
    let mut undecoded = 0;
    let mut counted = Counted::default();
    let mut handed_on = Instant::now();
    recorder.sink.take(piece::Piece::Header(Box::new(header.clone())));
    loop {
        let message = match from.recv_timeout(IDLE) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        match message {
            Some(Message::Interpreter(image, found)) => {
                if !header.interpreters.contains(&found.interpreter) {
                    header.interpreters.push(found.interpreter.clone());
                    recorder.sink.take(piece::Piece::Header(Box::new(header.clone())));
                }
                attributor.interpreter(image, found);
            }
            Some(Message::Callers(Answers { stacks, copies })) => attributor.callers(stacks, copies),
            Some(Message::Saw(key, maps, exe)) => attributor.tree.saw(key, maps, exe),
            Some(Message::Attached(found)) => attributor.tree.attach(&found),
            Some(Message::Had(key, baseline)) => attributor.tree.had(key, baseline),
            Some(Message::Last(fault)) => attributor.event(&Event::Fault(fault)),
            Some(Message::Counted(now)) => counted = *now,
            Some(Message::Records(batch)) => undecoded += records(&mut attributor, &batch),
            None => {}
        }
        let waiting = attributor.output.waiting();
        let due = recorder.sink.pace().is_some_and(|pace| handed_on.elapsed() >= pace);
        // Who looks at the trace keeps nobody waiting; but what is not handed on must not pile up.
        if (due || waiting >= PIECE) && (!recorder.sink.is_busy() || waiting >= PILE) {
            recorder.hand_on(&attributor.tree, &mut attributor.output, &counted.totals);
            if due {
                recorder.sink.take(piece::Piece::State(counted.state.clone()));
            }
            handed_on = Instant::now();
        }
    }
    let (tree, output) = attributor.finish();
    Attributed { tree, output, recorder, undecoded }
}

/// Takes a batch of records; returns how many could not be decoded.
fn records(attributor: &mut Attributor, batch: &[u8]) -> u64 {
    let mut undecoded = 0;
    let mut rest = batch;
    while let Some((len, tail)) = rest.split_first_chunk() {
        let len = (u32::from_ne_bytes(*len) as usize).min(tail.len());
        let (record, tail) = tail.split_at(len);
        rest = tail;
        match decode(record) {
            Ok(event) => attributor.event(&event),
            Err(error) => {
                log::warn!("{error}");
                undecoded += 1;
            }
        }
    }
    undecoded
}
