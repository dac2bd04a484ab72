use super::*;
use crate::record::fixture::{Builder, line, operation, page, unknown, write as wrote};
use crate::record::schema::{Trace, WRITE_KINDS};

fn told(trace: &Trace, width: usize, all: bool) -> String {
    let mut out = Vec::new();
    let mut paper = Paper { out: &mut out, width, color: false };
    write(&Scope::new(trace, None), all, &mut paper).unwrap();
    String::from_utf8(out).unwrap()
}

fn trace(version: &str) -> Trace {
    let mut b = Builder::new(&["python", "a.py"]);
    b.python(version, Some("row"));
    let parent = b.process(None, "python3", 0);
    let child = b.process(Some(parent), "python3", 1 << 30);
    let at = |n| line("/a.py", n, "f");
    b.faults(child, 3, &page(operation("call", ""), wrote("refcount", "str", ""), at(4)));
    b.faults(child, 5, &page(operation("call", ""), wrote("refcount", "tuple", ""), at(9)));
    b.faults(child, 40, &page(operation("gc", ""), wrote("gc_header", "tuple", ""), at(2)));
    b.faults(child, 2, &page(unknown("no stack"), wrote("unknown", "", ""), None));
    b.finish()
}

/// Every kind of write has a row for whatever was done, and so has every operation that explains more than the write.
#[test]
fn every_kind_has_a_row() {
    for write in WRITE_KINDS.iter().copied().filter(|kind| *kind != "unknown") {
        assert!(find("call", write).is_some_and(|row| row.write == write), "{write}");
    }
    for operation in
        ["import", "module_swap", "gc", "fork_bookkeeping", "worker_bookkeeping", "startup", "exit"]
    {
        assert!(find(operation, "unknown").is_some_and(|row| row.operation == operation), "{operation}");
    }
    assert!(find("call", "unknown").is_none() && find("unknown", "unknown").is_none());
}

/// Every sentence is one, and no row hides behind an earlier one.
#[test]
fn rows_are_well_formed() {
    for (at, row) in ROWS.iter().enumerate() {
        assert!(row.about.ends_with('.') && !row.about.contains("  "), "{}", row.about);
        assert!(row.remedy.is_empty() || row.remedy.ends_with('.'), "{}", row.remedy);
        let kinds = |kind, other| if kind == ANY { other } else { kind };
        let found = find(kinds(row.operation, "call"), kinds(row.write, "unknown"));
        assert!(found.is_some_and(|found| std::ptr::eq(found, row)), "row {at}");
    }
}

/// The evidence stands before the words: pages, share, processes and the place of most of it; what has no pages is not
/// explained, and what is not known neither.
#[test]
fn with_evidence_only() {
    let text = told(&trace("3.11.7"), 80, false);
    assert!(
        text.contains("\ngarbage collector: 40 pages (160.0 KiB, 80 %) in 1 process, most at a.py:2 (f)\n"),
        "{text}"
    );
    assert!(
        text.contains("\nrefcount: 8 pages (32.0 KiB, 16 %) in 1 process, most at a.py:9 (f)\n"),
        "{text}"
    );
    assert!(text.contains("gc.freeze()") && !text.contains("Import it in the parent"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.find("garbage collector") < text.find("refcount"));
}

/// What is said of immortal objects holds only from 3.12 on, and only if every interpreter is that new.
#[test]
fn versions_matter() {
    assert!(!told(&trace("3.11.7"), 80, false).contains("immortal"));
    assert!(told(&trace("3.12.1"), 80, false).contains("immortal"));
    let mut both = trace("3.14.0");
    both.header.interpreters.extend(trace("3.9.2").header.interpreters);
    assert!(!told(&both, 80, false).contains("immortal"));
}
