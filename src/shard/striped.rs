//! A table that all shards share, in stripes with a lock each.
//!
//! A lock is held for one look-up, a few hundred nanoseconds once in the life of a session, and with
//! hundreds of stripes two shards seldom want the same one. A cache that does its housekeeping in
//! batches has no lock to see and holds a shard for longer: moka 0.12 took 0.6 to 1.9 ms for one
//! insert in a thousand on the machine where these tables took 3 to 6 µs, and it may decline to
//! remember a new client at all (docs of its admission policy, TinyLFU).

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;

/// Entries in the order of their last use, behind a hash that clients cannot guess: they can choose
/// their addresses.
pub(super) type ByUse<K, V> = hashlink::LinkedHashMap<K, V, RandomState>;

/// Stripes of a table.
#[derive(Debug)]
pub(super) struct Striped<T> {
    stripes: Box<[CachePadded<Mutex<T>>]>,
    hasher: RandomState,
}

impl<T: Default> Striped<T> {
    /// For `entries` in all; says also how many of them a stripe may hold.
    pub(super) fn new(entries: usize) -> (Self, usize) {
        let count = (entries / PER_STRIPE).next_power_of_two().min(MAX_STRIPES);
        let stripes = (0..count).map(|_| CachePadded::default()).collect();
        (Self { stripes, hasher: RandomState::new() }, (entries / count).max(1))
    }

    /// The stripe that `key` is in.
    pub(super) fn lock(&self, key: &impl Hash) -> MutexGuard<'_, T> {
        let hash = self.hasher.hash_one(key);
        let index = hash % self.stripes.len() as u64;
        Self::of(&self.stripes[usize::try_from(index).expect("an index")])
    }

    /// The sum over all stripes, each at its own moment.
    pub(super) fn sum(&self, of: impl Fn(&T) -> usize) -> usize {
        self.stripes.iter().map(|stripe| of(&Self::of(stripe))).sum()
    }

    fn of(stripe: &Mutex<T>) -> MutexGuard<'_, T> {
        // Nothing panics between two writes that belong together.
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So few that a stripe's table grows within microseconds; so many that stripes, which are never
/// equally full, differ by a few hundredths only.
const PER_STRIPE: usize = 1024;
/// 128 KiB of locks.
const MAX_STRIPES: usize = 1024;
