//! What the control thread does while the balancer runs: health checks and names for the
//! configuration that is in force, another configuration on SIGHUP, the end on SIGTERM and SIGINT.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::balancer::Handle;
use crate::cli::Serve;
use crate::config::plan::{Address, BackendConfig, Destination, Target};
use crate::config::{Config, Draft, LARGEST_FILE, ProcessConfig, ReadError};
use crate::core::moment::Moment;
use crate::shard::backend::Backend;
use crate::shard::pool::Pool;
use crate::shard::shared::Stopping;

use super::checks::{Checker, Watched};
use super::resolve::{Source, follow};
use super::runtime::read_file;
use super::world::Changes;

/// What keeps the running balancer in step with the world.
#[derive(Debug)]
pub struct Manager {
    balancer: Handle,
    /// As it was started: names the file to read again.
    serve: Serve,
    config: Config,
    checker: Checker,
    /// One for each name that backends have.
    names: Vec<JoinHandle<()>>,
}

impl Manager {
    /// The manager of a balancer that was started with `config`. To be made on the control thread.
    #[must_use]
    pub fn new(balancer: Handle, serve: Serve, config: Config) -> Self {
        let told = balancer.clone();
        let on_change = Rc::new(move |key: &str, up: bool, _evidence: &str| {
            on_health_change(&told, key, up);
        });
        let clock = || Moment::from_ns(uring::monotonic_ns());
        let checker = Checker::new(clock, on_change);
        Self { balancer, serve, config, checker, names: Vec::new() }
    }

    /// Goes on until the process ends.
    pub async fn run(mut self, mut signals: UnboundedReceiver<Signal>) {
        self.keep_in_step();
        let mut stops = 0;
        while let Some(signal) = signals.recv().await {
            match (signal, stops) {
                (Signal::SIGHUP, 0) => self.reload().await,
                (Signal::SIGHUP, _) => warn!("SIGHUP: nothing is read again while stopping"),
                (_, 0) => self.drain(signal),
                (_, 1) => {
                    info!("{signal} again: cutting what is open");
                    self.balancer.stop(Stopping::Cut);
                }
                // Whatever hangs.
                _ => std::process::exit(0),
            }
            stops += u32::from(signal != Signal::SIGHUP);
        }
    }

    fn drain(&self, signal: Signal) {
        let open: u32 =
            self.balancer.shared().counters.iter().map(|one| one.sessions.value()).sum();
        let drain = self.balancer.shared().drain();
        let drain = humantime::format_duration(drain);
        info!("{signal}: stopping; {open} open sessions have {drain} to end; once more cuts them");
        self.balancer.stop(Stopping::Drain);
    }

    /// Reads the file again. What is wrong with it is told, and changes nothing.
    async fn reload(&mut self) {
        let Some(path) = self.serve.config.clone() else {
            return warn!("SIGHUP: there is no file to read again; start with --config FILE");
        };
        let text = read_file(&path, LARGEST_FILE).await.map_err(ReadError::from);
        let serve = self.serve.clone();
        // Names are looked up, which may take seconds.
        let config = tokio::task::spawn_blocking(move || {
            Config::resolve(&Draft::from_text(&serve, &path, text)?)
        });
        match config.await {
            Ok(Ok(config)) => self.apply(config),
            Ok(Err(problems)) => {
                error!(
                    "SIGHUP: the configuration stays as it is, because the new one is wrong: {problems}"
                );
            }
            Err(error) => error!("SIGHUP: the configuration stays as it is: {error}"),
        }
    }

    fn apply(&mut self, config: Config) {
        match self.balancer.apply(&config) {
            Ok(mut changes) => {
                changes.ignored.extend(needs_restart(&self.config.process, &config.process));
                self.balancer.shared().set_drain(config.process.drain_timeout);
                config.warnings.iter().for_each(|problem| warn!("{problem}"));
                self.config.listeners = config.listeners;
                self.config.pools = config.pools;
                self.config.process.drain_timeout = config.process.drain_timeout;
                self.config.process.resolve_ttl_min = config.process.resolve_ttl_min;
                self.keep_in_step();
                tell(&changes);
            }
            Err(error) => error!("SIGHUP: the configuration stays as it is: {error}"),
        }
    }

