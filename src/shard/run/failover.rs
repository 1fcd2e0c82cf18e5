//! A running session goes on with another backend.

use std::rc::Rc;

use tracing::warn;
use uring::Owner;

use crate::core::BackendId;
use crate::core::session::{EndReason, Next};
use crate::shard::driver::Driver;

use super::{ALIVE, Here, Shard};

impl<D: Driver> Shard<D> {
    /// Where a session goes whose backend is gone, and on whose socket nothing is in flight.
    pub(super) fn move_on(&mut self, owner: Owner) -> Next {
        let entry = self.sessions.find(owner).expect(ALIVE);
        let Some((from, &tried)) = entry.session.moving() else {
            return Next::Nowhere(EndReason::BackendGone);
        };
        let here = Rc::clone(&entry.here);
        if let Some(gone) = entry.backend.take() {
            self.driver.close(gone, true);
        }
        self.discharge(owner);
        let next = self.place_again(owner, &tried);
        self.log_move(owner, &here, from, next);
        next
    }

    /// A connect succeeded: whether that was the first of its session.
    pub(super) fn count_move(&mut self, owner: Owner) {
        let Some(entry) = self.sessions.find(owner) else { return };
        if entry.session.moves() > 0 {
            entry.charged.inspect(|&backend| entry.here.tally(backend).moved_here.add(1));
            self.counters().failed_over.add(1);
        }
    }

    fn log_move(&mut self, owner: Owner, before: &Here, from: BackendId, next: Next) {
        if !self.may_warn() {
            return;
        }
        let here = &self.sessions.find(owner).expect(ALIVE).here;
        let then = match next {
            Next::Go(next) => {
                format!("its session goes on with {}", here.pool.backend(next.backend).name)
            }
            Next::Wait(_) => "nobody is left, its session waits".to_owned(),
            Next::Nowhere(_) => "nobody is left, closing the client".to_owned(),
        };
        warn!("backend {} ended abnormally; {then}", before.pool.backend(from).name);
    }
}
