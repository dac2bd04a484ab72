//! One session from the first check to the last line: starts the command, attaches the probes, runs the threads, puts the
//! trace together. The only module that sees all stages.

mod discovery;
mod finish;
mod reader;
mod watch;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cowtrace_ebpf::config::{Config, LATENCY, LIST_ALL};
use cowtrace_ebpf::state::{Process as KernelProcess, ProcessKey, Totals};
use nix::time::{ClockId, clock_gettime};

use crate::attribute::Attributor;
use crate::bpf::{Attached, Bpf, BpfError, Control, LoadOptions};
use crate::diag::{self, Failure, Notice};
use crate::kernel;
use crate::process::child::{Change, Child};
use crate::process::command::Command;
use crate::process::identity::{self, RunAs};
use crate::process::launch::{self, Inherited};
use crate::process::output;
use crate::process::signals::{Received, Signals};
use crate::process::tree::Tree;
use crate::record::file::{Unwritten, Writer};
use crate::record::from::{self, Recorder};
use crate::record::piece::State;
use crate::record::schema::{Header, SCHEMA, Trace};
use crate::record::sink::Sink;
use reader::{Counted, Pipeline, Work};
pub use watch::Watch;

/// How long processes that outlive the command are waited for.
const STRAGGLERS: Duration = Duration::from_millis(300);
/// How often the tables of processes are tidied.
const TIDY: Duration = Duration::from_millis(500);

/// What to trace and how.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The command and its arguments.
    pub command: &'a [std::ffi::OsString],
    /// Whom it runs as.
    pub run_as: &'a RunAs,
    /// How long to trace; `None` = until the command ends.
    pub duration: Option<Duration>,
    /// File to open before the command starts.
    pub output: Option<&'a Path>,
    /// It may exist, and is written over.
    pub force: bool,
    /// Where the faults are kept.
    pub keep: Keep,
    /// Bytes of the ring buffer.
    pub buffer: u32,
    /// Measure latencies.
    pub latency: bool,
    /// List every fault.
    pub all: bool,
    /// Show the kernel program's own diagnostics.
    pub kernel_log: bool,
    /// Who looks at it while it runs.
    pub watch: Option<&'a Watch>,
}

/// Where the faults of a session are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// In memory; the output is for something that is made of them.
    Memory,
    /// In memory, and in the output as a recording.
    Both,
    /// In the output, as a recording, alone.
    File,
    /// With who watches, and in the output, if there is one, as a recording.
    Watch,
}

/// What a session leaves.
pub struct Ended {
    /// The trace; with [`Keep::File`] and [`Keep::Watch`] without its faults.
    pub trace: Trace,
    /// The opened output, for something to be made of the trace.
    pub output: Option<File>,
    /// What became of the recording; `None` = there is to be none.
    pub recording: Option<Result<File, Unwritten>>,
    /// Status to exit with; `None` = the command is to be waited for.
    pub status: Option<u8>,
    /// The command, if it is to be waited for.
    pub child: Option<Child>,
    /// What the user is to be told beside the report.
    pub notices: Vec<Notice>,
}

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of the kernel program.
fn monotonic() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
        let nanos = Duration::from(now).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX)
    })
}

impl From<BpfError> for Failure {
    fn from(error: BpfError) -> Self {
        let what = error.to_string();
        log::info!("{:#}", anyhow::Error::new(error));
        Notice::Refused { what }.into()
    }
}

fn other(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Notice::Other(format!("{what}: {error}")).into()
}

/// Runs a command and traces it.
///
/// # Errors
/// Something that is needed is missing, or the command cannot be run.
pub fn run(request: &Request<'_>, inherited: &Inherited) -> Result<Ended, Failure> {
    kernel::check_privileges()?;
    let types = kernel::types()?;
    let fields = kernel::fields::config(&types)?;
    let hooks = kernel::hooks::select(&types, request.latency)?;
    drop(types);
    let account = identity::resolve(request.run_as)?;
    let caller = identity::caller();
    let output =
        request.output.map(|path| output::create(path, caller.as_ref(), request.force)).transpose()?;
    let streams = request.watch.map(|watch| watch.streams).unwrap_or_default();
    let command = Command::new(request.command, account)?.with(streams);
    let mut missing: Vec<String> = fields.missing.iter().map(|&what| what.to_owned()).collect();
    missing.extend(hooks.missing.iter().map(|hook| hook.without.to_owned()));
    missing.push(kernel::hooks::BASE_RUNG.to_owned());
    let setup = Setup { config: configuration(fields.config, request), hooks: hooks.attach, missing, output };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(other("cannot start the runtime"))?;
    runtime.block_on(trace(request, inherited, &command, setup))
}

