//! The kernel wrote into the program's memory for a system call.

use super::{Rule, Verdict};

/// The fault was raised in kernel mode: nothing else writes there.
pub(super) const RULE: Rule = Rule {
    id: "kernel_copy",
    about: "The kernel stored a system call's result in the program's memory.",
    judge: |evidence| {
        evidence
            .kernel_mode
            .then(|| Verdict { name: evidence.syscall.clone(), ..Verdict::new("kernel_copy") })
    },
};
