//! Evidence as a line of the log, and evidence again from such a line: what was judged in a real program can be judged
//! again where that program is not.
//!
//! The instruction's bytes and the block's first words are kept as they were, so that a replay decodes and looks through them
//! anew; what was looked for in the memory of other processes is kept as what was found.

mod line;

use std::ops::Range;

use bytemuck::Zeroable as _;
use cowtrace_ebpf::event::{self as raw, Detail, IMAGE_WORDS, Image, KEY, REGISTERS, flag};

use super::library::Library;
use super::stack::{KnownFrame, KnownStack};
use super::{Allocator, Block, Evidence, Types};
use crate::interp::python::layout::LAYOUTS;
use crate::record::schema::{PythonFrame, Table, Write};
use crate::symbolize::instruction;

pub use line::{Capture, CapturedBlock, CapturedFrame, CapturedType, Code, Hex, Pool, Said, Words};

/// Interpreter frames that are kept: the rules ask for the innermost, the others tell a reader where it was.
const FRAMES: usize = 3;
/// First half of the key into [`Types`] of a replay.
const IMAGE_ID: u64 = 1;

/// What a fault has beside its evidence.
pub(super) struct Origin<'a> {
    pub(super) fault: &'a raw::Fault,
    pub(super) code: Option<[u8; instruction::LONGEST]>,
    pub(super) version: Option<&'a str>,
}

/// Logs the evidence of one write and what is said of it: a line for each, which begins with `evidence`.
pub(super) fn log(origin: &Origin<'_>, evidence: &Evidence<'_>, write: &Write) {
    match serde_json::to_string(&Capture::new(origin, evidence, write)) {
        Ok(line) => log::trace!("evidence {line}"),
        Err(error) => log::trace!("evidence that cannot be written: {error}"),
    }
}

impl Capture {
    /// Keeps what the rules look at.
    fn new(origin: &Origin<'_>, evidence: &Evidence<'_>, write: &Write) -> Self {
        let fault = origin.fault;
        let in_user = fault.flags & flag::KERNEL_MODE == 0;
        let has_registers = in_user && fault.flags & flag::DETAIL != 0;
        let registers: &[u64] = if has_registers { &fault.detail.registers } else { &[] };
        let pool = &evidence.pool;
        Self {
            pid: fault.process.pid,
            version: origin.version.map(str::to_owned),
            address: Hex(evidence.address),
            region: evidence.region_kind.to_owned(),
            kernel_mode: evidence.kernel_mode,
            syscall: evidence.syscall.clone(),
            image: evidence.image.map(Words::of),
            types: types(evidence),
            type_distance: evidence.type_distance,
            code: origin.code.filter(|_| in_user).map(Code),
            registers: registers.iter().copied().map(Hex).collect(),
            block: evidence.block.as_ref().map(CapturedBlock::of),
            pool: (!pool.is_empty()).then(|| Pool { address: Hex(pool.start), size: pool.end - pool.start }),
            owner: evidence.owner.clone(),
            structure: evidence.structure,
            data: evidence.data.cloned(),
            heap: evidence.heap.clone(),
            near_stack: evidence.near_stack,
            module_entry: evidence.module_entry.clone(),
            modules: Hex(evidence.modules),
            stored_name: evidence.stored_name.clone(),
            type_in_register: evidence.type_in_register.clone(),
            stores_type: evidence.stores_type,
            frames: evidence.stack.map(frames),
            symbol: evidence.symbol.map(str::to_owned),
            object: evidence.object.map(str::to_owned),
            in_interpreter: evidence.in_interpreter,
            frames_missing: evidence.frames_missing,
            phase: evidence.phase,
            no_stack: evidence.no_stack.map(str::to_owned),
            write: Said::of(write),
        }
    }

    /// What the evidence borrows from.
    #[must_use]
    pub fn replay(&self) -> Replay<'_> {
        Replay {
            capture: self,
            image: self.image.as_ref().map(Words::image),
            types: self.types.iter().map(|of| ((IMAGE_ID, of.address.0), of.known.clone())).collect(),
            stack: self.frames.as_deref().map(stack),
        }
    }
}

/// A capture, and what its evidence borrows from.
#[derive(Clone, Debug)]
pub struct Replay<'a> {
    capture: &'a Capture,
    image: Option<Image>,
    types: Types,
    stack: Option<KnownStack>,
}

