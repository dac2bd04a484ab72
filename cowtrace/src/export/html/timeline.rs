//! Copies over time: by process, cause and slice of time for all of them, one by one for as many as a page bears, and
//! imports and collections as spans.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::super::timeline::{Thread, Timeline};
use super::limits::Limits;
use super::strings::{Strings, Words};
use crate::record::schema::{Fault, Trace};
use crate::report::escape::escape;
use crate::report::view::{self, View};

/// Faults that are in the page one by one, at most.
pub(super) const FAULTS: usize = 20_000;
/// Cells of the whole timeline, at most.
const CELLS: usize = 100_000;
/// Slices of time, at most and at least. With the fewest, the limits of [`Limits`] bound the cells.
const SLICES: (u64, u64) = (4096, 8);
/// Spans of each sort, at most.
const SPANS: usize = 2_000;

/// Copies by slice of time, process and cause, sorted; columns, slices as differences.
#[derive(Serialize, Default)]
pub(super) struct Cells {
    /// Into how many slices the trace's duration is cut.
    slices: u64,
    slice: Vec<u64>,
    process: Vec<usize>,
    cause: Vec<usize>,
    pub(super) pages: Vec<u64>,
    pub(super) bytes: Vec<u64>,
}

/// Faults one by one; columns, times as differences.
#[derive(Serialize, Default)]
pub(super) struct Faults {
    /// All copies, of which these are some or all.
    pub(super) of: u64,
    pub(super) time: Vec<u64>,
    process: Vec<usize>,
    tid: Vec<u32>,
    /// Number of the page that was written to, and the byte in it.
    page: Vec<u64>,
    byte: Vec<u64>,
    bytes: Vec<u64>,
    cause: Vec<usize>,
    operation: Vec<usize>,
    write: Vec<usize>,
    /// 0 = none, otherwise one more than the text.
    site: Vec<usize>,
    region: Vec<usize>,
    /// Nanoseconds; 0 = not measured.
    latency: Vec<u64>,
}

/// Something that went on for a while, as far as its copies show it.
#[derive(Serialize)]
pub(super) struct Span {
    process: usize,
    kind: &'static str,
    /// Imports that it is part of.
    depth: usize,
    name: usize,
    start: u64,
    end: u64,
    pages: u64,
    bytes: u64,
}

/// The spans of a trace, by start.
#[derive(Serialize)]
pub(super) struct Spans {
    /// How many there are; the heaviest are shown.
    of: usize,
    shown: Vec<Span>,
}

/// The copies of a trace with the rows of the page that they belong to.
pub(super) fn copies<'a>(
    trace: &'a Trace,
    view: &'a View<'_>,
    limits: &'a Limits,
) -> impl Iterator<Item = (&'a Fault, usize)> {
    let rows = trace.faults.iter().zip(view.rows());
    rows.filter_map(|(fault, row)| Some((fault, limits.cause(row.map(|row| row as usize)?))))
}

/// The slice of time that a moment lies in.
pub(super) fn slice(time: u64, duration: u64, slices: u64) -> u64 {
    let slice = u128::from(time) * u128::from(slices) / (u128::from(duration) + 1);
    u64::try_from(slice).unwrap_or(slices).min(slices - 1)
}

/// All copies, in as many slices as fit.
pub(super) fn cells(trace: &Trace, view: &View<'_>, limits: &Limits, duration: u64) -> Cells {
    let mut slices = SLICES.0;
    let cells = loop {
        if let Some(cells) = cut(trace, view, limits, duration, slices) {
            break cells;
        }
        slices /= 2;
    };
    let mut cells: Vec<_> = cells.into_iter().collect();
    cells.sort_unstable();
    let mut columns = Cells { slices, ..Cells::default() };
    let mut before = 0;
    for ((slice, process, cause), (pages, bytes)) in cells {
        columns.slice.push(slice - before);
        columns.process.push(process);
        columns.cause.push(cause);
        columns.pages.push(pages);
        columns.bytes.push(bytes);
        before = slice;
    }
    columns
}

type CellMap = HashMap<(u64, usize, usize), (u64, u64)>;

/// `None` = there are too many cells; never with the fewest slices.
fn cut(trace: &Trace, view: &View<'_>, limits: &Limits, duration: u64, slices: u64) -> Option<CellMap> {
    let mut cells = CellMap::new();
    for (fault, cause) in copies(trace, view, limits) {
        let key = (slice(fault.time, duration, slices), limits.process_or_rest(fault.process), cause);
        let (pages, bytes) = cells.entry(key).or_default();
        *pages += 1;
        *bytes += fault.bytes;
        if cells.len() > CELLS && slices > SLICES.1 {
            return None;
        }
    }
    Some(cells)
}

