//! File → pieces → trace. The file may be cut off, damaged, from elsewhere, or made to do harm: nothing is believed before
//! its checksum, no count makes more room than the bytes behind it.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::thread;

use serde::de::DeserializeOwned;

use super::block::{self, HEAD, Head, kind};
use super::definitions::{Frames, Stored};
use super::{MAGIC, START, VERSION, columns};
use crate::record::build::Builder;
use crate::record::piece::{Piece, State};
use crate::record::schema::{Fault, Trace};

/// Bytes of a block below which decoding takes less time than a thread for it.
const SMALL: u32 = 16 << 10;
/// Bytes of faults for which nobody is asked whether they have room.
const LITTLE: u64 = 1 << 20;
/// Frames of all stacks together at most.
const MOST_FRAMES: usize = 1 << 26;

/// Why a file is no recording that can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read at all.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("it is no recording of cowtrace's{}", if *empty { ": it is empty" } else { "" })]
    Foreign {
        /// It has no content.
        empty: bool,
    },
    /// It was written by a newer cowtrace.
    #[error(
        "it has version {version} of the format, and cowtrace {} reads version {VERSION} and older: use a newer cowtrace",
        env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// Its version.
        version: u32,
    },
    /// It has no whole block.
    #[error("nothing of it is left to read: it was cut off or damaged at its beginning")]
    Nothing,
    /// It holds more than this machine has room for.
    #[error("its {faults} faults take {} of memory, and {} are free", crate::diag::size(*needed), crate::diag::size(*free))]
    Memory {
        /// Faults.
        faults: u64,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
}

/// What is known of a file beside its trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Version of the format.
    pub version: u32,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of its blocks of faults.
    pub fault_bytes: u64,
    /// Whole blocks.
    pub blocks: u64,
    /// Why the trace is not whole; `None` = it is.
    pub cut: Option<String>,
}

/// A recording that was read.
#[derive(Debug)]
pub struct Reading {
    /// Its trace.
    pub trace: Trace,
    /// The file.
    pub about: About,
}

/// Reads a recording. `progress` is told the bytes that were read since it was told last.
///
/// # Errors
/// If it is none, or nothing of it can be read. One that was cut off or damaged is read up to there.
pub fn read(mut file: File, progress: &mut dyn FnMut(u64)) -> Result<Reading, ReadError> {
    // Of a pipe it is not known how much comes.
    let is_file = file.metadata()?.is_file();
    let (blocks, faults) = if is_file { survey(&mut file)? } else { (0, 0) };
    if is_file {
        has_room(faults)?;
    }
    let mut input = BufReader::with_capacity(1 << 20, file);
    let version = version(&mut input)?;
    progress(START as u64);
    let mut reader = Reader {
        builder: Builder::default(),
        frames: Frames::default(),
        left: MOST_FRAMES,
        threads: thread::available_parallelism().map_or(1, usize::from),
        closed: false,
        about: About { version, bytes: START as u64, ..About::default() },
    };
    if blocks > 0 {
        reader.builder.reserve(usize::try_from(faults).unwrap_or_default());
    }
    let end = loop {
        match reader.some(&mut input, progress) {
            Ok(true) => {}
            Ok(false) => break None,
            Err(Stop::Io(error)) => return Err(error.into()),
            Err(Stop::Here(why)) => break Some(why),
        }
    };
    let Reader { builder, closed, mut about, .. } = reader;
    if about.blocks == 0 {
        return Err(ReadError::Nothing);
    }
    about.cut = match (end, closed) {
        (None, true) => None,
        (None, false) => Some(CUT.to_owned()),
        (Some(why), _) => Some(format!("The recording is {why}: what came behind is missing.")),
    };
    // The rest of a damaged file counts as its bytes, too.
    if is_file {
        about.bytes = input.into_inner().metadata()?.len();
    }
    Ok(Reading { trace: builder.finish(about.cut.clone()), about })
}

/// What is said of a recording that has no end.
const CUT: &str = "The recording was not closed: cowtrace was killed, or could not write on. What came behind its last block is missing.";

fn version(input: &mut impl Read) -> Result<u32, ReadError> {
    let mut start = Vec::with_capacity(START);
    input.take(START as u64).read_to_end(&mut start)?;
    let foreign = || ReadError::Foreign { empty: start.is_empty() };
    let (magic, rest) = start.split_first_chunk().ok_or_else(foreign)?;
    let version = rest.first_chunk().map(|version| u32::from_le_bytes(*version)).ok_or_else(foreign)?;
    match version {
        _ if *magic != MAGIC || version == 0 => Err(foreign()),
        1..=VERSION if rest.len() == START - MAGIC.len() => Ok(version),
        1..=VERSION => Err(ReadError::Nothing),
        _ => Err(ReadError::Newer { version }),
    }
}

/// How many blocks a file has, by its heads alone, and how many faults they say that they hold.
fn survey(file: &mut File) -> io::Result<(u64, u64)> {
    let len = file.metadata()?.len();
    let (mut blocks, mut faults) = (0, 0_u64);
    let mut at = START as u64;
    while at + (HEAD as u64) <= len {
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0; HEAD];
        file.read_exact(&mut head)?;
        let Some(head) = Head::decode(&head) else { break };
        at += HEAD as u64 + u64::from(head.stored);
        // A fault takes a byte in each column at least.
        if at > len || head.items as usize > head.raw as usize / columns::COLUMNS && head.kind == kind::FAULTS
        {
            break;
        }
        blocks += 1;
        faults += if head.kind == kind::FAULTS { head.items.into() } else { 0 };
    }
    file.rewind()?;
    Ok((blocks, faults))
}

