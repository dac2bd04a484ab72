//! What of a trace the page names one by one: the heaviest causes and processes. The rest is one row each, whose numbers
//! are exact.

use std::cmp::Reverse;

use crate::record::schema::Trace;
use crate::report::view::View;

/// Causes that are named at most.
const CAUSES: usize = 400;
/// Processes that are named at most, those above them not counted.
const PROCESSES: usize = 400;
/// Pairs of a named process and a cause in it, at most: everything else in the page is a multiple of them.
const PAIRS: usize = 10_000;

/// Which row of the page each cause and process of the trace is.
pub(super) struct Limits {
    /// By cause of the view: its row; causes without one are the last row.
    causes: Vec<Option<usize>>,
    /// Causes of the view that are named, in the order of the view.
    pub(super) named_causes: Vec<usize>,
    /// By process of the trace: its row.
    processes: Vec<Option<usize>>,
    /// Processes that are named: parents before their children, children in the order of their starts.
    pub(super) named_processes: Vec<usize>,
}

impl Limits {
    /// `order`: the processes in the order of the tree.
    pub(super) fn new(trace: &Trace, view: &View<'_>, order: &[usize]) -> Self {
        let weights: Vec<u64> = view.causes().map(|row| row.copied.bytes).collect();
        let by_weight = heaviest(&weights);
        let copied: Vec<u64> = (0..trace.processes.len()).map(|p| view.copied(p).bytes).collect();
        let by_copied = heaviest(&copied);
        let rank = |order: &[usize]| {
            let mut ranks = vec![0; order.len()];
            order.iter().enumerate().for_each(|(rank, &index)| ranks[index] = rank);
            ranks
        };
        let (cause_ranks, process_ranks) = (rank(&by_weight), rank(&by_copied));
        let pairs: Vec<(usize, usize)> = view
            .causes()
            .zip(&cause_ranks)
            .flat_map(|(row, rank)| row.processes().map(|(process, _)| (*rank, process)).collect::<Vec<_>>())
            .filter_map(|(rank, process)| Some((rank, *process_ranks.get(process)?)))
            .collect();
        let (mut causes, mut processes) = (CAUSES, PROCESSES);
        while pairs.iter().filter(|(c, p)| *c < causes && *p < processes).count() > PAIRS {
            if causes >= processes { causes /= 2 } else { processes /= 2 }
        }
        let named_causes: Vec<usize> =
            (0..weights.len()).filter(|cause| cause_ranks[*cause] < causes).collect();
        let named_processes = tree(trace, order, |process| process_ranks[process] < processes);
        Self {
            causes: rows(weights.len(), &named_causes),
            named_causes,
            processes: rows(trace.processes.len(), &named_processes),
            named_processes,
        }
    }

    /// The page's row of a cause of the view; the last row is that of all that are not named.
    pub(super) fn cause(&self, cause: usize) -> usize {
        self.causes.get(cause).copied().flatten().unwrap_or(self.named_causes.len())
    }

    /// The page's row of a process of the trace; `None` = it is not named.
    pub(super) fn process(&self, process: usize) -> Option<usize> {
        self.processes.get(process).copied().flatten()
    }

    /// The same; the last row is that of all that are not named.
    pub(super) fn process_or_rest(&self, process: usize) -> usize {
        self.process(process).unwrap_or(self.named_processes.len())
    }
}

/// Positions by weight, the heaviest first, the first of equal ones.
fn heaviest(weights: &[u64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|index| (Reverse(weights[*index]), *index));
    order
}

fn rows(number: usize, named: &[usize]) -> Vec<Option<usize>> {
    let mut rows = vec![None; number];
    named.iter().enumerate().for_each(|(row, &index)| rows[index] = Some(row));
    rows
}

/// The processes that are wanted and all above them, in the order of the tree.
fn tree(trace: &Trace, order: &[usize], wanted: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut shown: Vec<bool> = (0..trace.processes.len()).map(wanted).collect();
    for index in order.iter().rev().filter(|index| shown[**index]).copied().collect::<Vec<_>>() {
        let mut above = trace.processes[index].parent;
        while let Some(parent) = above.filter(|parent| shown.get(*parent) == Some(&false)) {
            shown[parent] = true;
            above = trace.processes[parent].parent;
        }
    }
    order.iter().copied().filter(|index| shown[*index]).collect()
}
