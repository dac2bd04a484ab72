//! The heap: pages of slots, and the records that the collector keeps of them.

use cowtrace_ebpf::event::Detail;

use super::layout::Layout;
use super::symbols::TYPE;
use crate::interp::Found;
use crate::interp::heap::{HeapPlace, ObjectPart, Own, Records};
use crate::memory::Memory;

/// Pages that are believed.
const MOST_PAGES: u64 = 1 << 20;
/// Chunks that are believed.
const MOST_CHUNKS: usize = 1 << 16;
/// Kinds of objects by the low bits of their flags; empty = no object.
/// <https://github.com/ruby/ruby/blob/v3_1_2/include/ruby/internal/value_type.h#L112>
static KINDS: [&str; 32] = [
    "",
    "Object",
    "Class",
    "Module",
    "Float",
    "String",
    "Regexp",
    "Array",
    "Hash",
    "Struct",
    "Integer",
    "File",
    "Data",
    "MatchData",
    "Complex",
    "Rational",
    "",
    "",
    "",
    "",
    "Symbol",
    "",
    "",
    "",
    "",
    "",
    "internal",
    "node",
    "included module",
    "zombie",
    "moved object",
    "",
];
/// From here on they are the interpreter's own, and those that have no class.
const FIRST_INTERNAL: u64 = 0x1a;
const IMEMO: u64 = 0x1a;
/// Kinds of internal objects, behind the type.
/// <https://github.com/ruby/ruby/blob/v3_1_2/internal/imemo.h#L33>
static INTERNAL: [&str; 16] = [
    "environment",
    "class reference",
    "special variables",
    "throw data",
    "native block",
    "memo",
    "method entry",
    "instruction sequence",
    "temporary buffer",
    "syntax tree",
    "parser state",
    "call info",
    "call cache",
    "constant cache",
    "internal",
    "internal",
];
const INTERNAL_SHIFT: u64 = 12;

/// What a slot holds, by its flags; `None` = nothing.
fn kind(flags: u64) -> Option<(&'static str, bool)> {
    let of = flags & TYPE;
    let name = *KINDS.get(usize::try_from(of).ok()?)?;
    let internal = of >= FIRST_INTERNAL;
    let name = if of == IMEMO { INTERNAL[usize::try_from(flags >> INTERNAL_SHIFT & 15).ok()?] } else { name };
    (!name.is_empty()).then_some((name, internal))
}

/// Where an address lies in the page that the kernel program found.
pub(super) fn place(_: &Layout, detail: &Detail, address: u64) -> Option<HeapPlace> {
    if detail.pool == 0 {
        return None;
    }
    let Some(offset) = address.checked_sub(detail.block).filter(|_| detail.block != 0) else {
        return Some(HeapPlace::Page);
    };
    let [flags, class, ..] = detail.head;
    let Some((of, internal)) = kind(flags) else { return Some(HeapPlace::Free(offset)) };
    let part = match offset {
        0..8 => ObjectPart::Flags(flags),
        8..16 => ObjectPart::Class,
        _ => ObjectPart::Body,
    };
    Some(HeapPlace::Object { of, class: if internal { 0 } else { class }, internal, part })
}

/// Address of the heap's state.
fn state(layout: &Layout, found: &Found, memory: &dyn Memory) -> Option<u64> {
    let at = found.runtime.checked_add(layout.plan.ruby.runtime_heap.into())?;
    memory.u64(at).ok().filter(|state| *state != 0)
}

/// The records of all pages.
pub(super) fn records(layout: &Layout, found: &Found, memory: &dyn Memory) -> Option<Records> {
    let state = state(layout, found, memory)?;
    let at = state.checked_add(layout.heap_pages)?;
    let (pages, count) = (memory.u64(at).ok()?, memory.u64(at.checked_add(8)?).ok()?);
    if count > MOST_PAGES {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(count * 8).ok()?];
    memory.read(pages, &mut bytes).ok()?;
    let mut starts: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    starts.sort_unstable();
    let range = state.checked_add(layout.heap_range)?;
    let heap = memory.u64(range).ok()?..memory.u64(range.checked_add(8)?).ok()?;
    let chunks = chunks(layout, memory, state);
    Some(Records { starts, size: layout.record_size, heap, chunks, chunk_size: layout.chunk_next + 8 })
}

/// What lies at an offset in a record.
pub(super) fn record_part(layout: &Layout, offset: u64) -> &'static str {
    let part = layout.record.iter().rev().find(|(start, _)| *start <= offset);
    part.map_or("page record", |(_, what)| *what)
}

