//! The end of a session: what the kernel still holds, and the trace.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use bytemuck::Zeroable as _;
use cowtrace_ebpf::drops::DropReason;
use cowtrace_ebpf::event::{Fault, flag};
use cowtrace_ebpf::outcome::{Outcome, Seen, decide};
use cowtrace_ebpf::state::{ENDED, Process, ProcessKey, Thread, Totals, pending};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use nix::sys::time::TimeValLike as _;

use super::allowance::{STAGE, by_default};
use super::pipeline::Attributed;
use super::run::{End, Run, Subject};
use super::{Ended, Request, other};
use crate::bpf::{Control, has_pending};
use crate::diag::{Failure, Notice};
use crate::page;
use crate::process::child::{Change, Child};
use crate::process::mmap_log::MmapLog;
use crate::process::signals::{Received, Signals};
use crate::process::tree::Tree;
use crate::record::from::losses;
use crate::record::piece::{Piece, State};
use crate::record::schema::{Header, Loss, Trace};
use crate::record::sink::Taken;

/// What is known of the session apart from its faults.
pub(super) struct Facts<'a> {
    pub(super) origin: u64,
    pub(super) duration: u64,
    pub(super) setup_ns: u64,
    pub(super) header: Header,
    pub(super) mmap_log: MmapLog,
    pub(super) request: &'a Request<'a>,
}

impl Run {
    /// Reads what is left, and puts the trace together. The probes are detached.
    pub(super) fn finish(self, facts: Facts<'_>, end: End, output: Option<File>) -> Result<Ended, Failure> {
        let Self { subject, control, pipeline, gone, .. } = self;
        let mut notices = Vec::new();
        let (met, drained) = pipeline.drain().map_err(other("cannot read the ring buffer"))?;
        let (child, without_room) = match subject {
            Subject::Command { child, .. } => (Some(child), 0),
            Subject::Attached(attached) => (None, attached.end()),
        };
        let mut kernel_processes = gone;
        kernel_processes.extend(control.processes());
        let mut totals: HashMap<ProcessKey, Totals> =
            kernel_processes.iter().map(|(key, process)| (*key, process.totals)).collect();
        let list_all = facts.request.all;
        for mut thread in control.threads() {
            if let Some(fault) = last_fault(&mut thread, list_all) {
                drained.last(fault);
            }
            totals.entry(thread.process).or_insert_with(Totals::zeroed).add(&thread.totals);
        }
        let mut attributed = drained.join().map_err(other("cannot attribute the faults"))?;
        attributed.dropped.count(&mut totals);
        complete(&mut attributed.tree, &kernel_processes, facts.origin + facts.duration);
        let mut header = facts.header;
        let untold = facts.mmap_log.lost();
        if untold > 0 {
            header.missing.push(format!(
                "{untold} pieces of news of what processes map were lost: of processes that ended at once, regions and \
                 symbols may be unknown."
            ));
        }
        for (interpreter, reason) in met {
            if let Some(reason) = reason {
                header.missing.push(format!(
                    "Frames of {} {} are not seen: {reason}.",
                    interpreter.name, interpreter.version
                ));
                notices.push(Notice::UnknownInterpreter {
                    name: interpreter.name.clone(),
                    version: interpreter.version.clone(),
                    path: interpreter.path.clone().into(),
                });
            }
            header.interpreters.push(interpreter);
        }
        let losses = all_losses(&control, &attributed, without_room);
        let mut recorder = attributed.recorder;
        recorder.hand_on(&attributed.tree, &mut attributed.output, &totals);
        let module_tables = std::mem::take(&mut attributed.output.module_tables);
        recorder.sink.take(Piece::ModuleTables(module_tables));
        recorder.sink.take(Piece::Header(Box::new(header)));
        recorder.sink.take(Piece::State(State {
            closed: true,
            duration: facts.duration,
            own_cpu_ns: own_cpu_ns(),
            setup_ns: facts.setup_ns,
            probe_ns: totals.values().map(|totals| totals.probe_ns).sum(),
            losses,
        }));
        let Taken { trace, file: recording } = recorder.sink.finish();
        if let Some(child) = child.as_ref().filter(|_| !matches!(end, End::Command(_))) {
            let pid = child.pid().as_raw();
            notices.push(match stopped(pid) {
                Some(_) => Notice::LeftStopped { pid },
                None => Notice::StillRunning { pid },
            });
        }
        notices.extend(lost(&trace, facts.request));
        let (status, child) = match end {
            End::Command(status) => (Some(status), None),
            End::Deadline | End::Seen => (None, child),
            End::Detached => (Some(0), None),
            End::Interrupted => (Some(INTERRUPTED), None),
        };
        Ok(Ended { trace, output, recording, status, child, notices })
    }
}

