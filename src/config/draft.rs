//! A configuration before names are looked up and before it meets this host: the same for flags and
//! for a file, with every default filled in and the place of what can still turn out wrong.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uring::{CpuList, ListenOptions};

use super::admin::AdminDraft;
use super::plan::{
    AcceptProxy, Access, BackendConfig, Check, Connect, Destination, EjectionConfig, HealthConfig,
    LogConfig, MaxAge, On, OnUnavailable, PerIp, PoolConfig, Queue, SessionLogFormat, SessionLogTo,
    StickyBy, StickyConfig, Target,
};
use super::problem::{Place, Problem};
use crate::cli::{Endpoint, EngineName, LogLevel, OnOff, StickyKey};
use crate::core::balance::Algorithm;
use crate::core::relay::{Bulk, Splice};
use crate::core::wanted::AdminState;

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// What belongs to the program as a whole.
    pub process: ProcessDraft,
    /// Where clients connect.
    pub listeners: Vec<ListenerDraft>,
    /// Who serves them.
    pub pools: Vec<PoolDraft>,
    /// The file as a whole, or the command line.
    pub place: Place,
    /// What can be used but should be looked at.
    pub warnings: Vec<Problem>,
}

/// What belongs to the program as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessDraft {
    /// How many; one for each CPU without it.
    pub shards: Option<At<u16>>,
    /// Which CPUs; all that may be used without it.
    pub cpus: Option<At<CpuList>>,
    /// What moves the bytes.
    pub engine: EngineName,
    /// Over all shards; as many as descriptors allow without it.
    pub max_sessions: Option<At<u32>>,
    /// For each shard.
    pub buffers: Option<u16>,
    /// How long a shard looks for work before it sleeps.
    pub busy_poll: Option<Duration>,
    /// How long sessions may go on after the signal to stop.
    pub drain_timeout: Duration,
    /// How often the state is logged.
    pub report_interval: Option<Duration>,
    /// Whether shards look at some of their connections.
    pub tcp_info: OnOff,
    /// How much is logged.
    pub log_level: LogLevel,
    /// Where the log goes; to standard error without it.
    pub log_file: Option<PathBuf>,
    /// Where a line for each session goes; without it to the log's file, if there is one.
    pub session_log: Option<SessionLogTo>,
    /// What it looks like.
    pub session_log_format: SessionLogFormat,
    /// Sessions that may wait for it, for each shard.
    pub session_log_queue: u32,
    /// How long an answer of the name servers is believed at least.
    pub resolve_ttl_min: Duration,
    /// Where the program can be looked at and changed.
    pub admin: AdminDraft,
    /// Where changes that were made while it ran are kept.
    pub state_file: Option<PathBuf>,
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct At<T> {
    /// What was written.
    pub value: T,
    /// Where.
    pub place: Place,
}

/// A listener whose name is not looked up.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerDraft {
    /// Where its address is written.
    pub place: Place,
    /// Its name, or its address as it is written.
    pub name: String,
    /// As it is written.
    pub on: On<Target>,
    /// Index in the pools.
    pub pool: usize,
    /// What was asked for.
    pub backlog: u16,
    /// What else is asked of the sockets.
    pub options: ListenOptions,
    /// Over all shards.
    pub max_sessions: Option<NonZeroU32>,
    /// Who may come in.
    pub access: Access,
    /// What one client address may have.
    pub per_ip: PerIp,
    /// Who is believed.
    pub accept_proxy: Option<AcceptProxy>,
}

/// A pool whose backends' names are not looked up.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolDraft {
    /// Where it is written.
    pub place: Place,
    /// All of it, but for the addresses of its backends.
    pub config: PoolConfig,
    /// Where each backend is written.
    pub backend_places: Vec<Place>,
    /// Where each source address is written.
    pub source_places: Vec<Place>,
}

impl ProcessDraft {
    /// What is used where nothing is said.
    pub(super) fn defaults() -> Self {
        Self {
            shards: None,
            cpus: None,
            engine: EngineName::Auto,
            max_sessions: None,
            buffers: None,
            busy_poll: None,
            drain_timeout: Duration::from_secs(30),
            report_interval: None,
            tcp_info: OnOff::On,
            log_level: LogLevel::Info,
            log_file: None,
            session_log: None,
            session_log_format: SessionLogFormat::Text,
            session_log_queue: SESSION_LOG_QUEUE,
            resolve_ttl_min: Duration::from_secs(5),
            admin: AdminDraft::default(),
            state_file: None,
        }
    }
}

impl ProcessDraft {
    /// Where lines go: with a file for the log, those of sessions go there, too.
    pub(super) fn log(&self) -> LogConfig {
        let beside = || match &self.log_file {
            Some(file) => SessionLogTo::File(file.clone()),
            None => SessionLogTo::Off,
        };
        LogConfig {
            file: self.log_file.clone(),
            sessions: self.session_log.clone().unwrap_or_else(beside),
            format: self.session_log_format,
            queue: self.session_log_queue,
        }
    }
}

