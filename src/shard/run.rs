//! The loop of a shard: wait, answer each completion, fire timers, feed who waits for buffers,
//! accept more.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};
use uring::{Errno, Op, Owner, Slots, Token};

use crate::core::balance::{Pick, Tried, pick};
use crate::core::moment::Moment;
use crate::core::relay;
use crate::core::session::{Action, Actions, EndReason, Event, Session};
use crate::core::timers::Timers;
use crate::core::{BackendId, Candidate, Direction, Side};

use super::counters::Counters;
use super::driver::{BATCH, Completion, Driver, Outcome, direction, tag};
use super::shared::Shared;

/// A shard over one driver.
pub struct Shard<D: Driver> {
    driver: D,
    shared: Arc<Shared>,
    index: usize,
    max_sessions: usize,
    sessions: Slots<Entry<D::Socket>>,
    timers: Timers,
    /// Directions that found no buffer, first come, first served.
    starved: VecDeque<Owner>,
    /// A bit for each accept that is in flight.
    accepts: u64,
    accepting: Accepting,
    now: Moment,
    rng: fastrand::Rng,
    routing_lines: LineBudget,
    warnings: LineBudget,
    completions: Vec<Completion<D::Socket>>,
}

/// A session and its sockets.
struct Entry<S> {
    session: Session,
    client: S,
    backend: Option<S>,
    /// Whose connection count this session is in.
    charged: Option<BackendId>,
}

/// Whether the shard takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    Yes,
    /// Descriptors or memory ran out; try again then, or when a session ends.
    PausedUntil(Moment),
    /// The program ends; what is open then is cut, as often as it takes.
    Stopping {
        cut_at: Moment,
        cuts: u32,
    },
}

/// What became of a shard in one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It goes on.
    Again,
    /// It was asked to stop, and nothing is open any more.
    Stopped,
}

impl<D: Driver> Shard<D> {
    /// A shard without sessions. `index` tells which of the shared counters are its own.
    pub fn new(
        driver: D,
        shared: Arc<Shared>,
        index: usize,
        max_sessions: usize,
        seed: u64,
    ) -> Self {
        Self {
            driver,
            shared,
            index,
            max_sessions,
            sessions: Slots::default(),
            timers: Timers::default(),
            starved: VecDeque::new(),
            accepts: 0,
            accepting: Accepting::Yes,
            now: Moment::default(),
            rng: fastrand::Rng::with_seed(seed),
            routing_lines: LineBudget::default(),
            warnings: LineBudget::default(),
            completions: Vec::with_capacity(BATCH),
        }
    }

