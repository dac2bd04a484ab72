//! The rows for people: a check, its verdict in a word, what was found, and below it what to do.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use super::{Diagnosis, Row, Verdict};
use crate::report::escape::visible;
use crate::report::numbers::counted;

/// Spaces between columns.
const GAP: usize = 2;
/// No text gets narrower than this, whatever the width.
const NARROWEST: usize = 24;
/// What stands before a next step.
const NEXT: &str = "-> ";

pub(super) fn write(diagnosis: &Diagnosis, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let rows = || diagnosis.sections.iter().flat_map(|section| &section.rows);
    let checks = rows().map(|row| row.check.width()).max().unwrap_or_default();
    let verdicts = rows().map(|row| row.verdict.word().width()).max().unwrap_or_default();
    for section in &diagnosis.sections {
        writeln!(out, "{}", visible(&section.about))?;
        for row in &section.rows {
            write_row(row, checks, verdicts, width, out)?;
        }
        writeln!(out)?;
    }
    for line in wrapped(&closing(diagnosis), width) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn write_row(row: &Row, checks: usize, verdicts: usize, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let gap = " ".repeat(GAP);
    let mut start = format!("{gap}{:checks$}{gap}{:verdicts$}{gap}", row.check, row.verdict.word());
    let indent = start.width();
    let room = width.saturating_sub(indent).max(NARROWEST);
    for line in wrapped(&visible(&row.found), room) {
        writeln!(out, "{}", format!("{start}{line}").trim_end())?;
        start = " ".repeat(indent);
    }
    let Some(next) = &row.next else { return Ok(()) };
    start.push_str(NEXT);
    for line in wrapped(&visible(next), room.saturating_sub(NEXT.len())) {
        writeln!(out, "{start}{line}")?;
        start = " ".repeat(indent + NEXT.len());
    }
    Ok(())
}

/// One sentence about all of it.
fn closing(diagnosis: &Diagnosis) -> String {
    let count = |verdict| diagnosis.count(verdict) as u64;
    let (limited, missing) = (count(Verdict::Limited), count(Verdict::Missing));
    let unchecked = count(Verdict::NotChecked);
    let mut text = if missing == 0 {
        "Everything that cowtrace needs is here".to_owned()
    } else {
        let verb = if missing == 1 { "fails" } else { "fail" };
        format!("Not everything that cowtrace needs is here: {} {verb}", counted(missing, "check"))
    };
    if limited > 0 {
        text.push_str(&format!("; {limited} limited"));
    }
    if unchecked > 0 {
        text.push_str(&format!("; {unchecked} not checked"));
    }
    text.push('.');
    text
}

/// Text with line breaks between words. A word that is longer than a line is left whole, for it may be a path to copy.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
