//! At random, by weight: one, or the less busy of two.

use std::cmp::Ordering;

use fastrand::Rng;

use crate::core::BackendId;

use super::Pool;
use super::drawn::drawn;
use super::eligible::Eligible;
use super::load::Load;
use super::tables::Seat;

pub(super) fn random<P: Pool>(eligible: &Eligible<'_, P>, rng: &mut Rng) -> Option<BackendId> {
    Some(seat(eligible, rng)?.backend)
}

/// Two choices: nearly as even as looking at all, and no two shards run after the same idle one
/// (Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001).
pub(super) fn p2c<P: Pool>(eligible: &Eligible<'_, P>, rng: &mut Rng) -> Option<BackendId> {
    let one = seat(eligible, rng)?;
    let others = Eligible { except: Some(one.backend), ..*eligible };
    let Some(other) = seat(&others, rng) else {
        return Some(one.backend);
    };
    let (load, others_load) = (Load::of(eligible, one), Load::of(eligible, other));
    let less = load.compare(others_load) != Ordering::Greater;
    Some(if less { one.backend } else { other.backend })
}

fn seat<P: Pool>(eligible: &Eligible<'_, P>, rng: &mut Rng) -> Option<Seat> {
    drawn(eligible, rng, |rng| eligible.tier.at(rng.u32(..)))
}
