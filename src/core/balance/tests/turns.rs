//! What holds for turns, whatever the weights.

use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::fixed::Fixed;
use super::*;

proptest! {
    #[test]
    fn everybody_has_exactly_its_weight_in_a_schedule(weights in weights(), first: u16) {
        let mut pool = Fixed::new(Algorithm::RoundRobin, &weights);
        let turns = pool.tables.primaries.turns.len();
        pool.turn = u32::from(first).into();
        let shares = pool.shares(turns);
        let total: u32 = weights.iter().copied().map(u32::from).sum();
        for (share, &weight) in shares.iter().zip(&weights) {
            // share / turns = weight / total
            let turns = u32::try_from(turns).expect("a schedule is short");
            prop_assert_eq!(share * total, u32::from(weight) * turns);
        }
    }

    #[test]
    fn with_some_out_the_others_keep_their_proportions(
        (weights, out) in weights().prop_flat_map(|weights| {
            let len = weights.len();
            (Just(weights), proptest::collection::vec(any::<bool>(), len))
        }),
    ) {
        let pool = Fixed::new(Algorithm::RoundRobin, &weights);
        let standing = |&out: &bool| if out { Standing::Out } else { Standing::Ready };
        let pool = pool.standing_as(&out.iter().map(standing).collect::<Vec<_>>());
        let in_weights: Vec<u32> = weights
            .iter()
            .zip(&out)
            .map(|(&weight, &out)| if out { 0 } else { u32::from(weight) })
            .collect();
        let total: u32 = in_weights.iter().sum();
        prop_assume!(total > 0);
        let divisor = in_weights.iter().copied().fold(0, gcd);
        let picks = total / divisor;
        let shares = pool.shares(usize::try_from(picks).expect("few"));
        for (share, weight) in shares.into_iter().zip(in_weights) {
            prop_assert!(share.abs_diff(weight / divisor) <= 1, "{} of {}", share, weight);
        }
    }

    /// Twice happens: 126, 1 and 125 alternate until the light one shifts the step.
    #[test]
    fn nobody_with_half_of_the_weight_or_less_is_picked_three_times_in_a_row(weights in weights()) {
        let pool = Fixed::new(Algorithm::RoundRobin, &weights);
        let picks = pool.picks(pool.tables.primaries.turns.len() * 2);
        let total: u32 = weights.iter().copied().map(u32::from).sum();
        for three in picks.windows(3) {
            let weight = u32::from(weights[usize::from(three[0])]);
            let same = three[0] == three[1] && three[1] == three[2];
            prop_assert!(!same || weight * 2 > total, "{:?}", three);
        }
    }

    #[test]
    fn at_no_time_is_anybody_two_turns_from_its_share(weights in weights()) {
        let pool = Fixed::new(Algorithm::RoundRobin, &weights);
        let total: i64 = weights.iter().copied().map(i64::from).sum();
        let mut shares = vec![0_i64; weights.len()];
        for (turn, id) in (1..).zip(pool.picks(pool.tables.primaries.turns.len())) {
            shares[usize::from(id)] += 1;
            for (share, &weight) in shares.iter().zip(&weights) {
                prop_assert!((share * total - turn * i64::from(weight)).abs() < 2 * total);
            }
        }
    }
}

proptest! {
    // A long list takes a tenth of a second.
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_schedule_is_bounded_and_has_everybody(
        weights in proptest::collection::vec(1_u16..=256, 1..1000),
    ) {
        let pool = Fixed::new(Algorithm::RoundRobin, &weights);
        let turns = &pool.tables.primaries.turns;
        prop_assert!(turns.len() <= 65_536, "{}", turns.len());
        let mut shares = vec![0_u32; weights.len()];
        turns.iter().for_each(|&seat| shares[usize::from(seat)] += 1);
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        let len = f64::from(u32::try_from(turns.len()).expect("bounded"));
        for (&share, &weight) in shares.iter().zip(&weights) {
            let exact = f64::from(weight) * len / total;
            prop_assert!(share >= 1 && (f64::from(share) - exact).abs() < 2.0, "{share} {exact}");
        }
    }
}

/// A few backends with weights, some of them equal.
fn weights() -> impl Strategy<Value = Vec<u16>> {
    prop_oneof![
        proptest::collection::vec(1_u16..=5, 1..8),
        proptest::collection::vec(1_u16..=256, 1..8),
        proptest::collection::vec(prop_oneof![Just(1_u16), Just(100), Just(256)], 2..20),
    ]
}

#[test]
fn those_with_equal_weights_take_turns_in_the_order_of_the_list() {
    let pool = Fixed::new(Algorithm::RoundRobin, &[7; 300]);
    assert_eq!(pool.picks(600), (0..300).chain(0..300).collect::<Vec<u16>>());
}

#[test]
fn one_of_a_thousand_that_is_left_is_found() {
    let mut standings = [Standing::Out; 1000];
    standings[777] = Standing::Ready;
    for algorithm in ALL {
        let pool = Fixed::new(algorithm, &[1; 1000]).standing_as(&standings);
        assert_eq!(pool.picks(3), [777; 3], "{algorithm}");
    }
}

#[test]
fn turns_are_not_used_up_while_everybody_is_full() {
    let pool = Fixed::new(Algorithm::RoundRobin, &[1; 200]).standing_as(&[Standing::Full; 200]);
    assert_eq!(pool.picked(), Picked::Full);
    let turns = pool.turn.load(Ordering::Relaxed);
    assert!(turns < 10, "{turns}");
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
