//! What cowtrace is to the program it runs and to the shell that runs it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cowtrace_tests::process::{Output, expect_state, state_of};
use cowtrace_tests::{Finished, Run, Started, Trace, binary, check, needs, programs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, chown};
use tempfile::TempDir;

const TIMEOUT: Duration = Duration::from_secs(30);
/// A user without rights, as numbers: no name is needed.
const NOBODY: u32 = 65534;

fn folder() -> TempDir {
    TempDir::with_prefix("cowtrace-cli-").expect("a temporary folder")
}

/// Runs a command with these words.
fn run(command: impl AsRef<Path>, words: &[&str]) -> Finished {
    let mut command = Command::new(command.as_ref());
    Started::new(command.args(words), b"", Output::Pipe, TIMEOUT).finish()
}

fn shell(script: &str) -> Run {
    Run::new("/bin/sh").arg("-c").arg(script)
}

/// The words of a failure: some, few, and no backtrace.
fn says_why(finished: &Finished) {
    let text = finished.stderr_text();
    assert!(!text.trim().is_empty(), "no word about what is wrong");
    assert!(text.lines().count() <= 6, "too many words: {text}");
    for word in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!text.contains(word), "{text}");
    }
}

/// The program's exit status is passed on, and 128+n for a signal.
#[test]
fn exit_status_is_the_programs() {
    if !needs::tracing() {
        return;
    }
    for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)] {
        assert_eq!(shell(script).cowtrace().code(), status, "{script}");
        assert_eq!(shell(script).flag("-q").cowtrace().code(), status, "-q, {script}");
    }
}

/// A command that does not exist, and one that is no program.
#[test]
fn command_that_cannot_be_run() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "no program").expect("a file");
    for (program, status) in
        [(Path::new("/nonexistent/command"), 127), (Path::new("no-such-command-here"), 127), (&plain, 126)]
    {
        let finished = Run::new(program).cowtrace();
        assert_eq!(finished.code(), status, "{}: {}", program.display(), finished.stderr_text());
        says_why(&finished);
    }
}

/// Without root: 125, a sentence, and the program is not run.
#[test]
fn without_root() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).expect("our folder");
    // Where everybody may read it, wherever it was built.
    let binary = folder.path().join("cowtrace");
    std::fs::copy(binary::cowtrace(), &binary).expect("the binary can be copied");
    let ran = folder.path().join("ran");
    let (nobody, binary) = (NOBODY.to_string(), binary.display().to_string());
    let words = ["--reuid", &nobody, "--regid", &nobody, "--clear-groups", &binary, "--", "touch"];
    let finished = run("setpriv", &[&words[..], &[&ran.display().to_string()]].concat());
    assert_eq!(finished.code(), 125, "{}", finished.stderr_text());
    says_why(&finished);
    assert!(!ran.exists(), "the program was run all the same");
}

/// Wrong usage: 2.
#[test]
fn wrong_usage() {
    for words in
        [&["--no-such-flag"][..], &["-d", "soon", "--", "true"], &["--buffer", "some", "--", "true"], &[]]
    {
        let finished = run(binary::cowtrace(), words);
        assert_eq!(finished.code(), 2, "{words:?}: {}", finished.stderr_text());
        assert!(!finished.stderr.is_empty(), "{words:?}");
    }
}

/// A file that cannot be written is found before the program runs.
#[test]
fn unwritable_output() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let is_a_folder = folder.path().join("folder.jsonl");
    std::fs::create_dir(&is_a_folder).expect("a folder");
    for output in [Path::new("/nonexistent/folder/trace.jsonl"), &is_a_folder] {
        let ran = folder.path().join("ran");
        let finished = Run::new("touch").arg(&ran).flag("-q").flag("-o").flag(output).cowtrace();
        assert_eq!(finished.code(), 125, "{}: {}", output.display(), finished.stderr_text());
        says_why(&finished);
        assert!(!ran.exists(), "the program was run before {} was found unwritable", output.display());
    }
}

