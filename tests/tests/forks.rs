//! What forks cost in the lives of their children, on which side, and how long copies took.

use cowtrace_tests::facts::parse;
use cowtrace_tests::trace::Copies;
use cowtrace_tests::{Fault, Run, Trace, check, needs, programs};

/// Listed copies of a process from a time on and before another.
fn copies(trace: &Trace, pid: u32, from: u64, until: u64) -> Copies {
    let of = trace.faults_of(pid).filter(|f| f.outcome == "copy" && (from..until).contains(&f.time));
    let (copies, copied_bytes) = of.fold((0, 0), |(n, bytes), fault| (n + 1, bytes + fault.bytes));
    Copies { copies, copied_bytes }
}

fn traced(program: &str, case: &str) -> (Trace, Vec<cowtrace_tests::facts::Fact>) {
    let traced = Run::new(programs::built(program)).arg(case).trace();
    check::nothing_lost(&traced.trace);
    (traced.trace, parse(&traced.finished.stdout_text()))
}

/// The side of every copy in a program's region, and what the region adds to the fork's figures.
fn side_of(program: &str, case: &str, side: &str) {
    let (trace, facts) = traced(program, case);
    let fact = facts.iter().rfind(|fact| fact.outcome == "copy" && fact.pages > 0).expect("a copy");
    let inside = |fault: &&Fault| fault.outcome == "copy" && (fact.start..fact.end).contains(&fault.address);
    let faults: Vec<&Fault> = trace.faults.iter().filter(inside).collect();
    assert_eq!(faults.len() as u64, fact.pages, "{program} {case}");
    for fault in faults {
        assert_eq!(fault.side.as_deref(), Some(side), "{program} {case}: {fault:?}");
    }
    let fork = trace.forks.iter().find(|fork| [fork.pid, fork.ppid].contains(&fact.pid)).expect("a fork");
    let of_side = if side == "parent" { fork.by_parent } else { fork.by_child };
    assert!(of_side.copied_bytes >= fact.bytes, "{fork:?}, {fact:?}");
}

/// Who writes first copies, and the other one does not: the child's side, the parent's.
#[test]
fn sides() {
    if !needs::tracing() {
        return;
    }
    side_of("anonymous", "written", "child");
    side_of("huge", "huge_parent", "parent");
}

/// The figures of each fork are those of the faults that are listed between its beginning and its end.
#[test]
fn lives() {
    if !needs::tracing() {
        return;
    }
    for (program, case) in [("anonymous", "written"), ("anonymous", "grandchild"), ("huge", "huge_parent")] {
        let (trace, _) = traced(program, case);
        let forked = trace.processes.iter().filter(|process| process.inherited_bytes > 0);
        assert_eq!(trace.forks.len(), forked.count(), "{:?}", trace.forks);
        for fork in &trace.forks {
            let (child, end) = (trace.process(fork.pid), fork.end.expect("they all exit"));
            assert_eq!((fork.start, Some(end), fork.ended.as_str()), (child.start, child.end, "exit"));
            assert_eq!(fork.by_child, copies(&trace, fork.pid, fork.start, end), "{fork:?}");
            assert_eq!(fork.by_parent, copies(&trace, fork.ppid, fork.start, end), "{fork:?}");
            assert_eq!(fork.copied_bytes, fork.by_child.copied_bytes + fork.by_parent.copied_bytes);
            assert_eq!(fork.lost, 0);
        }
    }
}

/// Every copy is timed, and the figures are those of the faults.
#[test]
fn latencies() {
    if !needs::tracing() {
        return;
    }
    let without = traced("anonymous", "written").0;
    assert!(without.latencies.is_empty(), "not asked for: {:?}", without.latencies);
    let trace = Run::new(programs::built("anonymous")).arg("written").flag("--latency").trace().trace;
    let child = trace.processes.iter().find(|process| process.generation == 1).expect("a child");
    let of = trace.latencies.iter().find(|latency| latency.pid == child.pid).expect("its latency");
    let is_copy = |fault: &&Fault| ["copy", "file_copy"].contains(&fault.outcome.as_str());
    let mut times: Vec<u64> = trace.faults_of(child.pid).filter(is_copy).filter_map(|f| f.latency).collect();
    times.sort_unstable();
    assert_eq!((of.timed, of.copies), (times.len() as u64, times.len() as u64), "{of:?}");
    assert!(of.timed >= 31, "{of:?}");
    assert_eq!((of.max, of.total), (times[times.len() - 1], times.iter().sum()), "{of:?}");
    assert_eq!(of.p50, times[(times.len() - 1) / 2], "half of them took no longer");
    assert!(of.p50 > 0 && of.p50 <= of.p99 && of.p99 <= of.max, "{of:?}");
    assert_eq!(of.buckets.iter().map(|bucket| bucket.copies).sum::<u64>(), of.timed, "{of:?}");
    for bucket in &of.buckets {
        let holds = |time: &&u64| **time < bucket.below && **time >= bucket.below / 2;
        assert_eq!(times.iter().filter(holds).count() as u64, bucket.copies, "{bucket:?}");
    }
}
