//! What the control thread asks of a shard while it runs: who its sessions are, to end some of them,
//! and what its driver counts.
//!
//! A shard answers in its own time, a few hundred sessions a turn, so that asking about thousands delays
//! nobody. Whoever asks must not wait for ever: a shard that is stuck does not answer.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use uring::Owner;

use crate::core::balance::By;
use crate::core::session::Phase;

use super::backend::Backend;
use super::driver::Counts;
use super::listener::Listener;
use super::pool::Pool;

/// Something that a shard is asked.
#[derive(Debug)]
pub enum Command {
    /// Who its sessions are; at most so many are told one by one.
    List(Query, usize, Reply<Listing>),
    /// To end the sessions that are meant; how many it has ended.
    Kill(Query, Reply<u64>),
    /// What its driver counts.
    Counts(Reply<Counts>),
}

/// Where an answer goes. Dropped without one when the shard ends.
pub struct Reply<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Reply<T> {
    /// `answer` is called on the shard's thread, and must not wait for anything.
    #[must_use]
    pub fn new(answer: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(answer))
    }

    /// Answers.
    pub fn send(self, value: T) {
        (self.0)(value);
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// Which sessions are meant: those that everything in here fits.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// This one, by its slot and generation.
    pub session: Option<Owner>,
    /// Those of the pool with this name.
    pub pool: Option<String>,
    /// Those that a backend with this name has.
    pub backend: Option<String>,
    /// Those that came in by the listener with this name.
    pub listener: Option<String>,
    /// Those from there; with a port only those from that port.
    pub client: Option<(IpNet, Option<u16>)>,
    /// Those that stand there.
    pub phase: Option<Phase>,
    /// Those that were accepted at least so long ago.
    pub min_age: Duration,
    /// Those in which no byte has moved for so long.
    pub min_idle: Duration,
}

/// What a shard tells of its sessions.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Those that are meant, as far as they are told one by one.
    pub rows: Vec<Row>,
    /// How many are meant.
    pub matched: u64,
    /// How many there are.
    pub total: u64,
}

/// A session, as it is told.
#[derive(Clone, Debug)]
pub struct Row {
    /// Names it in its shard.
    pub owner: Owner,
    /// In which shard.
    pub shard: usize,
    /// Who the client is, as far as is known: what a trusted proxy said, or the other end.
    pub client: Option<SocketAddr>,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// Who serves it.
    pub pool: Arc<Pool>,
    /// Which of the pool's backends has it.
    pub backend: Option<Arc<Backend>>,
    /// Where it stands.
    pub phase: Phase,
    /// Why that backend.
    pub by: Option<By>,
    /// Since it was accepted.
    pub age: Duration,
    /// Since a byte moved.
    pub idle: Duration,
    /// Bytes delivered to the backend.
    pub to_backend: Moved,
    /// Bytes delivered to the client.
    pub to_client: Moved,
    /// How often it lost a backend and was to go on with another.
    pub moves: u8,
}

/// Bytes of one direction of a session, by path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Through buffers.
    pub copied: u64,
    /// Through pipes.
    pub spliced: u64,
}

impl Moved {
    /// By either path.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.copied + self.spliced
    }
}
