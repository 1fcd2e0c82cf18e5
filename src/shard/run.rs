//! The loop of a shard: wait, answer each completion, fire timers, feed who waits for buffers,
//! accept more.

mod accept;
#[cfg(test)]
mod audit;
mod connect;
mod end;
mod failover;
mod greet;
mod here;
mod inspect;
mod listen;
mod note;
mod place;
mod sample;
mod splice;
mod telling;
mod wait;

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;
use uring::{Op, Owner, Slots, Token};

use crate::core::moment::Moment;
use crate::core::relay;
use crate::core::session::{Action, Actions, EndReason, Event, Session};
use crate::core::timers::Timers;
use crate::core::{BackendId, Direction, Side};

#[cfg(test)]
pub(in crate::shard) use audit::Audit;
use here::{Extra, Here};
use inspect::Inspection;
use listen::Listening;
use note::Marks;
use sample::Watch;
use telling::PerSecond;
use wait::Room as WaitingRoom;

use super::counters::Counters;
use super::driver::{BATCH, Completion, Driver, Outcome, Readiness, direction, tag};
use super::pipes::Pipes;
use super::shared::{Shared, Stopping};

/// A shard over one driver.
pub struct Shard<D: Driver> {
    driver: D,
    shared: Arc<Shared>,
    index: usize,
    max_sessions: usize,
    sessions: Slots<Entry<D::Socket>>,
    pipes: Pipes<D::Pipe>,
    timers: Timers,
    /// Where clients come in; one that is closed leaves its place.
    listening: Vec<Option<Listening<D::Socket>>>,
    /// Of the configuration that is in `listening`.
    version: u64,
    /// Sessions that wait for a backend, or for room in one, by pool.
    waiting: Vec<WaitingRoom>,
    /// Sessions that wait for a descriptor to connect with; nobody is accepted meanwhile.
    deferred: usize,
    /// Directions that found no buffer, first come, first served.
    starved: VecDeque<Owner>,
    accepting: Accepting,
    /// Descriptors or memory ran out; accepts go on then, or when a session ends.
    paused_until: Option<Moment>,
    now: Moment,
    rng: fastrand::Rng,
    routing_lines: PerSecond,
    warnings: PerSecond,
    hand_overs: PerSecond,
    /// The same for clients that wait for room.
    sent_to_room: PerSecond,
    /// Sessions of every shard, as of the last accept.
    population: Vec<u32>,
    /// Until when descriptors are thought to be short.
    short_until: Moment,
    /// When it may be told again that accepting pauses.
    tell_pause_at: Moment,
    completions: Vec<Completion<D::Socket>>,
    /// What the control thread has asked and is being answered.
    inspection: Option<Inspection>,
    /// Sessions whose connections are looked at, unless that is switched off.
    watch: Option<Watch>,
}

/// A session and its sockets.
struct Entry<S> {
    session: Session,
    client: S,
    backend: Option<S>,
    /// What it goes by: the listener and the pool as they were when it began.
    here: Rc<Here>,
    /// What only some listeners and pools need to know of it.
    extra: Option<Box<Extra>>,
    /// Whose connection count this session is in.
    charged: Option<BackendId>,
    /// When things happened to it.
    marks: Marks,
    /// Whether it is one of the shard's `deferred`.
    deferred: bool,
    /// Whether it is in a waiting room.
    waits: bool,
}

/// Whether the shard takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    Yes,
    /// The program ends; what is open then is cut, as often as it takes.
    Stopping {
        how: Stopping,
        cut_at: Moment,
        cuts: u32,
    },
}

