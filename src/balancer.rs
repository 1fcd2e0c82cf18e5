//! The running balancer: its shards as threads, started together and stopped together.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use uring::ListenOptions;

use crate::config::plan::{Address, ListenerConfig, LogConfig, On, PoolConfig, SessionLogTo};
use crate::config::{BUFFER_BYTES, Config};
use crate::control::bottleneck::Bottlenecks;
use crate::control::world::{BindError, Changes, World};
use crate::engine::{Engine, EngineError};
use crate::service::passed::Passed;
use crate::shard::bells::Bells;
use crate::shard::driver::{Counts, Driver, Wiring};
use crate::shard::epoll::{EpollConfig, EpollDriver};
use crate::shard::listener::Listener;
use crate::shard::post::Post;
use crate::shard::record::Records;
use crate::shard::shared::{LastWords, Shared, Stopping};
use crate::shard::uring::UringDriver;
use crate::shard::{Room, Shard};

/// Shards that take connections.
#[derive(Debug)]
pub struct Balancer {
    engine: Engine,
    world: Arc<Mutex<World>>,
    shared: Arc<Shared>,
    bottlenecks: Arc<Bottlenecks>,
    threads: Vec<JoinHandle<()>>,
    ended: Receiver<Ended>,
}

/// What a shard says when it has ended.
type Ended = io::Result<Counts>;

/// Why the balancer did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not to be had.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// There is nothing to move bytes with.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Threads or descriptors ran out.
    #[error("cannot start a shard: {0}; use fewer --shards, or raise `ulimit -n` and `ulimit -u`")]
    Resources(#[from] io::Error),
}

/// What a shard thread is given.
struct Plan {
    index: usize,
    cpu: usize,
    wiring: Wiring,
    driver: DriverConfig,
    room: Room,
    shared: Arc<Shared>,
}

/// What the driver of a shard is made of.
enum DriverConfig {
    Uring(uring::Config),
    Epoll(EpollConfig),
}

