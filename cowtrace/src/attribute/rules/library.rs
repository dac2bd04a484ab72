//! Data of programs and libraries.

use super::{Rule, Verdict};
use crate::attribute::{Evidence, library};

/// What variables of the interpreter, and of the C library's allocator, are, by the start of their names. 3.8 to 3.15:
/// <https://github.com/python/cpython/blob/v3.11.7/Objects/obmalloc.c>,
/// <https://github.com/python/cpython/blob/v3.9.18/Objects/typeobject.c#L22>
static VARIABLES: &[(&str, &str)] = &[
    ("_PyRuntime", "interpreter_state"),
    ("usedpools", "allocator"),
    ("arenas", "allocator"),
    ("maxarenas", "allocator"),
    ("unused_arena_objects", "allocator"),
    ("usable_arenas", "allocator"),
    ("nfp2lasta", "allocator"),
    ("narenas", "allocator"),
    ("arena_map", "allocator"),
    ("raw_allocated_blocks", "allocator"),
    ("method_cache", "type_cache"),
    ("next_version_tag", "type_cache"),
    ("main_arena", "malloc"),
];

/// A variable whose name is known, or data that is known to be a file's.
pub(super) const VARIABLE: Rule =
    Rule { id: "variable", about: "A variable of a program or library was written.", judge: variable };

fn variable(evidence: &Evidence<'_>) -> Option<Verdict> {
    let data = evidence.data?;
    let file = data.object.rsplit('/').next().unwrap_or(&data.object);
    if evidence.object.is_some_and(library::is_loader) {
        return Some(Verdict::new("library_data").name(format!("{file}, bound by the loader")));
    }
    let symbol = data.symbol.as_deref();
    let known = symbol.and_then(|symbol| VARIABLES.iter().find(|(start, _)| symbol.starts_with(start)));
    Some(match (known, symbol) {
        (Some((_, kind)), Some(symbol)) => Verdict::new(kind).name(symbol),
        (None, Some(symbol)) if symbol.ends_with("_Type") && evidence.in_interpreter => {
            Verdict::new("type_cache").of("type").name(symbol).likely()
        }
        (_, Some(symbol)) => Verdict::new("library_data").name(format!("{symbol} ({file})")),
        (_, None) => Verdict::new("library_data").name(file),
    })
}

/// Memory of the loader's own: lists of what is loaded, and for each library what of it is bound.
pub(super) const LOADER: Rule = Rule {
    id: "loader",
    about: "The loader of libraries wrote to its own data.",
    judge: |evidence: &Evidence<'_>| {
        let heap = matches!(evidence.region_kind, "heap" | "anonymous");
        (heap && evidence.object.is_some_and(library::is_loader))
            .then(|| Verdict::new("library_data").name("the loader's own data").likely())
    },
};

/// A private mapping of a file.
pub(super) const FILE: Rule = Rule {
    id: "library_data",
    about: "Data of a program or library was written: variables, or addresses that the loader fills in.",
    judge: |evidence: &Evidence<'_>| (evidence.region_kind == "file").then(|| Verdict::new("library_data")),
};
