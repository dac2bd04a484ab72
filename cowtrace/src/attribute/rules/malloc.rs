//! The C library's `malloc`: its headers, and what it writes into free memory.

use super::{Rule, Verdict};
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

/// A single word, written by the C library into memory that malloc manages: links between free blocks.
pub(super) const BOOKKEEPING: Rule = Rule {
    id: "malloc_links",
    about: "malloc linked free blocks to each other: the links lie in the free memory itself.",
    judge: bookkeeping,
};

fn bookkeeping(evidence: &Evidence<'_>) -> Option<Verdict> {
    let heap = matches!(evidence.region_kind, "heap" | "anonymous");
    let single = evidence.store.is_some_and(|store| {
        !store.on_stack && store.size <= 16 && !matches!(store.form, Form::String | Form::Push)
    });
    (heap && single && evidence.in_libc()).then(|| Verdict::new("malloc").likely())
}
