//! The block of an allocator that holds an address: of the interpreter's, as the kernel program found it at the fault, or of
//! the C library's.

use std::ops::Range;

use cowtrace_ebpf::event::BLOCK_WORDS;

use super::chunks;
use super::{At, Places, Query, first_words, image_word};
use crate::attribute::block::Block;
use crate::attribute::names::Names;
use crate::process::maps::Kind;

/// Bytes of heaps that are looked through in one session at most.
pub(super) const MOST_WALKED: u64 = 2 << 30;

impl Places {
    /// The block that holds the address.
    pub(in crate::attribute) fn block(&mut self, query: &Query<'_>, names: &mut Names) -> Option<Block> {
        if !query.has_detail() {
            return None;
        }
        let detail = &query.at.fault.detail;
        let pool_size = 1_u64.checked_shl(query.found.plan.pool_shift.into()).unwrap_or(0);
        if let Some(block) = Block::of_detail(detail, pool_size, names.types(), query.at.image) {
            return Some(block);
        }
        let last = self.blocks.get(&query.at.process).filter(|_| query.goes_on());
        if let Some(block) = last.filter(|block| block.contains(query.at.fault.address)) {
            return Some(block.clone());
        }
        let chunk = self.chunk(&query.at)?;
        let address = chunk.start + chunks::HEADER;
        if query.at.fault.address < address {
            return Some(Block {
                is_header: true,
                ..Block::of_malloc(address, 0, [0; BLOCK_WORDS], names.types(), 0)
            });
        }
        let known = || self.mapped.get(&query.at.image)?.get(&chunk.start).map(|(_, head)| *head);
        let now = query.at.read_unchanged(|memory| first_words(memory, address));
        let mut head = now.or_else(known).unwrap_or_default();
        for (at, word) in (0..).zip(&mut head) {
            // What was there before the write, if that was kept.
            *word = image_word(&query.at.fault.image, address + at * 8).unwrap_or(*word);
        }
        for candidate in [head[1], head[3], head[5]] {
            names.learn_type(query.at.image, candidate, query.found, query.at.relatives);
        }
        let block = Block::of_malloc(address, chunk.end + 8 - address, head, names.types(), query.at.image);
        self.blocks.insert(query.at.process, block.clone());
        Some(block)
    }

    /// The chunk of `malloc`'s, header included; its program's part reaches 8 bytes into the next.
    pub(super) fn chunk(&mut self, at: &At<'_>) -> Option<Range<u64>> {
        let mapping = at.mapping?;
        let range = mapping.start..mapping.end;
        let address = at.fault.address.checked_sub(8)?;
        match mapping.kind {
            Kind::Heap => self.chunk_of_heap(at, (at.image, 0), &range),
            Kind::Anonymous => self.mapped_chunk(at, &range, address),
            Kind::Stack | Kind::File | Kind::Special(_) => None,
        }
    }

    /// The chunk with a mapping of its own.
    fn mapped_chunk(&mut self, at: &At<'_>, mapping: &Range<u64>, address: u64) -> Option<Range<u64>> {
        let found = self.mapped.entry(at.image).or_default();
        let known = found.range(..=address).next_back().map(|(start, (end, _))| *start..*end);
        let known = known.filter(|chunk| chunk.contains(&address));
        let is_still = |chunk: &Range<u64>| {
            at.read_unchanged(|memory| chunks::header(memory, chunk.start, mapping)).as_ref() == Some(chunk)
        };
        // What is remembered holds as long as nobody says otherwise.
        if let Some(chunk) = known.filter(|chunk| !at.is_alive() || is_still(chunk)) {
            return Some(chunk);
        }
        // Looked at before: no chunk begins between the two.
        let nothing = self.nothing.entry(at.image).or_default();
        if nothing.range(address..).next().is_some_and(|(_, start)| *start <= address) {
            return None;
        }
        let before = nothing.range(..address).next_back().map(|(end, start)| (*end, *start));
        let (floor, _) = before.unwrap_or_default();
        let chunk = at.read_unchanged(|memory| Some(chunks::mapped(memory, mapping, floor, address)))?;
        match &chunk {
            Ok(chunk) => {
                let head = at.read_unchanged(|memory| first_words(memory, chunk.start + chunks::HEADER));
                found.insert(chunk.start, (chunk.end, head.unwrap_or_default()));
            }
            // Two that meet are one.
            Err(from) => {
                let joined = before.filter(|(end, _)| end == from);
                joined.and_then(|(end, _)| nothing.remove(&end));
                nothing.insert(address, joined.map_or(*from, |(_, start)| start));
            }
        }
        chunk.ok()
    }
}
