//! Whose code a frame is: the user's own, the interpreter's, a library's, a pool's machinery. Tables of paths and names,
//! since the frames carry nothing else.

/// Name of a module's top-level code.
pub const MODULE_BODY: &str = "<module>";

/// Whose code a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// The user's.
    Own,
    /// Compiled into the interpreter, such as the import machinery.
    Frozen,
    /// The machinery of a pool of workers, by its name.
    Workers(&'static str),
    /// The standard library, or an installed package.
    Installed,
}

/// A pool's machinery: its name, what its files' paths contain, and the programs that start it.
struct Workers {
    name: &'static str,
    paths: &'static [&'static str],
    /// Names of scripts that an installer puts into a `bin` directory: nobody's own code, although they lie outside of
    /// every package.
    scripts: &'static [&'static str],
}

/// Every pool that is known; the first that fits is it. A task that runs in a worker has frames of its own inside these.
static WORKERS: &[Workers] = &[
    Workers {
        name: "torch DataLoader",
        paths: &["/torch/utils/data/_utils/", "/torch/utils/data/dataloader.py", "/torch/multiprocessing/"],
        scripts: &[],
    },
    Workers { name: "joblib", paths: &["/joblib/", "/loky/"], scripts: &[] },
    Workers { name: "multiprocessing", paths: &["/multiprocessing/"], scripts: &[] },
    Workers { name: "concurrent.futures", paths: &["/concurrent/futures/"], scripts: &[] },
    Workers { name: "gunicorn", paths: &["/gunicorn/"], scripts: &["gunicorn"] },
    Workers { name: "celery", paths: &["/celery/", "/billiard/"], scripts: &["celery"] },
    Workers { name: "uvicorn", paths: &["/uvicorn/"], scripts: &["uvicorn"] },
    Workers {
        name: "rq",
        paths: &["/site-packages/rq/", "/dist-packages/rq/"],
        scripts: &["rq", "rqworker"],
    },
];

/// Parts of the pools' machinery, by the ends of their files' paths; the first that fits is it.
static PARTS: &[(&str, &str)] = &[
    ("/multiprocessing/pool.py", "pool"),
    ("/multiprocessing/process.py", "process bootstrap"),
    ("/multiprocessing/popen_fork.py", "process start"),
    ("/multiprocessing/forkserver.py", "forkserver"),
    ("/multiprocessing/popen_forkserver.py", "forkserver"),
    ("/multiprocessing/resource_tracker.py", "resource tracker"),
    ("/multiprocessing/spawn.py", "spawn"),
    ("/multiprocessing/popen_spawn_posix.py", "spawn"),
    ("/multiprocessing/queues.py", "queue"),
    ("/multiprocessing/managers.py", "manager"),
    ("/concurrent/futures/process.py", "process pool"),
    ("/concurrent/futures/thread.py", "thread pool"),
    ("/gunicorn/arbiter.py", "arbiter"),
    ("/billiard/pool.py", "pool"),
    ("/billiard/process.py", "process bootstrap"),
    ("/billiard/popen_fork.py", "process start"),
    ("/uvicorn/supervisors/multiprocess.py", "supervisor"),
    ("/torch/utils/data/_utils/worker.py", "worker"),
    ("/torch/utils/data/dataloader.py", "loader"),
];

/// Which part of a pool's machinery a file is; `None` = none that has a name here.
#[must_use]
pub fn part(file: &str) -> Option<&'static str> {
    PARTS.iter().find(|(end, _)| file.ends_with(end)).map(|(_, part)| *part)
}

/// Name of code that was made from a string: a program given with `-c`, or what a library builds for itself.
pub const TEXT: &str = "<string>";

/// Directories of packages that were installed, and of the standard library below `lib/pythonX.Y/`.
static INSTALLED: &[&str] = &["/site-packages/", "/dist-packages/"];

