//! An entry of `sys.modules`: its table's place is known from the fork, and was checked at the fault.

use super::{Rule, Verdict};
use crate::attribute::Evidence;

/// The address lies in the index or in an entry of the table in use.
pub(super) const RULE: Rule =
    Rule { kind: "dict_entry", about: "An entry of a dict was stored, replaced or removed.", judge };

fn judge(evidence: &Evidence<'_>) -> Option<Verdict> {
    let entry = evidence.module_entry.as_ref()?;
    let name =
        entry.key.as_deref().map_or_else(|| "sys.modules".to_owned(), |key| format!("sys.modules['{key}']"));
    Some(Verdict { of: Some("dict".to_owned()), name: Some(name), likely: !entry.existing })
}
