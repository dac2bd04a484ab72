//! What imports cost: for each module the pages that were copied while it was imported, itself and with what it imported.
//!
//! Own = the module was the innermost import under way. With nested = it was under way at all, so that a module's nested
//! imports count for it too, and these numbers must not be added up over modules.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::escape::escape;
use super::groups::Group;
use super::modules;
use super::numbers::{count, counted, size, time};
use super::scope::{Copied, Scope};
use super::table::{Column, Grid, Tone};

/// Rows, unless all are asked for.
const ROWS: usize = 6;

/// One imported module, over all processes.
#[derive(Clone, Debug)]
pub(super) struct Import<'a> {
    /// Its name, as it came.
    pub(super) module: &'a str,
    /// Copied while it was the innermost import.
    pub(super) own: Copied,
    /// Copied while it was under way.
    pub(super) nested: Copied,
    /// The longest time, in one process, between the first and the last fault while it was under way; nanoseconds.
    pub(super) longest: u64,
    /// Indices of the processes that copied while it was under way.
    pub(super) processes: Vec<usize>,
    /// How many of them are workers.
    pub(super) workers: u64,
}

/// The same in JSON.
#[derive(Debug, Serialize)]
pub(super) struct ImportLine<'a> {
    module: &'a str,
    own_copies: u64,
    own_file_copies: u64,
    own_copied_bytes: u64,
    own_file_copied_bytes: u64,
    copies: u64,
    file_copies: u64,
    copied_bytes: u64,
    file_copied_bytes: u64,
    longest: u64,
    workers: u64,
    pids: Vec<u32>,
}

/// Faults of one process with one operation.
struct Span {
    copied: Copied,
    first: u64,
    last: u64,
}

/// Every imported module, most bytes (with nested) first.
pub(super) fn imports<'a>(scope: &Scope<'a>) -> Vec<Import<'a>> {
    let operations = scope.trace.operations.values();
    if !operations.iter().any(|operation| operation.kind == "import") {
        return Vec::new();
    }
    let mut spans: HashMap<(usize, usize), Span> = HashMap::new();
    for Group { fault, copied, last } in scope.copies() {
        let operation = fault.operation.index();
        if operations.get(operation).is_some_and(|operation| operation.kind == "import") {
            let empty = Span { copied: Copied::default(), first: fault.time, last: fault.time };
            let span = spans.entry((operation, fault.process)).or_insert(empty);
            span.copied.add(copied);
            (span.first, span.last) = (span.first.min(fault.time), span.last.max(*last));
        }
    }
    let mut modules: BTreeMap<&str, (Copied, BTreeMap<usize, Span>)> = BTreeMap::new();
    for ((index, process), span) in &spans {
        let Some(operation) = operations.get(*index) else { continue };
        let own = modules::imported(operation);
        let mut under_way: Vec<&str> = operation.chain.iter().map(String::as_str).chain(own).collect();
        under_way.sort_unstable();
        under_way.dedup();
        for module in under_way {
            let (own_copied, by_process) = modules.entry(module).or_default();
            if Some(module) == own {
                own_copied.add(&span.copied);
            }
            let empty = Span { copied: Copied::default(), first: span.first, last: span.last };
            let all = by_process.entry(*process).or_insert(empty);
            all.copied.add(&span.copied);
            (all.first, all.last) = (all.first.min(span.first), all.last.max(span.last));
        }
    }
    let mut imports: Vec<Import<'_>> = modules
        .into_iter()
        .map(|(module, (own, by_process))| {
            let mut nested = Copied::default();
            by_process.values().for_each(|span| nested.add(&span.copied));
            Import {
                module,
                own,
                nested,
                longest: by_process.values().map(|span| span.last - span.first).max().unwrap_or_default(),
                workers: by_process.keys().filter(|p| scope.inherited(**p).is_some()).count() as u64,
                processes: by_process.into_keys().collect(),
            }
        })
        .collect();
    imports.sort_by_key(|import| std::cmp::Reverse((import.nested.all_bytes(), import.own.all_bytes())));
    imports
}

