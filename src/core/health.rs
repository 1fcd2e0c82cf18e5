//! Health: what answers to checks and failed connects make of a backend.
//!
//! [`Checks`] is the rise and fall of one backend by active checks. [`Ejections`] is the passive
//! side: connects that fail in a row. [`Recovery`] is where the two meet: good answers end an
//! ejection early. All of them are values; who asks, and when, is elsewhere.

use std::num::NonZeroU32;
use std::time::Duration;

use super::moment::Moment;

/// What became of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// As expected, and in time.
    Good,
    /// Anything else.
    Bad,
}

/// What an answer led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is up from now on.
    Up,
    /// It is down from now on.
    Down,
}

/// How many answers in a row it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Good ones, to come up.
    pub rise: NonZeroU32,
    /// Bad ones, to go down.
    pub fall: NonZeroU32,
}

/// How often a backend is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// While the answers agree with the state.
    pub interval: Duration,
    /// While they do not.
    pub fast_interval: Duration,
    /// Each is up to this fraction longer or shorter; 0 to 1.
    pub jitter: f64,
}

/// The rise and fall of one backend.
///
/// It starts up. If the very first answer is bad it is down at once, as with HAProxy: a backend
/// which is dead from the beginning is not offered for `fall` intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    up: bool,
    /// Whether an answer has come yet.
    asked: bool,
    /// Answers in a row that do not agree with the state.
    against: u32,
}

impl Default for Checks {
    fn default() -> Self {
        Self { up: true, asked: false, against: 0 }
    }
}

impl Checks {
    /// Those of a backend whose state is known from earlier answers.
    #[must_use]
    pub const fn resumed(up: bool) -> Self {
        Self { up, asked: true, against: 0 }
    }

    /// The state.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.up
    }

    /// Answers in a row, up to now, that do not agree with the state.
    #[must_use]
    pub const fn against(&self) -> u32 {
        self.against
    }

    /// An answer has come; whether the state changes.
    pub fn on(&mut self, answer: Answer, thresholds: Thresholds) -> Option<Change> {
        let first = !std::mem::replace(&mut self.asked, true);
        if self.up == (answer == Answer::Good) {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let needed = if self.up { thresholds.fall } else { thresholds.rise };
        if self.against < needed.get() && !first {
            return None;
        }
        *self = Self::resumed(!self.up);
        Some(if self.up { Change::Up } else { Change::Down })
    }

    /// How long until it is asked again.
    #[must_use]
    pub fn delay(&self, pace: Pace, rng: &mut fastrand::Rng) -> Duration {
        let base = if self.against == 0 { pace.interval } else { pace.fast_interval };
        let factor = 1.0 + pace.jitter.clamp(0.0, 1.0) * (2.0 * rng.f64() - 1.0);
        Duration::try_from_secs_f64(base.as_secs_f64() * factor).unwrap_or(base)
    }
}

/// When failed connects eject a backend, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectionPolicy {
    /// Failures in a row that do.
    pub after: NonZeroU32,
    /// For how long, the first time.
    pub first: Duration,
    /// It doubles each time, up to this.
    pub longest: Duration,
}

impl EjectionPolicy {
    /// How long the ejection is that is number `in_a_row`; nothing for number 0.
    #[must_use]
    pub fn time(&self, in_a_row: u8) -> Duration {
        let Some(doublings) = in_a_row.checked_sub(1) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings.into()).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest.max(self.first))
    }

    /// Failures that are enough, as far as they are counted.
    fn enough(&self) -> u16 {
        u16::try_from(self.after.get()).unwrap_or(u16::MAX)
    }
}

/// What a failed connect led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Counted,
    /// It is ejected from now on, for so long.
    Ejected(Duration),
    /// It would be, but too few others are left: the pool fails open.
    FailOpen,
}

/// Whether one more backend of a pool may be ejected: not if fewer than half of the pool, rounded
/// up, would be left that are up and not ejected. `others` are those that are, without it.
#[must_use]
pub const fn enough_left(others: usize, pool: usize) -> bool {
    others >= pool.div_ceil(2)
}

