//! What one worker counts: the measured time in pieces, which it hands over as they end, and what is
//! told of the whole only.

use std::sync::mpsc::{Receiver, Sender};

use super::failure::Failure;
use super::gate::News;
use super::offer::{Offer, nanoseconds};
use super::plan::Plan;
use super::reply::BackendId;
use crate::report::Distribution;

/// A piece of the measured time of one worker. Its memory goes back and forth between the worker
/// and whoever adds up, so that nothing is allocated while the load is on.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// Which piece it is.
    pub(super) index: usize,
    pub(super) ok: u64,
    pub(super) errors: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// Of what was answered, and of what never was.
    pub(super) response: Distribution,
    /// Answers by backend, as the worker numbers them.
    pub(super) by_backend: Vec<u64>,
    /// Their names.
    pub(super) names: Vec<String>,
}

/// What a worker counts while it is measured.
#[derive(Debug)]
pub(super) struct Recorder {
    worker: usize,
    /// The piece of now.
    piece: Box<Piece>,
    interval_ns: u64,
    pieces: usize,
    /// When this piece ends; the last one ends with the run.
    edge_ns: u64,
    /// From then on it counts; `u64::MAX` until the load is on.
    measure_from_ns: u64,
    news: Sender<News>,
    emptied: Receiver<Box<Piece>>,
    /// Whether service times and waits are told apart from response times.
    open_loop: bool,
    pub(super) service: Distribution,
    pub(super) wait_late: Distribution,
    pub(super) wait_busy: Distribution,
    pub(super) connect: Distribution,
    pub(super) turn: Distribution,
    pub(super) by_backend: Vec<Distribution>,
    pub(super) ok: u64,
    pub(super) unanswered: u64,
    pub(super) errors: Vec<(Failure, u64)>,
}

/// The times of one request that has ended. `wait_late + wait_busy + service` is the response time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) service_ns: u64,
    pub(super) wait_late_ns: u64,
    pub(super) wait_busy_ns: u64,
}

impl Times {
    /// From when it should have been sent to its end.
    pub(super) fn response_ns(self) -> u64 {
        self.wait_late_ns + self.wait_busy_ns + self.service_ns
    }
}

impl Recorder {
    /// Counts nothing until [`Recorder::begin`].
    pub(super) fn new(
        plan: &Plan,
        worker: usize,
        news: Sender<News>,
        emptied: Receiver<Box<Piece>>,
    ) -> Self {
        let interval_ns = nanoseconds(plan.interval());
        let pieces = nanoseconds(plan.duration).div_ceil(interval_ns);
        Self {
            worker,
            piece: Box::default(),
            interval_ns,
            pieces: usize::try_from(pieces).unwrap_or(usize::MAX),
            edge_ns: u64::MAX,
            measure_from_ns: u64::MAX,
            news,
            emptied,
            open_loop: plan.rate.is_some(),
            service: Distribution::default(),
            wait_late: Distribution::default(),
            wait_busy: Distribution::default(),
            connect: Distribution::default(),
            turn: Distribution::default(),
            by_backend: Vec::new(),
            ok: 0,
            unanswered: 0,
            errors: Vec::new(),
        }
    }

    /// The load is on.
    pub(super) fn begin(&mut self, offer: &Offer) {
        self.measure_from_ns = offer.measure_from_ns;
        self.set_edge();
    }

    /// Whether what happens at `now_ns` is measured.
    pub(super) fn counts_at(&self, now_ns: u64) -> bool {
        now_ns >= self.measure_from_ns
    }

    /// When the present piece ends.
    pub(super) fn edge_ns(&self) -> u64 {
        self.edge_ns
    }

    /// No further piece begins.
    pub(super) fn end(&mut self) {
        self.pieces = 0;
        self.edge_ns = u64::MAX;
    }

    /// Errors so far.
    pub(super) fn errors(&self) -> u64 {
        self.errors.iter().map(|&(_, count)| count).sum()
    }

    /// Hands over the pieces that have ended by `now_ns`; must come before anything that happens
    /// then is counted.
    pub(super) fn turn_page(&mut self, now_ns: u64, name: impl Fn(usize) -> String) {
        while now_ns >= self.edge_ns {
            self.hand_over(&name);
            self.set_edge();
        }
    }

    /// Hands over the last piece.
    pub(super) fn finish(&mut self, name: impl Fn(usize) -> String) {
        if self.measure_from_ns != u64::MAX {
            self.hand_over(&name);
        }
    }

    fn set_edge(&mut self) {
        let ended = self.piece.index as u64 + 1;
        let is_last = self.piece.index + 1 >= self.pieces;
        let edge_ns = self.measure_from_ns.saturating_add(ended.saturating_mul(self.interval_ns));
        self.edge_ns = if is_last { u64::MAX } else { edge_ns };
    }

    fn hand_over(&mut self, name: &impl Fn(usize) -> String) {
        let index = self.piece.index;
        self.piece.names.clear();
        self.piece.names.extend((0..self.piece.by_backend.len()).map(name));
        let mut next = self.emptied.try_recv().unwrap_or_default();
        next.index = index + 1;
        let piece = std::mem::replace(&mut self.piece, next);
        // Who adds up is gone only when the run is given up.
        let _ = self.news.send(News::Piece(self.worker, piece));
    }

    /// A request was answered.
    pub(super) fn answered(&mut self, times: Times, backend: BackendId) {
        let backend = backend.index();
        let response_ns = times.response_ns();
        self.ok += 1;
        self.piece.ok += 1;
        self.times(times);
        if self.by_backend.len() <= backend {
            self.by_backend.resize_with(backend + 1, Distribution::default);
        }
        if self.piece.by_backend.len() <= backend {
            self.piece.by_backend.resize(backend + 1, 0);
        }
        self.by_backend[backend].record_ns(response_ns);
        self.piece.by_backend[backend] += 1;
    }

    /// A request was never answered.
    pub(super) fn unanswered(&mut self, times: Times) {
        self.unanswered += 1;
        self.times(times);
    }

    /// `requests` of them failed.
    pub(super) fn failed(&mut self, failure: Failure, requests: u64) {
        if requests == 0 {
            return;
        }
        self.piece.errors += requests;
        match self.errors.iter_mut().find(|(kind, _)| *kind == failure) {
            Some((_, count)) => *count += requests,
            None => self.errors.push((failure, requests)),
        }
    }

    /// Bytes came.
    pub(super) fn received(&mut self, bytes: u32) {
        self.piece.bytes_in += u64::from(bytes);
    }

    /// Bytes go.
    pub(super) fn sent(&mut self, bytes: u32) {
        self.piece.bytes_out += u64::from(bytes);
    }

    fn times(&mut self, times: Times) {
        self.piece.response.record_ns(times.response_ns());
        // In a closed loop the service time is the response time, and nothing waits.
        if self.open_loop {
            self.service.record_ns(times.service_ns);
            self.wait_late.record_ns(times.wait_late_ns);
            self.wait_busy.record_ns(times.wait_busy_ns);
        }
    }
}

impl Piece {
    /// As new, with its memory.
    pub(super) fn empty(&mut self) {
        let Self { index: _, ok, errors, bytes_in, bytes_out, response, by_backend, names } = self;
        [ok, errors, bytes_in, bytes_out].into_iter().for_each(|count| *count = 0);
        response.0.reset();
        by_backend.clear();
        names.clear();
    }
}
