//! What is said while a whole screen is drawn, which a line written in between would tear: it is kept until the terminal is
//! free again.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lines that are kept at most; of more, the first go.
const MOST: usize = 500;

static LINES: Mutex<Option<Lines>> = Mutex::new(None);

#[derive(Default)]
struct Lines {
    kept: VecDeque<String>,
    /// Lines that had to go.
    gone: usize,
}

fn lines() -> MutexGuard<'static, Option<Lines>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what is said from now on.
pub fn hold() {
    lines().get_or_insert_default();
}

/// Says what was kept, and whatever comes at once from now on. Nothing happens if nothing is held.
pub fn release() {
    let Some(Lines { kept, gone }) = lines().take() else { return };
    if gone > 0 {
        say(&format!("cowtrace: {gone} lines before these are not kept\n"));
    }
    kept.iter().for_each(|line| say(line));
}

/// The last line that was kept, without its end.
#[must_use]
pub fn last() -> Option<String> {
    lines().as_ref()?.kept.back().map(|line| line.trim_end().to_owned())
}

/// Writes a line to stderr, or keeps it. A stderr that is closed or full is no reason to fail: nobody would hear of it.
pub(super) fn say(line: &str) {
    let mut held = lines();
    let Some(held) = held.as_mut() else {
        let _nobody_to_tell = io::stderr().write_all(line.as_bytes());
        return;
    };
    if held.kept.len() >= MOST {
        held.kept.pop_front();
        held.gone += 1;
    }
    held.kept.push_back(line.to_owned());
}

/// Where lines of the log go: to stderr, or they are kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        say(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
