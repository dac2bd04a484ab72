//! What lies at an address, as far as memory tells: blocks, owners, structures of the interpreter. Most of it the kernel
//! program has read at the fault; what is stable (where blocks begin, whose table one is) is read here, from the process
//! itself or from one that it was forked from.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use cowtrace_ebpf::event::{self as raw, BLOCK_WORDS, STACK_POINTER, flag};
use cowtrace_ebpf::plan::UNUSED;
use cowtrace_ebpf::state::ModuleTable;

use super::block::Block;
use super::chunks::{self, Chunks};
use super::evidence::{Owner, Structure};
use super::names::Names;
use crate::interp::{Found, Namespace, Owned, Part, Place};
use crate::memory::{Live, Memory};
use crate::process::maps::{Kind, Mapping, Maps};
use crate::symbolize::instruction::Store;

/// Bytes of heaps that are looked through in one session at most.
const MOST_WALKED: u64 = 8 << 30;
/// Bytes of anonymous memory that are looked through at an image's first fork at most.
const MOST_SURVEYED: u64 = 64 << 20;
/// Bytes of a heap that are kept at most.
const MOST_KEPT: usize = 16 << 20;
/// Dicts that share a table: the instances of a class.
const MOST_USERS: u64 = 1 << 24;
/// Objects of which is remembered what they own.
const MOST_OWNED: usize = 4096;
/// A thread's stack reaches this far from its pointer: below it the red zone, above it its callers.
const BELOW_STACK: u64 = 256;
const ABOVE_STACK: u64 = 256 << 10;
/// Bytes of a thread's state that every version has, where nothing tells how long it is.
const STATE: u64 = 256;
/// Times that namespaces of an image are read again because a table was not among them.
const MOST_READ_AGAIN: u32 = 64;

/// What was found in memory, to be used again.
#[derive(Default)]
pub(super) struct Places {
    heaps: HashMap<u64, Chunks>,
    walked: u64,
    namespaces: HashMap<u64, Spaces>,
    /// Large blocks of each image: their end and first words, by their start.
    mapped: HashMap<u64, BTreeMap<u64, (u64, [u64; BLOCK_WORDS])>>,
    kept: HashMap<u64, Arc<Kept>>,
    /// What objects that were found owned, for when their memory is gone, by image and address.
    owned: HashMap<(u64, u64), (String, Owned)>,
    /// The owner that was found last in each process: loops write to one thing.
    owners: HashMap<usize, u64>,
}

/// The heap of an image as it was at its first fork.
#[derive(Debug)]
pub(super) struct Kept {
    start: u64,
    bytes: Vec<u8>,
}

impl Memory for Kept {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        let at = address.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let bytes = at.and_then(|at| self.bytes.get(at..)?.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::NotFound)?);
        Ok(())
    }
}

#[derive(Default)]
struct Spaces {
    all: Vec<Namespace>,
    reads: u32,
    misses: u32,
}

/// One fault, and what is known of its process.
pub(super) struct Query<'a> {
    pub(super) fault: &'a raw::Fault,
    pub(super) process: usize,
    pub(super) image: u64,
    pub(super) found: &'a Found,
    pub(super) mapping: Option<&'a Mapping>,
    /// Processes whose memory is that of this one, nearest first.
    pub(super) relatives: &'a [u32],
    /// What was kept of that memory, for when they are gone.
    pub(super) kept: Option<Arc<Kept>>,
    pub(super) modules: &'a ModuleTable,
}

impl Query<'_> {
    fn has_detail(&self) -> bool {
        self.fault.flags & flag::DETAIL != 0
    }

    /// Reads from the nearest relative that has something there.
    fn read<T>(&self, read: impl Fn(&dyn Memory) -> Option<T>) -> Option<T> {
        let live = self.relatives.iter().find_map(|&pid| read(&Live::new(pid)));
        live.or_else(|| read(self.kept.as_deref()?))
    }

    /// General registers that may hold addresses.
    fn pointers(&self) -> impl Iterator<Item = u64> {
        let registers = if self.has_detail() { &self.fault.detail.registers[..15] } else { &[] };
        registers
            .iter()
            .copied()
            .filter(|&value| value.is_multiple_of(8) && value >= 0x1_0000 && value >> 47 == 0)
    }
}

