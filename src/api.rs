//! What the admin API says, as values: the server makes them, `evenkeel ctl`, `evenkeel top` and
//! programs read them. JSON, snake case; a field that may be missing is `null`.
//!
//! Times are milliseconds since 1970 (`*_ms` with a date in mind), durations carry their unit, counts
//! are totals since the program began unless they say "now".
//!
//! Programs of different versions understand each other: what one does not say the other takes as nothing
//! (`serde(default)`), and what it does not know it passes over. What changes something is read strictly.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `GET /api/status`: all that is to be seen at a glance.
///
/// The first eight fields are those of the Python version's `/api/status`, with its meanings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Of the first listener's pool.
    pub algorithm: String,
    /// Of the first listener's pool: `ip`, `ip-port` or `off`.
    pub sticky_key: String,
    /// Backends of all pools.
    pub total_backends: usize,
    /// Those of them that get new connections.
    pub active_backends: usize,
    /// Every backend of every pool, in the order of the configuration.
    pub backends: Vec<Backend>,
    /// Clients that are remembered by sticky tables.
    pub session_count: u64,
    /// Since the program began.
    pub uptime_seconds: u64,
    /// The last 50, oldest first.
    pub events: Vec<Event>,
    /// The form of this document: `evenkeel-status-1`.
    pub schema: String,
    /// When this was put together.
    pub time_ms: u64,
    /// Of the program.
    pub version: String,
    /// Of the program.
    pub pid: u32,
    /// `uring` or `epoll`.
    pub engine: String,
    /// `running` or `stopping`.
    pub state: String,
    /// What a person should know before anything else.
    pub banners: Vec<Banner>,
    /// Who holds the traffic up.
    pub bottleneck: Bottleneck,
    /// Sessions now, over all shards.
    pub sessions: u32,
    /// What there is room for.
    pub sessions_max: u64,
    /// In the order of the configuration.
    pub listeners: Vec<Listener>,
    /// In the order of the configuration.
    pub pools: Vec<Pool>,
    /// In their order.
    pub shards: Vec<Shard>,
    /// Sessions ended, by two letters and a word.
    pub ended: BTreeMap<String, u64>,
    /// Every other counter of the shards that is not zero, summed over them.
    pub counters: BTreeMap<String, u64>,
    /// Upper bounds of [`Latency::buckets`], in microseconds; the last bucket has none.
    pub bounds_us: Vec<u64>,
}

/// Something that a person should know before anything else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Banner {
    /// `fail-open`, `no-backend`, `fallback-engine`, `drift`, `stopping`, `log-dropped`.
    pub kind: String,
    /// A sentence.
    pub text: String,
}

/// A backend of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backend {
    /// As it was written; the path of a unix socket.
    pub host: String,
    /// 0 of a unix socket.
    pub port: u16,
    /// Whether it gets new connections.
    pub active: bool,
    /// Connections now, those being made included.
    pub connections: u32,
    /// What it says of itself (`GET /status`), where that is asked.
    pub details: Option<serde_json::Value>,
    /// Its pool.
    pub pool: String,
    /// Names it together with its pool.
    pub name: String,
    /// What the name stands for now.
    pub addresses: Vec<String>,
    /// In one word, the strongest first: `maint`, `down`, `ejected`, `drain`, `full`, `backup`, `up`.
    pub state: String,
    /// What the operator wants of it: `ready`, `drain` or `maint`.
    pub admin: String,
    /// What checks and connects say: `up`, `down`, `ejected` or `unchecked`.
    pub health: String,
    /// Since when checks say that; `null` if they have always said it.
    pub since_ms: Option<u64>,
    /// Until when it is ejected.
    pub ejected_until_ms: Option<u64>,
    /// What the last change of its state was based on.
    pub evidence: Option<String>,
    /// As it is configured, or as it was changed.
    pub weight: u16,
    /// The part of its weight that it gets now, in 256ths (slow start).
    pub warmth: u32,
    /// Whether it is for when no other is there.
    pub backup: bool,
    /// Connections that it may have.
    pub max_connections: Option<u32>,
    /// `config`, or `runtime` if it was added while the program ran.
    pub origin: String,
    /// Connections made.
    pub connected: u64,
    /// Connections that could not be made.
    pub failed: u64,
    /// Times that it was ejected.
    pub ejections: u64,
    /// Sessions that it has served to their end, by two letters and a word.
    pub ended: BTreeMap<String, u64>,
    /// Bytes from clients to it.
    pub to_backend: Bytes,
    /// Bytes from it to clients.
    pub to_clients: Bytes,
    /// From the connect to the connection.
    pub connect: Latency,
    /// From the connection to its first byte.
    pub first_byte: Latency,
    /// From the last byte that was sent to it to the next that came from it.
    pub response: Latency,
    /// From the client's connection to the end.
    pub session: Latency,
    /// What the kernel says of its connections and of its clients'.
    pub tcp: Tcp,
}

