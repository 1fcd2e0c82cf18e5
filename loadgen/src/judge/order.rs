//! In which order targets take their turns.

/// The order of targets in each of so many rounds, so that drift of the machine meets all alike:
/// over a cycle each target is as often at each position, and as often right behind each other one.
///
/// Two targets give AB, BA, AB, ..., which is ABBA. More give the rows of Williams' square, each
/// followed by its mirror image.
#[must_use]
pub fn orders(targets: usize, rounds: usize) -> Vec<Vec<usize>> {
    let rows: Vec<Vec<usize>> = (0..targets).flat_map(|row| with_mirror(targets, row)).collect();
    // With an even number the mirror images are rows of the square themselves, so half is all.
    let cycle = if targets.is_multiple_of(2) { targets } else { 2 * targets };
    (0..rounds).map(|round| rows[round % cycle.max(1)].clone()).collect()
}

fn with_mirror(targets: usize, row: usize) -> [Vec<usize>; 2] {
    // 0, 1, n-1, 2, n-2, ...: neighbours differ by every distance once.
    let zigzag =
        |at: usize| if at % 2 == 1 { at.div_ceil(2) } else { (targets - at / 2) % targets };
    let order: Vec<usize> = (0..targets).map(|at| (zigzag(at) + row) % targets).collect();
    let mirror = order.iter().rev().copied().collect();
    [order, mirror]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn two_targets_go_abba() {
        assert_eq!(orders(2, 5), [[0, 1], [1, 0], [0, 1], [1, 0], [0, 1]]);
        assert_eq!(orders(1, 2), [[0], [0]]);
    }

    #[test]
    fn a_cycle_is_fair_in_position_and_in_what_was_before() {
        for targets in 2..=7_usize {
            let cycle = if targets.is_multiple_of(2) { targets } else { 2 * targets };
            let rounds = orders(targets, cycle);
            let mut positions = BTreeMap::new();
            let mut neighbours = BTreeMap::new();
            for round in &rounds {
                let mut sorted = round.clone();
                sorted.sort_unstable();
                assert!(sorted.into_iter().eq(0..targets), "each once: {round:?}");
                round.iter().enumerate().for_each(|at| *positions.entry(at).or_insert(0) += 1);
                round.windows(2).for_each(|two| *neighbours.entry(two).or_insert(0) += 1);
            }
            let each = cycle / targets;
            assert!(positions.values().all(|&times| times == each), "{targets}: {positions:?}");
            assert_eq!(positions.len(), targets * targets);
            assert!(neighbours.values().all(|&times| times == each), "{targets}: {neighbours:?}");
            assert_eq!(neighbours.len(), targets * (targets - 1));
        }
    }
}
