//! What a session goes by, and what is known of its client.

use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::core::BackendId;
use crate::core::session::{Rules, WaitFor};
use crate::shard::backend::Backend;
use crate::shard::listener::Listener;
use crate::shard::per_ip::Ticket;
use crate::shard::pool::Pool;
use crate::shard::tally::{ListenerTally, Tally};

/// One version of a listener with its pool, for all sessions of this shard that began with it.
#[derive(Debug)]
pub(super) struct Here {
    /// The pool's, with what the listener adds.
    pub(super) rules: Rules,
    pub(super) listener: Arc<Listener>,
    pub(super) pool: Arc<Pool>,
    /// Place in the shard's `listening`.
    pub(super) index: usize,
    /// Whether sessions have an [`Extra`].
    pub(super) asks_who: bool,
    /// Of the configuration that this is of.
    pub(super) version: u64,
    /// What this shard counts of each backend of the pool.
    tallies: Box<[Arc<CachePadded<Tally>>]>,
    shard: usize,
}

/// What only some listeners and pools need to know of a session.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// Who the client is, as far as is known: what a trusted peer says, or its own address.
    pub(super) client: Option<SocketAddr>,
    /// What the client connected to; only where that is passed on.
    pub(super) destination: Option<SocketAddr>,
    /// Our end of the connection to an original destination.
    pub(super) own_end: Option<SocketAddr>,
    /// What has come of a greeting.
    pub(super) greeting: Vec<u8>,
    /// Whether it was asked whether it may come in.
    pub(super) admitted: bool,
    /// Its place in what its address may have.
    pub(super) ticket: Option<Ticket>,
    /// For the session log.
    pub(super) times: Times,
}

/// What only the session log wants to know.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// From the accepted client to the first connect.
    pub(super) queue_us: Option<u32>,
    /// From the last connect to the connection.
    pub(super) connect_us: Option<u32>,
    /// From the first connection to the backend's first byte.
    pub(super) first_byte_us: Option<u32>,
    /// Connects that were begun.
    pub(super) connects: u8,
    /// Whose connection count it was in last.
    pub(super) backend: Option<Arc<Backend>>,
}

impl Here {
    /// Whether clients wait for that at all.
    pub(super) fn waits_for(&self, what: WaitFor) -> bool {
        match what {
            WaitFor::Backend => !self.rules.deadlines.wait.is_zero(),
            WaitFor::Room => !self.rules.deadlines.queue.is_zero(),
        }
    }

    /// What this shard counts of a backend.
    pub(super) fn tally(&self, backend: BackendId) -> &Tally {
        &self.tallies[usize::from(backend.0)]
    }

    /// What this shard counts of the listener.
    pub(super) fn listener_tally(&self) -> &ListenerTally {
        self.listener.tallies.of(self.shard)
    }

    /// `logs` says that every session has to know who its client is, for the log.
    pub(super) fn new(listener: &Arc<Listener>, at: At, logs: bool) -> Self {
        let At { shard, index, version } = at;
        let pool = Arc::clone(&listener.pool);
        let mut rules = pool.rules;
        if let Some(greets) = &listener.greets {
            rules.deadlines.greeting = greets.timeout;
        }
        let asks_who = logs || listener.asks_who();
        let tallies = pool.members.iter().map(|one| Arc::clone(one.backend.tallies.of(shard)));
        let tallies = tallies.collect();
        let listener = Arc::clone(listener);
        Self { rules, listener, pool, index, asks_who, version, tallies, shard }
    }
}

/// Where a [`Here`] is.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) shard: usize,
    /// Place in the shard's `listening`.
    pub(super) index: usize,
    pub(super) version: u64,
}
