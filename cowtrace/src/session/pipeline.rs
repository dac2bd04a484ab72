//! Three threads between the ring buffer and the finished list of faults.
//!
//! The first empties the ring, and looks at processes the moment they start an interpreter; it never waits for anything
//! but the others, through a bounded channel. The second unwinds the stacks that were copied. The third decodes and
//! attributes. When it falls behind, the ring fills, and the kernel counts what it drops: the traced program never waits.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use cowtrace_ebpf::event::Fault;
use cowtrace_ebpf::state::{ProcessKey, Totals};

use super::allowance::{Allowance, Dropped};
use super::attributing::attribute;
use super::baselines::Asking;
use super::callers::{Answers, Callers};
use super::discovery::Discovery;
use super::mappings::Mappings;
use super::reader::{Reader, hurry, pause};
use super::unwinding::{Onward, Passed, unwind};
use crate::attribute::{Attributor, Output};
use crate::bpf::{Plans, Ring, Templates};
use crate::interp::Found;
use crate::kernel::rights;
use crate::process::baseline::Baseline;
use crate::process::existing::Arrival;
use crate::process::maps::Maps;
use crate::process::tree::Tree;
use crate::record::from::Recorder;
use crate::record::piece::State;
use crate::record::schema::{Header, Interpreter};

/// Messages that may wait for a thread. Enough that the first seldom waits for it where they are small: it has
/// processes to look at that may be gone in a moment.
const MESSAGES: usize = 8192;
/// Bytes of records that may wait for the third: with more, the rest stays in the ring.
pub(super) const BACKLOG: usize = 64 << 20;

/// Bytes of copied stacks that may wait to be unwound: further ones are left out, for faults come first.
pub(super) const COPIES: usize = 32 << 20;

/// What waits for the other threads.
#[derive(Default)]
pub(super) struct Backlog {
    /// Bytes of records; none when the third thread has ended, however it did.
    records: AtomicUsize,
    /// Bytes of copied stacks.
    copies: AtomicUsize,
    /// Copied stacks that were left out.
    left_out: AtomicU64,
}

impl Backlog {
    pub(super) fn bytes(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.records.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn done(&self, bytes: usize) {
        self.records.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether there is room for these copies, which then wait; else they are counted as left out.
    pub(super) fn has_room(&self, copies: &[Box<[u8]>]) -> bool {
        if self.copies.load(Ordering::Relaxed) > COPIES {
            self.left_out.fetch_add(copies.len() as u64, Ordering::Relaxed);
            return false;
        }
        self.copies.fetch_add(bytes(copies), Ordering::Relaxed);
        true
    }

    /// These copies wait no longer.
    pub(super) fn unwound(&self, copies: &[Box<[u8]>]) {
        self.copies.fetch_sub(bytes(copies), Ordering::Relaxed);
    }

    /// Copied stacks that were left out.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}

fn bytes(copies: &[Box<[u8]>]) -> usize {
    copies.iter().map(|copy| copy.len()).sum()
}

/// The third thread's end of it.
pub(super) struct Served(pub(super) Arc<Backlog>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.records.store(0, Ordering::Relaxed);
    }
}

/// To the third thread.
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

/// The kernel's tables that the first two threads write.
pub(super) struct Tables {
    pub(super) plans: Plans,
    pub(super) templates: Templates,
}

/// What the third thread works with.
pub(super) struct Work {
    pub(super) attributor: Attributor,
    pub(super) recorder: Recorder,
    /// What is known of the trace at its start.
    pub(super) header: Header,
    /// How much it may keep.
    pub(super) allowance: Allowance,
}

/// The interpreters that were met, each with why its frames are not seen, if so.
pub(super) type Met = Vec<(Interpreter, Option<String>)>;

/// The running threads.
pub(super) struct Pipeline {
    stop: Arc<AtomicBool>,
    alive: Arc<AtomicI64>,
    /// Processes that have ended, as they end.
    pub(super) ended: Receiver<ProcessKey>,
    orders: Sender<(Order, Sender<()>)>,
    onward: Onward,
    to: SyncSender<Message>,
    reader: JoinHandle<io::Result<Met>>,
    unwinder: JoinHandle<()>,
    attributor: JoinHandle<Attributed>,
}

/// The third thread alone, when the ring is empty for good.
pub(super) struct Drained {
    to: SyncSender<Message>,
    attributor: JoinHandle<Attributed>,
}

/// What the third thread leaves.
pub(super) struct Attributed {
    pub(super) tree: Tree,
    pub(super) output: Output,
    pub(super) recorder: Recorder,
    /// Records that could not be decoded.
    pub(super) undecoded: u64,
    /// Faults that there was no memory for.
    pub(super) dropped: Dropped,
    /// Copied stacks that were not unwound, for too many waited for it.
    pub(super) left_out: u64,
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
        let (to, from) = sync_channel(MESSAGES);
        let (passed_to, passed) = sync_channel(MESSAGES);
        let onward = Onward(passed_to);
        let (ended_to, ended) = channel();
        let backlog = Arc::new(Backlog::default());
        let (orders, ordered) = channel();
        let mut reader = Reader {
            ring,
            pause: pause(ring_bytes),
            mappings,
            discovery: Discovery::new(tables.plans, root),
            orders: ordered,
            asking,
            to: onward.clone(),
            ended: ended_to,
            stop: Arc::clone(&stop),
            alive: Arc::clone(&alive),
            backlog: Arc::clone(&backlog),
        };
        let reader = thread::Builder::new().name("ring".to_owned()).spawn(move || {
            hurry();
            only_read();
            reader.run()
        })?;
        let (callers, through) = (Callers::new(tables.templates), to.clone());
        let waiting = Arc::clone(&backlog);
        let unwinder = thread::Builder::new().name("unwind".to_owned()).spawn(move || {
            hurry();
            only_read();
            unwind(callers, &passed, &through, &waiting);
        })?;
        let served = Served(backlog);
        let attributor = thread::Builder::new().name("attribute".to_owned()).spawn(move || {
            only_read();
            attribute(work(), &from, &served)
        })?;
        Ok(Self { stop, alive, ended, orders, onward, to, reader, unwinder, attributor })
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

    /// A way to the third thread, through the second.
    pub(super) fn sender(&self) -> Onward {
        self.onward.clone()
    }

    /// Tells what the kernel has counted by now, if the third thread is not too busy to be told.
    pub(super) fn counted(&self, counted: Counted) {
        let _ = self.to.try_send(Message::Counted(Box::new(counted)));
    }

    /// Empties the ring for the last time. To be called when the probes are detached.
    pub(super) fn drain(self) -> io::Result<(Met, Drained)> {
        self.stop.store(true, Ordering::Relaxed);
        let met = self.reader.join().map_err(|_panic| panicked())??;
        // If it has ended already, `join` tells why.
        let _ = self.onward.pass(Passed::End);
        self.unwinder.join().map_err(|_panic| panicked())?;
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

/// What a thread of these has no use for it gives up.
fn only_read() {
    if let Err(error) = rights::keep(rights::READING) {
        log::warn!("privileges not given up: {error}");
    }
}

fn panicked() -> io::Error {
    io::Error::other("a thread of cowtrace has panicked")
}
