//! Faults → attributed faults: stage 8. Gathers the evidence for each write and asks two sets of questions: what was
//! written ([`rules`]), and what the workload was doing ([`operation`]).

mod block;
mod collector;
mod evidence;
mod keys;
pub mod library;
mod names;
pub mod operation;
mod places;
pub mod rules;
pub mod stack;

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use cowtrace_ebpf::event::{self as raw, StackEnd, exit_flag, flag, fork_flag};
use cowtrace_ebpf::outcome::Outcome;

pub use block::{Allocator, Block, Object};
pub use evidence::{Evidence, KnownType, ModuleEntry, Owner, Phase, Structure, Types};

use crate::classify;
use crate::event::Event;
use crate::interp::{Found, Place, Slot};
use crate::memory::{Live, Memories};
use crate::process::maps::{Kind, Mapping};
use crate::process::tree::{Mapped, Tree};
use crate::record::schema::{
    Confidence, Fault, Id, ModuleTable, NativeFrame, Operation, PythonFrame, Region, Site, Table, Write,
};
use crate::symbolize::instruction::{self, Form, Store};
use crate::symbolize::native::{Native, StaticData};
use crate::symbolize::syscalls;

use collector::{Collections, Writer};
use keys::{Forked, Keys};
use names::Names;
use places::{Places, Query};
use stack::KnownStack;

/// Attributes the faults of one tree, in the order in which the events come.
pub struct Attributor {
    /// The tree.
    pub tree: Tree,
    /// What is known by now.
    pub output: Output,
    list_all: bool,
    origin: u64,
    names: Names,
    native: Native,
    symbols: HashMap<(u64, u64), Symbol>,
    collections: Collections,
    keys: Keys,
    places: Places,
    data: HashMap<(u64, u64), Option<Arc<StaticData>>>,
    ran: HashSet<(usize, u64)>,
    early: HashMap<u64, Vec<usize>>,
    executables: HashMap<u64, Option<String>>,
    memories: Memories,
}

/// Variables that are remembered at most.
const MOST_DATA: usize = 1 << 18;

/// What memory and the instruction tell of one write.
#[derive(Default)]
struct Around {
    type_distance: u64,
    store: Option<Store>,
    block: Option<Block>,
    pool: Range<u64>,
    owner: Option<Owner>,
    structure: Option<Structure>,
    data: Option<Arc<StaticData>>,
    near_stack: bool,
    type_in_register: Option<String>,
    stores_type: bool,
}

/// What attribution makes.
#[derive(Default)]
pub struct Output {
    /// The listed faults, in the order in which they were written.
    pub faults: Vec<Fault>,
    /// Regions.
    pub regions: Table<Region>,
    /// Operations.
    pub operations: Table<Operation>,
    /// Writes.
    pub writes: Table<Write>,
    /// Sites.
    pub sites: Table<Site>,
    /// Interpreter stacks.
    pub python: Table<Vec<PythonFrame>>,
    /// Native stacks.
    pub native: Table<Vec<NativeFrame>>,
    /// Where the entries of `sys.modules` lay.
    pub module_tables: Vec<ModuleTable>,
    /// Generations of the numbered collections, by [`Fault::collection`] − 1.
    pub generations: Vec<Option<u8>>,
    /// Faults that the kernel program took for a reuse and that were writes to a shared mapping: by process, listed or
    /// not.
    pub shared_writes: HashMap<usize, u64>,
}

/// The innermost native frame at one address.
#[derive(Clone, Debug)]
struct Symbol {
    frame: NativeFrame,
    /// The instruction.
    code: Option<[u8; instruction::LONGEST]>,
    id: Id<Vec<NativeFrame>>,
    in_interpreter: bool,
    /// The instruction lies in no file: it was made while the program ran.
    made: bool,
}