/// How much a shard may have at a time.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Sessions.
    pub max_sessions: usize,
    /// Pipes.
    pub max_pipes: u16,
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
    /// A shard without sessions, whose driver has one listener. `index` tells which of the shared counters are its own.
    pub fn new(driver: D, shared: Arc<Shared>, index: usize, room: Room, seed: u64) -> Self {
        let Room { max_sessions, max_pipes } = room;
        let table = max_sessions.min(TABLE_SESSIONS_MAX);
        let watch = shared.watches.then(Watch::default);
        Self {
            driver,
            shared,
            index,
            max_sessions,
            pipes: Pipes::new(max_pipes),
            sessions: Slots::with_capacity(table),
            timers: Timers::with_capacity(table),
            listening: Vec::new(),
            version: 0,
            waiting: Vec::new(),
            deferred: 0,
            starved: VecDeque::new(),
            accepting: Accepting::Yes,
            paused_until: None,
            short_until: Moment::default(),
            now: Moment::default(),
            rng: fastrand::Rng::with_seed(seed),
            routing_lines: PerSecond::new(LINES_PER_SECOND),
            warnings: PerSecond::new(LINES_PER_SECOND),
            hand_overs: PerSecond::new(HAND_OVERS_PER_SECOND),
            sent_to_room: PerSecond::new(SENT_TO_ROOM_PER_SECOND),
            population: Vec::new(),
            tell_pause_at: Moment::default(),
            completions: Vec::with_capacity(BATCH),
            inspection: None,
            watch,
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
        self.counters().turns.add(1);
        self.look_for_changes();
        self.arm_accepts();
        let timeout = self.next_deadline().map(|deadline| deadline.since(self.now));
        let mut completions = std::mem::take(&mut self.completions);
        self.driver.wait(timeout, &mut completions)?;
        self.now = self.driver.now();
        // Who connects after a configuration was said to be in force may come in the same batch as the
        // word of it.
        self.look_for_changes();
        let traffic = !completions.is_empty();
        completions.drain(..).for_each(|completion| self.on_completion(completion));
        self.completions = completions;
        while let Some(slot) = self.timers.pop_due(self.now) {
            let owner = self.sessions.owner(slot).expect("a freed slot has no timer");
            let event = if self.is_abandoned(owner) {
                Event::Cut(EndReason::ClientGone)
            } else {
                Event::TimerFired
            };
            self.drive(owner, event);
        }
        self.feed_starved();
        self.serve_waiting();
        self.cut_marked();
        self.answer_commands();
        self.watch_sessions(traffic);
        Ok(self.stop_if_asked())
    }

    /// When to wake up although nothing happens.
    fn next_deadline(&self) -> Option<Moment> {
        let of_accepting = match self.accepting {
            Accepting::Yes => None,
            Accepting::Stopping { .. } if !self.is_open() => Some(self.now),
            Accepting::Stopping { cut_at, .. } => Some(cut_at),
        };
        // Buffers that directions wait for mostly come back with a completion. Should they be free
        // without one, the wait is a short one; but never none, which could spin.
        let waiting = !self.starved.is_empty() && self.driver.buffers_free() > 0;
        let of_starved = waiting.then(|| self.now + STARVED_PAUSE);
        let of_listening = self.listening_deadline();
        let of_waiting = self.waiting_deadline();
        let of_commands = self.is_asked().then_some(self.now);
        let of_watch = self.watch_deadline();
        let of_us = [
            of_accepting,
            self.paused_until,
            of_starved,
            of_listening,
            of_waiting,
            of_commands,
            of_watch,
        ];
        of_us.into_iter().flatten().chain(self.timers.next_due()).min()
    }

    fn on_completion(&mut self, completion: Completion<D::Socket>) {
        let Completion { token: Token { op, owner }, outcome } = completion;
        match (op, outcome) {
            (_, Outcome::HandedOver(client, listener)) => self.take_over(client, listener),
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
            (Op::Send, Outcome::Done(bytes)) => {
                self.counters().copied(direction(owner)).add(bytes.into());
                self.relay(owner, relay::Event::Sent(bytes));
            }
            (Op::Send, Outcome::Failed(errno)) => {
                debug!(slot = owner.slot, side = ?direction(owner).destination(), %errno, "send failed");
                self.relay(owner, splice::send_failed(errno));
            }
            (Op::Poll, Outcome::Done(_)) => self.relay(owner, relay::Event::Ready),
            (Op::Poll, Outcome::Failed(_)) => self.relay(owner, relay::Event::PollFailed),
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
            if let Event::Relay(direction, event) = event {
                entry.note(direction, event, self.now);
            }
            let actions = entry.session.on(event, self.now, &entry.here.rules);
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
                Action::Place => follow_up = Some(Event::Placed(self.place(owner))),
                Action::Move => follow_up = Some(Event::Placed(self.move_on(owner))),
                Action::Greet => follow_up = Some(Event::Greeted(self.greet(owner))),
                Action::TurnAway => self.turn_away(owner),
                Action::Discard => {
                    follow_up = Some(Event::Discarded { more: self.discard(owner) });
                }
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
                Action::Fill(direction) => {
                    follow_up = Some(Event::Relay(direction, self.fill(owner, direction)));
                }
                Action::Drain(direction, pipe) => {
                    follow_up = Some(Event::Relay(direction, self.drain(owner, direction, pipe)));
                }
                Action::Poll(direction, side) => {
                    let what = match side == direction.source() {
                        true => Readiness::Readable,
                        false => Readiness::Writable,
                    };
                    let entry = self.sessions.find(owner).expect(ALIVE);
                    self.driver.poll(entry.socket(side), what, owner.tagged(tag(direction)));
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
                        relay::InFlight::Poll => Op::Poll,
                    };
                    self.driver.cancel(Token { op, owner: owner.tagged(tag(direction)) });
                }
                Action::Release(buffer) => self.driver.release(buffer),
                Action::ClosePipe(pipe) => self.close_pipe(pipe),
                Action::CountPath(direction, change) => self.count_path(direction, change),
                Action::ArmTimer(deadline) => self.arm_timer(owner, deadline),
                Action::Free { reason, reset_client, reset_backend } => {
                    self.free(owner, reason, reset_client, reset_backend);
                }
                Action::CountUnexpected => self.counters().unexpected_event.add(1),
            }
        }
        follow_up
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

    fn counters(&self) -> &Counters {
        &self.shared.counters[self.index]
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

/// Accepts in flight, so that a burst of connections is taken in few turns. With 64 most of those that
/// are asked for again at a time find nobody, which costs 4 % of a connection
/// (docs/decisions/0005-accept-forms.md).
const ACCEPTS: u32 = 8;
const _: () = assert!(ACCEPTS <= u64::BITS, "one bit for each");

/// The tables of so many sessions are laid out at the start, without touching the memory: a table
/// that grows is copied, which takes a millisecond that others wait for, and leaves its old places
/// behind.
const TABLE_SESSIONS_MAX: usize = 1 << 16;

/// Lines of one kind about single connections, unless all are asked for: a person can read so many.
const LINES_PER_SECOND: u32 = 10;

/// Enough to even out connections that stay; where thousands come and go in a second, those that are
/// handed over cost nothing that could be measured.
const HAND_OVERS_PER_SECOND: u32 = 128;

/// Two shards that are full by turns shall not hand a client to and fro without end.
const SENT_TO_ROOM_PER_SECOND: u32 = 8;

/// Directions that wait for a buffer look again after this, if nothing woke the shard before.
const STARVED_PAUSE: Duration = Duration::from_millis(1);
