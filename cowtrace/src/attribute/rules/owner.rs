//! Memory that an object owns outside itself. The owner's address was in a register of the writing instruction, and its
//! memory says that it owns what was written.

use super::{Rule, Verdict, allocator, dict, object};
use crate::attribute::Evidence;
use crate::interp::{Part, Place};

/// An owner was found.
pub(super) const RULE: Rule = Rule {
    id: "owner",
    about: "A list's item, a dict's entry, an instance's attribute or a buffer's byte was stored.",
    judge,
};

/// Starts of the names of instructions that store to what something owns.
static STORES: &[&str] = &["STORE_", "LIST_", "DICT_", "SET_", "MAP_", "BUILD_"];

fn judge(evidence: &Evidence<'_>) -> Option<Verdict> {
    let owner = evidence.owner.as_ref().filter(|owner| owner.address != 0)?;
    // The first word of memory that its owner gives back becomes a link; that of a table in use is a number.
    let stores = evidence.op().is_some_and(|op| STORES.iter().any(|start| op.starts_with(start)));
    let is_number = owner.part == Part::Dict(Place::Header(0));
    if (!stores || is_number) && allocator::is_link(evidence) {
        return None;
    }
    let stored = || evidence.stored_name.clone();
    Some(match owner.part {
        Part::Item => Verdict::new("list_item").of(&owner.of),
        Part::Dict(place) => {
            let verdict = dict::table(evidence, owner, place);
            Verdict { likely: verdict.likely || is_number, ..verdict }
        }
        Part::Attribute(place) => {
            let verdict = Verdict::new("attribute").of(&owner.of);
            Verdict { name: place.and_then(|place| dict::key(evidence, place)).or_else(stored), ..verdict }
        }
        Part::Values => Verdict { name: stored(), ..Verdict::new("attribute") },
        Part::Type(offset) => object::type_part(&owner.of, offset),
        Part::Body if matches!(evidence.op(), Some("STORE_ATTR" | "DELETE_ATTR")) => {
            Verdict { name: stored(), ..Verdict::new("attribute").of(&owner.of) }
        }
        Part::Body | Part::SetEntry => Verdict::new("object_body").of(&owner.of),
        Part::Buffer => Verdict::new("buffer").of(&owner.of),
    })
}