/// Whose code a file is.
#[must_use]
pub fn of_file(file: &str) -> Library {
    if file.starts_with("<frozen ") {
        return Library::Frozen;
    }
    if !is_installed(file) {
        return script(file).map_or(Library::Own, Library::Workers);
    }
    WORKERS
        .iter()
        .find(|workers| workers.paths.iter().any(|path| file.contains(path)))
        .map_or(Library::Installed, |workers| Library::Workers(workers.name))
}

/// How the owner of a file is called that is not the user's: the installed package, or the standard library.
#[must_use]
pub fn owner(file: &str) -> String {
    if let Library::Workers(name) = of_file(file) {
        return name.to_owned();
    }
    let package =
        INSTALLED.iter().find_map(|directory| file.rsplit_once(directory)).map(|(_, inside)| inside);
    let name = package.and_then(|inside| inside.split('/').next()).filter(|name| !name.is_empty());
    name.map_or_else(|| "standard library".to_owned(), |name| name.trim_end_matches(".py").to_owned())
}

/// The pool that a script in a `bin` directory starts.
fn script(file: &str) -> Option<&'static str> {
    let (directory, name) = file.rsplit_once('/')?;
    let workers = WORKERS.iter().find(|workers| workers.scripts.contains(&name));
    workers.filter(|_| directory.ends_with("/bin")).map(|workers| workers.name)
}

/// Whether a file starts processes by a program that it gives as text: `python -c 'from multiprocessing.spawn import …'`.
#[must_use]
pub fn is_starter(file: &str) -> bool {
    matches!(part(file), Some("forkserver" | "spawn" | "resource tracker"))
}

/// Whether code was made by a library that names it as a file: `__init__`, in a file `__init__` that is none.
#[must_use]
pub fn is_generated(file: &str, function: &str) -> bool {
    file == function.rsplit('.').next().unwrap_or(function)
}

fn is_installed(file: &str) -> bool {
    INSTALLED.iter().any(|directory| file.contains(directory)) || is_standard_library(file)
}

/// `…/lib/python3.11/…`, `…/lib64/python3/…`, `…/lib/python311.zip/…`.
fn is_standard_library(file: &str) -> bool {
    ["/lib/python", "/lib64/python"].iter().any(|prefix| {
        file.split(prefix).skip(1).any(|rest| {
            let version = rest.split('/').next().unwrap_or_default();
            rest.contains('/') && version.starts_with(|c: char| c.is_ascii_digit())
        })
    })
}

/// A frame of the interpreter's way out: its file's end and its function.
static EXIT: &[(&str, &str)] = &[
    ("/multiprocessing/util.py", "_exit_function"),
    ("/threading.py", "_shutdown"),
    ("/concurrent/futures/thread.py", "_python_exit"),
    ("/concurrent/futures/process.py", "_python_exit"),
    ("/logging/__init__.py", "shutdown"),
];

/// Whether a frame belongs to the way out of the interpreter.
#[must_use]
pub fn is_exit(file: &str, function: &str) -> bool {
    EXIT.iter().any(|(end, name)| function == *name && file.ends_with(end))
}

/// Hooks that run in a forked child, by the ends of their files and functions (from 3.11 on qualified names), with the
/// name that people know them by. Others are called by their module and function.
static HOOKS: &[(&str, &str, &str)] = &[
    ("/threading.py", "_after_fork", "threading._after_fork"),
    ("/random.py", "seed", "random.seed"),
    ("/random.py", "Random.seed", "random.seed"),
    ("/logging/__init__.py", "_after_at_fork_child_reinit_locks", "logging's locks"),
    ("/concurrent/futures/thread.py", "_after_fork", "concurrent.futures.thread"),
    ("/multiprocessing/resource_tracker.py", "ResourceTracker._after_fork_in_child", "resource tracker"),
];

