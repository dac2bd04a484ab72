//! Whose code it was: the Python module, or the file of native code.
//!
//! An import is its module's, the innermost of those under way. A collection, a fork, a start and an exit are nobody's:
//! they are rows as in every cut. Everything else is the module of the innermost Python frame, whoever called it, and
//! where there is no such frame the file that holds the native code.

use std::path::Path;

use super::cuts::{Class, Key, machinery};
use super::escape::escape;
use super::scope::Scope;
use super::words;
use crate::record::schema::{Fault, Operation};

/// Directories below which a path is a module's name.
static PACKAGES: &[&str] = &["site-packages", "dist-packages", "lib-dynload"];

/// The module that an operation imports: the innermost of those under way; `None` = it is no import, or of no known module.
pub(super) fn imported(operation: &Operation) -> Option<&str> {
    if operation.kind != "import" {
        return None;
    }
    operation.chain.last().or(operation.name.as_ref()).map(String::as_str)
}

/// The row of a fault.
pub(super) fn key(scope: &Scope<'_>, fault: &Fault) -> Key {
    let trace = scope.trace;
    let operation = trace.operations.get(fault.operation);
    if let Some(module) = operation.and_then(imported) {
        return Key { place: escape(module), what: None, class: Class::Own };
    }
    if let Some(place) = operation.filter(|o| o.kind != "worker_bookkeeping").and_then(machinery) {
        return Key { place, what: None, class: Class::Machinery };
    }
    if let Some(frame) = trace.python.get(fault.python).and_then(|stack| stack.first()) {
        let place = module(&frame.file).unwrap_or_else(|| words::file(&frame.file, scope));
        return Key { place, what: None, class: Class::Own };
    }
    let site = fault.site.and_then(|site| trace.sites.get(site));
    // A trace without stacks still has the place.
    if let Some(site) = site.filter(|site| site.line.is_some()) {
        let library = site.library.as_deref().map(escape);
        return Key {
            place: library.unwrap_or_else(|| words::file_of(site, scope)),
            what: None,
            class: Class::Own,
        };
    }
    let frame = trace.native.get(fault.native).and_then(|stack| stack.first());
    let object = frame.and_then(|frame| frame.object.as_deref()).or_else(|| site?.file.as_deref());
    let class = if scope.is_of_main(fault) && site.is_some_and(|site| site.library.is_none()) {
        Class::Own
    } else {
        Class::Native
    };
    match object {
        Some(path) => Key { place: words::file(path, scope), what: None, class },
        None => match operation.and_then(machinery) {
            Some(place) => Key { place, what: None, class: Class::Machinery },
            None => Key { place: "unknown".to_owned(), what: None, class: Class::Unknown },
        },
    }
}

/// The name of the module that a file of an installed package or of the standard library is, e.g.
/// `multiprocessing.queues`; `None` for other files.
fn module(file: &str) -> Option<String> {
    if let Some(frozen) = file.strip_prefix("<frozen ").and_then(|rest| rest.strip_suffix('>')) {
        return Some(escape(frozen));
    }
    let parts: Vec<&str> = Path::new(file).iter().filter_map(|part| part.to_str()).collect();
    let root = parts.iter().rposition(|part| PACKAGES.contains(part)).or_else(|| {
        // `lib/python3.11/json/decoder.py`, `python311.zip/json/decoder.py`
        parts.iter().rposition(|part| {
            let version = part.strip_prefix("python").map(|rest| rest.trim_end_matches(".zip"));
            version.is_some_and(|v| {
                v.starts_with('3') && v.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 't'))
            })
        })
    })?;
    let (last, packages) = parts.get(root + 1..)?.split_last()?;
    let stem = last.split_once('.').map_or(*last, |(stem, _)| stem);
    let names = packages.iter().copied().chain(Some(stem).filter(|stem| *stem != "__init__"));
    let name = names.collect::<Vec<_>>().join(".");
    (!name.is_empty()).then(|| escape(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::{Builder, line, operation, page, symbol, write};
    use crate::record::schema::{NativeFrame, PythonFrame};
    use crate::report::causes::causes;
    use crate::report::cut;

    #[test]
    fn names() {
        for (file, name) in [
            ("/usr/lib/python3.11/multiprocessing/queues.py", Some("multiprocessing.queues")),
            ("/usr/lib/python3/dist-packages/numpy/core/__init__.py", Some("numpy.core")),
            ("/v/lib/python3.13t/site-packages/six.py", Some("six")),
            ("/usr/lib/python3.11/lib-dynload/_random.cpython-311-x86_64-linux-gnu.so", Some("_random")),
            ("/usr/lib/python311.zip/json/decoder.pyc", Some("json.decoder")),
            ("<frozen importlib._bootstrap>", Some("importlib._bootstrap")),
            ("/home/ann/multi.py", None),
            ("/home/ann/python3rd/multi.py", None),
            ("/v/lib/python3.11/site-packages", None),
            ("<string>", None),
            ("", None),
        ] {
            assert_eq!(module(file).as_deref(), name, "{file}");
        }
    }

    /// Imports by what is imported, lines by their innermost frame, native code by its file, and nobody's work by its kind.
    #[test]
    fn rows() {
        let mut b = Builder::new(&["python", "a.py"]);
        let parent = b.process(None, "python3", 0);
        let child = b.process(Some(parent), "python3", 1 << 20);
        let refcount = || write("refcount", "str", "");
        let mut import = operation("import", "json");
        import.chain = vec!["json".to_owned(), "json.decoder".to_owned()];
        b.faults(child, 1, &page(import, refcount(), line("/home/a.py", 3, "f")));
        let frame = |file: &str| PythonFrame {
            function: "f".to_owned(),
            file: file.to_owned(),
            line: Some(1),
            approximate: false,
            op: None,
        };
        let mut queue = page(operation("worker_bookkeeping", "multiprocessing"), refcount(), None);
        queue.python = vec![frame("/usr/lib/python3.11/multiprocessing/queues.py"), frame("/home/a.py")];
        b.faults(child, 2, &queue);
        let mut own = page(operation("call", ""), refcount(), line("/home/a.py", 4, "f"));
        own.python = vec![frame("/home/a.py")];
        b.faults(child, 3, &own);
        let mut gc = page(operation("gc", ""), write("gc_header", "", ""), line("/home/a.py", 5, "f"));
        gc.python = vec![frame("/home/a.py")];
        b.faults(child, 4, &gc);
        let mut native =
            page(operation("native", ""), write("malloc", "", ""), symbol("malloc", "/lib/libc.so.6"));
        native.native = vec![NativeFrame {
            symbol: Some("malloc".to_owned()),
            object: Some("/lib/libc.so.6".to_owned()),
            offset: 1,
            ..NativeFrame::default()
        }];
        b.faults(child, 5, &native);
        b.faults(child, 6, &page(operation("unknown", ""), write("unknown", "", ""), None));
        let trace = b.finish();
        let scope = Scope::new(&trace, Some("/home"));
        let mut rows = causes(&scope, cut("module").unwrap());
        rows.sort_by_key(|row| row.pages());
        let rows: Vec<(u64, &str)> = rows.iter().map(|row| (row.pages(), row.place.as_str())).collect();
        assert_eq!(
            rows,
            [
                (1, "json.decoder"),
                (2, "multiprocessing.queues"),
                (3, "a.py"),
                (4, "garbage collector"),
                (5, "libc.so.6 (malloc)"),
                (6, "unknown")
            ]
        );
    }
}
