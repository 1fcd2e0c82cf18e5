//! When the requests of an open loop are due, and which connections rest until then.
//!
//! Request number n is due n periods after the load began, whatever became of the others: a target
//! that is slow meets as many requests as one that is fast, and its answers count from when they
//! should have been asked for.

use std::collections::VecDeque;

/// One worker's part of an open loop.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    start_ns: u64,
    period_ns: f64,
    /// Requests that have been started.
    started: u64,
    resting: VecDeque<u32>,
}

impl Pace {
    /// `per_s` requests a second from `start_ns` on.
    pub(super) fn new(start_ns: u64, per_s: f64) -> Self {
        Self { start_ns, period_ns: 1e9 / per_s, started: 0, resting: VecDeque::new() }
    }

    /// Takes the next request, if it is due: the moment at which it should be sent. If it is not,
    /// `slot` rests until one is.
    pub(super) fn take(&mut self, slot: u32, now_ns: u64) -> Option<u64> {
        let due_ns = self.next_ns(0);
        if due_ns > now_ns {
            self.resting.push_back(slot);
            return None;
        }
        self.started += 1;
        Some(due_ns)
    }

    /// As many resting slots as requests are due, those first that have rested longest.
    pub(super) fn wake(&mut self, now_ns: u64) -> impl Iterator<Item = u32> + '_ {
        let due = (0..).take_while(|&ahead| self.next_ns(ahead) <= now_ns).take(self.resting.len());
        let due = due.count();
        self.resting.drain(..due)
    }

    /// When there is something to do: a request is due and a slot rests.
    pub(super) fn wake_at_ns(&self) -> Option<u64> {
        (!self.resting.is_empty()).then(|| self.next_ns(0))
    }

    /// When the request is due that comes `ahead` after the next one.
    #[expect(clippy::cast_possible_truncation, reason = "nanoseconds of a run fit")]
    #[expect(clippy::cast_sign_loss, reason = "neither count nor period is below zero")]
    #[expect(clippy::cast_precision_loss, reason = "a run has fewer than 2^52 requests")]
    fn next_ns(&self, ahead: u64) -> u64 {
        self.start_ns + ((self.started + ahead) as f64 * self.period_ns) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One request a microsecond from 5 µs on; slots 1, 2 and 3 rest.
    fn pace() -> Pace {
        let mut pace = Pace::new(5000, 1e6);
        (1..=3).for_each(|slot| assert_eq!(pace.take(slot, 4999), None));
        pace
    }

    #[test]
    fn requests_are_due_when_the_schedule_says_however_late_it_is() {
        let mut pace = Pace::new(5000, 1e6);
        assert_eq!(pace.take(1, 5000), Some(5000));
        assert_eq!(pace.take(1, 9500), Some(6000));
        assert_eq!(pace.take(1, 9500), Some(7000));
    }

    #[test]
    fn as_many_slots_wake_as_requests_are_due() {
        let mut pace = pace();
        assert_eq!(pace.wake_at_ns(), Some(5000));
        assert_eq!(pace.wake(4999).count(), 0);
        assert_eq!(pace.wake(6000).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((pace.take(1, 6000), pace.take(2, 6000)), (Some(5000), Some(6000)));
        assert_eq!(pace.wake(6999).count(), 0);
        assert_eq!(pace.wake(1_000_000).collect::<Vec<_>>(), [3]);
        assert_eq!(pace.wake_at_ns(), None);
    }
}
