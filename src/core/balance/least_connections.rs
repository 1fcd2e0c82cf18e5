//! The fewest connections for its weight.

use std::cmp::Ordering;

use crate::core::BackendId;

use super::Pool;
use super::eligible::Eligible;
use super::load::Load;

/// The least busy; among equals the one whose turn it is.
pub(super) fn least_connections<P: Pool>(eligible: &Eligible<'_, P>) -> Option<BackendId> {
    let mut seats = eligible.seats().map(|seat| (seat.backend, Load::of(eligible, seat)));
    let (mut first, mut least) = seats.next()?;
    let mut equals = 1;
    for (backend, load) in seats {
        match load.compare(least) {
            Ordering::Less => (first, least, equals) = (backend, load, 1),
            Ordering::Equal => equals += 1,
            Ordering::Greater => {}
        }
    }
    if equals == 1 {
        return Some(first);
    }
    let place = usize::try_from(eligible.pool.next_turn() % equals).expect("a u32 is a usize here");
    let is_least = |&seat: &_| Load::of(eligible, seat).compare(least) == Ordering::Equal;
    // Counts may have changed between the two looks; then the first does.
    Some(eligible.seats().filter(is_least).nth(place).map_or(first, |seat| seat.backend))
}
