//! The C library's `malloc`: its headers, and what it writes into free memory.

use super::{Rule, Verdict, heap};
use crate::attribute::{Allocator, Evidence};
use crate::symbolize::instruction::Form;

/// The header of a chunk.
pub(super) const HEADER: Rule = Rule {
    id: "malloc_header",
    about: "malloc noted the size of a block in front of it.",
    judge: |evidence| {
        let block = evidence.block.as_ref()?;
        (block.by == Allocator::Malloc && block.is_header).then(|| Verdict::new("malloc"))
    },
};

/// One or two words of a block that is given back, written at once: its links to other free blocks of any size, and behind them,
/// in a large one, those to the next of another size. A copy of as many bytes to its start would look the same.
/// <https://sourceware.org/git/?p=glibc.git;a=blob;f=malloc/malloc.c;hb=glibc-2.36#l1130>
pub(super) const LINKS: Rule = Rule {
    id: "malloc_free",
    about: "malloc linked a block that was given back to other free blocks.",
    judge: |evidence| {
        let block =
            evidence.block.as_ref().filter(|block| block.by == Allocator::Malloc && !block.is_header)?;
        let links =
            evidence.store.is_some_and(|store| store.size <= LINKS_SIZE && store.form == Form::Vector);
        let at = evidence.address.wrapping_sub(block.address);
        (links && evidence.in_libc() && [0, LINKS_SIZE as u64].contains(&at))
            .then(|| Verdict::new("malloc").likely())
    },
};

/// Bytes of two links.
const LINKS_SIZE: usize = 16;

/// A single word, written by the C library into memory that malloc manages: links between free blocks.
pub(super) const BOOKKEEPING: Rule = Rule {
    id: "malloc_links",
    about: "malloc linked free blocks to each other: the links lie in the free memory itself.",
    judge: bookkeeping,
};

fn bookkeeping(evidence: &Evidence<'_>) -> Option<Verdict> {
    let in_heap = matches!(evidence.region_kind, "heap" | "anonymous");
    let single = evidence.store.is_some_and(|store| {
        !store.on_stack && store.size <= 16 && !matches!(store.form, Form::String | Form::Push)
    });
    // Where the chunks of a program are known, the rule about these has said what is malloc's of them.
    let native = evidence.heap.as_ref();
    let told = native.is_some_and(|heap| heap.chunk.is_some() || !heap::is_malloc(evidence));
    (in_heap && single && evidence.in_libc() && !told).then(|| Verdict::new("malloc").likely())
}
