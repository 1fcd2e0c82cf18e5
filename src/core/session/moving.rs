//! A session whose backend ends abnormally goes on with another one, if that is wanted; the client does
//! not notice.
//!
//! ```text
//!  Relaying ── the backend is gone ──▶ Moving ── nothing is in flight on its socket ──▶ (placed)
//!                                        │                                                 │
//!                                        └── the client is gone, a deadline, cut ──▶ ...    └──▶ ...
//! ```
//!
//! What the backend had said is delivered first: the way to the client goes on until it finds the end.
//! What the client has said, and the backend's socket had not taken, goes to the next one. What that
//! socket had taken is lost with the backend, whether it has answered or not: nobody keeps it.
//!
//! A clean end is an end, and the client's. So is the end of a backend after the client had finished:
//! there is nothing left to say to another one, whose end would look like an answer.

use crate::core::Direction;
use crate::core::balance::Tried;
use crate::core::moment::Moment;
use crate::core::relay::{self, InFlight, Kept, Relay};

use super::deadlines::CANCEL_AGAIN_AFTER;
use super::words::{Action, Actions, EndReason, Rules};
use super::{Session, State, uncaused};

use Direction::{BackendToClient, ClientToBackend};

impl Session {
    /// Whether the client has no backend, and its direction only keeps what comes.
    pub(super) fn is_moving(&self) -> bool {
        matches!(
            self.state,
            State::Moving { .. } | State::Waiting { .. } | State::Connecting { .. }
        )
    }

    /// Whether this is the end of the backend, and one to go on after.
    pub(super) fn loses_backend(
        &self,
        direction: Direction,
        event: relay::Event,
        rules: &Rules,
    ) -> bool {
        let relay = self.relay(direction);
        let lost = match direction {
            ClientToBackend => relay.loses_destination(event),
            BackendToClient => relay.loses_source(event),
        };
        let may = rules.failover && self.is_relaying() && self.moves < MOST_MOVES;
        lost && may && !self.relays.iter().any(Relay::is_finished)
    }

    pub(super) fn begin_moving(
        &mut self,
        direction: Direction,
        event: relay::Event,
        now: Moment,
        rules: &Rules,
    ) -> Actions {
        let State::Relaying { backend } = self.state else { return Actions::new() };
        let mut tried = Tried::NOBODY;
        tried.add(backend);
        self.state = State::Moving { backend, tried };
        self.moves += 1;
        self.last_progress = now;
        let mut actions = self.on_relay_moving(direction, event, now, rules);
        if !self.has_parted() {
            actions.extend(self.part(now, rules));
        }
        actions
    }

    pub(super) fn on_relay_moving(
        &mut self,
        direction: Direction,
        event: relay::Event,
        now: Moment,
        rules: &Rules,
    ) -> Actions {
        match direction {
            ClientToBackend => self.keep(event, now),
            BackendToClient => self.deliver(event, now, rules),
        }
    }

    /// Something happened on the way from the client.
    fn keep(&mut self, event: relay::Event, now: Moment) -> Actions {
        let kept = match self.relays[ClientToBackend as usize].keep(event) {
            Ok(kept) => kept,
            Err(unexpected) => return uncaused(unexpected),
        };
        let mut actions = Actions::new();
        match kept {
            Kept::All => {}
            Kept::Release(buffer) => actions.push(Action::Release(buffer)),
            Kept::SourceFinished => return self.close(EndReason::BackendGone, true, now),
            Kept::SourceGone => return self.close(EndReason::ClientGone, true, now),
        }
        actions.extend(self.move_if_parted());
        actions
    }

    /// Something happened on the way to the client. When a send has reported the error, a receive finds
    /// an end that looks clean.
    fn deliver(&mut self, event: relay::Event, now: Moment, rules: &Rules) -> Actions {
        let relay = &mut self.relays[BackendToClient as usize];
        if relay.loses_source(event) || relay.finishes(event) {
            relay.close_source();
            return self.move_if_parted().into_iter().collect();
        }
        self.go_on(BackendToClient, event, now, rules)
    }

    /// Whether nothing can come from the old backend any more, and nothing is in flight to it.
    pub(super) fn has_parted(&self) -> bool {
        self.relay(BackendToClient).is_unopened()
            && self.relay(ClientToBackend).in_flight_at_destination().is_none()
    }

    fn move_if_parted(&self) -> Option<Action> {
        let moves = matches!(self.state, State::Moving { .. }) && self.has_parted();
        moves.then_some(Action::Move)
    }

    /// Asks for the end of what is in flight on the old backend's socket, and again after a while.
    fn part(&self, now: Moment, rules: &Rules) -> Actions {
        let to_backend = self.relay(ClientToBackend).in_flight_at_destination();
        let to_client = self.relay(BackendToClient).in_flight_at_source();
        let cancel = |direction, in_flight: Option<InFlight>| {
            in_flight.map(|what| Action::Cancel(direction, what))
        };
        let mut actions: Actions = cancel(ClientToBackend, to_backend).into_iter().collect();
        actions.extend(cancel(BackendToClient, to_client));
        let again = now + CANCEL_AGAIN_AFTER;
        let deadline = self.deadline(rules).unwrap_or(again);
        actions.push(Action::ArmTimer(again.min(deadline)));
        actions
    }

    /// The client has not taken for long what the old backend had said, or a cancel got lost.
    pub(super) fn on_timer_moving(&mut self, now: Moment, rules: &Rules) -> Actions {
        match self.deadline(rules) {
            Some(deadline) if deadline <= now => self.close(EndReason::BackendGone, true, now),
            _ => self.part(now, rules),
        }
    }
}

/// A client whose backends end one after the other is not to be kept for ever.
const MOST_MOVES: u8 = 8;
