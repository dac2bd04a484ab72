//! The guests' disks: ext4 images made from directories, without mounting anything.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::guest;
use super::{Built, Kernel};
use crate::command;
use crate::root;
use crate::workspace::{self, Workspace};

/// Free room on every disk, in MiB: guests write what is thrown away.
const ROOM: u64 = 512;
/// What a suite's root needs beside the smallest system: its Python, its kernel, and what makes an initial RAM disk.
const PACKAGES: [&str; 3] = ["python3", "linux-image-cloud-amd64", "initramfs-tools"];

/// What is of one suite.
pub(super) struct Suite {
    /// The disk with its root.
    pub(super) image: PathBuf,
    pub(super) kernel: PathBuf,
    /// Debian's own: it finds the root's disk by its label.
    pub(super) initrd: PathBuf,
    /// The kernel's release, as it was when the root was made.
    pub(super) release: String,
}

/// The disk of the guests' root: the Debian that this machine is.
pub(super) fn base() -> Result<PathBuf> {
    let text = fs::read_to_string("/etc/os-release").context("cannot tell what system this is")?;
    let here = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let here = here.context("/etc/os-release names no suite of Debian")?.trim_matches('"');
    let folder = workspace::cache("matrix")?.join(here);
    root::make(&folder, here, &PACKAGES)?;
    let image = folder.with_extension("base.ext4");
    if image.exists() {
        return Ok(image);
    }
    // The first program of a guest: everything else is on the disk of this run.
    let scratch = tempfile::NamedTempFile::new().context("no temporary file")?;
    fs::write(scratch.path(), guest::INIT)?;
    let place = folder.join(guest::INIT_PATH.trim_start_matches('/'));
    command::run(root::as_root("install", &["-m", "755"])?.arg(scratch.path()).arg(place))?;
    of_folder(&folder, &image, guest::BASE)?;
    Ok(image)
}

/// The disk of a suite, with its kernel.
pub(super) fn of_suite(kernel: &Kernel) -> Result<Suite> {
    let folder = workspace::cache("matrix")?.join(kernel.suite);
    root::make(&folder, kernel.suite, &PACKAGES)?;
    let image = folder.with_extension("ext4");
    if !image.exists() {
        of_folder(&folder, &image, guest::SUITE)?;
    }
    let python = folder.join("usr/bin").join(format!("python{}", kernel.python));
    if !python.exists() {
        bail!("{} has no Python {}: Debian's suite has moved on", folder.display(), kernel.python);
    }
    let (vmlinuz, version) = newest_kernel(&folder.join("boot"))?;
    if !version.starts_with(&format!("{}.", kernel.version)) {
        bail!(
            "{} has Linux {version}: Debian's suite has moved on from {}",
            folder.display(),
            kernel.version
        );
    }
    let initrd = folder.join("boot").join(format!("initrd.img-{version}"));
    if !initrd.exists() {
        bail!("{} was not made", initrd.display());
    }
    Ok(Suite { image, kernel: vmlinuz, initrd, release: version })
}

fn newest_kernel(boot: &Path) -> Result<(PathBuf, String)> {
    let files = fs::read_dir(boot).with_context(|| format!("cannot list {}", boot.display()))?;
    let mut kernels: Vec<(PathBuf, String)> = files
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned();
            Some((entry.path(), version))
        })
        .collect();
    kernels.sort();
    kernels.pop().with_context(|| format!("{} has no kernel", boot.display()))
}

/// The disk of this run: cowtrace, the tests, and below [`guest::FILES`] what they read, under the paths that it has here.
pub(super) fn of_jobs(workspace: &Workspace, built: &Built, script: &str, scratch: &Path) -> Result<PathBuf> {
    let folder = scratch.join("jobs");
    let files = folder.join(guest::FILES);
    copy(&built.cowtrace, &folder.join("cowtrace"))?;
    for (name, program) in &built.tests {
        copy(program, &folder.join(name))?;
    }
    let here = |path: &Path| files.join(path.strip_prefix(workspace.root()).unwrap_or(path));
    copy(&built.programs, &here(&built.programs))?;
    for part in ["tests/programs", "tests/workloads"] {
        let from = workspace.join(part);
        copy(&from, &here(&from))?;
    }
    let place = folder.join("run");
    fs::write(&place, script)?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
    let image = scratch.join("jobs.ext4");
    of_folder(&folder, &image, guest::JOBS)?;
    Ok(image)
}

/// Copies with times: a program that is older than its source is compiled again.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    command::run(Command::new("cp").arg("-aLT").arg(from).arg(to))
}

/// Makes an image with what a directory holds. It takes its name when it is complete.
fn of_folder(folder: &Path, image: &Path, label: &str) -> Result<()> {
    let used = command::output(root::as_root("du", &["-sm"])?.arg(folder))?;
    let used: u64 =
        used.split_whitespace().next().and_then(|word| word.parse().ok()).context("du told no size")?;
    let aside = image.with_extension(std::process::id().to_string());
    let size = format!("{}M", used + used / 4 + ROOM);
    let made = command::output(
        root::as_root("/sbin/mke2fs", &["-q", "-t", "ext4", "-L", label, "-d"])?
            .arg(folder)
            .arg(&aside)
            .arg(&size),
    );
    let last = match &made {
        Ok(_) => command::run(root::as_root("mv", &["-T"])?.arg(&aside).arg(image)),
        Err(_) => command::run(root::as_root("rm", &["-f"])?.arg(&aside)),
    };
    made.map(drop).and(last)
}
