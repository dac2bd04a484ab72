//! The interpreter's object allocator: headers of its pools, links between free blocks.
//!
//! <https://github.com/python/cpython/blob/v3.11.7/Objects/obmalloc.c#L780>

use super::{Rule, Verdict};
use crate::attribute::{Allocator, Evidence};

/// The header of a pool: how many of its blocks are used, which is free, its neighbours.
pub(super) const HEADER: Rule = Rule {
    id: "pool_header",
    about: "The object allocator gave a block out or took one back: each pool of blocks begins with its count.",
    judge: |evidence| {
        let block = evidence.block.as_ref().filter(|block| block.by == Allocator::Pool && block.is_header)?;
        let _ = block;
        Some(Verdict::new("allocator").name("pool header"))
    },
};

/// The first word of a block that holds no object: the link to the next free one, made or about to be overwritten.
pub(super) const LINK: Rule = Rule {
    id: "free_block",
    about: "A free block of the object allocator was linked to others, or used again.",
    judge: link,
};

fn link(evidence: &Evidence<'_>) -> Option<Verdict> {
    let block = evidence.block.as_ref()?;
    if block.by != Allocator::Pool || block.is_header || block.object.is_some() {
        return None;
    }
    block.is_linked.then(|| Verdict {
        of: evidence.type_in_register.clone(),
        ..Verdict::new("allocator").action("used again").likely()
    })
}
