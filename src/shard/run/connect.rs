//! Finding a backend that accepts: at once elsewhere when one fails, each at most once.

use std::rc::Rc;

use socket2::SockAddr;
use uring::{Errno, Op, Owner, Token};

use crate::config::plan::Destination;
use crate::core::proxy::encode;
use crate::core::session::{EndReason, Event, Next};
use crate::core::{BackendId, Candidate};
use crate::shard::driver::Driver;

use super::accept::is_shortage;
use super::place::canonical;
use super::{ALIVE, Entry, Here, Shard};

impl<D: Driver> Shard<D> {
    /// Starts a connect; the failure, if that is not even possible.
    pub(super) fn connect(&mut self, owner: Owner, candidate: Candidate) -> Option<Event> {
        self.wait_no_more(owner);
        self.defer_no_more(owner);
        let entry = self.sessions.find(owner).expect(ALIVE);
        let here = Rc::clone(&entry.here);
        let backend = here.pool.backend(candidate.backend);
        let address = match here.pool.destination {
            Destination::Backends => backend.place(candidate).socket,
            Destination::OriginalDst => {
                let wanted = entry.extra.as_ref().and_then(|extra| extra.destination);
                SockAddr::from(wanted.expect("it was looked up when the session was placed"))
            }
        };
        let options = here.pool.outgoing.options(&address, || backend.next_turn());
        match self.driver.connect(&address, &options, owner) {
            Ok(socket) => {
                self.counters().connects.add(1);
                let entry = self.sessions.find(owner).expect(ALIVE);
                entry.backend = Some(socket);
                entry.note_connect(self.now);
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
            let here = Rc::clone(&entry.here);
            let possible = here.can_meet_itself(candidate);
            if possible && self.driver.is_connected_to_itself(socket) {
                // A clean close would hold the backend's port in TIME_WAIT for a minute.
                if let Some(socket) = entry.backend.take() {
                    self.driver.close(socket, true);
                }
                return self.on_connect_failed(owner, Errno::ECONNREFUSED);
            }
            self.note_own_end(owner, &here);
            if here.is_cut_off(candidate.backend) {
                return self.on_connect_failed(owner, Errno::EHOSTDOWN);
            }
            if let Err(errno) = self.announce(owner, &here) {
                return self.on_connect_failed(owner, errno);
            }
            here.pool.note_connected(candidate, self.now);
            self.sessions.find(owner).expect(ALIVE).note_connected(self.now);
            self.count_move(owner);
            if here.pool.sticky.is_some() {
                self.remember(owner, candidate.backend);
            }
        }
        self.drive(owner, Event::Connected);
    }

    /// Should the kernel lead a connection to an original destination back to us, it is known by where it
    /// comes from.
    fn note_own_end(&mut self, owner: Owner, here: &Here) {
        if here.pool.destination != Destination::OriginalDst {
            return;
        }
        let Entry { backend, extra, .. } = self.sessions.find(owner).expect(ALIVE);
        let end = backend.as_ref().and_then(|socket| self.driver.local_address(socket));
        if let Some(end) = end.map(canonical) {
            here.pool.state.note_own_end(end);
            extra.get_or_insert_default().own_end = Some(end);
        }
    }

    /// Tells the backend who the client is, before anything that the client says.
    fn announce(&mut self, owner: Owner, here: &Here) -> Result<(), Errno> {
        let Some(version) = here.pool.send_proxy else { return Ok(()) };
        let entry = self.sessions.find(owner).expect(ALIVE);
        let extra = entry.extra.as_ref();
        let source = extra.and_then(|extra| extra.client);
        let destination = extra.and_then(|extra| extra.destination);
        let header = encode(version, source, destination);
        let socket = entry.backend.as_mut().expect("it was connected just now");
        match self.driver.send_now(socket, &header)? {
            sent if sent == header.len() => Ok(()),
            // A new connection has room for more than a header.
            _ => Err(Errno::ENOBUFS),
        }
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
            // It ends anyway.
            return Some(Event::ConnectFailed { next: Next::Nowhere(EndReason::Cut) });
        };
        let here = Rc::clone(&entry.here);
        // Whoever waits now needs no descriptor meanwhile.
        if let Some(failed_attempt) = entry.backend.take() {
            self.driver.close(failed_attempt, false);
        }
        self.counters().connect_failed.add(1);
        let backend = here.pool.backend(failed.backend);
        backend.note_failed();
        let next = match (here.pool.destination, backend.next_candidate(failed)) {
            (Destination::OriginalDst, _) => {
                self.discharge(owner);
                Next::Nowhere(EndReason::BackendUnreachable)
            }
            (Destination::Backends, Some(next)) => Next::Go(next),
            (Destination::Backends, None) => {
                self.blame(&here, failed.backend, errno);
                self.discharge(owner);
                self.place_again(owner, &tried)
            }
        };
        self.log_connect_failed(owner, &here, failed, errno, next);
        Some(Event::ConnectFailed { next })
    }

    /// A backend could not be reached at any of its addresses.
    fn blame(&mut self, here: &Here, backend: BackendId, errno: Errno) {
        // Our own shortage of ports says nothing of the backend.
        if errno == Errno::EADDRNOTAVAIL {
            return;
        }
        let verdict = here.pool.note_failed(backend, self.now);
        self.tell_verdict(here, backend, verdict, errno);
    }

    /// Takes the session off the count that it is in.
    pub(super) fn discharge(&mut self, owner: Owner) {
        let entry = self.sessions.find(owner).expect(ALIVE);
        if let Some(backend) = entry.charged.take() {
            entry.here.pool.discharge(backend);
        }
    }

    /// The session does not wait for a descriptor any more, whatever it does instead.
    pub(super) fn defer_no_more(&mut self, owner: Owner) {
        let entry = self.sessions.find(owner).expect(ALIVE);
        self.deferred -= usize::from(std::mem::take(&mut entry.deferred));
    }

    pub(super) fn cancel_connect(&mut self, owner: Owner) {
        let entry = self.sessions.find(owner).expect(ALIVE);
        if entry.session.connecting().is_some() {
            self.counters().connect_timeout.add(1);
        }
        self.driver.cancel(Token { op: Op::Connect, owner });
    }
}

impl Here {
    /// Whether a backend's sessions have been cut because it is down: one that is connected only now
    /// would outlive that, and can still go elsewhere.
    fn is_cut_off(&self, backend: BackendId) -> bool {
        self.pool.close_when_down
            && self.pool.destination == Destination::Backends
            && !self.pool.backend(backend).condition.is_up()
    }

    fn can_meet_itself(&self, candidate: Candidate) -> bool {
        match self.pool.destination {
            Destination::Backends => {
                self.pool.backend(candidate.backend).place(candidate).can_meet_itself
            }
            Destination::OriginalDst => true,
        }
    }
}
