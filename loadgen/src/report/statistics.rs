//! How sure the figures are: confidence of percentiles, fairness of shares, steadiness of rates.

use statrs::distribution::{
    Binomial, ChiSquared, ContinuousCDF as _, DiscreteCDF as _, Normal, StudentsT,
};

use super::{Distribution, Interval, Report};

/// The interval in which a quantile (0 to 1) of all requests like these lies with 95 % confidence.
/// Where there are too few samples for the quantile, there is none.
///
/// The bounds are order statistics: how many of the samples lie below the true quantile is
/// binomial, whatever the latencies' distribution is. Requests are taken as independent, so that
/// under a stall, which hits many at once, the truth is wider.
#[must_use]
pub fn quantile_interval_ns(times: &Distribution, quantile: f64) -> Option<(u64, u64)> {
    times.quantile_ns(quantile)?;
    let (low, high) = interval_ranks(times.count(), quantile)?;
    Some((at_rank(times, low), at_rank(times, high)))
}

/// The ranks, from 1, whose samples enclose the quantile with 95 % confidence.
fn interval_ranks(samples: u64, quantile: f64) -> Option<(u64, u64)> {
    let (below, above) = ((1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0);
    let all = samples as f64;
    let variance = all * quantile * (1.0 - quantile);
    let (low, high) = if variance > NORMAL_FROM {
        let normal = Normal::new(all * quantile, variance.sqrt()).ok()?;
        let ranks = (normal.inverse_cdf(below).floor(), normal.inverse_cdf(above).ceil());
        (whole(ranks.0), whole(ranks.1))
    } else {
        let binomial = Binomial::new(quantile, samples).ok()?;
        (binomial.inverse_cdf(below), binomial.inverse_cdf(above))
    };
    Some((low.max(1), (high + 1).min(samples)))
}

fn at_rank(times: &Distribution, rank: u64) -> u64 {
    // The histogram rounds ranks up: half a rank less cannot be rounded to the next one.
    times.0.value_at_quantile((rank as f64 - 0.5) / times.count() as f64)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank is neither")]
fn whole(rank: f64) -> u64 {
    rank.max(0.0) as u64
}

/// How the answers spread over backends, against the weights that were given.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// Jain's index of the counts for their weight: 1 is perfectly fair, 1/n is all to one of n.
    pub jain: f64,
    /// Whether the difference from the weights may be chance; absent where a backend should have
    /// had fewer than five answers, or one answered that has no weight.
    pub chi_square: Option<ChiSquare>,
}

/// Pearson's test of counts against their expectation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChiSquare {
    /// The sum of the squared differences, each over what was expected.
    pub statistic: f64,
    /// Degrees of freedom.
    pub freedom: u32,
    /// The chance of such a difference, or of a greater one, if each answer came from a backend
    /// drawn by its weight. A balancer that goes round is nearer to the weights than chance: 1.
    pub p: f64,
}

/// The spread over the backends of `report`; absent where fewer than two are known.
#[must_use]
pub fn spread(report: &Report) -> Option<Spread> {
    let weights = &report.config.weights;
    let of = |name: &String| {
        let counts = report.backends.iter().find(|backend| backend.name == *name);
        counts.map_or(0, |backend| backend.responses)
    };
    let stray = report.backends.iter().any(|one| !weights.contains_key(&one.name));
    let counts: Vec<(u64, f64)> = if weights.is_empty() {
        report.backends.iter().map(|backend| (backend.responses, 1.0)).collect()
    } else {
        weights.iter().map(|(name, &weight)| (of(name), weight)).collect()
    };
    let jain = jain(&counts)?;
    let chi_square = if stray && !weights.is_empty() { None } else { chi_square(&counts) };
    Some(Spread { jain, chi_square })
}

/// Jain's index of counts over their weights; absent for fewer than two, or none answered.
#[must_use]
pub fn jain(counts: &[(u64, f64)]) -> Option<f64> {
    let shares = || counts.iter().map(|&(count, weight)| count as f64 / weight);
    let sum: f64 = shares().sum();
    let squares: f64 = shares().map(|share| share * share).sum();
    let sound = counts.len() > 1 && squares > 0.0 && squares.is_finite();
    sound.then(|| sum * sum / (counts.len() as f64 * squares))
}

