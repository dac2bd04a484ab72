//! Exports in binary formats, read by others: DuckDB and pyarrow, Perfetto's definitions, readers of pprof profiles. What they
//! count is what the kernel counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cowtrace_tests::binary::cowtrace;
use cowtrace_tests::{Run, Trace, check, consumers, needs, programs, seed};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Faults and copied bytes.
type Sum = (u64, u64);
/// By process and outcome.
type Sums = BTreeMap<(String, String), Sum>;

/// A recording of one run, from which every export is made.
struct Recorded {
    folder: TempDir,
    /// The same recording as JSON Lines.
    trace: Trace,
}

impl Recorded {
    fn of(run: Run) -> Self {
        let folder = TempDir::with_prefix("cowtrace-test-").expect("a temporary folder");
        let finished = run.flag("-q").flag("-o").flag(folder.path().join("run.cow")).timeout(300).cowtrace();
        assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
        let mut recorded = Self { folder, trace: Trace::default() };
        recorded.trace = Trace::read(&recorded.export("run.jsonl"));
        check::nothing_lost(&recorded.trace);
        check::totals_add_up(&recorded.trace);
        recorded
    }

    fn export(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let mut command = Command::new(cowtrace());
        command.arg("export").arg(self.folder.path().join("run.cow")).arg("-o").arg(&path);
        let output = command.output().expect("cowtrace runs");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        path
    }

    /// What the kernel counted, less what is not listed, with the bytes of what is listed.
    fn sums(&self, outcomes: &[&str]) -> Sums {
        let mut sums = Sums::new();
        for process in &self.trace.processes {
            for outcome in outcomes {
                let total = process.totals[*outcome];
                let key = (process.pid.to_string(), (*outcome).to_owned());
                sums.entry(key).or_default().0 += total.faults - total.unlisted - total.lost;
            }
        }
        for fault in self.trace.faults.iter().filter(|fault| outcomes.contains(&fault.outcome.as_str())) {
            let sum = sums.get_mut(&(fault.pid.to_string(), fault.outcome.clone()));
            sum.expect("a process with this outcome").1 += fault.bytes;
        }
        sums.retain(|_, (faults, _)| *faults > 0);
        sums
    }

    /// A reader's findings about an export in this format.
    fn read_by(&self, script: &str, name: &str) -> Option<Value> {
        let python = consumers::python()?;
        let said = consumers::run(&python, script, [self.export(name)]);
        Some(serde_json::from_str(&said).expect("the reader prints JSON"))
    }
}

/// Sums of a reader: rows of process, outcome, faults, bytes.
fn sums_of(rows: &Value, process: impl Fn(&Value) -> String) -> Sums {
    let rows = rows.as_array().expect("rows");
    let number = |value: &Value| value.as_u64().expect("a number");
    rows.iter()
        .map(|row| {
            let outcome = row[1].as_str().expect("an outcome").to_owned();
            ((process(&row[0]), outcome), (number(&row[2]), number(&row[3])))
        })
        .collect()
}

/// The seed's script 4: workers import a module each.
fn script_4() -> Recorded {
    Recorded::of(Run::new("/usr/bin/python3.11").arg(seed::script("4_import_in_worker")))
}

/// More than 200,000 faults, by children one after the other.
fn large() -> Recorded {
    let program = programs::built("bench_cow");
    let recorded = Recorded::of(Run::new(program).arg("16").arg("16384"));
    assert!(recorded.trace.faults.len() > 200_000, "{}", recorded.trace.faults.len());
    recorded
}

/// Names that are meant to harm, of a process, a function, a file and a module.
const HOSTILE: &str = r#"
import os, sys
name = 'a;b"c\'--\n\r\x1b[31m</script>\u202e\t,日 1'
memory = bytearray(4096 * 64)
def touch():
    for at in range(0, len(memory), 4096):
        memory[at] = 1
code = touch.__code__.replace(co_name=name + '\0z', co_filename='/x/' + name + '\0z.py')
if hasattr(code, 'co_qualname'):
    code = code.replace(co_qualname=name + '\0z')
touch = type(touch)(code, globals())
if (child := os.fork()) == 0:
    open('/proc/self/comm', 'w').write('a;"\n\x1b[31m</p')
    touch()
    os._exit(0)
os.waitpid(child, 0)
"#;

fn hostile() -> Recorded {
    let recorded = Recorded::of(Run::new("/usr/bin/python3.11").arg("-c").arg(HOSTILE));
    let named = |fault: &&cowtrace_tests::Fault| {
        let function = fault.site.as_ref().and_then(|site| site.function.as_deref());
        function.is_some_and(|function| function.contains("</script>"))
    };
    assert!(recorded.trace.faults.iter().filter(named).count() >= 60, "the names are there");
    recorded
}

