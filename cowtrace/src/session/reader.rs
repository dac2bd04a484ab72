//! The first thread: empties the ring, and looks at processes at the moment that an event says it is worth it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::Duration;

use cowtrace_ebpf::event::{self as raw, exit_flag, fork_flag, kind};
use cowtrace_ebpf::state::ProcessKey;
use rustix::process::setpriority_process;
use rustix::thread::gettid;

use super::baselines::Asking;
use super::discovery::Discovery;
use super::mappings::Mappings;
use super::pipeline::{BACKLOG, Backlog, Message, Met, Order};
use super::unwinding::{Gone, Onward, Passed};
use crate::bpf::Ring;
use crate::event::Event;
use crate::event::decode::{decode, kind_of};
use crate::process::existing::{self, Arrival, Brief};

/// Bytes of a batch, about.
const BATCH: usize = 256 << 10;
/// Bytes of records that a program can make a second, about: decides how often the ring is looked at.
const RATE: u64 = 200 << 20;

/// How long to wait for the other threads when they are far behind.
const CROWDED: Duration = Duration::from_millis(1);

/// How long the ring may be left alone: it must not be more than a quarter full by then, and the memory that a fault wrote has
/// to be looked at while it is still as the fault left it. Looking at it all the time would wake two threads for each few
/// faults, and they take the CPU from whom they look at.
pub(super) fn pause(ring_bytes: u32) -> Duration {
    let micros = u64::from(ring_bytes) * 1_000_000 / 4 / RATE;
    Duration::from_micros(micros.min(2_000))
}

/// Records, each behind its length; the last of them decoded, if it tells of the tree's life.
#[derive(Default)]
struct Piece {
    records: Vec<u8>,
    /// Copied stacks, which are not among the records.
    copies: Vec<Box<[u8]>>,
    last: Option<Event>,
}

/// The first thread.
pub(super) struct Reader {
    pub(super) ring: Ring,
    pub(super) pause: Duration,
    pub(super) mappings: Mappings,
    pub(super) discovery: Discovery,
    pub(super) orders: Receiver<(Order, Sender<()>)>,
    pub(super) asking: Asking,
    pub(super) to: Onward,
    pub(super) ended: Sender<ProcessKey>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) alive: Arc<AtomicI64>,
    /// What waits for the other threads.
    pub(super) backlog: Arc<Backlog>,
}

impl Reader {
    pub(super) fn run(&mut self) -> io::Result<Met> {
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
                // What has come meanwhile waits for the next look.
                if count < Ring::BATCH {
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
            if kind == kind::STACK_COPY {
                piece.copies.push(record.into());
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
        if !copies.is_empty() && self.backlog.has_room(&copies) {
            self.to.pass(Passed::Copies(copies)).map_err(ended)?;
        }
        let before = matches!(last, Some(Event::Fork(_) | Event::Join(_)));
        if let Some(event) = last.as_ref().filter(|_| before) {
            self.lifecycle(event);
        }
        if !records.is_empty() {
            while self.backlog.bytes() > BACKLOG {
                thread::sleep(CROWDED);
            }
            self.backlog.add(records.len());
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
        self.to.send(message).map_err(ended)
    }

    fn tell(&self, event: &Event) {
        // The other threads end only after this one.
        let _ = self.to.pass(Passed::Life(Box::new(event.clone())));
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
        // An exec forgets what a look then sees; a fork hands on what a look has just seen.
        let exec = matches!(event, Event::Exec(_));
        if exec {
            self.tell(event);
        }
        self.discovery.event(event, &self.to);
        if !exec {
            self.tell(event);
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

fn ended(_: Gone) -> io::Error {
    io::Error::other("the attributing thread has ended")
}

/// Raises the current thread's priority: it looks at processes that may be gone in a moment, where others work on every CPU.
pub(super) fn hurry() {
    if let Err(error) = setpriority_process(Some(gettid()), NICE) {
        log::debug!("priority not raised: {error}");
    }
}

/// Highest priority of a thread that shares the CPUs.
const NICE: i32 = -20;
