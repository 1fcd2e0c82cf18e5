//! What is to be seen at a glance, put together from what shards and the control thread write down
//! anyway. Nothing here waits for anybody.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use crate::api::{Backend, Banner, Bottleneck, Event, Listener, Pool, Shard, Status};
use crate::config::plan::{BackendConfig, Destination, PoolConfig, StickyBy, Target};
use crate::core::BackendId;
use crate::core::moment::Moment;
use crate::core::session::EndReason;
use crate::core::wanted::AdminState;
use crate::shard::condition::Health;
use crate::shard::pool;
use crate::shard::shared::Stopping;

use super::App;
use crate::control::events::milliseconds;

/// The form of the document.
const SCHEMA: &str = "evenkeel-status-1";

/// Events that a status shows.
const EVENTS: usize = 50;

/// A moment by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// The clock of the shards.
    pub(super) moment: Moment,
    wall_ms: u64,
}

impl Now {
    pub(super) fn read() -> Self {
        let moment = Moment::from_ns(uring::monotonic_ns());
        Self { moment, wall_ms: milliseconds(SystemTime::now()) }
    }

    /// Milliseconds since 1970.
    fn date_ms(self, moment: Moment) -> u64 {
        let (now, then) = (self.moment.ns() / 1_000_000, moment.ns() / 1_000_000);
        self.wall_ms.saturating_add(then).saturating_sub(now)
    }
}

/// All of it.
pub(super) fn status(app: &App) -> Status {
    let now = Now::read();
    let latest = app.events.latest();
    let shared = app.handle.shared();
    let mut status = Status {
        schema: SCHEMA.to_owned(),
        time_ms: now.wall_ms,
        version: app.about.version.clone(),
        pid: app.about.pid,
        engine: app.about.engine.clone(),
        state: state(app).to_owned(),
        sessions_max: app.about.sessions_max,
        uptime_seconds: app.about.started.elapsed().as_secs(),
        events: app.events.last(EVENTS),
        bottleneck: Bottleneck { who: "nobody".to_owned(), ..Bottleneck::default() },
        shards: shards(app),
        ended: ended(app),
        counters: counters(app),
        ..Status::default()
    };
    status.sessions = shared.counters.iter().map(|one| one.sessions.value()).sum();
    let world = app.handle.world();
    for listener in world.listeners() {
        status.listeners.push(self::listener(listener));
    }
    for (config, pool) in world.pools() {
        let backends = backends(config, pool, now, &latest);
        status.pools.push(self::pool(config, pool, now, &backends));
        status.backends.extend(backends);
    }
    drop(world);
    let first = status.listeners.first().map(|listener| listener.pool.clone());
    let first = status.pools.iter().find(|pool| Some(&pool.name) == first.as_ref());
    if let Some(pool) = first {
        (status.algorithm, status.sticky_key) = (pool.algorithm.clone(), pool.sticky_key.clone());
    }
    status.total_backends = status.backends.len();
    status.active_backends = status.backends.iter().filter(|one| one.active).count();
    status.session_count = status.pools.iter().map(|pool| pool.sticky_clients).sum();
    status.banners = banners(app, &status.pools);
    status
}

/// Every backend of every pool.
pub(super) fn all_backends(app: &App) -> Vec<Backend> {
    let (now, latest) = (Now::read(), app.events.latest());
    let world = app.handle.world();
    world.pools().flat_map(|(config, pool)| backends(config, pool, now, &latest)).collect()
}

fn backends(
    config: &PoolConfig,
    pool: &pool::Pool,
    now: Now,
    latest: &HashMap<String, Event>,
) -> Vec<Backend> {
    if config.destination == Destination::OriginalDst {
        return Vec::new();
    }
    let backups_serve = backups_serve(pool, now.moment);
    let backends = (0_u16..).zip(&config.backends);
    backends
        .map(|(place, backend)| {
            let seen = Seen { config, pool, now, backups_serve };
            self::backend(&seen, BackendId(place), backend, latest)
        })
        .collect()
}

