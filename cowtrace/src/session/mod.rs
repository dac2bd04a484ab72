//! One session from the first check to the last line: starts the command or finds the processes, attaches the probes, runs
//! the threads, puts the trace together. The only module that sees all stages.

mod allowance;
mod attached;
mod attributing;
mod baselines;
mod callers;
mod discovery;
mod finish;
mod mappings;
mod pipeline;
mod reader;
mod run;
mod target;
mod unwinding;
mod watch;

use std::env::consts::ARCH;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cowtrace_ebpf::config::{ATTACH, Config, FUNCTIONS, LATENCY, LIST_ALL};
use cowtrace_ebpf::state::ProcessKey;
use nix::time::{ClockId, clock_gettime};

use allowance::Allowance;

use crate::attribute::Attributor;
use crate::bpf::{self, Bpf, BpfError, LoadOptions};
use crate::diag::{self, Failure, Notice};
use crate::kernel;
use crate::kernel::preemption::Preemption;
use crate::kernel::rung::{self, Means, Rung};
use crate::page;
use crate::process::child::Child;
use crate::process::identity;
use crate::process::launch::{self, Inherited};
use crate::process::signals::Signals;
use crate::process::tree::Tree;
use crate::process::{hugetlb, output};
use crate::record::file::{Unwritten, Writer};
use crate::record::from::Recorder;
use crate::record::schema::{Header, PageBytes, SCHEMA, Trace};
use crate::record::sink::Sink;
use attached::Attached;
use mappings::Mappings;
use pipeline::{Pipeline, Tables, Work};
use run::{Clock, End, Run, Subject, TIDY};
use target::{Prepared, Wanted};

pub use target::Target;
pub use watch::Watch;

/// Processes or threads that room is made for at most.
const MOST_ROOM: u32 = 1 << 20;

/// What to trace and how.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What to trace.
    pub target: Target<'a>,
    /// How long to trace; `None` = until the command, or the last process, ends.
    pub duration: Option<Duration>,
    /// File to open before anything starts.
    pub output: Option<&'a Path>,
    /// It may exist, and is written over.
    pub force: bool,
    /// Where the faults are kept.
    pub keep: Keep,
    /// Bytes of the ring buffer.
    pub buffer: u32,
    /// Bytes of memory that cowtrace may have for itself before it keeps no more details; `None` = half of the machine's.
    pub memory: Option<u64>,
    /// How faults are to be seen.
    pub rung: rung::Wanted,
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

/// Traces a command, or processes that run already.
///
/// # Errors
/// Something that is needed is missing, the command cannot be run, or there are no such processes.
pub fn run(request: &Request<'_>, inherited: &Inherited) -> Result<Ended, Failure> {
    kernel::check_privileges()?;
    let types = kernel::types()?;
    let fields = kernel::fields::config(&types)?;
    let rung = bpf::choose(&types, request.rung)?;
    let preemption = Preemption::running();
    let means = Means { rung, tracepoints: preemption.tracepoints(&fields.config) };
    let hooks = kernel::hooks::select(&types, means, request.latency, hugetlb::is_in_use())?;
    drop(types);
    let wanted = Wanted::of(&request.target)?;
    let caller = identity::caller();
    let output =
        request.output.map(|path| output::create(path, caller.as_ref(), request.force)).transpose()?;
    let streams = request.watch.map(|watch| watch.streams).unwrap_or_default();
    let prepared = wanted.prepare(streams)?;
    let mut missing: Vec<String> = fields.missing.iter().map(|&what| what.to_owned()).collect();
    missing.extend(hooks.missing.iter().map(|hook| hook.without.to_owned()));
    missing.extend(preemption.lacks(means).into_iter().map(str::to_owned));
    missing.extend(rung.blind(&fields.config).into_iter().map(str::to_owned));
    let config = configuration(fields.config, rung, request);
    let setup = Setup { config, hooks: hooks.attach, rung, missing, output };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(other("cannot start the runtime"))?;
    runtime.block_on(trace(request, inherited, &prepared, setup))
}

fn configuration(mut config: Config, rung: Rung, request: &Request<'_>) -> Config {
    if rung != Rung::Base {
        config.flags |= FUNCTIONS;
    }
    if request.all {
        config.flags |= LIST_ALL;
    }
    if request.latency {
        config.flags |= LATENCY;
    }
    if let Target::Attach { .. } = request.target {
        config.flags |= ATTACH;
    }
    config.own_pid = std::process::id();
    config
}

/// What is ready before the command exists.
struct Setup {
    config: Config,
    hooks: Vec<&'static kernel::hooks::Hook>,
    rung: Rung,
    missing: Vec<String>,
    output: Option<File>,
}