impl Balancer {
    /// Chooses the engine, listens, starts a thread for each shard, and comes back when all of them
    /// take connections.
    ///
    /// # Errors
    /// A [`StartError`]; nothing is left running then.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_with(config, Passed::default())
    }

    /// The same, with listening sockets that were passed.
    ///
    /// # Errors
    /// The same.
    pub fn start_with(config: &Config, passed: Passed) -> Result<Self, StartError> {
        let engine = Engine::choose(config.process.engine)?;
        let shards = config.process.cpus.len();
        let pairs = (0..shards).map(|_| uring::wake_pair()).collect::<Result<Vec<_>, _>>()?;
        let (wakers, wakes): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let post = Arc::new(Post::new(wakers.iter().cloned()));
        let bells = Arc::new(Bells::new(wakers));
        let mut shared = Shared::new(shards, config.process.drain_timeout, bells);
        shared.records = records(&config.process.log, shards);
        shared.watches = config.process.tcp_info;
        let shared = Arc::new(shared);
        let mut world = World::new(Arc::clone(&shared), passed);
        world.apply(&config.listeners, &config.pools)?;
        let (ended_tx, ended) = channel();
        let world = Arc::new(Mutex::new(world));
        let spins = config.process.busy_poll.is_some();
        let bottlenecks = Arc::new(Bottlenecks::new(config.process.tcp_info, spins));
        let mut balancer = Self { engine, world, shared, bottlenecks, threads: Vec::new(), ended };
        for (shard, wake) in wakes.into_iter().enumerate() {
            let wiring = Wiring { wake, post: Arc::clone(&post), shard };
            // On failure the shards that run already stop: `balancer` is dropped.
            balancer.start_shard(config, wiring, ended_tx.clone())?;
        }
        Ok(balancer)
    }

    fn start_shard(
        &mut self,
        config: &Config,
        wiring: Wiring,
        ended: Sender<Ended>,
    ) -> Result<(), StartError> {
        let index = wiring.shard;
        let plan = Plan {
            index,
            cpu: config.process.cpus[index],
            wiring,
            driver: driver_config(&self.engine, config),
            room: config.process.room_a_shard,
            shared: Arc::clone(&self.shared),
        };
        let (ready_tx, ready) = channel();
        let thread = std::thread::Builder::new().name(format!("shard-{index}"));
        self.threads.push(thread.spawn(move || run_shard(plan, &ready_tx, &ended))?);
        // A shard that panics before it is ready drops the sender.
        ready.recv().unwrap_or(Err(StartError::Resources(io::ErrorKind::Other.into())))
    }

    /// Where clients connect, in the order of the configuration, with the real port where port 0 was
    /// asked for, and what the kernel made of the options.
    #[must_use]
    pub fn listeners(&self) -> Vec<(On<Address>, ListenOptions)> {
        self.handle().listeners()
    }

    /// The first of those that is not a unix socket.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let inet = lock(&self.world).listeners().find_map(|listener| match &listener.address {
            Address::Inet(address) => Some(*address),
            Address::Unix(_) => None,
        });
        inet.expect("a listener with an internet address")
    }

    /// What moves the bytes.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The counters, which may be read at any time.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What changes and stops it, for other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
            world: Arc::clone(&self.world),
            bottlenecks: Arc::clone(&self.bottlenecks),
        }
    }

    /// Waits until all shards have ended: after a stop, or because one of them could not go on, in
    /// which case the others are stopped. Returns what their drivers counted.
    ///
    /// # Errors
    /// The first error of a shard.
    pub fn join(mut self) -> io::Result<Vec<Counts>> {
        let mut outcomes = Vec::new();
        for _ in 0..self.threads.len() {
            let outcome =
                self.ended.recv().unwrap_or_else(|_| Err(io::Error::other("a shard is gone")));
            if outcome.is_err() {
                self.shared.stop(Stopping::Cut);
            }
            outcomes.push(outcome);
        }
        self.join_threads();
        outcomes.into_iter().collect()
    }

    fn join_threads(&mut self) {
        // A panic was printed by its thread and reported as its end.
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.handle().stop(Stopping::Cut);
        self.join_threads();
    }
}

/// Changes and stops a running balancer.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    world: Arc<Mutex<World>>,
    bottlenecks: Arc<Bottlenecks>,
}

impl Handle {
    /// Puts another configuration in force.
    ///
    /// # Errors
    /// When an address is not to be had; then nothing has changed.
    pub fn apply(
        &self,
        listeners: &[ListenerConfig],
        pools: &[PoolConfig],
    ) -> Result<Changes, BindError> {
        self.world().apply(listeners, pools)
    }

    /// Where clients connect, in the order of the configuration, with the real port where port 0 was
    /// asked for, and what the kernel made of the options.
    #[must_use]
    pub fn listeners(&self) -> Vec<(On<Address>, ListenOptions)> {
        let of = |listener: &Arc<Listener>| {
            let mut options = ListenOptions::default();
            listener.sockets.for_each(|socket| {
                options = uring::listen_options(socket).unwrap_or_default();
            });
            (On::At(listener.address.clone()), options)
        };
        self.world().listeners().map(of).collect()
    }

    /// No client can connect any more. Those who have may end what they do, or not.
    pub fn stop(&self, how: Stopping) {
        self.world().close();
        self.shared.stop(how);
    }

    /// Another process has all listening sockets and accepts from them, but for the listeners with
    /// these ids, which are closed. Those who have connected here may end what they do.
    pub fn hand_on(&self, not_wanted: &[u32]) {
        self.world().hand_on(not_wanted);
        self.shared.stop(Stopping::Drain);
    }

    /// What shards see.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Looks who holds the traffic up; to be called once a second by who may be asked.
    pub fn look_for_bottlenecks(&self) {
        self.bottlenecks.look(&self.shared);
    }

    /// Who held the traffic up, as of the looks of the last seconds.
    #[must_use]
    pub fn bottlenecks(&self) -> &Bottlenecks {
        &self.bottlenecks
    }

