//! An object's reference count.
//!
//! `PyObject` begins with the count, then the type:
//! <https://github.com/python/cpython/blob/v3.11.7/Include/object.h#L105>.

use super::{Rule, Verdict};
use crate::attribute::Evidence;

/// More references than this, nothing has: the word is something else.
const MOST: u64 = 1 << 40;

/// The word behind the written one points to a type, and the written one held a count.
pub(super) const RULE: Rule = Rule {
    kind: "refcount",
    about: "A reference to an object was taken or dropped: its count lies in the object itself.",
    judge,
};

fn judge(evidence: &Evidence<'_>) -> Option<Verdict> {
    if !evidence.address.is_multiple_of(8) {
        return None;
    }
    let count = evidence.word(0)?;
    let of = evidence.type_at(8)?;
    // A count of 0, or a link of a free list, is a new object in a slot that held another.
    (1..MOST).contains(&count).then(|| Verdict { of: Some(of.name.clone()), ..Verdict::default() })
}
