//! The six scripts of the question that cowtrace was made to answer: how they are run, and what they print.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::python::Interpreter;
use crate::{Run, programs};

/// Tasks that each script gives to its pool.
const TASKS: usize = 3;

/// From 3.14 on pools do not fork unless they are told to. (`runpy` would swap `__main__` in the module table.)
const FORKING: &str = "import multiprocessing, sys; multiprocessing.set_start_method('fork'); \
                       exec(compile(open(sys.argv[1]).read(), sys.argv[1], 'exec'))";

/// The script of this name.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    programs::workload(&format!("seed/{name}.py"))
}

/// Whether pools fork unless they are told otherwise.
#[must_use]
pub fn forks_by_default(interpreter: &Interpreter) -> bool {
    matches!(interpreter.minor, (3, ..14))
}

/// A run of a script as it is, with the interpreter's own way of starting workers. On a terminal: on a pipe the workers'
/// lines would die with them, as the pool ends them by a signal.
#[must_use]
pub fn run(interpreter: &Interpreter, script: &Path) -> Run {
    interpreter.run(script).on_terminal()
}

/// A run of a script whose pool forks.
#[must_use]
pub fn run_forking(interpreter: &Interpreter, script: &Path) -> Run {
    if forks_by_default(interpreter) {
        return run(interpreter, script);
    }
    interpreter.run_with(&["-c", FORKING], script).on_terminal()
}

/// The script's output is `pid id` for each task, as without cowtrace; gives the pids. The lines come whole, because each is
/// one write to the terminal. They do not where `PYTHONUNBUFFERED` is set, with or without cowtrace (164 of 200 runs
/// without it): then `print` writes the pid, the space, the id and the end of the line one by one. Hence the harness
/// takes that variable away.
#[must_use]
pub fn workers(stdout: &str) -> BTreeSet<u32> {
    let lines: Vec<&str> = stdout.lines().map(str::trim_end).collect();
    assert_eq!(lines.len(), TASKS, "stdout of the script: {stdout:?}");
    let pid = |line: &&str| {
        let (pid, id) = line.split_once(' ')?;
        id.parse::<u64>().ok()?;
        pid.parse().ok()
    };
    lines.iter().map(|line| pid(line).unwrap_or_else(|| panic!("{line:?} in stdout: {stdout:?}"))).collect()
}
