//! Two threads between the ring buffer and the finished list of faults.
//!
//! The first empties the ring, and looks at processes the moment they start an interpreter; it never waits for anything
//! but the second, through a bounded channel. The second decodes and attributes. When it falls behind, the ring fills, and
//! the kernel counts what it drops: the traced program never waits.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
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
use super::reader::{Reader, pause};
use crate::attribute::{Attributor, Output};
use crate::bpf::{Plans, Ring, Templates};
use crate::interp::Found;
use crate::process::baseline::Baseline;
use crate::process::existing::Arrival;
use crate::process::maps::Maps;
use crate::process::tree::Tree;
use crate::record::from::Recorder;
use crate::record::piece::State;
use crate::record::schema::{Header, Interpreter};

/// Messages that may wait for the second thread. Enough that the first seldom waits for it where they are small: it has
/// processes to look at that may be gone in a moment.
const MESSAGES: usize = 8192;
/// Bytes of records that may wait for it: with more, the rest stays in the ring.
pub(super) const BACKLOG: usize = 64 << 20;

/// Bytes of records that wait for the second thread; none when it has ended, however it did.
#[derive(Default)]
pub(super) struct Backlog(AtomicUsize);

impl Backlog {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn done(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The second thread's end of it.
pub(super) struct Served(pub(super) Arc<Backlog>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.0.store(0, Ordering::Relaxed);
    }
}

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
    /// How much it may keep.
    pub(super) allowance: Allowance,
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
    /// Faults that there was no memory for.
    pub(super) dropped: Dropped,
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
        let (ended_to, ended) = channel();
        let backlog = Arc::new(Backlog::default());
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
            backlog: Arc::clone(&backlog),
        };
        let reader = thread::Builder::new().name("ring".to_owned()).spawn(move || reader.run())?;
        let served = Served(backlog);
        let attributor = thread::Builder::new()
            .name("attribute".to_owned())
            .spawn(move || attribute(work(), &from, &served))?;
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
