//! A distribution that one thread writes and any other reads at any time, without a lock: what a
//! shard records of every session. In the manner of HdrHistogram, with a fixed precision.
//!
//! Values are microseconds. Up to 64 µs each has a bucket of its own; above that each power of two has
//! 32, so a value is known to a thirty-second part of itself. The longest that is told apart is twelve
//! days.

use std::sync::{LazyLock, OnceLock};

use super::counters::Counter;

/// A distribution of times. It takes 9 KiB from its first value on.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: OnceLock<Box<[Counter]>>,
    sum_ns: Counter,
}

/// A distribution at a moment, or the sum of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// By bucket; empty without any value.
    counts: Vec<u64>,
    sum_ns: u64,
}

impl Histogram {
    /// One more value; only the owning shard may.
    pub fn record_ns(&self, ns: u64) {
        let counts = self.counts.get_or_init(|| (0..BUCKETS).map(|_| Counter::default()).collect());
        counts[bucket(ns / 1000)].add(1);
        self.sum_ns.add(ns);
    }

    /// The sum of all values so far, which costs less than the whole.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns.value()
    }

    /// Adds what is in it to `sum`. A value that is recorded meanwhile is in it or is not.
    pub fn add_to(&self, sum: &mut Distribution) {
        let Some(counts) = self.counts.get() else { return };
        sum.counts.resize(BUCKETS, 0);
        sum.counts.iter_mut().zip(counts.iter()).for_each(|(sum, one)| *sum += one.value());
        sum.sum_ns += self.sum_ns.value();
    }
}

impl Distribution {
    /// Values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all values.
    #[must_use]
    pub const fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// For each of these parts of all values, 0 to 1 and ascending, a value in microseconds that so large
    /// a part is not above; nothing without any value.
    #[must_use]
    pub fn quantiles_us<const N: usize>(&self, parts: [f64; N]) -> [Option<u64>; N] {
        let count = self.count();
        // As many as fit a float exactly are more than will ever be counted.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a count, rounded up, is a count"
        )]
        let ranks = parts.map(|part| (count as f64 * part).ceil().max(1.0) as u64);
        let (mut found, mut place, mut below) = ([None; N], 0, 0);
        for (bucket, in_it) in self.counts.iter().enumerate().filter(|(_, in_it)| **in_it > 0) {
            below += in_it;
            while ranks.get(place).is_some_and(|rank| below >= *rank) {
                found[place] = Some(first_of(bucket + 1) - 1);
                place += 1;
            }
        }
        found
    }

    /// How many values there are up to each of `bounds`, which ascend, and above the last one, each
    /// counted once. A bound between two edges of a bucket counts as the next edge.
    #[must_use]
    pub fn between(&self, bounds_us: &[u64]) -> Vec<u64> {
        let mut rest = &self.counts[..];
        let mut below = |bound: u64| {
            let ended = self.counts.len() - rest.len();
            let (these, above) =
                rest.split_at(first_from(bound).saturating_sub(ended).min(rest.len()));
            rest = above;
            these.iter().sum()
        };
        let mut parts: Vec<u64> = bounds_us.iter().map(|bound| below(*bound)).collect();
        parts.push(below(u64::MAX));
        parts
    }
}

/// Bounds in microseconds that fall between two buckets: four in each power of two, from 16 µs to 17 s.
#[must_use]
pub fn bounds_us() -> &'static [u64] {
    static BOUNDS: LazyLock<Vec<u64>> = LazyLock::new(|| {
        let quarters = (4..24).flat_map(|power| (4..8).map(move |quarter| (quarter << power) / 4));
        quarters.chain([1 << 24]).collect()
    });
    &BOUNDS
}

fn bucket(us: u64) -> usize {
    let us = us.min(LONGEST_US);
    let power = us.checked_ilog2().unwrap_or(0).max(LINEAR_POWER) - LINEAR_POWER;
    let bucket = u64::from(power) * PARTS + (us >> power);
    usize::try_from(bucket).expect("there are few")
}

/// The first bucket of which all values are at least this.
fn first_from(us: u64) -> usize {
    let bucket = bucket(us);
    if us <= first_of(bucket) { bucket } else { bucket + 1 }
}

/// The smallest value that comes to lie in a bucket.
fn first_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let power = (bucket / PARTS).saturating_sub(1);
    (bucket - power * PARTS) << power
}

/// In each power of two.
const PARTS: u64 = 32;
/// From here on buckets are wider than one microsecond: the power of two that has 32 of them.
const LINEAR_POWER: u32 = 5;
/// Longer times count as this.
const LONGEST_US: u64 = (1 << 40) - 1;
const BUCKETS: usize = 36 << LINEAR_POWER;

const _: () = assert!(PARTS == 1 << LINEAR_POWER);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values_us: &[u64]) -> Distribution {
        let (histogram, mut sum) = (Histogram::default(), Distribution::default());
        values_us.iter().for_each(|us| histogram.record_ns(us * 1000));
        histogram.add_to(&mut sum);
        sum
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for bucket in 0..BUCKETS {
            let of = super::bucket;
            assert_eq!([of(first_of(bucket)), of(first_of(bucket + 1) - 1)], [bucket; 2]);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(first_of(BUCKETS), LONGEST_US + 1);
    }

    #[test]
    fn short_times_are_told_to_the_microsecond() {
        for us in 0..64 {
            assert_eq!(of(&[us]).quantiles_us([0.5]), [Some(us)]);
        }
    }

    #[test]
    fn without_a_value_there_is_no_quantile() {
        let nothing = Distribution::default();
        assert_eq!((nothing.count(), nothing.quantiles_us([0.5, 0.99])), (0, [None; 2]));
        assert_eq!(nothing.between(&[10, 20]), [0, 0, 0]);
    }

    #[test]
    fn quantiles_are_those_of_a_sorted_list() {
        let distribution = of(&(1..=100).map(|n| n * 1000).collect::<Vec<_>>());
        let told = distribution.quantiles_us([0.0, 0.01, 0.5, 0.9, 0.99, 1.0]);
        for (told, us) in told.into_iter().zip([1000, 1000, 50_000, 90_000, 99_000, 100_000]) {
            let told = told.expect("a hundred values");
            assert!((us..=us + us / 32).contains(&told), "{told} for {us}");
        }
        assert_eq!(distribution.sum_ns(), 5_050_000_000);
    }

    #[test]
    fn sums_are_those_of_all_values() {
        let (one, other) = (Histogram::default(), Histogram::default());
        one.record_ns(1_500);
        other.record_ns(2_999_999);
        let mut sum = Distribution::default();
        [&one, &other, &Histogram::default()].iter().for_each(|each| each.add_to(&mut sum));
        assert_eq!((sum.count(), sum.sum_ns()), (2, 3_001_499));
    }

    proptest! {
        #[test]
        fn each_value_is_counted_once_and_below_its_bound(
            values in proptest::collection::vec(0_u64..40_000_000, 0..200)
        ) {
            let (bounds, parts) = (bounds_us(), of(&values).between(bounds_us()));
            prop_assert_eq!(parts.iter().sum::<u64>(), values.len() as u64);
            let mut below = 0;
            for (bound, part) in bounds.iter().zip(&parts) {
                below += part;
                let exact = values.iter().filter(|us| *us < bound).count() as u64;
                prop_assert_eq!(below, exact, "up to {}", bound);
            }
        }
    }
}
