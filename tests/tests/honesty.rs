//! What cowtrace says of itself and of what it did not see: losses, the tree, the header, latencies, hostile names.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cowtrace_tests::check::{self, Listing};
use cowtrace_tests::facts::{Fact, parse};
use cowtrace_tests::process::expect_state;
use cowtrace_tests::trace::Process;
use cowtrace_tests::{Finished, Run, Trace, Traced, needs, programs, python, repeats};
use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;

const CHILDREN: usize = 200;
/// Forks a child that writes and ends; ends with 3.
const FORKS: &str = "import os; p = os.fork(); p or os._exit(0); os.wait(); os._exit(3)";

/// Stages that hold a fault's details until somebody reads them.
fn lost_in_ring(trace: &Trace) -> u64 {
    trace.losses.iter().filter(|loss| loss.stage == "ring").map(|loss| loss.count).sum()
}

fn lost_in_totals(trace: &Trace) -> u64 {
    trace.processes.iter().flat_map(|process| process.totals.values()).map(|total| total.lost).sum()
}

/// Sentences of cowtrace itself on stderr.
fn sentences(finished: &Finished) -> Vec<String> {
    let text = finished.stderr_text();
    text.lines().filter(|line| line.starts_with("cowtrace: ")).map(str::to_owned).collect()
}

/// Runs with a report and a file.
fn reported(run: Run) -> (Trace, Finished) {
    let Traced { trace, finished } = run.reported();
    (trace, finished)
}

/// With a buffer that is too small details are lost; how many is known exactly, for every process and outcome, and the
/// totals are as right as ever.
#[test]
fn loss_is_counted_exactly() {
    if !needs::tracing() {
        return;
    }
    for _ in 0..repeats(3) {
        let run = Run::new(programs::built("load")).flag("--buffer").flag("64K").timeout(120);
        let (trace, finished) = reported(run);
        assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
        check::totals_add_up(&trace);
        let lost = lost_in_totals(&trace);
        assert_eq!(lost_in_ring(&trace), lost, "{:?}", trace.losses);
        let facts = parse(&finished.stdout_text());
        let of_children: Vec<&Fact> = facts.iter().filter(|fact| fact.generation == 1).collect();
        assert_eq!(of_children.len(), CHILDREN);
        for fact in of_children {
            has_at_least(&trace, fact);
        }
        tells_the_loss(&finished, lost, "--buffer 128K");
    }
}

/// The process copied what it says and a few pages more, which it writes as every forked process does.
fn has_at_least(trace: &Trace, fact: &Fact) {
    let total = trace.process(fact.pid).totals["copy"];
    assert!((fact.pages..fact.pages + 20).contains(&total.faults), "{total:?}, {fact:?}");
    let listed = trace.faults_of(fact.pid).filter(|f| (fact.start..fact.end).contains(&f.address)).count();
    assert!((fact.pages - total.lost.min(fact.pages)..=fact.pages).contains(&(listed as u64)), "{total:?}");
}

fn tells_the_loss(finished: &Finished, lost: u64, hint: &str) {
    let told: Vec<String> = sentences(finished).into_iter().filter(|text| text.contains("lost")).collect();
    if lost == 0 {
        needs::skipped("nothing was lost");
        assert!(told.is_empty(), "{told:?}");
        return;
    }
    assert_eq!(told.len(), 1, "{}", finished.stderr_text());
    assert!(told[0].contains(hint), "{told:?}");
    assert!(told[0].contains(&format!(" {lost} faults")), "{lost} faults lost, but: {told:?}");
}

