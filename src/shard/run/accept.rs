//! Taking connections: as many accepts in flight as there is room for sessions, none when full.

use std::rc::Rc;
use std::time::Duration;

use tracing::warn;
use uring::Errno;

use crate::core::even::elsewhere;
use crate::core::moment::Moment;
use crate::core::session::Session;
use crate::shard::driver::{Driver, Outcome};
use crate::shard::notices::What;

use super::here::{Extra, Here};
use super::listen::{accept_of, accept_owner};
use super::note::Marks;
use super::{ACCEPTS, Entry, Shard};

impl<D: Driver> Shard<D> {
    /// Keeps as many accepts in flight as there is room for sessions, up to a batch for each listener.
    pub(super) fn arm_accepts(&mut self) {
        self.paused_until = self.paused_until.filter(|&moment| self.now < moment);
        for index in 0..self.listening.len() {
            self.go_on_closing(index);
            self.let_in(index);
            // An accept would take the descriptor that a waiting session needs to connect with.
            if self.deferred == 0 && self.paused_until.is_none() {
                self.arm_accepts_of(index);
            }
        }
    }

    fn arm_accepts_of(&mut self, index: usize) {
        let room = self.max_sessions.saturating_sub(self.sessions.len());
        let Self { listening, driver, .. } = self;
        let Some(listening) = &mut listening[index] else { return };
        if listening.takes_nobody() || !listening.outside.is_empty() {
            return;
        }
        let mut wanted = room.min(ACCEPTS as usize);
        if self.now < self.short_until {
            if listening.accepts != 0 || wanted == 0 {
                return;
            }
            // Clients who are taken in without a descriptor left to connect them with would keep each
            // other waiting.
            wanted = wanted.min(driver.make_room());
            if wanted == 0 {
                self.short_until = self.now + SHORT_AFTER;
                self.paused_until = Some(self.now + ACCEPT_PAUSE);
                return;
            }
        }
        while (listening.accepts.count_ones() as usize) < wanted {
            let free = listening.accepts.trailing_ones();
            listening.accepts |= 1 << free;
            driver.accept(listening.number, accept_owner(index, free));
        }
    }

    /// Who had to wait outside comes first.
    fn let_in(&mut self, index: usize) {
        if let Some(listening) = &self.listening[index]
            && !listening.outside.is_empty()
        {
            // Whoever makes room after the look has to wake this shard again.
            listening.here.listener.gate.crowd.stay(self.index);
        }
        while self.deferred == 0
            && let Some(listening) = &self.listening[index]
            && !listening.outside.is_empty()
            && self.enter(index)
        {
            let Some(listening) = &mut self.listening[index] else { return };
            listening.here.listener.gate.crowd.leave();
            if let Some(client) = listening.outside.pop_front() {
                self.open(index, client);
            }
        }
        self.send_to_room(index);
    }

    /// Who waits outside because this shard is full goes to the one that has most room, if one has.
    fn send_to_room(&mut self, index: usize) {
        if self.is_stopping() || self.sessions.len() < self.max_sessions {
            return;
        }
        let sessions = self.shared.counters.iter().map(|one| one.sessions.value() as usize);
        let others = sessions.enumerate().filter(|&(shard, _)| shard != self.index);
        let Some((shard, there)) = others.min_by_key(|&(_, sessions)| sessions) else { return };
        for _ in there..self.max_sessions {
            let Some(listening) = &mut self.listening[index] else { return };
            // The other shard may have closed its own socket of a listener that ends; and two that hand a
            // client to and fro shall not do so for ever.
            if listening.closing.is_some()
                || listening.outside.is_empty()
                || !self.sent_to_room.take(self.now)
            {
                return;
            }
            let Some(client) = listening.outside.pop_front() else { return };
            let (id, gate) = (listening.here.listener.id, &listening.here.listener.gate);
            match self.driver.hand_over(client, id, shard) {
                Ok(()) => gate.crowd.leave(),
                Err(client) => return listening.outside.push_front(client),
            }
            self.counters().handed_over.add(1);
        }
    }

    /// Takes a place in the shard and in the listener, if there is one.
    fn enter(&self, index: usize) -> bool {
        let Some(listening) = &self.listening[index] else { return false };
        let listener = &listening.here.listener;
        self.sessions.len() < self.max_sessions && listener.gate.enter(listener.max_sessions)
    }

