//! What a shard says of a session that has ended, for the session log: everything that a line can want,
//! without a word of text. Whoever writes takes it from a queue; a shard whose queue is full drops the
//! record and counts it.

use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::core::balance::By;
use crate::core::moment::Moment;
use crate::core::session::EndReason;

use super::backend::Backend;
use super::commands::Moved;
use super::listener::Listener;
use super::pool::Pool;

/// A session that has ended.
#[derive(Clone, Debug)]
pub struct Record {
    /// When the client was accepted.
    pub began: Moment,
    /// When the session was over.
    pub ended: Moment,
    /// Which shard had it.
    pub shard: usize,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// Who served it.
    pub pool: Arc<Pool>,
    /// The backend that had it last, or was tried last.
    pub backend: Option<Arc<Backend>>,
    /// Who the client was: what a trusted proxy said, or the other end.
    pub client: Option<SocketAddr>,
    /// Why that backend.
    pub by: Option<By>,
    /// From the accepted client to the first connect.
    pub queue_us: Option<u32>,
    /// From the last connect to the connection.
    pub connect_us: Option<u32>,
    /// From the first connection to the backend's first byte.
    pub first_byte_us: Option<u32>,
    /// Bytes delivered to backends.
    pub to_backend: Moved,
    /// Bytes delivered to the client.
    pub to_client: Moved,
    /// Why it ended.
    pub reason: EndReason,
    /// Connects that were made beyond the first.
    pub retries: u8,
    /// How often it went on with another backend after it had run.
    pub moves: u8,
}

/// A queue for each shard.
#[derive(Debug)]
pub struct Records(Vec<ArrayQueue<Record>>);

impl Records {
    /// Empty queues for so many shards, with room for `most` records each.
    #[must_use]
    pub fn new(shards: usize, most: usize) -> Self {
        Self((0..shards).map(|_| ArrayQueue::new(most)).collect())
    }

    /// Whether there was room for it.
    pub fn put(&self, record: Record) -> bool {
        self.0[record.shard].push(record).is_ok()
    }

    /// The oldest of one shard after the other, until all are empty. Only one thread should take.
    pub fn take(&self) -> impl Iterator<Item = Record> + '_ {
        self.0.iter().flat_map(|queue| std::iter::from_fn(|| queue.pop()))
    }

    /// How many wait, in the fullest queue.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.0.iter().map(ArrayQueue::len).max().unwrap_or(0)
    }
}
