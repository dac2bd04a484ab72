//! The programs that are measured: `tests/programs/bench_cow.*`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{command, debian};

/// A program that prints its nanoseconds per fault.
pub(super) struct Program {
    pub(super) name: &'static str,
    /// Program and arguments.
    pub(super) words: Vec<PathBuf>,
}

impl Program {
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }
}

/// All of them; the C one is compiled into `folder`.
pub(super) fn all(workspace: &Workspace, folder: &Path) -> Result<Vec<Program>> {
    debian::ensure(&[
        ("gcc", "/usr/bin/gcc"),
        ("libc6-dev", "/usr/include/stdio.h"),
        ("python3", "/usr/bin/python3"),
    ])?;
    let c = folder.join("bench_cow");
    let source = workspace.join("tests/programs/bench_cow.c");
    command::run(Command::new("gcc").args(["-O2", "-Wall", "-o"]).arg(&c).arg(source))?;
    let python = ["/usr/bin/python3".into(), workspace.join("tests/programs/bench_cow.py")];
    Ok(vec![
        Program { name: "C", words: vec![c] },
        // The system's own, which is the same wherever this runs.
        Program { name: "Python", words: python.into() },
    ])
}
