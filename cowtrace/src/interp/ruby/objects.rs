//! What objects own outside their slots: characters, items, entries, instance variables, and what classes remember.

use std::ops::Range;

use super::layout::Layout;
use super::symbols::TYPE;
use crate::interp::heap::Parts;
use crate::memory::Memory;

/// Flags of strings and arrays: what they own lies elsewhere, or in the object itself; and is shared.
/// <https://github.com/ruby/ruby/blob/v3_1_2/include/ruby/internal/core/rstring.h#L135>
const ELSEWHERE: u64 = 1 << 13;
const SHARED: u64 = 1 << 14;
/// The flag of hashes with a table; others have a few pairs.
/// <https://github.com/ruby/ruby/blob/v3_1_2/internal/hash.h#L25>
const HAS_TABLE: u64 = 1 << 15;
/// Bytes of those pairs.
const PAIRS: u64 = 128;
/// Objects of the interpreter's own, of kinds of their own.
/// <https://github.com/ruby/ruby/blob/v3_1_2/internal/imemo.h#L33>
const INTERNAL: u64 = 0x1a;
const INTERNAL_SHIFT: u64 = 12;
const INTERNAL_KINDS: u64 = 15;
/// Bytes of an entry of a table, of a table itself, of an item of a table of methods.
const ENTRY: u64 = 24;
const TABLE: u64 = 56;
const METHOD: u64 = 16;
/// Data objects say so if their data lies in the object: where those without a type have a function's address.
/// <https://github.com/ruby/ruby/blob/v3_3_8/include/ruby/internal/core/rtypeddata.h#L117>
const INSIDE: u64 = 3;
/// Bytes that data, and variables of which only the shape knows the number, have at least.
const LEAST_DATA: u64 = 8;
/// Bytes that an object is believed to own.
const MOST: u64 = 1 << 40;

/// Parts of what an object owns; `None` = it is none, or owns nothing.
pub(super) fn parts(layout: &Layout, memory: &dyn Memory, object: u64) -> Option<Parts> {
    let mut words = [0; 40];
    memory.read(object, &mut words).ok()?;
    let word = |at: usize| words.as_chunks().0.get(at).map(|word| u64::from_le_bytes(*word));
    let [flags, second, third, fourth] = [word(0)?, word(2)?, word(3)?, word(4)?];
    let part = |start: u64, len: u64, kind: &'static str| {
        (start >= 0x1_0000 && len != 0 && len < MOST).then(|| (start..start.saturating_add(len), kind))
    };
    let one = |found: Option<(Range<u64>, &'static str)>| Some(found.into_iter().collect());
    match flags & TYPE {
        // With the zero at its end.
        5 if flags & ELSEWHERE != 0 => {
            let capacity = if flags & SHARED == 0 { fourth } else { second };
            one(part(third, capacity.max(second).saturating_add(1), "buffer"))
        }
        7 if flags & ELSEWHERE == 0 => {
            let capacity = if flags & SHARED == 0 { third } else { second };
            one(part(fourth, capacity.max(second).checked_mul(8)?, "list_item"))
        }
        8 => match (layout.hash_inside, flags & HAS_TABLE) {
            (None, 0) => one(part(second, PAIRS, "dict_entry")),
            (None, _) => table(memory, second),
            (Some(_), 0) => None,
            (Some(at), _) => table(memory, object.checked_add(at)?),
        },
        1 if flags & ELSEWHERE == 0 && layout.shapes => one(part(second, LEAST_DATA, "attribute")),
        1 if flags & ELSEWHERE == 0 => {
            one(part(third, (second & u64::from(u32::MAX)).checked_mul(8)?, "attribute"))
        }
        9 if flags & layout.struct_members == 0 => one(part(third, second.checked_mul(8)?, "attribute")),
        2 | 3 | 0x1c => class(layout, memory, object),
        0x0b => one(part(
            memory.u64(object.checked_add(layout.file_state)?).ok()?,
            layout.file_state_size,
            "object_body",
        )),
        // It lies in the object.
        0x0c if third == INSIDE => None,
        // How long it is only its type knows: it fills its block.
        0x0c => one(part(memory.u64(object.checked_add(layout.data)?).ok()?, LEAST_DATA, "object_body")),
        // A closure's variables, in front of which the environment's own words lie; a method's definition.
        INTERNAL => match flags >> INTERNAL_SHIFT & INTERNAL_KINDS {
            0 => one(part(third, (fourth & u64::from(u32::MAX)) * 8, "interpreter_frame")),
            6 => one(part(second, layout.definition_size, "type_cache")),
            _ => None,
        },
        _ => None,
    }
}

