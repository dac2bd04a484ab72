//! What a write is of an interpreter that keeps its objects in a heap of slots: a place in that heap, in the records of its
//! pages, in what the interpreter keeps for itself, or in what an object owns.

use std::collections::HashMap;
use std::rc::Rc;

use cowtrace_ebpf::event::flag;

use super::around::Around;
use super::places::{self, At, Query};
use super::{Attributor, Block, Slotted, Structure};
use crate::interp::Found;
use crate::interp::heap::{HeapPlace, ObjectPart, Own, Records};
use crate::memory::{Live, Memory};
use crate::symbolize::instruction::{Form, Store};

/// What was found in memory at an image's forks.
#[derive(Default)]
pub(super) struct Slots {
    records: HashMap<u64, Records>,
    own: HashMap<(u64, u64), Vec<Own>>,
}

/// Threads whose states are remembered.
const MOST_STATES: usize = 1 << 14;

impl Slots {
    /// Looks at the memory of a process that forks: it may be gone when its children's faults are attributed.
    pub(super) fn survey(&mut self, image: u64, found: &Found, memory: &Live) {
        if let Some(records) = found.language.heap_records(found, memory) {
            self.records.insert(image, records);
        }
    }

    fn own(&mut self, query: &Query<'_>) -> &[Own] {
        if self.own.len() >= MOST_STATES {
            self.own.clear();
        }
        let state = query.at.fault.state;
        let find = || {
            let own = |memory: &Rc<Live>| query.found.language.own_structures(query.found, &**memory, state);
            query.at.relatives.iter().find_map(own)
        };
        let key = (query.at.image, state);
        // Asked again until there is somebody to ask.
        if !self.own.contains_key(&key)
            && let Some(own) = find()
        {
            self.own.insert(key, own);
        }
        self.own.get(&key).map_or(&[], Vec::as_slice)
    }

    fn in_heap(&self, image: u64, address: u64) -> bool {
        self.records.get(&image).is_none_or(|records| records.heap.contains(&address))
    }
}

impl Attributor {
    /// What the write is.
    pub(super) fn slots(&mut self, query: &Query<'_>, around: &mut Around) {
        let fault = query.at.fault;
        around.near_stack = places::near_stack(query);
        if fault.flags & flag::FRAME_CHUNK != 0 {
            around.structure = Some(Structure::Frames);
            return;
        }
        around.slotted = self.slotted(query, around.store);
        if around.slotted.is_some() || around.near_stack {
            return;
        }
        around.block = self.places.block(query, &mut self.names);
        if around.block.as_ref().is_none_or(|block| !block.is_header) {
            around.slotted = self.owned(query, around.block.as_ref());
        }
        if around.slotted.is_none() {
            around.slotted = of_code(query);
        }
        if around.slotted.is_none() && around.block.is_none() {
            let is_transient = |memory| query.found.language.is_transient(memory, fault.address);
            around.slotted =
                query.at.memories().any(is_transient).then_some(Slotted::Own("allocator", "transient heap"));
        }
        if around.block.is_none() && around.slotted.is_none() {
            around.data = self.data(fault.address, query.at.process, query.at.mapping);
        }
    }

    fn slotted(&mut self, query: &Query<'_>, store: Option<Store>) -> Option<Slotted> {
        let At { fault, image, .. } = query.at;
        let found = query.found;
        if let Some(place) = found.language.heap_place(&fault.detail, fault.address) {
            let class = match place {
                HeapPlace::Object { class, .. } => self.names.class(image, class, found, query.at.relatives),
                HeapPlace::Free(_) => self.made(query, store),
                HeapPlace::Page => None,
            };
            return Some(Slotted::Heap { place, class });
        }
        if let Some(offset) = self.slots.records.get(&image).and_then(|records| records.offset(fault.address))
        {
            return Some(Slotted::Record(found.language.record_place(offset)));
        }
        if self.slots.records.get(&image).is_some_and(|records| records.is_mark_stack(fault.address)) {
            return Some(Slotted::Own("interpreter_state", "stack of the collector"));
        }
        let own = self.slots.own(query).iter().find(|own| own.range.contains(&fault.address));
        if let Some(own) = own {
            return Some(Slotted::Own(own.kind, own.name));
        }
        self.names.cache(image, fault.address).map(Slotted::Cache)
    }

    /// What is made in a free slot: by the flags that are stored, else by what is there a moment later.
    fn made(&mut self, query: &Query<'_>, store: Option<Store>) -> Option<String> {
        let At { fault, image, .. } = query.at;
        let found = query.found;
        let mut detail = fault.detail;
        let stored = match store.map(|store| store.form) {
            Some(Form::Register(Some(value))) if fault.address == detail.block => Some(value),
            _ => None,
        };
        let now = |at: u64| {
            let own = query.at.relatives.first()?;
            own.u64(detail.block.checked_add(at)?).ok()
        };
        let (flags, class) = (stored.or_else(|| now(0))?, now(8).unwrap_or_default());
        detail.head[0] = flags;
        detail.head[1] = class;
        match found.language.heap_place(&detail, detail.block)? {
            HeapPlace::Object { of, class, part: ObjectPart::Flags(_), .. } => {
                let name = self.names.class(image, class, found, query.at.relatives);
                Some(name.unwrap_or_else(|| of.to_owned()))
            }
            _ => None,
        }
    }

    /// An object that owns the memory: it is in a register, or among the variables and operands of the innermost frame.
    fn owned(&mut self, query: &Query<'_>, block: Option<&Block>) -> Option<Slotted> {
        let At { fault, image, .. } = query.at;
        let found = query.found;
        let mut seen = Vec::new();
        for object in query.in_registers().chain(query.in_frame()) {
            if seen.contains(&object) || !self.slots.in_heap(image, object) {
                continue;
            }
            seen.push(object);
            for memory in query.at.memories() {
                if let Some(offset) = found.language.offset_in_record(memory, object, fault.address) {
                    return Some(Slotted::Record(found.language.record_place(offset)));
                }
                let class = memory.u64(object.saturating_add(8)).unwrap_or_default();
                if let Some(kind) = part(found, memory, object, fault.address, block) {
                    let name = self.names.class(image, class, found, query.at.relatives);
                    return Some(Slotted::Owned(kind, name));
                }
                // What its class remembers of its methods.
                if !seen.contains(&class) && self.slots.in_heap(image, class) {
                    seen.push(class);
                    if let Some(kind) = part(found, memory, class, fault.address, None) {
                        return Some(Slotted::Owned(kind, None));
                    }
                }
            }
        }
        None
    }
}

/// A part of what belongs to a code object in a register: the collector clears what instructions of any of them remember.
fn of_code(query: &Query<'_>) -> Option<Slotted> {
    let address = query.at.fault.address;
    let part = |code| {
        let of = |memory| query.found.language.caches_of(memory, code);
        let parts = query.at.memories().map(of).find(|parts| !parts.is_empty())?;
        parts.into_iter().find(|(range, _)| range.contains(&address))
    };
    query.in_registers().find_map(part).map(|(_, what)| Slotted::Cache(what))
}

/// Kind of a write to the part of what an object owns that an address lies in, or that begins the block that holds it.
fn part(
    found: &Found,
    memory: &dyn Memory,
    object: u64,
    address: u64,
    block: Option<&Block>,
) -> Option<&'static str> {
    let begins = |start: u64| block.is_some_and(|block| block.address == start && block.contains(address));
    let parts = found.language.parts(memory, object);
    parts.into_iter().find(|(range, _)| range.contains(&address) || begins(range.start)).map(|(_, kind)| kind)
}
