//! What each cause is, why it writes to shared memory, and what is usually done about it: one row for each pair of an
//! operation and a write, with the evidence of the trace. No row without pages.

use std::collections::{BTreeMap, HashMap};
use std::io;

use serde::Serialize;

use super::groups::Group;
use super::numbers::{counted, percent, size};
use super::scope::{Copied, Scope};
use super::table::{Paper, Tone};
use super::words;
use crate::record::schema::{Fault, Id, Site};

/// Causes that are explained, unless all are asked for.
const MOST: usize = 6;
/// Any kind.
const ANY: &str = "*";

/// One cause in words.
struct Row {
    operation: &'static str,
    write: &'static str,
    /// What it is, and why it writes to shared memory.
    about: &'static str,
    /// What is usually done about it; empty = nothing, or nothing is needed.
    remedy: &'static str,
    /// The same from a version of CPython on (major × 100 + minor).
    since: Option<(u32, &'static str)>,
}

const fn row(operation: &'static str, write: &'static str, about: &'static str, remedy: &'static str) -> Row {
    Row { operation, write, about, remedy, since: None }
}

/// Every cause; the first row that fits is it.
static ROWS: &[Row] = &[
    row(
        "gc",
        ANY,
        "A garbage collection keeps its bookkeeping in a header before every container object, and so writes to each \
         page that holds one, used or not.",
        "Call gc.freeze() in the parent just before it forks (in a child it is too late: the pages are copied by its \
         first collection), and gc.disable() in the parent from its start, so that no freed slots are left between \
         the objects.",
    ),
    row(
        "import",
        ANY,
        "A module that is imported after the fork is read, compiled and run in every process again; its objects go \
         to slots that are free on shared pages, and its names into shared tables.",
        "Import it in the parent before the fork (gunicorn: --preload; a pool: import it at the top of the main \
         module).",
    ),
    row(
        "module_swap",
        ANY,
        "An entry of sys.modules was replaced or removed: the table of modules is one of the shared objects.",
        "Do it in the parent before the fork, if every process needs it.",
    ),
    row(
        "fork_bookkeeping",
        ANY,
        "What the C library, the interpreter and registered hooks do in every fork: locks are made anew, threads \
         forgotten, random numbers seeded.",
        "It is paid once for each process: fork fewer that live longer. Hooks are registered by what is imported.",
    ),
    row(
        "worker_bookkeeping",
        ANY,
        "The machinery of the pool itself: starting the process, waiting for tasks, passing results.",
        "It is paid once for each worker: let workers live longer (a larger maxtasksperchild or max_requests, or \
         none) and pass larger tasks.",
    ),
    row("startup", ANY, "A program or interpreter that was being started writes to its own new memory.", ""),
    row(
        "exit",
        ANY,
        "An interpreter that is taken down frees what it has inherited, object by object.",
        "Where nothing has to be cleaned up, end a child by os._exit().",
    ),
    Row {
        operation: ANY,
        write: "refcount",
        about: "Reading an object writes to it: a reference that is taken or dropped is counted in the object itself.",
        remedy: "Keep large data that is only read in one object without references inside: array, bytes, numpy, \
                 Arrow, or a mapped file.",
        since: Some((
            312,
            "Keep large data that is only read in one object without references inside: array, bytes, numpy, Arrow, \
             or a mapped file. From 3.12 on None, small integers and other immortal objects are not counted any more; \
             yours are.",
        )),
    },
    row(
        ANY,
        "gc_header",
        "The garbage collector's links before an object were written as its neighbour in the collector's list came or \
         went.",
        "gc.freeze() in the parent before the fork takes inherited objects out of that list.",
    ),
    row(
        ANY,
        "dict_entry",
        "An entry of an inherited dict was stored, replaced or removed.",
        "Fill tables before the fork; keep what changes in each process in dicts made after it.",
    ),
    row(
        ANY,
        "dict_resize",
        "An inherited dict has grown: it got a new table, and its header was written.",
        "Fill tables before the fork; keep what changes in each process in dicts made after it.",
    ),
    row(
        ANY,
        "list_item",
        "An item of an inherited list was stored.",
        "Collect results in lists made after the fork.",
    ),
    row(
        ANY,
        "attribute",
        "An attribute of an inherited object was stored.",
        "Keep what changes in each process apart from what is shared, in objects made after the fork; caches are \
         best filled before it.",
    ),
    row(
        ANY,
        "object_body",
        "A field of an inherited object was written.",
        "Use objects with a state of their own (iterators, parsers, counters) that were made after the fork.",
    ),
    row(
        ANY,
        "allocator",
        "The interpreter's allocator keeps small objects of one size together: a new one takes a free slot on a \
         shared page, and the page's counts are written with it.",
        "gc.disable() in the parent from its start, and gc.freeze() before the fork, leave fewer free slots between \
         the shared objects.",
    ),
    row(
        ANY,
        "interpreter_frame",
        "A call of a function pushes its frame on the thread's stack of frames, which the child has inherited.",
        "It is a few pages for each process, however long it runs.",
    ),
    row(
        ANY,
        "interpreter_state",
        "The interpreter's own variables: what it does at all, it writes there.",
        "It is a few pages for each process, however long it runs.",
    ),
    row(
        ANY,
        "thread_state",
        "The interpreter's record of a thread: every call is noted there.",
        "It is a page or two for each process, however long it runs.",
    ),
    row(
        ANY,
        "c_stack",
        "Native functions use the stack that the child has inherited.",
        "It is a few pages for each process, however long it runs.",
    ),
    row(
        ANY,
        "library_data",
        "Variables of a program or library, or addresses that the loader fills in when a function is called for the \
         first time.",
        "LD_BIND_NOW=1 lets the loader fill them in before the fork.",
    ),
    row(
        ANY,
        "bytecode",
        "Code that runs often is specialized in place, and counters in it tell how often it ran.",
        "Let the parent run the hot functions a few times before it forks.",
    ),
    row(
        ANY,
        "type_cache",
        "What was found when an attribute was looked up is remembered in the interpreter and in the type.",
        "Let the parent run the hot functions a few times before it forks.",
    ),
    row(
        ANY,
        "malloc",
        "The C library's allocator keeps its bookkeeping between the blocks that it gives away and takes back.",
        "Allocate what lives long before the fork and do not free it after; in the parent malloc_trim(0) before the \
         fork gives back what is free.",
    ),
    row(
        ANY,
        "native_data",
        "A program without interpreter wrote its own data: to blocks that it had allocated, or to memory that it had \
         mapped.",
        "Write to memory that was allocated after the fork, or keep what changes often apart from what is only read.",
    ),
    row(
        ANY,
        "buffer",
        "The content of a buffer was written: bytes, an array, a mapping's data.",
        "Write to buffers made after the fork, or share them on purpose (multiprocessing.shared_memory).",
    ),
    row(
        ANY,
        "kernel_copy",
        "The kernel stored the result of a system call in an inherited buffer.",
        "Read into buffers made after the fork.",
    ),
];

/// The row for these kinds; `None` = none has been written for it, as for what is not known.
fn find(operation: &str, write: &str) -> Option<&'static Row> {
    let fits = |pattern: &str, kind: &str| pattern == ANY || pattern == kind;
    ROWS.iter().find(|row| fits(row.operation, operation) && fits(row.write, write))
}

