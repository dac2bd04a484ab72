//! Copies added up into rows.

use std::collections::{BTreeMap, HashMap};

use super::cuts::{Class, Cut, Key};
use super::escape::escape;
use super::groups::Group;
use super::scope::{Copied, Scope};
use super::words;
use crate::record::schema::{Fault, Id, NativeFrame, Operation, Site, Write};

/// Functions that are named for a file of native code.
const SYMBOLS: usize = 2;

/// Callers that are named with a function of native code.
const CALLERS: usize = 2;

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
    /// Who called the function, nearest first, if it is native code and most of its copies have these callers.
    pub(super) callers: Vec<String>,
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

/// Adds up the copies by a cut. The rows come in the order of their first faults.
pub(super) fn causes(scope: &Scope<'_>, cut: Cut) -> Vec<Cause> {
    numbered(scope, cut).0
}

/// The same of the copies of one process; `None` = of all.
pub(super) fn of(scope: &Scope<'_>, cut: Cut, process: Option<usize>) -> Vec<Cause> {
    let chosen = |group: &&Group| process.is_none_or(|process| group.fault.process == process);
    added_up(scope, cut, scope.copies().filter(chosen)).0
}

/// What copies of one row have in common: the numbers of the cut, and whether they are of the main program.
type Shared = ([u32; 4], bool);

/// Which row each copy belongs to.
pub(super) struct Numbers {
    cut: Cut,
    rows: HashMap<Shared, usize>,
}

impl Numbers {
    /// The position of the row that a copy belongs to.
    pub(super) fn of(&self, scope: &Scope<'_>, fault: &Fault) -> Option<usize> {
        self.rows.get(&((self.cut.group)(fault), scope.is_of_main(fault))).copied()
    }
}

/// The rows, and which copies are in them.
pub(super) fn numbered(scope: &Scope<'_>, cut: Cut) -> (Vec<Cause>, Numbers) {
    added_up(scope, cut, scope.copies())
}

fn added_up<'a>(
    scope: &Scope<'_>,
    cut: Cut,
    copied: impl Iterator<Item = &'a Group>,
) -> (Vec<Cause>, Numbers) {
    // Words are made once for every group of numbers, not for every fault.
    let mut groups: HashMap<Shared, usize> = HashMap::new();
    let mut rows: HashMap<Key, usize> = HashMap::new();
    let mut tallies: Vec<(Key, Tally)> = Vec::new();
    for copies in copied {
        let fault = &copies.fault;
        let row = *groups.entry(((cut.group)(fault), scope.is_of_main(fault))).or_insert_with(|| {
            let key = (cut.key)(scope, fault);
            *rows.entry(key.clone()).or_insert_with(|| {
                tallies.push((key, Tally::new(fault)));
                tallies.len() - 1
            })
        });
        tallies[row].1.count(copies);
    }
    let causes = tallies.into_iter().map(|(key, tally)| tally.finish(key, scope, cut)).collect();
    (causes, Numbers { cut, rows: groups })
}

/// A row while it is counted.
struct Tally {
    copied: Copied,
    by_process: BTreeMap<usize, u64>,
    operation: Id<Operation>,
    site: Option<Id<Site>>,
    sites: HashMap<Id<Site>, u64>,
    writes: HashMap<Id<Write>, u64>,
    operations: HashMap<Id<Operation>, u64>,
    native: HashMap<Id<Vec<NativeFrame>>, u64>,
}

impl Tally {
    fn new(fault: &Fault) -> Self {
        Self {
            copied: Copied::default(),
            by_process: BTreeMap::new(),
            operation: fault.operation,
            site: fault.site,
            sites: HashMap::new(),
            writes: HashMap::new(),
            operations: HashMap::new(),
            native: HashMap::new(),
        }
    }

    fn count(&mut self, Group { fault, copied, .. }: &Group) {
        self.copied.add(copied);
        *self.by_process.entry(fault.process).or_default() += copied.all_pages();
        if let Some(site) = fault.site {
            *self.sites.entry(site).or_default() += copied.all_bytes();
        }
        *self.writes.entry(fault.write).or_default() += copied.all_bytes();
        *self.operations.entry(fault.operation).or_default() += copied.all_bytes();
        *self.native.entry(fault.native).or_default() += copied.all_bytes();
    }

    fn finish(&self, key: Key, scope: &Scope<'_>, cut: Cut) -> Cause {
        let written = self.written(scope);
        let what = match key.what {
            Some(what) => self.chain(scope).unwrap_or(what),
            None if cut.writes => written.clone(),
            None => String::new(),
        };
        Cause {
            place: if key.class == Class::Native { key.place + &self.symbols(scope) } else { key.place },
            what,
            class: key.class,
            copied: self.copied,
            by_process: self.by_process.clone(),
            operation: self.operation,
            site: self.site,
            written,
            callers: self.callers(scope),
        }
    }

    /// The chain of imports that most of it is in.
    fn chain(&self, scope: &Scope<'_>) -> Option<String> {
        let known = |id: &Id<Operation>| scope.trace.operations.get(*id);
        words::chain(self.operations.iter().filter_map(|(id, bytes)| Some((known(id)?, *bytes))))
    }

