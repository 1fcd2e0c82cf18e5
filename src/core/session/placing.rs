//! From the accepted client to the connected backend: greeting, waiting, connecting, and turning
//! away.

use crate::core::Direction;
use crate::core::balance::Tried;
use crate::core::moment::Moment;
use crate::core::relay::{self, Step};

use super::deadlines::{CONNECT_AGAIN_AFTER, LINGER};
use super::words::{Action, Actions, EndReason, Greeting, Next, Rules, Unavailable, WaitFor};
use super::{POLL_CLIENT, RELAYING, Session, State, actions, uncaused};

/// Until when the client may wait, for each thing that it ever had to wait for. The first time counts:
/// going back and forth is no way to wait for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waits {
    backend_until: Moment,
    room_until: Moment,
}

impl Default for Waits {
    /// It has not waited yet. Every session has a copy, so that is not another value than "for ever".
    fn default() -> Self {
        Self { backend_until: Moment::NEVER, room_until: Moment::NEVER }
    }
}

impl Waits {
    fn until(&mut self, what: WaitFor, now: Moment, rules: &Rules) -> Moment {
        let (until, limit) = match what {
            WaitFor::Backend => (&mut self.backend_until, rules.deadlines.wait),
            WaitFor::Room => (&mut self.room_until, rules.deadlines.queue),
        };
        if *until == Moment::NEVER {
            *until = now + limit;
        }
        *until
    }
}

impl Session {
    pub(super) fn on_placed(&mut self, next: Next, now: Moment, rules: &Rules) -> Actions {
        match self.state {
            State::Greeting { .. } if !self.polling => {
                self.go(next, Tried::NOBODY, Waits::default(), now, rules)
            }
            State::Moving { tried, .. } if self.has_parted() => {
                self.go(next, tried, Waits::default(), now, rules)
            }
            State::Waiting { waits, .. } => self.go(next, Tried::NOBODY, waits, now, rules),
            _ => actions([Action::CountUnexpected]),
        }
    }

    pub(super) fn on_greeted(&mut self, greeting: Greeting, now: Moment) -> Actions {
        match (self.state, greeting) {
            _ if self.polling => actions([Action::CountUnexpected]),
            (State::Greeting { .. }, Greeting::Part) => self.poll_client(),
            (State::Greeting { .. }, Greeting::Whole) => actions([Action::Place]),
            (State::Greeting { .. }, Greeting::Bad) => {
                self.close(EndReason::BadGreeting, true, now)
            }
            _ => actions([Action::CountUnexpected]),
        }
    }

    pub(super) fn on_discarded(&mut self, more: bool, now: Moment) -> Actions {
        match (self.state, more) {
            _ if self.polling => actions([Action::CountUnexpected]),
            (State::TurnedAway { .. }, true) => self.poll_client(),
            (State::TurnedAway { reason, .. }, false) => self.close(reason, false, now),
            _ => actions([Action::CountUnexpected]),
        }
    }

    fn poll_client(&mut self) -> Actions {
        self.polling = true;
        actions([POLL_CLIENT])
    }

    /// From here on to a backend, into waiting, or out.
    fn go(
        &mut self,
        next: Next,
        mut tried: Tried,
        mut waits: Waits,
        now: Moment,
        rules: &Rules,
    ) -> Actions {
        match next {
            Next::Go(candidate) if tried.is_full() && !tried.contains(candidate.backend) => {
                self.turn_away(EndReason::BackendUnreachable, now, rules)
            }
            Next::Go(candidate) => {
                if !tried.contains(candidate.backend) {
                    tried.add(candidate.backend);
                }
                let deadline = now + rules.deadlines.connect;
                self.state = State::Connecting { candidate, tried, deadline, waits };
                self.connecting = true;
                actions([Action::ArmTimer(deadline), Action::Connect(candidate)])
            }
            Next::Wait(what) => {
                let until = waits.until(what, now, rules);
                if until <= now {
                    return self.turn_away(in_vain(what), now, rules);
                }
                self.state = State::Waiting { what, until, waits };
                actions([Action::ArmTimer(until)])
            }
            // Who may not come in is worth neither a word nor a place for a while.
            Next::Nowhere(EndReason::Denied) => self.close(EndReason::Denied, true, now),
            Next::Nowhere(reason) => self.turn_away(reason, now, rules),
        }
    }

    pub(super) fn turn_away(&mut self, reason: EndReason, now: Moment, rules: &Rules) -> Actions {
        // Who has had a backend before must not take a text for its answer, nor an end for all of it.
        if rules.unavailable == Unavailable::Reset || self.moves > 0 {
            return self.close(reason, true, now);
        }
        let deadline = now + LINGER;
        self.state = State::TurnedAway { reason, deadline };
        self.polling = true;
        actions([Action::TurnAway, Action::ArmTimer(deadline), POLL_CLIENT])
    }

    pub(super) fn on_connected(&mut self, now: Moment, rules: &Rules) -> Actions {
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
            Step::Send(held) => Some(Action::Send { direction, held }),
            Step::Drain(pipe) => Some(Action::Drain(direction, pipe)),
            _ => {
                let ready = direction == Direction::ClientToBackend;
                Some(Action::Recv { direction, ready })
            }
        }
    }

    pub(super) fn on_connect_failed(&mut self, next: Next, now: Moment, rules: &Rules) -> Actions {
        if !std::mem::replace(&mut self.connecting, false) {
            return actions([Action::CountUnexpected]);
        }
        match self.state {
            State::Connecting { tried, waits, .. } => self.go(next, tried, waits, now, rules),
            State::Closing { .. } => self.free_if_idle(),
            _ => unreachable!("{NO_CONNECT}"),
        }
    }

    /// No backend's fault, so none is given up; the client waits until the connect deadline.
    pub(super) fn on_connect_deferred(&mut self, now: Moment) -> Actions {
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

    pub(super) fn connect_again(&mut self, now: Moment, rules: &Rules) -> Actions {
        match self.state {
            State::Connecting { candidate, deadline, .. } if now < deadline => {
                self.connecting = true;
                actions([Action::ArmTimer(deadline), Action::Connect(candidate)])
            }
            _ => self.turn_away(EndReason::BackendUnreachable, now, rules),
        }
    }

    /// The end of a poll of the client that no relay has asked for.
    pub(super) fn on_polled(&mut self, event: relay::Event, now: Moment) -> Actions {
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
            (
                State::Waiting { .. }
                | State::Connecting { .. }
                | State::Relaying { .. }
                | State::Moving { .. },
                _,
            ) => {
                unreachable!("who is polled has been placed nowhere")
            }
        }
    }
}

pub(super) fn in_vain(what: WaitFor) -> EndReason {
    match what {
        WaitFor::Backend => EndReason::BackendUnreachable,
        WaitFor::Room => EndReason::QueueTimeout,
    }
}

const NO_CONNECT: &str = "only a connecting or a closing session has a connect in flight";
