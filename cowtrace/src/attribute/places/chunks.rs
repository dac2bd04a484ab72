//! The blocks of glibc's `malloc`: where they begin and end, from their own headers.
//!
//! Each chunk begins with the size of the one before it, if that is free, and its own size, whose low three bits are flags;
//! what the program got begins 16 bytes behind. The chunks of the `brk` heap lie one behind the other from its start;
//! a large one has a mapping of its own.
//! <https://sourceware.org/git/?p=glibc.git;a=blob;f=malloc/malloc.c;hb=glibc-2.36#l1130>

use std::ops::Range;

use crate::memory::Memory;
use crate::page;

/// Bytes in front of what the program got.
pub(super) const HEADER: u64 = 16;
/// Smallest chunk.
const LEAST: u64 = 32;
/// Flags in a chunk's size.
const FLAGS: u64 = 7;
/// The flag of a chunk that has a mapping of its own.
const IS_MAPPED: u64 = 2;
/// Bytes of a heap that are looked through at most.
const MOST_BYTES: u64 = 1 << 30;
/// Pages that are looked at to find the start of a chunk with a mapping of its own, if that is not the mapping's.
const MOST_PAGES: u32 = 1024;
/// Bytes read at a time.
const PIECE: usize = 1 << 20;
/// … around one address.
const SMALL_PIECE: usize = 16 << 10;
/// Chunks before an address from which a heap is walked again.
const AGAIN: usize = 16;
/// Bytes before an address from which a heap is walked again at most.
const FURTHEST: u64 = 4 << 20;

/// The chunks of one heap at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks {
    start: u64,
    /// Distances from `start`, in units of 16 bytes, of each chunk, and of the end of the last.
    bounds: Vec<u32>,
}

impl Chunks {
    /// Walks a heap; what cannot be read or makes no sense ends the walk.
    pub(super) fn of_heap(memory: &dyn Memory, heap: &Range<u64>) -> Self {
        let mut chunks = Self { start: heap.start, bounds: Vec::new() };
        chunks.bounds = chunks.walk(memory, &mut Piece::of(PIECE), heap.start..heap.end, heap.end);
        chunks
    }

    /// Bounds of the chunks from one of them on, up to the first at the range's end or behind it, within the heap.
    fn walk(&self, memory: &dyn Memory, piece: &mut Piece, range: Range<u64>, heap_end: u64) -> Vec<u32> {
        let mut bounds = Vec::new();
        let most = heap_end.min(self.start.saturating_add(MOST_BYTES));
        let mut at = range.start;
        while let Some(size) = piece.word(memory, at.saturating_add(8), most) {
            let Ok(bound) = u32::try_from((at - self.start) / 16) else { break };
            bounds.push(bound);
            let size = size & !FLAGS;
            if at >= range.end || size < LEAST || !size.is_multiple_of(16) {
                break;
            }
            at = at.saturating_add(size);
        }
        bounds
    }

    /// `None` if there is no chunk.
    pub(super) fn not_empty(self) -> Option<Self> {
        (!self.bounds.is_empty()).then_some(self)
    }

    /// Walks the heap again around an address, from chunks a little before it; if it has grown, to its end. `None` = what
    /// was known of it has nothing to do with what it is now.
    pub(super) fn find_again(
        &mut self,
        memory: &dyn Memory,
        heap: &Range<u64>,
        address: u64,
    ) -> Option<Range<u64>> {
        let distance = u32::try_from(address.checked_sub(self.start)? / 16).ok()?;
        let after = self.bounds.partition_point(|&bound| bound <= distance);
        let from = after.saturating_sub(AGAIN);
        let start = self.start + u64::from(*self.bounds.get(from)?) * 16;
        let grown = after == self.bounds.len();
        let end = if grown { heap.end } else { address.saturating_add(1) };
        if !grown && address - start > FURTHEST {
            return None;
        }
        let walked = self.walk(memory, &mut Piece::of(SMALL_PIECE), start..end, heap.end);
        let last = *walked.last()?;
        if last <= distance {
            return None;
        }
        let same = self.bounds.partition_point(|&bound| bound <= last);
        self.bounds.splice(from..same, walked);
        self.find(address)
    }

