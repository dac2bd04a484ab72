//! The bare form and `record`: a command is traced, and what was seen is reported, exported or kept.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::AsFd as _;

use super::{About, Screen, tell_verdict, write_export, write_report};
use crate::cli::{Options, Output, Target};
use crate::diag::{self, FAILED, Failure, Notice};
use crate::process::child::Child;
use crate::process::launch::Inherited;
use crate::record::schema::Trace;
use crate::report::filter::Part;
use crate::report::sums::Sums;
use crate::report::{self, budget, numbers};
use crate::session::{self, Ended, Keep, Request};

/// Traces; returns the status to exit with.
pub(super) fn run(options: &Options, inherited: &Inherited) -> Result<u8, Failure> {
    let ended = session::run(&request(options), inherited)?;
    finish(options, ended)?.wait()
}

/// What is to be traced, and how.
pub(super) fn request(options: &Options) -> Request<'_> {
    let recorded = options.output.as_ref().is_some_and(Output::is_recording);
    Request {
        target: match &options.target {
            Target::Command { words, run_as } => session::Target::Command { words, run_as },
            Target::Attach { pids, cgroup } => session::Target::Attach { pids, cgroup: cgroup.as_deref() },
        },
        duration: options.duration,
        output: options.output.as_ref().map(|output| output.path.as_path()),
        force: options.output.as_ref().is_some_and(|output| output.force),
        keep: match options.report {
            _ if !recorded => Keep::Memory,
            None if options.budget.is_none() => Keep::File,
            Some(_) | None => Keep::Both,
        },
        buffer: options.buffer,
        memory: options.memory,
        rung: options.rung,
        latency: options.latency,
        all: options.all,
        kernel_log: options.verbose >= 2,
        watch: None,
    }
}

/// A trace of which everything has been told.
pub(super) struct Finished {
    /// Status to exit with; `None` = the command is to be waited for.
    status: Option<u8>,
    child: Option<Child>,
    /// Status to exit with if the command does not fail.
    over: u8,
    /// The recording stopped before its end.
    stopped: bool,
}

impl Finished {
    /// Whether the command goes on and is to be waited for.
    #[cfg(feature = "top")]
    pub(super) const fn goes_on(&self) -> bool {
        self.status.is_none() && self.child.is_some()
    }

    /// Waits for the command if it goes on; returns the status to exit with.
    pub(super) fn wait(self) -> Result<u8, Failure> {
        let status = match (self.status, self.child) {
            (Some(status), _) => status,
            (None, Some(child)) => session::wait_untraced(child)?,
            (None, None) => 0,
        };
        Ok(match status {
            _ if self.stopped => FAILED,
            // A command that failed says more than what it copied until then.
            0 => self.over,
            status => status,
        })
    }
}

/// Reports, writes and tells what there is at the end.
pub(super) fn finish(options: &Options, ended: Ended) -> Result<Finished, Failure> {
    let Ended { mut trace, output, recording, status, child, notices } = ended;
    trace.pages = report::private::pages(&trace, &options.questions);
    // The report first: a full disk must not take it away.
    let part = options.report.as_ref().and_then(|wanted| {
        // What was traced is not thrown away for a name that is not in it.
        wanted.filter.apply(&mut trace).unwrap_or_else(|error| {
            diag::tell(&Notice::Other(format!("{error}: this is of the whole trace")));
            None
        })
    });
    let verdict = options
        .budget
        .map(|budget| budget.check(&Sums::of(&trace, &options.target.name(), None, part.as_ref())));
    let reported = shown(options, &trace, part.as_ref(), verdict.as_ref());
    for notice in &notices {
        diag::tell(notice);
    }
    let written = match (output, &options.output) {
        (Some(mut file), Some(wanted)) => write_export(&trace, &wanted.format, &wanted.path, &mut file),
        _ => Ok(()),
    };
    // Somebody who closed stderr does not want the report; that is no failure.
    if let Err(error) = reported {
        log::info!("report: {error}");
    }
    written?;
    // A recording that stopped has been told of when it did.
    let stopped = matches!(recording, Some(Err(_)));
    if let (Some(Ok(file)), Some(Output { path, .. }), None, false) =
        (&recording, &options.output, &options.report, options.quiet)
    {
        diag::tell(&kept(&trace, path, file));
    }
    let over = tell_verdict(verdict.as_ref());
    Ok(Finished { status, child, over, stopped })
}

/// What a recording holds, in a sentence.
fn kept(trace: &Trace, path: &std::path::Path, file: &File) -> Notice {
    let listed: u64 = trace
        .processes
        .iter()
        .flat_map(|process| &process.totals.outcomes)
        .map(|(_, total)| total.faults.saturating_sub(total.unlisted + total.lost))
        .sum();
    let processes = numbers::counted(trace.processes.len() as u64, "process");
    Notice::Recorded {
        path: path.into(),
        what: format!("{} of {processes}", numbers::counted(listed, "fault")),
        size: numbers::size(file.metadata().map_or(0, |metadata| metadata.len())),
    }
}

fn shown(
    options: &Options,
    trace: &Trace,
    part: Option<&Part>,
    verdict: Option<&budget::Verdict>,
) -> io::Result<()> {
    let Some(wanted) = &options.report else { return Ok(()) };
    let stderr = io::stderr();
    let screen = Screen::of(&stderr, wanted.color);
    let mut out = io::BufWriter::new(stderr.lock());
    if !wanted.json && follows_output(&stderr) {
        writeln!(out)?;
    }
    let about = About { questions: &options.questions, all: options.all, part, verdict };
    write_report(trace, wanted, &about, &screen, &mut out)
}

/// Whether something may stand where the report goes: in a file if it is not at its beginning, elsewhere always, since a
/// terminal or a pipe does not tell.
fn follows_output(stderr: &io::Stderr) -> bool {
    let copy = stderr.as_fd().try_clone_to_owned().map(File::from);
    copy.and_then(|mut file| file.stream_position()).map_or(true, |position| position > 0)
}
