//! Parts of small traces: what is left, what their totals are, and what is said of them.

use super::*;
use crate::record::fixture::{Builder, line, operation, page, write as wrote};
use crate::report::{self, Options};

const MIB: u64 = 1 << 20;

/// A parent that copies while two workers do, one of which loses details; then another program.
fn pool() -> Trace {
    let mut b = Builder::new(&["python", "pool.py"]);
    let parent = b.process(None, "python3", 0);
    b.unlisted(parent, Outcome::ZeroFill, 100);
    let refcount = page(operation("call", ""), wrote("refcount", "str", ""), line("/a/pool.py", 3, "f"));
    let gc = page(operation("gc", ""), wrote("gc_header", "", ""), line("/a/pool.py", 4, "f"));
    let one = b.process(Some(parent), "python3", MIB);
    b.faults(parent, 7, &refcount);
    b.faults(one, 10, &refcount);
    b.collection(one, Some(2), 4, &gc);
    let two = b.process(Some(parent), "python3", MIB);
    b.faults(two, 20, &refcount);
    b.collection(two, Some(0), 6, &gc);
    b.lost(two, Outcome::Copy, 5, 1);
    let shell = b.process(Some(parent), "sh", 8192);
    b.exec(shell, "ls");
    b.finish()
}

fn text(trace: &Trace, part: Option<&Part>) -> String {
    let mut out = Vec::new();
    report::write(trace, &Options { part, width: 100, ..Options::default() }, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn of(processes: &[&str]) -> Filter {
    Filter { processes: processes.iter().map(|text| text.parse().unwrap()).collect(), ..Filter::default() }
}

/// Whatever is left agrees with itself: every total is the sum of its parts.
fn agrees(trace: &Trace) {
    let sum =
        |number: fn(&ProcessTotals) -> u64| trace.processes.iter().map(|p| number(&p.totals)).sum::<u64>();
    assert_eq!(trace.summary.copies, sum(|totals| totals.faults(Outcome::Copy)));
    assert_eq!(trace.summary.copied_bytes, sum(|totals| totals.copied_bytes));
    for (index, process) in trace.processes.iter().enumerate() {
        for (outcome, total) in &process.totals.outcomes {
            let listed = trace.faults.iter().filter(|f| f.process == index && f.outcome == *outcome).count();
            assert_eq!(total.faults, listed as u64 + total.unlisted + total.lost, "{index} {outcome:?}");
        }
    }
}

#[test]
fn moments() {
    for (text, nanoseconds) in [
        ("1.5s", 1_500_000_000),
        ("200ms", 200_000_000),
        ("3", 3_000_000_000),
        ("0.25", 250_000_000),
        ("17us", 17_000),
        ("17µs", 17_000),
        ("5 ns", 5),
        ("2min", 120_000_000_000),
        ("1h", 3_600_000_000_000),
        ("0", 0),
    ] {
        assert_eq!(moment(text), Ok(nanoseconds), "{text}");
    }
    for text in ["", "s", "-1", "1e5", "1.5.2s", "10 parsecs", "inf", "NaN", "99999999999999s", "0x10"] {
        assert_eq!(moment(text), Err(NoFilter::Time), "{text}");
    }
    assert_eq!(
        [0, 1, 1_500_000_000, 200_000_000, 60_000_000_000].map(exact),
        ["0 s", "0.000001 ms", "1.5 s", "200 ms", "60 s"]
    );
}

#[test]
fn selectors() {
    assert_eq!("4711".parse(), Ok(Selector::Pid(4711)));
    assert_eq!("worker".parse(), Ok(Selector::Worker));
    assert_eq!("python3".parse(), Ok(Selector::Name("python3".to_owned())));
    assert_eq!("99999999999".parse(), Ok(Selector::Name("99999999999".to_owned())));
    assert_eq!("".parse::<Selector>(), Err(NoFilter::Process));
    assert!(Filter::default().is_everything());
    let empty = Filter { since: Some(2_000_000_000), until: Some(1_000_000_000), ..Filter::default() };
    assert_eq!(empty.check().unwrap_err().to_string(), "no time is left between 2.0 s and 1.0 s");
}

/// Without limits of time the kernel's totals of the chosen processes stand, lost details included.
#[test]
fn processes() {
    let mut trace = pool();
    assert!(Filter::default().apply(&mut trace).unwrap().is_none());
    assert_eq!(trace.faults.len(), 47);
    let part = of(&["7002"]).apply(&mut trace).unwrap().unwrap();
    agrees(&trace);
    assert_eq!((trace.faults.len(), trace.summary.copies, trace.summary.faults), (26, 31, 31));
    assert_eq!(trace.processes.len(), 4, "the tree stays");
    assert_eq!(trace.collections.iter().map(|c| c.number).collect::<Vec<_>>(), [2], "numbers stay");
    let text = text(&trace, Some(&part));
    assert!(
        text.starts_with(
            "Of the trace only process 7002 python3: 31 of 152 faults, totals as the kernel counted them.\n\
             The worker copied 124.0 KiB"
        ) || text.starts_with(
            "Of the trace only process 7002 python3: 31 of 152 faults, totals as the kernel counted them.\n\
             The child process copied 124.0 KiB of the 1.0 MiB it inherited."
        ),
        "{text}"
    );
    assert!(
        text.contains("details lost") && text.contains("5 records at ring (CPU 1) (of the whole trace)"),
        "{text}"
    );
    assert!(!text.contains("7001"), "{text}");
}

/// Within limits of time totals are those of what is listed; what is no part of it is said.
#[test]
fn times() {
    let mut trace = pool();
    let (first, last) = (trace.faults[10].time, trace.faults[30].time);
    let filter = Filter { since: Some(first), until: Some(last), ..Filter::default() };
    let part = filter.apply(&mut trace).unwrap().unwrap();
    agrees(&trace);
    assert_eq!((trace.faults.len(), trace.summary.copies), (20, 20));
    assert_eq!((trace.summary.lost, trace.losses[0].count), (5, 5), "what was lost stays");
    let gc = &trace.collections[..];
    assert_eq!(gc.len(), 1);
    assert_eq!((gc[0].number, gc[0].pages, gc[0].bytes), (1, 4, 4 * 4096));
    let text = text(&trace, Some(&part));
    assert!(text.contains("20 of 152 faults, counted from listed faults."), "{text}");
    assert!(
        text.contains("5 records at ring (CPU 1) (of the whole trace); what was lost is not in these totals")
    );
    assert!(text.contains("100 of 152 faults (of the whole trace): 100 fresh pages"), "{text}");
    assert!(!text.contains("still shared"), "nothing is known of the end:\n{text}");
    assert!(!text.contains("Everything but a part"), "said once, at the top:\n{text}");
    assert!(trace.header.missing[0].starts_with("Everything but a part of the trace (from "));
}

/// A collection that the limits cut is as long as what is left of it.
#[test]
fn cut_collections() {
    let mut trace = pool();
    let since = trace.collections[1].start + 1;
    Filter { since: Some(since), ..Filter::default() }.apply(&mut trace).unwrap();
    assert_eq!((trace.collections[0].number, trace.collections[0].pages), (2, 5));
    assert!(trace.collections[0].start >= since);
}

/// Workers are what inherited and went on with the program; what chooses nobody is no empty report.
#[test]
fn workers_and_nobody() {
    let mut trace = pool();
    let part = of(&["worker"]).apply(&mut trace).unwrap().unwrap();
    assert_eq!(part.words(), "processes 7001 python3 and 7002 python3");
    assert_eq!(trace.summary.copies, 45);
    let mut trace = pool();
    let error = of(&["ls", "ruby\x1b"]).apply(&mut trace).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the trace has no process 'ruby\\x1b', there are 7000 python3, 7001 python3, 7002 python3 and 7003 ls"
    );
    assert_eq!(trace.faults.len(), 47, "the trace is as it was");
}

/// The parent's copies count although the workers that it shares with are not chosen.
#[test]
fn who_shared_stays_known() {
    let mut trace = pool();
    let part = of(&["7000"]).apply(&mut trace).unwrap().unwrap();
    let scope = Scope::of_part(&trace, None, Some(&part));
    assert_eq!(scope.total().pages, 7);
    assert!(
        text(&trace, Some(&part)).contains("The process copied 28.0 KiB."),
        "{}",
        text(&trace, Some(&part))
    );
}