/// Not even with the smallest of buffers does a process stay unknown: totals are the kernel's.
#[test]
fn loss_takes_no_process_away() {
    if !needs::tracing() {
        return;
    }
    for _ in 0..repeats(3) {
        let run = Run::new(programs::built("load")).flag("--buffer").flag("4K").timeout(120);
        let (trace, finished) = reported(run);
        assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
        check::totals_add_up(&trace);
        let children = trace.processes.iter().filter(|process| process.generation == 1).count();
        assert_eq!(children, CHILDREN, "children with a line; lost: {:?}", trace.losses);
        for fact in parse(&finished.stdout_text()).iter().filter(|fact| fact.generation == 1) {
            has_at_least(&trace, fact);
        }
        assert_eq!(lost_in_ring(&trace), lost_in_totals(&trace), "{:?}", trace.losses);
    }
}

/// Five hundred children, one after another, with the smallest of buffers: each has a line, and none that has ended is said
/// to run.
#[test]
fn loss_takes_no_short_process_away() {
    if !needs::tracing() {
        return;
    }
    let script = "i=0; while [ $i -lt 500 ]; do (:); i=$((i+1)); done; exit 6";
    for _ in 0..repeats(3) {
        let (trace, finished) =
            reported(Run::new("/bin/sh").arg("-c").arg(script).flag("--buffer").flag("4K"));
        assert_eq!(finished.code(), 6, "{}", finished.stderr_text());
        check::totals_add_up(&trace);
        assert_eq!(trace.processes.len(), 501, "processes with a line; lost: {:?}", trace.losses);
        let running = trace.processes.iter().filter(|process| process.end.is_none()).count();
        assert_eq!(running, 0, "processes said to be running at the end; lost: {:?}", trace.losses);
    }
}

/// Traces a case of odd descent and checks the copies that it tells of.
fn lineage(case: &str) -> (Trace, Fact) {
    let traced = Run::new(programs::built("lineage")).arg(case).trace();
    check::nothing_lost(&traced.trace);
    check::totals_add_up(&traced.trace);
    let facts = parse(&traced.finished.stdout_text());
    check::facts(&traced.trace, &facts, Listing::Default);
    assert_eq!(traced.trace.processes.len(), 3, "{:?}", traced.trace.processes);
    (traced.trace, facts[0].clone())
}

fn of_generation(trace: &Trace, generation: u32) -> &Process {
    trace.processes.iter().find(|process| process.generation == generation).expect("one of each generation")
}

/// It runs this file, whichever of the file's names it was run by.
fn is_file(process: &Process, path: &Path) {
    let exe = Path::new(process.exe.as_deref().unwrap_or_else(|| panic!("no file: {process:?}")));
    assert!(!exe.starts_with("/proc"), "the file's name is another one for every process: {process:?}");
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|error| panic!("{error}: {process:?}"));
    assert_eq!(canonical(exe), canonical(path), "{process:?}");
}

/// A process that runs its own program again by way of /proc is said to run that program.
#[test]
fn own_program_again() {
    if !needs::tracing() {
        return;
    }
    let script = "(exec /proc/self/exe -c 'exit 4'); exit 3";
    let traced = Run::new("/bin/bash").arg("-c").arg(script).trace_any();
    assert_eq!(traced.finished.code(), 3);
    is_file(of_generation(&traced.trace, 1), Path::new("/bin/bash"));
}

/// Bytes by which the shared part of a kernel's counter of a process's pages may be short: what each CPU keeps to itself, 32
/// pages or twice as many as there are CPUs (`percpu_counter_batch`).
fn counter_lag() -> u64 {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    cpus * (2 * cpus).max(32) * 4096
}

/// A process that becomes other programs three times in a row stays one process, and is called what it was last.
#[test]
fn three_programs_in_a_row() {
    if !needs::tracing() {
        return;
    }
    for _ in 0..repeats(3) {
        let (trace, written) = lineage("exec");
        let (root, child) = (of_generation(&trace, 0), of_generation(&trace, 1));
        let grandchild = trace.process(written.pid);
        assert_eq!((child.ppid, grandchild.ppid), (root.pid, child.pid));
        assert_eq!((child.comm.as_str(), child.exit_status), ("true", Some(0)), "{child:?}");
        assert_eq!(child.command, ["true", "indeed"], "{child:?}");
        is_file(child, Path::new("/bin/true"));
        is_file(root, &programs::built("lineage"));
        is_file(grandchild, &programs::built("lineage"));
        assert_eq!(grandchild.command, ["second", "second"], "{grandchild:?}");
        let inherited = grandchild.inherited_bytes + counter_lag();
        assert!(inherited >= written.pages * 4096 && grandchild.inherited_bytes > 0, "{grandchild:?}");
    }
}