/// Whether backups get clients: no primary is healthy.
fn backups_serve(pool: &pool::Pool, now: Moment) -> bool {
    !pool.members.iter().any(|member| {
        !member.backup
            && member.state.weight(member.weight) > 0
            && member.backend.condition.health(now) == Health::Up
    })
}

/// A pool at a moment.
struct Seen<'a> {
    config: &'a PoolConfig,
    pool: &'a pool::Pool,
    now: Now,
    backups_serve: bool,
}

fn backend(
    seen: &Seen<'_>,
    id: BackendId,
    config: &BackendConfig,
    latest: &HashMap<String, Event>,
) -> Backend {
    let Seen { config: pool_config, pool, now, .. } = *seen;
    let member = pool.member(id);
    let (known, condition) = (&member.backend, &member.backend.condition);
    let state = state_of(seen, id);
    let (connected, failed) = known.connected_and_failed();
    let (host, port) = match &config.target {
        Target::Host(endpoint) => (endpoint.host.clone(), endpoint.port),
        Target::Unix(path) => (path.display().to_string(), 0),
    };
    let last = latest.get(&format!("{}/{}", pool.name, config.name));
    let since = condition.down_since().or_else(|| condition.up_since());
    Backend {
        host,
        port,
        active: state == "up",
        connections: known.active(),
        pool: pool.name.clone(),
        name: config.name.clone(),
        addresses: known.addresses().iter().map(ToString::to_string).collect(),
        state: state.to_owned(),
        admin: member.state.to_string(),
        health: match condition.health(now.moment) {
            Health::Down => "down",
            Health::Ejected => "ejected",
            Health::Up if pool_config.health.is_none() || member.state == AdminState::Maint => {
                "unchecked"
            }
            Health::Up => "up",
        }
        .to_owned(),
        since_ms: since.map(|since| now.date_ms(since)),
        ejected_until_ms: condition.ejected_until(now.moment).map(|until| now.date_ms(until)),
        evidence: last.map(|event| event.evidence.clone()).filter(|text| !text.is_empty()),
        weight: config.weight,
        warmth: pool.warmth(id, now.moment),
        backup: config.backup,
        max_connections: config.max_connections.map(Into::into),
        origin: if config.added { "runtime" } else { "config" }.to_owned(),
        connected,
        failed,
        ejections: condition.totals().ejections,
        ..Backend::default()
    }
}

/// In one word, the strongest first.
fn state_of(seen: &Seen<'_>, id: BackendId) -> &'static str {
    let member = seen.pool.member(id);
    let health = member.backend.condition.health(seen.now.moment);
    match (member.state, health) {
        (AdminState::Maint, _) => "maint",
        (_, Health::Down) => "down",
        (_, Health::Ejected) => "ejected",
        (state, Health::Up) if state.weight(member.weight) == 0 => "drain",
        _ if seen.pool.is_full(id, seen.now.moment) => "full",
        _ if member.backup && !seen.backups_serve => "backup",
        _ => "up",
    }
}

fn pool(config: &PoolConfig, pool: &pool::Pool, now: Now, backends: &[Backend]) -> Pool {
    let sticky = pool.state.sticky.as_ref().map_or(0, crate::shard::sticky::Sticky::len);
    Pool {
        name: config.name.clone(),
        algorithm: match config.destination {
            Destination::Backends => config.algorithm.to_string(),
            Destination::OriginalDst => "original-dst".to_owned(),
        },
        sticky_key: sticky_key(config).to_owned(),
        sticky_clients: sticky as u64,
        backends: backends.len(),
        active: backends.iter().filter(|backend| backend.active).count(),
        fail_open: pool.fails_open(now.moment),
        waiting: pool.state.crowd.len(),
        connections: backends.iter().map(|backend| backend.connections).sum(),
        connected: backends.iter().map(|backend| backend.connected).sum(),
        failed: backends.iter().map(|backend| backend.failed).sum(),
        ..Pool::default()
    }
}

fn sticky_key(config: &PoolConfig) -> &'static str {
    match config.sticky.map(|sticky| sticky.key) {
        None => "off",
        Some(StickyBy::Ip) => "ip",
        Some(StickyBy::IpPort) => "ip-port",
    }
}

