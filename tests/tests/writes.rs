//! What children write of their parent's memory is named right, kind by kind, on every interpreter: `workloads/writes.py`
//! writes, `workloads/writes.json` has what must be said of it.
#![expect(clippy::print_stdout, reason = "the figures of each interpreter are worth reading")]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use cowtrace_tests::python::{self, Interpreter};
use cowtrace_tests::{Fault, Trace, check, needs, programs};
use serde::Deserialize;

const PAGE: u64 = 4096;
/// Of a hundred writes so many may be named wrong, or not at all.
const WRONG: usize = 5;
const UNKNOWN: usize = 2;
/// Pages that the child may have written before, beside 2 of 100.
const WRITTEN_BEFORE: usize = 2;

/// What the script says of one case.
#[derive(Debug, Deserialize)]
struct Told {
    case: String,
    /// The child that wrote.
    pid: u32,
    /// Bytes that are the first of their page to be written.
    #[serde(default)]
    places: Vec<u64>,
    /// Bytes from each on any of which may be the first.
    #[serde(default = "word")]
    width: u64,
    /// What each place is called.
    #[serde(default)]
    names: Vec<String>,
    /// Memory that is written in no known order.
    #[serde(default)]
    spans: Vec<(u64, u64)>,
    /// The file whose lines write, if it is not the script.
    file: Option<PathBuf>,
    /// … and which of them, if it is one.
    line: Option<u32>,
}

const fn word() -> u64 {
    8
}

/// What must be said of one case, on some versions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// Minor versions.
    #[serde(default)]
    min: u32,
    #[serde(default = "newest")]
    max: u32,
    /// Any of these is right.
    right: Vec<Named>,
    /// Beside the places these may be written at the line, too.
    #[serde(default)]
    others: Vec<Named>,
    #[serde(default)]
    operation: Option<Operation>,
    /// Only what lies in regions of this kind is judged.
    region: Option<String>,
    /// At least so many are right.
    #[serde(default)]
    least: usize,
    /// Another thread than the first writes.
    #[serde(default)]
    in_thread: bool,
}

const fn newest() -> u32 {
    u32::MAX
}

/// A write as it must be named: what is not said may be anything. In a name `*` is any text, `{}` the place's name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    kind: String,
    #[serde(rename = "type")]
    of: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    kind: String,
    name: Option<String>,
}

/// Expectations that are no case's own.
#[derive(Debug, Deserialize)]
struct Expectations {
    /// May be written at every line: by the loop, the call, the first run of the code.
    everywhere: Vec<Named>,
    cases: BTreeMap<String, Vec<Expected>>,
}

impl Named {
    fn fits(&self, fault: &Fault, place: &str) -> bool {
        self.kind == fault.write.kind
            && self.of.as_ref().is_none_or(|of| fault.write.of.as_ref() == Some(of))
            && self.name.as_ref().is_none_or(|name| {
                fault.write.name.as_ref().is_some_and(|given| is_like(given, &name.replace("{}", place)))
            })
    }
}

/// Whether a text is as a pattern says, in which `*` stands for any text.
fn is_like(text: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => text == pattern,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len()).filter(|&at| text.is_char_boundary(at)).any(|at| is_like(&text[at..], rest))
        }),
    }
}

/// One case on one interpreter.
struct Judged<'a> {
    told: &'a Told,
    expected: &'a Expected,
    everywhere: &'a [Named],
    file: &'a Path,
    /// `None` = every line of the file.
    line: Option<u32>,
}

#[derive(Default)]
struct Count {
    right: usize,
    others: usize,
    unknown: usize,
    /// At the place, at another line or by another thread, by what was shown.
    wrong: BTreeMap<String, usize>,
    unnamed: BTreeMap<String, usize>,
    /// What was first on the pages of places that were not.
    elsewhere: BTreeMap<String, usize>,
}

