//! Several tests at once: each more is another chance to be misled.

/// Holm's correction: the probabilities as they count when all of them are looked at together. The
/// chance that any test of no difference ends below `alpha` is at most `alpha`.
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&one, &two| p[one].total_cmp(&p[two]));
    let mut corrected = vec![1.0; p.len()];
    let mut largest: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "tests are few")]
        let times = (p.len() - rank) as f64;
        largest = largest.max((p[index] * times).min(1.0));
        corrected[index] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_counts_for_all_and_none_overtakes() {
        for (p, expected) in [
            (&[][..], &[][..]),
            (&[0.03], &[0.03]),
            // Wikipedia's and R's example: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm").
            (&[0.01, 0.04, 0.03, 0.005], &[0.03, 0.06, 0.06, 0.02]),
            (&[0.5, 0.6], &[1.0, 1.0]),
            (&[0.02, 0.021, 0.021], &[0.06, 0.06, 0.06]),
        ] {
            let found = holm(p);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{p:?}: {found} is not {expected}");
            }
        }
    }
}
