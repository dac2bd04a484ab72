//! What objects own outside themselves: the items of lists, the tables of dicts, the bytes of byte arrays. Offsets count
//! from the end of the object's header (count and type), which differs between builds; behind it they have been the
//! same since 3.8.
//!
//! * list: <https://github.com/python/cpython/blob/v3.11.7/Include/cpython/listobject.h#L5>
//! * dict: <https://github.com/python/cpython/blob/v3.11.7/Include/cpython/dictobject.h#L11>
//! * bytearray: <https://github.com/python/cpython/blob/v3.11.7/Include/cpython/bytearrayobject.h#L6>
//! * set: <https://github.com/python/cpython/blob/v3.11.7/Include/cpython/setobject.h#L36>
//! * module: <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_moduleobject.h#L14>
//! * array.array: <https://github.com/python/cpython/blob/v3.11.7/Modules/arraymodule.c#L45>

use std::ops::Range;

use cowtrace_ebpf::plan::Plan;

use super::dict::HEADER;
use super::layout::Layout;
use super::strings;
use crate::interp::{Owned, Place, Slot, TypeOf};
use crate::memory::Memory;

/// `Py_TPFLAGS_LIST_SUBCLASS`.
const LIST: u64 = 1 << 25;
/// `Py_TPFLAGS_DICT_SUBCLASS`.
const DICT: u64 = 1 << 29;

/// Kinds of tables: only strings as keys; the same, and the values elsewhere.
/// <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_dict.h#L59>
const STRINGS: u8 = 1;
const SPLIT: u8 = 2;

/// Keys that the instances of a class share at most.
/// <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_dict.h#L146>
const MOST_SHARED: u64 = 30;

/// Slots of the smallest table: <https://github.com/python/cpython/blob/v3.11.7/Objects/dictobject.c#L113>.
const LEAST_SLOTS: u64 = 8;

/// Words behind an object's header that are looked at.
const WORDS: usize = 6;
/// Largest buffer that is believed.
const MOST_BYTES: u64 = 1 << 40;
/// Largest item of an array.
const MOST_ITEM: u32 = 16;

