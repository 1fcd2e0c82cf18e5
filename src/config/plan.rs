//! What is used, whether it came from the command line or from a file: addresses instead of names,
//! numbers instead of defaults. The types say what a listener and a pool are; how they behave is in
//! `core`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use uring::ListenOptions;

use crate::cli::Endpoint;
pub use crate::cli::SessionLogFormat;
use crate::core::balance::Algorithm;
pub use crate::core::proxy::Version as ProxyVersion;
use crate::core::relay::Splice;
use crate::core::wanted::AdminState;

/// Where something listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Inet(SocketAddr),
    /// A stream socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What is logged, where, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Where the program's own log goes: standard error without it.
    pub file: Option<PathBuf>,
    /// Where a line for each session goes.
    pub sessions: SessionLogTo,
    /// What such a line looks like.
    pub format: SessionLogFormat,
    /// Sessions that may wait for their line, for each shard.
    pub queue: u32,
}

/// Where a line for each session goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionLogTo {
    /// There is none.
    Off,
    /// Standard error.
    Stderr,
    /// systemd's journal.
    Journald,
    /// A file, which may be that of the program's own log.
    File(PathBuf),
}

impl fmt::Display for SessionLogTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Stderr => f.write_str("standard error"),
            Self::Journald => f.write_str("journald"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What a listener is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum On<T> {
    /// Sockets are opened there, unless some that listen there were passed.
    At(T),
    /// The listening socket that was passed under this number.
    Fd(u32),
}

impl<T: fmt::Display> fmt::Display for On<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => at.fmt(f),
            Self::Fd(number) => write!(f, "fd@{number}"),
        }
    }
}

/// One address that clients connect to.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerConfig {
    /// For logs, and what identifies it over a reload together with its address.
    pub name: String,
    /// Where clients connect.
    pub address: On<Address>,
    /// How many more addresses the name to listen on has.
    pub unused_addresses: usize,
    /// The pool that serves it: an index in the configuration's pools.
    pub pool: usize,
    /// Connections that may wait to be accepted, for each shard; the kernel's limit applied.
    pub backlog: u16,
    /// What else is asked of the listening sockets.
    pub options: ListenOptions,
    /// Sessions at a time over all shards; who comes when it is full waits in the backlog.
    pub max_sessions: Option<NonZeroU32>,
    /// Who may come in.
    pub access: Access,
    /// What one client address may have.
    pub per_ip: PerIp,
    /// Who is believed to say whom it speaks for (PROXY protocol).
    pub accept_proxy: Option<AcceptProxy>,
}

/// Who may come in: deny is looked at first; an empty allow list allows everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Only these.
    pub allow: Vec<IpNet>,
    /// But not these.
    pub deny: Vec<IpNet>,
}

/// What one client address may have; an IPv6 client is counted by its /64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerIp {
    /// Sessions at a time.
    pub sessions: Option<NonZeroU32>,
    /// New connections in a period.
    pub rate: Option<Rate>,
}

/// So many events in a period; as many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub events: NonZeroU32,
    /// In how long.
    pub period: Duration,
}

/// PROXY protocol from clients, version 1 or 2 as they send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptProxy {
    /// Connections from these must begin with a header; others must not, and are served as they are.
    pub from: Vec<IpNet>,
    /// How long the header may take.
    pub timeout: Duration,
}

/// Backends that serve the same, and how sessions get to them.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolConfig {
    /// For logs, and what identifies it over a reload.
    pub name: String,
    /// Where its sessions go.
    pub destination: Destination,
    /// The backends, in the order of the configuration; one that stands for the original
    /// destination if [`PoolConfig::destination`] says so.
    pub backends: Vec<BackendConfig>,
    /// How one is picked.
    pub algorithm: Algorithm,
    /// What brings a client to the same backend again.
    pub sticky: Option<StickyConfig>,
    /// How long a backend may take to accept a connection.
    pub connect_timeout: Duration,
    /// How long a session may be silent.
    pub idle_timeout: Duration,
    /// How long it may be silent after one side has finished.
    pub half_closed_timeout: Duration,
    /// How long a client is held while no backend can be reached.
    pub wait_for_backend: Duration,
    /// What a client gets that was held in vain.
    pub on_unavailable: OnUnavailable,
    /// Clients that wait because all backends are at their `max_connections`.
    pub queue: Queue,
    /// Whether a session whose backend ends abnormally goes on with another one.
    pub session_failover: bool,
    /// Whether the sessions of a backend are cut when health checks mark it down.
    pub close_when_down: bool,
    /// The version of the PROXY header that backends get.
    pub send_proxy: Option<ProxyVersion>,
    /// When a session is ended however busy it is.
    pub max_age: Option<MaxAge>,
    /// What is asked of connections to backends.
    pub connect: Connect,
    /// When bytes go through pipes.
    pub splice: Splice,
    /// How long a backend that came up gets less than its share.
    pub slow_start: Option<Duration>,
    /// Active checks.
    pub health: Option<HealthConfig>,
    /// Passive ejection.
    pub ejection: Option<EjectionConfig>,
    /// How much higher the port is at which backends are asked for `/status`, if they are.
    pub status_port_offset: Option<NonZeroU16>,
}

