//! A backend while the program runs: what all shards count, and what is known of it. It outlives the
//! configurations that name it, so a reload keeps its connections and its health.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;
use socket2::SockAddr;

use crate::config::plan::Address;
use crate::core::moment::Moment;
use crate::core::{BackendId, Candidate};

use super::condition::Condition;
use super::tally::{Tallies, count};

/// A backend, how busy it is, and how well.
#[derive(Debug)]
pub struct Backend {
    /// Never used for another one as long as the program runs.
    pub uid: u32,
    /// As it was configured: `host:port`, or a name.
    pub name: String,
    /// What the name stands for; at least one.
    places: ArcSwap<Vec<Place>>,
    /// The address that last worked.
    preferred: AtomicU8,
    load: CachePadded<Load>,
    /// What shards count of it; outlives it.
    pub tallies: Arc<Tallies>,
    /// Its health.
    pub condition: Arc<Condition>,
    /// Whether no configuration names it any more.
    retired: AtomicBool,
}

/// Where a backend is.
#[derive(Clone, Debug)]
pub struct Place {
    /// As it is written.
    pub address: Address,
    /// As the kernel takes it.
    pub socket: SockAddr,
    /// Whether a connect to it has to be looked at, by two system calls each.
    pub can_meet_itself: bool,
}

#[derive(Debug, Default)]
struct Load {
    /// Connections now, those being made included.
    active: AtomicU32,
    /// Connects that came from one of several addresses, ever.
    turn: AtomicU32,
}

impl Backend {
    /// A backend without connections, of which a single shard counts.
    ///
    /// # Panics
    /// Without an address.
    #[must_use]
    pub fn new(uid: u32, name: String, addresses: &[Address]) -> Self {
        Self::counted_in(Arc::new(Tallies::new(1)), uid, name, addresses)
    }

    /// A backend without connections, of which was counted before or is from now on.
    ///
    /// # Panics
    /// Without an address.
    #[must_use]
    pub fn counted_in(
        tallies: Arc<Tallies>,
        uid: u32,
        name: String,
        addresses: &[Address],
    ) -> Self {
        Self {
            uid,
            name,
            places: ArcSwap::from_pointee(places(addresses)),
            preferred: AtomicU8::new(0),
            load: CachePadded::default(),
            condition: Arc::new(Condition::counted_in(Arc::clone(&tallies))),
            tallies,
            retired: AtomicBool::new(false),
        }
    }

    /// What its name stands for from now on; connections that it has stay where they are.
    ///
    /// # Panics
    /// Without an address.
    pub fn move_to(&self, addresses: &[Address]) {
        self.places.store(Arc::new(places(addresses)));
    }

    /// What its name stands for now.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.places.load().iter().map(|place| place.address.clone()).collect()
    }

    /// Where to go first: the address that last worked.
    #[must_use]
    pub fn first_candidate(&self, backend: BackendId) -> Candidate {
        let count = self.places.load().len();
        let left = u8::try_from(count - 1).expect("cut to a few");
        let preferred = self.preferred.load(Ordering::Relaxed);
        Candidate { backend, address: preferred.min(left), left }
    }

    /// Another address of the same backend, if one is left.
    #[must_use]
    pub fn next_candidate(&self, failed: Candidate) -> Option<Candidate> {
        let left = failed.left.checked_sub(1)?;
        let next = (usize::from(failed.address) + 1) % self.places.load().len();
        let address = u8::try_from(next).expect("cut to a few");
        Some(Candidate { address, left, ..failed })
    }

    /// Where a candidate is. Its name may stand for fewer addresses by now.
    #[must_use]
    pub fn place(&self, candidate: Candidate) -> Place {
        let places = self.places.load();
        places[usize::from(candidate.address) % places.len()].clone()
    }

    /// No configuration names it any more: sessions that look for a backend by an older one must not
    /// find it.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Whether it was retired.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// A connection is being made, unless there are `most` already.
    #[must_use]
    pub fn try_charge(&self, most: u32) -> bool {
        if most == u32::MAX {
            self.load.active.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let add = |active| (active < most).then_some(active + 1);
        self.load.active.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// That connection is over, or was not to be made.
    pub fn discharge(&self) {
        self.load.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// The connection to `candidate` stands.
    pub fn note_connected(&self, candidate: Candidate, now: Moment) {
        count(&self.tallies.connected);
        if self.preferred.load(Ordering::Relaxed) != candidate.address {
            self.preferred.store(candidate.address, Ordering::Relaxed);
        }
        self.condition.connect_succeeded(now);
    }

    /// A connection could not be made.
    pub fn note_failed(&self) {
        count(&self.tallies.failed);
    }

    /// Counts connects over all shards. Each backend has its own turn: one turn of a shard would bring
    /// a backend that is every second one always the same of two addresses.
    #[must_use]
    pub fn next_turn(&self) -> u32 {
        self.load.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Connections now, those being made included.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.load.active.load(Ordering::Relaxed)
    }

    /// Connections made and not to be made, ever.
    #[must_use]
    pub fn connected_and_failed(&self) -> (u64, u64) {
        let Tallies { connected, failed, .. } = &*self.tallies;
        (connected.load(Ordering::Relaxed), failed.load(Ordering::Relaxed))
    }
}

impl Place {
    fn new(address: &Address) -> Self {
        let (socket, can_meet_itself) = match address {
            Address::Inet(inet) => (SockAddr::from(*inet), uring::can_meet_itself(*inet)),
            Address::Unix(path) => {
                (SockAddr::unix(path).expect("the configuration allows no longer path"), false)
            }
        };
        Self { address: address.clone(), socket, can_meet_itself }
    }
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Self::new(&Address::Inet(address))
    }
}

fn places(addresses: &[Address]) -> Vec<Place> {
    assert!(!addresses.is_empty(), "a name that stands for nothing is refused before");
    addresses.iter().take(MAX_ADDRESSES).map(Place::new).collect()
}

/// A name with more addresses than this is used with the first ones.
const MAX_ADDRESSES: usize = 16;
