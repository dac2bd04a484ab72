//! `diff`: two sides of recordings compared, one recording in memory at a time.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Screen;
use super::recorded::{part, read, written};
use crate::cli;
use crate::diag::{self, Failure, Notice};
use crate::record::file::Reading;
use crate::report::budget::{STATUS, Verdict};
use crate::report::diff::{Diff, Look};
use crate::report::sums::Sums;

/// Compares; returns the status to exit with.
pub(super) fn run(wanted: &cli::Diff) -> Result<u8, Failure> {
    let (before, after) = (sums(&wanted.before, wanted)?, sums(&wanted.after, wanted)?);
    let verdicts: Vec<Verdict> =
        wanted.budget.iter().flat_map(|budget| after.iter().map(|sums| budget.check(sums))).collect();
    let diff = Diff::new(before, after).map_err(|error| Notice::Other(error.to_string()))?;
    let stdout = io::stdout();
    let screen = Screen::of(&stdout, wanted.color);
    let mut out = io::BufWriter::new(stdout.lock());
    let result = if wanted.json {
        diff.write_json(&verdicts, &mut out)
    } else {
        diff.write(Look { width: screen.width, color: screen.color, all: wanted.all }, &mut out)
    };
    let status = written(result.and_then(|()| out.flush()))?;
    let mut passed = false;
    for verdict in &verdicts {
        passed |= verdict.passed;
        let which = if verdicts.len() > 1 { verdict.recording() + ": " } else { String::new() };
        diag::tell(&Notice::Other(which + &verdict.sentences()));
    }
    Ok(if passed { STATUS } else { status })
}

/// Reads recordings, each down to its sums.
fn sums(paths: &[PathBuf], wanted: &cli::Diff) -> Result<Vec<Sums>, Failure> {
    let directory = std::env::current_dir().ok();
    let directory = directory.as_deref().and_then(Path::to_str);
    let one = |path: &PathBuf| {
        let Reading { mut trace, about } = read(path)?;
        let part = part(&wanted.filter, &mut trace)?;
        let sums = Sums::of(&trace, &path.to_string_lossy(), directory, part.as_ref());
        Ok(sums.cut(about.cut.is_some()))
    };
    paths.iter().map(one).collect()
}