fn configuration(mut config: Config, request: &Request<'_>) -> Config {
    if request.all {
        config.flags |= LIST_ALL;
    }
    if request.latency {
        config.flags |= LATENCY;
    }
    config
}

/// What is ready before the command exists.
struct Setup {
    config: Config,
    hooks: Vec<&'static kernel::hooks::Hook>,
    missing: Vec<String>,
    output: Option<File>,
}

async fn trace(
    request: &Request<'_>,
    inherited: &Inherited,
    command: &Command,
    mut setup: Setup,
) -> Result<Ended, Failure> {
    let mut signals = Signals::listen().map_err(other("cannot listen to signals"))?;
    let suspended = launch::suspend(command, inherited)?;
    let options = LoadOptions { config: setup.config, ring_bytes: request.buffer, log: request.kernel_log };
    let mut bpf = Bpf::load(&options)?;
    let ring = bpf.ring()?;
    let plans = bpf.plans()?;
    let mut control = bpf.control()?;
    let pid = u32::try_from(suspended.pid().as_raw()).unwrap_or_default();
    let root = ProcessKey { start: monotonic(), pid, zero: 0 };
    control.follow(root)?;
    let attached = bpf.attach(&setup.hooks)?;
    setup.missing.extend(attached.missing.iter().cloned());
    let _log = request.kernel_log.then(|| kernel_log(&mut bpf)).flatten();

    let origin = monotonic();
    let (sink, output) = sink(request, setup.output)?;
    let header = Header {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: request.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        start: jiff::Timestamp::now().to_string(),
        kernel: kernel::release(),
        rung: "base".to_owned(),
        probes: probes(&attached),
        missing: setup.missing,
        interpreters: Vec::new(),
    };
    let all = request.all;
    let begun = header.clone();
    let work = move || Work {
        attributor: Attributor::new(Tree::new(root, std::process::id()), origin, all),
        recorder: Recorder::new(sink, origin, all),
        header: begun,
    };
    let pipeline =
        Pipeline::start(ring, request.buffer, plans, root, work).map_err(other("cannot start a thread"))?;
    let setup_ns = finish::own_cpu_ns();
    let child = suspended.release()?;
    if let Some(watch) = request.watch {
        watch.begin();
    }
    let mut run = Run {
        child,
        stopped: false,
        control,
        pipeline,
        gone: HashMap::new(),
        leaving: Vec::new(),
        notices: Vec::new(),
        told: (request.keep != Keep::Memory || request.watch.is_some()).then_some(Clock {
            origin,
            setup_ns,
            pending: request.watch.is_some(),
            all,
        }),
    };
    let end = run.wait(&mut signals, request).await?;
    if matches!(end, End::Command(_)) {
        run.stragglers().await;
    }
    let duration = monotonic().saturating_sub(origin);
    // Every probe is gone when this returns; what one of them was doing on another CPU is over a moment later.
    drop(bpf);
    tokio::time::sleep(Duration::from_millis(2)).await;
    let facts = finish::Facts { origin, duration, setup_ns, header, request };
    run.finish(facts, end, output)
}

/// Where the trace goes, and the output if it is for something else.
fn sink(request: &Request<'_>, output: Option<File>) -> Result<(Sink, Option<File>), Failure> {
    let live = request.watch.map(|watch| Arc::clone(&watch.listener));
    let (Some(file), Some(path), Keep::Both | Keep::File | Keep::Watch) =
        (&output, request.output, request.keep)
    else {
        let sink = match request.keep {
            Keep::Watch => Sink::elsewhere(None),
            Keep::Memory | Keep::Both | Keep::File => Sink::memory(None),
        };
        return Ok((sink.with(live), output));
    };
    let failed = |Unwritten { source }| Notice::NotExported { path: path.into(), why: source.to_string() };
    let file = file.try_clone().map_err(Unwritten::from);
    let writer = file.and_then(|file| Writer::start(file, path.into())).map_err(failed)?;
    let sink = match request.keep {
        Keep::File | Keep::Watch => Sink::elsewhere(Some(writer)),
        Keep::Both | Keep::Memory => Sink::memory(Some(writer)),
    };
    Ok((sink.with(live), None))
}

