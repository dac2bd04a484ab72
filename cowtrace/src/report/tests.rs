//! Whole reports of small traces against `tests/golden/`; `COWTRACE_BLESS=1` writes them anew.

mod traces;

use std::path::PathBuf;

use unicode_width::UnicodeWidthStr;

use super::scope::Untouched;
use super::*;
use crate::record::fixture::{Builder, Page, line, operation, page, symbol, write as wrote};
use crate::record::json::is_invisible;
use crate::record::schema::{Outcome, PageSize, Site, Summary};

pub(crate) use traces::traces;
use traces::{MIB, MULTI, lossy, seed, shim};

pub(super) fn text(trace: &Trace, options: &Options<'_>) -> String {
    let mut out = Vec::new();
    write(trace, options, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn golden(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("COWTRACE_BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{name} differs (COWTRACE_BLESS=1 renews it):\n{actual}");
}

pub(super) fn options() -> Options<'static> {
    Options { directory: Some("/home/ann"), ..Options::default() }
}

/// Every report is as it was, fits its width, and has no character that a terminal acts on.
#[test]
fn reports() {
    for (name, trace) in traces() {
        for width in [80, 120] {
            let text = text(&trace, &Options { width, ..options() });
            assert!(text.lines().all(|line| line.width() <= width), "{name} is wider than {width}:\n{text}");
            assert!(!text.chars().any(|c| c != '\n' && is_invisible(c)), "{name}:\n{text}");
            golden(&format!("{name}-{width}.txt"), &text);
        }
    }
}

/// Every cut has the same total, and a narrow terminal or every row asked for breaks nothing.
#[test]
fn cuts() {
    for (name, trace) in traces() {
        let scope = Scope::new(&trace, None);
        let mut listed = scope::Copied::default();
        scope.copies().for_each(|group| listed.add(&group.copied));
        for by in REPORTS {
            let mut sum = scope::Copied::default();
            causes::causes(&scope, by).iter().for_each(|row| sum.add(&row.copied));
            assert_eq!(sum, listed, "{name} by {}", by.name);
            for sort in SORTS {
                text(&trace, &Options { by, width: 40, sort: Some(sort), limit: Some(1), ..options() });
            }
            text(&trace, &Options { by, all: true, color: true, ..options() });
        }
    }
    let mut all = String::new();
    for by in &REPORTS[1..] {
        let report = text(&seed(), &Options { by, ..options() });
        all += &format!("--by {}\n{}\n", by.name, report.split("\n\n").nth(1).unwrap());
    }
    golden("seed-cuts.txt", &all);
}

/// Nothing is lost on the way: what is listed and what is not make the totals of the kernel.
#[test]
fn lost_details_are_a_row() {
    let trace = lossy();
    let scope = Scope::new(&trace, None);
    let lost = scope.without_details();
    assert_eq!((lost.pages, lost.bytes, lost.file_pages, lost.file_bytes), (40, 40 * 4096, 1, 4096));
    assert_eq!(scope.total().pages, 180);
}

/// On a machine with larger pages they are counted as such: those that nobody listed, those that were written in place, and those
/// that are told of in pages.
#[test]
fn larger_pages() {
    for bytes in [4096, 16384, 65536] {
        let mut b = Builder::new(&["python3", "a.py"]);
        b.pages(PageSize::of_bytes(bytes).unwrap());
        let parent = b.process(None, "python3", 0);
        let child = b.process(Some(parent), "python3", 100 * bytes);
        let swap = Page {
            bytes,
            ..page(operation("call", ""), wrote("refcount", "str", ""), line("/a.py", 3, "f"))
        };
        b.faults(child, 5, &swap);
        b.faults(child, 7, &Page { outcome: Outcome::Reuse, ..swap.clone() });
        let trace = b.finish();
        let scope = Scope::new(&trace, None);
        let untouched = scope.untouched(child);
        assert!(
            matches!(untouched, Untouched::Bytes(left) if left == (100 - 5 - 7) * bytes),
            "{bytes}: {untouched:?}"
        );
        let text = text(&trace, &options());
        assert!(text.contains("(5 pages in one child process)"), "{bytes}: {text}");
        let mut out = Vec::new();
        write_json(&trace, &options(), &mut out).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["page_size"], bytes);
        assert_eq!(json["processes"][1]["copied_bytes"], 5 * bytes, "{json}");
    }
}

