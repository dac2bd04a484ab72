//! Medians of rounds: single rounds differ by more than what is measured.

/// Median and range of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// `None` of no numbers.
    pub(super) fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.sort_by(f64::total_cmp);
        let half = numbers.len() / 2;
        let median = match numbers.len() % 2 {
            1 => numbers[half],
            _ => f64::midpoint(*numbers.get(half.checked_sub(1)?)?, numbers[half]),
        };
        Some(Self { median, min: *numbers.first()?, max: *numbers.last()? })
    }
}

/// Ratios round by round: only what ran side by side can be compared.
pub(super) fn ratios(with: &[f64], without: &[f64]) -> Vec<f64> {
    with.iter().zip(without).map(|(with, without)| with / without).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_an_even_count_lies_between() {
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]).map(|spread| spread.median), Some(2.0));
        assert_eq!(Spread::of(vec![]), None);
    }

    #[test]
    fn ratios_are_per_round() {
        assert_eq!(ratios(&[3.0, 8.0], &[2.0, 4.0]), [1.5, 2.0]);
    }
}
