//! `/status` of an HTTP backend: what it is and what it has seen, as JSON.

use serde::Serialize;

use super::service::Personality;

#[derive(Serialize)]
struct Status<'a> {
    name: &'a str,
    status: &'static str,
    uptime_s: f64,
    active_connections: u64,
    connections: u64,
    requests: u64,
    bytes_in: u64,
    bytes_out: u64,
    /// Faults by the word that asks for them; none where none are asked for.
    injected: std::collections::BTreeMap<&'static str, u64>,
}

/// The body of the answer, with its newline.
pub(super) fn body(who: &Personality) -> Vec<u8> {
    let counts = who.counts();
    let status = Status {
        name: &who.name,
        status: "ok",
        uptime_s: (who.started.elapsed().as_secs_f64() * 1e3).round() / 1e3,
        active_connections: counts.active_connections,
        connections: counts.connections,
        requests: counts.requests,
        bytes_in: counts.bytes_in,
        bytes_out: counts.bytes_out,
        injected: counts.injected,
    };
    let mut body = serde_json::to_vec(&status).expect("numbers and text are JSON");
    body.push(b'\n');
    body
}
