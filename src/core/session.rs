//! A client and its backend, from the accepted connection to the freed slot.
//!
//! ```text
//!                      refused, and another is left
//!                          ┌──────────┐
//!            accepted      ▼          │      connected
//!  (slot) ────────────▶ Connecting ───┴──────────────────▶ Relaying
//!                          │ nobody is left, cut             │ both directions finished, a side
//!                          ▼                                 ▼ is gone, a deadline, cut
//!                       Closing ◀────────────────────────────┘
//!                          │ nothing is in flight
//!                          ▼
//!                     (slot is free)
//! ```
//!
//! What is intended ([`Session`]'s state) and what the kernel holds (`connecting`, and what the two
//! relays have in flight) are two facts. Closing has three steps: start nothing new and cancel what
//! is in flight, again if need be; wait for the last of it; free.

use std::time::Duration;

use arrayvec::ArrayVec;

use super::balance::Tried;
use super::moment::Moment;
use super::relay::{self, Holder, InFlight, PathChange, Relay, Splice, Step};
use super::{BackendId, BufferId, Candidate, Direction, PipeId, Side};

pub use super::relay::Held;

/// How long a session may wait, and for what. All are finite.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For one backend to accept the connection.
    pub connect: Duration,
    /// For any byte in either direction.
    pub idle: Duration,
    /// For any byte after one side has finished writing.
    pub half_closed: Duration,
}

/// What sessions go by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long they may wait.
    pub deadlines: Deadlines,
    /// When their bytes go through pipes.
    pub splice: Splice,
}

/// Why a session ended; the first cause wins. Logs and counters use the two letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// `--` Both sides finished and every received byte was delivered.
    Finished,
    /// `CD` The client reset the connection, or could not be written to.
    ClientGone,
    /// `SD` The backend reset the connection, or could not be written to.
    BackendGone,
    /// `SC` No backend accepted the connection.
    BackendUnreachable,
    /// `tD` No byte in either direction for the idle timeout.
    IdleTimeout,
    /// `hD` One side had finished and no byte came for the half-closed timeout.
    HalfClosedTimeout,
    /// `KD` The program stops.
    Cut,
}

impl EndReason {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 7] = [
        Self::Finished,
        Self::ClientGone,
        Self::BackendGone,
        Self::BackendUnreachable,
        Self::IdleTimeout,
        Self::HalfClosedTimeout,
        Self::Cut,
    ];

    /// Two letters and a word.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Finished => "-- finished",
            Self::ClientGone => "CD client-gone",
            Self::BackendGone => "SD backend-gone",
            Self::BackendUnreachable => "SC backend-unreachable",
            Self::IdleTimeout => "tD idle-timeout",
            Self::HalfClosedTimeout => "hD half-closed-timeout",
            Self::Cut => "KD cut",
        }
    }
}

/// What can happen to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connect in flight succeeded.
    Connected,
    /// The connect in flight failed, or could not be started; `next` is another place worth
    /// trying, if there is one.
    ConnectFailed {
        /// Where to go instead.
        next: Option<Candidate>,
    },
    /// The connect could not be started because this host is short of something; it will be tried
    /// again.
    ConnectDeferred,
    /// Something happened in one direction.
    Relay(Direction, relay::Event),
    /// The timer of this session fired.
    TimerFired,
    /// The program ends.
    Cut,
}

/// What is to be done for a session, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect there; the socket of a failed attempt, if there is one, is closed first.
    Connect(Candidate),
    /// Give up the connect in flight.
    CancelConnect,
    /// Receive from the direction's source.
    Recv {
        /// Which direction.
        direction: Direction,
        /// Whether bytes are probably there already.
        ready: bool,
    },
    /// Send to the direction's destination.
    Send {
        /// Which direction.
        direction: Direction,
        /// What to send.
        held: Held,
    },
    /// Send [`relay::Event::BufferFree`] when buffers are free.
    AwaitBuffer(Direction),
    /// Fill an empty pipe from the direction's source, now, and say at once how that went:
    /// [`relay::Event::Filled`], `FilledNothing`, `FilledEnd`, `NoPipe` or `RecvFailed`.
    Fill(Direction),
    /// Empty the pipe into the direction's destination, now, and say at once how that went:
    /// [`relay::Event::Drained`] or `SendFailed`.
    Drain(Direction, PipeId),
    /// Wait until the direction's source has bytes, or its destination takes some.
    Poll(Direction, Side),
    /// Tell the direction's destination that its source has finished.
    FinishWriting(Direction),
    /// Give up what is in flight in this direction.
    Cancel(Direction, InFlight),
    /// Give a buffer back.
    Release(BufferId),
    /// Give a pipe back that still holds bytes, which nobody will get.
    ClosePipe(PipeId),
    /// The direction changed its path.
    CountPath(Direction, PathChange),
    /// Send [`Event::TimerFired`] at this moment; replaces the timer that was armed.
    ArmTimer(Moment),
    /// Nothing is in flight and nothing will be: close the sockets, forget the session.
    Free {
        /// Why it ended.
        reason: EndReason,
        /// Whether the client must see a reset, because what it got is not the whole.
        reset_client: bool,
        /// The same for the backend.
        reset_backend: bool,
    },
    /// The kernel answered what was not asked: count it.
    CountUnexpected,
}

