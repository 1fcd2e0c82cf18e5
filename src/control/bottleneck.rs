//! Who holds the traffic up, over the last seconds: what shards have counted is looked at once a second,
//! and the difference between two looks is judged.

mod cpu;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api;
use crate::core::bottleneck::{Ended, Load, Sums, Verdict, Watched, Who, verdict};
use crate::core::moment::Moment;
use crate::shard::shared::Shared;
use crate::shard::tally::Tallies;
use crate::shard::tcp_tally::TcpSum;

use cpu::{CpuTime, Threads};

/// What was seen in the last seconds. It may be asked from any thread.
#[derive(Debug)]
pub struct Bottlenecks {
    /// Whether shards look at connections at all.
    watches: bool,
    /// Whether shards use time without having anything to do (`--busy-poll`).
    spins: bool,
    seen: Mutex<Seen>,
}

/// Looks, oldest first.
#[derive(Debug, Default)]
struct Seen {
    looks: VecDeque<Look>,
    threads: Option<Threads>,
}

/// All that was counted, at a moment.
#[derive(Clone, Debug)]
struct Look {
    at: Moment,
    /// By pool and backend.
    backends: BTreeMap<String, (TcpSum, Ended)>,
    shards: Vec<Option<CpuTime>>,
}

impl Bottlenecks {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(watches: bool, spins: bool) -> Self {
        Self { watches, spins, seen: Mutex::default() }
    }

    /// Looks at what was counted, if the last look is a second ago. To be called about once a second,
    /// or as often as anybody wants to know.
    pub fn look(&self, shared: &Shared) {
        let now = Moment::from_ns(uring::monotonic_ns());
        let mut seen = self.seen();
        let Seen { looks, threads } = &mut *seen;
        if looks.back().is_some_and(|last| now.since(last.at) < BETWEEN) {
            return;
        }
        let threads = threads.get_or_insert_with(|| Threads::find(shared.counters.len()));
        looks.push_back(Look::take(shared, threads, now));
        // One look that is as old as the window is where it begins.
        while looks.get(1).is_some_and(|next| now.since(next.at) >= WINDOW) {
            looks.pop_front();
        }
    }

    /// Who it was in the last seconds.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if !self.watches {
            return unknown();
        }
        let seen = self.seen();
        match (seen.looks.front(), seen.looks.back()) {
            (Some(first), Some(last)) => last.judged_since(first, self.spins),
            _ => verdict(&[], &[]),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for the admin API.
    #[must_use]
    pub fn to_api(&self) -> api::Bottleneck {
        let Verdict { who, backend, sentence, evidence } = self.verdict();
        api::Bottleneck { who: who.name().to_owned(), backend, sentence, evidence }
    }
}

fn unknown() -> Verdict {
    Verdict {
        who: Who::Nobody,
        backend: None,
        sentence: "Nobody knows: --tcp-info is off".to_owned(),
        evidence: String::new(),
    }
}

impl Look {
    fn take(shared: &Shared, threads: &Threads, at: Moment) -> Self {
        let snapshot = shared.snapshot();
        let members = snapshot.pools.iter().flat_map(|pool| {
            let named = |name: &str| format!("{}/{name}", pool.name);
            pool.members.iter().map(move |one| (named(&one.backend.name), one))
        });
        let of = |tallies: &Tallies| (tallies.tcp(), tallies.ended_sessions());
        let backends = members.map(|(name, one)| (name, of(&one.backend.tallies)));
        Self { at, backends: backends.collect(), shards: threads.times() }
    }

    fn judged_since(&self, before: &Self, spins: bool) -> Verdict {
        let watched = self.backends.iter().map(|(name, (now, ended))| {
            let (then, ended_then) = before.backends.get(name).cloned().unwrap_or_default();
            Watched {
                name: name.clone(),
                sums: now.sums.since(&then.sums),
                rtt_us: now.backend_rtt.us(),
                ended: ended.since(ended_then),
            }
        });
        let watched: Vec<Watched> = watched.collect();
        let time = self.at.since(before.at);
        let loads = self.shards.iter().zip(&before.shards).enumerate();
        let loads =
            loads.filter_map(|(shard, (now, then))| (*now)?.load_since((*then)?, shard, time));
        let loads: Vec<Load> = if spins { Vec::new() } else { loads.collect() };
        verdict(&watched, &loads)
    }
}

/// What samples of a backend's sessions came to, for the admin API.
#[must_use]
pub fn tcp(sum: &TcpSum) -> api::Tcp {
    let Sums { samples, waited, client_retransmits, backend_retransmits, .. } = sum.sums;
    let ms = |us: u64| us / 1000;
    api::Tcp {
        samples,
        backend_rtt_us: sum.backend_rtt.us(),
        client_rtt_us: sum.client_rtt.us(),
        backend_retransmits,
        client_retransmits,
        waited_ms: api::Waited {
            client: ms(waited.client()),
            backend: ms(waited.backend()),
            client_network: ms(waited.client_network),
            backend_network: ms(waited.backend_network),
            balancer: ms(waited.balancer),
        },
    }
}

/// How long ago what is judged began.
const WINDOW: Duration = Duration::from_secs(10);

/// The shortest time between two looks.
const BETWEEN: Duration = Duration::from_millis(900);
