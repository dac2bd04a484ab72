//! Interpreters of every version that are here, each with the way to run a script on it: CPython's, and Ruby's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Run;
use crate::needs;

/// pyenv's builds that are asked for.
const PYENV: [&str; 6] = ["3.8.18", "3.9.18", "3.10.13", "3.11.7", "3.12.1", "3.13.0"];
/// Interpreters that are looked for in each root.
const IN_ROOTS: [&str; 3] = ["3.13", "3.14", "3.15"];

/// Ruby on Debian 12, and in each root.
const RUBY: &str = "3.1";
const RUBY_IN_ROOTS: &str = "3.3";

/// One interpreter.
#[derive(Clone, Debug)]
pub struct Build {
    /// For messages.
    pub name: String,
    /// Minor version: 12 for 3.12.
    pub minor: u32,
    /// Path as its own processes see it.
    executable: PathBuf,
    /// Root directory in which it runs; `None` = this one.
    root: Option<PathBuf>,
}

/// A script, put where an interpreter can read it.
#[derive(Debug)]
pub struct Placed {
    /// Path as the interpreter sees it.
    pub path: PathBuf,
    /// A copy in another root, removed when this is dropped.
    _copy: Option<TempDir>,
}

impl Build {
    /// Puts a script where this interpreter can read it.
    #[must_use]
    pub fn place(&self, script: &Path) -> Placed {
        let Some(root) = &self.root else { return Placed { path: script.to_owned(), _copy: None } };
        let folder =
            TempDir::with_prefix_in("cowtrace-test-", root.join("tmp")).expect("the root has a /tmp");
        let copy = folder.path().join(script.file_name().expect("a script has a name"));
        std::fs::copy(script, &copy).expect("the root is writable");
        let inside = copy.strip_prefix(root).expect("it lies in the root");
        Placed { path: Path::new("/").join(inside), _copy: Some(folder) }
    }

    /// A run of the script.
    #[must_use]
    pub fn run(&self, script: &Placed) -> Run {
        let run = match &self.root {
            None => Run::new(&self.executable),
            Some(root) => Run::new("chroot").arg(root).arg(&self.executable),
        };
        run.arg(&script.path).env("PYTHONDONTWRITEBYTECODE", "1")
    }
}

/// Every build that is here; what is not is said.
#[must_use]
pub fn every() -> Vec<Build> {
    let home = std::env::var_os("PYENV_ROOT").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| OsString::from("/root"))).join(".pyenv"),
        PathBuf::from,
    );
    let pyenv = PYENV.iter().map(|version| {
        let minor = version.rsplit_once('.').expect("three numbers").0;
        let executable = home.join("versions").join(version).join("bin").join(format!("python{minor}"));
        (None, executable, minor.to_owned())
    });
    let debian = (None, PathBuf::from("/usr/bin/python3.11"), "3.11".to_owned());
    let roots = roots();
    let in_roots = roots.iter().flat_map(|root| {
        IN_ROOTS.iter().map(|minor| {
            (Some(root.clone()), PathBuf::from(format!("/usr/bin/python{minor}")), (*minor).to_owned())
        })
    });
    pyenv
        .chain([debian])
        .chain(in_roots)
        .filter_map(|(root, path, minor)| build(root, path, &minor))
        .collect()
}

/// Every Ruby that is here; what is not is said.
#[must_use]
pub fn rubies() -> Vec<Build> {
    let program = |version: &str| PathBuf::from(format!("/usr/bin/ruby{version}"));
    let roots = roots();
    if roots.is_empty() {
        needs::skipped(&format!("there is no root with Ruby {RUBY_IN_ROOTS}"));
    }
    let in_roots = roots.into_iter().map(|root| (Some(root), RUBY_IN_ROOTS));
    [(None, RUBY)]
        .into_iter()
        .chain(in_roots)
        .filter_map(|(root, version)| build(root, program(version), version))
        .collect()
}

fn roots() -> Vec<PathBuf> {
    let roots = std::env::var("COWTRACE_PYTHON_ROOTS").unwrap_or_default();
    std::env::split_paths(&roots).filter(|root| !root.as_os_str().is_empty()).collect()
}

fn build(root: Option<PathBuf>, executable: PathBuf, minor: &str) -> Option<Build> {
    let whole = match &root {
        Some(root) => root.join(executable.strip_prefix("/").expect("it is absolute")),
        None => executable.clone(),
    };
    if !whole.exists() {
        needs::skipped(&format!("{} is not there", whole.display()));
        return None;
    }
    let minor = minor.rsplit_once('.').expect("two numbers").1.parse().expect("a number");
    Some(Build { name: whole.display().to_string(), minor, executable, root })
}
