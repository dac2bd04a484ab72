//! The map of memory: every page that was seen written to in any process, and when each process made it private.
//!
//! A trace knows the addresses of the pages that were written to, not of those that stayed shared everywhere: these are a
//! number, `inherited_bytes` without the others.

mod grid;

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

use super::limits::Limits;
use super::strings::Strings;
use crate::record::schema::{Fault, Outcome, Trace};
use crate::report::escape::escape;
use crate::report::view::{Program, View};
use grid::{Grid, effective, forks};

/// Programs whose memory is drawn, at most: those with most pages.
const PROGRAMS: usize = 8;
/// Mappings that have a heading, at most; the rest share one.
const REGIONS: usize = 48;

/// The map.
#[derive(Serialize, Default)]
pub(super) struct Memory {
    /// A cell is `1 << shift` pages.
    shift: u32,
    /// Slices of time that writes are told in; 0 = each at its own time.
    slices: u64,
    programs: Vec<Map>,
    /// Programs that are left out because there are too many.
    other_programs: usize,
    /// There is no map: no way to draw it is small enough.
    too_large: bool,
}

/// The memory of one program, which its processes share.
#[derive(Serialize)]
struct Map {
    name: usize,
    /// Processes that ran it.
    runs: Vec<Run>,
    regions: Vec<RegionCells>,
    records: Records,
}

/// A process while it ran the program.
#[derive(Serialize)]
struct Run {
    process: usize,
    start: u64,
    /// `None` = until the trace ended.
    end: Option<u64>,
    /// Who forked it, if that ran the program too: position in `runs`.
    parent: Option<usize>,
    /// When it shared again what it had written to, also with a process that is not named.
    forks: Vec<u64>,
}

/// Cells of one mapping by address; columns.
#[derive(Serialize, Default)]
struct RegionCells {
    name: usize,
    /// First page of the cell, as differences.
    page: Vec<u64>,
    /// Pages of it that any process was seen writing to.
    known: Vec<u64>,
}

/// What was written, by time; columns, times as differences.
#[derive(Serialize, Default)]
struct Records {
    time: Vec<u64>,
    /// Position in `runs`.
    run: Vec<usize>,
    /// Position among all cells of the program.
    cell: Vec<usize>,
    /// Cause of the copy; -1 = written in place, without a copy.
    cause: Vec<i64>,
    pages: Vec<u64>,
}

/// A write that made a page private.
#[derive(Clone, Copy)]
struct Written {
    program: usize,
    process: usize,
    page: u64,
    pages: u64,
    region: usize,
    time: u64,
    cause: i64,
}

/// The map of a trace.
pub(super) fn memory(
    trace: &Trace,
    view: &View<'_>,
    limits: &Limits,
    strings: &mut Strings,
    duration: u64,
) -> Memory {
    let (programs, mut written) = writes(trace, view, limits);
    let mut weights = vec![0_u64; programs.len()];
    written.iter().for_each(|write| weights[write.program] += 1);
    let mut order: Vec<usize> = (0..programs.len()).collect();
    order.sort_by_key(|program| (Reverse(weights[*program]), *program));
    let other_programs = order.len().saturating_sub(PROGRAMS);
    order.truncate(PROGRAMS);
    let shown: HashMap<usize, usize> = order.iter().enumerate().map(|(new, old)| (*old, new)).collect();
    written.retain_mut(|write| match shown.get(&write.program) {
        Some(program) => {
            write.program = *program;
            true
        }
        None => false,
    });
    let regions = regions(trace, view, &mut written);
    let forks = forks(trace);
    let Some(grid) = Grid::fitting(&written, &forks, duration) else {
        return Memory { too_large: true, ..Memory::default() };
    };
    let maps = order.iter().enumerate().map(|(number, program)| {
        map(trace, view, limits, strings, (number, programs[*program]), &regions, (&grid, &forks))
    });
    let programs = maps.collect();
    Memory { shift: grid.shift, slices: grid.slices, programs, other_programs, too_large: false }
}

/// Programs with shared memory, and every write that made a page of it private, in the order of time.
fn writes(trace: &Trace, view: &View<'_>, limits: &Limits) -> (Vec<Program>, Vec<Written>) {
    let mut programs: Vec<Program> = Vec::new();
    let mut numbers: HashMap<Program, usize> = HashMap::new();
    let mut written = Vec::new();
    let pages = trace.header.pages();
    let private = |fault: &Fault, row: Option<u32>| match row {
        Some(row) => i64::try_from(limits.cause(row as usize)).ok(),
        None if fault.outcome == Outcome::Reuse && view.is_shared(fault) => Some(-1),
        None => None,
    };
    for (fault, row) in trace.faults.iter().zip(view.rows()) {
        let Some(cause) = private(fault, *row) else { continue };
        let Some(program) = view.program(fault.process, fault.time) else { continue };
        if limits.process(fault.process).is_none() {
            continue;
        }
        let program = *numbers.entry(program).or_insert_with(|| {
            programs.push(program);
            programs.len() - 1
        });
        written.push(Written {
            program,
            process: fault.process,
            page: pages.number(fault.address),
            pages: pages.number(fault.bytes).max(1),
            region: fault.region.index(),
            time: fault.time,
            cause,
        });
    }
    (programs, written)
}

