//! Starts real commands and looks at them from inside and outside.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid};

use super::super::child::{Change, Child};
use super::super::command::Command;
use super::super::identity::Account;
use super::super::output;
use super::{Inherited, suspend};
use crate::diag::{Failure, Notice};

/// A folder that everybody may write to, and that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cowtrace-launch-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str, mode: u32) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _best_effort = fs::remove_dir_all(&self.0);
    }
}

fn start(words: &[&str], account: Option<Account>) -> Result<Child, Notice> {
    start_with(words, account, &Inherited::capture().unwrap())
}

fn start_with(words: &[&str], account: Option<Account>, inherited: &Inherited) -> Result<Child, Notice> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let command = Command::new(&words, account).unwrap();
    suspend(&command, inherited).unwrap().release()
}

/// The status that cowtrace would exit with.
fn status(words: &[&str]) -> u8 {
    match start(words, None) {
        Ok(mut child) => child.wait().unwrap(),
        Err(notice) => Failure::from(notice).status,
    }
}

/// What a shell script writes to `$1`.
fn written(folder: &Folder, script: &str, account: Option<Account>) -> String {
    written_with(folder, script, account, &Inherited::capture().unwrap())
}

fn written_with(folder: &Folder, script: &str, account: Option<Account>, inherited: &Inherited) -> String {
    let path = folder.0.join(format!("{:?}", std::thread::current().id()));
    let words = ["sh", "-c", script, "sh", path.to_str().unwrap()];
    let mut child = start_with(&words, account, inherited).unwrap();
    assert_eq!(child.wait().unwrap(), 0);
    fs::read_to_string(path).unwrap()
}

fn nobody() -> Option<Account> {
    let (uid, gid) = (Uid::from_raw(65534), Gid::from_raw(65534));
    let groups = vec![gid, Gid::from_raw(54321)];
    let account =
        Account { name: "nobody".into(), uid, gid, groups, home: "/".into(), shell: "/bin/sh".into() };
    let root = Uid::effective().is_root();
    if !root {
        println!("SKIPPED (allowed): only root can become another user");
    }
    root.then_some(account)
}

#[test]
fn the_status_is_the_commands_own() {
    assert_eq!(status(&["true"]), 0);
    assert_eq!(status(&["sh", "-c", "exit 42"]), 42);
    assert_eq!(status(&["sh", "-c", "exit 255"]), 255);
    assert_eq!(status(&["sh", "-c", "kill -TERM $$"]), 128 + 15);
    assert_eq!(status(&["sh", "-c", "kill -KILL $$"]), 128 + 9);
    assert_eq!(status(&["sh", "-c", "kill -40 $$"]), 128 + 40);
}

#[test]
fn a_command_that_cannot_run_is_told_from_one_that_is_not_there() {
    let folder = Folder::new("statuses");
    assert_eq!(status(&["cowtrace-no-such-command"]), 127);
    assert_eq!(status(&["/no/such/file"]), 127);
    assert_eq!(status(&[""]), 127);
    assert_eq!(status(&["/etc"]), 126);
    assert_eq!(status(&["/etc/passwd"]), 126);
    assert_eq!(status(&["/etc/passwd/x"]), 126);
    assert_eq!(status(&[&folder.file("binary", "\x7fELF\0\0", 0o755)]), 126);
    let lost = folder.file("lost", "#! /no/such/interpreter -x\n", 0o755);
    assert_eq!(status(&[&lost]), 127);
    let notice = start(&[&lost], None).unwrap_err();
    assert!(matches!(&notice, Notice::NoInterpreter { interpreter, .. }
        if interpreter == Path::new("/no/such/interpreter")));
}

#[test]
fn a_script_without_a_first_line_is_run_by_the_shell() {
    let folder = Folder::new("script");
    let script = folder.file("script", "exit $(($# + $1))\n", 0o755);
    assert_eq!(status(&[&script, "40", "x"]), 42);
}

#[test]
fn nothing_runs_before_it_is_released() {
    let folder = Folder::new("order");
    let mark = folder.0.join("mark");
    let words = ["touch".into(), mark.clone().into()];
    let command = Command::new(&words, None).unwrap();
    let suspended = suspend(&command, &Inherited::capture().unwrap()).unwrap();
    // Until it waits in its pipe; a child that ran on would never be found waiting.
    let stat = format!("/proc/{}/stat", suspended.pid());
    while !fs::read_to_string(&stat).unwrap().contains(") S ") {
        std::thread::yield_now();
    }
    assert!(!mark.exists());
    assert_eq!(suspended.release().unwrap().wait().unwrap(), 0);
    assert!(mark.exists());
}

#[test]
fn a_command_that_is_never_released_ends_without_having_run() {
    let folder = Folder::new("dropped");
    let mark = folder.0.join("mark");
    let command = Command::new(&["touch".into(), mark.clone().into()], None).unwrap();
    let suspended = suspend(&command, &Inherited::capture().unwrap()).unwrap();
    let process = PathBuf::from(format!("/proc/{}", suspended.pid()));
    drop(suspended);
    assert!(!mark.exists() && !process.exists());
}

#[test]
fn one_that_is_killed_while_it_waits_ends_like_any_other() {
    let command = Command::new(&["true".into()], None).unwrap();
    let suspended = suspend(&command, &Inherited::capture().unwrap()).unwrap();
    nix::sys::signal::kill(suspended.pid(), Signal::SIGKILL).unwrap();
    assert_eq!(suspended.release().unwrap().wait().unwrap(), 128 + 9);
}

