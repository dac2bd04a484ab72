//! The process tree with what every process inherited and copied; many alike are one row.

use std::collections::HashMap;

use super::numbers::{count, counted, percent, size};
use super::scope::{Copied, Scope};
use super::table::{Column, Grid, Tone};
use super::words;

/// So many children alike are all shown.
const ALIKE: usize = 8;

/// Of more, so many are shown.
const SHOWN: usize = 3;

/// Rows of the table, unless all are asked for.
const ROWS: usize = 24;

/// Generations after which rows are indented no further.
const DEEPEST: usize = 8;

/// A line of the process table.
#[derive(Clone, Debug)]
enum Row {
    /// One process.
    One(usize),
    /// Processes that are not shown, under this depth.
    Folded { depth: usize, processes: Vec<usize>, alike: bool },
}

/// The table of processes.
pub(super) fn grid(scope: &Scope<'_>, all: bool) -> Grid {
    let files = scope.total().file_pages > 0;
    let column = |title, number| Column { title, number };
    let mut columns = vec![column("process", false), column("inherited", true), column("copied", true)];
    columns.push(column("share", true));
    if files {
        columns.push(column("file pages", true));
    }
    columns.push(column("exit", true));
    let mut grid = Grid::new(&columns);
    for row in rows(scope, all) {
        let (tone, cells) = match row {
            Row::One(process) => (Tone::Plain, one(scope, process, files)),
            Row::Folded { depth, processes, alike } => {
                (Tone::Faint, folded(scope, depth, &processes, alike, files))
            }
        };
        grid.push(tone, cells);
    }
    grid
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth.min(DEEPEST))
}

fn one(scope: &Scope<'_>, index: usize, files: bool) -> Vec<String> {
    let process = &scope.trace.processes[index];
    let copied = scope.copied(index);
    let generation = usize::try_from(process.generation).unwrap_or(DEEPEST);
    let (inherited, share) = if scope.is_child(index) {
        (size(process.inherited_bytes), percent(copied.bytes, process.inherited_bytes))
    } else {
        ("–".to_owned(), "–".to_owned())
    };
    let mut cells = vec![format!("{}{}", indent(generation), words::process(process))];
    cells.extend([inherited, size(copied.bytes), share]);
    if files {
        cells.push(size(copied.file_bytes));
    }
    cells.push(process.exit_status.map_or_else(|| "running".to_owned(), |status| status.to_string()));
    cells
}

fn folded(scope: &Scope<'_>, depth: usize, processes: &[usize], alike: bool, files: bool) -> Vec<String> {
    let mut sum = Copied::default();
    processes.iter().for_each(|p| sum.add(&scope.copied(*p)));
    let inherited: u64 = processes.iter().map(|p| scope.trace.processes[*p].inherited_bytes).sum();
    let what = if alike { "more like these" } else { "more" };
    let mut cells = vec![format!("{}… and {} {what}:", indent(depth), count(processes.len() as u64))];
    cells.extend([size(inherited), size(sum.bytes), percent(sum.bytes, inherited)]);
    if files {
        cells.push(size(sum.file_bytes));
    }
    let failed = processes.iter().filter(|p| scope.trace.processes[**p].exit_status.is_some_and(|s| s != 0));
    cells.push(match failed.count() {
        0 => String::new(),
        failed => counted(failed as u64, "failure"),
    });
    cells
}

/// The rows: parents before their children, children in the order of their starts.
fn rows(scope: &Scope<'_>, all: bool) -> Vec<Row> {
    let processes = &scope.trace.processes;
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); processes.len()];
    let mut open = Vec::new();
    for (index, process) in processes.iter().enumerate() {
        match process.parent.filter(|parent| *parent < index) {
            Some(parent) => children[parent].push(index),
            None => open.push(Row::One(index)),
        }
    }
    open.reverse();
    let mut rows = Vec::new();
    // Not recursive: a chain of forks can be as long as the target likes.
    while let Some(row) = open.pop() {
        if let Row::One(index) = row {
            open.extend(family(scope, &children, index, all).into_iter().rev());
        }
        rows.push(row);
    }
    if !all && rows.len() > ROWS {
        let rest: Vec<usize> = rows.drain(ROWS - 1..).flat_map(Row::processes).collect();
        rows.push(Row::Folded { depth: 0, processes: rest, alike: false });
    }
    rows
}

impl Row {
    fn processes(self) -> Vec<usize> {
        match self {
            Self::One(index) => vec![index],
            Self::Folded { processes, .. } => processes,
        }
    }
}

/// The rows of a process's children; those that are many and alike, without children of their own, are folded.
fn family(scope: &Scope<'_>, children: &[Vec<usize>], parent: usize, all: bool) -> Vec<Row> {
    let name = |child: usize| scope.trace.processes[child].comm.as_str();
    let is_leaf = |child: usize| children[child].is_empty();
    let mut alike: HashMap<&str, Vec<usize>> = HashMap::new();
    for &child in children[parent].iter().filter(|child| is_leaf(**child)) {
        alike.entry(name(child)).or_default().push(child);
    }
    let mut rows = Vec::new();
    for &child in &children[parent] {
        let Some(group) = alike.get(name(child)).filter(|g| !all && is_leaf(child) && g.len() > ALIKE) else {
            rows.push(Row::One(child));
            continue;
        };
        let shown = typical(scope, group);
        if shown.contains(&child) {
            rows.push(Row::One(child));
        }
        if group.last() == Some(&child) {
            let processes = group.iter().copied().filter(|child| !shown.contains(child)).collect();
            let depth = usize::try_from(scope.trace.processes[child].generation).unwrap_or(DEEPEST);
            rows.push(Row::Folded { depth, processes, alike: true });
        }
    }
    rows
}

/// Those of a group that are shown: the ones that copied most, the first of equal ones.
fn typical(scope: &Scope<'_>, group: &[usize]) -> Vec<usize> {
    let mut order = group.to_vec();
    order.sort_by_key(|child| (std::cmp::Reverse(scope.copied(*child).all_bytes()), *child));
    order.truncate(SHOWN);
    order
}
