//! What happened between two looks: pure functions of two [`Status`].
//!
//! Counts that went back belong to something that began anew (a program that was started again, a
//! backend that was added again): all that it has counted by then happened since.

use std::collections::HashMap;

use crate::api::{Backend, Bytes, Latency, Listener, Pool, Shard, Status};
use crate::quantile;

/// Bytes a second, and how much of that was spliced.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Flow {
    /// A second.
    pub(crate) bytes: f64,
    /// Of these.
    pub(crate) spliced: f64,
}

/// What one backend, or the backends of one pool, did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Work {
    /// Connections made, a second.
    pub(crate) connected: f64,
    /// Connections that could not be made, a second.
    pub(crate) failed: f64,
    pub(crate) to_backend: Flow,
    pub(crate) to_clients: Flow,
}

/// What one shard did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ShardWork {
    /// Of one processor, 0 to 1.
    pub(crate) cpu: f64,
    /// Connections accepted, a second.
    pub(crate) accepted: f64,
    /// Turns of its loop, a second.
    pub(crate) turns: f64,
    pub(crate) to_backend: Flow,
    pub(crate) to_clients: Flow,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    /// Clients accepted, a second.
    pub(crate) accepted: f64,
    /// Sessions ended, a second.
    pub(crate) ended: f64,
    pub(crate) to_backends: Flow,
    pub(crate) to_clients: Flow,
    /// In the order of [`Status::pools`].
    pub(crate) pools: Vec<Work>,
    /// In the order of [`Status::backends`].
    pub(crate) backends: Vec<Work>,
    /// In the order of [`Status::shards`].
    pub(crate) shards: Vec<ShardWork>,
}

/// Percentiles of what came between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Percentiles {
    pub(crate) p50_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
}

/// Those of one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Latencies {
    pub(crate) connect: Percentiles,
    pub(crate) response: Percentiles,
}

impl Rates {
    /// From `before` to `now`; nothing if no time passed, or if these are two runs of the program.
    pub(crate) fn between(before: &Status, now: &Status) -> Option<Self> {
        if before.pid != now.pid || before.uptime_seconds > now.uptime_seconds {
            return None;
        }
        let ms = now.time_ms.checked_sub(before.time_ms).filter(|&ms| ms > 0)?;
        let over = Over(float(ms) / 1e3);
        let pools = by(&before.pools, |pool| pool.name.as_str());
        let backends = by(&before.backends, key);
        let shards = by(&before.shards, |shard| shard.index);
        let which = |listener: &Listener| (listener.name.clone(), listener.address.clone());
        let listeners = by(&before.listeners, which);
        let accepted = now.listeners.iter().map(|listener| {
            let before = listeners.get(&which(listener)).map_or(0, |before| before.accepted);
            over.count(before, listener.accepted)
        });
        let ended = |status: &Status| status.ended.values().sum();
        let shards: Vec<ShardWork> =
            now.shards.iter().map(|shard| over.shard(shards.get(&shard.index), shard)).collect();
        Some(Self {
            accepted: accepted.sum(),
            ended: over.count(ended(before), ended(now)),
            to_backends: shards.iter().map(|shard| shard.to_backend).sum(),
            to_clients: shards.iter().map(|shard| shard.to_clients).sum(),
            pools: now.pools.iter().map(|p| over.pool(pools.get(p.name.as_str()), p)).collect(),
            backends: now.backends.iter().map(|b| over.backend(backends.get(&key(b)), b)).collect(),
            shards,
        })
    }

    /// The share of all bytes that were spliced, if any moved.
    pub(crate) fn spliced(&self) -> Option<f64> {
        let all = self.to_backends.bytes + self.to_clients.bytes;
        (all > 0.0).then(|| (self.to_backends.spliced + self.to_clients.spliced) / all)
    }
}

/// The percentiles of each backend of `now`, of what came since `before`, in their order; of everything
/// where there is no `before`.
pub(crate) fn latencies(before: Option<&Status>, now: &Status) -> Vec<Latencies> {
    let same = before.filter(|before| before.pid == now.pid && before.bounds_us == now.bounds_us);
    let before = same.map(|before| by(&before.backends, key)).unwrap_or_default();
    let of = |latency: fn(&Backend) -> &Latency, backend: &Backend| {
        let before = before.get(&key(backend)).map(|before| latency(before));
        percentiles(before, latency(backend), &now.bounds_us)
    };
    let of_backend = |backend| Latencies {
        connect: of(|backend| &backend.connect, backend),
        response: of(|backend| &backend.response, backend),
    };
    now.backends.iter().map(of_backend).collect()
}

fn percentiles(before: Option<&Latency>, now: &Latency, bounds_us: &[u64]) -> Percentiles {
    let came = match before {
        Some(before) if !before.buckets.is_empty() => {
            quantile::since(&before.buckets, &now.buckets)
        }
        _ => now.buckets.clone(),
    };
    let of = |part| quantile::quantile_us(&came, bounds_us, part);
    Percentiles { p50_us: of(0.5), p99_us: of(0.99) }
}

/// So many seconds.
#[derive(Clone, Copy, Debug)]
struct Over(f64);

impl Over {
    fn count(self, before: u64, now: u64) -> f64 {
        float(now.checked_sub(before).unwrap_or(now)) / self.0
    }

    fn flow(self, before: Bytes, now: Bytes) -> Flow {
        let copied = self.count(before.copied, now.copied);
        let spliced = self.count(before.spliced, now.spliced);
        Flow { bytes: copied + spliced, spliced }
    }

