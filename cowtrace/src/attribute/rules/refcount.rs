//! An object's reference count.
//!
//! `PyObject` begins with the count, then the type:
//! <https://github.com/python/cpython/blob/v3.11.7/Include/object.h#L105>. Builds without the lock count in two places:
//! <https://github.com/python/cpython/blob/v3.13.0/Include/object.h#L124>.

use super::{Rule, Verdict};
use crate::attribute::Evidence;
use crate::symbolize::instruction::{Form, Store};

/// More references than this, nothing has: the word is something else.
const MOST: u64 = 1 << 24;
/// Bits of the lock that are never set, in the word of a head that holds _padding (u16, not initialized), ob_mutex (u8), ob_gc_bits
/// (u8) and ob_ref_local (u32).
const NO_MARKS: u64 = 0xfc_0000;
/// Distance from an object to its type in builds with the lock.
const WITH_LOCK: u64 = 8;
/// … and in those without.
const NO_LOCK: u64 = 24;

/// The word behind the written one points to a type, and the written one held a count.
pub(super) const RULE: Rule = Rule {
    id: "refcount",
    about: "A reference to an object was taken or dropped: its count lies in the object itself.",
    judge,
};

fn judge(evidence: &Evidence<'_>) -> Option<Verdict> {
    if evidence.type_distance != WITH_LOCK || !evidence.address.is_multiple_of(8) {
        return None;
    }
    let count = evidence.word(0)?;
    let of = evidence.type_at(8)?;
    // A count of 0, or a link of a free list, is a new object in a slot that held another.
    if !(1..MOST).contains(&count) {
        return None;
    }
    Some(count_written(&of.name, count, evidence.store))
}

/// A write to the count of an object. Two words at once, or a constant, make a new object.
pub(super) fn count_written(of: &str, count: u64, store: Option<Store>) -> Verdict {
    let verdict = Verdict::new("refcount").of(of);
    let Some(store) = store else { return verdict };
    match store.form {
        Form::Add => verdict.action("incref"),
        Form::Subtract => verdict.action("decref"),
        Form::Vector | Form::Constant(1) => Verdict::new("allocator").of(of).action("new object").likely(),
        Form::Register(Some(value)) => {
            let before = if store.size == 4 { count & 0xffff_ffff } else { count };
            verdict.action(if value > before { "incref" } else { "decref" })
        }
        _ => verdict,
    }
}

/// Without the lock: the owning thread's count, or the one that other threads share.
pub(super) const WITHOUT_LOCK: Rule = Rule {
    id: "refcount_without_lock",
    about: "A reference to an object was taken or dropped, or the collector marked it: both lie in the object itself.",
    judge: without_lock,
};

fn without_lock(evidence: &Evidence<'_>) -> Option<Verdict> {
    if evidence.type_distance != NO_LOCK {
        return None;
    }
    // ob_tid 0, ob_flags 8, ob_mutex 10, ob_gc_bits 11, ob_ref_local 12, ob_ref_shared 16, ob_type 24
    let word = evidence.address & !7;
    [16, 8, 24].into_iter().find_map(|to_type| {
        let of = evidence.type_at(to_type)?;
        // What looks like a head in an array of pointers to types is none.
        if evidence.word(to_type.wrapping_sub(16)).is_none_or(|marks| marks & NO_MARKS != 0) {
            return None;
        }
        let at = evidence.address - word + (NO_LOCK - to_type);
        match at {
            11 => Some(Verdict::new("gc_header").of(&of.name)),
            12 | 16 => Some(Verdict::new("refcount").of(&of.name)),
            10 => Some(Verdict::new("object_body").of(&of.name).name("lock")),
            0 => Some(Verdict::new("refcount").of(&of.name).likely()),
            _ => None,
        }
    })
}
