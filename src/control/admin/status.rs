//! What is to be seen at a glance, put together from what shards and the control thread write down
//! anyway. Nothing here waits for anybody. Under the lock of the configuration a few words of each backend
//! are taken; its counters, which are thousands, are read in the background.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::api::{Backend, Banner, Bytes, Event, Latency, Listener, Pool, Shard, Status};
use crate::config::plan::{BackendConfig, Destination, PoolConfig, StickyBy, Target};
use crate::control::bottleneck;
use crate::control::details::Details;
use crate::control::ever::Ever;
use crate::core::moment::Moment;
use crate::core::session::EndReason;
use crate::core::wanted::AdminState;
use crate::core::{BackendId, Direction};
use crate::shard::condition::Health;
use crate::shard::driver::Counts;
use crate::shard::histogram::{Distribution, bounds_us};
use crate::shard::pool;
use crate::shard::shared::Stopping;
use crate::shard::tally::Tallies;

use super::App;
use super::ask::counts;
use crate::control::events::milliseconds;
use crate::control::standing;

/// The form of the document.
const SCHEMA: &str = "evenkeel-status-1";

/// Shards that take longer are shown as they are: not alive.
const A_MOMENT: Duration = Duration::from_millis(250);

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
pub(super) async fn status(app: &App) -> Response {
    let drivers = counts(app.handle.shared(), A_MOMENT).await;
    let (mut status, backends) = put_together(app, &drivers);
    let finish = move || {
        status.backends = backends.into_iter().map(Uncounted::count).collect();
        as_json(&status)
    };
    app.background.run(finish).await
}

/// All backends.
pub(super) async fn backends(app: &App) -> Response {
    let backends = all_backends(app);
    let finish =
        move || as_json(&backends.into_iter().map(Uncounted::count).collect::<Vec<Backend>>());
    app.background.run(finish).await
}

/// One backend, if there is such a one.
pub(super) fn one_backend(app: &App, pool: &str, name: &str) -> Option<Backend> {
    let (now, known) = (Now::read(), Known::of(app));
    let world = app.handle.world();
    let (config, pool) = world.pools().find(|(config, _)| config.name == pool)?;
    let mut all = uncounted(config, pool, now, &known);
    all.find(|one| one.backend.name == name).map(Uncounted::count)
}

fn as_json<T: Serialize>(value: &T) -> Response {
    Json(value).into_response()
}

/// What is known of a backend but for what shards count of it.
struct Uncounted {
    backend: Backend,
    tallies: Arc<Tallies>,
}

impl Uncounted {
    fn count(self) -> Backend {
        let sum = self.tallies.sum();
        Backend {
            ended: ended_by_reason(&sum.ended),
            to_backend: bytes(sum.bytes(Direction::ClientToBackend)),
            to_clients: bytes(sum.bytes(Direction::BackendToClient)),
            connect: latency(&sum.connect),
            first_byte: latency(&sum.first_byte),
            response: latency(&sum.response),
            session: latency(&sum.session),
            tcp: bottleneck::tcp(&sum.tcp),
            ..self.backend
        }
    }
}

/// All but the backends, which are not counted yet.
fn put_together(app: &App, drivers: &[Option<Counts>]) -> (Status, Vec<Uncounted>) {
    let now = Now::read();
    let known = Known::of(app);
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
        bottleneck: app.handle.bottlenecks().to_api(),
        shards: shards(app, drivers),
        ended: ended(app),
        counters: counters(app, drivers),
        bounds_us: bounds_us().to_vec(),
        ..Status::default()
    };
    status.sessions = shared.counters.iter().map(|one| one.sessions.value()).sum();
    let mut backends = Vec::new();
    let world = app.handle.world();
    for listener in world.listeners() {
        status.listeners.push(self::listener(listener));
    }
    for (config, pool) in world.pools() {
        let its_own: Vec<_> = uncounted(config, pool, now, &known).collect();
        status.pools.push(self::pool(config, pool, now, &its_own, world.ever()));
        backends.extend(its_own);
    }
    drop(world);
    let first = status.listeners.first().map(|listener| listener.pool.clone());
    let first = status.pools.iter().find(|pool| Some(&pool.name) == first.as_ref());
    if let Some(pool) = first {
        (status.algorithm, status.sticky_key) = (pool.algorithm.clone(), pool.sticky_key.clone());
    }
    status.total_backends = backends.len();
    status.active_backends = backends.iter().filter(|one| one.backend.active).count();
    status.session_count = status.pools.iter().map(|pool| pool.sticky_clients).sum();
    status.banners = banners(app, &status.pools);
    (status, backends)
}