/// How a fork hook is called: its file and function.
#[must_use]
pub fn hook(file: &str, function: &str) -> String {
    let known = HOOKS.iter().find(|(end, name, _)| function == *name && file.ends_with(end));
    known.map_or_else(|| format!("{}.{function}", module(file)), |(_, _, hook)| (*hook).to_owned())
}

/// The last part of a module's name, from its file: `statistics`, for a package the directory's name.
#[must_use]
pub fn module(file: &str) -> &str {
    let stem = file.strip_suffix(".py").unwrap_or(file);
    let stem = stem.strip_suffix("/__init__").unwrap_or(stem);
    stem.rsplit('/').next().unwrap_or(stem)
}

/// File of the import machinery's frames.
const IMPORTLIB: &str = "<frozen importlib._bootstrap>";

/// Functions of the import machinery that run only while something is imported, as they are called or end when qualified.
static IMPORTING: &[&str] = &[
    "_find_and_load",
    "_find_and_load_unlocked",
    "_find_spec",
    "_load_unlocked",
    "_gcd_import",
    "_call_with_frames_removed",
];

/// Whether a frame is the import machinery's, at work on an import.
#[must_use]
pub fn is_importing(file: &str, function: &str) -> bool {
    file == IMPORTLIB && IMPORTING.contains(&function)
}

/// Whether a frame is `importlib.reload`.
#[must_use]
pub fn is_reload(file: &str, function: &str) -> bool {
    function == "reload" && file.ends_with("/importlib/__init__.py")
}

/// Functions of CPython's cyclic garbage collector, as they are named in an unstripped build; a compiler's suffix
/// (`.constprop.0`, `.lto_priv.0`) may follow. 3.8 to 3.15:
/// <https://github.com/python/cpython/blob/v3.11.7/Modules/gcmodule.c>,
/// <https://github.com/python/cpython/blob/v3.14.0/Python/gc.c>.
static COLLECTOR: &[&str] = &[
    "collect",
    "collect_generations",
    "collect_with_callback",
    "gc_collect_main",
    "gc_collect_internal",
    "gc_collect_young",
    "gc_collect_increment",
    "gc_collect_full",
    "gc_collect_region",
    "gc_collect_with_callback",
    "gc_collect_generations",
    "update_refs",
    "subtract_refs",
    "deduce_unreachable",
    "move_unreachable",
    "move_legacy_finalizers",
    "move_legacy_finalizer_reachable",
    "handle_weakrefs",
    "finalize_garbage",
    "delete_garbage",
    "visit_decref",
    "visit_reachable",
    "visit_move",
    "visit_add_to_container",
    "untrack_tuples",
    "untrack_dicts",
    "gc_list_merge",
    "mark_at_start",
    "mark_stacks",
    "mark_all_reachable",
    "completed_scavenge",
    // Without the GIL: https://github.com/python/cpython/blob/v3.13.0/Python/gc_free_threading.c
    "gc_visit_heaps",
    "gc_visit_heaps_lock_held",
    "visit_clear_unreachable",
    "visit_decref_unreachable",
    "mark_reachable",
    "restore_refs",
    "mark_heap_visitor",
    "scan_heap_visitor",
    "validate_gc_objects",
    "deduce_unreachable_heap",
    "gc_mark_alive_from_roots",
    "gc_propagate_alive",
    "gc_prime_from_spans",
];

/// Whether a native symbol of the interpreter is the garbage collector.
#[must_use]
pub fn is_collector(symbol: &str) -> bool {
    COLLECTOR.contains(&symbol.split('.').next().unwrap_or(symbol))
}

/// Functions of the C library that run around a fork, in glibc and musl.
static FORK: &[&str] = &[
    "fork",
    "_Fork",
    "__fork",
    "__libc_fork",
    "__run_fork_handlers",
    "__run_postfork_handlers",
    "__run_prefork_handlers",
    "__nptl_set_robust",
    "reclaim_stacks",
    "__reclaim_stacks",
    "__malloc_fork_unlock_child",
    "__malloc_fork_unlock_parent",
    "_IO_list_resetlock",
    "vfork",
    "__vfork",
];

