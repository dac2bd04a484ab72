use std::path::PathBuf;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::record::piece::Piece;
use crate::record::sink::Listener as _;
use crate::report::REPORTS;
use crate::report::live::Live;
use crate::report::live::tests::pieces;
use crate::report::tests::traces;

const PLAIN: Theme = Theme { color: false, ascii: false };

/// A state that shows a trace, which came half a second by half a second.
fn state(name: &str) -> State {
    let (_, trace) = traces().into_iter().find(|(known, _)| *known == name).unwrap();
    let mut live = Live::default();
    let mut state = State::new(&REPORTS[0]);
    let mut at = Duration::ZERO;
    for piece in pieces(&trace, trace.faults.len().div_ceil(6).max(1)) {
        let is_due = matches!(piece, Piece::Faults(_) | Piece::State(_));
        live.take(piece);
        if is_due {
            at += Duration::from_millis(500);
            state.update(at, live.look(state.cut(), None, Some("/home/ann")));
        }
    }
    state
}

fn drawn(state: &mut State, (width, height): (u16, u16), theme: Theme) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|screen| frame(screen, state, theme)).unwrap();
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..height {
        let mut line = String::new();
        let mut x = 0;
        while x < width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            x += u16::try_from(symbol.width()).unwrap().max(1);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn golden(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/top").join(name);
    if std::env::var_os("COWTRACE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{name} differs (COWTRACE_BLESS=1 renews it):\n{actual}");
}

/// Every frame is as it was, at a small and a large terminal.
#[test]
fn frames() {
    for name in ["seed", "many", "lossy", "hostile", "nothing", "shim"] {
        for size in [(80, 24), (200, 50)] {
            golden(&format!("{name}-{}x{}.txt", size.0, size.1), &drawn(&mut state(name), size, PLAIN));
        }
    }
}

/// The ways in which a frame differs from the usual.
#[test]
fn ways() {
    let mut all = String::new();
    let mut add = |title: &str, text: String| all.push_str(&format!("--- {title}\n{text}"));
    let mut help = state("seed");
    help.help = true;
    add("help", drawn(&mut help, (80, 24), PLAIN));
    let mut paused = state("seed");
    (paused.paused, paused.typing, paused.filter) = (true, true, "7003".to_owned());
    add("paused, with a filter that is typed", drawn(&mut paused, (80, 24), PLAIN));
    let mut output = state("seed");
    (output.show_output, output.written) = (Some(true), 70_000);
    output.output = vec!["one".to_owned(), "\x1b[2Jtwo\t日本".to_owned()];
    output.notice = Some("cowtrace: something was said".to_owned());
    add("output and a notice", drawn(&mut output, (80, 24), PLAIN));
    add("nothing but ASCII", drawn(&mut state("seed"), (80, 24), Theme { ascii: true, ..PLAIN }));
    add("the least", drawn(&mut state("seed"), LEAST, PLAIN));
    add("too small", drawn(&mut state("seed"), (30, 6), PLAIN));
    golden("ways.txt", &all);
}

/// Whatever the size and the trace, a frame can be drawn, and no character of it acts on the terminal.
#[test]
fn every_size() {
    for (name, _) in traces() {
        for (width, height) in
            [(1, 1), (59, 15), (60, 14), (60, 15), (61, 40), (159, 31), (160, 16), (500, 200)]
        {
            let text = drawn(&mut state(name), (width, height), PLAIN);
            assert!(
                !text.chars().any(|c| c != '\n' && crate::record::json::is_invisible(c)),
                "{name}: {text}"
            );
            let ascii = drawn(&mut state(name), (width, height), Theme { ascii: true, ..PLAIN });
            assert!(ascii.is_ascii(), "{name}: {ascii}");
        }
    }
}
