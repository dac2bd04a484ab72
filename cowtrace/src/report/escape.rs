//! Text of the target made safe for a terminal: visible, on one line, bounded.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::record::json::is_invisible;

/// No name of the target takes more characters than this.
const LONGEST: usize = 512;

/// A string of the target as it is shown: invisible characters and backslashes are escapes, the middle of what is too
/// long is `…`.
#[must_use]
pub fn escape(text: &str) -> String {
    let length = text.chars().count();
    let half = LONGEST / 2;
    let short: Cow<'_, str> = if length > LONGEST {
        let tail = text.chars().skip(length - half);
        text.chars().take(half).chain(Some('…')).chain(tail).collect::<String>().into()
    } else {
        text.into()
    };
    let mut shown = String::with_capacity(short.len());
    for c in short.chars() {
        if c == '\\' {
            shown.push_str("\\\\");
        } else {
            push(&mut shown, c);
        }
    }
    shown
}

/// The last gate before the terminal: escapes what is still invisible. Text that went through [`escape`] stays as it is.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_invisible) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut shown, c));
    shown.into()
}

fn push(shown: &mut String, c: char) {
    match c {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        c if is_invisible(c) && u32::from(c) < 0x100 => {
            let _ = write!(shown, "\\x{:02x}", u32::from(c));
        }
        c if is_invisible(c) => {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        }
        c => shown.push(c),
    }
}

/// The text in at most `columns` terminal columns; what does not fit is cut from the middle.
#[must_use]
pub fn shorten(text: &str, columns: usize) -> Cow<'_, str> {
    if text.width() <= columns {
        return text.into();
    }
    let room = columns.saturating_sub(1);
    let head = fitting(text.chars(), room.div_ceil(2));
    let tail = fitting(text.chars().rev(), room - room.div_ceil(2));
    let end: Vec<char> = text.chars().rev().take(tail).collect();
    text.chars().take(head).chain(Some('…')).chain(end.into_iter().rev()).collect::<String>().into()
}

/// How many of the characters fit.
fn fitting(chars: impl Iterator<Item = char>, columns: usize) -> usize {
    let mut used = 0;
    chars
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= columns
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_becomes_visible() {
        for (text, shown) in [
            ("plain.py", "plain.py"),
            ("a\x1b[2Jb", "a\\x1b[2Jb"),
            ("one\ntwo\r\t\0", "one\\ntwo\\r\\t\\x00"),
            ("\u{9b}31m", "\\x9b31m"),
            ("exe\u{202e}yp.txt", "exe\\u{202e}yp.txt"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\\x1b", "\\\\x1b"),
            ("naïve 日本 \u{fffd}", "naïve 日本 \u{fffd}"),
        ] {
            assert_eq!(escape(text), shown);
            assert_eq!(visible(shown), shown, "the gate leaves escaped text alone");
        }
    }

    #[test]
    fn long_names_are_bounded() {
        let long = "a".repeat(100_000) + "\x1b" + &"z".repeat(100_000);
        let shown = escape(&long);
        assert_eq!(shown.chars().count(), LONGEST + 1);
        assert!(shown.starts_with("aaa") && shown.ends_with("zzz") && shown.contains('…'));
        let wide = "日".repeat(LONGEST / 2);
        assert_eq!(escape(&wide), wide, "long in bytes is not long in characters");
    }

    #[test]
    fn the_middle_is_cut() {
        assert_eq!(shorten("dataset.py:41", 13), "dataset.py:41");
        assert_eq!(shorten("dataset.py:41", 8), "data…:41");
        assert_eq!(shorten("日本日本日本", 7), "日…本");
        assert_eq!(shorten("abc", 1), "…");
    }
}