/// What an object owns outside itself; `None` = nothing that is known of its type, or it could not be read.
pub(super) fn owned(
    layout: &Layout,
    plan: &Plan,
    memory: &dyn Memory,
    object: u64,
    of: TypeOf<'_>,
) -> Option<Owned> {
    let Some(kind) = Kind::of(of.name, of.flags) else {
        return layout.attributes.of_instance(memory, object, of);
    };
    let body = object.checked_add(u64::from(plan.object_type) + 8)?;
    let mut words = [0; WORDS];
    for (at, word) in (0..).zip(&mut words) {
        *word = memory.u64(body.checked_add(at * 8)?).ok()?;
    }
    match kind {
        // ob_size, ob_item, allocated
        Kind::List => range(words[1], words[2].checked_mul(8)?).map(Owned::Items),
        // ob_size, ob_alloc, ob_bytes
        Kind::Bytearray => range(words[2], words[1]).map(Owned::Buffer),
        // ob_size, ob_item, allocated, ob_descr: type code and size (int) of an item
        Kind::Array => {
            let size = memory.u32(words[3].checked_add(4)?).ok().filter(|size| *size <= MOST_ITEM)?;
            range(words[1], words[2].checked_mul(size.into())?).map(Owned::Buffer)
        }
        // fill, used, mask, table
        Kind::Set => range(words[3], words[2].checked_add(1)?.checked_mul(16)?).map(Owned::Set),
        // ma_used, ma_version_tag, ma_keys, ma_values
        Kind::Dict => {
            let values = words[3];
            let mut header = [0; HEADER];
            let table = memory.read(words[2], &mut header).ok();
            let table = table.and_then(|()| layout.dict.parse(words[2], &header));
            let table = table.filter(|table| table.slots >= LEAST_SLOTS);
            Some(Owned::Dict { table, values })
        }
        // md_dict
        Kind::Module => Some(Owned::Module { dict: words[0] }),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    List,
    Dict,
    Bytearray,
    Set,
    Array,
    Module,
}

impl Kind {
    fn of(name: &str, flags: u64) -> Option<Self> {
        match name {
            _ if flags & LIST != 0 => Some(Self::List),
            _ if flags & DICT != 0 => Some(Self::Dict),
            "list" => Some(Self::List),
            "dict" => Some(Self::Dict),
            "bytearray" => Some(Self::Bytearray),
            "set" | "frozenset" => Some(Self::Set),
            "array" => Some(Self::Array),
            "module" => Some(Self::Module),
            _ => None,
        }
    }
}

fn range(start: u64, len: u64) -> Option<Range<u64>> {
    (start != 0 && len <= MOST_BYTES).then_some(())?;
    Some(start..start.checked_add(len)?)
}

/// Names that instructions store to, by number: more of them and the number needs a prefix that is not looked at.
const MOST_NAMES: u64 = 256;

/// What an instruction of a code object stores to by name.
pub(super) fn stored_name(
    layout: &Layout,
    plan: &Plan,
    memory: &dyn Memory,
    string_type: u64,
    code: u64,
    unit: u16,
) -> Option<String> {
    let [number, argument] = unit.to_le_bytes();
    let stores = ["STORE_ATTR", "DELETE_ATTR", "STORE_NAME", "DELETE_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"];
    if !stores.contains(&layout.opcodes[usize::from(number)]) {
        return None;
    }
    let names = memory.u64(code.checked_add(plan.code_names.into())?).ok()?;
    let len = memory.u64(names.checked_add(plan.object_size.into())?).ok()?;
    if len > MOST_NAMES || u64::from(argument) >= len {
        return None;
    }
    let item = names.checked_add(u64::from(plan.tuple_items) + u64::from(argument) * 8)?;
    strings::read(layout.string_state, plan, memory, string_type, memory.u64(item).ok()?)
}

/// Entries that a module's namespace begins with: `__name__`, `__doc__`, `__package__`, `__loader__`, `__spec__`.
/// <https://github.com/python/cpython/blob/v3.11.7/Objects/moduleobject.c#L67>
const FIRST_ENTRIES: u64 = 5;

/// The name of the module whose namespace has its table here: no other dict begins as a module's does.
pub(super) fn namespace(
    layout: &Layout,
    plan: &Plan,
    memory: &dyn Memory,
    string_type: u64,
    keys: u64,
) -> Option<String> {
    let mut header = [0; HEADER];
    memory.read(keys, &mut header).ok()?;
    let table = layout.dict.parse(keys, &header)?;
    let text = |at: u64| strings::read(layout.string_state, plan, memory, string_type, memory.u64(at).ok()?);
    let is = |index: u64, name: &str| table.key_address(index).and_then(text).is_some_and(|key| key == name);
    let begins = is(0, "__name__") && is(FIRST_ENTRIES - 1, "__spec__");
    begins.then(|| text(table.value_address(0)?))?
}

/// The part of a dict's table that an address lies in, if a table begins at `block`: told by its header alone.
pub(super) fn table_part(
    layout: &Layout,
    block: u64,
    header: &[u8; HEADER],
    size: u64,
    address: u64,
) -> Option<Place> {
    // A table that is shared by the instances of a class has keys alone, in entries of the same form.
    let mut header = *header;
    let mut shared = false;
    // A table has at least one user.
    if header.first_chunk::<8>().is_none_or(|users| *users == [0; 8]) {
        return None;
    }
    if let Some(kind) = header.get_mut(usize::from(layout.dict.kind)).filter(|kind| **kind == SPLIT) {
        *kind = STRINGS;
        shared = true;
    }
    let table =
        layout.dict.parse(block, &header).filter(|table| table.slots >= LEAST_SLOTS).filter(|table| {
            table.is_full_size()
                || shared && table.entries.end - table.entries.start <= MOST_SHARED * table.entry_size
        })?;
    (table.entries.end.checked_sub(block)? <= size).then_some(())?;
    match table.find(address)? {
        Place::Entry { slot: Slot::Hash, .. } if table.entry_size == 16 => None,
        place => Some(place),
    }
}
