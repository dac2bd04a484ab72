//! The two tables: columns that fit the screen, rows of text in them.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

use super::rows::{CauseRow, ProcessRow};
use super::state::{Pane, Place, State};
use super::theme::Theme;
use crate::report::escape::{shorten, visible};
use crate::report::live::{Cause, Process, Shared};
use crate::report::numbers::{count, percent, size};
use crate::report::view::Kind;

/// Columns between two columns of a table.
const GAP: usize = 2;
/// Columns that text has at least, before columns of numbers give way to it.
const LEAST: usize = 18;
/// The same for two columns of text.
const LEAST_OF_TWO: usize = 34;

/// A column of numbers; those with the highest `rank` give way first.
struct Numbers {
    title: &'static str,
    width: usize,
    rank: u8,
}

/// A table that fits its area.
struct Sheet {
    /// Titles and widths of the columns of text.
    texts: Vec<(&'static str, usize)>,
    /// Positions of the columns of numbers that are shown, with their titles and widths.
    numbers: Vec<(usize, &'static str, usize)>,
    /// The title of the column that the rows are sorted by, and whether it is the other way round.
    sorted: (&'static str, bool),
}

/// A row: texts and numbers, all of them, whichever are shown.
struct Row {
    texts: Vec<String>,
    numbers: Vec<String>,
    style: Style,
}

const PROCESS_NUMBERS: &[Numbers] = &[
    Numbers { title: "inherited", width: 10, rank: 2 },
    Numbers { title: "copied", width: 10, rank: 0 },
    Numbers { title: "share", width: 7, rank: 4 },
    Numbers { title: "still shared", width: 13, rank: 1 },
    Numbers { title: "file pages", width: 11, rank: 5 },
    Numbers { title: "copies/s", width: 9, rank: 0 },
    Numbers { title: "exit", width: 8, rank: 3 },
];

const CAUSE_NUMBERS: &[Numbers] = &[
    Numbers { title: "pages", width: 9, rank: 2 },
    Numbers { title: "copied", width: 10, rank: 0 },
    Numbers { title: "share", width: 7, rank: 4 },
    Numbers { title: "copies/s", width: 9, rank: 1 },
    Numbers { title: "in", width: 4, rank: 3 },
];

impl Sheet {
    /// Lays a table out: `natural` are the titles of the columns of text with the widths that they would like to have.
    fn new(
        width: usize,
        natural: &[(&'static str, usize)],
        numbers: &'static [Numbers],
        sorted: (&'static str, bool),
    ) -> Self {
        let least = if natural.len() > 1 { LEAST_OF_TWO } else { LEAST };
        let mut shown: Vec<usize> = (0..numbers.len()).collect();
        let room = |shown: &[usize]| {
            let taken: usize = shown.iter().map(|at| numbers[*at].width + 1).sum();
            width.saturating_sub(taken)
        };
        while room(&shown) < least.min(natural.iter().map(|(_, wide)| wide + GAP).sum::<usize>().max(LEAST)) {
            let last = shown.iter().enumerate().max_by_key(|(_, at)| numbers[**at].rank);
            match last.map(|(position, at)| (position, numbers[*at].rank)) {
                Some((position, 1..)) => shown.remove(position),
                Some(_) | None => break,
            };
        }
        let texts = split(room(&shown), natural);
        let numbers = shown.into_iter().map(|at| (at, numbers[at].title, numbers[at].width)).collect();
        Self { texts, numbers, sorted }
    }

    fn title(&self, title: &'static str) -> String {
        match self.sorted {
            (sorted, reverse) if sorted == title => format!("{title}{}", if reverse { '↑' } else { '↓' }),
            _ => title.to_owned(),
        }
    }

    fn header(&self) -> String {
        let mut line = String::new();
        for (title, width) in &self.texts {
            line.push_str(&left(&self.title(title), *width));
        }
        for (_, title, width) in &self.numbers {
            line.push(' ');
            line.push_str(&right(&self.title(title), *width));
        }
        line
    }

    fn line(&self, row: &Row) -> String {
        let mut line = String::new();
        for ((_, width), text) in self.texts.iter().zip(&row.texts) {
            line.push_str(&left(text, *width));
        }
        for (at, _, width) in &self.numbers {
            line.push(' ');
            line.push_str(&right(row.numbers.get(*at).map_or("", String::as_str), *width));
        }
        line
    }
}

/// Shares room among columns of text: each what it would like, if there is so much.
fn split(room: usize, natural: &[(&'static str, usize)]) -> Vec<(&'static str, usize)> {
    let wish = |(title, width): &(&'static str, usize)| (*title, (*width).max(title.width() + 1) + GAP);
    match natural {
        [only] => vec![(only.0, wish(only).1.max(LEAST).min(room))],
        [first, second] => {
            let ((title, one), (other_title, other)) = (wish(first), wish(second));
            let half = room / 2;
            let (one, other) = match () {
                () if one + other <= room => (one, other),
                () if one <= half => (one, room - one),
                () if other <= half => (room - other, other),
                () => (room - half, half),
            };
            vec![(title, one), (other_title, other)]
        }
        _ => Vec::new(),
    }
}

/// Text at the left of its column, with a gap behind it.
fn left(text: &str, width: usize) -> String {
    let text = shorten(text, width.saturating_sub(GAP));
    let rest = width.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(rest))
}

fn right(text: &str, width: usize) -> String {
    let text = shorten(text, width);
    let rest = width.saturating_sub(text.width());
    format!("{}{text}", " ".repeat(rest))
}

/// Draws a table. The rows are those on the screen; `chosen` is the one of them that keys are for.
fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    sheet: &Sheet,
    rows: &[Row],
    chosen: Option<usize>,
    theme: Theme,
    focused: bool,
) {
    let width = usize::from(area.width);
    let full = |text: String| format!("{text}{}", " ".repeat(width.saturating_sub(text.width())));
    let mut lines = vec![Line::styled(full(sheet.header()), theme.heading(focused))];
    for (at, row) in rows.iter().enumerate() {
        let style = if chosen == Some(at) { row.style.patch(theme.selected()) } else { row.style };
        // The last gate: what is invisible does not reach the terminal.
        let text = visible(&sheet.line(row)).into_owned();
        lines.push(Line::styled(if chosen == Some(at) { full(text) } else { text }, style));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Says in an empty table why it is.
fn empty(frame: &mut Frame<'_>, area: Rect, why: &str, theme: Theme) {
    let line = Line::from(Span::styled(why.to_owned(), theme.faint()));
    let below = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    frame.render_widget(Paragraph::new(line), below);
}

/// The widest of some texts.
fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(UnicodeWidthStr::width).max().unwrap_or_default()
}

/// Draws the table of processes.
pub(super) fn processes(
    frame: &mut Frame<'_>,
    area: Rect,
    state: &mut State,
    rows: &[ProcessRow],
    theme: Theme,
) {
    let height = usize::from(area.height.saturating_sub(1));
    state.processes.follow(rows.len(), height);
    let Place { at, from, reverse, .. } = state.processes;
    let known = |row: &ProcessRow| state.now.processes.get(row.index);
    let wide = rows.iter().filter_map(|row| Some(2 * row.depth + known(row)?.name.width())).max();
    let sheet = Sheet::new(
        usize::from(area.width),
        &[("process", wide.unwrap_or_default())],
        PROCESS_NUMBERS,
        (state.process_order().name, reverse),
    );
    let only = |row: &ProcessRow| state.only == Some(row.index);
    let shown: Vec<Row> = rows
        .iter()
        .skip(from)
        .take(height)
        .filter_map(|row| known(row).map(|process| (row, process)))
        .map(|(row, process)| {
            let rate = state.rates.processes.get(row.index).copied();
            let style = match () {
                () if only(row) => theme.moving().patch(theme.strong()),
                () if rate.is_some_and(|rate| rate > 0) => theme.moving(),
                () if process.has_ended => theme.faint(),
                () => Style::new(),
            };
            process_row(process, row.depth, rate, style)
        })
        .collect();
    let focused = state.pane == Pane::Processes;
    draw(frame, area, &sheet, &shown, focused.then(|| at.saturating_sub(from)), theme, focused);
    if rows.is_empty() {
        empty(frame, area, nothing(state, Pane::Processes), theme);
    }
}

fn nothing(state: &State, pane: Pane) -> &'static str {
    match (pane, state.filter_of(pane).is_empty()) {
        (_, false) => "no row has the text of the filter (Esc: all rows)",
        (Pane::Processes, true) => "no process yet",
        (Pane::Causes, true) if state.only.is_some() => {
            "this process has copied nothing yet (Enter: all processes)"
        }
        (Pane::Causes, true) => "no page was copied yet",
    }
}

fn process_row(process: &Process, depth: usize, rate: Option<u64>, style: Style) -> Row {
    let share = match (process.inherited, process.shared) {
        // As in the report: it says nothing of who shares pages again.
        (Some(inherited), Shared::Bytes(_)) => percent(process.copied.bytes, inherited),
        _ => String::new(),
    };
    let exit = match (process.exit_status, process.has_ended) {
        (Some(status), _) => status.to_string(),
        (None, true) => "ended".to_owned(),
        (None, false) => "running".to_owned(),
    };
    Row {
        texts: vec![format!("{}{}", "  ".repeat(depth), process.name)],
        numbers: vec![
            process.inherited.map_or_else(String::new, size),
            size(process.copied.bytes),
            share,
            match process.shared {
                Shared::Nothing => String::new(),
                Shared::Unknown => "unknown".to_owned(),
                Shared::Bytes(bytes) => size(bytes),
            },
            size(process.files.bytes),
            rate.map_or_else(String::new, count),
            exit,
        ],
        style,
    }
}

/// Draws the table of causes.
pub(super) fn causes(frame: &mut Frame<'_>, area: Rect, state: &mut State, rows: &[CauseRow], theme: Theme) {
    let height = usize::from(area.height.saturating_sub(1));
    state.causes.follow(rows.len(), height);
    let Place { at, from, reverse, .. } = state.causes;
    let order = state.cause_order();
    let indent = if order.is_parted { 2 } else { 0 };
    let of = |row: &CauseRow| match row {
        CauseRow::Cause(index) => state.now.causes.get(*index),
        CauseRow::Heading(_) => None,
    };
    let places = widest(rows.iter().filter_map(of).map(|cause| cause.place.as_str())) + indent;
    let whats = widest(rows.iter().filter_map(of).map(|cause| cause.what.as_str()));
    let heading = state.cut().heading();
    let mut natural = vec![(heading, places)];
    if whats > 0 {
        natural.push(("what", whats));
    }
    let name = if order.name == "where" { heading } else { order.name };
    let sheet = Sheet::new(usize::from(area.width), &natural, CAUSE_NUMBERS, (name, reverse));
    let total: u64 = state.now.causes.iter().map(|cause| cause.copied.bytes).sum();
    let shown: Vec<Row> = rows
        .iter()
        .skip(from)
        .take(height)
        .map(|row| match row {
            CauseRow::Heading(kind) => Row {
                texts: vec![part(*kind).to_owned(), String::new()],
                numbers: Vec::new(),
                style: theme.faint(),
            },
            CauseRow::Cause(index) => {
                let rate = state.rates.causes.get(*index).copied();
                let style = if rate.is_some_and(|rate| rate > 0) { theme.moving() } else { Style::new() };
                of(row).map_or_else(
                    || Row { texts: Vec::new(), numbers: Vec::new(), style },
                    |cause| cause_row(cause, indent, total, rate, style),
                )
            }
        })
        .collect();
    let focused = state.pane == Pane::Causes;
    draw(frame, area, &sheet, &shown, focused.then(|| at.saturating_sub(from)), theme, focused);
    if rows.is_empty() {
        empty(frame, area, nothing(state, Pane::Causes), theme);
    }
}

/// A part of the table, as the report calls it.
const fn part(kind: Kind) -> &'static str {
    match kind {
        Kind::Own => "your code",
        Kind::Native => "native code",
        Kind::Machinery => "not your code",
        Kind::Unknown => "not known",
    }
}

fn cause_row(cause: &Cause, indent: usize, total: u64, rate: Option<u64>, style: Style) -> Row {
    Row {
        texts: vec![format!("{}{}", " ".repeat(indent), cause.place), cause.what.clone()],
        numbers: vec![
            count(cause.copied.pages),
            size(cause.copied.bytes),
            percent(cause.copied.bytes, total),
            rate.map_or_else(String::new, count),
            count(cause.processes),
        ],
        style,
    }
}
