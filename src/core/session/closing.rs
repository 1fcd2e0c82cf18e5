//! The end: nothing new is started, what is in flight is waited for, the slot is freed.

use crate::core::Direction;
use crate::core::moment::Moment;
use crate::core::relay::{self, InFlight, Relay};

use super::deadlines::CANCEL_AGAIN_AFTER;
use super::words::{Action, Actions, EndReason};
use super::{Session, State, actions, give_back, uncaused};

impl Session {
    /// Somebody wants the session to end now. A client that was turned away has been told all that
    /// there was to say, and why it ends is known.
    pub(super) fn on_cut(&mut self, reason: EndReason, now: Moment) -> Actions {
        match self.state {
            State::TurnedAway { reason, .. } => self.close(reason, false, now),
            _ => self.close(reason, true, now),
        }
    }

    /// Starts nothing more, asks for the end of what is in flight, frees if that is nothing.
    pub(super) fn close(&mut self, reason: EndReason, reset: bool, now: Moment) -> Actions {
        if matches!(self.state, State::Closing { .. }) {
            return Actions::new();
        }
        self.state = State::Closing { backend: self.backend(), reason, reset };
        let kept = self.relays.iter_mut().filter_map(Relay::stop);
        let mut actions: Actions = kept.map(give_back).collect();
        let freed = self.free_if_idle();
        actions.extend(if freed.is_empty() { self.cancel_in_flight(now) } else { freed });
        actions
    }

    /// Asks for the end of everything in flight, and again after a while: a cancel that meets an
    /// operation just as it is tried again finds nothing to cancel, and the operation may then wait
    /// once more.
    pub(super) fn cancel_in_flight(&self, now: Moment) -> Actions {
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
    pub(super) fn wind_up(&mut self, direction: Direction, event: relay::Event) -> Actions {
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

    pub(super) fn free_if_idle(&self) -> Actions {
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
