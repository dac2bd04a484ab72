//! Lines of instruction sequences: entries, and a table that tells which of them is an instruction's.
//!
//! The kernel program sends the body's own words, then the table, then the entries:
//! [`cowtrace_ebpf::plan::BODY`], [`cowtrace_ebpf::plan::POSITIONS`].

use cowtrace_ebpf::plan::{BODY, POSITIONS, Plan};

use super::layout::{Body, Layout};
use super::symbols;
use crate::event::Code;
use crate::interp::heap::Parts;
use crate::memory::Memory;

/// Words of code that the table's first part counts one by one.
/// <https://github.com/ruby/ruby/blob/v3_1_2/iseq.c#L3648>
const IMMEDIATE: u64 = 54;
/// … of which so many are in a word, each with so many bits.
const IN_WORD: u64 = 9;
const RANK_BITS: u64 = 7;
/// Bytes of the first part, and of a block of the second, which counts 512 words.
const FIRST_PART: u64 = IMMEDIATE / IN_WORD * 8;
const BLOCK: u64 = 80;
const IN_BLOCK: u64 = 512;
/// Words of code, and entries of lines, that are believed.
const MOST: u64 = 1 << 20;
/// Bytes of a word of code.
const WORD: u64 = 8;

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

/// Bytes of the table for so many words of code.
const fn table_size(code_size: u64) -> u64 {
    FIRST_PART + code_size.saturating_sub(IMMEDIATE).div_ceil(IN_BLOCK) * BLOCK
}

/// Bytes between the body and the entries.
fn room(code_size: u64) -> u64 {
    table_size(code_size).max(POSITIONS as u64)
}

/// Offsets in a body's words that the plan has.
struct Sizes {
    code_size: u64,
    code: u64,
    entries: u64,
}

impl Sizes {
    fn of(plan: &Plan, lines: &[u8]) -> Option<Self> {
        let body = lines.get(..BODY)?;
        let code = word(body, plan.code_bytecode.into())?;
        let code_size = half(body, usize::from(plan.code_bytecode).checked_sub(4)?)?;
        let entries = half(body, plan.ruby.body_entry_count.into())?;
        (code_size <= MOST && entries <= MOST).then_some(Self { code_size, code, entries })
    }
}

/// Line of the instruction in front of an address.
/// <https://github.com/ruby/ruby/blob/v3_1_2/vm_backtrace.c#L33>
pub(super) fn line(plan: &Plan, lines: &[u8], instruction: u64) -> Option<u32> {
    let Sizes { code_size, code, entries } = Sizes::of(plan, lines)?;
    let position = instruction.checked_sub(code).filter(|distance| distance.is_multiple_of(WORD))? / WORD;
    if position > code_size || entries == 0 {
        return None;
    }
    let room = room(code_size);
    let whole = BODY as u64 + room + entries * u64::from(plan.ruby.entry_size);
    // A table that the kernel program has cut.
    if room > POSITIONS as u64 && lines.len() as u64 != whole {
        return None;
    }
    let end = BODY.checked_add(usize::try_from(room).ok()?)?;
    let number = match entries {
        1 => 0,
        _ => rank(lines.get(BODY..end)?, position.saturating_sub(1))?.checked_sub(1)?,
    };
    let at = number.checked_mul(plan.ruby.entry_size.into()).filter(|_| number < entries)?;
    let entry = lines.get(end..)?.get(usize::try_from(at).ok()?..)?;
    u32::try_from(i32::from_le_bytes(*entry.first_chunk()?)).ok()
}

/// How many entries begin at a word of code or before it.
/// <https://github.com/ruby/ruby/blob/v3_1_2/iseq.c#L3730>
fn rank(table: &[u8], position: u64) -> Option<u64> {
    let Some(behind) = position.checked_sub(IMMEDIATE) else {
        let ranks = word(table, usize::try_from(position / IN_WORD * 8).ok()?)?;
        return Some((ranks >> (RANK_BITS * (position % IN_WORD))) & 0x7f);
    };
    let block = table.get(usize::try_from(FIRST_PART + behind / IN_BLOCK * BLOCK).ok()?..)?;
    let bit = behind % IN_BLOCK;
    let small = bit / 64;
    let ranks = word(block, 8)?;
    let before = if small == 0 { 0 } else { (ranks >> ((small - 1) * 9)) & 0x1ff };
    let bits = word(block, usize::try_from(16 + small * 8).ok()?)? << (63 - bit % 64);
    Some(half(block, 0)? + before + u64::from(bits.count_ones()))
}

