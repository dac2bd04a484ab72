//! Virtual environments with packages of PyPI for the tests, each package of one version.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::command;

/// Makes an environment with these packages and no others: they are given with all that they import, as pip is not asked what
/// else they would like.
pub(crate) fn make(folder: &Path, packages: &[&str]) -> Result<()> {
    // Debian's interpreter, whatever comes first on PATH: a later one may have no build of the packages yet.
    command::run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(folder))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]);
    command::run(pip.args(packages))
}
