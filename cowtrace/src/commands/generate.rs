//! `completions` and `man`: what is made from the command line's definition.

use std::io::{self, Write as _};
use std::path::Path;

use clap_complete::Shell;

use super::recorded::written;
use crate::cli::{self, generate};
use crate::diag::{Failure, Notice};

/// Prints the completions for a shell.
pub(super) fn completions(shell: Shell) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    written(generate::completions(shell, &mut cli::definition(), &mut out).and_then(|()| out.flush()))
}

/// Writes the manual's pages into a folder, or prints the first.
pub(super) fn man(folder: Option<&Path>) -> Result<u8, Failure> {
    let command = cli::definition();
    if let Some(folder) = folder {
        let failed = |source: io::Error| Notice::Other(format!("cannot write {}: {source}", escaped(folder)));
        generate::write_man(&command, folder).map_err(failed)?;
        return Ok(0);
    }
    let pages = generate::man(&command).map_err(|error| Notice::Other(error.to_string()))?;
    let mut out = io::stdout().lock();
    let page = pages.first().map_or(&[][..], |page| &page.source);
    written(out.write_all(page).and_then(|()| out.flush()))
}

fn escaped(path: &Path) -> String {
    crate::report::escape::escape(&path.to_string_lossy())
}
