//! Tables and paragraphs that fit a width.

use std::io;

use anstyle::Style;
use comfy_table::{Cell, CellAlignment, Table, presets};
use unicode_width::UnicodeWidthStr;

use super::escape::{shorten, visible};

/// Spaces between columns.
const GAP: usize = 2;

/// No column of text gets narrower than this, whatever the width.
const NARROWEST: usize = 10;

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

    /// Writes the table.
    pub(super) fn write(&self, paper: &mut Paper<'_>) -> io::Result<()> {
        let widths = self.widths(paper.width);
        let mut table = Table::new();
        table.load_style(presets::NOTHING).force_no_tty();
        table.set_header(self.columns.iter().map(|c| c.title));
        for (_, cells) in &self.rows {
            let cells = cells.iter().zip(&widths);
            table.add_row(cells.map(|(text, width)| Cell::new(shorten(&visible(text), *width))));
        }
        for (column, table_column) in self.columns.iter().zip(table.column_iter_mut()) {
            table_column.set_padding((0, u16::try_from(GAP).unwrap_or_default()));
            if column.number {
                table_column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let tones = std::iter::once(Tone::Head).chain(self.rows.iter().map(|(tone, _)| *tone));
        for (line, tone) in table.lines().zip(tones) {
            paper.line(tone, line.trim_end())?;
        }
        Ok(())
    }

    /// Width of every column: numbers get what they need, columns of text share the rest.
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
        let mut room = width.saturating_sub(numbers + GAP * self.columns.len().saturating_sub(1));
        // The narrow ones first: what they leave is for the wide ones.
        let mut open = texts;
        open.sort_by_key(|at| widths[*at]);
        let mut left = open.len();
        for at in open {
            widths[at] = widths[at].min((room / left).max(NARROWEST));
            room = room.saturating_sub(widths[at]);
            left -= 1;
        }
        widths
    }
}

/// Breaks text between words so that no line is longer than `room`, unless a word is.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.width() + 1 + word.width() <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
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
            assert_eq!(text.lines().count(), 3);
            assert!(text.contains("12,345"));
        }
        let bold = written(80, true, |paper| grid.write(paper).unwrap());
        assert!(bold.contains("\x1b[1monly a place that is long\x1b[0m\n"));
    }

    #[test]
    fn paragraphs_hang() {
        let text =
            written(20, false, |paper| paper.paragraph(Tone::Plain, "tool  ", "one two three four").unwrap());
        assert_eq!(text, "tool  one two three\n      four\n");
    }
}