/// Where the sessions of a pool go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To one of its backends.
    Backends,
    /// To where the client wanted before the kernel redirected it (`SO_ORIGINAL_DST`).
    OriginalDst,
}

/// A backend and what its name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendConfig {
    /// For logs, and what identifies it over a reload; `host:port` unless it was given another.
    pub name: String,
    /// As it was written.
    pub target: Target,
    /// What it stands for now; at least one.
    pub addresses: Vec<Address>,
    /// Its share beside the others, 0 to 256; with 0 only sticky clients come.
    pub weight: u16,
    /// Whether it is used only while no other can be.
    pub backup: bool,
    /// Connections at a time over all shards.
    pub max_connections: Option<NonZeroU32>,
    /// What the operator wants of it.
    pub state: AdminState,
    /// Whether it was added while the program ran: no file and no option names it.
    pub added: bool,
}

/// What one word of a command line names: one, or several with commas or spaces between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Targets(pub Vec<Target>);

/// What a backend is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A host, or an address, and a port.
    Host(Endpoint),
    /// A stream socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(endpoint) => endpoint.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What brings a client to the same backend again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StickyConfig {
    /// What makes a client the same client.
    pub key: StickyBy,
    /// How long a client is remembered after its last connection.
    pub ttl: Duration,
    /// How many clients are remembered.
    pub size: NonZeroU32,
    /// Whether a client that had to move goes back when its backend is there again.
    pub returns: bool,
}

/// What makes a client the same client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StickyBy {
    /// Its address.
    Ip,
    /// Its address and port.
    IpPort,
}

/// What a client gets when no backend could be reached in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnUnavailable {
    /// The end of the stream.
    Close,
    /// A reset.
    Reset,
    /// This text, then the end.
    Reply(Arc<[u8]>),
}

/// Clients that wait for a backend to have fewer connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many, over all shards.
    pub size: u32,
    /// How long each.
    pub timeout: Duration,
}

/// When a session is ended however busy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxAge {
    /// After about so long.
    pub age: Duration,
    /// Up to this much earlier or later, at random, so that sessions which began together do not end
    /// together.
    pub jitter: Duration,
}

/// What is asked of connections to backends over TCP; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connect {
    /// Addresses of this host to come from, in turn; those of the other family than the backend's are
    /// passed over. The kernel chooses if none is left.
    pub sources: Vec<IpAddr>,
    /// How long a connection may be silent before it is probed.
    pub keepalive: Option<Duration>,
    /// How long what was sent may stay without an acknowledgement.
    pub user_timeout: Option<Duration>,
}

/// Active health checks.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthConfig {
    /// What is asked.
    pub check: Check,
    /// How often.
    pub interval: Duration,
    /// How often while the answers do not agree with the state.
    pub fast_interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good answers in a row that bring a backend up.
    pub rise: NonZeroU32,
    /// Bad answers in a row that take it down.
    pub fall: NonZeroU32,
    /// Each interval is up to this fraction longer or shorter, at random.
    pub jitter: f64,
    /// Another port than the backend's own.
    pub port: Option<NonZeroU16>,
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Whether it accepts a connection.
    Tcp,
    /// Whether these bytes come after those were sent.
    SendExpect {
        /// Perhaps nothing.
        send: Vec<u8>,
        /// Anywhere in the first kilobytes of the answer.
        expect: Vec<u8>,
    },
    /// Whether it answers `GET` with one of these status codes.
    Http {
        /// As in `/health`.
        path: String,
        /// The `Host` header; the backend's name without one.
        host: Option<String>,
        /// From and to, both included.
        status: Vec<(u16, u16)>,
    },
}

/// Passive ejection: connects that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectionConfig {
    /// Failed connects in a row that eject a backend.
    pub after: NonZeroU32,
    /// For how long, the first time.
    pub first: Duration,
    /// It doubles each time, up to this.
    pub longest: Duration,
}
