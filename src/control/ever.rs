//! What was ever counted of backends and listeners, by their names: one that is removed and comes again
//! goes on where it was, and the sums of a pool never go back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::shard::tally::{ListenerTallies, Tallies};

/// Counts by name.
#[derive(Debug)]
pub struct Ever {
    shards: usize,
    /// By pool and backend.
    backends: BTreeMap<(String, String), Arc<Tallies>>,
    /// By pool: of backends that were forgotten.
    gone: BTreeMap<String, Arc<Tallies>>,
    /// By listener and address.
    listeners: BTreeMap<(String, String), Arc<ListenerTallies>>,
    /// By listener: of addresses that were forgotten.
    gone_listeners: BTreeMap<String, Arc<ListenerTallies>>,
    /// By pool: clients that its tables of sticky clients had no room for.
    pushed_out: BTreeMap<String, Arc<AtomicU64>>,
    /// By listener: clients that its tables of limits had no room for.
    unlimited: BTreeMap<String, Arc<AtomicU64>>,
}

impl Ever {
    /// Nothing, in so many shards.
    #[must_use]
    pub const fn new(shards: usize) -> Self {
        Self {
            shards,
            backends: BTreeMap::new(),
            gone: BTreeMap::new(),
            listeners: BTreeMap::new(),
            gone_listeners: BTreeMap::new(),
            pushed_out: BTreeMap::new(),
            unlimited: BTreeMap::new(),
        }
    }

    /// What is counted of a backend.
    pub fn backend(&mut self, pool: &str, name: &str) -> Arc<Tallies> {
        let (shards, all_gone) = (self.shards, &mut self.gone);
        forget_some(&mut self.backends, |(pool, _), gone| match all_gone.get(pool) {
            Some(all) => all.absorb(gone),
            None => drop(all_gone.insert(pool.clone(), Arc::clone(gone))),
        });
        let known = self.backends.entry((pool.to_owned(), name.to_owned()));
        Arc::clone(known.or_insert_with(|| Arc::new(Tallies::new(shards))))
    }

    /// What is counted at one address of a listener.
    pub fn listener(&mut self, name: &str, address: &str) -> Arc<ListenerTallies> {
        let (shards, all_gone) = (self.shards, &mut self.gone_listeners);
        forget_some(&mut self.listeners, |(name, _), gone| match all_gone.get(name) {
            Some(all) => all.absorb(gone),
            None => drop(all_gone.insert(name.clone(), Arc::clone(gone))),
        });
        let known = self.listeners.entry((name.to_owned(), address.to_owned()));
        Arc::clone(known.or_insert_with(|| Arc::new(ListenerTallies::new(shards))))
    }

    /// Of every address that a listener has or had.
    pub fn of_listener(&self, name: &str) -> impl Iterator<Item = &Arc<ListenerTallies>> {
        let from = (name.to_owned(), String::new());
        let addresses =
            self.listeners.range(from.clone()..).take_while(move |((name, _), _)| *name == from.0);
        addresses.map(|(_, tallies)| tallies).chain(self.gone_listeners.get(name))
    }

    /// Counts clients that the sticky table of a pool has no room for.
    pub fn pushed_out(&mut self, pool: &str) -> Arc<AtomicU64> {
        forget_some(&mut self.pushed_out, |_, _| ());
        Arc::clone(self.pushed_out.entry(pool.to_owned()).or_default())
    }

    /// Counts clients that the table of limits of a listener has no room for.
    pub fn forgotten(&mut self, listener: &str) -> Arc<AtomicU64> {
        forget_some(&mut self.unlimited, |_, _| ());
        Arc::clone(self.unlimited.entry(listener.to_owned()).or_default())
    }

