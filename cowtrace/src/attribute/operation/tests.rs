use super::*;
use crate::attribute::library;
use crate::attribute::stack::{KnownFrame, KnownStack};
use crate::attribute::{ModuleEntry, Types};
use crate::record::schema::{PythonFrame, Table};

const POOL: &str = "/usr/lib/python3.11/multiprocessing/pool.py";
const FORK: &str = "/usr/lib/python3.11/multiprocessing/popen_fork.py";
const BOOTSTRAP: &str = "<frozen importlib._bootstrap>";
const OWN: &str = "/home/ann/multi.py";

/// A stack, innermost frame first: file, function, line, imported module.
fn stack(frames: &[(&str, &str, u32, Option<&str>)]) -> KnownStack {
    let frames: Vec<KnownFrame> = frames
        .iter()
        .map(|&(file, function, line, imports)| KnownFrame {
            shown: PythonFrame {
                function: function.to_owned(),
                file: file.to_owned(),
                line: Some(line),
                op: Some("CALL"),
            },
            library: library::of_file(file),
            imports: imports.map(str::to_owned),
            place: (file.len() as u64, line.into()),
        })
        .collect();
    let id = Table::default().intern(frames.iter().map(|frame| frame.shown.clone()).collect());
    KnownStack::new(id, frames, None)
}

fn asked(
    stack: Option<&KnownStack>,
    fork: Option<&KnownStack>,
    change: impl FnOnce(&mut Evidence<'_>),
) -> Operation {
    let types: Types = Types::new();
    let mut evidence = Evidence { stack, fork_stack: fork, ..Evidence::of_nothing(0x1000, &types) };
    change(&mut evidence);
    let write = super::super::rules::judge(&evidence);
    of(&evidence, &write)
}

fn kind(frames: &[(&str, &str, u32, Option<&str>)]) -> &'static str {
    asked(Some(&stack(frames)), None, |_| {}).kind
}

/// The user's own line is a call; the pool's frames above it are the pool's, and so is a thread without own lines.
#[test]
fn calls_and_pools() {
    let bottom = (OWN, "<module>", 13, None);
    assert_eq!(kind(&[(OWN, "f", 9, None), (POOL, "worker", 125, None), bottom]), "call");
    assert_eq!(kind(&[(POOL, "worker", 114, None), bottom]), "worker_bookkeeping");
    assert_eq!(kind(&[(POOL, "_handle_results", 579, None)]), "worker_bookkeeping");
    assert_eq!(kind(&[("/usr/lib/python3.11/json/__init__.py", "loads", 3, None), bottom]), "call");
}

/// An import is named as the user's line wrote it, with what it pulls in; one that is over the user's line is not it.
#[test]
fn imports() {
    let statistics = "/usr/lib/python3.11/statistics.py";
    let inner = stack(&[
        (BOOTSTRAP, "_find_and_load", 1176, Some("fractions")),
        (statistics, "<module>", 135, None),
        (BOOTSTRAP, "_call_with_frames_removed", 241, None),
        (BOOTSTRAP, "_find_and_load", 1176, Some("statistics")),
        (OWN, "f", 6, None),
        (OWN, "<module>", 11, None),
    ]);
    let operation = asked(Some(&inner), None, |_| {});
    assert_eq!((operation.kind, operation.name.as_deref()), ("import", Some("statistics")));
    assert_eq!(operation.chain, ["statistics", "fractions"]);

    // A function of the user's module that is being imported by another: the function's line is what is done.
    assert_eq!(
        kind(&[
            (OWN, "f", 9, None),
            ("/home/ann/other.py", "<module>", 2, None),
            (BOOTSTRAP, "_find_and_load", 1176, Some("other")),
        ]),
        "call"
    );
    // The module's own lines are its import.
    assert_eq!(
        kind(&[
            ("/home/ann/other.py", "<module>", 2, None),
            (BOOTSTRAP, "_call_with_frames_removed", 241, None),
            (BOOTSTRAP, "_find_and_load", 1176, Some("other")),
            (OWN, "<module>", 1, None),
        ]),
        "import"
    );
}

