//! Where things lie in the checkout.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

/// The checkout that xtask was started in.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The checkout whose `xtask` cargo is running; without cargo, the nearest one above the current directory.
    pub(crate) fn find() -> Result<Self> {
        let start = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(package) => PathBuf::from(package),
            None => env::current_dir().context("failed to ask for the current directory")?,
        };
        for folder in start.ancestors() {
            if folder.join("xtask/Cargo.toml").is_file() && folder.join("Cargo.lock").is_file() {
                let root = fs::canonicalize(folder)
                    .with_context(|| format!("failed to resolve {}", folder.display()))?;
                return Ok(Self { root });
            }
        }
        bail!("{} is not inside a checkout of cowtrace", start.display())
    }

    /// One that a test has made.
    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn join(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The kernel program's committed object.
    pub(crate) fn object(&self) -> PathBuf {
        self.join("cowtrace/ebpf/cowtrace.bpf.o")
    }

    /// What the committed object was built from.
    pub(crate) fn object_lock(&self) -> PathBuf {
        self.join("cowtrace/ebpf/cowtrace.bpf.lock")
    }

    /// Target directory of the kernel program's builds: apart, since another compiler works in it.
    pub(crate) fn bpf_target(&self) -> PathBuf {
        self.join("target/bpf")
    }
}

/// A directory of this name in the user's cache, which may not be there yet.
pub(crate) fn cache(name: &str) -> Result<PathBuf> {
    let folder = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = folder.or_else(|| Some(env::home_dir()?.join(".cache")));
    let folder = folder.context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(folder.join("cowtrace").join(name))
}