/// The program's input, output and errors are the same bytes with cowtrace as without; the report follows, or is a file.
#[test]
fn program_is_not_disturbed() {
    if !needs::tracing() {
        return;
    }
    let input: Vec<u8> =
        (0..1_000_003_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let echo = || Run::new(programs::built("echo")).input(&input);
    let alone = echo().alone();
    assert_eq!((alone.code(), alone.stdout == input), (7, true));

    let traced = echo().trace_any().finished;
    assert_eq!(traced.code(), 7, "{}", traced.stderr_text());
    assert!(traced.stdout == alone.stdout, "stdout differs");
    assert_eq!(traced.stderr, alone.stderr, "stderr, with -q");

    let reported = echo().cowtrace();
    assert_eq!(reported.code(), 7);
    assert!(reported.stdout == alone.stdout, "stdout differs where a report is made");
    assert!(reported.stderr.starts_with(&alone.stderr), "the report does not come last");
    assert!(reported.stderr.len() > alone.stderr.len(), "no report");
}

/// Ctrl-C goes to the program, which decides; the report still appears, and the file.
#[test]
fn interrupt_goes_to_the_program() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let path = folder.path().join("trace.jsonl");
    let script = "trap 'kill $!; echo caught; exit 9' INT; sleep 60 & echo ready; wait";
    let started = shell(script).flag("-o").flag(&path).start();
    started.expect_output("ready");
    started.signal_group(Signal::SIGINT);
    let finished = started.finish();
    assert_eq!(finished.code(), 9, "{}", finished.stderr_text());
    assert!(finished.stdout_text().contains("caught"), "{}", finished.stdout_text());
    assert!(!finished.stderr.is_empty(), "no report");
    let trace = Trace::read(&path);
    check::nothing_lost(&trace);
    check::totals_add_up(&trace);
}

/// Ctrl-C that ends the program ends it as a signal does.
#[test]
fn interrupt_ends_the_program() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let path = folder.path().join("trace.jsonl");
    let started = shell("echo ready; exec sleep 60").flag("-q").flag("-o").flag(&path).start();
    started.expect_output("ready");
    started.signal_group(Signal::SIGINT);
    assert_eq!(started.finish().code(), 130);
    check::totals_add_up(&Trace::read(&path));
}

/// A program that closes its standard error does not take the report with it.
#[test]
fn program_that_closes_stderr() {
    if !needs::tracing() {
        return;
    }
    let finished = shell("exec 2>&-; /bin/true; exit 5").cowtrace();
    assert_eq!(finished.code(), 5);
    assert!(!finished.stderr.is_empty(), "no report");
}

/// A command that is stopped when the time is over does not hang cowtrace; it says that the command is left stopped. What
/// the kernel then does with a stopped process of an orphaned group (SIGHUP, SIGCONT) is not cowtrace's.
#[test]
fn stopped_command_does_not_hang_cowtrace() {
    if !needs::tracing() {
        return;
    }
    let stopped = StoppedAfterOneSecond::new();
    assert_eq!(stopped.finished.code(), 128 + 19, "{}", stopped.finished.stderr_text());
    assert!(stopped.finished.stderr_text().contains("left stopped"), "{}", stopped.finished.stderr_text());
    check::totals_add_up(&stopped.trace);
    let command = stopped.trace.process(u32::try_from(stopped.command.as_raw()).expect("positive"));
    assert_eq!((command.end, command.exit_status), (None, None), "{command:?}");
}

/// The same in a script, whose shell is in cowtrace's process group: then the kernel does not wake that group's stopped
/// processes with SIGHUP and SIGCONT when cowtrace ends.
#[test]
fn stopped_command_of_a_script_is_left_stopped() {
    if !needs::tracing() {
        return;
    }
    let script = format!(
        "{} -q -d 1 -- sh -c 'echo command $$; kill -STOP $$; exit 5'; echo status $?.; sleep 60",
        binary::cowtrace().display()
    );
    let started = Started::new(Command::new("/bin/sh").args(["-c", &script]), b"", Output::Pipe, TIMEOUT);
    started.expect_output("status 147.");
    stays(command_of(&started), "T");
}

/// The process id that the command wrote as its first line's last word.
fn command_of(started: &Started) -> Pid {
    started.expect_output("\n");
    let text = started.output_so_far();
    let word = text.lines().next().and_then(|line| line.split(' ').next_back()).expect("a word");
    Pid::from_raw(word.parse().expect("a process id"))
}

/// A command that stops itself, traced for a second; it is killed with cowtrace's process group when this goes.
struct StoppedAfterOneSecond {
    _group: Started,
    command: Pid,
    trace: Trace,
    finished: Finished,
}

