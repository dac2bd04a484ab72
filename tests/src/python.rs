//! Which interpreters the tests run on.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::run::Run;
use crate::{needs, repeats};

/// By this variable `cargo xtask test` tells of directories that are roots of their own, separated by colons. Where it is
/// set, what is missing was told as well.
const ROOTS: &str = "COWTRACE_PYTHON_ROOTS";
/// Where this is set, every interpreter is one of a root: the machine was made for that root's.
const ONLY_ROOTS: &str = "COWTRACE_PYTHON_ONLY_ROOTS";
/// Debian's interpreter, which must be there.
const DEBIANS: &str = "/usr/bin/python3.11";
/// Where a root's copies of scripts are put, as the programs in it see it.
const COPIES: &str = "/tmp/cowtrace-tests";
/// The versions that cowtrace knows, and that the tests want.
const MINORS: std::ops::RangeInclusive<u32> = 8..=15;
/// The versions that are taken from the roots.
const MINORS_OF_ROOTS: std::ops::RangeInclusive<u32> = 13..=15;

/// An interpreter of a version that cowtrace knows.
#[derive(Clone, Debug)]
pub struct Interpreter {
    /// Its path as a program in its root sees it.
    pub path: PathBuf,
    /// The root that it runs in; `None` = this machine's own.
    pub root: Option<PathBuf>,
    /// Version, e.g. (3, 11).
    pub minor: (u32, u32),
    /// Built without the interpreter lock: pyenv says so at the end of the version.
    pub free_threaded: bool,
}

impl fmt::Display for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.root.as_deref().unwrap_or(Path::new("")).display();
        let kind = if self.free_threaded { "t" } else { "" };
        write!(f, "CPython {}.{}{kind}, {root}{}", self.minor.0, self.minor.1, self.path.display())
    }
}

impl Interpreter {
    /// A run of a script.
    #[must_use]
    pub fn run(&self, script: &Path) -> Run {
        self.run_with::<&str>(&[], script)
    }

    /// A run of a script, with options of the interpreter before it.
    #[must_use]
    pub fn run_with<S: AsRef<OsStr>>(&self, options: &[S], script: &Path) -> Run {
        let script = self.seen(script);
        let run = match &self.root {
            None => Run::new(&self.path),
            Some(root) => Run::new("chroot").arg(root).arg(&self.path),
        };
        let words = options.iter().map(|option| option.as_ref().to_owned()).chain([OsString::from(script)]);
        words.fold(run.env("PYTHONDONTWRITEBYTECODE", "1"), Run::arg)
    }

    /// A script's path as the program sees it: in a root it is that of a copy, beside copies of all that lies beside it.
    #[must_use]
    pub fn seen(&self, script: &Path) -> PathBuf {
        let Some(root) = &self.root else { return script.to_owned() };
        let (Some(folder), Some(name)) = (script.parent(), script.file_name()) else {
            panic!("{} is no script", script.display());
        };
        let seen = Path::new(COPIES).join(folder.file_name().unwrap_or_default());
        let copies = root.join(seen.strip_prefix("/").unwrap_or(&seen));
        std::fs::create_dir_all(&copies).expect("a folder in the root");
        for file in folder.read_dir().expect("the script's folder").flatten().map(|entry| entry.path()) {
            let copy = copies.join(file.file_name().unwrap_or_default());
            let Ok(content) = std::fs::read(&file) else { continue };
            if std::fs::read(&copy).ok().as_ref() != Some(&content) {
                std::fs::write(&copy, content).expect("a copy of a script");
            }
        }
        seen.join(name)
    }
}

/// Every interpreter of a version that cowtrace knows: Debian's, pyenv's, the roots'.
#[must_use]
pub fn all() -> &'static [Interpreter] {
    static ALL: OnceLock<Vec<Interpreter>> = OnceLock::new();
    ALL.get_or_init(|| {
        let only_roots = std::env::var_os(ONLY_ROOTS).is_some();
        let debians = PathBuf::from(DEBIANS);
        assert!(only_roots || debians.exists(), "Debian's {DEBIANS} is not there, and is required");
        let mut all = Vec::new();
        for path in std::iter::once(debians).chain(pyenv("")).filter(|_| !only_roots) {
            let Some(minor) = minor_of(&path) else { continue };
            let version = path.ancestors().nth(2).and_then(Path::file_name).unwrap_or_default();
            let free_threaded = version.to_string_lossy().ends_with('t');
            all.push(Interpreter { path, root: None, minor: (3, minor), free_threaded });
        }
        let roots = std::env::var_os(ROOTS);
        let told = roots.is_some();
        for root in std::env::split_paths(roots.as_deref().unwrap_or_default()) {
            for minor in if only_roots { MINORS } else { MINORS_OF_ROOTS } {
                let path = PathBuf::from(format!("/usr/bin/python3.{minor}"));
                if root.join(path.strip_prefix("/").unwrap_or(&path)).exists() {
                    let root = Some(root.clone());
                    all.push(Interpreter { path, root, minor: (3, minor), free_threaded: false });
                }
            }
        }
        assert!(!all.is_empty(), "no CPython in any of the roots {}", roots.unwrap_or_default().display());
        all.sort_by_key(|interpreter| interpreter.minor);
        for minor in MINORS.filter(|_| !told) {
            if all.iter().all(|interpreter| interpreter.minor != (3, minor)) {
                needs::skipped(&format!("no CPython 3.{minor} here"));
            }
        }
        all
    })
}

/// Checks something on every interpreter of [`all`], so often by default; fails with the list of those that it failed on.
pub fn on_each(default: u32, check: impl Fn(&Interpreter)) {
    let mut failed = Vec::new();
    for interpreter in all() {
        println!("{interpreter}");
        let all_rounds = || (0..repeats(default)).for_each(|_| check(interpreter));
        // The panic itself has been printed by then.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(all_rounds)).is_err() {
            failed.push(interpreter.to_string());
        }
    }
    assert!(failed.is_empty(), "failed on {failed:#?}");
}

/// The minor version in the name of a program, if it is one that cowtrace knows.
fn minor_of(path: &Path) -> Option<u32> {
    let minor = path.file_name()?.to_str()?.strip_prefix("python3.")?.parse().ok()?;
    Some(minor).filter(|minor| MINORS.contains(minor))
}

/// The CPython 3.11 builds: Debian's, which must be there, and pyenv's, which may be missing.
#[must_use]
pub fn builds_of_3_11() -> Vec<PathBuf> {
    let debian = PathBuf::from(DEBIANS);
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