async fn trace(
    request: &Request<'_>,
    inherited: &Inherited,
    prepared: &Prepared,
    mut setup: Setup,
) -> Result<Ended, Failure> {
    let mut signals = Signals::listen().map_err(other("cannot listen to signals"))?;
    let suspended = match prepared {
        Prepared::Command(command) => Some(launch::suspend(command, inherited)?),
        Prepared::Existing(_) => None,
    };
    let mut bpf = Bpf::load(&load_options(request, prepared, setup.config))?;
    let ring = bpf.ring()?;
    let tables = Tables { plans: bpf.plans()?, templates: bpf.templates()? };
    let mut control = bpf.control()?;
    let root = suspended.as_ref().map(|suspended| {
        let pid = u32::try_from(suspended.pid().as_raw()).unwrap_or_default();
        ProcessKey { start: monotonic(), pid, zero: 0 }
    });
    let mappings = Mappings::listen(root, &mut setup.missing);
    let mmap_log = mappings.log.clone();
    match root {
        Some(root) => control.follow(root)?,
        None => control.shared_from_the_start()?,
    }
    let attached = bpf.attach(&setup.hooks, setup.rung)?;
    setup.missing.extend(attached.missing.iter().cloned());
    kernel::rights::keep(kernel::rights::SESSION).map_err(other("cannot give up privileges"))?;
    let _log = request.kernel_log.then(|| kernel_log(&mut bpf)).flatten();

    let origin = monotonic();
    let (sink, output) = sink(request, setup.output)?;
    let header = header(request, prepared, &attached, setup.rung, setup.missing);
    let all = request.all;
    let memory = request.memory.unwrap_or_else(allowance::by_default);
    let begun = header.clone();
    let log = mmap_log.clone();
    let flushes = attached.probes.iter().any(|probe| probe == kernel::hooks::FLUSHES);
    let work = move || Work {
        attributor: Attributor::new(
            match root {
                Some(root) => Tree::new(root, std::process::id(), log),
                None => Tree::empty(log),
            },
            origin,
            all,
            flushes,
        ),
        recorder: Recorder::new(sink, origin, all),
        header: begun,
        allowance: Allowance::new(memory),
    };
    let (asking, asked) = baselines::asking();
    let pipeline = Pipeline::start(ring, request.buffer, tables, mappings, root, asking.clone(), work)
        .map_err(other("cannot start a thread"))?;
    let setup_ns = finish::own_cpu_ns();
    let subject = match (prepared, suspended) {
        (Prepared::Existing(existing), _) => {
            let mut attached =
                Attached::start(existing.clone(), bpf.following()?, (asking, asked), &pipeline)?;
            let followed = attached.follow(&pipeline)?;
            diag::tell(&attached.begun(followed));
            Subject::Attached(Box::new(attached))
        }
        (_, Some(suspended)) => Subject::Command { child: suspended.release()?, stopped: false },
        (Prepared::Command(_), None) => return Err(Notice::Other("no command was started".to_owned()).into()),
    };
    if let Some(watch) = request.watch {
        watch.begin();
    }
    let told = (request.keep != Keep::Memory || request.watch.is_some()).then_some(Clock {
        origin,
        setup_ns,
        pending: request.watch.is_some(),
        all,
    });
    let mut run = Run::new(subject, control, pipeline, told);
    let end = run.wait(&mut signals, request).await?;
    if matches!(end, End::Command(_)) {
        run.stragglers().await;
    }
    let duration = monotonic().saturating_sub(origin);
    // Every probe is gone when this returns; what one of them was doing on another CPU is over a moment later.
    drop(bpf);
    tokio::time::sleep(Duration::from_millis(2)).await;
    let facts = finish::Facts { origin, duration, setup_ns, header, mmap_log, request };
    run.finish(facts, end, output)
}

/// What the maps are made for: processes that are there already need room from the start.
fn load_options(request: &Request<'_>, prepared: &Prepared, config: Config) -> LoadOptions {
    let (processes, threads) = match prepared {
        Prepared::Command(_) => (0, 0),
        Prepared::Existing(existing) => {
            let threads = existing.processes.iter().map(|brief| brief.threads).sum::<u32>();
            // As many again may come.
            let room = |there: u32| there.saturating_mul(2).min(MOST_ROOM);
            (room(u32::try_from(existing.processes.len()).unwrap_or(u32::MAX)), room(threads))
        }
    };
    LoadOptions { config, ring_bytes: request.buffer, threads, processes, log: request.kernel_log }
}

fn header(
    request: &Request<'_>,
    prepared: &Prepared,
    attached: &bpf::Attached,
    rung: Rung,
    missing: Vec<String>,
) -> Header {
    let (command, pids, cgroup) = match (&request.target, prepared) {
        (Target::Command { words, .. }, _) => {
            (words.iter().map(|word| word.to_string_lossy().into_owned()).collect(), Vec::new(), None)
        }
        (Target::Attach { .. }, Prepared::Existing(existing)) => {
            let cgroup = existing.cgroup.as_ref().map(|cgroup| cgroup.name.clone());
            (existing.command(), existing.pids.clone(), cgroup)
        }
        (Target::Attach { .. }, Prepared::Command(_)) => (Vec::new(), Vec::new(), None),
    };
    Header {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command,
        attached: pids,
        cgroup,
        start: jiff::Timestamp::now().to_string(),
        kernel: kernel::release(),
        architecture: Some(ARCH.to_owned()),
        page_size: Some(PageBytes(page::here())),
        rung: rung.name().to_owned(),
        probes: attached.probes.clone(),
        missing,
        interpreters: Vec::new(),
    }
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
