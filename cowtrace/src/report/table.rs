//! Tables and paragraphs that fit a width.

use std::io;

use anstyle::Style;
use comfy_table::{Cell, CellAlignment, Table, presets};
use unicode_width::UnicodeWidthStr;

use super::escape::{shorten, visible};

/// Spaces between columns.
const GAP: usize = 2;

/// No column of text gets narrower than this, whatever the width.
const NARROWEST: usize = 8;

/// How a line stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Not at all.
    Plain,
    /// What the reader looks for.
    Strong,
    /// What is rarely read.
    Faint,
    /// Heading.
    Head,
}

/// Where and how text is written.
pub(super) struct Paper<'a> {
    /// Where to.
    pub(super) out: &'a mut dyn io::Write,
    /// Columns of the terminal.
    pub(super) width: usize,
    /// Whether [`Tone`] is shown.
    pub(super) color: bool,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Heading.
    pub(super) title: &'static str,
    /// Numbers stand right and are never shortened, text is.
    pub(super) number: bool,
}

/// Rows of cells with a tone each. A row may have fewer cells than there are columns.
pub(super) struct Grid {
    columns: Vec<Column>,
    rows: Vec<(Tone, Vec<String>)>,
}

impl Paper<'_> {
    /// Writes one line.
    pub(super) fn line(&mut self, tone: Tone, text: &str) -> io::Result<()> {
        let text = visible(text);
        let style = tone.style();
        if self.color && tone != Tone::Plain {
            writeln!(self.out, "{}{text}{}", style.render(), style.render_reset())
        } else {
            writeln!(self.out, "{text}")
        }
    }

    /// Writes text with line breaks between words; the first line begins with `label`, the others with as many spaces.
    pub(super) fn paragraph(&mut self, tone: Tone, label: &str, text: &str) -> io::Result<()> {
        let indent = label.width();
        let room = self.width.saturating_sub(indent).max(NARROWEST);
        let mut start = label.to_owned();
        for line in wrapped(text, room) {
            self.line(tone, &format!("{start}{line}"))?;
            start = " ".repeat(indent);
        }
        Ok(())
    }
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Head => Style::new().underline(),
        }
    }
}

impl Grid {
    pub(super) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(super) fn push(&mut self, tone: Tone, cells: Vec<String>) {
        self.rows.push((tone, cells));
    }

