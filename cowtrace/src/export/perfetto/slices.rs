//! Slices that have begun. On one track they are nested: what begins while another is open is a part of it, and a part
//! does not end after the whole.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Open slices of all tracks.
#[derive(Debug, Default)]
pub(super) struct Slices {
    /// By track, outermost first: when each ends.
    open: HashMap<u64, Vec<u64>>,
    /// When slices end, and on which track. One that came to end later than it seemed has another entry.
    ends: BinaryHeap<Reverse<(u64, u64)>>,
}

impl Slices {
    /// A slice begins now. Those that it is part of end with it or later.
    pub(super) fn open(&mut self, track: u64, end: u64) {
        let open = self.open.entry(track).or_default();
        for whole in open.iter_mut() {
            *whole = end.max(*whole);
        }
        open.push(end);
        self.ends.push(Reverse((end, track)));
    }

    /// Takes the ends of everything that is over before this moment, by time, as (when, track). What ends at this very
    /// moment is not over: a slice that was told by one fault begins and ends with it, and the fault is a part of it.
    pub(super) fn over_before(&mut self, now: u64) -> Vec<(u64, u64)> {
        let mut over = Vec::new();
        while let Some(&Reverse((end, track))) = self.ends.peek()
            && end < now
        {
            self.ends.pop();
            let open = self.open.entry(track).or_default();
            while let Some(innermost) = open.pop_if(|innermost| *innermost <= end) {
                over.push((innermost, track));
            }
        }
        over
    }

    /// Takes the ends of everything that is still open.
    pub(super) fn over(&mut self) -> Vec<(u64, u64)> {
        let mut last = self.over_before(u64::MAX);
        for (track, open) in self.open.drain() {
            last.extend(open.iter().rev().map(|end| (*end, track)));
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole ends with its last part or later, and ends come by time.
    #[test]
    fn parts_end_before_the_whole() {
        let mut slices = Slices::default();
        slices.open(1, 10);
        slices.open(2, 7);
        slices.open(1, 12);
        assert_eq!(slices.over_before(7), []);
        assert_eq!(slices.over_before(8), [(7, 2)]);
        assert_eq!(slices.over_before(12), []);
        assert_eq!(slices.over_before(13), [(12, 1), (12, 1)]);
        slices.open(1, u64::MAX);
        assert_eq!((slices.over(), slices.over()), (vec![(u64::MAX, 1)], vec![]));
    }
}
