//! What lies at an address, as far as memory tells: blocks, owners, structures of the interpreter. Most of it the kernel
//! program has read at the fault; what is stable (where blocks begin, whose table one is) is read here, from the process
//! itself or from one that it was forked from.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

mod block;
mod chunks;
mod heap;
mod owner;
mod structure;

use cowtrace_ebpf::event::{self as raw, BLOCK_WORDS, IMAGE_WORDS, Image, flag};

use crate::arch;
use crate::attribute::block::Block;
use crate::interp::{Found, Owned, Shape};
use crate::memory::{Live, Memory};
use crate::process::maps::{Kind, Mapping, Maps};

use chunks::Chunks;
use owner::Barren;

pub(super) use structure::{near_stack, structure, type_in_frame, type_in_register};

/// Bytes of anonymous memory that are looked through at an image's first fork at most.
const MOST_SURVEYED: u64 = 64 << 20;
/// Bytes of a heap that are kept at most.
const MOST_KEPT: usize = 16 << 20;

/// Below this nothing is mapped.
const LEAST_ADDRESS: u64 = 0x1_0000;

/// Bytes that an instruction writes, as far as what they were does not matter.
const MOST_WRITTEN: u64 = 16;

/// What was found in memory, to be used again.
#[derive(Default)]
pub(super) struct Places {
    /// By image and, of a thread's heap, the first chunk; 0 = of the process.
    heaps: HashMap<(u64, u64), Chunks>,
    walked: u64,
    /// Names of modules, by image and address of the dict, or, where that is not known, of its table.
    namespaces: HashMap<(u64, u64, u64), String>,
    /// Large blocks of each image: their end and first words, by their start.
    mapped: HashMap<u64, BTreeMap<u64, (u64, [u64; BLOCK_WORDS])>>,
    /// Where no large block begins, by the end of what was looked through: its start. Until the next fork.
    nothing: HashMap<u64, BTreeMap<u64, u64>>,
    kept: HashMap<u64, Arc<Kept>>,
    /// What objects that were found owned, for when their memory is gone, by image and address.
    owned: HashMap<(u64, u64), (String, Owned)>,
    barren: HashMap<usize, Barren>,
    /// What types say of their instances, by image and address.
    shapes: HashMap<(u64, u64), Shape>,
    /// The owner that was found last in each process: loops write to one thing.
    owners: HashMap<usize, u64>,
    /// The block that each process wrote to last, if it was `malloc`'s.
    blocks: HashMap<usize, Block>,
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

/// One fault, and the memory of its process.
pub(super) struct At<'a> {
    pub(super) fault: &'a raw::Fault,
    pub(super) process: usize,
    pub(super) image: u64,
    pub(super) mapping: Option<&'a Mapping>,
    /// Processes whose memory is that of this one, nearest first.
    pub(super) relatives: &'a [Rc<Live>],
    /// What was kept of that memory, for when they are gone.
    pub(super) kept: Option<Arc<Kept>>,
    /// Which of its memories is unchanged; found when it is asked for.
    pub(super) unchanged: OnceCell<Option<usize>>,
}

/// One fault of a process with an interpreter.
pub(super) struct Query<'a> {
    pub(super) at: At<'a>,
    pub(super) found: &'a Found,
    /// Its instruction may store an attribute.
    pub(super) may_store_attribute: bool,
}

impl At<'_> {
    /// Memories of it: the relatives', nearest first, and what was kept.
    pub(super) fn memories(&self) -> impl Iterator<Item = &dyn Memory> {
        let live = self.relatives.iter().map(|memory| &**memory as &dyn Memory);
        live.chain(self.kept.as_deref().map(|kept| kept as &dyn Memory))
    }

    /// Reads from the nearest relative that has something there.
    fn read<T>(&self, read: impl Fn(&dyn Memory) -> Option<T>) -> Option<T> {
        self.memories().find_map(read)
    }

    /// Reads from the nearest relative whose memory around the address still is what it was before the write: what has
    /// changed there since may have been something else then.
    fn read_unchanged<T>(&self, read: impl Fn(&dyn Memory) -> Option<T>) -> Option<T> {
        read(self.unchanged()?)
    }

    /// That relative's memory.
    fn unchanged(&self) -> Option<&dyn Memory> {
        let find = || self.memories().position(|memory| self.is_unchanged(memory));
        self.memories().nth((*self.unchanged.get_or_init(find))?)
    }

    fn is_unchanged(&self, memory: &dyn Memory) -> bool {
        let Image { address, len, words, .. } = &self.fault.image;
        if self.fault.flags & flag::IMAGE == 0 {
            return memory.u8(self.fault.address).is_ok();
        }
        let written = self.fault.address & !7;
        let written = written..written.saturating_add(MOST_WRITTEN);
        let mut now = [0; IMAGE_WORDS * 8];
        let now = &mut now[..(*len as usize).min(IMAGE_WORDS * 8)];
        memory.read(*address, now).is_ok()
            && (*address..)
                .step_by(8)
                .zip(now.as_chunks().0.iter().zip(words))
                .all(|(at, (now, then))| written.contains(&at) || u64::from_le_bytes(*now) == *then)
    }

    /// Whether any memory of it can still be read.
    fn is_alive(&self) -> bool {
        self.relatives.iter().any(|memory| memory.u8(self.fault.address).is_ok())
    }
}

