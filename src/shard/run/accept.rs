//! Taking connections: as many accepts in flight as there is room for sessions, none when full.

use std::time::Duration;

use tracing::warn;
use uring::{Errno, Owner};

use crate::core::Candidate;
use crate::core::balance::{Pick, Picked, Request, Tried, pick};
use crate::core::even::elsewhere;
use crate::core::session::Session;
use crate::shard::driver::{Driver, Outcome};

use super::{ACCEPTS, Accepting, Entry, LISTENER, Shard};

impl<D: Driver> Shard<D> {
    /// Keeps as many accepts in flight as there is room for sessions, up to a batch.
    pub(super) fn arm_accepts(&mut self) {
        match self.accepting {
            Accepting::Stopping { .. } => return,
            Accepting::PausedUntil(moment) if self.now < moment => return,
            Accepting::PausedUntil(_) | Accepting::Yes => self.accepting = Accepting::Yes,
        }
        self.let_in();
        // An accept would take the descriptor that a waiting session needs to connect with.
        if self.deferred > 0 {
            return;
        }
        let room = self.max_sessions.saturating_sub(self.sessions.len());
        let wanted = room.min(ACCEPTS as usize);
        while (self.accepts.count_ones() as usize) < wanted {
            let free = self.accepts.trailing_ones();
            self.accepts |= 1 << free;
            self.driver.accept(LISTENER, Owner::slot(free));
        }
    }

    /// Who had to wait outside comes first.
    fn let_in(&mut self) {
        while self.has_room()
            && self.deferred == 0
            && let Some(client) = self.outside.pop_front()
        {
            self.open(client);
        }
    }

    fn has_room(&self) -> bool {
        self.sessions.len() < self.max_sessions
    }

    pub(super) fn on_accept(&mut self, accept: u32, outcome: Outcome<D::Socket>) {
        self.accepts &= !(1 << accept);
        match outcome {
            Outcome::Accepted(client) if self.is_stopping() => self.driver.close(client, true),
            Outcome::Accepted(client) => {
                self.counters().accepted.add(1);
                self.open_somewhere(client);
            }
            Outcome::Failed(errno) => self.on_accept_failed(errno),
            _ => self.counters().unexpected_event.add(1),
        }
    }

    fn on_accept_failed(&mut self, errno: Errno) {
        match errno {
            // Cancelled, or another accept was faster.
            Errno::ECANCELED | Errno::EAGAIN => {}
            errno if is_shortage(errno) => self.pause_accepting(errno),
            // The connection that failed is gone from the queue (accept(2)).
            _ => self.counters().accept_failed.add(1),
        }
    }

    /// The connection stays in the kernel's queue: accepting again at once would spin.
    pub(super) fn pause_accepting(&mut self, errno: Errno) {
        if self.accepting != Accepting::Yes {
            return;
        }
        self.counters().accept_paused.add(1);
        self.accepting = Accepting::PausedUntil(self.now + ACCEPT_PAUSE);
        if self.now >= self.tell_pause_at {
            self.tell_pause_at = self.now + TELL_PAUSE_AGAIN;
            warn!(
                "accepting pauses for {ACCEPT_PAUSE:?}: {}; raise `ulimit -n` or lower \
                 --max-sessions",
                errno.desc()
            );
        }
    }

    fn open_somewhere(&mut self, client: D::Socket) {
        let Some(shard) = self.elsewhere() else { return self.open_or_wait(client) };
        match self.driver.hand_over(client, shard) {
            Ok(()) => self.counters().handed_over.add(1),
            Err(client) => self.open_or_wait(client),
        }
    }

    /// Accepts are asked for, and connections handed over, by the room that there is then; when they
    /// are answered and come, they may be more than fit.
    fn open_or_wait(&mut self, client: D::Socket) {
        if self.has_room() && self.outside.is_empty() {
            return self.open(client);
        }
        self.counters().waited_for_room.add(1);
        self.outside.push_back(client);
    }

    /// The shard that should take the connection that was just accepted, if it is another one.
    fn elsewhere(&mut self) -> Option<usize> {
        if self.shared.counters.len() < 2 {
            return None;
        }
        let sessions = self.shared.counters.iter().map(|one| one.sessions.value());
        self.crowd.clear();
        self.crowd.extend(sessions);
        let shard = elsewhere(self.index, &self.crowd)?;
        let has_room = (self.crowd[shard] as usize) < self.max_sessions;
        (has_room && self.hand_overs.take(self.now)).then_some(shard)
    }

    /// Another shard accepted `client` and had more to do.
    pub(super) fn take_over(&mut self, client: D::Socket) {
        if self.is_stopping() {
            return self.driver.close(client, true);
        }
        self.counters().taken_over.add(1);
        self.open_or_wait(client);
    }

    fn open(&mut self, client: D::Socket) {
        let Some((candidate, by)) = self.pick(&Tried::NOBODY) else {
            return self.driver.close(client, false);
        };
        self.log_routing(&client, candidate, by);
        let (session, actions) = Session::open(candidate, self.now, &self.shared.rules);
        let owner = self.sessions.insert(Entry {
            session,
            client,
            backend: None,
            charged: None,
            deferred: false,
        });
        self.count_sessions();
        if let Some(event) = self.perform(owner, actions) {
            self.drive(owner, event);
        }
    }

    pub(super) fn count_sessions(&self) {
        let sessions = u32::try_from(self.sessions.len()).expect("slots are numbered by u32");
        self.counters().sessions.set(sessions);
    }

    pub(super) fn pick(&mut self, tried: &Tried) -> Option<(Candidate, Pick)> {
        let request = Request { key: 0, tried, sticky: None };
        let Picked::Backend(pick) = pick(&*self.shared, &request, &mut self.rng) else {
            return None;
        };
        Some((self.shared.backend(pick.backend).first_candidate(pick.backend), pick))
    }
}

/// Whether this host ran out of something: descriptors, or memory for sockets.
pub(super) fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
}

/// As long as it lasts, a shortage is told this often.
const TELL_PAUSE_AGAIN: Duration = Duration::from_secs(10);

/// While descriptors are short, one attempt each tenth of a second costs nothing.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