    pub(super) fn on_accept(&mut self, slot: u32, outcome: Outcome<D::Socket>) {
        let (index, accept) = accept_of(slot);
        let Some(listening) = self.listening.get_mut(index).and_then(Option::as_mut) else {
            return self.counters().unexpected_event.add(1);
        };
        listening.accepts &= !(1 << accept);
        match outcome {
            Outcome::Accepted(client) => {
                self.count_accepted(index);
                self.open_somewhere(index, client);
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
        self.short_until = self.now + SHORT_AFTER;
        // A connection is worth more than a pipe: without one, bytes are copied.
        self.pipes.make_way(self.now);
        // Another failure within a pause makes it longer.
        if self.paused_until.replace(self.now + ACCEPT_PAUSE).is_some() {
            return;
        }
        self.counters().accept_paused.add(1);
        // The kernel has woken one accept for the connection that stays in the queue, and would not
        // wake another.
        (0..self.listening.len()).for_each(|index| self.cancel_accepts(index));
        if self.now >= self.tell_pause_at {
            self.tell_pause_at = self.now + TELL_PAUSE_AGAIN;
            let why = errno.desc();
            self.shared.notices.push(What::AcceptPaused { shard: self.index, why });
            warn!(
                "accepting pauses for {ACCEPT_PAUSE:?}: {}; raise `ulimit -n` or lower \
                 --max-sessions",
                errno.desc()
            );
        }
    }

    pub(super) fn count_accepted(&self, index: usize) {
        self.counters().accepted.add(1);
        if let Some(listening) = &self.listening[index] {
            listening.here.listener_tally().accepted.add(1);
        }
    }

    fn open_somewhere(&mut self, index: usize, client: D::Socket) {
        // The other shard may have closed its own socket of a listener that ends by the time it comes.
        let ends = self.listening[index].as_ref().is_some_and(|one| one.closing.is_some());
        let shard = if ends { None } else { self.elsewhere() };
        let Some(shard) = shard else { return self.open_or_wait(index, client) };
        let Some(listening) = &self.listening[index] else { return };
        let id = listening.here.listener.id;
        match self.driver.hand_over(client, id, shard) {
            Ok(()) => self.counters().handed_over.add(1),
            Err(client) => self.open_or_wait(index, client),
        }
    }

    /// Accepts are asked for, and connections handed over, by the room that there is then; when they
    /// are answered and come, they may be more than fit.
    pub(super) fn open_or_wait(&mut self, index: usize, client: D::Socket) {
        let nobody = self.listening[index].as_ref().is_some_and(|one| one.outside.is_empty());
        if nobody && self.enter(index) {
            return self.open(index, client);
        }
        self.counters().waited_for_room.add(1);
        let shard = self.index;
        if let Some(listening) = &mut self.listening[index] {
            listening.here.listener.gate.crowd.join(shard, u32::MAX);
            listening.outside.push_back(client);
        }
    }

    /// The shard that should take the connection that was just accepted, if it is another one.
    fn elsewhere(&mut self) -> Option<usize> {
        if self.shared.counters.len() < 2 || self.is_stopping() {
            return None;
        }
        let sessions = self.shared.counters.iter().map(|one| one.sessions.value());
        self.population.clear();
        self.population.extend(sessions);
        let shard = elsewhere(self.index, &self.population)?;
        let has_room = (self.population[shard] as usize) < self.max_sessions;
        (has_room && self.hand_overs.take(self.now)).then_some(shard)
    }

    /// Another shard accepted `client`, for the listener with this id, and had more to do.
    pub(super) fn take_over(&mut self, client: D::Socket, id: u32) {
        self.look_for_changes();
        match self.index_of(id) {
            Some(index) => {
                self.counters().taken_over.add(1);
                self.open_or_wait(index, client);
            }
            // The listener has been closed since.
            None => {
                self.counters().came_too_late.add(1);
                self.driver.close(client, true);
            }
        }
    }

    fn open(&mut self, index: usize, client: D::Socket) {
        let Some(listening) = &self.listening[index] else { return };
        let here = Rc::clone(&listening.here);
        let extra = here.asks_who.then(|| self.ask_who(&here, &client));
        let address = extra.as_ref().and_then(|extra| extra.client);
        let greeted = here.listener.greets.as_ref().is_none_or(|greets| {
            // Who may write to a unix socket is trusted by its file mode.
            address.is_some_and(|address| !greets.from.contains(address.ip()))
        });
        let ends_at = self.ends_at(&here);
        let (session, actions) = Session::open(greeted, ends_at, self.now, &here.rules);
        let owner = self.sessions.insert(Entry {
            session,
            client,
            backend: None,
            here,
            extra,
            charged: None,
            marks: Marks::new(self.now),
            deferred: false,
            waits: false,
        });
        self.count_sessions();
        if let Some(event) = self.perform(owner, actions) {
            self.drive(owner, event);
        }
    }

    fn ask_who(&self, here: &Here, client: &D::Socket) -> Box<Extra> {
        let destination = here.pool.send_proxy.and_then(|_| self.driver.local_address(client));
        let client = self.driver.peer_address(client);
        Box::new(Extra { client, destination, ..Extra::default() })
    }

    fn ends_at(&mut self, here: &Here) -> Moment {
        let Some(max_age) = here.pool.max_age else { return Moment::NEVER };
        let jitter_ns = u64::try_from(max_age.jitter.as_nanos()).unwrap_or(u64::MAX / 4);
        let later = Duration::from_nanos(self.rng.u64(..=jitter_ns.saturating_mul(2)));
        self.now + (max_age.age + later).saturating_sub(max_age.jitter)
    }

    pub(super) fn count_sessions(&self) {
        let sessions = u32::try_from(self.sessions.len()).expect("slots are numbered by u32");
        self.counters().sessions.set(sessions);
    }
}

/// Whether this host ran out of something: descriptors, or memory for sockets.
pub(super) fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
}

/// As long as it lasts, a shortage is told this often.
const TELL_PAUSE_AGAIN: Duration = Duration::from_secs(10);

/// Descriptors are rationed for so long after one was missing.
const SHORT_AFTER: Duration = Duration::from_secs(1);

/// While descriptors are short, one attempt each tenth of a second costs nothing.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
