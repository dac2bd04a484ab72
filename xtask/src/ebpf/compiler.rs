//! Compilers that can build the kernel program: those that have the library's source beside them, since `core` has to
//! be compiled for the BPF target.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result};

use crate::command;

/// Where the library's source lies below a compiler's root.
const LIBRARY: &str = "lib/rustlib/src/rust";
/// Debian's packages: compiler, cargo and library source of one recent version.
pub(crate) const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];

/// A compiler with its cargo and its library's source.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    /// What it is, for one sentence.
    pub(crate) name: String,
    /// `rustc`'s release and commit: "1.96.0 ac68faa20".
    pub(crate) version: String,
    /// Version of its LLVM: "22.1.8".
    pub(crate) llvm: String,
    /// Directory of `cargo` and `rustc`.
    pub(crate) bin: PathBuf,
    /// The library's source, as the compiler names it and as the file system does.
    pub(crate) library: Vec<PathBuf>,
}

impl Compiler {
    /// All that are usable, the usual way (rustup) first.
    pub(crate) fn all() -> Vec<Self> {
        let rustup = rustup_nightlies().into_iter().map(|root| {
            let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (format!("rustup's {name} with rust-src"), root)
        });
        let debian = [("Debian's /usr/bin/rustc with its library source".to_owned(), PathBuf::from("/usr"))];
        rustup.chain(debian).filter_map(|(name, root)| Self::at(name, &root)).collect()
    }

    fn at(name: String, root: &Path) -> Option<Self> {
        let (bin, library) = (root.join("bin"), root.join(LIBRARY));
        if !library.join("library/core/Cargo.toml").is_file() || !bin.join("cargo").is_file() {
            return None;
        }
        let verbose = command::output(
            command::foreign_cargo(&bin.join("rustc"), Path::new("/")).args(["--version", "--verbose"]),
        );
        let verbose = verbose.ok()?;
        let field = |key: &str| verbose.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
        let release = field("release: ")?;
        if major_minor(&release) < major_minor(env!("CARGO_PKG_RUST_VERSION")) {
            return None;
        }
        let commit = field("commit-hash: ").unwrap_or_default();
        let version = format!("{release} {}", commit.get(..9).unwrap_or("unknown"));
        let mut places = vec![library.clone()];
        places.extend(fs::canonicalize(&library).ok().filter(|real| *real != library));
        Some(Self { name, version, llvm: field("LLVM version: ")?, bin, library: places })
    }

    /// Major version of its LLVM.
    pub(crate) fn llvm_major(&self) -> u32 {
        major_minor(&self.llvm).0
    }

    /// Its cargo, in the checkout at `root`, with `first` and its own directory first on PATH.
    pub(crate) fn cargo(&self, root: &Path, first: &Path) -> Result<Command> {
        let mut cargo = command::foreign_cargo(&self.bin.join("cargo"), root);
        cargo
            .env("PATH", command::path_with(&[first, &self.bin])?)
            .env("RUSTC", self.bin.join("rustc"))
            // A wrapper from the user's cargo configuration may cache by paths.
            .env("RUSTC_WRAPPER", "")
            .env("RUSTC_WORKSPACE_WRAPPER", "")
            // `-Z build-std` is for nightlies; for a release this says that we know.
            .env("RUSTC_BOOTSTRAP", "1");
        Ok(cargo)
    }
}

/// Roots of rustup's nightly toolchains, the undated one first.
fn rustup_nightlies() -> Vec<PathBuf> {
    let home =
        env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".rustup")));
    let Some(home) = home else { return Vec::new() };
    let entries = fs::read_dir(home.join("toolchains")).into_iter().flatten().flatten();
    let is_nightly = |path: &PathBuf| path.file_name().is_some_and(|name| starts_with(name, "nightly-"));
    let mut roots: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_nightly).collect();
    roots.sort();
    // "nightly-2026-…" sorts before "nightly-x86_64-…", and an older date before a newer one.
    roots.reverse();
    roots
}

fn starts_with(name: &OsStr, prefix: &str) -> bool {
    name.to_string_lossy().starts_with(prefix)
}

/// Major and minor of a version; what is not a number counts as 0.
pub(crate) fn major_minor(version: &str) -> (u32, u32) {
    let mut parts = version.split(['.', '-', ' ']).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Directories below cargo's home that hold the sources of registries' crates.
pub(crate) fn registry_sources() -> Result<Vec<PathBuf>> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let folder = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::major_minor;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(major_minor("1.98.0-nightly"), (1, 98));
        assert!(major_minor("1.100.0") > major_minor("1.95"));
        assert_eq!(major_minor("22.1.8"), (22, 1));
    }
}
