//! The same rows for programs: one object.

use std::io;

use serde::Serialize;

use super::{Diagnosis, Section, Verdict};
use crate::record::json;

#[derive(Serialize)]
struct Whole<'a> {
    /// cowtrace's.
    version: &'static str,
    /// `ok`, or `missing` as the exit status says.
    verdict: Verdict,
    sections: &'a [Section],
}

pub(super) fn write(diagnosis: &Diagnosis, out: &mut dyn io::Write) -> io::Result<()> {
    let verdict = if diagnosis.status() == 0 { Verdict::Ok } else { Verdict::Missing };
    let whole = Whole { version: env!("CARGO_PKG_VERSION"), verdict, sections: &diagnosis.sections };
    json::write(out, &whole)?;
    out.write_all(b"\n")
}
