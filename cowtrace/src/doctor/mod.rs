//! `cowtrace doctor`: what this machine and these interpreters let cowtrace see, what is missing, and what to do about it.
//!
//! `machine` and `target` look (files, one attempt to load and attach the probes, processes); every check is a pure
//! function from what they saw to [`Row`]s; `text` and `json` show the rows. Nothing is changed, and nothing is left behind.

mod cgroup;
mod json;
mod kernel;
mod machine;
mod memory;
mod privileges;
mod probes;
mod program;
mod target;
mod text;

use std::ffi::OsString;
use std::io;

use serde::Serialize;

use machine::Machine;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Processes by their numbers, and programs by name or path.
    pub targets: Vec<OsString>,
    /// Bytes of the ring buffer that a trace would have.
    pub buffer: u32,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is missing.
    Ok,
    /// There is a trace, and it lacks something.
    Limited,
    /// There is no trace.
    Missing,
    /// It could not be found out.
    NotChecked,
}

impl Verdict {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
            Self::NotChecked => "not checked",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What was checked.
    pub check: &'static str,
    /// The answer.
    pub verdict: Verdict,
    /// What was found; names in it may be anybody's.
    pub found: String,
    /// What to do about it; `None` = nothing has to be done.
    pub next: Option<String>,
}

impl Row {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), next: None }
    }

    fn with(
        verdict: Verdict,
        check: &'static str,
        found: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { check, verdict, found: found.into(), next: Some(next.into()) }
    }

    fn limited(check: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self::with(Verdict::Limited, check, found, next)
    }

    fn missing(check: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self::with(Verdict::Missing, check, found, next)
    }

    fn not_checked(check: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self::with(Verdict::NotChecked, check, found, next)
    }
}

/// Checks of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// What was looked at, as in `kernel` or `process 4711`.
    pub about: String,
    /// The checks, in the order in which one needs the other.
    pub rows: Vec<Row>,
}

/// Everything that was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The machine first, then what was asked about.
    pub sections: Vec<Section>,
}

impl Diagnosis {
    /// How many checks had this answer.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.sections.iter().flat_map(|section| &section.rows).filter(|row| row.verdict == verdict).count()
    }

    /// Exit status: 0 = everything that is needed is there, 1 = something that is needed is missing.
    #[must_use]
    pub fn status(&self) -> u8 {
        u8::from(self.count(Verdict::Missing) > 0)
    }

    /// Writes it for people, in lines of `width` columns.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, width: usize, out: &mut dyn io::Write) -> io::Result<()> {
        text::write(self, width, out)
    }

    /// Writes it as one JSON object on one line.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut dyn io::Write) -> io::Result<()> {
        json::write(self, out)
    }
}

/// Looks at the machine, and at each target.
#[must_use]
pub fn examine(request: &Request) -> Diagnosis {
    let machine = Machine::look(request.buffer);
    let section = |about: &str, rows| Section { about: about.to_owned(), rows };
    let mut sections = vec![
        section("kernel", kernel::rows(&machine)),
        section("privileges", privileges::rows(&machine)),
        section("memory", memory::rows(&machine)),
        section("probes", probes::rows(&machine)),
    ];
    sections.extend(request.targets.iter().map(|target| target::section(target, &machine)));
    Diagnosis { sections }
}

#[cfg(test)]
mod tests;
