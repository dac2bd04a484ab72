//! Who owns memory outside the allocator's block of its own: the list of its items, the dict of its table, the instance of its
//! attributes. The owner's address is in a register of the writing instruction, or among the variables and operands of its
//! frame; that it owns the memory is read from the owner itself.

use std::collections::HashSet;
use std::ops::Range;

use super::{Places, Query, image_word};
use crate::attribute::block::Block;
use crate::attribute::evidence::Owner;
use crate::attribute::names::Names;
use crate::interp::{Found, Owned, Part, Place, TypeOf};
use crate::memory::{Memory as _, Window};
use crate::symbolize::instruction::Store;

/// Dicts that share a table: the instances of a class.
const MOST_USERS: u64 = 1 << 24;
/// Bytes in front of an object that may tell of it.
const BEFORE_OBJECT: u64 = 32;
/// Objects of which is remembered what they own.
const MOST_OWNED: usize = 4096;
/// Types of which is remembered what they say of their instances.
const MOST_SHAPES: usize = 1 << 16;
/// Modules of which is remembered where their namespaces are.
const MOST_NAMESPACES: usize = 4096;

/// What was among the operands of a process's instructions lately and owns nothing: names, numbers, code.
#[derive(Default)]
pub(super) struct Barren {
    objects: HashSet<u64>,
    asked: u32,
}

/// Faults of a process after which everything is looked at again: an address may have become another object's.
const ASKED_AGAIN: u32 = 64;

/// The written address, and the block that holds it.
#[derive(Clone)]
struct Written {
    address: u64,
    block: Option<Range<u64>>,
}

impl Places {
    /// Who owns what the address lies in: an object that the instruction works on, or a dict whose table begins the block.
    pub(in crate::attribute) fn owner(
        &mut self,
        query: &Query<'_>,
        block: Option<&Block>,
        store: Option<Store>,
        names: &mut Names,
    ) -> Option<Owner> {
        if !query.has_detail() || block.is_some_and(|block| block.is_header) {
            return None;
        }
        let written = Written {
            address: query.at.fault.address,
            block: block.map(|block| block.address..block.address.saturating_add(block.size)),
        };
        // The instruction has the address of a type and writes to its member.
        if let Some(offset) = store.and_then(|store| u64::try_from(store.offset?).ok())
            && let Some(address) = written.address.checked_sub(offset)
            && names.types().contains_key(&(query.at.image, address))
        {
            let part = Part::Type(offset);
            return Some(Owner { address, of: "type".to_owned(), part, module: None, key_type: None });
        }
        let mut keys = 0;
        let owner = self.owner_at_work(query, &written, names);
        // What it owns may be other memory by now.
        let owner = owner.or_else(|| self.owner_at_work(&query.of_older_memory()?, &written, names));
        let owner = owner.or_else(|| {
            let table = table(query, block).or_else(|| header(query, store?.offset?))?;
            keys = table.keys;
            Some(table.owner())
        });
        let mut owner = owner?;
        if let Part::Dict(place) | Part::Attribute(Some(place)) = owner.part {
            owner.key_type = key_type(query, place, names);
        }
        if let Part::Dict(_) = owner.part {
            owner.module = self.namespace(query, owner.address, keys);
        }
        Some(owner)
    }

    /// An owner that the instruction works on.
    fn owner_at_work(&mut self, query: &Query<'_>, written: &Written, names: &mut Names) -> Option<Owner> {
        let mut objects: Vec<u64> = Vec::new();
        let last = self.owners.get(&query.at.process).copied();
        if let Some(object) = last.filter(|_| query.goes_on())
            && let Some((of, owned)) = self.owned.get(&(query.at.image, object)).cloned()
            && let Some(owner) = self.owned_by(object, of, owned, query, written, names)
        {
            return Some(owner);
        }
        let barren = self.barren.entry(query.at.process).or_default();
        barren.asked += 1;
        if barren.asked.is_multiple_of(ASKED_AGAIN) {
            barren.objects.clear();
        }
        for object in query.in_registers().chain(query.in_frame()) {
            if !objects.contains(&object) && !barren.objects.contains(&object) {
                objects.push(object);
            }
        }
        if let Some(at) = last.and_then(|last| objects.iter().position(|object| *object == last)) {
            objects.swap(0, at);
        }
        let mut found: Option<Owner> = None;
        for object in objects {
            let Some((of, owned)) = self.possessions(object, query, names) else {
                self.barren.entry(query.at.process).or_default().objects.insert(object);
                continue;
            };
            let Some(owner) = self.owned_by(object, of, owned, query, written, names) else { continue };
            let is_instance = matches!(owner.part, Part::Attribute(_) | Part::Body);
            if found.is_none() || is_instance {
                self.owners.insert(query.at.process, object);
                found = Some(owner);
            }
            // A dict may be an instance's, which is among the operands then, too.
            let is_dict = matches!(found, Some(Owner { part: Part::Dict(_) | Part::Values, .. }));
            if is_instance || !is_dict || !query.may_store_attribute {
                break;
            }
        }
        found
    }

    fn owned_by(
        &mut self,
        object: u64,
        of: String,
        owned: Owned,
        query: &Query<'_>,
        written: &Written,
        names: &mut Names,
    ) -> Option<Owner> {
        let owner = |address, of, part| Owner { address, of, part, module: None, key_type: None };
        match owned {
            Owned::Module { dict } => self.owned_by_dict(dict, query, written, names),
            // Where its block is known, what lies in that tells more.
            Owned::Instance { body, .. } if written.block.is_none() && body.contains(&written.address) => {
                Some(owner(object, of, Part::Body))
            }
            Owned::Instance { values, dict, .. } => {
                if values != 0 && Owned::is_in_values(values, written.address, written.block.as_ref()) {
                    return Some(owner(object, of, Part::Attribute(None)));
                }
                let part = match self.owned_by_dict(dict, query, written, names)?.part {
                    Part::Dict(place) => Part::Attribute(Some(place)),
                    Part::Values => Part::Attribute(None),
                    _ => return None,
                };
                Some(owner(object, of, part))
            }
            owned => {
                let part = owned.part(written.address, written.block.as_ref())?;
                Some(owner(object, of, part))
            }
        }
    }

