//! What the API says, as text for people. Pure: a value in, lines out.

mod facts;
mod sessions;
mod status;

pub(crate) use facts::{events, explanation, info};
pub(crate) use sessions::{dump, sessions, whose};
pub(crate) use status::status;

use crate::api::{Backend, Banner, Bytes, Listener, Pool, Shard};

use super::table::{Cell, Paper, Table, Tone, left, right};
use super::units::{self, both, bytes, count};

/// Backends, one a line.
pub(crate) fn backends(backends: &[Backend], paper: Paper, now_ms: u64) -> String {
    let mut table = Table::new([
        left("BACKEND", 0),
        left("STATE", 0),
        left("ADDRESS", 4),
        right("WEIGHT", 5),
        right("CONNS", 1),
        right("MADE", 6),
        right("FAILED", 3),
        left("CONNECT p50 / p99", 9),
        left("RESPONSE p50 / p99", 7),
        right("TO BACKEND", 8),
        right("TO CLIENTS", 8),
        left("FOR", 10),
        left("WHY", 2).elastic(),
    ]);
    for backend in backends {
        let tone = state_tone(&backend.state);
        let since = backend.since_ms.map(|ms| units::millis(now_ms.saturating_sub(ms)));
        let name = format!("{}/{}", backend.pool, backend.name);
        // Where the name is the address, that is said once.
        let address = address(backend);
        table.push([
            Cell::new(&name, Tone::Strong),
            Cell::new(&backend.state, tone),
            if address == backend.name { String::new() } else { address }.into(),
            weight(backend).into(),
            connections(backend).into(),
            count(backend.connected).into(),
            some(backend.failed).into(),
            units::latency(&backend.connect).into(),
            units::latency(&backend.response).into(),
            bytes(both(backend.to_backend)).into(),
            bytes(both(backend.to_clients)).into(),
            since.unwrap_or_default().into(),
            Cell::new(why(backend), Tone::Dim),
        ]);
    }
    or_none(backends.is_empty(), "no backends", &table, paper)
}

/// Pools, one a line.
pub(crate) fn pools(pools: &[Pool], paper: Paper) -> String {
    let mut table = Table::new([
        left("POOL", 0),
        left("ALGORITHM", 2),
        left("STICKY", 4),
        right("BACKENDS", 0),
        right("CONNS", 1),
        right("WAITING", 1),
        right("MADE", 3),
        right("FAILED", 3),
        right("TO BACKENDS", 5),
        right("TO CLIENTS", 5),
        left("", 1),
    ]);
    for pool in pools {
        let sticky = match pool.sticky_key.as_str() {
            "" | "off" => String::new(),
            key => format!("{key}, {} clients", count(pool.sticky_clients)),
        };
        let tone = if pool.active == 0 { Tone::Bad } else { Tone::Plain };
        let open = if pool.fail_open { "fail-open" } else { "" };
        table.push([
            Cell::new(&pool.name, Tone::Strong),
            pool.algorithm.as_str().into(),
            sticky.into(),
            Cell::new(format!("{} of {}", pool.active, pool.backends), tone),
            count(pool.connections.into()).into(),
            some(pool.waiting.into()).into(),
            count(pool.connected).into(),
            some(pool.failed).into(),
            bytes(both(pool.to_backend)).into(),
            bytes(both(pool.to_clients)).into(),
            Cell::new(open, Tone::Bad),
        ]);
    }
    or_none(pools.is_empty(), "no pools", &table, paper)
}

/// Listeners, one a line.
pub(crate) fn listeners(listeners: &[Listener], paper: Paper) -> String {
    let mut table = Table::new([
        left("LISTENER", 0),
        left("ADDRESS", 0),
        left("POOL", 1),
        right("SESSIONS", 1),
        right("ROOM", 4),
        right("WAITING", 2),
        right("ACCEPTED", 2),
        right("DENIED", 3),
    ]);
    for listener in listeners {
        let room = listener.max_sessions.map(|max| count(max.into())).unwrap_or_default();
        table.push([
            Cell::new(&listener.name, Tone::Strong),
            listener.address.as_str().into(),
            listener.pool.as_str().into(),
            count(listener.sessions.into()).into(),
            room.into(),
            some(listener.waiting.into()).into(),
            count(listener.accepted).into(),
            some(listener.denied).into(),
        ]);
    }
    or_none(listeners.is_empty(), "no listeners", &table, paper)
}

