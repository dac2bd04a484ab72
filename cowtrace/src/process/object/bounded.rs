//! Reading a hostile file in bounds.

use std::cell::Cell;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use object::read::{ReadCache, ReadRef};

/// Bytes of one table (program headers, sections, dynamic symbols, their names) that are read at most.
pub const MAX_TABLE: u64 = 64 << 20;
/// Bytes that are read of one file at most, over all questions.
const MAX_READ: u64 = 4 * MAX_TABLE;

/// A file whose reads are bounded, each and in sum.
#[derive(Debug)]
pub(super) struct Bounded {
    cache: ReadCache<Arc<File>>,
    budget: Cell<u64>,
}

impl Bounded {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self { cache: ReadCache::new(file), budget: Cell::new(MAX_READ) }
    }

    fn spend(&self, size: u64) -> Result<(), ()> {
        let left = self.budget.get().checked_sub(size).filter(|_| size <= MAX_TABLE).ok_or(())?;
        self.budget.set(left);
        Ok(())
    }
}

impl<'data> ReadRef<'data> for &'data Bounded {
    fn len(self) -> Result<u64, ()> {
        (&self.cache).len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'data [u8], ()> {
        self.spend(size)?;
        (&self.cache).read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'data [u8], ()> {
        let found = (&self.cache).read_bytes_at_until(range, delimiter)?;
        self.spend(found.len() as u64)?;
        Ok(found)
    }
}
