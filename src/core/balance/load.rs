//! How busy a backend would be with one connection more.

use std::cmp::Ordering;

use super::Pool;
use super::eligible::Eligible;
use super::tables::Seat;

/// Connections over weight; what warms up weighs less.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    connections: u64,
    weight: u64,
}

impl Load {
    pub(super) fn of<P: Pool>(eligible: &Eligible<'_, P>, seat: Seat) -> Self {
        let connections = u64::from(eligible.pool.connections(seat.backend)) + 1;
        Self { connections, weight: eligible.weight(seat) }
    }

    /// By cross multiplication: at most 2^32 connections times a weight of 2^16.
    pub(super) fn compare(self, other: Self) -> Ordering {
        (self.connections * other.weight).cmp(&(other.connections * self.weight))
    }
}