/// What one event leads to: at most a released buffer, two cancels and a timer.
pub type Actions = ArrayVec<Action, 4>;

/// The pair.
#[derive(Clone, Debug)]
pub struct Session {
    state: State,
    relays: [Relay; 2],
    /// Whether a connect is in flight.
    connecting: bool,
    last_progress: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A connect to `candidate` is in flight, or its failure is being dealt with.
    Connecting { candidate: Candidate, tried: Tried, deadline: Moment },
    /// Both sides are connected.
    Relaying { backend: BackendId },
    /// No new I/O is started; the slot is freed when nothing is in flight.
    Closing { backend: BackendId, reason: EndReason, reset: bool },
}

impl Session {
    /// A session for a client that was just accepted, and what to do first.
    #[must_use]
    pub fn open(candidate: Candidate, now: Moment, rules: &Rules) -> (Self, Actions) {
        let mut tried = Tried::NOBODY;
        tried.add(candidate.backend);
        let deadline = now + rules.deadlines.connect;
        let session = Self {
            state: State::Connecting { candidate, tried, deadline },
            relays: [Relay::UNOPENED; 2],
            connecting: true,
            last_progress: now,
        };
        (session, actions([Action::ArmTimer(deadline), Action::Connect(candidate)]))
    }

    /// The backend that is charged with this session now.
    #[must_use]
    pub fn backend(&self) -> BackendId {
        match self.state {
            State::Connecting { candidate, .. } => candidate.backend,
            State::Relaying { backend } | State::Closing { backend, .. } => backend,
        }
    }

    /// Where a connect is in flight, and which backends have been tried, that one included.
    #[must_use]
    pub fn connecting(&self) -> Option<(Candidate, &Tried)> {
        match &self.state {
            State::Connecting { candidate, tried, .. } => Some((*candidate, tried)),
            State::Relaying { .. } | State::Closing { .. } => None,
        }
    }

    /// One direction: how much went through it.
    #[must_use]
    pub fn relay(&self, direction: Direction) -> &Relay {
        &self.relays[direction as usize]
    }

    /// One event; total: an event that nothing can have caused is counted and changes nothing.
    pub fn on(&mut self, event: Event, now: Moment, rules: &Rules) -> Actions {
        match event {
            Event::Connected => self.on_connected(now, rules),
            Event::ConnectFailed { next } => self.on_connect_failed(next, now, rules),
            Event::ConnectDeferred => self.on_connect_deferred(now),
            Event::Relay(direction, event) => self.on_relay(direction, event, now, rules),
            Event::TimerFired => self.on_timer(now, rules),
            Event::Cut => self.close(EndReason::Cut, true, now),
        }
    }

    fn on_connected(&mut self, now: Moment, rules: &Rules) -> Actions {
        if !std::mem::replace(&mut self.connecting, false) {
            return actions([Action::CountUnexpected]);
        }
        match self.state {
            State::Connecting { candidate, .. } => {
                self.state = State::Relaying { backend: candidate.backend };
                self.last_progress = now;
                // The timer of the connect may have fired, its cancel having come too late; and it is
                // too far away when sessions may be idle for less than a connect may take.
                let mut actions = actions([Action::ArmTimer(now + rules.deadlines.idle)]);
                // A client usually speaks before its backend is connected.
                for direction in Direction::BOTH {
                    actions.extend(self.open_relay(direction, rules));
                }
                actions
            }
            State::Relaying { .. } => unreachable!("a relaying session has no connect in flight"),
            State::Closing { .. } => self.free_if_idle(),
        }
    }

    fn open_relay(&mut self, direction: Direction, rules: &Rules) -> Option<Action> {
        match self.relays[direction as usize].on(relay::Event::Opened, &rules.splice).ok()? {
            Step::PollSource => Some(Action::Poll(direction, direction.source())),
            _ => {
                let ready = direction == Direction::ClientToBackend;
                Some(Action::Recv { direction, ready })
            }
        }
    }

