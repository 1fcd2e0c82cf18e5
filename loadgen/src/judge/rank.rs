//! The rank test of Mann and Whitney with its exact distribution, and the shift of Hodges and
//! Lehmann that belongs to it.

use statrs::distribution::{ContinuousCDF, Normal};

/// What the test says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankTest {
    /// In how many pairs the second sample is larger; a tie is half a pair.
    pub u: f64,
    /// Two-sided: how often samples of equal origin differ at least so much.
    pub p: f64,
    /// Whether `p` was counted, and not approximated.
    pub exact: bool,
}

/// How far the second sample lies above the first, with an interval for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// The median of all differences.
    pub estimate: f64,
    /// The interval's ends; infinite where samples are too small for the confidence.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

/// Whether two samples come from the same origin.
///
/// Up to [`EXACT_MAX`] values the distribution of the rank sum is counted, given the ties that
/// there are; beyond that it is approximated, with the corrections for ties and continuity.
///
/// # Panics
/// When a sample is empty or a value is not a number.
#[must_use]
pub fn mann_whitney(a: &[f64], b: &[f64]) -> RankTest {
    assert!(!a.is_empty() && !b.is_empty(), "a sample has values");
    let ranks = doubled_ranks(a, b);
    let sum_b: usize = ranks[a.len()..].iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "samples are small")]
    let u = (sum_b - b.len() * (b.len() + 1)) as f64 / 2.0;
    if ranks.len() > EXACT_MAX {
        return RankTest { u, p: approximate_p(&ranks, a.len(), u), exact: false };
    }
    // The sum's mean is that many ranks of (N + 1) / 2, doubled.
    let mean = b.len() * (ranks.len() + 1);
    let counts = subset_sums(&ranks, b.len());
    let is_as_far = |sum: usize| sum.abs_diff(mean) >= sum_b.abs_diff(mean);
    let far: f64 = (0..counts.len()).filter(|&sum| is_as_far(sum)).map(|sum| counts[sum]).sum();
    RankTest { u, p: (far / counts.iter().sum::<f64>()).min(1.0), exact: true }
}

/// How far `b` lies above `a`: the median of all differences, and an interval that holds the true
/// shift with at least `confidence`.
///
/// # Panics
/// When a sample is empty or a value is not a number.
#[must_use]
pub fn shift(a: &[f64], b: &[f64], confidence: f64) -> Shift {
    assert!(!a.is_empty() && !b.is_empty(), "a sample has values");
    let mut differences: Vec<f64> = b.iter().flat_map(|b| a.iter().map(move |a| b - a)).collect();
    differences.sort_by(|one, two| one.partial_cmp(two).expect("differences are numbers"));
    let outside = values_outside(a.len(), b.len(), (1.0 - confidence) / 2.0);
    let (low, high) = match outside {
        0 => (f64::NEG_INFINITY, f64::INFINITY),
        k => (differences[k - 1], differences[differences.len() - k]),
    };
    Shift { estimate: median_of_sorted(&differences), low, high }
}

/// The median of values in order.
pub(super) fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// For each U from 0 to n·m, the two-sided p when there are no ties.
pub(super) fn p_by_u(n: usize, m: usize) -> Vec<f64> {
    let by_u = u_counts(n, m);
    let total: f64 = by_u.iter().sum();
    let mut below = 0.0;
    let lower: Vec<f64> = by_u
        .iter()
        .map(|count| {
            below += count;
            below / total
        })
        .collect();
    (0..by_u.len()).map(|u| (2.0 * lower[u.min(n * m - u)]).min(1.0)).collect()
}

/// How many of all orders give each U, without ties.
fn u_counts(n: usize, m: usize) -> Vec<f64> {
    let ranks: Vec<usize> = (1..=n + m).collect();
    let smallest = m * (m + 1) / 2;
    subset_sums(&ranks, m)[smallest..=smallest + n * m].to_vec()
}

