//! What a run shall do: every option, with the values that a run without options takes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::LoadError;
use super::arrivals::{Arrivals, Rate};
use super::http::HttpRequest;
use super::lifetime::Lifetime;
use super::payload::{Sizes, Verify};
use super::reply::Names;
use crate::Close;
use crate::Engine;

/// What one request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A line and its answer, on connections that stay.
    Ping,
    /// A request of HTTP/1.1 and its response, on connections that stay.
    Http,
    /// A connection for each line: connect, request, answer, close.
    Conn,
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP, IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A closed loop, or with [`Plan::rate`] an open one.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Where to.
    pub address: Address,
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
    /// Bytes of a request, and of the reply if one of some size is asked for.
    pub sizes: Sizes,
    /// How closely replies are looked at.
    pub verify: Verify,
    /// What [`Workload::Http`] asks; absent: a GET of `/`.
    pub http: Option<HttpRequest>,
    /// Load before the measurement; none of it counts.
    pub warm_up: Duration,
    /// How long a request, or a connect, may take.
    pub timeout: Duration,
    /// How connections end that are replaced.
    pub close: Close,
    /// Processors for the workers, in turn; empty leaves it to the kernel.
    pub cpus: Vec<usize>,
    /// An open loop: so many requests a second, of all workers. Each is sent by a connection that
    /// is free, or as soon as one is, and its response time counts from when it should have been
    /// sent. Without it, the answer to one request starts the next.
    pub rate: Option<Rate>,
    /// How the requests of an open loop are spread.
    pub arrivals: Arrivals,
    /// What random choices begin with.
    pub seed: u64,
    /// Requests in flight on one connection at the most; [`Workload::Conn`] has one.
    pub pipeline: NonZeroU32,
    /// After how many requests a connection is replaced; [`Workload::Conn`] has one.
    pub lifetime: Lifetime,
    /// Local addresses that connections come from, in turn; empty leaves it to the kernel.
    pub sources: Vec<IpAddr>,
    /// [`Workload::Conn`] only connects and closes, and asks nothing.
    pub connect_only: bool,
    /// What drives the sockets.
    pub engine: Engine,
    /// How often the caller is told how it goes.
    pub progress_every: Duration,
}

/// One worker's part of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) connections: u32,
    pub(super) requests: Option<u64>,
}

impl Plan {
    /// The canonical run: 50 connections, one thread, ten seconds, 64 bytes.
    #[must_use]
    pub fn new(address: impl Into<Address>, workload: Workload) -> Self {
        Self {
            address: address.into(),
            workload,
            connections: NonZeroU32::new(50).expect("50 is not 0"),
            threads: NonZeroUsize::MIN,
            duration: Duration::from_secs(10),
            requests: None,
            sizes: Sizes::default(),
            verify: Verify::default(),
            http: None,
            warm_up: Duration::ZERO,
            timeout: Duration::from_secs(5),
            close: Close::Fin,
            cpus: Vec::new(),
            rate: None,
            arrivals: Arrivals::Constant,
            seed: 1,
            pipeline: NonZeroU32::MIN,
            lifetime: Lifetime::Forever,
            sources: Vec::new(),
            connect_only: false,
            engine: Engine::Auto,
            progress_every: Duration::from_millis(200),
        }
    }

    /// Worker threads that the plan really uses.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.threads.get().min(self.connections.get() as usize)
    }

    /// Whether its request can be sent, so that nothing is begun in vain.
    ///
    /// # Errors
    /// [`LoadError::Sizes`] or [`LoadError::Http`].
    pub fn check(&self) -> Result<(), LoadError> {
        self.request().map(drop)
    }

    /// How long the pieces are that the measured time is told in: a second, or a tenth of it, but
    /// not below 100 ms.
    #[must_use]
    pub fn interval(&self) -> Duration {
        let second = Duration::from_secs(1);
        if self.duration >= 10 * second {
            second
        } else {
            (self.duration / 10).max(Duration::from_millis(100))
        }
    }

    /// Requests in flight on one connection at the most.
    pub(super) fn depth(&self) -> u32 {
        match self.workload {
            Workload::Ping | Workload::Http => self.pipeline.get(),
            Workload::Conn => 1,
        }
    }

    /// What the worker of this index does.
    pub(super) fn part(&self, index: usize) -> Part {
        let (index, workers) = (index as u64, self.workers() as u64);
        let share = |total: u64| total / workers + u64::from(index < total % workers);
        let connections = share(self.connections.get().into());
        Part {
            connections: u32::try_from(connections).expect("a share is not above the whole"),
            requests: self.requests.map(|requests| share(requests.get())),
        }
    }

    /// [`Plan::lifetime`], where it has an end.
    pub(super) fn lifetime_text(&self) -> Option<String> {
        match (self.workload, self.lifetime) {
            (Workload::Conn, _) => Some("1".to_owned()),
            (_, Lifetime::Forever) => None,
            (_, lifetime) => Some(lifetime.to_string()),
        }
    }

    /// What [`Workload::Http`] asks.
    fn http(&self) -> HttpRequest {
        self.http.clone().unwrap_or_else(|| HttpRequest::new(self.address.host()))
    }

    /// The bytes of a request.
    pub(super) fn request(&self) -> Result<Vec<u8>, LoadError> {
        match self.workload {
            Workload::Ping | Workload::Conn => Ok(self.sizes.line()?),
            Workload::Http => Ok(self.http().bytes(self.sizes)?),
        }
    }

    /// Whom to expect answers from, to `request`.
    pub(super) fn names(&self, request: &[u8]) -> Names {
        match self.workload {
            Workload::Conn if self.connect_only => Names::of_connects(),
            Workload::Ping | Workload::Conn => Names::of_lines(request, self.sizes, self.verify),
            Workload::Http => Names::of_http(&self.http(), self.sizes, self.verify),
        }
    }
}

impl Address {
    /// What a request calls the other side.
    fn host(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Workload {
    /// What it is called on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Http => "http",
            Self::Conn => "conn",
        }
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
        let address: SocketAddr = "127.0.0.1:1".parse().expect("a literal address");
        Plan {
            connections: NonZeroU32::new(connections).expect("not 0"),
            threads: NonZeroUsize::new(threads).expect("not 0"),
            requests: NonZeroU64::new(requests),
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
        }
    }

    #[test]
    fn intervals_are_a_second_or_a_tenth_and_never_too_short() {
        for (duration_ms, interval_ms) in [(60_000, 1000), (10_000, 1000), (5000, 500), (300, 100)]
        {
            let plan = Plan { duration: Duration::from_millis(duration_ms), ..plan(1, 1, 1) };
            assert_eq!(plan.interval(), Duration::from_millis(interval_ms), "{duration_ms} ms");
        }
    }
}
