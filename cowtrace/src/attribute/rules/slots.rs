//! Memory of an interpreter that keeps its objects in a heap of slots, and marks them: Ruby's.

use super::{Rule, Verdict};
use crate::attribute::{Evidence, Slotted};
use crate::interp::heap::{HeapPlace, ObjectPart};
use crate::symbolize::instruction::Form;

/// Bits of an object's flags, with what has happened when one of them changes.
/// <https://github.com/ruby/ruby/blob/v3_1_2/include/ruby/internal/fl_type.h#L196>
static FLAGS: &[(u64, &str)] = &[
    (3 << 5, "age"),
    (1 << 7, "finalizer"),
    (1 << 9, "object id"),
    (1 << 10, "instance variables elsewhere"),
    (1 << 11, "frozen"),
    // Instance variables that it has: <https://github.com/ruby/ruby/blob/v3_3_8/shape.h#L31>
    (u64::MAX << 32, "shape"),
];
/// … its type.
const TYPE: u64 = 0x1f;

/// Everything that is known of it by its address.
pub(super) const RULE: Rule = Rule {
    id: "slots",
    about: "Memory of an interpreter that marks its objects was written: a slot of its heap, the marks of a page of it, what an \
            object owns, or what instructions remember.",
    judge: |evidence| {
        let verdict = match evidence.slotted.as_ref()? {
            Slotted::Heap { place, class } => place_in_heap(evidence, place, class.as_deref()),
            Slotted::Record("page record") => Verdict::new("allocator").name("page record"),
            Slotted::Record(part) => Verdict::new("gc_mark_bits").name(*part),
            Slotted::Own(kind, name) => Verdict::new(kind).name(*name),
            Slotted::Cache(part) => Verdict::new("bytecode").name(*part),
            Slotted::Owned(kind, of) => Verdict { of: of.clone(), ..Verdict::new(kind) },
        };
        Some(verdict)
    },
};

fn place_in_heap(evidence: &Evidence<'_>, place: &HeapPlace, class: Option<&str>) -> Verdict {
    match *place {
        HeapPlace::Page => Verdict::new("allocator").name("heap page"),
        HeapPlace::Free(_) if evidence.collecting => Verdict::new("allocator").action("freed slot"),
        HeapPlace::Free(_) => {
            Verdict { of: class.map(str::to_owned), ..Verdict::new("allocator").action("new object") }
        }
        HeapPlace::Object { of, internal, part, .. } => {
            let name = class.unwrap_or(of);
            match part {
                ObjectPart::Flags(old) => flags(evidence, old, name),
                // A slot that is given back is linked to the next free one by its second word.
                ObjectPart::Class if evidence.collecting => {
                    Verdict::new("allocator").of(name).action("freed slot").likely()
                }
                ObjectPart::Class => Verdict::new("object_body").of(name),
                ObjectPart::Body => body(of, internal).of(name),
            }
        }
    }
}

/// What is done to an object's flags.
fn flags(evidence: &Evidence<'_>, old: u64, name: &str) -> Verdict {
    let new = match evidence.store.map(|store| store.form) {
        Some(Form::Register(Some(value))) if evidence.store.is_some_and(|store| store.size == 8) => {
            Some(value)
        }
        Some(Form::Constant(0)) => Some(0),
        _ => None,
    };
    let Some(new) = new else { return Verdict::new("object_flags").of(name) };
    if new & TYPE == 0 {
        return Verdict::new("allocator").of(name).action("freed slot");
    }
    if new & TYPE != old & TYPE {
        return Verdict::new("allocator").of(name).action("new object");
    }
    let changed = FLAGS.iter().find(|(bits, _)| (old ^ new) & bits != 0);
    let verdict = Verdict::new("object_flags").of(name);
    changed.map_or(verdict.clone(), |(_, what)| verdict.name(*what))
}

