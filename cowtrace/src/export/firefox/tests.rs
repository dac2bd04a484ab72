//! Profiles of small traces, parsed again.

use super::super::samples::{self, written};
use super::*;

fn parsed(trace: &Trace) -> Value {
    serde_json::from_str(&written(&FORMAT, trace)).unwrap()
}

fn list<'a>(of: &'a Value, path: &str) -> &'a Vec<Value> {
    of.pointer(path).unwrap().as_array().unwrap()
}

fn numbers(of: &Value, path: &str) -> Vec<usize> {
    list(of, path).iter().map(|value| usize::try_from(value.as_u64().unwrap()).unwrap()).collect()
}

/// Frames' names of a stack, outermost first.
fn path(thread: &Value, stack: usize) -> Vec<&str> {
    let (prefixes, frames) = (list(thread, "/stackTable/prefix"), numbers(thread, "/stackTable/frame"));
    let (functions, names) = (numbers(thread, "/frameTable/func"), numbers(thread, "/funcTable/name"));
    let strings = list(thread, "/stringArray");
    let mut path = Vec::new();
    let mut at = Some(stack);
    while let Some(stack) = at {
        path.push(strings[names[functions[frames[stack]]]].as_str().unwrap());
        at = prefixes[stack].as_u64().map(|prefix| usize::try_from(prefix).unwrap());
    }
    path.reverse();
    path
}

/// Threads in the order of the tree; samples weigh what was copied; a marker for each fault, each span, each event.
#[test]
fn threads_samples_markers() {
    let trace = samples::usual();
    let file = parsed(&trace);
    let threads = list(&file, "/threads");
    let pids: Vec<&str> = threads.iter().map(|thread| thread["pid"].as_str().unwrap()).collect();
    assert_eq!(pids, ["7000", "7001", "7003", "7002"]);
    let (mut pages, mut bytes, mut markers) = (0, 0, 0);
    for thread in threads {
        let weights = numbers(thread, "/samples/weight");
        assert_eq!(thread["samples"]["weightType"], "bytes");
        assert_eq!(list(thread, "/samples/stack").len(), weights.len());
        pages += weights.len();
        bytes += weights.iter().sum::<usize>();
        markers += list(thread, "/markers/data").len();
    }
    let copied = samples::copied(&trace.faults);
    assert_eq!((pages as u64, bytes as u64), copied);
    let spans = 2 + trace.collections.len();
    let events = 3 + trace.processes.iter().map(|process| process.execs.len()).sum::<usize>();
    assert_eq!(markers, trace.faults.len() + spans + events);
    let first = path(&threads[1], numbers(&threads[1], "/samples/stack")[0]);
    let expected = [
        "<module> (ann/multi.py:12)",
        "f (ann/multi.py:6)",
        "insertdict (libpython3.11.so.1.0)",
        "refcount of str",
    ];
    assert_eq!(first, expected);
}

/// The categories are the operations, and a stack has that of its operation.
#[test]
fn categories() {
    let file = parsed(&samples::usual());
    let names: Vec<&str> =
        list(&file, "/meta/categories").iter().map(|category| category["name"].as_str().unwrap()).collect();
    let thread = &list(&file, "/threads")[1];
    let frames = numbers(thread, "/stackTable/frame");
    let categories = numbers(thread, "/frameTable/category");
    let of = |sample: usize| names[categories[frames[numbers(thread, "/samples/stack")[sample]]]];
    assert_eq!((of(0), of(5)), ("import", "garbage collector"));
    let notes = list(&file, "/meta/extra/0/entries");
    assert!(notes[0]["value"].as_str().unwrap().contains("3 records"), "{notes:?}");
}

/// Counters belong to their process's first thread and end at its sum.
#[test]
fn counters() {
    let trace = samples::usual();
    let file = parsed(&trace);
    let threads = list(&file, "/threads");
    let counters = list(&file, "/counters");
    assert_eq!(counters.len(), trace.processes.len());
    let mut all = 0.0;
    for counter in counters {
        let main = usize::try_from(counter["mainThreadIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(threads[main]["pid"], counter["pid"]);
        all += list(counter, "/samples/count").iter().map(|count| count.as_f64().unwrap()).sum::<f64>();
    }
    let (_, bytes) = samples::copied(&trace.faults);
    assert!((all - float(bytes)).abs() < 0.5, "{all}");
}

/// Names do no harm and have a bounded length; a full disk is an error; nothing at all is a profile, too.
#[test]
fn hostile_names() {
    let trace = samples::hostile();
    let text = written(&FORMAT, &trace);
    assert!(text.len() < 2 << 20, "{}", text.len());
    assert!(text.lines().all(|line| !line.chars().any(crate::record::json::is_invisible)));
    let file: Value = serde_json::from_str(&text).unwrap();
    let weights = list(&file, "/threads").iter().flat_map(|thread| numbers(thread, "/samples/weight"));
    assert_eq!(weights.sum::<usize>() as u64, samples::copied(&trace.faults).1);
    assert_eq!(write(&trace, &mut samples::Full).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(list(&parsed(&Trace::default()), "/threads").len(), 0);
}