impl PoolConfig {
    /// What is used where nothing is said: no backend yet.
    pub(crate) fn defaults(name: String) -> Self {
        Self {
            name,
            destination: Destination::Backends,
            backends: Vec::new(),
            algorithm: Algorithm::P2c,
            sticky: None,
            connect_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(60 * 60),
            half_closed_timeout: Duration::from_secs(30),
            wait_for_backend: Duration::from_secs(30),
            on_unavailable: OnUnavailable::Close,
            queue: Queue { size: 1024, timeout: Duration::from_secs(5) },
            session_failover: false,
            close_when_down: false,
            send_proxy: None,
            max_age: None,
            connect: Connect::default(),
            splice: Splice::Auto(Bulk::MEASURED),
            slow_start: None,
            health: Some(HealthConfig::defaults()),
            ejection: Some(EjectionConfig::defaults()),
            status_port_offset: None,
        }
    }

    /// The pool whose sessions go where their clients wanted: with one stand-in for a backend, of
    /// which nothing can be checked.
    pub(super) fn with_original_destination(self) -> Self {
        let target = Target::Host(Endpoint { host: ORIGINAL_DST.to_owned(), port: 0 });
        Self {
            destination: Destination::OriginalDst,
            backends: vec![BackendConfig::defaults(target, Some(ORIGINAL_DST.to_owned()))],
            algorithm: Algorithm::RoundRobin,
            sticky: None,
            slow_start: None,
            health: None,
            ejection: None,
            status_port_offset: None,
            ..self
        }
    }
}

impl BackendConfig {
    /// What is used where nothing is said: an address is not known yet.
    pub(super) fn defaults(target: Target, name: Option<String>) -> Self {
        let name = name.unwrap_or_else(|| target.to_string());
        Self {
            name,
            target,
            addresses: Vec::new(),
            weight: 1,
            backup: false,
            max_connections: None,
            state: AdminState::Ready,
            added: false,
        }
    }
}

impl BackendConfig {
    /// One that is added while the program runs; an address is not known yet.
    pub(crate) fn at_run_time(target: Target, name: Option<String>) -> Self {
        Self { added: true, ..Self::defaults(target, name) }
    }
}

impl StickyConfig {
    /// What is used where nothing else is said; nothing for `off`.
    pub(super) fn of(key: StickyKey) -> Option<Self> {
        let key = match key {
            StickyKey::Ip => StickyBy::Ip,
            StickyKey::IpPort => StickyBy::IpPort,
            StickyKey::Off => return None,
        };
        let (ttl, size) = (Duration::from_secs(30 * 60), number(100_000));
        Some(Self { key, ttl, size, returns: false })
    }
}

impl HealthConfig {
    /// What is used where nothing is said.
    pub(super) fn defaults() -> Self {
        Self {
            check: Check::Tcp,
            interval: Duration::from_secs(5),
            fast_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: number(2),
            fall: number(3),
            jitter: 0.1,
            port: None,
        }
    }

    /// The same at another interval; the fast one is not slower than it.
    pub(super) fn every(self, interval: Duration) -> Self {
        let fast_interval = self.fast_interval.min(interval);
        Self { interval, fast_interval, ..self }
    }
}

impl EjectionConfig {
    /// What is used where nothing is said.
    pub(super) fn defaults() -> Self {
        let (first, longest) = (Duration::from_secs(10), Duration::from_secs(5 * 60));
        Self { after: number(3), first, longest }
    }
}

impl MaxAge {
    /// Without a word about jitter it is a tenth.
    pub(super) fn new(age: Duration, jitter: Option<Duration>) -> Result<Self, &'static str> {
        let jitter = jitter.unwrap_or(age / 10);
        if jitter >= age {
            return Err("it is not less than the age itself; write a part of it");
        }
        Ok(Self { age, jitter })
    }
}

/// What a held client is answered by `--on-unavailable 503`.
pub(super) fn service_unavailable() -> OnUnavailable {
    OnUnavailable::Reply(Arc::from(&b"503 Service Unavailable"[..]))
}

/// How long a PROXY header may take where nothing is said.
pub(super) const PROXY_TIMEOUT: Duration = Duration::from_secs(5);

/// More than a shard can end in a second, of less than 200 bytes each.
const SESSION_LOG_QUEUE: u32 = 16 * 1024;

/// Connections that may wait to be accepted where nothing is said.
pub(crate) const BACKLOG: u16 = 4096;

/// What stands for the backend of a session that goes where its client wanted.
pub(super) const ORIGINAL_DST: &str = "original-dst";

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("no default is 0")
}