/// Whether a symbol of the C library belongs to a fork.
#[must_use]
pub fn is_fork(symbol: &str) -> bool {
    FORK.contains(&symbol)
}

/// Whether a file is the dynamic loader, of glibc or musl.
#[must_use]
pub fn is_loader(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    ["ld-linux", "ld-musl", "ld-2."].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The user's own code is what was not installed: also below a home directory that is called lib.
    #[test]
    fn tells_own_code_from_installed() {
        for (file, library) in [
            ("/home/ann/multi.py", Library::Own),
            ("multi.py", Library::Own),
            ("<string>", Library::Own),
            ("/home/ann/lib/pythonic/a.py", Library::Own),
            ("/home/ann/multiprocessing/a.py", Library::Own),
            ("/usr/lib/python3.11/json/__init__.py", Library::Installed),
            ("/usr/lib/python3/dist-packages/apt.py", Library::Installed),
            ("/home/ann/.venv/lib/python3.11/site-packages/flask/app.py", Library::Installed),
            ("/opt/py/lib/python3.13t/threading.py", Library::Installed),
            ("/usr/lib/python3.11/multiprocessing/pool.py", Library::Workers("multiprocessing")),
            ("/v/lib/python3.12/site-packages/gunicorn/workers/sync.py", Library::Workers("gunicorn")),
            ("/v/lib/python3.12/site-packages/uvicorn/server.py", Library::Workers("uvicorn")),
            ("/v/lib/python3.12/site-packages/celery/app/trace.py", Library::Workers("celery")),
            ("/v/lib/python3.12/site-packages/rq/worker.py", Library::Workers("rq")),
            ("/v/lib/python3.12/site-packages/joblib/parallel.py", Library::Workers("joblib")),
            (
                "/v/lib/python3.12/site-packages/torch/utils/data/_utils/worker.py",
                Library::Workers("torch DataLoader"),
            ),
            ("/v/lib/python3.12/site-packages/torch/nn/functional.py", Library::Installed),
            ("/v/bin/gunicorn", Library::Workers("gunicorn")),
            ("/home/ann/gunicorn", Library::Own),
            ("/home/ann/bin/tool", Library::Own),
            ("/v/lib/python3.9/site-packages/billiard/pool.py", Library::Workers("celery")),
            ("<frozen importlib._bootstrap>", Library::Frozen),
        ] {
            assert_eq!(of_file(file), library, "{file}");
        }
        assert_eq!(owner("/v/lib/python3.11/site-packages/flask/app.py"), "flask");
        assert_eq!(owner("/v/lib/python3.11/site-packages/six.py"), "six");
        assert_eq!(owner("/usr/lib/python3.11/threading.py"), "standard library");
    }

    /// Parts, hooks and modules by their files.
    #[test]
    fn names_by_file() {
        assert_eq!(part("/usr/lib/python3.14/multiprocessing/forkserver.py"), Some("forkserver"));
        assert_eq!(part("/usr/lib/python3.14/multiprocessing/heap.py"), None);
        assert_eq!(hook("/usr/lib/python3.11/random.py", "Random.seed"), "random.seed");
        assert_eq!(hook("/usr/lib/python3.8/random.py", "seed"), "random.seed");
        assert_eq!(hook("/home/ann/app/__init__.py", "Pool.reset"), "app.Pool.reset");
        assert_eq!(module("<string>"), "<string>");
        assert!(is_importing(IMPORTLIB, "_find_and_load") && !is_importing("/a.py", "_find_and_load"));
    }

    /// A compiler's suffix does not hide the collector.
    #[test]
    fn knows_the_collector() {
        assert!(is_collector("gc_collect_main") && is_collector("collect.constprop.0"));
        assert!(!is_collector("insertdict") && !is_collector("collection"));
    }
}
