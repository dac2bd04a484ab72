//! gunicorn and Celery: pools of Python's whose application is loaded before the fork.

use std::path::Path;
use std::process::Command;

use cowtrace_tests::server::{Ended, Folder, Server, free_port, said_by};
use cowtrace_tests::{Run, http, needs, programs, runs, software};
use nix::sys::signal::Signal;

use crate::{bytes, judge, root, workers_of};

const WORKERS: usize = 4;

/// The version of an installed package.
fn version(python: &Path, package: &str) -> String {
    let ask = format!("import importlib.metadata as m; print(m.version('{package}'), end='')");
    format!("{package} {}", said_by(Command::new(python).arg("-c").arg(ask)))
}

/// Processes that ran the application's function copied most of what it reads, at its line, for the counts of what they read.
fn judge_reading(ended: &Ended, script: &Path, function: &str, least: u64) {
    let line = programs::line_ending(script, "  # the reading");
    let at_line = |fault: &&cowtrace_tests::Fault| fault.bytes > 0 && fault.line_in(script) == Some(line);
    let there = || ended.trace.faults.iter().filter(at_line);
    for fault in there() {
        let site = fault.site.as_ref().and_then(|site| site.function.as_deref());
        assert_eq!(site, Some(function), "{fault:?}");
    }
    let counts = bytes(there().filter(|fault| fault.write.kind == "refcount"));
    println!("{} bytes at line {line}, {counts} of them for reference counts", bytes(there()));
    assert!(bytes(there()) >= least && counts * 100 >= bytes(there()) * 80, "{}", ended.report);
}

/// gunicorn with `--preload`: the application's line, in each of its workers.
#[test]
fn gunicorn() {
    if !needs::tracing() {
        return;
    }
    let (Some(python), Some(gunicorn)) = (software::pypi("python"), software::pypi("gunicorn")) else {
        return;
    };
    let port = free_port();
    let script = programs::workload("servers/web.py");
    let run = Run::new(&python)
        .arg(&gunicorn)
        .args(["--preload", "--workers", "4", "--no-control-socket", "--log-level", "error"])
        .arg("--bind")
        .arg(format!("127.0.0.1:{port}"))
        .arg("--chdir")
        .arg(script.parent().expect("it lies in a folder"))
        .arg("web:app")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let server = Server::start(run.timeout(150));
    server.expect_port(port);
    server.expect_children(WORKERS);
    for body in http::load(port, "/", 4, 50) {
        assert_eq!(body, "longest: 5");
    }
    let ended = server.end(Signal::SIGTERM);
    let versions = [version(&python, "gunicorn"), version(&python, "flask")].join(", ");
    let about = format!("{versions}: --preload, {WORKERS} workers, 200 requests.");
    let folder = python.parent().and_then(Path::parent).expect("an environment");
    runs::keep("gunicorn", &about, &ended, &[(folder, "/venv")]);
    judge(&ended, 0);
    let workers = workers_of(&ended.trace, root(&ended.trace).pid);
    assert_eq!(workers.len(), WORKERS, "{:#?}", ended.trace.processes);
    // Each worker that had a request has read the list: about 4 MiB of tuples and strings.
    judge_reading(&ended, &script, "count", 2 << 20);
}

/// Celery's prefork pool: the task's line.
#[test]
fn celery() {
    if !needs::tracing() {
        return;
    }
    let (Some(python), Some(celery)) = (software::pypi("python"), software::pypi("celery")) else { return };
    let folder = Folder::new();
    for name in ["queue", "control", "results"] {
        std::fs::create_dir(folder.path().join(name)).expect("the folder is writable");
    }
    let script = programs::workload("servers/tasks.py");
    let run = Run::new(&python)
        .arg(&celery)
        .arg("--workdir")
        .arg(script.parent().expect("it lies in a folder"))
        .args(["--app", "tasks", "worker", "--pool", "prefork", "--concurrency", "4"])
        .args(["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"])
        .arg("--logfile")
        .arg(folder.path().join("log"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("C_FORCE_ROOT", "1")
        .env("TASKS_FOLDER", folder.path());
    let server = Server::start(run.timeout(150));
    server.expect_children(WORKERS);
    let mut client = Command::new(&python);
    client.arg(&script).arg("100").env("TASKS_FOLDER", folder.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    let pids = said_by(&mut client);
    let ended = server.end(Signal::SIGTERM);
    let about = format!("{}: prefork, {WORKERS} processes, 100 tasks.", version(&python, "celery"));
    let environment = python.parent().and_then(Path::parent).expect("an environment");
    runs::keep("celery", &about, &ended, &[(environment, "/venv"), (folder.path(), "/var/lib/tasks")]);
    judge(&ended, 0);
    let workers = workers_of(&ended.trace, root(&ended.trace).pid);
    assert_eq!(workers.len(), WORKERS, "{:#?}", ended.trace.processes);
    for pid in pids.split_whitespace() {
        assert!(
            workers.iter().any(|worker| worker.pid.to_string() == pid),
            "{pid} is no worker: {workers:#?}"
        );
    }
    judge_reading(&ended, &script, "count", 2 << 20);
}
