//! The C stack: of the main thread by its mapping, of others by the stack pointer.

use super::{Rule, Verdict};
use crate::attribute::Evidence;

/// The address lies in a stack.
pub(super) const RULE: Rule = Rule { id: "c_stack", about: "A native function used its stack.", judge };

fn judge(evidence: &Evidence<'_>) -> Option<Verdict> {
    (evidence.region_kind == "stack" || evidence.near_stack).then(|| Verdict::new("c_stack"))
}