    /// The chunk that reaches to the end of the heap, if it holds an address.
    pub(super) fn top(&self, memory: &dyn Memory, heap: &Range<u64>, address: u64) -> Option<Range<u64>> {
        let start = self.start + u64::from(*self.bounds.last()?) * 16;
        let size = memory.u64(start.checked_add(8)?).ok()? & !FLAGS;
        let top = start..start.checked_add(size)?;
        (top.end == heap.end && top.contains(&address)).then_some(top)
    }

    /// The chunk that holds an address.
    pub(super) fn find(&self, address: u64) -> Option<Range<u64>> {
        let distance = u32::try_from(address.checked_sub(self.start)? / 16).ok()?;
        let after = self.bounds.partition_point(|&bound| bound <= distance);
        let (first, next) = (self.bounds.get(after.checked_sub(1)?)?, self.bounds.get(after)?);
        Some(self.start + u64::from(*first) * 16..self.start + u64::from(*next) * 16)
    }
}

/// Memory that was read together.
struct Piece {
    len: usize,
    start: u64,
    bytes: Vec<u8>,
}

impl Piece {
    const fn of(len: usize) -> Self {
        Self { len, start: 0, bytes: Vec::new() }
    }

    fn word(&mut self, memory: &dyn Memory, address: u64, end: u64) -> Option<u64> {
        if address.checked_add(8)? > end {
            return None;
        }
        if self.get(address).is_none() {
            let len = usize::try_from(end - address).ok()?.min(self.len);
            self.bytes.resize(len, 0);
            self.start = address;
            if memory.read(address, &mut self.bytes).is_err() {
                self.bytes.clear();
                return memory.u64(address).ok();
            }
        }
        self.get(address)
    }

    fn get(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        self.bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }
}

/// The chunk with a mapping of its own that holds an address: it begins at the start of a page. Neighbouring mappings, other
/// memory among them, are shown as one, so the pages are looked at from the address downwards.
/// Nothing is looked for before `floor`. `Err` = there is none: from here on to the address no chunk begins.
pub(super) fn mapped(
    memory: &dyn Memory,
    mapping: &Range<u64>,
    floor: u64,
    address: u64,
) -> Result<Range<u64>, u64> {
    let first = header(memory, mapping.start, mapping);
    if let Some(chunk) = first.filter(|chunk| chunk.contains(&address)) {
        return Ok(chunk);
    }
    let floor = floor.max(mapping.start);
    let pages = page::here();
    let mut at = pages.start(address);
    for _ in 0..MOST_PAGES {
        if let Some(chunk) = header(memory, at, mapping) {
            return if chunk.contains(&address) { Ok(chunk) } else { Err(chunk.end) };
        }
        match at.checked_sub(pages.bytes()).filter(|at| *at >= floor) {
            Some(before) => at = before,
            None => return Err(floor),
        }
    }
    Err(at)
}

/// Every chunk with a mapping of its own among neighbouring mappings.
pub(super) fn all_mapped(memory: &dyn Memory, mapping: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut at = mapping.start;
    let mapping = mapping.clone();
    std::iter::from_fn(move || {
        while at < mapping.end {
            let chunk = header(memory, at, &mapping);
            at = chunk.as_ref().map_or(at.saturating_add(page::here().bytes()), |chunk| chunk.end);
            if chunk.is_some() {
                return chunk;
            }
        }
        None
    })
}