/// What is known of backends elsewhere.
struct Known {
    /// What was last said of each.
    latest: HashMap<String, Event>,
    details: Arc<Details>,
}

impl Known {
    fn of(app: &App) -> Self {
        Self { latest: app.events.latest(), details: Arc::clone(&app.details) }
    }
}

/// Every backend of every pool.
fn all_backends(app: &App) -> Vec<Uncounted> {
    let (now, known) = (Now::read(), Known::of(app));
    let world = app.handle.world();
    world.pools().flat_map(|(config, pool)| uncounted(config, pool, now, &known)).collect()
}

/// The backends that a pool has; none where clients choose the address.
fn uncounted<'a>(
    config: &'a PoolConfig,
    pool: &'a pool::Pool,
    now: Now,
    known: &'a Known,
) -> impl Iterator<Item = Uncounted> + 'a {
    let seen = Seen { config, pool, now, backups_serve: standing::backups_serve(pool, now.moment) };
    let backends = match config.destination {
        Destination::Backends => &config.backends[..],
        Destination::OriginalDst => &[],
    };
    (0_u16..).zip(backends).map(move |(place, backend)| Uncounted {
        backend: self::backend(&seen, BackendId(place), backend, known),
        tallies: Arc::clone(&pool.member(BackendId(place)).backend.tallies),
    })
}

/// A pool at a moment.
struct Seen<'a> {
    config: &'a PoolConfig,
    pool: &'a pool::Pool,
    now: Now,
    backups_serve: bool,
}