/// A hash's table, its entries and its index.
fn table(memory: &dyn Memory, table: u64) -> Option<Parts> {
    let mut words = [0; TABLE as usize];
    memory.read(table, &mut words).ok()?;
    let word = |at: usize| words.as_chunks().0.get(at).map(|word| u64::from_le_bytes(*word));
    let [entry_power, bin_power, size, ..] = words;
    let (bins, entries) = (word(3)?, word(6)?);
    let count = 1_u64.checked_shl(entry_power.into())?;
    // The logarithm of the bytes of an index.
    let width = 1_u64.checked_shl(size.into())?;
    let bins_len = 1_u64.checked_shl(bin_power.into())?.checked_mul(width)?;
    let entries_len = count.checked_mul(ENTRY)?;
    let mut parts = vec![(table..table.checked_add(TABLE)?, "dict_entry")];
    if entries != 0 && entries_len < MOST {
        parts.push((entries..entries.checked_add(entries_len)?, "dict_entry"));
    }
    if bins != 0 && bins_len < MOST {
        parts.push((bins..bins.checked_add(bins_len)?, "dict_entry"));
    }
    Some(parts)
}

/// A class's extension, and the tables of methods that it remembers.
fn class(layout: &Layout, memory: &dyn Memory, object: u64) -> Option<Parts> {
    let extension = layout.extension(memory, object)?;
    let mut parts = vec![(extension..extension.checked_add(layout.class_extension_size)?, "object_body")];
    for at in layout.class_caches {
        let table = memory.u64(extension.checked_add(at)?).ok()?;
        if table == 0 {
            continue;
        }
        let capacity: u64 = memory.u32(table).ok()?.into();
        let items = memory.u64(table.checked_add(16)?).ok()?;
        parts.push((table..table.checked_add(24)?, "type_cache"));
        parts.push((items..items.checked_add(capacity * METHOD)?, "type_cache"));
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp::ruby::layout::{self, RUBY_3_1};
    use crate::memory::Fixture;

    fn owned(words: [u64; 5]) -> Parts {
        owned_in(&RUBY_3_1, words)
    }

    fn owned_in(layout: &Layout, words: [u64; 5]) -> Parts {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let memory = Fixture::default().with(0x10_0000, bytes);
        parts(layout, &memory, 0x10_0000).unwrap_or_default()
    }

    #[test]
    fn strings_arrays_and_objects() {
        let at = |len: u64, kind| vec![(0x20_0000..0x20_0000 + len, kind)];
        assert_eq!(owned([0x2005, 1, 100, 0x20_0000, 128]), at(129, "buffer"));
        assert_eq!(owned([0x6005, 1, 100, 0x20_0000, 0x30_0000]), at(101, "buffer"), "shared");
        assert_eq!(owned([0x0005, 1, 0x20_0000, 0x20_0000, 0x20_0000]), [], "in the object");
        assert_eq!(owned([0x0007, 1, 3, 16, 0x20_0000]), at(128, "list_item"));
        assert_eq!(owned([0x2007, 1, 0x20_0000, 0x20_0000, 0x20_0000]), [], "in the object");
        assert_eq!(owned([0x0001, 1, 5, 0x20_0000, 0]), at(40, "attribute"));
        assert_eq!(owned([0x0007, 1, 3, u64::MAX, 0x20_0000]), [], "nobody owns so much");
        assert_eq!(owned([0, 1, 2, 3, 4]), []);
    }

    /// A hash's pairs lie in it, an object's shape knows how many variables it has, and data may lie in its object.
    #[test]
    fn objects_of_ruby_3_3() {
        let layout = layout::of_version([3, 3, 8]).unwrap();
        let at = |len: u64, kind| vec![(0x20_0000..0x20_0000 + len, kind)];
        assert_eq!(owned_in(layout, [0x0001, 1, 0x20_0000, 0, 0]), at(8, "attribute"));
        assert_eq!(owned_in(layout, [0x2001, 1, 0x20_0000, 0, 0]), [], "in the object");
        assert_eq!(owned_in(layout, [0x0008, 1, 0x20_0000, 0x20_0000, 0x20_0000]), []);
        assert_eq!(owned([0x0008, 1, 0x20_0000, 0, 0]), at(PAIRS, "dict_entry"));
        assert_eq!(owned_in(layout, [0x0009, 1, 2, 0x20_0000, 0]), at(16, "attribute"));
        assert_eq!(owned_in(layout, [0x8009, 1, 2, 0x20_0000, 0]), [], "four members");
        assert_eq!(owned_in(layout, [0x000c, 1, 0x30_0000, 1, 0x20_0000]), at(8, "object_body"));
        assert_eq!(owned_in(layout, [0x000c, 1, 0x30_0000, 3, 0x20_0000]), []);
    }
}
