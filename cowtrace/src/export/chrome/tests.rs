//! The events of small traces, parsed again.

use std::collections::{BTreeMap, HashMap};

use super::super::samples::{self, written};
use super::*;

fn parsed(trace: &Trace) -> Value {
    serde_json::from_str(&written(&FORMAT, trace)).unwrap()
}

fn events<'a>(file: &'a Value, phase: &'a str) -> impl Iterator<Item = &'a Value> {
    file["traceEvents"].as_array().unwrap().iter().filter(move |event| event["ph"] == phase)
}

fn is_fault(event: &Value) -> bool {
    event["args"].get("outcome").is_some()
}

fn faults(file: &Value) -> Vec<&Value> {
    events(file, "X").chain(events(file, "i")).filter(|event| is_fault(event)).collect()
}

/// Nanoseconds of microseconds.
fn nanos(value: &Value) -> u64 {
    let nanos = value.as_f64().unwrap() * 1000.0;
    format!("{nanos:.0}").parse().unwrap()
}

/// Faults, their bytes, times and stacks are the trace's; the counters end at each process's sum.
#[test]
fn faults_and_counters() {
    let trace = samples::usual();
    let file = parsed(&trace);
    let mut faults = faults(&file);
    faults.sort_by_key(|event| nanos(&event["ts"]));
    assert_eq!(faults.len(), trace.faults.len());
    for (event, fault) in faults.iter().zip(&trace.faults) {
        assert_eq!(nanos(&event["ts"]), fault.time);
        assert_eq!(event.get("dur").map(nanos), fault.latency.map(NonZero::get));
        assert_eq!(event["args"]["bytes"], fault.bytes);
        assert_eq!(event["args"]["address"], format!("{:#x}", fault.address));
    }
    let copies = faults.iter().filter(|event| event["args"]["outcome"].as_str().unwrap().ends_with("copy"));
    let bytes: u64 = copies.map(|event| event["args"]["bytes"].as_u64().unwrap()).sum();
    assert_eq!(bytes, samples::copied(&trace.faults).1);
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for event in events(&file, "C") {
        last.insert(event["pid"].as_u64().unwrap(), event["args"]["bytes"].as_u64().unwrap());
    }
    assert_eq!(last.len(), trace.processes.len());
    assert_eq!(last.values().sum::<u64>(), bytes);

    let frames = file["stackFrames"].as_object().unwrap();
    let mut path = Vec::new();
    let mut at = faults[0]["sf"].as_u64();
    while let Some(number) = at {
        let frame = &frames[&number.to_string()];
        path.push(frame["name"].as_str().unwrap());
        at = frame.get("parent").and_then(Value::as_u64);
    }
    assert_eq!(
        path,
        [
            "refcount of str",
            "insertdict (libpython3.11.so.1.0)",
            "f (ann/multi.py:6)",
            "<module> (ann/multi.py:12)"
        ]
    );
}

/// Processes are sorted by the tree; forks are arrows, imports and collections slices.
#[test]
fn tracks() {
    let trace = samples::usual();
    let file = parsed(&trace);
    let mut sorted: Vec<(u64, u64)> = events(&file, "M")
        .filter(|event| event["name"] == "process_sort_index")
        .map(|event| (event["args"]["sort_index"].as_u64().unwrap(), event["pid"].as_u64().unwrap()))
        .collect();
    sorted.sort_unstable();
    assert_eq!(sorted.iter().map(|(_, pid)| *pid).collect::<Vec<_>>(), [7000, 7001, 7003, 7002]);
    let slices: Vec<(&str, u64)> = events(&file, "X")
        .filter(|event| !is_fault(event) && event["cat"] != "process")
        .map(|event| (event["name"].as_str().unwrap(), event["args"]["bytes"].as_u64().unwrap() / 4096))
        .collect();
    assert_eq!(slices, [("import statistics", 6), ("import decimal", 3), ("collection 1 (generation 2)", 4)]);
    let (begins, ends) = (events(&file, "s").collect::<Vec<_>>(), events(&file, "f").collect::<Vec<_>>());
    let arrows: Vec<(u64, u64)> = begins
        .iter()
        .zip(&ends)
        .map(|(begin, end)| {
            assert_eq!(begin["id"], end["id"]);
            (begin["pid"].as_u64().unwrap(), end["pid"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(arrows, [(7000, 7001), (7000, 7002), (7001, 7003)]);
    let notes = file["otherData"]["notes"].as_array().unwrap();
    assert!(notes[0].as_str().unwrap().contains("3 records"), "{notes:?}");
}

/// Slices of a thread lie in or beside one another.
#[test]
fn slices_are_nested() {
    let file = parsed(&samples::usual());
    let mut threads: HashMap<(u64, u64), Vec<(u64, u64)>> = HashMap::new();
    for event in events(&file, "X") {
        let thread = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        let start = nanos(&event["ts"]);
        threads.entry(thread).or_default().push((start, start + nanos(&event["dur"])));
    }
    for slices in threads.values() {
        for one in slices {
            let crossing = slices.iter().find(|two| one.0 < two.0 && two.0 < one.1 && one.1 < two.1);
            assert_eq!(crossing, None, "{one:?}");
        }
    }
}

/// A process whose pid was used before has a track of its own.
#[test]
fn reused_pid() {
    let mut trace = samples::usual();
    let pid = trace.processes[0].pid;
    trace.processes[3].pid = pid;
    let file = parsed(&trace);
    let tracks: std::collections::HashSet<u64> = events(&file, "X")
        .filter(|event| event["cat"] == "process")
        .map(|event| event["pid"].as_u64().unwrap())
        .collect();
    assert_eq!(tracks.len(), trace.processes.len());
}

/// Names do no harm and have a bounded length; a full disk is an error.
#[test]
fn hostile_names() {
    let trace = samples::hostile();
    let text = written(&FORMAT, &trace);
    assert!(text.len() < 2 << 20, "{}", text.len());
    assert!(text.lines().all(|line| !line.chars().any(crate::record::json::is_invisible)));
    let file: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(faults(&file).len(), trace.faults.len());
    assert_eq!(write(&trace, &mut samples::Full).unwrap_err().kind(), io::ErrorKind::StorageFull);
}
