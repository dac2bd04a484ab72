//! Names of classes.

use super::layout::Layout;
use super::symbols;

use crate::interp::Found;
use crate::memory::Memory;

/// Flags of a class that is an object's own, and of no use as a name.
/// <https://github.com/ruby/ruby/blob/v3_1_2/include/ruby/internal/fl_type.h#L410>
const SINGLETON: u64 = 1 << 12;
const INCLUDED: u64 = 0x1c;
/// Classes that are gone through to find one with a name, and variables of it.
const MOST_CLASSES: usize = 8;
const MOST_VARIABLES: u64 = 64;
/// Bytes of a table's entry: hash, key, value.
const ENTRY: u64 = 24;

impl Layout {
    /// Address of a class's extension.
    pub(super) fn extension(&self, memory: &dyn Memory, class: u64) -> Option<u64> {
        let at = class.checked_add(self.class_extension)?;
        if self.class_extension_inside { Some(at) } else { memory.u64(at).ok() }
    }
}

/// The name of a class, or of the nearest above it that has one; `None` = it is no class, or has none.
pub(super) fn name(layout: &Layout, found: &Found, memory: &dyn Memory, class: u64) -> Option<String> {
    let mut class = class;
    for _ in 0..MOST_CLASSES {
        let flags = memory.u64(class).ok()?;
        if !matches!(flags & symbols::TYPE, 2 | 3 | INCLUDED) {
            return None;
        }
        let hidden = flags & SINGLETON != 0 || flags & symbols::TYPE == INCLUDED;
        if !hidden && let Some(name) = own_name(layout, found, memory, class) {
            return Some(name);
        }
        class = memory.u64(class.checked_add(16)?).ok()?;
    }
    None
}

/// The name that a class has itself, or as the value of a hidden variable.
fn own_name(layout: &Layout, found: &Found, memory: &dyn Memory, class: u64) -> Option<String> {
    let extension = layout.extension(memory, class)?;
    if let Some(at) = layout.class_name {
        return symbols::text(layout, memory, memory.u64(extension.checked_add(at)?).ok()?);
    }
    let table =
        memory.u64(extension.checked_add(layout.class_variables)?).ok().filter(|table| *table != 0)?;
    let bound = memory.u64(table.checked_add(40)?).ok()?;
    let entries = memory.u64(table.checked_add(48)?).ok()?;
    (0..bound.min(MOST_VARIABLES)).find_map(|index| {
        let entry = entries.checked_add(index * ENTRY)?;
        let key = memory.u64(entry.checked_add(8)?).ok()?;
        let is_name = symbols::name(layout, found, memory, key)
            .is_some_and(|key| layout.class_path.contains(&key.as_str()));
        is_name.then(|| symbols::text(layout, memory, memory.u64(entry.checked_add(16)?).ok()?)).flatten()
    })
}
