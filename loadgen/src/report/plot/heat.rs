//! The counts of a heat map: how many answers of each column fell into each piece of latency.

use crate::report::Distribution;

/// A heat map. Rows are pieces of latency, each longer than the one before by the same factor.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// The shortest latency, in nanoseconds.
    pub low_ns: f64,
    /// The longest.
    pub high_ns: f64,
    /// Counts by column, then by row; the first row holds the shortest.
    pub columns: Vec<Vec<u64>>,
    /// The greatest of all counts.
    pub most: u64,
}

impl Heat {
    /// Counts the samples of `columns` into `rows` rows; `None` where there is no sample.
    #[must_use]
    pub fn new<'a>(
        columns: impl Iterator<Item = &'a Distribution> + Clone,
        rows: u32,
    ) -> Option<Self> {
        let with_samples = columns.clone().filter(|one| one.count() > 0);
        let low = with_samples.clone().map(|one| one.0.min()).min()?.max(1);
        let high = with_samples.map(|one| one.0.max()).max()?;
        #[expect(clippy::cast_precision_loss, reason = "60 s in nanoseconds are less than 2^52")]
        // A little air, so that the longest lies within the last row.
        let (low_ns, high_ns) = (low as f64 * 0.98, (high as f64 * 1.02).max(low as f64 * 1.5));
        let step = (high_ns / low_ns).powf(1.0 / f64::from(rows));
        let edges: Vec<u64> =
            (1..rows).map(|row| whole(low_ns * step.powf(f64::from(row)))).collect();
        let columns: Vec<Vec<u64>> = columns.map(|one| counts(one, &edges)).collect();
        let most = columns.iter().flatten().copied().max().unwrap_or(0);
        Some(Self { low_ns, high_ns, columns, most })
    }
}

fn counts(column: &Distribution, edges: &[u64]) -> Vec<u64> {
    let mut counts = vec![0; edges.len() + 1];
    if column.count() == 0 {
        return counts;
    }
    for piece in column.0.iter_recorded() {
        let row = edges.partition_point(|&edge| edge <= piece.value_iterated_to());
        counts[row] += piece.count_since_last_iteration();
    }
    counts
}

/// From how many samples on each of at most `levels` colours is used. Each is the same factor above
/// the one before: a single slow answer can be seen beside a million fast ones.
#[must_use]
pub fn thresholds(most: u64, levels: u32) -> Vec<u64> {
    #[expect(clippy::cast_precision_loss, reason = "a colour is coarse")]
    let step = (most.max(1) as f64 + 1.0).powf(1.0 / f64::from(levels));
    let mut thresholds: Vec<u64> =
        (0..levels).map(|level| whole(step.powf(f64::from(level)).ceil())).collect();
    thresholds.dedup();
    thresholds.retain(|&threshold| threshold <= most.max(1));
    thresholds
}

/// Which of the `thresholds` a count has reached; `None` for no sample.
#[must_use]
pub fn level(count: u64, thresholds: &[u64]) -> Option<usize> {
    thresholds.partition_point(|&threshold| threshold <= count).checked_sub(1)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(times: &[u64]) -> Distribution {
        let mut one = Distribution::default();
        times.iter().for_each(|&ns| one.record_ns(ns));
        one
    }

    #[test]
    fn every_sample_is_counted_once_and_in_its_row() {
        let columns = [
            distribution(&[1_000, 1_000, 900_000]),
            Distribution::default(),
            distribution(&[30_000]),
        ];
        let heat = Heat::new(columns.iter(), 3).expect("there are samples");
        assert_eq!(heat.columns, [vec![2, 0, 1], vec![0, 0, 0], vec![0, 1, 0]]);
        assert_eq!(heat.most, 2);
        assert!(heat.low_ns <= 1_000.0 && heat.high_ns >= 900_000.0);
    }

    #[test]
    fn without_a_sample_there_is_no_map() {
        assert_eq!(Heat::new([Distribution::default()].iter(), 4), None);
        assert_eq!(Heat::new([].iter(), 4), None);
    }

    #[test]
    fn one_sample_has_a_colour_and_the_most_has_the_last() {
        for most in [1, 2, 9, 10, 1_000, 5_000_000] {
            let thresholds = thresholds(most, 10);
            assert_eq!(level(0, &thresholds), None, "{most}");
            assert_eq!(level(1, &thresholds), Some(0), "{most}");
            assert_eq!(level(most, &thresholds), Some(thresholds.len() - 1), "{most}");
            assert!(thresholds.len() <= 10 && thresholds.is_sorted(), "{thresholds:?}");
        }
    }
}
