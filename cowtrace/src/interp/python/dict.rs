//! Tables of dicts: which part of one an address lies in, from the table's first bytes alone.
//!
//! A table is a header, an index of hash slots, and the entries in order of insertion. Replacing a value writes only the
//! entry's value; a new key writes the header, one index slot and one entry; a table that is full is replaced as a whole.
//! <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_dict.h#L87>

use std::ops::Range;

use cowtrace_ebpf::plan::UNUSED;
use serde::{Deserialize, Serialize};

/// Bytes of a table that tell its shape.
pub const HEADER: usize = 32;
/// Largest table that is believed, as the logarithm of its hash slots.
const MAX_LOG2_SIZE: u8 = 32;

/// How a header tells the size of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeAt {
    /// Offsets of the logarithms (u8) of the number of hash slots, and of the bytes of the whole index.
    Logarithms {
        /// Of the number of slots.
        slots: u16,
        /// Of the bytes of the index.
        index: u16,
    },
    /// Offset of the number of hash slots (i64), which decides the bytes of each.
    /// <https://github.com/python/cpython/blob/v3.10.13/Objects/dict-common.h#L86>
    Slots(u16),
}

/// Offsets in the header of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DictLayout {
    /// The size.
    pub size: SizeAt,
    /// Kind (u8): 0 general, 1 only strings as keys, 2 shared between instances (no values in it); `UNUSED` = the header
    /// does not tell, and all entries have the general form.
    pub kind: u16,
    /// Entries that may still be added (i64).
    pub usable: u16,
    /// Entries that were ever added (i64); `UNUSED` = it lies behind what is kept of the header, and follows from `usable`:
    /// two thirds of the slots can be used.
    pub entries: u16,
    /// First byte of the index.
    pub indices: u16,
}

/// Part of an entry.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, Serialize)]
pub enum Slot {
    /// The key's hash.
    Hash,
    /// Pointer to the key.
    Key,
    /// Pointer to the value.
    Value,
}

/// Part of a table.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, Serialize)]
pub enum Place {
    /// The header, at this offset.
    Header(u64),
    /// The index: a key is added or removed.
    Index,
    /// An entry that was in use when the header was read.
    Entry {
        /// Its number, in order of insertion.
        index: u64,
        /// Which part of it.
        slot: Slot,
    },
    /// An entry that was not in use then: a key is added.
    NewEntry {
        /// Its number.
        index: u64,
        /// Which part of it.
        slot: Slot,
    },
}

/// The shape of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DictTable {
    /// Address of the table.
    pub address: u64,
    /// Addresses of the index.
    pub indices: Range<u64>,
    /// Addresses of all entries, unused ones included.
    pub entries: Range<u64>,
    /// Bytes of an entry: 16 without a hash, else 24.
    pub entry_size: u64,
    /// Entries that were ever added.
    pub used: u64,
    /// Hash slots.
    pub slots: u64,
}

impl DictLayout {
    /// The shape of the table at an address; `None` = this is no header of a table with values.
    #[must_use]
    pub fn parse(&self, address: u64, header: &[u8; HEADER]) -> Option<DictTable> {
        let byte = |offset: u16| header.get(usize::from(offset)).copied();
        let word = |offset: u16| {
            let bytes = header.get(usize::from(offset)..)?.first_chunk()?;
            Some(u64::from_le_bytes(*bytes))
        };
        let (slots, index) = match self.size {
            SizeAt::Logarithms { slots, index } => {
                let (slots, index) = (byte(slots)?, byte(index)?);
                // An index slot has 1, 2, 4 or 8 bytes.
                if slots > MAX_LOG2_SIZE || index < slots || index - slots > 3 {
                    return None;
                }
                (1 << slots, 1 << index)
            }
            SizeAt::Slots(at) => {
                let slots = word(at)?;
                if !slots.is_power_of_two() || slots > 1 << MAX_LOG2_SIZE {
                    return None;
                }
                let width = match slots {
                    ..=0xff => 1,
                    0x100..=0xffff => 2,
                    _ => 4,
                };
                (slots, slots * width)
            }
        };
        if address == 0 {
            return None;
        }
        let entry_size = match (self.kind, byte(self.kind)) {
            (UNUSED, _) | (_, Some(0)) => 24,
            (_, Some(1)) => 16,
            _ => return None,
        };
        let usable = word(self.usable)?;
        let used = match self.entries {
            UNUSED => (slots * 2 / 3).checked_sub(usable)?,
            entries => word(entries)?,
        };
        let capacity = usable.checked_add(used).filter(|&capacity| capacity <= slots)?;
        let indices = address.checked_add(self.indices.into())?;
        let entries = indices.checked_add(index)?;
        let end = entries.checked_add(capacity.checked_mul(entry_size)?)?;
        Some(DictTable { address, indices: indices..entries, entries: entries..end, entry_size, used, slots })
    }
}

impl DictTable {
    /// Whether it has room for as many entries as its slots allow, two thirds of them: what a table that an interpreter made
    /// has, and hardly anything else that looks like a header.
    #[must_use]
    pub fn is_full_size(&self) -> bool {
        self.entries.end - self.entries.start == self.slots * 2 / 3 * self.entry_size
    }