impl Judged<'_> {
    fn count(&self, trace: &Trace) -> Count {
        let mut count = Count::default();
        let places: HashMap<u64, usize> =
            self.told.places.iter().enumerate().map(|(at, place)| (place / PAGE, at)).collect();
        for fault in trace.faults_of(self.told.pid).filter(|fault| fault.outcome == "copy") {
            let place = self.place(&places, fault);
            let in_place = place.is_some() || self.in_span(fault);
            if !in_place && !self.is_here(fault) {
                if places.contains_key(&(fault.address / PAGE)) {
                    *count.elsewhere.entry(shown(fault)).or_default() += 1;
                }
                continue;
            }
            let name = place.and_then(|at| self.told.names.get(at)).map_or("", String::as_str);
            let anywhere = self.told.places.is_empty() && self.told.spans.is_empty();
            let right = self.expected.right.iter().any(|named| named.fits(fault, name));
            let mut others = self.expected.others.iter().chain(self.everywhere);
            if right && (in_place || anywhere) && self.is_right_otherwise(fault, name) {
                count.right += 1;
            } else if fault.write.kind == "unknown" {
                count.unknown += 1;
                *count.unnamed.entry(shown(fault)).or_default() += 1;
            } else if !in_place && (right || others.any(|named| named.fits(fault, name))) {
                count.others += 1;
                if places.contains_key(&(fault.address / PAGE)) {
                    *count.elsewhere.entry(shown(fault)).or_default() += 1;
                }
            } else {
                *count.wrong.entry(self.why(fault)).or_default() += 1;
            }
        }
        count
    }

    /// Which place a fault is at.
    fn place(&self, places: &HashMap<u64, usize>, fault: &Fault) -> Option<usize> {
        let &at = places.get(&(fault.address / PAGE))?;
        let place = self.told.places[at];
        (place..place + self.told.width).contains(&fault.address).then_some(at)
    }

    fn in_span(&self, fault: &Fault) -> bool {
        self.told.spans.iter().any(|&(start, end)| (start..end).contains(&fault.address))
    }

    /// Whether a fault is at the line, and in memory that is judged.
    fn is_here(&self, fault: &Fault) -> bool {
        let region = self.expected.region.as_ref().is_none_or(|kind| fault.region.kind == *kind);
        region && self.is_at_line(fault)
    }

    fn is_at_line(&self, fault: &Fault) -> bool {
        let line = fault.line_in(self.file);
        line.is_some() && self.line.is_none_or(|expected| line == Some(expected))
    }

    /// Line, operation and thread.
    fn is_right_otherwise(&self, fault: &Fault, place: &str) -> bool {
        let operation = self.expected.operation.as_ref().is_none_or(|operation| {
            let name = operation.name.as_ref().map(|name| name.replace("{}", place));
            operation.kind == fault.operation.kind && (name.is_none() || name == fault.operation.name)
        });
        operation && self.is_at_line(fault) && (fault.tid != fault.pid) == self.expected.in_thread
    }

    fn why(&self, fault: &Fault) -> String {
        let line = match &fault.site {
            _ if self.is_at_line(fault) => String::new(),
            Some(site) => format!(" at {:?}:{:?}", site.file, site.line),
            None => " at no line".to_owned(),
        };
        let thread =
            if (fault.tid != fault.pid) == self.expected.in_thread { "" } else { " by another thread" };
        format!("{}{line}{thread}", shown(fault))
    }

    /// What is wrong.
    fn problems(&self, count: &Count) -> Vec<String> {
        let mut problems = Vec::new();
        let wrong: usize = count.wrong.values().sum();
        let all = count.right + wrong + count.unknown;
        if wrong * 100 > all * WRONG {
            problems.push(format!("{wrong} of {all} wrong: {:#?}", count.wrong));
        }
        if count.unknown * 100 > all * UNKNOWN {
            problems.push(format!("{} of {all} unknown: {:#?}", count.unknown, count.unnamed));
        }
        let places = self.told.places.len();
        let least = self.expected.least.max(places.saturating_sub(WRITTEN_BEFORE + places / 50)).max(1);
        if all < least {
            problems.push(format!("{all} of {least} are there; before them: {:#?}", count.elsewhere));
        }
        problems
    }
}

fn shown(fault: &Fault) -> String {
    let write = &fault.write;
    let name = write.name.as_deref().unwrap_or("-");
    // Names with numbers in them are alike.
    let name: String = name.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let of = write.of.as_deref().unwrap_or("-");
    let symbol = fault.native.first().and_then(|frame| frame.symbol.as_deref()).unwrap_or("-");
    let op = fault.python.first().and_then(|frame| frame.op.as_deref()).unwrap_or("-");
    let reason = write.reason.as_deref().unwrap_or("");
    format!("{} of {of} {name}, {}; {op} {symbol} {reason}", write.kind, fault.operation.kind)
}

/// Each case has its own child, which writes at one line, on many pages.
#[test]
fn every_kind_of_write() {
    if !needs::tracing() {
        return;
    }
    let script = programs::workload("writes.py");
    let text = std::fs::read_to_string(programs::workload("writes.json")).expect("the expectations");
    let expectations: Expectations = serde_json::from_str(&text).expect("expectations");
    python::on_each(1, |interpreter| {
        let problems = judge(interpreter, &script, &expectations);
        assert!(problems.is_empty(), "{interpreter}: {}", problems.join("\n"));
    });
}

/// What is wrong on one interpreter.
fn judge(interpreter: &Interpreter, script: &Path, expectations: &Expectations) -> Vec<String> {
    let traced = interpreter.run(script).trace();
    check::nothing_lost(&traced.trace);
    check::totals_add_up(&traced.trace);
    let stdout = traced.finished.stdout_text();
    let told: Vec<Told> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
    let mut problems = Vec::new();
    for (case, versions) in &expectations.cases {
        let mut versions = versions.iter().filter(|e| (e.min..=e.max).contains(&interpreter.minor.1));
        let Some(expected) = versions.next() else { continue };
        let Some(told) = told.iter().find(|told| told.case == *case) else {
            problems.push(format!("{case}: the script did not run it"));
            continue;
        };
        let seen = interpreter.seen(script);
        let own = told.file.is_none();
        let judged = Judged {
            told,
            expected,
            everywhere: &expectations.everywhere,
            file: told.file.as_deref().unwrap_or(&seen),
            line: told
                .line
                .or_else(|| own.then(|| programs::line_ending(script, &format!("  # the write: {case}")))),
        };
        let count = judged.count(&traced.trace);
        println!(
            "{case:18} {:5} places {:5} right {:5} others {:5} wrong {:5} unknown",
            told.places.len(),
            count.right,
            count.others,
            count.wrong.values().sum::<usize>(),
            count.unknown,
        );
        problems.extend(judged.problems(&count).into_iter().map(|problem| format!("{case}: {problem}")));
    }
    problems
}
