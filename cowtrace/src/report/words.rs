//! Kinds, places and names of the trace in the words of the report. Every function gives text that is safe to print.

use std::collections::BTreeMap;
use std::path::Path;

use super::escape::escape;
use super::scope::Scope;
use crate::record::schema::{Operation, Process, Region, Site, Write};

/// A longer path is shown by its last part only.
const LONGEST_PATH: usize = 32;

/// How a kind of write is called, and whether the type of the object says more.
static WRITES: &[(&str, &str)] = &[
    ("refcount", "refcount"),
    ("gc_header", "GC header"),
    ("gc_mark_bits", "GC mark bits"),
    ("c_stack", "C stack"),
    ("malloc", "malloc's own data"),
    ("allocator", "object allocator"),
    ("bytecode", "bytecode counters"),
    ("kernel_copy", "by the kernel"),
];

/// A kind in words: what the table of words says, otherwise the kind with spaces.
pub(crate) fn kind_words(kind: &str) -> String {
    let known = WRITES.iter().find(|(name, _)| *name == kind);
    known.map_or_else(|| kind.replace('_', " "), |(_, words)| (*words).to_owned())
}

/// A kind of operation in words.
pub(crate) fn operation_kind(kind: &str) -> String {
    match kind {
        "gc" => "garbage collector".to_owned(),
        "module_swap" => "swap in sys.modules".to_owned(),
        "fork_bookkeeping" => "fork and its hooks".to_owned(),
        "worker_bookkeeping" => "worker pool".to_owned(),
        "startup" => "start-up".to_owned(),
        _ => kind.replace('_', " "),
    }
}

/// A write by its kind and type, e.g. `refcount of str`: what many writes of a row have in common.
pub(super) fn write_sort(write: &Write) -> String {
    if write.kind == "unknown" {
        return "unknown write".to_owned();
    }
    match write.of.as_deref() {
        // `dict entry of dict` says it twice.
        Some(of) if !write.kind.starts_with(of) => format!("{} of {}", kind_words(write.kind), escape(of)),
        Some(_) | None => kind_words(write.kind),
    }
}

/// A single write, e.g. `dict entry sys.modules['statistics']`.
pub(super) fn write_exact(write: &Write) -> String {
    match write.name.as_deref() {
        Some(name) if write.kind == "refcount" => {
            let of = write.of.as_deref().map_or_else(String::new, |of| escape(of) + " ");
            format!("refcount of {of}{}", escape(name))
        }
        Some(name) => format!("{} {}", kind_words(write.kind), escape(name)),
        None => write_sort(write),
    }
}

/// The object that was written to, e.g. `str 'getpid'`, `dict sys.modules['statistics']`.
pub(super) fn object(write: &Write) -> Option<String> {
    match (write.of.as_deref(), write.name.as_deref()) {
        (Some(of), Some(name)) => Some(format!("{} {}", escape(of), escape(name))),
        (Some(of), None) => Some(escape(of)),
        (None, Some(name)) => Some(escape(name)),
        (None, None) => None,
    }
}

/// A mapping, e.g. `heap`, `libpython3.11.so.1.0`.
pub(super) fn region(region: &Region, scope: &Scope<'_>) -> String {
    match region.path.as_deref() {
        Some(path) => format!("{} ({})", file(path, scope), region.kind),
        None if region.kind == "unknown" => "unknown mapping".to_owned(),
        None => region.kind.to_owned(),
    }
}

/// What stands before a line that is near the right one, and what it means.
pub(super) const APPROXIMATE: &str = "~";
pub(super) const ABOUT_APPROXIMATE: &str = "~ before a line: its code was compiled by the interpreter, which then does not tell at each line where it is";

/// A place in code: `multi.py:9 (f)`, `multi.py:~9`, `dbAdd (redis-server)`.
pub(super) fn site(site: &Site, scope: &Scope<'_>) -> String {
    let name = site.file.as_deref().map(|path| file(path, scope));
    let function = site.function.as_deref().filter(|f| *f != "<module>").map(escape);
    let near = if site.approximate { APPROXIMATE } else { "" };
    match (name, site.line, function) {
        (Some(name), Some(line), Some(function)) => format!("{name}:{near}{line} ({function})"),
        (Some(name), Some(line), None) => format!("{name}:{near}{line}"),
        (Some(_), None, Some(function)) if function.contains("+0x") => function,
        (Some(name), None, Some(function)) => format!("{function} ({name})"),
        (Some(name), None, None) => format!("{name}, no symbol"),
        (None, _, Some(function)) => function,
        (None, _, None) => "an unknown place".to_owned(),
    }
}

/// The file of a place.
pub(super) fn file_of(site: &Site, scope: &Scope<'_>) -> String {
    site.file.as_deref().map_or_else(|| "no file".to_owned(), |path| file(path, scope))
}

/// The function of a place, if it has a name and not only an offset.
pub(super) fn symbol(site: &Site) -> Option<String> {
    site.function.as_deref().filter(|name| site.line.is_none() && !name.contains("+0x")).map(escape)
}

