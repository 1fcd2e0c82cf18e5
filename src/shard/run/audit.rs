//! What the simulation may see of a shard, to say between two turns whether all is well.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::session::WaitFor;
use crate::core::timers::Timers;

use super::{Driver, Entry, Moment, Owner, Shard};

/// A shard between two turns.
#[derive(Clone, Debug, Default)]
pub(in crate::shard) struct Audit {
    pub(in crate::shard) sessions: usize,
    pub(in crate::shard) accepts: usize,
    /// Clients that wait until there is room.
    pub(in crate::shard) outside: usize,
    pub(in crate::shard) timers: usize,
    /// Open ones, and of these the idle ones.
    pub(in crate::shard) pipes: (usize, usize),
    /// A session whose deadline no timer will notice.
    pub(in crate::shard) unguarded: Option<Owner>,
    /// A session that waits without being counted, or the other way round.
    pub(in crate::shard) miscounted: Option<Owner>,
    /// Sessions by the uid of the backend that they are charged to.
    pub(in crate::shard) charged: BTreeMap<u32, u32>,
    /// Sessions that wait, by the id of the pool's state.
    pub(in crate::shard) waiting: BTreeMap<u32, u32>,
    /// The same one by one, and whether it waits for room.
    pub(in crate::shard) waiters: Vec<(u32, Owner, bool)>,
    /// Sessions that have a backend, with the id of the pool's state.
    pub(in crate::shard) served: Vec<(u32, Owner)>,
    /// The same as the waiting rooms have it.
    pub(in crate::shard) rooms: BTreeMap<u32, u32>,
    /// Sessions and clients outside, by the id of the listener.
    pub(in crate::shard) gates: BTreeMap<u32, (u32, u32)>,
}

impl<D: Driver> Shard<D> {
    pub(in crate::shard) fn audit(&mut self) -> Audit {
        let mut audit = Audit {
            sessions: self.sessions.len(),
            timers: self.timers.len(),
            pipes: self.pipes.open_and_idle(),
            rooms: self.rooms(),
            ..Audit::default()
        };
        for listening in self.listening.iter().flatten() {
            audit.accepts += listening.accepts.count_ones() as usize;
            audit.outside += listening.outside.len();
            let outside = &mut audit.gates.entry(listening.here.listener.id).or_default().1;
            *outside += u32::try_from(listening.outside.len()).expect("few clients");
        }
        let owners: Vec<Owner> = self.sessions.owners().collect();
        owners.into_iter().for_each(|owner| self.audit_session(owner, &mut audit));
        audit
    }

    fn audit_session(&mut self, owner: Owner, audit: &mut Audit) {
        let Entry { session, here, charged, waits, .. } =
            self.sessions.find(owner).expect("listed just now");
        audit.gates.entry(here.listener.id).or_default().0 += 1;
        if let Some(id) = charged {
            *audit.charged.entry(here.pool.backend(*id).uid).or_default() += 1;
            audit.served.push((here.pool.state.id, owner));
        }
        if *waits {
            *audit.waiting.entry(here.pool.state.id).or_default() += 1;
            let for_room = session.waiting() == Some(WaitFor::Room);
            audit.waiters.push((here.pool.state.id, owner, for_room));
        }
        // Who waits has no backend, and who has none waits.
        if session.waiting().is_some() != *waits || session.backend() != *charged {
            audit.miscounted = Some(owner);
        }
        let Some(deadline) = session.deadline(&here.rules) else { return };
        // At the connect deadline the timer has done its duty: the connect was given up.
        let given_up = session.connecting().is_some() && deadline <= self.now;
        if !given_up && !fires_by(&self.timers, owner.slot, deadline) {
            audit.unguarded = Some(owner);
        }
    }

    /// Whether nobody is served, or waits for that.
    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
            && self.listening.iter().flatten().all(|one| one.outside.is_empty())
    }

    pub(in crate::shard) fn driver_mut(&mut self) -> &mut D {
        &mut self.driver
    }
}

fn fires_by(timers: &Timers, slot: u32, deadline: Moment) -> bool {
    timers.deadline(slot).is_some_and(|armed| armed <= deadline + TICK)
}

/// Timers are rounded up to a tick of the wheel.
const TICK: Duration = Duration::from_millis(1);
