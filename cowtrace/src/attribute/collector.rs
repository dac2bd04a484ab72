//! Garbage collections, each with a number: which faults are one collection's.
//!
//! A collection of a thread goes on as long as its faults come under one interpreter stack (the instruction that
//! triggered it, in every frame), in one epoch of the process and for one generation. It ends when the thread is seen
//! somewhere else, with more than [`MOST_OUTSIDE`] faults of something else under the same stack, when the process
//! forks, or when another generation is collected. Two collections that one instruction triggers with nothing seen in
//! between, as in `while True: gc.collect()`, are one here; the second has hardly a page left to copy, unless the process
//! has forked.
//!
//! Where the interpreter's functions have names, the collector is known by them. Where they have none, many collector
//! heads in a row, written by one instruction under one stack, are taken for one: hardly anything else looks so, and where
//! the interpreter counts what it has allocated since the last collection, those counts must be 0.

use std::collections::HashMap;
use std::sync::Arc;

use super::stack::KnownStack;
use super::{Amendment, Evidence, Output, library, operation};
use crate::record::schema::Write;

/// So many heads in a row are a collection; a list that loses a few neighbours makes fewer.
const RUN: usize = 8;

/// Faults of something else that a collection may have between two of its own: what the collector frees or writes for
/// itself, finalizers.
const MOST_OUTSIDE: usize = 16;

/// Who wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// A function of the collector, by its name, or because the interpreter says that it collects.
    Collector,
    /// A function without a name, to a collector's head.
    Head,
    /// Something else.
    Other,
}

impl Writer {
    /// Who made this write.
    pub(super) fn of(evidence: &Evidence<'_>, write: &Write) -> Self {
        match evidence.symbol {
            _ if evidence.collecting => Self::Collector,
            Some(symbol) if evidence.in_interpreter && library::is_collector(symbol) => Self::Collector,
            None if evidence.in_interpreter && write.kind == "gc_header" => Self::Head,
            Some(_) | None => Self::Other,
        }
    }
}

/// A fault, as far as collections are concerned.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) process: usize,
    pub(super) tid: u32,
    /// Forks that had write-protected the process's pages.
    pub(super) epoch: u32,
    pub(super) ip: u64,
    /// Identity of the interpreter stack; 0 = none.
    pub(super) stack_hash: u64,
    pub(super) stack: Option<&'a Arc<KnownStack>>,
    /// One more than the generation whose counts are 0; 0 = not known, or none.
    pub(super) generation: u8,
    /// `generation` can be known for this interpreter.
    pub(super) counted: bool,
    pub(super) writer: Writer,
    /// Its number in the list of faults.
    pub(super) fault: usize,
}

/// A fault's place in a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// The collection, from 1 on.
    pub(super) number: u32,
    /// Its generation, if this fault tells.
    pub(super) generation: Option<u8>,
    /// Faults before this one that belong to it, too, which could not be told before.
    pub(super) earlier: Vec<usize>,
}

/// The collections of all threads.
#[derive(Default)]
pub(super) struct Collections {
    threads: HashMap<(usize, u32), Run>,
    numbers: u32,
}

/// What a thread was last seen collecting.
#[derive(Default)]
struct Run {
    /// `None` = not certain yet that it is a collection.
    number: Option<u32>,
    epoch: u32,
    ip: u64,
    stack_hash: u64,
    stack: Option<Arc<KnownStack>>,
    generation: u8,
    /// Its faults, until they are certain; then those of something else since its last.
    waiting: Vec<usize>,
    heads: usize,
    outside: usize,
}

impl Run {
    fn begin(seen: &Seen<'_>) -> Self {
        Self {
            epoch: seen.epoch,
            ip: seen.ip,
            stack_hash: seen.stack_hash,
            stack: seen.stack.map(Arc::clone),
            generation: seen.generation,
            ..Self::default()
        }
    }

    /// Whether a collector's write goes on with this.
    fn goes_on(&self, seen: &Seen<'_>) -> bool {
        let generation = self.generation == 0 || seen.generation == 0 || self.generation == seen.generation;
        self.epoch == seen.epoch && self.stack_hash == seen.stack_hash && generation
    }

    /// Something else was written: within the collection, by what a finalizer called, or behind its end.
    fn other(&mut self, seen: &Seen<'_>) {
        let same = seen.stack_hash == self.stack_hash;
        let below = || match (seen.stack, &self.stack) {
            (Some(seen), Some(own)) => seen.beyond(own).is_some(),
            _ => false,
        };
        if seen.epoch != self.epoch || self.outside >= MOST_OUTSIDE || !(same || below()) {
            *self = Self::default();
            return;
        }
        self.outside += 1;
        if same {
            self.waiting.push(seen.fault);
        }
    }
}

impl Collections {
    /// Takes the next fault. `None` = it belongs to no collection, as far as can be told now.
    pub(super) fn fault(&mut self, seen: &Seen<'_>) -> Option<Member> {
        let key = (seen.process, seen.tid);
        // Objects have been allocated since the last collection: this head is another's.
        let allocated = seen.writer == Writer::Head && seen.counted && seen.generation == 0;
        if seen.writer == Writer::Other || allocated {
            if let Some(run) = self.threads.get_mut(&key) {
                run.other(seen);
            }
            return None;
        }
        let run = self.threads.entry(key).or_default();
        let named = seen.writer == Writer::Collector;
        let uncertain = run.number.is_none();
        if !run.goes_on(seen) || (uncertain && (named || run.ip != seen.ip)) {
            *run = Run::begin(seen);
        }
        run.heads += 1;
        if run.number.is_none() && !named && run.heads < RUN {
            run.waiting.push(seen.fault);
            return None;
        }
        let number = *run.number.get_or_insert_with(|| {
            self.numbers = self.numbers.saturating_add(1);
            self.numbers
        });
        run.generation = run.generation.max(seen.generation);
        run.outside = 0;
        let generation = run.generation.checked_sub(1).filter(|_| seen.counted);
        Some(Member { number, generation, earlier: std::mem::take(&mut run.waiting) })
    }

    /// Takes the next fault, and tells its collection and those of the faults before it to whom it concerns.
    pub(super) fn assign(
        &mut self,
        seen: &Seen<'_>,
        evidence: &mut Evidence<'_>,
        write: &Write,
        output: &mut Output,
    ) -> Option<u32> {
        let Member { number, generation, earlier } = self.fault(seen)?;
        let known = output.generations.len().max(number as usize);
        output.generations.resize(known, None);
        if let Some(of) = output.generations.get_mut(number as usize - 1).filter(|_| generation.is_some()) {
            *of = generation;
        }
        evidence.collector_run = true;
        if !earlier.is_empty() {
            let unnamed = Evidence { symbol: None, ..evidence.clone() };
            let gc = output.operations.intern(operation::of(&unnamed, write));
            for fault in earlier {
                output.amend(Amendment { fault, operation: gc, collection: Some(number) });
            }
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests;