/// Bytes by the path that they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bytes {
    /// Through buffers.
    pub copied: u64,
    /// Through pipes.
    pub spliced: u64,
}

/// A distribution since the program began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// Values.
    pub count: u64,
    /// Their sum.
    pub sum_us: u64,
    /// Half of them are not above this; `null` without any.
    pub p50_us: Option<u64>,
    /// Nine of ten.
    pub p90_us: Option<u64>,
    /// Ninety-nine of a hundred.
    pub p99_us: Option<u64>,
    /// Ninety-nine point nine of a hundred.
    pub p999_us: Option<u64>,
    /// How many came to lie in each bucket ([`Status::bounds_us`]), not cumulated; empty without any
    /// value. The difference of two of these is what happened in between.
    pub buckets: Vec<u64>,
}

/// Sampled `TCP_INFO`, summed: of each pair of sockets that was watched for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tcp {
    /// Samples that this is made of.
    pub samples: u64,
    /// Smoothed round trip to the backend, of the last samples.
    pub backend_rtt_us: Option<u64>,
    /// The same to its clients.
    pub client_rtt_us: Option<u64>,
    /// Segments sent again to the backend.
    pub backend_retransmits: u64,
    /// The same to its clients.
    pub client_retransmits: u64,
    /// Time in which each of these held a watched session up, in milliseconds.
    pub waited_ms: Waited,
}

/// Who was waited for, in milliseconds of watched sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waited {
    /// For the client: to say something, or to read.
    pub client: u64,
    /// For the backend: to say something, or to read.
    pub backend: u64,
    /// For the network on the client's side: loss, congestion window.
    pub client_network: u64,
    /// For the network on the backend's side.
    pub backend_network: u64,
    /// For the balancer: its send buffers were the limit.
    pub balancer: u64,
}

/// Who holds the traffic up, over the last seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bottleneck {
    /// `client`, `balancer`, `backend`, `network` or `nobody`.
    pub who: String,
    /// Which backend, or to which the network is meant, as `pool/name`.
    pub backend: Option<String>,
    /// For people.
    pub sentence: String,
    /// What it was concluded from.
    pub evidence: String,
}

/// Where clients connect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listener {
    /// As it is configured.
    pub name: String,
    /// With the real port.
    pub address: String,
    /// Which pool serves its clients.
    pub pool: String,
    /// Sessions now.
    pub sessions: u32,
    /// Sessions that it may have.
    pub max_sessions: Option<u32>,
    /// Clients that were accepted and wait for room.
    pub waiting: u32,
    /// Connections accepted.
    pub accepted: u64,
    /// Clients that were not let in.
    pub denied: u64,
    /// Sessions ended, by two letters and a word.
    pub ended: BTreeMap<String, u64>,
}

/// A pool, with the sums of its backends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pool {
    /// As it is configured.
    pub name: String,
    /// As it is configured.
    pub algorithm: String,
    /// `ip`, `ip-port` or `off`.
    pub sticky_key: String,
    /// Clients that its sticky table remembers.
    pub sticky_clients: u64,
    /// How many backends it has.
    pub backends: usize,
    /// Those that get new connections.
    pub active: usize,
    /// Whether it uses backends that should be out, because too many are.
    pub fail_open: bool,
    /// Clients that wait for a backend or for room in one, now.
    pub waiting: u32,
    /// Connections now.
    pub connections: u32,
    /// Connections made, also by backends that are gone.
    pub connected: u64,
    /// Connections that could not be made, also by backends that are gone.
    pub failed: u64,
    /// Bytes to backends, also to those that are gone.
    pub to_backend: Bytes,
    /// Bytes to clients, also from backends that are gone.
    pub to_clients: Bytes,
}

/// A shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shard {
    /// Its number.
    pub index: usize,
    /// Where it runs.
    pub cpu: usize,
    /// Sessions now.
    pub sessions: u32,
    /// Connections accepted.
    pub accepted: u64,
    /// Accepted connections that were given to another shard.
    pub handed_over: u64,
    /// Connections that another shard accepted.
    pub taken_over: u64,
    /// Turns of its loop.
    pub turns: u64,
    /// CPU time of its thread.
    pub cpu_ms: u64,
    /// Bytes to backends.
    pub to_backend: Bytes,
    /// Bytes to clients.
    pub to_clients: Bytes,
    /// Whether it answered the last time that it was asked.
    pub alive: bool,
}

