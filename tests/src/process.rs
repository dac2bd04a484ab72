//! Processes that the tests start: bounded in time, their output collected, killed by their own ids when the time is up.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// What a process left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output, and of its children's.
    pub stdout: Vec<u8>,
    /// All of its standard error, and of its children's.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// The exit status as a shell gives it: 128+n for a signal.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Standard output as text.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The words on standard error with one space between them, wherever its lines end. Scripts are named by their files
    /// alone, since how much of a path a report shows depends on the folder that it is made in.
    #[must_use]
    pub fn stderr_words(&self) -> String {
        let text = self.stderr_text();
        let without_folders = |word: &'_ str| match word.split_once(".py:") {
            Some((path, _)) => word[path.rfind('/').map_or(0, |at| at + 1)..].to_owned(),
            None => word.to_owned(),
        };
        text.split_whitespace().map(without_folders).collect::<Vec<_>>().join(" ")
    }
}

/// Output as it comes, filled by a thread of its own.
#[derive(Default)]
struct Collected {
    state: Mutex<(Vec<u8>, bool)>,
    changed: Condvar,
}

impl Collected {
    fn fill(mut from: impl Read + Send + 'static) -> Arc<Self> {
        let collected = Arc::new(Self::default());
        let filled = Arc::clone(&collected);
        thread::spawn(move || {
            let mut buffer = [0; 65536];
            // A terminal's other side ends in an error, not in an end of file.
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                filled.lock().0.extend_from_slice(&buffer[..length]);
                filled.changed.notify_all();
            }
            filled.lock().1 = true;
            filled.changed.notify_all();
        });
        collected
    }

    fn lock(&self) -> MutexGuard<'_, (Vec<u8>, bool)> {
        self.state.lock().expect("no thread panics while it holds this")
    }

    /// Waits until `done(bytes, ended)`; false when the time is up.
    fn wait_until(&self, deadline: Instant, done: impl Fn(&[u8], bool) -> bool) -> bool {
        let mut state = self.lock();
        loop {
            if done(&state.0, state.1) {
                return true;
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            state = self.changed.wait_timeout(state, left).expect("no thread panics while it holds this").0;
        }
    }
}

/// A running process, in a process group of its own. Dropping it kills it and its descendants.
pub struct Started {
    child: Child,
    command: String,
    stdout: Arc<Collected>,
    stderr: Arc<Collected>,
    deadline: Instant,
    reaped: bool,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.command, self.child.id())
    }
}

/// Where a process's standard output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A pipe.
    Pipe,
    /// A terminal, so that programs write whole lines.
    Terminal,
}

impl Started {
    /// Starts a command, gives it this input and collects its output; it has `timeout` to end, as often as
    /// [`crate::patience`] says.
    #[must_use]
    pub fn new(command: &mut Command, input: &[u8], output: Output, timeout: Duration) -> Self {
        let description = format!("{command:?}");
        let inherited = std::env::vars_os().map(|(name, _)| name).filter(|name| steers(name));
        for variable in inherited.collect::<Vec<_>>() {
            if !command.get_envs().any(|(name, _)| name == variable) {
                command.env_remove(variable);
            }
        }
        command.stdin(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let terminal = match output {
            Output::Pipe => {
                command.stdout(Stdio::piped());
                None
            }
            Output::Terminal => {
                let ends = nix::pty::openpty(None, None).expect("a terminal");
                command.stdout(Stdio::from(ends.slave));
                Some(ends.master)
            }
        };
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{description} cannot be started: {error}"));
        // The command keeps our side of the terminal's slave; without this its reader would never see the end.
        command.stdout(Stdio::null());
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        // A program that does not read all of its input closes the pipe; that is its affair.
        thread::spawn(move || drop(stdin.write_all(&input)));
        let stdout = match terminal {
            Some(master) => Collected::fill(std::fs::File::from(master)),
            None => Collected::fill(child.stdout.take().expect("a pipe")),
        };
        let stderr = Collected::fill(child.stderr.take().expect("a pipe"));
        let deadline = Instant::now() + timeout * crate::patience();
        Self { child, command: description, stdout, stderr, deadline, reaped: false }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("pids are small"))
    }

    /// Waits until its standard output contains this text.
    pub fn expect_output(&self, text: &str) {
        expect(self, &self.stdout, text);
    }

    /// Sends a signal to its process group, as a terminal does for Ctrl-C.
    pub fn signal_group(&self, signal: Signal) {
        killpg(self.pid(), signal)
            .unwrap_or_else(|error| panic!("{self:?} cannot be sent {signal}: {error}"));
    }