    /// Writes the table. Text that does not fit takes a second line.
    pub(super) fn write(&self, paper: &mut Paper<'_>) -> io::Result<()> {
        let widths = self.widths(paper.width);
        let mut table = Table::new();
        table.load_style(presets::NOTHING).force_no_tty();
        table.set_header(self.columns.iter().map(|c| c.title));
        let mut tones = vec![Tone::Head];
        for (tone, cells) in &self.rows {
            let cells = cells.iter().zip(&widths).map(|(text, width)| lines(text, *width));
            let cells: Vec<Vec<String>> = cells.collect();
            let height = cells.iter().map(Vec::len).max().unwrap_or(1);
            tones.extend(std::iter::repeat_n(*tone, height));
            table.add_row(cells.into_iter().map(|lines| Cell::new(lines.join("\n"))));
        }
        for (column, table_column) in self.columns.iter().zip(table.column_iter_mut()) {
            table_column.set_padding((0, u16::try_from(GAP).unwrap_or_default()));
            if column.number {
                table_column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for (line, tone) in table.lines().zip(tones) {
            paper.line(tone, line.trim_end())?;
        }
        Ok(())
    }

    /// Width of every column: numbers get what they need, one or two columns of text share the rest so that as few rows
    /// as possible do not fit.
    fn widths(&self, width: usize) -> Vec<usize> {
        let natural = |at: usize| {
            let cells =
                self.rows.iter().filter_map(|(_, cells)| cells.get(at)).map(|text| visible(text).width());
            cells.chain(Some(self.columns[at].title.width())).max().unwrap_or_default()
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(natural).collect();
        let texts: Vec<usize> = (0..widths.len()).filter(|at| !self.columns[*at].number).collect();
        let numbers: usize =
            (0..widths.len()).filter(|at| self.columns[*at].number).map(|at| widths[at]).sum();
        let room = width.saturating_sub(numbers + GAP * self.columns.len().saturating_sub(1));
        match texts[..] {
            [only] => widths[only] = widths[only].min(room.max(NARROWEST)),
            [first, second] if widths[first] + widths[second] > room => {
                let most = widths[first].min(room.saturating_sub(NARROWEST)).max(NARROWEST);
                let rest = |first: usize| room.saturating_sub(first).max(NARROWEST);
                let best = (NARROWEST..=most)
                    .rev()
                    .min_by_key(|width| self.tall(first, *width, second, rest(*width)));
                let best = best.unwrap_or(NARROWEST);
                (widths[first], widths[second]) = (best, widths[second].min(rest(best)));
            }
            _ => {}
        }
        widths
    }

    /// How many lines the texts of two columns miss at these widths.
    fn tall(&self, first: usize, first_width: usize, second: usize, second_width: usize) -> usize {
        let missing = |text: Option<&String>, width: usize| match text.map_or(0, |text| visible(text).width())
        {
            fits if fits <= width => 0,
            fits if fits <= width * 2 => 1,
            _ => 2,
        };
        let rows = self.rows.iter().map(|(_, cells)| {
            missing(cells.get(first), first_width).max(missing(cells.get(second), second_width))
        });
        rows.sum()
    }
}

/// A cell's text on at most two lines; its own indentation is kept.
fn lines(text: &str, width: usize) -> Vec<String> {
    let text = visible(text);
    if text.width() <= width {
        return vec![text.into_owned()];
    }
    let indent = text.len() - text.trim_start_matches(' ').len();
    let hanging = if indent > 0 { indent + 2 } else { 0 };
    if width < hanging + NARROWEST {
        return vec![shorten(&text, width).into_owned()];
    }
    let words = wrapped(text.trim_start_matches(' '), width - hanging);
    let (first, rest) =
        words.split_first().map_or((String::new(), String::new()), |(f, r)| (f.clone(), r.join(" ")));
    let mut lines = vec![format!("{}{first}", " ".repeat(indent))];
    if !rest.is_empty() {
        lines.push(format!("{}{}", " ".repeat(hanging), shorten(&rest, width - hanging)));
    }
    lines
}

/// Words that stay with the number before them.
static UNITS: &[&str] = &["%", "B", "KiB", "MiB", "GiB", "TiB", "ns", "µs", "ms", "s"];

/// Breaks text between words so that no line is longer than `room`; a word that is longer is cut.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match words.last_mut() {
            Some(last) if matches!(last.as_str(), "<" | ">" | "(<" | "(>") => {
                last.push(' ');
                last.push_str(word);
            }
            Some(last)
                if UNITS.contains(&word.trim_end_matches([',', ';', '.', ':', ')']))
                    && last.ends_with(|c: char| c.is_ascii_digit()) =>
            {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    let mut lines = vec![String::new()];
    for word in words {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(&word);
        } else if line.width() + 1 + word.width() <= room {
            line.push(' ');
            line.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    for line in &mut lines {
        if line.width() > room {
            *line = shorten(line, room).into_owned();
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(width: usize, color: bool, write: impl Fn(&mut Paper<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Paper { out: &mut out, width, color });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tables_fit() {
        let mut grid = Grid::new(&[
            Column { title: "where", number: false },
            Column { title: "what", number: false },
            Column { title: "pages", number: true },
        ]);
        grid.push(
            Tone::Plain,
            vec!["short".into(), "a rather long text of many words".into(), "12,345".into()],
        );
        grid.push(Tone::Strong, vec!["only a place that is long".into()]);
        for width in [30, 40, 80] {
            let text = written(width, false, |paper| grid.write(paper).unwrap());
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
            assert!(text.contains("12,345") && !text.contains("\n\n"));
        }
        let bold = written(80, true, |paper| grid.write(paper).unwrap());
        assert!(bold.contains("\x1b[1monly a place that is long\x1b[0m\n"));
    }

    #[test]
    fn paragraphs_hang() {
        let text =
            written(20, false, |paper| paper.paragraph(Tone::Plain, "tool  ", "one two three four").unwrap());
        assert_eq!(text, "tool  one two three\n      four\n");
        assert_eq!(wrapped("it copied 1.1 MiB, 95 %.", 14), ["it copied", "1.1 MiB, 95 %."]);
        assert_eq!(lines("  dataset.py:41 (Dataset.get)", 20), ["  dataset.py:41", "    (Dataset.get)"]);
    }
}
