//! Of each listener.

use super::family::{Family, Kind, Labels};
use super::reasons::{self, Ended};

/// What is known of a listener. Several addresses of one name are one listener.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListenerSeen {
    /// As it is configured.
    pub name: String,
    /// Where clients connect.
    pub addresses: Vec<String>,
    /// Which pool serves them.
    pub pool: String,
    /// Sessions now.
    pub sessions: u64,
    /// Sessions that it may have.
    pub sessions_max: Option<u64>,
    /// Clients that wait for room.
    pub waiting: u64,
    /// Clients that its table of limits knows, and those that it had no room for, if it has one.
    pub per_ip: Option<[u64; 2]>,
    /// Connections accepted.
    pub accepted: u64,
    /// Sessions ended.
    pub ended: Ended,
}

/// All of them.
pub(super) fn families(all: &[ListenerSeen]) -> Vec<Family> {
    let labels = |one: &ListenerSeen| Labels::new(&[("listener", &one.name)]);
    let all: Vec<_> = all.iter().map(|one| (labels(one), one)).collect();
    let gauge =
        |name: &str, help| Family::new(&format!("evenkeel_listener_{name}"), Kind::Gauge, help);
    let places = all.iter().flat_map(|(_, one)| one.addresses.iter().map(move |at| (one, at)));
    vec![
        Family::new("evenkeel_listener", Kind::Info, "Where clients connect, and who serves them.")
            .of(places, |(one, address)| {
                let pairs = [("listener", &*one.name), ("address", address), ("pool", &one.pool)];
                (Labels::new(&pairs), true)
            }),
        gauge("current_sessions", "Sessions now.")
            .of(&all, |(labels, one)| (labels.clone(), one.sessions)),
        gauge("limit_sessions", "Sessions that it may have; without a limit there is none.").of(
            all.iter().filter_map(|(labels, one)| Some((labels, one.sessions_max?))),
            |(labels, most)| (labels.clone(), most),
        ),
        gauge("current_queue", "Clients that were accepted and wait for room.")
            .of(&all, |(labels, one)| (labels.clone(), one.waiting)),
        gauge("per_ip_clients", "Clients that are known because each has a limit.").of(
            all.iter().filter_map(|(labels, one)| Some((labels, one.per_ip?[0]))),
            |(labels, clients)| (labels.clone(), clients),
        ),
        Family::new(
            "evenkeel_listener_per_ip_forgotten",
            Kind::Counter,
            "Clients whose rate was forgotten before its time for want of room.",
        )
        .of(
            all.iter().filter_map(|(labels, one)| Some((labels, one.per_ip?[1]))),
            |(labels, clients)| (labels.clone(), clients),
        ),
        Family::new("evenkeel_listener_connections", Kind::Counter, "Connections accepted.")
            .of(&all, |(labels, one)| (labels.clone(), one.accepted)),
        reasons::family(
            "evenkeel_listener_sessions_ended",
            "Sessions ended, by HAProxy's two letters and a word.",
            all.iter().map(|(labels, one)| (labels, &one.ended)),
        ),
    ]
}
