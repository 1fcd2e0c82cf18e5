//! Where the operations of each session wait, so that a cancel finds them without a search.

use uring::Owner;

use crate::shard::driver::direction;

/// The socket at which the operation of each session and direction waited last: a direction has one
/// in flight at a time. Only a hint, because nothing is taken out of it; the socket knows what waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// By the slot of the session, then by direction.
    places: Vec<[Owner; 2]>,
}

impl Waiting {
    /// Nothing waits; the table has room for so many sessions before it has to move.
    pub(super) fn with_capacity(sessions: usize) -> Self {
        Self { places: Vec::with_capacity(sessions) }
    }

    /// An operation of `owner` waits at the socket `place`.
    pub(super) fn note(&mut self, owner: Owner, place: Owner) {
        let slot = owner.slot as usize;
        if slot >= self.places.len() {
            self.places.resize(slot + 1, [NOWHERE; 2]);
        }
        self.places[slot][direction(owner) as usize] = place;
    }

    /// Where the operation of `owner` waits, if it waits anywhere.
    pub(super) fn place(&self, owner: Owner) -> Owner {
        let places = self.places.get(owner.slot as usize);
        places.map_or(NOWHERE, |places| places[direction(owner) as usize])
    }
}

/// No table gets that large.
const NOWHERE: Owner = Owner::slot(u32::MAX);
