//! A client and its backend, from the accepted connection to the freed slot.
//!
//! ```text
//!                                            refused, and another is left
//!           whole              somebody         ┌──────────┐
//!  Greeting ────▶ (placed) ───────────────────▶ Connecting ┴─ connected ──▶ Relaying
//!     ▲              │ nobody ┌────────────────▶    │                          │ both directions
//!     │ PROXY        ▼        │ somebody            │ nobody is left           │ finished, a side
//!     │           Waiting ────┘ ◀───────────────────┘                          │ is gone, a deadline,
//!  (accepted)        │ in vain                                                 │ cut
//!                    ▼                                                         │
//!                TurnedAway ─── the client has left, a deadline ──▶ Closing ◀──┘
//!                                                                      │ nothing is in flight
//!                                                                      ▼
//!                                                                (slot is free)
//! ```
//!
//! What is intended ([`Session`]'s state) and what the kernel holds (`connecting`, `polling`, and what
//! the two relays have in flight) are facts apart. Closing has three steps: start nothing new and
//! cancel what is in flight, again if need be; wait for the last of it; free.

mod words;

use std::time::Duration;

use super::balance::Tried;
use super::moment::Moment;
use super::relay::{self, Holder, InFlight, PathChange, Relay, Step};
use super::{BackendId, BufferId, Candidate, Direction, Side};

pub use super::relay::Held;
pub use words::{
    Action, Actions, Deadlines, EndReason, Event, Greeting, Next, Rules, Unavailable, WaitFor,
};

/// The pair.
#[derive(Clone, Debug)]
pub struct Session {
    state: State,
    relays: [Relay; 2],
    /// Whether a connect is in flight.
    connecting: bool,
    /// Whether a poll of the client is in flight, before or instead of its relay.
    polling: bool,
    last_progress: Moment,
    /// When it is as old as it may become.
    ends_at: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The client is to say first whom it speaks for.
    Greeting { deadline: Moment },
    /// There is no backend for the client now; the shard tells when there is.
    Waiting { what: WaitFor, since: Moment },
    /// A connect to `candidate` is in flight, or its failure is being dealt with. `waiting_since` is
    /// when there was nobody for the first time, if that was so.
    Connecting {
        candidate: Candidate,
        tried: Tried,
        deadline: Moment,
        waiting_since: Option<Moment>,
    },
    /// Both sides are connected.
    Relaying { backend: BackendId },
    /// The client was told that there is nobody, and has a little time to take it.
    TurnedAway { reason: EndReason, deadline: Moment },
    /// No new I/O is started; the slot is freed when nothing is in flight.
    Closing { backend: Option<BackendId>, reason: EndReason, reset: bool },
}

impl Session {
    /// A session for a client that was just accepted, and what to do first. It ends at `ends_at`, or
    /// soon after; `greeted` says that the client need not say whom it speaks for.
    #[must_use]
    pub fn open(greeted: bool, ends_at: Moment, now: Moment, rules: &Rules) -> (Self, Actions) {
        let deadline = now + rules.deadlines.greeting;
        let mut session = Self {
            state: State::Greeting { deadline },
            relays: [Relay::UNOPENED; 2],
            connecting: false,
            polling: false,
            last_progress: now,
            ends_at,
        };
        if greeted {
            return (session, actions([Action::Place]));
        }
        session.polling = true;
        (session, actions([Action::ArmTimer(deadline), POLL_CLIENT]))
    }

    /// The backend that is charged with this session now.
    #[must_use]
    pub fn backend(&self) -> Option<BackendId> {
        match self.state {
            State::Connecting { candidate, .. } => Some(candidate.backend),
            State::Relaying { backend } => Some(backend),
            State::Closing { backend, .. } => backend,
            State::Greeting { .. } | State::Waiting { .. } | State::TurnedAway { .. } => None,
        }
    }

    /// Where a connect is in flight, and which backends have been tried, that one included.
    #[must_use]
    pub fn connecting(&self) -> Option<(Candidate, &Tried)> {
        match &self.state {
            State::Connecting { candidate, tried, .. } => Some((*candidate, tried)),
            _ => None,
        }
    }

    /// What it waits for, if it does.
    #[must_use]
    pub fn waiting(&self) -> Option<WaitFor> {
        match self.state {
            State::Waiting { what, .. } => Some(what),
            _ => None,
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
            Event::Placed(next) => self.on_placed(next, now, rules),
            Event::Greeted(greeting) => self.on_greeted(greeting, now),
            Event::Discarded { more } => self.on_discarded(more, now),
            Event::Connected => self.on_connected(now, rules),
            Event::ConnectFailed { next } => self.on_connect_failed(next, now, rules),
            Event::ConnectDeferred => self.on_connect_deferred(now),
            Event::Relay(direction, event) => self.on_relay(direction, event, now, rules),
            Event::TimerFired => self.on_timer(now, rules),
            Event::Cut(reason) => self.close(reason, true, now),
        }
    }