impl Replay<'_> {
    /// The evidence again: instruction and block are looked at anew.
    #[must_use]
    pub fn evidence(&self) -> Evidence<'_> {
        let capture = self.capture;
        let registers = || -> Option<[u64; REGISTERS]> {
            let values: Vec<u64> = capture.registers.iter().map(|value| value.0).collect();
            values.try_into().ok()
        };
        let code = capture.code.as_ref();
        Evidence {
            address: capture.address.0,
            region_kind: &capture.region,
            kernel_mode: capture.kernel_mode,
            syscall: capture.syscall.clone(),
            foreign: false,
            image: self.image.as_ref(),
            types: &self.types,
            image_id: IMAGE_ID,
            type_distance: capture.type_distance,
            module_entry: capture.module_entry.clone(),
            modules: capture.modules.0,
            store: code.and_then(|code| instruction::decode(&code.0, registers().as_ref())),
            block: self.block(),
            pool: capture.pool.map_or(0..0, Pool::range),
            owner: capture.owner.clone(),
            structure: capture.structure,
            slotted: None,
            collecting: false,
            data: capture.data.as_ref(),
            heap: capture.heap.clone(),
            near_stack: capture.near_stack,
            stored_name: capture.stored_name.clone(),
            type_in_register: capture.type_in_register.clone(),
            stores_type: capture.stores_type,
            stack: self.stack.as_ref(),
            fork_stack: None,
            symbol: capture.symbol.as_deref(),
            object: capture.object.as_deref(),
            in_interpreter: capture.in_interpreter,
            collector_run: false,
            frames_missing: capture.frames_missing,
            phase: capture.phase,
            no_stack: capture.no_stack.as_deref(),
            forked: false,
        }
    }

    fn block(&self) -> Option<Block> {
        let CapturedBlock { address, size, by, is_header, is_linked: _, late: _, head } =
            self.capture.block.as_ref()?;
        let head = head.map(|word| word.0);
        match by {
            Allocator::Pool => {
                let pool = self.capture.pool?;
                let detail = Detail {
                    pool: pool.address.0,
                    block: if *is_header { 0 } else { address.0 },
                    size: u32::try_from(*size).unwrap_or(u32::MAX),
                    head,
                    ..Detail::default()
                };
                Block::of_detail(&detail, pool.size, &self.types, IMAGE_ID)
            }
            Allocator::Malloc => Some(Block {
                is_header: *is_header,
                ..Block::of_malloc(address.0, *size, head, &self.types, IMAGE_ID)
            }),
        }
    }
}

impl Pool {
    const fn range(self) -> Range<u64> {
        self.address.0..self.address.0.saturating_add(self.size)
    }
}

impl Words {
    fn of(image: &Image) -> Self {
        let key = &image.key[..(image.key_len as usize).min(KEY)];
        let words = &image.words[..(image.len as usize / 8).min(IMAGE_WORDS)];
        Self {
            address: Hex(image.address),
            words: words.iter().copied().map(Hex).collect(),
            key: String::from_utf8_lossy(key).into_owned(),
        }
    }

    fn image(&self) -> Image {
        let mut image = Image { address: self.address.0, ..Image::zeroed() };
        for (from, into) in self.words.iter().zip(&mut image.words) {
            *into = from.0;
            image.len += 8;
        }
        for (from, into) in self.key.bytes().zip(&mut image.key) {
            *into = from;
            image.key_len += 1;
        }
        image
    }
}

impl CapturedBlock {
    fn of(block: &Block) -> Self {
        // The object is found in the first words.
        let Block { address, size, by, is_header, is_linked, late, head, object: _ } = block;
        Self {
            address: Hex(*address),
            size: *size,
            by: *by,
            is_header: *is_header,
            is_linked: *is_linked,
            late: *late,
            head: head.map(Hex),
        }
    }
}

/// Types that words of the image or the block point to.
fn types(evidence: &Evidence<'_>) -> Vec<CapturedType> {
    let in_image = evidence.image.map_or(&[][..], |image| &image.words);
    let in_block = evidence.block.as_ref().map_or(&[][..], |block| &block.head);
    let mut addresses: Vec<u64> = in_image.iter().chain(in_block).copied().collect();
    addresses.sort_unstable();
    addresses.dedup();
    let known = |address| {
        let known = evidence.types.get(&(evidence.image_id, address))?.clone();
        Some(CapturedType { address: Hex(address), known })
    };
    addresses.into_iter().filter_map(known).collect()
}

fn frames(stack: &KnownStack) -> Vec<CapturedFrame> {
    let frame = |KnownFrame { shown, .. }: &KnownFrame| CapturedFrame {
        op: shown.op.map(str::to_owned),
        file: shown.file.clone(),
        function: shown.function.clone(),
        line: shown.line,
    };
    stack.frames.iter().take(FRAMES).map(frame).collect()
}

fn stack(frames: &[CapturedFrame]) -> KnownStack {
    let frame = |frame: &CapturedFrame| KnownFrame {
        shown: PythonFrame {
            function: frame.function.clone(),
            file: frame.file.clone(),
            line: frame.line,
            approximate: false,
            op: frame.op.as_deref().and_then(instruction_name),
            ..PythonFrame::default()
        },
        library: Library::Own,
        imports: None,
        place: (0, 0),
    };
    KnownStack::new(Table::default().intern(Vec::new()), frames.iter().map(frame).collect(), None)
}

/// The name of an instruction, as the interpreters' tables have it.
fn instruction_name(name: &str) -> Option<&'static str> {
    LAYOUTS.iter().flat_map(|layout| layout.opcodes).copied().find(|known| *known == name)
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
