//! What is compared: for each cause, what a worker copied on the average in every recording of both sides.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use super::judge::{self, Change, Judged, Run, judge};
use crate::report::scope::Copied;
use crate::report::sums::{Name, Place, Process, Sums, Write};
use crate::report::words;

/// Whose copies are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A worker's, on the average.
    Worker,
    /// Those of a whole tree.
    Tree,
}

impl Unit {
    /// Workers, unless there is a recording without one.
    pub(super) fn of(sides: &[&Vec<Sums>]) -> Self {
        let all = sides.iter().flat_map(|side| side.iter()).all(|sums| sums.workers().next().is_some());
        if all { Self::Worker } else { Self::Tree }
    }

    /// Whoever copied, at the beginning of a sentence.
    pub(super) const fn subject(self) -> &'static str {
        match self {
            Self::Worker => "Workers",
            Self::Tree => "The tree",
        }
    }

    fn members(self, sums: &Sums) -> Vec<&Process> {
        match self {
            Self::Worker => sums.workers().collect(),
            Self::Tree => sums.processes.iter().collect(),
        }
    }
}

/// What a row is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label {
    pub(super) place: Option<Place>,
    pub(super) write: Option<Write>,
    /// What is said where there is neither.
    pub(super) text: &'static str,
}

impl Label {
    pub(super) fn place(place: &Place) -> Self {
        Self { place: Some(place.clone()), write: None, text: "" }
    }

    /// The kind of a write alone, whatever the type of the object.
    pub(super) fn kind(write: &Write) -> Self {
        let text = write.kind.filter(|kind| *kind != "unknown").map(words::kind_words);
        let text = text.unwrap_or_else(|| write.text.clone());
        Self { place: None, write: Some(Write { text, kind: write.kind, of: None }), text: "" }
    }

    /// The kind of a write and the type of its object.
    pub(super) fn write(write: &Write) -> Self {
        Self { place: None, write: Some(write.clone()), text: "" }
    }

    pub(super) fn cause(name: &Name) -> Self {
        Self { place: Some(name.place.clone()), write: Some(name.write.clone()), text: "" }
    }

    const fn text(text: &'static str) -> Self {
        Self { place: None, write: None, text }
    }

    /// Its words, ready to be shown.
    pub(super) fn words(&self) -> String {
        match (&self.place, &self.write) {
            (Some(place), Some(write)) => Name { place: place.clone(), write: write.clone() }.words(),
            (Some(place), None) => place.words(),
            (None, Some(write)) => write.text.clone(),
            (None, None) => self.text.to_owned(),
        }
    }
}

/// One row: a cause in every recording of both sides.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) label: Label,
    pub(super) sides: [Vec<Run>; 2],
    pub(super) judged: Judged,
}

impl Row {
    fn new(label: Label, sides: [Vec<Run>; 2], total: Option<f64>) -> Self {
        let means = |side: &[Run]| judge::mean(side.iter().map(|run| run.mean));
        let total = total.unwrap_or_else(|| means(&sides[0]).max(means(&sides[1])));
        let judged = judge([&sides[0], &sides[1]], total);
        Self { label, sides, judged }
    }

    /// Bytes of a unit before and after, on the average of all recordings.
    pub(super) fn means(&self) -> [f64; 2] {
        [0, 1].map(|side| judge::mean(self.sides[side].iter().map(|run| run.mean)))
    }

    /// The same in pages.
    pub(super) fn pages(&self) -> [f64; 2] {
        [0, 1].map(|side| judge::mean(self.sides[side].iter().map(|run| run.pages)))
    }

    /// Bytes that came to it, below 0 those that went.
    pub(super) fn difference(&self) -> f64 {
        let [before, after] = self.means();
        after - before
    }

    pub(super) const fn is_change(&self) -> bool {
        matches!(self.judged.change, Change::Less | Change::More)
    }

    pub(super) fn is_something(&self) -> bool {
        self.means().iter().any(|mean| *mean > 0.0)
    }
}

