//! A part of an object whose start and type are known from its block.

use cowtrace_ebpf::event::IMAGE_BEFORE;

use super::refcount::count_written;
use super::{Rule, Verdict};
use crate::attribute::{Evidence, KnownType, Object};
use crate::interp::Part;

/// Bytes of an object's count and type.
const HEAD: u64 = 16;
/// Bytes of the collector's head, before the object.
const GC_HEAD: u64 = 16;
/// `Py_TPFLAGS_DICT_SUBCLASS`.
const DICT: u64 = 1 << 29;

/// `tp_flags` and `tp_version_tag` of a type; behind the latter, what lookups and the specializer remember.
/// <https://github.com/python/cpython/blob/v3.11.7/Include/cpython/object.h#L148>
const TYPE_FLAGS: u64 = 168;
const TYPE_VERSION: u64 = 384;
/// `tp_watched` and `tp_versions_used`: behind what every type has.
/// <https://github.com/python/cpython/blob/v3.13.0/Include/cpython/object.h#L226>
const TYPE_END: u64 = 408;
/// `ht_cached_keys` of a class and what follows it; between the two lie its tables of slots and its names.
/// <https://github.com/python/cpython/blob/v3.12.1/Include/cpython/object.h#L243>
const CLASS_CACHES: u64 = 880;

/// A live object.
pub(super) const RULE: Rule = Rule {
    id: "object",
    about: "A part of an object was written: its allocator's block tells where it begins, its head of which type it is.",
    judge: |evidence| {
        let block = evidence.block.as_ref()?;
        let object = block.object.as_ref().filter(|object| object.alive)?;
        let verdict = part(evidence, object)?;
        Some(Verdict { likely: verdict.likely || block.late, ..verdict })
    },
};

/// What is written to a live object.
fn part(evidence: &Evidence<'_>, object: &Object) -> Option<Verdict> {
    let of = &object.of;
    let Some(offset) = evidence.address.checked_sub(object.address) else {
        let before = object.address - evidence.address;
        return Some(if before <= GC_HEAD {
            Verdict::new("gc_header").of(&of.name)
        } else {
            // In front of the collector's head: the instance's dict or values, its weak references.
            attribute(evidence, of).unwrap_or_else(|| Verdict::new("object_body").of(&of.name))
        });
    };
    if offset < 8 {
        return Some(count_written(&of.name, evidence.word(0).unwrap_or(0), evidence.store));
    }
    if offset < HEAD {
        // Its class was changed, which nothing but `__class__ =` does, or it is made anew.
        return Some(Verdict::new("allocator").of(&of.name).action("new object").likely());
    }
    let body = |kind| Some(Verdict::new(kind).of(&of.name));
    match of.name.as_str() {
        // Nothing of a type is a single byte, but a set of bits that few programs use.
        _ if of.is_meta() && evidence.store.is_some_and(|store| store.size == 1) => None,
        _ if of.is_meta() => Some(type_part(&of.name, offset)),
        "frame" | "generator" | "coroutine" | "async_generator" => body("interpreter_frame"),
        "code" => body("bytecode"),
        "bytes" if offset >= 32 => {
            let owner = evidence.owner.as_ref().filter(|owner| owner.part == Part::Buffer);
            Some(Verdict::new("buffer").of(owner.map_or(&of.name, |owner| &owner.of)))
        }
        // ma_used, or ma_keys: an entry came or went, or the table was replaced.
        _ if of.flags & DICT != 0 => {
            let verdict = Verdict::new(if offset < 32 { "dict_entry" } else { "dict_resize" }).of(&of.name);
            let is_modules = object.address == evidence.modules;
            Some(if is_modules { verdict.name("sys.modules") } else { verdict })
        }
        _ => attribute(evidence, of).or_else(|| body("object_body")),
    }
}

/// What is written to a type.
pub(super) fn type_part(of: &str, offset: u64) -> Verdict {
    let cache = matches!(offset, TYPE_FLAGS..176 | TYPE_VERSION..392 | TYPE_END..416 | CLASS_CACHES..);
    Verdict::new(if cache { "type_cache" } else { "object_body" }).of(of)
}

/// A store to an attribute of an instance of a class.
fn attribute(evidence: &Evidence<'_>, of: &KnownType) -> Option<Verdict> {
    let stores = matches!(evidence.op(), Some("STORE_ATTR" | "DELETE_ATTR"));
    (of.is_heap_type() && stores)
        .then(|| Verdict { name: evidence.stored_name.clone(), ..Verdict::new("attribute").of(&of.name) })
}

/// Bytes before the address that are known as they were.
const SEEN: u64 = IMAGE_BEFORE;

/// The memory of an object that is no more: a new one is made in its place.
pub(super) const FRESH: Rule = Rule {
    id: "fresh_object",
    about: "A new object was made in memory that had held another.",
    judge: |evidence| {
        let block = evidence.block.as_ref()?;
        let object = block.object.as_ref().filter(|object| !object.alive)?;
        // What was read later may have been alive, but for the words around the address.
        if block.late && evidence.address.wrapping_sub(block.address) > SEEN {
            return None;
        }
        if matches!(object.of.name.as_str(), "frame" | "generator" | "coroutine")
            && evidence.address >= object.address
        {
            return Some(Verdict::new("interpreter_frame").of(&object.of.name).likely());
        }
        let of = evidence.type_in_register.clone();
        Some(Verdict { of, ..Verdict::new("allocator").action("new object") })
    },
};

/// A block of `malloc`'s that holds no object is made one: its type is stored.
pub(super) const MADE: Rule = Rule {
    id: "made_object",
    about: "A new object was made in memory that had held something else.",
    judge: |evidence| {
        let block = evidence.block.as_ref().filter(|block| !block.is_header && block.object.is_none())?;
        // What lies before the block is not near its start.
        let near = evidence.address.wrapping_sub(block.address) < 64;
        (near && evidence.stores_type && !evidence.in_libc()).then(|| Verdict {
            of: evidence.type_in_register.clone(),
            ..Verdict::new("allocator").action("new object")
        })
    },
};

/// An instance's values lie in a block of their own up to 3.12; the instruction tells what it stores.
pub(super) const ATTRIBUTE: Rule = Rule {
    id: "attribute_values",
    about: "An attribute of an instance was stored in the array that holds the values of its attributes.",
    judge: |evidence| {
        let block = evidence.block.as_ref()?;
        let stores = matches!(evidence.op(), Some("STORE_ATTR" | "DELETE_ATTR"));
        (!block.is_header && block.object.is_none() && stores && evidence.in_interpreter)
            .then(|| Verdict { name: evidence.stored_name.clone(), ..Verdict::new("attribute") }.likely())
    },
};
