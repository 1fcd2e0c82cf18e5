//! What the control thread does while the balancer runs: health checks and names for the
//! configuration that is in force, another configuration on SIGHUP, changes that the operator asks
//! for, the end on SIGTERM and SIGINT, a new binary on SIGUSR2.
//!
//! `changes` does what the admin API asks for, `telling` makes events and lines of what happens, and
//! `ending` is for signals that lead to the end: of this process, or of its turn.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::task::JoinHandle;
use tracing::{error, warn};

use crate::api::Event;
use crate::balancer::Handle;
use crate::cli::Serve;
use crate::config::plan::{Address, BackendConfig, Destination, Target};
use crate::config::{Config, Draft, LARGEST_FILE, Problems, ReadError};
use crate::core::moment::Moment;
use crate::core::wanted::AdminState;
use crate::session_log::LogFiles;
use crate::shard::backend::Backend;
use crate::shard::pool::Pool;

use super::admin::doors::{Doors, OpenDoors};
use super::admin::{App, Refusal, Request};
use super::checks::{Checker, Watched};
use super::details::{Asked, Curious};
use super::events::{Kind, News};
use super::overrides::Overrides;
use super::resolve::{Source, follow};
use super::runtime::read_file;
use super::service::{Handing, Service};
use super::state_file;
use super::world::BindError;

mod changes;
mod ending;
mod telling;

use changes::Keeper;
use telling::Told;

/// What keeps the running balancer in step with the world.
#[derive(Debug)]
pub struct Manager {
    balancer: Handle,
    /// As it was started: names the file to read again.
    serve: Serve,
    /// As the file or the options have it.
    config: Config,
    /// What the operator changed of it.
    overrides: Overrides,
    /// Where these are kept.
    keeper: Option<Keeper>,
    app: Arc<App>,
    requests: Receiver<Request>,
    checker: Checker,
    curious: Curious,
    /// One for each name that backends have.
    names: Vec<JoinHandle<()>>,
    told: Told,
    logs: LogFiles,
    service: Service,
    /// Of the admin API, to be handed on.
    open_doors: OpenDoors,
    handing: Handing,
    /// How often it was asked to end.
    stops: u32,
}

/// What a manager begins with.
#[derive(Debug)]
pub struct Beginning {
    /// The command line.
    pub serve: Serve,
    /// As the file or the options have it.
    pub config: Config,
    /// What was kept from before, and is in force.
    pub overrides: Overrides,
    /// Where the admin API is.
    pub doors: Doors,
    /// What it answers from.
    pub app: Arc<App>,
    /// What it asks for.
    pub requests: Receiver<Request>,
    /// What is opened again on SIGUSR1.
    pub logs: LogFiles,
    /// The service manager, and what a new binary is started from.
    pub service: Service,
}

impl Manager {
    /// The manager of a balancer that was started with what it begins with. To be made on the control
    /// thread.
    #[must_use]
    pub fn new(balancer: Handle, beginning: Beginning) -> Self {
        let Beginning { serve, config, overrides, doors, app, requests, logs, service } = beginning;
        let told = Told::default();
        let (of, events, seen) = (balancer.clone(), Arc::clone(&app.events), told.clone());
        let on_change = Rc::new(move |key: &str, up: bool, evidence: &str| {
            telling::on_health_change(&of, &events, key, up, evidence);
            seen.note_health(key, up);
        });
        let clock = || Moment::from_ns(uring::monotonic_ns());
        let checker = Checker::new(clock, on_change);
        let keeper = config.process.state_file.clone().map(Keeper::new);
        let open_doors = super::admin::open(doors, &app);
        let curious = Curious::new(Arc::clone(&app.details));
        Self {
            balancer,
            serve,
            config,
            overrides,
            keeper,
            app,
            requests,
            checker,
            curious,
            names: Vec::new(),
            told,
            logs,
            service,
            open_doors,
            handing: Handing::Nothing,
            stops: 0,
        }
    }