/// A file relative to the directory of the report; only its last part when that is long or elsewhere.
pub(super) fn file(path: &str, scope: &Scope<'_>) -> String {
    let path = Path::new(path);
    let relative = scope.directory.and_then(|directory| path.strip_prefix(directory).ok());
    if let Some(short) = relative.and_then(Path::to_str).filter(|s| !s.is_empty() && s.len() <= LONGEST_PATH)
    {
        return escape(short);
    }
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return escape(&path.to_string_lossy());
    };
    // A package's `__init__.py` is only told apart by its directory.
    match path.parent().and_then(Path::file_name).and_then(|parent| parent.to_str()) {
        Some(parent) if name.starts_with("__") => escape(&format!("{parent}/{name}")),
        Some(_) | None => escape(name),
    }
}

/// What the operation did, without its place: `import statistics`, `sys.modules['statistics'] =`; `None` for a kind
/// that is told by its place alone.
pub(super) fn action(operation: &Operation) -> Option<String> {
    let name = operation.name.as_deref().map(escape);
    match (operation.kind, operation.detail.as_deref(), name) {
        ("import", Some("reload"), Some(name)) => Some(format!("reload {name}")),
        ("import", Some("reload"), None) => Some("reload".to_owned()),
        ("import", _, Some(name)) => Some(format!("import {name}")),
        ("import", _, None) => Some("import".to_owned()),
        ("module_swap", Some("delete"), name) => Some(format!("del {}", slot(name.as_deref()))),
        ("module_swap", _, name) => Some(format!("{} =", slot(name.as_deref()))),
        ("kernel", Some(_), Some(name)) => Some(format!("{name}() of another process")),
        ("kernel", Some(_), None) => Some("by the kernel, from outside the process".to_owned()),
        ("kernel", _, Some(name)) => Some(format!("{name}() by the kernel")),
        ("kernel", _, None) => Some("by the kernel".to_owned()),
        _ => None,
    }
}

/// Modules of a chain that are named; what is further in is `…`.
const CHAIN: usize = 4;

/// The import of a row whose faults have these operations, with their weights: the chain of imports that at least half
/// of them are in. `None` = it is no import with a chain.
pub(super) fn chain<'a>(operations: impl Iterator<Item = (&'a Operation, u64)>) -> Option<String> {
    let chains: Vec<(&[String], u64)> = operations
        .filter(|(operation, _)| operation.kind == "import" && operation.detail.is_none())
        .map(|(operation, bytes)| (operation.chain.as_slice(), bytes))
        .collect();
    let all: u64 = chains.iter().map(|(_, bytes)| bytes).sum();
    let mut shown: Vec<&str> = Vec::new();
    loop {
        let mut next: BTreeMap<&str, u64> = BTreeMap::new();
        for (chain, bytes) in &chains {
            let begins =
                chain.len() > shown.len() && chain.iter().zip(&shown).all(|(one, other)| one == other);
            if begins {
                *next.entry(&chain[shown.len()]).or_default() += bytes;
            }
        }
        let Some((name, bytes)) = next.into_iter().rev().max_by_key(|(_, bytes)| *bytes) else { break };
        if !shown.is_empty() && bytes * 2 < all {
            break;
        }
        if shown.len() == CHAIN {
            shown.push("…");
            break;
        }
        shown.push(name);
    }
    (!shown.is_empty()).then(|| {
        let names: Vec<String> = shown.into_iter().map(escape).collect();
        format!("import {}", names.join(" → "))
    })
}

/// The same for a sentence: `swap of sys.modules['statistics']`.
pub(super) fn deed(operation: &Operation) -> Option<String> {
    let name = operation.name.as_deref().map(escape);
    match (operation.kind, operation.detail.as_deref(), name) {
        ("module_swap", Some("delete"), name) => Some(format!("deletion of {}", slot(name.as_deref()))),
        ("module_swap", _, Some(name)) => Some(format!("swap of {}", slot(Some(&name)))),
        ("module_swap", _, None) => Some("swap of a module".to_owned()),
        ("import", Some("reload"), Some(name)) => Some(format!("reload of {name}")),
        ("import", None, Some(name)) => Some(format!("import of {name}")),
        ("kernel", Some(_), Some(name)) => Some(format!("another process's system call {name}")),
        ("kernel", _, Some(name)) => Some(format!("the system call {name}")),
        ("kernel", _, None) => Some("a system call".to_owned()),
        ("gc", ..) => Some("the garbage collector".to_owned()),
        _ => action(operation),
    }
}

/// The slot of a module: the key alone, or as it came.
fn slot(name: Option<&str>) -> String {
    match name {
        Some(name) if name.contains('[') => name.to_owned(),
        Some(name) => format!("sys.modules['{name}']"),
        None => "sys.modules[…]".to_owned(),
    }
}

/// A process: `4711 python3`.
pub(super) fn process(process: &Process) -> String {
    format!("{} {}", process.pid, escape(&process.comm))
}
