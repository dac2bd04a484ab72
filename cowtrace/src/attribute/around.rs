//! What memory and the instruction tell of one write: the parts of [`super::Evidence`] that have to be looked for.

use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use cowtrace_ebpf::event::{self as raw, flag};
use cowtrace_ebpf::plan::walker;

use super::code::Symbol;
use super::places::{self, At, Query};
use super::stack::KnownStack;
use super::{Attributor, Block, Heap, Owner, Slotted, Structure, allocators};
use crate::arch;
use crate::process::maps::{Kind, Mapping};
use crate::process::tree::Mapped;
use crate::symbolize::instruction::{self, Form, Store};
use crate::symbolize::native::StaticData;

/// Variables that are remembered at most.
const MOST_DATA: usize = 1 << 18;

/// What memory and the instruction tell of one write.
#[derive(Default)]
pub(super) struct Around {
    pub(super) type_distance: u64,
    pub(super) store: Option<Store>,
    pub(super) block: Option<Block>,
    pub(super) pool: Range<u64>,
    pub(super) owner: Option<Owner>,
    pub(super) structure: Option<Structure>,
    pub(super) slotted: Option<Slotted>,
    pub(super) data: Option<Arc<StaticData>>,
    pub(super) heap: Option<Heap>,
    pub(super) near_stack: bool,
    pub(super) type_in_register: Option<String>,
    pub(super) stores_type: bool,
}

impl Attributor {
    /// What memory and the instruction tell.
    pub(super) fn around(
        &mut self,
        fault: &raw::Fault,
        process: usize,
        mapping: Option<&Mapping>,
        symbol: Option<&Symbol>,
        stack: Option<&KnownStack>,
    ) -> Around {
        let image = self.tree.get(process).image;
        let detail = fault.flags & flag::DETAIL != 0;
        let in_user = fault.flags & flag::KERNEL_MODE == 0;
        let registers = (detail && in_user).then_some(&fault.detail.registers);
        let code = symbol.filter(|_| in_user).and_then(|symbol| symbol.code);
        let op = stack.and_then(|stack| stack.frames.first()?.shown.op).unwrap_or_default();
        let calls = op.starts_with("CALL") || op == "PRECALL";
        let mut around = Around {
            // Of other machines' instructions nothing is known.
            store: code
                .filter(|_| arch::knows().stores)
                .and_then(|code| instruction::decode(&code, registers)),
            ..Around::default()
        };
        if let Some(found) = self.names.interpreter_of(image).map(Arc::clone) {
            let relatives = if detail { self.relatives(process) } else { Vec::new() };
            let at = At {
                fault,
                process,
                image,
                mapping,
                relatives: &relatives,
                kept: self.places.kept(image),
                unchanged: OnceCell::new(),
            };
            let query = Query { at, found: &found, may_store_attribute: calls || op.ends_with("_ATTR") };
            if found.plan.walker == walker::STACKED {
                self.slots(&query, &mut around);
                return around;
            }
            around.type_distance = found.plan.object_type.into();
            let block = self.places.block(&query, &mut self.names);
            let object = block.as_ref().and_then(|block| block.object.as_ref()).filter(|object| object.alive);
            let alive = object.is_some();
            // Since 3.15 a bytearray keeps its bytes in an object.
            if object.is_none_or(|object| object.of.name == "bytes") {
                around.owner = self.places.owner(&query, block.as_ref(), around.store, &mut self.names);
            }
            around.structure = places::structure(&query, block.as_ref(), &self.names);
            // Without a frame the thread's chunk of frames may be given back, and something else in its place.
            if stack.is_none() && around.structure == Some(Structure::Frames) {
                around.structure = None;
            }
            around.near_stack = places::near_stack(&query);
            let stored = around.store.and_then(|store| match store.form {
                Form::Register(value) => value,
                // Programs with fixed addresses have those of their types in their instructions.
                Form::Constant(value) => u64::try_from(value).ok(),
                _ => None,
            });
            if let Some(value) = stored {
                self.names.learn_type(image, value, &found, &relatives);
            }
            if block.is_some() && !alive {
                around.stores_type =
                    stored.is_some_and(|value| self.names.types().contains_key(&(image, value)));
                around.type_in_register = places::type_in_register(&query, stored, &self.names);
                if around.type_in_register.is_none() && calls {
                    around.type_in_register = places::type_in_frame(&query, &mut self.names);
                }
            }
            if fault.detail.pool != 0 {
                let size = 1_u64.checked_shl(found.plan.pool_shift.into()).unwrap_or(0);
                around.pool = fault.detail.pool..fault.detail.pool.saturating_add(size);
            }
            around.block = block;
        } else if mapping.is_some_and(|mapping| matches!(mapping.kind, Kind::Anonymous | Kind::Heap)) {
            around.heap = Some(self.heap(fault, process, mapping));
        }
        if around.block.is_none() {
            around.data = self.data(fault.address, process, mapping);
        }
        around
    }

    /// What memory tells of a process without interpreter.
    fn heap(&mut self, fault: &raw::Fault, process: usize, mapping: Option<&Mapping>) -> Heap {
        let image = self.tree.get(process).image;
        let allocator = self.allocator(process, fault.address);
        let relatives = self.relatives(process);
        let at = At {
            fault,
            process,
            image,
            mapping,
            relatives: &relatives,
            kept: None,
            unchanged: OnceCell::new(),
        };
        Heap { allocator: allocator.map(str::to_owned), chunk: self.places.heap_chunk(&at) }
    }

    /// The allocator that the program has loaded.
    fn allocator(&mut self, process: usize, address: u64) -> Option<&'static str> {
        let image = self.tree.get(process).image;
        if let Some(known) = self.allocators.get(&image) {
            return *known;
        }
        let Mapped { maps, .. } = self.tree.maps_at(process, address)?;
        let found = maps.iter().find_map(|mapping| allocators::of_file(mapping.file_name()?));
        self.allocators.insert(image, found);
        found
    }

    /// The variable of a program or library.
    pub(super) fn data(
        &mut self,
        address: u64,
        process: usize,
        mapping: Option<&Mapping>,
    ) -> Option<Arc<StaticData>> {
        let key = (self.tree.get(process).image, address);
        if let Some(known) = self.data.get(&key) {
            return known.clone();
        }
        mapping.filter(|mapping| matches!(mapping.kind, Kind::File | Kind::Anonymous | Kind::Heap))?;
        let Mapped { maps, .. } = self.tree.maps_at(process, address)?;
        let pid = self.tree.witness(process);
        let data = self.native.data(pid, &maps, address).map(Arc::new);
        if self.data.len() >= MOST_DATA {
            self.data.clear();
        }
        self.data.insert(key, data.clone());
        data
    }
}
