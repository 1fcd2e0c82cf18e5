//! What is seen only over several turns: that those who wait are served, and in turn.

use std::collections::{BTreeMap, BTreeSet};

use uring::Owner;

use crate::core::BackendId;
use crate::core::balance::{Pool as _, Standing};
use crate::core::moment::Moment;
use crate::shard::pool::{Member, Pool, Present};
use crate::shard::run::Audit;
use crate::shard::shared::Shared;

use super::driver::SimDriver;

/// What was seen in the turns before.
#[derive(Debug, Default)]
pub(super) struct Watch {
    turn: u64,
    /// Since when somebody has waited although there is a backend that has room, and how many connects
    /// there had been then; by pool.
    idle: BTreeMap<u32, (u64, u64)>,
    /// Who waits; nobody whose connects have failed.
    queues: BTreeMap<(u32, u32), Waiter>,
    /// Who has a backend.
    served: BTreeSet<(u32, u32)>,
    version: u64,
}

/// A session that waits for a pool.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    pool: u32,
    /// The first turn after which it did.
    since: u64,
    for_room: bool,
}

impl Watch {
    pub(super) fn look(&mut self, audit: &Audit, driver: &SimDriver, shared: &Shared) {
        self.turn += 1;
        if driver.control.ever.reloads == 0 {
            self.check_idle(audit, driver, shared);
        }
        self.check_turns(audit, driver, shared.version());
    }

    /// Somebody is asked again before long if it is worth it.
    fn check_idle(&mut self, audit: &Audit, driver: &SimDriver, shared: &Shared) {
        let (now, tries) = (driver.world.now, driver.ledger.tries);
        for pool in &shared.snapshot().pools {
            let id = pool.state.id;
            if !audit.waiting.contains_key(&id) || !has_room(pool, now) {
                self.idle.remove(&id);
                continue;
            }
            let since = self.idle.entry(id).or_insert((now, tries));
            if since.1 != tries {
                *since = (now, tries);
            }
            let idle_ns = now - since.0;
            assert!(idle_ns <= IDLE_NS_MAX, "somebody waits for {idle_ns} ns for who has room");
        }
    }

    /// Nobody is served before those who have waited for longer, but for those whose connects have
    /// failed: they begin again at the end.
    fn check_turns(&mut self, audit: &Audit, driver: &SimDriver, version: u64) {
        let mut queues = BTreeMap::new();
        for &(pool, owner, for_room) in &audit.waiters {
            if driver.ledger.tries_of(owner) == 0 {
                let known = self.queues.get(&key(owner)).filter(|known| known.pool == pool);
                let since = known.map_or(self.turn, |known| known.since);
                queues.insert(key(owner), Waiter { pool, since, for_room });
            }
        }
        let before = std::mem::replace(&mut self.queues, queues);
        let seen = std::mem::take(&mut self.served);
        self.served = audit.served.iter().map(|&(_, owner)| key(owner)).collect();
        if std::mem::replace(&mut self.version, version) != version {
            // Who waited for different pools and now waits for the same has no order.
            self.queues.values_mut().for_each(|waiter| waiter.since = self.turn);
            return;
        }
        for &(pool, owner) in &audit.served {
            let rank = match before.get(&key(owner)) {
                Some(waiter) => waiter.since,
                // One that has just come goes to the end while the first wait for room.
                None if seen.contains(&key(owner)) || !all_for_room(audit, &before, pool) => {
                    continue;
                }
                None => self.turn,
            };
            let mut of_pool = self.queues.values().filter(|waiter| waiter.pool == pool);
            let overtaken = of_pool.find(|waiter| waiter.since < rank);
            let first = driver.ledger.tries_of(owner) == 1;
            assert!(!first || overtaken.is_none(), "{owner:?} has overtaken {overtaken:?}");
        }
    }
}

fn key(owner: Owner) -> (u32, u32) {
    (owner.slot, owner.generation)
}

/// Whether all who wait for `pool` wait for room, and did so before.
fn all_for_room(audit: &Audit, before: &BTreeMap<(u32, u32), Waiter>, pool: u32) -> bool {
    let now = audit.waiters.iter().filter(|waiter| waiter.0 == pool).all(|waiter| waiter.2);
    now && before.values().filter(|waiter| waiter.pool == pool).all(|waiter| waiter.for_room)
}

/// Whether somebody can be picked now: a primary, or a backup when no primary is healthy.
fn has_room(pool: &Pool, now: u64) -> bool {
    let present = Present { pool, now: Moment::from_ns(now) };
    let stands = |backup: bool, as_what: &[Standing]| {
        let members = (0..).map(BackendId).zip(&pool.members);
        let serves = |member: &Member| member.state.weight(member.weight) > 0;
        let of_tier = members.filter(|(_, member)| serves(member) && member.backup == backup);
        of_tier.into_iter().any(|(id, _)| as_what.contains(&present.standing(id)))
    };
    let nobody_is_well = !stands(false, &[Standing::Ready, Standing::Full]);
    stands(false, &[Standing::Ready]) || (nobody_is_well && stands(true, &[Standing::Ready]))
}

/// Three times as long as a shard may wait before it looks by itself: who has failed rests, then there
/// is a look, and completions are held back.
const IDLE_NS_MAX: u64 = 850_000_000;
