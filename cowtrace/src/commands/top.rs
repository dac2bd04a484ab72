//! `top`: a command, or processes that run already, are traced and looked at in the terminal meanwhile; then they are
//! reported as without it.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;

use super::trace;
use crate::cli::{Color, Options, Output, Target};
use crate::diag::{self, FAILED, Failure, Notice};
use crate::process::command::Streams;
use crate::process::launch::Inherited;
use crate::report::{self, live::Live};
use crate::session::{self, Keep, Request, Watch};
use crate::top::{Capture, Subject, Theme, Viewer, is_ascii};

/// How often the output of a command that goes on is passed on.
const PASS_ON: Duration = Duration::from_millis(50);

/// How long a command has for what it says last when it is not waited for any more.
const LAST_WORDS: Duration = Duration::from_millis(200);

fn other(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Notice::Other(format!("{what}: {error}")).into()
}

/// Traces and shows; returns the status to exit with.
pub(super) fn run(options: &Options, inherited: &Inherited) -> Result<u8, Failure> {
    let out = terminal()?;
    // Processes that run already keep what they have.
    let starts = matches!(options.target, Target::Command { .. });
    let terminals = [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()]
        .map(|is_terminal| starts && is_terminal);
    let nothing = File::open("/dev/null").map_err(other("cannot open /dev/null"))?;
    let capture = (terminals[1] || terminals[2]).then(Capture::new).transpose();
    let capture = capture.map_err(other("cannot keep the command's output"))?.map(Arc::new);
    let kept =
        |is_terminal: bool| capture.as_ref().filter(|_| is_terminal).map(|capture| capture.descriptor());
    let streams =
        Streams([terminals[0].then(|| nothing.as_raw_fd()), kept(terminals[1]), kept(terminals[2])]);

    let live = Arc::new(Mutex::new(Live::default()));
    let quit = Arc::new(Notify::new());
    let (begin, begun) = channel();
    let viewer = Viewer::start(Subject {
        live: Arc::clone(&live),
        begun,
        quit: Arc::clone(&quit),
        capture: capture.clone(),
        out,
        by: cut(options),
        theme: theme(options),
        directory: std::env::current_dir().ok().and_then(|directory| directory.to_str().map(str::to_owned)),
    });
    let viewer = viewer.map_err(other("cannot start a thread"))?;
    let listener: Arc<Mutex<Live>> = Arc::clone(&live);
    let watch = Watch { listener, begun: begin, quit, streams };
    let keep = match &options.output {
        // Every fault is written when the trace has ended.
        Some(output) if !Output::is_recording(output) => Keep::Memory,
        Some(_) | None => Keep::Watch,
    };
    let request = Request { keep, watch: Some(&watch), ..trace::request(options) };
    let ended = session::run(&request, inherited);
    // If nothing has begun, nothing will.
    drop(watch);
    let drawn = viewer.end();
    if let Some(capture) = &capture {
        pour(capture, true);
    }
    let mut ended = ended?;
    if keep == Keep::Watch {
        let live = std::mem::take(&mut *live.lock().unwrap_or_else(PoisonError::into_inner));
        ended.trace = live.finish();
    }
    let finished = trace::finish(options, ended)?;
    let status = match capture.as_deref().filter(|_| finished.goes_on()) {
        Some(capture) => passing_on(capture, || finished.wait())?,
        None => finished.wait()?,
    };
    match drawn {
        Ok(()) => Ok(status),
        Err(error) => {
            diag::tell(&Notice::Other(format!("the view ended before the trace: {error}")));
            Ok(FAILED)
        }
    }
}

/// The terminal that is drawn on, if keys can be read from one too.
fn terminal() -> Result<File, Notice> {
    let refused = |why| Err(Notice::NoTerminal { why });
    if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        return refused("TERM names none that can be drawn on");
    }
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let out = match (stderr.is_terminal(), stdout.is_terminal()) {
        (true, _) => stderr.as_fd().try_clone_to_owned(),
        (false, true) => stdout.as_fd().try_clone_to_owned(),
        (false, false) => return refused("neither stdout nor stderr is one"),
    };
    let keys = io::stdin().is_terminal() || OpenOptions::new().read(true).open("/dev/tty").is_ok();
    match out {
        Ok(out) if keys => Ok(out.into()),
        Ok(_) => refused("there is none to read keys from"),
        Err(error) => Err(Notice::Other(format!("cannot draw on the terminal: {error}"))),
    }
}

/// What the rows of causes stand for at first.
fn cut(options: &Options) -> report::Cut {
    let by = options.report.as_ref().and_then(|report| report.by.as_deref());
    by.and_then(|name| report::cut(name).ok()).unwrap_or(&report::REPORTS[0])
}

fn theme(options: &Options) -> Theme {
    let color = options.report.as_ref().map_or(Color::Auto, |report| report.color);
    let [no_color, term] = ["NO_COLOR", "TERM"].map(std::env::var_os);
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(std::env::var_os);
    let locale = locale.each_ref().map(Option::as_deref);
    Theme { color: color.applies(true, no_color.as_deref(), term.as_deref()), ascii: is_ascii(locale) }
}

/// Writes what the command has written since the last time, where it would have gone. Nobody may read it any more.
fn pour(capture: &Capture, is_end_of_view: bool) {
    let mut bytes = Vec::new();
    let left_out = capture.pour(&mut bytes).unwrap_or_default();
    if left_out > 0 {
        diag::tell(&Notice::OutputLost { left_out });
    }
    if is_end_of_view && bytes.last().is_some_and(|last| *last != b'\n') {
        bytes.push(b'\n');
    }
    let written = if io::stdout().is_terminal() {
        io::stdout().write_all(&bytes).and_then(|()| io::stdout().flush())
    } else {
        io::stderr().write_all(&bytes)
    };
    if let Err(error) = written {
        log::info!("output: {error}");
    }
}

/// Passes on what the command writes while it is waited for.
fn passing_on<T>(capture: &Capture, wait: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    let done = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                thread::sleep(PASS_ON);
                capture.tidy();
                pour(capture, false);
            }
        });
        let done = wait();
        over.store(true, Ordering::Relaxed);
        done
    });
    // Whoever pressed Ctrl-C waits no longer; what the command says about it may come a moment later.
    thread::sleep(LAST_WORDS);
    pour(capture, false);
    done
}