#[test]
fn stops_are_noticed_and_signals_arrive() {
    let mut child = start(&["sh", "-c", "kill -STOP $$; exit 3"], None).unwrap();
    let pid = child.pid();
    let mut next = || loop {
        match child.poll().unwrap() {
            // That it goes on is not always seen: it may have ended meanwhile.
            None | Some(Change::Continued) => std::thread::yield_now(),
            Some(change) => break change,
        }
    };
    assert_eq!(next(), Change::Stopped(Signal::SIGSTOP));
    nix::sys::signal::kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(next(), Change::Ended(3));
    // Its number may be another's by now.
    child.signal(Signal::SIGKILL).unwrap();
}

/// Rust ignores SIGPIPE, and tokio handles others: the command must see neither.
#[test]
fn signals_are_as_cowtrace_got_them() {
    let folder = Folder::new("signals");
    let inherited = Inherited::capture().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let _listening = runtime.block_on(async { super::super::signals::Signals::listen().unwrap() });
    // Listening has changed what would be captured now, of what was ignored before.
    let lines = written_with(&folder, "cat /proc/self/status >$1", None, &inherited);
    let mask = |name: &str| {
        let line = lines.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    assert_eq!(mask("SigIgn:"), inherited.ignored);
    assert_eq!(mask("SigBlk:"), 0);
    assert_eq!(mask("SigCgt:"), 0);
    assert_eq!(status(&["sh", "-c", "kill -PIPE $$"]), 128 + 13);
}

#[test]
fn no_descriptor_of_ours_is_left_open() {
    let folder = Folder::new("descriptors");
    let ours = output::create(&folder.0.join("ours"), None, false).unwrap();
    let listed = written(&folder, "ls -l /proc/self/fd >$1", None);
    assert!(!listed.contains("/ours") && !listed.contains("eventpoll"), "{listed}");
    drop(ours);
}

#[test]
fn it_stays_in_the_same_group_and_session() {
    let folder = Folder::new("group");
    // Fields after the name: state, parent, process group, session, terminal.
    let fields = |stat: &str| -> Vec<String> {
        let (_, rest) = stat.rsplit_once(')').unwrap();
        rest.split_whitespace().skip(2).take(3).map(str::to_owned).collect()
    };
    let inside = written(&folder, "cat /proc/$$/stat >$1", None);
    assert_eq!(fields(&inside), fields(&fs::read_to_string("/proc/self/stat").unwrap()));
}

/// Needs root.
#[test]
fn privileges_are_dropped_for_good() {
    let Some(account) = nobody() else { return };
    let folder = Folder::new("drop");
    let inside = written(
        &folder,
        "{ grep -E '^(Uid|Gid|Groups|CapEff|CapPrm|CapAmb):' /proc/$$/status; echo $HOME $USER $LOGNAME; } >$1",
        Some(account),
    );
    let expected = [
        "Uid:\t65534\t65534\t65534\t65534",
        "Gid:\t65534\t65534\t65534\t65534",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "/ nobody nobody",
    ];
    for line in expected {
        assert!(inside.contains(line), "{inside}");
    }
    assert!(inside.contains("Groups:\t54321 65534"), "{inside}");
}

/// A folder of root's in PATH must not turn "not found" into "permission denied". Needs root.
#[test]
fn commands_are_looked_for_with_the_users_rights() {
    let Some(account) = nobody() else { return };
    let folder = Folder::new("path");
    let closed = folder.0.join("closed");
    fs::create_dir(&closed).unwrap();
    folder.file("closed/tool", "#!/bin/sh\n", 0o755);
    folder.file("denied", "#!/bin/sh\n", 0o600);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let failed = |name: &str, path: &Path| {
        let mut command = Command::new(&[name.into()], Some(account.clone())).unwrap();
        let candidate = path.join(name).into_os_string().into_encoded_bytes();
        command.candidates = vec![std::ffi::CString::new(candidate).unwrap()];
        let started = suspend(&command, &Inherited::capture().unwrap()).unwrap().release();
        Failure::from(started.unwrap_err()).status
    };
    assert_eq!(failed("denied", &folder.0), 126);
    assert_eq!(failed("missing", &closed), 127);
}

/// Needs root.
#[test]
fn output_belongs_to_the_caller_and_obeys_the_callers_rights() {
    let Some(account) = nobody() else { return };
    // In a process of its own: the rights of a process are those of all its tests.
    if std::env::var_os("COWTRACE_TEST_ALONE").is_none() {
        let name = "process::launch::tests::output_belongs_to_the_caller_and_obeys_the_callers_rights";
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let done = alone.args(["--exact", name]).env("COWTRACE_TEST_ALONE", "1").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        return;
    }
    let folder = Folder::new("output");
    let path = folder.0.join("new");
    let created = output::create(&path, Some(&account), false).unwrap().metadata().unwrap();
    assert_eq!((created.uid(), created.gid(), created.mode() & 0o777), (65534, 65534, 0o600));
    assert!(Uid::effective().is_root() && fs::read("/proc/self/environ").is_ok());
    let rooted = folder.file("root", "keep", 0o644);
    let link = folder.0.join("link");
    std::os::unix::fs::symlink(&rooted, &link).unwrap();
    for path in [Path::new(&rooted), &link, Path::new("/etc/cowtrace-test")] {
        let refused = output::create(path, Some(&account), true).unwrap_err();
        assert!(matches!(refused, Notice::CannotWrite { caller: true, .. }), "{refused}");
    }
    assert_eq!(fs::read_to_string(rooted).unwrap(), "keep");
}