/// What the units of one recording copied: `of` tells what counts of each.
fn run(sums: &Sums, members: &[&Process], unit: Unit, of: impl Fn(&Process) -> Copied) -> Run {
    let each: Vec<Copied> = members.iter().map(|process| of(process)).collect();
    let sum = each.iter().fold(Copied::default(), |mut sum, one| {
        sum.add(one);
        sum
    });
    if unit == Unit::Tree {
        let all = sum.bytes as f64;
        return Run { mean: all, low: all, high: all, pages: sum.pages as f64, units: 1, page: page(sums) };
    }
    let number = each.len().max(1) as f64;
    let bytes = |copied: &Copied| copied.bytes;
    Run {
        mean: sum.bytes as f64 / number,
        low: each.iter().map(bytes).min().unwrap_or_default() as f64,
        high: each.iter().map(bytes).max().unwrap_or_default() as f64,
        pages: sum.pages as f64 / number,
        units: each.len(),
        page: page(sums),
    }
}

/// Bytes of a page of the machine that a recording comes from.
fn page(sums: &Sums) -> f64 {
    sums.pages.bytes() as f64
}

/// Everything that a unit copied.
pub(super) fn total(sides: [&[Sums]; 2], unit: Unit) -> Row {
    let of = |sums: &Sums| run(sums, &unit.members(sums), unit, |process| process.copied);
    Row::new(Label::text("total"), sides.map(|side| side.iter().map(of).collect()), None)
}

/// What all processes that are no workers copied, together.
pub(super) fn others(sides: [&[Sums]; 2]) -> Row {
    let of = |sums: &Sums| {
        let others = sums.processes.iter().filter(|process| process.inherited.is_none());
        run(sums, &others.collect::<Vec<_>>(), Unit::Tree, |process| process.copied)
    };
    Row::new(Label::text("other processes"), sides.map(|side| side.iter().map(of).collect()), None)
}

/// First writes of a unit to private file mappings.
pub(super) fn files(sides: [&[Sums]; 2], unit: Unit) -> Row {
    let of = |sums: &Sums| {
        run(sums, &unit.members(sums), unit, |process| Copied {
            pages: process.copied.file_pages,
            bytes: process.copied.file_bytes,
            ..Copied::default()
        })
    };
    Row::new(Label::text("file pages apart"), sides.map(|side| side.iter().map(of).collect()), None)
}

/// A row for every label that a cause has in any recording; changes first, the largest first.
pub(super) fn rows(sides: [&[Sums]; 2], unit: Unit, total: &Row, label: impl Fn(&Name) -> Label) -> Vec<Row> {
    let mut by_label: BTreeMap<Label, [HashMap<usize, Run>; 2]> = BTreeMap::new();
    for (side, recordings) in sides.iter().enumerate() {
        for (nth, sums) in recordings.iter().enumerate() {
            let mut causes: BTreeMap<Label, Vec<usize>> = BTreeMap::new();
            for (number, name) in sums.causes.iter().enumerate() {
                causes.entry(label(name)).or_default().push(number);
            }
            let members = unit.members(sums);
            for (label, numbers) in causes {
                let found = run(sums, &members, unit, |process| {
                    let mut copied = Copied::default();
                    numbers.iter().filter_map(|n| process.causes.get(n)).for_each(|one| copied.add(one));
                    copied
                });
                if found.high > 0.0 {
                    by_label.entry(label).or_default()[side].insert(nth, found);
                }
            }
        }
    }
    let most = total.means()[0].max(total.means()[1]);
    let mut rows: Vec<Row> = by_label
        .into_iter()
        .map(|(label, found)| {
            let runs = [0, 1].map(|side: usize| {
                let none = |nth: usize| {
                    let sums = &sides[side][nth];
                    Run { units: unit.members(sums).len(), page: page(sums), ..Run::default() }
                };
                let runs = 0..sides[side].len();
                runs.map(|nth| found[side].get(&nth).copied().unwrap_or_else(|| none(nth))).collect()
            });
            Row::new(label, runs, Some(most))
        })
        .collect();
    rows.sort_by(|a, b| b.is_change().cmp(&a.is_change()).then_with(|| larger(a, b)));
    rows
}

/// The larger difference first, then what is copied more.
fn larger(a: &Row, b: &Row) -> Ordering {
    let size = |row: &Row| (row.difference().abs(), row.means()[0].max(row.means()[1]));
    let ((a_difference, a_most), (b_difference, b_most)) = (size(a), size(b));
    b_difference.total_cmp(&a_difference).then_with(|| b_most.total_cmp(&a_most))
}
