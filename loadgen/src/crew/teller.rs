//! Tells whoever started a run how it goes, from the thread that started it.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use super::{Meeting, Window, nanoseconds, per_second, seconds};
use crate::report::{Distribution, Interval, Phase, Progress, Totals};

/// Calls back a few times a second, at each change of phase, and when an interval has ended.
pub(crate) struct Teller<'a> {
    tell: &'a mut dyn FnMut(&Progress<'_>),
    every_ns: u64,
    interval_ns: u64,
    wanted: u64,
    intended: u64,
    window: Option<Window>,
    phase: Phase,
    phase_began_ns: u64,
    phase_ends_ns: Option<u64>,
    next_ns: u64,
    /// Where the present interval begins, and what there was then.
    interval_from_ns: u64,
    before: Totals,
    totals: Totals,
    response: Distribution,
    backends: BTreeMap<String, u64>,
}

impl<'a> Teller<'a> {
    pub(crate) fn new(
        tell: &'a mut dyn FnMut(&Progress<'_>),
        every: Duration,
        interval: Duration,
        wanted: u64,
    ) -> Self {
        let now_ns = uring::monotonic_ns();
        Self {
            tell,
            every_ns: nanoseconds(every.max(EVERY_MIN)),
            interval_ns: nanoseconds(interval),
            wanted,
            intended: 0,
            window: None,
            phase: Phase::Connecting,
            phase_began_ns: now_ns,
            phase_ends_ns: None,
            next_ns: now_ns,
            interval_from_ns: 0,
            before: Totals::default(),
            totals: Totals::default(),
            response: Distribution::default(),
            backends: BTreeMap::new(),
        }
    }

    /// The load begins, as this window says.
    pub(crate) fn begin(&mut self, window: Window, intended: u64) {
        (self.window, self.intended) = (Some(window), intended);
        self.interval_from_ns = window.measure_from_ns;
    }

    /// Sleeps until somebody has news or something is due, and tells it.
    pub(crate) fn rest(&mut self, meeting: &Meeting<'_>) {
        let now_ns = uring::monotonic_ns();
        let change_ns = match self.window {
            Some(window) if now_ns < window.start_ns => window.start_ns,
            Some(window) => window.phase(now_ns).2,
            None => u64::MAX,
        };
        let due_ns = self.next_ns.min(change_ns);
        // Not longer, because a stop comes without a word.
        let nap_ns = due_ns.saturating_sub(now_ns).min(NAP_NS);
        std::thread::park_timeout(Duration::from_nanos(nap_ns));
        self.look(meeting);
    }

    /// It is over.
    pub(crate) fn done(&mut self, meeting: &Meeting<'_>, elapsed_s: f64) {
        for phase in [Phase::Draining, Phase::Done] {
            if self.phase < phase {
                self.change(phase, uring::monotonic_ns(), None);
                self.totals.elapsed_s = elapsed_s;
                self.say(meeting, None);
            }
        }
    }

    fn look(&mut self, meeting: &Meeting<'_>) {
        let now_ns = uring::monotonic_ns();
        let (phase, began_ns, ends_ns) = match self.window {
            Some(window) if now_ns >= window.start_ns => window.phase(now_ns),
            _ => (Phase::Connecting, self.phase_began_ns, u64::MAX),
        };
        let changed = phase != self.phase;
        if changed {
            self.change(phase, began_ns, Some(ends_ns).filter(|&ends_ns| ends_ns != u64::MAX));
        }
        let interval = self.take_interval(meeting, now_ns);
        if changed || interval.is_some() || now_ns >= self.next_ns {
            self.next_ns = now_ns + self.every_ns;
            self.say(meeting, interval.as_ref());
        }
    }

    fn change(&mut self, phase: Phase, began_ns: u64, ends_ns: Option<u64>) {
        (self.phase, self.phase_began_ns, self.phase_ends_ns) = (phase, began_ns, ends_ns);
    }

    fn take_interval(&mut self, meeting: &Meeting<'_>, now_ns: u64) -> Option<Interval> {
        let window = self.window?;
        let to_ns = (self.interval_from_ns + self.interval_ns).min(window.until_ns);
        if self.interval_from_ns >= window.until_ns || now_ns < to_ns {
            return None;
        }
        self.count(meeting);
        let interval = Interval {
            start_s: seconds(self.interval_from_ns - window.measure_from_ns),
            length_s: seconds(to_ns - self.interval_from_ns),
            ok: self.totals.ok - self.before.ok,
            errors: self.totals.errors - self.before.errors,
            bytes_in: self.totals.bytes_in - self.before.bytes_in,
            bytes_out: self.totals.bytes_out - self.before.bytes_out,
            ..Interval::default()
        };
        self.interval_from_ns = to_ns;
        self.before = self.totals.clone();
        self.response = Distribution::default();
        for counts in meeting.counts() {
            self.response.add(&counts.response.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Some(interval)
    }

    fn count(&mut self, meeting: &Meeting<'_>) {
        let totals = &mut self.totals;
        totals.intended = self.intended;
        totals.ok = meeting.sum(|counts| &counts.ok);
        totals.errors = meeting.sum(|counts| &counts.errors);
        totals.bytes_in = meeting.sum(|counts| &counts.bytes_in);
        totals.bytes_out = meeting.sum(|counts| &counts.bytes_out);
        totals.connects = meeting.sum(|counts| &counts.connected);
        totals.stopped = meeting.is_stopped();
    }

    fn say(&mut self, meeting: &Meeting<'_>, interval: Option<&Interval>) {
        self.count(meeting);
        let now_ns = uring::monotonic_ns();
        let elapsed_s = seconds(now_ns.saturating_sub(self.phase_began_ns));
        if self.phase == Phase::Measuring {
            self.totals.elapsed_s = elapsed_s;
        }
        self.totals.goodput_per_s = per_second(self.totals.ok, self.totals.elapsed_s);
        let expected = self.phase_ends_ns.map(|ends_ns| ends_ns - self.phase_began_ns);
        (self.tell)(&Progress {
            phase: self.phase,
            elapsed_s,
            expected_s: expected.map(seconds),
            connected: self.totals.connects,
            wanted: self.wanted,
            so_far: &self.totals,
            response: &self.response,
            backends: &self.backends,
            interval,
        });
    }
}

impl std::fmt::Debug for Teller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Teller").field("phase", &self.phase).finish_non_exhaustive()
    }
}

/// Telling how it goes must not become the work.
const EVERY_MIN: Duration = Duration::from_millis(10);
const NAP_NS: u64 = 50_000_000;
