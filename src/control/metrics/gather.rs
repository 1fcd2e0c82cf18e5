//! A look at the running balancer: what a scrape tells of.
//!
//! Under the lock of the configuration only references and a few words are taken; the sums over shards,
//! which read thousands of counters of each backend, are made afterwards, in the background.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use super::backends::{BackendSeen, BackendSum, STATES};
use super::family::{Bounds, Buckets, Labels};
pub use super::host::Usage;
pub use super::listeners::ListenerSeen;
pub use super::pools::{PoolSeen, PoolSum};
pub use super::process::{Facts, ProcessSeen, Reloads};
pub use super::shards::ShardSeen;
use crate::balancer::Handle;
use crate::config::plan::{BackendConfig, Destination, PoolConfig, StickyBy};
use crate::control::admin::ask::{PATIENCE, counts};
use crate::control::background::Background;
use crate::control::standing;
use crate::control::world::World;
use crate::core::BackendId;
use crate::core::moment::Moment;
use crate::shard::condition::Health;
use crate::shard::counters::Counters;
use crate::shard::driver::Counts;
use crate::shard::pool::Pool;
use crate::shard::shared::{Shared, Stopping};
use crate::shard::sticky::Sticky;
use crate::shard::tally::{Tallies, TallySum};

/// What a scrape tells of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The program.
    pub process: ProcessSeen,
    /// By name.
    pub listeners: Vec<ListenerSeen>,
    /// By name.
    pub pools: Vec<PoolSeen>,
    /// By pool, in the order of the configuration.
    pub backends: Vec<BackendSeen>,
    /// In their order.
    pub shards: Vec<ShardSeen>,
}

/// Looks at all of it. To be called on the control thread.
pub async fn gather(balancer: &Handle, background: &Background, facts: Facts) -> Seen {
    let shared = Arc::clone(balancer.shared());
    let drivers = counts(&shared, PATIENCE).await;
    let (listeners, known) = under_the_lock(balancer);
    background.run(move || sum_up(&shared, facts, drivers, listeners, known)).await
}

fn sum_up(
    shared: &Shared,
    facts: Facts,
    drivers: Vec<Option<Counts>>,
    listeners: Vec<ListenerSeen>,
    known: Vec<PoolKnown>,
) -> Seen {
    let (pools, backends): (Vec<_>, Vec<_>) = known.into_iter().map(PoolKnown::summed).unzip();
    let shards: Vec<_> = (0..)
        .zip(shared.counters.iter().zip(drivers))
        .map(|(index, (counters, driver))| shard(index, &facts, counters, driver))
        .collect();
    let process = ProcessSeen {
        sessions: shards.iter().map(|one| u64::from(one.sessions)).sum(),
        stopping: shared.stopping() != Stopping::No,
        notices_lost: shared.notices.lost(),
        session_log: [shared.session_log.lines(), shared.session_log.write_errors()],
        usage: Usage::read(),
        facts,
    };
    Seen { process, listeners, pools, backends: backends.concat(), shards }
}

fn shard(index: usize, facts: &Facts, counters: &Counters, driver: Option<Counts>) -> ShardSeen {
    let cpu_ns = facts.shards_cpu_ns.get(index).copied().flatten();
    ShardSeen {
        index,
        cpu: facts.cpus.get(index).copied().unwrap_or_default(),
        sessions: counters.sessions.value(),
        cpu_ns,
        counts: counters.list(),
        ended: std::array::from_fn(|reason| counters.ended[reason].value()),
        driver,
    }
}

/// What can only be seen while the configuration does not change.
fn under_the_lock(balancer: &Handle) -> (Vec<ListenerSeen>, Vec<PoolKnown>) {
    let now = Moment::from_ns(uring::monotonic_ns());
    let world = balancer.world();
    let listeners = listeners(&world);
    let pools = world.pools().map(|(config, pool)| PoolKnown::new(&world, config, pool, now));
    let mut pools: Vec<_> = pools.collect();
    drop(world);
    pools.sort_by(|one, other| one.seen.name.cmp(&other.seen.name));
    (listeners, pools)
}

fn listeners(world: &World) -> Vec<ListenerSeen> {
    let mut by_name: BTreeMap<&str, ListenerSeen> = BTreeMap::new();
    for listener in world.listeners() {
        let seen = by_name.entry(&listener.name).or_insert_with(|| {
            // Those that a reload took away, too: a sum does not go backwards.
            let mut seen = ListenerSeen {
                name: listener.name.clone(),
                pool: listener.pool.name.clone(),
                ..ListenerSeen::default()
            };
            for tallies in world.ever().of_listener(&listener.name) {
                seen.accepted += tallies.accepted();
                seen.ended.iter_mut().zip(tallies.ended()).for_each(|(sum, one)| *sum += one);
            }
            seen
        });
        if let Some(per_ip) = &listener.per_ip {
            let [clients, forgotten] = seen.per_ip.get_or_insert_default();
            *clients += per_ip.table.clients() as u64;
            // All tables of one name count together.
            *forgotten = (*forgotten).max(per_ip.table.forgotten());
        }
        seen.addresses.push(listener.address.to_string());
        seen.sessions += u64::from(listener.gate.sessions());
        seen.waiting += u64::from(listener.gate.crowd.len());
        if let Some(most) = listener.max_sessions {
            *seen.sessions_max.get_or_insert(0) += u64::from(most);
        }
    }
    by_name.into_values().collect()
}

