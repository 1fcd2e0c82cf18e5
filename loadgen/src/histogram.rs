//! Latency histograms: their range, their percentiles, and which of these may be shown.

use std::time::Duration;

use hdrhistogram::Histogram;

/// One percentile of a histogram, as it may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentile {
    /// What it is called: `p99`, or `max`.
    pub name: &'static str,
    /// Its value; `None` where fewer than ten samples lie beyond it, which would make it luck.
    pub value: Option<Duration>,
}

/// A histogram for times from 1 ns to 60 s with three digits.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("1 < 60 s, and 3 digits are allowed")
}

/// p50 to p99.9 and the maximum.
pub(crate) fn percentiles(histogram: &Histogram<u64>) -> Vec<Percentile> {
    let quantiles = QUANTILES.iter().map(|&(name, quantile, one_in)| {
        let enough = histogram.len() / one_in >= SAMPLES_BEYOND;
        let value = enough.then(|| Duration::from_nanos(histogram.value_at_quantile(quantile)));
        Percentile { name, value }
    });
    let max = (!histogram.is_empty()).then(|| Duration::from_nanos(histogram.max()));
    quantiles.chain([Percentile { name: "max", value: max }]).collect()
}

const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Name, quantile, and one in how many samples lies beyond it.
const QUANTILES: [(&str, f64, u64); 4] =
    [("p50", 0.5, 2), ("p90", 0.9, 10), ("p99", 0.99, 100), ("p99.9", 0.999, 1000)];
const SAMPLES_BEYOND: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(samples: u64) -> Vec<&'static str> {
        let mut histogram = latencies();
        (1..=samples).for_each(|value| histogram.saturating_record(value));
        let with_value = |one: &Percentile| one.value.map(|_| one.name);
        percentiles(&histogram).iter().filter_map(with_value).collect()
    }

    #[test]
    fn a_percentile_needs_ten_samples_beyond_it() {
        for (samples, names) in [
            (0, &[][..]),
            (19, &["max"]),
            (20, &["p50", "max"]),
            (100, &["p50", "p90", "max"]),
            (9_999, &["p50", "p90", "p99", "max"]),
            (10_000, &["p50", "p90", "p99", "p99.9", "max"]),
        ] {
            assert_eq!(shown(samples), names, "{samples} samples");
        }
    }
}
