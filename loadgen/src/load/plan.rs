//! What a run shall do: every option, with the values that a run without options takes.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

/// What one request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A line and its answer, on connections that stay.
    Ping,
    /// A connection for each line: connect, request, answer, close.
    Conn,
}

/// How [`Workload::Conn`] ends a connection; this side is always the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Close {
    /// In order, which leaves the local port in TIME_WAIT.
    #[default]
    Fin,
    /// With a reset, which leaves nothing.
    Rst,
}

/// A closed loop, or with [`Plan::rate`] an open one; every connection has at most one request in
/// flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where to.
    pub address: SocketAddr,
    /// What a request is.
    pub workload: Workload,
    /// Connections, or for [`Workload::Conn`] those at the same time.
    pub connections: NonZeroU32,
    /// Worker threads; no more are used than there are connections.
    pub threads: NonZeroUsize,
    /// How long is measured.
    pub duration: Duration,
    /// After how many requests, answered or failed, the run ends before its time.
    pub requests: Option<NonZeroU64>,
    /// Bytes of a request with its newline, from [`REQUEST_BYTES_MIN`] to [`REQUEST_BYTES_MAX`].
    pub request_bytes: u32,
    /// Load before the measurement.
    pub warm_up: Duration,
    /// How long a request, or a connect, may take.
    pub timeout: Duration,
    /// How connections of [`Workload::Conn`] end.
    pub close: Close,
    /// Processors for the workers, in turn; empty leaves it to the kernel.
    pub cpus: Vec<usize>,
    /// For [`Workload::Ping`], an open loop: so many requests a second, evenly spaced. Each is sent
    /// by a connection that is free, or as soon as one is, and its latency counts from when it
    /// should have been sent. Without it, the answer to one request starts the next.
    pub rate: Option<NonZeroU32>,
    /// How often the caller is told how it goes.
    pub progress_every: Duration,
}

/// One worker's part of a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) connections: u32,
    pub(super) requests: Option<u64>,
    /// Requests a second of an open loop.
    pub(super) rate: Option<f64>,
}

impl Plan {
    /// The canonical run: 50 connections, one thread, ten seconds, 64 bytes.
    #[must_use]
    pub fn new(address: SocketAddr, workload: Workload) -> Self {
        Self {
            address,
            workload,
            connections: NonZeroU32::new(50).expect("50 is not 0"),
            threads: NonZeroUsize::MIN,
            duration: Duration::from_secs(10),
            requests: None,
            request_bytes: 64,
            warm_up: Duration::ZERO,
            timeout: Duration::from_secs(5),
            close: Close::Fin,
            cpus: Vec::new(),
            rate: None,
            progress_every: Duration::from_secs(1),
        }
    }

    /// Worker threads that the plan really uses.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.threads.get().min(self.connections.get() as usize)
    }

    /// What the worker of this index does.
    #[expect(clippy::cast_precision_loss, reason = "connections are a u32")]
    pub(super) fn part(&self, index: usize) -> Part {
        let (index, workers) = (index as u64, self.workers() as u64);
        let share = |total: u64| total / workers + u64::from(index < total % workers);
        let connections = share(self.connections.get().into());
        // Each connection's part is the same.
        let fraction = connections as f64 / f64::from(self.connections.get());
        let rate = self.rate.filter(|_| self.workload == Workload::Ping);
        Part {
            connections: u32::try_from(connections).expect("a share is not above the whole"),
            requests: self.requests.map(|requests| share(requests.get())),
            rate: rate.map(|rate| f64::from(rate.get()) * fraction),
        }
    }

    /// [`Plan::request_bytes`] within its bounds.
    pub(super) fn request_len(&self) -> u32 {
        self.request_bytes.clamp(REQUEST_BYTES_MIN, REQUEST_BYTES_MAX)
    }

    /// A request: text that ends in its only newline and cannot be taken for a greeting.
    pub(super) fn request(&self) -> Vec<u8> {
        let len = self.request_len() as usize;
        (b'a'..=b'z').cycle().take(len - 1).chain([b'\n']).collect()
    }
}

/// A byte and its newline.
pub const REQUEST_BYTES_MIN: u32 = 2;
/// Requests are sent from one buffer of the ring, and its receive buffers are as large.
pub const REQUEST_BYTES_MAX: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(connections: u32, threads: usize, requests: u64) -> Plan {
        let address = "127.0.0.1:1".parse().expect("a literal address");
        Plan {
            connections: NonZeroU32::new(connections).expect("not 0"),
            threads: NonZeroUsize::new(threads).expect("not 0"),
            requests: NonZeroU64::new(requests),
            rate: NonZeroU32::new(1000),
            ..Plan::new(address, Workload::Ping)
        }
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        for (connections, threads, requests) in [(50, 1, 1000), (7, 3, 1000), (2, 8, 3), (5, 5, 1)]
        {
            let plan = plan(connections, threads, requests);
            let parts: Vec<Part> = (0..plan.workers()).map(|index| plan.part(index)).collect();
            assert_eq!(parts.iter().map(|part| part.connections).sum::<u32>(), connections);
            assert_eq!(parts.iter().filter_map(|part| part.requests).sum::<u64>(), requests);
            assert!(parts.iter().all(|part| part.connections > 0), "{parts:?}");
            let rate: f64 = parts.iter().filter_map(|part| part.rate).sum();
            assert!((rate - 1000.0).abs() < 1e-6, "{parts:?}");
        }
    }

    #[test]
    fn a_request_has_one_newline_at_its_end() {
        for bytes in [2, 64, 1000] {
            let request = Plan { request_bytes: bytes, ..plan(1, 1, 1) }.request();
            assert_eq!(request.len(), bytes as usize);
            assert_eq!(request.iter().position(|&byte| byte == b'\n'), Some(request.len() - 1));
        }
    }
}
