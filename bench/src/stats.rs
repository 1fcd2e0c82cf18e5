//! Medians and spreads of a few runs, and what the runs of two contenders say about each other.

use serde::{Deserialize, Serialize};

/// The middle of some runs and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// The middle value, the mean of the two middle ones of an even number.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
}

/// Whether one of two contenders is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Difference {
    /// Evenkeel, in every round.
    Ahead,
    /// The other, in every round.
    Behind,
    /// Now one and now the other.
    NotSeen,
    /// Fewer than [`ROUNDS_FOR_A_DIFFERENCE`].
    TooFewRounds,
}

impl Spread {
    /// Of at least one value.
    ///
    /// # Panics
    /// Without a value.
    #[must_use]
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (middle, last) = (sorted.len() / 2, sorted.len() - 1);
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        Self { median, min: sorted[0], max: sorted[last] }
    }
}

impl Difference {
    /// What the ratios of ours to theirs say, one of each round.
    #[must_use]
    pub(crate) fn of(ratios: &[f64], lower_is_better: bool) -> Self {
        let Spread { min, max, .. } = Spread::of(ratios);
        let (all_below, all_above) = (max < 1.0, min > 1.0);
        match (all_below, all_above) {
            _ if ratios.len() < ROUNDS_FOR_A_DIFFERENCE => Self::TooFewRounds,
            (true, _) if lower_is_better => Self::Ahead,
            (true, _) => Self::Behind,
            (_, true) if lower_is_better => Self::Behind,
            (_, true) => Self::Ahead,
            (false, false) => Self::NotSeen,
        }
    }

    /// As it is printed.
    #[must_use]
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Ahead => "ahead in every round",
            Self::Behind => "BEHIND in every round",
            Self::NotSeen => "no difference seen",
            Self::TooFewRounds => "too few rounds to tell",
        }
    }
}

/// Ours over theirs, round by round, so that what drifts with time hits both.
#[must_use]
pub(crate) fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

/// Five rounds fall on one side by chance once in sixteen times.
pub(crate) const ROUNDS_FOR_A_DIFFERENCE: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Spread::of(&[3.0]), Spread { median: 3.0, min: 3.0, max: 3.0 });
        assert_eq!(Spread::of(&[9.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 9.0 });
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 9.0]).median, 3.0);
    }

    #[test]
    fn a_difference_is_one_when_every_round_shows_it() {
        let check = |ratios: &[f64], lower_is_better, expected| {
            assert_eq!(Difference::of(ratios, lower_is_better), expected, "{ratios:?}");
        };
        check(&[0.8, 0.9, 0.99, 0.7, 0.8], true, Difference::Ahead);
        check(&[0.8, 0.9, 0.99, 0.7, 0.8], false, Difference::Behind);
        check(&[1.1, 1.2, 1.01, 1.3, 1.1], true, Difference::Behind);
        check(&[1.1, 1.2, 1.01, 1.3, 1.1], false, Difference::Ahead);
        check(&[0.8, 0.9, 1.01, 0.7, 0.8], true, Difference::NotSeen);
        check(&[0.8, 0.9, 0.7, 0.8], true, Difference::TooFewRounds);
    }

    #[test]
    fn ratios_are_those_of_one_round() {
        assert_eq!(ratios(&[1.0, 6.0], &[2.0, 3.0]), [0.5, 2.0]);
    }
}