    fn pool(self, before: Option<&&Pool>, now: &Pool) -> Work {
        let none = Pool::default();
        let before = before.copied().unwrap_or(&none);
        Work {
            connected: self.count(before.connected, now.connected),
            failed: self.count(before.failed, now.failed),
            to_backend: self.flow(before.to_backend, now.to_backend),
            to_clients: self.flow(before.to_clients, now.to_clients),
        }
    }

    fn backend(self, before: Option<&&Backend>, now: &Backend) -> Work {
        let none = Backend::default();
        let before = before.copied().unwrap_or(&none);
        Work {
            connected: self.count(before.connected, now.connected),
            failed: self.count(before.failed, now.failed),
            to_backend: self.flow(before.to_backend, now.to_backend),
            to_clients: self.flow(before.to_clients, now.to_clients),
        }
    }

    fn shard(self, before: Option<&&Shard>, now: &Shard) -> ShardWork {
        let none = Shard::default();
        let before = before.copied().unwrap_or(&none);
        ShardWork {
            cpu: self.count(before.cpu_ms, now.cpu_ms) / 1e3,
            accepted: self.count(before.accepted, now.accepted),
            turns: self.count(before.turns, now.turns),
            to_backend: self.flow(before.to_backend, now.to_backend),
            to_clients: self.flow(before.to_clients, now.to_clients),
        }
    }
}

impl std::iter::Sum for Flow {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            bytes: sum.bytes + one.bytes,
            spliced: sum.spliced + one.spliced,
        })
    }
}

fn by<'a, T, K: std::hash::Hash + Eq>(all: &'a [T], key: impl Fn(&'a T) -> K) -> HashMap<K, &'a T> {
    all.iter().map(|one| (key(one), one)).collect()
}

fn key(backend: &Backend) -> (&str, &str) {
    (&backend.pool, &backend.name)
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Listener;

    fn status(time_ms: u64) -> Status {
        Status { pid: 7, time_ms, uptime_seconds: time_ms / 1000, ..Status::default() }
    }

    fn backend(name: &str, connected: u64, copied: u64, spliced: u64) -> Backend {
        Backend {
            pool: "web".to_owned(),
            name: name.to_owned(),
            connected,
            to_clients: Bytes { copied, spliced },
            ..Backend::default()
        }
    }

    #[test]
    fn rates_are_differences_by_the_time_between() {
        let (mut before, mut now) = (status(1_000), status(3_000));
        before.backends = vec![backend("a", 10, 100, 0), backend("b", 5, 0, 0)];
        // In another order, one is new, one is gone.
        now.backends = vec![backend("c", 4, 0, 0), backend("a", 30, 300, 600)];
        let listener = |address: &str, accepted| {
            let (name, address) = ("web".to_owned(), address.to_owned());
            Listener { name, address, accepted, ..Listener::default() }
        };
        before.listeners = vec![listener("a:1", 15), listener("b:1", 100)];
        now.listeners = vec![listener("a:1", 33), listener("b:1", 102)];
        let rates = Rates::between(&before, &now).expect("time passed");
        assert_eq!(rates.accepted, 10.0);
        let [c, a] = rates.backends[..] else { panic!("two backends") };
        assert_eq!((c.connected, a.connected), (2.0, 10.0));
        assert_eq!(a.to_clients, Flow { bytes: 400.0, spliced: 300.0 });
    }

    #[test]
    fn what_went_back_began_anew() {
        let (mut before, mut now) = (status(0), status(1_000));
        before.backends = vec![backend("a", 1000, 0, 0)];
        now.backends = vec![backend("a", 3, 0, 0)];
        assert_eq!(Rates::between(&before, &now).expect("time").backends[0].connected, 3.0);
    }

    #[test]
    fn two_runs_of_the_program_and_one_moment_have_no_rates() {
        let before = status(5_000);
        assert_eq!(Rates::between(&before, &before), None);
        assert_eq!(Rates::between(&before, &status(4_000)), None);
        assert_eq!(Rates::between(&before, &Status { pid: 8, ..status(6_000) }), None);
        let again = Status { uptime_seconds: 0, ..status(6_000) };
        assert_eq!(Rates::between(&before, &again), None, "the same process id");
    }

    #[test]
    fn a_shard_that_works_all_the_time_has_one_processor() {
        let shard = |cpu_ms| Shard {
            index: 1,
            cpu_ms,
            to_backend: Bytes { copied: 3 * cpu_ms, spliced: cpu_ms },
            ..Shard::default()
        };
        let (mut before, mut now) = (status(0), status(2_000));
        (before.shards, now.shards) = (vec![shard(500)], vec![shard(2_500)]);
        let rates = Rates::between(&before, &now).expect("time");
        assert_eq!(rates.shards[0].cpu, 1.0);
        assert_eq!(rates.to_backends, Flow { bytes: 4_000.0, spliced: 1_000.0 });
        assert_eq!(rates.spliced(), Some(0.25));
        assert_eq!(Rates::default().spliced(), None);
    }

    #[test]
    fn percentiles_are_of_what_came_in_between() {
        let of = |buckets: &[u64]| {
            let response = Latency { buckets: buckets.to_vec(), ..Latency::default() };
            let backends = vec![Backend { response, ..backend("a", 0, 0, 0) }];
            Status { backends, bounds_us: vec![100, 200], ..status(0) }
        };
        let p50 = |before: Option<&Status>, now: &Status| latencies(before, now)[0].response.p50_us;
        let (before, now) = (of(&[1000, 0, 0]), of(&[1000, 2, 0]));
        assert_eq!(p50(Some(&before), &now), Some(150));
        assert_eq!(p50(None, &now), Some(50), "of all");
        assert_eq!(p50(Some(&now), &now), None, "nothing came");
        assert_eq!(p50(Some(&of(&[])), &now), Some(50), "the first came");
        assert_eq!(p50(Some(&of(&[])), &of(&[])), None);
    }
}
