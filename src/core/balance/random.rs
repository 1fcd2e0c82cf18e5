//! At random, by weight: one, or the less busy of two.

use fastrand::Rng;

use crate::core::BackendId;

use super::Pool;
use super::drawn::drawn;
use super::eligible::Eligible;

pub(super) fn random<P: Pool>(eligible: &Eligible<'_, P>, rng: &mut Rng) -> Option<BackendId> {
    drawn(eligible, rng, |rng| eligible.tier.at(rng.u32(..)))
}
