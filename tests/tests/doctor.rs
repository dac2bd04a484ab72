//! `doctor`, and what is generated from the command line: on this machine, whose kernel can be traced.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cowtrace_tests::process::Output;
use cowtrace_tests::{Finished, Started, binary, needs, python};
use serde_json::Value;
use tempfile::TempDir;

const TIMEOUT: Duration = Duration::from_secs(60);
/// A user without rights, as numbers: no name is needed.
const NOBODY: &str = "65534";
/// Says that it is there, and waits.
const WAITING: &str =
    "import platform, time; print('up', platform.python_version(), flush=True); time.sleep(100)";

fn run(program: impl AsRef<Path>, words: &[&str]) -> Finished {
    let mut command = Command::new(program.as_ref());
    Started::new(command.args(words), b"", Output::Pipe, TIMEOUT).finish()
}

fn doctor(words: &[&str]) -> Finished {
    run(binary::cowtrace(), &[&["doctor"], words].concat())
}

/// Starts a script that waits, under this interpreter; it ends when this is dropped.
fn waiting(interpreter: &Path) -> Started {
    let started = Started::new(Command::new(interpreter).args(["-c", WAITING]), b"", Output::Pipe, TIMEOUT);
    started.expect_output("\n");
    started
}

/// What `doctor --json` said, and its status.
fn object(finished: &Finished) -> Value {
    let text = finished.stdout_text();
    assert_eq!(text.matches('\n').count(), 1, "{text}\n{}", finished.stderr_text());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The rows of a section whose name begins so: check, verdict, what was found.
fn rows(object: &Value, about: &str) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let sections = object["sections"].as_array().expect("a list");
    let section = sections.iter().find(|section| text(&section["about"]).starts_with(about));
    let section = section.unwrap_or_else(|| panic!("no section about {about}: {object}"));
    let rows = section["rows"].as_array().expect("a list").iter();
    rows.map(|row| (text(&row["check"]), text(&row["verdict"]), text(&row["found"]))).collect()
}

fn row(object: &Value, about: &str, check: &str) -> (String, String) {
    let rows = rows(object, about);
    let row = rows.iter().find(|(name, _, _)| name == check);
    let (_, verdict, found) = row.unwrap_or_else(|| panic!("no row {check} about {about}: {rows:?}"));
    (verdict.clone(), found.clone())
}

/// A copy of the binary where everybody may run it.
fn for_everybody() -> (TempDir, PathBuf) {
    let folder = TempDir::with_prefix("cowtrace-doctor-").expect("a temporary folder");
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("our folder");
    let copy = folder.path().join("cowtrace");
    fs::copy(binary::cowtrace(), &copy).expect("the binary can be copied");
    (folder, copy)
}

fn as_nobody(binary: &Path, words: &[&str]) -> Finished {
    let binary = binary.to_str().expect("a plain path");
    let start = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", binary, "doctor"];
    run("setpriv", &[&start[..], words].concat())
}

