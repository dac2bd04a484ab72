//! The CPython versions that the tests want: what this machine has, and a Debian root with the newest ones, and Ruby's.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result};

use crate::say::say;
use crate::{command, root, workspace};

/// By this variable the tests are told of roots, separated by colons.
pub(crate) const ROOTS: &str = "COWTRACE_PYTHON_ROOTS";
/// The suite that has the newest versions.
const SUITE: &str = "sid";
/// What is installed in the root.
const PACKAGES: [&str; 4] = ["python3.13", "python3.14", "python3.15", "ruby3.3"];
/// Minor versions of CPython 3 that cowtrace knows.
const MINORS: std::ops::RangeInclusive<u32> = 8..=15;

/// What the tests run on.
#[derive(Debug)]
pub(crate) struct Pythons {
    /// Value of [`ROOTS`]; empty = there is no root.
    pub(crate) roots: OsString,
    /// Minor versions of which there is no interpreter.
    pub(crate) missing: Vec<u32>,
}

/// Looks for interpreters and says what there is. With `make`, a root with the newest ones is made where there is none.
pub(crate) fn find(make: bool) -> Result<Pythons> {
    let roots = match env::var_os(ROOTS) {
        // Whoever sets it knows better.
        Some(roots) => env::split_paths(&roots).filter(|root| root.is_dir()).collect(),
        None => own_root(make)?.into_iter().collect::<Vec<_>>(),
    };
    let mut minors = Vec::new();
    let here = [PathBuf::from("/usr/bin")];
    let pyenvs = pyenvs();
    for (root, folder) in here
        .iter()
        .chain(&pyenvs)
        .map(|folder| (None, folder))
        .chain(roots.iter().map(|r| (Some(r), &here[0])))
    {
        for minor in MINORS {
            let program = folder.join(format!("python3.{minor}"));
            let file = root.map_or_else(
                || program.clone(),
                |root| root.join(program.strip_prefix("/").unwrap_or(&program)),
            );
            if !file.exists() {
                continue;
            }
            match version(root.map(PathBuf::as_path), &program) {
                Ok(version) => say(format_args!("CPython {version}: {}", file.display())),
                Err(error) => {
                    say(format_args!("{} does not run: {error:#}", file.display()));
                    continue;
                }
            }
            minors.push(minor);
        }
    }
    let missing = MINORS.filter(|minor| !minors.contains(minor)).collect();
    let roots = env::join_paths(&roots).context("a root has a colon in its name")?;
    Ok(Pythons { roots, missing })
}

/// Directories of the programs of pyenv's versions.
fn pyenvs() -> Vec<PathBuf> {
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(env::home_dir()?.join(".pyenv"))).unwrap_or_default();
    let versions = fs::read_dir(root.join("versions")).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders
}

/// The full version that an interpreter tells, e.g. "3.14.1".
fn version(root: Option<&Path>, program: &Path) -> Result<String> {
    let mut command = match root {
        Some(root) => root::command(root, program.as_os_str())?,
        None => Command::new(program),
    };
    command::output(command.args(["-IBc", "import platform; print(platform.python_version())"]))
}

/// The root in the user's cache, made if it is asked for and not there.
fn own_root(make: bool) -> Result<Option<PathBuf>> {
    let root = match workspace::cache("pythons") {
        Ok(cache) => cache.join(SUITE),
        Err(_) if !make => return Ok(None),
        Err(error) => return Err(error),
    };
    if root.is_dir() {
        if make {
            complete(&root)?;
        }
        return Ok(Some(root));
    }
    if !make {
        return Ok(None);
    }
    root::make(&root, SUITE, &PACKAGES)?;
    Ok(Some(root))
}

/// Installs what a root that was made earlier has not. Each package has a program of its name.
fn complete(root: &Path) -> Result<()> {
    let is_missing = |package: &&str| !root.join("usr/bin").join(package).exists();
    let missing: Vec<&str> = PACKAGES.into_iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    say(format_args!("adding {} to {}", missing.join(", "), root.display()));
    // What the root knows of the archive may have been superseded.
    root::install(root, &missing).or_else(|_| {
        command::run(root::command(root, OsStr::new("apt-get"))?.args(["update", "--quiet"]))?;
        root::install(root, &missing)
    })
}
