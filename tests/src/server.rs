//! Servers that run under cowtrace until a test ends them: started in the foreground on a free port of loopback, with a folder
//! of their own, ended by their own process id; what they left is a recording, of which the harness makes the report and the
//! JSON Lines.

use std::cell::OnceCell;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use tempfile::TempDir;

use crate::binary::cowtrace;
use crate::process::{Finished, Started, descendants, parent_of};
use crate::run::Run;
use crate::trace::Trace;

/// How long a server may take until it answers.
const READY: Duration = Duration::from_secs(40);

/// A folder in which a server works; removed with all that is in it.
#[derive(Debug)]
pub struct Folder {
    folder: TempDir,
}

impl Folder {
    /// A folder of the caller's.
    #[must_use]
    pub fn new() -> Self {
        Self { folder: TempDir::with_prefix("cowtrace-test-").expect("a temporary folder") }
    }

    /// A folder that belongs to this user, who must be there.
    #[must_use]
    pub fn of(user: &str) -> Self {
        let new = Self::new();
        let user = User::from_name(user).expect("the users can be read").expect("the user is there");
        chown(new.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may");
        new
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file in it with this text, which everybody may read.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("the folder is writable");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("the file is ours");
        path
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

/// A server that is being traced. Dropping it kills it and all that it started.
#[derive(Debug)]
pub struct Server {
    started: Started,
    /// The process that cowtrace started, once somebody has asked.
    root: OnceCell<Pid>,
    recording: TempDir,
}

/// What a server left behind.
#[derive(Debug)]
pub struct Ended {
    /// The trace.
    pub trace: Trace,
    /// The report, 100 columns wide.
    pub report: String,
    /// How cowtrace ended, which is how the server did, and what both said.
    pub finished: Finished,
}

impl Server {
    /// Starts a server under cowtrace; the run's flags are kept.
    #[must_use]
    pub fn start(run: Run) -> Self {
        let recording = TempDir::with_prefix("cowtrace-test-").expect("a temporary folder");
        let started = run.flag("-q").flag("-o").flag(file(&recording)).start();
        Self { started, root: OnceCell::new(), recording }
    }

    /// The process that cowtrace started.
    #[must_use]
    pub fn pid(&self) -> Pid {
        let tracer = self.tracer();
        let of_tracer = || descendants(tracer).into_iter().find(|pid| parent_of(*pid) == Some(tracer));
        *self.root.get_or_init(|| {
            self.expect("is started", || of_tracer().is_some());
            of_tracer().expect("it has just been there")
        })
    }

    /// The cowtrace that traces it.
    #[must_use]
    pub fn tracer(&self) -> Pid {
        self.started.pid()
    }

    /// Its living children.
    #[must_use]
    pub fn children(&self) -> Vec<Pid> {
        {
            let parent = self.pid();
            descendants(parent).into_iter().filter(|pid| parent_of(*pid) == Some(parent)).collect()
        }
    }

    /// Waits until it accepts connections on this port.
    pub fn expect_port(&self, port: u16) {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        self.expect("accepts connections", || TcpStream::connect_timeout(&address, READY).is_ok());
    }

    /// Waits until it has so many children.
    pub fn expect_children(&self, count: usize) {
        self.expect(&format!("has {count} children"), || self.children().len() == count);
    }

    /// Waits until this holds.
    pub fn expect(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + READY;
        while !holds() {
            assert!(
                Instant::now() < deadline,
                "{:?}: never so that it {what}\nstdout: {}\nstderr: {}",
                self.started,
                self.started.output_so_far(),
                self.started.error_so_far()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal to the server, and to nobody else.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("{self:?} cannot be sent {signal}: {error}"));
    }

    /// Ends the server by this signal and reads the trace.
    #[must_use]
    pub fn end(self, signal: Signal) -> Ended {
        self.signal(signal);
        self.finish()
    }

    /// Waits for a server that ends by itself and reads the trace.
    #[must_use]
    pub fn finish(self) -> Ended {
        let finished = self.started.finish();
        let recording = file(&self.recording);
        assert!(recording.exists(), "no recording; stderr: {}", finished.stderr_text());
        let lines = self.recording.path().join("trace.jsonl");
        said_by(Command::new(cowtrace()).arg("export").arg(&recording).arg("-o").arg(&lines));
        let report = said_by(Command::new(cowtrace()).arg("report").arg(&recording));
        Ended { trace: Trace::read(&lines), report, finished }
    }
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("run.cow")
}

/// Runs a command that must end with 0; its standard output.
pub fn said_by(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A port of loopback on which nobody listens now.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}
