//! The thread that started the workers: it opens the gate, adds up the pieces that they hand over,
//! and tells how it goes. Nothing that it does or leaves changes what the workers measure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::gate::{Gate, News};
use super::offer::nanoseconds;
use super::plan::Plan;
use super::ports::Ports;
use super::tally::Piece;
use crate::report::{Distribution, Interval, Phase, Progress, Totals};

/// Who follows a run.
pub(super) struct Coordinator<'a> {
    plan: &'a Plan,
    gate: &'a Gate<'a>,
    progress: &'a mut dyn FnMut(&Progress<'_>),
    news: Receiver<News>,
    /// Where each worker gets its pieces back.
    emptied: Vec<Sender<Box<Piece>>>,
    workers: Vec<Seen>,
    arrived: usize,
    /// Intervals that not all workers have told yet, from the one with the number of `done.intervals`.
    open: VecDeque<Interval>,
    done: Done,
    totals: Totals,
    phase: Phase,
    phase_from_ns: u64,
    measure_from_ns: u64,
    tell_at_ns: u64,
}

/// What was seen of one worker.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    pieces: usize,
    finished: bool,
}

/// What came of the pieces.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) intervals: Vec<Interval>,
    pub(super) response: Distribution,
    pub(super) backends: BTreeMap<String, u64>,
    pub(super) ports: Ports,
}

