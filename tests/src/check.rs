//! What must be true of every trace, and of the traces of programs that say what they did.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::facts::{Fact, Mode};
use crate::needs;
use crate::trace::{Fault, LISTED, OUTCOMES, Process, Trace};

/// Nothing was lost, in any stage, on any CPU, in any process; and the export says so rather than leaving it out.
pub fn nothing_lost(trace: &Trace) {
    assert!(!trace.losses.is_empty(), "no line says what was lost");
    // Of a fault whose callers were not copied everything else is there.
    for loss in trace.losses.iter().filter(|loss| loss.stage != "native_stack") {
        assert_eq!(loss.count, 0, "lost in stage {} on CPU {}", loss.stage, loss.cpu);
    }
    assert_eq!(trace.summary.lost, 0, "lost in all");
    for process in &trace.processes {
        for (outcome, total) in &process.totals {
            assert_eq!(total.lost, 0, "{outcome} lost of process {} ({})", process.pid, process.comm);
        }
    }
}

/// Faults in one line, for complaints: how many there are of each process, operation and write, and the reasons of what is
/// unknown.
pub fn operations<'a>(faults: impl Iterator<Item = &'a Fault>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for fault in faults {
        let Fault { pid, operation, write, .. } = fault;
        let reason = operation.reason.as_deref().unwrap_or_default();
        *counts.entry(format!("{pid} {} {reason} {}", operation.kind, write.kind)).or_default() += 1;
    }
    counts
}

/// For every process and outcome, faults = listed + unlisted + lost; the summary is the sum over the processes, and a
/// collection that over its faults.
pub fn totals_add_up(trace: &Trace) {
    let known: HashSet<u32> = trace.processes.iter().map(|process| process.pid).collect();
    assert_eq!(known.len(), trace.processes.len(), "two lines for one process");
    for fault in &trace.faults {
        assert!(known.contains(&fault.pid), "a fault of process {}, which has no line: {fault:?}", fault.pid);
    }
    assert!(trace.faults.is_sorted_by_key(|fault| fault.time), "faults are not in order of time");
    let mut faults: HashMap<u32, Vec<&Fault>> = HashMap::new();
    for fault in &trace.faults {
        faults.entry(fault.pid).or_default().push(fault);
    }
    for process in &trace.processes {
        process_adds_up(process, faults.get(&process.pid).map_or(&[], Vec::as_slice));
    }
    collections_add_up(trace);
    let sum =
        |outcome: &str| trace.processes.iter().map(|process| faults_with(process, outcome)).sum::<u64>();
    let summary = &trace.summary;
    assert_eq!(
        summary.faults,
        OUTCOMES.iter().map(|outcome| sum(outcome)).sum::<u64>(),
        "faults of the summary"
    );
    assert_eq!(summary.copies, sum("copy"), "copies of the summary");
    assert_eq!(summary.file_copies, sum("file_copy"), "file copies of the summary");
    assert_eq!(summary.reuses, sum("reuse"), "reuses of the summary");
    assert_eq!(
        summary.copied_bytes,
        trace.processes.iter().map(|process| process.copied_bytes).sum::<u64>(),
        "copied bytes of the summary"
    );
    let processes: HashMap<u32, &Process> =
        trace.processes.iter().map(|process| (process.pid, process)).collect();
    for row in &summary.processes {
        let process = processes[&row.pid];
        assert_eq!(
            (row.copies, row.copied_bytes, row.inherited_bytes),
            (faults_with(process, "copy"), process.copied_bytes, process.inherited_bytes),
            "process {} of the summary",
            row.pid
        );
    }
}

/// Collections are numbered in the order of their beginnings, and each is the sum of the faults with its number.
fn collections_add_up(trace: &Trace) {
    assert!(trace.collections.is_sorted_by_key(|collection| collection.start), "{:#?}", trace.collections);
    for (index, collection) in trace.collections.iter().enumerate() {
        assert_eq!(collection.number as usize, index + 1, "{collection:?}");
        let faults: Vec<&Fault> = trace
            .faults
            .iter()
            .filter(|fault| fault.operation.collection == Some(collection.number))
            .collect();
        let (first, last) = (faults.first(), faults.last());
        let times = (first.map(|fault| fault.time), last.map(|fault| fault.time));
        assert_eq!(times, (Some(collection.start), Some(collection.end)), "{collection:?}");
        for fault in &faults {
            assert_eq!((fault.pid, fault.tid), (collection.pid, collection.tid), "{collection:?}: {fault:?}");
        }
        let bytes = faults.iter().map(|fault| fault.bytes);
        let pages = bytes.clone().filter(|bytes| *bytes > 0).count() as u64;
        assert_eq!((collection.pages, collection.bytes), (pages, bytes.sum()), "{collection:?}");
    }
    for fault in &trace.faults {
        let number = fault.operation.collection.unwrap_or_default() as usize;
        assert!(number <= trace.collections.len(), "no such collection: {fault:?}");
    }
}

