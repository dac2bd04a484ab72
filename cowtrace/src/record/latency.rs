//! How long processes spent in faults that copied, from the time inside each listed one (`--latency`).
//!
//! Every value is there, so that quantiles are exact: the smallest value that so many are not above (nearest rank).

use std::num::NonZero;

use serde::Serialize;

use super::schema::{Outcome, Process, Trace};

/// Time in copies of one process, those of private file pages among them; nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Index into [`Trace::processes`].
    pub process: usize,
    /// Copies that the kernel counted, also before the first fork and those whose details were lost.
    pub copies: u64,
    /// Those of them whose time is known: the figures are theirs.
    pub timed: u64,
    /// Half of them took no longer.
    pub p50: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// The longest.
    pub max: u64,
    /// All together.
    pub total: u64,
    /// How many took how long.
    pub buckets: Vec<Bucket>,
}

/// Copies that took less than `below`, and not less than half of it; nanoseconds, a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// See there.
    pub below: u64,
    /// How many.
    pub copies: u64,
}

/// A process's latency as JSON has it, in JSON Lines and in a report.
#[derive(Clone, Debug, Serialize)]
pub struct LatencyLine {
    pid: u32,
    copies: u64,
    timed: u64,
    p50: u64,
    p99: u64,
    max: u64,
    total: u64,
    buckets: Vec<Bucket>,
}

/// The line of a process.
#[must_use]
pub fn line(trace: &Trace, latency: &Latency) -> LatencyLine {
    LatencyLine {
        pid: trace.processes.get(latency.process).map_or(0, |process| process.pid),
        copies: latency.copies,
        timed: latency.timed,
        p50: latency.p50,
        p99: latency.p99,
        max: latency.max,
        total: latency.total,
        buckets: latency.buckets.clone(),
    }
}

/// Of every process of which at least one copy was timed.
#[must_use]
pub fn latencies(trace: &Trace) -> Vec<Latency> {
    // Of sums there is no histogram.
    if !trace.alike.is_empty() {
        return Vec::new();
    }
    let mut times: Vec<Vec<u64>> = vec![Vec::new(); trace.processes.len()];
    for fault in &trace.faults {
        let is_copy = matches!(fault.outcome, Outcome::Copy | Outcome::FileCopy);
        if let (true, Some(latency), Some(times)) = (is_copy, fault.latency, times.get_mut(fault.process)) {
            times.push(latency.get());
        }
    }
    let processes = trace.processes.iter().zip(times).enumerate();
    processes.filter_map(|(index, (process, times))| of(index, process, times)).collect()
}

fn of(index: usize, process: &Process, mut times: Vec<u64>) -> Option<Latency> {
    times.sort_unstable();
    let max = *times.last()?;
    let mut buckets: Vec<Bucket> = Vec::new();
    for time in &times {
        let below = 1u64.checked_shl(u64::BITS - time.leading_zeros()).unwrap_or(u64::MAX);
        match buckets.last_mut().filter(|bucket| bucket.below == below) {
            Some(bucket) => bucket.copies += 1,
            None => buckets.push(Bucket { below, copies: 1 }),
        }
    }
    let totals = &process.totals;
    Some(Latency {
        process: index,
        copies: totals.faults(Outcome::Copy) + totals.faults(Outcome::FileCopy),
        timed: times.len() as u64,
        p50: quantile(&times, 50),
        p99: quantile(&times, 99),
        max,
        total: times.iter().sum(),
        buckets,
    })
}

/// The smallest of sorted values that so many of a hundred are not above.
fn quantile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    NonZero::new(rank).and_then(|rank| sorted.get(rank.get() - 1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::{Builder, operation, page, write};

    #[test]
    fn quantiles_and_buckets() {
        let mut b = Builder::new(&["server"]);
        let copy = page(operation("native", ""), write("unknown", "", ""), None);
        let (server, idle) = (b.process(None, "server", 0), b.process(None, "idle", 0));
        b.faults(server, 200, &copy);
        b.faults(idle, 1, &copy);
        b.lost(server, Outcome::Copy, 5, 0);
        let mut trace = b.finish();
        assert_eq!(latencies(&trace), [], "none was measured");
        for (nth, fault) in (1..=200).zip(trace.faults.iter_mut().rev().skip(1)) {
            fault.latency = NonZero::new(nth * 10);
        }
        let all = latencies(&trace);
        assert_eq!(all.len(), 1);
        let Latency { process, copies, timed, p50, p99, max, total, buckets } = &all[0];
        assert_eq!((*process, *copies, *timed), (server, 205, 200));
        assert_eq!((*p50, *p99, *max, *total), (1000, 1980, 2000, 201_000));
        assert_eq!(buckets.iter().map(|bucket| bucket.copies).sum::<u64>(), 200);
        assert_eq!(buckets.first(), Some(&Bucket { below: 16, copies: 1 }));
        assert_eq!(buckets.last(), Some(&Bucket { below: 2048, copies: 98 }));
        assert_eq!(quantile(&[7], 50), 7);
        assert_eq!(quantile(&[], 99), 0);
    }
}
