//! Building parts of the workspace with the caller's own cargo, and asking it what it built.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::{Deserializer, Value};

use crate::command;
use crate::workspace::Workspace;

/// Names an object that cowtrace is to embed in place of the committed one; `cowtrace/build.rs` reads it.
pub(crate) const OVERRIDE: &str = "COWTRACE_BPF_OVERRIDE";

/// Something that cargo built, or found built already.
#[derive(Clone, Debug)]
pub(crate) struct Artifact {
    /// Name of the library, program or test.
    pub(crate) name: String,
    /// Directory of its package.
    pub(crate) package: PathBuf,
    /// The program, if it is one.
    pub(crate) executable: Option<PathBuf>,
    /// Nothing had to be done.
    pub(crate) fresh: bool,
}

/// Runs a `cargo build` or `cargo test --no-run` that is given without its message format.
pub(crate) fn build(command: &mut Command) -> Result<Vec<Artifact>> {
    command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let shown = command::show(command);
    let mut child = command.spawn().with_context(|| format!("failed to start: {shown}"))?;
    let stdout = child.stdout.take().context("cargo's output is not piped")?;
    let mut artifacts = Vec::new();
    for message in Deserializer::from_reader(BufReader::new(stdout)).into_iter::<Value>() {
        let message = message.with_context(|| format!("failed to read the messages of: {shown}"))?;
        artifacts.extend(artifact(&message));
    }
    let status = child.wait().with_context(|| format!("failed to wait for: {shown}"))?;
    if !status.success() {
        bail!("{status} from: {shown}");
    }
    Ok(artifacts)
}

fn artifact(message: &Value) -> Option<Artifact> {
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    Some(Artifact {
        name: message["target"]["name"].as_str()?.to_owned(),
        package: Path::new(message["manifest_path"].as_str()?).parent()?.to_path_buf(),
        executable: message["executable"].as_str().map(PathBuf::from),
        fresh: message["fresh"].as_bool()?,
    })
}

/// Builds cowtrace as users get it; where the program is. `object` is embedded in place of the committed one.
pub(crate) fn cowtrace(workspace: &Workspace, object: Option<&Path>) -> Result<PathBuf> {
    let mut cargo = command::cargo(workspace.root());
    cargo.args(["build", "--release", "--package", "cowtrace", "--bin", "cowtrace"]);
    if let Some(object) = object {
        cargo.env(OVERRIDE, object);
    }
    let programs = build(&mut cargo)?.into_iter().filter(|artifact| artifact.name == "cowtrace");
    programs
        .filter_map(|artifact| artifact.executable)
        .next_back()
        .context("cargo built no program named cowtrace")
}
