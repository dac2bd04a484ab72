//! The HTML report in a browser: what it shows is what the kernel counted, and it does as a reader expects.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use cowtrace_tests::{Run, Trace, consumers, needs, programs, seed};
use serde_json::Value;
use tempfile::TempDir;

/// Runs a program, and uses its report in the browser. `None` = what that takes is not here, which is said.
fn used(run: Run) -> Option<(Trace, Value)> {
    if !needs::tracing() {
        return None;
    }
    let (python, chromium) = (consumers::python()?, consumers::chromium()?);
    let folder = TempDir::with_prefix("cowtrace-test-").expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let recorded = run.flag("-q").flag("-o").flag(at("run.cow")).cowtrace();
    assert_eq!(recorded.code(), 0, "{}", recorded.stderr_text());
    for name in ["run.html", "run.jsonl"] {
        let mut export = std::process::Command::new(cowtrace_tests::binary::cowtrace());
        let output =
            export.arg("export").arg(at("run.cow")).arg("-o").arg(at(name)).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let page = at("run.html");
    let size = fs::metadata(&page).expect("the report is there").len();
    assert!(size < 4 << 20, "{size} bytes");
    let said = consumers::run(&python, "html_report.py", [chromium, Path::new(&page)]);
    Some((Trace::read(&at("run.jsonl")), serde_json::from_str(&said).expect("JSON")))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Pages and bytes of one of the page's numbers.
fn amount(value: &Value) -> (u64, u64) {
    (number(&value["pages"]), number(&value["bytes"]))
}

/// Works for every trace that has copies.
fn judge(trace: &Trace, told: &Value) {
    assert_eq!(told["console"], Value::Array(Vec::new()), "errors and warnings");
    let requests = told["requests"].as_array().expect("requests");
    assert!(
        requests.iter().all(|url| url.as_str().is_some_and(|url| url.starts_with("file://"))),
        "{requests:?}"
    );
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!((&told["dialogs"], &told["images"], &told["marked"]), (&0.into(), &0.into(), &Value::Null));

    // The kernel's totals.
    let total = |id: &str| number(&told["totals"][format!("total-{id}")]);
    assert_eq!(
        (total("kernel-pages"), total("kernel-bytes")),
        (trace.summary.copies, trace.summary.copied_bytes)
    );
    assert_eq!(total("faults"), trace.summary.faults);
    assert_eq!((total("reuses"), total("lost")), (trace.summary.reuses, trace.summary.lost));
    assert_eq!(total("file-copies"), trace.summary.file_copies);
    let whole = amount(&told["whole"]["timeline"]);
    assert_eq!(
        whole,
        (total("shared-pages"), total("shared-bytes")),
        "nothing is lost: all of it is in the timeline"
    );
    assert_eq!(amount(&told["whole"]["flame"]), whole, "and in the flame graph");
    let rows = told["rows"].as_array().expect("rows");
    let sum = rows.iter().map(amount).fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
    assert_eq!(sum, whole, "and in the table");

    // A click on a row, and the same by the keyboard.
    let first = amount(&rows[0]);
    assert_ne!(first, whole);
    for way in ["filtered", "by_keyboard"] {
        assert_eq!(amount(&told[way]["timeline"]), first, "{way}");
        assert_eq!(amount(&told[way]["flame"]), first, "{way}");
    }
    assert_eq!(told["pressed"], "true");
    assert_eq!(told["cleared"], told["whole"]);
    assert_eq!(told["found_nothing"], 0);

    // Zooming.
    for way in ["zoomed", "dragged", "wheeled"] {
        assert!(amount(&told[way]).0 < whole.0, "{way}: {}", told[way]["text"]);
        assert_ne!(told[way]["text"], told["whole"]["timeline"]["text"]);
    }
    assert_eq!(amount(&told["reset"]), whole);
    assert!(number(&told["frame"]["bytes"]) <= whole.1 && number(&told["frame"]["bytes"]) > 0);
    assert_ne!(told["frame"]["text"], told["whole"]["flame"]["text"]);

    // Time.
    let through: Vec<u64> = told["through_time"].as_array().expect("times").iter().map(number).collect();
    assert_eq!(through[0], 0, "{through:?}");
    assert!(through.windows(2).any(|two| two[0] != two[1]), "the slider moves: {through:?}");
    assert_eq!(through[4], number(&told["whole"]["memory"]["pages"]));
    assert!(told["cell"].as_str().is_some_and(|text| text.contains("0x")), "{}", told["cell"]);

    // Looks.
    for (id, colours) in told["colours"].as_object().expect("pictures") {
        assert!(number(colours) > 4, "{id} is not drawn");
    }
    assert!(told["tip"].as_str().is_some_and(|text| text.contains("page 0x")), "{}", told["tip"]);
    let themes = told["themes"].as_array().expect("themes");
    assert!(themes[0] != themes[1] && themes[0] == themes[2], "as the system, dark, light: {themes:?}");
    assert_eq!(told["overflow"], serde_json::json!([0, 0]), "at 1280 and at 400 pixels");
    assert_eq!(told["worst_on_first_screen"], true);
    assert!(number(&told["paper"]) > 10_000);
}

/// The seed's script 4: its import is the line that the page names first.
#[test]
fn script_4() {
    let run = Run::new("/usr/bin/python3").arg(seed::script("4_import_in_worker"));
    let Some((trace, told)) = used(run) else { return };
    judge(&trace, &told);
    let first = told["rows"][0]["place"].as_str().expect("a place");
    assert!(first.contains("4_import_in_worker.py:6 (f)"), "{first}");
    let text = told["text"].as_str().expect("text");
    for said in ["import statistics", "nothing", "get_user_pages", "shown one by one"] {
        assert!(text.contains(said), "{said} in {text}");
    }
}

/// More faults than a page shows one by one.
#[test]
fn many_faults() {
    let run = Run::new(programs::built("bench_cow")).arg("16").arg("16384").timeout(180);
    let Some((trace, told)) = used(run) else { return };
    assert!(trace.summary.copies >= 200_000);
    judge(&trace, &told);
    let listed = number(&told["whole"]["timeline"]["pages"]);
    let note = told["note"].as_str().expect("a note");
    let figures: Vec<u64> = note.split(' ').filter_map(|word| word.replace(',', "").parse().ok()).collect();
    assert_eq!(figures[1], listed, "{note}");
    assert!(figures[0] <= 20_000 && note.contains("shown one by one"), "{note}");
}

/// Names that are markup in a browser: they are shown, and nothing more.
#[test]
fn hostile_names() {
    let folder = TempDir::with_prefix("cowtrace-test-").expect("a temporary folder");
    let markup = "<img src=x onerror=document.documentElement.dataset.pwned=1>";
    let script = folder.path().join(format!("\"'>{markup}.py"));
    fs::write(
        &script,
        r#"import ctypes, os, sys
NAME = "</script><script>document.documentElement.dataset.pwned=2</script>" + sys.argv[1]
ctypes.CDLL(None).prctl(15, b"<script>alert", 0, 0, 0)
kept = [[] for _ in range(200_000)]
def touch():
    for one in kept:
        one.append(1)
touch.__code__ = touch.__code__.replace(co_name=NAME, **({"co_qualname": NAME} if sys.version_info >= (3, 11) else {}))
def other():
    sum(len(one) for one in [object.__new__(type(NAME, (), {"__len__": lambda _: 0})) for _ in range(9)])
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        touch()
        other()
        os._exit(0)
    os.waitpid(pid, 0)
"#,
    )
    .expect("the script is written");
    let run = Run::new("/usr/bin/python3").arg(&script).arg(markup);
    let Some((trace, told)) = used(run) else { return };
    judge(&trace, &told);
    let first = told["rows"][0]["place"].as_str().expect("a place");
    assert!(first.contains("<img src=x") && first.contains("<script>"), "shown as text: {first}");
    assert!(told["title"].as_str().is_some_and(|title| title.contains(markup)), "{}", told["title"]);
}
