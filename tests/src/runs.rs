//! Reports of real programs that are kept in `runs/`, for people to read: renewed by the tests themselves when
//! `COWTRACE_BLESS` is set, without what is this machine's alone.

use std::path::{Path, PathBuf};

use crate::binary::package_folder;
use crate::server::Ended;

/// Lines of a kept report: two screens.
const LINES: usize = 90;

/// What is replaced in a kept report: a path that is this machine's, and what stands for it.
pub type Replaced<'a> = (&'a Path, &'a str);

/// Keeps a report, if that is asked for: `versions` says of what.
pub fn keep(name: &str, versions: &str, ended: &Ended, replaced: &[Replaced<'_>]) {
    if std::env::var_os("COWTRACE_BLESS").is_none() {
        return;
    }
    let kernel = &ended.trace.header.kernel;
    let plain = kernel.split('-').next().unwrap_or(kernel);
    let mut text = format!("{}\n\n{}", versions.trim_end(), ended.report);
    let package = package_folder();
    let own = [(package.as_path(), "tests")];
    for (path, stands) in replaced.iter().chain(&own) {
        text = text.replace(&path.display().to_string(), stands);
    }
    let mut text = text.replace(kernel, plain);
    if text.lines().count() > LINES {
        let kept: Vec<&str> = text.lines().take(LINES).collect();
        text = format!("{}\n[…]\n", kept.join("\n"));
    }
    std::fs::write(path(name), text).unwrap_or_else(|error| panic!("{}: {error}", path(name).display()));
}

fn path(name: &str) -> PathBuf {
    package_folder().join("runs").join(format!("{name}.txt"))
}
