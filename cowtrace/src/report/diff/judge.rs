//! What is a change and what is noise.
//!
//! The same script recorded twice gives different numbers: addresses and hashes are random, workers take tasks as they
//! come. A difference is called a change only if it passes two hurdles:
//!
//! 1. It is large enough to matter: [`FLOOR_PAGES`] pages and [`FLOOR_SHARE`] of what is copied in total; where a side has
//!    a single recording, so that nothing is known of the spread between recordings, [`SINGLE_PAGES`] and
//!    [`SINGLE_SHARE`].
//! 2. It is not explained by the spread. Where both sides have enough recordings for it, by an exact permutation test of
//!    the difference of means: at most [`ALPHA`] of all ways to deal the recordings to two sides differ as much. With two
//!    or more a side by Student's t-test at the same level, which is strict with few. With a single recording on a side
//!    the difference must exceed the range between the workers of every recording, and the range between recordings; if
//!    that recording has one worker, or whole trees are compared, nothing is known of the spread and nothing is told.
//!
//! Recordings, not workers, are what is dealt and counted: workers of one run have much in common.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// A difference of fewer pages is none.
pub(super) const FLOOR_PAGES: f64 = 4.0;
/// A difference of less than this part of the total is none.
pub(super) const FLOOR_SHARE: f64 = 0.02;
/// The same where a side has one recording.
pub(super) const SINGLE_PAGES: f64 = 16.0;
pub(super) const SINGLE_SHARE: f64 = 0.05;
/// How often noise may look like a change, at most.
pub(super) const ALPHA: f64 = 0.01;
/// More ways to deal recordings than this are not tried; so many recordings suit the t-test.
const WAYS: u64 = 200_000;

/// What a unit (worker or tree) copied in one recording, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Run {
    /// On the average.
    pub(super) mean: f64,
    /// The unit that copied least.
    pub(super) low: f64,
    /// The unit that copied most.
    pub(super) high: f64,
    /// Pages on the average.
    pub(super) pages: f64,
    /// How many units there were.
    pub(super) units: usize,
    /// Bytes of a page.
    pub(super) page: f64,
}

/// Which way it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    /// Too small to matter.
    Same,
    /// Large enough, but noise may look like this.
    Unclear,
    Less,
    More,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Test {
    Permutation,
    Student,
    Workers,
}

/// A judgement.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Judged {
    pub(super) change: Change,
    pub(super) test: Test,
    /// Differences up to this many bytes are called noise; of a permutation test, which has no such limit, the floor and
    /// the range between recordings of one side; null = nothing is known of the spread.
    pub(super) noise: Option<f64>,
    /// Part of all ways to deal the recordings that differ as much; null without a permutation test.
    pub(super) p: Option<f64>,
}

/// Judges a difference. `total` is the larger of what is copied in total before and after.
pub(super) fn judge(sides: [&[Run]; 2], total: f64) -> Judged {
    let means = sides.map(|runs| mean(runs.iter().map(|run| run.mean)));
    let difference = means[1] - means[0];
    let single = sides.iter().any(|runs| runs.len() < 2);
    let (pages, share) = if single { (SINGLE_PAGES, SINGLE_SHARE) } else { (FLOOR_PAGES, FLOOR_SHARE) };
    // Where they differ, a difference of a few of the larger ones is none.
    let page = sides.iter().flat_map(|runs| runs.iter()).map(|run| run.page).fold(0.0, f64::max);
    let floor = (pages * page).max(share * total);
    let between_runs = sides.map(|runs| range(runs.iter().flat_map(|run| [run.mean])));
    let between_runs = between_runs[0].max(between_runs[1]);
    let (test, noise, p) = if single {
        let workers = sides.iter().flat_map(|runs| runs.iter()).map(|run| run.high - run.low);
        (Test::Workers, workers.fold(between_runs, f64::max), None)
    } else {
        let all: Vec<f64> = sides.iter().flat_map(|runs| runs.iter().map(|run| run.mean)).collect();
        let first = sides[0].len();
        match ways(all.len(), first).filter(|ways| 2.0 / *ways as f64 <= ALPHA) {
            Some(_) => (Test::Permutation, between_runs, Some(permutation(&all, first))),
            None => (Test::Student, student(sides, means), None),
        }
    };
    let alone = |runs: &&[Run]| matches!(runs, [only] if only.units < 2);
    let noise = (!sides.iter().any(alone)).then_some(noise.max(floor));
    let told = match (p, noise) {
        (Some(p), _) => p <= ALPHA,
        (None, Some(noise)) => difference.abs() > noise,
        (None, None) => false,
    };
    let change = match (difference.abs() > floor, told) {
        (false, _) => Change::Same,
        (true, false) => Change::Unclear,
        (true, true) if difference < 0.0 => Change::Less,
        (true, true) => Change::More,
    };
    Judged { change, test, noise, p }
}

