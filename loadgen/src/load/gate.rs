//! Where the workers of a run meet: all connect, then all begin at one time; and what they tell
//! while they run.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::Progress;
use super::window::nanoseconds;

/// Shared by the workers and the thread that started them.
#[derive(Debug)]
pub(super) struct Gate<'a> {
    stop: &'a AtomicBool,
    arrived: AtomicUsize,
    finished: AtomicUsize,
    /// When the load begins; 0 until the gate is open.
    start_ns: AtomicU64,
    counts: Vec<Counts>,
    coordinator: Thread,
    progress_every: Duration,
    started: Instant,
}

/// What one worker has done so far; on cache lines of its own, since it is written every turn.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    connected: AtomicU64,
    requests: AtomicU64,
    errors: AtomicU64,
}

/// One worker's way through the gate. Dropping it counts as arriving, so that a worker that fails
/// early keeps nobody waiting.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    gate: &'a Gate<'a>,
    index: usize,
    arrived: bool,
}

impl<'a> Gate<'a> {
    pub(super) fn new(workers: usize, progress_every: Duration, stop: &'a AtomicBool) -> Self {
        Self {
            stop,
            arrived: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            start_ns: AtomicU64::new(0),
            counts: (0..workers).map(|_| Counts::default()).collect(),
            coordinator: std::thread::current(),
            progress_every: progress_every.max(PROGRESS_MIN),
            started: Instant::now(),
        }
    }

    pub(super) fn arrival(&'a self, index: usize) -> Arrival<'a> {
        Arrival { gate: self, index, arrived: false }
    }

    /// Waits until every worker is connected, or has given up.
    pub(super) fn wait_for_arrivals(&self, progress: &mut impl FnMut(&Progress)) {
        self.wait_until_all(&self.arrived, progress);
    }

    /// Waits until every worker is done.
    pub(super) fn wait_for_ends(&self, progress: &mut impl FnMut(&Progress)) {
        self.wait_until_all(&self.finished, progress);
    }

    fn wait_until_all(&self, count: &AtomicUsize, progress: &mut impl FnMut(&Progress)) {
        while count.load(Ordering::Acquire) < self.counts.len() {
            self.rest(progress);
        }
    }

    /// Lets the load begin, a moment from now so that every worker sees it in time.
    pub(super) fn open(&self) {
        let start_ns = uring::monotonic_ns() + START_DELAY_NS;
        self.start_ns.store(start_ns, Ordering::Release);
    }

    /// Sleeps until a worker has news or a period is over, which is when `progress` is told.
    fn rest(&self, progress: &mut impl FnMut(&Progress)) {
        let every_ns = nanoseconds(self.progress_every);
        let into_period_ns = nanoseconds(self.started.elapsed()) % every_ns;
        let to_next = Duration::from_nanos(every_ns - into_period_ns);
        let woken = Instant::now() + to_next;
        std::thread::park_timeout(to_next);
        if Instant::now() >= woken {
            progress(&self.progress());
        }
    }

    fn progress(&self) -> Progress {
        let start_ns = self.start_ns.load(Ordering::Acquire);
        let elapsed_ns = uring::monotonic_ns().saturating_sub(start_ns);
        let elapsed_ns = if start_ns == 0 { 0 } else { elapsed_ns };
        let sum = |count: fn(&Counts) -> &AtomicU64| {
            self.counts.iter().map(|counts| count(counts).load(Ordering::Relaxed)).sum()
        };
        Progress {
            elapsed: Duration::from_nanos(elapsed_ns),
            connected: sum(|counts| &counts.connected),
            requests: sum(|counts| &counts.requests),
            errors: sum(|counts| &counts.errors),
        }
    }
}

impl Arrival<'_> {
    /// This worker is ready to begin.
    pub(super) fn arrive(&mut self) {
        if !std::mem::replace(&mut self.arrived, true) {
            self.gate.arrived.fetch_add(1, Ordering::Release);
            self.gate.coordinator.unpark();
        }
    }

    /// When the load begins, once that is known.
    pub(super) fn start_ns(&self) -> Option<u64> {
        Some(self.gate.start_ns.load(Ordering::Acquire)).filter(|&start_ns| start_ns != 0)
    }

    /// Whether the run shall end now.
    pub(super) fn stopped(&self) -> bool {
        self.gate.stop.load(Ordering::Relaxed)
    }

    /// Tells how far this worker is.
    pub(super) fn tell(&self, connected: u64, requests: u64, errors: u64) {
        let counts = &self.gate.counts[self.index];
        counts.connected.store(connected, Ordering::Relaxed);
        counts.requests.store(requests, Ordering::Relaxed);
        counts.errors.store(errors, Ordering::Relaxed);
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.arrive();
        self.gate.finished.fetch_add(1, Ordering::Release);
        self.gate.coordinator.unpark();
    }
}

/// Workers that wait look at the gate every millisecond.
const START_DELAY_NS: u64 = 3_000_000;
/// Telling how it goes must not become the work.
const PROGRESS_MIN: Duration = Duration::from_millis(10);