/// Both readers find in Parquet what the kernel counted, typed, with the header beside it.
fn parquet(recorded: &Recorded) -> Option<Value> {
    let found = recorded.read_by("parquet_totals.py", "run.parquet")?;
    let expected = recorded.sums(&["copy", "file_copy", "reuse"]);
    for reader in ["duckdb", "pyarrow"] {
        assert_eq!(sums_of(&found[reader], |pid| pid.to_string()), expected, "{reader}");
    }
    for (column, arrow, duckdb) in [
        ("time_ns", "int64", "BIGINT"),
        ("address", "uint64", "UBIGINT"),
        ("pid", "uint32", "UINTEGER"),
        ("outcome", "string", "VARCHAR"),
        ("site_line", "uint32", "UINTEGER"),
        ("python_stack", "string", "VARCHAR"),
    ] {
        assert_eq!((&found["types"][column], &found["described"][column]), (&json!(arrow), &json!(duckdb)));
    }
    assert_eq!(found["sorted"], true);
    assert_eq!(found["groups"], recorded.trace.faults.len().div_ceil(128 << 10));
    let first = recorded.trace.faults.first().expect("a fault");
    assert_eq!(found["first"]["time_ns"], first.time);
    assert_eq!(found["first"]["address"], first.address);
    assert_eq!(found["first"]["latency_ns"], json!(first.latency));
    let about = |key: &str| found["metadata"][format!("cowtrace.{key}")].as_str().expect("metadata");
    let parsed = |key: &str| -> Value { serde_json::from_str(about(key)).expect("JSON") };
    assert_eq!(about("version"), recorded.trace.header.version);
    assert_eq!(parsed("command"), json!(recorded.trace.header.command));
    assert_eq!(parsed("missing"), json!(recorded.trace.header.missing));
    assert_eq!(parsed("summary")["copied_bytes"], recorded.trace.summary.copied_bytes);
    assert_eq!(parsed("processes").as_array().map(Vec::len), Some(recorded.trace.processes.len()));
    Some(found)
}

/// By Perfetto's own definitions, tracks, slices, instants and counters are the trace's.
fn perfetto(recorded: &Recorded) -> Option<Value> {
    let found = recorded.read_by("perfetto_totals.py", "run.pftrace")?;
    let trace = &recorded.trace;
    assert_eq!(
        sums_of(&found["totals"], |pid| pid.to_string()),
        recorded.sums(&["copy", "file_copy", "reuse"])
    );
    let mut copied: BTreeMap<String, u64> =
        trace.processes.iter().map(|process| (process.pid.to_string(), 0)).collect();
    for ((pid, _), (_, bytes)) in recorded.sums(&["copy", "file_copy"]) {
        *copied.entry(pid).or_default() += bytes;
    }
    assert_eq!(found["counters"], json!(copied), "the counters' last values");

    let pids = |rows: &Value| -> BTreeSet<u64> {
        rows.as_array().expect("rows").iter().map(|row| row[0].as_u64().expect("a pid")).collect()
    };
    let all: BTreeSet<u64> = trace.processes.iter().map(|process| process.pid.into()).collect();
    assert_eq!(pids(&found["processes"]), all);
    assert_eq!(found["processes"].as_array().map(Vec::len), Some(all.len()), "no pid comes twice");
    assert!(pids(&found["threads"]).is_superset(&all));
    let lives = found["slices"]["process"].as_array().expect("lives");
    for process in &trace.processes {
        let of = |life: &&Value| life[0] == process.pid && life[2] == process.start;
        let life = lives.iter().find(of).expect("a life");
        assert!(process.end.is_none_or(|end| life[3] == end), "{life} {:?}", process.end);
    }
    assert_eq!(found["arrows"], trace.processes.len() - 1, "from each fork to the life that begins there");
    let collections = found["slices"].get("gc").and_then(Value::as_array).map_or(0, Vec::len);
    assert_eq!(collections, trace.collections.len());
    assert_eq!(found["attributes"]["cowtrace.copied_bytes"], trace.summary.copied_bytes);
    assert_eq!(found["attributes"]["cowtrace.lost"], 0);
    assert_eq!(found["clocks"].as_array().map(Vec::len), Some(2));
    Some(found)
}

