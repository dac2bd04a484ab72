//! The CPython versions that the tests want: what this machine has, and a Debian root with the newest ones, and Ruby's.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::say::say;
use crate::{command, debian, workspace};

/// By this variable the tests are told of roots, separated by colons.
pub(crate) const ROOTS: &str = "COWTRACE_PYTHON_ROOTS";
/// The suite that has the newest versions.
const SUITE: &str = "sid";
/// What is installed in the root.
const PACKAGES: [&str; 4] = ["python3.13", "python3.14", "python3.15", "ruby3.3"];
/// Minor versions of CPython 3 that cowtrace knows.
const MINORS: std::ops::RangeInclusive<u32> = 8..=15;
/// Debian's own archive is what this keyring, of the package debian-archive-keyring, signs for.
const KEYRING: &str = "debian-archive-keyring";

/// What the tests run on.
#[derive(Debug)]
pub(crate) struct Pythons {
    /// Value of [`ROOTS`]; empty = there is no root.
    pub(crate) roots: OsString,
    /// Minor versions of which there is no interpreter.
    pub(crate) missing: Vec<u32>,
}

/// Looks for interpreters and says what there is. With `make`, a root with the newest ones is made where there is none.
pub(crate) fn find(make: bool) -> Result<Pythons> {
    let roots = match env::var_os(ROOTS) {
        // Whoever sets it knows better.
        Some(roots) => env::split_paths(&roots).filter(|root| root.is_dir()).collect(),
        None => own_root(make)?.into_iter().collect::<Vec<_>>(),
    };
    let mut minors = Vec::new();
    let here = [PathBuf::from("/usr/bin")];
    let pyenvs = pyenvs();
    for (root, folder) in here
        .iter()
        .chain(&pyenvs)
        .map(|folder| (None, folder))
        .chain(roots.iter().map(|r| (Some(r), &here[0])))
    {
        for minor in MINORS {
            let program = folder.join(format!("python3.{minor}"));
            let file = root.map_or_else(
                || program.clone(),
                |root| root.join(program.strip_prefix("/").unwrap_or(&program)),
            );
            if !file.exists() {
                continue;
            }
            match version(root.map(PathBuf::as_path), &program) {
                Ok(version) => say(format_args!("CPython {version}: {}", file.display())),
                Err(error) => {
                    say(format_args!("{} does not run: {error:#}", file.display()));
                    continue;
                }
            }
            minors.push(minor);
        }
    }
    let missing = MINORS.filter(|minor| !minors.contains(minor)).collect();
    let roots = env::join_paths(&roots).context("a root has a colon in its name")?;
    Ok(Pythons { roots, missing })
}

/// Directories of the programs of pyenv's versions.
fn pyenvs() -> Vec<PathBuf> {
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(env::home_dir()?.join(".pyenv"))).unwrap_or_default();
    let versions = fs::read_dir(root.join("versions")).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders
}

/// The full version that an interpreter tells, e.g. "3.14.1".
fn version(root: Option<&Path>, program: &Path) -> Result<String> {
    let mut command = match root {
        Some(root) => in_root(root, program.as_os_str())?,
        None => Command::new(program),
    };
    command::output(command.args(["-IBc", "import platform; print(platform.python_version())"]))
}

/// The root in the user's cache, made if it is asked for and not there.
fn own_root(make: bool) -> Result<Option<PathBuf>> {
    let root = match workspace::cache("pythons") {
        Ok(cache) => cache.join(SUITE),
        Err(_) if !make => return Ok(None),
        Err(error) => return Err(error),
    };
    if root.is_dir() {
        if make {
            complete(&root)?;
        }
        return Ok(Some(root));
    }
    if !make {
        return Ok(None);
    }
    debian::ensure(&[("debootstrap", "/usr/sbin/debootstrap")])?;
    let mirror = mirror().context("apt's configuration names no mirror of Debian's own archive")?;
    // It takes its name when it is complete, so that one that was left half done is never used.
    let aside = root.with_file_name(format!("{SUITE}.{}", std::process::id()));
    fs::create_dir_all(root.parent().unwrap_or(&root))?;
    say(format_args!("making a Debian root in {} (a few minutes)", root.display()));
    let made = bootstrap(&aside, &mirror);
    // What is mounted in it would be deleted, or moved, with it.
    if let Some(mounted) = mounted_in(&aside)? {
        bail!("{mounted} is still mounted: unmount it and remove {}", aside.display());
    }
    let last = match &made {
        Ok(()) => command::run(as_root("mv", &["-T"])?.arg(&aside).arg(&root)),
        Err(_) => command::run(as_root("rm", &["-rf", "--one-file-system"])?.arg(&aside)),
    };
    made.and(last)?;
    Ok(Some(root))
}

