//! The kernel wrote into the program's memory for a system call.

use super::{Rule, Verdict};
use crate::attribute::Evidence;

/// The fault was raised in kernel mode: nothing else writes there.
pub(super) const RULE: Rule = Rule {
    kind: "kernel_copy",
    about: "The kernel stored a system call's result in the program's memory.",
    judge,
};

fn judge(evidence: &Evidence<'_>) -> Option<Verdict> {
    evidence.kernel_mode.then(|| Verdict { name: evidence.syscall.clone(), ..Verdict::default() })
}
