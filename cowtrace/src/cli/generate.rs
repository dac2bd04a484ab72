//! What is made from the command line's own definition: completions for shells, and manual pages.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

pub(super) const SHELLS: &str = "\
Examples:
  F=~/.local/share/bash-completion/completions/cowtrace
  cowtrace completions bash > $F
  cowtrace completions zsh > ~/.zfunc/_cowtrace    a folder in $fpath
  cowtrace completions fish > ~/.config/fish/completions/cowtrace.fish";

pub(super) const READING: &str = "\
Examples:
  cowtrace man | man -l -                          read the first page
  sudo cowtrace man -o /usr/local/share/man/man1   install all of them";

/// What clap reads of `completions`.
#[derive(Args, Debug)]
pub(super) struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub(super) shell: Shell,
}

/// What clap reads of `man`.
#[derive(Args, Debug)]
pub(super) struct ManArguments {
    /// Folder for all pages, one for each subcommand; without it, the first page goes to stdout
    #[arg(short, long, value_name = "FOLDER")]
    pub(super) output: Option<PathBuf>,
}

/// Section of the manual: commands.
const SECTION: &str = "1";

/// Writes the completions for a shell.
///
/// # Errors
/// Those of `out`.
pub fn completions(shell: Shell, command: &mut Command, out: &mut dyn Write) -> io::Result<()> {
    let name = command.get_name().to_owned();
    // The generator panics when it cannot write, as when a pipe closes.
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    out.write_all(&script)
}

/// A manual page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Name of its file, as in `cowtrace-record.1`.
    pub file: String,
    /// Its source in the language of `man`.
    pub source: Vec<u8>,
}

/// The manual: a page for the command, first, and one for each of its subcommands.
///
/// # Errors
/// If a page cannot be put together.
pub fn man(command: &Command) -> io::Result<Vec<Page>> {
    let mut command = command.clone().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    pages_of(&command, &mut pages)?;
    Ok(pages)
}

/// Writes the manual's pages into a folder, which is made if it is not there; returns their files.
///
/// # Errors
/// If one cannot be written.
pub fn write_man(command: &Command, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let pages = man(command)?;
    std::fs::create_dir_all(folder)?;
    let write = |page: Page| {
        let path = folder.join(page.file);
        File::create(&path)?.write_all(&page.source)?;
        Ok(path)
    };
    pages.into_iter().map(write).collect()
}

fn pages_of(command: &Command, pages: &mut Vec<Page>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    pages.push(Page { file: format!("{name}.{SECTION}"), source: page(command, name)? });
    command.get_subcommands().filter(|sub| !sub.is_hide_set()).try_for_each(|sub| pages_of(sub, pages))
}

fn page(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    let source = format!("cowtrace {}", env!("CARGO_PKG_VERSION"));
    let mut command = command.clone();
    // As `--help` has it; what the generator makes itself leaves out the values of options.
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    let command = command.override_usage(usage).subcommand_help_heading("SUBCOMMANDS");
    let man = Man::new(command.clone()).title(name.to_uppercase()).section(SECTION).source(source);
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut out)?;
    }
    if command.get_subcommands().any(|sub| !sub.is_hide_set()) {
        man.render_subcommands_section(&mut out)?;
    }
    if let Some(text) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        out.extend(closing(&text.to_string()));
    }
    Ok(out)
}

/// The text below the options: a line such as `Examples:` or `Exit status: …` begins a section; lines that are indented
/// stay as they are, for they are commands and tables.
fn closing(text: &str) -> Vec<u8> {
    let mut roff = Roff::new();
    let (mut literal, mut titled) = (false, false);
    for line in text.lines() {
        let (title, line) = match line.split_once(':') {
            Some((title, rest)) if is_title(title) => (Some(title), rest.trim()),
            _ => (None, line),
        };
        let stays = line.starts_with(' ');
        if literal && !stays {
            roff.control("fi", []);
        }
        if let Some(title) = title {
            roff.control("SH", [title.to_uppercase().as_str()]);
        } else if line.trim().is_empty() {
            roff.control("PP", []);
        } else if !titled {
            roff.control("SH", ["NOTES"]);
        }
        titled = true;
        if stays && !literal {
            roff.control("nf", []);
        }
        literal = stays;
        if !line.trim().is_empty() {
            roff.text([roman(line)]);
        }
    }
    if literal {
        roff.control("fi", []);
    }
    roff.render().into_bytes()
}