/// A thread that becomes another program takes its process over, id and all.
#[test]
fn thread_becomes_another_program() {
    if !needs::tracing() {
        return;
    }
    for _ in 0..repeats(3) {
        let (trace, written) = lineage("thread_exec");
        let (root, child) = (of_generation(&trace, 0), of_generation(&trace, 1));
        let grandchild = trace.process(written.pid);
        assert_eq!((child.ppid, grandchild.ppid), (root.pid, child.pid));
        assert_eq!(
            (child.command.as_slice(), child.exit_status),
            (&["threaded".to_owned(), "threaded".to_owned()][..], Some(0))
        );
        is_file(child, &programs::built("lineage"));
        assert!(child.end >= grandchild.end, "{child:?} ended before {grandchild:?}");
        assert!(child.end.is_some(), "{child:?}");
    }
}

/// An orphan is its parent's child all the same.
#[test]
fn orphan() {
    if !needs::tracing() {
        return;
    }
    for _ in 0..repeats(3) {
        let (trace, written) = lineage("orphan");
        let (root, middle, orphan) =
            (of_generation(&trace, 0), of_generation(&trace, 1), trace.process(written.pid));
        assert_eq!((middle.ppid, orphan.ppid, orphan.generation), (root.pid, middle.pid, 2), "{orphan:?}");
        assert_eq!((root.exit_status, middle.exit_status), (Some(0), Some(3)));
        assert_eq!((orphan.exit_status, middle.end < orphan.end), (Some(0), true), "{middle:?}, {orphan:?}");
    }
}

/// The header says by which means, what was not seen, and which interpreter.
#[test]
fn header_says_what_was_used() {
    if !needs::tracing() {
        return;
    }
    for interpreter in python::builds_of_3_11() {
        let traced = Run::new(&interpreter).arg("-c").arg(FORKS).trace_any();
        assert_eq!(traced.finished.code(), 3);
        let header = &traced.trace.header;
        assert!(
            !header.probes.is_empty() && !header.kernel.is_empty() && !header.version.is_empty(),
            "{header:?}"
        );
        assert_eq!(header.command[1..], ["-c", FORKS]);
        if header.rung == "base" {
            assert!(header.missing.iter().any(|text| text.contains("get_user_pages")), "{header:?}");
        }
        assert_eq!(header.interpreters.len(), 1, "{header:?}");
        let met = &header.interpreters[0];
        assert_eq!(met.name, "CPython");
        assert!(met.version.starts_with("3.11.") && met.layout.is_some(), "{met:?}");
        assert!(Path::new(&met.path).exists(), "{met:?}");
    }
    let traced = Run::new("/bin/true").trace();
    assert!(traced.trace.header.interpreters.is_empty(), "{:?}", traced.trace.header);
}

/// A program that ends right after its only fork is explained like any other: its mappings, its code, its interpreter.
#[test]
fn short_program_is_explained() {
    if !needs::tracing() {
        return;
    }
    for interpreter in python::builds_of_3_11() {
        for round in 0..repeats(20) {
            let trace = Run::new(&interpreter).arg("-c").arg(FORKS).trace_any().trace;
            let what = format!("{}, round {round}, {} faults", interpreter.display(), trace.faults.len());
            assert_eq!(trace.header.interpreters.len(), 1, "{what}: {:?}", trace.header);
            assert!(trace.faults.iter().any(|fault| fault.region.kind != "unknown"), "{what}: no region");
            assert!(trace.faults.iter().any(|fault| !fault.native.is_empty()), "{what}: no native frame");
            assert!(trace.faults.iter().any(|fault| !fault.python.is_empty()), "{what}: no Python frame");
        }
    }
}

