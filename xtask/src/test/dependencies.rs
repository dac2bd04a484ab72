//! What `cargo xtask test` checks of the packages that cowtrace is built from.

use std::process::Command;

use anyhow::Result;

use super::counts::Counts;
use super::steps::Run;
use crate::command;
use crate::tool::Tool;

const CARGO_MACHETE: Tool = Tool { name: "cargo-machete", version: "0.9.2" };

/// Packages that manifests ask for and no code uses.
pub(super) fn unused(run: &mut Run) -> Result<Counts> {
    let bin = CARGO_MACHETE.ensure(&run.workspace)?;
    let mut machete = Command::new(bin.join("cargo-machete"));
    command::run(machete.arg(run.workspace.root()))?;
    Ok(Counts::check(true))
}
