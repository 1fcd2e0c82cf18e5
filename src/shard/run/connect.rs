//! Finding a backend that accepts: at once elsewhere when one fails, each at most once.

use socket2::SockAddr;
use uring::{ConnectOptions, Errno, Op, Owner, Token};

use crate::core::Candidate;
use crate::core::session::Event;
use crate::shard::driver::Driver;

use super::accept::is_shortage;
use super::{ALIVE, Shard, discharge};

impl<D: Driver> Shard<D> {
    /// Starts a connect; the failure, if that is not even possible.
    pub(super) fn connect(&mut self, owner: Owner, candidate: Candidate) -> Option<Event> {
        let entry = self.sessions.find(owner).expect(ALIVE);
        self.deferred -= usize::from(std::mem::take(&mut entry.deferred));
        let failed_attempt = entry.backend.take();
        discharge(&self.shared, entry.charged.replace(candidate.backend));
        let backend = self.shared.backend(candidate.backend);
        backend.charge();
        if let Some(socket) = failed_attempt {
            self.driver.close(socket, false);
        }
        let address = SockAddr::from(*backend.address(candidate));
        match self.driver.connect(&address, &ConnectOptions::default(), owner) {
            Ok(socket) => {
                self.counters().connects.add(1);
                self.sessions.find(owner).expect(ALIVE).backend = Some(socket);
                None
            }
            Err(errno) if is_shortage(errno) => {
                self.sessions.find(owner).expect(ALIVE).deferred = true;
                self.deferred += 1;
                self.pause_accepting(errno);
                Some(Event::ConnectDeferred)
            }
            Err(errno) => self.connect_failed(owner, errno),
        }
    }

    pub(super) fn on_connected(&mut self, owner: Owner) {
        let Some(entry) = self.sessions.find(owner) else {
            return self.counters().stale_completion.add(1);
        };
        if let (Some((candidate, _)), Some(socket)) = (entry.session.connecting(), &entry.backend) {
            let backend = self.shared.backend(candidate.backend);
            let possible = backend.can_meet_itself(candidate);
            if possible && self.driver.is_connected_to_itself(socket) {
                // A clean close would hold the backend's port in TIME_WAIT for a minute.
                if let Some(socket) = entry.backend.take() {
                    self.driver.close(socket, true);
                }
                return self.on_connect_failed(owner, Errno::ECONNREFUSED);
            }
            backend.note_connected(candidate);
        }
        self.drive(owner, Event::Connected);
    }

    pub(super) fn on_connect_failed(&mut self, owner: Owner, errno: Errno) {
        match self.connect_failed(owner, errno) {
            Some(event) => self.drive(owner, event),
            None => self.counters().stale_completion.add(1),
        }
    }

    /// What to tell a session whose connect failed: where else it can go.
    fn connect_failed(&mut self, owner: Owner, errno: Errno) -> Option<Event> {
        let entry = self.sessions.find(owner)?;
        let Some((failed, &tried)) = entry.session.connecting() else {
            return Some(Event::ConnectFailed { next: None });
        };
        self.counters().connect_failed.add(1);
        let backend = self.shared.backend(failed.backend);
        backend.note_failed();
        let next = match backend.next_candidate(failed) {
            Some(next) => Some(next),
            None => self.pick(&tried).map(|(candidate, _)| candidate),
        };
        self.log_connect_failed(failed, errno, next);
        Some(Event::ConnectFailed { next })
    }

    pub(super) fn cancel_connect(&mut self, owner: Owner) {
        let entry = self.sessions.find(owner).expect(ALIVE);
        if entry.session.connecting().is_some() {
            self.counters().connect_timeout.add(1);
        }
        self.driver.cancel(Token { op: Op::Connect, owner });
    }
}
