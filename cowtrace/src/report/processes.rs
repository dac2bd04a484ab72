//! The process tree with what every process inherited, copied, and never wrote to; generations are indented, and many
//! processes alike are one row.

use std::collections::{BTreeMap, HashMap};

use super::escape::escape;
use super::numbers::{count, counted, percent, size};
use super::scope::{Copied, Scope, Untouched};
use super::table::{Column, Grid, Tone};
use super::words;

/// So many children alike are all shown.
const ALIKE: usize = 6;

/// Of more, so many are shown.
const SHOWN: usize = 3;

/// Rows of the table, unless all are asked for.
const ROWS: usize = 12;

/// Names of other programs that have a row of their own, with the row of the rest.
const NAMES: usize = 4;

/// Generations after which rows are indented no further.
const DEEPEST: usize = 8;

/// A line of the process table.
#[derive(Clone, Debug)]
enum Row {
    /// One process.
    One(usize),
    /// Processes that are not shown, under this depth, and how many of what they are.
    Folded { depth: usize, processes: Vec<usize>, what: String },
}

/// The table of processes.
pub(super) fn grid(scope: &Scope<'_>, all: bool) -> Grid {
    let files = scope.total().file_pages > 0;
    // Within limits of time nothing is known of the end.
    let rests = scope.part.is_none_or(|part| !part.is_timed())
        && (0..scope.trace.processes.len()).any(|p| scope.untouched(p) != Untouched::Nothing);
    let column = |title, number| Column { title, number };
    let mut columns = vec![column("process", false), column("inherited", true), column("copied", true)];
    columns.push(column("share", true));
    if rests {
        columns.push(column("still shared", true));
    }
    if files {
        columns.push(column("file pages", true));
    }
    columns.push(column("exit", true));
    let containers = scope.trace.processes.iter().any(|process| process.container.is_some());
    if containers {
        columns.push(column("container", false));
    }
    let mut grid = Grid::new(&columns);
    for row in rows(scope, all) {
        let container = match &row {
            Row::One(process) => scope.trace.processes[*process].container.as_deref().map(container),
            Row::Folded { .. } => None,
        };
        let (tone, mut cells) = match row {
            Row::One(process) if !scope.is_chosen(process) => (Tone::Faint, vec![name(scope, process)]),
            Row::One(process) => (Tone::Plain, one(scope, process, rests, files)),
            Row::Folded { depth, processes, what } => {
                (Tone::Faint, folded(scope, depth, &processes, &what, [rests, files]))
            }
        };
        if containers {
            cells.resize(columns.len() - 1, String::new());
            cells.push(container.unwrap_or_default());
        }
        grid.push(tone, cells);
    }
    grid
}

/// The beginning of an id that runtimes show, a name as it is.
fn container(name: &str) -> String {
    let is_id = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    escape(if is_id { &name[..12] } else { name })
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth.min(DEEPEST))
}

fn name(scope: &Scope<'_>, index: usize) -> String {
    let process = &scope.trace.processes[index];
    let generation = usize::try_from(process.generation).unwrap_or(DEEPEST);
    format!("{}{}", indent(generation), words::process(process))
}

/// What was never written to, of one process or of several.
fn rest(untouched: impl Iterator<Item = Untouched>) -> String {
    let mut sum = None;
    for one in untouched {
        match one {
            Untouched::Nothing => {}
            Untouched::Unknown => return "unknown".to_owned(),
            Untouched::Bytes(bytes) => *sum.get_or_insert(0) += bytes,
        }
    }
    sum.map_or_else(String::new, size)
}

fn one(scope: &Scope<'_>, index: usize, rests: bool, files: bool) -> Vec<String> {
    let process = &scope.trace.processes[index];
    let copied = scope.copied(index);
    let inherited = if scope.is_child(index) { size(process.inherited_bytes) } else { String::new() };
    let share = scope.share(index).map_or_else(String::new, |(part, whole)| percent(part, whole));
    let mut cells = vec![name(scope, index), inherited, size(copied.bytes), share];
    if rests {
        cells.push(rest(Some(scope.untouched(index)).into_iter()));
    }
    if files {
        cells.push(size(copied.file_bytes));
    }
    cells.push(process.exit_status.map_or_else(|| "running".to_owned(), |status| status.to_string()));
    cells
}

