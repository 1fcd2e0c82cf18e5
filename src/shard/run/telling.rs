//! Lines about single connections: few enough for a person, counted when they are left out.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tracing::{info, warn};
use uring::{Errno, Owner};

use crate::config::plan::Destination;
use crate::core::balance::Pick;
use crate::core::moment::Moment;
use crate::core::session::Next;
use crate::core::{BackendId, Candidate};
use crate::shard::condition::Verdict;
use crate::shard::driver::Driver;
use crate::shard::notices::What;

use super::{ALIVE, Entry, Here, Shard};

impl<D: Driver> Shard<D> {
    pub(super) fn log_routing(&mut self, owner: Owner, pick: Pick) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        if !tracing::enabled!(tracing::Level::DEBUG) && !self.routing_lines.take(self.now) {
            return self.counters().log_suppressed.add(1);
        }
        let Entry { client, extra, here, .. } = self.sessions.find(owner).expect(ALIVE);
        // Who the client is costs a system call, so it is asked only for a line that is written.
        let known = extra.as_ref().and_then(|extra| extra.client);
        let address = known.or_else(|| self.driver.peer_address(client));
        // One of IPv4 at a listener for both families is written as it is.
        let canonical = |one: SocketAddr| SocketAddr::new(one.ip().to_canonical(), one.port());
        let client = address.map_or_else(|| "unknown".to_owned(), |one| canonical(one).to_string());
        let backend = &here.pool.backend(pick.backend).name;
        info!("Routing client ({client}) -> {backend} ({})", pick.by);
    }

    pub(super) fn log_connect_failed(
        &mut self,
        owner: Owner,
        here: &Here,
        failed: Candidate,
        errno: Errno,
        next: Next,
    ) {
        if !self.may_warn() {
            return;
        }
        let backend = here.pool.backend(failed.backend);
        let (name, address) = (&backend.name, backend.place(failed).address);
        let why = match errno {
            Errno::ECANCELED => "no answer within the connect timeout",
            Errno::EADDRNOTAVAIL => "no local port is free; widen net.ipv4.ip_local_port_range",
            errno => errno.desc(),
        };
        // A reload may have given the session another version of the pool.
        let pool = self.sessions.find(owner).map(|entry| Rc::clone(&entry.here));
        let then = match (next, pool) {
            (Next::Go(next), Some(here)) => {
                format!("going to {}", here.pool.backend(next.backend).name)
            }
            (Next::Wait(what), _) if here.waits_for(what) => {
                "nobody is left, the client waits".to_owned()
            }
            _ => "nobody is left, closing the client".to_owned(),
        };
        match here.pool.destination {
            Destination::Backends => warn!("backend {name} ({address}) failed: {why}; {then}"),
            Destination::OriginalDst => warn!("the original destination failed: {why}; {then}"),
        }
    }

    pub(super) fn warn_of_loop(&mut self, wanted: SocketAddr) {
        if self.may_warn() {
            warn!(
                "our own connection to {wanted} was redirected back to us; exempt this program from \
                 the redirect, as by its user with `meta skuid != evenkeel`"
            );
        }
    }

    pub(super) fn tell_verdict(
        &mut self,
        here: &Here,
        backend: BackendId,
        verdict: Verdict,
        errno: Errno,
    ) {
        let (in_pool, why) = (Arc::clone(&here.pool), errno.desc());
        let (pool, name) = (&here.pool.name, &here.pool.backend(backend).name);
        match verdict {
            Verdict::Counted => {}
            Verdict::Ejected(time) => {
                self.counters().ejected.add(1);
                self.shared.notices.push(What::Ejected { pool: in_pool, backend, time, why });
                warn!(
                    "backend {name} of pool {pool} is ejected for {}: its connects fail",
                    humantime::format_duration(time)
                );
            }
            Verdict::FailOpen => {
                self.counters().fail_open.add(1);
                if self.may_warn() {
                    self.shared.notices.push(What::FailOpen { pool: in_pool, backend, why });
                    warn!(
                        "pool {pool} fails open: connects to {name} fail, and it stays in all the \
                         same, because half of the pool is out already"
                    );
                }
            }
        }
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
