//! What cannot be attached to is refused in one sentence that says what to do; what is in a container is traced by its
//! number outside.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cowtrace_tests::attach::{Attached, Stepped};
use cowtrace_tests::check::{self, Listing};
use cowtrace_tests::facts::parse;
use cowtrace_tests::process::{Output, Started, descendants, expect_state};
use cowtrace_tests::{Finished, binary, needs, programs};
use nix::unistd::Pid;

fn cowtrace(arguments: &[&str]) -> Finished {
    let mut command = Command::new(binary::cowtrace());
    Started::new(command.args(arguments), b"", Output::Pipe, Duration::from_secs(30)).finish()
}

/// One sentence with these words, and this status.
fn refused(arguments: &[&str], status: i32, words: &str) {
    let finished = cowtrace(arguments);
    let text = finished.stderr_text();
    assert_eq!(finished.code(), status, "{arguments:?}: {text}");
    assert!(text.contains(words), "{arguments:?}: {text}");
    assert!(status == 2 || text.lines().count() == 1, "{arguments:?}: {text}");
    assert_eq!(finished.stdout_text(), "");
}

fn kernel_thread() -> String {
    let is_kernels = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let flags = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6)?.parse::<u64>().ok());
        flags.is_some_and(|flags| flags & 0x20_0000 != 0)
    };
    let pids = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pid = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_kernels);
    pid.expect("the kernel has threads").to_string()
}

/// Each sort of number that names no process that can be traced.
#[test]
fn what_cannot_be_traced() {
    if !needs::tracing() {
        return;
    }
    // The largest that a number may be; no process has it.
    refused(&["-p", "4194304"], 125, "there is no process 4194304 here");
    refused(&["-p", &kernel_thread()], 125, "a thread of the kernel");
    refused(&["-p", "x"], 2, "not the number of a process");
    refused(&["-p", "1", "--", "true"], 2, "cannot be used with");
    refused(&["record", "-p", "1", "true"], 2, "cannot be used with");
    refused(&["--cgroup", "no/such.service"], 125, "there is no control group no/such.service");
    refused(&["--cgroup", "../.."], 125, "there is no control group ../..");
    // The shell becomes cowtrace, with its own number.
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" -p $$"]).arg(binary::cowtrace());
    let finished = Started::new(&mut command, b"", Output::Pipe, Duration::from_secs(30)).finish();
    assert!(finished.code() == 125 && finished.stderr_text().contains("is cowtrace itself"), "{finished:?}");
    // A file is not made for a trace that is none.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("x.cow");
    refused(&["record", "-p", "4194304", "-o", file.to_str().expect("text")], 125, "no process");
    assert!(!file.exists());
}

/// A process that nobody has asked for its status, a thread, somebody who may not.
#[test]
fn what_may_not_be_traced() {
    if !needs::tracing() {
        return;
    }
    let zombie = Command::new("true").spawn().expect("true runs");
    let pid = Pid::from_raw(zombie.id().cast_signed());
    expect_state(pid, "Z");
    refused(&["-p", &zombie.id().to_string()], 125, "has ended and only waits for its parent");
    let mut pool = Stepped::start(Command::new(programs::built("attached")).args(["pool", "1"]));
    pool.until("ready");
    let child = descendants(Pid::from_raw(pool.pid().cast_signed()));
    let thread = child.iter().find_map(|pid| {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
        let mut threads = threads.filter_map(|entry| entry.file_name().into_string().ok());
        threads.find(|thread| *thread != pid.to_string()).map(|thread| (thread, pid.to_string()))
    });
    let (thread, process) = thread.expect("a child has a second thread");
    refused(&["-p", &thread], 125, &format!("{thread} is a thread of process {process}"));
    // Where others may not look, even with a binary that they may run.
    let folder = tempfile::tempdir_in("/tmp").expect("a temporary folder");
    let copy = folder.path().join("cowtrace");
    std::fs::copy(binary::cowtrace(), &copy).expect("it can be copied");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("mine");
    let mut command = Command::new(&copy);
    command.args(["-p", &pool.pid().to_string()]).uid(65_534).gid(65_534);
    let finished = Started::new(&mut command, b"", Output::Pipe, Duration::from_secs(30)).finish();
    assert!(finished.code() == 125 && finished.stderr_text().contains("needs root"), "{finished:?}");
    drop(zombie.wait_with_output());
}

/// A pool with process numbers and a root of its own, as in a container: its numbers outside count, its files are found
/// through its root; the number that it has inside is told from those here.
#[test]
fn what_is_in_a_container() {
    if !needs::tracing() {
        return;
    }
    let root = tempfile::tempdir_in("/tmp").expect("a temporary folder");
    let program = programs::built("attached");
    copy_with_libraries(&program, root.path());
    let mut command = Command::new("unshare");
    command.args(["--pid", "--mount", "--fork", "--kill-child", "chroot"]).arg(root.path());
    let mut pool = Stepped::start(command.args(["/attached", "pool", "1"]));
    pool.until("ready");
    let inside = descendants(Pid::from_raw(pool.pid().cast_signed()));
    let first = inside.first().expect("it runs").to_string();
    let attached = Attached::start(&["-p", &first]);
    pool.next();
    let mut facts = parse(&pool.until("written"));
    let traced = attached.interrupt();
    check::nothing_lost(&traced.trace);
    check::totals_add_up(&traced.trace);
    assert_eq!(traced.trace.header.attached, [first.parse::<u32>().expect("a number")]);
    // The program tells its numbers inside; by what they wrote, processes here and there are the same ones.
    for fact in &mut facts {
        let there =
            traced.trace.faults.iter().filter(|fault| {
                fault.outcome == fact.outcome && (fact.start..fact.end).contains(&fault.address)
            });
        let of_generation =
            there.filter(|fault| traced.trace.process(fault.pid).generation == fact.generation);
        let fault = of_generation.into_iter().next().unwrap_or_else(|| panic!("{fact:?}"));
        (fact.pid, fact.tid) = (fault.pid, fault.tid);
    }
    check::facts(&traced.trace, &facts, Listing::Default);
    let symbol = traced.trace.faults.iter().filter_map(|fault| fault.native.first()?.symbol.as_deref());
    assert!(
        symbol.into_iter().any(|symbol| symbol == "store_loop"),
        "symbols come from the file in its root"
    );
    // From inside it is refused: the kernel's probes do not know those numbers.
    let mut command = Command::new("unshare");
    command.args(["--pid", "--mount-proc", "--fork"]).arg(binary::cowtrace()).args(["-p", "1"]);
    let finished = Started::new(&mut command, b"", Output::Pipe, Duration::from_secs(30)).finish();
    assert!(finished.code() == 125 && finished.stderr_text().contains("--pid=host"), "{finished:?}");
}

/// Copies a program and what it is linked with into another root.
fn copy_with_libraries(program: &Path, root: &Path) {
    let copy = |from: &Path, to: &Path| {
        let to = root.join(to.strip_prefix("/").expect("it is absolute"));
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("the root is writable");
        std::fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    };
    copy(program, Path::new("/attached"));
    let libraries = Command::new("ldd").arg(program).output().expect("ldd runs").stdout;
    for word in String::from_utf8_lossy(&libraries).split_whitespace().filter(|word| word.starts_with('/')) {
        copy(Path::new(word), Path::new(word));
    }
    std::fs::create_dir_all(root.join("proc")).expect("the root is writable");
}