/// As root on a machine where the other tests trace, nothing that is needed is missing: 0, and the probes were tried.
#[test]
fn as_root() {
    if !needs::tracing() {
        return;
    }
    let finished = doctor(&["--json"]);
    let object = object(&finished);
    assert_eq!((finished.code(), object["verdict"].as_str()), (0, Some("ok")), "{object}");
    for about in ["kernel", "privileges", "memory", "probes"] {
        for (check, verdict, found) in rows(&object, about) {
            let expected = if check == "rung" { "limited" } else { "ok" };
            assert_eq!(verdict, expected, "{about}, {check}: {found}");
        }
    }
    let (_, found) = row(&object, "probes", "attaching");
    assert!(found.contains("probes loaded, attached and taken out") && found.contains("64.0 MiB"), "{found}");
    let (_, found) = row(&object, "probes", "rung");
    assert!(found.contains("get_user_pages"), "{found}");

    let text = doctor(&[]).stdout_text();
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(text.ends_with("Everything that cowtrace needs is here; 1 limited.\n"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

/// Without root: 1, every check that needs none is made, and what is missing is said with what to do.
#[test]
fn without_root() {
    if !needs::tracing() {
        return;
    }
    let (_folder, copy) = for_everybody();
    let finished = as_nobody(&copy, &["--json"]);
    let object = object(&finished);
    assert_eq!((finished.code(), object["verdict"].as_str()), (1, Some("missing")), "{object}");
    assert_eq!(row(&object, "privileges", "capabilities").0, "missing");
    assert_eq!(row(&object, "probes", "attaching").0, "not_checked");
    for check in ["release", "types (BTF)", "structures"] {
        assert_eq!(row(&object, "kernel", check).0, "ok", "{check}");
    }
    assert_eq!(row(&object, "probes", "tracepoints").0, "ok");
    let finished = as_nobody(&copy, &[]);
    let text = finished.stdout_text();
    assert!(text.contains("-> run it with sudo") && text.contains("no CAP_PERFMON, no CAP_BPF"), "{text}");
    assert_eq!((finished.code(), finished.stderr_text().as_str()), (1, ""));
}

/// Every interpreter of this machine, running and as a file, is named with its version and the layout that reads it.
#[test]
fn interpreters() {
    if !needs::tracing() {
        return;
    }
    for interpreter in python::all().iter().filter(|interpreter| interpreter.root.is_none()) {
        let started = waiting(&interpreter.path);
        let output = started.output_so_far();
        let version = output.trim().strip_prefix("up ").expect("it says its version");
        let pid = started.pid().to_string();
        let program = interpreter.path.to_str().expect("a plain path");
        let finished = doctor(&["--json", &pid, program]);
        let object = object(&finished);
        assert_eq!(finished.code(), 0, "{interpreter}: {object}");
        let process = row(&object, &format!("process {pid}"), "interpreter");
        let start = format!("CPython {version}, layout cpython-3.{}", interpreter.minor.1);
        assert!(process.0 == "ok" && process.1.starts_with(&start), "{interpreter}: {process:?}");
        assert_eq!(process, row(&object, "program", "interpreter"), "{interpreter}");
        for check in ["frames", "lines"] {
            assert_eq!(row(&object, &format!("process {pid}"), check).0, "ok", "{interpreter}, {check}");
        }
    }
}

/// A script is looked at by the interpreter that its first line names.
#[test]
fn scripts() {
    let folder = TempDir::with_prefix("cowtrace-doctor-").expect("a temporary folder");
    let script = folder.path().join("script");
    let about = |first: &str| {
        fs::write(&script, first).expect("a script");
        fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("our script");
        let mut command = Command::new(binary::cowtrace());
        // Debian's interpreter: another PATH may lead to a script of pyenv's.
        command.args(["doctor", "--json"]).arg(&script).env("PATH", "/usr/bin:/bin");
        object(&Started::new(&mut command, b"", Output::Pipe, TIMEOUT).finish())
    };
    let (verdict, found) = row(&about("#!/usr/bin/env -S python3.11 -u\n"), "program", "interpreter");
    assert!(verdict == "ok" && found.starts_with("CPython 3.11."), "{found}");
    let (verdict, found) = row(&about("#!/bin/sh\nexec python3\n"), "program", "interpreter");
    assert!(verdict == "not_checked" && found.contains("what the script starts"), "{found}");
    let (verdict, found) = row(&about("#!/no/such/python\n"), "program", "program");
    assert_eq!((verdict.as_str(), found.as_str()), ("missing", "there is no program /no/such/python"));
}

/// A program without an interpreter; one whose name and interpreter are meant to drive the terminal.
#[test]
fn native_programs() {
    let (verdict, found) = row(&object(&doctor(&["--json", "/usr/bin/true"])), "program", "interpreter");
    assert!(verdict == "ok" && found.starts_with("none that cowtrace knows"), "{found}");

    let folder = TempDir::with_prefix("cowtrace-doctor-").expect("a temporary folder");
    let name = folder.path().join("a\x1b[2J\nb");
    fs::copy("/usr/bin/sleep", &name).expect("a copy");
    let sleeping = Started::new(Command::new(&name).arg("100"), b"", Output::Pipe, TIMEOUT);
    let pid = sleeping.pid().to_string();
    // The copy runs only some time after its start.
    let comm = format!("/proc/{pid}/comm");
    while !fs::read(&comm).expect("it runs").starts_with(b"a") {
        std::thread::yield_now();
    }
    for words in [&[pid.as_str(), name.to_str().expect("UTF-8")][..], &["--json", &pid]] {
        let text = doctor(words).stdout_text();
        assert!(text.contains("u001b[2J") || text.contains("\\x1b[2J"), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}

/// A process that cannot be looked at: a sentence and 1, or what would help.
#[test]
fn processes_that_cannot_be_looked_at() {
    if !needs::tracing() {
        return;
    }
    let gone = waiting(Path::new("/usr/bin/python3.11")).pid().to_string();
    let finished = doctor(&[&gone]);
    let text = finished.stdout_text();
    assert!(text.contains(&format!("there is no process {gone}")), "{text}");
    assert_eq!((finished.code(), finished.stderr_text().as_str()), (1, ""));

    let (_folder, copy) = for_everybody();
    let roots = waiting(Path::new("/usr/bin/python3.11"));
    let object = object(&as_nobody(&copy, &["--json", &roots.pid().to_string()]));
    let (verdict, found) = row(&object, "process", "process");
    assert!(verdict == "not_checked" && found.contains("belongs to root"), "{found}");
}

/// Wrong usage: 2.
#[test]
fn wrong_usage() {
    for words in
        [&["doctor", "--no-such-flag"][..], &["doctor", "--buffer", "some"], &["completions", "tcsh"]]
    {
        let finished = run(binary::cowtrace(), words);
        assert_eq!(finished.code(), 2, "{words:?}: {}", finished.stderr_text());
    }
}

/// A page for every subcommand that `--help` lists, with which `man` finds nothing wrong.
#[test]
fn manual() {
    let folder = TempDir::with_prefix("cowtrace-man-").expect("a temporary folder");
    let pages = folder.path().join("man1");
    let finished = run(binary::cowtrace(), &["man", "-o", pages.to_str().expect("a plain path")]);
    assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
    let help = run(binary::cowtrace(), &["--help"]).stdout_text();
    let (_, list) = help.split_once("Subcommands:\n").expect("a list of subcommands");
    let subcommands: Vec<&str> = list
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()))
        .collect();
    assert!(subcommands.contains(&"doctor") && subcommands.contains(&"man"), "{subcommands:?}");
    let has_groff = Path::new("/usr/bin/groff").exists();
    if !has_groff {
        needs::skipped("groff is not installed");
    }
    for page in subcommands.iter().map(|name| format!("cowtrace-{name}.1")).chain(["cowtrace.1".to_owned()]) {
        let path = pages.join(&page);
        assert!(path.is_file(), "{page}");
        if has_groff {
            let checked =
                run("groff", &["-ww", "-man", "-Tutf8", "-z", path.to_str().expect("a plain path")]);
            assert_eq!((checked.code(), checked.stderr_text().as_str()), (0, ""), "{page}");
        }
    }
    let first = run(binary::cowtrace(), &["man"]);
    assert_eq!(first.stdout, fs::read(pages.join("cowtrace.1")).expect("it was written"));
}

/// bash completes subcommands and options with what is generated for it.
#[test]
fn completions() {
    let script = run(binary::cowtrace(), &["completions", "bash"]);
    assert_eq!(script.code(), 0, "{}", script.stderr_text());
    let folder = TempDir::with_prefix("cowtrace-completions-").expect("a temporary folder");
    let path = folder.path().join("cowtrace.bash");
    fs::write(&path, &script.stdout).expect("a file");
    let complete = |words: &str| {
        let ask = format!(
            ". {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _cowtrace cowtrace \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\"",
            path.display()
        );
        let finished = run("bash", &["--norc", "-c", &ask]);
        assert_eq!(finished.stderr_text(), "", "{words}");
        finished.stdout_text().trim().to_owned()
    };
    assert_eq!(complete("cowtrace doc"), "doctor");
    assert_eq!(complete("cowtrace doctor --js"), "--json");
    assert_eq!(complete("cowtrace report --by wri"), "write");
}
