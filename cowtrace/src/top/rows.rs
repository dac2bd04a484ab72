//! The rows of the two tables: which of them, in which order.

use std::cmp::{Ordering, Reverse};

use super::rates::Rates;
use crate::report::live::{Cause, Now, Process};
use crate::report::view::Kind;

/// Generations after which rows are indented no further.
const DEEPEST: usize = 8;

/// A row of the table of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessRow {
    /// Its index in [`Now::processes`].
    pub(super) index: usize,
    /// Steps that its name is indented by.
    pub(super) depth: usize,
}

/// A line of the table of causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CauseRow {
    /// What the rows below are, as the report calls it.
    Heading(&'static str),
    /// One row: its position in [`Now::causes`], and whether it stands below a heading.
    Cause(usize, bool),
}

/// One order of processes.
#[derive(Debug)]
pub(super) struct ProcessOrder {
    /// The heading of its column, or a name.
    pub(super) name: &'static str,
    /// The tree itself: no order of rows by numbers.
    pub(super) is_tree: bool,
    compare: fn((&Process, u64), (&Process, u64)) -> Ordering,
}

/// Every order of processes.
pub(super) static PROCESS_ORDERS: &[ProcessOrder] = &[
    ProcessOrder { name: "tree", is_tree: true, compare: |_, _| Ordering::Equal },
    ProcessOrder {
        name: "copied",
        is_tree: false,
        compare: |(a, _), (b, _)| b.copied.bytes.cmp(&a.copied.bytes),
    },
    ProcessOrder { name: "copies/s", is_tree: false, compare: |(_, a), (_, b)| b.cmp(&a) },
    ProcessOrder {
        name: "inherited",
        is_tree: false,
        compare: |(a, _), (b, _)| b.inherited.cmp(&a.inherited),
    },
    ProcessOrder { name: "still shared", is_tree: false, compare: |(a, _), (b, _)| b.shared.cmp(&a.shared) },
    ProcessOrder { name: "process", is_tree: false, compare: |(a, _), (b, _)| a.pid.cmp(&b.pid) },
];

/// One order of causes.
#[derive(Debug)]
pub(super) struct CauseOrder {
    /// The heading of its column, or a name.
    pub(super) name: &'static str,
    /// That of the report: own code first.
    pub(super) is_reports: bool,
    compare: fn((&Cause, u64), (&Cause, u64)) -> Ordering,
}

/// Every order of causes.
pub(super) static CAUSE_ORDERS: &[CauseOrder] = &[
    CauseOrder { name: "as in the report", is_reports: true, compare: |(a, _), (b, _)| a.kind.cmp(&b.kind) },
    CauseOrder { name: "copied", is_reports: false, compare: |_, _| Ordering::Equal },
    CauseOrder { name: "copies/s", is_reports: false, compare: |(_, a), (_, b)| b.cmp(&a) },
    CauseOrder {
        name: "pages",
        is_reports: false,
        compare: |(a, _), (b, _)| b.copied.pages.cmp(&a.copied.pages),
    },
    CauseOrder { name: "in", is_reports: false, compare: |(a, _), (b, _)| b.processes.cmp(&a.processes) },
    CauseOrder {
        name: "where",
        is_reports: false,
        compare: |(a, _), (b, _)| (&a.place, &a.what).cmp(&(&b.place, &b.what)),
    },
];

/// Whether a text has the other in it, whatever the case of its letters; everything has nothing in it.
fn has(text: &str, filter: &str) -> bool {
    filter.is_empty() || text.to_lowercase().contains(&filter.to_lowercase())
}

