//! Names: string objects, and the table that has the name of each number.

use cowtrace_ebpf::plan::UNUSED;

use crate::interp::Found;
use crate::memory::Memory;

use super::layout::Layout;

/// Longest name that is read.
const MOST_NAME: u64 = 128;
/// Numbers that one array of the table has; of each a name and a symbol.
/// <https://github.com/ruby/ruby/blob/v3_1_2/symbol.c#L68>
const UNIT: u64 = 512;
const IN_UNIT: u64 = 2;
/// Bits of a number that tell the scope of a name.
const SCOPE_BITS: u64 = 4;
/// Low bits of an object's flags: its type.
pub(super) const TYPE: u64 = 0x1f;
pub(super) const STRING: u64 = 5;
pub(super) const ARRAY: u64 = 7;

/// Text of a string's length and first bytes.
pub(super) fn decode(length: u32, bytes: &[u8]) -> Option<String> {
    if length == cowtrace_ebpf::event::UNREADABLE {
        return None;
    }
    let whole = usize::try_from(length).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..whole.min(bytes.len()))?).into_owned();
    if whole <= bytes.len() {
        return Some(text);
    }
    Some(format!("{}…", text.trim_end_matches(char::REPLACEMENT_CHARACTER)))
}

/// The string object at an address.
pub(super) fn text(layout: &Layout, memory: &dyn Memory, object: u64) -> Option<String> {
    let plan = &layout.plan;
    let flags = memory.u64(object).ok().filter(|flags| flags & TYPE == STRING)?;
    let length = memory.u64(object.checked_add(plan.string_length.into())?).ok()?;
    let (data, length) = if flags >> plan.ruby.string_elsewhere_bit & 1 != 0 {
        (memory.u64(object.checked_add(plan.ruby.string_pointer.into())?).ok()?, length)
    } else if plan.ruby.string_length_bit == UNUSED {
        (object.checked_add(plan.string_ascii.into())?, length)
    } else {
        (object.checked_add(plan.string_ascii.into())?, flags >> plan.ruby.string_length_bit & 31)
    };
    let mut bytes = vec![0; usize::try_from(length.min(MOST_NAME)).ok()?];
    memory.read(data, &mut bytes).ok()?;
    decode(u32::try_from(length).ok()?, &bytes)
}

fn item(layout: &Layout, memory: &dyn Memory, array: u64, index: u64) -> Option<u64> {
    let ruby = &layout.plan.ruby;
    let flags = memory.u64(array).ok().filter(|flags| flags & TYPE == ARRAY)?;
    let items = match flags >> ruby.array_embedded_bit & 1 {
        0 => memory.u64(array.checked_add(ruby.array_pointer.into())?).ok()?,
        _ => array.checked_add(ruby.array_items.into())?,
    };
    memory.u64(items.checked_add(index.checked_mul(8)?)?).ok()
}

/// The name with a number.
pub(super) fn name(layout: &Layout, found: &Found, memory: &dyn Memory, number: u64) -> Option<String> {
    if found.symbols == 0 {
        return None;
    }
    let ruby = &layout.plan.ruby;
    let serial = if number > ruby.last_operator.into() { number >> SCOPE_BITS } else { number };
    let units = memory.u64(found.symbols.checked_add(ruby.symbols_names.into())?).ok()?;
    let unit = item(layout, memory, units, serial / UNIT)?;
    let name = item(layout, memory, unit, serial % UNIT * IN_UNIT)?;
    text(layout, memory, name)
}
