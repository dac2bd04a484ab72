//! Where the entries of `sys.modules` lie: read at each fork from the process that forks, while it can be read.
//!
//! Entries never move within a table, so a table that has only grown since it was read last is the same one. Everything
//! read is the target's: keys and tables are bounded, and what is no text has no name.

use std::collections::{BTreeMap, HashMap};

use cowtrace_ebpf::event::Image;
use cowtrace_ebpf::state;

use crate::interp::{DictTable, Found};
use crate::memory::{Live, Memory};
use crate::record::schema::ModuleTable;

/// Entries of one table that are read at most.
const MOST_ENTRIES: u64 = 8192;
/// Names that are kept at most, over all tables.
const MOST_NAMES: usize = 1 << 17;
/// Bytes of the largest entry.
const ENTRY: u64 = 24;

/// The tables that were met.
#[derive(Default)]
pub(super) struct Keys {
    tables: Vec<ModuleTable>,
    /// By process: its table, and the shape that it had.
    last: HashMap<usize, (DictTable, usize)>,
    names: usize,
}

/// A fork.
#[derive(Clone, Copy)]
pub(super) struct Forked<'a> {
    pub(super) found: &'a Found,
    /// As the kernel program saw it.
    pub(super) table: &'a state::ModuleTable,
    /// Indices of the two processes; of one that was there before, its own twice.
    pub(super) parent: usize,
    pub(super) child: usize,
    /// When, in the record's time.
    pub(super) time: u64,
    /// Processes whose memory may still be as it was, best first.
    pub(super) readers: &'a [u32],
}

impl Keys {
    /// Notes where the entries lie in a child and its parent.
    pub(super) fn fork(&mut self, fork: &Forked<'_>) {
        let Some(shape) = fork.found.language.module_table(fork.table) else { return };
        let known = self.last.get(&fork.parent).filter(|(last, _)| *last == shape).map(|(_, table)| *table);
        let table = match known {
            Some(table) => table,
            None => {
                let entries = read(fork, &shape);
                if entries.is_empty() || self.names + entries.len() > MOST_NAMES {
                    return;
                }
                self.names += entries.len();
                let free = (shape.entries.start + shape.used * shape.entry_size)..shape.entries.end;
                self.tables.push(ModuleTable { entries, free, seen: Vec::new() });
                self.tables.len() - 1
            }
        };
        let child = (fork.child != fork.parent).then_some(fork.child);
        for process in [fork.parent].into_iter().chain(child) {
            self.last.insert(process, (shape.clone(), table));
            self.tables[table].seen.push((process, fork.time));
        }
    }

    /// The key of the entry with this number in the table that a process had at its last fork.
    pub(super) fn name(&self, process: usize, shape: &DictTable, entry: u64) -> Option<String> {
        let (last, table) = self.last.get(&process)?;
        let address = shape.value_address(entry).filter(|_| last.address == shape.address)?;
        let entries = &self.tables.get(*table)?.entries;
        entries.iter().find(|(_, at)| *at == address).map(|(name, _)| name.clone())
    }

    /// Everything that was noted.
    pub(super) fn take(&mut self) -> Vec<ModuleTable> {
        self.last.clear();
        std::mem::take(&mut self.tables)
    }
}

/// Processes that are asked for one table at most.
const READERS: usize = 2;

/// Keys and the addresses of their values, from whoever still has the table: what one of them has deleted since, another
/// may still have.
fn read(fork: &Forked<'_>, shape: &DictTable) -> Vec<(String, u64)> {
    let mut all: BTreeMap<u64, String> = BTreeMap::new();
    let read = |&pid: &u32| entries(fork.found, fork.table, shape, &Live::new(pid));
    for (name, address) in fork.readers.iter().filter_map(read).take(READERS).flatten() {
        all.entry(address).or_insert(name);
    }
    all.into_iter().map(|(address, name)| (name, address)).collect()
}