/// The offset of an address in the record of an object's page, if it lies in that.
pub(super) fn offset_in_record(
    layout: &Layout,
    memory: &dyn Memory,
    object: u64,
    address: u64,
) -> Option<u64> {
    let shift = layout.plan.ruby.page_shift;
    let record = memory.u64(object >> shift << shift).ok()?;
    let offset = address.checked_sub(record)?;
    (record != 0 && offset < layout.record_size).then_some(offset)
}

/// Whether an address lies in a block of memory for what lives shortly: it begins with its size and with how much of it is used.
/// <https://github.com/ruby/ruby/blob/v3_1_2/transient_heap.c#L76>
pub(super) fn is_transient(layout: &Layout, memory: &dyn Memory, address: u64) -> bool {
    let Some((shift, size)) = layout.transient else { return false };
    let [mut told, mut used] = [[0; 2]; 2];
    let start = address >> shift << shift;
    if memory.read(start, &mut told).is_err() || memory.read(start + 2, &mut used).is_err() {
        return false;
    }
    let [told, used] = [told, used].map(u16::from_le_bytes);
    told == size && used <= size && used.is_multiple_of(8)
}

/// The interpreter's own structures, with a thread's execution context; `None` = they cannot be read.
pub(super) fn own(layout: &Layout, found: &Found, memory: &dyn Memory, context: u64) -> Option<Vec<Own>> {
    let sizes = &layout.sizes;
    let word = |address: u64, offset: u64| memory.u64(address.checked_add(offset)?).ok();
    let ractor = word(found.runtime, layout.vm_main_ractor)?;
    let thread = if context == 0 { 0 } else { word(context, layout.context_thread)? };
    let parts = [
        (found.runtime, sizes.vm, "interpreter_state", "virtual machine"),
        (ractor, sizes.ractor, "interpreter_state", "main ractor"),
        (state(layout, found, memory)?, sizes.heap, "allocator", "heap state"),
        (context, sizes.context, "thread_state", "execution context"),
        (thread, sizes.thread, "thread_state", "thread"),
    ];
    let known = parts.into_iter().filter(|(start, ..)| *start != 0);
    known
        .map(|(start, size, kind, name)| Some(Own { range: start..start.checked_add(size)?, kind, name }))
        .collect()
}

/// The chunks of the collector's stack of objects to mark: those in use, and those that wait to be used.
fn chunks(layout: &Layout, memory: &dyn Memory, state: u64) -> Vec<u64> {
    let mut chunks = Vec::new();
    for list in layout.mark_stack {
        let mut at = state.checked_add(list).and_then(|at| memory.u64(at).ok()).unwrap_or(0);
        while at != 0 && chunks.len() < MOST_CHUNKS {
            chunks.push(at);
            at = at.checked_add(layout.chunk_next).and_then(|next| memory.u64(next).ok()).unwrap_or(0);
        }
    }
    chunks.sort_unstable();
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp::ruby::layout::{LAYOUTS, RUBY_3_1};

    fn at(head: u64, offset: u64) -> Option<HeapPlace> {
        let mut detail = Detail { pool: 0x4000, block: 0x4008, size: 40, ..Detail::default() };
        detail.head[0] = head;
        detail.head[1] = 0x7000;
        place(&RUBY_3_1, &detail, 0x4008 + offset)
    }

    #[test]
    fn slots() {
        let string = |part| Some(HeapPlace::Object { of: "String", class: 0x7000, internal: false, part });
        assert_eq!(at(0x65, 0), string(ObjectPart::Flags(0x65)));
        assert_eq!(at(0x65, 8), string(ObjectPart::Class));
        assert_eq!(at(0x65, 39), string(ObjectPart::Body));
        assert_eq!(at(0, 8), Some(HeapPlace::Free(8)));
        let part = ObjectPart::Body;
        assert_eq!(
            at(0xc01a, 16),
            Some(HeapPlace::Object { of: "call cache", class: 0, internal: true, part })
        );
        let page = Detail { pool: 0x4000, ..Detail::default() };
        assert_eq!(place(&RUBY_3_1, &page, 0x4000), Some(HeapPlace::Page));
        assert_eq!(place(&RUBY_3_1, &Detail::default(), 0x4000), None);
    }

    /// Every row's parts begin inside its record, in order.
    #[test]
    fn parts_of_records() {
        for layout in LAYOUTS {
            assert!(
                layout.record.is_sorted() && layout.record.iter().all(|(at, _)| *at < layout.record_size)
            );
            assert_eq!(record_part(layout, 0), "page record", "{}", layout.name);
            let last = layout.record.last().unwrap().1;
            assert_eq!(record_part(layout, layout.record_size - 1), last, "{}", layout.name);
        }
        assert_eq!(record_part(LAYOUTS[0], 343), "pinned bits");
        assert_eq!(record_part(LAYOUTS[1], 1311), "pinned bits");
    }
}
