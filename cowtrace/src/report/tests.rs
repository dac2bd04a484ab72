//! Whole reports of small traces against `tests/golden/`; `COWTRACE_BLESS=1` writes them anew.

use std::path::PathBuf;

use unicode_width::UnicodeWidthStr;

use super::scope::Untouched;
use super::*;
use crate::record::fixture::{Builder, Page, line, operation, page, symbol, unknown, write as wrote};
use crate::record::json::is_invisible;
use crate::record::schema::{Outcome, PageSize, Region, Site, Summary, Write};

const MULTI: &str = "/home/ann/multi.py";
const MIB: u64 = 1 << 20;

/// A write that is not known.
fn untold(reason: &str) -> Write {
    Write { reason: Some(reason.to_owned()), ..wrote("unknown", "", "") }
}

/// The sixth script of the seed: five workers, three of which get a task.
fn seed() -> Trace {
    let mut b = Builder::new(&["python", "multi.py"]);
    b.python("3.11.7", Some("3.11"));
    let parent = b.process(None, "python3", 0);
    b.unlisted(parent, Outcome::ZeroFill, 2210);
    b.unlisted(parent, Outcome::FileCopy, 85);
    b.unlisted(parent, Outcome::Read, 640);
    let workers: Vec<usize> = (0..5).map(|_| b.process(Some(parent), "python3", 9 * MIB + 16384)).collect();
    let fork = page(operation("fork_bookkeeping", ""), wrote("library_data", "", "_IO_2_1_stdout_"), None);
    let pool = |write| page(operation("worker_bookkeeping", "multiprocessing"), write, None);
    let call = |write| page(operation("call", ""), write, line(MULTI, 10, "f"));
    for (nth, &worker) in workers.iter().enumerate() {
        b.faults(worker, 49 + nth as u64 % 2, &fork);
        b.faults(worker, 160, &pool(wrote("refcount", "str", "")));
        b.faults(worker, 52, &pool(wrote("allocator", "", "")));
        let mut file = pool(wrote("library_data", "", "environ"));
        (file.outcome, file.region) = (
            Outcome::FileCopy,
            Region { kind: "file", path: Some("/usr/lib/libc.so.6".into()), offset: Some(0) },
        );
        b.faults(worker, 2, &file);
        if nth < 3 {
            let swap = operation("module_swap", "statistics");
            let entry = wrote("dict_entry", "dict", "sys.modules['statistics']");
            b.faults(worker, 1, &page(swap, entry, line(MULTI, 9, "f")));
            b.faults(worker, 2, &call(wrote("refcount", "str", "'getpid'")));
            b.faults(worker, 1, &call(wrote("type_cache", "", "")));
        }
        b.unlisted(worker, Outcome::ZeroFill, 31);
    }
    let mut reuse = fork.clone();
    reuse.outcome = Outcome::Reuse;
    b.faults(parent, 92, &reuse);
    b.faults(parent, 60, &fork);
    b.faults(
        parent,
        300,
        &page(operation("worker_bookkeeping", "multiprocessing"), wrote("refcount", "tuple", ""), None),
    );
    b.faults(
        workers[0],
        3,
        &page(unknown("the frame was being built"), untold("not in a known structure"), None),
    );
    b.finish()
}

/// A program without forks.
fn no_forks() -> Trace {
    let mut b = Builder::new(&["./prog"]);
    let only = b.process(None, "prog", 0);
    b.unlisted(only, Outcome::ZeroFill, 40);
    b.unlisted(only, Outcome::FileCopy, 6);
    b.finish()
}

/// A C program whose child only reads, while the parent goes on to write.
fn c_pair() -> Trace {
    let mut b = Builder::new(&["./redis-server"]);
    b.missing("writes by ptrace and process_vm_writev are not seen: that needs kernel function probes");
    let parent = b.process(None, "redis-server", 0);
    let child = b.process(Some(parent), "redis-rdb-bgsave", 3 << 30);
    let native = |function, kind| {
        page(operation("native", ""), wrote(kind, "", ""), symbol(function, "/usr/bin/redis-server"))
    };
    let mut huge = native("dictSdsKeyCompare", "unknown");
    huge.bytes = 2 * MIB;
    b.faults(parent, 90, &huge);
    b.faults(parent, 1300, &native("dbAdd", "malloc"));
    b.faults(
        parent,
        1,
        &page(operation("native", ""), wrote("malloc", "", ""), symbol("", "/usr/lib/libjemalloc.so.2")),
    );
    b.faults(child, 3, &page(operation("exit", ""), wrote("library_data", "", "__exit_funcs"), None));
    b.finish()
}