/// The rank from each end of the ordered differences at which the interval begins; 0 if no such
/// rank leaves out so little.
fn values_outside(n: usize, m: usize, tail: f64) -> usize {
    if n + m > EXACT_MAX {
        #[expect(clippy::cast_precision_loss, reason = "samples are small")]
        let (n, m) = (n as f64, m as f64);
        let deviation = (n * m * (n + m + 1.0) / 12.0).sqrt();
        let rank = n * m / 2.0 + standard_normal().inverse_cdf(tail) * deviation;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is a rank"
        )]
        return rank.max(0.0) as usize;
    }
    let counts = u_counts(n, m);
    let total: f64 = counts.iter().sum();
    let mut below = 0.0;
    // A tail such as 0.025 is not exact in binary.
    let fits = |count: &&f64| {
        below += **count;
        below / total <= tail + 1e-12
    };
    counts.iter().take_while(fits).count()
}

/// Twice the rank of each value, those of `a` first: a whole number for ties too, which share the
/// mean of their ranks.
fn doubled_ranks(a: &[f64], b: &[f64]) -> Vec<usize> {
    let values: Vec<f64> = a.iter().chain(b).copied().collect();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&one, &two| values[one].partial_cmp(&values[two]).expect("values are numbers"));
    let mut ranks = vec![0; values.len()];
    for ties in order.chunk_by(|&one, &two| values[one] == values[two]) {
        let first = order.iter().position(|one| one == &ties[0]).expect("it is one of them");
        ties.iter().for_each(|&index| ranks[index] = 2 * first + ties.len() + 1);
    }
    ranks
}

/// By sum, how many subsets of so many values there are.
fn subset_sums(values: &[usize], size: usize) -> Vec<f64> {
    let total: usize = values.iter().sum();
    let mut counts = vec![vec![0.0; total + 1]; size + 1];
    counts[0][0] = 1.0;
    for &value in values {
        // From above, so that no value is taken twice.
        for taken in (1..=size).rev() {
            for sum in value..=total {
                let without = counts[taken - 1][sum - value];
                counts[taken][sum] += without;
            }
        }
    }
    counts.pop().expect("there is one for each size")
}

