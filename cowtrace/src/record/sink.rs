//! Where pieces go: into memory, into a file, to somebody who looks at the trace while it comes about.

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::build::{Builder, Misfit};
use super::file::{Unwritten, Writer};
use super::piece::Piece;
use super::schema::Trace;

/// How long a piece waits to be written to a file.
const FILE_PACE: Duration = Duration::from_millis(500);
/// How long it waits to be seen.
const LIVE_PACE: Duration = Duration::from_millis(200);

/// Somebody who takes pieces as they come.
pub trait Listener: Send {
    /// Takes a piece.
    fn take(&mut self, piece: Piece);
}

/// One that is shared between those who tell it and those who ask it.
pub type Shared = Arc<Mutex<dyn Listener>>;

/// Takes pieces.
pub struct Sink {
    memory: Builder,
    file: Option<Writer>,
    live: Option<Shared>,
    misfit: Option<Misfit>,
}

/// What is left at the end.
pub struct Taken {
    /// The trace; without its faults if they went elsewhere alone.
    pub trace: Trace,
    /// What became of the file; `None` = there is none.
    pub file: Option<Result<File, Unwritten>>,
}

impl Sink {
    /// Keeps everything in memory, and in a file if there is one.
    #[must_use]
    pub fn memory(file: Option<Writer>) -> Self {
        Self { memory: Builder::default(), file, live: None, misfit: None }
    }

    /// Keeps the faults elsewhere alone: in a file, or with who listens.
    #[must_use]
    pub fn elsewhere(file: Option<Writer>) -> Self {
        Self { memory: Builder::without_faults(), file, live: None, misfit: None }
    }

    /// Tells somebody else too.
    #[must_use]
    pub fn with(self, live: Option<Shared>) -> Self {
        Self { live, ..self }
    }

    /// How long faults may wait to be taken: until cowtrace is killed, or somebody looks; `None` = as long as they like.
    #[must_use]
    pub const fn pace(&self) -> Option<Duration> {
        match (&self.live, &self.file) {
            (Some(_), _) => Some(LIVE_PACE),
            (None, Some(_)) => Some(FILE_PACE),
            (None, None) => None,
        }
    }

    /// Whether who listens is being asked just now, so that a piece would have to wait.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.live
            .as_ref()
            .is_some_and(|live| matches!(live.try_lock(), Err(std::sync::TryLockError::WouldBlock)))
    }

    /// Takes a piece.
    pub fn take(&mut self, piece: Piece) {
        if let Some(live) = &self.live {
            let mut live: MutexGuard<'_, dyn Listener> = live.lock().unwrap_or_else(PoisonError::into_inner);
            live.take(piece.clone());
        }
        if let Some(file) = &mut self.file {
            file.take(piece.clone());
        }
        // Only a mistake of cowtrace's own makes one.
        if let Err(misfit) = self.memory.take(piece) {
            log::error!("a piece of the trace does not fit: {misfit}");
            self.misfit = self.misfit.or(Some(misfit));
        }
    }

    /// What came of it all.
    #[must_use]
    pub fn finish(self) -> Taken {
        let cut = self.misfit.map(|misfit| format!("A part of the trace is missing: {misfit}."));
        Taken { trace: self.memory.finish(cut), file: self.file.map(Writer::finish) }
    }
}
