//! Installing what a new Debian machine lacks.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command;
use crate::say::say;

/// Whether packages can be installed here without asking anybody.
pub(crate) fn may_install() -> bool {
    command::is_root() && is_debian() && command::on_path("apt-get").is_some()
}

/// Only Debian itself: names and versions of packages differ in the systems made from it.
pub(crate) fn is_debian() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| text.lines().any(|line| line == "ID=debian"))
}

/// Installs packages by apt-get.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    say(format_args!("installing {} by apt-get", packages.join(" ")));
    let update = apt_get(["update", "--quiet"]).status().context("failed to start apt-get")?;
    if !update.success() {
        // One unreachable source among several is no reason to stop: the packages may come from another.
        say("apt-get update failed in part; going on with what it has");
    }
    command::run(apt_get(["install", "--quiet", "--yes", "--no-install-recommends"]).args(packages))
}

/// Makes sure that each package is there, told by a file of it.
pub(crate) fn ensure(wanted: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        wanted.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !may_install() {
        bail!("this needs what Debian calls {}: install it and start again", missing.join(", "));
    }
    install(&missing)
}

fn apt_get<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(arguments.map(OsStr::new)).env("DEBIAN_FRONTEND", "noninteractive");
    command
}
