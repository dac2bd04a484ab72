//! One frame: the head, copies over time, the two tables, the command's output, the foot.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline, Wrap};
use unicode_width::UnicodeWidthStr;

use super::keys::KEYS;
use super::rates::STEP;
use super::state::State;
use super::tables;
use super::theme::Theme;
use crate::report::escape::{escape, shorten};
use crate::report::numbers::{count, counted, size, time};

/// The smallest terminal that something can be shown in.
pub(super) const LEAST: (u16, u16) = (60, 15);
/// From this width on the tables stand side by side.
const WIDE: u16 = 160;
/// From this height on there is room for more than the tables.
const HIGH: u16 = 32;
/// Lines of the command's output.
pub(super) const OUTPUT: u16 = 6;
/// Columns of what stands beside the bars.
const LABEL: u16 = 18;

/// Draws a frame. What is scrolled is noted in the state.
pub(super) fn frame(frame: &mut Frame<'_>, state: &mut State, theme: Theme) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!(
            "cowtrace top needs {} columns and {} rows; this terminal has {} and {}. q ends it.",
            LEAST.0, LEAST.1, area.width, area.height
        );
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
    } else if state.help {
        help(frame, area, state, theme);
    } else {
        whole(frame, area, state, theme);
    }
    theme.gate(frame.buffer_mut());
}

