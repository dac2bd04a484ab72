//! The traces that reports are of.

use crate::record::fixture::{Builder, Page, line, operation, page, symbol, unknown, write as wrote};
use crate::record::schema::{Outcome, Region, Trace, Write};

pub(super) const MULTI: &str = "/home/ann/multi.py";
pub(super) const MIB: u64 = 1 << 20;

/// A write that is not known.
fn untold(reason: &str) -> Write {
    Write { reason: Some(reason.to_owned()), ..wrote("unknown", "", "") }
}

/// The sixth script of the seed: five workers, three of which get a task.
pub(super) fn seed() -> Trace {
    let mut b = Builder::new(&["python", "multi.py"]);
    b.python("3.11.7", Some("3.11"));
    let parent = b.process(None, "python3", 0);
    b.unlisted(parent, Outcome::ZeroFill, 2210);
    b.unlisted(parent, Outcome::FileCopy, 85);
    b.unlisted(parent, Outcome::Read, 640);
    let workers: Vec<usize> = (0..5).map(|_| b.process(Some(parent), "python3", 9 * MIB + 16384)).collect();
    let fork = page(operation("fork_bookkeeping", ""), wrote("library_data", "", "_IO_2_1_stdout_"), None);
    let pool = |write| page(operation("worker_bookkeeping", "multiprocessing"), write, None);
    let call = |write| page(operation("call", ""), write, line(MULTI, 10, "f"));
    for (nth, &worker) in workers.iter().enumerate() {
        b.faults(worker, 49 + nth as u64 % 2, &fork);
        b.faults(worker, 160, &pool(wrote("refcount", "str", "")));
        b.faults(worker, 52, &pool(wrote("allocator", "", "")));
        let mut file = pool(wrote("library_data", "", "environ"));
        (file.outcome, file.region) = (
            Outcome::FileCopy,
            Region { kind: "file", path: Some("/usr/lib/libc.so.6".into()), offset: Some(0) },
        );
        b.faults(worker, 2, &file);
        if nth < 3 {
            let swap = operation("module_swap", "statistics");
            let entry = wrote("dict_entry", "dict", "sys.modules['statistics']");
            b.faults(worker, 1, &page(swap, entry, line(MULTI, 9, "f")));
            b.faults(worker, 2, &call(wrote("refcount", "str", "'getpid'")));
            b.faults(worker, 1, &call(wrote("type_cache", "", "")));
        }
        b.unlisted(worker, Outcome::ZeroFill, 31);
    }
    let mut reuse = fork.clone();
    reuse.outcome = Outcome::Reuse;
    b.faults(parent, 92, &reuse);
    b.faults(parent, 60, &fork);
    b.faults(
        parent,
        300,
        &page(operation("worker_bookkeeping", "multiprocessing"), wrote("refcount", "tuple", ""), None),
    );
    b.faults(
        workers[0],
        3,
        &page(unknown("the frame was being built"), untold("not in a known structure"), None),
    );
    b.finish()
}

/// A program without forks.
fn no_forks() -> Trace {
    let mut b = Builder::new(&["./prog"]);
    let only = b.process(None, "prog", 0);
    b.unlisted(only, Outcome::ZeroFill, 40);
    b.unlisted(only, Outcome::FileCopy, 6);
    b.finish()
}

/// A C program whose child only reads, while the parent goes on to write.
fn c_pair() -> Trace {
    let mut b = Builder::new(&["./redis-server"]);
    b.missing("writes by ptrace and process_vm_writev are not seen: that needs kernel function probes");
    let parent = b.process(None, "redis-server", 0);
    let child = b.process(Some(parent), "redis-rdb-bgsave", 3 << 30);
    let native = |function, kind| {
        page(operation("native", ""), wrote(kind, "", ""), symbol(function, "/usr/bin/redis-server"))
    };
    let mut huge = native("dictSdsKeyCompare", "unknown");
    huge.bytes = 2 * MIB;
    b.faults(parent, 90, &huge);
    b.faults(parent, 1300, &native("dbAdd", "malloc"));
    b.faults(
        parent,
        1,
        &page(operation("native", ""), wrote("malloc", "", ""), symbol("", "/usr/lib/libjemalloc.so.2")),
    );
    b.faults(child, 3, &page(operation("exit", ""), wrote("library_data", "", "__exit_funcs"), None));
    b.finish()
}

/// Many children alike, one that fails, and one program below them.
fn many() -> Trace {
    let mut b = Builder::new(&["gunicorn", "app:app"]);
    b.python("3.12.1", Some("3.12"));
    let parent = b.process(None, "gunicorn", 0);
    for nth in 0..200_u64 {
        let child = b.process(Some(parent), "gunicorn", 300 * MIB);
        b.faults(
            child,
            90 + nth % 7,
            &page(operation("worker_bookkeeping", "gunicorn"), wrote("refcount", "function", ""), None),
        );
        b.faults(child, 500 + nth % 13, &page(operation("gc", ""), wrote("gc_header", "", ""), None));
        let data = operation("call", "");
        b.faults(
            child,
            80,
            &page(
                data.clone(),
                wrote("refcount", "int", ""),
                line("/srv/app/dataset.py", 41, "Dataset.__getitem__"),
            ),
        );
        for place in 1..20 {
            b.faults(
                child,
                2,
                &page(
                    data.clone(),
                    wrote("attribute", "Config", ""),
                    line("/srv/app/config/a/very/long/way/down/settings.py", place, "load"),
                ),
            );
        }
        b.faults(
            child,
            12,
            &page(
                operation("import", "json.decoder"),
                wrote("allocator", "", ""),
                line("/srv/app/views/__init__.py", 3, "<module>"),
            ),
        );
        if nth == 20 {
            b.exit(child, Some(137));
        }
        if nth == 150 {
            let shell = b.process(Some(child), "sh", 0);
            b.faults(
                shell,
                2,
                &page(
                    operation("kernel", "read"),
                    wrote("kernel_copy", "", ""),
                    symbol("read", "/usr/lib/libc.so.6"),
                ),
            );
            b.exit(shell, None);
        }
    }
    b.finish()
}

