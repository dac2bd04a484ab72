//! How far long work is: a bar on stderr, for somebody who sits at a terminal and waits.
//!
//! It is there only while there is something to wait for, and leaves no trace: work that is over soon shows none, and what
//! was shown is cleared. Nothing is written where stderr is no terminal.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that takes no longer shows no bar: it would only flicker.
const PATIENCE: Duration = Duration::from_millis(400);
/// How often the bar is drawn at most.
const HERTZ: u8 = 10;

/// Sizes in the words of the reports.
const BYTES: &str = "{msg} [{wide_bar}] {binary_bytes} of {binary_total_bytes}, {eta} left";
const COUNT: &str = "{msg} [{wide_bar}] {human_pos} of {human_len}, {eta} left";

/// A bar. Dropping it clears it.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// Where the bar is to be drawn once it is worth it; `None` = it is, or never will be.
    target: Mutex<Option<ProgressDrawTarget>>,
    begun: Instant,
    patience: Duration,
}

impl Progress {
    /// A bar for so many bytes; none if stderr is no terminal.
    #[must_use]
    pub fn bytes(label: &'static str, total: u64) -> Self {
        Self::new(label, total, BYTES, on_terminal(), PATIENCE)
    }

    /// The same for so many things.
    #[must_use]
    pub fn count(label: &'static str, total: u64) -> Self {
        Self::new(label, total, COUNT, on_terminal(), PATIENCE)
    }

    /// No bar, for `--quiet`.
    #[must_use]
    pub fn none() -> Self {
        Self::new("", 0, COUNT, None, PATIENCE)
    }

    fn new(
        label: &'static str,
        total: u64,
        template: &str,
        target: Option<ProgressDrawTarget>,
        patience: Duration,
    ) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        // A template that cannot be read would be an error of this file's; the crate's own serves as well.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(Cow::Borrowed(label));
        Self { bar, target: Mutex::new(target), begun: Instant::now(), patience }
    }

    /// So much more is done.
    pub fn advance(&self, amount: u64) {
        self.bar.inc(amount);
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        if target.is_some()
            && self.begun.elapsed() >= self.patience
            && let Some(target) = target.take()
        {
            self.bar.set_draw_target(target);
            self.bar.tick();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn on_terminal() -> Option<ProgressDrawTarget> {
    let can_move = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    (io::stderr().is_terminal() && can_move).then(|| ProgressDrawTarget::stderr_with_hz(HERTZ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use indicatif::TermLike;

    use super::*;

    /// A terminal of one line: what is drawn, and what stands there now.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<(Vec<String>, String)>>);

    impl Screen {
        fn target(&self) -> Option<ProgressDrawTarget> {
            Some(ProgressDrawTarget::term_like(Box::new(self.clone())))
        }

        fn drawn(&self) -> Vec<String> {
            self.0.lock().unwrap().0.clone()
        }

        fn now(&self) -> String {
            self.0.lock().unwrap().1.trim_end().to_owned()
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            let mut screen = self.0.lock().unwrap();
            screen.0.push(text.to_owned());
            screen.1.push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.0.lock().unwrap().1.clear();
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_is_drawn_and_cleared() {
        let screen = Screen::default();
        let progress = Progress::new("reading", 4 << 20, BYTES, screen.target(), Duration::ZERO);
        progress.advance(1 << 20);
        let shown = screen.now();
        assert!(shown.starts_with("reading [====") && shown.contains("1.00 MiB of 4.00 MiB"), "{shown:?}");
        assert!(shown.chars().count() <= 80, "{shown:?}");
        drop(progress);
        assert_eq!(screen.now(), "");
    }

    #[test]
    fn short_work_shows_none() {
        let screen = Screen::default();
        let progress = Progress::new("reading", 10, COUNT, screen.target(), Duration::from_hours(1));
        progress.advance(10);
        drop(progress);
        assert_eq!(screen.drawn(), Vec::<String>::new());
    }

    #[test]
    fn none_is_none() {
        let progress = Progress::none();
        progress.advance(1);
        assert!(progress.bar.is_hidden());
    }
}
