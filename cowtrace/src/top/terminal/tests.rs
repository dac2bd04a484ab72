use std::env;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

use super::*;

/// What the program that the test is when this is set does with its terminal.
const MODE: &str = "COWTRACE_TEST_TERMINAL";
const LEFT: &str = "\x1b[?1049l";
const SHOWN: &str = "\x1b[?25h";

/// Whatever happens, the terminal is as it was: its settings, its screen, its cursor; and what a panic says stands behind.
#[test]
fn given_back() {
    if let Ok(mode) = env::var(MODE) {
        return program(&mode);
    }
    for mode in ["end", "panic", "panic while drawing", "panic elsewhere"] {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        let before = tcgetattr(&slave).unwrap();
        let stream = || Stdio::from(slave.try_clone().unwrap());
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["top::terminal::tests::given_back", "--exact", "--nocapture", "--test-threads=1"])
            .env(MODE, mode)
            .env_remove("RUST_BACKTRACE")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        let mut master = File::from(master);
        let reader = thread::spawn(move || {
            let mut text = Vec::new();
            let mut piece = [0; 4096];
            // Ends with an error when the last of the terminal's other side is closed.
            while let Ok(read @ 1..) = master.read(&mut piece) {
                text.write_all(&piece[..read]).unwrap();
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        let begun = Instant::now();
        let status = child.wait().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "{mode}");
        assert_eq!(tcgetattr(&slave).unwrap(), before, "{mode}");
        drop(slave);
        let text = reader.join().unwrap();
        let panics = matches!(mode, "panic" | "panic while drawing");
        assert_eq!(status.success(), !panics, "{mode}: {text}");
        assert!(text.contains("drawn"), "{mode}: {text}");
        let left = text.rfind(LEFT).unwrap_or_else(|| panic!("{mode}: {text}"));
        assert!(text.contains(SHOWN), "{mode}: {text}");
        if mode != "end" {
            assert!(text[left..].contains("on purpose"), "{mode}: {text}");
        }
    }
}

/// Takes the terminal over, and ends in one of many ways.
fn program(mode: &str) {
    let mut screen = Screen::enter(&io::stderr()).unwrap();
    screen.draw(|frame| frame.render_widget("drawn", frame.area())).unwrap();
    let raw = tcgetattr(io::stdin()).unwrap();
    assert!(!raw.local_flags.contains(LocalFlags::ICANON), "keys come raw");
    match mode {
        "end" => drop(screen),
        "panic" => panic!("on purpose"),
        "panic while drawing" => {
            screen.draw(|_| panic!("on purpose")).unwrap();
        }
        "panic elsewhere" => {
            let other = thread::spawn(|| panic!("on purpose"));
            assert!(other.join().is_err());
            let drawn = screen.draw(|frame| frame.render_widget("again", frame.area())).unwrap();
            assert!(!drawn, "nobody draws on a terminal that was given back");
        }
        other => panic!("{other}"),
    }
}
