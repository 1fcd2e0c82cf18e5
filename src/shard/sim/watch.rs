//! What is seen only over several turns: that those who wait are served, and in turn.

use std::collections::BTreeMap;

use uring::Owner;

use crate::core::BackendId;
use crate::core::balance::{Pool as _, Standing};
use crate::core::moment::Moment;
use crate::shard::pool::{Pool, Present};
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
    /// Who waits for room in which pool, and since which turn; nobody whose connects have failed, who
    /// begins again at the end.
    queues: BTreeMap<(u32, u32), (u32, u64)>,
    version: u64,
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

    /// Nobody who waits for room is served before those who came before.
    fn check_turns(&mut self, audit: &Audit, driver: &SimDriver, version: u64) {
        let key = |owner: Owner| (owner.slot, owner.generation);
        let mut queues = BTreeMap::new();
        for &(pool, owner) in &audit.for_room {
            if driver.ledger.tries_of(owner) == 0 {
                let known = self.queues.get(&key(owner)).copied();
                let known = known.filter(|known| known.0 == pool);
                queues.insert(key(owner), known.unwrap_or((pool, self.turn)));
            }
        }
        let before = std::mem::replace(&mut self.queues, queues);
        if std::mem::replace(&mut self.version, version) != version {
            // Who waited for different pools and now waits for the same has no order.
            self.queues.values_mut().for_each(|(_, since)| *since = self.turn);
            return;
        }
        for (&(slot, generation), &(pool, since)) in &before {
            let served = driver.ledger.tries_of(Owner { slot, generation, tag: 0 }) > 0;
            let overtaken = self.queues.values().find(|one| one.0 == pool && one.1 < since);
            assert!(!served || overtaken.is_none(), "slot {slot} has overtaken {overtaken:?}");
        }
    }
}

/// Whether somebody can be picked now: a primary, or a backup when no primary is healthy.
fn has_room(pool: &Pool, now: u64) -> bool {
    let present = Present { pool, now: Moment::from_ns(now) };
    let stands = |backup: bool, as_what: &[Standing]| {
        let members = (0..).map(BackendId).zip(&pool.members);
        let of_tier = members.filter(|(_, member)| member.weight > 0 && member.backup == backup);
        of_tier.into_iter().any(|(id, _)| as_what.contains(&present.standing(id)))
    };
    let nobody_is_well = !stands(false, &[Standing::Ready, Standing::Full]);
    stands(false, &[Standing::Ready]) || (nobody_is_well && stands(true, &[Standing::Ready]))
}

/// Three times as long as a shard may wait before it looks by itself: who has failed rests, then there
/// is a look, and completions are held back.
const IDLE_NS_MAX: u64 = 850_000_000;
