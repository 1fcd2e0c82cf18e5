//! Whom an algorithm may choose from.

use crate::core::BackendId;

use super::tables::{Seat, Tier};
use super::{Pool, Request, Standing};

/// The backends of one tier that stand as wanted and were not tried.
#[derive(Debug)]
pub(super) struct Eligible<'a, P> {
    pub(super) pool: &'a P,
    pub(super) tier: &'a Tier,
    pub(super) request: &'a Request<'a>,
    /// [`Standing::Ready`], or [`Standing::Ejected`] when there is nobody else.
    pub(super) wanted: Standing,
    /// One that is not to be chosen although it could be.
    pub(super) except: Option<BackendId>,
}

impl<P: Pool> Eligible<'_, P> {
    /// Whether `backend` may be chosen.
    pub(super) fn has(&self, backend: BackendId) -> bool {
        self.pool.standing(backend) == self.wanted
            && !self.request.tried.contains(backend)
            && self.except != Some(backend)
    }

    /// All that may be chosen, in the order of the list.
    pub(super) fn seats(&self) -> impl Iterator<Item = Seat> {
        self.tier.seats.iter().copied().filter(|seat| self.has(seat.backend))
    }

    /// A seat's weight as it counts now, in 256ths: less while it warms up.
    pub(super) fn weight(&self, seat: Seat) -> u64 {
        u64::from(seat.weight) * u64::from(self.warmth(seat))
    }

    /// 1 to [`WARM`].
    pub(super) fn warmth(&self, seat: Seat) -> u32 {
        self.pool.warmth(seat.backend).clamp(1, WARM)
    }
}

/// What [`Pool::warmth`] is when slow start is over.
pub(super) const WARM: u32 = 256;
