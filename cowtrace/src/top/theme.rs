//! How things look: few colours, that can be told apart on light and dark, none with `NO_COLOR`; and characters that a
//! terminal without UTF-8 has.

use std::ffi::OsStr;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::bar;

/// How things look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Colours may be used.
    pub color: bool,
    /// Only ASCII may be used.
    pub ascii: bool,
}

/// Bars of a terminal that has nothing but ASCII.
const ASCII_BARS: bar::Set<'static> = bar::Set {
    full: "#",
    seven_eighths: "#",
    three_quarters: "*",
    five_eighths: "*",
    half: "+",
    three_eighths: "-",
    one_quarter: "-",
    one_eighth: ".",
    empty: " ",
};

/// What stands for the characters that cowtrace writes itself.
const PLAIN: &[(&str, &str)] =
    &[("…", "~"), ("↓", "v"), ("↑", "^"), ("·", "|"), ("–", "-"), ("×", "x"), ("µ", "u"), ("→", ">")];

impl Theme {
    fn colored(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    /// What comes first to the eye.
    pub(super) const fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What may be overlooked.
    pub(super) const fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What must not be overlooked.
    pub(super) fn alarm(self) -> Style {
        self.colored(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Copies over time.
    pub(super) fn bars(self) -> Style {
        self.colored(Color::Green)
    }

    /// What is going on right now.
    pub(super) fn moving(self) -> Style {
        self.colored(Color::Magenta)
    }

    /// Titles.
    pub(super) fn title(self) -> Style {
        self.colored(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// Headings of a pane.
    pub(super) fn heading(self, focused: bool) -> Style {
        let style = self.title();
        if focused {
            style.add_modifier(Modifier::REVERSED)
        } else {
            style.add_modifier(Modifier::UNDERLINED)
        }
    }

    /// The row that keys are for.
    pub(super) const fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) const fn bar_set(self) -> bar::Set<'static> {
        if self.ascii { ASCII_BARS } else { bar::NINE_LEVELS }
    }

    /// The last gate before the terminal: where there is only ASCII, nothing else leaves.
    pub(super) fn gate(self, buffer: &mut Buffer) {
        if !self.ascii {
            return;
        }
        for cell in &mut buffer.content {
            if !cell.symbol().is_ascii() {
                let plain = PLAIN.iter().find(|(symbol, _)| *symbol == cell.symbol());
                let plain = plain.map_or("?", |(_, plain)| *plain);
                cell.set_symbol(plain);
            }
        }
    }
}

/// Whether a terminal shows nothing but ASCII, as the variables `LC_ALL`, `LC_CTYPE` and `LANG` have it: the first that
/// is not empty counts.
#[must_use]
pub fn is_ascii(variables: [Option<&OsStr>; 3]) -> bool {
    let locale = variables.into_iter().flatten().find(|value| !value.is_empty());
    let locale = locale.map(|value| value.to_string_lossy().to_ascii_lowercase());
    !locale.is_some_and(|locale| locale.contains("utf-8") || locale.contains("utf8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales() {
        let ascii = |all: &str, ctype: &str, lang: &str| {
            is_ascii([all, ctype, lang].map(|value| (!value.is_empty()).then_some(value.as_ref())))
        };
        assert!(!ascii("", "", "de_DE.UTF-8"));
        assert!(!ascii("C.utf8", "", "C"));
        assert!(ascii("C", "en_US.UTF-8", "en_US.UTF-8"));
        assert!(ascii("", "", ""));
        assert!(ascii("", "", "de_DE.ISO-8859-1"));
    }
}
