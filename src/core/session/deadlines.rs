//! How long a session may stay in each state, and what follows.

use std::time::Duration;

use crate::core::moment::Moment;
use crate::core::relay::Relay;

use super::placing::in_vain;
use super::words::{Action, Actions, Deadlines, EndReason, Rules};
use super::{Session, State, actions};

impl Session {
    pub(super) fn on_timer(&mut self, now: Moment, rules: &Rules) -> Actions {
        match self.state {
            State::Connecting { .. } if !self.connecting => self.connect_again(now, rules),
            State::Moving { .. } => self.on_timer_moving(now, rules),
            // Deadlines move later at every byte; the timer is moved only here.
            _ if self.deadline(rules).is_some_and(|deadline| now < deadline) => {
                self.deadline(rules).map(Action::ArmTimer).into_iter().collect()
            }
            State::Greeting { .. } => self.close(EndReason::BadGreeting, true, now),
            State::Waiting { what, .. } => self.turn_away(in_vain(what), now, rules),
            State::TurnedAway { reason, .. } => self.close(reason, false, now),
            // Its completion comes as `ConnectFailed`. What the client may be saying meanwhile goes on.
            State::Connecting { .. } => {
                actions([Action::CancelConnect, Action::ArmTimer(now + CANCEL_AGAIN_AFTER)])
            }
            State::Closing { .. } => self.cancel_in_flight(now),
            State::Relaying { .. } => self.end_in_time(now),
        }
    }

    /// The deadline of a session whose sides are connected has come. It must not look clean when the
    /// answer to somebody who has finished is missing, or in the middle of bytes.
    fn end_in_time(&mut self, now: Moment) -> Actions {
        let half_closed = self.relays.iter().any(Relay::is_finished);
        let cut_short = half_closed || self.relays.iter().any(Relay::holds_bytes);
        if self.age_deadline() <= now {
            let rests = self.last_progress + PAUSE <= now;
            self.close(EndReason::MaxAge, cut_short || !rests, now)
        } else if half_closed {
            self.close(EndReason::HalfClosedTimeout, true, now)
        } else {
            self.close(EndReason::IdleTimeout, cut_short, now)
        }
    }

    /// When the session ends unless something happens before.
    pub(crate) fn deadline(&self, rules: &Rules) -> Option<Moment> {
        let Deadlines { idle, half_closed, .. } = rules.deadlines;
        match self.state {
            State::Greeting { deadline } | State::TurnedAway { deadline, .. } => Some(deadline),
            State::Waiting { until, .. } => Some(until),
            State::Connecting { deadline, .. } => Some(deadline),
            State::Relaying { .. } | State::Moving { .. } => {
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
}

/// How long a client that is turned away may take to notice. Whoever goes on sending is not worth
/// more.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// A session that is too old is ended when no byte has come for this long, which is between two
/// requests rather than within one, ...
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// ... or after this, if it never rests.
pub(super) const WAIT_FOR_PAUSE: Duration = Duration::from_secs(10);

/// Descriptors and memory come back when sessions end, here or in other programs.
pub(super) const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Cancelling takes microseconds; whoever has not answered after this is asked again.
pub(super) const CANCEL_AGAIN_AFTER: Duration = Duration::from_secs(1);
