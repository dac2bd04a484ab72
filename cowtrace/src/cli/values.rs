//! Values of options: what text may stand for them.

use std::path::Path;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::diag::{LARGEST_BUFFER, size};
use crate::kernel::rung::{Rung, Wanted, Way};
use crate::{export, report};

/// Name and extension of a recording, which is a format beside those of exports.
pub const RECORDING: &str = "cow";

/// Room for records, as `--buffer` takes it.
pub(super) const DEFAULT_BUFFER: &str = "64M";

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let seconds = seconds.filter(|duration| !duration.is_zero());
    seconds.ok_or_else(|| "not a number of seconds above 0, as in 10 or 0.5".to_owned())
}

/// The number of a process.
pub(super) fn process(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=i32::MAX.cast_unsigned()).contains(number));
    number.ok_or_else(|| "not the number of a process: `pgrep -a NAME` lists those that there are".to_owned())
}

/// How faults are to be seen: `functions` by whatever way works, or one of its ways.
pub(super) fn rung() -> impl TypedValueParser<Value = Wanted> {
    PossibleValuesParser::new(["base", "functions", "fentry", "kprobe"]).map(|name| match name.as_str() {
        "base" => Wanted::Only(Rung::Base),
        "fentry" => Wanted::Only(Rung::Functions(Way::Trampolines)),
        "kprobe" => Wanted::Only(Rung::Functions(Way::Kprobes)),
        _ => Wanted::Functions,
    })
}

/// Bytes from a number with a unit.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    let (number, shift) = number_and_unit(text)?;
    let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "not a size that a machine's memory could have".to_owned())
}

/// A number, and by how many bits its unit shifts it.
fn number_and_unit(text: &str) -> Result<(u64, u32), String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit.to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(not_a_size()),
    };
    let number = number.parse().map_err(|_not_a_number| not_a_size())?;
    Ok((number, shift))
}

/// Bytes from a number with a unit, up to the next power of two that a ring buffer can have.
pub(super) fn buffer(text: &str) -> Result<u32, String> {
    let (number, shift) = number_and_unit(text)?;
    let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes <= LARGEST_BUFFER);
    let bytes = bytes.ok_or_else(|| format!("a kernel buffer has at most {}", size(LARGEST_BUFFER)))?;
    if bytes == 0 {
        return Err(format!("a kernel buffer has at least {}", size(procfs::page_size())));
    }
    let rounded = bytes.max(procfs::page_size()).next_power_of_two();
    u32::try_from(rounded).map_err(|error| error.to_string())
}

fn not_a_size() -> String {
    "not a size: a whole number, and K, M or G".to_owned()
}

/// Names of `--by`, the default first.
#[must_use]
pub fn report_names() -> Vec<&'static str> {
    report::REPORTS.iter().map(|report| report.name).collect()
}

/// Names of `--sort`, the default first.
#[must_use]
pub fn sort_names() -> Vec<&'static str> {
    report::SORTS.iter().map(|sort| sort.name).collect()
}

/// Names of `--format` where a trace is exported.
#[must_use]
pub fn format_names() -> Vec<&'static str> {
    export::FORMATS.iter().map(|format| format.name).collect()
}

/// … and where one is made, which may be kept as it is.
#[must_use]
pub fn output_names() -> Vec<&'static str> {
    [RECORDING].into_iter().chain(format_names()).collect()
}

/// The format that a file's extension stands for.
///
/// # Errors
/// In words, when there is none or more than one.
pub fn format_of(path: &Path) -> Result<&'static str, String> {
    if path.extension().is_some_and(|extension| extension == RECORDING) {
        return Ok(RECORDING);
    }
    export::by_path(path).map(|format| format.name).map_err(|error| error.to_string())
}