/// Details that were lost, and an interpreter that is not known.
pub(super) fn lossy() -> Trace {
    let mut b = Builder::new(&["python", "job.py"]);
    b.python("2.7.18", None);
    let parent = b.process(None, "python", 0);
    let child = b.process(Some(parent), "python", 40 * MIB);
    b.faults(
        child,
        100,
        &page(
            operation("native", ""),
            wrote("refcount", "", ""),
            symbol("PyEval_EvalFrameEx", "/usr/bin/python2.7"),
        ),
    );
    b.faults(child, 40, &page(unknown("no stack: the read failed"), wrote("unknown", "", ""), None));
    b.lost(child, Outcome::Copy, 30, 0);
    b.lost(child, Outcome::Copy, 10, 1);
    b.lost(child, Outcome::FileCopy, 1, 5);
    b.unlisted(parent, Outcome::FileCopy, 70);
    b.finish()
}

/// A target that names everything so as to harm the terminal.
fn hostile() -> Trace {
    let mut b = Builder::new(&["./x\x1b]0;owned\x07", "\u{202e}gpj.exe"]);
    b.python("3.1\x1b[2J", Some("\n"));
    b.missing("one\nmore \u{9b}31m line");
    let parent = b.process(None, "a\x1b[31m\nb", 0);
    let child = b.process(Some(parent), "\u{202e}\u{200b}c", 8192);
    let key = "'] = 0\r\x1b[1A".to_owned() + &"k".repeat(5000);
    let file = "/tmp/\u{1b}[H".to_owned() + &"日本".repeat(300) + ".py";
    b.faults(
        child,
        1,
        &page(
            operation("module_swap", &key),
            wrote("dict_entry", "dict\x07", &key),
            line(&file, 1, "f\u{2066}"),
        ),
    );
    b.faults(
        child,
        1,
        &page(operation("worker_bookkeeping", "\x1b[5m"), wrote("refcount", "\u{feff}", "\t"), None),
    );
    b.faults(child, 1, &page(unknown("why\x1b[0m\u{2028}not"), wrote("unknown", "", ""), None));
    b.faults(
        child,
        1,
        &page(operation("native", ""), wrote("unknown", "", ""), symbol("_Z\x7f", "/lib\x00/..")),
    );
    b.finish()
}

/// A shell that forks helpers before it becomes the program that was meant, as version managers have it.
pub(super) fn shim() -> Trace {
    let mut b = Builder::new(&["python3", "multi.py"]);
    b.python("3.11.7", Some("3.11"));
    let root = b.process(None, "bash", 0);
    let native =
        |function| page(operation("native", ""), wrote("unknown", "", ""), symbol(function, "/usr/bin/bash"));
    let start = |name| Page {
        outcome: Outcome::FileCopy,
        ..page(operation("startup", name), wrote("library_data", "", ""), None)
    };
    for nth in 0..12 {
        let helper = b.process(Some(root), "bash", 45 * 4096);
        b.faults(helper, 30, &native("make_child"));
        b.faults(root, 9, &native("hash_search"));
        if nth % 4 == 0 {
            b.faults(helper, 2, &start("exec"));
            b.exec(helper, "readlink");
            b.faults(helper, 12, &start(""));
        }
    }
    b.exec(root, "python3");
    b.faults(root, 85, &start(""));
    let workers: Vec<usize> = (0..2).map(|_| b.process(Some(root), "python3", 9 * MIB)).collect();
    for worker in workers {
        b.faults(
            worker,
            200,
            &page(operation("worker_bookkeeping", "multiprocessing"), wrote("refcount", "str", ""), None),
        );
        let mut thread = line("/usr/lib/python3.11/threading.py", 975, "Thread.run");
        thread.as_mut().unwrap().library = Some("standard library".to_owned());
        b.faults(worker, 3, &page(operation("call", ""), wrote("refcount", "code", ""), thread));
        let malloc = symbol("malloc", "/usr/lib/libc.so.6");
        b.faults(worker, 5, &page(operation("native", ""), wrote("malloc", "", ""), malloc));
        let own = line(MULTI, 10, "f");
        b.faults(worker, 2, &page(operation("call", ""), wrote("refcount", "str", "'getpid'"), own));
    }
    b.finish()
}

/// A child that wrote nothing.
fn nothing() -> Trace {
    let mut b = Builder::new(&["./prog"]);
    let parent = b.process(None, "prog", 0);
    b.process(Some(parent), "prog", 2 * MIB);
    b.process(Some(parent), "prog", 2 * MIB);
    b.finish()
}

/// All of them, with their names.
pub(crate) fn traces() -> [(&'static str, Trace); 8] {
    [
        ("seed", seed()),
        ("no-forks", no_forks()),
        ("c-pair", c_pair()),
        ("many", many()),
        ("lossy", lossy()),
        ("hostile", hostile()),
        ("nothing", nothing()),
        ("shim", shim()),
    ]
}
