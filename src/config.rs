//! What is used: addresses instead of names, numbers instead of defaults, all of it known to fit
//! this host.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use uring::{CpuList, CpuQuota, ListenOptions, NofileLimit};

use crate::cli::{Endpoint, EngineName, LogLevel, NotYet, Serve};
use crate::core::balance::Algorithm;
use crate::core::relay::Splice;
use crate::core::session::{Deadlines, Rules};
use crate::shard::Room;

mod cpus;
pub mod plan;

pub use cpus::CpuProblem;
use cpus::HostCpus;

/// Everything that the balancer goes by.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect.
    pub listeners: Vec<plan::ListenerConfig>,
    /// Who serves them.
    pub pools: Vec<plan::PoolConfig>,
    /// How long open sessions may go on when the program is asked to end.
    pub drain: Duration,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// How many more addresses the name to listen on has.
    pub listen_unused: usize,
    /// Connections that may wait to be accepted, for each shard; the kernel's limit applied.
    pub backlog: u16,
    /// What else is asked of the listeners.
    pub listen_options: ListenOptions,
    /// The backends, at least one.
    pub backends: Vec<BackendConfig>,
    /// How one is picked.
    pub algorithm: Algorithm,
    /// The CPU of each shard.
    pub cpus: Vec<usize>,
    /// The time that the cgroup grants, if that is less than all allowed CPUs have.
    pub cpu_quota: Option<CpuQuota>,
    /// What moves the bytes.
    pub engine: EngineName,
    /// Sessions and pipes at a time for each shard.
    pub room_a_shard: Room,
    /// Buffers for each shard.
    pub buffers: u16,
    /// What sessions go by.
    pub rules: Rules,
    /// How long a shard looks for work before it sleeps.
    pub busy_poll: Option<Duration>,
    /// Descriptors that the process may have.
    pub nofile: NofileLimit,
    /// How often the state is logged.
    pub report_interval: Option<Duration>,
    /// How much is logged.
    pub log_level: LogLevel,
    /// Options that were given and have no effect.
    pub not_yet: NotYet,
}

/// A backend and what its name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendConfig {
    /// `host:port`.
    pub name: String,
    /// At least one.
    pub addresses: Vec<SocketAddr>,
}

/// Why a command line that is well written cannot be used here.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A name that stands for nothing.
    #[error(
        "cannot resolve {what} `{endpoint}`: {source}; check the spelling, or ask `getent hosts {host}`",
        host = endpoint.host
    )]
    Unresolvable {
        /// Whose name it is.
        what: &'static str,
        /// As it was typed.
        endpoint: Endpoint,
        /// What the resolver said.
        source: io::Error,
    },
    /// Each connection would become another one, until all sessions are taken.
    #[error(
        "backend {0} is where evenkeel itself listens, so it would connect to itself without end; \
         choose another --port, or leave this backend out"
    )]
    Itself(String),
    /// More sessions than descriptors.
    #[error(
        "--max-sessions {wanted} needs {needed} file descriptors and the limit is {limit}: \
         raise it with `ulimit -n {needed}`, or use at most --max-sessions {most}"
    )]
    TooManySessions {
        /// What was asked for.
        wanted: usize,
        /// What it takes.
        needed: u64,
        /// What there is.
        limit: u64,
        /// What fits.
        most: usize,
    },
    /// The file limit leaves nothing for sessions.
    #[error(
        "the limit of {limit} file descriptors leaves no room for {shards} shards: \
         raise it with `ulimit -n 4096`, or use fewer --shards"
    )]
    NoRoom {
        /// What there is.
        limit: u64,
        /// What was asked for.
        shards: usize,
    },
    /// Fewer sessions than shards.
    #[error(
        "--max-sessions {wanted} is less than one for each of {shards} shards: \
         use at least --max-sessions {shards}, or --shards {wanted}"
    )]
    FewerSessionsThanShards {
        /// What was asked for.
        wanted: usize,
        /// How many shards there are.
        shards: usize,
    },
    /// A shard cannot be where it was wanted.
    #[error("--cpus names CPU {cpu}, {problem}; choose from --cpus {allowed}")]
    CpuUnusable {
        /// The first such CPU.
        cpu: usize,
        /// What is wrong with it.
        problem: CpuProblem,
        /// What could be used.
        allowed: CpuList,
    },
    /// The kernel does not tell what the process may use.
    #[error("cannot read {what}: {source}")]
    Host {
        /// What was asked.
        what: &'static str,
        /// What it answered.
        source: io::Error,
    },
}