/// The arithmetic mean; 0 of nothing.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, number) = values.fold((0.0, 0.0), |(sum, number), value| (sum + value, number + 1.0));
    if number > 0.0 { sum / number } else { 0.0 }
}

fn range(values: impl Iterator<Item = f64>) -> f64 {
    let (low, high) =
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    (high - low).max(0.0)
}

/// In how many ways `all` recordings can be dealt so that the first side has `first`; `None` = too many to try.
fn ways(all: usize, first: usize) -> Option<u64> {
    let mut ways: u64 = 1;
    for nth in 0..first.min(all - first) {
        // Each step is a whole number: the binomial coefficient of a longer row.
        ways = ways * (all - nth) as u64 / (nth as u64 + 1);
        if ways > WAYS {
            return None;
        }
    }
    Some(ways)
}

/// Part of all ways to deal the values to two sides whose means differ at least as much as those of the given sides,
/// which come first.
fn permutation(all: &[f64], first: usize) -> f64 {
    let sum: f64 = all.iter().sum();
    let sizes = [first as f64, (all.len() - first) as f64];
    let difference = |part: f64| (part / sizes[0] - (sum - part) / sizes[1]).abs();
    let given = difference(all[..first].iter().sum());
    // What differs only by rounding differs as much.
    let given = given - given.abs() * 1e-9;
    let (mut ways, mut as_much) = (0_u64, 0_u64);
    let mut chosen: Vec<usize> = (0..first).collect();
    loop {
        ways += 1;
        as_much += u64::from(difference(chosen.iter().map(|at| all[*at]).sum()) >= given);
        // The next choice in the order of a dictionary.
        let Some(at) = (0..first).rev().find(|at| chosen[*at] < all.len() - first + at) else { break };
        chosen[at] += 1;
        for later in at + 1..first {
            chosen[later] = chosen[later - 1] + 1;
        }
    }
    as_much as f64 / ways as f64
}

