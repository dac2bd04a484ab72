//! The digest of everything that decides what the kernel program's object holds.
//!
//! Used by `cowtrace/build.rs`, which compares it with the one that the committed object was built from, and by
//! `cargo xtask build-ebpf`, which writes it down: one piece of code, so that the two cannot disagree. It lies in
//! the package `cowtrace` because a published package has no sibling directories.
//!
//! Of `Cargo.lock` only the crates that the kernel program is made of are counted: an update of a crate that
//! userspace alone uses does not make the object stale.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use sha2::{Digest as _, Sha256};

/// The package of the kernel program; its directory below the workspace has the same name.
pub(crate) const PACKAGE: &str = "cowtrace-ebpf";

/// Build scripts' own crates: they choose `cfg`s and leave nothing of themselves in the object, so what they pull
/// in is not counted.
const LEAVES: &[&str] = &["aya-build"];

/// SHA-256 of some bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Digest of the kernel program's sources in the workspace at `root`.
pub(crate) fn sources(root: &Path) -> io::Result<String> {
    let mut text = String::new();
    for path in files(root)? {
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        let _ = writeln!(text, "{name} {}", sha256(&fs::read(&path).map_err(|e| at(&path, &e))?));
    }
    let lock = root.join("Cargo.lock");
    for line in locked(&fs::read_to_string(&lock).map_err(|e| at(&lock, &e))?) {
        let _ = writeln!(text, "{line}");
    }
    Ok(sha256(text.as_bytes()))
}

/// The kernel program's manifest and source files, in an order that no file system decides.
fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let package = root.join(PACKAGE);
    let mut found = vec![package.join("Cargo.toml")];
    let mut folders = vec![package.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| at(&folder, &e))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                // Editors leave other files beside sources; those decide nothing.
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Name, version and checksum of the crates that the kernel program is made of, sorted.
pub(crate) fn locked(lock: &str) -> BTreeSet<String> {
    let mut packages: BTreeMap<&str, Vec<Locked<'_>>> = BTreeMap::new();
    for block in lock.split("[[package]]").skip(1) {
        let package = Locked::parse(block);
        packages.entry(package.name).or_default().push(package);
    }
    let mut lines = BTreeSet::new();
    let mut wanted = vec![PACKAGE];
    while let Some(wish) = wanted.pop() {
        // A dependency is "name", or "name version" where the lock file has several versions of it.
        let (name, version) = wish.split_once(' ').unwrap_or((wish, ""));
        for package in packages.get(name).into_iter().flatten() {
            let other = !version.is_empty() && version.split(' ').next() != Some(package.version);
            let line = format!("{} {} {}", package.name, package.version, package.checksum);
            if !other && lines.insert(line) && !LEAVES.contains(&name) {
                wanted.extend(&package.dependencies);
            }
        }
    }
    // The package itself is there by its files; its version is the workspace's.
    lines.retain(|line| !line.starts_with(&format!("{PACKAGE} ")));
    lines
}

/// One `[[package]]` of a lock file.
#[derive(Default)]
struct Locked<'a> {
    name: &'a str,
    version: &'a str,
    checksum: &'a str,
    dependencies: Vec<&'a str>,
}

impl<'a> Locked<'a> {
    fn parse(block: &'a str) -> Self {
        let mut package = Self::default();
        for line in block.lines().map(str::trim) {
            if let Some((key, value)) = line.split_once(" = ") {
                let value = value.trim_matches('"');
                match key {
                    "name" => package.name = value,
                    "version" => package.version = value,
                    "checksum" => package.checksum = value,
                    _ => {}
                }
            } else if let Some(dependency) = line.strip_prefix('"') {
                package.dependencies.push(dependency.trim_end_matches(['"', ',']));
            }
        }
        package
    }
}

/// Says which file an error is about.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
version = 4

[[package]]
name = "aya-build"
version = "0.2.0"
checksum = "b0"
dependencies = [
 "anyhow",
]

[[package]]
name = "aya-ebpf"
version = "0.2.1"
checksum = "a0"
dependencies = [
 "aya-build",
 "syn 2.0.0",
]

[[package]]
name = "anyhow"
version = "1.0.0"
checksum = "c0"

[[package]]
name = "cowtrace-ebpf"
version = "0.1.0"
dependencies = [
 "aya-ebpf",
]

[[package]]
name = "syn"
version = "1.0.0"
checksum = "s1"

[[package]]
name = "syn"
version = "2.0.0"
checksum = "s2"

[[package]]
name = "tokio"
version = "1.0.0"
checksum = "t0"
"#;

    #[test]
    fn only_the_kernel_programs_crates_count() {
        let lines: Vec<String> = locked(LOCK).into_iter().collect();
        assert_eq!(lines, ["aya-build 0.2.0 b0", "aya-ebpf 0.2.1 a0", "syn 2.0.0 s2"]);
    }

    #[test]
    fn order_of_the_lock_file_does_not_matter() {
        let (head, packages) = LOCK.split_once("[[package]]").expect("the sample has packages");
        let mut blocks: Vec<&str> = packages.split("[[package]]").collect();
        blocks.reverse();
        let turned = format!("{head}[[package]]{}", blocks.join("[[package]]"));
        assert_eq!(locked(&turned), locked(LOCK));
    }

    #[test]
    fn sources_count_by_name_and_content_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("cowtrace-ebpf/src/probe")).unwrap();
        fs::write(root.join("Cargo.lock"), LOCK).unwrap();
        for name in ["Cargo.toml", "src/main.rs", "src/probe/fault.rs"] {
            fs::write(root.join("cowtrace-ebpf").join(name), name).unwrap();
        }
        let first = sources(root).unwrap();
        assert_eq!(first.len(), 64);
        fs::write(root.join("cowtrace-ebpf/src/main.rs~"), "an editor's copy").unwrap();
        assert_eq!(sources(root).unwrap(), first);
        fs::write(root.join("Cargo.lock"), LOCK.replace("t0", "t1")).unwrap();
        assert_eq!(sources(root).unwrap(), first, "tokio is no part of the kernel program");
        fs::write(root.join("Cargo.lock"), LOCK.replace("s2", "s3")).unwrap();
        assert_ne!(sources(root).unwrap(), first);
        fs::write(root.join("Cargo.lock"), LOCK).unwrap();
        fs::rename(
            root.join("cowtrace-ebpf/src/probe/fault.rs"),
            root.join("cowtrace-ebpf/src/probe/exit.rs"),
        )
        .unwrap();
        assert_ne!(sources(root).unwrap(), first);
    }
}