    fn on_connect_failed(
        &mut self,
        next: Option<Candidate>,
        now: Moment,
        rules: &Rules,
    ) -> Actions {
        if !std::mem::replace(&mut self.connecting, false) {
            return actions([Action::CountUnexpected]);
        }
        match (&mut self.state, next) {
            (State::Connecting { candidate, tried, deadline }, Some(next)) => {
                if next.backend != candidate.backend {
                    tried.add(next.backend);
                }
                (*candidate, *deadline) = (next, now + rules.deadlines.connect);
                self.connecting = true;
                actions([Action::ArmTimer(*deadline), Action::Connect(next)])
            }
            (State::Connecting { .. }, None) => {
                self.close(EndReason::BackendUnreachable, false, now)
            }
            (State::Relaying { .. }, _) => {
                unreachable!("a relaying session has no connect in flight")
            }
            (State::Closing { .. }, _) => self.free_if_idle(),
        }
    }

    /// No backend's fault, so none is given up; the client waits until the connect deadline.
    fn on_connect_deferred(&mut self, now: Moment) -> Actions {
        if !std::mem::replace(&mut self.connecting, false) {
            return actions([Action::CountUnexpected]);
        }
        match self.state {
            State::Connecting { deadline, .. } => {
                actions([Action::ArmTimer(deadline.min(now + CONNECT_AGAIN_AFTER))])
            }
            State::Relaying { .. } => unreachable!("a relaying session has no connect in flight"),
            State::Closing { .. } => self.free_if_idle(),
        }
    }

    fn connect_again(&mut self, now: Moment) -> Actions {
        match self.state {
            State::Connecting { candidate, deadline, .. } if now < deadline => {
                self.connecting = true;
                actions([Action::ArmTimer(deadline), Action::Connect(candidate)])
            }
            _ => self.close(EndReason::BackendUnreachable, false, now),
        }
    }

    fn on_relay(
        &mut self,
        direction: Direction,
        event: relay::Event,
        now: Moment,
        rules: &Rules,
    ) -> Actions {
        if matches!(self.state, State::Closing { .. }) {
            return self.wind_up(direction, event);
        }
        match self.relays[direction as usize].on(event, &rules.splice) {
            Ok(step) => {
                if event.is_progress() {
                    self.last_progress = now;
                }
                self.take(step, direction, now, rules)
            }
            Err(unexpected) => uncaused(unexpected),
        }
    }

    fn take(&mut self, step: Step, direction: Direction, now: Moment, rules: &Rules) -> Actions {
        match step {
            Step::Send(held) => actions([Action::Send { direction, held }]),
            Step::Recv { release: None, ready, change: None } => {
                actions([Action::Recv { direction, ready }])
            }
            Step::Recv { release: Some(buffer), ready, change: None } => {
                actions([Action::Release(buffer), Action::Recv { direction, ready }])
            }
            Step::Recv { release, ready, change } => {
                on_the_way(direction, release, change, Action::Recv { direction, ready })
            }
            Step::Fill { release, change } => {
                on_the_way(direction, release, change, Action::Fill(direction))
            }
            Step::Drain(pipe) => actions([Action::Drain(direction, pipe)]),
            Step::PollSource => actions([Action::Poll(direction, direction.source())]),
            Step::PollDestination => actions([Action::Poll(direction, direction.destination())]),
            Step::AwaitBuffer => actions([Action::AwaitBuffer(direction)]),
            Step::Finish if self.relays.iter().all(Relay::is_finished) => {
                self.close(EndReason::Finished, false, now)
            }
            Step::Finish => actions([
                Action::FinishWriting(direction),
                Action::ArmTimer(now + rules.deadlines.half_closed),
            ]),
            Step::SourceGone => self.close(gone(direction.source()), true, now),
            Step::DestinationGone(holder) => {
                let mut actions = actions([give_back(holder)]);
                actions.extend(self.close(gone(direction.destination()), true, now));
                actions
            }
        }
    }

    fn on_timer(&mut self, now: Moment, rules: &Rules) -> Actions {
        match self.state {
            State::Connecting { .. } if !self.connecting => self.connect_again(now),
            // Deadlines move later at every byte; the timer is moved only here.
            _ if self.deadline(rules).is_some_and(|deadline| now < deadline) => {
                self.deadline(rules).map(Action::ArmTimer).into_iter().collect()
            }
            // Its completion comes as `ConnectFailed`.
            State::Connecting { .. } | State::Closing { .. } => self.cancel_in_flight(now),
            State::Relaying { .. } if self.relays.iter().any(Relay::is_finished) => {
                self.close(EndReason::HalfClosedTimeout, true, now)
            }
            State::Relaying { .. } => {
                let reset = self.relays.iter().any(Relay::holds_bytes);
                self.close(EndReason::IdleTimeout, reset, now)
            }
        }
    }

