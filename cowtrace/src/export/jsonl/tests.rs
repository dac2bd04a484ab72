//! The lines against `tests/golden/` and against the promises of schema 1.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::record::fixture::{Builder, line, operation, page, unknown, write as wrote};

fn trace() -> Trace {
    let mut b = Builder::new(&["python", "multi.py"]);
    b.python("3.11.7", Some("3.11"));
    let parent = b.process(None, "python3", 0);
    let child = b.process(Some(parent), "python3", 9 << 20);
    let entry = wrote("dict_entry", "dict", "sys.modules['statistics']");
    let mut swap = page(operation("module_swap", "statistics"), entry, line("/home/ann/multi.py", 9, "f"));
    let frame = |op| PythonFrame {
        function: "f".to_owned(),
        file: "/home/ann/multi.py".to_owned(),
        line: Some(9),
        approximate: false,
        op,
    };
    swap.python = vec![frame(Some("STORE_SUBSCR")), frame(None)];
    let object = Some("/usr/lib/libpython3.11.so.1.0".to_owned());
    swap.native = vec![NativeFrame {
        symbol: Some("insertdict".to_owned()),
        object,
        offset: 0x1d_0042,
        ..NativeFrame::default()
    }];
    b.faults(child, 1, &swap);
    b.faults(child, 1, &page(unknown("no stack\x1b"), wrote("unknown", "", ""), None));
    let heads =
        page(operation("gc", ""), wrote("gc_header", "tuple", ""), line("/home/ann/multi.py", 4, "f"));
    b.collection(child, Some(2), 2, &heads);
    b.lost(child, Outcome::Copy, 2, 1);
    b.unlisted(parent, Outcome::ZeroFill, 7);
    b.finish()
}

fn written(trace: &Trace) -> String {
    let mut out = Vec::new();
    write(trace, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The lines are as they were, and `type` comes first.
#[test]
fn golden() {
    let text = written(&trace());
    assert!(text.lines().all(|line| line.starts_with("{\"type\":\"")));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/small.jsonl");
    if std::env::var_os("COWTRACE_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == text, "small.jsonl differs (COWTRACE_BLESS=1 renews it):\n{text}");
}

/// What a reader is promised: every line parses and has the fields of schema 1.
#[test]
fn schema() {
    let lines: Vec<Value> =
        written(&trace()).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let fields = |kind: &str| -> BTreeSet<String> {
        let line = lines.iter().find(|line| line["type"] == kind).unwrap();
        line.as_object().unwrap().keys().cloned().collect()
    };
    for (kind, promised) in [
        ("header", "type schema version command start kernel probes missing interpreters"),
        ("process", "type pid ppid generation start end comm exe command inherited_bytes exit_status totals"),
        (
            "fault",
            "type time pid tid address ip outcome bytes latency region operation write site python native",
        ),
        ("collection", "type number pid tid generation start end pages bytes site"),
        ("loss", "type stage cpu count"),
        ("summary", "type faults copies copied_bytes file_copies reuses lost tool_cpu_ns processes"),
    ] {
        let fields = fields(kind);
        promised.split(' ').for_each(|field| assert!(fields.contains(field), "{kind} has no {field}"));
    }
    let fault = lines.iter().find(|line| line["type"] == "fault").unwrap();
    assert_eq!(fault["address"], "0x7f0000000018");
    let collected: Vec<&Value> = lines
        .iter()
        .filter(|line| line["operation"]["kind"] == "gc")
        .map(|line| &line["operation"])
        .collect();
    assert_eq!((collected.len(), &collected[0]["collection"]), (2, &serde_json::json!(1)));
    assert_eq!(fault["operation"].get("collection"), None);
    assert_eq!(fault["native"][0]["offset"], "0x1d0042");
    assert_eq!(fault["python"][1]["op"], Value::Null);
    let child = lines.iter().filter(|line| line["type"] == "process").nth(1).unwrap();
    assert_eq!(child["totals"]["copy"], serde_json::json!({"faults": 6, "unlisted": 0, "lost": 2}));
    assert_eq!(child["totals"].as_object().unwrap().len(), Outcome::ALL.len());
}

/// A disk that is full is an error, not a silence.
#[test]
fn full() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    assert_eq!(write(&trace(), &mut Full).unwrap_err().kind(), io::ErrorKind::StorageFull);
}

/// Many faults are quick: `cargo test -- --ignored --nocapture` says how quick.
#[test]
#[ignore = "measures"]
fn speed() {
    let mut b = Builder::new(&["x"]);
    let only = b.process(None, "x", 0);
    let call = operation("call", "");
    b.faults(only, 1_000_000, &page(call, wrote("refcount", "int", ""), line("/a.py", 1, "f")));
    let trace = b.finish();
    let begin = std::time::Instant::now();
    write(&trace, &mut io::sink()).unwrap();
    println!("1,000,000 faults: {:?}", begin.elapsed());
}
