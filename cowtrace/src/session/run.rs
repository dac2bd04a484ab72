//! A session while what it traces runs: waits for its end, and keeps the kernel's tables small.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use cowtrace_ebpf::state::{Process as KernelProcess, ProcessKey, Totals};

use super::attached::Attached;
use super::pipeline::{Counted, Pipeline};
use super::{Request, finish, monotonic, other, watch};
use crate::bpf::Control;
use crate::diag::{self, Failure, Notice};
use crate::process::child::{Change, Child};
use crate::process::signals::{Received, Signals};
use crate::record::from;
use crate::record::piece::State;

/// How long processes that outlive the command are waited for.
const STRAGGLERS: Duration = Duration::from_millis(300);
/// How often the tables of processes are tidied.
pub(super) const TIDY: Duration = Duration::from_millis(500);
/// How often it is asked whether processes that were there before are still alive.
const ALIVE: Duration = Duration::from_millis(50);

/// What ends a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The command has ended with this status.
    Command(u8),
    /// The time is over; the command goes on.
    Deadline,
    /// The user does not want to wait for the command any more.
    Interrupted,
    /// Who watches has seen enough; the command goes on.
    Seen,
    /// Processes that were there before are let go: they have ended, the time is over, or the user has had enough.
    Detached,
}

/// What is traced.
pub(super) enum Subject {
    /// A command.
    Command {
        child: Child,
        /// It is stopped.
        stopped: bool,
    },
    /// Processes that were there before.
    Attached(Box<Attached>),
}

/// A session while what it traces runs.
pub(super) struct Run {
    pub(super) subject: Subject,
    pub(super) control: Control,
    pub(super) pipeline: Pipeline,
    /// Processes that were taken out of the kernel's table.
    pub(super) gone: HashMap<ProcessKey, KernelProcess>,
    /// Processes that have ended and may still move their totals.
    leaving: Vec<ProcessKey>,
    /// Somebody is to be told from time to time what the kernel has counted: a recording, or who watches.
    told: Option<Clock>,
}

/// What a session's figures are counted from.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) origin: u64,
    pub(super) setup_ns: u64,
    /// The faults count that the kernel program has not decided: each thread's last one. Who watches sees them, as they will
    /// stand at the end; to a recording that ends here they would be missing.
    pub(super) pending: bool,
    /// Every fault is listed.
    pub(super) all: bool,
}

impl Run {
    pub(super) fn new(subject: Subject, control: Control, pipeline: Pipeline, told: Option<Clock>) -> Self {
        Self { subject, control, pipeline, gone: HashMap::new(), leaving: Vec::new(), told }
    }

    /// Waits until the trace ends.
    pub(super) async fn wait(
        &mut self,
        signals: &mut Signals,
        request: &Request<'_>,
    ) -> Result<End, Failure> {
        let deadline = request.duration.map(|duration| tokio::time::Instant::now() + duration);
        let mut tidy = tokio::time::interval(TIDY);
        let mut alive = tokio::time::interval(ALIVE);
        loop {
            let received = tokio::select! {
                received = signals.next() => received,
                () = until(deadline) => return Ok(match self.subject {
                    Subject::Command { .. } => End::Deadline,
                    Subject::Attached(_) => End::Detached,
                }),
                () = watch::seen(request.watch) => return Ok(self.seen()),
                _ = tidy.tick() => {
                    self.tidy();
                    if let Subject::Attached(attached) = &mut self.subject {
                        attached.refresh(&self.pipeline)?;
                    }
                    continue;
                }
                _ = alive.tick(), if matches!(self.subject, Subject::Attached(_)) => {
                    if matches!(&self.subject, Subject::Attached(attached) if attached.is_over()) {
                        return Ok(End::Detached);
                    }
                    continue;
                }
            };
            // The terminal makes no signals of its keys for who watches: somebody else sent this one.
            if request.watch.is_some() && received == Received::Interrupt {
                return Ok(self.seen());
            }
            if let Some(end) = self.subject.received(received)? {
                return Ok(end);
            }
        }
    }

    /// What ends the trace when who watches has seen enough.
    const fn seen(&self) -> End {
        match self.subject {
            Subject::Command { .. } => End::Seen,
            Subject::Attached(_) => End::Detached,
        }
    }

    /// Takes processes that are gone out of the kernel's table, so that it does not fill.
    fn tidy(&mut self) {
        let mut leaving = std::mem::take(&mut self.leaving);
        leaving.extend(self.pipeline.ended.try_iter());
        for key in leaving {
            if self.control.has_thread(key) {
                self.leaving.push(key);
            } else if let Some(process) = self.control.forget(key) {
                self.gone.insert(key, process);
            }
        }
        if let Some(clock) = self.told {
            self.count(clock);
        }
    }

    /// Tells what the kernel has counted by now: for a recording it may be the last that it is told.
    fn count(&self, clock: Clock) {
        let mut processes = self.gone.clone();
        processes.extend(self.control.processes());
        let mut totals: HashMap<ProcessKey, Totals> =
            processes.iter().map(|(key, process)| (*key, process.totals)).collect();
        for mut thread in self.control.threads() {
            if clock.pending {
                finish::last_fault(&mut thread, clock.all);
            }
            totals.entry(thread.process).or_default().add(&thread.totals);
        }
        let state = State {
            closed: false,
            duration: monotonic().saturating_sub(clock.origin),
            own_cpu_ns: finish::own_cpu_ns(),
            setup_ns: clock.setup_ns,
            probe_ns: totals.values().map(|totals| totals.probe_ns).sum(),
            losses: from::losses(&self.control.drops(), 0),
        };
        self.pipeline.counted(Counted { totals, state });
    }

    /// Gives processes that outlive the command a moment to end with it.
    pub(super) async fn stragglers(&self) {
        let until = Instant::now() + STRAGGLERS;
        while self.pipeline.any_alive() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Subject {
    /// A signal has come; what ends the trace, if that does.
    fn received(&mut self, received: Received) -> Result<Option<End>, Failure> {
        let Self::Command { child, stopped } = self else {
            // They are not cowtrace's children, and signals are not passed on: each that would end cowtrace ends the trace.
            return Ok((received != Received::Child).then_some(End::Detached));
        };
        match received {
            Received::Child => return Ok(changed(child, stopped)?.map(End::Command)),
            Received::Interrupt if *stopped => return Ok(Some(End::Interrupted)),
            Received::Interrupt => diag::tell(&Notice::Interrupted),
            Received::InterruptAgain => return Ok(Some(End::Interrupted)),
            Received::Quit => {}
            Received::PassOn(signal) => {
                if let Err(error) = child.signal(signal) {
                    log::warn!("cannot pass {signal} on: {error}");
                }
            }
        }
        Ok(None)
    }
}

/// Takes note of what became of the command; its status if it has ended.
fn changed(child: &mut Child, stopped: &mut bool) -> Result<Option<u8>, Failure> {
    while let Some(change) = child.poll().map_err(other("cannot wait for the command"))? {
        match change {
            Change::Ended(status) => return Ok(Some(status)),
            Change::Stopped(signal) => {
                *stopped = true;
                diag::tell(&Notice::Stopped { signal: signal.as_str(), pid: child.pid().as_raw() });
            }
            Change::Continued => *stopped = false,
        }
    }
    Ok(None)
}

/// A point in time that may never come.
async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
