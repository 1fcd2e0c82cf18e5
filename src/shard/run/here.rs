//! What a session goes by, and what is known of its client.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::core::session::{Rules, WaitFor};
use crate::shard::listener::Listener;
use crate::shard::per_ip::Ticket;
use crate::shard::pool::Pool;

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
}

impl Here {
    /// Whether clients wait for that at all.
    pub(super) fn waits_for(&self, what: WaitFor) -> bool {
        match what {
            WaitFor::Backend => !self.rules.deadlines.wait.is_zero(),
            WaitFor::Room => !self.rules.deadlines.queue.is_zero(),
        }
    }

    pub(super) fn new(listener: &Arc<Listener>, index: usize, version: u64) -> Self {
        let pool = Arc::clone(&listener.pool);
        let mut rules = pool.rules;
        if let Some(greets) = &listener.greets {
            rules.deadlines.greeting = greets.timeout;
        }
        let asks_who = listener.asks_who();
        Self { rules, listener: Arc::clone(listener), pool, index, asks_who, version }
    }
}
