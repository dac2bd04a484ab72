//! One run of the binary on one program.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::binary::cowtrace;
use crate::process::{Finished, Output, Started};
use crate::trace::Trace;

/// The rung that cowtrace is to use, if it is not to choose.
const RUNG: &str = "COWTRACE_RUNG";
const TIMEOUT: Duration = Duration::from_secs(60);

/// A program to run, alone or traced.
#[derive(Debug)]
pub struct Run {
    program: OsString,
    arguments: Vec<OsString>,
    flags: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    input: Vec<u8>,
    output: Output,
    timeout: Duration,
}

/// A traced run.
#[derive(Debug)]
pub struct Traced {
    /// What `-o` wrote.
    pub trace: Trace,
    /// What cowtrace and the program left behind.
    pub finished: Finished,
}

impl Run {
    /// A run of this program.
    #[must_use]
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            flags: Vec::new(),
            environment: Vec::new(),
            input: Vec::new(),
            output: Output::Pipe,
            timeout: TIMEOUT,
        }
    }

    /// One more argument of the program.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments of the program.
    #[must_use]
    pub fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments.extend(arguments.map(OsString::from));
        self
    }

    /// One more flag of cowtrace.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<OsString>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// A variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// What the program may read.
    #[must_use]
    pub fn input(mut self, bytes: &[u8]) -> Self {
        self.input = bytes.to_vec();
        self
    }

    /// The program's standard output is a terminal.
    #[must_use]
    pub fn on_terminal(mut self) -> Self {
        self.output = Output::Terminal;
        self
    }

    /// How long it may take; a minute if nothing is said.
    #[must_use]
    pub fn timeout(mut self, seconds: u64) -> Self {
        self.timeout = Duration::from_secs(seconds);
        self
    }

    /// Runs the program alone.
    #[must_use]
    pub fn alone(self) -> Finished {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        Started::new(&mut command, &self.input, self.output, self.timeout).finish()
    }

    /// Starts cowtrace on the program, with these flags and none more.
    #[must_use]
    pub fn start(self) -> Started {
        let mut command = Command::new(cowtrace());
        command.args(&self.flags);
        if let Some(rung) = std::env::var_os(RUNG) {
            command.arg("--rung").arg(rung);
        }
        command.arg("--").arg(&self.program).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Started::new(&mut command, &self.input, self.output, self.timeout)
    }

    /// Runs cowtrace on the program, with these flags and none more.
    #[must_use]
    pub fn cowtrace(self) -> Finished {
        self.start().finish()
    }

    /// Traces the program, quietly, and reads the trace. The program must end with 0.
    #[must_use]
    pub fn trace(self) -> Traced {
        let traced = self.trace_any();
        assert_eq!(
            traced.finished.code(),
            0,
            "exit status\nstdout: {}\nstderr: {}",
            traced.finished.stdout_text(),
            traced.finished.stderr_text()
        );
        traced
    }

    /// Traces the program, quietly, and reads the trace, whatever the program ends with.
    #[must_use]
    pub fn trace_any(self) -> Traced {
        self.flag("-q").reported()
    }

    /// Traces the program with a report, and reads the trace, whatever the program ends with.
    #[must_use]
    pub fn reported(self) -> Traced {
        let folder = TempDir::with_prefix("cowtrace-test-").expect("a temporary folder");
        let path: PathBuf = folder.path().join("trace.jsonl");
        let finished = self.flag("-o").flag(&path).cowtrace();
        assert!(
            path.exists(),
            "no trace was written; exit status {}, stderr: {}",
            finished.code(),
            finished.stderr_text()
        );
        Traced { trace: Trace::read(&path), finished }
    }
}