impl StoppedAfterOneSecond {
    fn new() -> Self {
        let folder = folder();
        let path = folder.path().join("trace.jsonl");
        let mut started =
            shell("echo $$; kill -STOP $$; exit 5").flag("-d").flag("1").flag("-o").flag(&path).start();
        let command = command_of(&started);
        expect_state(command, "T");
        let begin = Instant::now();
        let finished = started.finish_leaving_others();
        assert!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
        assert!(finished.stderr_text().contains("not seen"), "no report: {}", finished.stderr_text());
        Self { _group: started, command, trace: Trace::read(&path), finished }
    }
}

/// For half a second the process is in this state whenever it is looked at.
fn stays(pid: Pid, state: &str) {
    for _ in 0..50 {
        let now = state_of(pid);
        assert_eq!(now.as_deref(), Some(state), "state of process {pid}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A command that stops and is continued goes on, and passes its status on.
#[test]
fn continued_command_goes_on() {
    if !needs::tracing() {
        return;
    }
    let started = shell("echo $$; kill -STOP $$; /bin/true; exit 9").start();
    let command = command_of(&started);
    expect_state(command, "T");
    started.expect_error("stopped by SIGSTOP");
    kill(command, Signal::SIGCONT).expect("it is there");
    let finished = started.finish();
    assert_eq!(finished.code(), 9, "{}", finished.stderr_text());
    assert!(finished.stderr_text().contains("not seen"), "no report: {}", finished.stderr_text());
}

/// Ctrl-C twice ends cowtrace, with its report, whatever the command thinks of Ctrl-C; the command goes on.
#[test]
fn second_interrupt_ends_cowtrace() {
    if !needs::tracing() {
        return;
    }
    let folder = folder();
    let path = folder.path().join("trace.jsonl");
    let script = "trap '' INT; echo $$; sleep 8; exit 4";
    let mut started = shell(script).flag("-o").flag(&path).start();
    let command = command_of(&started);
    started.signal_group(Signal::SIGINT);
    started.expect_error("press Ctrl-C again");
    started.signal_group(Signal::SIGINT);
    started.expect_error("not seen");
    let begin = Instant::now();
    let finished = started.finish_leaving_others();
    let (took, state) = (begin.elapsed(), state_of(command));
    assert_eq!(finished.code(), 130, "after {took:?}: {}", finished.stderr_text());
    assert!(took < Duration::from_secs(4), "it took {took:?}");
    assert!(matches!(state.as_deref(), Some("S" | "R")), "the command did not go on: {state:?}");
    check::totals_add_up(&Trace::read(&path));
}

/// Under sudo the command runs as the caller, and the caller owns the file.
#[test]
fn under_sudo() {
    if !needs::tracing() {
        return;
    }
    let (finished, path, _folder) = with_sudo_variables(&[]);
    assert_eq!(finished.stdout_text().split_whitespace().collect::<Vec<_>>(), ["65534", "65534"]);
    let metadata = path.metadata().expect("the trace was written");
    assert_eq!((metadata.uid(), metadata.gid()), (NOBODY, NOBODY), "owner of the trace");
}

/// With `--as-root` the command keeps root; the file still belongs to the caller.
#[test]
fn under_sudo_as_root() {
    if !needs::tracing() {
        return;
    }
    let (finished, path, _folder) = with_sudo_variables(&["--as-root"]);
    assert_eq!(finished.stdout_text().split_whitespace().collect::<Vec<_>>(), ["0", "0"]);
    assert_eq!(path.metadata().expect("the trace was written").uid(), NOBODY, "owner of the trace");
}

/// Runs `id` in an environment as sudo makes it.
fn with_sudo_variables(flags: &[&str]) -> (Finished, PathBuf, TempDir) {
    let folder = folder();
    chown(folder.path(), Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY))).expect("root may");
    let path = folder.path().join("trace.jsonl");
    let run =
        shell("id -u; id -g").env("SUDO_UID", "65534").env("SUDO_GID", "65534").env("SUDO_USER", "nobody");
    let run = flags.iter().fold(run, |run, flag| run.flag(flag));
    let finished = run.flag("-q").flag("-o").flag(&path).cowtrace();
    assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
    check::totals_add_up(&Trace::read(&path));
    (finished, path, folder)
}