    /// Of every backend that a pool has or had, with their names; those that were forgotten are the
    /// last together, without one.
    pub fn of_pool(&self, pool: &str) -> impl Iterator<Item = (&str, &Arc<Tallies>)> {
        let from = (pool.to_owned(), String::new());
        let of_pool =
            self.backends.range(from.clone()..).take_while(move |((name, _), _)| *name == from.0);
        let of_pool = of_pool.map(|((_, name), tallies)| (name.as_str(), tallies));
        of_pool.chain(self.gone.get(pool).map(|tallies| ("", tallies)))
    }
}

/// Whoever adds and removes backends under ever new names would fill the memory: those that nobody
/// uses any more make way.
fn forget_some<K: Ord, T>(known: &mut BTreeMap<K, Arc<T>>, mut forget: impl FnMut(&K, &Arc<T>)) {
    if known.len() >= REMEMBERED {
        known.retain(|key, counts| {
            let used = Arc::strong_count(counts) > 1;
            if !used {
                forget(key, counts);
            }
            used
        });
    }
}

/// Names that are remembered while nobody uses them.
const REMEMBERED: usize = 4096;

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn who_comes_again_goes_on_and_the_pool_has_all() {
        let mut ever = Ever::new(1);
        let first = ever.backend("web", "a");
        first.of(0).copied[0].add(3);
        drop(first);
        assert_eq!(ever.backend("web", "a").sum().copied[0], 3);
        ever.backend("web", "b");
        ever.backend("other", "a");
        assert_eq!(ever.of_pool("web").map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(ever.of_pool("we").count(), 0);
    }

    #[test]
    fn each_address_of_a_listener_is_counted_and_the_sum_keeps_those_that_are_gone() {
        let mut ever = Ever::new(2);
        let sum = |ever: &Ever| ever.of_listener("x").map(|one| one.accepted()).sum::<u64>();
        ever.listener("x", "a:1").of(0).accepted.add(1);
        ever.listener("x", "b:1").of(1).accepted.add(2);
        ever.listener("xy", "a:1").of(1).accepted.add(4);
        assert_eq!(ever.listener("x", "a:1").accepted(), 1);
        assert_eq!(sum(&ever), 3);
        for number in 0..3 * REMEMBERED {
            let tallies = ever.listener("x", &format!("gone:{number}"));
            tallies.of(1).accepted.add(1);
            tallies.of(1).ended[0].add(2);
        }
        assert!(ever.listeners.len() <= REMEMBERED + 1);
        assert_eq!(sum(&ever), 3 + 3 * REMEMBERED as u64);
        let ended: u64 = ever.of_listener("x").map(|one| one.ended()[0]).sum();
        assert_eq!(ended, 6 * REMEMBERED as u64);
    }

    #[test]
    fn the_sums_of_a_pool_keep_those_that_were_forgotten() {
        let mut ever = Ever::new(2);
        let bytes = |ever: &Ever| -> u64 {
            ever.of_pool("web").map(|(_, tallies)| tallies.sum().copied[1]).sum()
        };
        for number in 0..3 * REMEMBERED {
            let tallies = ever.backend("web", &format!("gone-{number}"));
            tallies.of(1).copied[1].add(2);
            tallies.connected.fetch_add(1, Ordering::Relaxed);
            drop(tallies);
        }
        assert_eq!(bytes(&ever), 6 * REMEMBERED as u64);
        let connected = |tallies: &Tallies| tallies.connected.load(Ordering::Relaxed);
        let connected: u64 = ever.of_pool("web").map(|(_, tallies)| connected(tallies)).sum();
        assert_eq!(connected, 3 * REMEMBERED as u64);
        assert_eq!(ever.of_pool("other").count(), 0);
    }

    #[test]
    fn those_that_nobody_uses_make_way_when_they_are_too_many() {
        let mut ever = Ever::new(1);
        let used = ever.backend("web", "used");
        for number in 0..2 * REMEMBERED {
            ever.backend("web", &format!("gone-{number}"));
        }
        assert!(ever.backends.len() <= REMEMBERED + 1);
        assert!(Arc::ptr_eq(&used, &ever.backend("web", "used")));
    }
}
