//! Programs that run before anybody traces them, and cowtrace attached to them.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::binary::cowtrace;
use crate::process::{Finished, Output, Started};
use crate::run::Traced;
use crate::trace::Trace;

/// A program that does its next step at each line of its input, in a process group of its own. Dropping it kills it; its
/// children go with it.
#[derive(Debug)]
pub struct Stepped {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Stepped {
    /// Starts it.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        use std::os::unix::process::CommandExt as _;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, input, output }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it prints up to the line that contains this text, that line included.
    pub fn until(&mut self, text: &str) -> String {
        let mut told = String::new();
        while !told.lines().last().is_some_and(|line| line.contains(text)) {
            let length = self.output.read_line(&mut told).expect("its output can be read");
            assert!(length > 0, "it ended before it printed {text:?}: {told}");
        }
        told
    }

    /// Has it do its next step.
    pub fn next(&mut self) {
        let input = self.input.as_mut().expect("its input is open");
        input.write_all(b"\n").and_then(|()| input.flush()).expect("it reads its input");
    }

    /// Ends its input, and waits until it has ended.
    pub fn end(&mut self) {
        self.input = None;
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("pids are small"));
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            // Gone already is as good.
            let _: nix::Result<()> = kill(pid, Signal::SIGKILL);
            drop(self.child.wait());
        }
        let _: nix::Result<()> = killpg(pid, Signal::SIGKILL);
    }
}

/// cowtrace, attached.
#[derive(Debug)]
pub struct Attached {
    /// cowtrace.
    pub started: Started,
    folder: TempDir,
}

impl Attached {
    /// Attaches with these flags, and waits until the trace has begun.
    #[must_use]
    pub fn start<S: AsRef<std::ffi::OsStr>>(flags: &[S]) -> Self {
        let folder = TempDir::with_prefix("cowtrace-test-").expect("a temporary folder");
        let mut command = Command::new(cowtrace());
        command.arg("-o").arg(folder.path().join("trace.jsonl")).args(flags);
        let started = Started::new(&mut command, b"", Output::Pipe, Duration::from_secs(120));
        started.expect_error("press Ctrl-C");
        Self { started, folder }
    }

    /// Ends the trace as Ctrl-C does, and reads it.
    #[must_use]
    pub fn interrupt(self) -> Traced {
        self.signal(Signal::SIGINT)
    }

    /// Ends the trace by this signal, and reads it.
    #[must_use]
    pub fn signal(self, signal: Signal) -> Traced {
        self.started.signal_group(signal);
        self.finish()
    }

    /// Waits until the trace ends by itself, and reads it.
    #[must_use]
    pub fn finish(self) -> Traced {
        let path: PathBuf = self.folder.path().join("trace.jsonl");
        let finished: Finished = self.started.finish();
        assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
        Traced { trace: Trace::read(&path), finished }
    }
}
