//! The writes of a trace put together until they are few enough to be drawn.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::timeline::slice;
use super::Written;
use crate::record::schema::Trace;

/// Writes that are drawn one by one, at their own times.
const EXACT: usize = 40_000;
/// Cells of the map of one process, at most.
const CELLS: usize = 4_096;
/// Numbers of pages by process, cell, time and cause, at most, where writes are not drawn one by one.
const RECORDS: usize = 80_000;
/// Slices of time, at most and at least, where writes are not drawn one by one.
const SLICES: (u64, u64) = (1024, 16);
/// Bits of a page's number.
const BITS: u32 = 52;

/// The writes as they are drawn.
pub(super) struct Grid {
    pub(super) shift: u32,
    pub(super) slices: u64,
    /// Cells with their known pages, by program, mapping and number.
    pub(super) cells: BTreeMap<(usize, usize, u64), u64>,
    /// Pages by program, time, process, cell and cause.
    pub(super) records: Recorded,
}

impl Grid {
    /// Each write by itself if that is not too much; otherwise pages together, and times together, until it fits.
    pub(super) fn fitting(
        written: &[Written],
        forks: &HashMap<usize, Vec<u64>>,
        duration: u64,
    ) -> Option<Self> {
        let pages: HashSet<(usize, usize, u64)> =
            written.iter().map(|write| (write.program, write.region, write.page)).collect();
        let mut known: Vec<_> = pages.into_iter().collect();
        known.sort_unstable();
        let cells_of = |shift: u32| {
            let mut cells = BTreeMap::new();
            for (program, region, page) in &known {
                *cells.entry((*program, *region, page >> shift)).or_default() += 1;
            }
            cells
        };
        for shift in 0..=BITS {
            let cells = cells_of(shift);
            if cells.len() > CELLS {
                continue;
            }
            if shift == 0 && written.len() <= EXACT {
                let records = recorded(written, shift, |write| Some(write.time), usize::MAX)?;
                return Some(Self { shift, slices: 0, cells, records });
            }
            let mut slices = SLICES.0;
            while slices >= SLICES.1 {
                let at = |write: &Written| end_of_slice(write, forks, duration, slices);
                if let Some(records) = recorded(written, shift, at, RECORDS) {
                    return Some(Self { shift, slices, cells, records });
                }
                slices /= 2;
            }
        }
        None
    }
}

type Recorded = BTreeMap<(usize, u64, usize, (usize, u64), i64), u64>;

/// Pages together that are of one cell, time and cause; `None` = there are more than `most`.
fn recorded(
    written: &[Written],
    shift: u32,
    time: impl Fn(&Written) -> Option<u64>,
    most: usize,
) -> Option<Recorded> {
    let mut records = Recorded::new();
    for write in written {
        let Some(time) = time(write) else { continue };
        let cell = (write.region, write.page >> shift);
        *records.entry((write.program, time, write.process, cell, write.cause)).or_default() += write.pages;
        if records.len() > most {
            return None;
        }
    }
    Some(records)
}

/// The end of the slice that a write lies in: from then on it is drawn. `None` = the process forks before that, so that the
/// page is shared again at every moment that is drawn.
fn end_of_slice(
    write: &Written,
    forks: &HashMap<usize, Vec<u64>>,
    duration: u64,
    slices: u64,
) -> Option<u64> {
    let number = u128::from(slice(write.time, duration, slices)) + 1;
    let end = u64::try_from(number * (u128::from(duration) + 1) / u128::from(slices)).unwrap_or(u64::MAX);
    let end = end.max(write.time);
    let times = forks.get(&write.process).map_or(&[][..], Vec::as_slice);
    let next = times.get(times.partition_point(|fork| *fork <= write.time));
    next.is_none_or(|fork| *fork > end).then_some(end)
}

/// By process, when it shared its memory with a child, in the order of time.
pub(super) fn forks(trace: &Trace) -> HashMap<usize, Vec<u64>> {
    let mut forks: HashMap<usize, Vec<u64>> = HashMap::new();
    for process in &trace.processes {
        if let Some(parent) = process.forked_from() {
            forks.entry(parent).or_default().push(process.start);
        }
    }
    forks.values_mut().for_each(|times| times.sort_unstable());
    forks
}

/// The forks before which something was written since the one before; both by time.
pub(super) fn effective(forks: &[u64], written: &[u64]) -> Vec<u64> {
    let mut seen = 0;
    let has_effect = |fork: &&u64| {
        let until = written.partition_point(|time| time < *fork);
        std::mem::replace(&mut seen, until) < until
    };
    forks.iter().filter(has_effect).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fork counts if something was written since the one before.
    #[test]
    fn forks_without_writes_are_left_out() {
        assert_eq!(effective(&[5, 6, 9, 10, 20], &[1, 2, 6, 7, 30]), [5, 9]);
        assert!(effective(&[5, 6], &[]).is_empty());
    }
}
