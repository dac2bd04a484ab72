//! Budgets of small traces.

use super::*;
use crate::record::fixture::{Builder, line, operation, page, write as wrote};
use crate::record::schema::{Outcome, Trace};

const MIB: u64 = 1 << 20;

fn builder() -> Builder {
    let mut b = Builder::new(&["python", "pool.py"]);
    let parent = b.process(None, "python3", 0);
    let call = page(operation("call", ""), wrote("refcount", "str", ""), line("/a/pool.py", 3, "f"));
    let gc = page(operation("gc", ""), wrote("gc_header", "", ""), None);
    b.faults(parent, 0, &call);
    for nth in 0..3 {
        let worker = b.process(Some(parent), "python3", MIB);
        b.faults(worker, 10 + nth, &call);
        b.faults(worker, 20, &gc);
    }
    b.faults(parent, 8, &call);
    b
}

fn verdict(budget: &str, trace: &Trace) -> Verdict {
    Budget::parse(budget).unwrap().check(&Sums::of(trace, "a.cow", None, None))
}

#[test]
fn budgets() {
    let bytes = |text: &str| match Budget::parse(text).map(|budget| (budget.amount, budget.of)) {
        Ok((Amount::Bytes(bytes), of)) => Some((bytes, of)),
        _ => None,
    };
    for (text, expected) in [
        ("30MiB/worker", (30 * MIB, Of::Worker)),
        ("500KiB", (500 << 10, Of::Tree)),
        ("2GiB/tree", (2 << 30, Of::Tree)),
        ("1.5 MB / worker", (1_500_000, Of::Worker)),
        ("4kB", (4_000, Of::Tree)),
        ("4kib", (4096, Of::Tree)),
        ("3GB", (3_000_000_000, Of::Tree)),
        ("0B/worker", (0, Of::Worker)),
    ] {
        assert_eq!(bytes(text), Some(expected), "{text}");
    }
    let percent = Budget { amount: Amount::Percent(12.5), of: Of::Worker };
    assert_eq!("12.5%/worker".parse(), Ok(percent));
    for text in [
        "",
        "MiB",
        "30",
        "30M",
        "30MiB/process",
        "30MiB/",
        "-1MiB",
        "1e9B",
        "99999999999GiB",
        "1.2.3MiB",
        "%",
    ] {
        assert_eq!(Budget::parse(text), Err(NoBudget), "{text}");
    }
}

#[test]
fn each_worker() {
    let trace = builder().finish();
    let within = verdict("128KiB/worker", &trace);
    assert!(!within.passed);
    assert_eq!(
        within.sentences(),
        "Within budget: the worst worker, 7003 python3, copied 128.0 KiB of 128.0 KiB allowed."
    );
    let over = verdict("125KiB/worker", &trace);
    assert!(over.passed);
    assert_eq!(
        over.sentences(),
        "Budget passed: the worst worker, 7003 python3, copied 128.0 KiB, 3.0 KiB more than the 125.0 KiB allowed; 1 of \
         3 workers is over. Largest cause: garbage collector, GC header 80.0 KiB."
    );
    let over = verdict("10%/worker", &trace);
    assert_eq!((over.over, over.causes.len(), over.allowed_bytes), (3, 1, Some(MIB / 10)));
    assert!(over.sentences().contains("allowed (10 % of what it inherited); 3 of 3 workers are over"));
    let over = verdict("20KiB/worker", &trace);
    assert_eq!(over.causes.len(), 2, "until what is too much is explained");
}

#[test]
fn the_tree() {
    let trace = builder().finish();
    let copied = (10 + 11 + 12 + 3 * 20 + 8) * 4096;
    let over = verdict(&format!("{}B", copied - 1), &trace);
    assert_eq!((over.passed, over.copied_bytes, over.excess_bytes), (true, Some(copied), 1));
    assert!(over.sentences().starts_with("Budget passed: the tree copied 404.0 KiB, 1 B more than"));
    assert!(!verdict(&format!("{copied}B/tree"), &trace).passed);
    assert!(verdict("10%", &trace).passed);
    let json = serde_json::to_value(&over).unwrap();
    assert_eq!(
        (&json["type"], &json["of"], &json["passed"]),
        (&"budget".into(), &"tree".into(), &true.into())
    );
    assert_eq!(json["causes"][0]["text"], "garbage collector, GC header");
}

/// What is not exact is said, and who inherits nothing passes nothing.
#[test]
fn doubts() {
    let mut b = builder();
    b.lost(2, Outcome::Copy, 90, 0);
    let mut trace = b.finish();
    trace.processes[3].end = None;
    let over = verdict("100KiB/worker", &trace).sentences();
    assert!(
        over.ends_with(
            "Largest causes: details lost 360.0 KiB; garbage collector, GC header 80.0 KiB. The true number may be higher: \
             90 records lost and 1 process was still running when the trace ended."
        ),
        "{over}"
    );
    let mut b = Builder::new(&["true"]);
    b.process(None, "true", 0);
    let none = verdict("0B/worker", &b.finish());
    assert_eq!(
        (none.passed, none.sentences().as_str()),
        (false, "Budget not tested: no process inherited memory.")
    );
}

/// Names of the target do not reach the terminal as they are.
#[test]
fn hostile() {
    let mut b = Builder::new(&["x"]);
    let parent = b.process(None, "x", 0);
    let child = b.process(Some(parent), "\x1b[2J\n", MIB);
    let place = line(&"/\x1b]0;x\x07\n".repeat(9000), 1, "f\u{202e}");
    b.faults(child, 9, &page(operation("call", ""), wrote("refcount", "\x07", ""), place));
    let text = verdict("1B/worker", &b.finish()).sentences();
    assert!(!text.chars().any(crate::record::json::is_invisible) && text.len() < 1000, "{text}");
}
