//! What was written: small pure functions over the evidence, one table.
//!
//! The rules are asked in the order of [`RULES`]: what is exact by its address first (a system call, an entry of a table
//! whose place is known, a structure of the interpreter), then what the memory around the address shows, then the
//! allocator's block and what lies in it, then the instruction, last the name of the function. The first that answers
//! wins; there are no ties.

mod allocator;
mod buffer;
mod dict;
mod function;
mod gc_header;
mod heap;
mod kernel_copy;
mod library;
mod malloc;
mod object;
mod owner;
mod refcount;
mod stack;
mod structure;

use crate::record::schema::{Confidence, WRITE_KINDS, Write};

use super::Evidence;

/// One way to recognise a kind of write.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub id: &'static str,
    /// What it looks at, a sentence for a person.
    pub about: &'static str,
    /// Looks at the evidence; `None` = cannot tell.
    pub judge: fn(&Evidence<'_>) -> Option<Verdict>,
}

/// A rule's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// `write.kind`.
    pub kind: &'static str,
    /// Type of the object.
    pub of: Option<String>,
    /// Which one.
    pub name: Option<String>,
    /// What was done to it.
    pub action: Option<&'static str>,
    /// Whether something else could look the same.
    pub likely: bool,
}

impl Verdict {
    fn new(kind: &'static str) -> Self {
        debug_assert!(WRITE_KINDS.contains(&kind), "{kind} is in no list");
        Self { kind, ..Self::default() }
    }

    fn of(self, of: &str) -> Self {
        Self { of: Some(of.to_owned()), ..self }
    }

    fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    fn action(self, action: &'static str) -> Self {
        Self { action: Some(action), ..self }
    }

    fn likely(self) -> Self {
        Self { likely: true, ..self }
    }
}

/// Every rule, in the order in which they are asked.
pub static RULES: &[Rule] = &[
    kernel_copy::RULE,
    dict::SYS_MODULES,
    structure::RULE,
    stack::RULE,
    refcount::RULE,
    gc_header::RULE,
    refcount::WITHOUT_LOCK,
    allocator::HEADER,
    object::RULE,
    malloc::HEADER,
    owner::RULE,
    dict::TABLE,
    library::VARIABLE,
    library::LOADER,
    heap::STACK,
    heap::ALLOCATOR,
    heap::CHUNK,
    heap::THREAD,
    object::FRESH,
    object::MADE,
    allocator::LINK,
    allocator::ARENAS,
    malloc::LINKS,
    buffer::RULE,
    buffer::BYTE,
    malloc::BOOKKEEPING,
    object::ATTRIBUTE,
    function::RULE,
    function::APPENDED,
    heap::DATA,
    library::FILE,
];

/// Answers what was written.
#[must_use]
pub fn judge(evidence: &Evidence<'_>) -> Write {
    for rule in RULES {
        if let Some(verdict) = (rule.judge)(evidence) {
            return Write {
                kind: verdict.kind,
                of: verdict.of,
                name: verdict.name,
                action: verdict.action,
                confidence: if verdict.likely { Confidence::Likely } else { Confidence::Certain },
                reason: None,
            };
        }
    }
    Write {
        kind: "unknown",
        of: None,
        name: None,
        action: None,
        confidence: Confidence::None,
        reason: Some(reason(evidence).to_owned()),
    }
}

/// Why no rule answered.
fn reason<'a>(evidence: &Evidence<'a>) -> &'a str {
    if evidence.image.is_none() {
        return evidence.no_stack.unwrap_or(if evidence.stack.is_none() {
            "no interpreter, and neither the memory nor the instruction tells what it was"
        } else {
            "the memory around the address could not be read"
        });
    }
    match (evidence.region_kind, &evidence.block) {
        ("unknown", _) => "the mapping that holds the address is not known",
        ("heap" | "anonymous", Some(block)) if block.by == super::Allocator::Pool => {
            "a block of the object allocator that holds no object, of which no owner was found"
        }
        ("heap" | "anonymous", Some(_)) => {
            "a block of malloc's that holds no object, of which no owner was found"
        }
        ("heap" | "anonymous", None) => "memory of which neither the allocator nor the owner was found",
        _ => "no rule for this kind of memory",
    }
}

#[cfg(test)]
mod tests;
