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
//! A session that relays goes back to be placed when its backend ends abnormally and it may go on with
//! another one (`session/moving.rs`).
//!
//! What is intended ([`Session`]'s state) and what the kernel holds (`connecting`, `polling`, and what
//! the two relays have in flight) are facts apart. Closing has three steps: start nothing new and
//! cancel what is in flight, again if need be; wait for the last of it; free.

mod closing;
mod deadlines;
mod moving;
mod placing;
mod words;

use super::balance::Tried;
use super::moment::Moment;
use super::relay::{self, Holder, PathChange, Relay, Step};
use super::{BackendId, BufferId, Candidate, Direction, Side};

use placing::Waits;

pub use super::relay::Held;
pub use words::{
    Action, Actions, Deadlines, EndReason, Event, Greeting, Next, Phase, Rules, Unavailable,
    WaitFor,
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
    /// How often it has lost a backend and was to go on with another.
    moves: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The client is to say first whom it speaks for.
    Greeting { deadline: Moment },
    /// There is no backend for the client now; the shard tells when there is.
    Waiting { what: WaitFor, until: Moment, waits: Waits },
    /// A connect to `candidate` is in flight, or this host is short of something and it will be tried
    /// again. `waits` is how long the client may wait, as far as it has waited before.
    Connecting { candidate: Candidate, tried: Tried, deadline: Moment, waits: Waits },
    /// Both sides are connected.
    Relaying { backend: BackendId },
    /// The backend is gone and the client is to go on with another. What it had said is delivered, and
    /// what is in flight on its socket ends; what the client says meanwhile is kept.
    Moving { backend: BackendId, tried: Tried },
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
            moves: 0,
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
            State::Relaying { backend } | State::Moving { backend, .. } => Some(backend),
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

    /// The backends have other numbers from now on: which of them were tried is not known any more.
    pub fn renumber(&mut self) {
        if let State::Connecting { tried, .. } | State::Moving { tried, .. } = &mut self.state {
            *tried = Tried::NOBODY;
        }
    }

    /// The backend that was lost, and which are not to be tried therefore, as long as nothing else has
    /// been looked for.
    #[must_use]
    pub fn moving(&self) -> Option<(BackendId, &Tried)> {
        match &self.state {
            State::Moving { backend, tried } => Some((*backend, tried)),
            _ => None,
        }
    }

    /// Whether both sides are connected.
    #[must_use]
    pub fn is_relaying(&self) -> bool {
        matches!(self.state, State::Relaying { .. })
    }

    /// Where it stands, for people.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Greeting { .. } => Phase::Greeting,
            State::Waiting { .. } => Phase::Waiting,
            State::Connecting { .. } => Phase::Connecting,
            State::Relaying { .. } => Phase::Relaying,
            State::Moving { .. } => Phase::Moving,
            State::TurnedAway { .. } => Phase::TurnedAway,
            State::Closing { .. } => Phase::Closing,
        }
    }

    /// When a byte moved last, or it was accepted.
    #[must_use]
    pub fn last_progress(&self) -> Moment {
        self.last_progress
    }

    /// How often it has lost a backend and was to go on with another.
    #[must_use]
    pub fn moves(&self) -> u8 {
        self.moves
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
            Event::Cut(reason) => self.on_cut(reason, now),
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
        if self.is_moving() {
            return self.on_relay_moving(direction, event, now, rules);
        }
        if self.loses_backend(direction, event, rules) {
            return self.begin_moving(direction, event, now, rules);
        }
        self.go_on(direction, event, now, rules)
    }

    fn go_on(
        &mut self,
        direction: Direction,
        event: relay::Event,
        now: Moment,
        rules: &Rules,
    ) -> Actions {
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

const POLL_CLIENT: Action = Action::Poll(Direction::ClientToBackend, Side::Client);
const RELAYING: &str = "a relaying session has a deadline";

#[cfg(test)]
mod tests;