/// The chunk whose header begins a page, if one does.
pub(super) fn header(memory: &dyn Memory, at: u64, mapping: &Range<u64>) -> Option<Range<u64>> {
    let mut bytes = [0; 16];
    memory.read(at, &mut bytes).ok()?;
    let (before, size) = bytes.split_first_chunk()?;
    let (before, size) = (u64::from_le_bytes(*before), u64::from_le_bytes(*size.first_chunk()?));
    let len = size & !FLAGS;
    let next = at.checked_add(len)?;
    // Whole pages; since glibc 2.42 without what its header takes.
    let whole = next.checked_next_multiple_of(page::here().bytes())?;
    let sound = before == 0 && size & FLAGS == IS_MAPPED && len >= LEAST && len.is_multiple_of(16);
    (sound && whole - next <= HEADER && whole <= mapping.end).then_some(at..whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Fixture;

    fn heap(sizes: &[u64]) -> Fixture {
        let mut at = 0x1000;
        sizes.iter().fold(Fixture::default(), |memory, size| {
            let memory = memory.with(at, [0; 8]).with(at + 8, size.to_le_bytes());
            at = u64::wrapping_add(at, size & !7);
            memory
        })
    }

    /// Chunks lie one behind the other; the flags are no part of a size.
    #[test]
    fn chunks_of_a_heap() {
        let chunks = Chunks::of_heap(&heap(&[0x291, 0x20, 0x31, 0x1d1f]), &(0x1000..0x3000));
        assert_eq!(chunks.find(0x1000), Some(0x1000..0x1290));
        assert_eq!(chunks.find(0x12af), Some(0x1290..0x12b0));
        assert_eq!(chunks.find(0x12b8), Some(0x12b0..0x12e0));
        assert_eq!(chunks.find(0xfff), None);
    }

    /// What no block was taken from yet reaches to the end.
    #[test]
    fn top_of_a_heap() {
        let (memory, range) = (heap(&[0x291, 0x21, 0x1d51]), 0x1000..0x3000);
        let chunks = Chunks::of_heap(&memory, &range);
        assert_eq!(chunks.find(0x2000), None);
        assert_eq!(chunks.top(&memory, &range, 0x2000), Some(0x12b0..0x3000));
        assert_eq!(chunks.top(&memory, &range, 0x12a0), None);
        assert_eq!(chunks.top(&memory, &(0x1000..0x4000), 0x2000), None, "it ends elsewhere");
    }

    /// A size that makes no sense ends the walk: nothing behind it is known, and it does not go on for ever.
    #[test]
    fn nonsense_ends_the_walk() {
        for size in [0, 8, u64::MAX, 0x38 + 8 * 1024, 1 << 60] {
            let chunks = Chunks::of_heap(&heap(&[0x291, size]), &(0x1000..0x3000));
            assert_eq!(chunks.find(0x1290), None, "{size:#x}");
            assert_eq!(chunks.find(0x1010), Some(0x1000..0x1290), "{size:#x}");
        }
    }

    /// Large blocks have mappings of their own, which may be neighbours.
    #[test]
    fn mapped_chunks() {
        let memory = heap(&[0x2002, 0x1002]);
        let mapping = 0x1000..0x4000;
        assert_eq!(mapped(&memory, &mapping, 0, 0x2abc), Ok(0x1000..0x3000));
        assert_eq!(mapped(&memory, &mapping, 0, 0x3010), Ok(0x3000..0x4000));
        assert_eq!(mapped(&memory, &(0x1000..0x5000), 0, 0x4010), Err(0x4000), "behind it");
        assert_eq!(mapped(&heap(&[0x2001]), &mapping, 0, 0x2abc), Err(0x1000), "no mapping of its own");
        assert_eq!(mapped(&heap(&[2]), &mapping, 0, 0x2abc), Err(0x1000));
        assert_eq!(mapped(&heap(&[2]), &mapping, 0x2000, 0x2abc), Err(0x2000), "looked at before");
        assert_eq!(mapped(&heap(&[u64::MAX - 5]), &mapping, 0, 0x2abc), Err(0x1000));
    }
}
