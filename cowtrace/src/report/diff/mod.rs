//! Two sides of recordings compared: for every cause what each worker copied before and after, and whether that is more
//! than noise.
//!
//! Works from [`Sums`], so that one trace at a time is in memory. What is compared is what one worker copies on the
//! average, so that pools of different sizes can be compared; where a recording has no worker, what its whole tree copied.
//! A worker is a process that was forked while it was watched, inherited memory, and ran to its end the program that had
//! most to share. Reading order: `judge` (what is a change), `rows` (what is compared), `text`, `json`.

mod json;
mod judge;
mod rows;
#[cfg(test)]
mod tests;
mod text;

use std::io;

use judge::Change;
use rows::{Row, Unit};

use super::budget::Verdict;
use super::numbers::{counted, joined, size};
use super::sums::Sums;

/// Recordings of a program before and after a change.
#[derive(Debug)]
pub struct Diff {
    before: Vec<Sums>,
    after: Vec<Sums>,
    unit: Unit,
    total: Row,
    /// Everything that is no worker.
    others: Option<Row>,
    /// First writes to private file mappings.
    files: Option<Row>,
    sections: Vec<Section>,
}

/// Rows of one way to tell causes apart.
#[derive(Debug)]
struct Section {
    /// Its name in JSON.
    name: &'static str,
    /// Heading of its first column.
    heading: &'static str,
    /// Whether the text shows it.
    shown: bool,
    /// Largest changes first.
    rows: Vec<Row>,
}

/// How a diff is to look like.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Columns of the terminal.
    pub width: usize,
    /// Whether lines may be bold, dim and underlined.
    pub color: bool,
    /// Also rows without a change.
    pub all: bool,
}

/// A side without recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a diff needs at least one recording of each side")]
pub struct Empty;

impl Diff {
    /// Compares two sides.
    ///
    /// # Errors
    ///
    /// When one of them is empty.
    pub fn new(before: Vec<Sums>, after: Vec<Sums>) -> Result<Self, Empty> {
        if before.is_empty() || after.is_empty() {
            return Err(Empty);
        }
        let unit = Unit::of(&[&before, &after]);
        let sides = [before.as_slice(), after.as_slice()];
        let total = rows::total(sides, unit);
        let sections = vec![
            Section {
                name: "where",
                heading: "where",
                shown: true,
                rows: rows::rows(sides, unit, &total, |name| rows::Label::place(&name.place)),
            },
            Section {
                name: "writes",
                heading: "first write",
                shown: true,
                rows: rows::rows(sides, unit, &total, |name| rows::Label::kind(&name.write)),
            },
            Section {
                name: "types",
                heading: "first write",
                shown: false,
                rows: rows::rows(sides, unit, &total, |name| rows::Label::write(&name.write)),
            },
            Section {
                name: "causes",
                heading: "cause",
                shown: false,
                rows: rows::rows(sides, unit, &total, rows::Label::cause),
            },
        ];
        let others = (unit == Unit::Worker).then(|| rows::others(sides));
        let files = Some(rows::files(sides, unit)).filter(|row| row.is_something());
        Ok(Self { unit, total, others: others.filter(Row::is_something), files, sections, before, after })
    }

    /// True when what a worker copies on the average has changed by more than noise.
    #[must_use]
    pub const fn is_changed(&self) -> bool {
        matches!(self.total.judged.change, Change::Less | Change::More)
    }

    /// The recordings of both sides, e.g. to check a budget against each.
    pub fn recordings(&self) -> impl Iterator<Item = &Sums> {
        self.before.iter().chain(&self.after)
    }

    /// Writes it as text.
    ///
    /// # Errors
    ///
    /// When `out` cannot be written.
    pub fn write(&self, look: Look, out: &mut dyn io::Write) -> io::Result<()> {
        text::write(self, look, out)
    }

