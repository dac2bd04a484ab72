//! What was written: one rule a kind, each a small pure function over the evidence.
//!
//! The rules are asked in the order of [`RULES`], the more specific structure first: an entry of a known dict before an
//! object's header, a header before the region it lies in. The first that answers wins; there are no ties.

mod dict_entry;
mod gc_header;
mod kernel_copy;
mod refcount;
mod region;

use crate::record::schema::{Confidence, Write};

use super::Evidence;

/// One kind of write.
#[derive(Debug)]
pub struct Rule {
    /// `write.kind`.
    pub kind: &'static str,
    /// What it is, a sentence for a person.
    pub about: &'static str,
    /// Looks at the evidence; `None` = not this kind.
    pub judge: fn(&Evidence<'_>) -> Option<Verdict>,
}

/// A rule's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Type of the object.
    pub of: Option<String>,
    /// Which one.
    pub name: Option<String>,
    /// Whether something else could look the same.
    pub likely: bool,
}

/// Every rule, in the order in which they are asked.
pub static RULES: &[Rule] = &[
    kernel_copy::RULE,
    dict_entry::RULE,
    refcount::RULE,
    gc_header::RULE,
    region::C_STACK,
    region::LIBRARY_DATA,
];

/// Answers what was written.
#[must_use]
pub fn judge(evidence: &Evidence<'_>) -> Write {
    for rule in RULES {
        if let Some(verdict) = (rule.judge)(evidence) {
            return Write {
                kind: rule.kind,
                of: verdict.of,
                name: verdict.name,
                confidence: if verdict.likely { Confidence::Likely } else { Confidence::Certain },
                reason: None,
            };
        }
    }
    Write {
        kind: "unknown",
        of: None,
        name: None,
        confidence: Confidence::None,
        reason: Some(reason(evidence).to_owned()),
    }
}

/// Why no rule answered.
fn reason(evidence: &Evidence<'_>) -> &'static str {
    if evidence.image.is_none() {
        return evidence.no_stack.unwrap_or(if evidence.stack.is_none() {
            "no interpreter: the data of native code is not told apart"
        } else {
            "the memory around the address could not be read"
        });
    }
    match evidence.region_kind {
        "heap" | "anonymous" => {
            "neither an object's header nor an entry of sys.modules: no rule for what else lies here"
        }
        "unknown" => "the mapping that holds the address is not known",
        _ => "no rule for this kind of memory",
    }
}

#[cfg(test)]
mod tests;
