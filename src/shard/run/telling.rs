//! Lines about single connections: few enough for a person, counted when they are left out.

use tracing::{info, warn};
use uring::Errno;

use crate::core::Candidate;
use crate::core::balance::Pick;
use crate::core::moment::Moment;
use crate::shard::driver::Driver;

use super::Shard;

impl<D: Driver> Shard<D> {
    pub(super) fn log_routing(&mut self, client: &D::Socket, candidate: Candidate, pick: Pick) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        if !tracing::enabled!(tracing::Level::DEBUG) && !self.routing_lines.take(self.now) {
            return self.counters().log_suppressed.add(1);
        }
        // Who the client is costs a system call, so it is asked only for a line that is written.
        let address = self.driver.peer_address(client);
        let client = address.map_or_else(|| "gone".to_owned(), |address| address.to_string());
        let backend = &self.shared.backend(candidate.backend).name;
        info!("Routing client ({client}) -> {backend} ({})", pick.by);
    }

    pub(super) fn log_connect_failed(
        &mut self,
        failed: Candidate,
        errno: Errno,
        next: Option<Candidate>,
    ) {
        if !self.may_warn() {
            return;
        }
        let backend = self.shared.backend(failed.backend);
        let (name, address) = (&backend.name, backend.address(failed));
        let why = match errno {
            Errno::ECANCELED => "no answer within the connect timeout",
            Errno::EADDRNOTAVAIL => "no local port is free; widen net.ipv4.ip_local_port_range",
            errno => errno.desc(),
        };
        let then = match next {
            Some(next) => format!("going to {}", self.shared.backend(next.backend).name),
            None => "nobody is left, closing the client".to_owned(),
        };
        warn!("backend {name} ({address}) failed: {why}; {then}");
    }

    /// Whether a warning about a single connection may be written now: a few a second, or all at
    /// DEBUG.
    pub(super) fn may_warn(&mut self) -> bool {
        let allowed = tracing::enabled!(tracing::Level::DEBUG) || self.warnings.take(self.now);
        if !allowed {
            self.counters().log_suppressed.add(1);
        }
        allowed
    }
}

/// So many of something in each second.
#[derive(Debug)]
pub(super) struct PerSecond {
    limit: u32,
    second: u64,
    used: u32,
}

impl PerSecond {
    pub(super) const fn new(limit: u32) -> Self {
        Self { limit, second: 0, used: 0 }
    }

    /// Whether there may be one more now, which then has been.
    pub(super) fn take(&mut self, now: Moment) -> bool {
        let second = now.ns() / 1_000_000_000;
        if second != self.second {
            (self.second, self.used) = (second, 0);
        }
        self.used = self.used.saturating_add(1);
        self.used <= self.limit
    }
}
