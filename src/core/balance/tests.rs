//! Each algorithm, as tables. What holds in all situations and for all lists is in the modules.

mod chance;
mod fixed;
mod hashes;
mod standings;
mod turns;

use fastrand::Rng;

use super::*;
use fixed::{Fixed, NEW, by, by_algorithm};

const ALL: [Algorithm; 8] = [
    Algorithm::Auto,
    Algorithm::RoundRobin,
    Algorithm::LeastConnections,
    Algorithm::Random,
    Algorithm::P2c,
    Algorithm::SourceHash,
    Algorithm::Maglev,
    Algorithm::First,
];

#[test]
fn round_robin_takes_each_in_turn() {
    assert_eq!(Fixed::new(Algorithm::RoundRobin, &[1, 1, 1]).picks(5), [0, 1, 2, 0, 1]);
}

#[test]
fn round_robin_spreads_the_turns_of_a_heavy_one() {
    let pool = Fixed::new(Algorithm::RoundRobin, &[5, 1, 1]);
    assert_eq!(pool.picks(8), [0, 0, 1, 0, 2, 0, 0, 0]);
}

#[test]
fn the_turn_survives_its_wrap() {
    let mut pool = Fixed::new(Algorithm::RoundRobin, &[1, 1]);
    pool.turn = u32::MAX.into();
    assert_eq!(pool.picks(3), [1, 0, 1]);
    let mut pool = Fixed::new(Algorithm::RoundRobin, &[1, 1, 1]);
    pool.turn = u32::MAX.into();
    assert_eq!(pool.picks(3), [0, 0, 1]);
}

#[test]
fn least_connections_takes_the_idlest() {
    let pool = Fixed::new(Algorithm::LeastConnections, &[1, 1, 1]).with_connections(&[3, 1, 2]);
    assert_eq!(pool.picks(3), [1, 1, 1]);
}

#[test]
fn least_connections_breaks_ties_in_turn() {
    let pool = Fixed::new(Algorithm::LeastConnections, &[1, 1, 1]).with_connections(&[5, 0, 0]);
    assert_eq!(pool.picks(4), [1, 2, 1, 2]);
}

#[test]
fn auto_is_round_robin_while_even_and_says_which_it_was() {
    let check = |connections: &[u32], backend, algorithm| {
        let pool = Fixed::new(Algorithm::Auto, &[1, 1, 1]).with_connections(connections);
        assert_eq!(pool.picked(), by_algorithm(backend, algorithm), "{connections:?}");
    };
    check(&[2, 2, 2], 0, Algorithm::RoundRobin);
    check(&[2, 2, 1], 2, Algorithm::LeastConnections);
}

#[test]
fn auto_looks_only_at_those_that_can_be_picked() {
    use Standing::{Full, Ready};
    let pool = Fixed::new(Algorithm::Auto, &[1, 1, 1]).with_connections(&[9, 2, 2]);
    assert_eq!(pool.picked(), by_algorithm(1, Algorithm::LeastConnections));
    let pool = pool.standing_as(&[Full, Ready, Ready]);
    assert_eq!(pool.picked(), by_algorithm(1, Algorithm::RoundRobin));
}

#[test]
fn least_connections_counts_them_against_the_weight() {
    let check = |weights: &[u16], connections: &[u32], expected| {
        let pool = Fixed::new(Algorithm::LeastConnections, weights).with_connections(connections);
        assert_eq!(pool.picks(1), [expected], "{weights:?} {connections:?}");
    };
    // One connection more would make 7 of 4 and 2 of 1.
    check(&[4, 1], &[6, 1], 0);
    // 9 of 4 and 2 of 1.
    check(&[4, 1], &[8, 1], 1);
    check(&[256, 1], &[u32::MAX, u32::MAX], 0);
    check(&[1, 256, 255], &[1, 1, 1], 1);
    // Whoever has none is the least busy.
    check(&[256, 1], &[1, 0], 1);
}

#[test]
fn least_connections_takes_turns_among_idle_ones_whatever_their_weights() {
    let pool = Fixed::new(Algorithm::LeastConnections, &[1, 256, 255]);
    assert_eq!(pool.picks(6), [0, 1, 2, 0, 1, 2]);
    // Not with one that warms up.
    assert_eq!(
        pool.warmed_to(&[256, 255, 256]).picks(4).iter().filter(|&&one| one == 1).count(),
        0
    );
}

#[test]
fn least_connections_gives_a_new_one_a_part_of_its_weight() {
    let check = |warmth, expected| {
        let pool = Fixed::new(Algorithm::LeastConnections, &[1, 1]).with_connections(&[0, 9]);
        let pool = pool.warmed_to(&[warmth, 256]);
        assert_eq!(pool.picks(1), [expected], "{warmth}");
    };
    // A tenth of the weight for one connection is as busy as ten.
    check(25, 1);
    check(26, 0);
    // A warmth outside its range is the nearest inside.
    check(0, 1);
    check(u32::MAX, 0);
}

