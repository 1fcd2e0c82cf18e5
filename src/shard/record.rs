//! What a shard says of a session that has ended, for the session log: everything that a line can want,
//! without a word of text. Whoever writes takes it from a queue; a shard whose queue is full drops the
//! record and counts it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;
use uring::Owner;

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
    /// What it was called in that shard; nothing if the client never came further than the door.
    pub owner: Option<Owner>,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// Who served it.
    pub pool: Arc<Pool>,
    /// The backend that had it last, or was tried last.
    pub backend: Option<Arc<Backend>>,
    /// Who the client was: what a trusted proxy said, or the other end.
    pub client: Option<SocketAddr>,
    /// Where the client wanted to go, if the pool's sessions go there.
    pub destination: Option<SocketAddr>,
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
    /// Connects that were made beyond the first, those after a move not counted.
    pub retries: u8,
    /// How often it went on with another backend after it had run.
    pub moves: u8,
}

/// A queue for each shard.
#[derive(Debug)]
pub struct Records(Vec<ArrayQueue<Record>>);

/// What became of records. One thread writes, and whoever wants reads.
#[derive(Debug, Default)]
pub struct LogCounts {
    taken: AtomicU64,
    written: AtomicU64,
    errors: AtomicU64,
}

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

    /// The oldest of a shard. Only one thread should take.
    #[must_use]
    pub fn take(&self, shard: usize) -> Option<Record> {
        self.0[shard].pop()
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.0.len()
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.iter().map(ArrayQueue::len).sum()
    }
}

impl LogCounts {
    /// Lines that are written.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Attempts to write that failed, and entries that were refused.
    #[must_use]
    pub fn write_errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Records that are neither written nor dropped, when the log has ended.
    #[must_use]
    pub fn lost(&self, records: &Records) -> u64 {
        let unwritten = self.taken.load(Ordering::Relaxed).saturating_sub(self.lines());
        unwritten + records.waiting() as u64
    }

    /// So many were taken out of their queues.
    pub(crate) fn taken(&self, records: u64) {
        add(&self.taken, records);
    }

    /// So many of these are written.
    pub(crate) fn written(&self, lines: u64) {
        add(&self.written, lines);
    }

    /// Something could not be written.
    pub(crate) fn error(&self) {
        add(&self.errors, 1);
    }
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_small_enough_to_have_many_of() {
        // Every shard has room for 16384 from the start: 3 MiB (docs/operating.md).
        assert!(size_of::<Record>() <= 192);
    }
}
