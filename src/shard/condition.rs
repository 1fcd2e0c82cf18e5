//! What is known of a backend's health: atomics that the control thread and every shard may write,
//! and that picking reads. The rules are in [`crate::core::health`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use crate::config::plan::EjectionConfig;
pub use crate::core::health::Verdict;
use crate::core::health::{EjectionPolicy, Ejections};
use crate::core::moment::Moment;

use super::tally::{Tallies, count};

/// The health of one backend, as far as it is known now.
///
/// Each of the two facts is one word, so no reader meets half of a change.
#[derive(Debug)]
pub struct Condition {
    /// What active checks say: a [`Mark`].
    checks: AtomicU64,
    /// What connects say: an [`Ejections`].
    ejections: AtomicU64,
    /// How often it has changed.
    tallies: Arc<Tallies>,
}

impl Default for Condition {
    fn default() -> Self {
        Self::counted_in(Arc::new(Tallies::new(1)))
    }
}

/// How a backend stands, by its health alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing speaks against it.
    Up,
    /// Connects to it failed; it is left alone for a while.
    Ejected,
    /// Active checks say that it is down.
    Down,
}

/// What has happened to a backend's health since it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConditionTotals {
    /// Times that active checks took it down or brought it up.
    pub transitions: u64,
    /// Times that it was ejected.
    pub ejections: u64,
    /// Failed connects that would have ejected it, had enough others been left.
    pub fail_opens: u64,
}

/// What active checks say, and since when: nanoseconds with the lowest bit for "down"; 0 says that
/// it was up from the beginning.
#[derive(Clone, Copy)]
struct Mark(u64);

impl Mark {
    fn new(up: bool, now: Moment) -> Self {
        Self((now.ns() & !1).max(2) | u64::from(!up))
    }

    const fn is_up(self) -> bool {
        self.0 & 1 == 0
    }

    const fn since(self) -> Option<Moment> {
        match self.0 {
            0 => None,
            ns => Some(Moment::from_ns(ns & !1)),
        }
    }
}

impl From<&EjectionConfig> for EjectionPolicy {
    fn from(config: &EjectionConfig) -> Self {
        let EjectionConfig { after, first, longest } = *config;
        Self { after, first, longest }
    }
}

impl Condition {
    /// That of a backend which nothing is known of; what happens to it is counted there.
    #[must_use]
    pub fn counted_in(tallies: Arc<Tallies>) -> Self {
        Self { checks: AtomicU64::default(), ejections: AtomicU64::default(), tallies }
    }

    /// How it stands.
    #[must_use]
    pub fn health(&self, now: Moment) -> Health {
        if !self.mark().is_up() {
            return Health::Down;
        }
        match self.ejections().is_ejected(now) {
            true => Health::Ejected,
            false => Health::Up,
        }
    }

    /// A connect succeeded; whether that ends an ejection.
    pub fn connect_succeeded(&self, now: Moment) -> bool {
        let seen = self.ejections();
        // What nearly every connect meets: nothing is written, and the cache line stays shared.
        if seen.failures() == 0 && !seen.is_ejected(now) {
            return false;
        }
        self.clear_ejection(now)
    }

    /// Enough good answers came since it was ejected: the ejection ends, and failures count from 0.
    /// Whether there was one; if several see its end, one of them is told.
    pub fn clear_ejection(&self, now: Moment) -> bool {
        let change = |bits| Some(Ejections::from_bits(bits).on_success(now).to_bits());
        let before = self.ejections.fetch_update(Ordering::AcqRel, Ordering::Relaxed, change);
        before.is_ok_and(|bits| Ejections::from_bits(bits).is_ejected(now))
    }

