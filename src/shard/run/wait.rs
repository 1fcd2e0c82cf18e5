//! Clients that nobody can take now: they wait in turn, and are served when something has changed.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use uring::Owner;

use crate::core::balance::Tried;
use crate::core::moment::Moment;
use crate::core::session::{EndReason, Event, Next, WaitFor};
use crate::shard::bells::Changes;
use crate::shard::driver::Driver;
use crate::shard::pool::PoolState;

use super::{ALIVE, Shard};

/// Sessions of this shard that wait for one pool, first come, first served.
#[derive(Debug)]
pub(super) struct Room {
    pool: Arc<PoolState>,
    /// Who has left is still in here.
    queue: VecDeque<Owner>,
    /// Those whose connects have just failed, and until when a free place is nothing for them: it may
    /// be their own, at the backend that refused them.
    resting: VecDeque<(Moment, Owner)>,
    /// How many of both have not left.
    waiting: usize,
    /// The pool's changes when this was last looked at.
    seen: Changes,
    /// When to look although nothing has changed.
    look_at: Moment,
}

impl<D: Driver> Shard<D> {
    /// A session that is to wait: it goes to the end of the queue, if it may; first it rests, if its
    /// connects have failed. `seen` are the pool's changes before it looked.
    pub(super) fn wait_for(
        &mut self,
        owner: Owner,
        what: WaitFor,
        seen: Changes,
        failed: bool,
    ) -> Next {
        let entry = self.sessions.find(owner).expect(ALIVE);
        if entry.waits {
            return Next::Wait(what);
        }
        let pool = &entry.here.pool;
        let most = match what {
            WaitFor::Backend => u32::MAX,
            WaitFor::Room => pool.queue_size,
        };
        if !pool.state.crowd.join(self.index, most) {
            return Next::Nowhere(EndReason::QueueFull);
        }
        entry.waits = true;
        let state = Arc::clone(&pool.state);
        let now = self.now;
        let room = self.room(&state);
        if room.waiting == 0 {
            (room.seen, room.look_at) = (seen, now + LOOK_AGAIN);
        }
        room.waiting += 1;
        match failed {
            true => room.resting.push_back((now + LOOK_AGAIN, owner)),
            false => room.queue.push_back(owner),
        }
        self.counters().waited_for_backend.add(1);
        Next::Wait(what)
    }

    /// A session that waits no more, whatever it does instead.
    pub(super) fn wait_no_more(&mut self, owner: Owner) {
        let entry = self.sessions.find(owner).expect(ALIVE);
        if !std::mem::take(&mut entry.waits) {
            return;
        }
        let state = Arc::clone(&entry.here.pool.state);
        state.crowd.leave();
        self.room(&state).waiting -= 1;
    }

    /// Whether others wait for room in this pool, who come first.
    pub(super) fn must_queue(&mut self, pool: &Arc<PoolState>) -> bool {
        if pool.crowd.is_empty() {
            return false;
        }
        self.forget_who_left(pool);
        let first = self.room(pool).queue.front().copied();
        let session = first.and_then(|owner| self.sessions.find(owner));
        session.is_some_and(|entry| entry.session.waiting() == Some(WaitFor::Room))
    }

    /// Offers a place to those who wait, in turn: to all when something has changed, else to the first
    /// now and then, who tries for the others.
    pub(super) fn serve_waiting(&mut self) {
        for place in 0..self.waiting.len() {
            let room = &mut self.waiting[place];
            let changes = room.pool.crowd.changes();
            if room.waiting == 0 || (changes == room.seen && self.now < room.look_at) {
                continue;
            }
            room.wake_the_rested(changes.backends != room.seen.backends, self.now);
            let offers = if changes == room.seen { 1 } else { room.queue.len() };
            room.seen = changes;
            let pool = Arc::clone(&room.pool);
            self.offer(&pool, offers);
            let now = self.now;
            let index = self.index;
            let room = self.room(&pool);
            room.look_at = now + LOOK_AGAIN;
            if room.waiting > 0 {
                pool.crowd.stay(index);
            }
        }
    }

