//! Any bytes as an interpreter's memory.

use std::cell::Cell;
use std::io;
use std::ops::Range;

use arbitrary::Unstructured;
use bytemuck::Zeroable as _;
use cowtrace_ebpf::event::{Detail, FileName, FunctionName, TYPE_NAME};
use cowtrace_ebpf::state::{ModuleTable, ProcessKey};

use super::{DictTable, Found, Language, Owned, Place, Shape, TypeOf, python, ruby};
use crate::event::Code;
use crate::memory::Memory;
use crate::record::schema;

/// Reads of one question at most: a mark stack's chunks are the most that is followed, 65,536 of each of two lists.
const MOST_READS: u32 = 140_000;
/// Bytes that all its reads give at most: a million pages' records, or a longest sequence's table and entries.
const MOST_BYTES: u64 = 80 << 20;
/// Bytes of a text at most: 256 bytes, each of which may become three, and a sign that it is cut.
const MOST_TEXT: usize = 256 * 3 + 3;

/// Memory that has the same bytes again and again, so that every pointer leads somewhere; none above this address.
const MAPPED: u64 = 1 << 40;

struct Again<'a> {
    bytes: &'a [u8],
    /// Reads of one question that succeed: a process may end at any moment.
    left: u32,
    /// Bytes of a read that succeeds: those of a table, at most.
    largest: usize,
    reads: Cell<u32>,
    given: Cell<u64>,
}

impl Memory for Again<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.reads.set(self.reads.get() + 1);
        self.given.set(self.given.get() + buffer.len() as u64);
        let fails = self.reads.get() > self.left || buffer.len() > self.largest;
        if self.bytes.is_empty() || address >= MAPPED || fails {
            return Err(io::ErrorKind::NotFound.into());
        }
        // By pieces: byte by byte it would take most of a target's time.
        let mut at = usize::try_from(address % self.bytes.len() as u64).unwrap_or_default();
        let mut rest = buffer;
        while !rest.is_empty() {
            let (now, behind) = rest.split_at_mut(rest.len().min(self.bytes.len() - at));
            now.copy_from_slice(&self.bytes[at..][..now.len()]);
            (rest, at) = (behind, 0);
        }
        Ok(())
    }
}

impl Again<'_> {
    /// Asks something, which must not take too many reads.
    fn ask<T>(&self, question: impl FnOnce(&dyn Memory) -> T) -> T {
        self.reads.set(0);
        self.given.set(0);
        let answer = question(self);
        assert!(self.reads.get() <= MOST_READS, "{} reads", self.reads.get());
        assert!(self.given.get() <= MOST_BYTES, "{} bytes", self.given.get());
        answer
    }

    fn text(&self, question: impl FnOnce(&dyn Memory) -> Option<String>) {
        let text = self.ask(question).unwrap_or_default();
        assert!(text.len() <= MOST_TEXT, "a text of {} bytes", text.len());
    }
}

/// Whatever memory holds, a question about it takes a bounded number of reads, no name is long, and no range is upside down.
pub(crate) fn objects(bytes: &[u8]) {
    let mut given = Unstructured::new(bytes);
    let Ok((number, address, of)) = given.arbitrary::<(u8, u64, u64)>() else { return };
    let Ok((unit, flags, inside)) = given.arbitrary::<(u16, u64, u16)>() else { return };
    let Ok(left) = given.arbitrary::<u16>() else { return };
    let address = address % (2 * MAPPED);
    // Seldom as many and as much as there may be: lists without an end are followed for long, and a heap's table is sorted.
    let (left, largest) =
        if left == u16::MAX { (u32::MAX, usize::MAX) } else { (u32::from(left % (1 << 10)), 64 << 10) };
    let memory = Again { bytes: given.take_rest(), left, largest, reads: Cell::new(0), given: Cell::new(0) };
    let languages = (python::layout::LAYOUTS.len(), ruby::layout::LAYOUTS.len());
    let at = usize::from(number) % (languages.0 + languages.1);
    let (language, plan): (&'static dyn Language, _) = match at.checked_sub(languages.0) {
        None => (python::layout::LAYOUTS[at], python::layout::LAYOUTS[at].plan),
        Some(at) => (ruby::layout::LAYOUTS[at], ruby::layout::LAYOUTS[at].plan),
    };
    let interpreter = schema::Interpreter {
        name: String::new(),
        version: String::new(),
        path: String::new(),
        layout: None,
    };
    let found =
        Found { interpreter, plan, runtime: of, type_type: of, string_type: of, symbols: of, language };
    names(&found, &memory, address, unit);
    structures(&found, &memory, address, of);
    for name in ["", "list", "dict", "set", "bytearray", "array", "module"] {
        let shape = memory.ask(|memory| language.shape(&plan, memory, of)).unwrap_or_default();
        let of = TypeOf { name, flags, shape: Shape { size: shape.size, dict_offset: shape.dict_offset } };
        let Some(owned) = memory.ask(|memory| language.owned(&plan, memory, address, of)) else { continue };
        part(&owned, address.wrapping_add(inside.into()));
    }
    let mut header = [0; 32];
    if memory.read(address, &mut header).is_ok() {
        let table = language.module_table(&ModuleTable { dict: of, keys: address, header });
        if let Some(table) = table {
            dict(&table, address.wrapping_add(inside.into()));
        }
        let _ = language.table_part(address, &header, inside.into(), address.wrapping_add(flags & 0xffff));
    }
    lines(&found, &memory, address);
}

