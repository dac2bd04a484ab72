//! Pools that a Python program makes itself: concurrent.futures, and workers as PyTorch's DataLoader has them over a large list.

use std::process::Command;

use cowtrace_tests::server::{Server, said_by};
use cowtrace_tests::{Run, needs, programs, runs, software};

use crate::{bytes, judge, root, workers_of};

const PYTHON: &str = "/usr/bin/python3.11";
const WORKERS: usize = 4;

/// A script that prints the pids of its workers as JSON; the counts of what they read are the most of what they copy, and
/// each has its share.
fn pool(name: &str, about: &str, function: &str, least: u64) {
    if !needs::tracing() {
        return;
    }
    let Some(python) = software::debian(PYTHON, "python3.11") else { return };
    let script = programs::workload(&format!("servers/{name}.py"));
    let run = Run::new(&python).arg(&script).env("PYTHONDONTWRITEBYTECODE", "1").timeout(150);
    let ended = Server::start(run).finish();
    let version = said_by(Command::new(&python).arg("--version"));
    runs::keep(name, &format!("{}: {about}", version.trim_end()), &ended, &[]);
    judge(&ended, 0);
    let pids: Vec<u32> =
        serde_json::from_slice(&ended.finished.stdout).expect("the script prints its workers");
    let workers = workers_of(&ended.trace, root(&ended.trace).pid);
    let mut forked: Vec<u32> = workers.iter().map(|worker| worker.pid).collect();
    forked.sort_unstable();
    assert_eq!((forked.len(), &forked), (WORKERS, &pids), "{:#?}", ended.trace.processes);
    let line = programs::line_ending(&script, "  # the reading");
    for pid in pids {
        let there = || {
            let copies = ended.trace.faults_of(pid).filter(|fault| fault.outcome == "copy");
            copies.filter(|fault| fault.line_in(&script) == Some(line))
        };
        let counts = bytes(there().filter(|fault| fault.write.kind == "refcount"));
        println!("{pid}: {} bytes at line {line}, {counts} for reference counts", bytes(there()));
        assert!(bytes(there()) >= least, "worker {pid}: {}", ended.report);
        assert!(counts * 100 >= bytes(there()) * 95, "worker {pid}: {}", ended.report);
        let site = |fault: &cowtrace_tests::Fault| fault.site.clone().and_then(|site| site.function);
        assert!(there().all(|fault| site(fault).as_deref() == Some(function)), "{}", ended.report);
    }
}

/// Every worker of an executor reads the whole list.
#[test]
fn futures() {
    pool("futures", "ProcessPoolExecutor, 4 workers that read a list of 100,000 tuples.", "task", 8 << 20);
}

/// Every worker of a loader reads its share of the samples, batch by batch, which lie on nearly all pages.
#[test]
fn loader() {
    let about = "4 workers as PyTorch's DataLoader has them, a list of 100,000 samples in batches of 64.";
    pool("loader", about, "Dataset.__getitem__", 4 << 20);
}