/// Without what shards count.
fn backend(seen: &Seen<'_>, id: BackendId, config: &BackendConfig, known: &Known) -> Backend {
    let Seen { config: pool_config, pool, now, .. } = *seen;
    let member = pool.member(id);
    let (itself, condition) = (&member.backend, &member.backend.condition);
    let state = standing::word(pool, id, now.moment, seen.backups_serve);
    let (connected, failed) = itself.connected_and_failed();
    let (host, port) = match &config.target {
        Target::Host(endpoint) => (endpoint.host.clone(), endpoint.port),
        Target::Unix(path) => (path.display().to_string(), 0),
    };
    let last = known.latest.get(&format!("{}/{}", pool.name, config.name));
    let since = condition.down_since().or_else(|| condition.up_since());
    Backend {
        host,
        port,
        active: standing::is_active(state),
        connections: itself.active(),
        details: known.details.of(itself.uid),
        pool: pool.name.clone(),
        name: config.name.clone(),
        addresses: itself.addresses().iter().map(ToString::to_string).collect(),
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

fn pool(
    config: &PoolConfig,
    pool: &pool::Pool,
    now: Now,
    backends: &[Uncounted],
    ever: &Ever,
) -> Pool {
    let mut sums = Sums::default();
    ever.of_pool(&pool.name).for_each(|(_, tallies)| sums.add(tallies));
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
        active: backends.iter().filter(|one| one.backend.active).count(),
        fail_open: pool.fails_open(now.moment),
        waiting: pool.state.crowd.len(),
        connections: backends.iter().map(|one| one.backend.connections).sum(),
        connected: sums.connected,
        failed: sums.failed,
        to_backend: sums.to_backend,
        to_clients: sums.to_clients,
    }
}

/// What all backends that a pool has or had come to.
#[derive(Default)]
struct Sums {
    connected: u64,
    failed: u64,
    to_backend: Bytes,
    to_clients: Bytes,
}

impl Sums {
    fn add(&mut self, tallies: &Tallies) {
        self.connected += tallies.connected.load(Ordering::Relaxed);
        self.failed += tallies.failed.load(Ordering::Relaxed);
        let [to_backend, to_clients] = tallies.bytes();
        for (sum, (copied, spliced)) in
            [(&mut self.to_backend, to_backend), (&mut self.to_clients, to_clients)]
        {
            sum.copied += copied;
            sum.spliced += spliced;
        }
    }
}

const fn bytes((copied, spliced): (u64, u64)) -> Bytes {
    Bytes { copied, spliced }
}

/// A distribution as it is told.
pub(super) fn latency(seen: &Distribution) -> Latency {
    let count = seen.count();
    let [p50_us, p90_us, p99_us, p999_us] = seen.quantiles_us([0.5, 0.9, 0.99, 0.999]);
    Latency {
        count,
        sum_us: seen.sum_ns() / 1000,
        p50_us,
        p90_us,
        p99_us,
        p999_us,
        buckets: if count > 0 { seen.between(bounds_us()) } else { Vec::new() },
    }
}

fn ended_by_reason(ended: &[u64; EndReason::ALL.len()]) -> BTreeMap<String, u64> {
    let all = EndReason::ALL.into_iter().zip(ended).filter(|(_, count)| **count > 0);
    all.map(|(reason, count)| (reason.label().to_owned(), *count)).collect()
}

fn sticky_key(config: &PoolConfig) -> &'static str {
    match config.sticky.map(|sticky| sticky.key) {
        None => "off",
        Some(StickyBy::Ip) => "ip",
        Some(StickyBy::IpPort) => "ip-port",
    }
}

fn listener(listener: &Arc<crate::shard::listener::Listener>) -> Listener {
    let ended = listener.tallies.ended();
    Listener {
        name: listener.name.clone(),
        address: listener.address.to_string(),
        pool: listener.pool.name.clone(),
        sessions: listener.gate.sessions(),
        max_sessions: listener.max_sessions,
        waiting: listener.gate.crowd.len(),
        accepted: listener.tallies.accepted(),
        denied: ended[EndReason::Denied as usize],
        ended: ended_by_reason(&ended),
    }
}

fn shards(app: &App, drivers: &[Option<Counts>]) -> Vec<Shard> {
    let cpu_ns = app.about.threads.cpu_ns(app.handle.shared());
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
            turns: counters.turns.value(),
            cpu_ms: cpu_ns.get(index).copied().flatten().unwrap_or(0) / 1_000_000,
            to_backend: bytes((
                counters.bytes_to_backends_copied.value(),
                counters.bytes_to_backends_spliced.value(),
            )),
            to_clients: bytes((
                counters.bytes_to_clients_copied.value(),
                counters.bytes_to_clients_spliced.value(),
            )),
            alive: drivers[index].is_some(),
        })
        .collect()
}

fn ended(app: &App) -> BTreeMap<String, u64> {
    let mut ended = [0; EndReason::ALL.len()];
    for counters in &app.handle.shared().counters {
        ended.iter_mut().zip(&counters.ended).for_each(|(sum, one)| *sum += one.value());
    }
    ended_by_reason(&ended)
}

fn counters(app: &App, drivers: &[Option<Counts>]) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for counters in &app.handle.shared().counters {
        for (name, value) in counters.list() {
            *sums.entry(name.to_owned()).or_insert(0) += value;
        }
    }
    for (name, value) in drivers.iter().flatten().flatten() {
        *sums.entry((*name).to_owned()).or_insert(0) += value;
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
    if let Some(lines) = app.losses.lately(Instant::now()) {
        let lines = if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") };
        add(
            "log-dropped",
            format!("{lines} of the logs were lost: nobody takes them fast enough."),
        );
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
