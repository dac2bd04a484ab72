//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::{Pane, State};

/// Keys and what they do, for the help.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("q, Ctrl-C", "end the view and the trace; the command goes on"),
    ("p, Space", "the picture stands still, or moves again"),
    ("Tab", "the other table"),
    ("arrows, PgUp, PgDn", "move in the table; also j, k, Home, End"),
    ("Enter", "the causes of the chosen process alone, or of all again"),
    ("b", "the rows of causes by operation, write, site, process, ..."),
    ("s", "sort the table by something else"),
    ("r", "sort it the other way round"),
    ("/", "only rows with this text; Enter keeps it, Esc drops it"),
    ("Esc", "all rows and all processes again"),
    ("o", "show the command's output, or hide it"),
    ("?", "this help"),
];

/// What is shown, for the help.
pub(super) const COLUMNS: &[(&str, &str)] = &[
    ("inherited", "private memory that a process had when it was forked"),
    ("copied", "what it wrote to of memory that a fork shared"),
    ("still shared", "what it inherited and has never written to"),
    ("copies/s", "pages copied in the last second"),
    ("lost", "records without room in the kernel's buffer; sums count them"),
];

/// What a key asks of whoever draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To draw anew.
    Draw,
    /// To look at the trace again: other causes are asked for.
    Look,
    /// To end.
    Quit,
    /// Nothing.
    Nothing,
}

/// Does what a key is for. `page` = rows that PgUp and PgDn move by.
pub(super) fn press(state: &mut State, key: KeyEvent, page: usize) -> Asked {
    if key.kind == KeyEventKind::Release {
        return Asked::Nothing;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => return Asked::Quit,
        KeyCode::Char(_) if control => return Asked::Nothing,
        _ if state.typing => return type_in(state, key.code),
        _ => {}
    }
    if state.help {
        // Any key leads back.
        state.help = false;
        return if key.code == KeyCode::Char('q') { Asked::Quit } else { Asked::Draw };
    }
    match key.code {
        KeyCode::Char('q') => return Asked::Quit,
        KeyCode::Char('p' | ' ') => {
            state.paused = !state.paused;
            return if state.paused { Asked::Draw } else { Asked::Look };
        }
        KeyCode::Tab | KeyCode::BackTab => {
            state.pane = if state.pane == Pane::Processes { Pane::Causes } else { Pane::Processes };
        }
        KeyCode::Char('s') => state.next_order(),
        KeyCode::Char('r') => {
            let place = state.place();
            (place.reverse, place.at, place.from) = (!place.reverse, 0, 0);
        }
        KeyCode::Char('b') => {
            state.next_cut();
            return Asked::Look;
        }
        KeyCode::Enter if state.pane == Pane::Processes => {
            state.choose();
            return Asked::Look;
        }
        KeyCode::Esc => {
            state.show_all();
            return Asked::Look;
        }
        KeyCode::Char('/') => state.begin_filter(),
        KeyCode::Char('o') => state.show_output = Some(state.show_output != Some(true)),
        KeyCode::Char('?' | 'h') => state.help = true,
        KeyCode::Up | KeyCode::Char('k') => step(state, |at| at.saturating_sub(1)),
        KeyCode::Down | KeyCode::Char('j') => step(state, |at| at.saturating_add(1)),
        KeyCode::PageUp => step(state, |at| at.saturating_sub(page)),
        KeyCode::PageDown => step(state, |at| at.saturating_add(page)),
        KeyCode::Home | KeyCode::Char('g') => step(state, |_| 0),
        KeyCode::End | KeyCode::Char('G') => step(state, |_| usize::MAX),
        _ => return Asked::Nothing,
    }
    Asked::Draw
}

/// A key while a filter is typed.
fn type_in(state: &mut State, key: KeyCode) -> Asked {
    match key {
        KeyCode::Enter => state.typing = false,
        KeyCode::Esc => {
            state.typing = false;
            state.filter.clear();
        }
        KeyCode::Backspace => {
            state.filter.pop();
        }
        KeyCode::Char(c) => state.type_in(c),
        _ => return Asked::Nothing,
    }
    Asked::Draw
}

fn step(state: &mut State, to: impl Fn(usize) -> usize) {
    let rows = match state.pane {
        Pane::Processes => state.process_rows().len(),
        Pane::Causes => state.cause_rows().len(),
    };
    let place = state.place();
    place.at = to(place.at).min(rows.saturating_sub(1));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::REPORTS;
    use crate::report::live::{Now, Process};

    fn state() -> State {
        let mut state = State::new(&REPORTS[0]);
        let process = |n| Process { name: format!("{n} x"), ..Process::default() };
        let processes = (0..50).map(process).collect();
        state.update(Duration::ZERO, Now { processes, ..Now::default() });
        state
    }

    fn pressed(state: &mut State, code: KeyCode) -> Asked {
        press(state, KeyEvent::new(code, KeyModifiers::NONE), 10)
    }

    #[test]
    fn moving() {
        let mut state = state();
        let mut at = |code| {
            pressed(&mut state, code);
            state.processes.at
        };
        let keys = [KeyCode::Up, KeyCode::Down, KeyCode::PageDown, KeyCode::End, KeyCode::Down];
        assert_eq!(keys.map(&mut at), [0, 1, 11, 49, 49]);
        assert_eq!([KeyCode::PageUp, KeyCode::Home].map(&mut at), [39, 0]);
    }

    /// What is typed into a filter is no command, except Ctrl-C.
    #[test]
    fn typing() {
        let mut state = state();
        pressed(&mut state, KeyCode::Char('/'));
        for c in "4q".chars() {
            assert_eq!(pressed(&mut state, KeyCode::Char(c)), Asked::Draw);
        }
        pressed(&mut state, KeyCode::Backspace);
        assert_eq!(pressed(&mut state, KeyCode::Enter), Asked::Draw);
        assert_eq!((state.filter.as_str(), state.process_rows().len()), ("4", 14));
        assert_eq!(pressed(&mut state, KeyCode::Esc), Asked::Look);
        assert_eq!(state.process_rows().len(), 50);
        pressed(&mut state, KeyCode::Char('/'));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(press(&mut state, interrupt, 10), Asked::Quit);
    }

    #[test]
    fn commands() {
        let mut state = state();
        assert_eq!(pressed(&mut state, KeyCode::Char(' ')), Asked::Draw);
        assert!(state.paused);
        assert_eq!(pressed(&mut state, KeyCode::Char('p')), Asked::Look);
        assert_eq!(pressed(&mut state, KeyCode::Enter), Asked::Look);
        assert_eq!(state.only, Some(0));
        pressed(&mut state, KeyCode::Tab);
        assert_eq!(pressed(&mut state, KeyCode::Enter), Asked::Nothing, "causes have no causes");
        assert_eq!(pressed(&mut state, KeyCode::Char('b')), Asked::Look);
        pressed(&mut state, KeyCode::Char('?'));
        assert!(state.help);
        assert_eq!(pressed(&mut state, KeyCode::Char('x')), Asked::Draw);
        assert!(!state.help);
        assert_eq!(pressed(&mut state, KeyCode::Char('q')), Asked::Quit);
    }
}