/// Something that changed, with what that was based on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Numbers events from 1 on; a gap says that some were lost.
    pub seq: u64,
    /// As RFC 3339 in UTC, with milliseconds.
    pub time: String,
    /// `INFO`, `WARNING` or `ERROR`.
    pub level: String,
    /// For people: the whole of it in one line.
    pub message: String,
    /// When it happened.
    pub time_ms: u64,
    /// What kind of change: `start`, `stop`, `reload`, `reload-failed`, `backend-up`, `backend-down`,
    /// `backend-ejected`, `backend-restored`, `fail-open`, `backend-added`, `backend-removed`,
    /// `backend-changed`, `sessions-killed`, `accept-paused`, `engine-fallback`, `hand-over`, `log`,
    /// `state`.
    pub kind: String,
    /// What it is about: `pool/backend`, a listener, a file.
    pub subject: String,
    /// What it was based on: an answer to a check, an errno, who asked for it.
    pub evidence: String,
}

/// `GET /api/events?after=SEQ&limit=N`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Events {
    /// Oldest first.
    pub events: Vec<Event>,
    /// What to ask for next, as `after`.
    pub next: u64,
}

/// A session now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Names it as long as it lives: shard, slot and generation, as in `0-17-3`.
    pub id: String,
    /// Which shard has it.
    pub shard: usize,
    /// Who the client is; `null` on a unix socket, or when it is gone.
    pub client: Option<String>,
    /// Where it came in.
    pub listener: String,
    /// Which pool serves it.
    pub pool: String,
    /// Which backend has it.
    pub backend: Option<String>,
    /// `greeting`, `waiting`, `connecting`, `relaying`, `moving`, `turned-away` or `closing`.
    pub state: String,
    /// Why that backend: `round-robin`, `least-connections`, `sticky`, `last-resort` …
    pub by: Option<String>,
    /// Since it was accepted.
    pub age_ms: u64,
    /// Since a byte moved.
    pub idle_ms: u64,
    /// Bytes to the backend.
    pub to_backend: Bytes,
    /// Bytes to the client.
    pub to_client: Bytes,
    /// How often it went on with another backend.
    pub moves: u8,
}

/// `GET /api/sessions?pool=&backend=&listener=&client=&state=&min_age=&min_idle=&sort=age&limit=100`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sessions {
    /// Those that fit the filter, at most `limit`, in the order of `sort`: `age` is the oldest first, `bytes` those
    /// with the most, `idle` those without a byte for longest, `recent` those with a byte last.
    pub sessions: Vec<Session>,
    /// How many fit.
    pub matched: u64,
    /// How many there are.
    pub total: u64,
    /// Whether a shard did not answer in time, so that some are missing.
    pub incomplete: bool,
}

/// `DELETE /api/sessions?…` with the filter of [`Sessions`]; `all=true` instead of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Killed {
    /// Sessions that were cut.
    pub killed: u64,
}

/// `POST /api/pools/{pool}/backends`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBackend {
    /// `host:port` or `unix:PATH`.
    pub address: String,
    /// The address without it.
    #[serde(default)]
    pub name: Option<String>,
    /// 0 to 256; 1 without it.
    #[serde(default)]
    pub weight: Option<u16>,
    /// False without it.
    #[serde(default)]
    pub backup: Option<bool>,
    /// Any number without it.
    #[serde(default)]
    pub max_connections: Option<u32>,
}

/// `PATCH /api/pools/{pool}/backends/{name}`; at least one of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendChange {
    /// 0 to 256.
    #[serde(default)]
    pub weight: Option<u16>,
    /// `ready`, `drain` (only sticky clients come) or `maint` (nobody comes, nothing is checked).
    #[serde(default)]
    pub state: Option<String>,
}

/// `GET /api/explain/backend?pool=&name=`, `/api/explain/session?id=` and
/// `/api/explain/client?address=&listener=`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    /// The answer in a sentence.
    pub answer: String,
    /// What it follows from, most important first.
    pub because: Vec<String>,
    /// Events that led to it, oldest first.
    pub events: Vec<Event>,
}

/// `GET /info`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Of the program.
    pub version: String,
    /// Of the program.
    pub pid: u32,
    /// Linux, as `uname -r` has it.
    pub kernel: String,
    /// `uring` or `epoll`.
    pub engine: String,
    /// Why not `uring`, if that was wanted.
    pub engine_reason: Option<String>,
    /// What the ring was set up with.
    pub ring_flags: Vec<String>,
    /// `tokio-uring` or `tokio`.
    pub control: String,
    /// When the program began.
    pub started_ms: u64,
    /// Open files: limit, and how many are open.
    pub files_limit: u64,
    /// Open files now.
    pub files_open: u64,
    /// Sessions that there is room for.
    pub sessions_max: u64,
    /// The CPU of each shard.
    pub cpus: Vec<usize>,
    /// The file that the configuration came from.
    pub config: Option<String>,
    /// Where changes are kept over a reload.
    pub state_file: Option<String>,
    /// Every effective setting, as it is printed at the start.
    pub settings: Vec<String>,
}

/// Every answer that is not 2xx.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// What is wrong, and the cure.
    pub error: String,
}
