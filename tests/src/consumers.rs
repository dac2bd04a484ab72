//! Tools of others that open what cowtrace exports; `cargo xtask test` installs them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// By this variable `cargo xtask test` tells where it has installed them.
const FOLDER: &str = "COWTRACE_CONSUMERS";
/// Debian's browser.
const CHROMIUM: &str = "/usr/bin/chromium";

/// The interpreter that has the packages of PyPI; prints why the test is left out if there is none.
#[must_use]
pub fn python() -> Option<PathBuf> {
    there("python/bin/python", "Python's packages that read exports")
}

/// The folder of a package of npm; prints why the test is left out if there is none.
#[must_use]
pub fn npm(package: &str) -> Option<PathBuf> {
    there(&format!("npm/node_modules/{package}"), package)
}

/// A browser without a window; prints why the test is left out if there is none.
#[must_use]
pub fn chromium() -> Option<&'static Path> {
    let chromium = Path::new(CHROMIUM);
    if !chromium.exists() {
        println!("SKIPPED: {CHROMIUM} is not there");
        return None;
    }
    Some(chromium)
}

fn there(path: &str, what: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let found = folder.map(|folder| folder.join(path)).filter(|path| path.exists());
    if found.is_none() {
        println!("SKIPPED: {what}: not in the folder that {FOLDER} names");
    }
    found
}

/// Runs a script of `tests/consumers` with these arguments; what it printed. It must end with 0.
#[must_use]
pub fn run<S: AsRef<OsStr>>(python: &Path, script: &str, arguments: impl IntoIterator<Item = S>) -> String {
    let script = crate::binary::package_folder().join("consumers").join(script);
    let output = Command::new(python).arg(&script).args(arguments).output().expect("Python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {}\n{said}", script.display(), output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
