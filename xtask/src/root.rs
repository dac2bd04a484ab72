//! Directories with a whole Debian in them, made by debootstrap.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::say::say;
use crate::{command, debian};

/// Debian's own archive is what this keyring, of the package debian-archive-keyring, signs for.
const KEYRING: &str = "debian-archive-keyring";
/// debootstrap's rules for every suite of these years; those that it does not know by name yet are made by them, too.
const RULES: &str = "sid";

/// Makes a root of this suite, with these packages, where there is none.
pub(crate) fn make(root: &Path, suite: &str, packages: &[&str]) -> Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    debian::ensure(&[("debootstrap", "/usr/sbin/debootstrap")])?;
    let mirror = mirror().context("apt's configuration names no mirror of Debian's own archive")?;
    // It takes its name when it is complete, so that one that was left half done is never used.
    let aside = root.with_extension(std::process::id().to_string());
    fs::create_dir_all(root.parent().unwrap_or(root))?;
    say(format_args!("making a Debian root in {} (a few minutes)", root.display()));
    let made = bootstrap(&aside, suite, &mirror, packages).or_else(|error| {
        // Hundreds of packages come over a network: one that fails may not fail again.
        say(format_args!("{error:#}: once more"));
        remove(&aside)?;
        bootstrap(&aside, suite, &mirror, packages)
    });
    let last = match &made {
        Ok(()) => {
            nothing_mounted(&aside)?;
            command::run(as_root("mv", &["-T"])?.arg(&aside).arg(root))
        }
        Err(_) => remove(&aside),
    };
    made.and(last)
}

fn remove(root: &Path) -> Result<()> {
    nothing_mounted(root)?;
    command::run(as_root("rm", &["-rf", "--one-file-system"])?.arg(root))
}

/// What is mounted in a root would be deleted, or moved, with it.
fn nothing_mounted(root: &Path) -> Result<()> {
    match mounted_in(root)? {
        Some(mounted) => bail!("{mounted} is still mounted: unmount it and remove {}", root.display()),
        None => Ok(()),
    }
}

fn bootstrap(root: &Path, suite: &str, mirror: &str, packages: &[&str]) -> Result<()> {
    let mut debootstrap = as_root("/usr/sbin/debootstrap", &["--variant=minbase", suite])?;
    command::run(debootstrap.arg(root).args([mirror, RULES]))?;
    install(root, packages)
}

/// Installs packages in a root.
pub(crate) fn install(root: &Path, packages: &[&str]) -> Result<()> {
    let mut install = command(root, OsStr::new("apt-get"))?;
    command::run(install.args(["install", "--quiet", "--yes", "--no-install-recommends"]).args(packages))
}

/// A command that runs a program of a root, as root.
pub(crate) fn command(root: &Path, program: &OsStr) -> Result<Command> {
    let mut chroot = as_root("chroot", &[])?;
    chroot.arg(root).arg(program);
    Ok(chroot)
}

/// A command that runs as root, in the way that Debian's own programs want.
pub(crate) fn as_root(program: &str, arguments: &[&str]) -> Result<Command> {
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
