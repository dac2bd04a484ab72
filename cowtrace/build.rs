//! Hands the kernel program's object to the crate, after making sure that it was built from the sources beside it.
//!
//! The object is committed, so that building cowtrace needs neither a second compiler nor a BPF linker. The price is
//! that it can be older than its sources; then the build stops here. `COWTRACE_BPF_OVERRIDE` names another object to
//! embed instead, unchecked: tests use it for one that was built by another compiler than the committed one.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

#[path = "build/digest.rs"]
mod digest;

const OVERRIDE: &str = "COWTRACE_BPF_OVERRIDE";

fn main() {
    if let Err(error) = run() {
        // Cargo shows this as one line; a failing exit status would drag everything printed before along with it.
        say(&format!("error={error:#}"));
    }
}

fn run() -> Result<()> {
    let package =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("cargo did not say where the package is")?);
    let instead = env::var_os(OVERRIDE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let object = instead.clone().unwrap_or_else(|| package.join("ebpf/cowtrace.bpf.o"));

    say(&format!("rerun-if-env-changed={OVERRIDE}"));
    rerun_if_changed(&package.join("build.rs"));
    rerun_if_changed(&package.join("build/digest.rs"));
    rerun_if_changed(&object);
    if instead.is_none() {
        check(&package, &object)?;
    }
    say(&format!("rustc-env=COWTRACE_BPF_OBJECT={}", object.display()));
    Ok(())
}

/// Fails if the object is missing or older than its sources.
fn check(package: &Path, object: &Path) -> Result<()> {
    let root = package.parent().context("the package has no parent directory")?;
    let sources = root.join(digest::PACKAGE);
    if !sources.join("Cargo.toml").is_file() {
        // A published package comes without the kernel program's sources: nothing that could have changed.
        return Ok(());
    }
    let lock = object.with_extension("lock");
    rerun_if_changed(&lock);
    rerun_if_changed(&root.join("Cargo.lock"));
    rerun_if_changed(&sources.join("Cargo.toml"));
    rerun_if_changed(&sources.join("src"));

    let built_from = fs::read_to_string(&lock).unwrap_or_default();
    let built_from = built_from.lines().find_map(|line| line.strip_prefix("sources "));
    let now = digest::sources(root).context("failed to read the kernel program's sources")?;
    if !object.is_file() || built_from != Some(now.as_str()) {
        bail!(
            "the kernel program's sources have changed since cowtrace/ebpf/cowtrace.bpf.o was built: \
             run `cargo xtask build-ebpf`"
        );
    }
    Ok(())
}

fn rerun_if_changed(path: &Path) {
    say(&format!("rerun-if-changed={}", path.display()));
}

/// Cargo takes what a build script prints as instructions.
fn say(instruction: &str) {
    println!("cargo::{instruction}");
}
