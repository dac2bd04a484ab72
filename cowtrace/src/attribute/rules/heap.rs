//! The heap of a program without interpreter: the bookkeeping of its allocator, or its own data.
//!
//! Chunks are found after the write, so that what they tell is likely. Who writes tells as much: the allocator its
//! bookkeeping, everybody else what was allocated.

use super::{Rule, Verdict};
use crate::attribute::{Chunk, ChunkPart, Evidence, Heap, library};
use crate::symbolize::instruction::Form;

/// Chunks of at least this size have two more links when they are free, to the next of another size.
/// <https://sourceware.org/git/?p=glibc.git;a=blob;f=malloc/malloc.c;hb=glibc-2.36#l1577>
const LARGE: u64 = 1024;
/// Bytes in front of the program's part.
const HEADER: u64 = 16;
/// Largest chunk of which each size is a class of its own.
const EXACT: u64 = 1024;

/// The stack of a thread, or of a coroutine, that is not the first thread's.
pub(super) const STACK: Rule = Rule {
    id: "stack_instruction",
    about: "A native function pushed to its stack, or stored to it by the stack pointer.",
    judge: |evidence| {
        let on_stack = evidence.store.is_some_and(|store| store.on_stack || store.form == Form::Push);
        (evidence.heap.is_some() && on_stack).then(|| Verdict::new("c_stack").likely())
    },
};

/// What `malloc` writes around and into chunks.
pub(super) const CHUNK: Rule = Rule {
    id: "malloc_chunk",
    about: "malloc noted a block's size, linked free blocks, or changed its lists of them.",
    judge: |evidence| {
        let chunk = evidence.heap.as_ref()?.chunk?;
        let name = bookkeeping(&chunk)?;
        // Nothing else is kept in these, whichever function writes there.
        let own = matches!(chunk.part, ChunkPart::ThreadCache | ChunkPart::Arena) && evidence.in_libc();
        (own || is_malloc(evidence)).then(|| Verdict::new("malloc").name(name).likely())
    },
};

/// An allocator that is not the C library's.
pub(super) const ALLOCATOR: Rule = Rule {
    id: "other_allocator",
    about: "Another allocator than the C library's (jemalloc, tcmalloc, mimalloc) wrote to its own data.",
    judge: |evidence| Some(Verdict::new("malloc").name(allocator(evidence)?).likely()),
};

/// What the C library keeps for each thread, where that is no variable of its own: at the thread's start, and at a fork.
pub(super) const THREAD: Rule = Rule {
    id: "thread_record",
    about: "The C library wrote to its record of a thread.",
    judge: |evidence| {
        let chunk = evidence.heap.as_ref()?.chunk;
        let name = evidence.symbol.filter(|_| evidence.in_libc() && chunk.is_none())?.trim_start_matches('_');
        let own = ["fork", "Fork", "pthread_", "nptl_", "start_thread", "libc_unwind_link"];
        own.iter()
            .any(|start| name.starts_with(start))
            .then(|| Verdict::new("library_data").name("the C library's record of a thread").likely())
    },
};

/// Everything else.
pub(super) const DATA: Rule = Rule {
    id: "native_data",
    about: "A program without interpreter wrote its own data: to a block that it allocated, or to memory that it mapped.",
    judge: data,
};

fn data(evidence: &Evidence<'_>) -> Option<Verdict> {
    let heap = evidence.heap.as_ref()?;
    if evidence.kernel_mode || evidence.store.is_none() {
        return None;
    }
    let verdict = Verdict::new("native_data").likely();
    Some(match (heap, evidence.region_kind) {
        (Heap { chunk: Some(chunk), .. }, _) if chunk.part == ChunkPart::Data => {
            verdict.name(format!("malloc block of {}", class(chunk.size)))
        }
        // It was allocated since.
        (Heap { chunk: Some(_), .. }, _) => verdict.name("malloc block"),
        (_, "heap") => verdict.name("heap"),
        (Heap { allocator: Some(allocator), .. }, _) => {
            verdict.name(format!("anonymous mapping, with {allocator}"))
        }
        _ => verdict.name("anonymous mapping"),
    })
}

/// What `malloc` keeps at this place of a chunk; `None` = nothing.
fn bookkeeping(chunk: &Chunk) -> Option<&'static str> {
    let inside = chunk.offset.wrapping_sub(HEADER);
    let links = if chunk.size >= LARGE { 2 * HEADER } else { HEADER };
    match chunk.part {
        ChunkPart::Size => Some("size of a block"),
        ChunkPart::ThreadCache => Some("thread cache"),
        ChunkPart::Arena => Some("arena"),
        ChunkPart::Top => Some("top of the heap"),
        ChunkPart::Data | ChunkPart::Free if inside < links => Some("links of a free block"),
        // Its last word, in front of the next one's size, has its size again.
        ChunkPart::Free => Some("free block"),
        ChunkPart::Data => None,
    }
}

/// Whether the C library's `malloc` writes, and not another part of it that can be told by its name.
pub(super) fn is_malloc(evidence: &Evidence<'_>) -> bool {
    let word = evidence.store.is_some_and(|store| {
        !store.on_stack && store.size <= 16 && !matches!(store.form, Form::String | Form::Push)
    });
    // Functions that are not exported have no name in a stripped library.
    word && evidence.in_libc() && evidence.symbol.is_none_or(super::buffer::is_malloc)
}

/// The allocator whose code writes.
fn allocator(evidence: &Evidence<'_>) -> Option<&'static str> {
    evidence.heap.as_ref()?;
    let file = evidence.object.and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    library::allocator(file.as_bytes()).or_else(|| library::allocator_of_function(evidence.symbol?))
}

/// The bytes that a program may have asked for to get a chunk of this size; of large ones, of one half as large too.
fn class(size: u64) -> String {
    // It may use the word with the size of this chunk in the next one.
    let most = size.saturating_sub(8);
    if size <= EXACT {
        return format!("{} to {most} bytes", if size <= 32 { 0 } else { most - 15 });
    }
    let above = size.checked_next_power_of_two().unwrap_or(u64::MAX);
    let (unit, name) = if above >= 2 << 20 { (1 << 20, "MiB") } else { (1 << 10, "KiB") };
    let below = above / 2;
    // The class of 1 KiB to 2 KiB has no fractions, and that of 1 to 2 MiB neither.
    format!("{} to {} {name}", below.div_ceil(unit), above / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        assert_eq!(class(32), "0 to 24 bytes");
        assert_eq!(class(48), "25 to 40 bytes");
        assert_eq!(class(1024), "1001 to 1016 bytes");
        assert_eq!(class(1040), "1 to 2 KiB");
        assert_eq!(class(4112), "4 to 8 KiB");
        assert_eq!(class(1 << 20), "512 to 1024 KiB");
        assert_eq!(class((1 << 20) + 4096), "1 to 2 MiB");
        assert_eq!(class(!15), "8796093022208 to 17592186044415 MiB");
    }

    #[test]
    fn places_of_a_chunk() {
        let at = |size, offset, part| bookkeeping(&Chunk { address: 0x1000, size, offset, part });
        assert_eq!(at(0x40, 8, ChunkPart::Size), Some("size of a block"));
        assert_eq!(at(0x40, 24, ChunkPart::Data), Some("links of a free block"));
        assert_eq!(at(0x40, 32, ChunkPart::Data), None);
        assert_eq!(at(0x800, 40, ChunkPart::Data), Some("links of a free block"));
        assert_eq!(at(0x800, 48, ChunkPart::Data), None);
        assert_eq!(at(0x290, 100, ChunkPart::ThreadCache), Some("thread cache"));
    }
}