/// Whether the kernel program could send all of a sequence's lines.
pub(super) fn is_whole(plan: &Plan, code: &Code) -> bool {
    let fits =
        Sizes::of(plan, &code.lines).is_none_or(|sizes| table_size(sizes.code_size) <= POSITIONS as u64);
    fits && code.lines.len() == code.lines_full as usize
}

/// All of it, from memory; `None` = it is not there any more.
pub(super) fn read(plan: &Plan, memory: &dyn Memory, code: &Code) -> Option<Vec<u8>> {
    let body = code.lines.get(..BODY)?;
    let sizes = Sizes::of(plan, body)?;
    let mut now = vec![0; usize::from(plan.ruby.body_size)];
    memory.read(code.address, &mut now).ok()?;
    // Where its code and its lines are, then and now.
    let same = |at: u16| word(&now, at.into()) == word(body, at.into());
    if !same(plan.code_bytecode) || !same(plan.ruby.body_entries) {
        return None;
    }
    let mut lines = body.to_vec();
    let room = usize::try_from(room(sizes.code_size)).ok()?;
    let table = usize::try_from(table_size(sizes.code_size)).ok()?;
    let entries = usize::try_from(sizes.entries * u64::from(plan.ruby.entry_size)).ok()?;
    lines.resize(BODY + room + entries, 0);
    memory.read(word(body, plan.ruby.body_positions.into())?, lines.get_mut(BODY..BODY + table)?).ok()?;
    memory.read(word(body, plan.ruby.body_entries.into())?, lines.get_mut(BODY + room..)?).ok()?;
    Some(lines)
}

/// What belongs to a sequence.
pub(super) fn caches(layout: &Layout, code: &Code) -> Parts {
    code.lines.get(..BODY).map_or_else(Parts::new, |body| body_caches(layout, code.address, body))
}

/// The same, of a body in memory: its names tell that it is one.
pub(super) fn caches_of(layout: &Layout, memory: &dyn Memory, address: u64) -> Option<Parts> {
    let plan = &layout.plan;
    let mut body = [0; BODY];
    memory.read(address, body.get_mut(..plan.ruby.body_size.into())?).ok()?;
    let has = |at: u16, types: &[u64]| {
        let object = word(&body, at.into()).filter(|object| object.is_multiple_of(8));
        let flags = object.and_then(|object| memory.u64(object).ok());
        flags.is_some_and(|flags| types.contains(&(flags & symbols::TYPE)))
    };
    let is_body =
        has(plan.code_name, &[symbols::STRING]) && has(plan.code_file, &[symbols::STRING, symbols::ARRAY]);
    is_body.then(|| body_caches(layout, address, &body))
}

