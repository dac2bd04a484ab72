//! Plain data: filled or copied by the C library, or written in one piece.

use super::{Rule, Verdict};
use crate::attribute::{Allocator, Evidence};
use crate::symbolize::instruction::Form;

/// The C library's functions for memory (`memcpy`, `memset`) write vectors or use string instructions.
pub(super) const RULE: Rule =
    Rule { id: "buffer", about: "Memory was filled or copied as plain data.", judge };

fn judge(evidence: &Evidence<'_>) -> Option<Verdict> {
    let heap = matches!(evidence.region_kind, "heap" | "anonymous");
    let form = evidence.store?.form;
    let copies = match form {
        Form::String => true,
        Form::Vector => {
            let malloc = evidence.symbol.is_some_and(is_malloc);
            evidence.in_libc() && evidence.store.is_some_and(|store| store.size > 16 || !malloc)
        }
        _ => false,
    };
    (heap && copies).then(|| Verdict::new("buffer").likely())
}

/// One byte stored by a subscript outside of the object allocator's blocks: of what can be subscripted only buffers have
/// items of a byte, and the index of a small dict lies in such a block.
pub(super) const BYTE: Rule = Rule {
    id: "buffer_byte",
    about: "A byte of a buffer was stored by its index.",
    judge: |evidence| {
        let outside =
            evidence.block.as_ref().is_none_or(|block| block.by == Allocator::Malloc && !block.is_header);
        let byte = evidence.store.is_some_and(|store| store.size == 1 && !store.on_stack);
        let heap = matches!(evidence.region_kind, "heap" | "anonymous");
        (heap && outside && byte && evidence.op() == Some("STORE_SUBSCR") && !evidence.in_libc())
            .then(|| Verdict::new("buffer").likely())
    },
};

/// A function of malloc's that has a name.
/// <https://sourceware.org/git/?p=glibc.git;a=blob;f=malloc/malloc.c;hb=glibc-2.36>
pub(super) fn is_malloc(symbol: &str) -> bool {
    let parts = ["malloc", "calloc", "realloc", "memalign", "_int_free", "tcache", "arena"];
    let names = ["free", "cfree", "__libc_free", "aligned_alloc", "unlink_chunk", "systrim"];
    names.contains(&symbol) || parts.iter().any(|part| symbol.contains(part))
}
