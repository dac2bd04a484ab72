//! The end of a session: what the kernel still holds, and the trace.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use bytemuck::Zeroable as _;
use cowtrace_ebpf::event::{Fault, flag};
use cowtrace_ebpf::outcome::{Outcome, Seen, decide};
use cowtrace_ebpf::state::{ProcessKey, Thread, Totals, pending};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use nix::sys::time::TimeValLike as _;

use super::{Ended, Request, Run, other, probes};
use crate::bpf::{Attached, has_pending};
use crate::diag::{Failure, Notice};
use crate::kernel;
use crate::process::child::{Change, Child};
use crate::process::signals::{Received, Signals};
use crate::record::from::{Parts, trace};
use crate::record::schema::{Header, SCHEMA};

/// What the base rung cannot see.
pub(super) const BASE_RUNG: &str =
    "get_user_pages writes (ptrace, process_vm_writev, O_DIRECT, io_uring) raise no fault.";

/// What is known of the session apart from its faults.
pub(super) struct Facts<'a> {
    pub(super) origin: u64,
    pub(super) start: jiff::Timestamp,
    pub(super) duration: u64,
    pub(super) setup_ns: u64,
    pub(super) attached: Attached,
    pub(super) missing: Vec<String>,
    pub(super) request: &'a Request<'a>,
}

impl Run {
    /// Reads what is left, and puts the trace together. The probes are detached.
    pub(super) fn finish(
        self,
        facts: Facts<'_>,
        status: Option<u8>,
        output: Option<File>,
    ) -> Result<Ended, Failure> {
        let Self { child, control, pipeline, gone, mut notices, .. } = self;
        let (met, drained) = pipeline.drain().map_err(other("cannot read the ring buffer"))?;
        let mut totals: HashMap<ProcessKey, Totals> = gone;
        for (key, process) in control.processes() {
            totals.entry(key).or_insert_with(Totals::zeroed).add(&process.totals);
        }
        let list_all = facts.request.all;
        for mut thread in control.threads() {
            if let Some(fault) = last_fault(&mut thread, list_all) {
                drained.last(fault);
            }
            totals.entry(thread.process).or_insert_with(Totals::zeroed).add(&thread.totals);
        }
        let attributed = drained.join().map_err(other("cannot attribute the faults"))?;
        let mut missing = facts.missing;
        let mut interpreters = Vec::new();
        for (interpreter, reason) in met {
            if let Some(reason) = reason {
                missing.push(format!(
                    "Frames of {} {} are not seen: {reason}.",
                    interpreter.name, interpreter.version
                ));
                notices.push(Notice::UnknownInterpreter {
                    name: interpreter.name.clone(),
                    version: interpreter.version.clone(),
                    path: interpreter.path.clone().into(),
                });
            }
            interpreters.push(interpreter);
        }
        let header = Header {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: facts.request.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
            start: facts.start.to_string(),
            kernel: kernel::release(),
            rung: "base".to_owned(),
            probes: probes(&facts.attached),
            missing,
            interpreters,
        };
        let trace = trace(Parts {
            header,
            tree: attributed.tree,
            output: attributed.output,
            totals,
            drops: control.drops(),
            undecoded: attributed.undecoded,
            origin: facts.origin,
            duration: facts.duration,
            own_cpu_ns: own_cpu_ns(),
            setup_ns: facts.setup_ns,
        });
        if status.is_none() {
            notices.push(Notice::StillRunning { pid: child.pid().as_raw() });
        }
        let lost = trace.summary.lost;
        if lost > 0 {
            notices.push(Notice::Lost { count: lost, buffer: facts.request.buffer.into() });
        }
        let child = status.is_none().then_some(child);
        Ok(Ended { trace, output, status, child, notices })
    }
}

/// CPU time of cowtrace's own threads.
pub(super) fn own_cpu_ns() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF);
    let nanos =
        usage.map_or(0, |usage| usage.user_time().num_nanoseconds() + usage.system_time().num_nanoseconds());
    u64::try_from(nanos).unwrap_or_default()
}

/// Decides the fault that a thread had last, as the kernel program would have at its next one, and counts it.
/// Returns it if it is to be listed.
fn last_fault(thread: &mut Thread, list_all: bool) -> Option<Fault> {
    if !has_pending(thread) {
        return None;
    }
    let bits = thread.pending;
    let mut fault = thread.fault;
    let outcome = decide(&Seen {
        error: fault.error,
        allocated: bits & pending::ALLOCATED != 0,
        undone: bits & pending::UNDONE != 0,
        zeroed: bits & pending::ZEROED != 0,
        order: fault.order,
        rss: thread.rss,
        refused: bits & pending::REFUSED != 0,
        threaded: fault.flags & flag::THREADED != 0,
    });
    let index = outcome as usize;
    thread.totals.faults[index] += 1;
    let bytes = 4096u64 << (fault.order & 31);
    match outcome {
        Outcome::Copy => thread.totals.copied_bytes += bytes,
        Outcome::FileCopy => thread.totals.file_copied_bytes += bytes,
        _ => {}
    }
    if bits & pending::LISTED == 0 || !(outcome.is_listed() || list_all) {
        thread.totals.unlisted[index] += 1;
        return None;
    }
    fault.outcome = outcome as u8;
    if thread.end > fault.header.time {
        fault.latency = thread.end - fault.header.time;
        fault.flags |= flag::LATENCY;
    }
    Some(fault)
}

/// See [`super::wait_untraced`].
pub(super) async fn wait_untraced(mut child: Child) -> Result<u8, Failure> {
    let mut signals = Signals::listen().map_err(other("cannot listen to signals"))?;
    let waiting = |error: io::Error| other("cannot wait for the command")(error);
    if let Some(signal) = stopped(child.pid().as_raw()) {
        return Ok(stopped_status(signal));
    }
    loop {
        while let Some(change) = child.poll().map_err(waiting)? {
            match change {
                Change::Ended(status) => return Ok(status),
                Change::Stopped(signal) => return Ok(stopped_status(signal)),
                Change::Continued => {}
            }
        }
        match signals.next().await {
            Received::InterruptAgain | Received::Interrupt => return Ok(128 + 2),
            Received::PassOn(signal) => child.signal(signal).map_err(waiting)?,
            Received::Child | Received::Quit => {}
        }
    }
}

/// The status for a command that was left stopped.
fn stopped_status(signal: Signal) -> u8 {
    128u8.saturating_add(u8::try_from(signal as i32).unwrap_or_default())
}

/// Whether a process is stopped; the news of it may have been taken before.
fn stopped(pid: i32) -> Option<Signal> {
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat()).ok()?;
    (stat.state == 'T').then_some(Signal::SIGSTOP)
}