/// As many copies as the page bears: all, or the first of each cause in each process and then every so many-th.
pub(super) fn faults(trace: &Trace, view: &View<'_>, limits: &Limits, strings: &mut Strings) -> Faults {
    let of = copies(trace, view, limits).count();
    let pair = |fault: &Fault, cause| (limits.process_or_rest(fault.process), cause);
    let mut first = HashSet::new();
    let stride = if of <= FAULTS {
        1
    } else {
        let pairs: HashSet<_> =
            copies(trace, view, limits).map(|(fault, cause)| pair(fault, cause)).collect();
        of.div_ceil(FAULTS.saturating_sub(pairs.len()).max(1))
    };
    let pages = trace.header.pages();
    let mut columns = Faults { of: of as u64, ..Faults::default() };
    let (mut operations, mut writes, mut sites, mut regions) =
        (Words::new(), Words::new(), Words::new(), Words::new());
    let mut before = 0;
    for (number, (fault, cause)) in copies(trace, view, limits).enumerate() {
        let is_first = first.insert(pair(fault, cause));
        if columns.time.len() == FAULTS || !(is_first || number.is_multiple_of(stride)) {
            continue;
        }
        columns.time.push(fault.time.saturating_sub(before));
        before = before.max(fault.time);
        columns.process.push(limits.process_or_rest(fault.process));
        columns.tid.push(fault.tid);
        columns.page.push(pages.number(fault.address));
        columns.byte.push(pages.offset(fault.address));
        columns.bytes.push(fault.bytes);
        columns.cause.push(cause);
        columns.operation.push(operations.of(fault.operation.index(), strings, || {
            trace.operations.get(fault.operation).map_or_else(|| "unknown".to_owned(), view::operation)
        }));
        columns.write.push(writes.of(fault.write.index(), strings, || {
            trace.writes.get(fault.write).map_or_else(|| "unknown write".to_owned(), view::write)
        }));
        columns.site.push(fault.site.map_or(0, |site| {
            let words = || trace.sites.get(site).map_or_else(String::new, |site| view.site(site));
            1 + sites.of(site.index(), strings, words)
        }));
        columns.region.push(regions.of(fault.region.index(), strings, || {
            trace.regions.get(fault.region).map_or_else(String::new, |region| view.region(region))
        }));
        columns.latency.push(fault.latency.map_or(0, std::num::NonZero::get));
    }
    columns
}

/// Imports and collections, as far as their processes are named. An import that is part of another comes after it.
pub(super) fn spans(timeline: &Timeline<'_>, limits: &Limits, strings: &mut Strings) -> Spans {
    // Ends of the imports of a thread that are under way.
    let mut open: HashMap<Thread, Vec<u64>> = HashMap::new();
    let imports = timeline.imports.iter().filter_map(|import| {
        let around = open.entry(import.thread).or_default();
        around.truncate(around.partition_point(|end| *end >= import.end));
        let depth = around.len();
        around.push(import.end);
        let doing = import.detail.unwrap_or("import");
        let module = import.module.map_or_else(String::new, |module| format!(" {}", escape(module)));
        Some(Span {
            process: limits.process(import.thread.process)?,
            kind: "import",
            depth,
            name: strings.intern(format!("{}{module}", escape(doing))),
            start: import.start,
            end: import.end,
            pages: import.pages,
            bytes: import.bytes,
        })
    });
    let mut spans: Vec<Span> = imports.collect();
    spans.extend(timeline.collections.iter().filter_map(|span| {
        let collection = span.collection;
        let generation = collection.generation.map_or_else(String::new, |g| format!(", generation {g}"));
        Some(Span {
            process: limits.process(collection.process)?,
            kind: "gc",
            depth: 0,
            name: strings.intern(format!("garbage collection {}{generation}", collection.number)),
            start: collection.start,
            end: span.end,
            pages: collection.pages,
            bytes: collection.bytes,
        })
    }));
    let of = spans.len();
    spans.sort_by_key(|span| Reverse(span.bytes));
    spans.truncate(SPANS);
    // Collections are drawn over the imports that they interrupt.
    spans.sort_by_key(|span| (span.kind == "gc", span.start, span.process, span.depth));
    Spans { of, shown: spans }
}
