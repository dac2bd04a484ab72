//! Names and lines of native code: with debug information, without, with some that lies, and from files that are not what
//! they were.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cowtrace_tests::check::{self, Listing};
use cowtrace_tests::facts::parse;
use cowtrace_tests::trace::NativeFrame;
use cowtrace_tests::{Fault, Run, Traced, needs, programs};
use tempfile::TempDir;

/// What the functions of `symbols.c` wrote.
struct Written {
    /// By [`outer`](../programs/symbols.c), into which `inner` is inlined.
    outer: Vec<Fault>,
    /// By a function that only its file knows.
    hidden: Vec<Fault>,
}

/// A copy of the program, with the folder that it is in.
fn copied() -> (TempDir, PathBuf) {
    let folder = TempDir::with_prefix("cowtrace-symbols-").expect("a temporary folder");
    let program = folder.path().join("symbols");
    fs::copy(programs::built("symbols"), &program).expect("the program is copied");
    (folder, program)
}

fn run(program: &str, arguments: &[&Path]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn trace(program: &Path) -> Written {
    let Traced { trace, finished } = Run::new(program).arg("written").trace();
    let facts = parse(&finished.stdout_text());
    check::nothing_lost(&trace);
    check::facts(&trace, &facts, Listing::Default);
    let written = |name: &str| -> Vec<Fault> {
        let fact = facts.iter().find(|fact| fact.region == name).expect("the program tells of it");
        let inside = |fault: &&Fault| (fact.start..fact.end).contains(&fault.address);
        let faults: Vec<Fault> = trace.faults_of(fact.pid).filter(inside).cloned().collect();
        assert_eq!(faults.len() as u64, fact.pages, "{name}");
        faults
    };
    Written { outer: written("outer"), hidden: written("hidden") }
}

/// Symbol, line and whether it is inlined, of each of the innermost frames.
fn shown(frames: &[NativeFrame], count: usize) -> Vec<(Option<&str>, Option<u32>, bool)> {
    let frames = frames.iter().take(count);
    frames.map(|frame| (frame.symbol.as_deref(), frame.line, frame.inlined)).collect()
}

fn line(comment: &str) -> Option<u32> {
    Some(programs::line_ending(&source(), &format!("/* {comment} */")))
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/symbols.c")
}

/// Function, line and what is inlined are the source's.
fn with_lines(written: &Written) {
    for fault in &written.outer {
        let expected = [(Some("inner"), line("inlined"), true), (Some("outer"), line("caller"), false)];
        assert_eq!(shown(&fault.native, 2), expected, "{fault:#?}");
        assert_eq!(fault.line_in(&source()), line("inlined"), "{fault:#?}");
    }
    for fault in &written.hidden {
        assert_eq!(shown(&fault.native, 1), [(Some("hidden"), line("hidden"), false)], "{fault:#?}");
        assert!(
            fault.native[0].file.as_deref().is_some_and(|file| file.ends_with("symbols.c")),
            "{fault:#?}"
        );
    }
}

/// What is exported has its name; of what is not, the offset is told, and no neighbour's name.
fn without_lines(written: &Written) {
    for fault in &written.outer {
        assert_eq!(shown(&fault.native, 1), [(Some("outer"), None, false)], "{fault:#?}");
    }
    for fault in &written.hidden {
        assert_eq!(shown(&fault.native, 1), [(None, None, false)], "{fault:#?}");
        let site = fault.site.as_ref().and_then(|site| site.function.as_deref());
        assert!(site.is_some_and(|site| site.starts_with("symbols+0x")), "{fault:#?}");
    }
}

#[test]
fn debug_information() {
    if !needs::tracing() {
        return;
    }
    let (_folder, program) = copied();
    with_lines(&trace(&program));
}

/// A stripped program has lines by its separate file, as long as that is of the same build.
#[test]
fn separate_debug_information() {
    if !needs::tracing() {
        return;
    }
    let (folder, program) = copied();
    let beside = folder.path().join(".debug");
    fs::create_dir(&beside).expect("a folder");
    let separate = beside.join("symbols.debug");
    run("objcopy", &[Path::new("--only-keep-debug"), &program, &separate]);
    run("strip", &[&program]);
    without_lines(&trace(&program));
    run("objcopy", &[Path::new(&format!("--add-gnu-debuglink={}", separate.display())), &program]);
    with_lines(&trace(&program));
    run("objcopy", &[Path::new("--only-keep-debug"), &programs::built("anonymous"), &separate]);
    without_lines(&trace(&program));
    // Opening it would wait for somebody who writes.
    fs::remove_file(&separate).expect("the file is ours");
    run("mkfifo", &[&separate]);
    without_lines(&trace(&program));
}

/// A stripped program with its functions' names compressed: these and the exported ones are known, and no lines.
#[test]
fn mini_debug_information() {
    if !needs::tracing() {
        return;
    }
    if !Path::new("/usr/bin/xz").exists() {
        needs::skipped("there is no xz to compress with");
        return;
    }
    let (folder, program) = copied();
    let [separate, mini] = ["separate", "mini"].map(|name| folder.path().join(name));
    run("objcopy", &[Path::new("--only-keep-debug"), &program, &separate]);
    run("strip", &[Path::new("--strip-debug"), &separate, Path::new("-o"), &mini]);
    run("xz", &[&mini]);
    run("strip", &[&program]);
    let add = format!(".gnu_debugdata={}.xz", mini.display());
    run("objcopy", &[Path::new("--add-section"), Path::new(&add), &program]);
    let Written { outer, hidden } = trace(&program);
    for (faults, name) in [(outer, "outer"), (hidden, "hidden")] {
        for fault in faults {
            assert_eq!(shown(&fault.native, 1), [(Some(name), None, false)], "{fault:#?}");
        }
    }
}

/// Debug information of noise costs its lines, nothing more.
#[test]
fn debug_information_that_lies() {
    if !needs::tracing() {
        return;
    }
    let (folder, program) = copied();
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise.to_le_bytes()[0]
    };
    for section in [".debug_info", ".debug_abbrev", ".debug_line", ".debug_str"] {
        let lies = folder.path().join(format!("lies{section}"));
        let content = folder.path().join("content");
        fs::write(&content, (0..5000).map(|_| byte()).collect::<Vec<u8>>()).expect("a file");
        let update = format!("{section}={}", content.display());
        run("objcopy", &[Path::new("--update-section"), Path::new(&update), &program, &lies]);
        for fault in trace(&lies).outer {
            assert!(fault.native.iter().any(|frame| frame.symbol.as_deref() == Some("outer")), "{fault:#?}");
        }
    }
}

