//! Recordings: a trace in a file, piece by piece.
//!
//! A file begins with [`MAGIC`] and [`VERSION`]; then come blocks, each with a `block::Head`, that are only ever added.
//! A block is whole or it is not there: its length, and a checksum over all of it, tell. Blocks are compressed one by one.
//! The faults of a block are stored by columns (`columns`), everything else as JSON with the names of [`super::schema`]; a
//! reader ignores fields and kinds of blocks that it does not know. What that would make wrong gets a new version.

mod block;
mod columns;
mod definitions;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{About, ReadError, Reading, read};
pub use write::{Unwritten, Writer};

/// How every recording begins.
pub const MAGIC: [u8; 8] = *b"cowtrace";
/// Version of the format: a reader reads its own and older ones.
pub const VERSION: u32 = 1;
/// Bytes in front of the first block: [`MAGIC`], [`VERSION`], and four that are zero.
const START: usize = 16;
