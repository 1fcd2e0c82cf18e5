//! What shards have to tell the operator: rare, and never waited for. The control thread takes it
//! from here and makes events of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crossbeam_queue::ArrayQueue;

use crate::core::BackendId;

use super::pool::Pool;

/// Something that happened in a shard.
#[derive(Clone, Debug)]
pub struct Notice {
    /// When.
    pub time: SystemTime,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// Connects to a backend failed, and it is left alone.
    Ejected {
        /// Its pool.
        pool: Arc<Pool>,
        /// Which.
        backend: BackendId,
        /// For how long.
        time: Duration,
        /// What the last connect met.
        why: &'static str,
    },
    /// It would be, but half of its pool is out already.
    FailOpen {
        /// Its pool.
        pool: Arc<Pool>,
        /// Which.
        backend: BackendId,
        /// What the last connect met.
        why: &'static str,
    },
    /// Descriptors or memory ran out, and nobody is accepted for a moment.
    AcceptPaused {
        /// Which shard.
        shard: usize,
        /// What the kernel said.
        why: &'static str,
    },
}

/// The notices that nobody has taken yet: a few, the rest is counted.
#[derive(Debug)]
pub struct Notices {
    queue: ArrayQueue<Notice>,
    lost: AtomicU64,
}

impl Default for Notices {
    fn default() -> Self {
        Self { queue: ArrayQueue::new(ROOM), lost: AtomicU64::new(0) }
    }
}

impl Notices {
    /// Something has happened now.
    pub fn push(&self, what: What) {
        let notice = Notice { time: SystemTime::now(), what };
        if self.queue.push(notice).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The oldest that nobody has taken.
    #[must_use]
    pub fn pop(&self) -> Option<Notice> {
        self.queue.pop()
    }

    /// Those that found no room.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// A second's worth, were every backend of a large pool ejected in it.
const ROOM: usize = 256;
