//! Any bytes as what the kernel program sends of an instruction sequence.

use arbitrary::Unstructured;
use bytemuck::Zeroable as _;
use cowtrace_ebpf::event::LINE_TABLE;
use cowtrace_ebpf::plan::BODY;

use super::layout::LAYOUTS;
use super::lines;
use crate::event::Code;

/// Bytes of what a body refers to that are believed, each: see `lines::MOST`.
const MOST: u64 = (1 << 20) * 4 * 64;

/// A line is one of the table's own entries, and no part of a sequence is larger than what is believed.
pub(crate) fn sequences(bytes: &[u8]) {
    let mut given = Unstructured::new(bytes);
    let Ok((number, address, instruction)) = given.arbitrary::<(u8, u64, u64)>() else { return };
    let layout = LAYOUTS[usize::from(number) % LAYOUTS.len()];
    let plan = &layout.plan;
    let rest = given.take_rest();
    let code = Code {
        process: cowtrace_ebpf::state::ProcessKey::zeroed(),
        image: 1,
        address,
        identity: 0,
        plan: 0,
        first_line: 1,
        file: cowtrace_ebpf::event::FileName::zeroed(),
        name: cowtrace_ebpf::event::FunctionName::zeroed(),
        lines: rest[..rest.len().min(LINE_TABLE)].to_vec(),
        lines_full: u32::try_from(rest.len()).unwrap_or(u32::MAX),
        units: 0,
        owner: 0,
    };
    let word = rest.get(plan.code_bytecode.into()..).and_then(|bytes| bytes.first_chunk());
    let start = word.map_or(0, |word| u64::from_le_bytes(*word));
    // Instructions of the body's own code, which are hard to guess, and any.
    for at in [instruction, start.wrapping_add(instruction % (1 << 14) * 8)] {
        let Some(line) = lines::line(plan, &code.lines, at) else { continue };
        let entries = code.lines.get(BODY..).unwrap_or_default();
        let is_there = entries.windows(4).any(|word| word == line.to_le_bytes());
        assert!(is_there, "line {line} is in no entry");
    }
    assert!(!lines::is_whole(plan, &code) || code.lines.len() == rest.len());
    for (range, what) in lines::caches(layout, &code) {
        assert!(!what.is_empty() && range.end - range.start <= MOST, "{what}: {range:?}");
    }
}
