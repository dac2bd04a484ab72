//! One frame: the head, copies over time, the two tables, the command's output, the foot.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline, Wrap};
use unicode_width::UnicodeWidthStr;

use super::keys::{COLUMNS, KEYS};
use super::rates::STEP;
use super::state::State;
use super::tables;
use super::theme::Theme;
use crate::record::schema::Header;
use crate::report::escape::{escape, shorten};
use crate::report::numbers::{count, counted, size, time};

/// The smallest terminal that something can be shown in.
pub(super) const LEAST: (u16, u16) = (60, 15);
/// From this width on the tables stand side by side.
const WIDE: u16 = 160;
/// From this height on there is room for more than the tables.
const HIGH: u16 = 32;
/// From this width on there is room for all that is said of how it is traced.
const ROOMY: u16 = 100;
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
    let width = usize::from(area.width);
    let mut facts = vec![clock(state.elapsed)];
    if !header.kernel.is_empty() {
        facts.push(format!("Linux {}", escape(&header.kernel)));
        let number = if area.width < ROOMY { String::new() } else { format!(" ({})", header.probes.len()) };
        facts.push(format!("{} probes{number}", escape(&header.rung)));
    }
    let facts = facts.join(" · ");
    let mark = match (state.ending, state.paused) {
        (true, _) => " ENDING ",
        (false, true) => " PAUSED ",
        (false, false) => "",
    };
    let words = subject(header);
    let name = "cowtrace top  ";
    let taken = name.width() + mark.width() + facts.width() + 1;
    let command = shorten(&words, width.saturating_sub(taken + 1)).into_owned();
    let gap = width.saturating_sub(taken + command.width());
    let line = Line::from(vec![
        Span::styled(name, theme.title()),
        Span::styled(command, theme.strong()),
        Span::raw(" ".repeat(gap)),
        Span::styled(mark, theme.selected()),
        Span::raw(" "),
        Span::raw(facts),
    ]);
    frame.render_widget(Paragraph::new(line), area);
}

/// What is traced: a command, or processes that ran already.
fn subject(header: &Header) -> String {
    let words: Vec<String> = header.command.iter().map(|word| escape(word)).collect();
    let command = words.join(" ");
    let pids: Vec<String> = header.attached.iter().map(u32::to_string).collect();
    match (pids.is_empty(), &header.cgroup) {
        (_, Some(cgroup)) => format!("cgroup {}", escape(cgroup)),
        (false, None) if command.is_empty() => format!("-p {}", pids.join(",")),
        (false, None) => format!("-p {}: {command}", pids.join(",")),
        (true, None) => command,
    }
}

/// Time as a clock has it: `0:07`, `1:02:03`.
fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// The second line: sums, and what was lost, also when it is nothing.
fn sums(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let now = &state.now;
    let running = now.processes.iter().filter(|process| !process.has_ended).count() as u64;
    let of_records = now.losses.iter().filter(|loss| loss.is_of_records());
    let lost: u64 = of_records.map(|loss| loss.count).sum();
    let moving = if state.rates.total > 0 { theme.moving() } else { theme.faint() };
    let mut spans = vec![
        Span::raw("copied "),
        Span::styled(size(now.total.bytes), theme.strong()),
        Span::raw(format!(" ({})  ", counted(now.total.pages, "page"))),
        Span::styled(format!("{}/s  ", count(state.rates.total)), moving),
        match lost {
            0 => Span::raw("lost 0"),
            _ => Span::styled(format!("lost {}", counted(lost, "record")), theme.alarm()),
        },
    ];
    if now.without_details.pages > 0 && lost > 0 {
        let bytes = size(now.without_details.bytes);
        spans.push(Span::styled(format!(" ({bytes} without a cause)"), theme.alarm()));
    }
    let processes = counted(now.processes.len() as u64, "process");
    spans.push(Span::raw(format!("  {processes}, {} running", count(running))));
    let line = Line::from(spans);
    let more = format!("  {}  cowtrace used {} of CPU", counted(now.faults, "fault"), time(now.tool_cpu_ns));
    let fits = line.width() + more.width() <= usize::from(area.width);
    let line = if fits { line + Span::styled(more, theme.faint()) } else { line };
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
    let mut lines = vec![Line::styled(title, theme.title())];
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
    let row = |(name, about): &(&'static str, &'static str)| {
        Line::from(vec![Span::styled(format!("{name:<19} "), theme.strong()), Span::raw(*about)])
    };
    let mut lines = vec![Line::styled("Keys (any key leads back)", theme.title())];
    lines.extend(KEYS.iter().map(row));
    lines.extend([Line::raw(""), Line::styled("Numbers", theme.title())]);
    lines.extend(COLUMNS.iter().map(row));
    lines.extend([Line::raw(""), Line::styled("What is not seen here", theme.title())]);
    let missing = &state.now.header.missing;
    lines.extend(missing.iter().map(|text| Line::raw(escape(text))));
    if missing.is_empty() {
        lines.push(Line::raw("nothing is missing"));
    }
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), area);
}

#[cfg(test)]
mod tests;
