//! What a native program's heap has at an address: which chunk of glibc's `malloc`, and which part of it.
//!
//! It is read after the write, from memory that still is what it was around the address: what the program allocated and freed
//! since may have moved the bounds of chunks, so that nothing here is certain.

use std::ops::Range;

use super::chunks::{self, Chunks};
use super::{At, Places};
use crate::attribute::evidence::{Chunk, ChunkPart};
use crate::memory::Memory;
use crate::process::maps::Kind;

/// Heaps of threads begin at multiples of this, and are no larger.
/// <https://sourceware.org/git/?p=glibc.git;a=blob;f=malloc/arena.c;hb=glibc-2.36#l32>
const THREAD_HEAP: u64 = 64 << 20;
/// Bytes in front of a thread's arena in its first heap: before glibc 2.35, and since.
const HEAP_INFO: [u64; 2] = [0x20, 0x30];
/// Bytes of an arena.
/// <https://sourceware.org/git/?p=glibc.git;a=blob;f=malloc/malloc.c;hb=glibc-2.36#l1810>
const ARENA: u64 = 0x898;
/// Bytes of the first chunk of a heap, which holds the thread's cache of free blocks, header included: glibc 2.26, 2.30, 2.42.
const THREAD_CACHE: Range<u64> = 0x240..0x400;
/// The flag of a chunk whose neighbour in front is in use.
const PREVIOUS_IN_USE: u64 = 1;

impl Places {
    /// The chunk that holds the address.
    pub(in crate::attribute) fn heap_chunk(&mut self, at: &At<'_>) -> Option<Chunk> {
        let mapping = at.mapping?;
        let range = mapping.start..mapping.end;
        let mapped = match mapping.kind {
            Kind::Heap => false,
            Kind::Anonymous => match self.thread_heap(at, &range)? {
                Ok(found) => return Some(found),
                Err(mapped) => mapped,
            },
            Kind::Stack | Kind::File | Kind::Special(_) => return None,
        };
        if mapped {
            return Some(described(at, &self.chunk(at)?, ChunkPart::Data));
        }
        self.part_of_heap(at, (at.image, 0), &range)
    }

    /// The chunk of a heap, and what it is.
    fn part_of_heap(&mut self, at: &At<'_>, key: (u64, u64), heap: &Range<u64>) -> Option<Chunk> {
        if let Some(chunk) = self.chunk_of_heap(at, key, heap) {
            return Some(described(at, &chunk, part(at, &chunk, heap)));
        }
        let chunks = self.heaps.get(&key)?;
        let top = at.read_unchanged(|memory| chunks.top(memory, heap, at.fault.address.checked_sub(8)?))?;
        Some(described(at, &top, ChunkPart::Top))
    }

    /// The chunk of a thread's heap, if there is one where the address lies; `Err(true)` = there is none, and a chunk with a
    /// mapping of its own may hold it.
    fn thread_heap(&mut self, at: &At<'_>, range: &Range<u64>) -> Option<Result<Chunk, bool>> {
        let start = at.fault.address & !(THREAD_HEAP - 1);
        let end = range.end.min(start + THREAD_HEAP);
        let is_first = |memory: &dyn Memory| {
            let arena = memory.u64(start).ok()?.checked_sub(start)?;
            HEAP_INFO.contains(&arena).then_some(start + (arena + ARENA).next_multiple_of(16))
        };
        let first = if start < range.start { None } else { at.read(is_first) };
        let Some(first) = first else { return Some(Err(true)) };
        if at.fault.address < first + 8 {
            let chunk = Chunk {
                address: start,
                size: first - start,
                offset: at.fault.address - start,
                part: ChunkPart::Arena,
            };
            return Some(Ok(chunk));
        }
        self.part_of_heap(at, (at.image, first), &(first..end)).map(Ok)
    }

    /// The chunk of a heap that is read around the address, or as a whole, if that was not done yet.
    pub(super) fn chunk_of_heap(
        &mut self,
        at: &At<'_>,
        key: (u64, u64),
        heap: &Range<u64>,
    ) -> Option<Range<u64>> {
        let address = at.fault.address.checked_sub(8)?;
        let known = self.heaps.get(&key).and_then(|chunks| chunks.find(address));
        if let Some(chunk) = known.filter(|chunk| still(at, chunk)) {
            return Some(chunk);
        }
        let again = self.heaps.get_mut(&key).and_then(|chunks| {
            let memory = at.unchanged()?;
            chunks.find_again(memory, heap, address)
        });
        if again.is_some() || self.walked > super::block::MOST_WALKED {
            return again;
        }
        let chunks = at.read_unchanged(|memory| Chunks::of_heap(memory, heap).not_empty())?;
        self.walked += heap.end - heap.start;
        let chunk = chunks.find(address);
        self.heaps.insert(key, chunks);
        chunk
    }
}

/// Whether a chunk is what it was when the heap was walked.
fn still(at: &At<'_>, chunk: &Range<u64>) -> bool {
    at.read_unchanged(|memory| memory.u64(chunk.start + 8).ok())
        .is_some_and(|size| size & !7 == chunk.end - chunk.start)
}

fn described(at: &At<'_>, chunk: &Range<u64>, part: ChunkPart) -> Chunk {
    let offset = at.fault.address.saturating_sub(chunk.start);
    let part = if offset < chunks::HEADER { ChunkPart::Size } else { part };
    Chunk { address: chunk.start, size: chunk.end - chunk.start, offset, part }
}

/// What the chunk of a heap is.
fn part(at: &At<'_>, chunk: &Range<u64>, heap: &Range<u64>) -> ChunkPart {
    if chunk.start == heap.start && THREAD_CACHE.contains(&(chunk.end - chunk.start)) {
        return ChunkPart::ThreadCache;
    }
    match at.read_unchanged(|memory| memory.u64(chunk.end + 8).ok()) {
        Some(next) if next & PREVIOUS_IN_USE == 0 => ChunkPart::Free,
        _ => ChunkPart::Data,
    }
}
