//! Ruby: what children write of their parent's memory is named right, case by case: `workloads/writes.rb` writes,
//! `workloads/ruby.json` has what must be said of it. A pool with its application loaded before it forks is named nearly
//! altogether, and a version that is not known is named and left alone.
#![expect(clippy::print_stdout, reason = "the figures of each case are worth reading")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use cowtrace_tests::builds::{self, Build};
use cowtrace_tests::{Fault, Run, Trace, check, needs, programs};
use serde::Deserialize;

const RUBY: &str = "/usr/bin/ruby3.1";
/// Of a hundred copies at a case's line so many may be of a kind that is not expected there.
const WRONG: usize = 5;
/// Of a hundred copies so many may be unknown, where nothing else is said: the parser's syntax trees and tables have no owner
/// that could be found, and its functions have no names.
const fn unknown() -> usize {
    5
}

/// What the script says of one case.
#[derive(Debug, Deserialize)]
struct Told {
    case: String,
    /// The child that wrote.
    pid: u32,
}

/// What must be said of one case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// Operation of what is judged, with its name.
    operation: String,
    operation_name: Option<String>,
    /// Any of these is right.
    right: Vec<Named>,
    /// At least so many are.
    least: usize,
    /// The copies of the operation are judged, wherever they are; else those at the case's line.
    #[serde(default)]
    anywhere: bool,
    /// Of a hundred copies of the child so many may be unknown.
    #[serde(default = "unknown")]
    unknown: usize,
}

/// A write as it must be named: what is not said may be anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    kind: String,
    #[serde(rename = "type")]
    of: Option<String>,
    name: Option<String>,
    action: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Expectations {
    /// May be written at every line: by the call, the first run of the code, the block that has been given.
    everywhere: Vec<Named>,
    cases: BTreeMap<String, Expected>,
}

impl Named {
    fn fits(&self, fault: &Fault) -> bool {
        let is = |wanted: &Option<String>, given: &Option<String>| wanted.is_none() || wanted == given;
        let write = &fault.write;
        self.kind == write.kind
            && is(&self.of, &write.of)
            && is(&self.name, &write.name)
            && is(&self.action, &write.action)
    }
}

fn shown(fault: &Fault) -> String {
    let write = &fault.write;
    let frame = fault.ruby.first().map_or("-", |frame| frame.function.as_str());
    let reason = write.reason.as_deref().unwrap_or("");
    format!("{} of {:?} {:?} {:?} in {frame} {reason}", write.kind, write.of, write.name, write.action)
}

/// Whether this machine has the version that is tested; if not, says so.
fn has_ruby() -> bool {
    if !needs::tracing() {
        return false;
    }
    let there = Path::new(RUBY).exists();
    if !there {
        needs::skipped("there is no Ruby 3.1, which cargo xtask test installs on Debian 12");
    }
    there
}

fn copies_of(trace: &Trace, pid: u32) -> impl Iterator<Item = &Fault> {
    trace.faults_of(pid).filter(|fault| fault.outcome == "copy")
}

/// Each case has its own child, which writes at one line, on many pages.
#[test]
fn every_kind_of_write() {
    if !needs::tracing() {
        return;
    }
    for build in builds::rubies() {
        every_kind_with(&build);
    }
}

fn every_kind_with(build: &Build) {
    println!("{}", build.name);
    let script = programs::workload("writes.rb");
    let placed = build.place(&script);
    let text = std::fs::read_to_string(programs::workload("ruby.json")).expect("the expectations");
    let expectations: Expectations = serde_json::from_str(&text).expect("expectations");
    let traced = build.run(&placed).trace();
    check::nothing_lost(&traced.trace);
    check::totals_add_up(&traced.trace);
    let interpreter = traced.trace.header.interpreters.first().expect("an interpreter");
    let layout = format!("ruby-3.{}", build.minor);
    assert_eq!((interpreter.name.as_str(), interpreter.layout.as_ref()), ("Ruby", Some(&layout)));
    let stdout = traced.finished.stdout_text();
    let told: Vec<Told> = stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(told.len(), expectations.cases.len(), "cases that nobody judges");
    let mut problems = Vec::new();
    for told in &told {
        let expected = &expectations.cases[&told.case];
        let line = programs::line_ending(&script, &format!("# the write {}", told.case));
        let place = (placed.path.as_path(), line);
        problems.extend(judge(&traced.trace, told, expected, &expectations.everywhere, place));
    }
    assert!(problems.is_empty(), "{}: {}", build.name, problems.join("\n"));
}

fn judge(
    trace: &Trace,
    told: &Told,
    expected: &Expected,
    everywhere: &[Named],
    (script, line): (&Path, u32),
) -> Vec<String> {
    let is_here = |fault: &&Fault| {
        let is_operation = fault.operation.kind == expected.operation
            && (expected.operation_name.is_none() || expected.operation_name == fault.operation.name);
        let is_line = fault.line_in(script) == Some(line);
        is_operation && (expected.anywhere || is_line)
    };
    let (mut right, mut wrong) = (0, BTreeMap::<String, usize>::new());
    for fault in copies_of(trace, told.pid).filter(is_here) {
        if expected.right.iter().any(|named| named.fits(fault)) {
            right += 1;
        } else if fault.write.kind != "unknown" && !everywhere.iter().any(|named| named.fits(fault)) {
            *wrong.entry(shown(fault)).or_default() += 1;
        }
    }
    let unknown = copies_of(trace, told.pid).filter(|fault| fault.write.kind == "unknown").count();
    let all = copies_of(trace, told.pid).count();
    let wrongs: usize = wrong.values().sum();
    println!("{:20} {right:5} right {wrongs:5} wrong {unknown:5} unknown of {all}", told.case);
    let mut problems = Vec::new();
    if right < expected.least {
        problems.push(format!("{}: {right} of {} are there", told.case, expected.least));
    }
    if wrongs * 100 > (right + wrongs) * WRONG {
        problems.push(format!("{}: {wrongs} wrong: {wrong:#?}", told.case));
    }
    if unknown * 100 > all * expected.unknown {
        problems.push(format!("{}: {unknown} of {all} unknown", told.case));
    }
    problems
}