/// Pearson's chi-square of counts against their weights; absent where it says nothing: fewer than
/// two, or fewer than five expected of one.
#[must_use]
pub fn chi_square(counts: &[(u64, f64)]) -> Option<ChiSquare> {
    let all: u64 = counts.iter().map(|&(count, _)| count).sum();
    let weights: f64 = counts.iter().map(|&(_, weight)| weight).sum();
    let expected = |weight: f64| all as f64 * weight / weights;
    let enough = counts.iter().all(|&(_, weight)| expected(weight) >= EXPECTED_MIN);
    let freedom = u32::try_from(counts.len().checked_sub(1)?).ok()?;
    if freedom == 0 || !enough {
        return None;
    }
    let part = |&(count, weight): &(u64, f64)| {
        let difference = count as f64 - expected(weight);
        difference * difference / expected(weight)
    };
    let statistic = counts.iter().map(part).sum();
    let p = ChiSquared::new(freedom.into()).ok()?.sf(statistic);
    Some(ChiSquare { statistic, freedom, p })
}

/// How steady the rate of right answers was over the intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steadiness {
    /// The mean of the intervals, a second.
    pub mean_per_s: f64,
    /// The standard deviation over the mean.
    pub variation: f64,
    /// The slowest interval, a second.
    pub min_per_s: f64,
    /// The fastest interval, a second.
    pub max_per_s: f64,
    /// From five intervals on.
    pub trend: Option<Trend>,
}

/// The straight line through the rates of the intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// What it rises by from the first to the last interval, over the mean.
    pub change: f64,
    /// The chance of such a slope, or of a steeper one, if there were none.
    pub p: f64,
}

/// The interval in which the rate of right answers (bytes, of bulk) lies with 95 % confidence, by
/// Student's t over the intervals; absent for fewer than three.
#[must_use]
pub fn rate_interval(report: &Report) -> Option<(f64, f64)> {
    let rates = rates(report);
    let freedom = rates.len().checked_sub(1).filter(|&freedom| freedom > 1)? as f64;
    let steady = steadiness(report)?;
    let student = StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf((1.0 + CONFIDENCE) / 2.0);
    let mean = steady.mean_per_s;
    let half = student * steady.variation * mean / (freedom + 1.0).sqrt();
    Some((mean - half, mean + half))
}

