//! The cyclic garbage collector's head of an object: two words before it.
//!
//! `_gc_next` at −16, `_gc_prev` at −8; a collection stores each object's reference count in the latter first:
//! <https://github.com/python/cpython/blob/v3.11.7/Modules/gcmodule.c#L416>.

use super::{Rule, Verdict};
use crate::attribute::Evidence;

/// A type whose objects have a head lies where the object's type would, counted from the written word.
pub(super) const RULE: Rule = Rule {
    id: "gc_header",
    about: "The garbage collector's links before an object were written: by a collection, or as an object beside it in \
            the collector's list came or went.",
    judge,
};

fn judge(evidence: &Evidence<'_>) -> Option<Verdict> {
    if evidence.type_distance != 8 || !evidence.address.is_multiple_of(8) {
        return None;
    }
    // `_gc_prev`, then `_gc_next`. Without a head the word would be the end of the object before.
    let (of, count) = [16, 24].into_iter().find_map(|offset| {
        Some((evidence.type_at(offset).filter(|of| of.has_gc_head())?, evidence.word(offset - 8)?))
    })?;
    // An object without references is one that is being made in memory that is used again.
    (count != 0).then(|| Verdict::new("gc_header").of(&of.name))
}
