//! The six scripts of the question that cowtrace was made to answer, on every version of
//! CPython that cowtrace knows.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cowtrace_tests::trace::Page;
use cowtrace_tests::{Fault, Trace, check, needs, programs, python, seed};

/// What a script did.
struct Ran {
    /// Minor version of the interpreter.
    minor: u32,
    /// The script, as the program sees it.
    script: PathBuf,
    /// The script, as this test sees it.
    source: PathBuf,
    trace: Trace,
    /// The workers that ran a task.
    workers: BTreeSet<u32>,
}

/// Runs a script on every build and hands over what it did.
fn on_every_build(script: &str, judge: impl Fn(&Ran)) {
    if !needs::tracing() {
        return;
    }
    let source = seed::script(script);
    python::on_each(1, |interpreter| {
        let traced = seed::run_forking(interpreter, &source).flag("--key").flag(KEY).trace();
        let workers = seed::workers(&traced.finished.stdout_text());
        for &worker in &workers {
            assert_eq!(traced.trace.process(worker).generation, 1, "worker {worker}");
        }
        check::nothing_lost(&traced.trace);
        check::totals_add_up(&traced.trace);
        assert!(traced.finished.stderr.is_empty(), "stderr: {}", traced.finished.stderr_text());
        judge(&Ran {
            minor: interpreter.minor.1,
            script: interpreter.seen(&source),
            source: source.clone(),
            trace: traced.trace,
            workers,
        });
    });
}

fn swaps(trace: &Trace) -> Vec<&Fault> {
    trace.faults.iter().filter(|fault| fault.operation.kind == "module_swap").collect()
}

fn no_swaps(script: &str) {
    on_every_build(script, |ran| assert!(swaps(&ran.trace).is_empty(), "{:?}", swaps(&ran.trace)));
}

/// Equal ids of `sys` show nothing: no module is swapped.
#[test]
fn script_1_id_of_sys() {
    no_swaps("1_id_sys");
}

/// Looking `os` up swaps no module.
#[test]
fn script_2_id_of_os() {
    no_swaps("2_id_os");
}

/// Looking up a module that was imported before the fork swaps no module.
#[test]
fn script_3_id_of_statistics() {
    no_swaps("3_id_statistics");
}

/// Every worker that ran a task imported `statistics` and what that pulls in, at the line that says so.
#[test]
fn script_4_import_in_worker() {
    on_every_build("4_import_in_worker", |ran| {
        let Ran { script, trace, workers, .. } = ran;
        let line = programs::line_ending(&ran.source, "import statistics");
        assert_eq!(line, 6);
        for &worker in workers {
            let imports: Vec<&Fault> = trace
                .faults_of(worker)
                .filter(|f| f.operation.kind == "import" && f.operation.name.as_deref() == Some("statistics"))
                .collect();
            let copied = imports.iter().filter(|fault| fault.outcome == "copy").count();
            // From 3.12 on there are objects whose references are not counted, and fewer pages are written.
            let least = if ran.minor >= 12 { 150 } else { 200 };
            assert!(copied >= least, "{copied} pages copied by the import in worker {worker}");
            for fault in &imports {
                assert_eq!(fault.line_in(script), Some(line), "{fault:?}");
                assert_eq!(
                    fault.operation.chain.first().map(String::as_str),
                    Some("statistics"),
                    "{fault:?}"
                );
            }
            let chain: BTreeSet<&str> =
                imports.iter().flat_map(|f| &f.operation.chain).map(String::as_str).collect();
            for module in ["fractions", "decimal"] {
                assert!(
                    chain.contains(module),
                    "{module} is not among the imports of worker {worker}: {chain:?}"
                );
            }
        }
        for fault in trace.faults.iter().filter(|f| f.operation.name.as_deref() == Some("statistics")) {
            assert!(workers.contains(&fault.pid), "process {} ran no task: {fault:?}", fault.pid);
        }
        assert!(swaps(trace).is_empty(), "{:?}", swaps(trace));
    });
}

/// Asked for in every script, and how it is called in the answer.
const KEY: &str = "sys.modules[statistics]";
const NAME: &str = "sys.modules['statistics']";

/// Whether the process had the page with the module's entry for itself before the assignment, by a write that is listed: the
/// assignment has no fault then. Where the table shares a page with what is written often, as that of Debian 11's CPython 3.9 does,
/// this is so.
fn had_entry(trace: &Trace, pid: u32, script: &Path, line: u32) -> bool {
    let of_entry = |page: &&Page| page.pid == pid && page.key.as_deref() == Some(NAME);
    trace.pages.iter().filter(of_entry).any(|page| {
        let is_it =
            |fault: &&Fault| Some(fault.time) == page.time && fault.address >> 12 == page.address >> 12;
        let found = trace.faults_of(pid).find(is_it);
        page.state == "private" && found.is_some_and(|fault| fault.line_in(script) != Some(line))
    })
}

/// Exactly one swap of `statistics` for every worker that ran a task, at the assignment, and none elsewhere.
fn one_swap_each(script: &str, assignment: &str, expected_line: u32) {
    on_every_build(script, |ran| {
        let Ran { script, trace, workers, .. } = ran;
        let line = programs::line_ending(&ran.source, assignment);
        assert_eq!(line, expected_line);
        let swaps = swaps(trace);
        let swapped: Vec<u32> = swaps.iter().map(|fault| fault.pid).collect();
        let expected: BTreeSet<u32> =
            workers.iter().copied().filter(|pid| !had_entry(trace, *pid, script, line)).collect();
        assert!(ran.minor == 9 || expected == *workers, "whose page it was: {:#?}", trace.pages);
        assert_eq!(swapped.iter().copied().collect::<BTreeSet<_>>(), expected, "who swapped: {swaps:#?}");
        assert_eq!(swapped.len(), expected.len(), "more than one swap in a worker: {swaps:#?}");
        for fault in swaps {
            assert_eq!(fault.operation.name.as_deref(), Some("statistics"), "{fault:?}");
            assert_eq!(fault.write.kind, "dict_entry", "{fault:?}");
            assert_eq!(fault.write.name.as_deref(), Some("sys.modules['statistics']"), "{fault:?}");
            assert_eq!(fault.line_in(script), Some(line), "{fault:?}");
            let innermost = fault.python.first().unwrap_or_else(|| panic!("no frame: {fault:?}"));
            assert_eq!(innermost.op.as_deref(), Some("STORE_SUBSCR"), "{fault:?}");
            assert_eq!(&PathBuf::from(&innermost.file), script, "{fault:?}");
            assert_eq!((innermost.function.as_str(), innermost.line), ("f", Some(line)), "{fault:?}");
        }
    });
}

/// The same number for all: equal ids, and yet every worker's table was written.
#[test]
fn script_5_swap_for_the_same() {
    one_swap_each("5_swap_same", "= 12345678902345678", 8);
}

/// A number for each task: exactly the same writes.
#[test]
fn script_6_swap_for_another() {
    one_swap_each("6_swap_each", "= n", 9);
}
