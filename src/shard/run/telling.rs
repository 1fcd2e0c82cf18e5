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

/// A few lines a second.
#[derive(Debug, Default)]
pub(super) struct LineBudget {
    second: u64,
    used: u32,
}

impl LineBudget {
    fn take(&mut self, now: Moment) -> bool {
        let second = now.ns() / 1_000_000_000;
        if second != self.second {
            (self.second, self.used) = (second, 0);
        }
        self.used += 1;
        self.used <= LINES_PER_SECOND
    }
}

/// Lines of one kind about single connections, unless all are asked for: a person can read so many.
const LINES_PER_SECOND: u32 = 10;