impl Config {
    /// Resolves names and fits the numbers to this host; raises the file limit.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the cause and the cure.
    pub fn resolve(serve: &Serve) -> Result<Self, ConfigError> {
        let listen = Endpoint { host: serve.host.clone(), port: serve.port };
        let candidates = resolve("the address to listen on", &listen)?;
        let (listen, listen_unused) = (candidates[0], candidates.len() - 1);
        let backends: Vec<_> =
            serve.backends.iter().map(BackendConfig::resolve).collect::<Result<_, _>>()?;
        refuse_itself(listen, &backends)?;
        let host_cpus = HostCpus::read()?;
        let cpus = host_cpus.for_shards(serve.shards, serve.cpus.as_ref())?;
        let nofile = uring::raise_nofile_limit().map_err(host("the file limit"))?;
        let splice = Splice::from(serve.splice);
        let max_pipes = max_pipes(splice, cpus.len(), nofile);
        let fds_a_shard = FDS_A_SHARD + u64::from(max_pipes) * FDS_A_PIPE;
        let max_sessions = max_sessions(serve.max_sessions, cpus.len(), fds_a_shard, nofile)?;
        let max_sessions_a_shard = max_sessions / cpus.len();
        let buffers = serve.buffers.unwrap_or_else(|| buffers_for(max_sessions_a_shard));
        let listen_options = ListenOptions {
            defer_accept: serve.defer_accept,
            fast_open: serve.tcp_fastopen.unwrap_or(0),
        };
        let pool = plan::PoolConfig {
            name: "main".into(),
            destination: plan::Destination::Backends,
            backends: backends
                .iter()
                .map(|one| plan::BackendConfig {
                    name: one.name.clone(),
                    target: plan::Target::Unix("/".into()),
                    addresses: one.addresses.iter().map(|a| plan::Address::Inet(*a)).collect(),
                    weight: 1,
                    backup: false,
                    max_connections: None,
                })
                .collect(),
            algorithm: serve.algorithm.into(),
            sticky: None,
            connect_timeout: serve.connect_timeout,
            idle_timeout: serve.idle_timeout,
            half_closed_timeout: serve.half_closed_timeout,
            wait_for_backend: serve.not_yet.wait_for_backend_timeout.unwrap_or_default(),
            on_unavailable: plan::OnUnavailable::Close,
            queue: plan::Queue { size: 1024, timeout: Duration::from_secs(5) },
            session_failover: false,
            close_when_down: false,
            send_proxy: None,
            max_age: None,
            splice,
            slow_start: None,
            health: None,
            ejection: None,
        };
        let listener = plan::ListenerConfig {
            name: "main".into(),
            address: plan::Address::Inet(listen),
            unused_addresses: listen_unused,
            pool: 0,
            backlog: serve.backlog.min(somaxconn()),
            options: listen_options,
            max_sessions: None,
            access: plan::Access::default(),
            per_ip: plan::PerIp::default(),
            accept_proxy: None,
        };
        Ok(Self {
            listen,
            listen_unused,
            backlog: serve.backlog.min(somaxconn()),
            listen_options: ListenOptions {
                defer_accept: serve.defer_accept,
                fast_open: serve.tcp_fastopen.unwrap_or(0),
            },
            backends,
            algorithm: serve.algorithm.into(),
            cpus,
            cpu_quota: host_cpus.narrowing_quota(),
            engine: serve.engine,
            room_a_shard: Room { max_sessions: max_sessions_a_shard, max_pipes },
            buffers,
            rules: crate::shard::pool::rules(&pool),
            listeners: vec![listener],
            pools: vec![pool],
            drain: Duration::from_secs(1),
            busy_poll: serve.busy_poll,
            nofile,
            report_interval: serve.report_interval,
            log_level: serve.log_level,
            not_yet: serve.not_yet.clone(),
        })
    }
}

impl BackendConfig {
    fn resolve(endpoint: &Endpoint) -> Result<Self, ConfigError> {
        let addresses = resolve("backend", endpoint)?;
        Ok(Self { name: endpoint.to_string(), addresses })
    }
}

fn resolve(what: &'static str, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, ConfigError> {
    let failed = |source| ConfigError::Unresolvable { what, endpoint: endpoint.clone(), source };
    let resolved = (endpoint.host.as_str(), endpoint.port).to_socket_addrs().map_err(failed)?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in resolved {
        // A resolver repeats an address once for each socket type.
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(failed(io::Error::other("it has no address")));
    }
    Ok(addresses)
}

fn refuse_itself(listen: SocketAddr, backends: &[BackendConfig]) -> Result<(), ConfigError> {
    let is_itself = |address: &SocketAddr| {
        let reached = address.ip() == listen.ip()
            || (listen.ip().is_unspecified() && uring::is_on_this_host(address.ip()));
        listen.port() == address.port() && reached
    };
    match backends.iter().find(|backend| backend.addresses.iter().any(is_itself)) {
        Some(backend) => Err(ConfigError::Itself(backend.name.clone())),
        None => Ok(()),
    }
}

