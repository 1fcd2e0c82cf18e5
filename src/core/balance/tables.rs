//! What an algorithm looks up while picking, worked out once for each configuration.

use crate::core::BackendId;

use super::Algorithm;
use super::hash::identity;
use super::maglev;
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
    /// Indices of `seats`, by the hash of a client; empty where the algorithm has no table.
    pub(super) slots: Box<[u16]>,
    /// Whether all weights are equal.
    pub(super) is_even: bool,
}

/// A backend in its tier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    pub(super) backend: BackendId,
    /// 1 to 256.
    pub(super) weight: u32,
    /// What hashes of it go by.
    pub(super) identity: u64,
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
        let seats = seats(members, backup);
        let weights: Vec<u32> = seats.iter().map(|seat| seat.weight).collect();
        let is_even = weights.iter().all(|weight| Some(weight) == weights.first());
        let turns = if has_turns(algorithm) { schedule(&weights) } else { Box::default() };
        let has_slots = algorithm == Algorithm::Maglev;
        let slots = if has_slots { maglev::slots(&seats) } else { Box::default() };
        Self { seats, turns, slots, is_even }
    }

    /// Whose turn it is.
    pub(super) fn at(&self, turn: u32) -> Seat {
        let turns = u32::try_from(self.turns.len()).expect("a schedule is short");
        let place = usize::try_from(turn % turns).expect("a u32 is a usize here");
        self.seats[usize::from(self.turns[place])]
    }
}

/// Who is picked from together.
fn seats(members: &[Member<'_>], backup: bool) -> Box<[Seat]> {
    let seat = |(id, (member, identity)): (u16, (&Member<'_>, u64))| {
        let sits = member.backup == backup && member.weight > 0;
        sits.then(|| Seat { backend: BackendId(id), weight: member.weight.into(), identity })
    };
    (0..).zip(members.iter().zip(identities(members))).filter_map(seat).collect()
}

/// What hashes of each member go by: its name. Of several with the same name each has a number too,
/// so that each has clients of its own.
fn identities(members: &[Member<'_>]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    // Stable, and by all there is to tell them apart: which of them comes first in the list matters
    // only if nobody can see it.
    order.sort_by_key(|&id| (members[id].name, members[id].backup, members[id].weight));
    let (mut identities, mut namesakes) = (vec![0; members.len()], 0);
    for (place, &id) in order.iter().enumerate() {
        let name = members[id].name;
        let is_another = place > 0 && members[order[place - 1]].name == name;
        namesakes = if is_another { namesakes + 1 } else { 0 };
        identities[id] = identity(name, namesakes);
    }
    identities
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
