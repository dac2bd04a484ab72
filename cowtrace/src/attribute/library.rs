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

/// A pool's machinery: its name, and what its files' paths contain.
struct Workers {
    name: &'static str,
    paths: &'static [&'static str],
}

/// Every pool that is known. A task that runs in a worker has frames of its own inside these.
static WORKERS: &[Workers] = &[
    Workers { name: "multiprocessing", paths: &["/multiprocessing/"] },
    Workers { name: "concurrent.futures", paths: &["/concurrent/futures/"] },
    Workers { name: "gunicorn", paths: &["/gunicorn/"] },
    Workers { name: "celery", paths: &["/celery/", "/billiard/"] },
];

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
        return Library::Own;
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

/// Functions of CPython's cyclic garbage collector, as they are named in an unstripped build; a compiler's suffix
/// (`.constprop.0`, `.lto_priv.0`) may follow. 3.8 to 3.15:
/// <https://github.com/python/cpython/blob/v3.11.7/Modules/gcmodule.c>,
/// <https://github.com/python/cpython/blob/v3.14.0/Python/gc.c>.
static COLLECTOR: &[&str] = &[
    "collect",
    "gc_collect_main",
    "gc_collect_young",
    "gc_collect_increment",
    "gc_collect_full",
    "gc_collect_region",
    "update_refs",
    "subtract_refs",
    "deduce_unreachable",
    "move_unreachable",
    "visit_decref",
    "visit_reachable",
    "visit_move",
    "untrack_tuples",
    "gc_list_merge",
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
            ("/v/lib/python3.9/site-packages/billiard/pool.py", Library::Workers("celery")),
            ("<frozen importlib._bootstrap>", Library::Frozen),
        ] {
            assert_eq!(of_file(file), library, "{file}");
        }
        assert_eq!(owner("/v/lib/python3.11/site-packages/flask/app.py"), "flask");
        assert_eq!(owner("/v/lib/python3.11/site-packages/six.py"), "six");
        assert_eq!(owner("/usr/lib/python3.11/threading.py"), "standard library");
    }

    /// A compiler's suffix does not hide the collector.
    #[test]
    fn knows_the_collector() {
        assert!(is_collector("gc_collect_main") && is_collector("collect.constprop.0"));
        assert!(!is_collector("insertdict") && !is_collector("collection"));
    }
}
