//! `--explain`: advice about what was seen, and about nothing else.

use cowtrace_tests::{Run, Trace, Traced, check, needs, programs, python, seed};

/// The advice about collections.
const ADVICE: &str = "Call gc.freeze() in the parent just before it forks";

/// The trace, and every cause explained.
fn explained(run: Run) -> (Trace, String) {
    let Traced { trace, finished } = run.flag("--explain").flag("--limit").flag("0").reported();
    let report = finished.stderr_words();
    assert_eq!(finished.code(), 0, "{report}");
    check::nothing_lost(&trace);
    check::totals_add_up(&trace);
    (trace, report)
}

fn pages_of_collections(trace: &Trace) -> usize {
    trace.faults.iter().filter(|fault| fault.operation.kind == "gc" && fault.bytes > 0).count()
}

/// The advice is there if, and only if, a collection has copied pages.
fn advised_where_collected(trace: &Trace, report: &str) {
    let pages = pages_of_collections(trace);
    assert_eq!(report.contains(ADVICE), pages > 0, "{pages} pages of collections\n{report}");
    let heading = "garbage collector: ";
    assert_eq!(report.contains(heading), pages > 0, "{pages} pages of collections\n{report}");
}

/// Modules that are imported in each worker: the import is explained; and a collection if one fell into it.
#[test]
fn import_in_worker() {
    if !needs::tracing() {
        return;
    }
    let script = seed::script("4_import_in_worker");
    python::on_each(1, |interpreter| {
        let (trace, report) = explained(seed::run_forking(interpreter, &script));
        println!("{} pages of collections", pages_of_collections(&trace));
        advised_where_collected(&trace, &report);
        assert!(report.contains("Import it in the parent before the fork"), "{report}");
    });
}

/// A collection is explained, with what is done about it.
#[test]
fn collection() {
    if !needs::tracing() {
        return;
    }
    let script = programs::workload("experiments/collect.py");
    let line = programs::line_ending(&script, "  # the write");
    python::on_each(1, |interpreter| {
        let (trace, report) = explained(interpreter.run(&script));
        assert!(pages_of_collections(&trace) >= 300, "{} pages", pages_of_collections(&trace));
        advised_where_collected(&trace, &report);
        let heading = report.rfind("garbage collector: ").map_or("", |at| &report[at..]);
        let heading = heading.split(" A garbage collection").next().unwrap_or_default();
        println!("{heading}");
        assert!(heading.ends_with(&format!(", most at collect.py:{line}")), "{heading}\n{report}");
    });
}

/// Who has followed the advice does not get it again.
#[test]
fn collection_after_a_freeze() {
    if !needs::tracing() {
        return;
    }
    let script = programs::workload("experiments/collect.py");
    python::on_each(1, |interpreter| {
        let (trace, report) = explained(interpreter.run(&script).arg("freeze"));
        println!("{} pages of collections", pages_of_collections(&trace));
        advised_where_collected(&trace, &report);
    });
}
