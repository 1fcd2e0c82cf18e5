//! Which backend is next. Picking reads counters and writes nothing but the turn; it takes no lock
//! and allocates nothing.

use std::fmt;

use super::BackendId;

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

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::RoundRobin => "round-robin",
            Self::LeastConnections => "least-connections",
            Self::Random => "random",
            Self::P2c => "p2c",
            Self::SourceHash => "source-hash",
            Self::Maglev => "maglev",
            Self::First => "first",
        })
    }
}

/// What picking may look at. Shards pick at the same time, so the counts may be a moment old.
pub trait Pool {
    /// Number of backends.
    fn backends(&self) -> u16;
    /// Connections that `backend` has now, those being made included.
    fn connections(&self, backend: BackendId) -> u32;
    /// A number that is one higher at each call, over all shards; it wraps.
    fn next_turn(&self) -> u32;
}

/// A pick, and the rule that was used for it (`auto` decides between two).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Who.
    pub backend: BackendId,
    /// By which rule; never [`Algorithm::Auto`].
    pub by: Algorithm,
}

/// The backends that a session has tried; each is tried once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    ids: [BackendId; MAX_TRIES],
    len: u8,
}

/// A session gives up after so many backends: with the connect timeout at its default of 3 s a
/// client learns within 24 s that nobody is there.
pub const MAX_TRIES: usize = 8;

impl Tried {
    /// Nobody has been tried.
    pub const NOBODY: Self = Self { ids: [BackendId(0); MAX_TRIES], len: 0 };

    /// Notes that `backend` is being tried.
    ///
    /// # Panics
    /// When [`Tried::is_full`]: [`pick`] does not offer a backend then.
    pub fn add(&mut self, backend: BackendId) {
        self.ids[usize::from(self.len)] = backend;
        self.len += 1;
    }

    /// Whether `backend` has been tried.
    #[must_use]
    pub fn contains(&self, backend: BackendId) -> bool {
        self.ids[..usize::from(self.len)].contains(&backend)
    }

    /// Whether there is no try left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        usize::from(self.len) == MAX_TRIES
    }
}

/// Picks a backend that has not been tried, or nobody if there is none.
pub fn pick(
    algorithm: Algorithm,
    pool: &impl Pool,
    tried: &Tried,
    rng: &mut fastrand::Rng,
) -> Option<Pick> {
    if tried.is_full() || pool.backends() == 0 {
        return None;
    }
    let by = effective(algorithm, pool);
    let backend = match by {
        Algorithm::Random => random(pool, tried, rng),
        Algorithm::LeastConnections => least_connections(pool, tried),
        _ => in_turn(pool, tried).next(),
    }?;
    Some(Pick { backend, by })
}

fn effective(algorithm: Algorithm, pool: &impl Pool) -> Algorithm {
    if algorithm != Algorithm::Auto {
        return algorithm;
    }
    let first = pool.connections(BackendId(0));
    let even = (1..pool.backends()).all(|id| pool.connections(BackendId(id)) == first);
    if even { Algorithm::RoundRobin } else { Algorithm::LeastConnections }
}

/// The untried backends, beginning with the one whose turn it is.
fn in_turn(pool: &impl Pool, tried: &Tried) -> impl Iterator<Item = BackendId> {
    let backends = u32::from(pool.backends());
    let first = pool.next_turn() % backends;
    (first..first + backends)
        .map(move |place| BackendId(u16::try_from(place % backends).expect("less than a u16")))
        .filter(|&backend| !tried.contains(backend))
}

fn least_connections(pool: &impl Pool, tried: &Tried) -> Option<BackendId> {
    // `min_by_key` keeps the first of equals, which is the one whose turn it is.
    in_turn(pool, tried).min_by_key(|&backend| pool.connections(backend))
}