    /// When the session ends unless something happens before.
    pub(crate) fn deadline(&self, rules: &Rules) -> Option<Moment> {
        match self.state {
            State::Connecting { deadline, .. } => Some(deadline),
            State::Relaying { .. } if self.relays.iter().any(Relay::is_finished) => {
                Some(self.last_progress + rules.deadlines.half_closed)
            }
            State::Relaying { .. } => Some(self.last_progress + rules.deadlines.idle),
            State::Closing { .. } => None,
        }
    }

    /// Starts nothing more, asks for the end of what is in flight, frees if that is nothing.
    fn close(&mut self, reason: EndReason, reset: bool, now: Moment) -> Actions {
        if matches!(self.state, State::Closing { .. }) {
            return Actions::new();
        }
        self.state = State::Closing { backend: self.backend(), reason, reset };
        self.relays.iter_mut().for_each(Relay::stop);
        let freed = self.free_if_idle();
        if freed.is_empty() { self.cancel_in_flight(now) } else { freed }
    }

    /// Asks for the end of everything in flight, and again after a while: a cancel that meets an
    /// operation just as it is tried again finds nothing to cancel, and the operation may then wait
    /// once more.
    fn cancel_in_flight(&self, now: Moment) -> Actions {
        let mut actions = Actions::new();
        if self.connecting {
            actions.push(Action::CancelConnect);
        }
        for direction in Direction::BOTH {
            let in_flight = self.relays[direction as usize].in_flight();
            actions.extend(in_flight.map(|what| Action::Cancel(direction, what)));
        }
        actions.push(Action::ArmTimer(now + CANCEL_AGAIN_AFTER));
        actions
    }

    /// The end of something that was in flight when the session began to close.
    fn wind_up(&mut self, direction: Direction, event: relay::Event) -> Actions {
        match self.relays[direction as usize].wind_up(event) {
            Ok(holder) => {
                // A receive that was cancelled too late met bytes, or perhaps did: a buffer is taken
                // before the socket is looked at, and a poll only says that there is something.
                // Nobody will get them.
                let meets_bytes = matches!(
                    event,
                    relay::Event::Received(_) | relay::Event::NoBuffer | relay::Event::Ready
                );
                if let State::Closing { reset, .. } = &mut self.state {
                    *reset |= meets_bytes;
                }
                let mut actions: Actions = holder.map(give_back).into_iter().collect();
                // A waiting list that comes late must not free the slot a second time.
                if event != relay::Event::BufferFree {
                    actions.extend(self.free_if_idle());
                }
                actions
            }
            Err(unexpected) => uncaused(unexpected),
        }
    }

    fn free_if_idle(&self) -> Actions {
        let idle = !self.connecting && self.relays.iter().all(|relay| relay.in_flight().is_none());
        match self.state {
            State::Closing { reason, reset, .. } if idle => {
                // Who has been told the end may still be reading what came before it; a reset
                // would take that back. (The kernel resets all the same when the side has sent
                // what nobody read.)
                let cut_short =
                    |direction: Direction| !self.relays[direction as usize].is_finished();
                actions([Action::Free {
                    reason,
                    reset_client: reset && cut_short(Direction::BackendToClient),
                    reset_backend: reset && cut_short(Direction::ClientToBackend),
                }])
            }
            State::Closing { .. } | State::Connecting { .. } | State::Relaying { .. } => {
                Actions::new()
            }
        }
    }
}

fn gone(side: Side) -> EndReason {
    match side {
        Side::Client => EndReason::ClientGone,
        Side::Backend => EndReason::BackendGone,
    }
}

fn give_back(holder: Holder) -> Action {
    match holder {
        Holder::Buffer(buffer) => Action::Release(buffer),
        Holder::Pipe(pipe) => Action::ClosePipe(pipe),
    }
}

/// What a direction does next, having first given back what it needs no more, on a path that is
/// perhaps another one.
fn on_the_way(
    direction: Direction,
    release: Option<BufferId>,
    change: Option<PathChange>,
    next: Action,
) -> Actions {
    let mut actions = Actions::new();
    actions.extend(release.map(Action::Release));
    actions.extend(change.map(|change| Action::CountPath(direction, change)));
    actions.push(next);
    actions
}

fn uncaused(unexpected: relay::Unexpected) -> Actions {
    let mut actions = actions([Action::CountUnexpected]);
    actions.extend(unexpected.holder.map(give_back));
    actions
}

fn actions<const N: usize>(list: [Action; N]) -> Actions {
    list.into_iter().collect()
}

/// Descriptors and memory come back when sessions end, here or in other programs.
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Cancelling takes microseconds; whoever has not answered after this is asked again.
const CANCEL_AGAIN_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