/// Two readers of profiles find the copies of each process.
fn pprof(recorded: &Recorded) -> Option<Value> {
    let found = recorded.read_by("pprof_totals.py", "run.pb.gz")?;
    let expected = recorded.sums(&["copy", "file_copy"]);
    let pid = |process: &Value| process.as_str().unwrap_or_default().split(' ').next().map(str::to_owned);
    assert_eq!(sums_of(&found["totals"], |process| pid(process).unwrap_or_default()), expected);
    let all = expected.values().fold((0, 0), |all, sum| (all.0 + sum.0, all.1 + sum.1));
    assert_eq!(found["tree"], json!([all.0, all.1]));
    assert_eq!(found["types"], json!([["copies", "count"], ["copied", "bytes"]]));
    assert_eq!(found["default"], "copied");
    for sentence in &recorded.trace.header.missing {
        let told = found["comments"].as_array().expect("comments").iter();
        assert!(told.filter_map(Value::as_str).any(|comment| comment.contains(sentence)), "{sentence}");
    }
    by_go(&recorded.export("again.pb.gz"), all);
    Some(found)
}

/// pprof itself, where Go is installed: it checks a profile before it shows it.
fn by_go(profile: &Path, (copies, bytes): Sum) {
    let Some(go) = ["/usr/bin/go", "/usr/local/go/bin/go"].map(Path::new).into_iter().find(|go| go.exists())
    else {
        needs::skipped("no Go, and so no go tool pprof");
        return;
    };
    for (index, unit, all) in [("copies", "count", copies), ("copied", "bytes", bytes)] {
        let mut command = Command::new(go);
        command.args(["tool", "pprof", "-top", "-unit", unit, "-nodefraction=0", "-nodecount=1000000"]);
        command.arg(format!("-sample_index={index}")).arg(profile);
        // It would look for symbols, and keep profiles in the home folder.
        command
            .env("PPROF_TMPDIR", profile.parent().expect("a folder"))
            .env("PPROF_BINARY_PATH", "/nonexistent");
        let output = command.output().expect("go runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let unit = if unit == "bytes" { "B" } else { "" };
        let whole = format!("of {all}{unit} total");
        assert!(text.lines().any(|line| line.ends_with(&whole)), "{whole}: {text:.600}");
    }
}

#[test]
fn parquet_of_the_seed() {
    if needs::tracing() {
        let _ = parquet(&script_4());
    }
}

/// Imports are slices in which their faults lie, and stacks are mixed.
#[test]
fn perfetto_of_the_seed() {
    if !needs::tracing() {
        return;
    }
    let recorded = script_4();
    let Some(found) = perfetto(&recorded) else { return };
    let imports = found["slices"]["import"].as_array().expect("imports");
    assert!(imports.iter().any(|import| import[1] == "import statistics"), "{imports:?}");
    let imported =
        recorded.trace.faults.iter().filter(|fault| fault.operation.kind == "import").count() as u64;
    let within = |depth: &&Value| depth[0].as_array().is_some_and(|open| open.contains(&json!("import")));
    let inside = found["depths"].as_array().expect("depths").iter().filter(within);
    let inside: u64 = inside.filter_map(|depth| depth[1].as_u64()).sum();
    assert!(inside >= imported && imported > 0, "{inside} faults lie in imports, {imported} are of them");
    assert!(found["stacks"]["mixed"].as_u64() > Some(0), "{}", found["stacks"]);
}

#[test]
fn pprof_of_the_seed() {
    if !needs::tracing() {
        return;
    }
    let recorded = script_4();
    let Some(found) = pprof(&recorded) else { return };
    let script = seed::script("4_import_in_worker");
    let lines = found["lines"].as_array().expect("lines").iter();
    let of_script: BTreeSet<u64> =
        lines.filter(|line| line[1] == json!(script)).filter_map(|line| line[2].as_u64()).collect();
    let sites = recorded.trace.faults.iter().filter(|fault| fault.bytes > 0);
    for line in sites.filter_map(|fault| fault.line_in(&script)) {
        assert!(of_script.contains(&line.into()), "line {line} is not among {of_script:?}");
    }
}

/// More than 200,000 faults in each format.
#[test]
fn many_faults() {
    if !needs::tracing() {
        return;
    }
    let recorded = large();
    let _ = (parquet(&recorded), perfetto(&recorded), pprof(&recorded));
}

/// Names that are meant to harm reach the readers as they are, or shown as what they are.
#[test]
fn hostile_names() {
    if !needs::tracing() {
        return;
    }
    let recorded = hostile();
    if let Some(found) = parquet(&recorded) {
        let functions: BTreeSet<&str> = recorded
            .trace
            .faults
            .iter()
            .filter_map(|fault| fault.site.as_ref()?.function.as_deref())
            .collect();
        assert_eq!(found["texts"]["site_function"], json!(functions));
    }
    if let Some(found) = perfetto(&recorded) {
        let names: BTreeSet<&str> = recorded.trace.processes.iter().map(|p| p.comm.as_str()).collect();
        let of_tracks = found["processes"].as_array().expect("processes").iter();
        assert_eq!(of_tracks.filter_map(|row| row[1].as_str()).collect::<BTreeSet<_>>(), names);
    }
    let _ = pprof(&recorded);
}