    /// What is in force. Shards never wait for this lock.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says how a shard ended, also when that was a panic.
struct EndReport<'a> {
    ended: &'a Sender<Ended>,
    outcome: Ended,
}

impl Drop for EndReport<'_> {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Ok(Counts::new()));
        // Nobody listens when the start failed.
        let _ = self.ended.send(outcome);
    }
}

fn run_shard(plan: Plan, ready: &Sender<Result<(), StartError>>, ended: &Sender<Ended>) {
    let mut report =
        EndReport { ended, outcome: Err(io::Error::other("a shard panicked; see above")) };
    // A CPU that was taken away since the start leaves the shard where the scheduler puts it.
    if let Err(error) = uring::pin_to(plan.cpu) {
        tracing::warn!(cpu = plan.cpu, %error, "shard {} is not pinned", plan.index);
    }
    let Plan { index, driver, wiring, room, shared, .. } = plan;
    let seat = Seat { index, room, shared, ready };
    report.outcome = match driver {
        DriverConfig::Uring(config) => {
            let driver = UringDriver::new(&config, wiring);
            seat.run(driver.map_err(|error| EngineError::from(error).into()))
        }
        DriverConfig::Epoll(config) => {
            seat.run(EpollDriver::new(&config, wiring).map_err(StartError::from))
        }
    };
}

/// What a shard has besides its driver, and who waits until it is ready.
struct Seat<'a> {
    index: usize,
    room: Room,
    shared: Arc<Shared>,
    ready: &'a Sender<Result<(), StartError>>,
}

impl Seat<'_> {
    /// The whole life of a shard, compiled for each driver.
    fn run<D: Driver>(self, driver: Result<D, StartError>) -> Ended {
        let driver = match driver {
            Ok(driver) => driver,
            Err(error) => {
                let _ = self.ready.send(Err(error));
                return Err(io::Error::other("a shard did not start"));
            }
        };
        let seed = uring::monotonic_ns() ^ self.index as u64;
        let mut shard = Shard::new(driver, Arc::clone(&self.shared), self.index, self.room, seed);
        let _ = self.ready.send(Ok(()));
        shard.run()?;
        let counts = shard.driver().counters();
        let cpu_ns = uring::thread_cpu_ns();
        self.shared.say_last(self.index, LastWords { counts: counts.clone(), cpu_ns });
        Ok(counts)
    }
}

/// Queues for the session log, if there is one.
fn records(log: &LogConfig, shards: usize) -> Option<Arc<Records>> {
    let wanted = log.sessions != SessionLogTo::Off;
    wanted.then(|| Arc::new(Records::new(shards, log.queue as usize)))
}

fn driver_config(engine: &Engine, config: &Config) -> DriverConfig {
    let (buffers, buffer_bytes, busy_poll) =
        (config.process.buffers, BUFFER_BYTES, config.process.busy_poll);
    match engine {
        Engine::Uring(_) => {
            // The kernel wants a power of two; a few spare ones do no harm.
            let published = 1 << buffers.min(PUBLISHED).ilog2();
            let defaults = uring::Config { entries: ENTRIES, ..uring::Config::default() };
            DriverConfig::Uring(uring::Config {
                buffers,
                published,
                buffer_bytes,
                busy_poll,
                ..defaults
            })
        }
        Engine::Epoll | Engine::EpollInstead(_) => {
            let sessions = config.process.room_a_shard.max_sessions;
            DriverConfig::Epoll(EpollConfig { sessions, buffers, buffer_bytes, busy_poll })
        }
    }
}

/// Operations submitted at once. The ring's memory is walked through in turn: with 1024 entries it is
/// 192 KiB, which did not stay in the cache at 1000 connections and cost a twentieth more there.
const ENTRIES: u32 = 256;

/// Buffers that the kernel may fill before the next enter. It goes through them in turn, so all of
/// them become resident: half a MiB for small messages. With 64 receives ran out of them now and
/// then at 1000 connections, with 128 they did not at 4000.
const PUBLISHED: u16 = 128;