/// Workers of a pool whose parent has loaded what they use: nearly all has a line of Ruby's or a symbol, and the lines are
/// the script's own where it says so.
#[test]
fn a_preloaded_pool() {
    if !needs::tracing() {
        return;
    }
    for build in builds::rubies() {
        a_pool_with(&build);
    }
}

fn a_pool_with(build: &Build) {
    let script = programs::workload("pool.rb");
    let placed = build.place(&script);
    let traced = build.run(&placed).trace();
    check::nothing_lost(&traced.trace);
    let faults = || traced.trace.faults.iter().filter(|fault| fault.outcome == "copy");
    let bytes = |faults: &mut dyn Iterator<Item = &Fault>| faults.map(|fault| fault.bytes).sum::<u64>();
    let all = bytes(&mut faults());
    let has_symbol = |fault: &&Fault| fault.native.first().is_some_and(|frame| frame.symbol.is_some());
    let named = bytes(&mut faults().filter(|fault| !fault.ruby.is_empty() || has_symbol(fault)));
    let unknown = bytes(&mut faults().filter(|fault| fault.write.kind == "unknown"));
    println!(
        "{}: {all} bytes copied, {named} with a line or a symbol, {unknown} of unknown writes",
        build.name
    );
    assert!(named * 100 >= all * 99, "{named} of {all}");
    assert!(unknown * 100 <= all * 5, "{unknown} of {all}");
    assert!(faults().all(|fault| fault.python.is_empty()), "frames of Ruby's are no Python frames");
    let served = programs::line_ending(&script, "# served");
    let at_line = faults().filter(|fault| fault.line_in(&placed.path) == Some(served)).count();
    assert!(at_line >= 100, "{at_line} copies where requests are served");
    // A major collection in each worker.
    for process in traced.trace.processes.iter().filter(|process| process.generation == 1) {
        let full =
            |pid| traced.trace.collections.iter().any(|one| one.pid == pid && one.generation == Some(2));
        assert!(full(process.pid), "no full collection in {}", process.pid);
    }
}

/// A thread beside the main one is found, and its frames are its own.
#[test]
fn another_thread() {
    if !needs::tracing() {
        return;
    }
    let script = programs::workload("threads.rb");
    let line = programs::line_ending(&script, "# written");
    for build in builds::rubies() {
        let placed = build.place(&script);
        let traced = build.run(&placed).trace();
        check::nothing_lost(&traced.trace);
        let here = |fault: &&Fault| fault.outcome == "copy" && fault.line_in(&placed.path) == Some(line);
        let of_text = |fault: &&Fault| fault.write.kind == "buffer" && fault.pid != fault.tid;
        let written = traced.trace.faults.iter().filter(here).filter(of_text).count();
        assert!(written >= 295, "{}: {written} of 300", build.name);
    }
}

/// A version of the future: it is named, its frames are not seen, nothing is made up.
#[test]
fn a_version_that_is_not_known() {
    if !has_ruby() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let library =
        std::fs::canonicalize("/usr/lib/x86_64-linux-gnu/libruby-3.1.so.3.1").expect("Ruby's library");
    let mut bytes = std::fs::read(&library).expect("Ruby's library");
    let version = b"\x003.1.2\0";
    let at: Vec<usize> =
        (0..bytes.len() - version.len()).filter(|&at| bytes[at..].starts_with(version)).collect();
    assert!(!at.is_empty(), "the library tells its version");
    for at in at {
        bytes[at + 1] = b'9';
    }
    let copy = folder.path().join("libruby-3.1.so.3.1");
    std::fs::write(&copy, bytes).expect("a copy");
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let works = Command::new(RUBY)
        .env("LD_LIBRARY_PATH", folder.path())
        .args(["--disable-gems", "-e", "exit 0"])
        .status();
    assert!(works.expect("Ruby").success(), "the copy does not run");
    let code =
        "s = 'x' * 400_000; Process.wait(fork { i = 0; while i < 400_000; s.setbyte(i, 1); i += 4096; end })";
    let traced = Run::new(RUBY)
        .arg("--disable-gems")
        .arg("-e")
        .arg(code)
        .env("LD_LIBRARY_PATH", folder.path())
        .trace();
    let interpreter = traced.trace.header.interpreters.first().expect("an interpreter");
    assert_eq!((interpreter.version.as_str(), &interpreter.layout), ("9.1.2", &None));
    assert!(
        traced.trace.faults.iter().all(|fault| fault.ruby.is_empty()),
        "frames of a version that is not known"
    );
    let copied = traced.trace.faults.iter().filter(|fault| fault.outcome == "copy").count();
    assert!(copied >= 90, "{copied} copies");
    let stderr = traced.finished.stderr_text();
    assert!(stderr.contains("Ruby 9.1.2") && stderr.contains("not one that cowtrace knows"), "{stderr}");
}