/// A cause of the trace, explained.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Explained {
    /// Kind of the operation; null = any.
    operation: Option<&'static str>,
    /// Kind of the write; null = any.
    write: Option<&'static str>,
    copies: u64,
    copied_bytes: u64,
    /// Part of all copied bytes, 0 to 1.
    share: f64,
    /// Processes that copied.
    pids: Vec<u32>,
    /// Where most of it was.
    at: Option<String>,
    about: &'static str,
    /// What is usually done about it; null = nothing.
    remedy: Option<&'static str>,
}

#[derive(Default)]
struct Tally {
    copied: Copied,
    processes: BTreeMap<usize, u64>,
    sites: HashMap<Id<Site>, u64>,
}

/// The causes of a trace that have a row, most bytes first.
pub(super) fn causes(scope: &Scope<'_>) -> Vec<Explained> {
    let trace = scope.trace;
    let mut tallies: BTreeMap<usize, Tally> = BTreeMap::new();
    let number = |fault: &Fault| {
        let operation = trace.operations.get(fault.operation)?.kind;
        let row = find(operation, trace.writes.get(fault.write)?.kind)?;
        ROWS.iter().position(|other| std::ptr::eq(other, row))
    };
    for Group { fault, copied, .. } in scope.copies() {
        let Some(row) = number(fault) else { continue };
        let tally = tallies.entry(row).or_default();
        tally.copied.add(copied);
        *tally.processes.entry(fault.process).or_default() += copied.all_pages();
        if let Some(site) = fault.site {
            *tally.sites.entry(site).or_default() += copied.all_bytes();
        }
    }
    let total = scope.total().all_bytes();
    let version = version(scope);
    let mut explained: Vec<Explained> = tallies
        .into_iter()
        .filter(|(_, tally)| tally.copied.all_pages() > 0)
        .map(|(at, tally)| explain(scope, &ROWS[at], &tally, total, version))
        .collect();
    explained.sort_by_key(|cause| std::cmp::Reverse(cause.copied_bytes));
    explained
}