/// The rows of processes.
#[must_use]
pub(super) fn processes(
    now: &Now,
    rates: &Rates,
    order: &ProcessOrder,
    reverse: bool,
    filter: &str,
) -> Vec<ProcessRow> {
    let mut rows = tree(now, reverse);
    rows.retain(|row| now.processes.get(row.index).is_some_and(|process| has(&process.name, filter)));
    if order.is_tree {
        return rows;
    }
    let of = |row: &ProcessRow| {
        let rate = rates.processes.get(row.index).copied().unwrap_or_default();
        now.processes.get(row.index).map(|process| (process, rate))
    };
    // Rows that are equal stay in the order of their starts, whichever way the others go.
    rows.sort_by_key(|row| row.index);
    rows.sort_by(|a, b| {
        let ordering = of(a).zip(of(b)).map_or(Ordering::Equal, |(a, b)| (order.compare)(a, b));
        if reverse { ordering.reverse() } else { ordering }
    });
    rows.iter_mut().for_each(|row| row.depth = 0);
    rows
}

/// Parents before their children; of these the running ones first, in the order of their starts, or the other way round.
fn tree(now: &Now, reverse: bool) -> Vec<ProcessRow> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); now.processes.len()];
    let mut open = Vec::new();
    for (index, process) in now.processes.iter().enumerate() {
        match process.parent.and_then(|parent| children.get_mut(parent)) {
            Some(siblings) => siblings.push(index),
            None => open.push((index, 0)),
        }
    }
    let ended = |index: usize| now.processes.get(index).is_some_and(|process| process.has_ended);
    for siblings in &mut children {
        siblings.sort_by_key(|index| (ended(*index), *index));
    }
    if !reverse {
        open.reverse();
    }
    let mut rows = Vec::with_capacity(now.processes.len());
    // Not recursive: a chain of forks can be as long as the target likes.
    while let Some((index, depth)) = open.pop() {
        rows.push(ProcessRow { index, depth: DEEPEST.min(depth) });
        let below = children.get_mut(index).map(std::mem::take).unwrap_or_default();
        let below = below.into_iter().map(|child| (child, depth + 1));
        if reverse { open.extend(below) } else { open.extend(below.rev()) }
    }
    rows
}

/// A part of the table, as the report calls it; what is not known has no heading there.
const fn heading(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Own => Some("your code"),
        Kind::Native => Some("native code"),
        Kind::Machinery => Some("not your code"),
        Kind::Unknown => None,
    }
}

