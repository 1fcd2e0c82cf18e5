//! Which backend is next. Picking reads counters and tables and writes nothing but the turn; it
//! takes no lock and allocates nothing.
//!
//! [`pick`] decides who is asked for, the algorithms decide among those: the primaries that are
//! ready; while no primary is healthy, the backups; when nobody is healthy, those that are ejected,
//! because a backend that failed a moment ago is better than none. A healthy backend that is full
//! is worth waiting for: backups stand in for primaries that are down, not for busy ones.

use std::fmt;

use fastrand::Rng;

use super::BackendId;

mod drawn;
mod eligible;
mod first;
mod hash;
mod least_connections;
mod load;
mod maglev;
mod random;
mod round_robin;
mod schedule;
mod source_hash;
mod tables;
mod tried;

use eligible::Eligible;
pub use hash::client_key;
use tables::Tier;
pub use tables::{Member, Tables};
pub use tried::{MAX_TRIES, Tried};

/// A rule for picking a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Round robin while all backends have equally many connections, else least connections.
    Auto,
    /// One after the other.
    RoundRobin,
    /// The fewest connections at this moment; ties in turn.
    LeastConnections,
    /// Any, with a probability by weight.
    Random,
    /// The less busy of two random ones.
    P2c,
    /// By the client's address, each backend's score hashed with it (rendezvous).
    SourceHash,
    /// By the client's address, in a table of 65537 places.
    Maglev,
    /// The first in the list that has room.
    First,
}

impl Algorithm {
    /// As it is written in a configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::RoundRobin => "round-robin",
            Self::LeastConnections => "least-connections",
            Self::Random => "random",
            Self::P2c => "p2c",
            Self::SourceHash => "source-hash",
            Self::Maglev => "maglev",
            Self::First => "first",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Whether a backend can have another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It can.
    Ready,
    /// It is healthy and has as many connections as it may.
    Full,
    /// Connects to it failed a moment ago: only when there is nobody else.
    Ejected,
    /// Checks say that it is down, or it was taken out.
    Out,
}

/// What picking may look at. Shards pick at the same time, so the counts may be a moment old.
pub trait Pool {
    /// What was worked out for the pool's configuration.
    fn tables(&self) -> &Tables;
    /// Whether `backend` can have another connection.
    fn standing(&self, backend: BackendId) -> Standing;
    /// Connections that `backend` has now, those being made included.
    fn connections(&self, backend: BackendId) -> u32;
    /// The part of its weight that `backend` gets now, in 256ths: 1 when it has just come up, 256
    /// when slow start is over.
    fn warmth(&self, backend: BackendId) -> u32;
    /// A number that is one higher at each call, over all shards; it wraps.
    fn next_turn(&self) -> u32;

    /// Number of backends.
    fn backends(&self) -> u16 {
        self.tables().backends()
    }
}

/// Who wants a backend.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Hash of the client's address.
    pub key: u64,
    /// Whom the session has tried.
    pub tried: &'a Tried,
    /// Who served this client before, if clients stick.
    pub sticky: Option<BackendId>,
}

/// What came of picking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picked {
    /// Somebody.
    Backend(Pick),
    /// Somebody is healthy and was not tried, but all such are full: worth waiting for.
    Full,
    /// There is nobody left to try.
    Nobody,
}

/// A pick, and why it was that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Who.
    pub backend: BackendId,
    /// Why.
    pub by: By,
}

/// Why a backend was picked, in the words of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// By this rule; never [`Algorithm::Auto`], which decides between two.
    Algorithm(Algorithm),
    /// It served this client before.
    Sticky,
    /// Nobody is healthy, and this one is ejected only.
    LastResort,
}

impl By {
    /// As logs and the admin API name it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Algorithm(algorithm) => algorithm.word(),
            Self::Sticky => "sticky",
            Self::LastResort => "last-resort",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Picks a backend that `request` has not tried.
pub fn pick(pool: &impl Pool, request: &Request<'_>, rng: &mut Rng) -> Picked {
    if request.tried.is_full() {
        return Picked::Nobody;
    }
    if let Some(backend) = sticky(pool, request) {
        return Picked::Backend(Pick { backend, by: By::Sticky });
    }
    let tables = pool.tables();
    for tier in [&tables.primaries, &tables.backups] {
        let ready = Eligible { pool, tier, request, wanted: Standing::Ready, except: None };
        if let Some((backend, algorithm)) = choose(&ready, rng) {
            return Picked::Backend(Pick { backend, by: By::Algorithm(algorithm) });
        }
        if is_healthy(pool, tier, request) {
            return Picked::Full;
        }
    }
    for tier in [&tables.primaries, &tables.backups] {
        let ejected = Eligible { pool, tier, request, wanted: Standing::Ejected, except: None };
        if let Some((backend, _)) = choose(&ejected, rng) {
            return Picked::Backend(Pick { backend, by: By::LastResort });
        }
    }
    Picked::Nobody
}

/// Who served the client before, if that one can do it again.
fn sticky(pool: &impl Pool, request: &Request<'_>) -> Option<BackendId> {
    request.sticky.filter(|&backend| {
        // What stuck under another configuration may not be in this one.
        backend.0 < pool.backends()
            && pool.standing(backend) == Standing::Ready
            && !request.tried.contains(backend)
    })
}

/// Whether one of `tier` is healthy and untried. One that became ready since it was asked for counts
/// as full: whoever waits looks again.
fn is_healthy(pool: &impl Pool, tier: &Tier, request: &Request<'_>) -> bool {
    tier.seats.iter().any(|seat| {
        matches!(pool.standing(seat.backend), Standing::Ready | Standing::Full)
            && !request.tried.contains(seat.backend)
    })
}

/// One of those that are eligible, and the rule that was used.
fn choose<P: Pool>(eligible: &Eligible<'_, P>, rng: &mut Rng) -> Option<(BackendId, Algorithm)> {
    let algorithm = match eligible.pool.tables().algorithm() {
        Algorithm::Auto if is_even(eligible) => Algorithm::RoundRobin,
        Algorithm::Auto => Algorithm::LeastConnections,
        algorithm => algorithm,
    };
    let backend = match algorithm {
        Algorithm::Auto | Algorithm::RoundRobin => round_robin::round_robin(eligible, rng),
        Algorithm::LeastConnections => least_connections::least_connections(eligible),
        Algorithm::Random => random::random(eligible, rng),
        Algorithm::P2c => random::p2c(eligible, rng),
        Algorithm::SourceHash => source_hash::source_hash(eligible),
        Algorithm::Maglev => maglev::maglev(eligible),
        Algorithm::First => first::first(eligible),
    }?;
    Some((backend, algorithm))
}

/// Whether all have equally many connections.
fn is_even<P: Pool>(eligible: &Eligible<'_, P>) -> bool {
    let mut counts = eligible.seats().map(|seat| eligible.pool.connections(seat.backend));
    let first = counts.next();
    counts.all(|count| Some(count) == first)
}
#[cfg(test)]
mod tests;