fn explain(scope: &Scope<'_>, row: &Row, tally: &Tally, total: u64, version: Option<u32>) -> Explained {
    let some = |kind: &'static str| (kind != ANY).then_some(kind);
    let bytes = tally.copied.all_bytes();
    // Of equal ones the one that came first.
    let most = tally.sites.iter().max_by_key(|(site, bytes)| (**bytes, std::cmp::Reverse(site.index())));
    let remedy = match row.since {
        Some((since, newer)) if version.is_some_and(|version| version >= since) => newer,
        _ => row.remedy,
    };
    Explained {
        operation: some(row.operation),
        write: some(row.write),
        copies: tally.copied.all_pages(),
        copied_bytes: bytes,
        share: if total == 0 { 0.0 } else { bytes as f64 / total as f64 },
        pids: tally.processes.keys().filter_map(|p| Some(scope.trace.processes.get(*p)?.pid)).collect(),
        at: most.and_then(|(site, _)| scope.trace.sites.get(*site)).map(|site| words::site(site, scope)),
        about: row.about,
        remedy: Some(remedy).filter(|remedy| !remedy.is_empty()),
    }
}

/// The oldest CPython of the trace, as major × 100 + minor: what is said must hold for each.
fn version(scope: &Scope<'_>) -> Option<u32> {
    let pythons = scope.trace.header.interpreters.iter().filter(|interpreter| interpreter.name == "CPython");
    let number = |version: &str| {
        let mut parts = version.split('.');
        let mut part = || parts.next()?.parse::<u32>().ok().filter(|part| *part < 100);
        Some(part()? * 100 + part()?)
    };
    pythons.filter_map(|interpreter| number(&interpreter.version)).min()
}

/// Writes a paragraph for each cause.
pub(super) fn write(scope: &Scope<'_>, all: bool, paper: &mut Paper<'_>) -> io::Result<()> {
    let causes = causes(scope);
    let total = scope.total().all_bytes();
    let most = if all { usize::MAX } else { MOST };
    for cause in causes.iter().take(most) {
        paper.line(Tone::Plain, "")?;
        paper.paragraph(Tone::Strong, "", &heading(cause, total))?;
        paper.paragraph(Tone::Plain, "  ", cause.about)?;
        if let Some(remedy) = cause.remedy {
            paper.paragraph(Tone::Plain, "  ", remedy)?;
        }
    }
    if causes.len() > most {
        paper.line(Tone::Plain, "")?;
        let more = counted((causes.len() - most) as u64, "more cause");
        paper.paragraph(Tone::Faint, "", &format!("… and {more} (--limit 0 explains all)"))?;
    }
    Ok(())
}

/// `refcount: 1,234 pages (4.8 MiB, 60 %) in 5 processes, most at multi.py:9 (f)`.
fn heading(cause: &Explained, total: u64) -> String {
    let kind = match (cause.operation, cause.write) {
        (Some(operation), _) => words::operation_kind(operation),
        (None, Some(write)) => words::kind_words(write),
        (None, None) => String::new(),
    };
    let (pages, bytes) = (counted(cause.copies, "page"), size(cause.copied_bytes));
    let processes = counted(cause.pids.len() as u64, "process");
    let mut text =
        format!("{kind}: {pages} ({bytes}, {}) in {processes}", percent(cause.copied_bytes, total));
    if let Some(at) = &cause.at {
        text += &format!(", most at {at}");
    }
    text
}

#[cfg(test)]
mod tests;