/// A pool of which the sums are still to be made.
struct PoolKnown {
    seen: PoolSeen,
    backends: Vec<BackendSeen>,
    /// Of every backend that it has or had.
    ever: Vec<(String, Arc<Tallies>)>,
}

impl PoolKnown {
    fn new(world: &World, config: &PoolConfig, pool: &Pool, now: Moment) -> Self {
        let backups_serve = standing::backups_serve(pool, now);
        let backends: Vec<_> = (0..)
            .map(BackendId)
            .zip(&config.backends)
            .map(|(id, backend)| self::backend(pool, id, backend, now, backups_serve))
            .collect();
        let ever = world.ever().of_pool(&config.name);
        Self {
            seen: PoolSeen {
                name: config.name.clone(),
                algorithm: match config.destination {
                    Destination::Backends => config.algorithm.to_string(),
                    Destination::OriginalDst => "original-dst".to_owned(),
                },
                sticky: match config.sticky.map(|sticky| sticky.key) {
                    None => "off",
                    Some(StickyBy::Ip) => "ip",
                    Some(StickyBy::IpPort) => "ip-port",
                }
                .to_owned(),
                backends: backends.len() as u64,
                active: backends.iter().filter(|one| standing::is_active(one.state)).count() as u64,
                fails_open: pool.fails_open(now),
                sessions: backends.iter().map(|one| u64::from(one.sessions)).sum(),
                waiting: pool.state.crowd.len().into(),
                sticky_clients: pool.state.sticky.as_ref().map(of_table),
                ever: PoolSum::default(),
            },
            backends,
            ever: ever.map(|(name, tallies)| (name.to_owned(), Arc::clone(tallies))).collect(),
        }
    }

    fn summed(mut self) -> (PoolSeen, Vec<BackendSeen>) {
        let places: BTreeMap<String, usize> =
            self.backends.iter().map(|one| one.name.clone()).zip(0..).collect();
        for (name, tallies) in &self.ever {
            let sum = sum_of(tallies);
            self.seen.ever.add(&sum);
            if let Some(&place) = places.get(name) {
                self.backends[place].ever = sum;
            }
        }
        (self.seen, self.backends)
    }
}

/// Clients that are remembered, and those that there was no room for.
fn of_table(table: &Sticky) -> [u64; 2] {
    [table.len() as u64, table.pushed_out()]
}

fn backend(
    pool: &Pool,
    id: BackendId,
    config: &BackendConfig,
    now: Moment,
    backups_serve: bool,
) -> BackendSeen {
    let member = pool.member(id);
    let condition = &member.backend.condition;
    let changed = condition.down_since().or_else(|| condition.up_since());
    BackendSeen {
        labels: Labels::new(&[("pool", &pool.name), ("backend", &config.name)]),
        pool: pool.name.clone(),
        name: config.name.clone(),
        target: config.target.to_string(),
        backup: member.backup,
        state: standing::word(pool, id, now, backups_serve),
        wanted: member.state,
        healthy: condition.health(now) == Health::Up,
        changed_ns: changed.map(|then| now.ns().saturating_sub(then.ns())),
        weight: member.weight,
        warmth: pool.warmth(id, now),
        sessions: member.backend.active(),
        sessions_max: (member.most != u32::MAX).then_some(member.most),
        ever: BackendSum::default(),
    }
}

fn sum_of(tallies: &Tallies) -> BackendSum {
    let sum = tallies.sum();
    let TallySum { copied, spliced, ended, moved_here, .. } = sum;
    let latency = |distribution| Buckets::new(distribution, Bounds::LATENCY);
    BackendSum {
        connected: tallies.connected.load(Ordering::Relaxed),
        failed: tallies.failed.load(Ordering::Relaxed),
        transitions: tallies.transitions.load(Ordering::Relaxed),
        ejections: tallies.ejections.load(Ordering::Relaxed),
        fail_opens: tallies.fail_opens.load(Ordering::Relaxed),
        moved_here,
        copied,
        spliced,
        ended,
        connect: latency(&sum.connect),
        first_byte: latency(&sum.first_byte),
        response: latency(&sum.response),
        session: Buckets::new(&sum.session, Bounds::LENGTH),
        tcp: sum.tcp,
    }
}

impl PoolSum {
    fn add(&mut self, one: &BackendSum) {
        self.connected += one.connected;
        self.failed += one.failed;
        self.ejections += one.ejections;
        self.fail_opens += one.fail_opens;
        self.moved += one.moved_here;
        let pairs = [
            (&mut self.copied[..], &one.copied[..]),
            (&mut self.spliced[..], &one.spliced[..]),
            (&mut self.ended[..], &one.ended[..]),
        ];
        for (sums, counts) in pairs {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
}
