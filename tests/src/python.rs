//! Which interpreters the tests run on.

use std::path::{Path, PathBuf};

use crate::needs;

/// The CPython 3.11 builds: Debian's, which must be there, and pyenv's, which may be missing.
#[must_use]
pub fn builds_of_3_11() -> Vec<PathBuf> {
    let debian = PathBuf::from("/usr/bin/python3.11");
    assert!(debian.exists(), "Debian's {} is not there, and is required", debian.display());
    let mut builds = vec![debian];
    match pyenv("3.11.") {
        found if found.is_empty() => needs::skipped("no pyenv build of CPython 3.11"),
        found => builds.extend(found),
    }
    builds
}

/// pyenv's builds of other versions than 3.11, each of which cowtrace may or may not know.
#[must_use]
pub fn builds_of_others() -> Vec<PathBuf> {
    let mut builds = pyenv("");
    builds.retain(|path| !path.ends_with("python3.11"));
    builds
}

/// pyenv's builds of the versions that begin so.
fn pyenv(prefix: &str) -> Vec<PathBuf> {
    let Some(root) = pyenv_root() else { return Vec::new() };
    let Ok(versions) = root.join("versions").read_dir() else { return Vec::new() };
    let mut found: Vec<PathBuf> = versions
        .flatten()
        .filter(|version| version.file_name().to_string_lossy().starts_with(prefix))
        .filter_map(|version| executable_in(&version.path()))
        .collect();
    found.sort();
    found
}

fn executable_in(version: &Path) -> Option<PathBuf> {
    let number = version.file_name()?.to_str()?;
    let minor = number.rsplit_once('.').map_or(number, |(minor, _)| minor);
    Some(version.join("bin").join(format!("python{minor}"))).filter(|path| path.exists())
}

fn pyenv_root() -> Option<PathBuf> {
    if let Some(root) = std::env::var_os("PYENV_ROOT") {
        return Some(root.into());
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).or_else(|| {
        nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir)
    })?;
    Some(home.join(".pyenv"))
}
