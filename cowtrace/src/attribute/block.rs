//! The allocator's block that holds an address, and the object in it.

use cowtrace_ebpf::event::{BLOCK_WORDS, Detail};
use serde::{Deserialize, Serialize};

use super::types::{KnownType, Types};

/// Above this a word is an address, not a count of references.
const MOST_COUNTED: u64 = 1 << 32;
/// The sign bit of a count's low half marks objects that are not counted.
/// <https://github.com/python/cpython/blob/v3.12.1/Include/object.h#L123>
const IMMORTAL: u64 = 1 << 31;

/// Who gave the block out.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Allocator {
    /// The interpreter's own, from a pool of blocks of one size.
    Pool,
    /// The C library's `malloc`.
    Malloc,
}

/// A block of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its first byte that is the program's; for a header the header's own.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// Whose it is.
    pub by: Allocator,
    /// It is the allocator's header of a pool or chunk, no block.
    pub is_header: bool,
    /// It begins with a link to another free block of its pool.
    pub is_linked: bool,
    /// It was read after the write, from memory that looked unchanged around the address.
    pub late: bool,
    /// Its first words before the write.
    pub head: [u64; BLOCK_WORDS],
    /// The object in it; `None` = it holds no object, or one whose type is not known.
    pub object: Option<Object>,
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Where its count of references lies.
    pub address: u64,
    /// Its type.
    pub of: KnownType,
    /// Address of the type.
    pub type_address: u64,
    /// It is referred to; else its memory waits to be used again.
    pub alive: bool,
}

impl Block {
    /// Whether an address lies in it.
    #[must_use]
    pub const fn contains(&self, address: u64) -> bool {
        self.address <= address && address - self.address < self.size
    }

    /// The block that the kernel program found; `None` = the address lies in no pool.
    #[must_use]
    pub fn of_detail(detail: &Detail, pool_size: u64, types: &Types, image: u64) -> Option<Self> {
        if detail.pool == 0 {
            return None;
        }
        if detail.block == 0 {
            return Some(Self {
                address: detail.pool,
                size: 0,
                by: Allocator::Pool,
                is_header: true,
                is_linked: false,
                late: false,
                head: [0; BLOCK_WORDS],
                object: None,
            });
        }
        let size = u64::from(detail.size);
        let mut head = detail.head;
        for (word, value) in (0..).zip(&mut head) {
            // What lies behind a small block is a neighbour's.
            if (word + 1) * 8 > size {
                *value = 0;
            }
        }
        let is_linked = head[0].wrapping_sub(detail.pool) < pool_size;
        let mut block = Self {
            address: detail.block,
            size,
            by: Allocator::Pool,
            is_header: false,
            is_linked,
            late: false,
            head,
            object: None,
        };
        block.object = block.find_object(types, image);
        Some(block)
    }

    /// A block of `malloc`'s.
    #[must_use]
    pub fn of_malloc(address: u64, size: u64, head: [u64; BLOCK_WORDS], types: &Types, image: u64) -> Self {
        let mut block = Self {
            address,
            size,
            by: Allocator::Malloc,
            is_header: false,
            is_linked: false,
            late: true,
            head,
            object: None,
        };
        block.object = block.find_object(types, image);
        block
    }

    /// An object begins its block, or comes behind its collector's head, or behind that and what the interpreter keeps in
    /// front of it (3.11 and later). The type's flags have to agree.
    fn find_object(&self, types: &Types, image: u64) -> Option<Object> {
        [(0, false), (2, true), (4, true)].into_iter().find_map(|(at, with_head)| {
            let type_address = self.head[at + 1];
            let of = types.get(&(image, type_address))?;
            if of.has_gc_head() != with_head {
                return None;
            }
            let count = self.head[at];
            let alive =
                !(at == 0 && self.is_linked) && (count & IMMORTAL != 0 || (1..MOST_COUNTED).contains(&count));
            let address = self.address + at as u64 * 8;
            Some(Object { address, of: of.clone(), type_address, alive })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: u64 = 0x7f00_0000_4000;
    const STR: u64 = 0x1000;
    const TUPLE: u64 = 0x2000;

    fn block(size: u32, head: [u64; BLOCK_WORDS]) -> Block {
        let known = |name: &str, flags| KnownType { name: name.to_owned(), flags };
        let types = Types::from([((1, STR), known("str", 0)), ((1, TUPLE), known("tuple", 1 << 14))]);
        let detail = Detail { pool: POOL, block: POOL + 48, size, head, ..Detail::default() };
        Block::of_detail(&detail, 1 << 14, &types, 1).unwrap()
    }

    fn object(size: u32, head: [u64; BLOCK_WORDS]) -> Option<(u64, String, bool)> {
        block(size, head).object.map(|object| (object.address - POOL - 48, object.of.name, object.alive))
    }

    /// Objects with and without a collector's head, and with what lies in front of that.
    #[test]
    fn objects() {
        assert_eq!(object(64, [2, STR, 5, 0, 0, 0]), Some((0, "str".to_owned(), true)));
        assert_eq!(object(64, [7, 9, 1, TUPLE, 0, 0]), Some((16, "tuple".to_owned(), true)));
        assert_eq!(object(64, [0, 0, 7, 9, 1, TUPLE]), Some((32, "tuple".to_owned(), true)));
        assert_eq!(object(64, [2, 77, 0, 0, 0, 0]), None);
        assert_eq!(object(64, [2, TUPLE, 0, 0, 0, 0]), None, "a tuple has a head");
        assert_eq!(object(16, [2, 77, 1, TUPLE, 0, 0]), None, "a neighbour's");
    }

    /// A free block has a link or nothing in its first word; a dead object has no references.
    #[test]
    fn free_blocks() {
        assert_eq!(object(64, [POOL + 112, STR, 0, 0, 0, 0]).map(|found| found.2), Some(false));
        assert_eq!(object(64, [0, STR, 0, 0, 0, 0]).map(|found| found.2), Some(false));
        assert_eq!(object(64, [POOL + 112, 0, 0, TUPLE, 0, 0]).map(|found| found.2), Some(false));
        assert_eq!(object(64, [0xffff_ffff, STR, 0, 0, 0, 0]).map(|found| found.2), Some(true), "immortal");
        assert!(block(64, [POOL + 112, 0, 0, 0, 0, 0]).is_linked);
    }
}
