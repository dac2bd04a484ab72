//! Faults → attributed faults: stage 8. Gathers the evidence for each write and asks two sets of questions: what was
//! written ([`rules`]), and what the workload was doing ([`operation`]).

mod allocators;
mod around;
mod block;
mod callers;
pub mod capture;
mod code;
mod collector;
mod context;
mod evidence;
mod gems;
mod keys;
pub mod library;
mod names;
pub mod operation;
mod output;
mod places;
mod requires;
pub mod rules;
mod slots;
pub mod stack;
mod types;

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;

use cowtrace_ebpf::event::{self as raw, exit_flag, flag, fork_flag};
use cowtrace_ebpf::outcome::Outcome;

pub use block::{Allocator, Block, Object};
pub use evidence::{Chunk, ChunkPart, Evidence, Heap, ModuleEntry, Owner, Phase, Slotted, Structure};
pub use output::{Amendment, Output};
pub use types::{KnownType, Types};

use crate::classify::{self, Classified};
use crate::event::Event;
use crate::interp::Found;
use crate::memory::{Live, Memories};
use crate::page;
use crate::process::maps::Mapping;
use crate::process::tree::{Mapped, Tree};
use crate::record::schema::{Confidence, Fault, Operation, Region};
use crate::symbolize::native::{Native, StaticData};
use crate::symbolize::syscalls;

use callers::Callers;
use code::Symbol;
use collector::{Collections, Writer};
use keys::{Forked, Keys};
use names::Names;
use places::Places;
use slots::Slots;

/// Attributes the faults of one tree, in the order in which the events come.
pub struct Attributor {
    /// The tree.
    pub tree: Tree,
    /// What is known by now.
    pub output: Output,
    list_all: bool,
    /// Flushes of translations are seen (see [`classify`]).
    flushes: bool,
    origin: u64,
    names: Names,
    native: Native,
    symbols: HashMap<(u64, u64), Symbol>,
    callers: Callers,
    collections: Collections,
    keys: Keys,
    places: Places,
    data: HashMap<(u64, u64), Option<Arc<StaticData>>>,
    ran: HashSet<(usize, u64)>,
    /// Processes that were seen in the block that their fork runs.
    in_block: HashSet<usize>,
    slots: Slots,
    early: HashMap<u64, Vec<usize>>,
    executables: HashMap<u64, Option<String>>,
    allocators: HashMap<u64, Option<&'static str>>,
    memories: Memories,
}

impl Attributor {
    /// Begins with a tree. `origin` is the time that the record counts from, `flushes` whether flushes of translations are
    /// seen.
    #[must_use]
    pub fn new(tree: Tree, origin: u64, list_all: bool, flushes: bool) -> Self {
        Self {
            tree,
            output: Output::default(),
            list_all,
            flushes,
            origin,
            names: Names::default(),
            native: Native::default(),
            symbols: HashMap::new(),
            callers: Callers::default(),
            collections: Collections::default(),
            keys: Keys::default(),
            places: Places::default(),
            data: HashMap::new(),
            ran: HashSet::new(),
            in_block: HashSet::new(),
            slots: Slots::default(),
            early: HashMap::new(),
            executables: HashMap::new(),
            allocators: HashMap::new(),
            memories: Memories::default(),
        }
    }

    /// An image runs this interpreter. Comes before what the interpreter's plan made the kernel program send.
    pub fn interpreter(&mut self, image: u64, found: Arc<Found>) {
        self.names.interpreter(image, found);
        // What the program did before it had an interpreter was to start it.
        let startup = Operation {
            kind: "startup",
            name: None,
            detail: None,
            chain: Vec::new(),
            confidence: Confidence::Likely,
            reason: None,
        };
        let startup = self.output.operations.intern(startup);
        for fault in self.early.remove(&image).unwrap_or_default() {
            self.output.amend(Amendment { fault, operation: startup, collection: None });
        }
    }