    /// The part that an address lies in; `None` = it is not in the table.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<Place> {
        if self.indices.contains(&address) {
            return Some(Place::Index);
        }
        if (self.address..self.indices.start).contains(&address) {
            return Some(Place::Header(address - self.address));
        }
        if !self.entries.contains(&address) {
            return None;
        }
        let offset = address - self.entries.start;
        let index = offset / self.entry_size;
        let slot = match (offset % self.entry_size + 24 - self.entry_size) / 8 {
            0 => Slot::Hash,
            1 => Slot::Key,
            _ => Slot::Value,
        };
        Some(if index < self.used { Place::Entry { index, slot } } else { Place::NewEntry { index, slot } })
    }

    /// Address of an entry's key; `None` = there is no such entry.
    #[must_use]
    pub fn key_address(&self, index: u64) -> Option<u64> {
        // The key is the word before the value, which is the last.
        Some(self.value_address(index)? - 8)
    }

    /// Address of an entry's value; `None` = there is no such entry.
    #[must_use]
    pub fn value_address(&self, index: u64) -> Option<u64> {
        let end = self.entries.start.checked_add(index.checked_add(1)?.checked_mul(self.entry_size)?)?;
        (end <= self.entries.end).then(|| end - 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp::python::layout::{PYTHON_3_10, PYTHON_3_11};

    fn header(log2_size: u8, log2_index: u8, kind: u8, usable: u64, used: u64) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        (header[0], header[8], header[9], header[10]) = (1, log2_size, log2_index, kind);
        header[16..24].copy_from_slice(&usable.to_le_bytes());
        header[24..].copy_from_slice(&used.to_le_bytes());
        header
    }

    fn parse(address: u64, header: [u8; HEADER]) -> Option<DictTable> {
        PYTHON_3_11.dict.parse(address, &header)
    }

    /// `sys.modules` of a small program: 256 slots of 2 bytes, 85 modules.
    #[test]
    fn table_of_strings() {
        let table = parse(0x1000, header(8, 9, 1, 85, 85)).unwrap();
        assert_eq!(table.indices, 0x1020..0x1220);
        assert_eq!(table.entries, 0x1220..0x1220 + 170 * 16);
        assert_eq!(table.find(0xfff), None);
        assert_eq!(table.find(0x100c), Some(Place::Header(12)));
        assert_eq!(table.find(0x1020), Some(Place::Index));
        assert_eq!(table.find(0x121f), Some(Place::Index));
        assert_eq!(table.find(0x1220), Some(Place::Entry { index: 0, slot: Slot::Key }));
        assert_eq!(table.find(0x1228), Some(Place::Entry { index: 0, slot: Slot::Value }));
        assert_eq!(table.find(0x122f), Some(Place::Entry { index: 0, slot: Slot::Value }));
        let unused = 0x1220 + 85 * 16;
        assert_eq!(table.find(unused - 8), Some(Place::Entry { index: 84, slot: Slot::Value }));
        assert_eq!(table.find(unused), Some(Place::NewEntry { index: 85, slot: Slot::Key }));
        assert_eq!(table.find(table.entries.end), None);
        assert_eq!((table.key_address(1), table.value_address(1)), (Some(0x1230), Some(0x1238)));
        assert_eq!(table.key_address(169).map(|key| key + 16), Some(table.entries.end));
        assert_eq!(table.key_address(170), None);
        assert_eq!(table.key_address(u64::MAX), None);
    }

    #[test]
    fn table_with_hashes() {
        let table = parse(0x1000, header(3, 3, 0, 2, 3)).unwrap();
        let entry = |index, slot| Some(Place::Entry { index, slot });
        assert_eq!(table.entries, 0x1028..0x1028 + 5 * 24);
        assert_eq!(table.find(0x1028), entry(0, Slot::Hash));
        assert_eq!(table.find(0x1030), entry(0, Slot::Key));
        assert_eq!(table.find(0x1038), entry(0, Slot::Value));
        assert_eq!(table.find(0x1040), entry(1, Slot::Hash));
        assert_eq!((table.key_address(0), table.value_address(0)), (Some(0x1030), Some(0x1038)));
    }

    /// Until 3.10: `sys.modules` with 128 slots of a byte, 70 of its 85 entries used.
    #[test]
    fn table_that_tells_its_slots() {
        let mut header = [0; HEADER];
        (header[0], header[8], header[24]) = (1, 128, 15);
        let table = PYTHON_3_10.dict.parse(0x1000, &header).unwrap();
        assert_eq!((table.indices.clone(), table.used), (0x1028..0x10a8, 70));
        assert_eq!(table.entries, 0x10a8..0x10a8 + 85 * 24);
        assert_eq!(table.find(0x10a8 + 16), Some(Place::Entry { index: 0, slot: Slot::Value }));
        for (at, byte) in [(8, 127), (15, 1), (24, 86), (31, 0x80)] {
            let mut header = header;
            header[at] = byte;
            assert_eq!(PYTHON_3_10.dict.parse(0x1000, &header), None, "{at}");
        }
    }

    #[test]
    fn no_header() {
        assert_eq!(parse(0, header(8, 9, 1, 85, 85)), None);
        assert_eq!(parse(0x1000, [0xff; HEADER]), None);
        assert_eq!(parse(0x1000, header(8, 9, 2, 85, 85)), None, "shared between instances");
        assert_eq!(parse(0x1000, header(8, 7, 1, 85, 85)), None, "index smaller than its slots");
        assert_eq!(parse(0x1000, header(33, 35, 1, 1, 1)), None);
        assert_eq!(parse(0x1000, header(8, 9, 1, 200, 85)), None, "more entries than slots");
        assert_eq!(parse(0x1000, header(8, 9, 1, u64::MAX, 2)), None);
        assert_eq!(parse(u64::MAX - 600, header(8, 9, 1, 85, 85)), None, "beyond the address space");
    }
}
