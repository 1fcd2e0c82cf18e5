//! What a comparison could have seen: without that, "no difference seen" says nothing.

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;

use super::rank::p_by_u;

/// The shift that the rank test finds in four of five comparisons of `n` and `m` runs, in standard
/// deviations of a run; `None` where so few runs cannot find any at this `alpha`.
///
/// Simulated with normal runs from a fixed seed, so that it is the same every time.
#[must_use]
pub fn detectable(n: usize, m: usize, alpha: f64) -> Option<f64> {
    let by_u = p_by_u(n, m);
    if by_u[0] > alpha {
        return None;
    }
    let mut random = Pcg64Mcg::seed_from_u64(SEED);
    let mut normal = |count: usize| -> Vec<f64> {
        (0..count).map(|_| StandardNormal.sample(&mut random)).collect()
    };
    let samples: Vec<_> = (0..SIMULATIONS).map(|_| (normal(n), normal(m))).collect();
    let found = |shift: f64| {
        samples.iter().filter(|(a, b)| by_u[u_of(a, b, shift)] <= alpha).count() * 5
            >= SIMULATIONS * 4
    };
    let (mut low, mut high) = (0.0, LARGEST);
    while high - low > 0.01 {
        let middle = f64::midpoint(low, high);
        if found(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// In how many pairs `b`, shifted, is larger.
fn u_of(a: &[f64], b: &[f64], shift: f64) -> usize {
    b.iter().map(|b| a.iter().filter(|&a| b + shift > *a).count()).sum()
}

const SIMULATIONS: usize = 1000;
const SEED: u64 = 5;
/// Beyond that even the smallest samples that can differ do.
const LARGEST: f64 = 20.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_runs_see_nothing_and_more_see_more() {
        assert_eq!(detectable(3, 3, 0.05), None);
        assert_eq!(detectable(5, 5, 0.05 / 12.0), None);
        let by_runs: Vec<f64> =
            [5, 10, 20].map(|runs| detectable(runs, runs, 0.05).expect("enough runs")).to_vec();
        assert!(by_runs.is_sorted_by(|more, fewer| more > fewer), "{by_runs:?}");
        // Of the t-test with 20 each it is 0.91; of the rank test the root of π/3 more.
        assert!((by_runs[2] - 0.93).abs() < 0.06, "{by_runs:?}");
        assert!((1.8..2.4).contains(&by_runs[0]), "{by_runs:?}");
        let strict = detectable(10, 10, 0.01).expect("enough runs");
        assert!(strict > by_runs[1], "{strict} {by_runs:?}");
    }
}
