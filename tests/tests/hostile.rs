//! A process that imitates an interpreter and lies about itself: it is counted exactly, misleads nobody about its
//! neighbours, and neither grows nor stalls cowtrace.

use std::path::Path;
use std::time::{Duration, Instant};

use cowtrace_tests::{Fault, Run, Trace, check, needs, process, programs, python};
use nix::sys::resource::{UsageWho, getrusage};
use serde::Deserialize;
use tempfile::TempDir;

/// Pages that the hostile child writes.
const PAGES: usize = 512;
/// Kilobytes that cowtrace may hold at most.
const MOST_MEMORY: i64 = 200 << 10;
/// How long cowtrace may go on after the command's end.
const SOON: Duration = Duration::from_secs(2);

/// What a child did.
#[derive(Debug, Deserialize)]
struct Told {
    pid: u32,
    start: u64,
    end: u64,
}

impl Told {
    fn faults<'a>(&'a self, trace: &'a Trace) -> Vec<&'a Fault> {
        trace.faults_of(self.pid).filter(|fault| (self.start..self.end).contains(&fault.address)).collect()
    }
}

/// One run of the liar and of a well-behaved interpreter next to it, by a shell.
struct Together {
    folder: TempDir,
    finished: process::Finished,
}

impl Together {
    fn run(variant: &str) -> Self {
        let folder = TempDir::with_prefix("cowtrace-test-").expect("a temporary folder");
        // An executable of the interpreter's name.
        let liar = folder.path().join("python3.11");
        std::fs::copy(programs::built("hostile"), &liar).expect("the folder is ours");
        let interpreter = python::builds_of_3_11().remove(0);
        let finished = Run::new("/bin/sh")
            .arg("-c")
            // The moment of the command's end is the time of the last file.
            .arg("\"$0\" \"$1\" $2 & \"$3\" \"$4\"; wait; : > \"$5\"")
            .arg(&liar)
            .arg(folder.path().join("told"))
            .arg(variant)
            .arg(interpreter)
            .arg(script())
            .arg(folder.path().join("ended"))
            .flag("-o")
            .flag(folder.path().join("trace.jsonl"))
            .cowtrace();
        Self { folder, finished }
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

fn script() -> std::path::PathBuf {
    programs::workload("experiments/bytearray.py")
}

/// Control characters that a terminal obeys, apart from the ends of lines.
fn is_raw(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\n') || byte == 0x7f
}

fn judge(variant: &str) -> Trace {
    let started = Instant::now();
    let together = Together::run(variant);
    let (stderr, lines) = (&together.finished.stderr, together.file("trace.jsonl"));
    assert_eq!(together.finished.code(), 0, "{}", together.finished.stderr_text());
    for (name, bytes) in [("the report", stderr), ("the export", &lines)] {
        let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{name} is no UTF-8: {error}"));
        assert!(!bytes.iter().copied().any(is_raw), "{name} has raw control characters");
        // C1 controls, which some terminals obey, too.
        assert!(
            !text.chars().any(|c| ('\u{80}'..='\u{9f}').contains(&c)),
            "{name} has C1 control characters"
        );
    }
    let ended = together.folder.path().join("ended").metadata().and_then(|file| file.modified());
    let since = ended.expect("the command ended").elapsed().expect("the clock went on");
    assert!(since < SOON, "cowtrace ended {since:?} after the command, {:?} in all", started.elapsed());
    let memory = getrusage(UsageWho::RUSAGE_CHILDREN).expect("it is always there").max_rss();
    assert!(memory < MOST_MEMORY, "{memory} KiB");
    let trace = Trace::parse(&String::from_utf8(lines).expect("it is UTF-8"));
    check::nothing_lost(&trace);
    check::totals_add_up(&trace);
    liar(&trace, &serde_json::from_slice(&together.file("told")).expect("the liar tells what it wrote"));
    let told = serde_json::from_slice(&together.finished.stdout).expect("the script prints one JSON object");
    neighbour(&trace, &told);
    trace
}

/// Exactly its pages, each once, and no answer that its own structures would have had to give.
fn liar(trace: &Trace, told: &Told) {
    let faults = told.faults(trace);
    assert_eq!(faults.len(), PAGES);
    for fault in faults {
        assert_eq!((fault.outcome.as_str(), fault.bytes), ("copy", 4096), "{fault:?}");
        assert_eq!(fault.address % 4096, 123, "{fault:?}");
        let honest = match fault.write.kind.as_str() {
            "unknown" => fault.write.reason.as_deref().is_some_and(|reason| !reason.is_empty()),
            _ => false,
        };
        assert!(honest, "{fault:?}");
        let symbol = fault.native.first().and_then(|frame| frame.symbol.as_deref());
        assert_eq!(symbol, Some("store_loop"), "{fault:?}");
    }
}

/// The rows of the interpreter that tells the truth are what they are without a liar.
fn neighbour(trace: &Trace, told: &Told) {
    let script = script();
    let line = programs::line_ending(&script, "  # the write");
    let faults = told.faults(trace);
    assert_eq!(faults.len(), 256);
    for fault in faults {
        assert_eq!(fault.outcome, "copy", "{fault:?}");
        assert_eq!(fault.line_in(Path::new(&script)), Some(line), "{fault:?}");
    }
}

/// Which layout was taken for the liar; the outer `None` = it was not met.
fn layout(trace: &Trace) -> Option<Option<&str>> {
    let is_liar = |path: &str| path.contains("cowtrace-test-");
    trace.header.interpreters.iter().find(|i| is_liar(&i.path)).map(|i| i.layout.as_deref())
}

/// Frames, threads, names, code, tables and pools that are forged after it was recognised.
#[test]
fn forged_after_it_was_recognised() {
    if needs::tracing() {
        let trace = judge("");
        assert_eq!(layout(&trace), Some(Some("cpython-3.11")), "{:?}", trace.header.interpreters);
        // The forgeries were read: a name came through, escaped on its way.
        let mut names = trace.faults.iter().flat_map(|fault| &fault.python).map(|frame| &frame.function);
        assert!(names.any(|name| name.starts_with("\u{1b}[31mred\n")), "the forged name was not read");
    }
}

/// Offsets of its own that cannot be: it is met, not believed, and nothing is read by them.
#[test]
fn offsets_that_cannot_be() {
    if needs::tracing() {
        let trace = judge("future");
        assert_eq!(layout(&trace), Some(None), "{:?}", trace.header.interpreters);
    }
}