impl Places {
    /// What was kept of an image's memory.
    pub(super) fn kept(&self, image: u64) -> Option<Arc<Kept>> {
        self.kept.get(&image).map(Arc::clone)
    }

    /// Looks at the memory of a process that has an interpreter and forks: where its blocks are. It may be gone by the time
    /// that they are asked for.
    pub(super) fn survey(&mut self, image: u64, pid: u32, maps: &Maps) {
        if self.heaps.contains_key(&image) {
            return;
        }
        let memory = Live::new(pid);
        let mut left = MOST_SURVEYED;
        for mapping in maps.iter().filter(|mapping| mapping.writable && !mapping.shared) {
            let range = mapping.start..mapping.end;
            match mapping.kind {
                Kind::Heap => {
                    self.heaps.insert(image, Chunks::of_heap(&memory, &range));
                    let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                    let mut bytes = vec![0; len.min(MOST_KEPT)];
                    if memory.read(range.start, &mut bytes).is_ok() {
                        self.kept.insert(image, Arc::new(Kept { start: range.start, bytes }));
                    }
                }
                Kind::Anonymous if range.end - range.start <= left => {
                    left -= range.end - range.start;
                    let found = self.mapped.entry(image).or_default();
                    for chunk in chunks::all_mapped(&memory, &range) {
                        let head = first_words(&memory, chunk.start + chunks::HEADER).unwrap_or_default();
                        found.insert(chunk.start, (chunk.end, head));
                    }
                }
                Kind::Anonymous | Kind::Stack | Kind::File | Kind::Special(_) => {}
            }
        }
    }

    /// The block that holds the address.
    pub(super) fn block(&mut self, query: &Query<'_>, names: &mut Names) -> Option<Block> {
        if !query.has_detail() {
            return None;
        }
        let detail = &query.fault.detail;
        let pool_size = 1_u64.checked_shl(query.found.plan.pool_shift.into()).unwrap_or(0);
        if let Some(block) = Block::of_detail(detail, pool_size, names.types(), query.image) {
            return Some(block);
        }
        let chunk = self.chunk(query)?;
        let address = chunk.start + chunks::HEADER;
        if query.fault.address < address {
            return Some(Block {
                is_header: true,
                ..Block::of_malloc(address, 0, [0; BLOCK_WORDS], names.types(), 0)
            });
        }
        let mut head = [0; BLOCK_WORDS];
        for (at, word) in (0..).zip(&mut head) {
            let place = address + at * 8;
            // What was there before the write, if that was kept.
            let kept = image_word(&query.fault.image, place);
            let now = || query.read(|memory| memory.u64(place).ok());
            let known = || {
                self.mapped.get(&query.image)?.get(&chunk.start)?.1.get(usize::try_from(at).ok()?).copied()
            };
            *word = kept.or_else(now).or_else(known).unwrap_or(0);
        }
        for candidate in [head[1], head[3], head[5]] {
            names.learn_type(query.image, candidate, query.found, query.relatives);
        }
        Some(Block::of_malloc(address, chunk.end + 8 - address, head, names.types(), query.image))
    }

    /// The chunk of `malloc`'s, header included; its program's part reaches 8 bytes into the next.
    fn chunk(&mut self, query: &Query<'_>) -> Option<Range<u64>> {
        let mapping = query.mapping?;
        let range = mapping.start..mapping.end;
        let address = query.fault.address.checked_sub(8)?;
        match mapping.kind {
            Kind::Heap => {
                let known = self.heaps.get(&query.image).and_then(|chunks| chunks.find(address));
                if let Some(chunk) = known.clone().filter(|chunk| still(query, chunk)) {
                    return Some(chunk);
                }
                if self.walked > MOST_WALKED {
                    return known;
                }
                self.walked += range.end - range.start;
                let Some(chunks) = query.read(|memory| Chunks::of_heap(memory, &range).not_empty()) else {
                    return known;
                };
                let chunk = chunks.find(address);
                self.heaps.insert(query.image, chunks);
                chunk
            }
            Kind::Anonymous => {
                let found = self.mapped.entry(query.image).or_default();
                let chunk = query.read(|memory| chunks::mapped(memory, &range, address));
                if let Some(chunk) = &chunk {
                    let head = query.read(|memory| first_words(memory, chunk.start + chunks::HEADER));
                    found.insert(chunk.start, (chunk.end, head.unwrap_or_default()));
                }
                let known = || found.range(..=address).next_back().map(|(start, (end, _))| *start..*end);
                chunk.or_else(|| known().filter(|chunk| chunk.contains(&address)))
            }
            Kind::Stack | Kind::File | Kind::Special(_) => None,
        }
    }

