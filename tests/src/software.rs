//! Programs of others that the tests trace: what Debian packages, and what `cargo xtask test` has installed from PyPI.

use std::path::{Path, PathBuf};

/// By this variable `cargo xtask test` tells where it has installed what Debian has not.
const FOLDER: &str = "COWTRACE_PROGRAMS";

/// A program of one of Debian's packages; prints why the test is left out if it is not there.
#[must_use]
pub fn debian(path: &str, package: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    if !path.exists() {
        println!("SKIPPED: {} of Debian's {package} is not there", path.display());
        return None;
    }
    Some(path.to_owned())
}

/// PostgreSQL's folder of programs, of the newest version that is here.
#[must_use]
pub fn postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    let newest = folders.filter(|folder| folder.join("pgbench").exists()).max();
    if newest.is_none() {
        println!("SKIPPED: Debian's postgresql is not there");
    }
    newest
}

/// A program of the virtual environment that has PyPI's servers: `python`, `gunicorn`, `celery`; prints why the test is left
/// out if it is not there.
#[must_use]
pub fn pypi(program: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let found = folder.map(|folder| folder.join("python/bin").join(program)).filter(|path| path.exists());
    if found.is_none() {
        println!("SKIPPED: {program} is not in the folder that {FOLDER} names");
    }
    found
}

/// The Go tool chain, by PATH or where Debian has it; prints why the test is left out if it is not there.
#[must_use]
pub fn go() -> Option<PathBuf> {
    debian("/usr/bin/go", "golang-go")
}
