//! `cargo xtask trace`: builds what is out of date and runs cowtrace as root.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;
use crate::{cargo, command, ebpf};

/// Runs cowtrace with these arguments in place of this process, so that signals and the exit status are its own.
pub(crate) fn run(workspace: &Workspace, arguments: impl Iterator<Item = OsString>) -> Result<Infallible> {
    ebpf::build_if_stale(workspace)?;
    let program = cargo::cowtrace(workspace, None)?;
    let mut command = command::as_root(program.as_os_str(), &[])?;
    command.args(arguments);
    let error = command.exec();
    Err(error).with_context(|| format!("failed to start: {}", command::show(&command)))
}