#[test]
fn first_goes_on_to_the_next_when_one_is_full() {
    use Standing::{Full, Out, Ready};
    let check = |standings: &[Standing], expected| {
        let pool = Fixed::new(Algorithm::First, &[1, 200, 3]).with_connections(&[9, 0, 0]);
        assert_eq!(pool.standing_as(standings).picks(2), [expected; 2], "{standings:?}");
    };
    check(&[Ready, Ready, Ready], 0);
    check(&[Full, Ready, Ready], 1);
    check(&[Full, Out, Ready], 2);
}

#[test]
fn p2c_takes_the_less_busy_of_the_two_there_are() {
    let check = |weights: &[u16], connections: &[u32], expected| {
        let pool = Fixed::new(Algorithm::P2c, weights).with_connections(connections);
        assert_eq!(pool.picks(20), [expected; 20], "{weights:?} {connections:?}");
    };
    check(&[1, 1], &[5, 4], 1);
    check(&[1, 1], &[4, 5], 0);
    check(&[3, 1], &[4, 1], 0);
    check(&[1], &[9], 0);
}

#[test]
fn p2c_gives_idle_ones_their_share_by_weight() {
    let shares = Fixed::new(Algorithm::P2c, &[1, 1, 2]).shares(4000);
    let near = |share: u32, ideal: u32| share.abs_diff(ideal) < 200;
    assert!(near(shares[0], 1000) && near(shares[1], 1000) && near(shares[2], 2000), "{shares:?}");
}

#[test]
fn p2c_never_takes_the_busiest_of_three() {
    let pool = Fixed::new(Algorithm::P2c, &[1, 1, 1]).with_connections(&[1, 3, 2]);
    let shares = pool.shares(3000);
    assert!(shares[1] == 0 && shares[0] > shares[2] && shares[2] > 0, "{shares:?}");
}

#[test]
fn sticky_wins_while_it_is_ready_and_untried() {
    use Standing::{Ejected, Full, Out, Ready};
    let check = |standing, tried: &[u16], sticks| {
        let pool = Fixed::new(Algorithm::First, &[1, 1]).standing_as(&[Ready, standing]);
        let mut list = Tried::NOBODY;
        tried.iter().for_each(|&id| list.add(BackendId(id)));
        let request = Request { tried: &list, sticky: Some(BackendId(1)), ..NEW };
        let expected = if sticks { by(1, By::Sticky) } else { by_algorithm(0, Algorithm::First) };
        assert_eq!(pool.picked_for(&request), expected, "{standing:?} {tried:?}");
    };
    check(Ready, &[], true);
    check(Ready, &[1], false);
    check(Full, &[], false);
    check(Ejected, &[], false);
    check(Out, &[], false);
}

#[test]
fn sticky_is_what_a_weight_of_zero_is_left_with() {
    let pool = Fixed::new(Algorithm::RoundRobin, &[0, 1]);
    assert_eq!(pool.picks(4), [1; 4]);
    let request = Request { sticky: Some(BackendId(0)), ..NEW };
    assert_eq!(pool.picked_for(&request), by(0, By::Sticky));
}

#[test]
fn a_sticky_backend_that_is_no_more_in_the_list_is_forgotten() {
    let request = Request { sticky: Some(BackendId(7)), ..NEW };
    let picked = Fixed::new(Algorithm::First, &[1]).picked_for(&request);
    assert_eq!(picked, by_algorithm(0, Algorithm::First));
}

#[test]
fn a_pick_is_told_in_the_words_of_the_command_line() {
    let check = |by: By, text| assert_eq!(by.to_string(), text);
    check(By::Algorithm(Algorithm::RoundRobin), "round-robin");
    check(By::Algorithm(Algorithm::LeastConnections), "least-connections");
    check(By::Sticky, "sticky");
    check(By::LastResort, "last-resort");
}

#[test]
fn tries_are_bounded_however_many_backends_there_are() {
    let pool = Fixed::new(Algorithm::RoundRobin, &[1; 100]);
    let (mut tried, mut rng) = (Tried::NOBODY, Rng::with_seed(7));
    while let Picked::Backend(pick) = pick(&pool, &Request { tried: &tried, ..NEW }, &mut rng) {
        tried.add(pick.backend);
    }
    assert!(tried.is_full());
}

#[test]
fn an_empty_pool_has_nobody() {
    for algorithm in ALL {
        assert_eq!(Fixed::new(algorithm, &[]).picked(), Picked::Nobody, "{algorithm}");
        assert_eq!(Fixed::new(algorithm, &[0, 0]).picked(), Picked::Nobody, "{algorithm}");
    }
}
