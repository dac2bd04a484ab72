//! What there is of an interpreter whose objects lie in slots of pages of one heap, where a collector marks them.

use std::ops::Range;

/// Where an address lies in a page of the heap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeapPlace {
    /// The page's own words, in front of its slots or behind them.
    Page,
    /// A slot that holds no object; its bytes from the start to the address.
    Free(u64),
    /// An object.
    Object {
        /// What kind of object: the interpreter's own word for it.
        of: &'static str,
        /// Its class; 0 = it has none.
        class: u64,
        /// It is one of the interpreter's own, which no program sees.
        internal: bool,
        /// Which part of it.
        part: ObjectPart,
    },
}

/// Part of an object in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectPart {
    /// The word of its flags, with what it was.
    Flags(u64),
    /// Its class.
    Class,
    /// What it consists of: a string's characters if they are few, an array's length, an object's instance variables.
    Body,
}

/// Places of the records that the collector keeps of the heap's pages, each of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Their addresses, ascending.
    pub starts: Vec<u64>,
    /// Bytes of each.
    pub size: u64,
    /// The objects lie between these.
    pub heap: Range<u64>,
    /// Addresses of the chunks of the collector's stack, ascending.
    pub chunks: Vec<u64>,
    /// Bytes of each.
    pub chunk_size: u64,
}

impl Records {
    /// Offset of an address in the record that holds it; `None` = it lies in none.
    #[must_use]
    pub fn offset(&self, address: u64) -> Option<u64> {
        within(&self.starts, self.size, address)
    }

    /// Whether an address lies in the collector's stack.
    #[must_use]
    pub fn is_mark_stack(&self, address: u64) -> bool {
        within(&self.chunks, self.chunk_size, address).is_some()
    }
}

fn within(starts: &[u64], size: u64, address: u64) -> Option<u64> {
    let after = starts.partition_point(|&start| start <= address);
    let offset = address - starts.get(after.checked_sub(1)?)?;
    (offset < size).then_some(offset)
}

/// Memory that belongs to something, with what each part of it is.
pub type Parts = Vec<(Range<u64>, &'static str)>;

/// A structure of the interpreter's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Where it lies.
    pub range: Range<u64>,
    /// Kind of a write to it.
    pub kind: &'static str,
    /// What it is.
    pub name: &'static str,
}
