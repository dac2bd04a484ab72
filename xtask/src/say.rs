//! The one place that prints: progress and reasons to standard error, results to standard output.

use std::fmt::Display;
use std::time::Duration;

/// Says something about the work itself.
#[expect(clippy::print_stderr, reason = "xtask talks to the person at the terminal, and only here")]
pub(crate) fn say(message: impl Display) {
    eprintln!("{message}");
}

/// Prints a result: what somebody may want to read from a pipe.
#[expect(clippy::print_stdout, reason = "results are for standard output, and only printed here")]
pub(crate) fn result(line: impl Display) {
    println!("{line}");
}

/// A time, in minutes and seconds.
pub(crate) fn in_words(time: Duration) -> String {
    format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
}