    /// Who owns what the address lies in: an object in one of the registers, or a dict whose table begins the block.
    pub(super) fn owner(
        &mut self,
        query: &Query<'_>,
        block: Option<&Block>,
        store: Option<Store>,
        names: &mut Names,
    ) -> Option<Owner> {
        if !query.has_detail() || block.is_some_and(|block| block.is_header) {
            return None;
        }
        let last = self.owners.get(&query.process).copied();
        let again = last.filter(|last| query.pointers().any(|pointer| pointer == *last));
        let candidates: Vec<u64> = again.into_iter().chain(query.pointers()).collect();
        let mut owner = candidates
            .into_iter()
            .find_map(|object| self.owned_by(object, query, names))
            .or_else(|| table(query, block?))
            .or_else(|| header(query, store?.offset?))?;
        if owner.address != 0 {
            self.owners.insert(query.process, owner.address);
        }
        if let Part::Dict(place) = owner.part {
            owner.module = self.namespace(query, owner.address, block.map_or(0, |block| block.address));
            owner.key_type = key_type(query, place, names);
        }
        Some(owner)
    }

    fn owned_by(&mut self, object: u64, query: &Query<'_>, names: &mut Names) -> Option<Owner> {
        let Found { language, plan, .. } = query.found;
        let address = query.fault.address;
        let owner =
            |of: &str, part| Owner { address: object, of: of.to_owned(), part, module: None, key_type: None };
        let type_address = query.read(|memory| memory.u64(object.checked_add(plan.object_type.into())?).ok());
        let Some(type_address) = type_address else {
            let (of, owned) = self.owned.get(&(query.image, object))?;
            return owned.part(address).map(|part| owner(of, part));
        };
        names.learn_type(query.image, type_address, query.found, query.relatives);
        let of = names.types().get(&(query.image, type_address))?;
        let owned = query.read(|memory| language.owned(plan, memory, object, (&of.name, of.flags)))?;
        let part = owned.part(address);
        if self.owned.len() >= MOST_OWNED {
            self.owned.clear();
        }
        let found = part.map(|part| owner(&of.name, part));
        self.owned.insert((query.image, object), (of.name.clone(), owned));
        found
    }

    /// The module whose namespace a dict is.
    fn namespace(&mut self, query: &Query<'_>, dict: u64, keys: u64) -> Option<String> {
        let spaces = self.namespaces.entry(query.image).or_default();
        let find = |spaces: &Spaces| {
            let is = |space: &&Namespace| if dict == 0 { space.keys == keys } else { space.dict == dict };
            spaces.all.iter().find(is).map(|space| space.name.clone())
        };
        if let Some(name) = find(spaces) {
            return Some(name);
        }
        spaces.misses += 1;
        if spaces.reads >= MOST_READ_AGAIN || !spaces.misses.is_power_of_two() {
            return None;
        }
        spaces.reads += 1;
        let Found { language, plan, string_type, .. } = query.found;
        let all = query.read(|memory| {
            let all = language.namespaces(plan, memory, *string_type, query.modules);
            (!all.is_empty()).then_some(all)
        });
        spaces.all = all.unwrap_or_default();
        find(spaces)
    }
}

