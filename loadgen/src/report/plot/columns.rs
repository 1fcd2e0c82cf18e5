//! Time in as many columns as a picture can carry.

use crate::report::Interval;

/// The intervals, neighbours added up so that there are at most `most`; nothing is averaged.
///
/// # Panics
/// If `most` is 0.
#[must_use]
pub fn columns(intervals: &[Interval], most: usize) -> Vec<Interval> {
    let together = intervals.len().div_ceil(most).max(1);
    intervals.chunks(together).map(sum).collect()
}

fn sum(intervals: &[Interval]) -> Interval {
    let (first, rest) = intervals.split_first().expect("chunks are not empty");
    let mut sum = first.clone();
    for interval in rest {
        // Not the sum of lengths: a gap between two intervals is time, too.
        sum.length_s = interval.start_s + interval.length_s - first.start_s;
        sum.ok += interval.ok;
        sum.errors += interval.errors;
        sum.bytes_in += interval.bytes_in;
        sum.bytes_out += interval.bytes_out;
        sum.response.add(&interval.response);
        for (name, responses) in &interval.backends {
            *sum.backends.entry(name.clone()).or_default() += responses;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_becomes_a_hundred_columns_that_hold_everything() {
        let interval = |index: u32| {
            let mut interval = Interval {
                start_s: f64::from(index),
                length_s: 1.0,
                ok: 2,
                errors: 1,
                ..Interval::default()
            };
            interval.response.record_ns(1000);
            interval.backends.insert("B1".to_owned(), 2);
            interval
        };
        let columns = columns(&(0..3601).map(interval).collect::<Vec<_>>(), 100);
        assert!(columns.len() <= 100, "{}", columns.len());
        assert_eq!(columns.iter().map(|one| one.ok).sum::<u64>(), 2 * 3601);
        assert_eq!(columns.iter().map(|one| one.errors).sum::<u64>(), 3601);
        assert_eq!(columns.iter().map(|one| one.response.count()).sum::<u64>(), 3601);
        assert_eq!(columns.iter().map(|one| one.backends["B1"]).sum::<u64>(), 2 * 3601);
        let length: f64 = columns.iter().map(|one| one.length_s).sum();
        assert!((length - 3601.0).abs() < 1e-6, "{length}");
    }

    #[test]
    fn few_intervals_stay_as_they_are_and_none_are_none() {
        let interval = Interval { ok: 7, length_s: 1.0, ..Interval::default() };
        assert_eq!(columns(std::slice::from_ref(&interval), 100), [interval]);
        assert_eq!(columns(&[], 100), []);
    }
}
