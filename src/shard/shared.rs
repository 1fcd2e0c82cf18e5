//! The little that shards have in common: the backends with their connection counts, whose turn it
//! is, and whether to stop. All of it is atomic and none of it is locked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::core::balance::{Algorithm, Member, Pool, Standing, Tables};
use crate::core::session::Rules;
use crate::core::{BackendId, Candidate};

use super::counters::Counters;

/// What every shard can read, and the counters that every shard writes.
#[derive(Debug)]
pub struct Shared {
    /// The backends, in the order of the configuration.
    pub backends: Vec<Backend>,
    /// How they are picked.
    tables: Tables,
    /// What sessions go by.
    pub rules: Rules,
    /// One for each shard.
    pub counters: Vec<CachePadded<Counters>>,
    turn: CachePadded<AtomicU32>,
    stopping: AtomicBool,
}

/// A backend and how busy it is.
#[derive(Debug)]
pub struct Backend {
    /// As it was configured: `host:port`.
    pub name: String,
    /// What the name stands for; at least one.
    addresses: Vec<Address>,
    /// The address that last worked.
    preferred: AtomicU8,
    load: CachePadded<Load>,
}

#[derive(Debug)]
struct Address {
    socket: SocketAddr,
    /// Whether a connect to it has to be looked at, by two system calls each.
    can_meet_itself: bool,
}

#[derive(Debug, Default)]
struct Load {
    /// Connections now, those being made included.
    active: AtomicU32,
    /// Connections that were made, ever.
    connected: AtomicU64,
    /// Connections that could not be made, ever.
    failed: AtomicU64,
}

impl Shared {
    /// The state at the start, for `shards` shards.
    #[must_use]
    pub fn new(backends: Vec<Backend>, algorithm: Algorithm, rules: Rules, shards: usize) -> Self {
        let counters = (0..shards).map(|_| CachePadded::default()).collect();
        let turn = CachePadded::default();
        let stopping = AtomicBool::new(false);
        let member = |name| Member { name, weight: 1, backup: false };
        let members: Vec<_> =
            backends.iter().map(|backend| member(backend.name.as_str())).collect();
        let tables = Tables::new(algorithm, &members);
        Self { backends, tables, rules, counters, turn, stopping }
    }

    /// One backend.
    #[must_use]
    pub fn backend(&self, id: BackendId) -> &Backend {
        &self.backends[usize::from(id.0)]
    }

    /// Asks every shard to stop; each looks when it is woken.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether shards were asked to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

impl Pool for Shared {
    fn tables(&self) -> &Tables {
        &self.tables
    }

    fn standing(&self, _: BackendId) -> Standing {
        Standing::Ready
    }

    fn warmth(&self, _: BackendId) -> u32 {
        256
    }

    fn connections(&self, backend: BackendId) -> u32 {
        self.backend(backend).load.active.load(Ordering::Relaxed)
    }

    fn next_turn(&self) -> u32 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

impl Backend {
    /// A backend without connections.
    ///
    /// # Panics
    /// Without an address.
    #[must_use]
    pub fn new(name: String, mut addresses: Vec<SocketAddr>) -> Self {
        assert!(!addresses.is_empty(), "a name that stands for nothing is refused before");
        addresses.truncate(MAX_ADDRESSES);
        let addresses = addresses.into_iter().map(Address::new).collect();
        Self { name, addresses, preferred: AtomicU8::new(0), load: CachePadded::default() }
    }

    /// Where to go first: the address that last worked.
    #[must_use]
    pub fn first_candidate(&self, backend: BackendId) -> Candidate {
        let left = u8::try_from(self.addresses.len() - 1).expect("truncated above");
        Candidate { backend, address: self.preferred.load(Ordering::Relaxed), left }
    }

    /// Another address of the same backend, if one is left.
    #[must_use]
    pub fn next_candidate(&self, failed: Candidate) -> Option<Candidate> {
        let left = failed.left.checked_sub(1)?;
        let next = (usize::from(failed.address) + 1) % self.addresses.len();
        let address = u8::try_from(next).expect("truncated above");
        Some(Candidate { address, left, ..failed })
    }

    /// Where a candidate is.
    #[must_use]
    pub fn address(&self, candidate: Candidate) -> &SocketAddr {
        &self.addresses[usize::from(candidate.address)].socket
    }

    /// Whether a connect to a candidate can meet its own socket instead of a listener.
    #[must_use]
    pub fn can_meet_itself(&self, candidate: Candidate) -> bool {
        self.addresses[usize::from(candidate.address)].can_meet_itself
    }

    /// A connection is being made.
    pub fn charge(&self) {
        self.load.active.fetch_add(1, Ordering::Relaxed);
    }

    /// That connection is over, or was not to be made.
    pub fn discharge(&self) {
        self.load.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// The connection to `candidate` stands.
    pub fn note_connected(&self, candidate: Candidate) {
        self.load.connected.fetch_add(1, Ordering::Relaxed);
        if self.preferred.load(Ordering::Relaxed) != candidate.address {
            self.preferred.store(candidate.address, Ordering::Relaxed);
        }
    }

    /// A connection could not be made.
    pub fn note_failed(&self) {
        self.load.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections now, those being made included.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.load.active.load(Ordering::Relaxed)
    }

    /// Connections made and not to be made, ever.
    #[must_use]
    pub fn connected_and_failed(&self) -> (u64, u64) {
        (self.load.connected.load(Ordering::Relaxed), self.load.failed.load(Ordering::Relaxed))
    }
}

impl Address {
    fn new(socket: SocketAddr) -> Self {
        Self { socket, can_meet_itself: uring::can_meet_itself(socket) }
    }
}

/// A name with more addresses than this is used with the first ones.
const MAX_ADDRESSES: usize = 16;
