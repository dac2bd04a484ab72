//! All cases of a ground-truth program in one trace. Where a machine is emulated, loading the probes takes ten times as long as
//! a case; with `COWTRACE_TOGETHER` they are loaded once for a program, and each test judges what its own case did.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::settings::Settings;
use crate::{Run, Trace, check, programs};

/// Whether cases are traced together.
#[must_use]
pub fn asked() -> bool {
    std::env::var_os("COWTRACE_TOGETHER").is_some()
}

/// What one case did, as if it had been traced alone.
#[derive(Debug)]
pub struct Case {
    /// The header, and lines of its own processes and faults; its first process is of generation 0.
    pub trace: Trace,
    /// What it printed.
    pub stdout: String,
}

/// Runs the cases one after the other, and prints the name of each before what it prints.
const SCRIPT: &str = r#"program=$1; shift; for case; do echo "=$case"; "$program" "$case" || exit; done"#;

/// What has been run, by program; `None` = it was begun and did not come to its end.
static RUN: Mutex<BTreeMap<String, Option<Arc<Cases>>>> = Mutex::new(BTreeMap::new());

type Cases = HashMap<&'static str, Case>;

/// What the cases of a program did, listing every fault; they run when this is first asked for.
#[must_use]
pub fn cases(program: &str) -> Arc<Cases> {
    let mut run = RUN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = run.get(program) {
        let known = known.clone();
        return known.unwrap_or_else(|| panic!("the trace of all cases of {program} failed, see there"));
    }
    run.insert(program.to_owned(), None);
    let cases = Arc::new(trace(program));
    run.insert(program.to_owned(), Some(Arc::clone(&cases)));
    cases
}

fn trace(program: &str) -> Cases {
    let names: Vec<&'static str> =
        programs::CASES.iter().filter(|(of, _)| *of == program).map(|(_, case)| *case).collect();
    let _settings = Settings::of(program);
    let run = Run::new("/bin/sh").args(["-c", SCRIPT, "sh"]).arg(programs::built(program));
    let traced = names.iter().fold(run, |run, case| run.arg(case)).flag("--all").trace();
    check::nothing_lost(&traced.trace);
    check::totals_add_up(&traced.trace);
    split(&traced.trace, &traced.finished.stdout_text(), &names)
}

/// The shell's children, in the order in which they began, are the cases' first processes.
fn split(trace: &Trace, stdout: &str, names: &[&'static str]) -> Cases {
    let shell = trace.processes.iter().find(|process| process.generation == 0).expect("the shell's line");
    let mut firsts: Vec<_> = trace.processes.iter().filter(|process| process.ppid == shell.pid).collect();
    firsts.sort_by_key(|process| process.start);
    let printed = printed(stdout);
    let printers: Vec<&str> = printed.iter().map(|(name, _)| *name).collect();
    assert_eq!(printers, names, "cases that ran: {stdout}");
    assert_eq!(firsts.len(), names.len(), "the shell's children: {firsts:?}");
    let parts = names.iter().zip(firsts).zip(printed);
    parts
        .map(|((name, first), (_, stdout))| {
            let trace = part(trace, first.pid);
            (*name, Case { trace, stdout })
        })
        .collect()
}

/// Names of cases, and what each printed.
fn printed(stdout: &str) -> Vec<(&str, String)> {
    let mut printed: Vec<(&str, String)> = Vec::new();
    for line in stdout.lines() {
        match (line.strip_prefix('='), printed.last_mut()) {
            (Some(name), _) => printed.push((name, String::new())),
            (None, Some((_, text))) => *text += &format!("{line}\n"),
            (None, None) => panic!("before the first case: {line}"),
        }
    }
    printed
}

/// A process and those below it.
fn part(whole: &Trace, first: u32) -> Trace {
    let mut pids = HashSet::from([first]);
    let mut processes: Vec<_> = whole.processes.iter().collect();
    processes.sort_by_key(|process| process.generation);
    for process in &processes {
        if pids.contains(&process.ppid) {
            pids.insert(process.pid);
        }
    }
    let is_of_it = |pid: u32| pids.contains(&pid);
    let mut processes: Vec<_> =
        whole.processes.iter().filter(|process| is_of_it(process.pid)).cloned().collect();
    processes.iter_mut().for_each(|process| process.generation -= 1);
    let faults = whole.faults.iter().filter(|fault| is_of_it(fault.pid)).cloned().collect();
    Trace { header: whole.header.clone(), processes, faults, ..Trace::default() }
}
