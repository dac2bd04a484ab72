//! Where the binary under test and the build's folders are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The package's own folder, with its programs and workloads.
#[must_use]
pub fn package_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The workspace's target folder.
#[must_use]
pub fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || package_folder().parent().expect("the package lies in the workspace").join("target"),
        PathBuf::from,
    )
}

/// The cowtrace to test: `COWTRACE_BIN`, else the workspace's release build, which is made first.
#[must_use]
pub fn cowtrace() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("COWTRACE_BIN") {
        Some(path) => std::path::absolute(path).expect("COWTRACE_BIN is a path"),
        None => built(),
    })
}

fn built() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(&cargo)
        .args(["build", "--release", "--package", "cowtrace"])
        .current_dir(package_folder())
        .status()
        .unwrap_or_else(|error| panic!("{} cannot be run: {error}", cargo.display()));
    assert!(status.success(), "cowtrace does not build");
    target_folder().join("release/cowtrace")
}
