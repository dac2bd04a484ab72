//! Other cuts of a recording: parts of it, what imports cost, comparisons and budgets.
#![expect(clippy::panic, reason = "helpers of tests; what is told is worth reading")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cowtrace_tests::binary::{cowtrace, package_folder};
use cowtrace_tests::{Run, needs, seed};
use serde_json::Value;
use tempfile::TempDir;

/// Recordings of a side, where a test needs a spread between them.
const RUNS: usize = 3;
/// Exit status of a passed budget.
const PASSED: i32 = 3;

fn folder() -> TempDir {
    TempDir::with_prefix("cowtrace-test-").expect("a temporary folder")
}

/// Records a run of the freezing pool.
fn pool(folder: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let file = folder.join(name);
    let script = package_folder().join("workloads/freeze.py");
    let mut run = Run::new("/usr/bin/python3").arg(script);
    for argument in arguments {
        run = run.arg(*argument);
    }
    let finished = run.flag("-o").flag(&file).flag("-q").cowtrace();
    assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
    file
}

/// Records a script of the seed.
fn script(folder: &Path, name: &str, script: &str) -> PathBuf {
    let file = folder.join(name);
    let run = Run::new("/usr/bin/python3").arg(seed::script(script));
    let finished = run.flag("-o").flag(&file).flag("-q").cowtrace();
    assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
    file
}

/// What a subcommand leaves: its status, and what it says on stdout and on stderr.
fn told(command: &mut Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().expect("cowtrace runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn diff(before: &[PathBuf], after: &[PathBuf], flags: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(cowtrace());
    command.arg("diff").arg("--before").args(before).arg("--after").args(after).args(flags);
    told(&mut command)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn report(file: &Path, flags: &[&str]) -> (i32, String, String) {
    told(Command::new(cowtrace()).arg("report").arg(file).args(flags))
}

/// Two recordings of one script are no change, whatever differs between them; nor are several of each side.
#[test]
fn the_same_script_twice() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let runs: Vec<PathBuf> =
        (0..2 * RUNS).map(|nth| script(folder.path(), &format!("{nth}.cow"), "6_swap_each")).collect();
    let (before, after) = runs.split_at(RUNS);
    for (before, after) in [(&before[..1], &after[..1]), (before, after)] {
        let (code, text, errors) = diff(before, after, &[]);
        assert_eq!((code, errors.as_str()), (0, ""));
        println!("{text}");
        assert!(text.starts_with("No change"), "{text}");
        let value = json(&diff(before, after, &["--json"]).1);
        assert!(matches!(value["verdict"].as_str(), Some("same" | "unclear")), "{}", value["verdict"]);
    }
}

/// What a frozen heap spares each worker is named, with its bytes and its direction, from one recording a side or several.
#[test]
fn freezing() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let runs = |name: &str, arguments: &[&str]| -> Vec<PathBuf> {
        (0..RUNS).map(|nth| pool(folder.path(), &format!("{name}-{nth}.cow"), arguments)).collect()
    };
    let (plain, frozen) = (runs("plain", &[]), runs("frozen", &["freeze"]));
    for number in [1, RUNS] {
        let (code, text, errors) = diff(&plain[..number], &frozen[..number], &[]);
        assert_eq!((code, errors.as_str()), (0, ""));
        println!("{text}");
        let value = json(&diff(&plain[..number], &frozen[..number], &["--json"]).1);
        assert_eq!(value["verdict"], "less", "{text}");
        let writes = value["writes"].as_array().expect("rows");
        let headers = writes.iter().find(|row| row["write"]["kind"] == "gc_header").expect("GC headers");
        assert_eq!(headers["change"], "less", "{headers}");
        assert!(text.contains("First writes: GC header ") && text.contains(" less"), "{text}");
        // Whatever the workers' own numbers are, the report of each recording has the same.
        let side = &headers["before"]["recordings"][0];
        let copied = gc_headers(&plain[0]);
        assert!((side["bytes"].as_f64().expect("bytes") - copied).abs() < 1.0, "{side} {copied}");
    }
    let back = json(&diff(&frozen, &plain, &["--json"]).1);
    assert_eq!(back["verdict"], "more");
}

/// Bytes of GC headers that a worker copied on the average, by the report of a recording's workers.
fn gc_headers(file: &Path) -> f64 {
    let value = json(&report(file, &["--json", "--by", "write", "--process", "worker"]).1);
    let workers =
        value["processes"].as_array().expect("processes").iter().filter(|p| p["worker"] == true).count();
    let rows = value["causes"].as_array().expect("rows");
    let named =
        rows.iter().filter(|row| row["text"].as_str().is_some_and(|text| text.starts_with("GC header")));
    let bytes: u64 = named.map(|row| row["copied_bytes"].as_u64().expect("bytes")).sum();
    bytes as f64 / workers as f64
}