/// While the forking frames stand where they stood, the fork has not returned; one line further it has.
#[test]
fn forks() {
    let forking = stack(&[(FORK, "_launch", 66, None), (OWN, "<module>", 13, None)]);
    let hook = stack(&[
        ("/usr/lib/python3.11/threading.py", "_after_fork", 1650, None),
        (FORK, "_launch", 66, None),
        (OWN, "<module>", 13, None),
    ]);
    let after = stack(&[(FORK, "_launch", 71, None), (OWN, "<module>", 13, None)]);
    assert_eq!(asked(Some(&forking), Some(&forking), |_| {}).kind, "fork_bookkeeping");
    assert_eq!(asked(Some(&hook), Some(&forking), |_| {}).kind, "fork_bookkeeping");
    assert_eq!(asked(Some(&after), Some(&forking), |_| {}).kind, "worker_bookkeeping");
    assert_eq!(asked(None, None, |e| e.symbol = Some("__libc_fork")).kind, "fork_bookkeeping");
}

/// A swap replaces what was there; a new entry is not one, and neither is the interpreter's own clearing at its end.
#[test]
fn swaps() {
    let line = stack(&[(OWN, "f", 9, None)]);
    let entry = |existing| Some(ModuleEntry { key: Some("statistics".to_owned()), existing });
    let swap = asked(Some(&line), None, |e| e.module_entry = entry(true));
    assert_eq!((swap.kind, swap.name.as_deref()), ("module_swap", Some("statistics")));
    assert_eq!(asked(Some(&line), None, |e| e.module_entry = entry(false)).kind, "call");
    assert_ne!(asked(None, None, |e| e.module_entry = entry(true)).kind, "module_swap");
}

/// The collector by its name inside the interpreter, or by its pattern; the same name elsewhere is another function.
#[test]
fn collections() {
    let line = stack(&[(OWN, "f", 9, None)]);
    let named = |in_interpreter| {
        asked(Some(&line), None, |e| {
            e.symbol = Some("gc_collect_main");
            e.in_interpreter = in_interpreter;
        })
    };
    assert_eq!(named(true).kind, "gc");
    assert_eq!(named(false).kind, "call");
    assert_eq!(asked(Some(&line), None, |e| e.collector_run = true).kind, "gc");
}

/// The kernel's write is a system call's where nothing else claims it; without frames it is not a call.
#[test]
fn kernel_and_native() {
    let line = stack(&[(OWN, "f", 9, None)]);
    let read = asked(Some(&line), None, |e| {
        e.kernel_mode = true;
        e.syscall = Some("read".to_owned());
    });
    assert_eq!((read.kind, read.name.as_deref()), ("kernel", Some("read")));
    assert_eq!(asked(None, None, |_| {}).kind, "native");
    let missing = asked(None, None, |e| {
        e.frames_missing = true;
        e.no_stack = Some("the stack's names were lost: the buffer was full");
    });
    assert_eq!(missing.kind, "unknown");
    assert!(missing.reason.is_some());
}

/// The loader is startup; an interpreter without frames is before its first or behind its last.
#[test]
fn phases() {
    assert_eq!(asked(None, None, |e| e.object = Some("/lib64/ld-linux-x86-64.so.2")).kind, "startup");
    assert_eq!(asked(None, None, |e| e.phase = Some(Phase::Startup)).kind, "startup");
    assert_eq!(asked(None, None, |e| e.phase = Some(Phase::Exit)).kind, "exit");
    let exit = stack(&[("/usr/lib/python3.11/multiprocessing/util.py", "_exit_function", 357, None)]);
    assert_eq!(asked(Some(&exit), None, |_| {}).kind, "exit");
}
