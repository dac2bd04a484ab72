//! The tools of others that open what cowtrace exports: the tests export, and read the totals there.
//!
//! Each is of one version, so that a test that fails tells of a change of cowtrace's. They are tools of the tests alone:
//! nothing of them is linked, or comes with cowtrace.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result};

use crate::say::say;
use crate::{command, debian, venv, workspace};

/// By this variable the tests are told of the folder: `python/bin/python` has the packages of PyPI, `npm/node_modules` those
/// of npm. It is empty where they could not be installed.
pub(crate) const FOLDER: &str = "COWTRACE_CONSUMERS";
/// What Debian has of it: package and a file of it.
const DEBIAN: &[(&str, &str)] = &[
    ("chromium", "/usr/bin/chromium"),
    ("nodejs", "/usr/bin/node"),
    ("npm", "/usr/bin/npm"),
    ("python3-venv", "/usr/share/python-wheels"),
];
/// Packages of PyPI, with all that they import: pip finds no set that pleases all of them.
const PYPI: &[&str] = &[
    "duckdb==2.0.1",
    "pyarrow==26.0.1",
    "perfetto==0.59.1",
    "protobuf==7.36.2",
    // The browser is Debian's.
    "playwright==1.65.2",
    "greenlet==3.5.6",
    // Reads collapsed stacks and profiles of pprof.
    "flamegraph-textual==0.1.2",
    "iteround==1.0.4",
    "rich==13.9.4",
    "textual==0.37.1",
    "typing_extensions==4.16.0",
    "Pygments==2.21.0",
    "markdown-it-py==4.3.0",
    "mdurl==0.1.2",
    "importlib_metadata==10.2.0",
    "zipp==4.1.2",
    // A server that is attached to while it serves.
    "gunicorn==27.0.1",
    "packaging==26.4",
];
/// Packages of npm.
const NPM: &[&str] = &["speedscope@1.25.0"];
/// Written last, with what was installed: what is left half done, or has other versions, is made anew.
const COMPLETE: &str = "complete";

/// The folder with all of them, installed where they are not there. Value of [`FOLDER`], empty if that failed, which is said.
pub(crate) fn find() -> OsString {
    if let Some(folder) = env::var_os(FOLDER) {
        // Whoever sets it knows better.
        return folder;
    }
    let installed = workspace::cache("consumers").and_then(|folder| installed(&folder).map(|()| folder));
    match installed {
        Ok(folder) => folder.into(),
        Err(error) => {
            say(format_args!("the tools that read exports could not be installed: {error:#}"));
            OsString::new()
        }
    }
}

/// Packages of Debian: without them a test is left out, or the others cannot be installed.
fn of_debian() -> Result<()> {
    if debian::may_install() { debian::ensure(DEBIAN) } else { Ok(()) }
}

fn installed(folder: &Path) -> Result<()> {
    of_debian()?;
    let wanted = [PYPI, NPM].concat().join("\n");
    if fs::read_to_string(folder.join(COMPLETE)).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    say(format_args!("installing tools that read exports in {} (a minute)", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    let (python, npm) = (folder.join("python"), folder.join("npm"));
    fs::create_dir_all(&npm).with_context(|| format!("failed to make {}", npm.display()))?;
    venv::make(&python, PYPI)?;
    let mut install = Command::new("npm");
    install.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
    command::run(install.arg(&npm).args(NPM))?;
    fs::write(folder.join(COMPLETE), wanted).context("failed to write down what was installed")
}
