//! How text of the target is written as JSON: what a terminal could act on or hide is an escape, so that printing a
//! line is safe and reading it gives back the same string.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Writes a value as compact JSON, with every invisible character as `\uXXXX`.
///
/// # Errors
///
/// When `out` cannot be written.
pub fn write<W: io::Write + ?Sized, T: Serialize>(out: &mut W, value: &T) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Visible)).map_err(io::Error::from)
}

/// True for characters that a terminal acts on, or that show nothing: controls, bidirectional overrides, zero-width
/// and filling characters, separators of lines, tags.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Compact, with every invisible character escaped.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte < 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut done = 0;
        for (at, c) in fragment.char_indices().filter(|(_, c)| is_invisible(*c)) {
            writer.write_all(&fragment.as_bytes()[done..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            done = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[done..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the target calls itself, the line has no character that a terminal acts on, and nothing is changed.
    #[test]
    fn text_is_visible_and_survives() {
        for text in [
            "plain",
            "\x1b[31m",
            "a\u{9b}31m",
            "x\u{202e}y",
            "\u{7f}\u{200b}",
            "é\n\u{e0041}",
            "\\u202e\"",
            "",
        ] {
            let mut out = Vec::new();
            write(&mut out, &text).unwrap();
            let line = String::from_utf8(out).unwrap();
            assert!(!line.chars().any(is_invisible), "{line:?}");
            assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }
}
