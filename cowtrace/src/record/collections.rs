//! The garbage collections of a trace, from the faults that were found to belong to one.

use std::collections::HashMap;

use serde::Serialize;

use super::schema::{Collection, Fault, Site, Trace};

/// A collection as JSON has it, in JSON Lines and in a report.
#[derive(Clone, Debug, Serialize)]
pub struct CollectionLine<'a> {
    number: u32,
    pid: Option<u32>,
    tid: u32,
    generation: Option<u8>,
    start: u64,
    end: u64,
    pages: u64,
    bytes: u64,
    site: Option<&'a Site>,
}

/// The line of a collection.
#[must_use]
pub fn line<'a>(trace: &'a Trace, collection: &Collection) -> CollectionLine<'a> {
    CollectionLine {
        number: collection.number,
        pid: trace.processes.get(collection.process).map(|process| process.pid),
        tid: collection.tid,
        generation: collection.generation,
        start: collection.start,
        end: collection.end,
        pages: collection.pages,
        bytes: collection.bytes,
        site: collection.site.and_then(|site| trace.sites.get(site)),
    }
}

/// Collections while they are added up, by the numbers that the session gave them.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    numbers: HashMap<u32, usize>,
    collections: Vec<Collection>,
}

impl Numbering {
    /// Counts a fault, if it belongs to a collection; returns the collection's position.
    fn count(&mut self, fault: &Fault) -> Option<usize> {
        let number = fault.collection?;
        let index = *self.numbers.entry(number).or_insert_with(|| {
            self.collections.push(Collection {
                number,
                process: fault.process,
                tid: fault.tid,
                generation: None,
                start: fault.time,
                end: fault.time,
                pages: 0,
                bytes: 0,
                site: fault.site,
            });
            self.collections.len() - 1
        });
        let collection = &mut self.collections[index];
        collection.start = collection.start.min(fault.time);
        collection.end = collection.end.max(fault.time);
        if fault.bytes > 0 {
            collection.pages += 1;
            collection.bytes += fault.bytes;
        }
        Some(index)
    }

    /// Counts faults that are not kept.
    pub(super) fn count_all(&mut self, faults: &[Fault]) {
        for fault in faults {
            self.count(fault);
        }
    }

    /// Adds faults that are sorted by time, and numbers all collections anew, in the order of their first fault.
    /// `generations` has those of the old numbers.
    #[must_use]
    pub(super) fn finish(mut self, faults: &mut [Fault], generations: &[Option<u8>]) -> Vec<Collection> {
        for fault in &*faults {
            self.count(fault);
        }
        let Self { mut numbers, mut collections } = self;
        let olds: HashMap<usize, u32> = numbers.iter().map(|(old, index)| (*index, *old)).collect();
        let mut order: Vec<usize> = (0..collections.len()).collect();
        order.sort_by_key(|index| collections[*index].start);
        for (number, index) in (1..).zip(order) {
            collections[index].number = number;
            if let Some(old) = olds.get(&index) {
                let generation = generations.get((*old as usize).wrapping_sub(1));
                collections[index].generation = generation.copied().flatten();
                numbers.insert(*old, number as usize);
            }
        }
        for fault in faults {
            let number = fault.collection.and_then(|old| numbers.get(&old));
            fault.collection = number.and_then(|number| u32::try_from(*number).ok());
        }
        collections.sort_by_key(|collection| collection.number);
        collections
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::{Builder, operation, page, write};

    /// Numbers go by time whatever they were, and only what was copied counts as such.
    #[test]
    fn in_the_order_of_time() {
        let mut b = Builder::new(&["x"]);
        let only = b.process(None, "x", 0);
        b.faults(only, 4, &page(operation("gc", ""), write("gc_header", "", ""), None));
        let mut trace = b.finish();
        for (fault, old) in trace.faults.iter_mut().zip([Some(2), None, Some(1), Some(2)]) {
            fault.collection = old;
        }
        trace.faults[3].bytes = 0;
        let collections = Numbering::default().finish(&mut trace.faults, &[Some(0), Some(2)]);
        let told: Vec<_> = collections.iter().map(|c| (c.number, c.generation, c.pages, c.bytes)).collect();
        assert_eq!(told, [(1, Some(2), 1, 4096), (2, Some(0), 1, 4096)]);
        assert_eq!(trace.faults[3].collection, Some(1));
        assert_eq!(collections[0].end, trace.faults[3].time);
    }

    /// It does not matter how many of the faults are kept.
    #[test]
    fn some_are_not_kept() {
        let mut b = Builder::new(&["x"]);
        let only = b.process(None, "x", 0);
        b.faults(only, 6, &page(operation("gc", ""), write("gc_header", "", ""), None));
        let mut faults = b.finish().faults;
        for (fault, old) in faults.iter_mut().zip([Some(2), None, Some(1), Some(2), Some(3), Some(1)]) {
            fault.collection = old;
        }
        let generations = [Some(0), Some(1), Some(2)];
        let all = Numbering::default().finish(&mut faults.clone(), &generations);
        assert_eq!(all.len(), 3);
        for kept in 0..faults.len() {
            let mut numbering = Numbering::default();
            let (old, new) = faults.split_at(kept);
            numbering.count_all(old);
            assert_eq!(numbering.finish(&mut new.to_vec(), &generations), all, "{kept}");
        }
    }
}
