//! `report`, `export` and `info`: what is made of a recording. Nothing here needs root, the traced machine or its files.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

use super::{About, Screen, tell_verdict, write_export, write_report};
use crate::cli::{Export, Info, Show};
use crate::diag::{self, Failure, Notice};
use crate::process::output;
use crate::progress::Progress;
use crate::record::file::{self, Reading};
use crate::record::schema::Trace;
use crate::report::filter::{Filter, Part};
use crate::report::sums::Sums;
use crate::report::{self, escape, numbers};

/// Where an export goes if it is to go to stdout.
const STDOUT: &str = "-";

/// Reads a recording; what it lacks is told.
pub(super) fn read(path: &Path) -> Result<Reading, Failure> {
    let reading = open(path)?;
    if let Some(cut) = &reading.about.cut {
        diag::tell(&Notice::Missing(cut.clone()));
    }
    Ok(reading)
}

fn open(path: &Path) -> Result<Reading, Failure> {
    let unreadable = |source| Notice::Unreadable { path: path.into(), source };
    let opened = File::open(path).map_err(unreadable)?;
    let metadata = opened.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()).into());
    }
    let progress = Progress::bytes("reading", metadata.len());
    let reading = file::read(opened, &mut |bytes| progress.advance(bytes));
    Ok(reading.map_err(|error| Notice::NoRecording { path: path.into(), what: error.to_string() })?)
}

/// Tells of an output that cannot be written; one whose reader has gone away needs no more.
pub(super) fn written(result: io::Result<()>) -> Result<u8, Failure> {
    match result {
        Ok(()) => Ok(0),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(Notice::Other(format!("cannot write to stdout: {error}")).into()),
    }
}

/// Leaves of a trace the part that is wanted.
pub(super) fn part(filter: &Filter, trace: &mut Trace) -> Result<Option<Part>, Failure> {
    let failed =
        |error: report::filter::NoFilter| Failure { notice: Notice::Other(error.to_string()), status: 2 };
    filter.apply(trace).map_err(failed)
}

/// Prints the report of a recording.
pub(super) fn report(show: &Show) -> Result<u8, Failure> {
    let Reading { mut trace, about } = read(&show.file)?;
    trace.pages = report::private::pages(&trace, &show.questions);
    let part = part(&show.report.filter, &mut trace)?;
    let verdict = show.budget.map(|budget| {
        let sums = Sums::of(&trace, &show.file.to_string_lossy(), None, part.as_ref());
        budget.check(&sums.cut(about.cut.is_some()))
    });
    let stdout = io::stdout();
    let screen = Screen::of(&stdout, show.report.color);
    let mut out = io::BufWriter::new(stdout.lock());
    let about =
        About { questions: &show.questions, all: false, part: part.as_ref(), verdict: verdict.as_ref() };
    let status = written(write_report(&trace, &show.report, &about, &screen, &mut out))?;
    Ok(status.max(tell_verdict(verdict.as_ref())))
}

/// Writes a recording in another format.
pub(super) fn export(wanted: &Export) -> Result<u8, Failure> {
    let Reading { mut trace, .. } = read(&wanted.file)?;
    part(&wanted.filter, &mut trace)?;
    let path = &wanted.output.path;
    if path.as_os_str() == STDOUT {
        let format = crate::export::by_name(&wanted.output.format);
        let format = format.map_err(|error| Notice::Other(error.to_string()))?;
        let mut out = io::stdout().lock();
        return written((format.write)(&trace, &mut out).and_then(|()| out.flush()));
    }
    let existed = path.exists();
    let mut file = output::create(path, None, wanted.output.force)?;
    let result = write_export(&trace, &wanted.output.format, path, &mut file);
    if let Err(failed) = result {
        // A part of an export is of no use, and its recording is still there.
        if !existed && let Err(error) = fs::remove_file(path) {
            log::debug!("{}: {error}", path.display());
        }
        return match &failed {
            Notice::Unwritten { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => Ok(0),
            Notice::Unwritten { source, path } => {
                let why = source.to_string();
                Err(Notice::NotExported { path: path.clone(), why }.into())
            }
            _ => Err(failed.into()),
        };
    }
    Ok(0)
}

/// What `info --json` prints.
#[derive(Serialize)]
struct Facts<'a> {
    version: u32,
    bytes: u64,
    blocks: u64,
    whole: bool,
    missing: Option<&'a str>,
    faults: usize,
    fault_bytes: u64,
    processes: usize,
    duration: u64,
    lost: u64,
    header: &'a crate::record::schema::Header,
}

/// Says what a recording is of.
pub(super) fn info(wanted: &Info) -> Result<u8, Failure> {
    let Reading { trace, about } = open(&wanted.file)?;
    let facts = Facts {
        version: about.version,
        bytes: about.bytes,
        blocks: about.blocks,
        whole: about.cut.is_none(),
        missing: about.cut.as_deref(),
        faults: trace.faults.len(),
        fault_bytes: about.fault_bytes,
        processes: trace.processes.len(),
        duration: trace.summary.duration,
        lost: trace.summary.lost,
        header: &trace.header,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let result = if wanted.json {
        serde_json::to_writer(&mut out, &facts).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        describe(&facts, &mut out)
    };
    written(result.and_then(|()| out.flush()))
}

fn describe(facts: &Facts<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    let header = facts.header;
    let words: Vec<String> = header.command.iter().map(|word| escape::escape(word)).collect();
    let mut line = |label: &str, text: &str| writeln!(out, "{label:<13}{text}");
    line("command", &words.join(" "))?;
    line("start", &escape::escape(&header.start))?;
    line("ran", &numbers::time(facts.duration))?;
    line("kernel", &escape::escape(&header.kernel))?;
    for interpreter in &header.interpreters {
        let text = format!("{} {} ({})", interpreter.name, interpreter.version, interpreter.path);
        line("interpreter", &escape::escape(&text))?;
    }
    line("processes", &numbers::count(facts.processes as u64))?;
    line(
        "faults",
        &format!("{} listed, {} lost", numbers::count(facts.faults as u64), numbers::count(facts.lost)),
    )?;
    let each = if facts.faults == 0 { 0 } else { facts.fault_bytes * 10 / facts.faults as u64 };
    let size = format!(
        "{} in {} blocks, {}.{} bytes a fault",
        numbers::size(facts.bytes),
        numbers::count(facts.blocks),
        each / 10,
        each % 10
    );
    line("size", &size)?;
    line("written by", &format!("cowtrace {}, format {}", escape::escape(&header.version), facts.version))?;
    line("whole", facts.missing.map_or("yes", |missing| missing))
}
