//! Where the workers of a run meet: all connect, then all begin at one time; and what they tell
//! while they run.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::Thread;

use crate::report::Distribution;

/// Shared by the workers and the thread that started them.
#[derive(Debug)]
pub(crate) struct Meeting<'a> {
    stop: &'a AtomicBool,
    /// Nothing is left to be done.
    over: AtomicBool,
    expected: usize,
    arrived: AtomicUsize,
    finished: AtomicUsize,
    /// When all had arrived, and when the load begins; 0 before it is known.
    met_ns: AtomicU64,
    start_ns: AtomicU64,
    workers: Vec<Counts>,
    coordinator: Thread,
}

/// What one worker has done so far; on cache lines of its own, since it is written every turn.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counts {
    pub(crate) connected: AtomicU64,
    pub(crate) ok: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    /// As old as the worker likes.
    pub(crate) response: Mutex<Distribution>,
}

/// One thread's way through the meeting. Dropping it counts as arriving, so that a worker that
/// fails early keeps nobody waiting.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    meeting: &'a Meeting<'a>,
    /// None for a guest, on whose end nobody waits.
    worker: Option<usize>,
    arrived: bool,
}

impl<'a> Meeting<'a> {
    /// Of so many workers, and of guests who begin with them and go when they go.
    pub(crate) fn new(workers: usize, guests: usize, stop: &'a AtomicBool) -> Self {
        Self {
            stop,
            over: AtomicBool::new(false),
            expected: workers + guests,
            arrived: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            met_ns: AtomicU64::new(0),
            start_ns: AtomicU64::new(0),
            workers: (0..workers).map(|_| Counts::default()).collect(),
            coordinator: std::thread::current(),
        }
    }

    pub(crate) fn worker(&'a self, index: usize) -> Pass<'a> {
        Pass { meeting: self, worker: Some(index), arrived: false }
    }

    pub(crate) fn guest(&'a self) -> Pass<'a> {
        Pass { meeting: self, worker: None, arrived: false }
    }

    /// What the workers have done.
    pub(crate) fn counts(&self) -> &[Counts] {
        &self.workers
    }

    pub(crate) fn sum(&self, count: fn(&Counts) -> &AtomicU64) -> u64 {
        self.workers.iter().map(|counts| count(counts).load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn all_arrived(&self) -> bool {
        self.arrived.load(Ordering::Acquire) >= self.expected
    }

    pub(crate) fn all_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire) >= self.workers.len()
    }

    /// All are connected, and nothing else happens before the start.
    pub(crate) fn note_met(&self) {
        self.met_ns.store(uring::monotonic_ns(), Ordering::Release);
    }

    /// Lets the load begin, a moment from now so that every worker sees it in time; when.
    pub(crate) fn open(&self) -> u64 {
        let start_ns = uring::monotonic_ns() + START_DELAY_NS;
        self.start_ns.store(start_ns, Ordering::Release);
        start_ns
    }

    /// Sends everybody home.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl<'a> Pass<'a> {
    /// This thread is ready to begin.
    pub(crate) fn arrive(&mut self) {
        if !std::mem::replace(&mut self.arrived, true) {
            self.meeting.arrived.fetch_add(1, Ordering::Release);
            self.meeting.coordinator.unpark();
        }
    }

    /// When all had arrived, once they have.
    pub(crate) fn met_ns(&self) -> Option<u64> {
        Some(self.meeting.met_ns.load(Ordering::Acquire)).filter(|&met_ns| met_ns != 0)
    }

    /// When the load begins, once that is known.
    pub(crate) fn start_ns(&self) -> Option<u64> {
        Some(self.meeting.start_ns.load(Ordering::Acquire)).filter(|&start_ns| start_ns != 0)
    }

    /// Whether this thread shall end now.
    pub(crate) fn stopped(&self) -> bool {
        self.meeting.is_stopped() || self.meeting.over.load(Ordering::Acquire)
    }

    /// Where a worker tells how far it is.
    pub(crate) fn counts(&self) -> &'a Counts {
        &self.meeting.workers[self.worker.expect("only workers count")]
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.arrive();
        if self.worker.is_some() {
            self.meeting.finished.fetch_add(1, Ordering::Release);
            self.meeting.coordinator.unpark();
        }
    }
}

/// Whoever waits for the start looks for it so often.
pub(crate) const WAITING_TURN_NS: u64 = 1_000_000;
const START_DELAY_NS: u64 = 3 * WAITING_TURN_NS;
