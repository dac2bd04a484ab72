//! The garbage collections that copied pages, each a row.

use super::numbers::{count, counted, size, time};
use super::scope::{Copied, Scope};
use super::table::{Column, Grid, Tone};
use super::words;
use crate::record::schema::{Collection, Site};

/// Rows, unless all are asked for.
const ROWS: usize = 6;

/// The table; `None` = no collection copied a page.
pub(super) fn grid(scope: &Scope<'_>, all: bool) -> Option<Grid> {
    let mut rows: Vec<&Collection> = scope.trace.collections.iter().filter(|c| c.pages > 0).collect();
    if rows.is_empty() {
        return None;
    }
    let column = |title, number| Column { title, number };
    let mut grid = Grid::new(&[
        column("collection", false),
        column("triggered at", false),
        column("generation", true),
        column("at", true),
        column("for", true),
        column("pages", true),
        column("copied", true),
    ]);
    let rest = if all { Vec::new() } else { most(&mut rows) };
    for collection in rows {
        grid.push(Tone::Plain, cells(scope, collection));
    }
    if !rest.is_empty() {
        let mut sum = Copied::default();
        rest.iter().for_each(|c| (sum.pages, sum.bytes) = (sum.pages + c.pages, sum.bytes + c.bytes));
        let what = format!("… and {}", counted(rest.len() as u64, "more collection"));
        let none = String::new;
        grid.push(Tone::Faint, vec![what, none(), none(), none(), none(), count(sum.pages), size(sum.bytes)]);
    }
    Some(grid)
}

/// Keeps those that copied most, in the order of time; returns the others.
fn most<'a>(rows: &mut Vec<&'a Collection>) -> Vec<&'a Collection> {
    rows.sort_by_key(|collection| (std::cmp::Reverse(collection.bytes), collection.number));
    let rest = rows.split_off(rows.len().min(ROWS));
    rows.sort_by_key(|collection| collection.number);
    rest
}

fn cells(scope: &Scope<'_>, collection: &Collection) -> Vec<String> {
    let pid = scope.trace.processes.get(collection.process).map_or_else(String::new, words::process);
    let site = collection.site.and_then(|site| scope.trace.sites.get(site));
    vec![
        format!("{} in {pid}", collection.number),
        site.map_or_else(|| "an unknown place".to_owned(), |site| place(site, scope)),
        collection.generation.map_or_else(|| "?".to_owned(), |generation| generation.to_string()),
        time(collection.start),
        time(collection.end.saturating_sub(collection.start)),
        count(collection.pages),
        size(collection.bytes),
    ]
}

/// The line that triggered it. There is none when the interpreter collects for itself, as at its exit.
fn place(site: &Site, scope: &Scope<'_>) -> String {
    match (site.line, words::symbol(site)) {
        (Some(_), _) => words::site(site, scope),
        (None, Some(function)) => format!("no line ({function})"),
        (None, None) => "no line".to_owned(),
    }
}
