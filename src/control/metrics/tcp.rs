//! What the kernel said of watched sessions, by backend.

use super::backends::BackendSeen;
use super::family::{Family, Kind, Value};
use crate::core::bottleneck::Waited;
use crate::shard::tcp_tally::TcpSum;

/// Whom they waited for, what was sent again, and how long a round trip takes; nothing of a backend that was
/// never watched.
pub(super) fn families(all: &[BackendSeen]) -> Vec<Family> {
    let family = |name: &str, kind, help: &str| {
        Family::new(&format!("evenkeel_backend_tcp_{name}"), kind, help)
    };
    let counter = |name: &str, help: &str| family(name, Kind::Counter, help);
    let watched = || all.iter().filter(|one| one.ever.tcp.sums.samples > 0);
    let samples = counter("samples", "Looks at sessions of the backend (TCP_INFO).")
        .of(watched(), |one| (one.labels.clone(), one.ever.tcp.sums.samples));
    let mut segments = counter("segments", "Segments sent in sessions while they were watched.");
    let mut again = counter("retransmits", "Segments of those that were sent again.");
    let mut waited =
        counter("waited_seconds", "Time of watched sessions, by whom they waited for.");
    let help = "Round trips of late, smoothed.";
    let mut rtt = family("rtt_seconds", Kind::Gauge, help);
    for one in watched() {
        let TcpSum { sums, client_rtt, backend_rtt } = &one.ever.tcp;
        segments.push(one.labels.and(TO_CLIENT), sums.client_segments.into());
        segments.push(one.labels.and(TO_BACKEND), sums.backend_segments.into());
        again.push(one.labels.and(TO_CLIENT), sums.client_retransmits.into());
        again.push(one.labels.and(TO_BACKEND), sums.backend_retransmits.into());
        for (part, us) in waited_us(&sums.waited) {
            waited.push(one.labels.and(part), Value::Nanoseconds(us * 1000));
        }
        for (part, of) in [(TO_CLIENT, client_rtt), (TO_BACKEND, backend_rtt)] {
            if let Some(us) = of.us() {
                rtt.push(one.labels.and(part), Value::Nanoseconds(us * 1000));
            }
        }
    }
    vec![samples, segments, again, waited, rtt]
}

fn waited_us(waited: &Waited) -> [(&'static str, u64); 5] {
    [
        ("for=\"client\"", waited.client()),
        ("for=\"backend\"", waited.backend()),
        ("for=\"client_network\"", waited.client_network),
        ("for=\"backend_network\"", waited.backend_network),
        ("for=\"balancer\"", waited.balancer),
    ]
}

const TO_CLIENT: &str = "to=\"client\"";
const TO_BACKEND: &str = "to=\"backend\"";
