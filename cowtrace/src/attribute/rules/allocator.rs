//! The interpreter's object allocator: headers of its pools, links between free blocks.
//!
//! <https://github.com/python/cpython/blob/v3.11.7/Objects/obmalloc.c#L780>

use super::{Rule, Verdict};
use crate::attribute::{Allocator, Evidence};
use crate::symbolize::instruction::{Form, Store};

/// Above this a number is no object's size.
const SMALL: u64 = 1 << 32;

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

/// Largest arena: 1 MiB, 256 KiB until 3.9, 2 MiB with huge pages.
const ARENA: u64 = 2 << 20;
/// The smallest pool, to which every one and every arena is aligned: the interpreter's own constant, whatever the machine's
/// pages are.
const POOL: u64 = 4096;
/// Most pools of an arena.
const POOLS: u64 = 128;

/// An entry of the array of arenas: address 0, next pool 8, free pools and all pools (u32) 16, list of free pools 24, next
/// and previous arena 32.
pub(super) const ARENAS: Rule = Rule {
    id: "arenas",
    about: "The object allocator took a pool from an arena, or gave one back.",
    judge: |evidence| {
        let at = evidence.address % 8;
        let is_arena = |offset: u64| {
            let word = |place: u64| evidence.word(place.wrapping_sub(offset));
            let (address, pool, pools) = (word(0)?, word(8)?, word(16)?);
            let (free, all) = (pools & 0xffff_ffff, pools >> 32);
            let sound = address != 0 && address.is_multiple_of(POOL) && pool.is_multiple_of(POOL);
            (sound && pool.wrapping_sub(address) <= ARENA && (1..=POOLS).contains(&all) && free <= all)
                .then_some(())
        };
        // The word that is written: the next pool, the counts, the list.
        let found = (at == 0 && is_arena(8).is_some())
            || is_arena(16).is_some()
            || (at == 0 && is_arena(24).is_some());
        found.then(|| Verdict::new("allocator").name("arena").likely())
    },
};

/// The first word of a block that holds no object: the link to the next free one, made or about to be overwritten.
pub(super) const LINK: Rule = Rule {
    id: "free_block",
    about: "A free block of the object allocator was linked to others, or used again.",
    judge: link,
};

fn link(evidence: &Evidence<'_>) -> Option<Verdict> {
    let block = evidence.block.as_ref().filter(|block| block.by == Allocator::Pool && !block.is_header)?;
    if block.object.is_some() {
        return None;
    }
    if is_link(evidence) {
        return Some(Verdict::new("allocator").action("freed"));
    }
    if evidence.address == block.address && stored(evidence) == Some(0) {
        return Some(Verdict::new("allocator").action("freed").likely());
    }
    // A free block that begins with a link, or is the last one; or the memory of an object without references, kept by
    // its type: nothing else begins with 0 and is then made an object.
    let made = evidence.type_in_register.is_some() || block.head[0] == 0 && makes_object(evidence.store);
    (block.is_linked || block.head[0] == 0 && made).then(|| Verdict {
        of: evidence.type_in_register.clone(),
        ..Verdict::new("allocator").action("new object").likely()
    })
}

/// Whether the address of another block of the same pool is stored as a block's first word: a block that is given back gets
/// the next free one of its pool, or none.
pub(super) fn is_link(evidence: &Evidence<'_>) -> bool {
    let block = evidence.block.as_ref().filter(|block| block.by == Allocator::Pool && !block.is_header);
    block.is_some_and(|block| evidence.address == block.address)
        && stored(evidence).is_some_and(|value| value != 0 && evidence.is_same_pool(value))
}

/// The word that is stored.
fn stored(evidence: &Evidence<'_>) -> Option<u64> {
    match evidence.store {
        Some(Store { size: 8, form: Form::Register(value), .. }) => value,
        _ => None,
    }
}

/// Stores of a constant, of two words at once, or of a small number: what initializes an object.
fn makes_object(store: Option<Store>) -> bool {
    store.is_some_and(|store| match store.form {
        Form::Constant(_) | Form::Vector => true,
        Form::Register(value) => value.is_some_and(|value| value < SMALL),
        _ => false,
    })
}
