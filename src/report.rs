//! What the log says of the whole: regularly, if that is asked for, and at the end.

use std::io;
use std::time::Duration;

use tracing::info;

use crate::balancer::Handle;
use crate::config::Config;
use crate::core::bottleneck::Verdict;
use crate::core::moment::Moment;
use crate::core::session::EndReason;
use crate::logging::Logging;
use crate::shard::condition::Health;
use crate::shard::counters::Counters;
use crate::shard::driver::Counts;
use crate::shard::pool::Member;
use crate::shard::shared::Shared;

/// Logs the present state every `interval`, on a thread of its own that ends with the program.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn regularly(
    interval: Duration,
    engine: String,
    cpus: Vec<usize>,
    balancer: Handle,
) -> io::Result<()> {
    let tell = move || loop {
        std::thread::sleep(interval);
        let shared = balancer.shared();
        info!("engine {engine}");
        tell_backends(shared);
        tell_shards(&cpus, shared);
        let Verdict { sentence, evidence, .. } = balancer.bottlenecks().verdict();
        info!("bottleneck: {sentence} ({evidence})");
    };
    std::thread::Builder::new().name("report".to_owned()).spawn(tell).map(drop)
}

/// What was done, and every surprise, when the program ends.
pub(crate) fn at_the_end(config: &Config, shared: &Shared, drivers: &[Counts], logging: &Logging) {
    let mut ended = Vec::new();
    for reason in EndReason::ALL {
        let count: u64 = shared.counters.iter().map(|one| one.ended[reason as usize].value()).sum();
        if count > 0 {
            ended.push(format!("{} {count}", reason.label()));
        }
    }
    info!(
        "sessions ended: {}",
        if ended.is_empty() { "none".to_owned() } else { ended.join(", ") }
    );
    tell_backends(shared);
    tell_shards(&config.process.cpus, shared);
    let shards: Vec<_> = shared.counters.iter().map(|one| Counters::list(one)).collect();
    let mut counts = sums(&shards);
    counts.extend(sums(drivers));
    counts.extend(session_log(shared));
    counts.push(("log_dropped", logging.dropped_lines()));
    let counts = counts.into_iter().filter(|&(_, count)| count > 0);
    let counts = counts.map(|(name, count)| format!("{name}={count}"));
    info!("counters: {}", counts.collect::<Vec<_>>().join(" "));
}

fn tell_backends(shared: &Shared) {
    let snapshot = shared.snapshot();
    let now = Moment::from_ns(uring::monotonic_ns());
    for pool in &snapshot.pools {
        for Member { backend, .. } in &pool.members {
            let (connected, failed) = backend.connected_and_failed();
            let (name, active) = (&backend.name, backend.active());
            let health = match backend.condition.health(now) {
                Health::Up => "up",
                Health::Ejected => "ejected",
                Health::Down => "down",
            };
            info!(
                "backend {name}: {active} connections, {connected} connected, {failed} failed, {health}"
            );
        }
        let (name, waiting) = (&pool.name, pool.state.crowd.len());
        if waiting > 0 {
            info!("pool {name}: {waiting} clients wait");
        }
    }
}

fn tell_shards(cpus: &[usize], shared: &Shared) {
    for (index, (cpu, counters)) in cpus.iter().zip(&shared.counters).enumerate() {
        info!("shard {index} (CPU {cpu}): {}", describe_shard(counters));
    }
}

/// What became of the lines about sessions that were not dropped.
fn session_log(shared: &Shared) -> Counts {
    let Some(records) = &shared.records else { return Counts::new() };
    let log = &shared.session_log;
    vec![
        ("session_log_lines", log.lines()),
        ("session_log_lost", log.lost(records)),
        ("session_log_write_errors", log.write_errors()),
    ]
}

/// The counters of several shards, which all have the same names.
fn sums(lists: &[Counts]) -> Counts {
    let mut sums = lists.first().cloned().unwrap_or_default();
    for list in lists.iter().skip(1) {
        sums.iter_mut().zip(list).for_each(|(sum, one)| sum.1 += one.1);
    }
    sums
}

/// How a shard's share of the sessions came about.
fn describe_shard(counters: &Counters) -> String {
    let Counters { sessions, accepted, handed_over, taken_over, ended, .. } = counters;
    let [accepted, handed_over, taken_over] =
        [accepted, handed_over, taken_over].map(|one| one.value());
    let served: u64 = ended.iter().map(|one| one.value()).sum();
    let now = sessions.value();
    format!(
        "sessions now={now} accepted={accepted} handed_over={handed_over} taken_over={taken_over} \
         sessions served={served}"
    )
}
