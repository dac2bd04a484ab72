//! Copies added up into rows.

use std::collections::{BTreeMap, HashMap};

use super::cuts::{Class, Cut, Key};
use super::escape::escape;
use super::scope::{Copied, Scope};
use super::words;
use crate::record::schema::{Fault, Id, Operation, Site, Write};

/// One row: copies with the same key.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    /// Where, in words.
    pub(super) place: String,
    /// What was done there, or what was mostly written; empty if the cut says neither.
    pub(super) what: String,
    /// Part of the table.
    pub(super) class: Class,
    /// How much was copied.
    pub(super) copied: Copied,
    /// Pages by process.
    pub(super) by_process: BTreeMap<usize, u64>,
    /// What the first of its faults was doing.
    pub(super) operation: Id<Operation>,
    /// Where the first of its faults was.
    pub(super) site: Option<Id<Site>>,
    /// What was mostly written, in words.
    pub(super) written: String,
}

impl Cause {
    /// Copied bytes.
    pub(super) const fn bytes(&self) -> u64 {
        self.copied.all_bytes()
    }

    /// Copied pages.
    pub(super) const fn pages(&self) -> u64 {
        self.copied.all_pages()
    }

    /// Processes that copied.
    pub(super) fn processes(&self) -> u64 {
        self.by_process.len() as u64
    }
}

/// Adds up the copies by a cut. The rows come in no particular order.
pub(super) fn causes(scope: &Scope<'_>, cut: Cut) -> Vec<Cause> {
    // Words are made once for every group of numbers, not for every fault.
    let mut groups: HashMap<[usize; 2], usize> = HashMap::new();
    let mut rows: HashMap<Key, usize> = HashMap::new();
    let mut tallies: Vec<Tally> = Vec::new();
    for fault in scope.copies() {
        let row = *groups.entry((cut.group)(fault)).or_insert_with(|| {
            let key = (cut.key)(scope, fault);
            *rows.entry(key).or_insert_with(|| {
                tallies.push(Tally::new(fault));
                tallies.len() - 1
            })
        });
        tallies[row].count(fault);
    }
    rows.into_iter().map(|(key, row)| tallies[row].finish(key, scope, cut)).collect()
}

/// A row while it is counted.
struct Tally {
    copied: Copied,
    by_process: BTreeMap<usize, u64>,
    operation: Id<Operation>,
    site: Option<Id<Site>>,
    writes: HashMap<Id<Write>, u64>,
    operations: HashMap<Id<Operation>, u64>,
}

impl Tally {
    fn new(fault: &Fault) -> Self {
        Self {
            copied: Copied::default(),
            by_process: BTreeMap::new(),
            operation: fault.operation,
            site: fault.site,
            writes: HashMap::new(),
            operations: HashMap::new(),
        }
    }

    fn count(&mut self, fault: &Fault) {
        self.copied.count(fault);
        *self.by_process.entry(fault.process).or_default() += 1;
        *self.writes.entry(fault.write).or_default() += fault.bytes;
        *self.operations.entry(fault.operation).or_default() += fault.bytes;
    }

    fn finish(&self, key: Key, scope: &Scope<'_>, cut: Cut) -> Cause {
        let written = self.written(scope);
        let what = match key.what {
            Some(what) => what,
            None if key.class == Class::Unknown => self.reasons(scope, cut),
            None if cut.writes => written.clone(),
            None => String::new(),
        };
        Cause {
            place: key.place,
            what,
            class: key.class,
            copied: self.copied,
            by_process: self.by_process.clone(),
            operation: self.operation,
            site: self.site,
            written,
        }
    }

    /// What was mostly written: exactly if it was one thing.
    fn written(&self, scope: &Scope<'_>) -> String {
        let known = |id: &Id<Write>| scope.trace.writes.get(*id);
        if let (1, Some(write)) = (self.writes.len(), self.writes.keys().next().and_then(known)) {
            return words::write_exact(write);
        }
        let sorts =
            self.writes.iter().filter_map(|(id, bytes)| Some((words::write_sort(known(id)?), *bytes)));
        most(sorts).map_or_else(String::new, |(sort, bytes, all)| match bytes {
            bytes if bytes == all => sort,
            bytes if bytes * 2 >= all => format!("mostly {sort}"),
            _ => format!("{sort}, others"),
        })
    }

    /// The main reason why what the cut asks for is not known.
    fn reasons(&self, scope: &Scope<'_>, cut: Cut) -> String {
        let operation = |id: &Id<Operation>| {
            scope.trace.operations.get(*id).filter(|o| o.kind == "unknown").and_then(|o| o.reason.clone())
        };
        let write = |id: &Id<Write>| {
            scope.trace.writes.get(*id).filter(|w| w.kind == "unknown").and_then(|w| w.reason.clone())
        };
        let main = if cut.writes {
            most(self.operations.iter().filter_map(|(id, bytes)| Some((operation(id)?, *bytes))))
        } else {
            most(self.writes.iter().filter_map(|(id, bytes)| Some((write(id)?, *bytes))))
        };
        let Some((reason, bytes, all)) = main else { return "no reason was recorded".to_owned() };
        let reason = escape(&reason);
        if bytes == all { reason } else { format!("{reason}, …") }
    }
}

/// The heaviest text, its weight, and the weight of all; the first by name of equal ones.
fn most(weights: impl Iterator<Item = (String, u64)>) -> Option<(String, u64, u64)> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    weights.for_each(|(text, bytes)| *sums.entry(text).or_default() += bytes);
    let all = sums.values().sum();
    let (text, bytes) = sums.into_iter().rev().max_by_key(|(_, bytes)| *bytes)?;
    Some((text, bytes, all))
}
