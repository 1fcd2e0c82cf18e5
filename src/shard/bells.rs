//! Waking shards: what one of them, or the control thread, has changed, and others wait for.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use uring::Waker;

/// A bell for each shard.
#[derive(Debug, Default)]
pub struct Bells {
    wakers: Vec<Waker>,
    /// Whether the bell of the one shard that is simulated rings.
    #[cfg(test)]
    rings: std::sync::atomic::AtomicBool,
}

impl Bells {
    /// Bells for the shards that these wake, in their order.
    #[must_use]
    pub fn new(wakers: Vec<Waker>) -> Self {
        Self {
            wakers,
            #[cfg(test)]
            rings: std::sync::atomic::AtomicBool::default(),
        }
    }

    /// Wakes one shard.
    pub fn ring(&self, shard: usize) {
        self.wakers.get(shard).inspect(|waker| waker.wake());
        #[cfg(test)]
        self.rings.fetch_or(shard == 0, Ordering::Relaxed);
    }

    /// Wakes all of them.
    pub fn ring_all(&self) {
        self.wakers.iter().for_each(Waker::wake);
        #[cfg(test)]
        self.rings.store(true, Ordering::Relaxed);
    }

    /// Whether the first shard was woken since it last heard that.
    #[cfg(test)]
    pub(super) fn rings(&self) -> bool {
        self.rings.load(Ordering::Relaxed)
    }

    /// The same, heard now.
    #[cfg(test)]
    pub(super) fn hear(&self) -> bool {
        self.rings.swap(false, Ordering::Relaxed)
    }
}

/// What sessions of several shards wait for: how many there are, in which shards, and how often it
/// has changed, so that a shard looks only when there is something new.
#[derive(Default)]
pub struct Crowd {
    waiting: CachePadded<AtomicU32>,
    /// A bit for each shard; shards beyond the last bit share it.
    shards: AtomicU64,
    backends: CachePadded<AtomicU32>,
    rooms: CachePadded<AtomicU32>,
}

/// How often something has happened that sessions wait for; it wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// A backend may be back.
    pub backends: u32,
    /// A place has become free.
    pub rooms: u32,
}

impl Crowd {
    /// One more waits in `shard`, unless `most` do already.
    pub fn join(&self, shard: usize, most: u32) -> bool {
        let add = |waiting| (waiting < most).then_some(waiting + 1);
        let joined = self.waiting.fetch_update(Ordering::SeqCst, Ordering::Relaxed, add).is_ok();
        if joined {
            self.shards.fetch_or(bit(shard), Ordering::SeqCst);
        }
        joined
    }

    /// One of them waits no more.
    pub fn leave(&self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A backend may be back.
    pub fn stir(&self, bells: &Bells) {
        self.change(&self.backends, bells);
    }

    /// A place has become free.
    pub fn make_room(&self, bells: &Bells) {
        self.change(&self.rooms, bells);
    }

    fn change(&self, count: &AtomicU32, bells: &Bells) {
        // A session that joins and then finds nobody, while this is changed, must find the change or
        // be found here: both sides write first and look then.
        count.fetch_add(1, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let shards = self.shards.swap(0, Ordering::SeqCst);
        (0..64).filter(|shard| shards & (1 << shard) != 0).for_each(|shard| bells.ring(shard));
        if shards & bit(usize::MAX) != 0 {
            bells.ring_all();
        }
    }

    /// A shard that still has somebody waiting says so, and then looks whether something has happened
    /// since it looked before.
    pub fn stay(&self, shard: usize) {
        self.shards.fetch_or(bit(shard), Ordering::SeqCst);
    }

    /// How often something has happened.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes {
            backends: self.backends.load(Ordering::SeqCst),
            rooms: self.rooms.load(Ordering::SeqCst),
        }
    }
}

fn bit(shard: usize) -> u64 {
    1 << shard.min(63)
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crowd").field("waiting", &self.len()).finish_non_exhaustive()
    }
}
