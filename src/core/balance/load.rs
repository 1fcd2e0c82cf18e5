//! How busy a backend would be with one connection more.

use std::cmp::Ordering;

use super::Pool;
use super::eligible::{Eligible, WARM};
use super::tables::Seat;

/// Connections over weight; what warms up weighs less.
///
/// One that has none is not busy whatever its weight: else the heavier of two idle backends would get
/// every client of a quiet pool, and the other nobody. One that warms up is never as good as that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    connections: u64,
    weight: u64,
}

impl Load {
    pub(super) fn of<P: Pool>(eligible: &Eligible<'_, P>, seat: Seat) -> Self {
        let connections = match eligible.pool.connections(seat.backend) {
            0 if eligible.warmth(seat) == WARM => 0,
            connections => u64::from(connections) + 1,
        };
        Self { connections, weight: eligible.weight(seat) }
    }

    /// By cross multiplication: at most 2^32 connections times a weight of 2^16.
    pub(super) fn compare(self, other: Self) -> Ordering {
        (self.connections * other.weight).cmp(&(other.connections * self.weight))
    }
}
