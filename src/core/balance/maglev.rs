//! By the client's address, in a table: Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4).
//!
//! Every backend has an order of preference over all slots, hashed from its name. They take turns,
//! each taking the slot that it likes best of those that are free, until none is. So all have the
//! same number of slots, by weight, and finding one costs the same however many there are. The
//! price: when a backend leaves the list or joins it, some slots change hands between others.
//!
//! The table is of the list, not of who is healthy. The client of one that cannot be chosen is
//! hashed again, so that while it is away nobody else's clients move, and its own come back.

use crate::core::BackendId;

use super::Pool;
use super::eligible::Eligible;
use super::hash::mixed;
use super::source_hash::source_hash;
use super::tables::Seat;

pub(super) fn maglev<P: Pool>(eligible: &Eligible<'_, P>) -> Option<BackendId> {
    let tier = eligible.tier;
    if tier.slots.is_empty() {
        return None;
    }
    let drawn = (0..MAX_ATTEMPTS)
        .map(|attempt| tier.slots[slot_of(mixed(eligible.request.key, attempt))])
        .map(|seat| tier.seats[usize::from(seat)].backend)
        .find(|&backend| eligible.has(backend));
    // Those that are left have few slots. They can be asked one by one.
    drawn.or_else(|| source_hash(eligible))
}

/// Who has which slot, as indices of `seats`; empty if there are none.
///
/// The seats take turns in an order of their identities, so the order of the list does not matter.
pub(super) fn slots(seats: &[Seat]) -> Box<[u16]> {
    let Some(heaviest) = seats.iter().map(|seat| seat.weight).max() else {
        return Box::default();
    };
    let mut takers: Vec<Taker> = (0..).zip(seats).map(Taker::new).collect();
    takers.sort_unstable_by_key(|taker| taker.identity);
    let mut slots = vec![FREE; SLOTS].into_boxed_slice();
    let mut free = SLOTS;
    loop {
        for taker in &mut takers {
            // The heaviest takes one in each round, the others in their proportion to it.
            taker.credit += taker.weight;
            if taker.credit < heaviest {
                continue;
            }
            taker.credit -= heaviest;
            taker.take(&mut slots);
            free -= 1;
            if free == 0 {
                return slots;
            }
        }
    }
}

/// A backend that takes slots.
struct Taker {
    seat: u16,
    identity: u64,
    weight: u32,
    credit: u32,
    /// The slot that it looks at next, and how far it goes from each to the next.
    next: usize,
    skip: usize,
}

impl Taker {
    fn new((seat, of): (u16, &Seat)) -> Self {
        let Seat { identity, weight, .. } = *of;
        let next = slot_of(mixed(identity, OFFSET));
        // SLOTS is prime, so any step from 1 on comes to every slot.
        let skip = slot_of(mixed(identity, SKIP)) % (SLOTS - 1) + 1;
        Self { seat, identity, weight, credit: 0, next, skip }
    }

    /// The free slot that it likes best becomes its own; there is one.
    fn take(&mut self, slots: &mut [u16]) {
        while slots[self.next] != FREE {
            self.step();
        }
        slots[self.next] = self.seat;
        self.step();
    }

    fn step(&mut self) {
        self.next += self.skip;
        if self.next >= SLOTS {
            self.next -= SLOTS;
        }
    }
}

fn slot_of(hash: u64) -> usize {
    usize::try_from(hash % SLOTS as u64).expect("less than SLOTS")
}

/// The paper's small table: a prime, and more than a hundred slots for each of 600 backends, with
/// which shares differ by less than one in a hundred.
pub(super) const SLOTS: usize = 65_537;

/// No seat: a list has at most 65 535 of them.
const FREE: u16 = u16::MAX;

/// What the two numbers that make an order of preference are hashed with.
const OFFSET: u64 = 0;
const SKIP: u64 = 1;

/// With half of the table out, one client in 65 536 is not placed by then.
const MAX_ATTEMPTS: u64 = 16;
