//! Diffs of small traces, and golden texts; `COWTRACE_BLESS=1` writes those anew.

use std::path::PathBuf;

use unicode_width::UnicodeWidthStr as _;

use super::*;
use crate::record::fixture::{Builder, line, operation, page, write as wrote};
use crate::record::json::is_invisible;
use crate::record::schema::Outcome;

const MIB: u64 = 1 << 20;

/// A pool of workers that read a list; `jitter` is what differs from run to run, `headers` what the collector writes.
fn run(name: &str, workers: u64, jitter: u64, headers: u64, at: u32) -> Sums {
    let mut b = Builder::new(&["python", "pool.py"]);
    let parent = b.process(None, "python3", 0);
    let file = "/srv/app/pool.py";
    let read = page(operation("call", ""), wrote("refcount", "tuple", ""), line(file, at, "work"));
    let gc = page(operation("gc", ""), wrote("gc_header", "", ""), line(file, at + 1, "work"));
    let lists = page(operation("gc", ""), wrote("gc_header", "list", ""), line(file, at + 1, "work"));
    let queue = page(operation("worker_bookkeeping", "multiprocessing"), wrote("refcount", "str", ""), None);
    for worker in 0..workers {
        let child = b.process(Some(parent), "python3", 64 * MIB);
        b.faults(child, 250 + jitter + worker % 3, &queue);
        b.faults(child, 120 - jitter + worker % 2, &read);
        b.faults(child, headers / 2, &gc);
        b.faults(child, headers - headers / 2, &lists);
        let mut library = queue.clone();
        library.outcome = Outcome::FileCopy;
        b.faults(child, 2, &library);
    }
    b.faults(parent, 40 + jitter, &queue);
    Sums::of(&b.finish(), name, Some("/srv/app"), None)
}

fn text(diff: &Diff, width: usize) -> String {
    let mut out = Vec::new();
    diff.write(Look { width, color: false, all: false }, &mut out).unwrap();
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

fn json(diff: &Diff) -> serde_json::Value {
    let mut out = Vec::new();
    diff.write_json(&[], &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

/// The same script twice is no change, also if lines have moved and the pool has another size.
#[test]
fn the_same() {
    let same = Diff::new(vec![run("a.cow", 4, 0, 300, 10)], vec![run("b.cow", 6, 3, 301, 17)]).unwrap();
    assert!(!same.is_changed());
    assert!(
        text(&same, 100).starts_with("No change: workers copied 2.6 MiB each before"),
        "{}",
        text(&same, 100)
    );
    let value = json(&same);
    assert_eq!((&value["verdict"], &value["per"]), (&"same".into(), &"worker".into()));
    for section in ["where", "writes", "types", "causes"] {
        for row in value[section].as_array().unwrap() {
            assert!(matches!(row["change"].as_str(), Some("same")), "{row}");
            assert!(
                row["before"]["bytes"].as_f64() > Some(0.0) && row["after"]["bytes"].as_f64() > Some(0.0),
                "{row}"
            );
        }
    }
}

/// What the collector no longer writes is named, with its bytes and its direction.
#[test]
fn frozen() {
    let runs = |headers: u64| {
        (0..3).map(move |nth| run(&format!("{headers}-{nth}.cow"), 4, nth, headers + nth, 10)).collect()
    };
    let frozen = Diff::new(runs(300), runs(2)).unwrap();
    assert!(frozen.is_changed());
    for width in [80, 100] {
        let text = text(&frozen, width);
        assert!(text.lines().all(|line| line.width() <= width), "{text}");
        golden(&format!("diff-{width}.txt"), &text);
    }
    let value = json(&frozen);
    golden("diff.json", &(serde_json::to_string_pretty(&value).unwrap() + "\n"));
    let headers =
        value["writes"].as_array().unwrap().iter().find(|row| row["write"]["kind"] == "gc_header").unwrap();
    assert_eq!((&headers["change"], headers["change_pages"].as_f64()), (&"less".into(), Some(-298.0)));
    let back = Diff::new(runs(2), runs(300)).unwrap();
    assert!(text(&back, 100).contains("GC header 1.2 MiB more"), "{}", text(&back, 100));
}

/// Where workers of one run differ as much as two runs do, nothing is told.
#[test]
fn a_wide_spread() {
    let idle = |name: &str, busy: u64| {
        let mut b = Builder::new(&["python", "pool.py"]);
        let parent = b.process(None, "python3", 0);
        for worker in 0..4 {
            let child = b.process(Some(parent), "python3", MIB);
            b.faults(child, 10, &page(operation("call", ""), wrote("refcount", "int", ""), None));
            if worker < busy {
                b.faults(child, 400, &page(operation("gc", ""), wrote("gc_header", "", ""), None));
            }
        }
        Sums::of(&b.finish(), name, None, None)
    };
    let diff = Diff::new(vec![idle("a", 3)], vec![idle("b", 1)]).unwrap();
    assert_eq!(json(&diff)["verdict"], "unclear");
    assert!(
        text(&diff, 100).starts_with("No change that can be told from noise: workers copied"),
        "{}",
        text(&diff, 100)
    );
}

/// A process without workers.
fn alone(pages: u64) -> Sums {
    let mut b = Builder::new(&[]);
    let only = b.process(None, "server\x1b", 0);
    b.faults(only, pages, &page(operation("native", ""), wrote("malloc", "", ""), None));
    b.lost(only, Outcome::Copy, 3, 0);
    Sums::of(&b.finish(), "x\x1b.cow", None, None)
}

/// Without workers trees are compared, of which one shows no spread, and what is doubtful is said.
#[test]
fn trees_and_doubts() {
    let trees = |pages: [u64; 3]| pages.map(alone).to_vec();
    assert!(Diff::new(trees([100, 101, 102]), trees([200, 203, 201])).unwrap().is_changed());
    let diff = Diff::new(vec![alone(100)], vec![alone(200)]).unwrap();
    let text = text(&diff, 100);
    let nothing = "No change that can be told from noise: the tree copied 412.0 KiB before, 812.0 KiB after (+97 %); one \
                   recording a side shows no spread.";
    assert!(text.replace('\n', " ").starts_with(nothing), "{text}");
    assert!(text.contains("x\\x1b.cow may have copied more than is known: 3 records lost."), "{text}");
    assert!(text.contains("whole trees are compared"), "{text}");
    assert!(!text.chars().any(|c| c != '\n' && is_invisible(c)));
    assert_eq!(Diff::new(Vec::new(), vec![alone(1)]).unwrap_err(), Empty);
}