fn bootstrap(root: &Path, mirror: &str) -> Result<()> {
    let mut debootstrap = as_root("/usr/sbin/debootstrap", &["--variant=minbase", SUITE])?;
    command::run(debootstrap.arg(root).arg(mirror))?;
    install(root, &PACKAGES)
}

/// Installs what a root that was made earlier has not. Each package has a program of its name.
fn complete(root: &Path) -> Result<()> {
    let is_missing = |package: &&str| !root.join("usr/bin").join(package).exists();
    let missing: Vec<&str> = PACKAGES.into_iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    say(format_args!("adding {} to {}", missing.join(", "), root.display()));
    // What the root knows of the archive may have been superseded.
    install(root, &missing).or_else(|_| {
        command::run(in_root(root, OsStr::new("apt-get"))?.args(["update", "--quiet"]))?;
        install(root, &missing)
    })
}

fn install(root: &Path, packages: &[&str]) -> Result<()> {
    let mut install = in_root(root, OsStr::new("apt-get"))?;
    command::run(install.args(["install", "--quiet", "--yes", "--no-install-recommends"]).args(packages))
}

/// A command that runs a program of a root, as root.
fn in_root(root: &Path, program: &OsStr) -> Result<Command> {
    let mut command = as_root("chroot", &[])?;
    command.arg(root).arg(program);
    Ok(command)
}

fn as_root(program: &str, arguments: &[&str]) -> Result<Command> {
    let kept = [("DEBIAN_FRONTEND", OsStr::new("noninteractive")), ("LC_ALL", OsStr::new("C.UTF-8"))];
    let mut command = command::as_root(OsStr::new(program), &kept)?;
    command.args(arguments);
    Ok(command)
}

/// Something that is mounted in a directory.
fn mounted_in(folder: &Path) -> Result<Option<String>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read what is mounted")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    Ok(points.into_iter().find(|point| Path::new(point).starts_with(folder)).map(str::to_owned))
}

/// The mirror that this machine's apt takes Debian's own archive from.
fn mirror() -> Option<String> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = parts.map(|entry| entry.path()).collect();
    files.push("/etc/apt/sources.list".into());
    files.sort();
    let texts =
        files.iter().filter_map(|file| Some((file.extension()?.to_str()?, fs::read_to_string(file).ok()?)));
    texts.into_iter().find_map(|(kind, text)| match kind {
        "sources" => in_paragraphs(&text),
        "list" => in_lines(&text),
        _ => None,
    })
}

/// The archive's address in the form of fields: `URIs:`, in the paragraph that `Signed-By:` its key.
fn in_paragraphs(text: &str) -> Option<String> {
    text.split("\n\n").find_map(|paragraph| {
        let field = |name: &str| {
            let mut values = paragraph.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            values.next().map(str::trim)
        };
        let ours = field("Types")?.split_whitespace().any(|kind| kind == "deb")
            && field("Signed-By").is_none_or(|key| key.contains(KEYRING));
        field("URIs")?.split_whitespace().find(|uri| ours && is_archive(uri)).map(str::to_owned)
    })
}

/// The archive's address in the form of lines: `deb [options] address suite components`.
fn in_lines(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim_start().strip_prefix("deb")?.strip_prefix(char::is_whitespace)?.trim_start();
        let rest = rest.strip_prefix('[').map_or(Some(rest), |rest| Some(rest.split_once(']')?.1))?;
        rest.split_whitespace().next().filter(|uri| is_archive(uri)).map(str::to_owned)
    })
}

/// Every mirror has the archive in a directory of this name; security updates and other vendors' packages are elsewhere.
fn is_archive(uri: &str) -> bool {
    uri.contains("://") && uri.trim_end_matches('/').ends_with("/debian")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other vendors' entries and security updates are passed by.
    #[test]
    fn mirror_in_fields() {
        let text = "Types: deb\nURIs: http://a.invalid/debian\nSigned-By: /usr/share/keyrings/a.gpg\n\n\
                    Types: deb\nURIs: http://b.invalid/debian-security\nSigned-By: /k/debian-archive-keyring.gpg\n\n\
                    Types: deb\n# note\nURIs: http://c.invalid/debian/\nSigned-By: /k/debian-archive-keyring.gpg\n";
        assert_eq!(in_paragraphs(text).as_deref(), Some("http://c.invalid/debian/"));
        assert_eq!(in_paragraphs("Types: deb-src\nURIs: http://c.invalid/debian\n"), None);
    }

    /// Options and comments are passed by.
    #[test]
    fn mirror_in_lines() {
        let text = "# deb http://a.invalid/debian x main\ndeb-src http://b.invalid/debian x main\n\
                    deb [signed-by=/k arch=amd64] http://c.invalid/debian x main\n";
        assert_eq!(in_lines(text).as_deref(), Some("http://c.invalid/debian"));
        assert_eq!(in_lines("deb http://d.invalid/tools x main\n"), None);
    }
}
