//! Scripts that make their writes one by one and know where: each page must be charged to what was written there. A wrong
//! name fails; what is unknown counts against the share that must be named.
#![expect(clippy::print_stdout, reason = "figures that people want to see")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cowtrace_tests::{Fault, Trace, check, needs, programs, python, repeats};
use serde::Deserialize;

/// Share of a script's pages that must be named, percent.
const NAMED: usize = 98;

/// What a script says that it did.
#[derive(Debug, Deserialize)]
struct Fact {
    pid: u32,
    what: String,
    /// Where it wrote, and nothing but this wrote since the fork: first byte, and the one behind the last.
    ranges: Vec<(u64, u64)>,
    /// On how many pages; `None` = it does not know.
    pages: Option<usize>,
}

/// What must be said of it: the file beside the script.
#[derive(Debug, Deserialize)]
struct Expected {
    what: String,
    /// Kinds of writes, one of which it is.
    write: Vec<String>,
    /// Types, one of which it is; null = none need be said. Absent = any.
    #[serde(rename = "type", default)]
    of: Option<Vec<Option<String>>>,
    #[serde(default)]
    name: Option<String>,
    /// What was done; where an answer has none, it was not told apart.
    #[serde(default)]
    action: Option<String>,
    operation: String,
    /// Something else may have written some of its pages before: a tenth may be missing.
    #[serde(default)]
    neighbours: bool,
    /// Its line is not the marked one but in code that this calls.
    #[serde(default)]
    elsewhere: bool,
}

impl Expected {
    /// What is wrong with the answer; `None` = nothing, or there is no answer.
    fn wrong(&self, fault: &Fault, line: u32, script: &Path) -> Option<&'static str> {
        let (write, operation) = (&fault.write, &fault.operation);
        let known = write.kind != "unknown";
        if known && !self.write.contains(&write.kind) {
            return Some("kind");
        }
        if let Some(types) = self.of.as_ref().filter(|_| known)
            && write.of.is_some()
            && !types.contains(&write.of)
        {
            return Some("type");
        }
        if known && self.name.is_some() && write.name.is_some() && write.name != self.name {
            return Some("name");
        }
        if known && self.action.is_some() && write.action.is_some() && write.action != self.action {
            return Some("action");
        }
        if operation.kind != "unknown" && operation.kind != self.operation {
            return Some("operation");
        }
        (!self.elsewhere && fault.line_in(script) != Some(line)).then_some("line")
    }
}

/// How many pages were named, for one sort of write.
#[derive(Default)]
struct Score {
    named: usize,
    pages: usize,
}

fn on_every_interpreter(name: &str) {
    if !needs::tracing() {
        return;
    }
    let script = programs::workload(&format!("writes/{name}.py"));
    let expected = fs::read_to_string(script.with_extension("json")).expect("expectations beside the script");
    let expected: Vec<Expected> = serde_json::from_str(&expected).expect("expectations");
    let mut failures = Vec::new();
    for interpreter in python::all() {
        for _ in 0..repeats(1) {
            let traced = interpreter.run(&script).trace();
            check::nothing_lost(&traced.trace);
            check::totals_add_up(&traced.trace);
            let stdout = traced.finished.stdout_text();
            let facts: Vec<Fact> =
                stdout.lines().map(|line| serde_json::from_str(line).expect("a fact")).collect();
            assert!(!facts.is_empty(), "{interpreter}: the script told nothing");
            for problem in judge(&interpreter.seen(&script), &script, &traced.trace, &facts, &expected) {
                println!("{interpreter}: {problem}");
                failures.push(format!("{interpreter}: {problem}"));
            }
        }
    }
    assert!(failures.is_empty(), "{name}:\n{}", failures.join("\n"));
}

/// What is wrong with a trace of a script. `seen` is its path in the trace.
fn judge(seen: &Path, script: &Path, trace: &Trace, facts: &[Fact], expected: &[Expected]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut all = Score::default();
    for fact in facts {
        let Some(expected) = expected.iter().find(|expected| expected.what == fact.what) else {
            problems.push(format!("nothing is expected of {:?}", fact.what));
            continue;
        };
        let line = programs::line_ending(script, &format!("# {}", fact.what));
        let found = copies_in(trace, fact);
        let pages = found.iter().map(|fault| fault.address / 4096).collect::<BTreeSet<_>>().len();
        let enough = match fact.pages {
            None => pages > 0,
            Some(told) if expected.neighbours => pages <= told && pages * 10 >= told * 9,
            Some(told) => pages == told,
        };
        if !enough {
            problems.push(format!("{}: {pages} pages copied, told {:?}", fact.what, fact.pages));
        }
        let mut wrong: BTreeMap<String, usize> = BTreeMap::new();
        for fault in &found {
            all.pages += 1;
            all.named += usize::from(fault.write.kind != "unknown" && fault.operation.kind != "unknown");
            if let Some(what) = expected.wrong(fault, line, seen) {
                *wrong.entry(format!("{what}: {}", answer(fault))).or_default() += 1;
            }
        }
        let unknown = found.iter().filter(|fault| fault.write.kind == "unknown").count();
        if unknown > 0 {
            println!("{}: {unknown} of {} unknown", fact.what, found.len());
        }
        problems.extend(wrong.iter().map(|(what, count)| format!("{}: {count} wrong in {what}", fact.what)));
    }
    if all.named * 100 < all.pages * NAMED {
        problems.push(format!("{} of {} pages are named", all.named, all.pages));
    }
    problems
}

/// Copies in the ranges of a fact, by its process.
fn copies_in<'a>(trace: &'a Trace, fact: &Fact) -> Vec<&'a Fault> {
    let mut ranges = fact.ranges.clone();
    ranges.sort_unstable();
    let inside = |address: u64| {
        let next = ranges.partition_point(|(start, _)| *start <= address);
        next.checked_sub(1).is_some_and(|at| address < ranges[at].1)
    };
    let copied = |fault: &&Fault| fault.outcome == "copy" && inside(fault.address);
    trace.faults_of(fact.pid).filter(copied).collect()
}

fn answer(fault: &Fault) -> String {
    let write = &fault.write;
    let line = fault.site.as_ref().and_then(|site| site.line);
    format!(
        "{} {:?} {:?} {:?}, {} at line {line:?}",
        write.kind, write.of, write.name, write.action, fault.operation.kind
    )
}

/// Bytes of buffers, stored one by one, as slices, by the C library and by the kernel.
#[test]
fn buffers() {
    on_every_interpreter("buffers");
}

/// Reference counts of strings, tuples and instances, taken and dropped.
#[test]
fn reference_counts() {
    on_every_interpreter("refcounts");
}

/// Items of a list, values of a dict, slots, attributes of a module, entries of `sys.modules`.
#[test]
fn containers() {
    on_every_interpreter("containers");
}

/// Memory that is used again, given back, and counters of code that runs for the first time.
#[test]
fn memory() {
    on_every_interpreter("memory");
}
