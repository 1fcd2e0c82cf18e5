//! Where the workers of a run meet: all connect, then all begin at one time; and what they tell
//! while they run. They write it whether or not somebody looks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use super::tally::Piece;

/// Shared by the workers and the thread that started them.
#[derive(Debug)]
pub(super) struct Gate<'a> {
    stop: &'a AtomicBool,
    /// When the load begins; 0 until the gate is open.
    start_ns: AtomicU64,
    counts: Vec<Counts>,
}

/// What one worker has done so far; on cache lines of its own, since it is written every turn.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    connected: AtomicU64,
    connects: AtomicU64,
    started: AtomicU64,
    ok: AtomicU64,
    errors: AtomicU64,
}

/// The sum of what all workers told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) connected: u64,
    pub(super) connects: u64,
    pub(super) started: u64,
    pub(super) ok: u64,
    pub(super) errors: u64,
}

/// What a worker has to say rarely.
#[derive(Debug)]
pub(super) enum News {
    /// One more is ready to begin.
    Arrived,
    /// The worker of this index has finished a piece.
    Piece(usize, Box<Piece>),
    /// The worker of this index is done, and sends no more pieces.
    Finished(usize),
}

/// One worker's way through the gate. Dropping it counts as arriving and finishing, so that a
/// worker that fails early keeps nobody waiting.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    gate: &'a Gate<'a>,
    index: usize,
    arrived: bool,
    news: Sender<News>,
}

impl<'a> Gate<'a> {
    pub(super) fn new(workers: usize, stop: &'a AtomicBool) -> Self {
        Self {
            stop,
            start_ns: AtomicU64::new(0),
            counts: (0..workers).map(|_| Counts::default()).collect(),
        }
    }

    pub(super) fn arrival(&'a self, index: usize, news: Sender<News>) -> Arrival<'a> {
        Arrival { gate: self, index, arrived: false, news }
    }

    /// Lets the load begin, a moment from now so that every worker sees it in time; when that is.
    pub(super) fn open(&self) -> u64 {
        let start_ns = uring::monotonic_ns() + START_DELAY_NS;
        self.start_ns.store(start_ns, Ordering::Release);
        start_ns
    }

    /// Whether the run shall end now.
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// How far the workers are.
    pub(super) fn told(&self) -> Told {
        let sum = |count: fn(&Counts) -> &AtomicU64| {
            self.counts.iter().map(|counts| count(counts).load(Ordering::Relaxed)).sum()
        };
        Told {
            connected: sum(|counts| &counts.connected),
            connects: sum(|counts| &counts.connects),
            started: sum(|counts| &counts.started),
            ok: sum(|counts| &counts.ok),
            errors: sum(|counts| &counts.errors),
        }
    }
}

impl Arrival<'_> {
    /// This worker is ready to begin.
    pub(super) fn arrive(&mut self) {
        if !std::mem::replace(&mut self.arrived, true) {
            // Who waits for it is gone only when the run is given up.
            let _ = self.news.send(News::Arrived);
        }
    }

    /// When the load begins, once that is known.
    pub(super) fn start_ns(&self) -> Option<u64> {
        Some(self.gate.start_ns.load(Ordering::Acquire)).filter(|&start_ns| start_ns != 0)
    }

    /// Whether the run shall end now.
    pub(super) fn stopped(&self) -> bool {
        self.gate.stopped()
    }

    /// Whether any worker had a connection.
    pub(super) fn somebody_connected(&self) -> bool {
        self.gate.counts.iter().any(|counts| counts.connects.load(Ordering::Relaxed) > 0)
    }

    /// Tells how far this worker is.
    pub(super) fn tell(&self, told: Told) {
        let counts = &self.gate.counts[self.index];
        counts.connected.store(told.connected, Ordering::Relaxed);
        counts.connects.store(told.connects, Ordering::Relaxed);
        counts.started.store(told.started, Ordering::Relaxed);
        counts.ok.store(told.ok, Ordering::Relaxed);
        counts.errors.store(told.errors, Ordering::Relaxed);
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.arrive();
        let _ = self.news.send(News::Finished(self.index));
    }
}

/// Workers that wait look at the gate every millisecond.
const START_DELAY_NS: u64 = 3_000_000;