fn random(pool: &impl Pool, tried: &Tried, rng: &mut fastrand::Rng) -> Option<BackendId> {
    let untried = || (0..pool.backends()).map(BackendId).filter(|&id| !tried.contains(id));
    let count = untried().count();
    if count == 0 { None } else { untried().nth(rng.usize(..count)) }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A pool with fixed counts.
    struct Fixed {
        connections: Vec<u32>,
        turn: Cell<u32>,
    }

    impl Fixed {
        fn new(connections: &[u32]) -> Self {
            Self { connections: connections.to_vec(), turn: Cell::new(0) }
        }
    }

    impl Pool for Fixed {
        fn backends(&self) -> u16 {
            u16::try_from(self.connections.len()).expect("a small pool")
        }
        fn connections(&self, backend: BackendId) -> u32 {
            self.connections[usize::from(backend.0)]
        }
        fn next_turn(&self) -> u32 {
            self.turn.replace(self.turn.get().wrapping_add(1))
        }
    }

    /// The next `picks` picks with nobody tried, by number.
    fn picks<const N: usize>(algorithm: Algorithm, pool: &Fixed) -> [u16; N] {
        let mut rng = fastrand::Rng::with_seed(7);
        std::array::from_fn(|_| {
            pick(algorithm, pool, &Tried::NOBODY, &mut rng).expect("a backend").backend.0
        })
    }

    #[test]
    fn round_robin_takes_each_in_turn() {
        assert_eq!(picks(Algorithm::RoundRobin, &Fixed::new(&[9, 0, 4])), [0, 1, 2, 0, 1]);
    }

    #[test]
    fn the_turn_survives_its_wrap() {
        let pool = Fixed::new(&[0, 0]);
        pool.turn.set(u32::MAX);
        assert_eq!(picks(Algorithm::RoundRobin, &pool), [1, 0, 1]);
    }

    #[test]
    fn least_connections_takes_the_idlest() {
        assert_eq!(picks(Algorithm::LeastConnections, &Fixed::new(&[3, 1, 2])), [1, 1, 1]);
    }

    #[test]
    fn least_connections_breaks_ties_in_turn() {
        let picked: [u16; 6] = picks(Algorithm::LeastConnections, &Fixed::new(&[5, 0, 0]));
        assert!(picked.contains(&1) && picked.contains(&2) && !picked.contains(&0), "{picked:?}");
    }

    #[test]
    fn auto_is_round_robin_while_even_and_says_which_it_was() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut by = |connections: &[u32]| {
            pick(Algorithm::Auto, &Fixed::new(connections), &Tried::NOBODY, &mut rng)
                .map(|pick| (pick.backend.0, pick.by))
        };
        assert_eq!(by(&[2, 2, 2]), Some((0, Algorithm::RoundRobin)));
        assert_eq!(by(&[2, 2, 1]), Some((2, Algorithm::LeastConnections)));
    }

    #[test]
    fn random_reaches_everybody() {
        let picked: [u16; 64] = picks(Algorithm::Random, &Fixed::new(&[0, 0, 0]));
        assert!([0, 1, 2].iter().all(|backend| picked.contains(backend)), "{picked:?}");
    }

    #[test]
    fn nobody_is_tried_twice_and_the_end_comes() {
        for algorithm in
            [Algorithm::Auto, Algorithm::RoundRobin, Algorithm::LeastConnections, Algorithm::Random]
        {
            let (pool, mut rng) = (Fixed::new(&[1, 0, 2]), fastrand::Rng::with_seed(7));
            let mut tried = Tried::NOBODY;
            for _ in 0..3 {
                let pick = pick(algorithm, &pool, &tried, &mut rng).expect("one is left");
                assert!(!tried.contains(pick.backend), "{algorithm}");
                tried.add(pick.backend);
            }
            assert_eq!(pick(algorithm, &pool, &tried, &mut rng), None, "{algorithm}");
        }
    }

    #[test]
    fn tries_are_bounded_however_many_backends_there_are() {
        let (pool, mut rng) = (Fixed::new(&[0; 100]), fastrand::Rng::with_seed(7));
        let mut tried = Tried::NOBODY;
        while let Some(pick) = pick(Algorithm::RoundRobin, &pool, &tried, &mut rng) {
            tried.add(pick.backend);
        }
        assert!(tried.is_full());
    }

    #[test]
    fn an_empty_pool_has_nobody() {
        let mut rng = fastrand::Rng::with_seed(7);
        let picked = pick(Algorithm::Auto, &Fixed::new(&[]), &Tried::NOBODY, &mut rng);
        assert_eq!(picked, None);
    }
}