fn body_caches(layout: &Layout, address: u64, body: &[u8]) -> Parts {
    let range = |start: usize, count: usize, kinds: usize, size: u64| {
        let start = word(body, start)?;
        let count = (0..kinds).map(|kind| half(body, count + kind * 4)).sum::<Option<u64>>()?;
        (start != 0 && (1..MOST).contains(&count)).then(|| start..start.saturating_add(count * size))
    };
    let Body { code: bytecode, code_size, calls, call_count, call_size, .. } = layout.body;
    let Body { caches, cache_count, cache_kinds, cache_size, .. } = layout.body;
    let own = address..address.saturating_add(layout.plan.ruby.body_size.into());
    let parts = [
        (range(bytecode, code_size, 1, WORD), "instructions"),
        (range(caches, cache_count, cache_kinds, cache_size), "inline cache"),
        (range(calls, call_count, 1, call_size), "call cache"),
        (Some(own), "counters"),
    ];
    parts.into_iter().filter_map(|(range, what)| Some((range?, what))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp::ruby::layout::RUBY_3_1;

    /// A sequence with an entry at each of some words of its code, whose lines are 100, 101, ….
    fn sequence(code_size: u64, positions: &[u64]) -> Vec<u8> {
        let plan = &RUBY_3_1.plan;
        let mut lines = vec![0; BODY];
        lines[4..8].copy_from_slice(&u32::try_from(code_size).unwrap().to_le_bytes());
        lines[8..16].copy_from_slice(&0x1000_u64.to_le_bytes());
        let count = u32::try_from(positions.len()).unwrap();
        let at = usize::from(plan.ruby.body_entry_count);
        lines[at..at + 4].copy_from_slice(&count.to_le_bytes());
        let rank = |word: u64| positions.iter().filter(|&&position| position <= word).count() as u64;
        let mut table = Vec::new();
        for part in 0..IMMEDIATE / IN_WORD {
            let ranks = (0..IN_WORD).map(|at| rank(part * IN_WORD + at) << (RANK_BITS * at));
            table.extend(ranks.fold(0, |word, bits| word | bits).to_le_bytes());
        }
        for block in 0..code_size.saturating_sub(IMMEDIATE).div_ceil(IN_BLOCK) {
            let start = IMMEDIATE + block * IN_BLOCK;
            let has = |word: u64| u64::from(positions.contains(&word));
            let bits = |small: u64| (0..64).fold(0, |bits, at| bits | has(start + small * 64 + at) << at);
            let below = |small: u64| (0..small * 64).filter(|at| has(start + at) == 1).count() as u64;
            table.extend(rank(start - 1).to_le_bytes());
            table.extend(
                (1..8).fold(0, |ranks, small| ranks | below(small) << ((small - 1) * 9)).to_le_bytes(),
            );
            table.extend((0..8).flat_map(|small| bits(small).to_le_bytes()));
        }
        table.resize(usize::try_from(room(code_size)).unwrap(), 0);
        lines.extend(table);
        for line in 100..100 + count {
            lines.extend([line.to_le_bytes(), [0; 4], [0; 4]].concat());
        }
        lines
    }

    /// The instruction that begins at a word, when the frame's pointer stands behind its first word.
    fn line_at(lines: &[u8], word: u64) -> Option<u32> {
        line(&RUBY_3_1.plan, lines, 0x1000 + (word + 1) * 8)
    }

    #[test]
    fn short_and_long_sequences() {
        let positions = [0, 3, 53, 54, 60, 117, 118, 600, 6000, 6001];
        for code_size in [54, 55, 566, 567, 5686, 7000] {
            let positions: Vec<u64> = positions.iter().copied().filter(|&at| at < code_size).collect();
            let lines = sequence(code_size, &positions);
            for word in 0..code_size {
                let entry = positions.iter().filter(|&&position| position <= word).count();
                assert_eq!(line_at(&lines, word), u32::try_from(99 + entry).ok(), "{word} of {code_size}");
            }
        }
    }

    /// What is cut, or lies elsewhere, has no line; nothing is a wrong one.
    #[test]
    fn cut_and_hostile() {
        let lines = sequence(60, &[0, 10, 55]);
        assert_eq!(line(&RUBY_3_1.plan, &lines, 0x1000), Some(100), "before the first instruction");
        assert_eq!(line(&RUBY_3_1.plan, &lines, 0xff8), None);
        assert_eq!(line(&RUBY_3_1.plan, &lines, 0x1004), None);
        assert_eq!(line_at(&lines, 60), None);
        for len in 0..lines.len() {
            let found = line_at(&lines[..len], 59);
            assert!(found.is_none_or(|line| line == 102), "{len}: {found:?}");
        }
        let mut long = sequence(7000, &[0, 10, 6000]);
        long.pop();
        assert_eq!(line_at(&long, 6500), None, "the table may be cut, too");
        for at in 0..BODY + 60 {
            let mut wrong = lines.clone();
            wrong[at] = 0xff;
            let _ = line_at(&wrong, 20);
        }
    }
}