/// What lies in an object itself.
fn body(of: &str, internal: bool) -> Verdict {
    Verdict::new(match of {
        "environment" | "special variables" | "throw data" if internal => "interpreter_frame",
        "call cache" | "constant cache" | "call info" | "instruction sequence" if internal => "bytecode",
        "method entry" if internal => "type_cache",
        _ if internal => "object_body",
        "Object" | "Struct" => "attribute",
        "Array" => "list_item",
        "Hash" => "dict_entry",
        "String" => "buffer",
        _ => "object_body",
    })
}

/// Starts of the names of Ruby's functions that write to one kind of thing, with the kind and the object's type.
static FUNCTIONS: &[(&str, &str, Option<&str>)] = &[
    ("rb_st_", "dict_entry", Some("internal table")),
    ("rb_id_table_", "type_cache", None),
    ("rb_method_entry_", "type_cache", None),
    ("rb_node_", "object_body", Some("syntax tree")),
    ("rb_ary_", "list_item", Some("Array")),
    ("rb_str_", "buffer", Some("String")),
    ("rb_hash_", "dict_entry", Some("Hash")),
    ("rb_ractor_local_storage_", "interpreter_state", None),
];

/// Memory of which no owner was found, by the function that writes to it.
pub(super) const FUNCTION: Rule = Rule {
    id: "slots_function",
    about: "What the writing function of Ruby is known to write to, outside of the heap of objects.",
    judge: |evidence| {
        let is_ruby = evidence.in_interpreter && evidence.type_distance == 0;
        let symbol = evidence.symbol.filter(|_| is_ruby)?;
        let (_, kind, of) = FUNCTIONS.iter().find(|(start, ..)| symbol.starts_with(start))?;
        Some(Verdict { of: of.map(str::to_owned), ..Verdict::new(kind) }.likely())
    },
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::Types;
    use crate::symbolize::instruction::Store;

    fn said(slotted: Slotted, collecting: bool, store: Option<u64>) -> (&'static str, Option<String>) {
        let types = Types::default();
        let form = store.map(|value| Form::Register(Some(value)));
        let evidence = Evidence {
            slotted: Some(slotted),
            collecting,
            store: form.map(|form| Store { size: 8, form, offset: Some(0), on_stack: false }),
            ..Evidence::of_nothing(0x1000, &types)
        };
        let verdict = (RULE.judge)(&evidence).unwrap();
        (verdict.kind, verdict.name.or(verdict.action.map(str::to_owned)))
    }

    fn object(of: &'static str, internal: bool, part: ObjectPart) -> Slotted {
        Slotted::Heap { place: HeapPlace::Object { of, class: 0, internal, part }, class: None }
    }

    #[test]
    fn flags_tell_what_was_done() {
        let old = object("String", false, ObjectPart::Flags(0x2025));
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(said(old.clone(), false, Some(0x2825)), ("object_flags", name("frozen")));
        assert_eq!(said(old.clone(), true, Some(0x2045)), ("object_flags", name("age")));
        assert_eq!(said(old.clone(), true, Some(0)), ("allocator", name("freed slot")));
        assert_eq!(said(old.clone(), false, Some(0x2225)), ("object_flags", name("object id")));
        assert_eq!(said(old, true, None), ("object_flags", None));
    }

    #[test]
    fn places() {
        let free = Slotted::Heap { place: HeapPlace::Free(0), class: None };
        assert_eq!(said(free.clone(), false, None), ("allocator", Some("new object".to_owned())));
        assert_eq!(said(free, true, None), ("allocator", Some("freed slot".to_owned())));
        assert_eq!(said(Slotted::Record("mark bits"), true, None).0, "gc_mark_bits");
        assert_eq!(said(Slotted::Record("page record"), true, None).0, "allocator");
        assert_eq!(said(object("Object", false, ObjectPart::Body), false, None).0, "attribute");
        assert_eq!(said(object("call cache", true, ObjectPart::Body), false, None).0, "bytecode");
        assert_eq!(said(Slotted::Owned("buffer", None), false, None).0, "buffer");
    }
}
