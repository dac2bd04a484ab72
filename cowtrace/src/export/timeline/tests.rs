//! Timelines of small traces.

use super::*;
use crate::record::fixture::{Builder, operation, page, write};

fn import(chain: &[&str]) -> crate::record::fixture::Page {
    let chain: Vec<String> = chain.iter().map(|module| (*module).to_owned()).collect();
    let mut import = operation("import", &chain[0]);
    import.chain = chain;
    page(import, write("refcount", "str", ""), None)
}

/// A module's import goes on through those that it begins and through collections, and ends with another operation.
#[test]
fn imports_are_nested() {
    let mut b = Builder::new(&["x"]);
    let only = b.process(None, "x", 0);
    b.faults(only, 2, &import(&["a"]));
    b.faults(only, 1, &import(&["a", "b"]));
    b.collection(only, Some(0), 3, &page(operation("gc", ""), write("gc_header", "", ""), None));
    b.faults(only, 1, &import(&["a", "b"]));
    b.faults(only, 1, &import(&["a", "c"]));
    b.faults(only, 1, &page(operation("call", ""), write("refcount", "", ""), None));
    b.faults(only, 1, &import(&["a"]));
    let mut trace = b.finish();
    let all = trace.faults.len() - 1;
    trace.faults[all].latency = NonZero::new(77);
    let time = |at: usize| trace.faults[at].time;
    let timeline = Timeline::new(&trace);
    let told: Vec<_> = timeline
        .imports
        .iter()
        .map(|i| (i.module.unwrap(), i.start, i.end, i.pages, i.bytes / 4096))
        .collect();
    assert_eq!(
        told,
        [
            ("a", time(0), time(7), 5, 5),
            ("b", time(2), time(6), 2, 2),
            ("c", time(7), time(7), 1, 1),
            ("a", time(all), time(all) + 77, 1, 1),
        ]
    );
    assert_eq!(timeline.collections[0].end, time(5));
    assert_eq!(timeline.end, trace.summary.duration);
}

/// Each thread imports by itself, and only what was copied counts.
#[test]
fn threads_are_apart() {
    let mut b = Builder::new(&["x"]);
    let only = b.process(None, "x", 0);
    b.faults(only, 4, &import(&["a"]));
    let mut trace = b.finish();
    let pid = trace.processes[only].pid;
    trace.faults[1].tid = pid + 1;
    trace.faults[2].outcome = crate::record::schema::Outcome::Reuse;
    trace.faults[2].bytes = 0;
    let timeline = Timeline::new(&trace);
    let told: Vec<_> = timeline.imports.iter().map(|i| (i.thread.tid, i.pages, i.end)).collect();
    assert_eq!(told, [(pid, 2, trace.faults[3].time), (pid + 1, 1, trace.faults[1].time)]);
    let tids: Vec<u32> = timeline.threads.iter().map(|thread| thread.tid).collect();
    assert_eq!(tids, [pid, pid + 1]);
}

/// Children come behind their parent, whatever was forked in between; a circle harms nobody.
#[test]
fn tree_order() {
    let mut b = Builder::new(&["x"]);
    let root = b.process(None, "x", 0);
    let first = b.process(Some(root), "x", 0);
    let second = b.process(Some(root), "x", 0);
    let grandchild = b.process(Some(first), "x", 0);
    let mut trace = b.finish();
    let timeline = Timeline::new(&trace);
    assert_eq!(timeline.order, [root, first, grandchild, second]);
    let forks: Vec<_> = timeline.forks.iter().map(|fork| (fork.parent, fork.child)).collect();
    assert_eq!(forks, [(root, first), (root, second), (first, grandchild)]);
    trace.processes[first].parent = Some(grandchild);
    trace.processes[second].parent = Some(99);
    trace.processes[second].pid = trace.processes[root].pid;
    let timeline = Timeline::new(&trace);
    assert_eq!(timeline.order, [root, second, first, grandchild]);
    let ids: HashSet<u32> = timeline.ids.iter().copied().collect();
    assert_eq!((ids.len(), timeline.ids[root]), (4, trace.processes[root].pid));
}

/// The counter starts at 0, ends at the total, has what it had before a pause, and few points.
#[test]
fn counter() {
    let mut b = Builder::new(&["x"]);
    let only = b.process(None, "x", 0);
    b.faults(only, 50_000, &import(&["a"]));
    let mut trace = b.finish();
    let copied = trace.summary.copied_bytes;
    trace.faults.last_mut().unwrap().time += trace.summary.duration;
    let points = Timeline::new(&trace).copied.remove(only);
    assert_eq!(points[0], Point { time: 0, pages: 0, bytes: 0 });
    let [.., before, last] = points[..] else { unreachable!("two points") };
    assert_eq!(last, Point { time: trace.faults.last().unwrap().time, pages: 50_000, bytes: copied });
    assert_eq!((before.time, before.bytes), (trace.faults[49_998].time, copied - 4096));
    assert!(points.len() < 2 * usize::try_from(POINTS).unwrap(), "{}", points.len());
    assert!(points.windows(2).all(|two| two[0].bytes < two[1].bytes && two[0].time <= two[1].time));
}

/// A fault whose process is not there is passed by.
#[test]
fn foreign_faults() {
    let mut b = Builder::new(&["x"]);
    let only = b.process(None, "x", 0);
    b.faults(only, 1, &import(&["a"]));
    let mut trace = b.finish();
    trace.faults[0].process = 5;
    let timeline = Timeline::new(&trace);
    assert_eq!((timeline.imports.len(), timeline.copied[0].len(), timeline.threads.len()), (0, 1, 1));
}
