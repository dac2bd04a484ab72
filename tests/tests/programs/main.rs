//! Real programs, each started on loopback, brought to work for a while, and ended: redis, PostgreSQL, nginx, php-fpm, Starman,
//! puma, unicorn, gunicorn, Celery, pools of the standard library, and programs in C, Rust and Go. Nothing is lost, totals add
//! up, the processes are those that should be there, and 95 of 100 copied bytes have a name.
#![expect(clippy::panic, reason = "helpers of tests")]
#![expect(clippy::print_stdout, reason = "the figures of each program are worth reading")]

mod compiled;
mod pools;
mod postgres;
mod python;
mod redis;
mod scripts;
mod storm;
mod web;

use cowtrace_tests::named::Named;
use cowtrace_tests::server::Ended;
use cowtrace_tests::trace::{Process, Trace};
use cowtrace_tests::{Fault, check};

/// What is true of every program: it ended so, nothing was lost, totals add up, what was copied has names.
fn judge(ended: &Ended, code: i32) {
    assert_eq!(ended.finished.code(), code, "{}", ended.finished.stderr_text());
    judge_trace(&ended.trace);
}

fn judge_trace(trace: &Trace) {
    check::nothing_lost(trace);
    check::totals_add_up(trace);
    Named::of(trace).check();
}

/// Processes that this one forked and that ran on as they were forked.
fn workers_of(trace: &Trace, parent: u32) -> Vec<&Process> {
    let is_worker = |process: &&Process| process.ppid == parent && process.execs.is_empty();
    trace.processes.iter().filter(is_worker).collect()
}

/// The command itself.
fn root(trace: &Trace) -> &Process {
    trace.processes.iter().find(|process| process.generation == 0).expect("every trace has its command")
}

/// Bytes copied by these faults.
fn bytes<'a>(faults: impl Iterator<Item = &'a Fault>) -> u64 {
    faults.map(|fault| fault.bytes).sum()
}

/// Objects of the innermost native frames of what was copied.
fn objects(trace: &Trace) -> std::collections::BTreeSet<String> {
    let frames = trace.faults.iter().filter(|fault| fault.bytes > 0).filter_map(|fault| fault.native.first());
    let names = frames.filter_map(|frame| frame.object.as_deref()?.rsplit('/').next());
    names.map(str::to_owned).collect()
}
