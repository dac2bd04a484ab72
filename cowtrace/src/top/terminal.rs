//! The terminal taken over and given back: raw keys, the alternate screen, no cursor; and all of it undone, however the
//! program ends, short of SIGKILL.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};

/// The screen is taken over.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Where it is drawn; locked while it is.
static OUT: Mutex<Option<File>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// How long a panic waits for a frame that is being drawn, in steps of so many milliseconds.
const PATIENCE: (u32, u64) = (20, 5);

/// A terminal that is taken over for as long as this lives.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<File>>,
}

impl Screen {
    /// Takes the terminal over that `out` writes to.
    ///
    /// # Errors
    /// Those of the terminal; nothing is taken over then.
    pub(super) fn enter(out: &impl AsFd) -> io::Result<Self> {
        let copy = || out.as_fd().try_clone_to_owned().map(File::from);
        let mut own = copy()?;
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                before(panic);
            }));
        });
        *OUT.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy()?);
        TAKEN.store(true, Ordering::SeqCst);
        let entered = enable_raw_mode().and_then(|()| execute!(own, EnterAlternateScreen, Hide));
        let terminal = entered.and_then(|()| Terminal::new(CrosstermBackend::new(own)));
        terminal.map(|terminal| Self { terminal }).inspect_err(|_| restore())
    }

    /// Draws a frame. Returns false if the terminal was given back in the meantime, as by a panic of another thread.
    ///
    /// # Errors
    /// Those of the terminal.
    pub(super) fn draw(&mut self, frame: impl FnOnce(&mut Frame<'_>)) -> io::Result<bool> {
        let _whole = OUT.lock().unwrap_or_else(PoisonError::into_inner);
        if !TAKEN.load(Ordering::SeqCst) {
            return Ok(false);
        }
        self.terminal.draw(frame)?;
        Ok(true)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back. Nothing happens if it was.
pub(super) fn restore() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // The panicking thread may be the one that draws: then nobody will unlock it.
    let mut out = None;
    for _ in 0..PATIENCE.0 {
        match OUT.try_lock() {
            Ok(lock) => out = Some(lock),
            Err(TryLockError::Poisoned(lock)) => out = Some(lock.into_inner()),
            Err(TryLockError::WouldBlock) => {
                thread::sleep(Duration::from_millis(PATIENCE.1));
                continue;
            }
        }
        break;
    }
    // A terminal that is gone needs nothing.
    let _ = match out.as_mut().and_then(|out| out.as_mut()) {
        Some(out) => execute!(out, Show, LeaveAlternateScreen),
        None => execute!(io::stderr(), Show, LeaveAlternateScreen),
    };
    let _ = disable_raw_mode();
}

#[cfg(test)]
mod tests;