    /// Goes on until the process ends.
    pub async fn run(mut self, mut signals: UnboundedReceiver<Signal>) {
        self.keep_in_step();
        self.begin();
        self.service.keep_watchdog(&self.balancer);
        let mut look = tokio::time::interval(LOOK_AGAIN_AFTER);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                signal = signals.recv() => match signal {
                    Some(signal) => self.on_signal(signal).await,
                    None => return,
                },
                outcome = self.handing.outcome() => self.on_handed_over(outcome),
                Some(request) = self.requests.recv() => self.on_request(request).await,
                _ = look.tick() => self.look(),
            }
        }
    }

    /// Reads the file again. What is wrong with it is told, and changes nothing.
    async fn reload(&mut self, by: &str) -> Result<Event, Refusal> {
        self.service.notifier().reloading("reading the configuration again");
        let reloaded = self.read_again(by).await;
        self.service.say_reloaded(&self.balancer, reloaded.is_ok());
        reloaded
    }

    async fn read_again(&mut self, by: &str) -> Result<Event, Refusal> {
        let Some(path) = self.serve.config.clone() else {
            warn!("{by}: there is no file to read again; start with --config FILE");
            return Err(Refusal::conflict(
                "there is no file to read again; start with --config FILE",
            ));
        };
        let text = read_file(&path, LARGEST_FILE).await.map_err(ReadError::from);
        let (serve, bytes) = (self.serve.clone(), text.as_ref().ok().cloned());
        let (mut overrides, mut lost) = (Overrides::default(), Vec::new());
        match self.keeper {
            Some(_) => overrides = self.overrides.clone(),
            None => lost = self.overrides.list(),
        }
        // Names are looked up, which may take seconds.
        let read = tokio::task::spawn_blocking(move || {
            let config = Config::resolve(&Draft::from_text(&serve, &path, text)?)?;
            let unknown = state_file::look_up(&mut overrides, &config.listeners);
            Ok::<_, Problems>((config, overrides, unknown))
        });
        let wrong = match read.await {
            Ok(Ok((config, overrides, unknown))) => {
                lost.extend(unknown);
                match self.apply(config, overrides, lost, by) {
                    Ok(event) => {
                        self.app.note_reload(true);
                        if let (Some(file), Some(bytes)) = (&self.app.file, bytes) {
                            file.note(&bytes);
                        }
                        return Ok(event);
                    }
                    Err(error) => error.to_string(),
                }
            }
            Ok(Err(problems)) => format!("the new one is wrong: {problems}"),
            Err(error) => error.to_string(),
        };
        self.app.note_reload(false);
        error!("{by}: the configuration stays as it is, because {wrong}");
        let news = News::error(Kind::ReloadFailed, self.file(), "the configuration stays as it is");
        self.app.events.push(news.because(format!("{by}: {wrong}")));
        Err(Refusal::unusable(format!("the configuration stays as it is, because {wrong}")))
    }

    /// Puts another configuration in force, with what was changed of it, and tells of that.
    fn apply(
        &mut self,
        config: Config,
        mut overrides: Overrides,
        mut lost: Vec<String>,
        by: &str,
    ) -> Result<Event, BindError> {
        let forgotten = overrides.forget_unfit(&config.pools);
        let forgets = !forgotten.is_empty();
        lost.extend(forgotten);
        let pools = overrides.over(&config.pools);
        let mut changes = self.balancer.apply(&config.listeners, &pools)?;
        changes.ignored.extend(telling::needs_restart(&self.config.process, &config.process));
        self.balancer.shared().set_drain(config.process.drain_timeout);
        config.warnings.iter().for_each(|problem| warn!("{problem}"));
        self.config.listeners = config.listeners;
        self.config.pools = config.pools;
        self.config.process.drain_timeout = config.process.drain_timeout;
        self.config.process.resolve_ttl_min = config.process.resolve_ttl_min;
        self.app.token.store(Arc::new(config.process.admin.token.clone()));
        self.config.process.admin.token = config.process.admin.token;
        self.overrides = overrides;
        self.keep_in_step();
        if forgets {
            // What is forgotten now shall not come back with the next start. How that went is told.
            drop(self.keep());
        }
        Ok(self.tell_reload(&changes, &lost, by))
    }

    /// What is in force: the configuration with what was changed of it.
    fn in_force(&self) -> Config {
        let mut config = self.config.clone();
        config.pools = self.overrides.over(&config.pools);
        config
    }

    /// Checks and names of the configuration that is in force, and no others.
    fn keep_in_step(&mut self) {
        let (mut watched, mut asked) = (Vec::new(), Vec::new());
        let mut names: BTreeMap<String, Vec<Named>> = BTreeMap::new();
        for (config, pool) in self.balancer.world().pools() {
            // The stand-in of the original destination has no name that means anything.
            if config.destination == Destination::OriginalDst {
                continue;
            }
            for (config_of, member) in config.backends.iter().zip(&pool.members) {
                let checked = config_of.state != AdminState::Maint;
                if let Some(offset) = config.status_port_offset.filter(|_| checked) {
                    let interval = config.health.as_ref().map(|health| health.interval);
                    asked.push(Asked {
                        backend: Arc::clone(&member.backend),
                        offset: offset.into(),
                        interval: interval.unwrap_or(ASK_AGAIN_AFTER),
                    });
                }
                if let Some(health) = config.health.as_ref().filter(|_| checked) {
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
        self.curious.set(asked);
        self.names.drain(..).for_each(|task| task.abort());
        let floor = self.config.process.resolve_ttl_min;
        let follow = |(host, named)| tokio::task::spawn_local(follow_name(host, named, floor));
        self.names.extend(names.into_iter().map(follow));
        self.note();
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

/// Where nothing says how often backends are checked.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What shards have to tell is asked for this often.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