    /// The driver, for its counters.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// Takes turns until the shard is asked to stop.
    ///
    /// # Errors
    /// Only what makes the driver unusable.
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn()? == Turn::Again {}
        Ok(())
    }

    /// Waits once and deals with everything that came.
    ///
    /// # Errors
    /// Only what makes the driver unusable.
    pub fn turn(&mut self) -> io::Result<Turn> {
        self.arm_accepts();
        let timeout = self.next_deadline().map(|deadline| deadline.since(self.now));
        let mut completions = std::mem::take(&mut self.completions);
        self.driver.wait(timeout, &mut completions)?;
        self.now = self.driver.now();
        completions.drain(..).for_each(|completion| self.on_completion(completion));
        self.completions = completions;
        while let Some(slot) = self.timers.pop_due(self.now) {
            let owner = self.sessions.owner(slot).expect("a freed slot has no timer");
            self.drive(owner, Event::TimerFired);
        }
        self.feed_starved();
        Ok(self.stop_if_asked())
    }

    /// When to wake up although nothing happens.
    fn next_deadline(&self) -> Option<Moment> {
        let of_accepting = match self.accepting {
            Accepting::Yes => None,
            Accepting::PausedUntil(moment) | Accepting::Stopping { cut_at: moment, .. } => {
                Some(moment)
            }
        };
        // Buffers that directions wait for mostly come back with a completion. Should they be free
        // without one, the wait is a short one; but never none, which could spin.
        let waiting = !self.starved.is_empty() && self.driver.buffers_free() > 0;
        let of_starved = waiting.then(|| self.now + STARVED_PAUSE);
        [self.timers.next_due(), of_accepting, of_starved].into_iter().flatten().min()
    }

    fn on_completion(&mut self, completion: Completion<D::Socket>) {
        let Completion { token: Token { op, owner }, outcome } = completion;
        match (op, outcome) {
            (Op::Accept, outcome) => self.on_accept(owner.slot, outcome),
            (Op::Connect, Outcome::Done(_)) => self.on_connected(owner),
            (Op::Connect, Outcome::Failed(errno)) => self.on_connect_failed(owner, errno),
            (Op::Recv, Outcome::Received(held)) => self.relay(owner, relay::Event::Received(held)),
            (Op::Recv, Outcome::EndOfStream) => self.relay(owner, relay::Event::EndOfStream),
            (Op::Recv, Outcome::NoBuffer) => {
                self.counters().recv_no_buffer.add(1);
                self.relay(owner, relay::Event::NoBuffer);
            }
            (Op::Recv, Outcome::Failed(errno)) => {
                debug!(slot = owner.slot, side = ?direction(owner).source(), %errno, "receive failed");
                self.relay(owner, relay::Event::RecvFailed);
            }
            (Op::Send, Outcome::Done(bytes)) => self.relay(owner, relay::Event::Sent(bytes)),
            (Op::Send, Outcome::Failed(errno)) => {
                debug!(slot = owner.slot, side = ?direction(owner).destination(), %errno, "send failed");
                self.relay(owner, relay::Event::SendFailed);
            }
            // A wake-up; what it is about is looked at in every turn.
            (Op::Poll, _) => {}
            (_, Outcome::Received(held)) => {
                self.counters().unexpected_event.add(1);
                self.driver.release(held.buffer);
            }
            _ => self.counters().unexpected_event.add(1),
        }
    }

    fn relay(&mut self, owner: Owner, event: relay::Event) {
        self.drive(owner, Event::Relay(direction(owner), event));
    }

    /// Gives one event to a session and does what it wants.
    fn drive(&mut self, owner: Owner, event: Event) {
        let owner = owner.tagged(0);
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let Some(entry) = self.sessions.find(owner) else {
                return self.on_stale(event);
            };
            let actions = entry.session.on(event, self.now, &self.shared.deadlines);
            next = self.perform(owner, actions);
        }
    }

    fn on_stale(&mut self, event: Event) {
        match event {
            // The waiting list does not know who has left.
            Event::Relay(_, relay::Event::BufferFree) => return,
            Event::Relay(_, relay::Event::Received(held)) => self.driver.release(held.buffer),
            _ => {}
        }
        self.counters().stale_completion.add(1);
    }

    /// Does what a session wants; the event to tell it at once, if there is one.
    fn perform(&mut self, owner: Owner, actions: Actions) -> Option<Event> {
        let mut follow_up = None;
        for action in actions {
            match action {
                Action::Connect(candidate) => follow_up = self.connect(owner, candidate),
                Action::CancelConnect => self.cancel_connect(owner),
                Action::Recv { direction, ready } => {
                    let entry = self.sessions.find(owner).expect(ALIVE);
                    let socket = entry.socket(direction.source());
                    self.driver.recv(socket, ready, owner.tagged(tag(direction)));
                }
                Action::Send { direction, held } => {
                    if held.start > 0 {
                        self.counters().send_short.add(1);
                    }
                    let entry = self.sessions.find(owner).expect(ALIVE);
                    let socket = entry.socket(direction.destination());
                    self.driver.send(socket, held, owner.tagged(tag(direction)));
                }
                Action::AwaitBuffer(direction) => self.await_buffer(owner, direction),
                Action::FinishWriting(direction) => {
                    let entry = self.sessions.find(owner).expect(ALIVE);
                    self.driver.finish_writing(entry.socket(direction.destination()));
                }
                Action::Cancel(direction, in_flight) => {
                    let op = match in_flight {
                        relay::InFlight::Recv => Op::Recv,
                        relay::InFlight::Send => Op::Send,
                    };
                    self.driver.cancel(Token { op, owner: owner.tagged(tag(direction)) });
                }
                Action::Release(buffer) => self.driver.release(buffer),
                Action::ArmTimer(deadline) => self.timers.arm(owner.slot, deadline),
                Action::Free { reason, reset_client, reset_backend } => {
                    self.free(owner, reason, reset_client, reset_backend);
                }
                Action::CountUnexpected => self.counters().unexpected_event.add(1),
            }
        }
        follow_up
    }

    // Accepting ---------------------------------------------------------------------------------

    /// Keeps as many accepts in flight as there is room for sessions, up to a batch.
    fn arm_accepts(&mut self) {
        match self.accepting {
            Accepting::Stopping { .. } => return,
            Accepting::PausedUntil(moment) if self.now < moment => return,
            Accepting::PausedUntil(_) | Accepting::Yes => self.accepting = Accepting::Yes,
        }
        let room = self.max_sessions.saturating_sub(self.sessions.len());
        let wanted = room.min(ACCEPTS as usize);
        while (self.accepts.count_ones() as usize) < wanted {
            let free = self.accepts.trailing_ones();
            self.accepts |= 1 << free;
            self.driver.accept(Owner::slot(free));
        }
    }

    fn on_accept(&mut self, accept: u32, outcome: Outcome<D::Socket>) {
        self.accepts &= !(1 << accept);
        match outcome {
            Outcome::Accepted(client) if self.is_stopping() => self.driver.close(client, true),
            Outcome::Accepted(client) => self.open(client),
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
    fn pause_accepting(&mut self, errno: Errno) {
        if self.accepting != Accepting::Yes {
            return;
        }
        self.counters().accept_paused.add(1);
        self.accepting = Accepting::PausedUntil(self.now + ACCEPT_PAUSE);
        if self.may_warn() {
            warn!(
                "accepting pauses for {ACCEPT_PAUSE:?}: {}; raise `ulimit -n` or lower \
                 --max-sessions",
                errno.desc()
            );
        }
    }

    fn open(&mut self, client: D::Socket) {
        self.counters().accepted.add(1);
        let Some((candidate, by)) = self.pick(&Tried::NOBODY) else {
            return self.driver.close(client, false);
        };
        self.log_routing(&client, candidate, by);
        let (session, actions) = Session::open(candidate, self.now, &self.shared.deadlines);
        let owner = self.sessions.insert(Entry { session, client, backend: None, charged: None });
        if let Some(event) = self.perform(owner, actions) {
            self.drive(owner, event);
        }
    }

    fn pick(&mut self, tried: &Tried) -> Option<(Candidate, Pick)> {
        let pick = pick(self.shared.algorithm, &*self.shared, tried, &mut self.rng)?;
        Some((self.shared.backend(pick.backend).first_candidate(pick.backend), pick))
    }

    // Connecting --------------------------------------------------------------------------------

    /// Starts a connect; the failure, if that is not even possible.
    fn connect(&mut self, owner: Owner, candidate: Candidate) -> Option<Event> {
        let entry = self.sessions.find(owner).expect(ALIVE);
        let failed_attempt = entry.backend.take();
        discharge(&self.shared, entry.charged.replace(candidate.backend));
        let backend = self.shared.backend(candidate.backend);
        backend.charge();
        if let Some(socket) = failed_attempt {
            self.driver.close(socket, false);
        }
        self.counters().connects.add(1);
        match self.driver.connect(backend.address(candidate), owner) {
            Ok(socket) => {
                self.sessions.find(owner).expect(ALIVE).backend = Some(socket);
                None
            }
            Err(errno) if is_shortage(errno) => {
                self.pause_accepting(errno);
                Some(Event::ConnectDeferred)
            }
            Err(errno) => self.connect_failed(owner, errno),
        }
    }

    fn on_connected(&mut self, owner: Owner) {
        let Some(entry) = self.sessions.find(owner) else {
            return self.counters().stale_completion.add(1);
        };
        if let (Some((candidate, _)), Some(socket)) = (entry.session.connecting(), &entry.backend) {
            let backend = self.shared.backend(candidate.backend);
            let address = backend.address(candidate);
            if backend.is_on_this_host(candidate)
                && self.driver.is_connected_to_itself(socket, address)
            {
                return self.on_connect_failed(owner, Errno::ECONNREFUSED);
            }
            backend.note_connected(candidate);
        }
        self.drive(owner, Event::Connected);
    }

    fn on_connect_failed(&mut self, owner: Owner, errno: Errno) {
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

    fn cancel_connect(&mut self, owner: Owner) {
        let entry = self.sessions.find(owner).expect(ALIVE);
        if entry.session.connecting().is_some() {
            self.counters().connect_timeout.add(1);
        }
        self.driver.cancel(Token { op: Op::Connect, owner });
    }

    // Ending ------------------------------------------------------------------------------------

    fn free(&mut self, owner: Owner, reason: EndReason, reset_client: bool, reset_backend: bool) {
        let entry = self.sessions.remove(owner).expect(ALIVE);
        self.timers.disarm(owner.slot);
        discharge(&self.shared, entry.charged);
        let counters = self.counters();
        counters.count_end(reason);
        counters.bytes_to_backends.add(entry.session.bytes(Direction::ClientToBackend));
        counters.bytes_to_clients.add(entry.session.bytes(Direction::BackendToClient));
        debug!(slot = owner.slot, reason = reason.label(), "session ended");
        self.driver.close(entry.client, reset_client);
        if let Some(backend) = entry.backend {
            self.driver.close(backend, reset_backend);
        }
        if let Accepting::PausedUntil(_) = self.accepting {
            // Descriptors are free again.
            self.accepting = Accepting::Yes;
        }
    }

    fn await_buffer(&mut self, owner: Owner, direction: Direction) {
        self.starved.push_back(owner.tagged(tag(direction)));
        // Sessions that end while they wait leave their place behind.
        if self.starved.len() > 2 * self.sessions.len() {
            let sessions = &mut self.sessions;
            self.starved.retain(|&waiting| sessions.find(waiting).is_some());
        }
    }

    fn feed_starved(&mut self) {
        let turns = self.driver.buffers_free().min(self.starved.len());
        for _ in 0..turns {
            let owner = self.starved.pop_front().expect("as many as were counted");
            self.relay(owner, relay::Event::BufferFree);
        }
    }

    fn is_stopping(&self) -> bool {
        matches!(self.accepting, Accepting::Stopping { .. })
    }

    fn stop_if_asked(&mut self) -> Turn {
        if let Accepting::Stopping { cut_at, cuts } = self.accepting {
            if self.accepts == 0 {
                self.driver.stop_listening();
            }
            if self.now >= cut_at {
                self.accepting =
                    Accepting::Stopping { cut_at: self.now + CUT_AFTER, cuts: cuts + 1 };
                self.cut();
            }
            // What has not answered several cancels is left to the driver's own end.
            let open = !self.sessions.is_empty() || self.accepts != 0;
            return if open && cuts < MOST_CUTS { Turn::Again } else { Turn::Stopped };
        }
        if self.shared.is_stopping() {
            self.accepting = Accepting::Stopping { cut_at: self.now + CUT_AFTER, cuts: 0 };
            self.cancel_accepts();
        }
        Turn::Again
    }

    fn cancel_accepts(&mut self) {
        for accept in (0..ACCEPTS).filter(|accept| self.accepts & (1 << accept) != 0) {
            self.driver.cancel(Token { op: Op::Accept, owner: Owner::slot(accept) });
        }
    }

    fn cut(&mut self) {
        self.cancel_accepts();
        let open: Vec<Owner> = self.sessions.owners().collect();
        if !open.is_empty() {
            info!("cutting {} open sessions", open.len());
        }
        open.into_iter().for_each(|owner| self.drive(owner, Event::Cut));
    }

    // Telling -----------------------------------------------------------------------------------

    fn counters(&self) -> &Counters {
        &self.shared.counters[self.index]
    }

    fn log_routing(&mut self, client: &D::Socket, candidate: Candidate, pick: Pick) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        if !tracing::enabled!(tracing::Level::DEBUG) && !self.routing_lines.take(self.now) {
            return self.counters().log_suppressed.add(1);
        }
        // Who the client is costs a system call, so it is asked only for a line that is written.
        let address = self.driver.peer_address(client);
        let client = address.map_or_else(|| "gone".to_owned(), |address| address.to_string());
        let backend = &self.shared.backend(candidate.backend).name;
        info!("Routing client ({client}) -> {backend} ({})", pick.by);
    }

    fn log_connect_failed(&mut self, failed: Candidate, errno: Errno, next: Option<Candidate>) {
        if !self.may_warn() {
            return;
        }
        let backend = self.shared.backend(failed.backend);
        let (name, address) = (&backend.name, backend.address(failed));
        let why = match errno {
            Errno::ECANCELED => "no answer within the connect timeout",
            Errno::EADDRNOTAVAIL => "no local port is free; widen net.ipv4.ip_local_port_range",
            errno => errno.desc(),
        };
        let then = match next {
            Some(next) => format!("going to {}", self.shared.backend(next.backend).name),
            None => "nobody is left, closing the client".to_owned(),
        };
        warn!("backend {name} ({address}) failed: {why}; {then}");
    }

    /// Whether a warning about a single connection may be written now: a few a second, or all at
    /// DEBUG.
    fn may_warn(&mut self) -> bool {
        let allowed = tracing::enabled!(tracing::Level::DEBUG) || self.warnings.take(self.now);
        if !allowed {
            self.counters().log_suppressed.add(1);
        }
        allowed
    }
}

impl<S> Entry<S> {
    fn socket(&mut self, side: Side) -> &mut S {
        match side {
            Side::Client => &mut self.client,
            Side::Backend => self.backend.as_mut().expect("a relay opens when both are connected"),
        }
    }
}

/// Whether this host ran out of something: descriptors, or memory for sockets.
fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
}

