//! When a worker may ask, and what of it counts. Times are `CLOCK_MONOTONIC` in nanoseconds.

use std::time::Duration;

/// The measured time of a run and the requests that are left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) measure_from_ns: u64,
    pub(super) until_ns: u64,
    /// Requests that may still be started while it is measured; `None` is no bound.
    left: Option<u64>,
}

/// Leave to start a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Not any more.
    Refused,
    /// It warms up.
    Unmeasured,
    /// It counts.
    Measured,
}

impl Window {
    pub(super) fn new(
        start_ns: u64,
        warm_up: Duration,
        duration: Duration,
        left: Option<u64>,
    ) -> Self {
        let measure_from_ns = start_ns.saturating_add(nanoseconds(warm_up));
        Self {
            measure_from_ns,
            until_ns: measure_from_ns.saturating_add(nanoseconds(duration)),
            left,
        }
    }

    /// Asks for leave to start one request at `now_ns`.
    pub(super) fn leave(&mut self, now_ns: u64) -> Leave {
        if self.is_over(now_ns) {
            return Leave::Refused;
        }
        if now_ns < self.measure_from_ns {
            return Leave::Unmeasured;
        }
        self.left = self.left.map(|left| left - 1);
        Leave::Measured
    }

    /// Whether nothing may be started any more.
    pub(super) fn is_over(&self, now_ns: u64) -> bool {
        now_ns >= self.until_ns || self.left == Some(0)
    }

    /// Whether the number of requests, and not the time, has ended it.
    pub(super) fn is_used_up(&self) -> bool {
        self.left == Some(0)
    }
}

/// A duration as the histograms count it; 584 years are enough.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(left: Option<u64>) -> Window {
        Window::new(100, Duration::from_nanos(10), Duration::from_nanos(50), left)
    }

    #[test]
    fn warming_up_costs_no_requests_and_time_ends_it() {
        let mut window = window(Some(1));
        for (now_ns, leave) in [
            (100, Leave::Unmeasured),
            (109, Leave::Unmeasured),
            (110, Leave::Measured),
            (111, Leave::Refused),
        ] {
            assert_eq!(window.leave(now_ns), leave, "at {now_ns}");
        }
        assert!(window.is_used_up());
    }

    #[test]
    fn without_a_number_only_time_ends_it() {
        let mut window = window(None);
        assert_eq!(window.leave(159), Leave::Measured);
        assert_eq!(window.leave(160), Leave::Refused);
        assert!(!window.is_used_up());
    }
}
