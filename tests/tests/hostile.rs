//! A process that forges the structures of an interpreter changes nothing but its own rows, and costs little.
#![expect(clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cowtrace_tests::check::{self, Listing};
use cowtrace_tests::facts::{Fact, parse};
use cowtrace_tests::peak::Peak;
use cowtrace_tests::{Fault, Run, Trace, needs, programs, python};
use tempfile::TempDir;

/// How much memory cowtrace may have had at any time.
const MOST_MEMORY: u64 = 200 << 20;
/// How long after its command cowtrace may end.
const LONGEST_END: Duration = Duration::from_secs(2);
/// Frames of a stack at most.
const MOST_FRAMES: usize = 96;

/// What came of one case.
struct Hostile {
    trace: Trace,
    facts: Vec<Fact>,
    /// The script that ran beside it.
    script: PathBuf,
}

impl Hostile {
    /// Faults in the region that the hostile child wrote.
    fn forged(&self) -> Vec<&Fault> {
        let fact = &self.facts[0];
        let inside = |fault: &&Fault| (fact.start..fact.end).contains(&fault.address);
        self.trace.faults_of(fact.pid).filter(inside).collect()
    }
}

/// Runs one case with a report and a file, and checks what is true of every case.
fn hostile(case: &str) -> Option<Hostile> {
    if !needs::tracing() {
        return None;
    }
    let folder = TempDir::with_prefix("cowtrace-hostile-").expect("a temporary folder");
    let path = folder.path().join("trace.jsonl");
    let script = programs::workload("experiments/swap.py");
    let interpreter = python::builds_of_3_11().remove(0);
    let started = Run::new(programs::built("hostile"))
        .arg(case)
        .arg(interpreter)
        .arg(&script)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .flag("-o")
        .flag(&path)
        .start();
    let memory = Peak::watch(started.pid());
    let finished = started.finish();
    let end = SystemTime::now();
    let memory = memory.bytes();
    let stderr = finished.stderr_text();
    assert_eq!(finished.code(), 0, "{case}: {stderr}");

    let stdout = finished.stdout_text();
    let after = end.duration_since(end_of_command(&stdout)).unwrap_or_default();
    println!("{case}: {} KiB, ended {} ms after its command", memory >> 10, after.as_millis());
    assert!((1..MOST_MEMORY).contains(&memory), "{case}: {memory} bytes of memory");
    assert!(after < LONGEST_END, "{case}: {after:?} from the command's end to cowtrace's");

    let text = fs::read(&path).expect("the trace was written");
    harmless(case, "the trace", &text);
    harmless(case, "the report", &finished.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    let values = std::str::from_utf8(&text).expect("JSON is UTF-8");
    for line in values.lines() {
        no_controls(case, &serde_json::from_str(line).expect("each line is JSON"));
    }

    let trace = Trace::read(&path);
    let facts = parse(&stdout);
    check::nothing_lost(&trace);
    check::totals_add_up(&trace);
    check::facts(&trace, &facts, Listing::Default);
    let hostile = Hostile { trace, facts, script };
    well_behaved(case, &hostile);
    Some(hostile)
}

/// The time that the program tells in its last line.
fn end_of_command(stdout: &str) -> SystemTime {
    let note = stdout.lines().find_map(|line| line.strip_prefix("{\"note\":\"")?.strip_suffix("\"}"));
    let note = note.unwrap_or_else(|| panic!("no end in {stdout:?}"));
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(note.parse().expect("seconds"))
}

/// Nothing that a terminal would obey.
fn harmless(case: &str, what: &str, text: &[u8]) {
    let bad = text.iter().position(|&byte| byte.is_ascii_control() && !matches!(byte, b'\n' | b'\t'));
    assert_eq!(bad, None, "{case}: {what}: {}", String::from_utf8_lossy(text));
    assert!(std::str::from_utf8(text).is_ok(), "{case}: {what} is no UTF-8");
}

/// Not behind JSON's own escapes either: whoever prints a name must not have to look at it first.
fn no_controls(case: &str, value: &serde_json::Value) {
    match value {
        serde_json::Value::String(text) => {
            assert!(!text.contains(char::is_control), "{case}: {text:?}");
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| no_controls(case, value)),
        serde_json::Value::Object(fields) => fields.values().for_each(|value| no_controls(case, value)),
        _ => {}
    }
}

/// The process beside it is told of as if it were alone: its one swap, at its line.
fn well_behaved(case: &str, hostile: &Hostile) {
    let line = programs::line_ending(&hostile.script, "  # the write");
    // What is said of the hostile process itself, its parent included, is what it has asked for.
    let program = programs::built("hostile");
    let is_other = |pid| hostile.trace.process(pid).exe.as_deref().map(Path::new) != Some(&program);
    let swaps: Vec<&Fault> = hostile
        .trace
        .faults
        .iter()
        .filter(|fault| fault.operation.kind == "module_swap" && is_other(fault.pid))
        .collect();
    let pages: BTreeSet<(u32, u64)> = swaps.iter().map(|fault| (fault.pid, fault.address / 4096)).collect();
    // A fault that the kernel begins anew is there twice.
    let others = || check::operations(hostile.trace.faults.iter().filter(|fault| is_other(fault.pid)));
    assert_eq!(pages.len(), 1, "{case}: {swaps:?}, of {:?}", others());
    assert_eq!(swaps[0].line_in(&hostile.script), Some(line), "{case}: {:#?}", swaps[0]);
    assert_eq!(swaps[0].write.name.as_deref(), Some("sys.modules['statistics']"), "{case}: {:#?}", swaps[0]);
    assert_ne!(swaps[0].pid, hostile.facts[0].pid);
}

/// It was taken for an interpreter, so that the case is about what was forged and not about an unknown program.
fn was_believed(hostile: &Hostile) {
    let program = programs::built("hostile");
    let found = hostile.trace.header.interpreters.iter().find(|found| Path::new(&found.path) == program);
    let layout = found.and_then(|found| found.layout.as_deref());
    assert_eq!(layout, Some("cpython-3.11"), "{:#?}", hostile.trace.header.interpreters);
}

/// A case in which no row of the region may claim to know a frame.
fn without_frames(case: &str) {
    let Some(hostile) = hostile(case) else { return };
    was_believed(&hostile);
    for fault in hostile.forged() {
        assert!(fault.python.is_empty(), "{case}: {fault:#?}");
    }
}

/// A case in which frames may be there, but not without end, and no claim about a table of modules.
fn with_bounded_frames(case: &str) {
    let Some(hostile) = hostile(case) else { return };
    was_believed(&hostile);
    for fault in hostile.forged() {
        assert!(fault.python.len() <= MOST_FRAMES, "{case}: {} frames", fault.python.len());
        assert!(!fault.write.kind.starts_with("dict"), "{case}: {fault:#?}");
    }
}

/// Before anything is forged its one frame is followed: the other cases do test what they say.
#[test]
fn sound_structures_are_followed() {
    let Some(hostile) = hostile("sound") else { return };
    was_believed(&hostile);
    for fault in hostile.forged() {
        let frames: Vec<_> =
            fault.python.iter().map(|f| (f.function.as_str(), f.file.as_str(), f.line)).collect();
        assert_eq!(frames, [("forged", "forged.py", Some(77))], "{fault:#?}");
    }
}

/// A frame that is its own caller.
#[test]
fn frames_in_a_circle() {
    with_bounded_frames("frames");
}

/// Lists of threads and interpreters without end.
#[test]
fn lists_in_a_circle() {
    without_frames("lists");
}

/// Lengths of 2^60.
#[test]
fn endless_lengths() {
    with_bounded_frames("lengths");
}

/// Pointers to where there is nothing, or nothing for a program.
#[test]
fn pointers_to_nowhere() {
    with_bounded_frames("nowhere");
}

/// Objects in place of objects of other types.
#[test]
fn objects_of_wrong_types() {
    with_bounded_frames("types");
}

/// Names that a terminal would obey, and that are no text.
#[test]
fn names_with_escape_sequences() {
    with_bounded_frames("names");
}

/// Structures that change while they are read.
#[test]
fn structures_that_change() {
    with_bounded_frames("restless");
}

/// A runtime whose own offsets make no sense: no frames, and one sentence.
#[test]
fn absurd_offsets() {
    let Some(hostile) = hostile("offsets") else { return };
    let program = programs::built("hostile");
    let found = hostile.trace.header.interpreters.iter().find(|found| Path::new(&found.path) == program);
    assert!(found.is_some_and(|found| found.layout.is_none()), "{:#?}", hostile.trace.header.interpreters);
    for fault in hostile.forged() {
        assert!(fault.python.is_empty(), "{fault:#?}");
    }
}