impl<'a> Coordinator<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        gate: &'a Gate<'a>,
        progress: &'a mut dyn FnMut(&Progress<'_>),
        news: Receiver<News>,
        emptied: Vec<Sender<Box<Piece>>>,
    ) -> Self {
        let now_ns = uring::monotonic_ns();
        Self {
            plan,
            gate,
            progress,
            news,
            workers: vec![Seen::default(); emptied.len()],
            emptied,
            arrived: 0,
            open: VecDeque::new(),
            done: Done { ports: Ports::new(plan), ..Done::default() },
            totals: Totals::default(),
            phase: Phase::Connecting,
            phase_from_ns: now_ns,
            measure_from_ns: u64::MAX,
            tell_at_ns: now_ns,
        }
    }

    /// Follows the run from the first connect to the end of the last worker.
    pub(super) fn follow(mut self) -> Done {
        while self.arrived < self.workers.len() {
            self.wait(u64::MAX);
        }
        let start_ns = self.gate.open();
        self.wait_for(start_ns);
        if !self.plan.warm_up.is_zero() {
            self.enter(Phase::WarmUp, start_ns);
        }
        self.measure_from_ns = start_ns.saturating_add(nanoseconds(self.plan.warm_up));
        self.wait_for(self.measure_from_ns);
        if !self.is_over() {
            self.enter(Phase::Measuring, self.measure_from_ns);
        }
        let until_ns = self.measure_from_ns.saturating_add(nanoseconds(self.plan.duration));
        self.wait_for(until_ns);
        self.enter(Phase::Draining, uring::monotonic_ns().min(until_ns));
        while !self.is_over() {
            self.wait(u64::MAX);
        }
        self.complete();
        self.enter(Phase::Done, uring::monotonic_ns());
        self.done
    }

    fn is_over(&self) -> bool {
        self.workers.iter().all(|worker| worker.finished)
    }

    /// Until then, or the end of all, or a stop.
    fn wait_for(&mut self, until_ns: u64) {
        while !self.is_over() && !self.gate.stopped() && uring::monotonic_ns() < until_ns {
            self.wait(until_ns);
        }
    }

    /// Waits for the next news, and tells when it is time to.
    fn wait(&mut self, until_ns: u64) {
        let now_ns = uring::monotonic_ns();
        if now_ns >= self.tell_at_ns {
            self.tell(None);
        }
        let wake_ns = until_ns.min(self.tell_at_ns).min(now_ns + LOOK_EVERY_NS);
        let timeout = Duration::from_nanos(wake_ns.saturating_sub(now_ns));
        match self.news.recv_timeout(timeout) {
            Ok(news) => self.on_news(news),
            Err(RecvTimeoutError::Timeout) => {}
            // All workers are gone, and have said so.
            Err(RecvTimeoutError::Disconnected) => {
                self.workers.iter_mut().for_each(|worker| worker.finished = true);
            }
        }
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::Arrived => self.arrived += 1,
            News::Finished(worker) => {
                self.workers[worker].finished = true;
                self.complete();
            }
            News::Piece(worker, piece) => self.on_piece(worker, piece),
        }
    }

    fn on_piece(&mut self, worker: usize, mut piece: Box<Piece>) {
        self.workers[worker].pieces = piece.index + 1;
        let at = piece.index - self.done.intervals.len();
        while self.open.len() <= at {
            let interval = self.interval(self.done.intervals.len() + self.open.len());
            self.open.push_back(interval);
        }
        add(&mut self.open[at], &piece);
        piece.empty();
        // A worker that is gone needs it no more.
        let _ = self.emptied[worker].send(piece);
        self.complete();
    }

    fn interval(&self, index: usize) -> Interval {
        let length = self.plan.interval();
        let start = length.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX));
        let length_s = self.plan.duration.saturating_sub(start).min(length).as_secs_f64();
        Interval { start_s: start.as_secs_f64(), length_s, ..Interval::default() }
    }

    /// Takes the intervals that every worker has told, or will not.
    fn complete(&mut self) {
        loop {
            let index = self.done.intervals.len();
            let is_told = |worker: &Seen| worker.finished || worker.pieces > index;
            if !self.workers.iter().all(is_told) {
                return;
            }
            let Some(mut interval) = self.open.pop_front() else { return };
            self.done.response.add(&interval.response);
            for (name, count) in &interval.backends {
                *self.done.backends.entry(name.clone()).or_default() += count;
            }
            self.totals.bytes_in += interval.bytes_in;
            self.totals.bytes_out += interval.bytes_out;
            self.done.ports.look();
            interval.response = interval.response.compact();
            self.done.intervals.push(interval);
            self.tell(Some(index));
        }
    }

    fn enter(&mut self, phase: Phase, from_ns: u64) {
        self.phase = phase;
        self.phase_from_ns = from_ns;
        if phase == Phase::Done {
            self.done.ports.look();
        }
        self.tell(None);
    }

    #[expect(clippy::cast_precision_loss, reason = "2^52 requests are years of load")]
    fn tell(&mut self, interval: Option<usize>) {
        let now_ns = uring::monotonic_ns();
        let every_ns = nanoseconds(self.plan.progress_every).max(TELL_EVERY_NS_MIN);
        self.tell_at_ns = now_ns + every_ns;
        let told = self.gate.told();
        let measured_ns = now_ns.saturating_sub(self.measure_from_ns);
        let elapsed = Duration::from_nanos(measured_ns).min(self.plan.duration).as_secs_f64();
        let per_s = |count: u64| if elapsed > 0.0 { count as f64 / elapsed } else { 0.0 };
        let totals = &mut self.totals;
        (totals.intended, totals.ok, totals.errors) = (told.started, told.ok, told.errors);
        (totals.connects, totals.elapsed_s) = (told.connects, elapsed);
        totals.offered_per_s = per_s(told.started);
        totals.achieved_per_s = per_s(told.ok + told.errors);
        totals.goodput_per_s = per_s(told.ok);
        let expected = match self.phase {
            Phase::WarmUp => Some(self.plan.warm_up),
            Phase::Measuring => Some(self.plan.duration),
            Phase::Connecting | Phase::Draining | Phase::Done => None,
        };
        (self.progress)(&Progress {
            phase: self.phase,
            elapsed_s: Duration::from_nanos(now_ns.saturating_sub(self.phase_from_ns))
                .as_secs_f64(),
            expected_s: expected.map(|expected| expected.as_secs_f64()),
            connected: told.connected,
            wanted: self.plan.connections.get().into(),
            so_far: &self.totals,
            response: &self.done.response,
            backends: &self.done.backends,
            interval: interval.map(|index| &self.done.intervals[index]),
        });
    }
}

fn add(interval: &mut Interval, piece: &Piece) {
    interval.ok += piece.ok;
    interval.errors += piece.errors;
    interval.bytes_in += piece.bytes_in;
    interval.bytes_out += piece.bytes_out;
    interval.response.add(&piece.response);
    for (name, &count) in piece.names.iter().zip(&piece.by_backend) {
        if count > 0 {
            *interval.backends.entry(name.clone()).or_default() += count;
        }
    }
}

/// A stop is seen so much late at most.
const LOOK_EVERY_NS: u64 = 50_000_000;
/// Telling how it goes must not become the work.
const TELL_EVERY_NS_MIN: u64 = 10_000_000;
