//! Programs in C, Rust and Go that have threads and fork: whose thread copied what, by which function.

use std::path::PathBuf;
use std::process::Command;

use cowtrace_tests::server::{Ended, Server, said_by};
use cowtrace_tests::{Fault, Run, binary, needs, programs, runs, software};

use crate::{bytes, judge, root, workers_of};

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Whether the innermost function is this one.
fn by(fault: &Fault, function: &str) -> bool {
    let symbol = fault.native.first().and_then(|frame| frame.symbol.as_deref());
    fault.outcome == "copy" && symbol.is_some_and(|symbol| symbol == function || symbol.contains(function))
}

/// Bytes that the command itself copied by this function.
fn of_parent(ended: &Ended, function: &str) -> u64 {
    bytes(ended.trace.faults_of(root(&ended.trace).pid).filter(|fault| by(fault, function)))
}

/// Builds a program of another language beside those in C.
fn built(command: &mut Command, name: &str, source: &str) -> PathBuf {
    let folder = binary::target_folder().join("test-programs");
    std::fs::create_dir_all(&folder).expect("a folder for the test programs");
    let binary = folder.join(name);
    said_by(command.arg("-o").arg(&binary).arg(binary::package_folder().join("programs").join(source)));
    binary
}

/// In C, without frame pointers: three threads in each of four children, one in the parent.
#[test]
fn threads_and_fork() {
    if !needs::tracing() {
        return;
    }
    let ended = Server::start(Run::new(programs::built("prefork"))).finish();
    let compiler = said_by(Command::new("cc").arg("--version"));
    let about = format!("{}: 4 children, 3 threads each.", compiler.lines().next().unwrap_or_default());
    runs::keep("prefork", &about, &ended, &[(&binary::target_folder(), "target")]);
    judge(&ended, 0);
    let workers = workers_of(&ended.trace, root(&ended.trace).pid);
    assert_eq!(workers.len(), 4, "{:#?}", ended.trace.processes);
    for worker in workers {
        let filled: Vec<&Fault> =
            ended.trace.faults_of(worker.pid).filter(|fault| by(fault, "fill_rows")).collect();
        assert_eq!(bytes(filled.iter().copied()), 4096 * PAGE, "{worker:?}");
        let mut threads: Vec<u32> = filled.iter().map(|fault| fault.tid).collect();
        threads.sort_unstable();
        threads.dedup();
        assert_eq!(threads.len(), 3, "{worker:?}");
        assert!(!threads.contains(&worker.pid), "{threads:?} of {worker:?}");
    }
    assert!(of_parent(&ended, "count_on") > 0, "{}", ended.report);
}

/// In Rust: what the parent's threads write between a fork and its exec is copied for nothing.
#[test]
fn rust_commands() {
    if !needs::tracing() {
        return;
    }
    let binary = built(Command::new("rustc").args(["--edition", "2024", "-O"]), "spawning", "spawning.rs");
    let ended = Server::start(Run::new(binary)).finish();
    let version = said_by(Command::new("rustc").arg("--version"));
    let about = format!("{}: 40 commands by fork and exec, 2 threads that write.", version.trim_end());
    runs::keep("rust", &about, &ended, &[(&binary::target_folder(), "target")]);
    judge(&ended, 0);
    let commands = ended.trace.processes.iter().filter(|process| process.comm == "true");
    assert_eq!(commands.filter(|process| process.exit_status == Some(0)).count(), 40);
    let (own, all) = (of_parent(&ended, "write_pages"), of_parent(&ended, ""));
    assert!(own > 0 && own * 100 >= all * 90, "{own} of {all} bytes by write_pages:\n{}", ended.report);
}

/// In Go, with C that forks: C's copies in the children, Go's in the parent.
#[test]
fn go_with_c() {
    if !needs::tracing() {
        return;
    }
    let Some(go) = software::go() else { return };
    let cache = binary::target_folder().join("test-programs/go-cache");
    let mut build = Command::new(go);
    build.arg("build").envs([("GO111MODULE", "off"), ("CGO_ENABLED", "1")]).env("GOCACHE", cache);
    let binary = built(&mut build, "forking", "forking.go");
    let ended = Server::start(Run::new(binary)).finish();
    assert_eq!(ended.finished.stdout_text(), "0\n");
    let version = said_by(Command::new("/usr/bin/go").arg("version"));
    let about = format!("{}: C forks 20 times, a goroutine writes.", version.trim_end());
    runs::keep("go", &about, &ended, &[(&binary::target_folder(), "target")]);
    judge(&ended, 0);
    let root = root(&ended.trace).pid;
    let children: Vec<_> = ended.trace.processes.iter().filter(|process| process.ppid == root).collect();
    assert_eq!(children.len(), 20, "{:#?}", ended.trace.processes);
    for child in children {
        let filled = bytes(ended.trace.faults_of(child.pid).filter(|fault| by(fault, "c_fill")));
        // The pages at both ends may hold other data, of which one was copied for another reason.
        assert!(filled.abs_diff(8 << 20) <= 2 * PAGE, "{filled} bytes by c_fill: {child:?}");
    }
    assert!(of_parent(&ended, "main.touch") > 0, "{}", ended.report);
}