fn listener(listener: &Arc<crate::shard::listener::Listener>) -> Listener {
    Listener {
        name: listener.name.clone(),
        address: listener.address.to_string(),
        pool: listener.pool.name.clone(),
        sessions: listener.gate.sessions(),
        max_sessions: listener.max_sessions,
        waiting: listener.gate.crowd.len(),
        ..Listener::default()
    }
}

fn shards(app: &App) -> Vec<Shard> {
    let counters = app.handle.shared().counters.iter();
    counters
        .zip(&app.about.cpus)
        .enumerate()
        .map(|(index, (counters, &cpu))| Shard {
            index,
            cpu,
            sessions: counters.sessions.value(),
            accepted: counters.accepted.value(),
            handed_over: counters.handed_over.value(),
            taken_over: counters.taken_over.value(),
            to_backend: crate::api::Bytes {
                copied: counters.bytes_to_backends_copied.value(),
                spliced: counters.bytes_to_backends_spliced.value(),
            },
            to_clients: crate::api::Bytes {
                copied: counters.bytes_to_clients_copied.value(),
                spliced: counters.bytes_to_clients_spliced.value(),
            },
            alive: true,
            ..Shard::default()
        })
        .collect()
}

fn ended(app: &App) -> BTreeMap<String, u64> {
    let counters = &app.handle.shared().counters;
    let sum = |reason: EndReason| -> u64 {
        counters.iter().map(|one| one.ended[reason as usize].value()).sum()
    };
    let all = EndReason::ALL.into_iter().map(|reason| (reason.label().to_owned(), sum(reason)));
    all.filter(|(_, count)| *count > 0).collect()
}

fn counters(app: &App) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for counters in &app.handle.shared().counters {
        for (name, value) in counters.list() {
            *sums.entry(name.to_owned()).or_insert(0) += value;
        }
    }
    sums.extend(app.tally.list().map(|(name, value)| (name.to_owned(), value)));
    sums.insert("notices_lost".to_owned(), app.handle.shared().notices.lost());
    sums.retain(|_, value| *value > 0);
    sums
}

/// `running` or `stopping`.
pub(super) fn state(app: &App) -> &'static str {
    match app.handle.shared().stopping() {
        Stopping::No => "running",
        Stopping::Drain | Stopping::Cut => "stopping",
    }
}

fn banners(app: &App, pools: &[Pool]) -> Vec<Banner> {
    let mut banners = Vec::new();
    let mut add = |kind: &str, text: String| banners.push(Banner { kind: kind.to_owned(), text });
    if state(app) == "stopping" {
        add("stopping", "No new client can come; those who are there may end.".to_owned());
    }
    for pool in pools {
        if pool.backends > 0 && pool.active == 0 {
            let name = &pool.name;
            add("no-backend", format!("Pool {name} has no backend that gets new connections."));
        }
        if pool.fail_open {
            add(
                "fail-open",
                format!("Pool {} uses backends that should be out: too many are.", pool.name),
            );
        }
    }
    if let Some(reason) = &app.about.engine_reason {
        add("fallback-engine", format!("epoll moves the bytes, not io_uring: {reason}"));
    }
    for text in drift(app) {
        add("drift", text);
    }
    banners
}

/// What is in force and written nowhere, or written and not in force.
fn drift(app: &App) -> Vec<String> {
    let mut texts = Vec::new();
    let notes = app.notes.load();
    if !notes.unkept.is_empty() {
        texts.push(format!(
            "Changed while the program runs, and lost at the next reload or restart without \
             --state-file: {}.",
            notes.unkept.join(", ")
        ));
    }
    if !notes.pending.is_empty() {
        let pending = notes.pending.join(", ");
        texts.push(format!("The file says something else, which takes a restart: {pending}."));
    }
    if let Some(file) = app.file.as_ref().filter(|file| file.differs()) {
        let path = file.path().display();
        texts.push(format!("{path} is not what is in force: it was changed, and not read again."));
    }
    texts
}