/// Whether what stands before a colon is a title: one or two words at the beginning of a line, the first with a capital.
fn is_title(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphabetic() || c == ' ';
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(letters)
        && text.split(' ').count() <= 2
}

#[cfg(test)]
mod tests {
    use std::process::{Command as Process, Stdio};

    use clap::{Arg, ArgAction, ValueEnum as _};

    use super::*;

    /// Two levels, an option with values, and words that the languages of shells and of `man` could take for theirs.
    fn command() -> Command {
        let sub = Command::new("record")
            .about("Keeps a trace; isn't \"shown\" `at` $once")
            .arg(
                Arg::new("output")
                    .short('o')
                    .long("output")
                    .value_name("FILE")
                    .help(".dots, 'quotes' and \\backslashes"),
            )
            .arg(Arg::new("by").long("by").value_parser(["operation", "write"]));
        Command::new("cowtrace")
            .version("1.2.3")
            .about("Names the write")
            .arg(Arg::new("verbose").short('v').action(ArgAction::Count).help("'twas $HOME [and] more: told"))
            .subcommand(sub)
            .subcommand(Command::new("hidden").hide(true))
            .after_help("Examples:\n  sudo cowtrace -- true   one\n  .hidden                 two\n\nExit status: the command's own\n  125 it failed")
    }

    fn is_installed(program: &str) -> bool {
        let found = std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
        if !found {
            println!("SKIPPED (allowed): {program} is not installed");
        }
        found
    }

    /// What a program says of a text on its input.
    fn check(program: &str, words: &[&str], input: &[u8]) -> (bool, String) {
        let mut child = Process::new(program)
            .args(words)
            .env("LC_ALL", "C.UTF-8")
            .env("MANROFFSEQ", "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    #[test]
    fn shells_accept_their_completions() {
        for &shell in Shell::value_variants() {
            let mut script = Vec::new();
            completions(shell, &mut command(), &mut script).unwrap();
            let text = String::from_utf8(script.clone()).unwrap();
            for word in ["cowtrace", "record", "output"] {
                assert!(text.contains(word), "{shell}: {word}");
            }
            let (program, words): (_, &[&str]) = match shell {
                Shell::Bash => ("bash", &["-n"]),
                Shell::Zsh => ("zsh", &["-n"]),
                Shell::Fish => ("fish", &["-n"]),
                _ => continue,
            };
            if is_installed(program) {
                assert_eq!(check(program, words, &script), (true, String::new()), "{program}");
            }
        }
    }

    #[test]
    fn a_closed_pipe_is_an_error_and_no_panic() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = completions(Shell::Bash, &mut command(), &mut Closed).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_page_for_each_subcommand() {
        let pages = man(&command()).unwrap();
        let files: Vec<_> = pages.iter().map(|page| page.file.as_str()).collect();
        assert_eq!(files, ["cowtrace.1", "cowtrace-record.1"]);
        let text = String::from_utf8(pages[0].source.clone()).unwrap();
        for part in
            [".TH COWTRACE 1", ".SH EXAMPLES", ".SH \"EXIT STATUS\"", "125 it failed", "cowtrace\\-record(1)"]
        {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(!text.contains("\n.hidden"), "a line of text was taken for a request:\n{text}");
        let folder = std::env::temp_dir().join(format!("cowtrace-man-{}", std::process::id())).join("new");
        let written = write_man(&command(), &folder).unwrap();
        assert_eq!(written, [folder.join("cowtrace.1"), folder.join("cowtrace-record.1")]);
        assert_eq!(std::fs::read(&written[0]).unwrap(), pages[0].source);
        std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }

    #[test]
    fn man_has_nothing_to_say_against_the_pages() {
        for Page { file, source } in man(&command()).unwrap() {
            if is_installed("man") {
                assert_eq!(
                    check("man", &["--warnings", "-l", "-"], &source),
                    (true, String::new()),
                    "{file}"
                );
            }
            if is_installed("groff") {
                let words = ["-ww", "-man", "-Tutf8", "-z"];
                assert_eq!(check("groff", &words, &source), (true, String::new()), "{file}");
            }
        }
    }

    #[test]
    fn titles() {
        assert!(is_title("Examples") && is_title("Exit status"));
        for text in ["  sudo cowtrace", "the command", "", "All of that was", "125 it"] {
            assert!(!is_title(text), "{text}");
        }
    }
}