fn names(found: &Found, memory: &Again<'_>, address: u64, unit: u16) {
    let Found { language, plan, type_type, string_type, .. } = found;
    memory.text(|memory| language.text(plan, memory, *string_type, address));
    memory.text(|memory| language.stored_name(plan, memory, *string_type, address, unit));
    memory.text(|memory| language.namespace(plan, memory, *string_type, address));
    memory.text(|memory| language.class_name(found, memory, address));
    let name = memory.ask(|memory| language.type_name(plan, memory, *type_type, address));
    assert!(name.is_none_or(|name| name.len() < TYPE_NAME && !name.contains(char::is_control)));
    let bytes = memory.bytes.get(..256).unwrap_or(memory.bytes);
    let state = u32::try_from(*type_type & 0xffff_ffff).unwrap_or_default();
    let text = language.string(state, u32::from(unit), bytes).unwrap_or_default();
    assert!(text.len() <= MOST_TEXT && text.chars().count() <= usize::from(unit) + 1);
    let _ = language.opcode(unit, true).or_else(|| language.opcode(unit, false));
}

fn structures(found: &Found, memory: &Again<'_>, address: u64, of: u64) {
    let language = found.language;
    let right = |range: &Range<u64>| assert!(range.start <= range.end, "{range:?}");
    memory.ask(|memory| language.parts(memory, address)).iter().for_each(|(range, _)| right(range));
    memory.ask(|memory| language.caches_of(memory, address)).iter().for_each(|(range, _)| right(range));
    let own = memory.ask(|memory| language.own_structures(found, memory, address));
    own.iter().flatten().for_each(|own| right(&own.range));
    if let Some(records) = memory.ask(|memory| language.heap_records(found, memory)) {
        assert!(records.starts.is_sorted() && records.chunks.is_sorted());
        assert!(records.offset(of).is_none_or(|offset| offset < records.size));
        let _ = records.is_mark_stack(address);
    }
    if let Some(offset) = memory.ask(|memory| language.offset_in_record(memory, address, of)) {
        assert!(!language.record_place(offset).is_empty());
    }
    let _ = memory.ask(|memory| language.is_transient(memory, address));
    let detail = Detail { block: of, pool: address, ..Detail::default() };
    let _ = language.heap_place(&detail, address);
}

/// What is said of a part is said of an address in it.
fn part(owned: &Owned, address: u64) {
    let ranges = match owned {
        Owned::Items(range) | Owned::Buffer(range) | Owned::Set(range) => vec![range.clone()],
        Owned::Instance { body, .. } => vec![body.clone()],
        Owned::Dict { .. } | Owned::Module { .. } => Vec::new(),
    };
    for range in ranges {
        assert!(range.start <= range.end, "{range:?}");
    }
    if let Owned::Dict { table: Some(table), .. } = owned {
        dict(table, address);
    }
    for block in [None, Some(address & !0xff..address.saturating_add(0x100))] {
        let _ = owned.part(address, block.as_ref());
    }
}

/// The parts of a table lie one behind the other, and an entry is one of those that it has room for.
fn dict(table: &DictTable, inside: u64) {
    let DictTable { address, indices, entries, entry_size, slots, .. } = table;
    assert!(*address <= indices.start && indices.start <= indices.end && indices.end == entries.start);
    assert!(entries.start <= entries.end && slots.is_power_of_two());
    let room = (entries.end - entries.start) / entry_size;
    assert!(room <= *slots);
    let near = entries.start.saturating_add(inside % (entries.end - entries.start).max(1));
    for at in [inside, near, indices.start, *address] {
        match table.find(at) {
            Some(Place::Entry { index, .. } | Place::NewEntry { index, .. }) => assert!(index < room),
            Some(Place::Header(offset)) => assert!(offset < indices.start - address),
            Some(Place::Index) => assert!(indices.contains(&at)),
            None => assert!(!(address..&entries.end).contains(&&at), "{at:#x} in {table:?}"),
        }
    }
}

fn lines(found: &Found, memory: &Again<'_>, address: u64) {
    let code = Code {
        process: ProcessKey::zeroed(),
        image: 1,
        address,
        identity: 0,
        plan: 0,
        first_line: 1,
        file: FileName::zeroed(),
        name: FunctionName::zeroed(),
        lines: memory.bytes.get(..512).unwrap_or(memory.bytes).to_vec(),
        lines_full: u32::try_from(memory.bytes.len()).unwrap_or_default(),
        units: 0,
        owner: 0,
    };
    let whole = memory.ask(|memory| found.language.whole_lines(&found.plan, memory, &code));
    assert!(whole.is_none_or(|whole| whole.len() as u64 <= MOST_BYTES));
}
