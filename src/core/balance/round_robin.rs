//! One after the other, by weight: exact over all shards, because they share the count of turns.

use fastrand::Rng;

use crate::core::BackendId;

use super::Pool;
use super::drawn::drawn;
use super::eligible::Eligible;

pub(super) fn round_robin<P: Pool>(eligible: &Eligible<'_, P>, rng: &mut Rng) -> Option<BackendId> {
    Some(drawn(eligible, rng, |_| eligible.tier.at(eligible.pool.next_turn()))?.backend)
}
