//! What `cargo xtask test` checks of the packages that cowtrace is built from.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::counts::Counts;
use super::steps::Run;
use crate::command;
use crate::say::say;
use crate::tool::Tool;
use crate::workspace::Workspace;

const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };
const CARGO_MACHETE: Tool = Tool { name: "cargo-machete", version: "0.9.2" };

/// Manifests of the workspaces: the fuzzed targets have one of their own.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "tests/fuzz/Cargo.toml"];
/// How cargo-deny begins to say that the database of advisories could not be had.
const UNREACHABLE: &str = "failed to fetch advisory database";

fn deny(workspace: &Workspace, bin: &Path, manifest: &str, check: &str, offline: bool) -> Result<Command> {
    let mut cargo = command::cargo(workspace.root());
    cargo.env("PATH", command::path_with(&[bin])?);
    cargo.arg("deny");
    if offline {
        cargo.arg("--offline");
    }
    cargo
        .arg("--config")
        .arg(workspace.join(".ci/deny.toml"))
        .arg("--manifest-path")
        .arg(workspace.join(manifest));
    cargo.args(["--all-features", "--locked", "check", check]);
    Ok(cargo)
}

/// Licences, and where packages come from.
pub(super) fn licenses(run: &mut Run) -> Result<Counts> {
    let bin = CARGO_DENY.ensure(&run.workspace)?;
    for manifest in MANIFESTS {
        // Those for other systems, too, which a build does not need.
        let mut fetch = command::cargo(run.workspace.root());
        command::run(fetch.args(["fetch", "--locked", "--manifest-path"]).arg(run.workspace.join(manifest)))?;
        for check in ["licenses", "sources"] {
            command::run(&mut deny(&run.workspace, &bin, manifest, check, true)?)?;
        }
    }
    Ok(Counts::check(true))
}

/// Advisories, if the database of them can be had.
pub(super) fn advisories(run: &mut Run) -> Result<Counts> {
    let bin = CARGO_DENY.ensure(&run.workspace)?;
    for manifest in MANIFESTS {
        let mut cargo = deny(&run.workspace, &bin, manifest, "advisories", false)?;
        let shown = command::show(&cargo);
        let output = cargo.output().with_context(|| format!("failed to start: {shown}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            continue;
        }
        if said.contains(UNREACHABLE) {
            return Ok(Counts::allowed_skip(
                "advisories of dependencies: the database of them, a repository at GitHub, cannot be reached",
            ));
        }
        say(said.trim_end());
        bail!("{} from: {shown}", output.status);
    }
    Ok(Counts::check(true))
}

/// Packages that manifests ask for and no code uses.
pub(super) fn unused(run: &mut Run) -> Result<Counts> {
    let bin = CARGO_MACHETE.ensure(&run.workspace)?;
    let mut machete = Command::new(bin.join("cargo-machete"));
    command::run(machete.arg(run.workspace.root()))?;
    Ok(Counts::check(true))
}