    /// A connect failed. `may_eject` says whether enough others are left, is asked only when it
    /// matters, and then perhaps several times; it is about the others only, not about this one.
    ///
    /// Of several shards that fail at the same time one is told [`Verdict::Ejected`]. If shards eject
    /// several backends of a pool at the same time, and together too many, each of them takes it
    /// back: the pool rather fails open than shut.
    pub fn connect_failed(
        &self,
        now: Moment,
        policy: &EjectionConfig,
        may_eject: impl Fn() -> bool,
    ) -> Verdict {
        let policy = policy.into();
        let mut seen = self.ejections.load(Ordering::Relaxed);
        let (before, after, verdict) = loop {
            let before = Ejections::from_bits(seen);
            let (after, verdict) = before.on_failure(now, &policy, &may_eject);
            let bits = after.to_bits();
            match self.ejections.compare_exchange_weak(
                seen,
                bits,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => break (before, after, verdict),
                Err(other) => seen = other,
            }
        };
        match verdict {
            Verdict::Counted => Verdict::Counted,
            Verdict::FailOpen => self.fail_open(),
            Verdict::Ejected(_) => {
                // Of two that eject different backends, at least one sees the other's here.
                fence(Ordering::SeqCst);
                if !may_eject() && self.take_back(before, after) {
                    return self.fail_open();
                }
                count(&self.tallies.ejections);
                verdict
            }
        }
    }

    /// What active checks say now; whether that is a change.
    pub fn set_up(&self, up: bool, now: Moment) -> bool {
        let mark = Mark::new(up, now).0;
        let change = |bits| (Mark(bits).is_up() != up).then_some(mark);
        let changed = self.checks.fetch_update(Ordering::AcqRel, Ordering::Relaxed, change).is_ok();
        if changed {
            count(&self.tallies.transitions);
        }
        changed
    }

    /// The part of its weight that it gets now, in 256ths: less than all of it, but never nothing,
    /// for `slow_start` after it was down or ejected. One that is up from the beginning is warm.
    #[must_use]
    pub fn warmth(&self, now: Moment, slow_start: Duration) -> u32 {
        let risen = self.mark().since().unwrap_or_default().max(self.ejections().until());
        let up_for = now.since(risen);
        if risen == Moment::default() || up_for >= slow_start {
            return WARM;
        }
        let part = u128::from(WARM) * up_for.as_nanos() / slow_start.as_nanos();
        u32::try_from(part).map_or(WARM, |part| part.max(1))
    }

    /// Since when active checks say that it is down; `None` if they do not.
    #[must_use]
    pub fn down_since(&self) -> Option<Moment> {
        let mark = self.mark();
        mark.since().filter(|_| !mark.is_up())
    }

    /// Since when active checks say that it is up again; `None` if it is down, or never was.
    #[must_use]
    pub fn up_since(&self) -> Option<Moment> {
        let mark = self.mark();
        mark.since().filter(|_| mark.is_up())
    }

    /// What active checks say; true without them.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.mark().is_up()
    }

    /// Until when it is ejected; `None` if it is not. Names an ejection while it lasts.
    #[must_use]
    pub fn ejected_until(&self, now: Moment) -> Option<Moment> {
        let ejections = self.ejections();
        ejections.is_ejected(now).then(|| ejections.until())
    }

    /// Whether so many connects failed that it should be ejected, and it is not.
    #[must_use]
    pub fn should_be_ejected(&self, now: Moment, policy: &EjectionConfig) -> bool {
        let ejections = self.ejections();
        let enough = u16::try_from(policy.after.get()).unwrap_or(u16::MAX);
        self.is_up() && !ejections.is_ejected(now) && ejections.failures() >= enough
    }

    /// For metrics.
    #[must_use]
    pub fn totals(&self) -> ConditionTotals {
        ConditionTotals {
            transitions: self.tallies.transitions.load(Ordering::Relaxed),
            ejections: self.tallies.ejections.load(Ordering::Relaxed),
            fail_opens: self.tallies.fail_opens.load(Ordering::Relaxed),
        }
    }

    /// Makes an ejection undone that should not have been; not if it has ended already.
    fn take_back(&self, before: Ejections, after: Ejections) -> bool {
        let (before, after) = (before.to_bits(), after.to_bits());
        let exchange =
            self.ejections.compare_exchange(after, before, Ordering::AcqRel, Ordering::Relaxed);
        exchange.is_ok()
    }

    fn fail_open(&self) -> Verdict {
        count(&self.tallies.fail_opens);
        Verdict::FailOpen
    }

    fn mark(&self) -> Mark {
        Mark(self.checks.load(Ordering::Relaxed))
    }

    fn ejections(&self) -> Ejections {
        Ejections::from_bits(self.ejections.load(Ordering::Relaxed))
    }
}

/// All of the weight, in 256ths.
const WARM: u32 = 256;

#[cfg(test)]
mod tests;