/// The first words of a block.
fn first_words(memory: &dyn Memory, address: u64) -> Option<[u64; BLOCK_WORDS]> {
    let mut bytes = [0; BLOCK_WORDS * 8];
    memory.read(address, &mut bytes).ok()?;
    let mut words = [0; BLOCK_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Some(words)
}

/// Whether a chunk is what it was when the heap was walked.
fn still(query: &Query<'_>, chunk: &Range<u64>) -> bool {
    query
        .read(|memory| memory.u64(chunk.start + 8).ok())
        .is_some_and(|size| size & !7 == chunk.end - chunk.start)
}

/// A dict's table that begins the block.
fn table(query: &Query<'_>, block: &Block) -> Option<Owner> {
    if block.object.is_some() || block.is_linked {
        return None;
    }
    let mut header = [0; 32];
    for (bytes, word) in header.chunks_exact_mut(8).zip(block.head) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let place = query.found.language.table_part(block.address, &header, block.size, query.fault.address)?;
    Some(Owner { address: 0, of: "dict".to_owned(), part: Part::Dict(place), module: None, key_type: None })
}

/// A dict's table whose header is written, by the instruction's distance from its start and what lies around the address.
fn header(query: &Query<'_>, offset: i64) -> Option<Owner> {
    let offset = u64::try_from(offset).ok().filter(|&offset| offset < 32)?;
    let start = query.fault.address.checked_sub(offset)?;
    let mut header = [0; 32];
    for (at, bytes) in (0..).zip(header.as_chunks_mut().0) {
        *bytes = image_word(&query.fault.image, start.checked_add(at * 8)?)?.to_le_bytes();
    }
    let references = u64::from_le_bytes(*header.first_chunk()?);
    let place = query.found.language.table_part(start, &header, u64::MAX, query.fault.address)?;
    (1..MOST_USERS).contains(&references).then(|| Owner {
        address: 0,
        of: "dict".to_owned(),
        part: Part::Dict(place),
        module: None,
        key_type: None,
    })
}

/// Type of the key beside a value, if it is no text.
fn key_type(query: &Query<'_>, place: Place, names: &mut Names) -> Option<String> {
    let Place::Entry { .. } = place else { return None };
    if query.fault.image.key_len != 0 {
        return None;
    }
    let key = image_word(&query.fault.image, (query.fault.address & !7).checked_sub(8)?)?;
    let type_address =
        query.read(|memory| memory.u64(key.checked_add(query.found.plan.object_type.into())?).ok())?;
    names.learn_type(query.image, type_address, query.found, query.relatives);
    names.types().get(&(query.image, type_address)).map(|of| of.name.clone())
}

/// The structure of the interpreter that holds the address.
pub(super) fn structure(query: &Query<'_>, block: Option<&Block>, names: &Names) -> Option<Structure> {
    let fault = query.fault;
    if fault.flags & flag::FRAME_CHUNK != 0 {
        return Some(Structure::Frames);
    }
    let plan = &query.found.plan;
    if fault.state != 0 && query.has_detail() {
        let len = if plan.thread_chunk == UNUSED { STATE } else { u64::from(plan.thread_chunk) + 24 };
        let in_block = block.is_some_and(|block| fault.state.wrapping_sub(block.address) < block.size);
        if fault.address.wrapping_sub(fault.state) < len || in_block {
            return Some(Structure::ThreadState);
        }
        let interpreter =
            || query.read(|memory| memory.u64(fault.state.checked_add(plan.thread_interpreter.into())?).ok());
        if block.is_some_and(|block| !block.is_header && Some(block.address) == interpreter()) {
            return Some(Structure::InterpreterState);
        }
    }
    names.is_bytecode(query.image, fault.address, plan).then_some(Structure::Bytecode)
}

/// Whether the address lies next to the thread's stack pointer.
pub(super) fn near_stack(query: &Query<'_>) -> bool {
    let fault = query.fault;
    if !query.has_detail() || fault.flags & flag::KERNEL_MODE != 0 {
        return false;
    }
    let pointer = fault.detail.registers[STACK_POINTER];
    let near = fault.address.wrapping_sub(pointer.wrapping_sub(BELOW_STACK)) < BELOW_STACK + ABOVE_STACK;
    let same = |mapping: &Mapping| (mapping.start..mapping.end).contains(&pointer);
    near && query.mapping.is_some_and(same)
}

/// A type in the registers, by its name: first the one that is stored.
pub(super) fn type_in_register(query: &Query<'_>, stored: Option<u64>, names: &Names) -> Option<String> {
    let known = |address: u64| names.types().get(&(query.image, address)).map(|of| of.name.clone());
    stored.and_then(known).or_else(|| query.pointers().find_map(known))
}

fn image_word(image: &raw::Image, address: u64) -> Option<u64> {
    let at = address.checked_sub(image.address)?;
    if at.checked_add(8)? > u64::from(image.len) || !at.is_multiple_of(8) {
        return None;
    }
    image.words.get(usize::try_from(at / 8).ok()?).copied()
}