/// Many children alike, one that fails, and one program below them.
fn many() -> Trace {
    let mut b = Builder::new(&["gunicorn", "app:app"]);
    b.python("3.12.1", Some("3.12"));
    let parent = b.process(None, "gunicorn", 0);
    for nth in 0..200_u64 {
        let child = b.process(Some(parent), "gunicorn", 300 * MIB);
        b.faults(
            child,
            90 + nth % 7,
            &page(operation("worker_bookkeeping", "gunicorn"), wrote("refcount", "function", ""), None),
        );
        b.faults(child, 500 + nth % 13, &page(operation("gc", ""), wrote("gc_header", "", ""), None));
        let data = operation("call", "");
        b.faults(
            child,
            80,
            &page(
                data.clone(),
                wrote("refcount", "int", ""),
                line("/srv/app/dataset.py", 41, "Dataset.__getitem__"),
            ),
        );
        for place in 1..20 {
            b.faults(
                child,
                2,
                &page(
                    data.clone(),
                    wrote("attribute", "Config", ""),
                    line("/srv/app/config/a/very/long/way/down/settings.py", place, "load"),
                ),
            );
        }
        b.faults(
            child,
            12,
            &page(
                operation("import", "json.decoder"),
                wrote("allocator", "", ""),
                line("/srv/app/views/__init__.py", 3, "<module>"),
            ),
        );
        if nth == 20 {
            b.exit(child, Some(137));
        }
        if nth == 150 {
            let shell = b.process(Some(child), "sh", 0);
            b.faults(
                shell,
                2,
                &page(
                    operation("kernel", "read"),
                    wrote("kernel_copy", "", ""),
                    symbol("read", "/usr/lib/libc.so.6"),
                ),
            );
            b.exit(shell, None);
        }
    }
    b.finish()
}

/// Details that were lost, and an interpreter that is not known.
fn lossy() -> Trace {
    let mut b = Builder::new(&["python", "job.py"]);
    b.python("2.7.18", None);
    let parent = b.process(None, "python", 0);
    let child = b.process(Some(parent), "python", 40 * MIB);
    b.faults(
        child,
        100,
        &page(
            operation("native", ""),
            wrote("refcount", "", ""),
            symbol("PyEval_EvalFrameEx", "/usr/bin/python2.7"),
        ),
    );
    b.faults(child, 40, &page(unknown("no stack: the read failed"), wrote("unknown", "", ""), None));
    b.lost(child, Outcome::Copy, 30, 0);
    b.lost(child, Outcome::Copy, 10, 1);
    b.lost(child, Outcome::FileCopy, 1, 5);
    b.unlisted(parent, Outcome::FileCopy, 70);
    b.finish()
}

/// A target that names everything so as to harm the terminal.
fn hostile() -> Trace {
    let mut b = Builder::new(&["./x\x1b]0;owned\x07", "\u{202e}gpj.exe"]);
    b.python("3.1\x1b[2J", Some("\n"));
    b.missing("one\nmore \u{9b}31m line");
    let parent = b.process(None, "a\x1b[31m\nb", 0);
    let child = b.process(Some(parent), "\u{202e}\u{200b}c", 8192);
    let key = "'] = 0\r\x1b[1A".to_owned() + &"k".repeat(5000);
    let file = "/tmp/\u{1b}[H".to_owned() + &"日本".repeat(300) + ".py";
    b.faults(
        child,
        1,
        &page(
            operation("module_swap", &key),
            wrote("dict_entry", "dict\x07", &key),
            line(&file, 1, "f\u{2066}"),
        ),
    );
    b.faults(
        child,
        1,
        &page(operation("worker_bookkeeping", "\x1b[5m"), wrote("refcount", "\u{feff}", "\t"), None),
    );
    b.faults(child, 1, &page(unknown("why\x1b[0m\u{2028}not"), wrote("unknown", "", ""), None));
    b.faults(
        child,
        1,
        &page(operation("native", ""), wrote("unknown", "", ""), symbol("_Z\x7f", "/lib\x00/..")),
    );
    b.finish()
}