/// Names of C++ and Rust are as their sources have them.
#[test]
fn other_languages() {
    if !needs::tracing() {
        return;
    }
    let Traced { trace, finished } = Run::new(programs::built("symbols")).arg("mangled").trace();
    let facts = parse(&finished.stdout_text());
    check::nothing_lost(&trace);
    check::facts(&trace, &facts, Listing::Default);
    for (fact, name) in facts.iter().zip(["cow::Writer<int>::put(char*)", "cow::writer::put"]) {
        let inside = |fault: &&Fault| (fact.start..fact.end).contains(&fault.address);
        let faults: Vec<&Fault> = trace.faults_of(fact.pid).filter(inside).collect();
        assert_eq!(faults.len() as u64, fact.pages, "{name}");
        for fault in faults {
            assert_eq!(fault.native[0].symbol.as_deref(), Some(name), "{fault:#?}");
        }
    }
}

/// Code that the program made while it ran has the name that it gave it, without what a terminal would obey.
#[test]
fn code_made_at_run_time() {
    if !needs::tracing() {
        return;
    }
    let Traced { trace, finished } = Run::new(programs::built("symbols")).arg("made").trace();
    let facts = parse(&finished.stdout_text());
    check::nothing_lost(&trace);
    check::facts(&trace, &facts, Listing::Default);
    let inside = |fault: &&Fault| (facts[0].start..facts[0].end).contains(&fault.address);
    for fault in trace.faults_of(facts[0].pid).filter(inside) {
        assert_eq!(
            shown(&fault.native, 1),
            [(Some("compiled \u{fffd}[31mfunction"), None, false)],
            "{fault:#?}"
        );
        assert!(!fault.native[0].approximate, "{fault:#?}");
    }
}

/// A program of 2 GiB, most of them a hole.
#[test]
fn large_file() {
    if !needs::tracing() {
        return;
    }
    let (_folder, program) = copied();
    let file = fs::File::options().write(true).open(&program).expect("the file is ours");
    file.set_len(2 << 30).expect("it can be made longer");
    drop(file);
    with_lines(&trace(&program));
}