/// Failed connects of one backend, and what they led to.
///
/// Failures go on being counted over an ejection, so the first connect after it decides: it succeeds
/// and the count is 0 again, or it fails and the next ejection begins, twice as long. An ejection
/// which begins later after the end of the last one than the last one was meant to be long is a first
/// one again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ejections {
    /// Failures in a row.
    failures: u16,
    /// Ejections, one soon after the other.
    in_a_row: u8,
    /// Milliseconds since the origin at which the last one ends or ended; 0 without one.
    until_ms: u64,
}

impl Ejections {
    /// Whether it is ejected now.
    #[must_use]
    pub const fn is_ejected(self, now: Moment) -> bool {
        now.ns() < self.until().ns()
    }

    /// When the last ejection ends or ended; the origin if there was none.
    #[must_use]
    pub const fn until(self) -> Moment {
        Moment::from_ns(self.until_ms.saturating_mul(NS_A_MS))
    }

    /// Failures in a row, as far as they matter.
    #[must_use]
    pub const fn failures(self) -> u16 {
        self.failures
    }

    /// A connect failed; `may_eject` is asked only if that depends on it.
    ///
    /// While it is ejected only tries of last resort come here: they change nothing.
    #[must_use]
    pub fn on_failure(
        self,
        now: Moment,
        policy: &EjectionPolicy,
        may_eject: impl FnOnce() -> bool,
    ) -> (Self, Verdict) {
        if self.is_ejected(now) {
            return (self, Verdict::Counted);
        }
        let failures = self.failures.saturating_add(1).min(policy.enough());
        let counted = Self { failures, ..self };
        if failures < policy.enough() {
            return (counted, Verdict::Counted);
        }
        if !may_eject() {
            return (counted, Verdict::FailOpen);
        }
        let good_for = now.since(self.until());
        let forgotten = good_for >= policy.time(self.in_a_row);
        let in_a_row = if forgotten { 1 } else { self.in_a_row.saturating_add(1) };
        let time = policy.time(in_a_row);
        let until_ms = (now + time).ns().div_ceil(NS_A_MS).min(UNTIL_MS_MAX);
        (Self { failures, in_a_row, until_ms }, Verdict::Ejected(time))
    }

    /// It was reached, or checks say that it can be: an ejection ends, and failures count from 0.
    #[must_use]
    pub const fn on_success(self, now: Moment) -> Self {
        let until_ms = if self.is_ejected(now) { now.ns() / NS_A_MS } else { self.until_ms };
        Self { failures: 0, until_ms, ..self }
    }

    /// All of it in one word, so that it can be changed as one.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.until_ms << 24) | ((self.in_a_row as u64) << 16) | self.failures as u64
    }

    /// What [`to_bits`](Self::to_bits) made.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the fields are cut out of the word")]
    pub const fn from_bits(bits: u64) -> Self {
        Self { failures: bits as u16, in_a_row: (bits >> 16) as u8, until_ms: bits >> 24 }
    }
}

/// Good answers that end an ejection early: `rise` in a row to checks that were begun after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The ejection that the answers are about, named by when it ends.
    ejection: Option<Moment>,
    good: u32,
}

impl Recovery {
    /// A check is over. `began` and `ended` name the ejection, by when it ends, that there was at its
    /// beginning and at its end. Whether the ejection is over.
    pub fn on(
        &mut self,
        answer: Answer,
        [began, ended]: [Option<Moment>; 2],
        thresholds: Thresholds,
    ) -> bool {
        if ended.is_none() || began != ended || answer == Answer::Bad {
            *self = Self::default();
            return false;
        }
        let good = if self.ejection == ended { self.good + 1 } else { 1 };
        *self = Self { ejection: ended, good };
        let over = good >= thresholds.rise.get();
        if over {
            *self = Self::default();
        }
        over
    }
}

const NS_A_MS: u64 = 1_000_000;

/// 40 bits: 34 years after the origin, which is the start of the machine.
const UNTIL_MS_MAX: u64 = (1 << 40) - 1;

#[cfg(test)]
mod tests;
