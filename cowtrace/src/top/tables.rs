//! The two tables: their columns, their rows in words.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

use super::rows::{CauseRow, ProcessRow};
use super::sheet::{Numbers, Row, Sheet};
use super::state::{Pane, Place, State};
use super::theme::Theme;
use crate::report::escape::visible;
use crate::report::live::{Cause, Process, Shared};
use crate::report::numbers::{count, percent, size};

/// Columns that rows are indented by below a heading.
const INDENT: usize = 2;

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
    )
    .scrolled(from, height, rows.len());
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
    let of = |row: &CauseRow| match row {
        CauseRow::Cause(index, _) => state.now.causes.get(*index),
        CauseRow::Heading(_) => None,
    };
    let places = widest(rows.iter().filter_map(of).map(|cause| cause.place.as_str())) + INDENT;
    let whats = widest(rows.iter().filter_map(of).map(|cause| cause.what.as_str()));
    let heading = state.cut().heading();
    let mut natural = vec![(heading, places)];
    if whats > 0 {
        natural.push(("what", whats));
    }
    let name = if order.name == "where" { heading } else { order.name };
    let sheet = Sheet::new(usize::from(area.width), &natural, CAUSE_NUMBERS, (name, reverse)).scrolled(
        from,
        height,
        rows.len(),
    );
    let total: u64 = state.now.causes.iter().map(|cause| cause.copied.bytes).sum();
    let shown: Vec<Row> = rows
        .iter()
        .skip(from)
        .take(height)
        .map(|row| match row {
            CauseRow::Heading(heading) => Row {
                texts: vec![(*heading).to_owned(), String::new()],
                numbers: Vec::new(),
                style: theme.faint(),
            },
            CauseRow::Cause(index, is_below) => {
                let rate = state.rates.causes.get(*index).copied();
                let style = if rate.is_some_and(|rate| rate > 0) { theme.moving() } else { Style::new() };
                of(row).map_or_else(
                    || Row { texts: Vec::new(), numbers: Vec::new(), style },
                    |cause| cause_row(cause, if *is_below { INDENT } else { 0 }, total, rate, style),
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