/// What was lost on both sides; `without_room` processes were found that the table had no room for.
fn all_losses(control: &Control, attributed: &Attributed, without_room: u64) -> Vec<Loss> {
    let mut losses = losses(&control.drops(), attributed.undecoded);
    for (reason, more) in
        [(DropReason::ProcessTable, without_room), (DropReason::NativeStack, attributed.left_out)]
    {
        if let Some(row) = losses.iter_mut().find(|loss| loss.stage == reason.stage()) {
            row.count += more;
        }
    }
    losses.extend(attributed.dropped.losses());
    losses
}

/// 128 and SIGINT, as for a command that it ended.
const INTERRUPTED: u8 = 128 + 2;

/// Adds what only the kernel's table tells: processes whose fork was lost, ends whose exit was lost.
fn complete(tree: &mut Tree, processes: &HashMap<ProcessKey, Process>, end: u64) {
    let mut known: Vec<_> = processes.iter().collect();
    known.sort_by_key(|(key, _)| **key);
    for (&key, process) in known {
        tree.complete(key, process.parent, process.generation);
        if process.flags & ENDED != 0 {
            tree.ended(key, end);
        }
    }
}

/// What was lost, in words.
fn lost(trace: &Trace, request: &Request<'_>) -> Vec<Notice> {
    let faults: u64 = trace
        .processes
        .iter()
        .flat_map(|process| &process.totals.outcomes)
        .map(|(_, total)| total.lost)
        .sum();
    let at = |stage: &str| -> u64 {
        trace.losses.iter().filter(|loss| loss.stage == stage).map(|loss| loss.count).sum()
    };
    let of = |reason: DropReason| at(reason.stage());
    let unkept = at(STAGE);
    let faults = faults.saturating_sub(unkept);
    let names = of(DropReason::RingDefinition);
    let lifecycle = of(DropReason::RingLifecycle);
    let mut notices = Vec::new();
    if faults + names + lifecycle > 0 {
        notices.push(Notice::Lost { faults, names, lifecycle, buffer: request.buffer.into() });
    }
    if unkept > 0 {
        let memory = request.memory.unwrap_or_else(by_default);
        notices.push(Notice::Unkept { faults: unkept, memory });
    }
    for reason in [DropReason::ThreadTable, DropReason::ProcessTable] {
        if of(reason) > 0 {
            notices.push(Notice::LostElsewhere { count: of(reason), what: reason.about() });
        }
    }
    notices
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
pub(super) fn last_fault(thread: &mut Thread, list_all: bool) -> Option<Fault> {
    if !has_pending(thread) {
        return None;
    }
    let bits = thread.pending;
    let mut fault = thread.fault;
    let mut outcome = decide(&Seen {
        error: fault.error,
        allocated: bits & pending::ALLOCATED != 0,
        undone: bits & pending::UNDONE != 0,
        zeroed: bits & pending::ZEROED != 0,
        order: fault.order,
        rss: thread.rss,
        copied_back: bits & pending::COPIED_BACK != 0,
        refused: bits & pending::REFUSED != 0,
        threaded: fault.flags & flag::THREADED != 0,
        answered: false,
    });
    // Which counters changed only the kernel program could have found out, at the thread's next event.
    if bits & pending::COUNTING != 0 && outcome != Outcome::Failed {
        outcome = Outcome::Other;
    }
    let index = outcome as usize;
    thread.totals.faults[index] += 1;
    let bytes = page::here().together(fault.order);
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
