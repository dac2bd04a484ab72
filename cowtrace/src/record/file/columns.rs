//! Faults by columns: what lies beside one another is alike, and takes little room when it is compressed.
//!
//! Each column is its length in bytes (u32, little endian) and one number for each fault: 7 bits a byte, the lowest first,
//! the highest bit set in all but the last byte. Numbers that may be smaller than the one before are differences to it,
//! with the sign in the lowest bit. Columns that a reader does not know come behind those that it does.

use std::num::NonZero;

use crate::record::schema::{Fault, Id, Outcome};

/// Columns of a fault.
pub(super) const COLUMNS: usize = 15;

/// The numbers of one fault, in the order of the columns.
const fn numbers(fault: &Fault, before: &Fault) -> [u64; COLUMNS] {
    [
        difference(fault.time, before.time),
        difference(fault.process as u64, before.process as u64),
        difference(fault.tid as u64, before.tid as u64),
        difference(fault.address, before.address),
        difference(fault.ip, before.ip),
        fault.outcome as u64,
        fault.bytes,
        match fault.latency {
            Some(latency) => latency.get(),
            None => 0,
        },
        fault.region.index() as u64,
        fault.operation.index() as u64,
        fault.write.index() as u64,
        match fault.site {
            Some(site) => site.index() as u64 + 1,
            None => 0,
        },
        fault.python.index() as u64,
        fault.native.index() as u64,
        match fault.collection {
            Some(collection) => collection as u64 + 1,
            None => 0,
        },
    ]
}

/// The fault with these numbers; `None` if there can be none.
fn fault(numbers: [u64; COLUMNS], before: &Fault) -> Option<Fault> {
    let [
        time,
        process,
        tid,
        address,
        ip,
        outcome,
        bytes,
        latency,
        region,
        operation,
        write,
        site,
        python,
        native,
        collection,
    ] = numbers;
    Some(Fault {
        time: sum(before.time, time),
        process: usize::try_from(sum(before.process as u64, process)).ok()?,
        tid: u32::try_from(sum(before.tid.into(), tid)).ok()?,
        address: sum(before.address, address),
        ip: sum(before.ip, ip),
        outcome: *Outcome::ALL.get(usize::try_from(outcome).ok()?)?,
        bytes,
        latency: NonZero::new(latency),
        region: id(region)?,
        operation: id(operation)?,
        write: id(write)?,
        site: match site.checked_sub(1) {
            Some(site) => Some(id(site)?),
            None => None,
        },
        python: id(python)?,
        native: id(native)?,
        collection: match collection.checked_sub(1) {
            Some(collection) => Some(u32::try_from(collection).ok()?),
            None => None,
        },
    })
}

fn id<T>(index: u64) -> Option<Id<T>> {
    u32::try_from(index).ok().filter(|index| *index < u32::MAX).map(Id::new)
}

const fn difference(value: u64, before: u64) -> u64 {
    let difference = value.wrapping_sub(before).cast_signed();
    ((difference << 1) ^ (difference >> 63)).cast_unsigned()
}

const fn sum(before: u64, difference: u64) -> u64 {
    before.wrapping_add((difference >> 1) ^ 0_u64.wrapping_sub(difference & 1))
}

/// What the first fault of a block is told by.
const fn none() -> Fault {
    Fault {
        time: 0,
        process: 0,
        tid: 0,
        address: 0,
        ip: 0,
        outcome: Outcome::Copy,
        bytes: 0,
        latency: None,
        region: Id::new(0),
        operation: Id::new(0),
        write: Id::new(0),
        site: None,
        python: Id::new(0),
        native: Id::new(0),
        collection: None,
    }
}

/// The columns of some faults.
pub(super) fn encode(faults: &[Fault]) -> Vec<u8> {
    let mut columns: [Vec<u8>; COLUMNS] = std::array::from_fn(|_| Vec::with_capacity(faults.len() * 2));
    let mut before = none();
    for fault in faults {
        for (column, number) in columns.iter_mut().zip(numbers(fault, &before)) {
            put(column, number);
        }
        before = *fault;
    }
    let mut body = Vec::with_capacity(columns.iter().map(|column| column.len() + 4).sum());
    for column in columns {
        body.extend_from_slice(&u32::try_from(column.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(&column);
    }
    body
}

fn put(column: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        column.push(number as u8 | 0x80);
        number >>= 7;
    }
    column.push(number as u8);
}

/// The faults of a body; `None` if it holds not just so many.
pub(super) fn decode(body: &[u8], count: usize) -> Option<Vec<Fault>> {
    let mut rest = body;
    let mut columns: [&[u8]; COLUMNS] = [&[]; COLUMNS];
    for column in &mut columns {
        let (len, tail) = rest.split_first_chunk()?;
        (*column, rest) = tail.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        // Each number takes at least a byte: a count that is too large must not make room for it.
        if column.len() < count {
            return None;
        }
    }
    let mut faults = Vec::with_capacity(count);
    let mut before = none();
    for _ in 0..count {
        let mut numbers = [0; COLUMNS];
        for (number, column) in numbers.iter_mut().zip(&mut columns) {
            *number = get(column)?;
        }
        before = fault(numbers, &before)?;
        faults.push(before);
    }
    columns.iter().all(|column| column.is_empty()).then_some(faults)
}

#[inline]
fn get(column: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = column.split_first()?;
    *column = rest;
    if first < 0x80 {
        return Some(first.into());
    }
    get_long(column, first)
}

fn get_long(column: &mut &[u8], first: u8) -> Option<u64> {
    let mut number = u64::from(first & 0x7f);
    let mut shift = 7;
    loop {
        let (&byte, rest) = column.split_first()?;
        *column = rest;
        // The tenth byte has room for one bit.
        if shift > 63 || (shift == 63 && byte > 1) {
            return None;
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length() {
        for number in (0..64).flat_map(|bits| [(1_u64 << bits) - 1, 1 << bits, u64::MAX >> bits]) {
            let mut column = Vec::new();
            put(&mut column, number);
            let mut rest = column.as_slice();
            assert_eq!((get(&mut rest), rest.len()), (Some(number), 0));
            assert_eq!(get(&mut &column[..column.len() - 1]), None, "cut");
        }
        assert_eq!(get(&mut [0xff; 12].as_slice()), None, "too long");
    }

    #[test]
    fn differences() {
        for (value, before) in [(0, 0), (5, 3), (3, 5), (u64::MAX, 0), (0, u64::MAX), (1 << 63, 0)] {
            assert_eq!(sum(before, difference(value, before)), value, "{value} {before}");
        }
        assert!(difference(4, 5) < 4 && difference(5, 4) < 4, "small either way");
    }
}
