//! What is known of a backend's health: atomics that the control thread and every shard may write,
//! and that picking reads.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::config::plan::EjectionConfig;
use crate::core::moment::Moment;

/// The health of one backend, as far as it is known now.
#[derive(Debug)]
pub struct Condition {
    /// What active checks say; true without them.
    up: AtomicBool,
    /// Monotonic nanoseconds until which it is ejected; 0 if it is not.
    ejected_until_ns: AtomicU64,
    /// Connects that failed, one after the other.
    failures: AtomicU32,
    /// Ejections, one after the other: what the time doubles with.
    ejections: AtomicU32,
    /// When it came up after having been down, in monotonic nanoseconds; 0 if it was never down.
    risen_at_ns: AtomicU64,
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

impl Default for Condition {
    fn default() -> Self {
        Self {
            up: AtomicBool::new(true),
            ejected_until_ns: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            risen_at_ns: AtomicU64::new(0),
        }
    }
}

impl Condition {
    /// How it stands.
    #[must_use]
    pub fn health(&self, now: Moment) -> Health {
        if !self.up.load(Ordering::Relaxed) {
            return Health::Down;
        }
        match now.ns() < self.ejected_until_ns.load(Ordering::Relaxed) {
            true => Health::Ejected,
            false => Health::Up,
        }
    }

    /// A connect succeeded.
    pub fn connect_succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A connect failed; `may_eject` says whether enough others are left, and is asked only when it
    /// matters.
    pub fn connect_failed(
        &self,
        now: Moment,
        policy: &EjectionConfig,
        may_eject: impl FnOnce() -> bool,
    ) -> Verdict {
        let _ = (now, policy, may_eject);
        self.failures.fetch_add(1, Ordering::Relaxed);
        Verdict::Counted
    }

    /// What active checks say now; whether that is a change.
    pub fn set_up(&self, up: bool, now: Moment) -> bool {
        let was = self.up.swap(up, Ordering::Relaxed);
        if up && !was {
            self.risen_at_ns.store(now.ns(), Ordering::Relaxed);
        }
        was != up
    }

    /// The part of its weight that it gets now, in 256ths: less than all of it while it warms up.
    #[must_use]
    pub fn warmth(&self, now: Moment, slow_start: Duration) -> u32 {
        let _ = (now, slow_start);
        256
    }
}