/// Prints what the kernel program says of itself, with `-vv`.
fn kernel_log(bpf: &mut Bpf) -> Option<tokio::task::JoinHandle<()>> {
    let mut logger = aya_log::EbpfLogger::init(bpf.object()).map_err(|error| log::warn!("{error}")).ok()?;
    Some(tokio::spawn(async move {
        let mut tick = tokio::time::interval(TIDY / 5);
        loop {
            tick.tick().await;
            logger.flush();
        }
    }))
}

/// What ends a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The command has ended with this status.
    Command(u8),
    /// The time is over; the command goes on.
    Deadline,
    /// The user does not want to wait for the command any more.
    Interrupted,
    /// Who watches has seen enough; the command goes on.
    Seen,
}

/// A session while the command runs.
struct Run {
    child: Child,
    /// The command is stopped.
    stopped: bool,
    control: Control,
    pipeline: Pipeline,
    /// Processes that were taken out of the kernel's table.
    gone: HashMap<ProcessKey, KernelProcess>,
    /// Processes that have ended and may still move their totals.
    leaving: Vec<ProcessKey>,
    notices: Vec<Notice>,
    /// Somebody is to be told from time to time what the kernel has counted: a recording, or who watches.
    told: Option<Clock>,
}

/// What a session's figures are counted from.
#[derive(Clone, Copy)]
struct Clock {
    origin: u64,
    setup_ns: u64,
    /// The faults count that the kernel program has not decided: each thread's last one. Who watches sees them, as they will
    /// stand at the end; to a recording that ends here they would be missing.
    pending: bool,
    /// Every fault is listed.
    all: bool,
}

impl Run {
    /// Waits until the trace ends.
    async fn wait(&mut self, signals: &mut Signals, request: &Request<'_>) -> Result<End, Failure> {
        let deadline = request.duration.map(|duration| tokio::time::Instant::now() + duration);
        let mut tidy = tokio::time::interval(TIDY);
        loop {
            let received = tokio::select! {
                received = signals.next() => received,
                () = until(deadline) => return Ok(End::Deadline),
                () = watch::seen(request.watch) => return Ok(End::Seen),
                _ = tidy.tick() => {
                    self.tidy();
                    continue;
                }
            };
            match received {
                Received::Child => {
                    if let Some(status) = self.changed()? {
                        return Ok(End::Command(status));
                    }
                }
                // The terminal makes no signals of its keys for who watches: somebody else sent this one.
                Received::Interrupt if request.watch.is_some() => return Ok(End::Seen),
                Received::Interrupt if self.stopped => return Ok(End::Interrupted),
                Received::Interrupt => diag::tell(&Notice::Interrupted),
                Received::InterruptAgain => return Ok(End::Interrupted),
                Received::Quit => {}
                Received::PassOn(signal) => {
                    if let Err(error) = self.child.signal(signal) {
                        log::warn!("cannot pass {signal} on: {error}");
                    }
                }
            }
        }
    }

    /// Takes note of what became of the command.
    fn changed(&mut self) -> Result<Option<u8>, Failure> {
        while let Some(change) = self.child.poll().map_err(other("cannot wait for the command"))? {
            match change {
                Change::Ended(status) => return Ok(Some(status)),
                Change::Stopped(signal) => {
                    self.stopped = true;
                    diag::tell(&Notice::Stopped { signal: signal.as_str(), pid: self.child.pid().as_raw() });
                }
                Change::Continued => self.stopped = false,
            }
        }
        Ok(None)
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
    async fn stragglers(&self) {
        let until = Instant::now() + STRAGGLERS;
        while self.pipeline.any_alive() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A point in time that may never come.
async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits for a command that outlived its trace; returns the status to exit with. A command that is stopped, or whose
/// end is not waited for any more, is left to itself.
///
/// # Errors
/// The command is no child of cowtrace any more.
pub fn wait_untraced(child: Child) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(other("cannot start the runtime"))?;
    let _ = io::stderr().flush();
    runtime.block_on(finish::wait_untraced(child))
}

/// Which probes a session had.
fn probes(attached: &Attached) -> Vec<String> {
    attached.probes.clone()
}
