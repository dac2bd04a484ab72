//! Tables of dicts: of `sys.modules`, whose place is known from the fork, and any that begins a block.

use super::{Rule, Verdict};
use crate::attribute::{Evidence, Owner};
use crate::interp::{Part, Place, Slot};

/// The address lies in the index or in an entry of the table of `sys.modules` in use, as was checked at the fault.
pub(super) const SYS_MODULES: Rule = Rule {
    id: "sys_modules",
    about: "An entry of sys.modules was stored, replaced or removed.",
    judge: sys_modules,
};

fn sys_modules(evidence: &Evidence<'_>) -> Option<Verdict> {
    let entry = evidence.module_entry.as_ref()?;
    let name =
        entry.key.as_deref().map_or_else(|| "sys.modules".to_owned(), |key| format!("sys.modules['{key}']"));
    let verdict = Verdict::new("dict_entry").of("dict").name(name);
    Some(Verdict { likely: !entry.existing, ..verdict })
}

/// A block that begins with a table's header, which holds together, in a part that the header says is used for that.
pub(super) const TABLE: Rule = Rule {
    id: "dict_table",
    about: "A table of a dict was written; whose dict it is was not found.",
    judge: |evidence| {
        let owner = evidence.owner.as_ref().filter(|owner| owner.address == 0)?;
        let Part::Dict(place) = owner.part else { return None };
        // A key, a value, a number of the header is a word or half of one.
        if evidence.store.is_some_and(|store| store.size < 4) && place != Place::Index {
            return None;
        }
        Some(table(evidence, owner, place).likely())
    },
};

/// Where a table has its version.
const VERSION: u64 = 12;

/// What a write to a part of a table is.
///
/// The version of a table, at 12 of its header since 3.11, is given by the specializer of bytecode, and taken away when a key
/// is added. <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_dict.h#L96>
pub(super) fn table(evidence: &Evidence<'_>, owner: &Owner, place: Place) -> Verdict {
    if place == Place::Header(VERSION) && evidence.store.is_some_and(|store| store.size == 4) {
        return Verdict::new("bytecode").of(&owner.of).name("version of a dict's table").likely();
    }
    let verdict = Verdict::new("dict_entry").of(&owner.of);
    let key = key(evidence, place);
    match (&owner.module, key, &owner.key_type) {
        (Some(module), Some(key), _) => verdict.name(format!("{module}.{key}")),
        (Some(module), None, _) => verdict.name(format!("{module}.__dict__")),
        (None, Some(key), _) => verdict.name(format!("['{key}']")),
        (None, None, Some(of)) => verdict.name(format!("a key of type {of}")),
        (None, None, None) => verdict,
    }
}

/// The key of the entry: as the kernel program read it beside the value, else as the instruction names it.
pub(super) fn key(evidence: &Evidence<'_>, place: Place) -> Option<String> {
    let image = evidence.image?;
    let kept = &image.key[..(image.key_len as usize).min(image.key.len())];
    match place {
        Place::Entry { slot: Slot::Value, .. } if !kept.is_empty() => {
            Some(String::from_utf8_lossy(kept).into_owned())
        }
        Place::Entry { .. } | Place::NewEntry { .. } | Place::Index => evidence.stored_name.clone(),
        Place::Header(_) => None,
    }
}
