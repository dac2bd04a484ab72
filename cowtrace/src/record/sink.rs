//! Where pieces go: into memory, into a file, or both.

use std::fs::File;

use super::build::{Builder, Misfit};
use super::file::{Unwritten, Writer};
use super::piece::Piece;
use super::schema::Trace;

/// Takes pieces.
pub struct Sink {
    memory: Builder,
    file: Option<Writer>,
    misfit: Option<Misfit>,
}

/// What is left at the end.
pub struct Taken {
    /// The trace; without its faults if they went to the file alone.
    pub trace: Trace,
    /// What became of the file; `None` = there is none.
    pub file: Option<Result<File, Unwritten>>,
}

impl Sink {
    /// Keeps everything in memory, and in a file if there is one.
    #[must_use]
    pub fn memory(file: Option<Writer>) -> Self {
        Self { memory: Builder::default(), file, misfit: None }
    }

    /// Keeps the faults in a file alone.
    #[must_use]
    pub fn file(file: Writer) -> Self {
        Self { memory: Builder::without_faults(), file: Some(file), misfit: None }
    }

    /// Whether what is taken has to be handed on soon, for when cowtrace is killed.
    #[must_use]
    pub const fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// Takes a piece.
    pub fn take(&mut self, piece: Piece) {
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
