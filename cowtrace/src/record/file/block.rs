//! One block: a head, and a compressed body.

use std::io;

/// Bytes of a [`Head`].
pub(super) const HEAD: usize = 24;
/// Bytes of a body at most, before it was compressed.
pub(super) const LARGEST_BODY: u32 = 64 << 20;
/// Level of compression: higher ones take longer than the traced program's faults do.
const LEVEL: i32 = 3;

/// What a block is. Numbers are never reused.
pub(super) mod kind {
    pub(in super::super) const HEADER: u8 = 1;
    pub(in super::super) const DEFINITIONS: u8 = 2;
    pub(in super::super) const PROCESSES: u8 = 3;
    pub(in super::super) const FAULTS: u8 = 4;
    pub(in super::super) const AMENDMENTS: u8 = 5;
    pub(in super::super) const GENERATIONS: u8 = 6;
    pub(in super::super) const MODULE_TABLES: u8 = 7;
    pub(in super::super) const STATE: u8 = 8;
}

/// The start of a block: kind (u8), three zeros, items (u32), bytes of the body as it is stored (u32) and as it was (u32),
/// checksum (CRC-32 of the 16 bytes before it and of the stored body), four zeros. Little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: u8,
    /// Faults of a block of faults; of others how many there are of what it holds.
    pub(super) items: u32,
    pub(super) stored: u32,
    pub(super) raw: u32,
    checksum: u32,
}

impl Head {
    fn start(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[0] = self.kind;
        bytes[4..8].copy_from_slice(&self.items.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.stored.to_le_bytes());
        bytes[12..].copy_from_slice(&self.raw.to_le_bytes());
        bytes
    }

    /// `None` if these bytes begin no block.
    pub(super) fn decode(bytes: &[u8; HEAD]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word));
        let head =
            Self { kind: bytes[0], items: word(4)?, stored: word(8)?, raw: word(12)?, checksum: word(16)? };
        let zeros = bytes[1..4] == [0; 3] && bytes[20..] == [0; 4];
        // What does not get smaller grows by less than this.
        let most = head.raw.saturating_add(head.raw / 64).saturating_add(1024);
        (zeros && head.kind != 0 && head.raw <= LARGEST_BODY && head.stored <= most).then_some(head)
    }

    /// Whether a stored body is this block's, as it was written.
    pub(super) fn fits(&self, stored: &[u8]) -> bool {
        stored.len() == self.stored as usize && self.checksum == checksum(&self.start(), stored)
    }
}

fn checksum(start: &[u8; 16], stored: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(start);
    hasher.update(stored);
    hasher.finalize()
}

/// A whole block with this body.
pub(super) fn encode(kind: u8, items: usize, body: &[u8]) -> io::Result<Vec<u8>> {
    seal(kind, items, body, &zstd::bulk::compress(body, LEVEL)?)
}

/// A whole block with this body, which is `stored` when it is compressed.
pub(super) fn seal(kind: u8, items: usize, body: &[u8], stored: &[u8]) -> io::Result<Vec<u8>> {
    let number = |number: usize| u32::try_from(number).map_err(|_large| too_large());
    let raw = number(body.len()).ok().filter(|raw| *raw <= LARGEST_BODY).ok_or_else(too_large)?;
    let mut head = Head { kind, items: number(items)?, stored: number(stored.len())?, raw, checksum: 0 };
    head.checksum = checksum(&head.start(), stored);
    let mut block = Vec::with_capacity(HEAD + stored.len());
    block.extend_from_slice(&head.start());
    block.extend_from_slice(&head.checksum.to_le_bytes());
    block.extend_from_slice(&[0; 4]);
    block.extend_from_slice(stored);
    Ok(block)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a block of the recording would be too large")
}

/// The body of a block whose checksum is right.
pub(super) fn body(head: &Head, stored: &[u8]) -> io::Result<Vec<u8>> {
    let body = zstd::bulk::decompress(stored, head.raw as usize)?;
    if body.len() != head.raw as usize {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(body)
}