fn process_adds_up(process: &Process, faults: &[&Fault]) {
    for outcome in OUTCOMES {
        let total =
            process.totals.get(outcome).unwrap_or_else(|| panic!("no total of {outcome}: {process:?}"));
        let listed = faults.iter().filter(|fault| fault.outcome == outcome).count() as u64;
        assert_eq!(
            total.faults,
            listed + total.unlisted + total.lost,
            "{outcome} of process {} ({}): {listed} listed, {total:?}",
            process.pid,
            process.comm
        );
    }
    assert_eq!(
        process.totals.len(),
        OUTCOMES.len(),
        "outcomes of process {}: {:?}",
        process.pid,
        process.totals
    );
    let copies = faults.iter().filter(|fault| fault.outcome == "copy");
    let (bytes, listed) = copies.fold((0, 0), |(bytes, count), fault| (bytes + fault.bytes, count + 1));
    if listed == faults_with(process, "copy") {
        assert_eq!(process.copied_bytes, bytes, "copied bytes of process {}", process.pid);
    }
}

fn faults_with(process: &Process, outcome: &str) -> u64 {
    process.totals.get(outcome).map_or(0, |total| total.faults)
}

/// Which faults a trace lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Those that are listed without being asked for.
    Default,
    /// All (`--all`).
    All,
}

/// The trace lists what the program says it did: per region, process and outcome exactly so many faults, at exactly these
/// bytes, by this thread, so many bytes copied; and in those regions nothing else.
pub fn facts(trace: &Trace, facts: &[Fact], listing: Listing) {
    let listed = |fact: &&Fact| {
        listing == Listing::All || (LISTED.contains(&fact.outcome.as_str()) && !fact.before_fork)
    };
    for fact in facts.iter().filter(listed) {
        check_fact(trace, fact);
    }
    for fault in &trace.faults {
        nothing_else(fault, facts);
    }
}

fn check_fact(trace: &Trace, fact: &Fact) {
    let found: Vec<&Fault> =
        trace.faults.iter().filter(|fault| covers(fact, fault) && fault.outcome == fact.outcome).collect();
    let what = format!("{} of process {} in region {}", fact.outcome, fact.pid, fact.region);
    let process = trace.process(fact.pid);
    assert_eq!(process.generation, fact.generation, "generation of process {}: {process:?}", fact.pid);
    if fact.mode == Mode::Gup && trace.header.rung == "base" {
        assert_eq!(found.len(), 0, "{what}: the base rung cannot see them");
        needs::skipped("the base rung does not see writes through get_user_pages");
        return;
    }
    // Such an access has no exception, and the kernel does not call its handler for what may not be accessed.
    if fact.mode == Mode::Kernel && fact.outcome == "failed" && trace.header.rung == "functions" {
        assert_eq!(found.len(), 0, "{what}: the rung of functions cannot see them");
        needs::skipped("the rung of functions does not see accesses of the kernel's own that it refuses");
        return;
    }
    assert_eq!(found.len() as u64, fact.pages, "{what}; there was: {}", outcomes(trace, fact));
    assert_eq!(found.iter().map(|fault| fault.bytes).sum::<u64>(), fact.bytes, "bytes of {what}");
    for fault in &found {
        assert!(
            fact.tid == 0 || fault.tid == fact.tid,
            "thread {}, expected {}: {fault:?}",
            fault.tid,
            fact.tid
        );
        assert!(fault.time >= process.start, "before its process began: {fault:?}, {process:?}");
        if let Some(offset) = fact.offset {
            assert_eq!(fault.address % 4096, offset, "byte of the page, {what}: {:#x}", fault.address);
        }
        if fact.generation > 0 {
            assert_eq!(
                fault.operation.kind == "kernel",
                fact.mode != Mode::User,
                "{:?}: {fault:?}",
                fact.mode
            );
        }
    }
    let pages: HashSet<u64> = found.iter().map(|fault| fault.address / 4096).collect();
    assert_eq!(pages.len(), found.len(), "a page is there twice: {what}");
}

/// A fault in a region must be one that a fact speaks of. Reads are let through (the kernel maps the pages around), and
/// where two threads contend for the pages what comes second is let through: `other`, or `reuse` (a test of its own).
fn nothing_else(fault: &Fault, facts: &[Fact]) {
    let Some(region) = facts.iter().find(|fact| inside(fact, fault)) else { return };
    let contended = facts.iter().any(|fact| fact.region == region.region && fact.tid == 0);
    let let_through =
        fault.outcome == "read" || (contended && ["other", "reuse"].contains(&fault.outcome.as_str()));
    let told = facts.iter().any(|fact| covers(fact, fault) && fact.outcome == fault.outcome);
    assert!(
        told || let_through,
        "the program knows nothing of this fault in region {}: {fault:?}",
        region.region
    );
}

fn inside(fact: &Fact, fault: &Fault) -> bool {
    (fact.start..fact.end).contains(&fault.address)
}

fn covers(fact: &Fact, fault: &Fault) -> bool {
    inside(fact, fault) && fault.pid == fact.pid
}

/// What a trace has of a region, for a message.
fn outcomes(trace: &Trace, fact: &Fact) -> String {
    let count = |outcome: &str| {
        trace.faults.iter().filter(|fault| covers(fact, fault) && fault.outcome == outcome).count()
    };
    OUTCOMES.map(|outcome| format!("{outcome} {}", count(outcome))).join(", ")
}