/// The interval in which a share, of which `some` of `all` were seen, lies with 95 % confidence
/// (Wilson's score, which is sound near 0 as well).
#[must_use]
pub fn share_interval(some: u64, all: u64) -> (f64, f64) {
    let all = all.max(1) as f64;
    let share = some as f64 / all;
    let square = NORMAL_975 * NORMAL_975;
    let centre = (share + square / (2.0 * all)) / (1.0 + square / all);
    let spread = (share * (1.0 - share) / all + square / (4.0 * all * all)).sqrt();
    let half = NORMAL_975 * spread / (1.0 + square / all);
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

/// The steadiness of `report`; absent for fewer than two full intervals. The last one, if it is
/// shorter than half of the first, is left out: few answers scatter more.
#[must_use]
pub fn steadiness(report: &Report) -> Option<Steadiness> {
    let rates = rates(report);
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    if rates.len() < 2 || mean <= 0.0 {
        return None;
    }
    let squares: f64 = rates.iter().map(|rate| (rate - mean).powi(2)).sum();
    Some(Steadiness {
        mean_per_s: mean,
        variation: (squares / (rates.len() - 1) as f64).sqrt() / mean,
        min_per_s: rates.iter().copied().fold(f64::INFINITY, f64::min),
        max_per_s: rates.iter().copied().fold(0.0, f64::max),
        trend: trend(&rates, mean),
    })
}

/// The rate of each full interval.
fn rates(report: &Report) -> Vec<f64> {
    let full = report.intervals.first().map_or(0.0, |first| first.length_s / 2.0);
    let whole = report.intervals.iter().filter(|one| one.length_s > 0.0 && one.length_s >= full);
    let bytes = report.stream.is_some();
    let work = |one: &Interval| if bytes { one.bytes_in + one.bytes_out } else { one.ok };
    whole.map(|one| work(one) as f64 / one.length_s).collect()
}

/// Least squares over the index, and Student's test of the slope.
fn trend(rates: &[f64], mean: f64) -> Option<Trend> {
    if rates.len() < TREND_FROM {
        return None;
    }
    let middle = (rates.len() - 1) as f64 / 2.0;
    let offsets = || (0..rates.len()).map(|index| index as f64 - middle);
    let spread: f64 = offsets().map(|offset| offset * offset).sum();
    let slope = offsets().zip(rates).map(|(offset, rate)| offset * rate).sum::<f64>() / spread;
    let residuals: f64 =
        offsets().zip(rates).map(|(offset, rate)| (rate - mean - slope * offset).powi(2)).sum();
    let freedom = (rates.len() - 2) as f64;
    let error = (residuals / freedom / spread).sqrt();
    let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
    // Without any scatter a slope is certain, and none is none.
    let p = match (slope == 0.0, error > 0.0) {
        (true, _) => 1.0,
        (_, true) => 2.0 * student.sf((slope / error).abs()),
        _ => 0.0,
    };
    Some(Trend { change: slope * 2.0 * middle / mean, p })
}

const CONFIDENCE: f64 = 0.95;
/// The 97.5th percentile of the normal distribution.
const NORMAL_975: f64 = 1.959_964;
/// From this variance on the binomial is a normal distribution to within a rank or so.
const NORMAL_FROM: f64 = 10_000.0;
/// Below it Pearson's statistic is not distributed as chi-square (the usual rule).
const EXPECTED_MIN: f64 = 5.0;
const TREND_FROM: usize = 5;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::{Backend, sample};

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-3
    }

    #[test]
    fn ranks_of_the_median_are_those_of_the_tables() {
        // scipy.stats.binom.ppf([.025, .975], n, p), the upper one plus one.
        for (samples, quantile, ranks) in [
            (20, 0.5, (6, 15)),
            (100, 0.5, (40, 61)),
            (1000, 0.99, (983, 997)),
            (10_000, 0.999, (9_983, 9_997)),
        ] {
            assert_eq!(interval_ranks(samples, quantile), Some(ranks), "{samples} {quantile}");
        }
    }

    #[test]
    fn many_samples_give_the_same_ranks_by_the_normal_distribution() {
        // 40 401 · 0.25 is just above the bound; the standard deviation is 100.5.
        let (low, high) = interval_ranks(40_401, 0.5).expect("enough");
        let exact = Binomial::new(0.5, 40_401).expect("sound");
        assert!(low.abs_diff(exact.inverse_cdf(0.025)) <= 1);
        assert!(high.abs_diff(exact.inverse_cdf(0.975) + 1) <= 1);
    }

    #[test]
    fn the_interval_is_made_of_samples_and_needs_as_many_as_the_quantile() {
        let mut times = Distribution::default();
        (1..=100).for_each(|ns| times.record_ns(ns));
        assert_eq!(quantile_interval_ns(&times, 0.5), Some((40, 61)));
        assert_eq!(quantile_interval_ns(&times, 0.99), None);
    }

    #[test]
    fn jains_index_is_one_for_equal_shares_and_one_nth_for_all_to_one() {
        for (counts, index) in [
            (&[(5, 1.0), (5, 1.0)][..], Some(1.0)),
            (&[(10, 1.0), (0, 1.0), (0, 1.0), (0, 1.0)], Some(0.25)),
            (&[(30, 3.0), (10, 1.0)], Some(1.0)),
            (&[(1, 1.0), (2, 1.0), (3, 1.0)], Some(36.0 / 42.0)),
            (&[(10, 1.0)], None),
            (&[(0, 1.0), (0, 1.0)], None),
        ] {
            match (jain(counts), index) {
                (Some(is), Some(should)) => assert!(near(is, should), "{counts:?}: {is}"),
                (is, should) => assert_eq!(is, should, "{counts:?}"),
            }
        }
    }

    #[test]
    fn chi_square_is_that_of_the_tables() {
        // The classical critical values: 5 % at 3.841 for one degree of freedom.
        let chi = chi_square(&[(60, 1.0), (40, 1.0)]).expect("enough");
        assert!(near(chi.statistic, 4.0) && chi.freedom == 1 && near(chi.p, 0.0455), "{chi:?}");
        let chi = chi_square(&[(75, 3.0), (25, 1.0)]).expect("enough");
        assert!(near(chi.statistic, 0.0) && near(chi.p, 1.0), "{chi:?}");
        // scipy.stats.chisquare of these: 2 with five degrees of freedom, p 0.849.
        let dice = [16, 18, 16, 14, 12, 12].map(|count| (count, 1.0));
        let chi = chi_square(&dice).expect("enough");
        assert!(near(chi.statistic, 2.0) && chi.freedom == 5 && near(chi.p, 0.8491), "{chi:?}");
        assert_eq!(chi_square(&[(4, 1.0), (5, 1.0)]), None);
        assert_eq!(chi_square(&[(100, 1.0)]), None);
    }

    fn backends(counts: &[(&str, u64)]) -> Vec<Backend> {
        let backend = |&(name, responses): &(&str, u64)| Backend {
            name: name.to_owned(),
            responses,
            ..Backend::default()
        };
        counts.iter().map(backend).collect()
    }

    #[test]
    fn a_backend_with_a_weight_that_never_answered_is_counted_as_none() {
        let mut report = sample();
        report.backends = backends(&[("A", 100)]);
        assert_eq!(spread(&report), None);
        report.config.weights = BTreeMap::from([("A".to_owned(), 1.0), ("B".to_owned(), 1.0)]);
        let fair = spread(&report).expect("two are known");
        assert!(near(fair.jain, 0.5));
        assert!(near(fair.chi_square.expect("enough").statistic, 100.0));
        report.backends = backends(&[("A", 50), ("B", 50), ("C", 9)]);
        assert_eq!(spread(&report).expect("two are known").chi_square, None);
    }

    fn with_rates(rates: &[u64]) -> Report {
        let interval = |&ok: &u64| Interval { length_s: 1.0, ok, ..Interval::default() };
        Report { intervals: rates.iter().map(interval).collect(), ..sample() }
    }

    #[test]
    fn variation_and_trend_are_those_of_arithmetic() {
        let steady = steadiness(&with_rates(&[100, 100, 100, 100, 100])).expect("five");
        assert!(near(steady.variation, 0.0));
        assert_eq!(steady.trend, Some(Trend { change: 0.0, p: 1.0 }));
        // 2 4 4 4 5 5 7 9: mean 5, squares 32, over 7.
        let rates = steadiness(&with_rates(&[2, 4, 4, 4, 5, 5, 7, 9])).expect("eight");
        assert!(near(rates.variation, (32.0_f64 / 7.0).sqrt() / 5.0), "{rates:?}");
        assert_eq!((rates.min_per_s, rates.max_per_s), (2.0, 9.0));
        // scipy.stats.linregress: slope 0.809524, p 0.000904.
        let trend = rates.trend.expect("eight");
        assert!(near(trend.change, 0.809_524 * 7.0 / 5.0), "{trend:?}");
        assert!((trend.p - 0.000_904).abs() < 1e-6, "{trend:?}");
        let rising = steadiness(&with_rates(&[10, 20, 30, 40, 50])).expect("five");
        assert_eq!(rising.trend, Some(Trend { change: 40.0 / 30.0, p: 0.0 }));
        assert_eq!(steadiness(&with_rates(&[7])), None);
    }

    #[test]
    fn intervals_of_rates_and_shares_are_those_of_the_tables() {
        // scipy.stats.t.ppf(.975, 7) = 2.364624; 5 ± 2.364624 · sqrt(32/7) / sqrt(8).
        let (low, high) = rate_interval(&with_rates(&[2, 4, 4, 4, 5, 5, 7, 9])).expect("eight");
        assert!(near(low, 3.212_512) && near(high, 6.787_488), "{low} {high}");
        assert_eq!(rate_interval(&with_rates(&[2, 4])), None);
        // scipy.stats.binomtest(5, 100).proportion_ci(method="wilson")
        let (low, high) = share_interval(5, 100);
        assert!(near(low, 0.021_543_679) && near(high, 0.111_750_469), "{low} {high}");
        assert_eq!(share_interval(0, 100).0, 0.0);
    }

    #[test]
    fn a_short_last_interval_does_not_count() {
        let mut report = with_rates(&[100, 100, 3]);
        report.intervals[2].length_s = 0.03;
        assert!(near(steadiness(&report).expect("two").variation, 0.0));
        report.intervals[2].length_s = 0.5;
        assert!(steadiness(&report).expect("three").variation > 0.5);
    }
}