/// A passed budget is status 3 and names what passed it, live, from a recording, and in a comparison; a kept one is 0.
#[test]
fn budgets() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let plain = pool(folder.path(), "plain.cow", &[]);
    let frozen = pool(folder.path(), "frozen.cow", &["freeze"]);
    let (code, _, errors) = report(&plain, &["--budget", "100KiB/worker"]);
    assert_eq!(code, PASSED, "{errors}");
    println!("{errors}");
    assert!(errors.contains("Budget passed: the worst worker") && errors.contains("GC header"), "{errors}");
    let (code, _, errors) = report(&plain, &["--budget", "1GiB/worker"]);
    assert_eq!(code, 0, "{errors}");
    assert!(errors.contains("Within budget"), "{errors}");
    let value = json(&report(&plain, &["--json", "--budget", "1B"]).1);
    assert_eq!(
        (&value["budget"]["passed"], &value["budget"]["of"]),
        (&Value::Bool(true), &Value::from("tree"))
    );
    // The budget of a comparison is for what is after the change.
    let one = |path: &PathBuf| vec![path.clone()];
    let limit = "1MiB/worker";
    assert_eq!(report(&plain, &["--budget", limit]).0, PASSED);
    assert_eq!(
        diff(&one(&plain), &one(&frozen), &["--budget", limit]).0,
        report(&frozen, &["--budget", limit]).0
    );
    assert_eq!(diff(&one(&frozen), &one(&plain), &["--budget", limit]).0, PASSED);
    // A command that fails says more than its budget.
    let live = |status: u8, subcommand: &[&str]| {
        let fork = "import os, sys; child = os.fork(); child or os._exit(0); os.waitpid(child, 0); sys.exit(";
        let mut cowtrace = Command::new(cowtrace());
        cowtrace.args(subcommand).args(["--force", "-o"]).arg(folder.path().join("live.cow"));
        cowtrace.args(["--budget", "0B", "--", "/usr/bin/python3", "-c"]);
        told(cowtrace.arg(format!("{fork}{status})")))
    };
    for subcommand in [&["record"][..], &[]] {
        let (code, _, errors) = live(0, subcommand);
        assert_eq!(code, PASSED, "{errors}");
        assert!(errors.contains("Budget passed: the tree copied"), "{errors}");
        assert_eq!(live(7, subcommand).0, 7);
    }
}

/// The parts of a recording make the whole, every part says what it is, and an export of a part agrees with its report.
#[test]
fn parts() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let file = script(folder.path(), "run.cow", "4_import_in_worker");
    let whole = json(&report(&file, &["--json"]).1);
    let copied = |value: &Value| value["summary"]["copied_bytes"].as_u64().expect("bytes");
    let processes = whole["processes"].as_array().expect("processes");
    let mut sum = 0;
    for process in processes {
        let pid = process["pid"].to_string();
        let part = json(&report(&file, &["--json", "--process", &pid]).1);
        assert_eq!(part["part"]["pids"], Value::from(vec![process["pid"].clone()]));
        assert_eq!(copied(&part), process["copied_bytes"].as_u64().expect("bytes"), "{pid}");
        sum += copied(&part);
    }
    assert_eq!(sum, copied(&whole));
    let half = format!("{}ns", whole["summary"]["duration"].as_u64().expect("a duration") / 2);
    let first = json(&report(&file, &["--json", "--until", &half]).1);
    let second = json(&report(&file, &["--json", "--since", &half]).1);
    assert_eq!(
        copied(&first) + copied(&second),
        copied(&whole),
        "nothing is lost, so both halves are the whole"
    );
    assert_eq!(first["part"]["counted_from_listed"], true);
    let (code, text, _) = report(&file, &["--until", &half]);
    assert_eq!(code, 0);
    assert!(text.starts_with("Of the trace only up to "), "{text}");
    let (code, exported, errors) = told(
        Command::new(cowtrace()).arg("export").arg(&file).args(["-o", "-", "-f", "jsonl", "--since", &half]),
    );
    assert_eq!(code, 0, "{errors}");
    let lines: Vec<Value> = exported.lines().map(json).collect();
    assert!(
        lines[0]["missing"][0].as_str().expect("a sentence").starts_with("Everything but a part"),
        "{}",
        lines[0]
    );
    let of = |outcome: &str| {
        lines.iter().filter(|line| line["type"] == "fault" && line["outcome"] == outcome).count()
    };
    let summary = lines.last().expect("a summary");
    assert_eq!(summary["copies"], of("copy"));
    assert_eq!(summary["reuses"], of("reuse"));
    let (code, _, errors) = report(&file, &["--process", "nobody"]);
    assert_eq!(code, 2);
    assert!(errors.contains("the trace has no process 'nobody', there are "), "{errors}");
}

/// The module that each worker imports is a row of its own, with as many workers as imported it.
#[test]
fn imports() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let file = script(folder.path(), "run.cow", "4_import_in_worker");
    let value = json(&report(&file, &["--json"]).1);
    let imports = value["imports"].as_array().expect("rows");
    let row = imports.iter().find(|row| row["module"] == "statistics").expect("the import");
    let workers = row["workers"].as_u64().expect("a number");
    assert!((1..=3).contains(&workers), "{row}");
    assert_eq!(row["pids"].as_array().expect("pids").len() as u64, workers);
    assert!(
        row["copied_bytes"].as_u64() >= row["own_copied_bytes"].as_u64() && row["longest"].as_u64() > Some(0)
    );
    let text = report(&file, &["--by", "module", "--limit", "0"]).1;
    assert!(
        text.contains("with nested") && text.lines().any(|line| line.starts_with("statistics")),
        "{text}"
    );
}