    fn on_placed(&mut self, next: Next, now: Moment, rules: &Rules) -> Actions {
        match self.state {
            State::Greeting { .. } if !self.polling => {
                self.go(next, Tried::NOBODY, None, now, rules)
            }
            State::Waiting { since, .. } => self.go(next, Tried::NOBODY, Some(since), now, rules),
            _ => actions([Action::CountUnexpected]),
        }
    }

    fn on_greeted(&mut self, greeting: Greeting, now: Moment) -> Actions {
        match (self.state, greeting) {
            (State::Greeting { .. }, Greeting::Part) => self.poll_client(),
            (State::Greeting { .. }, Greeting::Whole) => actions([Action::Place]),
            (State::Greeting { .. }, Greeting::Bad) => {
                self.close(EndReason::BadGreeting, true, now)
            }
            _ => actions([Action::CountUnexpected]),
        }
    }

    fn on_discarded(&mut self, more: bool, now: Moment) -> Actions {
        match (self.state, more) {
            (State::TurnedAway { .. }, true) => self.poll_client(),
            (State::TurnedAway { reason, .. }, false) => self.close(reason, false, now),
            _ => actions([Action::CountUnexpected]),
        }
    }

    fn poll_client(&mut self) -> Actions {
        self.polling = true;
        actions([POLL_CLIENT])
    }

    /// From here on to a backend, into waiting, or out. Who has waited before goes on with the time
    /// that is left: going back and forth is no way to wait for ever.
    fn go(
        &mut self,
        next: Next,
        mut tried: Tried,
        waiting_since: Option<Moment>,
        now: Moment,
        rules: &Rules,
    ) -> Actions {
        match next {
            Next::Go(candidate) => {
                if !tried.contains(candidate.backend) {
                    tried.add(candidate.backend);
                }
                let deadline = now + rules.deadlines.connect;
                self.state = State::Connecting { candidate, tried, deadline, waiting_since };
                self.connecting = true;
                actions([Action::ArmTimer(deadline), Action::Connect(candidate)])
            }
            Next::Wait(what) => {
                let since = waiting_since.unwrap_or(now);
                self.state = State::Waiting { what, since };
                match waits_until(what, since, rules) {
                    until if now < until => actions([Action::ArmTimer(until)]),
                    _ => self.turn_away(in_vain(what), now, rules),
                }
            }
            Next::Nowhere(reason) => self.turn_away(reason, now, rules),
        }
    }

    fn turn_away(&mut self, reason: EndReason, now: Moment, rules: &Rules) -> Actions {
        if rules.unavailable == Unavailable::Reset {
            return self.close(reason, true, now);
        }
        let deadline = now + LINGER;
        self.state = State::TurnedAway { reason, deadline };
        self.polling = true;
        actions([Action::TurnAway, Action::ArmTimer(deadline), POLL_CLIENT])
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
                let mut actions =
                    actions([Action::ArmTimer(self.deadline(rules).expect(RELAYING))]);
                // A client usually speaks before its backend is connected.
                for direction in Direction::BOTH {
                    actions.extend(self.open_relay(direction, rules));
                }
                actions
            }
            State::Closing { .. } => self.free_if_idle(),
            _ => unreachable!("{NO_CONNECT}"),
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

    fn on_connect_failed(&mut self, next: Next, now: Moment, rules: &Rules) -> Actions {
        if !std::mem::replace(&mut self.connecting, false) {
            return actions([Action::CountUnexpected]);
        }
        match self.state {
            State::Connecting { tried, waiting_since, .. } => {
                self.go(next, tried, waiting_since, now, rules)
            }
            State::Closing { .. } => self.free_if_idle(),
            _ => unreachable!("{NO_CONNECT}"),
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
            State::Closing { .. } => self.free_if_idle(),
            _ => unreachable!("{NO_CONNECT}"),
        }
    }

    fn connect_again(&mut self, now: Moment, rules: &Rules) -> Actions {
        match self.state {
            State::Connecting { candidate, deadline, .. } if now < deadline => {
                self.connecting = true;
                actions([Action::ArmTimer(deadline), Action::Connect(candidate)])
            }
            _ => self.turn_away(EndReason::BackendUnreachable, now, rules),
        }
    }