    /// Takes the next event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Fault(fault) => self.fault(fault),
            Event::Stack(stack) => {
                if let Some(index) = self.tree.index(stack.process) {
                    let relatives = self.relatives(index);
                    let image = self.tree.get(index).image;
                    self.names.define_stack(stack, image, &relatives, &mut self.output.python);
                }
            }
            Event::Code(code) => {
                let index = self.tree.index(code.process);
                let relatives = index.map(|index| self.relatives(index)).unwrap_or_default();
                self.names.code(code, &relatives);
            }
            Event::Type(record) => {
                let index = self.tree.index(record.process);
                let relatives = index.map(|index| self.relatives(index)).unwrap_or_default();
                let (tree, native) = (&mut self.tree, &mut self.native);
                let in_file = |address| {
                    let Mapped { maps, .. } = tree.maps_at(index?, address)?;
                    native.text(tree.witness(index?), maps.find(address)?, address)
                };
                self.names.define_type(record, &relatives, in_file);
            }
            Event::Text(text) => self.names.text(text),
            Event::Fork(fork) => {
                self.memories.forget(fork.child.pid);
                self.tree.fork(fork);
                self.module_table(fork);
                self.survey(fork);
            }
            Event::Exec(exec) => {
                self.memories.forget(exec.process.pid);
                self.tree.exec(exec);
            }
            Event::Exit(exit) => {
                if exit.flags & exit_flag::LAST != 0 {
                    self.memories.forget(exit.process.pid);
                    if let Some(index) = self.tree.index(exit.process) {
                        self.places.ended(index);
                    }
                }
                self.tree.exit(exit);
            }
            Event::Modules(modules) => self.modules_of(modules),
            // Copies are unwound before they come here.
            Event::StackCopy(_) | Event::Hint(_) | Event::Join(_) => {}
        }
    }

    /// Memories that are a process's, nearest first: its own, and those of the processes that it was forked from.
    fn relatives(&mut self, process: usize) -> Vec<Rc<Live>> {
        self.tree.living_relatives(process).into_iter().map(|pid| self.memories.of(pid)).collect()
    }

    /// Looks at the memory of a process that forks: it may be gone when its children's faults are attributed.
    fn survey(&mut self, fork: &raw::Fork) {
        let Some(parent) = self.tree.index(fork.parent) else { return };
        let process = self.tree.get(parent);
        let (image, pid) = (process.image, process.key.pid);
        let Some(found) = self.names.interpreter_of(image).map(Arc::clone) else { return };
        let memory = self.memories.of(pid);
        self.slots.survey(image, &found, &memory);
        if let Some(Mapped { maps, .. }) = self.tree.maps_at(parent, found.runtime) {
            self.places.survey(image, &memory, &maps);
        }
    }

    /// Where the entries of `sys.modules` lie when a process forks.
    fn module_table(&mut self, fork: &raw::Fork) {
        let (Some(parent), Some(child)) = (self.tree.index(fork.parent), self.tree.index(fork.child)) else {
            return;
        };
        let shares = fork.flags & (fork_flag::THREAD | fork_flag::SHARES_MEMORY) != 0;
        let Some(found) = self.names.interpreter_of(fork.image).filter(|_| !shares) else { return };
        let time = fork.header.time.saturating_sub(self.origin);
        let mut readers = self.tree.living_relatives(parent);
        readers.insert(readers.len().min(1), fork.child.pid);
        self.keys.fork(&Forked { found, table: &fork.modules, parent, child, time, readers: &readers });
    }

    /// Where the entries of `sys.modules` lie in a process that was there before.
    fn modules_of(&mut self, record: &raw::Modules) {
        let Some(process) = self.tree.index(record.process) else { return };
        self.tree.modules(process, record.modules);
        let image = self.tree.get(process).image;
        let Some(found) = self.names.interpreter_of(image) else { return };
        let time = record.header.time.saturating_sub(self.origin);
        let readers = self.tree.living_relatives(process);
        let (parent, child) = (process, process);
        self.keys.fork(&Forked { found, table: &record.modules, parent, child, time, readers: &readers });
    }

    /// What there is, when every event has come.
    #[must_use]
    pub fn finish(mut self) -> (Tree, Output) {
        self.output.module_tables = self.keys.take();
        (self.tree, self.output)
    }

    fn fault(&mut self, fault: &raw::Fault) {
        // A process whose fork was lost is one all the same; the loss itself has been counted.
        let process = match self.tree.index(fault.process) {
            Some(process) => process,
            None => self.tree.lost(fault.process),
        };
        let mapped = self.tree.maps_at(process, fault.address);
        let mapping = mapped.as_ref().and_then(|mapped| mapped.maps.find(fault.address));
        let classified = classify::classify(fault, mapping, self.flushes, page::here());
        let decided = Outcome::from_number(fault.outcome).unwrap_or(Outcome::Other);
        if classified.outcome != decided {
            let corrected = self.output.corrected.entry((process, decided, classified.outcome)).or_default();
            corrected.faults += 1;
            corrected.bytes += classified.bytes;
            if !self.list_all && !classified.outcome.is_listed() {
                return;
            }
        }
        let symbol = self.symbol(process, fault.ip);
        let attributed = self.attribute(fault, process, classified, mapping, symbol.as_ref());
        let image = self.tree.get(process).image;
        if self.names.interpreter_of(image).is_none() && self.tree.began(process) {
            self.early.entry(image).or_default().push(self.output.next_fault());
        }
        self.output.push(attributed);
    }

    fn attribute(
        &mut self,
        fault: &raw::Fault,
        process: usize,
        classified: Classified,
        mapping: Option<&Mapping>,
        symbol: Option<&Symbol>,
    ) -> Fault {
        let region = mapping.map_or(Region { kind: "unknown", path: None, offset: None }, |mapping| {
            mapping.region(fault.address)
        });
        let stack = self.names.stack(fault.stack).map(Arc::clone);
        let fork_stack = self.names.stack(self.tree.get(process).fork_stack).map(Arc::clone);
        let image_id = self.tree.get(process).image;
        let phase = self.phase(fault, process, stack.as_deref(), fork_stack.as_deref());
        let (frames_missing, no_stack) = self.missing(fault, image_id);
        let around = self.around(fault, process, mapping, symbol, stack.as_deref());
        let mut evidence = Evidence {
            address: fault.address,
            region_kind: region.kind,
            kernel_mode: fault.flags & flag::KERNEL_MODE != 0,
            syscall: (fault.syscall >= 0).then(|| syscall(fault.syscall)),
            foreign: fault.flags & flag::FOREIGN != 0,
            image: (fault.flags & flag::IMAGE != 0).then_some(&fault.image),
            types: self.names.types(),
            image_id,
            type_distance: around.type_distance,
            module_entry: self.module_entry(fault, process, stack.as_deref()),
            modules: self.tree.get(process).modules.dict,
            store: around.store,
            block: around.block,
            pool: around.pool,
            owner: around.owner,
            structure: around.structure,
            slotted: around.slotted,
            collecting: fault.flags & flag::COLLECTING != 0,
            data: around.data.as_deref(),
            heap: around.heap,
            near_stack: around.near_stack,
            stored_name: stack.as_ref().and_then(|stack| stack.stored.clone()),
            type_in_register: around.type_in_register,
            stores_type: around.stores_type,
            stack: stack.as_deref(),
            fork_stack: fork_stack.as_deref(),
            symbol: symbol.and_then(|symbol| symbol.function.as_deref()),
            in_interpreter: symbol.is_some_and(|symbol| symbol.in_interpreter),
            collector_run: false,
            object: symbol.and_then(|symbol| symbol.frame.object.as_deref()),
            frames_missing,
            phase,
            no_stack,
            forked: !self.tree.began(process),
        };
        let write = rules::judge(&evidence);
        // What is told by a heap of slots, or was done from outside, is not kept in captures.
        let is_kept = evidence.slotted.is_none() && !evidence.collecting && !evidence.foreign;
        if is_kept && log::log_enabled!(log::Level::Trace) {
            let found = self.names.interpreter_of(image_id);
            let origin = capture::Origin {
                fault,
                code: symbol.and_then(|symbol| symbol.code),
                version: found.map(|found| found.interpreter.version.as_str()),
            };
            capture::log(&origin, &evidence, &write);
        }
        let seen = collector::Seen {
            process,
            tid: fault.tid,
            epoch: fault.epoch,
            ip: fault.ip,
            stack_hash: fault.stack,
            stack: stack.as_ref(),
            generation: fault.generation,
            counted: self.names.counts_generations(image_id),
            writer: Writer::of(&evidence, &write),
            fault: self.output.next_fault(),
        };
        let collection = self.collections.assign(&seen, &mut evidence, &write, &mut self.output);
        let operation = operation::of(&evidence, &write);
        let compiled = fault.flags & flag::KERNEL_MODE == 0
            && symbol.is_some_and(|symbol| symbol.made)
            && self.names.interpreter_of(image_id).is_some_and(|found| found.language.compiles());
        let (site, python) = match stack.as_ref() {
            Some(stack) if compiled => {
                let (site, frames) = stack.compiled();
                (site, self.output.python.intern(frames))
            }
            Some(stack) => (stack.site(), stack.id),
            None => (None, self.output.python.intern(Vec::new())),
        };
        let native = self.native_stack(process, fault, symbol);
        let site = site.or_else(|| self.native_site(process, &native));
        let output = &mut self.output;
        Fault {
            time: fault.header.time.saturating_sub(self.origin),
            process,
            tid: fault.tid,
            address: fault.address,
            ip: fault.ip,
            outcome: classify::recorded(classified.outcome),
            bytes: classified.bytes,
            latency: NonZero::new(fault.latency).filter(|_| fault.flags & flag::LATENCY != 0),
            region: output.regions.intern(region),
            operation: output.operations.intern(operation),
            write: output.writes.intern(write),
            site: site.map(|site| output.sites.intern(site)),
            python,
            native: native.id,
            collection,
        }
    }
}

fn syscall(number: i32) -> String {
    syscalls::name(number).map_or_else(|| format!("system call {number}"), str::to_owned)
}