fn max_sessions(
    wanted: Option<u32>,
    shards: usize,
    fds_a_shard: u64,
    nofile: NofileLimit,
) -> Result<usize, ConfigError> {
    let reserved = RESERVED_FDS + shards as u64 * fds_a_shard;
    let fitting = nofile.now.saturating_sub(reserved) / FDS_A_SESSION;
    let most = usize::try_from(fitting).unwrap_or(usize::MAX).min(MOST_SESSIONS);
    if most < shards {
        return Err(ConfigError::NoRoom { limit: nofile.now, shards });
    }
    let Some(wanted) = wanted.map(|wanted| wanted as usize) else { return Ok(most) };
    if wanted > most {
        let needed = wanted as u64 * FDS_A_SESSION + reserved;
        return Err(ConfigError::TooManySessions { wanted, needed, limit: nofile.now, most });
    }
    if wanted < shards {
        return Err(ConfigError::FewerSessionsThanShards { wanted, shards });
    }
    Ok(wanted)
}

/// A small part of the descriptors: a pipe is lent only while it is filled and drained, so many wait
/// only where many readers are slow.
fn max_pipes(splice: Splice, shards: usize, nofile: NofileLimit) -> u16 {
    let part = nofile.now / PART_FOR_PIPES / shards as u64 / FDS_A_PIPE;
    match splice {
        Splice::Off => 0,
        Splice::Auto(_) | Splice::Always => {
            u16::try_from(part).unwrap_or(MOST_PIPES).min(MOST_PIPES)
        }
    }
}

fn buffers_for(max_sessions_a_shard: usize) -> u16 {
    let wanted = max_sessions_a_shard.saturating_mul(2);
    u16::try_from(wanted).map_or(MOST_BUFFERS, |wanted| wanted.clamp(LEAST_BUFFERS, MOST_BUFFERS))
}

fn somaxconn() -> u16 {
    let limit = uring::sysctl("net/core/somaxconn").and_then(|limit| limit.parse().ok());
    limit.unwrap_or(u16::MAX)
}

fn host(what: &'static str) -> impl FnOnce(io::Error) -> ConfigError {
    move |source| ConfigError::Host { what, source }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Standard streams, the log, signal handling, libraries.
const RESERVED_FDS: u64 = 64;
/// Ring or epoll instance, eventfd, listener, and as many to spare.
const FDS_A_SHARD: u64 = 8;
/// Its two ends.
const FDS_A_PIPE: u64 = 2;
/// Of sixteen descriptors at most one is a pipe's.
const PART_FOR_PIPES: u64 = 16;
/// For each shard. With 256 KiB each that is a quarter of what a user without privileges may have in
/// pipes (`fs.pipe-user-pages-soft`, 64 MiB).
const MOST_PIPES: u16 = 64;
/// One to the client and one to the backend.
const FDS_A_SESSION: u64 = 2;
/// Keeps the table of a shard in 32 bits wherever the file limit is unlimited.
const MOST_SESSIONS: usize = 1 << 24;
/// A busy shard has this many receives and sends under way without waiting.
const LEAST_BUFFERS: u16 = 512;
/// 512 MiB for each shard, if as many clients stop reading at once.
const MOST_BUFFERS: u16 = 16384;

/// What one receive can bring. Half of it cost a third more CPU for each byte of a bulk stream, twice
/// of it hardly less (docs/decisions/0002-buffers-few-published-many-to-spare.md).
pub const BUFFER_BYTES: u32 = 32 * 1024;

#[cfg(test)]
mod tests {
    use crate::core::relay::Bulk;

    use super::*;

    const LIMIT: NofileLimit = NofileLimit { before: 1024, now: 20_000 };

    #[test]
    fn sessions_fit_the_descriptors() {
        let most = max_sessions(None, 2, FDS_A_SHARD, LIMIT).expect("plenty");
        assert_eq!(most, (20_000 - 64 - 16) / 2);
        assert_eq!(max_sessions(Some(100), 2, FDS_A_SHARD, LIMIT).expect("fewer than fit"), 100);
    }

    #[test]
    fn more_sessions_than_descriptors_are_refused_with_what_fits() {
        let error =
            max_sessions(Some(10_000), 2, FDS_A_SHARD, LIMIT).expect_err("too many").to_string();
        assert!(error.contains("20080") && error.contains("--max-sessions 9960"), "{error}");
    }

    #[test]
    fn a_shard_without_a_session_makes_no_sense() {
        assert!(max_sessions(Some(1), 2, FDS_A_SHARD, LIMIT).is_err());
        assert!(max_sessions(None, 9, FDS_A_SHARD, NofileLimit { before: 64, now: 64 }).is_err());
    }

    const AUTO: Splice = Splice::Auto(Bulk::MEASURED);

    #[test]
    fn pipes_take_a_small_part_of_the_descriptors() {
        assert_eq!(max_pipes(AUTO, 2, LIMIT), MOST_PIPES);
        let few = NofileLimit { before: 1024, now: 1024 };
        assert_eq!(max_pipes(AUTO, 2, few), 16);
        assert_eq!(max_pipes(Splice::Off, 2, LIMIT), 0);
    }
}