impl Attributor {
    /// Begins with a tree. `origin` is the time that the record counts from.
    #[must_use]
    pub fn new(tree: Tree, origin: u64, list_all: bool) -> Self {
        Self {
            tree,
            output: Output::default(),
            list_all,
            origin,
            names: Names::default(),
            native: Native::default(),
            symbols: HashMap::new(),
            collections: Collections::default(),
            keys: Keys::default(),
            places: Places::default(),
            data: HashMap::new(),
            ran: HashSet::new(),
            early: HashMap::new(),
            executables: HashMap::new(),
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
            self.output.faults[fault].operation = startup;
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
            Event::Code(code) => self.names.code(code),
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
                }
                self.tree.exit(exit);
            }
            Event::Hint(_) => {}
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
        if let Some(Mapped { maps, .. }) = self.tree.maps_at(parent, found.runtime) {
            self.places.survey(image, &self.memories.of(pid), &maps);
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
        let outcome = classify::outcome(fault, mapping);
        if outcome as u8 != fault.outcome {
            *self.output.shared_writes.entry(process).or_default() += 1;
            if !self.list_all {
                return;
            }
        }
        let symbol = self.symbol(process, fault.ip);
        let attributed = self.attribute(fault, process, outcome, mapping, symbol.as_ref());
        let image = self.tree.get(process).image;
        if self.names.interpreter_of(image).is_none() && self.tree.began(process) {
            self.early.entry(image).or_default().push(self.output.faults.len());
        }
        self.output.faults.push(attributed);
    }

    fn attribute(
        &mut self,
        fault: &raw::Fault,
        process: usize,
        outcome: Outcome,
        mapping: Option<&Mapping>,
        symbol: Option<&Symbol>,
    ) -> Fault {
        let region = mapping.map_or(Region { kind: "unknown", path: None, offset: None }, |mapping| {
            mapping.region(fault.address)
        });
        let stack = self.names.stack(fault.stack).map(Arc::clone);
        let fork_stack = self.names.stack(self.tree.get(process).fork_stack).map(Arc::clone);
        let image_id = self.tree.get(process).image;
        let phase = self.phase(fault, process);
        let (frames_missing, no_stack) = self.missing(fault, image_id);
        let around = self.around(fault, process, mapping, symbol, stack.as_deref());
        let mut evidence = Evidence {
            address: fault.address,
            region_kind: region.kind,
            kernel_mode: fault.flags & flag::KERNEL_MODE != 0,
            syscall: (fault.syscall >= 0).then(|| syscall(fault.syscall)),
            image: (fault.flags & flag::IMAGE != 0).then_some(&fault.image),
            types: self.names.types(),
            image_id,
            type_distance: around.type_distance,
            module_entry: self.module_entry(fault, process, stack.as_deref()),
            store: around.store,
            block: around.block,
            pool: around.pool,
            owner: around.owner,
            structure: around.structure,
            data: around.data.as_deref(),
            near_stack: around.near_stack,
            stored_name: stack.as_ref().and_then(|stack| stack.stored.clone()),
            type_in_register: around.type_in_register,
            stores_type: around.stores_type,
            stack: stack.as_deref(),
            fork_stack: fork_stack.as_deref(),
            symbol: symbol.and_then(|symbol| symbol.frame.symbol.as_deref()),
            in_interpreter: symbol.is_some_and(|symbol| symbol.in_interpreter),
            collector_run: false,
            object: symbol.and_then(|symbol| symbol.frame.object.as_deref()),
            frames_missing,
            phase,
            no_stack,
        };
        let write = rules::judge(&evidence);
        if write.kind == "unknown" && evidence.image.is_some() {
            log::trace!(
                "unknown write to {:#x}: {:?} {:?} {:x?} {:x?} {:?} {:x?}",
                fault.address,
                evidence.symbol,
                evidence.store,
                evidence.block,
                fault.image.words,
                fault.detail,
                mapping.map(|mapping| (&mapping.kind, format!("{:x}-{:x}", mapping.start, mapping.end)))
            );
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
            fault: self.output.faults.len(),
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
        let site = site.or_else(|| symbol.map(|symbol| self.native_site(process, symbol)));
        let output = &mut self.output;
        Fault {
            time: fault.header.time.saturating_sub(self.origin),
            process,
            tid: fault.tid,
            address: fault.address,
            ip: fault.ip,
            outcome: classify::recorded(outcome),
            bytes: classify::copied_bytes(fault, outcome),
            latency: (fault.flags & flag::LATENCY != 0).then_some(fault.latency),
            region: output.regions.intern(region),
            operation: output.operations.intern(operation),
            write: output.writes.intern(write),
            site: site.map(|site| output.sites.intern(site)),
            python,
            native: symbol.map_or_else(|| output.native.intern(Vec::new()), |symbol| symbol.id),
            collection,
        }
    }

    /// What memory and the instruction tell.
    fn around(
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
            store: code.and_then(|code| instruction::decode(&code, registers)),
            ..Around::default()
        };
        if let Some(found) = self.names.interpreter_of(image).map(Arc::clone) {
            let relatives = if detail { self.relatives(process) } else { Vec::new() };
            let query = Query {
                fault,
                process,
                image,
                found: &found,
                mapping,
                relatives: &relatives,
                kept: self.places.kept(image),
                may_store_attribute: calls || op.ends_with("_ATTR"),
                unchanged: OnceCell::new(),
            };
            around.type_distance = found.plan.object_type.into();
            let block = self.places.block(&query, &mut self.names);
            let object = block.as_ref().and_then(|block| block.object.as_ref()).filter(|object| object.alive);
            let alive = object.is_some();
            // Since 3.15 a bytearray keeps its bytes in an object.
            if object.is_none_or(|object| object.of.name == "bytes") {
                around.owner = self.places.owner(&query, block.as_ref(), around.store, &mut self.names);
            }
            around.structure = places::structure(&query, block.as_ref(), &self.names);
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
        }
        if around.block.is_none() {
            around.data = self.data(fault.address, process, mapping);
        }
        around
    }