    fn offer(&mut self, pool: &Arc<PoolState>, offers: usize) {
        for _ in 0..offers {
            self.forget_who_left(pool);
            let Some(&owner) = self.room(pool).queue.front() else { return };
            match self.seek(owner, &Tried::NOBODY) {
                Next::Wait(what) => {
                    let entry = self.sessions.find(owner).expect(ALIVE);
                    if entry.session.waiting() != Some(what) {
                        self.drive(owner, Event::Placed(Next::Wait(what)));
                    }
                    return;
                }
                next => {
                    self.room(pool).queue.pop_front();
                    self.drive(owner, Event::Placed(next));
                }
            }
        }
    }

    fn forget_who_left(&mut self, pool: &Arc<PoolState>) {
        let Self { waiting, sessions, .. } = self;
        let Some(room) = waiting.iter_mut().find(|room| room.pool.id == pool.id) else { return };
        while let Some(&owner) = room.queue.front() {
            match sessions.find(owner) {
                Some(entry) if entry.waits => return,
                _ => drop(room.queue.pop_front()),
            }
        }
    }

    /// When a waiting room has to be looked at.
    pub(super) fn waiting_deadline(&self) -> Option<Moment> {
        let rooms = self.waiting.iter().filter(|room| room.waiting > 0);
        let look_at = rooms.map(|room| match room.pool.crowd.changes() == room.seen {
            true => room.look_at,
            false => self.now,
        });
        look_at.min()
    }

    /// Those who wait go by the new configuration from now on, perhaps for another pool.
    pub(super) fn wait_by_new_rules(&mut self) {
        let rooms: Vec<Room> = self.waiting.drain(..).collect();
        for owner in rooms.into_iter().flat_map(Room::into_owners) {
            let Some(entry) = self.sessions.find(owner).filter(|entry| entry.waits) else {
                continue;
            };
            let before = Rc::clone(&entry.here);
            let newest = self.listening.get(before.index).and_then(Option::as_ref);
            let newest = newest.filter(|one| one.here.listener.id == before.listener.id);
            if let Some(listening) = newest {
                let here = Rc::clone(&listening.here);
                if here.pool.state.id != before.pool.state.id {
                    before.pool.state.crowd.leave();
                    // Who waits already is not sent away because the other pool's queue is short.
                    here.pool.state.crowd.join(self.index, u32::MAX);
                }
                self.sessions.find(owner).expect(ALIVE).here = here;
            }
            let state = Arc::clone(&self.sessions.find(owner).expect(ALIVE).here.pool.state);
            state.crowd.stay(self.index);
            let room = self.room(&state);
            room.waiting += 1;
            room.queue.push_back(owner);
        }
    }

    /// How many wait, by the id of the pool's state.
    #[cfg(test)]
    pub(super) fn rooms(&self) -> std::collections::BTreeMap<u32, u32> {
        let count = |waiting| u32::try_from(waiting).expect("few sessions");
        let rooms = self.waiting.iter().filter(|room| room.waiting > 0);
        rooms.map(|room| (room.pool.id, count(room.waiting))).collect()
    }

    fn room(&mut self, pool: &Arc<PoolState>) -> &mut Room {
        let place = self.waiting.iter().position(|room| room.pool.id == pool.id);
        let place = place.unwrap_or_else(|| {
            self.waiting.push(Room::new(Arc::clone(pool), self.now));
            self.waiting.len() - 1
        });
        &mut self.waiting[place]
    }
}

impl Room {
    /// It has to be looked at at once.
    fn new(pool: Arc<PoolState>, now: Moment) -> Self {
        let seen = pool.crowd.changes();
        let (queue, resting) = (VecDeque::new(), VecDeque::new());
        Self { pool, queue, resting, waiting: 0, seen, look_at: now }
    }

    /// Who has rested long enough queues again; when a backend may be back, all do.
    fn wake_the_rested(&mut self, all: bool, now: Moment) {
        while let Some(&(until, owner)) = self.resting.front()
            && (all || until <= now)
        {
            self.resting.pop_front();
            self.queue.push_back(owner);
        }
    }

    fn into_owners(self) -> impl Iterator<Item = Owner> {
        self.queue.into_iter().chain(self.resting.into_iter().map(|(_, owner)| owner))
    }
}

/// Who waits for a backend finds out by itself when one is back, should nobody say so: active checks
/// may be off, or slow. One client of each shard tries, four times a second.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