    /// The callers of the place, as far as more than half of the copies agree.
    fn callers(&self, scope: &Scope<'_>) -> Vec<String> {
        let site = self.site.filter(|_| self.sites.len() == 1).and_then(|site| scope.trace.sites.get(site));
        let Some(function) =
            site.filter(|site| site.line.is_none()).and_then(|site| site.function.as_deref())
        else {
            return Vec::new();
        };
        let mut stacks: Vec<(Vec<&str>, u64)> = Vec::new();
        for (id, bytes) in &self.native {
            let frames = scope.trace.native.get(*id).map_or(&[][..], Vec::as_slice);
            stacks.push((callers_of(function, frames), *bytes));
        }
        let half: u64 = stacks.iter().map(|(_, bytes)| bytes).sum::<u64>() / 2;
        let mut agreed: Vec<String> = Vec::new();
        while agreed.len() < CALLERS {
            let at = agreed.len();
            let next =
                stacks.iter().filter_map(|(names, bytes)| Some(((*names.get(at)?).to_owned(), *bytes)));
            let Some((name, ..)) = most(next).filter(|(_, bytes, _)| *bytes > half) else { break };
            stacks.retain(|(names, _)| names.get(at).is_some_and(|other| *other == name));
            agreed.push(name);
        }
        agreed.iter().map(|name| escape(name)).collect()
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

    /// The functions that wrote most, of those that have a name: ` (malloc, free)`. Nothing where most was written by code
    /// without a name, which these would stand for.
    fn symbols(&self, scope: &Scope<'_>) -> String {
        let mut symbols: Vec<(u64, String)> = Vec::new();
        for (id, bytes) in &self.sites {
            symbols.extend(scope.trace.sites.get(*id).and_then(words::symbol).map(|name| (*bytes, name)));
        }
        let named: u64 = symbols.iter().map(|(bytes, _)| *bytes).sum();
        if named * 2 < self.copied.all_bytes() {
            return String::new();
        }
        symbols.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let names: Vec<String> = symbols.iter().take(SYMBOLS).map(|(_, name)| name.clone()).collect();
        match symbols.len() {
            0 => String::new(),
            all if all > names.len() => format!(" ({}, …)", names.join(", ")),
            _ => format!(" ({})", names.join(", ")),
        }
    }
}

/// Names of the functions that called the innermost one of this name, up to `main`; one that calls itself counts once.
fn callers_of<'a>(function: &str, frames: &'a [NativeFrame]) -> Vec<&'a str> {
    let is_place = |frame: &&NativeFrame| frame.symbol.as_deref() == Some(function);
    let mut names: Vec<&str> = frames
        .iter()
        .skip_while(|frame| !is_place(frame))
        .filter(|frame| frame.object.is_some())
        .filter_map(|frame| frame.symbol.as_deref())
        .collect();
    names.dedup();
    let end = names.iter().position(|name| *name == "main").map_or(names.len(), |main| main + 1);
    names.into_iter().take(end).skip(1).collect()
}

/// Why something is not known: copies that have no answer, and the main reason.
pub(super) struct Unanswered {
    /// What there is no answer to.
    pub(super) what: &'static str,
    /// How much.
    pub(super) copied: Copied,
    /// The reason that most of it has, in words.
    pub(super) reason: String,
    /// There are other reasons.
    pub(super) others: bool,
}

/// What is not known of all copies.
pub(super) fn unanswered(scope: &Scope<'_>) -> Vec<Unanswered> {
    let trace = scope.trace;
    let operation = |fault: &Fault| {
        trace.operations.get(fault.operation).filter(|o| o.kind == "unknown").map(|o| o.reason.as_deref())
    };
    let write = |fault: &Fault| {
        trace.writes.get(fault.write).filter(|w| w.kind == "unknown").map(|w| w.reason.as_deref())
    };
    let operations = why("unknown operation", scope, operation);
    operations.into_iter().chain(why("unknown write", scope, write)).collect()
}

fn why<'a>(
    what: &'static str,
    scope: &Scope<'a>,
    reason: impl Fn(&Fault) -> Option<Option<&'a str>>,
) -> Option<Unanswered> {
    let mut copied = Copied::default();
    let mut reasons: HashMap<&str, u64> = HashMap::new();
    for group in scope.copies() {
        let Some(reason) = reason(&group.fault) else { continue };
        copied.add(&group.copied);
        *reasons.entry(reason.unwrap_or("no reason was recorded")).or_default() += group.copied.all_bytes();
    }
    let others = reasons.len() > 1;
    let (reason, ..) = most(reasons.into_iter().map(|(reason, bytes)| (escape(reason), bytes)))?;
    Some(Unanswered { what, copied, reason, others })
}

/// The heaviest text, its weight, and the weight of all; the first by name of equal ones.
fn most(weights: impl Iterator<Item = (String, u64)>) -> Option<(String, u64, u64)> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    weights.for_each(|(text, bytes)| *sums.entry(text).or_default() += bytes);
    let all = sums.values().sum();
    let (text, bytes) = sums.into_iter().rev().max_by_key(|(_, bytes)| *bytes)?;
    Some((text, bytes, all))
}