/// A program that has begun and ended before cowtrace looks at it once: where it wrote, and which function did, is known.
#[test]
fn late_look_at_a_program() {
    if !needs::tracing() {
        return;
    }
    for _ in 0..repeats(3) {
        let folder = TempDir::with_prefix("cowtrace-test-").expect("a temporary folder");
        let (path, go) = (folder.path().join("trace.jsonl"), folder.path().join("go"));
        let script = format!(
            "echo ready; until [ -e '{}' ]; do sleep 0.02; done; exec '{}' gone",
            go.display(),
            programs::built("anonymous").display()
        );
        let run = Run::new("/bin/sh").arg("-c").arg(&script).flag("-q").flag("-o").flag(&path);
        let started = run.start();
        started.expect_output("ready");
        kill(started.pid(), Signal::SIGSTOP).expect("cowtrace is there");
        expect_state(started.pid(), "T");
        std::fs::write(&go, "").expect("the folder is there");
        started.expect_output("copy");
        kill(started.pid(), Signal::SIGCONT).expect("cowtrace is there");
        let finished = started.finish();
        assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
        let trace = Trace::read(&path);
        check::nothing_lost(&trace);
        check::totals_add_up(&trace);
        let facts = parse(finished.stdout_text().trim_start_matches("ready\n"));
        let fact = facts.iter().find(|fact| fact.outcome == "copy").expect("a fact of the child");
        let faults: Vec<_> =
            trace.faults_of(fact.pid).filter(|f| (fact.start..fact.end).contains(&f.address)).collect();
        assert_eq!(faults.len() as u64, fact.pages);
        for fault in faults {
            assert_eq!(fault.region.kind, "anonymous", "{fault:?}");
            let symbol = fault.native.first().and_then(|frame| frame.symbol.as_deref());
            assert_eq!(symbol, Some("store_loop"), "{fault:?}");
        }
    }
}

/// An interpreter that cowtrace does not know: a sentence, its native half, and no other status.
#[test]
fn unknown_interpreter_is_told() {
    if !needs::tracing() {
        return;
    }
    let others = python::builds_of_others();
    if others.is_empty() {
        needs::skipped("no pyenv build of another CPython");
    }
    for interpreter in others {
        let (trace, finished) = reported(Run::new(&interpreter).arg("-c").arg(FORKS));
        assert_eq!(finished.code(), 3, "{}", interpreter.display());
        check::nothing_lost(&trace);
        check::totals_add_up(&trace);
        assert_eq!(trace.header.interpreters.len(), 1, "{}: {:?}", interpreter.display(), trace.header);
        let met = &trace.header.interpreters[0];
        let told: Vec<String> =
            sentences(&finished).into_iter().filter(|text| text.contains("CPython")).collect();
        if met.layout.is_some() {
            assert!(told.is_empty(), "{told:?}");
            continue;
        }
        assert_eq!(told.len(), 1, "{}: {}", interpreter.display(), finished.stderr_text());
        let version = format!("CPython {}", met.version);
        assert!(told[0].contains(&version), "{told:?}");
        assert!(trace.header.missing.iter().any(|text| text.contains(&version)), "{:?}", trace.header);
        assert!(trace.faults.iter().all(|fault| fault.python.is_empty()), "frames by an unknown layout");
        let named =
            trace.faults.iter().filter(|fault| fault.native.iter().any(|f| f.symbol.is_some())).count();
        assert!(named > 0, "{}: no native symbol in {} faults", interpreter.display(), trace.faults.len());
    }
}