#[test]
fn json() {
    for (name, trace) in traces() {
        let mut out = Vec::new();
        write_json(&trace, &options(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.trim_end().chars().any(is_invisible), "{name}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["processes"].as_array().unwrap().len(), trace.processes.len());
        assert_eq!(value["summary"]["faults"], trace.summary.faults);
        if name == "seed" {
            golden("seed-report.json", &(serde_json::to_string_pretty(&value).unwrap() + "\n"));
        }
    }
}

/// What is in the report and what is not make the copies of the kernel.
#[test]
fn other_programs() {
    let trace = shim();
    let scope = Scope::new(&trace, None);
    let (total, unshared) = (scope.total(), scope.unshared());
    let Summary { copies, file_copies, .. } = trace.summary;
    assert_eq!(total.all_pages() + unshared.all_pages(), copies + file_copies);
    assert_eq!((unshared.pages, unshared.file_pages), (0, 3 * 14 + 85));
    let rows = causes::causes(&scope, &REPORTS[0]);
    let own: u64 = rows.iter().filter(|row| row.class == cuts::Class::Own).map(Cause::pages).sum();
    assert_eq!(own, 4, "only lines of the program that was meant are its own");
}

/// A page that is copied although no fork shared it is not said to have been.
#[test]
fn merged_pages() {
    let mut b = Builder::new(&["./prog"]);
    let root = b.process(None, "prog", 0);
    b.process(Some(root), "prog", MIB);
    let other = b.process(Some(root), "prog", MIB);
    b.exec(other, "other");
    b.faults(other, 3, &page(operation("native", ""), wrote("unknown", "", ""), None));
    let report = text(&b.finish(), &options());
    let told = "not counted  3 pages (12.0 KiB) copied that no fork had shared: merged by KSM,";
    assert!(report.contains(told), "{report}");
}

#[test]
fn names_of_cuts() {
    assert_eq!(cut("region").unwrap().name, "region");
    assert_eq!(sort("pages").unwrap().name, "pages");
    let error = cut("size\x1b").unwrap_err().to_string();
    assert_eq!(
        error,
        "no report is called 'size\\x1b', there are operation, write, site, process, region, object, module"
    );
}

/// With `--all` faults are listed from the start, but nothing is shared before the first fork.
#[test]
fn before_the_first_fork_nothing_is_copied() {
    let mut b = Builder::new(&["./prog"]);
    let copy = page(operation("startup", ""), wrote("library_data", "", ""), None);
    let parent = b.process(None, "prog", 0);
    let mut file = copy.clone();
    file.outcome = Outcome::FileCopy;
    b.faults(parent, 30, &file);
    b.faults(parent, 2, &copy);
    let child = b.process(Some(parent), "prog", MIB);
    b.faults(child, 5, &copy);
    b.faults(parent, 1, &file);
    let trace = b.finish();
    let total = Scope::new(&trace, None).total();
    assert_eq!((total.pages, total.file_pages), (5, 1));
    assert!(
        text(&trace, &options()).starts_with("The child process copied 20.0 KiB of the 1.0 MiB it inherited")
    );
}

/// A process that was there before cowtrace shares memory with somebody who is not in the trace.
#[test]
fn attached() {
    let mut b = Builder::new(&[]);
    let only = b.process(None, "worker", 0);
    let quiet = b.clone().finish();
    b.faults(only, 3, &page(operation("native", ""), wrote("malloc", "", ""), symbol("fill", "/bin/worker")));
    let start = text(&b.finish(), &options());
    assert!(
        start.starts_with(
            "The process copied 12.0 KiB.\nYour code: fill (worker), malloc's own data, 100 % (3 pages)."
        ),
        "{start}"
    );
    assert!(
        text(&quiet, &options()).starts_with("Nothing was forked while it was watched: no memory was shared")
    );
    assert!(text(&Trace::default(), &options()).starts_with("No process was seen."));
}

/// A line that is near the right one is marked, and the mark is explained once; without one there is no word of it.
#[test]
fn approximate_lines() {
    let of = |approximate| {
        let mut b = Builder::new(&["python", "multi.py"]);
        let parent = b.process(None, "python3", 0);
        let child = b.process(Some(parent), "python3", MIB);
        let site = line(MULTI, 9, "f").map(|site| Site { approximate, ..site });
        b.faults(child, 2, &page(operation("call", ""), wrote("refcount", "str", ""), site));
        text(&b.finish(), &options())
    };
    let (near, exact) = (of(true), of(false));
    assert!(near.contains("multi.py:~9 (f)"), "{near}");
    assert_eq!(near.matches("~ before a line").count(), 1, "{near}");
    assert!(exact.contains("multi.py:9 (f)") && !exact.contains('~'), "{exact}");
}

/// Indices that lead nowhere, as a damaged file may have them, break nothing.
#[test]
fn damaged() {
    let mut trace = seed();
    trace.processes[0].parent = Some(3);
    trace.processes[2].parent = Some(9999);
    trace.processes[3].generation = u32::MAX;
    trace.faults[0].process = usize::MAX;
    trace.processes[1].totals = crate::record::schema::ProcessTotals::default();
    trace.regions = crate::record::schema::Table::default();
    trace.operations = crate::record::schema::Table::default();
    for by in REPORTS {
        text(&trace, &Options { by, ..options() });
        write_json(&trace, &Options { by, ..options() }, &mut io::sink()).unwrap();
    }
}
