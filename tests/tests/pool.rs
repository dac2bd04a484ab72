//! A pool of two workers on every interpreter: nearly all that they copy is named, and named right where the script
//! knows what it wrote.
#![expect(clippy::print_stdout, reason = "the figures of each interpreter are worth reading")]

use std::collections::BTreeMap;
use std::path::Path;

use cowtrace_tests::builds::{self, Build};
use cowtrace_tests::{Fault, check, needs, programs};
use serde::Deserialize;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// What the script says about itself.
#[derive(Debug, Deserialize)]
struct Told {
    /// The workers.
    pids: Vec<u32>,
    /// The buffer.
    start: u64,
    end: u64,
}

/// What may be written at one line, in percent of the copies there at least.
struct Expected {
    /// Minor versions.
    versions: std::ops::RangeInclusive<u32>,
    /// End of the line.
    line: &'static str,
    /// At least so many copies there in both workers.
    least: usize,
    percent: usize,
    /// Whether a write is one of those that are expected.
    right: fn(&Fault) -> bool,
}

fn is_read(fault: &Fault) -> bool {
    // The iterator writes the count of what it gives out and nothing of the numbers inside the tuples.
    fault.write.kind == "refcount" && matches!(fault.write.of.as_deref(), Some("tuple" | "str"))
}

fn is_collection(fault: &Fault) -> bool {
    fault.write.kind == "gc_header" && fault.operation.kind == "gc"
}

const EXPECTED: &[Expected] = &[
    // At least 9,400 copies were seen in every version.
    Expected { versions: 8..=15, line: "  # the reading", least: 9000, percent: 95, right: is_read },
    Expected { versions: 8..=15, line: "  # the collection", least: 900, percent: 97, right: is_collection },
    // Values lie in the table that the instance owns: a split table of values up to 3.10, which is a dict's, of which
    // the instance is known where its memory names it.
    Expected {
        versions: 8..=10,
        line: "  # the attribute",
        least: 600,
        percent: 95,
        right: |fault| matches!(fault.write.kind.as_str(), "attribute" | "dict_entry"),
    },
    // Values without a dict in memory of their own; the instance's small header of values may be made afresh: a block
    // that is taken from the allocator.
    Expected {
        versions: 11..=12,
        line: "  # the attribute",
        least: 600,
        percent: 95,
        right: |fault| matches!(fault.write.kind.as_str(), "attribute" | "allocator"),
    },
    // Values in the instance itself: fewer pages, and nothing else is touched.
    Expected {
        versions: 13..=15,
        line: "  # the attribute",
        least: 200,
        percent: 95,
        right: |fault| matches!(fault.write.kind.as_str(), "attribute" | "object_body"),
    },
];

/// The workers' copies are named, to 98 of 100 bytes, and right where the script knows.
#[test]
fn what_two_workers_copy() {
    if !needs::tracing() {
        return;
    }
    let builds = builds::every();
    assert!(!builds.is_empty(), "no interpreter is here");
    let failed: Vec<String> = builds.iter().flat_map(judge).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What is wrong on one interpreter.
fn judge(build: &Build) -> Vec<String> {
    let source = programs::workload("pool.py");
    let script = build.place(&source);
    let traced = build.run(&script).trace();
    check::nothing_lost(&traced.trace);
    check::totals_add_up(&traced.trace);
    let told: Told =
        serde_json::from_slice(&traced.finished.stdout).expect("the script prints one JSON object");
    assert_eq!(told.pids.len(), 2, "{told:?}");
    let copies: Vec<&Fault> = traced
        .trace
        .faults
        .iter()
        .filter(|fault| told.pids.contains(&fault.pid) && fault.outcome == "copy")
        .collect();
    let mut wrong = Vec::new();
    wrong.extend(share_named(&copies));
    wrong.extend(buffer(&copies, &told, &source, &script.path));
    for expected in EXPECTED.iter().filter(|expected| expected.versions.contains(&build.minor)) {
        wrong.extend(at_line(&copies, expected, &source, &script.path));
    }
    wrong.into_iter().map(|text| format!("{}: {text}", build.name)).collect()
}

fn share_named(copies: &[&Fault]) -> Option<String> {
    let mut unknown: BTreeMap<String, usize> = BTreeMap::new();
    let bytes = |faults: &mut dyn Iterator<Item = &&Fault>| faults.map(|fault| fault.bytes).sum::<u64>();
    let is_unknown = |fault: &&&Fault| fault.write.kind == "unknown" || fault.operation.kind == "unknown";
    for fault in copies.iter().filter(is_unknown) {
        let symbol = fault.native.first().and_then(|frame| frame.symbol.as_deref()).unwrap_or("no symbol");
        let op = fault.python.first().and_then(|frame| frame.op.as_deref()).unwrap_or("no op");
        let reason = fault.write.reason.as_deref().unwrap_or("operation");
        *unknown.entry(format!("{reason}, {symbol}, {op}")).or_default() += 1;
    }
    let (all, missing) = (bytes(&mut copies.iter()), bytes(&mut copies.iter().filter(is_unknown)));
    println!("{} copies, {missing} of {all} bytes not named: {unknown:#?}", copies.len());
    (missing * 100 > all * 2).then(|| format!("{missing} of {all} bytes are not named: {unknown:#?}"))
}

/// Both workers write one byte on each page of the buffer. A page at either end may hold something else, too.
fn buffer(copies: &[&Fault], told: &Told, source: &Path, script: &Path) -> Option<String> {
    let line = programs::line_ending(source, "  # the buffer");
    let pages = usize::try_from((told.end - told.start) / PAGE).expect("a buffer of some pages") * 2;
    let there: Vec<_> =
        copies.iter().filter(|fault| (told.start..told.end).contains(&fault.address)).collect();
    let right = there
        .iter()
        .filter(|fault| fault.write.kind == "buffer" && fault.line_in(script) == Some(line))
        .count();
    let enough = there.len() <= pages + 2 && there.len() + 4 >= pages && right * 100 >= there.len() * 95;
    (!enough).then(|| format!("{right} of {} copies of {pages} pages of the buffer are right", there.len()))
}

fn at_line(copies: &[&Fault], expected: &Expected, source: &Path, script: &Path) -> Option<String> {
    let line = programs::line_ending(source, expected.line);
    let mut wrong: BTreeMap<String, usize> = BTreeMap::new();
    let (mut all, mut right) = (0, 0);
    for fault in copies.iter().filter(|fault| fault.line_in(script) == Some(line)) {
        all += 1;
        if (expected.right)(fault) {
            right += 1;
        } else {
            let what = format!("{} {:?} {}", fault.write.kind, fault.write.of, fault.operation.kind);
            *wrong.entry(what).or_default() += 1;
        }
    }
    let enough = all >= expected.least && right * 100 >= all * expected.percent;
    (!enough).then(|| format!("{right} of {all} are right at{}: {wrong:?}", expected.line))
}
