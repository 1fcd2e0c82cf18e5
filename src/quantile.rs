//! Percentiles of a distribution that is known by buckets only, as [`crate::api::Latency`] tells it:
//! what `evenkeel top` and the dashboard show of the last seconds is the difference of two of these.

/// A value that so large a part of all values, 0 to 1, is not above, in microseconds; nothing without
/// any value. `bounds_us[i]` is the upper bound of `buckets[i]`; the last bucket has none.
///
/// Within a bucket values are taken as evenly spread, as `histogram_quantile` of Prometheus has it; what
/// is above the last bound counts as that bound.
#[must_use]
pub fn quantile_us(buckets: &[u64], bounds_us: &[u64], part: f64) -> Option<u64> {
    let all: u64 = buckets.iter().sum();
    if all == 0 || bounds_us.is_empty() {
        return None;
    }
    let rank = (float(all) * part).max(1.0);
    let mut below = 0;
    for (index, &in_it) in buckets.iter().enumerate() {
        if in_it > 0 && float(below + in_it) >= rank {
            let Some(&bound) = bounds_us.get(index) else { break };
            let first = index.checked_sub(1).map_or(0, |before| bounds_us[before]);
            let share = (rank - float(below)) / float(in_it);
            return Some(first + whole(float(bound.saturating_sub(first)) * share));
        }
        below += in_it;
    }
    bounds_us.last().copied()
}

/// What came between two looks at one distribution; all of `now` where it began anew in between.
#[must_use]
pub fn since(before: &[u64], now: &[u64]) -> Vec<u64> {
    // A bucket that has less than before belongs to another distribution.
    if before.len() != now.len() || before.iter().zip(now).any(|(before, now)| now < before) {
        return now.to_vec();
    }
    now.iter().zip(before).map(|(now, before)| now - before).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^52 are not reached")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: &[u64] = &[100, 200, 400];

    #[test]
    fn values_are_evenly_spread_within_their_bucket() {
        for (buckets, part, us) in [
            (&[10, 0, 0, 0], 0.5, Some(50)),
            (&[10, 0, 0, 0], 1.0, Some(100)),
            (&[0, 10, 0, 0], 0.5, Some(150)),
            (&[5, 5, 0, 0], 0.5, Some(100)),
            (&[50, 49, 1, 0], 0.99, Some(200)),
            (&[50, 49, 1, 0], 1.0, Some(400)),
            // Nobody knows how much longer.
            (&[0, 0, 0, 3], 0.5, Some(400)),
            (&[1, 0, 0, 0], 0.0, Some(100)),
            (&[0, 0, 0, 0], 0.5, None),
        ] {
            assert_eq!(quantile_us(buckets, BOUNDS, part), us, "{buckets:?} {part}");
        }
        assert_eq!(quantile_us(&[], BOUNDS, 0.5), None);
        assert_eq!(quantile_us(&[1], &[], 0.5), None);
    }

    #[test]
    fn a_distribution_that_began_anew_is_new() {
        for (before, now, came) in [
            (&[1, 2][..], &[3, 2][..], &[2, 0][..]),
            (&[], &[3, 2], &[3, 2]),
            (&[4, 0], &[3, 2], &[3, 2]),
        ] {
            assert_eq!(since(before, now), came, "{before:?} {now:?}");
        }
    }
}
