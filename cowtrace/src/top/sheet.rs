//! The columns of a table that fits its area: text has the room that it needs before numbers that matter less.

use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

use crate::report::escape::shorten;

/// Columns between two columns of a table.
const GAP: usize = 2;
/// Columns that text has at least, before columns of numbers give way to it.
const LEAST: usize = 28;
/// The same for two columns of text.
const LEAST_OF_TWO: usize = 48;

/// A column of numbers; those with the highest `rank` give way first.
pub(super) struct Numbers {
    /// Its heading.
    pub(super) title: &'static str,
    /// Its width.
    pub(super) width: usize,
    /// 0 = it never gives way.
    pub(super) rank: u8,
}

/// A table that fits its area.
pub(super) struct Sheet {
    /// Titles and widths of the columns of text.
    texts: Vec<(&'static str, usize)>,
    /// Positions of the columns of numbers that are shown, with their titles and widths.
    numbers: Vec<(usize, &'static str, usize)>,
    /// The title of the column that the rows are sorted by, and whether it is the other way round.
    sorted: (&'static str, bool),
    /// Which rows are on the screen; empty = all.
    seen: String,
}

/// A row: texts and numbers, all of them, whichever are shown.
pub(super) struct Row {
    /// Of the columns of text.
    pub(super) texts: Vec<String>,
    /// Of the columns of numbers.
    pub(super) numbers: Vec<String>,
    /// How it looks.
    pub(super) style: Style,
}

impl Sheet {
    /// Lays a table out: `natural` are the titles of the columns of text with the widths that they would like to have.
    pub(super) fn new(
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
        while room(&shown) < least.min(natural.iter().map(|(_, wide)| wide + GAP).sum()) {
            let last = shown.iter().enumerate().max_by_key(|(_, at)| numbers[**at].rank);
            match last.map(|(position, at)| (position, numbers[*at].rank)) {
                Some((position, 1..)) => shown.remove(position),
                Some(_) | None => break,
            };
        }
        let texts = split(room(&shown), natural);
        let numbers = shown.into_iter().map(|at| (at, numbers[at].title, numbers[at].width)).collect();
        Self { texts, numbers, sorted, seen: String::new() }
    }

    fn title(&self, title: &'static str) -> String {
        match self.sorted {
            (sorted, reverse) if sorted == title => format!("{title}{}", if reverse { '↑' } else { '↓' }),
            _ => title.to_owned(),
        }
    }

    /// Says in the first title which rows are on the screen, where there are more.
    pub(super) fn scrolled(mut self, from: usize, height: usize, all: usize) -> Self {
        if all > height {
            self.seen = format!("  {}-{} of {all}", from + 1, all.min(from + height));
        }
        self
    }

    /// The line of its titles.
    pub(super) fn header(&self) -> String {
        let mut line = String::new();
        for (at, (title, width)) in self.texts.iter().enumerate() {
            let title = self.title(title) + if at == 0 { &self.seen } else { "" };
            line.push_str(&left(&title, *width));
        }
        for (_, title, width) in &self.numbers {
            line.push(' ');
            line.push_str(&right(&self.title(title), *width));
        }
        line
    }

    /// The line of a row.
    pub(super) fn line(&self, row: &Row) -> String {
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

/// A place without its folder, which says less than its file and its line: `pool.py:34 (read)`.
fn without_folder(text: &str) -> String {
    let body = text.trim_start();
    let indent = &text[..text.len() - body.len()];
    let path = body.split(" (").next().unwrap_or_default();
    let start = path.rfind('/').map_or(0, |slash| slash + 1);
    format!("{indent}{}", &body[start..])
}

/// Text at the left of its column, with a gap behind it.
fn left(text: &str, width: usize) -> String {
    let room = width.saturating_sub(GAP);
    let short = (text.width() > room).then(|| without_folder(text));
    let text = shorten(short.as_deref().unwrap_or(text), room);
    let rest = width.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(rest))
}

fn right(text: &str, width: usize) -> String {
    let text = shorten(text, width);
    let rest = width.saturating_sub(text.width());
    format!("{}{text}", " ".repeat(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: &[Numbers] =
        &[Numbers { title: "copied", width: 10, rank: 0 }, Numbers { title: "share", width: 7, rank: 1 }];

    fn header(width: usize, natural: &[(&'static str, usize)]) -> String {
        Sheet::new(width, natural, NUMBERS, ("copied", false)).header()
    }

    /// Numbers give way to text, except the most important ones.
    #[test]
    fn what_gives_way() {
        assert_eq!(
            header(60, &[("process", 10)]),
            format!("{:28} {:>10} {:>7}", "process", "copied↓", "share")
        );
        assert_eq!(
            header(60, &[("process", 50)]),
            format!("{:41} {:>10} {:>7}", "process", "copied↓", "share")
        );
        assert_eq!(header(40, &[("process", 50)]), format!("{:29} {:>10}", "process", "copied↓"));
        assert_eq!(header(20, &[("process", 50)]), format!("{:9} {:>10}", "process", "copied↓"));
    }

    /// Of two columns the one that needs little has it, and the other the rest.
    #[test]
    fn two_columns_of_text() {
        let widths = |one, other| split(60, &[("a", one), ("b", other)]).into_iter().map(|(_, width)| width);
        assert!(widths(10, 20).eq([12, 22]));
        assert!(widths(10, 90).eq([12, 48]));
        assert!(widths(90, 10).eq([48, 12]));
        assert!(widths(90, 90).eq([30, 30]));
    }

    /// A folder gives way before anything else of a place does.
    #[test]
    fn places() {
        let place = "  tests/work/pool.py:34 (a/b)";
        assert_eq!(left(place, 31), format!("{place}  "));
        assert_eq!(left(place, 30), format!("{:30}", "  pool.py:34 (a/b)"));
        assert_eq!(left(place, 12), "  poo…a/b)  ");
    }

    /// A row is as wide as its header, whatever is in it.
    #[test]
    fn rows_fit() {
        let sheet = Sheet::new(60, &[("a", 90), ("b", 90)], NUMBERS, ("", false));
        for text in ["", "x", "日本語日本語日本語日本語日本語日本語日本語", &"y".repeat(500)]
        {
            let row = Row {
                texts: vec![text.to_owned(), text.to_owned()],
                numbers: vec!["1.0 MiB".to_owned(), "5 %".to_owned()],
                style: Style::new(),
            };
            assert_eq!(sheet.line(&row).width(), sheet.header().width(), "{text}");
        }
    }
}
