//! Of each pool: sums over every backend that it has or had, and what only the pool knows.

use super::backends::bytes;
use super::family::{Family, Kind, Labels};
use super::reasons::{self, Ended};

/// What is known of a pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolSeen {
    /// As it is configured.
    pub name: String,
    /// How a backend is picked.
    pub algorithm: String,
    /// What clients stick by.
    pub sticky: String,
    /// Backends that it has.
    pub backends: u64,
    /// Those of them that get new sessions.
    pub active: u64,
    /// Whether it uses backends that should be out.
    pub fails_open: bool,
    /// Connections now.
    pub sessions: u64,
    /// Clients that wait for a backend or for room in one.
    pub waiting: u64,
    /// Clients that its sticky table remembers, and those that it had no room for, if it has one.
    pub sticky_clients: Option<[u64; 2]>,
    /// What its backends have counted, ever.
    pub ever: PoolSum,
}

/// What all backends that a pool has or had have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolSum {
    /// Connections made.
    pub connected: u64,
    /// Connections that could not be made.
    pub failed: u64,
    /// Times that a backend was ejected.
    pub ejections: u64,
    /// Times that one was not, because too many were out.
    pub fail_opens: u64,
    /// Sessions that went on with another backend.
    pub moved: u64,
    /// Bytes through buffers, by direction.
    pub copied: [u64; 2],
    /// Bytes through pipes, by direction.
    pub spliced: [u64; 2],
    /// Sessions ended.
    pub ended: Ended,
}

/// All of them.
pub(super) fn families(all: &[PoolSeen]) -> Vec<Family> {
    let labels = |one: &PoolSeen| Labels::new(&[("pool", &one.name)]);
    let all: Vec<_> = all.iter().map(|one| (labels(one), one)).collect();
    let mut families = gauges(&all);
    families.extend(counters(&all));
    families
}

fn gauges(all: &[(Labels, &PoolSeen)]) -> Vec<Family> {
    let gauge = |name: &str, help| Family::new(&format!("evenkeel_pool_{name}"), Kind::Gauge, help);
    vec![
        Family::new("evenkeel_pool", Kind::Info, "How backends of the pool are picked.").of(
            all,
            |(_, one)| {
                let pairs =
                    [("pool", &*one.name), ("algorithm", &one.algorithm), ("sticky", &one.sticky)];
                (Labels::new(&pairs), true)
            },
        ),
        gauge("backends", "Backends that the pool has.")
            .of(all, |(labels, one)| (labels.clone(), one.backends)),
        gauge("active_backends", "Backends that get new sessions.")
            .of(all, |(labels, one)| (labels.clone(), one.active)),
        gauge("fail_open", "Whether it uses backends that should be out, because too many are.")
            .of(all, |(labels, one)| (labels.clone(), one.fails_open)),
        gauge("current_sessions", "Connections to its backends now, those being made included.")
            .of(all, |(labels, one)| (labels.clone(), one.sessions)),
        gauge("current_queue", "Clients that wait for a backend, or for room in one.")
            .of(all, |(labels, one)| (labels.clone(), one.waiting)),
        gauge("sticky_clients", "Clients that are remembered together with their backend.").of(
            all.iter().filter_map(|(labels, one)| Some((labels, one.sticky_clients?[0]))),
            |(labels, clients)| (labels.clone(), clients),
        ),
        Family::new(
            "evenkeel_pool_sticky_pushed_out",
            Kind::Counter,
            "Clients that were forgotten before their time because the table was full.",
        )
        .of(
            all.iter().filter_map(|(labels, one)| Some((labels, one.sticky_clients?[1]))),
            |(labels, clients)| (labels.clone(), clients),
        ),
    ]
}

fn counters(all: &[(Labels, &PoolSeen)]) -> Vec<Family> {
    let counter = |name: &str, help, value: fn(&PoolSum) -> u64| {
        Family::new(&format!("evenkeel_pool_{name}"), Kind::Counter, help)
            .of(all, |(labels, one)| (labels.clone(), value(&one.ever)))
    };
    let sums = || all.iter().map(|(labels, one)| (labels, &one.ever.copied, &one.ever.spliced));
    let [bytes_in, bytes_out] = bytes("evenkeel_pool", sums);
    vec![
        counter(
            "connection_attempts",
            "Connects that have ended, well or not, also to backends that are gone.",
            |ever| ever.connected + ever.failed,
        ),
        counter("connection_errors", "Connects that failed.", |ever| ever.failed),
        counter("ejections", "Times that a backend was ejected.", |ever| ever.ejections),
        counter(
            "fail_opens",
            "Failed connects that would have ejected a backend, had enough others been left.",
            |ever| ever.fail_opens,
        ),
        counter(
            "sessions_moved",
            "Running sessions that went on with another backend when theirs had ended.",
            |ever| ever.moved,
        ),
        bytes_in,
        bytes_out,
        reasons::family(
            "evenkeel_pool_sessions_ended",
            "Sessions ended that had a backend, by HAProxy's two letters and a word.",
            all.iter().map(|(labels, one)| (labels, &one.ever.ended)),
        ),
    ]
}
