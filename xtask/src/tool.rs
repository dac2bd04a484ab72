//! Programs of cargo's that a chore needs: found where an earlier chore put them, or built from crates.io.

use std::path::PathBuf;

use anyhow::Result;

use crate::command;
use crate::say::say;
use crate::workspace::{Workspace, cache};

/// A subcommand of cargo's, of one version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// Name of its package and program.
    pub(crate) name: &'static str,
    /// The version that is used, and no other: a newer one may find fault with what has not changed.
    pub(crate) version: &'static str,
}

impl Tool {
    /// The directory of the program, which is built if it is not there; for every checkout of the user.
    pub(crate) fn ensure(self, workspace: &Workspace) -> Result<PathBuf> {
        let Self { name, version } = self;
        let root = cache(&format!("{name}-{version}"))?;
        let bin = root.join("bin");
        if bin.join(name).is_file() {
            return Ok(bin);
        }
        say(format_args!("building {name} {version} into {} (a minute or two)", root.display()));
        let mut cargo = command::cargo(workspace.root());
        // Not optimized: it is built in half of the time, and runs for seconds.
        cargo.args(["install", name, "--version", version, "--locked", "--debug", "--root"]).arg(&root);
        command::run(&mut cargo)?;
        Ok(bin)
    }
}