/// The table; `None` = no process but the first copied a page for an import.
pub(super) fn grid(scope: &Scope<'_>, all: bool) -> Option<Grid> {
    let imports = imports(scope);
    if !imports.iter().any(|import| import.processes.iter().any(|process| *process > 0)) {
        return None;
    }
    let column = |title, number| Column { title, number };
    let mut grid = Grid::new(&[
        column("import", false),
        column("own pages", true),
        column("own", true),
        column("with nested", true),
        column("for up to", true),
        column("workers", true),
    ]);
    let limit = if all { usize::MAX } else { ROWS };
    for import in imports.iter().take(limit) {
        grid.push(
            Tone::Plain,
            vec![
                escape(import.module),
                count(import.own.all_pages()),
                size(import.own.all_bytes()),
                size(import.nested.all_bytes()),
                time(import.longest),
                count(import.workers),
            ],
        );
    }
    if imports.len() > limit {
        let mut own = Copied::default();
        imports.iter().skip(limit).for_each(|import| own.add(&import.own));
        let what = format!("… and {}", counted((imports.len() - limit) as u64, "more module"));
        grid.push(Tone::Faint, vec![what, count(own.all_pages()), size(own.all_bytes())]);
    }
    Some(grid)
}

/// Every imported module in JSON.
pub(super) fn lines<'a>(scope: &Scope<'a>) -> Vec<ImportLine<'a>> {
    let imports = imports(scope).into_iter();
    let pid = |process: usize| Some(scope.trace.processes.get(process)?.pid);
    imports
        .map(|import| ImportLine {
            module: import.module,
            own_copies: import.own.pages,
            own_file_copies: import.own.file_pages,
            own_copied_bytes: import.own.bytes,
            own_file_copied_bytes: import.own.file_bytes,
            copies: import.nested.pages,
            file_copies: import.nested.file_pages,
            copied_bytes: import.nested.bytes,
            file_copied_bytes: import.nested.file_bytes,
            longest: import.longest,
            workers: import.workers,
            pids: import.processes.into_iter().filter_map(pid).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::{Builder, line, operation, page, write};
    use crate::record::schema::{Operation, Trace};

    fn trace(worker: bool) -> Trace {
        let mut b = Builder::new(&["python", "a.py"]);
        let parent = b.process(None, "python3", 0);
        let workers: Vec<usize> = (0..2).map(|_| b.process(Some(parent), "python3", 1 << 20)).collect();
        let import = |chain: &[&str]| {
            let chain = chain.iter().map(|module| (*module).to_owned()).collect();
            let operation = Operation { chain, ..operation("import", "json") };
            page(operation, write("refcount", "str", ""), line("/a/a.py", 3, "f"))
        };
        if worker {
            for worker in workers {
                b.faults(worker, 3, &import(&["json"]));
                b.faults(worker, 5, &import(&["json", "json.decoder"]));
                b.faults(worker, 1, &import(&["json"]));
            }
        }
        b.faults(parent, 2, &import(&["json", "json.decoder", "re\x1b"]));
        b.finish()
    }

    #[test]
    fn own_and_nested() {
        let trace = trace(true);
        let scope = Scope::new(&trace, None);
        let rows: Vec<_> = imports(&scope)
            .into_iter()
            .map(|i| (i.module, i.own.pages, i.nested.pages, i.longest, i.workers, i.processes.len()))
            .collect();
        assert_eq!(
            rows,
            [("json", 8, 20, 4000, 2, 3), ("json.decoder", 10, 12, 2000, 2, 3), ("re\x1b", 2, 2, 500, 0, 1)]
        );
        assert!(grid(&scope, false).is_some());
    }

    /// What only the first process imports costs no worker anything.
    #[test]
    fn of_workers() {
        let trace = trace(false);
        let scope = Scope::new(&trace, None);
        assert_eq!(imports(&scope).len(), 3);
        assert!(grid(&scope, false).is_none());
    }
}