    /// Checks and names of the configuration that is in force, and no others.
    fn keep_in_step(&mut self) {
        let mut watched = Vec::new();
        let mut names: BTreeMap<String, Vec<Named>> = BTreeMap::new();
        for (config, pool) in self.balancer.world().pools() {
            // The stand-in of the original destination has no name that means anything.
            if config.destination == Destination::OriginalDst {
                continue;
            }
            for (config_of, member) in config.backends.iter().zip(&pool.members) {
                if let Some(health) = &config.health {
                    watched.push(watch(pool, &member.backend, config_of, health.clone()));
                }
                if let Target::Host(endpoint) = &config_of.target
                    && endpoint.host.parse::<IpAddr>().is_err()
                {
                    let backend = Arc::clone(&member.backend);
                    let named = Named { backend, port: endpoint.port };
                    names.entry(endpoint.host.clone()).or_default().push(named);
                }
            }
        }
        self.checker.set(watched);
        self.names.drain(..).for_each(|task| task.abort());
        let floor = self.config.process.resolve_ttl_min;
        let follow = |(host, named)| tokio::task::spawn_local(follow_name(host, named, floor));
        self.names.extend(names.into_iter().map(follow));
    }
}

/// A backend that has a name instead of an address.
#[derive(Debug)]
struct Named {
    backend: Arc<Backend>,
    port: u16,
}

async fn follow_name(host: String, named: Vec<Named>, floor: Duration) {
    let known = named.first().map(|one| ips(&one.backend)).unwrap_or_default();
    let on_change = |addresses: Vec<IpAddr>| {
        for Named { backend, port } in &named {
            let place = |ip: &IpAddr| Address::Inet(SocketAddr::new(*ip, *port));
            backend.move_to(&addresses.iter().map(place).collect::<Vec<_>>());
        }
    };
    follow(Source::System, host, floor, known, on_change).await;
}

fn ips(backend: &Backend) -> Vec<IpAddr> {
    let addresses = backend.addresses().into_iter();
    let ips = addresses.filter_map(|address| match address {
        Address::Inet(address) => Some(address.ip()),
        Address::Unix(_) => None,
    });
    ips.collect()
}

fn watch(
    pool: &Pool,
    backend: &Arc<Backend>,
    config: &BackendConfig,
    health: crate::config::plan::HealthConfig,
) -> Watched {
    let asked = Arc::clone(backend);
    let host = match &config.target {
        Target::Host(endpoint) => endpoint.to_string(),
        Target::Unix(_) => "localhost".to_owned(),
    };
    Watched {
        key: key(pool, backend),
        host,
        addresses: Arc::new(move || asked.addresses()),
        config: health,
        condition: Arc::clone(&backend.condition),
    }
}

/// Names a backend in the log.
fn key(pool: &Pool, backend: &Backend) -> String {
    format!("{}/{}", pool.name, backend.name)
}

/// Those who wait look again, and sessions of a dead backend are cut if that is wanted.
fn on_health_change(balancer: &Handle, changed: &str, up: bool) {
    let world = balancer.world();
    for (_, pool) in world.pools() {
        let mut members = pool.members.iter();
        let Some(member) = members.find(|member| key(pool, &member.backend) == changed) else {
            continue;
        };
        pool.state.stir();
        if !up && pool.close_when_down {
            let (shared, uid) = (Arc::clone(balancer.shared()), member.backend.uid);
            tokio::task::spawn_local(async move {
                while shared.cut_sessions_of(uid).is_err() {
                    tokio::time::sleep(CUT_AGAIN_AFTER).await;
                }
            });
        }
    }
}

/// What a running program cannot change.
fn needs_restart(before: &ProcessConfig, now: &ProcessConfig) -> Vec<String> {
    let differs = [
        ("shards or cpus", before.cpus != now.cpus),
        ("engine", before.engine != now.engine),
        // Where nothing is said they follow from what else is in the file.
        ("max_sessions", before.asked.max_sessions != now.asked.max_sessions),
        ("buffers", before.asked.buffers != now.asked.buffers),
        ("busy_poll", before.busy_poll != now.busy_poll),
        ("report_interval", before.report_interval != now.report_interval),
        ("log_level", before.log_level != now.log_level),
    ];
    let differs = differs.into_iter().filter(|(_, differs)| *differs);
    differs.map(|(what, _)| format!("{what} of the process")).collect()
}

fn tell(changes: &Changes) {
    let Changes {
        listeners_added,
        listeners_removed,
        backends_added,
        backends_removed,
        changed,
        ignored,
    } = changes;
    let parts = [
        ("listening on", listeners_added),
        ("not listening any more on", listeners_removed),
        ("new backends", backends_added),
        ("backends removed", backends_removed),
        ("changed", changed),
    ];
    let parts = parts.into_iter().filter(|(_, list)| !list.is_empty());
    let parts: Vec<_> = parts.map(|(what, list)| format!("{what} {}", list.join(", "))).collect();
    match parts.is_empty() {
        true => info!("SIGHUP: the configuration is the same"),
        false => info!("SIGHUP: the new configuration is in force: {}", parts.join("; ")),
    }
    if !ignored.is_empty() {
        warn!("SIGHUP: to be changed by a restart only: {}", ignored.join(", "));
    }
}

/// Shards that are behind with what they have to cut are asked again.
const CUT_AGAIN_AFTER: Duration = Duration::from_millis(50);