/// Every listed fault has its latency when that was asked for, and none otherwise.
#[test]
fn latency_is_measured_when_asked_for() {
    if !needs::tracing() {
        return;
    }
    for case in ["written", "gone", "grandchild"] {
        let run = || Run::new(programs::built("anonymous")).arg(case);
        let measured = run().flag("--latency").trace().trace;
        check::nothing_lost(&measured);
        check::totals_add_up(&measured);
        assert!(!measured.faults.is_empty());
        for fault in &measured.faults {
            // A second is more than any of them takes.
            assert!(fault.latency.is_some_and(|nanos| (1..1_000_000_000).contains(&nanos)), "{fault:?}");
        }
        let plain = run().trace().trace;
        assert!(plain.faults.iter().all(|fault| fault.latency.is_none()));
    }
}

/// Names of programs, files, functions, processes and mappings that would drive a terminal are shown, not obeyed.
#[test]
fn names_do_not_drive_the_terminal() {
    if !needs::tracing() {
        return;
    }
    let folder = TempDir::with_prefix("cowtrace-honesty-").expect("a temporary folder");
    let inside = folder.path().join("fold\x1b[31mer");
    std::fs::create_dir(&inside).expect("a folder");
    let native = inside.join(OsStr::from_bytes(b"na\x1b]0;title\x07\xff\n\x9btive"));
    std::fs::copy(programs::built("anonymous"), &native).expect("it can be copied");
    let script = hostile_script(&inside);
    for by in ["operation", "write", "site", "process", "region", "object"] {
        for json in [false, true] {
            let flags = |run: Run| {
                let run = run.flag("--by").flag(by).flag("--limit").flag("0");
                if json { run.flag("--json") } else { run }
            };
            for run in [
                Run::new(&native).arg("written"),
                Run::new("/usr/bin/python3.11").arg(&script).arg("\x1b[2J"),
                Run::new("/bin/sh").arg("-c").arg("exit 0 # \x1b[2J\x07"),
            ] {
                let finished = flags(run).cowtrace();
                assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
                nothing_but_text(&finished);
            }
        }
    }
    // What cowtrace says of a command that is not there.
    nothing_but_text(&Run::new(inside.join("no\x1b[2Jthing\r")).cowtrace());
}

fn hostile_script(folder: &Path) -> PathBuf {
    let path = folder.join("scr\x1b[2J\u{9b}ipt.py");
    let mut text = String::from("import mmap, os, sys\n");
    writeln!(
        text,
        "file = open({:?} + chr(27) + '[5m', 'w+b')",
        folder.display().to_string().replace('\x1b', "\\x1b")
    )
    .expect("a string");
    text.push_str(
        "\
file.write(bytes(1 << 16)); file.flush()
mapped = mmap.mmap(file.fileno(), 1 << 16, mmap.MAP_PRIVATE)
sys.modules['\\x1b[7m'] = os
def write():
    for i in range(0, 1 << 16, 4096): mapped[i] = 1
    sys.modules['\\x1b[7m'] = sys
Named = type('\\x1b[8mtype', (), {})
objects = [Named() for _ in range(3000)]
write.__code__ = write.__code__.replace(co_name='\\x1b[9m', co_qualname='\\x1b[9m')
if os.fork() == 0:
    open('/proc/self/comm', 'w').write('c\\x1b[5m\\x07')
    write()
    for o in objects: pass
    os._exit(0)
os.wait()
",
    );
    // Rust writes the escape with two backslashes, since it escapes the one that is there.
    std::fs::write(&path, text.replace("\\\\x1b", "\\x1b")).expect("a script");
    path
}

/// Lines of text and nothing that a terminal obeys.
fn nothing_but_text(finished: &Finished) {
    let text = String::from_utf8(finished.stderr.clone()).expect("UTF-8");
    assert!(!text.is_empty(), "no word");
    let found = text.chars().find(|&c| c != '\n' && c.is_control());
    assert_eq!(found, None, "a control character in {text:?}");
}
