//! A diff as one JSON object.

use std::io;

use serde::Serialize;

use super::Diff;
use super::judge::{ALPHA, Change, FLOOR_PAGES, FLOOR_SHARE, Judged, SINGLE_PAGES, SINGLE_SHARE};
use super::rows::{Row, Unit};
use crate::record::json;
use crate::record::schema::SCHEMA;
use crate::report::budget::Verdict;
use crate::report::sums::{Place, Sums, Write};

/// The object.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: u32,
    /// The sentences of the text.
    answer: Vec<String>,
    /// `same` and `unclear` are no change; of the total.
    verdict: Change,
    /// Whose bytes and pages all rows but `others` are: `worker` (on the average) or `tree`.
    per: &'static str,
    /// When a difference is a change.
    rule: Rule,
    before: Vec<Recording<'a>>,
    after: Vec<Recording<'a>>,
    total: RowLine<'a>,
    others: Option<RowLine<'a>>,
    file_pages: Option<RowLine<'a>>,
    #[serde(rename = "where")]
    places: Vec<RowLine<'a>>,
    /// By the kind of the write, and by kind and type.
    writes: Vec<RowLine<'a>>,
    types: Vec<RowLine<'a>>,
    causes: Vec<RowLine<'a>>,
    /// Of each recording of `after`, if there is a budget.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    budgets: &'a [Verdict],
}

#[derive(Serialize)]
struct Rule {
    alpha: f64,
    floor_pages: f64,
    floor_share: f64,
    single_floor_pages: f64,
    single_floor_share: f64,
}

#[derive(Serialize)]
struct Recording<'a> {
    name: &'a str,
    command: &'a [String],
    workers: usize,
    /// Why the true numbers may be higher.
    may_be_higher: &'a [String],
    part: Option<&'a str>,
}

#[derive(Serialize)]
struct RowLine<'a> {
    text: String,
    place: Option<&'a Place>,
    write: Option<&'a Write>,
    before: Side,
    after: Side,
    /// Bytes that came, below 0 those that went.
    change_bytes: f64,
    change_pages: f64,
    #[serde(flatten)]
    judged: Judged,
}

#[derive(Serialize)]
struct Side {
    bytes: f64,
    pages: f64,
    /// For each recording.
    recordings: Vec<Spread>,
}

#[derive(Serialize)]
struct Spread {
    bytes: f64,
    pages: f64,
    /// The worker that copied least, and the one that copied most.
    least_bytes: f64,
    most_bytes: f64,
}

/// Writes the object and ends the line.
pub(super) fn write(diff: &Diff, verdicts: &[Verdict], out: &mut dyn io::Write) -> io::Result<()> {
    let section = |name: &str| -> Vec<RowLine<'_>> {
        let found = diff.sections.iter().filter(|section| section.name == name);
        found.flat_map(|section| &section.rows).map(row).collect()
    };
    let document = Document {
        kind: "diff",
        schema: SCHEMA,
        answer: diff.answer(),
        verdict: diff.total.judged.change,
        per: match diff.unit {
            Unit::Worker => "worker",
            Unit::Tree => "tree",
        },
        rule: Rule {
            alpha: ALPHA,
            floor_pages: FLOOR_PAGES,
            floor_share: FLOOR_SHARE,
            single_floor_pages: SINGLE_PAGES,
            single_floor_share: SINGLE_SHARE,
        },
        before: diff.before.iter().map(recording).collect(),
        after: diff.after.iter().map(recording).collect(),
        total: row(&diff.total),
        others: diff.others.as_ref().map(row),
        file_pages: diff.files.as_ref().map(row),
        places: section("where"),
        writes: section("writes"),
        types: section("types"),
        causes: section("causes"),
        budgets: verdicts,
    };
    let mut out = io::BufWriter::new(out);
    json::write(&mut out, &document)?;
    io::Write::write_all(&mut out, b"\n")?;
    io::Write::flush(&mut out)
}

fn recording(sums: &Sums) -> Recording<'_> {
    Recording {
        name: &sums.name,
        command: &sums.command,
        workers: sums.workers().count(),
        may_be_higher: &sums.doubts,
        part: sums.part.as_deref(),
    }
}

fn row(row: &Row) -> RowLine<'_> {
    let (means, pages) = (row.means(), row.pages());
    let side = |side: usize| Side {
        bytes: means[side],
        pages: pages[side],
        recordings: row.sides[side]
            .iter()
            .map(|run| Spread {
                bytes: run.mean,
                pages: run.pages,
                least_bytes: run.low,
                most_bytes: run.high,
            })
            .collect(),
    };
    RowLine {
        text: row.label.words(),
        place: row.label.place.as_ref(),
        write: row.label.write.as_ref(),
        before: side(0),
        after: side(1),
        change_bytes: means[1] - means[0],
        change_pages: pages[1] - pages[0],
        judged: row.judged,
    }
}
