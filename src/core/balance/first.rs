//! The first in the list that can be chosen, so that few are used and the others may rest.

use crate::core::BackendId;

use super::Pool;
use super::eligible::Eligible;

pub(super) fn first<P: Pool>(eligible: &Eligible<'_, P>) -> Option<BackendId> {
    eligible.seats().next().map(|seat| seat.backend)
}
