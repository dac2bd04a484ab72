//! A diff as text.

use std::io;

use super::judge::Change;
use super::rows::{Row, Unit};
use super::{Diff, Look};
use crate::report::escape::{escape, shorten};
use crate::report::numbers::{count, counted, size};
use crate::report::sums::Sums;
use crate::report::table::{Column, Grid, Paper, Tone};

/// Rows of a section that changed, unless all are asked for.
const ROWS: usize = 8;

/// Recordings of a side that are named.
const NAMED: usize = 3;

/// Writes it.
pub(super) fn write(diff: &Diff, look: Look, out: &mut dyn io::Write) -> io::Result<()> {
    let mut paper = Paper { out, width: look.width, color: look.color };
    for sentence in diff.answer() {
        paper.paragraph(Tone::Plain, "", &sentence)?;
    }
    for (index, section) in diff.sections.iter().filter(|section| section.shown).enumerate() {
        paper.line(Tone::Plain, "")?;
        let mut grid = grid(section.heading);
        part(&mut grid, &section.rows, look.all);
        if index == 0 {
            push(&mut grid, &diff.total, Tone::Strong);
            for row in diff.others.iter().chain(&diff.files) {
                push(&mut grid, row, Tone::Plain);
            }
        }
        grid.write(&mut paper)?;
    }
    paper.line(Tone::Plain, "")?;
    for (label, side) in [("before", &diff.before), ("after", &diff.after)] {
        paper.paragraph(Tone::Plain, &format!("{label:<8}"), &recordings(side))?;
    }
    let who = match diff.unit {
        Unit::Worker => "what one worker copied on the average, unless it says otherwise",
        Unit::Tree => "what all processes of a recording copied",
    };
    for (label, text) in [("numbers", who), ("noise", "up to so much of a difference counts as noise")] {
        paper.paragraph(Tone::Faint, &format!("{label:<8}"), text)?;
    }
    Ok(())
}

fn grid(heading: &'static str) -> Grid {
    let number = |title| Column { title, number: true };
    Grid::new(&[
        Column { title: heading, number: false },
        number("before"),
        number("after"),
        number("change"),
        number("pages"),
        number("noise"),
        number(""),
    ])
}

/// Rows with a change, and how much those are that have none.
fn part(grid: &mut Grid, rows: &[Row], all: bool) {
    let limit = if all { rows.len() } else { rows.iter().filter(|row| row.is_change()).count().min(ROWS) };
    for row in &rows[..limit] {
        push(grid, row, Tone::Plain);
    }
    let rest = &rows[limit..];
    if rest.is_empty() {
        return;
    }
    let changed = rest.iter().filter(|row| row.is_change()).count();
    let number = counted(rest.len() as u64, if limit > 0 { "other row" } else { "row" });
    let what = match changed {
        0 => format!("… {number}, no change"),
        changed => format!("… {number}, {} changed", count(changed as u64)),
    };
    let sums = [0, 1].map(|side: usize| rest.iter().map(|row| row.means()[side]).sum::<f64>());
    let pages = [0, 1].map(|side: usize| rest.iter().map(|row| row.pages()[side]).sum::<f64>());
    grid.push(
        Tone::Faint,
        vec![
            what,
            size(sums[0].round() as u64),
            size(sums[1].round() as u64),
            signed_size(sums[1] - sums[0]),
            signed(pages[1] - pages[0]),
        ],
    );
}

fn push(grid: &mut Grid, row: &Row, tone: Tone) {
    let [before, after] = row.means();
    let [pages_before, pages_after] = row.pages();
    let verdict = match row.judged.change {
        Change::Same => "same",
        Change::Unclear => "unclear",
        Change::Less => "less",
        Change::More => "more",
    };
    grid.push(
        tone,
        vec![
            row.label.words(),
            size(before.round() as u64),
            size(after.round() as u64),
            signed_size(after - before),
            signed(pages_after - pages_before),
            row.judged.noise.map_or_else(|| "?".to_owned(), |noise| size(noise.round() as u64)),
            verdict.to_owned(),
        ],
    );
}

/// `+12.0 KiB`, `-1.5 MiB`, `0 B`.
fn signed_size(bytes: f64) -> String {
    let amount = size(bytes.abs().round() as u64);
    match bytes.round() {
        0.0 => amount,
        bytes if bytes < 0.0 => format!("-{amount}"),
        _ => format!("+{amount}"),
    }
}

/// A number of pages: `+12`, `-3.4`, `0`.
fn signed(pages: f64) -> String {
    let tenths = (pages * 10.0).round() / 10.0;
    if tenths == 0.0 {
        return "0".to_owned();
    }
    if tenths.fract() == 0.0 { format!("{tenths:+.0}") } else { format!("{tenths:+.1}") }
}

/// `-50 %`, `+0.3 %`, `from nothing`.
pub(super) fn relative([before, after]: [f64; 2]) -> String {
    if before <= 0.0 {
        return if after > 0.0 { "from nothing".to_owned() } else { "nothing at all".to_owned() };
    }
    let percent = (after - before) * 100.0 / before;
    match percent.abs() {
        small if small < 0.05 => "0 %".to_owned(),
        small if small < 9.95 => format!("{percent:+.1} %"),
        _ => format!("{percent:+.0} %"),
    }
}

/// The first letter as inside a sentence.
pub(super) fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Of what a side consists.
fn recordings(side: &[Sums]) -> String {
    let mut names: Vec<String> = side.iter().take(NAMED).map(|sums| escape(&sums.name)).collect();
    if let Some(more @ 1..) = side.len().checked_sub(NAMED) {
        names.push(format!("{} more", count(more as u64)));
    }
    let workers: Vec<u64> = side.iter().map(|sums| sums.workers().count() as u64).collect();
    let least = workers.iter().min().copied().unwrap_or_default();
    let most = workers.iter().max().copied().unwrap_or_default();
    let workers = if least == most {
        counted(most, "worker")
    } else {
        format!("{least} to {}", counted(most, "worker"))
    };
    let mut commands: Vec<String> = side.iter().map(|sums| escape(&sums.command.join(" "))).collect();
    commands.dedup();
    let command = match &commands[..] {
        [only] if only.is_empty() => String::new(),
        [only] => format!(": {}", shorten(only, 120)),
        _ => format!(": {} commands", count(commands.len() as u64)),
    };
    format!("{} ({workers}){command}", names.join(", "))
}
