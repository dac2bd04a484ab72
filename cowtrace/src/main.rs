//! The command line program: options in, session, report and export out.

use std::fs::File;
use std::io::{self, IsTerminal as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use cowtrace::cli::{self, Options};
use cowtrace::diag::{self, Failure, Notice};
use cowtrace::process::launch::Inherited;
use cowtrace::record::schema::Trace;
use cowtrace::session::{self, Ended, Request};
use cowtrace::{export, report};

fn main() -> ExitCode {
    let inherited = Inherited::capture();
    let options = cli::parse();
    log_to_stderr(options.verbose);
    let ended = inherited
        .map_err(|error| Notice::Other(format!("cannot read the signal mask: {error}")).into())
        .and_then(|inherited| run(&options, &inherited));
    match ended {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            diag::tell(&failure.notice);
            ExitCode::from(failure.status)
        }
    }
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Off,
        1 => log::LevelFilter::Info,
        2 => log::LevelFilter::Debug,
        _ => log::LevelFilter::Trace,
    };
    env_logger::Builder::new().filter_level(level).format_timestamp(None).init();
}

fn run(options: &Options, inherited: &Inherited) -> Result<u8, Failure> {
    let request = Request {
        command: &options.command,
        run_as: &options.run_as,
        duration: options.duration,
        output: options.output.as_ref().map(|output| output.path.as_path()),
        buffer: options.buffer,
        latency: options.latency,
        all: options.all,
        kernel_log: options.verbose >= 2,
    };
    let Ended { mut trace, output, status, child, notices } = session::run(&request, inherited)?;
    trace.pages = report::private::pages(&trace, &options.questions);
    // The report first: a full disk must not take it away.
    let reported = write_report(options, &trace);
    for notice in &notices {
        diag::tell(notice);
    }
    if let (Some(mut file), Some(wanted)) = (output, &options.output) {
        let written = export::by_name(&wanted.format)
            .map_err(|error| Notice::Other(error.to_string()))
            .and_then(|format| {
                let failed = |source| Notice::Unwritten { path: wanted.path.clone(), source };
                (format.write)(&trace, &mut file).and_then(|()| file.flush()).map_err(failed)
            });
        written?;
    }
    // Somebody who closed stderr does not want the report; that is no failure.
    if let Err(error) = reported {
        log::info!("report: {error}");
    }
    match (status, child) {
        (Some(status), _) => Ok(status),
        (None, Some(child)) => session::wait_untraced(child),
        (None, None) => Ok(0),
    }
}

fn write_report(options: &Options, trace: &Trace) -> io::Result<()> {
    let Some(wanted) = &options.report else { return Ok(()) };
    let stderr = io::stderr();
    let terminal = stderr.is_terminal();
    let width = terminal_size::terminal_size_of(&stderr).map_or(100, |(width, _)| usize::from(width.0));
    let color = wanted.color.applies(
        terminal,
        std::env::var_os("NO_COLOR").as_deref(),
        std::env::var_os("TERM").as_deref(),
    );
    let directory = std::env::current_dir().ok();
    let directory = directory.as_deref().and_then(|path| path.to_str());
    let by = wanted.by.as_deref().and_then(|name| report::cut(name).ok());
    let sort = wanted.sort.as_deref().and_then(|name| report::sort(name).ok());
    let defaults = report::Options::default();
    let shown = report::Options {
        width,
        color,
        by: by.unwrap_or(defaults.by),
        sort,
        limit: wanted.limit,
        all: options.all || wanted.limit == Some(0),
        directory,
        questions: &options.questions,
        explain: wanted.explain,
        part: None,
    };
    let mut out = io::BufWriter::new(stderr.lock());
    if !wanted.json && follows_output(&stderr) {
        writeln!(out)?;
    }
    if wanted.json {
        report::write_json(trace, &shown, &mut out)?;
    } else {
        report::write(trace, &shown, &mut out)?;
    }
    out.flush()
}

/// Whether something may stand where the report goes: in a file if it is not at its beginning, elsewhere always, since a
/// terminal or a pipe does not tell.
fn follows_output(stderr: &io::Stderr) -> bool {
    let copy = stderr.as_fd().try_clone_to_owned().map(File::from);
    copy.and_then(|mut file| file.stream_position()).map_or(true, |position| position > 0)
}