    /// Writes it as one JSON object on one line, with the verdicts of a budget.
    ///
    /// # Errors
    ///
    /// When `out` cannot be written.
    pub fn write_json(&self, verdicts: &[Verdict], out: &mut dyn io::Write) -> io::Result<()> {
        json::write(self, verdicts, out)
    }

    /// The answer in sentences, most important first.
    fn answer(&self) -> Vec<String> {
        let row = &self.total;
        let who = self.unit.subject();
        let [before, after] = row.means().map(|mean| size(mean.round() as u64));
        let relative = text::relative(row.means());
        let amount = size(row.difference().abs().round() as u64);
        let each = if self.unit == Unit::Worker { " each" } else { "" };
        let sizes = format!("{before} before, {after} after ({relative})");
        let copied = format!("{} copied {before}{each} before, {after} after ({relative})", text::lower(who));
        let mut answer = vec![match (row.judged.change, row.judged.noise) {
            (Change::Less, _) => format!("{who} copied {amount} less{each}: {sizes}."),
            (Change::More, _) => format!("{who} copied {amount} more{each}: {sizes}."),
            (Change::Same, _) => format!("No change: {copied}."),
            (Change::Unclear, Some(noise)) => format!(
                "No change that can be told from noise: {copied}; a difference of up to {} can be noise here.",
                size(noise.round() as u64)
            ),
            (Change::Unclear, None) => {
                format!(
                    "No change that can be told from noise: {copied}; one recording a side shows no spread."
                )
            }
        }];
        answer.extend(self.writes());
        answer.push(self.basis());
        answer.extend(self.doubts());
        answer
    }

    /// What was written more and less.
    fn writes(&self) -> Option<String> {
        let rows = &self.sections.iter().find(|section| section.name == "writes")?.rows;
        let of = |change: Change, word: &str| -> Vec<String> {
            let rows = rows.iter().filter(|row| row.judged.change == change).take(3);
            rows.map(|row| {
                format!("{} {} {word}", row.label.words(), size(row.difference().abs().round() as u64))
            })
            .collect()
        };
        let (less, more) = (of(Change::Less, "less"), of(Change::More, "more"));
        let parts = if self.total.difference() > 0.0 { [more, less] } else { [less, more] }.concat();
        if parts.is_empty() {
            return self
                .is_changed()
                .then(|| "No single kind of write has changed by more than noise.".to_owned());
        }
        let text = joined(&parts);
        Some(if self.is_changed() {
            format!("First writes: {text}.")
        } else {
            format!("But first writes changed: {text}.")
        })
    }

    /// By what it was judged.
    fn basis(&self) -> String {
        let [before, after] = [self.before.len(), self.after.len()];
        let number = |number: usize| counted(number as u64, "recording");
        let judged = match self.total.judged.test {
            judge::Test::Permutation => "by an exact permutation test of their means",
            judge::Test::Student => "by Student's t-test of their means",
            judge::Test::Workers if self.total.judged.noise.is_none() => {
                "without a spread to compare it with"
            }
            judge::Test::Workers => "by the spread between workers alone",
        };
        let hint = match self.total.judged.test {
            judge::Test::Permutation => "",
            judge::Test::Student | judge::Test::Workers => {
                "; more recordings of each side tell smaller changes from noise"
            }
        };
        let whose = format!("{} before and {} after", number(before), number(after));
        format!("Judged from {whose}, {judged}{hint}.")
    }

    /// What may be wrong with the numbers.
    fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        for sums in self.recordings() {
            let name = super::escape::escape(&sums.name);
            if !sums.doubts.is_empty() {
                doubts.push(format!("{name} may have copied more than is known: {}.", joined(&sums.doubts)));
            }
            if let Some(part) = &sums.part {
                doubts.push(format!("Of {name} only a part: {part}."));
            }
        }
        if self.unit == Unit::Tree {
            doubts.push(
                "Not every recording has a process that inherited memory: whole trees are compared, not workers.".to_owned(),
            );
        }
        doubts
    }
}
