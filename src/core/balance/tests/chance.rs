//! Chance, with a fixed seed: a share is right when it is within five standard deviations.

use super::fixed::Fixed;
use super::*;

/// Whether `share` of `picks` is what happens with a chance of `part`.
fn assert_share(share: u32, picks: u32, part: f64, what: &str) {
    let expected = f64::from(picks) * part;
    let deviation = (expected * (1.0 - part)).sqrt();
    let is_near = (f64::from(share) - expected).abs() <= 5.0 * deviation;
    assert!(is_near, "{what}: {share} of {picks}, expected {expected:.0} +- {deviation:.0}");
}

#[test]
fn random_goes_by_weight() {
    let pool = Fixed::new(Algorithm::Random, &[1, 2, 5]);
    for (share, part) in pool.shares(80_000).into_iter().zip([0.125, 0.25, 0.625]) {
        assert_share(share, 80_000, part, "random");
    }
}

#[test]
fn random_without_one_goes_by_the_weights_of_the_others() {
    use Standing::{Out, Ready};
    let pool = Fixed::new(Algorithm::Random, &[1, 4, 3]).standing_as(&[Ready, Out, Ready]);
    for (share, part) in pool.shares(80_000).into_iter().zip([0.25, 0.0, 0.75]) {
        assert_share(share, 80_000, part, "random");
    }
}

#[test]
fn a_little_of_a_schedule_is_shared_by_weight_too() {
    // The two that are left have 4 of 25 604 turns, so the draws give up before they find them.
    let mut weights = vec![256; 102];
    let mut standings = vec![Standing::Out; 102];
    (weights[100], weights[101]) = (1, 3);
    (standings[100], standings[101]) = (Standing::Ready, Standing::Ready);
    for algorithm in [Algorithm::Random, Algorithm::RoundRobin] {
        let pool = Fixed::new(algorithm, &weights).standing_as(&standings);
        let shares = pool.shares(8000);
        assert_share(shares[100], 8000, 0.25, "the light one");
        assert_share(shares[101], 8000, 0.75, "the heavy one");
    }
}

#[test]
fn p2c_of_equally_busy_ones_goes_by_both_draws() {
    // The pairs are {0,1}, {0,2}, {1,2}, each as probable as another, and the first draw wins.
    let pool = Fixed::new(Algorithm::P2c, &[1, 1, 1]);
    for share in pool.shares(90_000) {
        assert_share(share, 90_000, 1.0 / 3.0, "p2c");
    }
}

#[test]
fn p2c_takes_the_second_idlest_when_the_idlest_is_not_drawn() {
    // 0 wins both of its pairs, 2 wins one, 1 wins none.
    let pool = Fixed::new(Algorithm::P2c, &[1, 1, 1]).with_connections(&[1, 9, 5]);
    for (share, part) in pool.shares(90_000).into_iter().zip([2.0 / 3.0, 0.0, 1.0 / 3.0]) {
        assert_share(share, 90_000, part, "p2c");
    }
}

#[test]
fn a_new_one_gets_a_part_of_its_share_and_the_others_the_rest() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::Random] {
        let pool = Fixed::new(algorithm, &[1, 1]).warmed_to(&[64, 256]);
        // Of four draws of the new one three are made again; half of those fall on the other.
        let shares = pool.shares(80_000);
        assert_share(shares[0], 80_000, 0.2, "one that warms up");
    }
}

#[test]
fn p2c_draws_a_new_one_by_a_part_of_its_weight() {
    let cold = Fixed::new(Algorithm::P2c, &[1, 1, 1]).warmed_to(&[1, 256, 256]);
    let shares = cold.shares(10_000);
    assert!(shares[0] < 100, "{shares:?}");
}

#[test]
fn when_all_are_new_they_share_as_their_warmth_says() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::Random] {
        let pool = Fixed::new(algorithm, &[1, 1]).warmed_to(&[1, 3]);
        let shares = pool.shares(8000);
        assert_share(shares[0], 8000, 0.25, "the newer one");
    }
}

#[test]
fn a_new_one_is_taken_when_there_is_nobody_else() {
    for algorithm in ALL {
        let pool = Fixed::new(algorithm, &[7]).warmed_to(&[1]);
        assert_eq!(pool.picks(50), [0; 50], "{algorithm}");
    }
}

#[test]
fn hashes_and_first_know_no_slow_start() {
    for algorithm in [Algorithm::SourceHash, Algorithm::Maglev, Algorithm::First] {
        let warm = Fixed::new(algorithm, &[1, 2, 3]);
        let picks: Vec<u16> = (0..500).map(|key| warm.backend_of(key)).collect();
        let cold = warm.warmed_to(&[1, 256, 9]);
        assert_eq!((0..500).map(|key| cold.backend_of(key)).collect::<Vec<_>>(), picks);
    }
}
