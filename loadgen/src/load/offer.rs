//! What a worker may start, when it is due, and what of it counts. Times are `CLOCK_MONOTONIC` in
//! nanoseconds.
//!
//! A closed loop may start a request whenever a connection is free. An open loop has a schedule that
//! was fixed before it began: the warm-up has one of its own, so that the measured time begins with
//! a fresh one, and what it calls for does not depend on the target. What a warm-up has not sent at
//! its end is dropped: nothing of it counts, so it shall not take the place of what does.

use std::time::Duration;

use super::arrivals::{Rate, Schedule};
use super::plan::{Part, Plan};

/// The requests of one worker, from the moment when the load is on.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) measure_from_ns: u64,
    pub(super) until_ns: u64,
    /// Of an open loop.
    schedules: Option<Schedules>,
    /// Requests that may still be started while it is measured; `None` is no bound.
    left: Option<u64>,
    /// Measured requests that have been started.
    started: u64,
    /// The turn that found the time over has sent what it could.
    closed: bool,
}

#[derive(Clone, Debug)]
struct Schedules {
    start_ns: u64,
    /// Until the measured time begins, or its next request would be due then.
    warm_up: Option<Schedule>,
    measured: Schedule,
    /// As it was before its first request.
    untouched: Schedule,
}

/// A request that may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// When it should be sent; in a closed loop that is when it is.
    pub(super) intended_ns: Option<u64>,
    /// It counts.
    pub(super) measured: bool,
}

impl Offer {
    /// What the worker of this index does from `start_ns` on.
    pub(super) fn new(plan: &Plan, part: &Part, index: usize, start_ns: u64) -> Self {
        let measure_from_ns = start_ns.saturating_add(nanoseconds(plan.warm_up));
        let schedule = |rate, salt| {
            let seed = plan.seed.wrapping_add(salt);
            let workers = plan.workers();
            Schedule::new(plan.arrivals, rate, plan.duration, seed, index, workers)
        };
        let schedules = plan.rate.map(|rate| {
            let measured = schedule(rate, 0);
            let level = Rate::constant(rate.from_per_s);
            let warms_up = !plan.warm_up.is_zero() && rate.from_per_s > 0.0;
            Schedules {
                start_ns,
                warm_up: warms_up.then(|| schedule(level, 1)),
                untouched: measured.clone(),
                measured,
            }
        });
        let mut offer = Self {
            measure_from_ns,
            until_ns: measure_from_ns.saturating_add(nanoseconds(plan.duration)),
            schedules,
            left: part.requests,
            started: 0,
            closed: plan.rate.is_none(),
        };
        offer.end_warm_up(start_ns);
        offer
    }

    /// The next request, if it may be sent at `now_ns`. It is then taken.
    pub(super) fn take(&mut self, now_ns: u64) -> Option<Due> {
        if self.is_over(now_ns) {
            return None;
        }
        self.end_warm_up(now_ns);
        let due = match &mut self.schedules {
            None => Due { intended_ns: None, measured: now_ns >= self.measure_from_ns },
            Some(schedules) => schedules.take(self.measure_from_ns, self.until_ns, now_ns)?,
        };
        self.end_warm_up(now_ns);
        if due.measured {
            self.started += 1;
            self.left = self.left.map(|left| left - 1);
        }
        Some(due)
    }

    /// When the next request is due, where that is not up to the answers.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let schedules = self.schedules.as_ref()?;
        Some(schedules.next_ns(self.measure_from_ns).0).filter(|_| self.left != Some(0))
    }

    /// Whether nothing may be started any more.
    pub(super) fn is_over(&self, now_ns: u64) -> bool {
        (now_ns >= self.until_ns && self.closed) || self.is_used_up()
    }

    /// Whatever could be started at `now_ns` was. From the end on, this is all.
    pub(super) fn close(&mut self, now_ns: u64) {
        self.closed |= now_ns >= self.until_ns;
    }

    /// Whether the number of requests, and not the time, has ended it.
    pub(super) fn is_used_up(&self) -> bool {
        self.left == Some(0)
    }

    /// Whether it follows a schedule.
    pub(super) fn is_open_loop(&self) -> bool {
        self.schedules.is_some()
    }

    /// Ends before its time, at once.
    pub(super) fn end(&mut self, now_ns: u64) {
        self.until_ns = self.until_ns.min(now_ns);
        self.closed = true;
    }

    /// Measured requests that have been started.
    pub(super) fn started(&self) -> u64 {
        self.started
    }

    /// How many requests the measured time called for, whatever became of them: of a schedule, from
    /// its beginning again.
    pub(super) fn intended(&self, requests: Option<u64>) -> u64 {
        match &self.schedules {
            None => self.started,
            Some(schedules) => {
                let due = count(&schedules.untouched, self.measured_ns());
                requests.map_or(due, |requests| due.min(requests))
            }
        }
    }

    /// How many of these were never sent.
    pub(super) fn unsent(&self) -> u64 {
        let Some(schedules) = &self.schedules else { return 0 };
        let due = count(&schedules.measured, self.measured_ns());
        self.left.map_or(due, |left| due.min(left))
    }

    fn measured_ns(&self) -> u64 {
        self.until_ns.saturating_sub(self.measure_from_ns)
    }

    fn end_warm_up(&mut self, now_ns: u64) {
        let measure_from_ns = self.measure_from_ns;
        let Some(schedules) = &mut self.schedules else { return };
        if now_ns >= measure_from_ns || schedules.next_ns(measure_from_ns).0 >= measure_from_ns {
            schedules.warm_up = None;
        }
    }
}

impl Schedules {
    fn take(&mut self, measure_from_ns: u64, until_ns: u64, now_ns: u64) -> Option<Due> {
        let (due_ns, measured) = self.next_ns(measure_from_ns);
        if due_ns > now_ns || due_ns >= until_ns {
            return None;
        }
        match &mut self.warm_up {
            Some(warm_up) => warm_up.advance(),
            None => self.measured.advance(),
        }
        Some(Due { intended_ns: Some(due_ns), measured })
    }

    /// When the next one is due, and whether it counts.
    fn next_ns(&self, measure_from_ns: u64) -> (u64, bool) {
        match &self.warm_up {
            Some(warm_up) => (self.start_ns.saturating_add(warm_up.peek_ns()), false),
            None => (measure_from_ns.saturating_add(self.measured.peek_ns()), true),
        }
    }
}

/// How many requests of `schedule` are due before `end_ns`.
fn count(schedule: &Schedule, end_ns: u64) -> u64 {
    let mut schedule = schedule.clone();
    let mut due = 0;
    while schedule.peek_ns() < end_ns {
        schedule.advance();
        due += 1;
    }
    due
}

/// A duration as the histograms count it; 584 years are enough.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "offer_tests.rs"]
mod tests;