/// Gives mappings numbers in the order of their addresses, the same for every offset in a file, and a page the mapping it
/// was first seen in. The names of the mappings.
fn regions(trace: &Trace, view: &View<'_>, written: &mut [Written]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut of_name: HashMap<String, usize> = HashMap::new();
    let mut of_row: HashMap<usize, usize> = HashMap::new();
    let mut of_page: HashMap<(usize, u64), usize> = HashMap::new();
    let values = trace.regions.values();
    for write in written.iter_mut() {
        let mapping = *of_row.entry(write.region).or_insert_with(|| {
            let name =
                values.get(write.region).map_or_else(|| "unknown mapping".to_owned(), |r| view.region(r));
            *of_name.entry(name.clone()).or_insert_with(|| {
                names.push(name);
                names.len() - 1
            })
        });
        write.region = *of_page.entry((write.program, write.page)).or_insert(mapping);
    }
    let mut pages = vec![(0_u64, u64::MAX); names.len()];
    for (&(_, page), &mapping) in &of_page {
        let (number, first) = &mut pages[mapping];
        (*number, *first) = (*number + 1, page.min(*first));
    }
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|mapping| (Reverse(pages[*mapping].0), *mapping));
    let others = order.len().saturating_sub(REGIONS);
    order.truncate(REGIONS);
    order.sort_by_key(|mapping| pages[*mapping].1);
    let mut rows = vec![order.len(); names.len()];
    order.iter().enumerate().for_each(|(new, old)| rows[*old] = new);
    written.iter_mut().for_each(|write| write.region = rows[write.region]);
    let mut shown: Vec<String> = order.into_iter().map(|mapping| names[mapping].clone()).collect();
    shown.extend((others > 0).then(|| format!("{others} other mappings")));
    shown
}

fn map(
    trace: &Trace,
    view: &View<'_>,
    limits: &Limits,
    strings: &mut Strings,
    (number, program): (usize, Program),
    names: &[String],
    (grid, forks): (&Grid, &HashMap<usize, Vec<u64>>),
) -> Map {
    let mut runs = runs(trace, view, limits, program);
    let mut regions: Vec<RegionCells> = Vec::new();
    let mut positions = HashMap::new();
    let mut last = (usize::MAX, 0);
    for (&(_, region, cell), &known) in grid.cells.range((number, 0, 0)..(number + 1, 0, 0)) {
        positions.insert((region, cell), positions.len());
        if last.0 != region {
            let name = names.get(region).cloned().unwrap_or_default();
            regions.push(RegionCells { name: strings.intern(name), ..RegionCells::default() });
            last = (region, 0);
        }
        let page = cell << grid.shift;
        if let Some(cells) = regions.last_mut() {
            cells.page.push(page - last.1);
            cells.known.push(known);
        }
        last.1 = page;
    }
    let of_process: HashMap<usize, Vec<usize>> =
        runs.iter().enumerate().fold(HashMap::new(), |mut of, (at, run)| {
            of.entry(run.process).or_insert_with(Vec::new).push(at);
            of
        });
    let mut records = Records::default();
    let mut before = 0;
    let mut written: Vec<Vec<u64>> = vec![Vec::new(); runs.len()];
    let of_program = grid.records.range((number, 0, 0, (0, 0), i64::MIN)..);
    for (&(_, time, process, cell, cause), &pages) in of_program.take_while(|((of, ..), _)| *of == number) {
        // A process runs a program once: it comes back to none by exec.
        let run = limits.process(process).and_then(|row| of_process.get(&row)?.first().copied());
        let (Some(run), Some(&cell)) = (run, positions.get(&cell)) else { continue };
        written[run].push(time);
        records.time.push(time - before);
        records.run.push(run);
        records.cell.push(cell);
        records.cause.push(cause);
        records.pages.push(pages);
        before = time;
    }
    for (run, written) in runs.iter_mut().zip(&written) {
        let process = limits.named_processes[run.process];
        run.forks = effective(forks.get(&process).map_or(&[][..], Vec::as_slice), written);
    }
    Map { name: strings.intern(name(trace, program)), runs, regions, records }
}

/// The named processes while they ran this program, in the order of the tree.
fn runs(trace: &Trace, view: &View<'_>, limits: &Limits, program: Program) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut of_process: HashMap<usize, usize> = HashMap::new();
    for (row, &index) in limits.named_processes.iter().enumerate() {
        let process = &trace.processes[index];
        let starts = std::iter::once(process.start).chain(process.execs.iter().copied());
        let Some((at, start)) =
            starts.enumerate().find(|(_, start)| view.program(index, *start) == Some(program))
        else {
            continue;
        };
        let forked = process.forked_from().filter(|_| at == 0);
        let parent = forked.and_then(|parent| of_process.get(&parent).copied());
        of_process.insert(index, runs.len());
        let end = process.execs.get(at).copied().or(process.end);
        runs.push(Run { process: row, start, end, parent, forks: Vec::new() });
    }
    runs
}

/// A program's name: that of the process that began it.
fn name(trace: &Trace, program: Program) -> String {
    let process = match program {
        Program::Before => trace.processes.first(),
        Program::Begun { process, .. } => trace.processes.get(process),
    };
    process.map_or_else(|| "unknown program".to_owned(), |p| format!("{} {}", p.pid, escape(&p.comm)))
}
