//! The table of causes.

use super::Options;
use super::causes::{self, Cause, Unanswered};
use super::cuts::{Class, REPORTS};
use super::numbers::{count, counted, percent, size};
use super::scope::{Copied, Scope};
use super::table::{Column, Grid, Tone};

/// Rows of the program's own code, unless more or all are asked for.
const ROWS: usize = 8;

/// The same of native code.
const NATIVE: usize = 4;

/// A table under construction.
struct Sheet {
    grid: Grid,
    /// Rows have a second column of text.
    detailed: bool,
    /// All copied bytes.
    total: u64,
}

impl Sheet {
    fn row(&mut self, tone: Tone, place: &str, what: &str, copied: &Copied, processes: Option<u64>) {
        let bytes = copied.all_bytes();
        let mut cells = vec![place.to_owned()];
        if self.detailed {
            cells.push(what.to_owned());
        }
        cells.extend([count(copied.all_pages()), size(bytes), percent(bytes, self.total)]);
        cells.push(processes.map_or_else(String::new, count));
        self.grid.push(tone, cells);
    }

    /// Rows of one part of the table, and how much those are that do not fit.
    fn part(&mut self, rows: &[&Cause], indent: &str, tone: Tone, limit: usize) {
        for row in rows.iter().take(limit) {
            let callers = row.callers.iter().map(|name| format!(" ← {name}")).collect::<String>();
            let place = format!("{indent}{}{callers}", row.place);
            self.row(tone, &place, &row.what, &row.copied, Some(row.processes()));
        }
        let mut hidden = Copied::default();
        rows.iter().skip(limit).for_each(|row| hidden.add(&row.copied));
        if let Some(more @ 1..) = rows.len().checked_sub(limit) {
            let text = format!("{indent}… and {}", counted(more as u64, "more row"));
            self.row(Tone::Faint, &text, "", &hidden, None);
        }
    }
}

/// The table of causes, with a total.
pub(super) fn grid(scope: &Scope<'_>, options: &Options<'_>, rows: &[Cause]) -> Grid {
    let detailed = rows.iter().any(|row| !row.what.is_empty());
    let mut columns = vec![Column { title: options.by.heading, number: false }];
    if detailed {
        columns.push(Column { title: "what", number: false });
    }
    columns.extend(["pages", "copied", "share", "in"].map(|title| Column { title, number: true }));
    let total = scope.total();
    let mut sheet = Sheet { grid: Grid::new(&columns), detailed, total: total.all_bytes() };
    let limit = if options.all { usize::MAX } else { options.limit.unwrap_or(ROWS) };
    let native = if options.all || options.limit.is_some() { usize::MAX } else { NATIVE };
    let of = |class: Class| -> Vec<&Cause> { rows.iter().filter(|row| row.class == class).collect() };
    if options.sort.is_some() {
        sheet.part(&rows.iter().collect::<Vec<_>>(), "", Tone::Plain, limit);
    } else if std::ptr::eq(options.by, &REPORTS[0]) {
        for (title, class, tone, limit) in [
            ("your code", Class::Own, Tone::Strong, limit),
            ("native code", Class::Native, Tone::Plain, limit.min(native)),
            ("not your code", Class::Machinery, Tone::Plain, limit),
        ] {
            let rows = of(class);
            if !rows.is_empty() {
                sheet.grid.push(Tone::Faint, vec![title.to_owned()]);
                sheet.part(&rows, "  ", tone, limit);
            }
        }
        sheet.part(&of(Class::Unknown), "", Tone::Plain, usize::MAX);
    } else {
        sheet.part(&of(Class::Own), "", Tone::Plain, limit);
        sheet.part(&of(Class::Native), "", Tone::Plain, limit);
        sheet.part(&of(Class::Machinery), "", Tone::Plain, limit);
        sheet.part(&of(Class::Unknown), "", Tone::Plain, usize::MAX);
    }
    let lost = scope.without_details();
    if lost.all_pages() > 0 {
        sheet.row(Tone::Strong, "details lost", "counted, not explained", &lost, None);
    }
    let copying = (0..scope.trace.processes.len()).filter(|p| scope.copied(*p).all_pages() > 0).count();
    sheet.row(Tone::Plain, "total", "", &total, Some(copying as u64));
    sheet.grid
}

/// What is to be said of the table, below it: what is not known and why, and which pages were no inherited memory.
pub(super) fn notes(scope: &Scope<'_>) -> Vec<String> {
    let total = scope.total();
    let mut notes: Vec<String> = causes::unanswered(scope)
        .into_iter()
        .map(|Unanswered { what, copied, reason, others }| {
            let (pages, share) =
                (counted(copied.all_pages(), "page"), percent(copied.all_bytes(), total.all_bytes()));
            format!("{what} ({pages}, {share}): {}{reason}", if others { "mostly " } else { "" })
        })
        .collect();
    let Copied { file_pages, file_bytes, .. } = total;
    if file_pages > 0 {
        let (pages, bytes) = (counted(file_pages, "page"), size(file_bytes));
        notes.push(format!(
            "of the total, {pages} ({bytes}): first writes to mapped files, not to memory shared by a fork"
        ));
    }
    notes
}
