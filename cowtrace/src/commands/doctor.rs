//! `doctor`: what this machine lets cowtrace see.

use std::io::{self, Write as _};

use super::Screen;
use super::recorded::written;
use crate::cli::{Color, Doctor};
use crate::diag::Failure;
use crate::doctor;

/// Prints the checks; the status is theirs.
pub(super) fn run(wanted: &Doctor) -> Result<u8, Failure> {
    let diagnosis = doctor::examine(&wanted.request);
    let stdout = io::stdout();
    let Screen { width, .. } = Screen::of(&stdout, Color::Never);
    let mut out = io::BufWriter::new(stdout.lock());
    let result = if wanted.json { diagnosis.write_json(&mut out) } else { diagnosis.write(width, &mut out) };
    written(result.and_then(|()| out.flush()))?;
    Ok(diagnosis.status())
}