fn discharge(shared: &Shared, charged: Option<BackendId>) {
    if let Some(backend) = charged {
        shared.backend(backend).discharge();
    }
}

/// A few lines a second.
#[derive(Debug, Default)]
struct LineBudget {
    second: u64,
    used: u32,
}

impl LineBudget {
    fn take(&mut self, now: Moment) -> bool {
        let second = now.ns() / 1_000_000_000;
        if second != self.second {
            (self.second, self.used) = (second, 0);
        }
        self.used += 1;
        self.used <= LINES_PER_SECOND
    }
}

impl<D: Driver> std::fmt::Debug for Shard<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard")
            .field("index", &self.index)
            .field("sessions", &self.sessions.len())
            .field("starved", &self.starved.len())
            .field("accepting", &self.accepting)
            .finish_non_exhaustive()
    }
}

const ALIVE: &str = "a session is in the table until its last action";

/// Accepts in flight, so that a burst of connections is taken in one turn.
const ACCEPTS: u32 = 64;
const _: () = assert!(ACCEPTS <= u64::BITS, "one bit for each");

/// While descriptors are short, one attempt each tenth of a second costs nothing.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long open sessions may go on when the program is asked to end, and how long a cut may take.
const CUT_AFTER: Duration = Duration::from_secs(1);
const MOST_CUTS: u32 = 30;

/// Directions that wait for a buffer look again after this, if nothing woke the shard before.
const STARVED_PAUSE: Duration = Duration::from_millis(1);

/// Lines of one kind about single connections, unless all are asked for: a person can read so many.
const LINES_PER_SECOND: u32 = 10;

#[cfg(test)]
mod audit;
