//! What an algorithm looks up while picking, worked out once for each configuration.

use crate::core::BackendId;

use super::Algorithm;
use super::schedule::schedule;

/// A backend as the configuration has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// As it was configured: `host:port`. Hashes go by it, so it decides which clients it gets.
    pub name: &'a str,
    /// Its share, in proportion to the others; 0 to 256. With 0 it gets sticky clients only.
    pub weight: u16,
    /// Whether it gets clients only while no primary is healthy.
    pub backup: bool,
}

/// The order of turns and the hash table of a pool. They are built on the control thread, take no
/// lock to read, and do not change: another configuration gets others.
#[derive(Debug)]
pub struct Tables {
    pub(super) algorithm: Algorithm,
    pub(super) primaries: Tier,
    pub(super) backups: Tier,
    backends: u16,
}

/// The backends that are picked from together: the primaries, or the backups.
#[derive(Debug, Default)]
pub(super) struct Tier {
    /// Those with a weight, in the order of the list.
    pub(super) seats: Box<[Seat]>,
    /// Indices of `seats`, in turn; empty where the algorithm has no turns.
    pub(super) turns: Box<[u16]>,
}

/// A backend in its tier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    pub(super) backend: BackendId,
    /// 1 to 256.
    pub(super) weight: u32,
}

impl Tables {
    /// The tables of `members`, whose places in the list are their [`BackendId`]s.
    ///
    /// # Panics
    /// With more than 65 535 members.
    #[must_use]
    pub fn new(algorithm: Algorithm, members: &[Member<'_>]) -> Self {
        let backends = u16::try_from(members.len()).expect("the configuration allows no more");
        let tier = |backup| Tier::new(algorithm, members, backup);
        Self { algorithm, primaries: tier(false), backups: tier(true), backends }
    }

    /// By which rule backends are picked.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Number of members.
    #[must_use]
    pub const fn backends(&self) -> u16 {
        self.backends
    }
}

impl Tier {
    fn new(algorithm: Algorithm, members: &[Member<'_>], backup: bool) -> Self {
        let seats: Box<[Seat]> = (0..)
            .zip(members)
            .filter(|(_, member)| member.backup == backup && member.weight > 0)
            .map(|(id, member)| Seat { backend: BackendId(id), weight: member.weight.into() })
            .collect();
        let weights: Vec<u32> = seats.iter().map(|seat| seat.weight).collect();
        let turns = if has_turns(algorithm) { schedule(&weights) } else { Box::default() };
        Self { seats, turns }
    }

    /// Whose turn it is.
    pub(super) fn at(&self, turn: u32) -> Seat {
        let turns = u32::try_from(self.turns.len()).expect("a schedule is short");
        let place = usize::try_from(turn % turns).expect("a u32 is a usize here");
        self.seats[usize::from(self.turns[place])]
    }
}

const fn has_turns(algorithm: Algorithm) -> bool {
    match algorithm {
        Algorithm::Auto | Algorithm::RoundRobin | Algorithm::Random | Algorithm::P2c => true,
        Algorithm::LeastConnections
        | Algorithm::SourceHash
        | Algorithm::Maglev
        | Algorithm::First => false,
    }
}
