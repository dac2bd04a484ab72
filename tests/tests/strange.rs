//! Processes that do what no sane one does: they are traced exactly all the same, and behave as they do alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use cowtrace_tests::attach::{Attached, Stepped};
use cowtrace_tests::check::{self, Listing};
use cowtrace_tests::facts::parse;
use cowtrace_tests::process::Output;
use cowtrace_tests::{Run, Started, Trace, binary, needs, programs};
use tempfile::TempDir;

/// Somebody without rights.
const NOBODY: u32 = 65534;

/// Runs one case and checks everything that it says of itself.
fn strange(case: &str) -> Trace {
    // Where a core may be left.
    let folder = TempDir::with_prefix("cowtrace-strange-").expect("a temporary folder");
    let script = "cd \"$1\" && exec \"$2\" \"$3\"";
    let run = Run::new("/bin/sh").arg("-c").arg(script).arg("sh");
    let traced = run.arg(folder.path()).arg(programs::built("strange")).arg(case).timeout(180).trace();
    check::nothing_lost(&traced.trace);
    check::totals_add_up(&traced.trace);
    let facts = parse(&traced.finished.stdout_text());
    assert!(facts.iter().any(|fact| fact.generation == 1), "{case}: {facts:?}");
    check::facts(&traced.trace, &facts, Listing::Default);
    traced.trace
}

/// The function that wrote is known, or said not to be: nothing else is made up.
fn written_by(trace: &Trace, function: &str) {
    for fault in
        trace.faults.iter().filter(|fault| fault.region.kind == "anonymous" && fault.outcome == "copy")
    {
        let inner = fault.native.first().and_then(|frame| frame.symbol.as_deref());
        assert!(inner.is_none_or(|name| !name.is_empty()), "{function}: {fault:?}");
    }
}

/// Other code where its code was.
#[test]
fn remaps_itself_over_its_code() {
    if needs::tracing() {
        written_by(&strange("remap"), "store_loop");
    }
}

/// A stack pointer to nowhere, and to where no address can be.
#[test]
fn stack_pointer_is_nonsense() {
    if needs::tracing() {
        let trace = strange("stack");
        written_by(&trace, "stack_body");
        let child = trace.processes.iter().find(|process| process.generation == 1).expect("a child");
        let known = trace.faults_of(child.pid).filter(|fault| {
            fault.native.first().and_then(|frame| frame.symbol.as_deref()) == Some("stack_body")
        });
        assert_eq!(known.count(), 64, "the function is known by the instruction, whatever the stack is");
    }
}

/// Fifty programs one after another in one process.
#[test]
fn executes_itself_in_a_row() {
    if needs::tracing() {
        let trace = strange("execs");
        let root = trace.processes.iter().find(|process| process.generation == 0).expect("the command");
        // The shell, the program, and itself fifty times.
        assert_eq!(root.execs.len(), 52, "{root:?}");
        assert_eq!(trace.processes.len(), 2);
    }
}

/// Forks until there is no process left for its user: the fork that failed is none.
#[test]
fn forks_to_the_limit() {
    if needs::tracing() {
        let trace = strange("limit");
        let children: Vec<_> = trace.processes.iter().filter(|process| process.generation == 1).collect();
        assert!(!children.is_empty() && children.len() < 40, "{} children", children.len());
        assert_eq!(trace.processes.len(), children.len() + 1);
    }
}

/// Another process stops it between its writes.
#[test]
fn is_traced_by_its_parent() {
    if needs::tracing() {
        strange("traced");
    }
}

/// It dumps core: the kernel reads all of its memory, and nothing of that is a write.
#[test]
fn dumps_core() {
    if needs::tracing() {
        let trace = strange("dumps");
        let child = trace.processes.iter().find(|process| process.generation == 1).expect("a child");
        assert_eq!(child.exit_status, Some(128 + 6), "{child:?}");
    }
}

/// A set-user-id program, run by somebody without rights: with cowtrace it becomes root, and drops what its caller would
/// slip it, exactly as without, because cowtrace is no tracer in the kernel's sense (ptrace).
#[test]
fn set_user_id_program() {
    if !needs::tracing() {
        return;
    }
    let folder = TempDir::with_prefix_in("cowtrace-strange-", "/tmp").expect("a temporary folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let program = folder.path().join("strange");
    fs::copy(programs::built("strange"), &program).expect("it can be copied");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("it is ours");
    let mut alone = Command::new("setpriv");
    alone.args(["--reuid", &NOBODY.to_string(), "--regid", &NOBODY.to_string(), "--clear-groups"]);
    alone.arg(&program).arg("identity").env("LD_PRELOAD", "libnothing.so");
    let alone = Started::new(&mut alone, b"", Output::Pipe, Duration::from_secs(30)).finish();
    let run = Run::new(&program).arg("identity").env("LD_PRELOAD", "");
    let traced = run.flag("--user").flag("nobody").trace();
    let line = |text: String| text.lines().next().map(str::to_owned).expect("a line");
    let (alone, with) = (line(alone.stdout_text()), line(traced.finished.stdout_text()));
    assert_eq!(alone, format!("ruid {NOBODY} euid 0 secure 1 preload gone"), "as the kernel does it");
    assert_eq!(with, alone);
    check::nothing_lost(&traced.trace);
    check::totals_add_up(&traced.trace);
    let child = traced.trace.processes.iter().find(|process| process.generation == 1).expect("a child");
    assert!(child.totals["copy"].faults >= 64, "{child:?}");
}

/// Two cowtraces on one tree, one of which has started it: both count everything, and neither sees the other.
#[test]
fn two_at_once() {
    if !needs::tracing() {
        return;
    }
    let mut outer = TwoAtOnce::start();
    let attached = Attached::start(&["-p", &outer.pid().to_string()]);
    let other = Attached::start(&["-p", &outer.pid().to_string()]);
    outer.0.next();
    let facts = parse(&outer.0.until("written"));
    let (one, two) = (attached.interrupt(), other.interrupt());
    outer.0.next();
    outer.0.end();
    for traced in [one, two] {
        check::nothing_lost(&traced.trace);
        check::totals_add_up(&traced.trace);
        check::facts(&traced.trace, &facts, Listing::Default);
        // The pool of two with a child each, and one that is forked later.
        assert_eq!(traced.trace.processes.len(), 6, "{:#?}", traced.trace.processes);
    }
    let trace = Trace::read(&outer.1.path().join("trace.jsonl"));
    check::nothing_lost(&trace);
    check::totals_add_up(&trace);
    check::facts(&trace, &facts, Listing::Default);
    assert_eq!(trace.processes.len(), 6, "{:#?}", trace.processes);
}

/// A pool under a cowtrace of its own.
struct TwoAtOnce(Stepped, TempDir);

impl TwoAtOnce {
    fn start() -> Self {
        let folder = TempDir::with_prefix("cowtrace-strange-").expect("a temporary folder");
        let mut command = Command::new(binary::cowtrace());
        command.arg("-q").arg("-o").arg(folder.path().join("trace.jsonl"));
        let mut stepped = Stepped::start(command.arg(programs::built("attached")).args(["pool", "2"]));
        stepped.until("ready");
        Self(stepped, folder)
    }

    /// The pool's own number.
    fn pid(&self) -> u32 {
        let cowtrace = self.0.pid();
        let children = fs::read_to_string(format!("/proc/{cowtrace}/task/{cowtrace}/children"));
        let children = children.expect("cowtrace runs");
        children.trim().parse().expect("one child")
    }
}
