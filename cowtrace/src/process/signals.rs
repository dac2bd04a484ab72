//! Signals to cowtrace itself while a command runs.
//!
//! SIGINT and SIGQUIT come from the terminal and reach the command by themselves, for it is in the same process group:
//! cowtrace only takes note. SIGTERM and SIGHUP are meant for the command and are passed on to it. SIGTSTP is left alone:
//! it stops cowtrace together with the command, and the shell continues both.

use std::io;

use nix::sys::signal::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for signals, from its creation on. To be created in a tokio runtime, before the command is released.
#[derive(Debug)]
pub struct Signals {
    child: Signal,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hangup: Signal,
    interrupts: u32,
}

/// A signal that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A child of cowtrace has ended, stopped or gone on.
    Child,
    /// Ctrl-C: the command has got it too, and usually ends.
    Interrupt,
    /// Ctrl-C for the second time or more: whoever pressed it does not want to wait for the command.
    InterruptAgain,
    /// Ctrl-\: the command has got it too.
    Quit,
    /// To be passed on with [`super::child::Child::signal`].
    PassOn(Number),
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// If a handler cannot be set.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            interrupts: 0,
        })
    }

    /// The next signal. Nothing is lost if the future is dropped before it is ready, as `select!` does.
    pub async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.child.recv() => Received::Child,
            _ = self.terminate.recv() => Received::PassOn(Number::SIGTERM),
            _ = self.hangup.recv() => Received::PassOn(Number::SIGHUP),
            _ = self.quit.recv() => Received::Quit,
            _ = self.interrupt.recv() => {
                self.interrupts += 1;
                if self.interrupts == 1 { Received::Interrupt } else { Received::InterruptAgain }
            }
        }
    }
}
