//! Every algorithm in every situation, as tables. What holds for all lists is in the modules below.

mod fixed;

use fastrand::Rng;

use super::*;
use fixed::{Fixed, NEW, by_algorithm};

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
    assert_eq!(Fixed::new(Algorithm::Auto, &[]).picked(), Picked::Nobody);
}
