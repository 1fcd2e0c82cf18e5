//! What the simulation may see of a shard, to say between two turns whether all is well.

use std::time::Duration;

use crate::core::timers::Timers;

use super::{Driver, Entry, Moment, Owner, Shard};

/// A shard between two turns.
#[derive(Clone, Copy, Debug)]
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
}

impl<D: Driver> Shard<D> {
    pub(in crate::shard) fn audit(&mut self) -> Audit {
        let owners: Vec<Owner> = self.sessions.owners().collect();
        let unguarded = owners.into_iter().find(|&owner| !self.is_guarded(owner));
        Audit {
            sessions: self.sessions.len(),
            accepts: self.accepts.count_ones() as usize,
            outside: self.outside.len(),
            timers: self.timers.len(),
            pipes: self.pipes.open_and_idle(),
            unguarded,
        }
    }

    fn is_guarded(&mut self, owner: Owner) -> bool {
        let Entry { session, .. } = self.sessions.find(owner).expect("listed just now");
        let Some(deadline) = session.deadline(&self.shared.rules) else { return true };
        // At the connect deadline the timer has done its duty: the connect was given up.
        let given_up = session.connecting().is_some() && deadline <= self.now;
        given_up || fires_by(&self.timers, owner.slot, deadline)
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
