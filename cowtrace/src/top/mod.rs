//! A trace in the terminal while it comes about: `cowtrace top`.
//!
//! A thread of its own looks at the trace a few times a second through [`Live`], which the report's own code is behind, and
//! draws. It keeps nobody waiting: who has pieces to hand on leaves them lying while the trace is looked at.
//!
//! Reading order: `state` (what is shown), `rates` and `rows` (what is made of a trace for it), `keys`, `draw`, `tables` and `sheet`,
//! `terminal` (taken over and given back), `capture` (what the command writes meanwhile).

mod capture;
mod draw;
mod keys;
mod rates;
mod rows;
mod sheet;
mod state;
mod tables;
mod terminal;
mod theme;

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event};
use tokio::sync::Notify;

pub use capture::{Capture, KEPT};
pub use theme::{Theme, is_ascii};

use crate::diag::held;
use crate::report::Cut;
use crate::report::live::Live;
use keys::{Asked, press};
use state::State;
use terminal::Screen;

/// How often the trace is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// The part of the time that looking at a large trace may take: one in so many.
const SHARE: u32 = 8;
/// How often it is noticed that the trace has ended.
const NOTICE: Duration = Duration::from_millis(50);
/// Rows that a page has less than the screen.
const AROUND: usize = 12;

/// What is to be looked at, and how.
pub struct Subject {
    /// The trace.
    pub live: Arc<Mutex<Live>>,
    /// Told when there is something to look at; if it ends before, there is nothing.
    pub begun: Receiver<()>,
    /// To be notified when the user has seen enough.
    pub quit: Arc<Notify>,
    /// What the command writes; `None` = it goes elsewhere.
    pub capture: Option<Arc<Capture>>,
    /// The terminal.
    pub out: File,
    /// What the rows of causes stand for at first.
    pub by: Cut,
    /// How it looks.
    pub theme: Theme,
    /// Files below this directory are named relative to it.
    pub directory: Option<String>,
}

/// The thread that draws.
pub struct Viewer {
    over: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Viewer {
    /// Begins to look.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn start(subject: Subject) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = thread::Builder::new().name("top".to_owned()).spawn(move || {
            let quit = Quit(Arc::clone(&subject.quit));
            // Without a session there is nothing to draw.
            let shown = if subject.begun.recv().is_ok() { show(&subject, &ends, &quit) } else { Ok(()) };
            held::release();
            shown
        })?;
        Ok(Self { over, thread })
    }

    /// The session has ended: gives the terminal back.
    ///
    /// # Errors
    /// Why drawing had to end before.
    pub fn end(self) -> io::Result<()> {
        self.over.store(true, Ordering::Relaxed);
        let joined = self.thread.join();
        // What was said while a panic unwound is not lost.
        held::release();
        joined.unwrap_or_else(|_panic| Err(io::Error::other("the thread that draws has panicked")))
    }
}

/// Tells the session that nobody looks any more, whatever the reason.
struct Quit(Arc<Notify>);

impl Quit {
    fn now(&self) {
        self.0.notify_one();
    }
}

impl Drop for Quit {
    fn drop(&mut self) {
        self.now();
    }
}

/// Draws until the trace ends.
fn show(subject: &Subject, over: &AtomicBool, quit: &Quit) -> io::Result<()> {
    held::hold();
    let mut screen = Screen::enter(&subject.out)?;
    let begun = Instant::now();
    let mut state = State::new(subject.by);
    let (mut looked, mut looking) = (None::<Instant>, Duration::ZERO);
    let mut asked = Asked::Look;
    while !over.load(Ordering::Relaxed) {
        let pause = LOOK.max(looking * SHARE);
        if asked == Asked::Look || looked.is_none_or(|looked| looked.elapsed() >= pause) {
            let start = Instant::now();
            look(subject, &mut state, begun.elapsed());
            looking = start.elapsed();
            looked = Some(Instant::now());
            asked = Asked::Draw;
        }
        if asked == Asked::Draw && !screen.draw(|frame| draw::frame(frame, &mut state, subject.theme))? {
            // Another thread panicked: its message is on the terminal now.
            return Ok(());
        }
        asked = Asked::Nothing;
        if event::poll(NOTICE)? {
            let page = usize::from(ratatui::crossterm::terminal::size()?.1).saturating_sub(AROUND) / 2;
            asked = match event::read()? {
                Event::Key(key) => press(&mut state, key, page.max(1)),
                Event::Resize(..) => Asked::Draw,
                _ => Asked::Nothing,
            };
        }
        if asked == Asked::Quit {
            state.ending = true;
            quit.now();
            asked = Asked::Draw;
        }
    }
    Ok(())
}

/// Looks at the trace, and at all else that is shown.
fn look(subject: &Subject, state: &mut State, elapsed: Duration) {
    let directory = subject.directory.as_deref();
    let now = {
        let mut live = subject.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.look(state.cut(), state.only, directory)
    };
    state.update(elapsed, now);
    if let Some(capture) = &subject.capture {
        capture.tidy();
        let written = capture.len();
        if written != state.written && !state.paused {
            (state.written, state.output) = (written, capture.lines(draw::OUTPUT.into()));
        }
    }
    state.notice = held::last();
}