fn whole(frame: &mut Frame<'_>, area: Rect, state: &mut State, theme: Theme) {
    let high = area.height >= HIGH;
    let shows_output = state.show_output.unwrap_or(high && !state.output.is_empty());
    let output = if shows_output { OUTPUT.min(area.height / 4) + 1 } else { 0 };
    let [title, totals, bars, _, middle, out, notice, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(if high { 4 } else { 2 }),
        Constraint::Length(u16::from(high)),
        Constraint::Min(4),
        Constraint::Length(output),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    head(frame, title, state, theme);
    sums(frame, totals, state, theme);
    over_time(frame, bars, state, theme);
    both(frame, middle, state, theme);
    if shows_output {
        output_lines(frame, out, state, theme);
    }
    word(frame, notice, state, theme);
    frame.render_widget(
        Paragraph::new(Line::styled(hints(state, usize::from(foot.width)), theme.faint())),
        foot,
    );
}

/// The two tables.
fn both(frame: &mut Frame<'_>, area: Rect, state: &mut State, theme: Theme) {
    let (processes, causes) = (state.process_rows(), state.cause_rows());
    let (left, right) = if area.width >= WIDE {
        let [left, _, right] =
            Layout::horizontal([Constraint::Percentage(44), Constraint::Length(3), Constraint::Fill(1)])
                .areas(area);
        (left, right)
    } else {
        let rows = |len: usize| u16::try_from(len + 1).unwrap_or(u16::MAX);
        let room = area.height.saturating_sub(1);
        // Neither takes more than half, unless the other leaves it.
        let above = rows(processes.len()).min((room / 2).max(room.saturating_sub(rows(causes.len()))));
        let [upper, _, lower] =
            Layout::vertical([Constraint::Length(above.max(2)), Constraint::Length(1), Constraint::Fill(1)])
                .areas(area);
        (upper, lower)
    };
    tables::processes(frame, left, state, &processes, theme);
    tables::causes(frame, right, state, &causes, theme);
}

/// The first line: what is traced, for how long, by what.
fn head(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let header = &state.now.header;
    let elapsed = u64::try_from(state.elapsed.as_nanos()).unwrap_or(u64::MAX) / 1_000_000_000;
    let mut right = vec![time(elapsed * 1_000_000_000)];
    if !header.kernel.is_empty() {
        right.push(format!("Linux {}", escape(&header.kernel)));
        right.push(format!("{} probes ({})", escape(&header.rung), header.probes.len()));
    }
    let mut right = right.join(" · ");
    if state.paused {
        right = format!(" PAUSED  {right}");
    } else if state.ending {
        right = format!(" ENDING  {right}");
    }
    let width = usize::from(area.width);
    let words: Vec<String> = header.command.iter().map(|word| escape(word)).collect();
    let name = "cowtrace top  ";
    let room = width.saturating_sub(name.width() + right.width() + 2);
    let command = shorten(&words.join(" "), room).into_owned();
    let gap = width.saturating_sub(name.width() + command.width() + right.width());
    let line = Line::from(vec![
        Span::styled(name, theme.heading(false).remove_modifier(ratatui::style::Modifier::UNDERLINED)),
        Span::styled(command, theme.strong()),
        Span::raw(" ".repeat(gap)),
        match right.strip_prefix(" PAUSED ").or_else(|| right.strip_prefix(" ENDING ")) {
            Some(_) => Span::styled(right.get(..8).unwrap_or_default().to_owned(), theme.selected()),
            None => Span::raw(""),
        },
        Span::raw(if state.paused || state.ending {
            right.get(8..).unwrap_or_default().to_owned()
        } else {
            right
        }),
    ]);
    frame.render_widget(Paragraph::new(line), area);
}

/// The second line: sums, and what was lost, also when it is nothing.
fn sums(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let now = &state.now;
    let running = now.processes.iter().filter(|process| !process.has_ended).count() as u64;
    let lost: u64 = now.losses.iter().map(|loss| loss.count).sum();
    let mut spans = vec![
        Span::raw("copied "),
        Span::styled(size(now.total.bytes), theme.strong()),
        Span::raw(format!(" ({})   ", counted(now.total.pages, "page"))),
        Span::styled(
            format!("{} copies/s", count(state.rates.total)),
            if state.rates.total > 0 { theme.moving() } else { theme.faint() },
        ),
        Span::raw(format!(
            "   {}, {} running   ",
            counted(now.processes.len() as u64, "process"),
            count(running)
        )),
        match lost {
            0 => Span::raw("lost 0"),
            _ => Span::styled(format!("lost {}", counted(lost, "record")), theme.alarm()),
        },
    ];
    if now.without_details.pages > 0 && lost > 0 {
        spans
            .push(Span::styled(format!(" ({} unexplained)", size(now.without_details.bytes)), theme.alarm()));
    }
    let line = Line::from(spans);
    let faults = format!("{} in all", counted(now.faults, "fault"));
    let gap = usize::from(area.width).saturating_sub(line.width());
    let line = if gap > faults.width() + 3 {
        let mut line = line;
        line.push_span(Span::styled(format!("   {faults}"), theme.faint()));
        line
    } else {
        line
    };
    frame.render_widget(Paragraph::new(line), area);
}

/// Copied bytes over time, the latest at the right.
fn over_time(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let [label, bars] = Layout::horizontal([Constraint::Length(LABEL), Constraint::Fill(1)]).areas(area);
    let width = usize::from(bars.width);
    let shown = &state.rates.bars[state.rates.bars.len().saturating_sub(width)..];
    let most = shown.iter().copied().max().unwrap_or_default();
    let step = format!("copied per {} s", STEP.as_secs_f64());
    let mut lines = vec![Line::raw(step), Line::styled(format!("at most {}", size(most)), theme.faint())];
    if area.height > 2 {
        let seconds = STEP.as_secs_f64() * shown.len() as f64;
        lines.push(Line::styled(format!("in {seconds:.0} s"), theme.faint()));
    }
    frame.render_widget(Paragraph::new(lines), label);
    let mut data = vec![0; width - shown.len()];
    data.extend_from_slice(shown);
    // Nothing at all is no bar of full height.
    let sparkline =
        Sparkline::default().data(&data).max(most.max(1)).bar_set(theme.bar_set()).style(theme.bars());
    frame.render_widget(sparkline, bars);
}

/// The end of the command's output.
fn output_lines(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let width = usize::from(area.width);
    let title = format!("the command's output ({}; its end follows the report)", size(state.written));
    let title = format!("{title}{}", " ".repeat(width.saturating_sub(title.width())));
    let mut lines = vec![Line::styled(title, theme.heading(false))];
    let room = usize::from(area.height.saturating_sub(1));
    let from = state.output.len().saturating_sub(room);
    lines.extend(
        state.output[from..].iter().map(|line| Line::raw(shorten(&escape(line), width).into_owned())),
    );
    frame.render_widget(Paragraph::new(lines), area);
}

/// The line above the keys: the filter while it is typed, what cowtrace said last, or what it cannot see.
fn word(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let width = usize::from(area.width);
    let missing = &state.now.header.missing;
    let mut spans = Vec::new();
    if state.typing || !state.filter.is_empty() {
        let cursor = if state.typing { "_" } else { "" };
        spans.push(Span::styled(format!("/{}{cursor}  ", escape(&state.filter)), theme.strong()));
    }
    if let Some(process) = state.only.and_then(|only| state.now.processes.get(only)) {
        spans.push(Span::styled(
            format!("causes of {} alone (Enter: of all)  ", process.name),
            theme.moving(),
        ));
    }
    let taken: usize = spans.iter().map(Span::width).sum();
    let room = width.saturating_sub(taken);
    if let Some(notice) = &state.notice {
        spans.push(Span::styled(shorten(&escape(notice), room).into_owned(), theme.alarm()));
    } else if let (Some(first), true) = (missing.first(), taken == 0) {
        let more = match missing.len() {
            1 => String::new(),
            all => format!(" (and {} more: ?)", all - 1),
        };
        let text = format!("not seen: {}", escape(first));
        let text = shorten(&text, room.saturating_sub(more.width())).into_owned() + &more;
        spans.push(Span::styled(text, theme.faint()));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

/// The keys in one line, as many as there is room for.
fn hints(state: &State, width: usize) -> String {
    let order = match state.pane {
        super::state::Pane::Processes => state.process_order().name,
        super::state::Pane::Causes => state.cause_order().name,
    };
    let hints = [
        "q quit".to_owned(),
        "? help".to_owned(),
        if state.paused { "p go on" } else { "p pause" }.to_owned(),
        format!("s sort: {order}"),
        format!("b by: {}", state.cut().name),
        "/ filter".to_owned(),
        "Tab table".to_owned(),
        "r reverse".to_owned(),
        "o output".to_owned(),
        "Enter causes of one process".to_owned(),
    ];
    let mut line = String::new();
    for hint in hints {
        if line.width() + hint.width() + 2 > width {
            break;
        }
        if !line.is_empty() {
            line.push_str("  ");
        }
        line.push_str(&hint);
    }
    line
}

/// The keys, and what cowtrace cannot see here.
fn help(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let mut lines = vec![Line::styled("Keys (any key leads back)", theme.heading(false))];
    for (key, about) in KEYS {
        lines.push(Line::from(vec![Span::styled(format!("{key:<20}"), theme.strong()), Span::raw(*about)]));
    }
    lines.push(Line::raw(""));
    lines.push(Line::styled("What is not seen here", theme.heading(false)));
    let missing = &state.now.header.missing;
    lines.extend(missing.iter().map(|text| Line::raw(escape(text))));
    if missing.is_empty() {
        lines.push(Line::raw("nothing is missing"));
    }
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), area);
}

#[cfg(test)]
mod tests;