/// The rows of causes. `parted` = in the order of the report each part stands under its heading.
#[must_use]
pub(super) fn causes(
    now: &Now,
    rates: &Rates,
    order: &CauseOrder,
    reverse: bool,
    parted: bool,
    filter: &str,
) -> Vec<CauseRow> {
    let rate = |index: usize| rates.causes.get(index).copied().unwrap_or_default();
    let mut rows: Vec<(usize, &Cause)> = now
        .causes
        .iter()
        .enumerate()
        .filter(|(_, cause)| has(&cause.place, filter) || has(&cause.what, filter))
        .collect();
    rows.sort_by(|(_, a), (_, b)| (&a.place, &a.what).cmp(&(&b.place, &b.what)));
    rows.sort_by_key(|(_, cause)| Reverse(cause.copied.bytes));
    if reverse && order.name == "copied" {
        rows.reverse();
    }
    rows.sort_by(|(a, one), (b, other)| {
        let ordering = (order.compare)((one, rate(*a)), (other, rate(*b)));
        if reverse { ordering.reverse() } else { ordering }
    });
    let mut lines = Vec::with_capacity(rows.len() + 4);
    let mut part = None;
    for (index, cause) in rows {
        let heading = heading(cause.kind).filter(|_| parted && order.is_reports);
        if let (Some(heading), true) = (heading, part != Some(cause.kind)) {
            part = Some(cause.kind);
            lines.push(CauseRow::Heading(heading));
        }
        lines.push(CauseRow::Cause(index, heading.is_some()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::view::Amount;

    fn amount(pages: u64) -> Amount {
        Amount { pages, bytes: pages * 4096 }
    }

    fn process(pid: u32, parent: Option<usize>, pages: u64) -> Process {
        Process { name: format!("{pid} Worker"), pid, parent, copied: amount(pages), ..Process::default() }
    }

    fn cause(place: &str, kind: Kind, pages: u64, processes: u64) -> Cause {
        let what = "refcount of str".to_owned();
        Cause { place: place.to_owned(), what, kind, copied: amount(pages), processes }
    }

    fn now() -> Now {
        Now {
            processes: vec![
                process(1, None, 5),
                process(2, Some(0), 9),
                process(3, Some(1), 1),
                process(4, Some(0), 9),
            ],
            causes: vec![
                cause("pool", Kind::Machinery, 50, 3),
                cause("b.py:1", Kind::Own, 4, 1),
                cause("a.py:1", Kind::Own, 4, 2),
                cause("libc", Kind::Native, 7, 3),
            ],
            ..Now::default()
        }
    }

    /// Who has ended stands behind who runs, with all below it.
    #[test]
    fn running_ones_first() {
        let mut now = now();
        now.processes[1].has_ended = true;
        let rows = processes(&now, &Rates::default(), &PROCESS_ORDERS[0], false, "");
        let indices: Vec<usize> = rows.into_iter().map(|row| row.index).collect();
        assert_eq!(indices, [0, 3, 1, 2]);
    }

    fn pids(order: &str, reverse: bool, filter: &str) -> Vec<(u32, usize)> {
        let (now, rates) = (now(), Rates { processes: vec![0, 3, 7, 0], ..Rates::default() });
        let order = PROCESS_ORDERS.iter().find(|known| known.name == order).unwrap();
        let rows = processes(&now, &rates, order, reverse, filter);
        rows.into_iter().map(|row| (now.processes[row.index].pid, row.depth)).collect()
    }

    fn places(order: &str, reverse: bool, filter: &str) -> Vec<String> {
        let (now, rates) = (now(), Rates { causes: vec![1, 2, 9, 0], ..Rates::default() });
        let order = CAUSE_ORDERS.iter().find(|known| known.name == order).unwrap();
        let line = |row| match row {
            CauseRow::Heading(heading) => heading.to_owned(),
            CauseRow::Cause(index, _) => now.causes[index].place.clone(),
        };
        causes(&now, &rates, order, reverse, true, filter).into_iter().map(line).collect()
    }

    #[test]
    fn orders_of_processes() {
        assert_eq!(pids("tree", false, ""), [(1, 0), (2, 1), (3, 2), (4, 1)]);
        assert_eq!(pids("tree", true, ""), [(1, 0), (4, 1), (2, 1), (3, 2)]);
        assert_eq!(pids("copied", false, ""), [(2, 0), (4, 0), (1, 0), (3, 0)]);
        assert_eq!(pids("copied", true, ""), [(3, 0), (1, 0), (2, 0), (4, 0)]);
        assert_eq!(pids("copies/s", false, ""), [(3, 0), (2, 0), (1, 0), (4, 0)]);
        assert_eq!(pids("tree", false, "3 WORK"), [(3, 2)]);
    }

    #[test]
    fn orders_of_causes() {
        let parted = ["your code", "a.py:1", "b.py:1", "native code", "libc", "not your code", "pool"];
        assert_eq!(places("as in the report", false, ""), parted);
        assert_eq!(places("copied", false, ""), ["pool", "libc", "a.py:1", "b.py:1"]);
        assert_eq!(places("copied", true, ""), ["b.py:1", "a.py:1", "libc", "pool"]);
        assert_eq!(places("copies/s", false, ""), ["a.py:1", "b.py:1", "pool", "libc"]);
        assert_eq!(places("in", true, "PY"), ["b.py:1", "a.py:1"]);
        assert!(places("as in the report", false, "nothing").is_empty());
    }

    /// A chain of forks can be as long as the target likes.
    #[test]
    fn deep_trees() {
        let chain = (0..100_000).map(|n: usize| process(u32::try_from(n).unwrap(), n.checked_sub(1), 0));
        let now = Now { processes: chain.collect(), ..Now::default() };
        let rows = processes(&now, &Rates::default(), &PROCESS_ORDERS[0], false, "");
        assert_eq!(rows.len(), 100_000);
        assert_eq!(rows.last().map(|row| (row.index, row.depth)), Some((99_999, DEEPEST)));
    }
}
