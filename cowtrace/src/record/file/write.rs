//! Pieces → file, in a thread of its own: compression and the disk keep nobody waiting, as long as they are as fast as
//! faults come. When they are not, the ring buffer fills, and the kernel counts what it drops.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use serde::Serialize;

use super::block::{self, kind};
use super::definitions::Numbers;
use super::{MAGIC, START, VERSION, columns};
use crate::diag::{self, Notice};
use crate::record::piece::{Definitions, Piece};

/// Pieces that may wait for the disk.
const WAITING: usize = 8;
/// Faults in a block at most: more compress no better, and fewer are lost when cowtrace is killed.
const FAULTS: usize = 1 << 16;
/// Rows in a block of anything else at most, so that no block gets too large.
const ROWS: usize = 1 << 12;

/// Writes a recording.
pub struct Writer {
    to: SyncSender<Piece>,
    thread: JoinHandle<Result<File, Unwritten>>,
}

/// Why a recording is not whole. What was written before is there, up to its last whole block.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct Unwritten {
    /// What went wrong.
    pub source: io::Error,
}

impl From<io::Error> for Unwritten {
    fn from(source: io::Error) -> Self {
        Self { source }
    }
}

impl Writer {
    /// Begins a recording in an empty file. `path` is its name in messages.
    ///
    /// # Errors
    /// If there is no thread for it, or not even the start can be written.
    pub fn start(mut file: File, path: PathBuf) -> Result<Self, Unwritten> {
        file.write_all(&start())?;
        let (to, from) = sync_channel(WAITING);
        let thread =
            thread::Builder::new().name("record".to_owned()).spawn(move || write_all(file, &from, &path))?;
        Ok(Self { to, thread })
    }

    /// Takes the next piece.
    pub fn take(&mut self, piece: Piece) {
        // The thread ends only when this end of the channel is gone.
        let _ = self.to.send(piece);
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// If something could not be; that has been told when it happened.
    pub fn finish(self) -> Result<File, Unwritten> {
        drop(self.to);
        let panicked = |_| Unwritten { source: io::Error::other("the recording thread has panicked") };
        self.thread.join().map_err(panicked)?
    }
}

fn start() -> [u8; START] {
    let mut start = [0; START];
    start[..8].copy_from_slice(&MAGIC);
    start[8..12].copy_from_slice(&VERSION.to_le_bytes());
    start
}

/// Writes what comes until it ends; after a failure it is taken and dropped, so that nobody waits.
fn write_all(file: File, from: &Receiver<Piece>, path: &Path) -> Result<File, Unwritten> {
    let mut blocks = Blocks { file, end: START as u64, numbers: Numbers::default() };
    let mut failed = None;
    for piece in from {
        if failed.is_some() {
            continue;
        }
        if let Err(source) = blocks.write(piece) {
            // Told at once: the trace may go on for hours.
            diag::tell(&Notice::RecordingStopped { path: path.into(), why: source.to_string() });
            failed = Some(source);
        }
    }
    match failed {
        Some(source) => Err(source.into()),
        None => Ok(blocks.file),
    }
}

struct Blocks {
    file: File,
    /// Where the last whole block ends.
    end: u64,
    numbers: Numbers,
}

impl Blocks {
    fn write(&mut self, piece: Piece) -> io::Result<()> {
        match piece {
            Piece::Header(header) => self.json(kind::HEADER, 1, &header),
            Piece::Definitions(definitions) => self.definitions(*definitions),
            Piece::Processes(rows) => self.rows(kind::PROCESSES, &rows),
            Piece::Faults(faults) => faults
                .chunks(FAULTS)
                .try_for_each(|faults| self.block(kind::FAULTS, faults.len(), &columns::encode(faults))),
            Piece::Amendments(rows) => self.rows(kind::AMENDMENTS, &rows),
            Piece::Generations(rows) => self.rows(kind::GENERATIONS, &rows),
            Piece::ModuleTables(rows) => self.rows(kind::MODULE_TABLES, &rows),
            Piece::State(state) => self.json(kind::STATE, 1, &state),
        }
    }

    /// Definitions, so many in a block that it does not get too large. Stacks come last: they refer to nothing but frames.
    fn definitions(&mut self, mut rest: Definitions) -> io::Result<()> {
        while !rest.is_empty() {
            let part = Definitions {
                regions: front(&mut rest.regions),
                operations: front(&mut rest.operations),
                writes: front(&mut rest.writes),
                sites: front(&mut rest.sites),
                python: front(&mut rest.python),
                native: front(&mut rest.native),
            };
            let items = part.len();
            let stored = self.numbers.store(part);
            self.json(kind::DEFINITIONS, items, &stored)?;
        }
        Ok(())
    }

    fn rows<T: Serialize>(&mut self, kind: u8, rows: &[T]) -> io::Result<()> {
        rows.chunks(ROWS).try_for_each(|rows| self.json(kind, rows.len(), &rows))
    }

    fn json<T: Serialize>(&mut self, kind: u8, items: usize, value: &T) -> io::Result<()> {
        self.block(kind, items, &serde_json::to_vec(value)?)
    }

    /// Adds a block in one piece. If that fails, none of it is left.
    fn block(&mut self, kind: u8, items: usize, body: &[u8]) -> io::Result<()> {
        let block = block::encode(kind, items, body)?;
        if let Err(error) = self.file.write_all(&block) {
            let cut =
                self.file.set_len(self.end).and_then(|()| self.file.seek(io::SeekFrom::Start(self.end)));
            if let Err(error) = cut {
                log::debug!("the end of the recording was not cut: {error}");
            }
            return Err(error);
        }
        self.end += block.len() as u64;
        Ok(())
    }
}

/// Takes some values off the front.
fn front<T>(values: &mut Vec<T>) -> Vec<T> {
    let rest = values.split_off(values.len().min(ROWS));
    std::mem::replace(values, rest)
}
