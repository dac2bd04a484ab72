//! Workers by every way in which the standard library starts them: what is inherited, whose work is whose.

use std::collections::BTreeSet;

use cowtrace_tests::trace::Process;
use cowtrace_tests::{Fault, Trace, Traced, check, needs, programs, python};
use serde::Deserialize;

/// What the report says where nothing is inherited.
const NOTHING: &str = "nothing is inherited under spawn";
/// What it says where workers inherit from a server.
const SERVER: &str = "forked by the forkserver";

/// Runs a pool whose workers are started so, on every interpreter.
fn started_by(method: &str, judge: impl Fn(&Trace, &str)) {
    if !needs::tracing() {
        return;
    }
    let script = programs::workload("start.py");
    python::on_each(1, |interpreter| {
        let Traced { trace, finished } = interpreter.run(&script).arg(method).reported();
        let report = finished.stderr_words();
        assert_eq!((finished.code(), finished.stdout_text().as_str()), (0, "[1, 2]\n"), "{report}");
        check::nothing_lost(&trace);
        check::totals_add_up(&trace);
        judge(&trace, &report);
    });
}

/// Processes that began what they run by a program with this text.
fn programs_with<'a>(trace: &'a Trace, text: &str) -> Vec<&'a Process> {
    let runs = |process: &&Process| process.command.iter().any(|word| word.contains(text));
    trace.processes.iter().filter(|process| !process.execs.is_empty()).filter(runs).collect()
}

/// A plain fork needs no words.
#[test]
fn fork() {
    started_by("fork", |_, report| {
        assert!(!report.contains(NOTHING) && !report.contains(SERVER), "{report}");
    });
}

/// Spawned workers inherit nothing, and the report says so, of both.
#[test]
fn spawn() {
    started_by("spawn", |trace, report| {
        let workers = programs_with(trace, "spawn_main");
        assert_eq!(workers.len(), 2, "{:#?}", trace.processes);
        assert!(report.contains(&format!("were started anew: {NOTHING}")), "{report}");
        assert!(
            report.contains(&format!("2 processes ({} {}, …)", workers[0].pid, workers[0].comm)),
            "{report}"
        );
        assert!(!report.contains(SERVER), "{report}");
    });
}

/// Workers of a fork server inherit from it and not from who asked for them, and the report says so.
#[test]
fn forkserver() {
    started_by("forkserver", |trace, report| {
        let servers = programs_with(trace, "multiprocessing.forkserver");
        let [server] = servers[..] else { panic!("{servers:#?}") };
        let workers = trace.processes.iter().filter(|process| process.ppid == server.pid).count();
        assert_eq!(workers, 2, "{:#?}", trace.processes);
        let said = format!("2 workers were {SERVER} {}, which was started anew: they inherited ", server.pid);
        assert!(report.contains(&said), "{report}");
        assert!(report.contains(&format!("of its memory, none of {}'s", server.ppid)), "{report}");
        assert!(!report.contains(NOTHING), "{report}");
    });
}

/// What the script of the executor says about itself.
#[derive(Debug, Deserialize)]
struct Told {
    /// Workers that ran a task.
    pids: BTreeSet<u32>,
    /// The buffer.
    start: u64,
    end: u64,
}

/// In a worker of an executor the task's writes are the task's, at its line, and the executor's own are its own.
#[test]
fn executor() {
    if !needs::tracing() {
        return;
    }
    let source = programs::workload("executor.py");
    let line = programs::line_ending(&source, "  # the write");
    python::on_each(1, |interpreter| {
        let script = interpreter.seen(&source);
        let Traced { trace, finished } = interpreter.run(&source).trace();
        check::nothing_lost(&trace);
        check::totals_add_up(&trace);
        let told: Told = serde_json::from_slice(&finished.stdout).expect("the script prints one JSON object");
        assert!((1..=2).contains(&told.pids.len()), "{told:?}");
        for &worker in &told.pids {
            let faults: Vec<&Fault> = trace.faults_of(worker).collect();
            let (task, others): (Vec<&Fault>, Vec<&Fault>) =
                faults.into_iter().partition(|fault| (told.start..told.end).contains(&fault.address));
            assert_eq!(task.len(), 256, "worker {worker}");
            for fault in task {
                let kinds =
                    (fault.outcome.as_str(), fault.operation.kind.as_str(), fault.write.kind.as_str());
                assert_eq!(kinds, ("copy", "call", "buffer"), "{fault:?}");
                assert_eq!(fault.line_in(&script), Some(line), "{fault:?}");
                let function = fault.site.as_ref().and_then(|site| site.function.as_deref());
                assert_eq!(function, Some("task"), "{fault:?}");
            }
            for library in ["concurrent.futures", "multiprocessing"] {
                let own = |fault: &&&Fault| {
                    fault.operation.kind == "worker_bookkeeping"
                        && fault.operation.name.as_deref() == Some(library)
                };
                assert!(others.iter().any(|fault| own(&fault)), "nothing of {library} in worker {worker}");
            }
            // The pool's machinery has no line of the user's.
            for fault in others.iter().filter(|fault| fault.operation.kind == "worker_bookkeeping") {
                assert_ne!(fault.line_in(&script), Some(line), "{fault:?}");
            }
        }
    });
}