impl<'a> Query<'a> {
    /// The same, of memory without the nearest that can be read: what a process has changed since the fault, those that it was
    /// forked from still have as it was.
    fn of_older_memory(&self) -> Option<Query<'a>> {
        let (_, relatives) = self.at.relatives.split_first()?;
        let At { fault, process, image, mapping, .. } = self.at;
        let kept = self.at.kept.clone();
        let at = At { fault, process, image, mapping, relatives, kept, unchanged: OnceCell::new() };
        Some(Query { at, found: self.found, may_store_attribute: self.may_store_attribute })
    }

    fn has_detail(&self) -> bool {
        self.at.fault.flags & flag::DETAIL != 0
    }

    /// Whether the write goes on with what the one before it did, a page further: the kernel program has then not looked
    /// again at what the instruction works on, and there is no need to do it here.
    fn goes_on(&self) -> bool {
        self.has_detail() && self.at.fault.flags & flag::VALUES == 0 && self.at.fault.stack != 0
    }

    /// General registers that may hold addresses of objects.
    pub(super) fn in_registers(&self) -> impl Iterator<Item = u64> {
        let general = arch::general_registers().filter(|_| self.has_detail());
        let registers = general.map_or(&[][..], |number| &self.at.fault.detail.registers[..number]);
        registers.iter().copied().filter(|&value| may_be_object(value))
    }

    /// Variables and operands of the innermost frame that may be addresses of objects.
    pub(super) fn in_frame(&self) -> impl Iterator<Item = u64> {
        let values: &[u64] = if self.has_detail() { &self.at.fault.detail.values } else { &[] };
        let tag = self.found.plan.code_tag;
        values.iter().map(move |&value| value & !tag).filter(|&value| may_be_object(value))
    }
}

impl Places {
    /// What was kept of an image's memory.
    pub(super) fn kept(&self, image: u64) -> Option<Arc<Kept>> {
        self.kept.get(&image).map(Arc::clone)
    }

    /// A process has ended.
    pub(super) fn ended(&mut self, process: usize) {
        self.owners.remove(&process);
        self.blocks.remove(&process);
        self.barren.remove(&process);
    }

    /// Looks at the memory of a process that has an interpreter and forks: where its blocks are. It may be gone by the time
    /// that they are asked for.
    pub(super) fn survey(&mut self, image: u64, memory: &Live, maps: &Maps) {
        self.nothing.remove(&image);
        if self.heaps.contains_key(&(image, 0)) {
            return;
        }
        let mut left = MOST_SURVEYED;
        for mapping in maps.iter().filter(|mapping| mapping.writable && !mapping.shared) {
            let range = mapping.start..mapping.end;
            match mapping.kind {
                Kind::Heap => {
                    self.heaps.insert((image, 0), Chunks::of_heap(memory, &range));
                    let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                    let mut bytes = vec![0; len.min(MOST_KEPT)];
                    if memory.read(range.start, &mut bytes).is_ok() {
                        self.kept.insert(image, Arc::new(Kept { start: range.start, bytes }));
                    }
                }
                Kind::Anonymous if range.end - range.start <= left => {
                    left -= range.end - range.start;
                    let found = self.mapped.entry(image).or_default();
                    for chunk in chunks::all_mapped(memory, &range) {
                        let head = first_words(memory, chunk.start + chunks::HEADER).unwrap_or_default();
                        found.insert(chunk.start, (chunk.end, head));
                    }
                }
                Kind::Anonymous | Kind::Stack | Kind::File | Kind::Special(_) => {}
            }
        }
    }
}

fn may_be_object(value: u64) -> bool {
    value.is_multiple_of(8) && value >= LEAST_ADDRESS && arch::is_address(value)
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

fn image_word(image: &Image, address: u64) -> Option<u64> {
    let at = address.checked_sub(image.address)?;
    if at.checked_add(8)? > u64::from(image.len) || !at.is_multiple_of(8) {
        return None;
    }
    image.words.get(usize::try_from(at / 8).ok()?).copied()
}