    fn owned_by_dict(
        &mut self,
        dict: u64,
        query: &Query<'_>,
        written: &Written,
        names: &mut Names,
    ) -> Option<Owner> {
        if dict == 0 {
            return None;
        }
        let (of, owned) = self.possessions(dict, query, names)?;
        if !matches!(owned, Owned::Dict { .. }) {
            return None;
        }
        let part = owned.part(written.address, written.block.as_ref())?;
        Some(Owner { address: dict, of, part, module: None, key_type: None })
    }

    /// Type of an object and what it owns, as its memory says, or said when it was looked at last.
    fn possessions(&mut self, object: u64, query: &Query<'_>, names: &mut Names) -> Option<(String, Owned)> {
        let Found { language, plan, .. } = query.found;
        let mut found = None;
        for memory in query.at.memories() {
            let window = Window::around(memory, object, BEFORE_OBJECT);
            let Ok(address) = window.u64(object.checked_add(plan.object_type.into())?) else { continue };
            names.learn_type(query.at.image, address, query.found, query.at.relatives);
            let of = names.types().get(&(query.at.image, address))?;
            if self.shapes.len() >= MOST_SHAPES {
                self.shapes.clear();
            }
            let shapes = self.shapes.entry((query.at.image, address));
            let shape = *shapes.or_insert_with(|| language.shape(plan, memory, address).unwrap_or_default());
            let kind = TypeOf { name: &of.name, flags: of.flags, shape };
            found = language.owned(plan, &window, object, kind).map(|owned| (of.name.clone(), owned));
            if found.is_some() {
                break;
            }
        }
        let Some(known) = found else {
            return if query.at.is_alive() {
                None
            } else {
                self.owned.get(&(query.at.image, object)).cloned()
            };
        };
        if self.owned.len() >= MOST_OWNED {
            self.owned.clear();
        }
        self.owned.insert((query.at.image, object), known.clone());
        Some(known)
    }

    /// The module whose namespace a dict is, or, if that is not known, the table at `keys`.
    fn namespace(&mut self, query: &Query<'_>, dict: u64, keys: u64) -> Option<String> {
        let Found { language, plan, string_type, .. } = query.found;
        let name = query.at.read(|memory| {
            let keys = match dict {
                0 => keys,
                dict => memory.u64(dict.checked_add(plan.dict_keys.into())?).ok()?,
            };
            language.namespace(plan, memory, *string_type, keys)
        });
        let key = (query.at.image, dict, if dict == 0 { keys } else { 0 });
        match name {
            Some(name) => {
                if self.namespaces.len() >= MOST_NAMESPACES {
                    self.namespaces.clear();
                }
                self.namespaces.insert(key, name.clone());
                Some(name)
            }
            // Its memory may be gone.
            None if !query.at.is_alive() => self.namespaces.get(&key).cloned(),
            None => None,
        }
    }
}

/// A dict's table of which no owner was found.
struct Table {
    keys: u64,
    place: Place,
}

impl Table {
    fn owner(&self) -> Owner {
        let part = Part::Dict(self.place);
        Owner { address: 0, of: "dict".to_owned(), part, module: None, key_type: None }
    }
}

/// A table that begins the block.
fn table(query: &Query<'_>, block: Option<&Block>) -> Option<Table> {
    let block = block.filter(|block| block.object.is_none() && !block.is_linked)?;
    let mut header = [0; 32];
    for (bytes, word) in header.chunks_exact_mut(8).zip(block.head) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let language = query.found.language;
    let place = language.table_part(block.address, &header, block.size, query.at.fault.address)?;
    Some(Table { keys: block.address, place })
}

/// A table whose header is written, by the instruction's distance from its start and what lies around the address.
fn header(query: &Query<'_>, offset: i64) -> Option<Table> {
    let offset = u64::try_from(offset).ok().filter(|&offset| offset < 32)?;
    let keys = query.at.fault.address.checked_sub(offset)?;
    let mut header = [0; 32];
    for (at, bytes) in (0..).zip(header.as_chunks_mut().0) {
        *bytes = image_word(&query.at.fault.image, keys.checked_add(at * 8)?)?.to_le_bytes();
    }
    let references = u64::from_le_bytes(*header.first_chunk()?);
    let place = query.found.language.table_part(keys, &header, u64::MAX, query.at.fault.address)?;
    (1..MOST_USERS).contains(&references).then_some(Table { keys, place })
}

/// Type of the key beside a value, if it is no text.
fn key_type(query: &Query<'_>, place: Place, names: &mut Names) -> Option<String> {
    let Place::Entry { .. } = place else { return None };
    if query.at.fault.image.key_len != 0 {
        return None;
    }
    let key = image_word(&query.at.fault.image, (query.at.fault.address & !7).checked_sub(8)?)?;
    let type_address =
        query.at.read(|memory| memory.u64(key.checked_add(query.found.plan.object_type.into())?).ok())?;
    names.learn_type(query.at.image, type_address, query.found, query.at.relatives);
    names.types().get(&(query.at.image, type_address)).map(|of| of.name.clone())
}
