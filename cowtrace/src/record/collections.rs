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

/// Adds up the collections of faults that are sorted by time, and numbers them anew, in the order of their first fault.
/// `generations` has those of the old numbers.
#[must_use]
pub(super) fn numbered(faults: &mut [Fault], generations: &[Option<u8>]) -> Vec<Collection> {
    let mut numbers: HashMap<u32, usize> = HashMap::new();
    let mut collections: Vec<Collection> = Vec::new();
    for fault in faults {
        let Some(old) = fault.collection else { continue };
        let index = *numbers.entry(old).or_insert_with(|| {
            collections.push(Collection {
                number: u32::try_from(collections.len() + 1).unwrap_or(u32::MAX),
                process: fault.process,
                tid: fault.tid,
                generation: generations.get((old as usize).wrapping_sub(1)).copied().flatten(),
                start: fault.time,
                end: fault.time,
                pages: 0,
                bytes: 0,
                site: fault.site,
            });
            collections.len() - 1
        });
        let collection = &mut collections[index];
        fault.collection = Some(collection.number);
        collection.end = fault.time;
        if fault.bytes > 0 {
            collection.pages += 1;
            collection.bytes += fault.bytes;
        }
    }
    collections
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
        let collections = numbered(&mut trace.faults, &[Some(0), Some(2)]);
        let told: Vec<_> = collections.iter().map(|c| (c.number, c.generation, c.pages, c.bytes)).collect();
        assert_eq!(told, [(1, Some(2), 1, 4096), (2, Some(0), 1, 4096)]);
        assert_eq!(trace.faults[3].collection, Some(1));
        assert_eq!(collections[0].end, trace.faults[3].time);
    }
}