#[expect(clippy::cast_precision_loss, reason = "samples are small")]
fn approximate_p(ranks: &[usize], n: usize, u: f64) -> f64 {
    let (n, all) = (n as f64, ranks.len() as f64);
    let m = all - n;
    let mut sorted = ranks.to_vec();
    sorted.sort_unstable();
    let of_ties = |ties: &[usize]| (ties.len() as f64).powi(3) - ties.len() as f64;
    let ties: f64 = sorted.chunk_by(|one, two| one == two).map(of_ties).sum();
    let variance = n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let z = ((u - n * m / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
    (2.0 * standard_normal().cdf(-z)).min(1.0)
}

fn standard_normal() -> Normal {
    Normal::standard()
}

/// Values of both samples up to which every order is counted; that takes milliseconds.
const EXACT_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn p(a: &[f64], b: &[f64]) -> f64 {
        mann_whitney(a, b).p
    }

    fn numbers(range: std::ops::Range<u32>) -> Vec<f64> {
        range.map(f64::from).collect()
    }

    #[test]
    fn complete_separation_is_two_of_all_orders() {
        for (n, orders) in [(3, 20.0), (4, 70.0), (5, 252.0), (6, 924.0), (10, 184_756.0)] {
            let (low, high) = (numbers(0..n), numbers(n..2 * n));
            for (a, b, u) in [(&low, &high, f64::from(n * n)), (&high, &low, 0.0)] {
                let test = mann_whitney(a, b);
                assert!((test.p - 2.0 / orders).abs() < 1e-15, "{n}: {}", test.p);
                assert_eq!((test.u, test.exact), (u, true));
            }
        }
        assert!((p(&numbers(0..5), &numbers(5..10)) - 0.0079).abs() < 5e-5);
    }

    /// Mann and Whitney's own table of 1947: one-sided probabilities of U for n = m = 5.
    #[test]
    fn small_samples_have_the_published_probabilities() {
        let published = [
            0.004, 0.008, 0.016, 0.028, 0.048, 0.075, 0.111, 0.155, 0.210, 0.274, 0.345, 0.421,
            0.500,
        ];
        let by_u = p_by_u(5, 5);
        for (u, one_sided) in published.into_iter().enumerate() {
            assert!((by_u[u] / 2.0 - one_sided).abs() < 6e-4, "U = {u}: {}", by_u[u] / 2.0);
        }
        // n = 3, m = 4 of the same table.
        for (u, one_sided) in [0.028, 0.057, 0.114, 0.200, 0.314, 0.429].into_iter().enumerate() {
            assert!((p_by_u(3, 4)[u] / 2.0 - one_sided).abs() < 6e-4, "U = {u}");
        }
    }

    /// The two-sided critical values at 0.05 that textbooks print.
    #[test]
    fn critical_values_are_those_of_the_tables() {
        for (n, m, critical) in [
            (4, 4, 0),
            (5, 5, 2),
            (6, 6, 5),
            (7, 7, 8),
            (8, 8, 13),
            (10, 10, 23),
            (5, 8, 6),
            (20, 20, 127),
        ] {
            let by_u = p_by_u(n, m);
            assert!(by_u[critical] <= 0.05 && by_u[critical + 1] > 0.05, "{n} and {m}");
            assert_eq!(values_outside(n, m, 0.025), critical + 1, "{n} and {m}");
        }
        assert_eq!(values_outside(3, 3, 0.025), 0, "no U of three and three is so rare");
    }

    /// Counted by hand: of the 6 ways to draw 2 of {1, 2, 2, 3}, those as far out as {1, 2}.
    #[test]
    fn ties_share_their_ranks_and_are_counted_exactly() {
        assert_eq!(doubled_ranks(&[1.0, 2.0], &[2.0, 3.0]), [2, 5, 5, 8]);
        let test = mann_whitney(&[1.0, 2.0], &[2.0, 3.0]);
        assert!((test.p - 4.0 / 6.0).abs() < 1e-15, "{test:?}");
        assert!((test.u - 3.5).abs() < 1e-15, "{test:?}");
        assert!((p(&[7.0; 5], &[7.0; 5]) - 1.0).abs() < 1e-15);
        assert!((p(&[7.0; 40], &[7.0; 40]) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn beyond_what_is_counted_the_approximation_goes_on() {
        for shift in [0, 3, 7] {
            let (a, b) = (numbers(0..30), numbers(shift..30 + shift));
            let counted = mann_whitney(&a, &b);
            let ranks = doubled_ranks(&a, &b);
            let approximated = approximate_p(&ranks, a.len(), counted.u);
            assert!(
                counted.exact && (counted.p - approximated).abs() < 0.001,
                "{counted:?} {approximated}"
            );
        }
        assert!(!mann_whitney(&numbers(0..31), &numbers(0..30)).exact);
        // 2.5758 deviations leave out one in a hundred.
        let (n, tail) = (100, 0.005);
        let expected = 5000.0 - 2.5758 * (10_000.0_f64 * 201.0 / 12.0).sqrt();
        assert!((values_outside(n, n, tail) as f64 - expected).abs() <= 1.0);
    }

    /// Hollander and Wolfe's example 4.1: permeability of membranes at term and before.
    #[test]
    fn the_shift_of_a_textbook_has_its_interval() {
        let term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
        let earlier = [1.15, 0.88, 0.90, 0.74, 1.21];
        let found = shift(&earlier, &term, 0.95);
        assert!((found.estimate - 0.305).abs() < 1e-9, "{found:?}");
        assert!((found.low + 0.15).abs() < 1e-9 && (found.high - 0.76).abs() < 1e-9, "{found:?}");
        assert!((p(&earlier, &term) - 0.2544).abs() < 5e-5);
    }

    #[test]
    fn a_shift_is_found_as_it_was_made() {
        let a = numbers(0..9);
        let b: Vec<f64> = a.iter().map(|value| value + 100.0).collect();
        let found = shift(&a, &b, 0.95);
        assert!((found.estimate - 100.0).abs() < 1e-12);
        assert!(found.low < 100.0 && found.high > 100.0 && found.low > 90.0, "{found:?}");
        let back = shift(&b, &a, 0.95);
        assert_eq!(
            (back.estimate, back.low, back.high),
            (-found.estimate, -found.high, -found.low)
        );
        let few = shift(&a[..2], &b[..2], 0.95);
        assert!(few.low.is_infinite() && few.high.is_infinite(), "two values bound nothing");
    }
}