/// A shell that forks helpers before it becomes the program that was meant, as version managers have it.
fn shim() -> Trace {
    let mut b = Builder::new(&["python3", "multi.py"]);
    b.python("3.11.7", Some("3.11"));
    let root = b.process(None, "bash", 0);
    let native =
        |function| page(operation("native", ""), wrote("unknown", "", ""), symbol(function, "/usr/bin/bash"));
    let start = |name| Page {
        outcome: Outcome::FileCopy,
        ..page(operation("startup", name), wrote("library_data", "", ""), None)
    };
    for nth in 0..12 {
        let helper = b.process(Some(root), "bash", 45 * 4096);
        b.faults(helper, 30, &native("make_child"));
        b.faults(root, 9, &native("hash_search"));
        if nth % 4 == 0 {
            b.faults(helper, 2, &start("exec"));
            b.exec(helper, "readlink");
            b.faults(helper, 12, &start(""));
        }
    }
    b.exec(root, "python3");
    b.faults(root, 85, &start(""));
    let workers: Vec<usize> = (0..2).map(|_| b.process(Some(root), "python3", 9 * MIB)).collect();
    for worker in workers {
        b.faults(
            worker,
            200,
            &page(operation("worker_bookkeeping", "multiprocessing"), wrote("refcount", "str", ""), None),
        );
        let mut thread = line("/usr/lib/python3.11/threading.py", 975, "Thread.run");
        thread.as_mut().unwrap().library = Some("standard library".to_owned());
        b.faults(worker, 3, &page(operation("call", ""), wrote("refcount", "code", ""), thread));
        let malloc = symbol("malloc", "/usr/lib/libc.so.6");
        b.faults(worker, 5, &page(operation("native", ""), wrote("malloc", "", ""), malloc));
        let own = line(MULTI, 10, "f");
        b.faults(worker, 2, &page(operation("call", ""), wrote("refcount", "str", "'getpid'"), own));
    }
    b.finish()
}

/// A child that wrote nothing.
fn nothing() -> Trace {
    let mut b = Builder::new(&["./prog"]);
    let parent = b.process(None, "prog", 0);
    b.process(Some(parent), "prog", 2 * MIB);
    b.process(Some(parent), "prog", 2 * MIB);
    b.finish()
}