/// Shards, one a line.
pub(crate) fn shards(shards: &[Shard], paper: Paper) -> String {
    let mut table = Table::new([
        right("SHARD", 0),
        right("CPU", 1),
        left("", 0),
        right("SESSIONS", 0),
        right("ACCEPTED", 2),
        right("GIVEN", 4),
        right("TAKEN", 4),
        right("CPU TIME", 2),
        right("TURNS", 5),
        right("TO BACKENDS", 3),
        right("TO CLIENTS", 3),
    ]);
    for shard in shards {
        let silent = if shard.alive { "" } else { "silent" };
        table.push([
            shard.index.to_string().into(),
            shard.cpu.to_string().into(),
            Cell::new(silent, Tone::Bad),
            count(shard.sessions.into()).into(),
            count(shard.accepted).into(),
            some(shard.handed_over).into(),
            some(shard.taken_over).into(),
            units::millis(shard.cpu_ms).into(),
            count(shard.turns).into(),
            bytes(both(shard.to_backend)).into(),
            bytes(both(shard.to_clients)).into(),
        ]);
    }
    or_none(shards.is_empty(), "no shards", &table, paper)
}

/// How the state of a backend is meant.
pub(crate) fn state_tone(state: &str) -> Tone {
    match state {
        "up" => Tone::Good,
        "backup" => Tone::Dim,
        "drain" | "maint" | "full" => Tone::Warn,
        _ => Tone::Bad,
    }
}

/// Whether clients suffer, or soon will.
pub(crate) fn is_grave(banner: &Banner) -> bool {
    matches!(banner.kind.as_str(), "fail-open" | "no-backend")
}

/// Where it is, as it was written.
pub(crate) fn address(backend: &Backend) -> String {
    match (backend.port, backend.host.as_str()) {
        (0, path) if path.starts_with('/') => format!("unix:{path}"),
        (0, host) => host.to_owned(),
        (port, host) if host.contains(':') => format!("[{host}]:{port}"),
        (port, host) => format!("{host}:{port}"),
    }
}

/// The weight, and the part of it that it gets while it starts slowly.
fn weight(backend: &Backend) -> String {
    match backend.warmth {
        // What an older program does not say is all of it.
        0 | WARM.. => backend.weight.to_string(),
        warmth => format!("{} ({} %)", backend.weight, warmth * 100 / WARM),
    }
}

/// `12`, or `12/100` of a limit.
pub(crate) fn connections(backend: &Backend) -> String {
    let now = count(backend.connections.into());
    match backend.max_connections {
        Some(max) => format!("{now}/{}", count(max.into())),
        None => now,
    }
}

/// What a person asks of a backend that is not simply up.
pub(crate) fn why(backend: &Backend) -> String {
    let mut parts = Vec::new();
    // The admin state hides what the checks say.
    if matches!(backend.state.as_str(), "drain" | "maint") && backend.health != "up" {
        parts.push(backend.health.clone());
    }
    if backend.health != "up" || backend.state == "ejected" {
        parts.extend(backend.evidence.clone());
    }
    if backend.backup && backend.state != "backup" {
        parts.push("backup".to_owned());
    }
    if backend.origin == "runtime" {
        parts.push("added at run time".to_owned());
    }
    parts.retain(|part| !part.is_empty() && part != "unchecked");
    parts.join("; ")
}

/// The share of bytes that went through pipes, as a sentence's part.
fn share_spliced(sent: Bytes, received: Bytes) -> Option<String> {
    let all = Bytes {
        copied: sent.copied.saturating_add(received.copied),
        spliced: sent.spliced.saturating_add(received.spliced),
    };
    units::spliced(all).map(|share| format!("{} spliced", units::percent(share)))
}

/// A count that is only worth its place if there is something.
fn some(number: u64) -> String {
    if number == 0 { String::new() } else { count(number) }
}

fn or_none(empty: bool, what: &str, table: &Table, paper: Paper) -> String {
    if empty { format!("{}\n", paper.paint(what, Tone::Dim)) } else { table.render(paper) }
}

/// All of a weight, in [`Backend::warmth`].
const WARM: u32 = 256;