/// Whether so many faults have room in memory.
fn has_room(faults: u64) -> Result<(), ReadError> {
    let needed = faults.saturating_mul(size_of::<Fault>() as u64);
    if needed <= LITTLE {
        return Ok(());
    }
    let free = procfs::Current::current().ok().and_then(|info: procfs::Meminfo| info.mem_available);
    match free {
        Some(free) if needed > free => Err(ReadError::Memory { faults, needed, free }),
        _ => Ok(()),
    }
}

/// Why reading stops.
enum Stop {
    Io(io::Error),
    /// At the next block.
    Here(&'static str),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

const CUT_OFF: Stop = Stop::Here("cut off within a block");
const DAMAGED: Stop = Stop::Here("damaged");

struct Reader {
    builder: Builder,
    frames: Frames,
    /// Frames that stacks may still have.
    left: usize,
    /// Threads that decode; to find out how many there are takes the kernel longer than some blocks take.
    threads: usize,
    /// Its last state was that of the end.
    closed: bool,
    about: About,
}

impl Reader {
    /// Takes the next blocks, as many as there are threads to decode them; `false` at the end.
    fn some(&mut self, input: &mut impl Read, progress: &mut dyn FnMut(u64)) -> Result<bool, Stop> {
        let mut blocks = Vec::with_capacity(self.threads);
        let mut end = Ok(true);
        while blocks.len() < self.threads {
            match next(input) {
                Ok(Some(block)) => blocks.push(block),
                Ok(None) => {
                    end = Ok(false);
                    break;
                }
                Err(stop) => {
                    end = Err(stop);
                    break;
                }
            }
        }
        let all_small = blocks.iter().all(|(head, _)| head.raw < SMALL);
        let decoded: Vec<Option<Decoded>> = thread::scope(|scope| {
            if all_small {
                return blocks.iter().map(|(head, stored)| decode(head, stored)).collect();
            }
            let (last, others) = match blocks.split_last() {
                Some((last, others)) => (Some(last), others),
                None => (None, blocks.as_slice()),
            };
            let others: Vec<_> =
                others.iter().map(|(head, stored)| scope.spawn(|| decode(head, stored))).collect();
            // One of them here: a thread less.
            let last = last.map(|(head, stored)| decode(head, stored));
            others.into_iter().map(|thread| thread.join().ok().flatten()).chain(last).collect()
        });
        for ((head, stored), decoded) in blocks.iter().zip(decoded) {
            let len = (HEAD + stored.len()) as u64;
            self.take(decoded.ok_or(DAMAGED)?)?;
            self.about.blocks += 1;
            self.about.bytes += len;
            self.about.fault_bytes += if head.kind == kind::FAULTS { len } else { 0 };
            progress(len);
        }
        end
    }

    fn take(&mut self, decoded: Decoded) -> Result<(), Stop> {
        let piece = match decoded {
            Decoded::Piece(piece) => piece,
            Decoded::Definitions(stored) => {
                Piece::Definitions(Box::new(self.frames.restore(*stored, &mut self.left).ok_or(DAMAGED)?))
            }
            Decoded::Unknown => return Ok(()),
        };
        let closed = match &piece {
            Piece::State(State { closed, .. }) => *closed,
            _ => self.closed,
        };
        self.builder.take(piece).map_err(|_misfit| DAMAGED)?;
        self.closed = closed;
        Ok(())
    }
}

/// The next block as it is stored; `None` at the end of the file.
fn next(input: &mut impl Read) -> Result<Option<(Head, Vec<u8>)>, Stop> {
    let mut head = Vec::with_capacity(HEAD);
    input.take(HEAD as u64).read_to_end(&mut head)?;
    if head.is_empty() {
        return Ok(None);
    }
    let head = head.first_chunk().ok_or(CUT_OFF)?;
    let head = Head::decode(head).ok_or(DAMAGED)?;
    let mut stored = Vec::new();
    input.take(head.stored.into()).read_to_end(&mut stored)?;
    if stored.len() < head.stored as usize {
        return Err(CUT_OFF);
    }
    Ok(Some((head, stored)))
}

enum Decoded {
    Piece(Piece),
    Definitions(Box<Stored>),
    /// A kind of block that came after this version.
    Unknown,
}

/// `None` = it is damaged.
fn decode(head: &Head, stored: &[u8]) -> Option<Decoded> {
    if !head.fits(stored) {
        return None;
    }
    let body = block::body(head, stored).ok()?;
    let piece = match head.kind {
        kind::HEADER => Piece::Header(json(&body)?),
        kind::DEFINITIONS => return json(&body).map(Decoded::Definitions),
        kind::PROCESSES => Piece::Processes(json(&body)?),
        kind::FAULTS => Piece::Faults(columns::decode(&body, head.items as usize)?),
        kind::AMENDMENTS => Piece::Amendments(json(&body)?),
        kind::GENERATIONS => Piece::Generations(json(&body)?),
        kind::MODULE_TABLES => Piece::ModuleTables(json(&body)?),
        kind::STATE => Piece::State(json(&body)?),
        _ => return Some(Decoded::Unknown),
    };
    Some(Decoded::Piece(piece))
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).map_err(|error| log::debug!("a block of the recording: {error}")).ok()
}