pub(super) fn text(trace: &Trace, options: &Options<'_>) -> String {
    let mut out = Vec::new();
    write(trace, options, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn golden(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("COWTRACE_BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{name} differs (COWTRACE_BLESS=1 renews it):\n{actual}");
}

pub(crate) fn traces() -> [(&'static str, Trace); 8] {
    [
        ("seed", seed()),
        ("no-forks", no_forks()),
        ("c-pair", c_pair()),
        ("many", many()),
        ("lossy", lossy()),
        ("hostile", hostile()),
        ("nothing", nothing()),
        ("shim", shim()),
    ]
}

pub(super) fn options() -> Options<'static> {
    Options { directory: Some("/home/ann"), ..Options::default() }
}

/// Every report is as it was, fits its width, and has no character that a terminal acts on.
#[test]
fn reports() {
    for (name, trace) in traces() {
        for width in [80, 120] {
            let text = text(&trace, &Options { width, ..options() });
            assert!(text.lines().all(|line| line.width() <= width), "{name} is wider than {width}:\n{text}");
            assert!(!text.chars().any(|c| c != '\n' && is_invisible(c)), "{name}:\n{text}");
            golden(&format!("{name}-{width}.txt"), &text);
        }
    }
}

/// Every cut has the same total, and a narrow terminal or every row asked for breaks nothing.
#[test]
fn cuts() {
    for (name, trace) in traces() {
        let scope = Scope::new(&trace, None);
        let mut listed = scope::Copied::default();
        scope.copies().for_each(|group| listed.add(&group.copied));
        for by in REPORTS {
            let mut sum = scope::Copied::default();
            causes::causes(&scope, by).iter().for_each(|row| sum.add(&row.copied));
            assert_eq!(sum, listed, "{name} by {}", by.name);
            for sort in SORTS {
                text(&trace, &Options { by, width: 40, sort: Some(sort), limit: Some(1), ..options() });
            }
            text(&trace, &Options { by, all: true, color: true, ..options() });
        }
    }
    let mut all = String::new();
    for by in &REPORTS[1..] {
        let report = text(&seed(), &Options { by, ..options() });
        all += &format!("--by {}\n{}\n", by.name, report.split("\n\n").nth(1).unwrap());
    }
    golden("seed-cuts.txt", &all);
}

/// Nothing is lost on the way: what is listed and what is not make the totals of the kernel.
#[test]
fn lost_details_are_a_row() {
    let trace = lossy();
    let scope = Scope::new(&trace, None);
    let lost = scope.without_details();
    assert_eq!((lost.pages, lost.bytes, lost.file_pages, lost.file_bytes), (40, 40 * 4096, 1, 4096));
    assert_eq!(scope.total().pages, 180);
}

/// On a machine with larger pages they are counted as such: those that nobody listed, those that were written in place, and those
/// that are told of in pages.
#[test]
fn larger_pages() {
    for bytes in [4096, 16384, 65536] {
        let mut b = Builder::new(&["python3", "a.py"]);
        b.pages(PageSize::of_bytes(bytes).unwrap());
        let parent = b.process(None, "python3", 0);
        let child = b.process(Some(parent), "python3", 100 * bytes);
        let swap = Page {
            bytes,
            ..page(operation("call", ""), wrote("refcount", "str", ""), line("/a.py", 3, "f"))
        };
        b.faults(child, 5, &swap);
        b.faults(child, 7, &Page { outcome: Outcome::Reuse, ..swap.clone() });
        let trace = b.finish();
        let scope = Scope::new(&trace, None);
        let untouched = scope.untouched(child);
        assert!(
            matches!(untouched, Untouched::Bytes(left) if left == (100 - 5 - 7) * bytes),
            "{bytes}: {untouched:?}"
        );
        let text = text(&trace, &options());
        assert!(text.contains("(5 pages in one child process)"), "{bytes}: {text}");
        let mut out = Vec::new();
        write_json(&trace, &options(), &mut out).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["page_size"], bytes);
        assert_eq!(json["processes"][1]["copied_bytes"], 5 * bytes, "{json}");
    }
}

#[test]
fn json() {
    for (name, trace) in traces() {
        let mut out = Vec::new();
        write_json(&trace, &options(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.trim_end().chars().any(is_invisible), "{name}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["processes"].as_array().unwrap().len(), trace.processes.len());
        assert_eq!(value["summary"]["faults"], trace.summary.faults);
        if name == "seed" {
            golden("seed-report.json", &(serde_json::to_string_pretty(&value).unwrap() + "\n"));
        }
    }
}

/// What is in the report and what is not make the copies of the kernel.
#[test]
fn other_programs() {
    let trace = shim();
    let scope = Scope::new(&trace, None);
    let (total, unshared) = (scope.total(), scope.unshared());
    let Summary { copies, file_copies, .. } = trace.summary;
    assert_eq!(total.all_pages() + unshared.all_pages(), copies + file_copies);
    assert_eq!((unshared.pages, unshared.file_pages), (0, 3 * 14 + 85));
    let rows = causes::causes(&scope, &REPORTS[0]);
    let own: u64 = rows.iter().filter(|row| row.class == cuts::Class::Own).map(Cause::pages).sum();
    assert_eq!(own, 4, "only lines of the program that was meant are its own");
}

/// A page that is copied although no fork shared it is not said to have been.
#[test]
fn merged_pages() {
    let mut b = Builder::new(&["./prog"]);
    let root = b.process(None, "prog", 0);
    b.process(Some(root), "prog", MIB);
    let other = b.process(Some(root), "prog", MIB);
    b.exec(other, "other");
    b.faults(other, 3, &page(operation("native", ""), wrote("unknown", "", ""), None));
    let report = text(&b.finish(), &options());
    let told = "not counted  3 pages (12.0 KiB) copied that no fork had shared: merged by KSM,";
    assert!(report.contains(told), "{report}");
}

#[test]
fn names_of_cuts() {
    assert_eq!(cut("region").unwrap().name, "region");
    assert_eq!(sort("pages").unwrap().name, "pages");
    let error = cut("size\x1b").unwrap_err().to_string();
    assert_eq!(
        error,
        "no report is called 'size\\x1b', there are operation, write, site, process, region, object, module"
    );
}

/// With `--all` faults are listed from the start, but nothing is shared before the first fork.
#[test]
fn before_the_first_fork_nothing_is_copied() {
    let mut b = Builder::new(&["./prog"]);
    let copy = page(operation("startup", ""), wrote("library_data", "", ""), None);
    let parent = b.process(None, "prog", 0);
    let mut file = copy.clone();
    file.outcome = Outcome::FileCopy;
    b.faults(parent, 30, &file);
    b.faults(parent, 2, &copy);
    let child = b.process(Some(parent), "prog", MIB);
    b.faults(child, 5, &copy);
    b.faults(parent, 1, &file);
    let trace = b.finish();
    let total = Scope::new(&trace, None).total();
    assert_eq!((total.pages, total.file_pages), (5, 1));
    assert!(
        text(&trace, &options()).starts_with("The child process copied 20.0 KiB of the 1.0 MiB it inherited")
    );
}

/// A process that was there before cowtrace shares memory with somebody who is not in the trace.
#[test]
fn attached() {
    let mut b = Builder::new(&[]);
    let only = b.process(None, "worker", 0);
    let quiet = b.clone().finish();
    b.faults(only, 3, &page(operation("native", ""), wrote("malloc", "", ""), symbol("fill", "/bin/worker")));
    let start = text(&b.finish(), &options());
    assert!(
        start.starts_with(
            "The process copied 12.0 KiB.\nYour code: fill (worker), malloc's own data, 100 % (3 pages)."
        ),
        "{start}"
    );
    assert!(
        text(&quiet, &options()).starts_with("Nothing was forked while it was watched: no memory was shared")
    );
    assert!(text(&Trace::default(), &options()).starts_with("No process was seen."));
}

/// A line that is near the right one is marked, and the mark is explained once; without one there is no word of it.
#[test]
fn approximate_lines() {
    let of = |approximate| {
        let mut b = Builder::new(&["python", "multi.py"]);
        let parent = b.process(None, "python3", 0);
        let child = b.process(Some(parent), "python3", MIB);
        let site = line(MULTI, 9, "f").map(|site| Site { approximate, ..site });
        b.faults(child, 2, &page(operation("call", ""), wrote("refcount", "str", ""), site));
        text(&b.finish(), &options())
    };
    let (near, exact) = (of(true), of(false));
    assert!(near.contains("multi.py:~9 (f)"), "{near}");
    assert_eq!(near.matches("~ before a line").count(), 1, "{near}");
    assert!(exact.contains("multi.py:9 (f)") && !exact.contains('~'), "{exact}");
}

/// Indices that lead nowhere, as a damaged file may have them, break nothing.
#[test]
fn damaged() {
    let mut trace = seed();
    trace.processes[0].parent = Some(3);
    trace.processes[2].parent = Some(9999);
    trace.processes[3].generation = u32::MAX;
    trace.faults[0].process = usize::MAX;
    trace.processes[1].totals = crate::record::schema::ProcessTotals::default();
    trace.regions = crate::record::schema::Table::default();
    trace.operations = crate::record::schema::Table::default();
    for by in REPORTS {
        text(&trace, &Options { by, ..options() });
        write_json(&trace, &Options { by, ..options() }, &mut io::sink()).unwrap();
    }
}
