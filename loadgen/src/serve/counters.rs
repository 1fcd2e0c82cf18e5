//! What a backend has seen, counted by each thread for itself and added up for whoever asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a backend has seen since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that are open.
    pub active_connections: u64,
    /// Requests: lines or messages of hello and, where faults are injected, lines of echo;
    /// requests of HTTP but for `/health` and `/status`.
    pub requests: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Faults that were injected, by the word that asks for them.
    pub injected: BTreeMap<&'static str, u64>,
}

/// The counters of one backend, one set for each thread.
#[derive(Debug)]
pub(super) struct Counters(Vec<OfThread>);

/// What one thread counts; on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct OfThread {
    pub(super) connections: Counter,
    pub(super) closed: Counter,
    pub(super) requests: Counter,
    pub(super) bytes_in: Counter,
    pub(super) bytes_out: Counter,
}

/// A number that one thread writes and others read.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Adds `more`. Only the thread that owns it may: two of them would lose counts.
    pub(super) fn add(&self, more: u64) {
        self.0.store(self.read().wrapping_add(more), Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Counters for `threads`, all zero.
    pub(super) fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| OfThread::default()).collect())
    }

    /// Those of one thread.
    pub(super) fn of(&self, thread: usize) -> &OfThread {
        &self.0[thread]
    }

    /// The sum over all threads; no fault is counted here.
    pub(super) fn sum(&self) -> Counts {
        let sum = |counter: fn(&OfThread) -> &Counter| -> u64 {
            self.0.iter().map(|thread| counter(thread).read()).sum()
        };
        // Closed ones first: a connection that comes and goes meanwhile must not make it negative.
        let closed = sum(|thread| &thread.closed);
        let connections = sum(|thread| &thread.connections);
        Counts {
            connections,
            active_connections: connections.saturating_sub(closed),
            requests: sum(|thread| &thread.requests),
            bytes_in: sum(|thread| &thread.bytes_in),
            bytes_out: sum(|thread| &thread.bytes_out),
            injected: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_are_added_up() {
        let counters = Counters::new(3);
        for thread in 0..3 {
            counters.of(thread).connections.add(2);
            counters.of(thread).closed.add(1);
            counters.of(thread).requests.add(10);
            counters.of(thread).bytes_in.add(100);
            counters.of(thread).bytes_out.add(1000);
        }
        let expected = Counts {
            connections: 6,
            active_connections: 3,
            requests: 30,
            bytes_in: 300,
            bytes_out: 3000,
            injected: BTreeMap::new(),
        };
        assert_eq!(counters.sum(), expected);
    }
}