    /// The variable of a program or library.
    fn data(&mut self, address: u64, process: usize, mapping: Option<&Mapping>) -> Option<Arc<StaticData>> {
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

    /// Whether a main thread without interpreter frames is before its first or behind its last. A forked child goes on
    /// where its parent was.
    fn phase(&mut self, fault: &raw::Fault, process: usize) -> Option<Phase> {
        let image = self.tree.get(process).image;
        self.names.interpreter_of(image)?;
        if fault.stack != 0 {
            self.ran.insert((process, image));
            return None;
        }
        if fault.tid != fault.process.pid {
            return None;
        }
        let ran = self.ran.contains(&(process, image)) || !self.tree.began(process);
        match StackEnd::from_number(fault.stack_end)? {
            StackEnd::NoThreadState | StackEnd::NoFrame if fault.flags & flag::WALKED != 0 => {
                Some(if ran { Phase::Exit } else { Phase::Startup })
            }
            StackEnd::NoPlan if !ran => Some(Phase::Startup),
            _ => None,
        }
    }

    /// Whether interpreter frames should be there and are not, and why.
    fn missing(&self, fault: &raw::Fault, image: u64) -> (bool, Option<&'static str>) {
        if self.names.interpreter_of(image).is_none()
            || fault.stack != 0 && self.names.stack(fault.stack).is_some()
        {
            return (false, None);
        }
        if fault.stack != 0 {
            return (true, Some("the stack's names were lost: the buffer was full"));
        }
        match StackEnd::from_number(fault.stack_end) {
            Some(StackEnd::NoThreadState | StackEnd::NoFrame) => (false, None),
            Some(StackEnd::Unreadable) => (true, Some(StackEnd::Unreadable.about())),
            _ => (true, Some("the interpreter was not known yet when it happened")),
        }
    }

    /// The place in `sys.modules`, if the kernel program saw that its table is meant.
    fn module_entry(
        &self,
        fault: &raw::Fault,
        process: usize,
        stack: Option<&KnownStack>,
    ) -> Option<ModuleEntry> {
        if fault.flags & flag::MODULE_TABLE == 0 || fault.flags & flag::IMAGE == 0 {
            return None;
        }
        let index = process;
        let process = self.tree.get(index);
        let language = self.names.interpreter_of(process.image)?.language;
        let table = language.module_table(&process.modules)?;
        let place = table.find(fault.address)?;
        let key = &fault.image.key[..(fault.image.key_len as usize).min(fault.image.key.len())];
        let key = (!key.is_empty()).then(|| String::from_utf8_lossy(key).into_owned());
        let imported = || stack.and_then(|stack| stack.imports().pop());
        let word = fault.address.checked_sub(fault.image.address)? / 8;
        let old = fault.image.words.get(usize::try_from(word).ok()?).copied()?;
        let existing = |key| Some(ModuleEntry { key, existing: true });
        let new = |key| Some(ModuleEntry { key, existing: false });
        match place {
            Place::Header(_) => None,
            Place::Entry { slot: Slot::Value, .. } | Place::NewEntry { slot: Slot::Value, .. } => {
                Some(ModuleEntry { existing: old != 0, key: key.or_else(imported) })
            }
            // A key that is taken away; of entries that are newer than the fork the names are not known.
            Place::Entry { slot: Slot::Key, index: entry } if old != 0 => {
                existing(self.keys.name(index, &table, entry))
            }
            Place::NewEntry { slot: Slot::Key, .. } if old != 0 => existing(None),
            Place::Index => match keys::index_entry(&table, fault.address, &fault.image) {
                Some(entry) => existing(self.keys.name(index, &table, entry)),
                None => new(imported()),
            },
            Place::Entry { .. } | Place::NewEntry { .. } => new(imported()),
        }
    }

    /// A place in native code: the user's own in the file that a process runs, if that is no interpreter.
    fn native_site(&mut self, process: usize, symbol: &Symbol) -> Site {
        let NativeFrame { symbol, object, offset } = &symbol.frame;
        let module = object.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or("(no file)");
        let function = symbol.clone().unwrap_or_else(|| format!("{module}+{offset:#x}"));
        let own = object.is_some() && *object == self.own_object(process);
        let library = (!own).then(|| module.to_owned());
        Site { file: object.clone(), line: None, approximate: false, function: Some(function), library }
    }

    /// The file that a process runs, as its mappings name it; `None` = it holds or loads an interpreter.
    fn own_object(&mut self, process: usize) -> Option<String> {
        let process = self.tree.get(process);
        if self.names.interpreter_of(process.image).is_some() {
            return None;
        }
        let exe = || {
            let path = Path::new(OsStr::from_bytes(&process.exe));
            Some(fs::canonicalize(path).ok()?.to_string_lossy().into_owned())
        };
        self.executables.entry(process.image).or_insert_with(exe).clone()
    }

    /// The innermost native frame.
    fn symbol(&mut self, process: usize, ip: u64) -> Option<Symbol> {
        let Mapped { id, maps } = self.tree.maps_at(process, ip)?;
        if let Some(symbol) = self.symbols.get(&(id, ip)) {
            return Some(symbol.clone());
        }
        let mapping = maps.find(ip)?;
        // The file is opened through a process that still has it; if none has, by its path from here.
        let pid = self.tree.witness(process);
        let frame = self.native.frame(pid, mapping, ip);
        let interpreter = self.names.interpreter_of(self.tree.get(process).image);
        let in_interpreter =
            interpreter.is_some_and(|found| frame.object.as_deref() == Some(found.interpreter.path.as_str()));
        let native = self.output.native.intern(vec![frame.clone()]);
        let code = self.native.code(pid, mapping, ip);
        let made = mapping.kind == Kind::Anonymous && mapping.executable;
        let symbol = Symbol { frame, code, id: native, in_interpreter, made };
        self.symbols.insert((id, ip), symbol.clone());
        Some(symbol)
    }
}

fn syscall(number: i32) -> String {
    syscalls::name(number).map_or_else(|| format!("system call {number}"), str::to_owned)
}
