//! A terminal with a screen, in which a shell runs: tmux, with a server of its own.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long something may take to appear on the screen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the screen is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A terminal.
#[derive(Debug)]
pub struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// A terminal of this size, with a shell at its prompt.
    #[must_use]
    pub fn new(width: u16, height: u16) -> Self {
        let terminal = Self { folder: tempfile::tempdir().expect("a folder for the terminal") };
        let (width, height) = (width.to_string(), height.to_string());
        let size = ["new-session", "-d", "-x", &width, "-y", &height];
        let shell = ["env", "-u", "NO_COLOR", "LC_ALL=C.UTF-8", "PS1=$ ", "sh"];
        terminal.tmux(&[["-f", "/dev/null"].as_slice(), &size, &shell].concat());
        terminal.until("$");
        terminal
    }

    /// A path in a folder that goes with the terminal.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tmux(&self, words: &[&str]) -> Output {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(self.folder.path().join("socket"))
            .args(words)
            .env_remove("TMUX")
            .output()
            .expect("tmux can be run");
        assert!(output.status.success(), "tmux {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn told(&self, words: &[&str]) -> String {
        String::from_utf8_lossy(&self.tmux(words).stdout).into_owned()
    }

    /// Types text.
    pub fn type_in(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
    }

    /// Presses a key by tmux's name for it: `Enter`, `C-c`, `Down`.
    pub fn press(&self, key: &str) {
        self.tmux(&["send-keys", "--", key]);
    }

    /// Types a command line and runs it.
    pub fn run(&self, line: &str) {
        self.type_in(line);
        self.press("Enter");
    }

    /// Changes the size.
    pub fn resize(&self, width: u16, height: u16) {
        self.tmux(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// The screen.
    #[must_use]
    pub fn screen(&self) -> String {
        self.told(&["capture-pane", "-p"])
    }

    /// The screen with its colours, as escape sequences.
    #[must_use]
    pub fn colored(&self) -> String {
        self.told(&["capture-pane", "-p", "-e"])
    }

    /// The screen and what has left it at the top, lines joined that the terminal had to break.
    #[must_use]
    pub fn history(&self) -> String {
        self.told(&["capture-pane", "-p", "-J", "-S", "-"])
    }

    /// What programs may leave behind: the alternate screen is shown, the cursor is.
    #[must_use]
    pub fn flags(&self) -> String {
        self.told(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]).trim().to_owned()
    }

    /// Waits until the screen has a text; returns the screen.
    pub fn until(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// Waits until the screen is as it should be; returns it.
    ///
    /// # Panics
    /// If it never is.
    pub fn wait(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if is(&screen) {
                return screen;
            }
            assert!(begun.elapsed() < PATIENCE, "{what} never came:\n{}", self.history());
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A server of its own: nobody else's is ended.
        let _ =
            Command::new("tmux").arg("-S").arg(self.folder.path().join("socket")).arg("kill-server").output();
    }
}