    fn on_relay(
        &mut self,
        direction: Direction,
        event: relay::Event,
        now: Moment,
        rules: &Rules,
    ) -> Actions {
        if self.polling && direction == Direction::ClientToBackend {
            return self.on_polled(event, now);
        }
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

    /// The end of a poll of the client that no relay has asked for.
    fn on_polled(&mut self, event: relay::Event, now: Moment) -> Actions {
        let ready = match event {
            relay::Event::Ready => true,
            relay::Event::PollFailed => false,
            event => return uncaused(relay::Unexpected::at(event)),
        };
        self.polling = false;
        match (self.state, ready) {
            (State::Greeting { .. }, true) => actions([Action::Greet]),
            (State::Greeting { .. }, false) => self.close(EndReason::ClientGone, true, now),
            (State::TurnedAway { .. }, true) => actions([Action::Discard]),
            (State::TurnedAway { reason, .. }, false) => self.close(reason, false, now),
            (State::Closing { .. }, _) => self.free_if_idle(),
            (State::Waiting { .. } | State::Connecting { .. } | State::Relaying { .. }, _) => {
                unreachable!("who is polled has been placed nowhere")
            }
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
                Action::ArmTimer(self.deadline(rules).expect(RELAYING)),
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
            State::Connecting { .. } if !self.connecting => self.connect_again(now, rules),
            // Deadlines move later at every byte; the timer is moved only here.
            _ if self.deadline(rules).is_some_and(|deadline| now < deadline) => {
                self.deadline(rules).map(Action::ArmTimer).into_iter().collect()
            }
            State::Greeting { .. } => self.close(EndReason::BadGreeting, true, now),
            State::Waiting { what, .. } => self.turn_away(in_vain(what), now, rules),
            State::TurnedAway { reason, .. } => self.close(reason, false, now),
            // Its completion comes as `ConnectFailed`.
            State::Connecting { .. } | State::Closing { .. } => self.cancel_in_flight(now),
            State::Relaying { .. } if self.age_deadline() <= now => {
                self.close(EndReason::MaxAge, self.holds_bytes(), now)
            }
            State::Relaying { .. } if self.relays.iter().any(Relay::is_finished) => {
                self.close(EndReason::HalfClosedTimeout, true, now)
            }
            State::Relaying { .. } => self.close(EndReason::IdleTimeout, self.holds_bytes(), now),
        }
    }

    fn holds_bytes(&self) -> bool {
        self.relays.iter().any(Relay::holds_bytes)
    }

    /// When the session ends unless something happens before.
    pub(crate) fn deadline(&self, rules: &Rules) -> Option<Moment> {
        let Deadlines { idle, half_closed, .. } = rules.deadlines;
        match self.state {
            State::Greeting { deadline } | State::TurnedAway { deadline, .. } => Some(deadline),
            State::Waiting { what, since } => Some(waits_until(what, since, rules)),
            State::Connecting { deadline, .. } => Some(deadline),
            State::Relaying { .. } => {
                let half = self.relays.iter().any(Relay::is_finished);
                let silence = if half { half_closed } else { idle };
                Some((self.last_progress + silence).min(self.age_deadline()))
            }
            State::Closing { .. } => None,
        }
    }

    /// When it is ended for its age: in a pause, if there is one soon.
    fn age_deadline(&self) -> Moment {
        let paused = (self.last_progress + PAUSE).max(self.ends_at);
        paused.min(self.ends_at + WAIT_FOR_PAUSE)
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
        if self.polling {
            actions.push(Action::Cancel(Direction::ClientToBackend, InFlight::Poll));
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
        let idle = !self.connecting
            && !self.polling
            && self.relays.iter().all(|relay| relay.in_flight().is_none());
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
            _ => Actions::new(),
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

fn waits_until(what: WaitFor, since: Moment, rules: &Rules) -> Moment {
    since
        + match what {
            WaitFor::Backend => rules.deadlines.wait,
            WaitFor::Room => rules.deadlines.queue,
        }
}

fn in_vain(what: WaitFor) -> EndReason {
    match what {
        WaitFor::Backend => EndReason::BackendUnreachable,
        WaitFor::Room => EndReason::QueueTimeout,
    }
}

const POLL_CLIENT: Action = Action::Poll(Direction::ClientToBackend, Side::Client);
const NO_CONNECT: &str = "only a connecting or a closing session has a connect in flight";
const RELAYING: &str = "a relaying session has a deadline";

/// How long a client that is turned away may take to notice. Whoever goes on sending is not worth
/// more.
const LINGER: Duration = Duration::from_secs(2);

/// A session that is too old is ended when no byte has come for this long, which is between two
/// requests rather than within one, ...
const PAUSE: Duration = Duration::from_secs(1);
/// ... or after this, if it never rests.
const WAIT_FOR_PAUSE: Duration = Duration::from_secs(10);

/// Descriptors and memory come back when sessions end, here or in other programs.
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Cancelling takes microseconds; whoever has not answered after this is asked again.
const CANCEL_AGAIN_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
