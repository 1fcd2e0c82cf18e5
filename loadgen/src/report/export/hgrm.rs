//! `.hgrm`: the percentile table that `HdrHistogram`'s plotters read.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::report::Distribution;

/// The percentile distribution of `times` as `outputPercentileDistribution` of `HdrHistogram`
/// prints it, with five ticks for each half of the distance to 100 %. Values are milliseconds.
///
/// # Panics
/// Never: a string takes every character.
#[must_use]
pub fn hgrm(times: &Distribution) -> String {
    let histogram = &times.0;
    let mut text = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n".to_owned();
    percentiles(histogram, &mut |value, percent, below| {
        // Halves are rounded up there, and to even here.
        let (value, share) = (rounded_ms(value), percent / 100.0 + 1e-15);
        if percent < 100.0 {
            let one_in = 1.0 / (1.0 - percent / 100.0);
            writeln!(text, "{value:>12.3} {share:2.12} {below:>10} {one_in:>14.2}")
        } else {
            writeln!(text, "{value:>12.3} {share:2.12} {below:>10}")
        }
        .expect("a string takes every character");
    });
    text + &footer(histogram)
}

/// Calls `show` with value, percentile, and how many are not above the value, for each tick.
fn percentiles(histogram: &Histogram<u64>, show: &mut dyn FnMut(u64, f64, u64)) {
    let all = histogram.len();
    let (mut below, mut percent) = (0, 0.0);
    for recorded in histogram.iter_recorded() {
        below += recorded.count_at_value();
        let value = histogram.highest_equivalent(recorded.value_iterated_to());
        while 100.0 * below as f64 / all as f64 >= percent {
            show(value, percent, below);
            if below == all {
                // The last value comes twice: at the tick it reached, and as the maximum.
                show(value, 100.0, below);
                return;
            }
            let halves = (100.0 / (100.0 - percent)).log2().floor();
            percent += 100.0 / (TICKS_PER_HALF_DISTANCE * (halves + 1.0).exp2());
        }
    }
}

fn footer(histogram: &Histogram<u64>) -> String {
    let (buckets, sub_buckets) = buckets(histogram);
    format!(
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n\
         #[Max     = {:>12.3}, Total count    = {:>12}]\n\
         #[Buckets = {buckets:>12}, SubBuckets     = {sub_buckets:>12}]\n",
        ms(histogram.mean()),
        ms(histogram.stdev()),
        rounded_ms(histogram.max()),
        histogram.len(),
    )
}

/// Each bucket doubles the range; in each the values are told apart by the sub-buckets.
fn buckets(histogram: &Histogram<u64>) -> (u32, u64) {
    let sub_buckets = (2 * 10_u64.pow(histogram.sigfig().into())).next_power_of_two();
    let doublings = (0..u64::BITS).take_while(|&by| sub_buckets << by <= histogram.high());
    (u32::try_from(doublings.count()).unwrap_or(u32::MAX) + 1, sub_buckets)
}

/// To whole microseconds, half of one up.
fn rounded_ms(ns: u64) -> f64 {
    ((ns + 500) / 1000) as f64 / 1000.0
}

fn ms(ns: f64) -> f64 {
    ns / 1e6
}

const TICKS_PER_HALF_DISTANCE: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// Written by `hdr-histogram-js` from the sample's `hdr_v2`; see scripts/hdr-tools.
    const STORED: &str = include_str!("sample.hgrm");

    #[test]
    fn the_table_is_the_one_that_hdrhistogram_writes() {
        assert_eq!(hgrm(&sample().latency.response), STORED);
    }

    #[test]
    fn half_a_microsecond_is_rounded_up() {
        let mut times = Distribution::default();
        [500, 1500].iter().for_each(|&ns| times.record_ns(ns));
        let table = hgrm(&times);
        assert!(
            table.contains("\n       0.001 0.000000000000          1           1.00\n"),
            "{table}"
        );
        assert!(table.contains("\n       0.002 1.000000000000          2\n"), "{table}");
    }

    #[test]
    fn a_table_without_samples_has_no_line() {
        let empty = hgrm(&Distribution::default());
        assert_eq!(empty.lines().count(), 5, "{empty}");
        assert!(empty.contains("Total count    =            0]"), "{empty}");
    }
}