    /// What it has written to standard output so far.
    #[must_use]
    pub fn output_so_far(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().0).into_owned()
    }

    /// What it has written to standard error so far.
    #[must_use]
    pub fn error_so_far(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().0).into_owned()
    }

    /// Waits until its standard error contains this text.
    pub fn expect_error(&self, text: &str) {
        expect(self, &self.stderr, text);
    }

    /// Waits for its end, though somebody it started may hold its output open; that output is what there is by then. Its
    /// process group is left alone until this is dropped.
    #[must_use]
    pub fn finish_leaving_others(&mut self) -> Finished {
        let status = self.wait();
        // What it wrote itself has been in the pipe since before its end; the collecting thread needs a moment.
        thread::sleep(Duration::from_millis(100));
        let (stdout, stderr) = (self.stdout.lock().0.clone(), self.stderr.lock().0.clone());
        Finished { status, stdout, stderr }
    }

    /// Waits for its end and for the end of its output.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        let status = self.wait();
        for collected in [&self.stdout, &self.stderr] {
            if !collected.wait_until(self.deadline, |_, ended| ended) {
                self.give_up("it ended, but somebody it started holds its output open");
            }
        }
        let stdout = std::mem::take(&mut self.stdout.lock().0);
        let stderr = std::mem::take(&mut self.stderr.lock().0);
        Finished { status, stdout, stderr }
    }

    fn wait(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                self.reaped = true;
                return status;
            }
            if Instant::now() >= self.deadline {
                self.give_up("it did not end in time");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn give_up(&self, why: &str) -> ! {
        panic!(
            "{self:?}: {why}\nprocesses: {:?}\nstdout: {}\nstderr: {}",
            descendants(self.pid()),
            String::from_utf8_lossy(&self.stdout.lock().0),
            String::from_utf8_lossy(&self.stderr.lock().0),
        );
    }
}

fn expect(of: &Started, collected: &Collected, text: &str) {
    let found = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let in_time = collected.wait_until(of.deadline, |bytes, ended| ended || found(bytes));
    let there = found(&collected.lock().0);
    assert!(
        in_time && there,
        "{of:?} never wrote {text:?}\nstdout: {}\nstderr: {}",
        String::from_utf8_lossy(&of.stdout.lock().0),
        String::from_utf8_lossy(&of.stderr.lock().0),
    );
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.reaped {
            for pid in descendants(self.pid()) {
                // Gone already is as good.
                let _: Result<(), Errno> = kill(pid, Signal::SIGKILL);
            }
            let _: Result<(), Errno> = kill(self.pid(), Signal::SIGKILL);
            drop(self.child.wait());
        }
        // What is left of its process group, which nobody else is in. A group without members is an error.
        let _: Result<(), Errno> = killpg(self.pid(), Signal::SIGKILL);
    }
}

/// Variables that change what cowtrace or an interpreter does, so that a test sets them itself or not at all. With
/// `PYTHONUNBUFFERED`, for one, each word of a `print` is a write of its own, and lines of several processes run together.
fn steers(variable: &OsStr) -> bool {
    [&b"SUDO_"[..], b"PYTHON"].iter().any(|prefix| variable.as_bytes().starts_with(prefix))
}

/// Every living descendant of a process.
#[must_use]
pub fn descendants(of: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        if let Some(parent) = stat_field(pid, 1).and_then(|field| field.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![of.as_raw()];
    while let Some(pid) = open.pop() {
        for &child in children.get(&pid).into_iter().flatten() {
            found.push(Pid::from_raw(child));
            open.push(child);
        }
    }
    found
}

/// A field of /proc/PID/stat behind the name, the first of which is the state.
pub(crate) fn stat_field(pid: i32, index: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(index).map(str::to_owned)
}

/// Who a process's parent is; `None` = there is no process of this id.
#[must_use]
pub fn parent_of(pid: Pid) -> Option<Pid> {
    stat_field(pid.as_raw(), 1)?.parse().ok().map(Pid::from_raw)
}

/// The state of a process, e.g. `T` for stopped; `None` = there is none of this id.
#[must_use]
pub fn state_of(pid: Pid) -> Option<String> {
    stat_field(pid.as_raw(), 0)
}

/// Waits until a process is in this state, e.g. `T` for stopped.
pub fn expect_state(pid: Pid, state: &str) {
    let deadline = Instant::now() + Duration::from_secs(10) * crate::patience();
    while state_of(pid).as_deref() != Some(state) {
        assert!(Instant::now() < deadline, "process {pid} never came into state {state}");
        thread::sleep(Duration::from_millis(2));
    }
}
