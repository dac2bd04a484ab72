//! The command while it runs: what becomes of it, and signals for it.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::launch::changed;

/// A command that was started.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    ended: bool,
}

/// What has become of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has ended with this status: its own, or 128+n for signal n.
    Ended(u8),
    /// It was stopped by this signal.
    Stopped(Signal),
    /// It goes on.
    Continued,
}

impl From<ExitStatus> for Change {
    fn from(status: ExitStatus) -> Self {
        let byte = |number: i32| u8::try_from(number & 0xff).unwrap_or_default();
        match (status.code(), status.signal(), status.stopped_signal()) {
            (Some(code), ..) => Self::Ended(byte(code)),
            (_, Some(signal), _) => Self::Ended(byte(128 + signal)),
            (_, _, Some(signal)) => Self::Stopped(Signal::try_from(signal).unwrap_or(Signal::SIGSTOP)),
            _ => Self::Continued,
        }
    }
}

impl Child {
    pub(super) const fn new(pid: Pid) -> Self {
        Self { pid, ended: false }
    }

    /// Its process id.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// What has happened since the last call; `None` = nothing. To be called on SIGCHLD, until it has ended or nothing is
    /// left: several changes may come with one signal.
    ///
    /// # Errors
    /// If it is not, or no longer, a child of cowtrace.
    pub fn poll(&mut self) -> io::Result<Option<Change>> {
        self.change(libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED)
    }

    /// Waits for it to end, and returns its status.
    ///
    /// # Errors
    /// As for [`Child::poll`].
    pub fn wait(&mut self) -> io::Result<u8> {
        loop {
            if let Some(Change::Ended(status)) = self.change(0)? {
                return Ok(status);
            }
        }
    }

    fn change(&mut self, options: i32) -> io::Result<Option<Change>> {
        let change = changed(self.pid, options)?.map(Change::from);
        self.ended |= matches!(change, Some(Change::Ended(_)));
        Ok(change)
    }

    /// Sends it a signal; nothing once it has ended, when its number may be another's.
    ///
    /// # Errors
    /// If cowtrace may not.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.ended { Ok(()) } else { Ok(signal::kill(self.pid, signal)?) }
    }
}
