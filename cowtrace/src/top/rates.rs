//! How fast things move: copies a second of each row, and copied bytes over time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::report::live::{Cause, Now};

/// Rates are of about so long.
const WINDOW: Duration = Duration::from_millis(1000);
/// Time that one bar stands for.
pub(super) const STEP: Duration = Duration::from_millis(500);
/// Bars that are kept, more than a screen is wide.
const BARS: usize = 512;

/// What a row of causes is told from the others by: its place, and what was done there.
type Name = (String, String);

/// Copied pages at one time.
#[derive(Debug)]
struct Sample {
    at: Duration,
    total: u64,
    processes: Vec<u64>,
    /// `None` = the rows stood for something else.
    causes: Option<HashMap<Name, u64>>,
}

impl Sample {
    fn of(at: Duration, now: &Now) -> Self {
        let causes = now.causes.iter();
        Self {
            at,
            total: now.total.pages,
            processes: now
                .processes
                .iter()
                .map(|process| process.copied.pages + process.files.pages)
                .collect(),
            causes: Some(causes.map(|c| ((c.place.clone(), c.what.clone()), c.copied.pages)).collect()),
        }
    }
}

/// Copies a second by now.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    /// Of all processes.
    pub(super) total: u64,
    /// Of each process, by its index.
    pub(super) processes: Vec<u64>,
    /// Of each row of causes, by its position in [`Now::causes`]; empty = the rows were others a moment ago.
    pub(super) causes: Vec<u64>,
    /// Copied bytes in each step of time, the latest last.
    pub(super) bars: Vec<u64>,
}

/// What was seen a moment ago.
#[derive(Debug, Default)]
pub(super) struct Pace {
    samples: VecDeque<Sample>,
    bars: VecDeque<u64>,
    /// Number of the step that the last bar is of.
    step: u128,
    /// Bytes that are in a bar already.
    bytes: u64,
}

impl Pace {
    /// Takes note of what there is at a time since the start, and says how fast it came.
    pub(super) fn take(&mut self, at: Duration, now: &Now) -> Rates {
        self.bar(at, now.total.bytes);
        while self.samples.len() > 1 && self.samples.get(1).is_some_and(|next| next.at + WINDOW <= at) {
            self.samples.pop_front();
        }
        let sample = Sample::of(at, now);
        let rates = match self.samples.front().filter(|old| old.at < at) {
            None => Rates::default(),
            Some(old) => rates(old, &sample, now),
        };
        self.samples.push_back(sample);
        Rates { bars: self.bars.iter().copied().collect(), ..rates }
    }

    /// Rows are others from now on: they have no past.
    pub(super) fn forget_causes(&mut self) {
        self.samples.iter_mut().for_each(|sample| sample.causes = None);
    }

    fn bar(&mut self, at: Duration, bytes: u64) {
        let step = at.as_millis() / STEP.as_millis();
        let new = usize::try_from(step - self.step.min(step)).unwrap_or(BARS);
        self.step = self.step.max(step);
        let new = if self.bars.is_empty() { new.max(1) } else { new };
        self.bars.extend(std::iter::repeat_n(0, new.min(BARS)));
        let old = self.bars.len().saturating_sub(BARS);
        self.bars.drain(..old);
        if let Some(last) = self.bars.back_mut() {
            *last += bytes.saturating_sub(self.bytes);
        }
        self.bytes = self.bytes.max(bytes);
    }
}

fn rates(old: &Sample, new: &Sample, now: &Now) -> Rates {
    let seconds = (new.at - old.at).as_secs_f64();
    // Pages are far fewer than a float can tell apart; a cast to an integer is never out of bounds.
    let rate = |new: u64, old: u64| (new.saturating_sub(old) as f64 / seconds).round() as u64;
    Rates {
        total: rate(new.total, old.total),
        processes: new
            .processes
            .iter()
            .enumerate()
            .map(|(index, pages)| rate(*pages, old.processes.get(index).copied().unwrap_or_default()))
            .collect(),
        causes: old.causes.as_ref().map_or_else(Vec::new, |old| {
            let before = |c: &Cause| old.get(&(c.place.clone(), c.what.clone())).copied().unwrap_or_default();
            now.causes.iter().map(|cause| rate(cause.copied.pages, before(cause))).collect()
        }),
        bars: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::live::Process;
    use crate::report::view::{Amount, Kind};

    fn now(pages: u64) -> Now {
        let copied = Amount { pages, bytes: pages * 4096 };
        let process = Process { copied, ..Process::default() };
        let (place, what) = ("a.py:1".to_owned(), "refcount".to_owned());
        let cause = Cause { place, what, kind: Kind::Own, copied, processes: 1 };
        Now { total: copied, processes: vec![process], causes: vec![cause], ..Now::default() }
    }

    /// A steady stream has its rate, and one that ends has none a moment later.
    #[test]
    fn a_second_is_looked_back() {
        let mut pace = Pace::default();
        let mut last = Rates::default();
        for tick in 0..40_u64 {
            last = pace.take(Duration::from_millis(tick * 250), &now(tick.min(20) * 50));
            let expected = match tick {
                0 => 0,
                1..=20 => 200,
                21..=23 => continue,
                _ => 0,
            };
            assert_eq!(last.total, expected, "{tick}");
            assert_eq!(last.processes.first().copied().unwrap_or_default(), expected);
        }
        assert_eq!(last.bars.iter().sum::<u64>(), 1000 * 4096, "every byte is in a bar");
        assert_eq!(last.bars.len(), 20);
        pace.forget_causes();
        assert!(pace.take(Duration::from_secs(11), &now(2000)).causes.is_empty());
    }

    /// A row that is new has a rate; rows that stand for something else have none at first.
    #[test]
    fn new_rows() {
        let mut pace = Pace::default();
        pace.take(Duration::ZERO, &Now::default());
        assert_eq!(pace.take(Duration::from_secs(1), &now(30)).causes, [30]);
        pace.forget_causes();
        assert!(pace.take(Duration::from_secs(2), &now(50)).causes.is_empty());
    }

    /// Nothing is seen for a long time: as many bars without height, bounded.
    #[test]
    fn gaps() {
        let mut pace = Pace::default();
        pace.take(Duration::ZERO, &now(1));
        let rates = pace.take(Duration::from_secs(2), &now(1));
        assert_eq!(rates.bars, [4096, 0, 0, 0, 0]);
        assert_eq!(pace.take(Duration::from_secs(100_000), &now(3)).bars.len(), BARS);
    }
}
