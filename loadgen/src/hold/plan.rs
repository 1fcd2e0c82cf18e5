//! What a run that holds connections shall do: every option, with the values that a run without
//! options takes.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use socket2::SockAddr;

use crate::crew::{Close, How};

/// Connections that are opened, kept, and probed.
#[derive(Clone, Debug)]
pub struct HoldPlan {
    /// Where to.
    pub address: SockAddr,
    /// How many.
    pub connections: NonZeroU32,
    /// If the limit of open files allows fewer, so many are held and the report says so; otherwise
    /// that is an error.
    pub as_many_as_fit: bool,
    /// Connects a second; otherwise as fast as a hundred at a time go.
    pub connect_rate: Option<NonZeroU32>,
    /// How long they are held, once all stand.
    pub duration: Duration,
    /// Each connection is probed so often, one after the other at even distances; otherwise never.
    pub probe_every: Option<Duration>,
    /// An answer must be a greeting or the probe itself; otherwise any line will do.
    pub verify: bool,
    /// Worker threads; no more are used than there are connections.
    pub threads: NonZeroUsize,
    /// Processors for the workers, in turn; empty leaves it to the kernel.
    pub cpus: Vec<usize>,
    /// How long a connect, or the answer to a probe, may take.
    pub timeout: Duration,
    /// How the connections are closed in the end.
    pub close: Close,
    /// Local addresses that connections come from, in turn.
    pub sources: Vec<IpAddr>,
    /// How often the caller is told how it goes.
    pub progress_every: Duration,
}

impl HoldPlan {
    /// The canonical run: 1000 connections for ten seconds, each probed once.
    #[must_use]
    pub fn new(address: SockAddr) -> Self {
        Self {
            address,
            connections: NonZeroU32::new(1000).expect("1000 is not 0"),
            as_many_as_fit: false,
            connect_rate: None,
            duration: Duration::from_secs(10),
            probe_every: Some(Duration::from_secs(10)),
            verify: true,
            threads: NonZeroUsize::MIN,
            cpus: Vec::new(),
            timeout: Duration::from_secs(5),
            close: Close::Fin,
            sources: Vec::new(),
            progress_every: Duration::from_millis(250),
        }
    }

    /// Worker threads that the plan really uses.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.threads.get().min(self.connections.get() as usize)
    }

    /// How connections are made by a worker that has this fraction of them.
    pub(super) fn how(&self, fraction: f64) -> How {
        How {
            address: self.address.clone(),
            sources: self.sources.clone(),
            congestion: None,
            timeout: self.timeout,
            rate: self.connect_rate.map(|rate| f64::from(rate.get()) * fraction),
        }
    }
}