fn folded(
    scope: &Scope<'_>,
    depth: usize,
    processes: &[usize],
    what: &str,
    [rests, files]: [bool; 2],
) -> Vec<String> {
    let mut sum = Copied::default();
    processes.iter().for_each(|p| sum.add(&scope.copied(*p)));
    let mut cells = vec![format!("{}{what}", indent(depth))];
    let shares: Option<Vec<(u64, u64)>> = processes.iter().map(|p| scope.share(*p)).collect();
    let (inherited, share) = shares.map_or_else(Default::default, |shares| {
        let whole = shares.iter().map(|(_, whole)| whole).sum();
        (size(whole), percent(shares.iter().map(|(part, _)| part).sum(), whole))
    });
    cells.extend([inherited, size(sum.bytes), share]);
    if rests {
        cells.push(rest(processes.iter().map(|p| scope.untouched(*p))));
    }
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

/// The rows: parents before their children, children in the order of their starts; then what ran other programs.
fn rows(scope: &Scope<'_>, all: bool) -> Vec<Row> {
    let processes = &scope.trace.processes;
    let shown = lineage(scope, |index| scope.is_chosen(index) && (all || scope.is_main(index)));
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); processes.len()];
    let mut open = Vec::new();
    for (index, process) in processes.iter().enumerate().filter(|(index, _)| shown[*index]) {
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
    let others =
        others(scope, (0..processes.len()).filter(|index| !shown[*index] && scope.is_chosen(*index)));
    let most = ROWS.saturating_sub(others.len()).max(ROWS / 2);
    if !all && rows.len() > most {
        let rest: Vec<usize> = rows.drain(most - 1..).flat_map(Row::processes).collect();
        let what = format!("… and {} more", count(rest.len() as u64));
        rows.push(Row::Folded { depth: 0, processes: rest, what });
    }
    rows.extend(others);
    rows
}

/// Which processes are wanted, or are above one that is.
fn lineage(scope: &Scope<'_>, wanted: impl Fn(usize) -> bool) -> Vec<bool> {
    let processes = &scope.trace.processes;
    let mut shown = vec![false; processes.len()];
    for index in (0..processes.len()).rev() {
        shown[index] |= wanted(index);
        if let Some(parent) = processes[index].parent.filter(|parent| shown[index] && *parent < index) {
            shown[parent] = true;
        }
    }
    shown
}

/// Processes that ran other programs, one row for each name; the names that are too many share one.
fn others(scope: &Scope<'_>, processes: impl Iterator<Item = usize>) -> Vec<Row> {
    let mut names: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for index in processes {
        names.entry(&scope.trace.processes[index].comm).or_default().push(index);
    }
    let mut groups: Vec<(String, Vec<usize>)> = names
        .into_iter()
        .map(|(name, group)| (format!("{} × {}", count(group.len() as u64), escape(name)), group))
        .collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.len()));
    if groups.len() > NAMES {
        let rest: Vec<usize> = groups.drain(NAMES - 1..).flat_map(|(_, group)| group).collect();
        groups.push((format!("{} × others", count(rest.len() as u64)), rest));
    }
    groups.into_iter().map(|(what, processes)| Row::Folded { depth: 1, processes, what }).collect()
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
    // Chosen once for all of a name: there can be very many.
    let folded: HashMap<&str, (&[usize], Vec<usize>)> = alike
        .iter()
        .filter(|(_, group)| !all && group.len() > ALIKE)
        .map(|(name, group)| (*name, (group.as_slice(), typical(scope, group))))
        .collect();
    let mut rows = Vec::new();
    for &child in &children[parent] {
        let Some((group, shown)) = folded.get(name(child)).filter(|_| is_leaf(child)) else {
            rows.push(Row::One(child));
            continue;
        };
        if shown.contains(&child) {
            rows.push(Row::One(child));
        }
        if group.last() == Some(&child) {
            let processes: Vec<usize> =
                group.iter().copied().filter(|child| !shown.contains(child)).collect();
            let depth = usize::try_from(scope.trace.processes[child].generation).unwrap_or(DEEPEST);
            let what = format!("… and {} alike", count(processes.len() as u64));
            rows.push(Row::Folded { depth, processes, what });
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
