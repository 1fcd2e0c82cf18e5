//! Choosing by draws from the schedule, one after the other or at random, until one stands.
//!
//! A draw that falls on a backend that cannot be chosen is made again. Sliding to its neighbour in
//! the list instead would give the neighbour two shares.

use fastrand::Rng;

use super::Pool;
use super::eligible::{Eligible, WARM};
use super::tables::Seat;

/// Who is chosen by draws that `draw` makes; nobody if there is nobody to choose.
pub(super) fn drawn<P: Pool>(
    eligible: &Eligible<'_, P>,
    rng: &mut Rng,
    mut draw: impl FnMut(&mut Rng) -> Seat,
) -> Option<Seat> {
    if eligible.tier.seats.is_empty() {
        return None;
    }
    for attempt in 0..MAX_DRAWS {
        if attempt == DRAWS_BEFORE_LOOKING && !is_worth_drawing(eligible) {
            break;
        }
        let seat = draw(rng);
        if eligible.has(seat.backend) && is_warm_enough(eligible.warmth(seat), rng) {
            return Some(seat);
        }
    }
    by_scan(eligible, rng)
}

/// Whether somebody is there that no draw is going to refuse.
fn is_worth_drawing<P: Pool>(eligible: &Eligible<'_, P>) -> bool {
    eligible.seats().any(|seat| eligible.warmth(seat) == WARM)
}

fn is_warm_enough(warmth: u32, rng: &mut Rng) -> bool {
    warmth == WARM || u32::from(rng.u8(..)) < warmth
}

/// One of all that can be chosen, at random by weight: they are few, or have little of the schedule,
/// or are all warming up.
fn by_scan<P: Pool>(eligible: &Eligible<'_, P>, rng: &mut Rng) -> Option<Seat> {
    let total: u64 = eligible.seats().map(|seat| eligible.weight(seat)).sum();
    let mut left = rng.u64(..total.max(1));
    let mut last = None;
    for seat in eligible.seats() {
        last = Some(seat);
        match left.checked_sub(eligible.weight(seat)) {
            Some(rest) => left = rest,
            None => break,
        }
    }
    // Somebody may have come or gone between the two looks; then the last one does.
    last
}

/// Few draws miss while most can be chosen; looking at all costs as much as many draws.
const DRAWS_BEFORE_LOOKING: u32 = 4;

/// In a smooth schedule whoever has a hundredth of the turns has one among any two hundred.
const MAX_DRAWS: u32 = 256;
