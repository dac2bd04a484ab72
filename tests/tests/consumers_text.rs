//! Exports as text, opened by the tools of others: each shows what was recorded. `cargo xtask test` installs the tools.
#![expect(clippy::print_stdout, reason = "says what was compared")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cowtrace_tests::binary::{cowtrace, package_folder};
use cowtrace_tests::consumers::{chromium, npm, python, run};
use cowtrace_tests::{Fault, Run, Trace, check, needs, seed};
use serde_json::Value;
use tempfile::TempDir;

/// A recording, and what its plainest export says, which other tests hold against the kernel.
struct Recorded {
    folder: TempDir,
    file: PathBuf,
    trace: Trace,
}

impl Recorded {
    fn new(run: Run) -> Self {
        let folder = TempDir::with_prefix("cowtrace-test-").expect("a temporary folder");
        let file = folder.path().join("run.cow");
        let finished = run.flag("-o").flag(&file).flag("-q").cowtrace();
        assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
        let mut recorded = Self { folder, file, trace: Trace::default() };
        recorded.trace = Trace::read(&recorded.export("jsonl"));
        check::nothing_lost(&recorded.trace);
        check::totals_add_up(&recorded.trace);
        recorded
    }

    /// The file of this format.
    fn export(&self, format: &str) -> PathBuf {
        let path = self.folder.path().join(format!("run.{format}"));
        let mut export = Command::new(cowtrace());
        export.arg("export").arg(&self.file).arg("-o").arg(&path).args(["-f", format]);
        let output = export.output().expect("cowtrace runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        path
    }

    fn copies(&self) -> impl Iterator<Item = &Fault> {
        self.trace.faults.iter().filter(|fault| ["copy", "file_copy"].contains(&fault.outcome.as_str()))
    }

    fn bytes(&self) -> u64 {
        self.copies().map(|fault| fault.bytes).sum()
    }

    /// Bytes that each process copied, 0 included.
    fn by_pid(&self) -> BTreeMap<u32, u64> {
        let mut bytes: BTreeMap<u32, u64> =
            self.trace.processes.iter().map(|process| (process.pid, 0)).collect();
        self.copies().for_each(|fault| *bytes.entry(fault.pid).or_default() += fault.bytes);
        bytes
    }

    /// Processes, each before its children, and these by their start.
    fn tree(&self) -> Vec<u32> {
        let mut order = Vec::new();
        let mut waiting: Vec<u32> =
            self.trace.processes.iter().filter(|process| process.generation == 0).map(|p| p.pid).collect();
        while let Some(pid) = waiting.pop() {
            order.push(pid);
            let children = self.trace.processes.iter().filter(|process| process.ppid == pid);
            let mut children: Vec<(u64, u32)> = children.map(|child| (child.start, child.pid)).collect();
            children.sort_unstable();
            waiting.extend(children.into_iter().rev().map(|(_, pid)| pid));
        }
        order
    }
}

/// What a script of `consumers/` says of a file.
fn told(python: &Path, script: &str, arguments: &[&Path]) -> Value {
    serde_json::from_str(&run(python, script, arguments)).expect("JSON")
}

/// Numbers by process id, as JSON has them.
fn by_pid(value: &Value) -> BTreeMap<u32, u64> {
    let numbers = value.as_object().expect("an object").iter();
    numbers.map(|(pid, number)| (pid.parse().expect("a pid"), whole(number))).collect()
}

/// A number of bytes that may be written as a float.
fn whole(value: &Value) -> u64 {
    let number = value.as_f64().expect("a number");
    format!("{number:.0}").parse().expect("a whole number")
}

/// Sums that are not 0.
fn without_nothing(bytes: BTreeMap<u32, u64>) -> BTreeMap<u32, u64> {
    bytes.into_iter().filter(|(_, bytes)| *bytes > 0).collect()
}

fn csv(recorded: &Recorded, python: &Path) {
    let told = told(python, "csv_totals.py", &[&recorded.export("csv")]);
    assert_eq!(told["rows"], recorded.trace.faults.len());
    assert_eq!(
        (&told["copies"], &told["bytes"]),
        (&recorded.copies().count().into(), &recorded.bytes().into())
    );
    assert_eq!(by_pid(&told["by_pid"]), without_nothing(recorded.by_pid()));
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    recorded.trace.faults.iter().for_each(|fault| *kinds.entry(&fault.operation.kind).or_default() += 1);
    assert_eq!(told["kinds"], serde_json::to_value(kinds).expect("JSON"));
}

fn folded(recorded: &Recorded, python: &Path) {
    let file = recorded.export("folded");
    let told = told(python, "folded_totals.py", &[&file]);
    assert_eq!(told["bytes"], recorded.bytes());
    let names = recorded.trace.processes.iter().map(|process| process.comm.as_str());
    let names: std::collections::BTreeSet<&str> = names.collect();
    let children = told["children"].as_object().expect("an object");
    assert!(children.keys().all(|name| names.contains(name.as_str())), "{children:?}");
    for shown in shown_by_speedscope(python, &file) {
        close(&shown, recorded.bytes());
    }
}

fn flamegraph(recorded: &Recorded, python: &Path) {
    let told = told(python, "svg_totals.py", &[&recorded.export("flamegraph")]);
    assert_eq!((&told["total"], &told["all"]), (&recorded.bytes().into(), &recorded.bytes().into()));
    assert!(whole(&told["frames"]) > 10 && told["lost"] == true, "{told}");
}

/// What the application shows; nothing where there is no browser.
fn shown_by_speedscope(python: &Path, file: &Path) -> Vec<Value> {
    let (Some(package), Some(chromium)) = (npm("speedscope"), chromium()) else { return Vec::new() };
    let shown = told(python, "speedscope_app.py", &[chromium, &package, file]);
    shown.as_array().expect("profiles").clone()
}

/// As near as the numbers that are shown tell.
fn close(shown: &Value, bytes: u64) {
    let told = |name: &str| shown[name].as_f64().expect("a number");
    println!("speedscope shows {shown}, {bytes} bytes were copied");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let off = (told("bytes") - bytes as f64).abs();
    assert!(off <= told("slack") + 0.5, "{shown}, {bytes} bytes were copied");
}

fn speedscope(recorded: &Recorded, python: &Path) {
    let profiles = shown_by_speedscope(python, &recorded.export("speedscope"));
    if profiles.is_empty() {
        return;
    }
    let (tree, bytes) = (recorded.tree(), recorded.by_pid());
    assert_eq!(profiles.len(), tree.len());
    for (profile, pid) in profiles.iter().zip(tree) {
        let name = profile["name"].as_str().expect("a name");
        assert!(name.starts_with(&format!("{pid} ")), "{name} is not process {pid}");
        close(profile, bytes[&pid]);
    }
}

fn chrome(recorded: &Recorded, python: &Path) {
    let told = told(python, "chrome_totals.py", &[&recorded.export("chrome")]);
    assert_eq!(told["faults"], recorded.trace.faults.len());
    assert_eq!(
        (&told["copies"], &told["bytes"]),
        (&recorded.copies().count().into(), &recorded.bytes().into())
    );
    assert_eq!(told["order"], serde_json::to_value(recorded.tree()).expect("JSON"));
    assert_eq!(by_pid(&told["counters"]), recorded.by_pid());
    assert_eq!(told["crossing"], 0, "slices cross one another");
    assert_eq!(told["notes"][0], "Lost: nothing.");
}

fn firefox(recorded: &Recorded, python: &Path) {
    let told = told(python, "firefox_check.py", &[&recorded.export("firefox")]);
    assert_eq!(
        (&told["copies"], &told["bytes"]),
        (&recorded.copies().count().into(), &recorded.bytes().into())
    );
    assert_eq!(told["markers"]["Fault"], recorded.trace.faults.len());
    assert_eq!(by_pid(&told["by_pid"]), recorded.by_pid());
    assert_eq!(by_pid(&told["counters"]), recorded.by_pid());
    let order: Vec<String> = recorded.tree().iter().map(u32::to_string).collect();
    assert_eq!(told["order"], serde_json::to_value(order).expect("JSON"));
    assert_eq!(told["notes"][0], "Lost: nothing.");
}

/// The seed's script 4, with the time in each fault.
fn script_4(check: impl Fn(&Recorded, &Path)) {
    if !needs::tracing() {
        return;
    }
    let Some(python) = python() else { return };
    let script = seed::script("4_import_in_worker");
    check(&Recorded::new(Run::new("/usr/bin/python3").arg(script).flag("--latency")), &python);
}

/// Python's csv module finds the faults, their sums and operations.
#[test]
fn csv_by_python() {
    script_4(csv);
}

/// Another reader of collapsed stacks finds the bytes, and so does speedscope.
#[test]
fn folded_by_a_flame_graph_tool() {
    script_4(folded);
}

/// The flame graph is XML, and the whole is what was copied.
#[test]
fn flamegraph_by_an_xml_reader() {
    script_4(flamegraph);
}

/// speedscope's application shows a profile for each process, with what it copied.
#[test]
fn speedscope_by_itself() {
    script_4(speedscope);
}

/// Chrome's format: tracks in the order of the tree, slices that nest, counters that end at what was copied.
#[test]
fn chrome_by_its_documentation() {
    script_4(chrome);
    // Imports must be there as slices.
    script_4(|recorded, python| {
        let told = told(python, "chrome_totals.py", &[&recorded.export("chrome")]);
        let imports = recorded.trace.faults.iter().filter(|fault| fault.operation.kind == "import").count();
        assert!(whole(&told["categories"]["import"]) > imports as u64, "{told}");
    });
}

/// The Firefox Profiler's format, checked against its documentation.
#[test]
fn firefox_by_its_documentation() {
    script_4(firefox);
}

/// More than 200,000 faults: every tool still opens its file, and the sums are the same.
#[test]
fn many_faults() {
    if !needs::tracing() {
        return;
    }
    let Some(python) = python() else { return };
    let script = package_folder().join("programs/bench_recording.py");
    let recorded = Recorded::new(Run::new("/usr/bin/python3").arg(script).arg("16").timeout(300));
    assert!(recorded.trace.faults.len() >= 200_000, "{} faults", recorded.trace.faults.len());
    for (format, check) in [
        ("csv", csv as fn(&Recorded, &Path)),
        ("folded", folded),
        ("flamegraph", flamegraph),
        ("speedscope", speedscope),
        ("chrome", chrome),
        ("firefox", firefox),
    ] {
        let begin = std::time::Instant::now();
        check(&recorded, &python);
        println!("{format}: {:?}", begin.elapsed());
    }
}
