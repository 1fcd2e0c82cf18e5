//! A pool whose backends stand as a test says, and pick by pick.

use std::sync::atomic::{AtomicU32, Ordering};

use fastrand::Rng;

use crate::core::BackendId;
use crate::core::balance::{
    Algorithm, By, Member, Pick, Picked, Pool, Request, Standing, Tables, Tried, pick,
};

/// A pool that changes only when a test changes it.
pub(super) struct Fixed {
    pub(super) tables: Tables,
    pub(super) standings: Vec<Standing>,
    pub(super) connections: Vec<u32>,
    pub(super) warmths: Vec<u32>,
    pub(super) turn: AtomicU32,
}

impl Fixed {
    /// Of backends that are ready, have no connections, and are named by their numbers.
    pub(super) fn new(algorithm: Algorithm, weights: &[u16]) -> Self {
        let weights: Vec<_> = weights.iter().map(|&weight| (weight, false)).collect();
        Self::with_backups(algorithm, &weights)
    }

    /// Of weights, and which of the backends are backups.
    pub(super) fn with_backups(algorithm: Algorithm, seats: &[(u16, bool)]) -> Self {
        let names: Vec<String> = (0..seats.len()).map(|id| format!("10.0.0.{id}:80")).collect();
        let member = |(name, &(weight, backup))| Member { name, weight, backup };
        let members: Vec<_> = names.iter().map(String::as_str).zip(seats).map(member).collect();
        Self::of(algorithm, &members)
    }

    pub(super) fn of(algorithm: Algorithm, members: &[Member<'_>]) -> Self {
        Self {
            tables: Tables::new(algorithm, members),
            standings: vec![Standing::Ready; members.len()],
            connections: vec![0; members.len()],
            warmths: vec![256; members.len()],
            turn: AtomicU32::new(0),
        }
    }

    pub(super) fn standing_as(mut self, standings: &[Standing]) -> Self {
        self.standings = standings.to_vec();
        self
    }

    pub(super) fn with_connections(mut self, connections: &[u32]) -> Self {
        self.connections = connections.to_vec();
        self
    }

    pub(super) fn warmed_to(mut self, warmths: &[u32]) -> Self {
        self.warmths = warmths.to_vec();
        self
    }

    /// What the first pick of a new client comes to.
    pub(super) fn picked(&self) -> Picked {
        self.picked_for(&NEW)
    }

    pub(super) fn picked_for(&self, request: &Request<'_>) -> Picked {
        pick(self, request, &mut Rng::with_seed(7))
    }

    /// The backend that the client with `key` gets.
    pub(super) fn backend_of(&self, key: u64) -> u16 {
        backend(self.picked_for(&Request { key, ..NEW }))
    }

    /// The next picks of new clients, by number.
    pub(super) fn picks(&self, count: usize) -> Vec<u16> {
        let mut rng = Rng::with_seed(7);
        (0..count).map(|_| backend(pick(self, &NEW, &mut rng))).collect()
    }

    /// How many of the next picks of new clients each backend gets.
    pub(super) fn shares(&self, picks: usize) -> Vec<u32> {
        let mut shares = vec![0; self.standings.len()];
        for backend in self.picks(picks) {
            shares[usize::from(backend)] += 1;
        }
        shares
    }
}

impl Pool for Fixed {
    fn tables(&self) -> &Tables {
        &self.tables
    }

    fn standing(&self, backend: BackendId) -> Standing {
        self.standings[usize::from(backend.0)]
    }

    fn connections(&self, backend: BackendId) -> u32 {
        self.connections[usize::from(backend.0)]
    }

    fn warmth(&self, backend: BackendId) -> u32 {
        self.warmths[usize::from(backend.0)]
    }

    fn next_turn(&self) -> u32 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

/// Who was picked.
pub(super) fn backend(picked: Picked) -> u16 {
    match picked {
        Picked::Backend(pick) => pick.backend.0,
        other => panic!("{other:?}"),
    }
}

/// `backend` was picked by the rule `algorithm`.
pub(super) fn by_algorithm(backend: u16, algorithm: Algorithm) -> Picked {
    by(backend, By::Algorithm(algorithm))
}

pub(super) fn by(backend: u16, by: By) -> Picked {
    Picked::Backend(Pick { backend: BackendId(backend), by })
}

/// A client that was never here, at its first try.
pub(super) const NEW: Request<'static> = Request { key: 0, tried: &Tried::NOBODY, sticky: None };