/// Keys and the addresses of their values; `None` = the table is not there any more, or cannot be read.
fn entries(
    found: &Found,
    table: &state::ModuleTable,
    shape: &DictTable,
    memory: &dyn Memory,
) -> Option<Vec<(String, u64)>> {
    let used = shape.used.min(MOST_ENTRIES);
    if shape.entry_size > ENTRY || !in_use(found, table, memory) {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(used * shape.entry_size).ok()?];
    memory.read(shape.entries.start, &mut bytes).ok()?;
    let names = (0..used).filter_map(|entry| {
        let value = shape.value_address(entry)?;
        let at = usize::try_from(value - shape.entries.start).ok()?;
        let word = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        // The key is the word before the value; an entry without a value was deleted.
        let key = word(at.checked_sub(8)?).filter(|key| *key != 0)?;
        word(at).filter(|value| *value != 0)?;
        Some((found.language.text(&found.plan, memory, found.string_type, key)?, value))
    });
    let names: Vec<(String, u64)> = names.collect();
    // It may have been replaced while it was read.
    in_use(found, table, memory).then_some(names)
}

fn in_use(found: &Found, table: &state::ModuleTable, memory: &dyn Memory) -> bool {
    let keys = table.dict.checked_add(found.plan.dict_keys.into()).and_then(|at| memory.u64(at).ok());
    keys == Some(table.keys)
}

/// The number of the entry that a slot of the index leads to, as it was before the write. `None` = to none: a key that
/// was not there is added.
pub(super) fn index_entry(shape: &DictTable, address: u64, image: &Image) -> Option<u64> {
    let len = shape.indices.end - shape.indices.start;
    let capacity = (shape.entries.end - shape.entries.start) / shape.entry_size;
    // Two thirds of the slots can have an entry: that tells the width of a slot.
    // https://github.com/python/cpython/blob/v3.11.7/Objects/dictobject.c#L512
    let width = [1, 2, 4, 8].into_iter().find(|width| len / width * 2 / 3 == capacity)?;
    let offset = address.checked_sub(shape.indices.start)?;
    let slot = shape.indices.start + offset / width * width;
    let at = slot.checked_sub(image.address)?;
    if at + width > u64::from(image.len) {
        return None;
    }
    // Slots are aligned to their width, so none crosses a word.
    let word = image.words.get(usize::try_from(at / 8).ok()?)?;
    let shifted = word >> (at % 8 * 8);
    let bits = width * 8;
    let value = if bits == 64 { shifted } else { shifted & ((1 << bits) - 1) };
    let negative = value >> (bits - 1) != 0;
    (!negative && value < shape.used.max(capacity)).then_some(value)
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    /// 256 slots of 2 bytes, 170 entries of 16 bytes.
    fn shape() -> DictTable {
        DictTable {
            address: 0x1000,
            indices: 0x1020..0x1220,
            entries: 0x1220..0x1220 + 170 * 16,
            entry_size: 16,
            used: 85,
            slots: 8,
        }
    }

    /// A slot leads to its entry; an empty (−1) or a deleted one (−2) to none, nor one that was not kept.
    #[test]
    fn slots() {
        let mut image = Image::zeroed();
        (image.address, image.len) = (0x1020, 16);
        image.words[0] = 0x0011_fffe_ffff_0003;
        let entry = |address| index_entry(&shape(), address, &image);
        assert_eq!([0x1020, 0x1022, 0x1024, 0x1026].map(entry), [Some(3), None, None, Some(17)]);
        assert_eq!(entry(0x1027), Some(17));
        assert_eq!(entry(0x1030), None);
        assert_eq!(entry(0x1000), None);
    }

    /// A name is known by its entry's number, as long as the table has not moved.
    #[test]
    fn names() {
        let entries = vec![("os".to_owned(), 0x1228), ("re".to_owned(), 0x1238)];
        let keys = Keys {
            tables: vec![ModuleTable { entries, ..ModuleTable::default() }],
            last: HashMap::from([(4, (shape(), 0))]),
            names: 2,
        };
        assert_eq!(keys.name(4, &shape(), 1).as_deref(), Some("re"));
        assert_eq!(keys.name(4, &shape(), 2), None);
        assert_eq!(keys.name(5, &shape(), 1), None);
        assert_eq!(keys.name(4, &DictTable { address: 0x9000, ..shape() }, 1), None);
    }
}
