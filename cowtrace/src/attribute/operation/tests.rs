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
                approximate: false,
                op: Some("CALL"),
                ..PythonFrame::default()
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

/// The text that starts a fork server is nobody's own line; a program that was given as text is its user's.
#[test]
fn text_of_a_forkserver() {
    let server = "/usr/lib/python3.14/multiprocessing/forkserver.py";
    let spawn = "/usr/lib/python3.14/multiprocessing/spawn.py";
    let started = [
        (BOOTSTRAP, "_find_and_load", 1176, Some("multiprocessing.pool")),
        (spawn, "_main", 129, None),
        (server, "main", 284, None),
        ("<string>", "<module>", 1, None),
    ];
    let started = stack(&started);
    let operation = asked(Some(&started), None, |_| {});
    assert_eq!((operation.kind, operation.name.as_deref()), ("import", Some("multiprocessing.pool")));
    assert_eq!(started.own, None);
    assert_eq!(stack(&[("<string>", "<module>", 1, None)]).own, Some(0));
    assert_eq!(stack(&[("__init__", "A.__init__", 0, None), (OWN, "f", 1, None)]).own, Some(1));
}

/// Every library's workers by their frames, with the part of it; a task's own function below them is a call.
#[test]
fn worker_libraries() {
    for (file, function, name, part) in [
        (
            "/usr/lib/python3.14/multiprocessing/process.py",
            "_bootstrap",
            "multiprocessing",
            Some("process bootstrap"),
        ),
        ("/usr/lib/python3.14/multiprocessing/forkserver.py", "main", "multiprocessing", Some("forkserver")),
        ("/usr/lib/python3.14/multiprocessing/spawn.py", "_main", "multiprocessing", Some("spawn")),
        (
            "/usr/lib/python3.14/multiprocessing/resource_tracker.py",
            "main",
            "multiprocessing",
            Some("resource tracker"),
        ),
        (
            "/usr/lib/python3.12/concurrent/futures/process.py",
            "_process_worker",
            "concurrent.futures",
            Some("process pool"),
        ),
        ("/v/lib/python3.12/site-packages/gunicorn/workers/sync.py", "run", "gunicorn", None),
        ("/v/lib/python3.12/site-packages/gunicorn/arbiter.py", "spawn_worker", "gunicorn", Some("arbiter")),
        ("/v/lib/python3.12/site-packages/billiard/pool.py", "workloop", "celery", Some("pool")),
        ("/v/lib/python3.12/site-packages/celery/app/trace.py", "trace_task", "celery", None),
        ("/v/lib/python3.12/site-packages/uvicorn/server.py", "serve", "uvicorn", None),
        (
            "/v/lib/python3.12/site-packages/torch/utils/data/_utils/worker.py",
            "_worker_loop",
            "torch DataLoader",
            Some("worker"),
        ),
        (
            "/v/lib/python3.12/site-packages/joblib/externals/loky/process_executor.py",
            "_process_worker",
            "joblib",
            None,
        ),
        ("/v/lib/python3.12/site-packages/rq/worker.py", "perform_job", "rq", None),
    ] {
        let frame = (file, function, 10, None);
        let told = asked(Some(&stack(&[frame, (OWN, "<module>", 3, None)])), None, |_| {});
        assert_eq!((told.kind, told.name.as_deref()), ("worker_bookkeeping", Some(name)), "{file}");
        assert_eq!(told.detail.as_deref(), part, "{file}");
        assert_eq!(kind(&[(OWN, "task", 9, None), frame]), "call", "{file}");
    }
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

    // A module of the user's own that imports another: both are the import that the outermost line began.
    let nested = [
        ("/home/ann/blkmod.py", "<module>", 1, None),
        (BOOTSTRAP, "_call_with_frames_removed", 241, None),
        (BOOTSTRAP, "_find_and_load", 1176, Some("blkmod")),
        ("/home/ann/outer_mod.py", "<module>", 3, None),
        (BOOTSTRAP, "_call_with_frames_removed", 241, None),
        (BOOTSTRAP, "_find_and_load", 1176, Some("outer_mod")),
        (OWN, "<module>", 1, None),
    ];
    let operation = asked(Some(&stack(&nested)), None, |_| {});
    assert_eq!(operation.name.as_deref(), Some("outer_mod"));
    assert_eq!(operation.chain, ["outer_mod", "blkmod"]);

    // The machinery at work on a module whose name was lost.
    let lost = asked(Some(&stack(&[(BOOTSTRAP, "_find_spec", 9, None), (OWN, "f", 6, None)])), None, |_| {});
    assert_eq!((lost.kind, lost.name, lost.confidence), ("import", None, Confidence::Likely));

    // A program that is run as a module is not imported.
    let runpy = [(OWN, "<module>", 1, None), ("<frozen runpy>", "_run_code", 88, None)];
    assert_eq!(kind(&runpy), "call");

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

/// A reload runs the machinery from further in: it is named by the file whose body runs, once one does.
#[test]
fn reloads() {
    let reload = ("/usr/lib/python3.11/importlib/__init__.py", "reload", 169, None);
    let machinery = (BOOTSTRAP, "_exec", 621, None);
    let statistics = "/usr/lib/python3.11/statistics.py";
    let body = [
        (statistics, "<module>", 140, None),
        (BOOTSTRAP, "_call_with_frames_removed", 241, None),
        machinery,
        reload,
        (OWN, "f", 6, None),
    ];
    let told = |frames: &[_]| {
        let Operation { kind, name, detail, .. } = asked(Some(&stack(frames)), None, |_| {});
        (kind, name, detail)
    };
    let reloaded = |name: Option<&str>| ("import", name.map(str::to_owned), Some("reload".to_owned()));
    assert_eq!(told(&body), reloaded(Some("statistics")));
    assert_eq!(told(&body[2..]), reloaded(None));
    assert_eq!(told(&[(OWN, "reload", 1, None)]), ("call", None, None));
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
    let hooked = asked(Some(&hook), Some(&forking), |_| {});
    assert_eq!((hooked.kind, hooked.name.as_deref()), ("fork_bookkeeping", Some("threading._after_fork")));
    assert_eq!(asked(Some(&forking), Some(&forking), |_| {}).name, None);
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
    let deletes = |op| {
        let mut line = line.clone();
        line.frames[0].shown.op = Some(op);
        let swap = asked(Some(&line), None, |e| e.module_entry = entry(true));
        (swap.kind, swap.detail)
    };
    assert_eq!(deletes("DELETE_SUBSCR"), ("module_swap", Some("delete".to_owned())));
    assert_eq!(deletes("STORE_SUBSCR"), ("module_swap", Some("assign".to_owned())));
    assert_eq!(deletes("CALL"), ("module_swap", None));
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
    assert_eq!((read.kind, read.name.as_deref(), read.detail), ("kernel", Some("read"), None));
    let poked = asked(None, None, |e| {
        e.phase = Some(Phase::Exit);
        e.kernel_mode = true;
        e.foreign = true;
        e.syscall = Some("ptrace".to_owned());
    });
    assert_eq!((poked.kind, poked.detail.as_deref()), ("kernel", Some("from outside")));
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
    let bound = |e: &mut Evidence<'_>| {
        e.object = Some("/lib64/ld-linux-x86-64.so.2");
        e.forked = true;
    };
    assert_eq!(asked(None, None, bound).kind, "native");
    assert_eq!(asked(None, None, |e| e.phase = Some(Phase::Startup)).kind, "startup");
    assert_eq!(asked(None, None, |e| e.phase = Some(Phase::Exit)).kind, "exit");
    let exit = stack(&[("/usr/lib/python3.11/multiprocessing/util.py", "_exit_function", 357, None)]);
    assert_eq!(asked(Some(&exit), None, |_| {}).kind, "exit");
}
