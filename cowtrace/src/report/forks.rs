//! What forks cost while their children lived, by the child and by its parent, each a row; and how long copies took.

use super::numbers::{count, counted, size, time};
use super::scope::Scope;
use super::table::{Column, Grid, Tone};
use super::words;
use crate::record::forks::{self, Ended, Fork, ForkLine, Side, Sides};
use crate::record::latency::{self, Latency, LatencyLine};
use crate::record::schema::Outcome;

/// Rows, unless all are asked for.
const ROWS: usize = 6;

/// The forks of the part that is reported: both processes are in it.
fn chosen(scope: &Scope<'_>) -> Vec<Fork> {
    let mut forks = forks::forks(scope.trace);
    forks.retain(|fork| scope.is_chosen(fork.process) && scope.is_chosen(fork.parent));
    forks
}

/// Whether processes copied more as parents of others that lived than as children: then it is the forks that tell.
fn is_by_parents(scope: &Scope<'_>) -> bool {
    let sides = Sides::new(scope.trace);
    let (mut parents, mut children) = (0, 0);
    for fault in scope.trace.faults.iter().filter(|fault| fault.outcome == Outcome::Copy) {
        match sides.of(fault.process, fault.time) {
            Some(Side::Parent) => parents += fault.bytes,
            Some(Side::Child) => children += fault.bytes,
            None => {}
        }
    }
    parents > children
}

/// The table; `None` = it would say no more than that of the processes does.
pub(super) fn grid(scope: &Scope<'_>, asked: bool, all: bool) -> Option<Grid> {
    let mut rows = chosen(scope);
    rows.retain(|fork| asked || fork.by_parent.copies > 0);
    if rows.is_empty() || !(asked || is_by_parents(scope)) {
        return None;
    }
    let column = |title, number| Column { title, number };
    let mut grid = Grid::new(&[
        column("copied in the life of", false),
        column("at", true),
        column("for", true),
        column("by it", true),
        column("by its parent", true),
        column("together", true),
    ]);
    rows.sort_by_key(|fork| (std::cmp::Reverse(fork.total().copied_bytes), fork.process));
    let rest = if all { Vec::new() } else { rows.split_off(rows.len().min(ROWS)) };
    rows.sort_by_key(|fork| (fork.start, fork.process));
    for fork in &rows {
        grid.push(Tone::Plain, cells(scope, fork));
    }
    if !rest.is_empty() {
        grid.push(Tone::Faint, vec![format!("… and {}", counted(rest.len() as u64, "more fork"))]);
    }
    Some(grid)
}

fn cells(scope: &Scope<'_>, fork: &Fork) -> Vec<String> {
    let more =
        if fork.lost > 0 { format!(" + ≤ {}", counted(fork.lost, "lost page")) } else { String::new() };
    let end = fork.end.unwrap_or(scope.trace.summary.duration);
    let lasted = time(end.saturating_sub(fork.start));
    vec![
        scope.trace.processes.get(fork.process).map_or_else(String::new, words::process),
        time(fork.start),
        if fork.ended == Ended::Running { format!("> {lasted}") } else { lasted },
        size(fork.by_child.copied_bytes),
        size(fork.by_parent.copied_bytes),
        size(fork.total().copied_bytes) + &more,
    ]
}

/// The forks for JSON.
pub(super) fn lines(scope: &Scope<'_>) -> Vec<ForkLine> {
    chosen(scope).iter().map(|fork| forks::line(scope.trace, fork)).collect()
}

/// How long copies took, by process; `None` = it was not measured.
pub(super) fn latencies(scope: &Scope<'_>, all: bool) -> Option<Grid> {
    let mut rows = latency::latencies(scope.trace);
    if rows.is_empty() {
        return None;
    }
    let column = |title, number| Column { title, number };
    let mut grid = Grid::new(&[
        column("time in copies", false),
        column("timed", true),
        column("p50", true),
        column("p99", true),
        column("longest", true),
        column("total", true),
    ]);
    rows.sort_by_key(|latency| (std::cmp::Reverse(latency.total), latency.process));
    let rest = if all { Vec::new() } else { rows.split_off(rows.len().min(ROWS)) };
    rows.sort_by_key(|latency| latency.process);
    for latency in &rows {
        grid.push(Tone::Plain, timed(scope, latency));
    }
    if !rest.is_empty() {
        grid.push(Tone::Faint, vec![format!("… and {}", counted(rest.len() as u64, "more process"))]);
    }
    Some(grid)
}

fn timed(scope: &Scope<'_>, latency: &Latency) -> Vec<String> {
    let all = latency.timed == latency.copies;
    vec![
        scope.trace.processes.get(latency.process).map_or_else(String::new, words::process),
        if all {
            count(latency.timed)
        } else {
            format!("{} of {}", count(latency.timed), count(latency.copies))
        },
        time(latency.p50),
        time(latency.p99),
        time(latency.max),
        time(latency.total),
    ]
}

/// Latencies for JSON.
pub(super) fn latency_lines(scope: &Scope<'_>) -> Vec<LatencyLine> {
    latency::latencies(scope.trace).iter().map(|latency| latency::line(scope.trace, latency)).collect()
}