/// The difference of means that Student's t-test takes for noise, with one variance for both sides.
fn student(sides: [&[Run]; 2], means: [f64; 2]) -> f64 {
    let numbers = sides.map(|runs| runs.len() as f64);
    let squares = |side: usize| sides[side].iter().map(|run| (run.mean - means[side]).powi(2)).sum::<f64>();
    let freedom = sides[0].len() + sides[1].len() - 2;
    let variance = (squares(0) + squares(1)) / freedom as f64;
    let distribution = StudentsT::new(0.0, 1.0, freedom as f64);
    // Of two sides: noise may go either way. There are two recordings of each side or more, so there is a distribution.
    let point = distribution.map_or(f64::MAX, |distribution| distribution.inverse_cdf(1.0 - ALPHA / 2.0));
    point * (variance * (1.0 / numbers[0] + 1.0 / numbers[1])).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(kib: &[f64]) -> Vec<Run> {
        kib.iter()
            .map(|kib| Run {
                mean: kib * 1024.0,
                low: kib * 1024.0,
                high: kib * 1024.0,
                pages: kib / 4.0,
                units: 4,
                page: 4096.0,
            })
            .collect()
    }

    fn change(before: &[f64], after: &[f64]) -> (Change, Test) {
        let judged = judge([&runs(before), &runs(after)], 1024.0 * 1024.0);
        (judged.change, judged.test)
    }

    #[test]
    fn one_recording_a_side() {
        assert_eq!(change(&[1000.0], &[1000.0]), (Change::Same, Test::Workers));
        assert_eq!(change(&[1000.0], &[1050.0]).0, Change::Same, "a twentieth of the total is none");
        assert_eq!(change(&[1000.0], &[900.0]).0, Change::Less);
        let wide = [Run { mean: 1e6, low: 0.0, high: 1.2e6, pages: 0.0, units: 4, page: 4096.0 }];
        let judged = judge([&wide, &runs(&[100.0])], 1e6);
        assert_eq!((judged.change, judged.noise), (Change::Unclear, Some(1.2e6)), "workers differ as much");
        let alone = [Run { units: 1, ..runs(&[500.0])[0] }];
        let judged = judge([&runs(&[1000.0]), &alone], 1e6);
        assert_eq!((judged.change, judged.noise), (Change::Unclear, None), "one worker has no spread");
        assert_eq!(change(&[1000.0], &[500.0, 1100.0]).0, Change::Unclear, "recordings differ as much");
        assert_eq!(change(&[1000.0], &[500.0, 510.0]).0, Change::Less);
    }

    /// A few pages are no difference, however large pages are; of two machines the larger ones count.
    #[test]
    fn the_floor_is_in_pages() {
        let side = |kib: f64, page: f64| [Run { page, ..runs(&[kib])[0] }; 2];
        let change =
            |before: f64, after: f64| judge([&side(0.0, before), &side(60.0, after)], 100.0 * 1024.0).change;
        assert_eq!(change(4096.0, 4096.0), Change::More, "15 pages");
        assert_eq!(change(16384.0, 16384.0), Change::Same, "less than 4 pages");
        assert_eq!((change(4096.0, 65536.0), change(65536.0, 4096.0)), (Change::Same, Change::Same));
    }

    #[test]
    fn few_recordings() {
        assert_eq!(change(&[1000.0, 1010.0], &[600.0, 605.0]), (Change::Less, Test::Student));
        assert_eq!(
            change(&[1000.0, 1100.0], &[600.0, 700.0]).0,
            Change::Unclear,
            "four times the spread is not enough"
        );
        assert_eq!(change(&[1000.0, 1100.0, 1050.0], &[600.0, 700.0, 650.0]).0, Change::Less);
        assert_eq!(
            change(&[1000.0, 1000.0], &[1010.0, 1010.0]).0,
            Change::Same,
            "below the floor, however sure"
        );
        assert_eq!(change(&[0.0, 0.0], &[100.0, 100.0]).0, Change::More);
    }

    #[test]
    fn many_recordings() {
        let before = [1000.0, 1040.0, 980.0, 1100.0, 1020.0];
        assert_eq!(change(&before, &[900.0, 890.0, 940.0, 905.0, 970.0]), (Change::Less, Test::Permutation));
        assert_eq!(change(&before, &[900.0, 890.0, 940.0, 1150.0, 970.0]).0, Change::Unclear);
        let p = judge([&runs(&before), &runs(&[1.0, 2.0, 3.0, 4.0, 5.0])], 1.0).p;
        assert!((p.unwrap() - 2.0 / 252.0).abs() < 1e-12, "{p:?}");
        let many: Vec<f64> = (0..40).map(|nth| 1000.0 + f64::from(nth)).collect();
        assert_eq!(change(&many, &many), (Change::Same, Test::Student), "too many ways to try");
    }

    #[test]
    fn ways_to_deal() {
        assert_eq!(ways(10, 5), Some(252));
        assert_eq!(ways(4, 2), Some(6));
        assert_eq!(ways(3, 1), Some(3));
        assert_eq!(ways(80, 40), None);
        assert!((permutation(&[1.0, 1.0, 1.0, 1.0], 2) - 1.0).abs() < 1e-12);
    }

    /// Noise is called a change no more often than is said: pairs of sides that are drawn from one distribution.
    #[test]
    fn noise_is_no_change() {
        let mut state = 1_u64;
        let mut random = || {
            // Twelve numbers of a linear congruence add up to nearly a normal distribution.
            let sum: f64 = (0..12)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33) as f64 / f64::from(1_u32 << 31)
                })
                .sum();
            1000.0 + 100.0 * (sum - 6.0)
        };
        for (first, second) in [(2, 2), (3, 3), (2, 5), (5, 5), (8, 4)] {
            let mut called = 0;
            for _ in 0..2000 {
                let before: Vec<f64> = (0..first).map(|_| random()).collect();
                let after: Vec<f64> = (0..second).map(|_| random()).collect();
                called += u64::from(matches!(change(&before, &after).0, Change::Less | Change::More));
            }
            assert!(called <= 30, "{first} and {second}: {called} of 2000, 20 are expected at most");
        }
    }
}
