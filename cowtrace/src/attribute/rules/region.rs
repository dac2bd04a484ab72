//! Writes that the region alone decides.

use super::{Rule, Verdict};
use crate::attribute::Evidence;

/// The main thread's stack; those of other threads are anonymous memory and are not told apart here.
pub(super) const C_STACK: Rule = Rule {
    kind: "c_stack",
    about: "A native function used its stack.",
    judge: |evidence| (evidence.region_kind == "stack").then(Verdict::default),
};

/// A private mapping of a file: data of a program or library.
pub(super) const LIBRARY_DATA: Rule = Rule {
    kind: "library_data",
    about: "Data of a program or library was written: variables, or addresses that the loader fills in.",
    judge: |evidence: &Evidence<'_>| (evidence.region_kind == "file").then(Verdict::default),
};
