//! Starting other programs, with errors that show the command.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result, bail};

/// Runs a command to its end; an exit status other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("{status} from: {}", show(command));
    }
    Ok(())
}

/// Runs a command to its end.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("failed to start: {}", show(command)))
}

/// Runs a command and returns what it printed, without the white space around it.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("failed to start: {}", show(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} from: {}\n{}", output.status, show(command), said.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The command as one would type it, for messages.
pub(crate) fn show(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        // Writing to a string does not fail.
        let _ = write!(text, " {}", argument.to_string_lossy());
    }
    text
}

/// A file of this name on PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// PATH with a directory put first.
pub(crate) fn path_with(folders: &[&Path]) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let all = folders.iter().map(|folder| folder.to_path_buf()).chain(env::split_paths(&path));
    env::join_paths(all).context("a directory on PATH has a colon in its name")
}

/// Whether this process may do what only root may.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A command that runs `program` as root: itself, or by sudo with the caller's PATH.
pub(crate) fn as_root(program: &OsStr, kept: &[(&str, &OsStr)]) -> Result<Command> {
    let mut command = if is_root() {
        Command::new(program)
    } else if on_path("sudo").is_some() {
        // sudo replaces PATH and drops most of the environment; what is needed is set again behind it.
        let mut command = Command::new("sudo");
        command.arg("env").arg(assignment("PATH", &env::var_os("PATH").unwrap_or_default()));
        command.args(kept.iter().map(|(key, value)| assignment(key, value))).arg(program);
        return Ok(command);
    } else {
        bail!("cowtrace needs root: run this as root, or install sudo")
    };
    command.envs(kept.iter().copied());
    Ok(command)
}

fn assignment(key: &str, value: &OsStr) -> OsString {
    let mut text = OsString::from(key);
    text.push("=");
    text.push(value);
    text
}

/// The caller's own cargo, without what the cargo that runs xtask has set for xtask alone.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    for (key, _) in env::vars_os() {
        if key.to_str().is_some_and(describes_xtask) {
            command.env_remove(key);
        }
    }
    clean_library_path(&mut command, root);
    command
}

/// A cargo of another toolchain: nothing of the one that runs xtask, nor of the caller's wishes for it, gets through.
pub(crate) fn foreign_cargo(cargo: &Path, root: &Path) -> Command {
    let mut command = Command::new(cargo);
    command.current_dir(root);
    for (key, _) in env::vars_os() {
        if key.to_str().is_some_and(steers_cargo) {
            command.env_remove(key);
        }
    }
    clean_library_path(&mut command, root);
    command
}

/// Variables by which `cargo run` tells a program about its own package.
fn describes_xtask(key: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| key.starts_with(prefix))
        || matches!(key, "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR")
}

/// Variables that change what cargo builds or with what. How it reaches a registry is not among them.
fn steers_cargo(key: &str) -> bool {
    const KEPT: &[&str] =
        &["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_", "CARGO_TERM_"];
    match key {
        "RUSTFLAGS"
        | "RUSTDOCFLAGS"
        | "RUSTDOC"
        | "RUSTUP_TOOLCHAIN"
        | "RUST_RECURSION_COUNT"
        | "OUT_DIR" => true,
        _ if key.starts_with("CARGO") => !KEPT.iter().any(|kept| key.starts_with(kept)),
        _ => key.starts_with("RUSTC") || key.starts_with("__CARGO"),
    }
}

/// `cargo run` puts its own toolchain's libraries before all others, where another compiler would load them.
fn clean_library_path(command: &mut Command, root: &Path) {
    let Some(path) = env::var_os("LD_LIBRARY_PATH") else { return };
    let of_cargo = |folder: &PathBuf| {
        folder.starts_with(root) || folder.components().any(|part| part.as_os_str() == "toolchains")
    };
    let rest: Vec<PathBuf> = env::split_paths(&path).filter(|folder| !of_cargo(folder)).collect();
    match env::join_paths(rest) {
        Ok(rest) if !rest.is_empty() => command.env("LD_LIBRARY_PATH", rest),
        _ => command.env_remove("LD_LIBRARY_PATH"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_cargo_is_not_steered() {
        for key in
            ["CARGO", "CARGO_BUILD_TARGET", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN"]
        {
            assert!(steers_cargo(key), "{key}");
        }
        for key in ["CARGO_HOME", "CARGO_HTTP_PROXY", "CARGO_NET_OFFLINE", "RUSTUP_HOME", "PATH", "RUST_LOG"]
        {
            assert!(!steers_cargo(key), "{key}");
        }
    }

    #[test]
    fn failures_show_the_command() {
        let error = run(Command::new("sh").args(["-c", "exit 7"])).unwrap_err().to_string();
        assert_eq!(error, "exit status: 7 from: sh -c exit 7");
    }
}
