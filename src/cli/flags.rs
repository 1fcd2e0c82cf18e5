//! The balancer's options, grouped as the help shows them.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use uring::CpuList;

use super::words::{
    AlgorithmName, EngineName, HealthCheck, LogLevel, MarkedDown, OnOff, ProxyName,
    SessionLogFormat, SpliceName, StickyKey, Unavailable,
};
use crate::config::admin::AdminListen;
use crate::config::plan::{Rate, SessionLogTo, Targets};
use crate::config::text::{
    backends, busy_poll, duration, duration_or_none, http_path, net, number, port_offset, rate,
    seconds, session_log, some_seconds, source,
};

/// Options of the balancer.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Read listeners and pools from a file (docs/configuration.md) instead of the options below
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where clients connect.
    #[command(flatten)]
    pub listener: ListenerFlags,
    /// Who serves them.
    #[command(flatten)]
    pub pool: PoolFlags,
    /// Whether backends are fit.
    #[command(flatten)]
    pub health: HealthFlags,
    /// The program.
    #[command(flatten)]
    pub process: ProcessFlags,
}

/// Where clients connect, and who may.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Clients")]
pub struct ListenerFlags {
    /// Address or name to listen on, or unix:PATH, or fd@N: a listening socket that was passed
    #[arg(long, value_name = "HOST", default_value = "0.0.0.0", value_parser = listen_host)]
    pub host: String,
    /// Port to listen on; 0 lets the kernel choose
    #[arg(long, short = 'p', default_value_t = 8080)]
    pub port: u16,
    /// Connections that may wait to be accepted, for each shard
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u16).range(1..))]
    pub backlog: u16,
    /// Hand a client on when it has sent something, or after this long; only where clients speak first
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub defer_accept: Option<Duration>,
    /// Clients that may send with their SYN at a time, for each shard (TCP Fast Open)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..))]
    pub tcp_fastopen: Option<u16>,
    /// Only these clients, as in 10.0.0.0/8,fd00::1
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', value_parser = net)]
    pub allow: Vec<IpNet>,
    /// But not these
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', value_parser = net)]
    pub deny: Vec<IpNet>,
    /// Sessions at a time of one client address (of one /64 with IPv6)
    #[arg(long, value_name = "N", value_parser = number)]
    pub max_sessions_per_ip: Option<NonZeroU32>,
    /// New connections of one client address, as in 100/s or 6000/1m
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub max_rate_per_ip: Option<Rate>,
    /// Proxies whose connections begin with a PROXY header that says who the client is
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', value_parser = net)]
    pub accept_proxy: Vec<IpNet>,
}

/// Who serves the clients, and how sessions go.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Backends and sessions")]
pub struct PoolFlags {
    /// Backends, separated by commas or spaces; an IPv6 address in brackets; or unix:PATH
    #[arg(long, short = 'b', value_name = "HOST:PORT", num_args = 1..)]
    #[arg(default_value = DEFAULT_BACKENDS, value_parser = backends)]
    pub backends: Vec<Targets>,
    /// No backends: connect to where the client wanted before the kernel redirected it here
    #[arg(long, conflicts_with = "backends")]
    pub original_dst: bool,
    /// How a backend is picked
    #[arg(long, short = 's', visible_alias = "strategy", value_enum, ignore_case = true)]
    #[arg(default_value = "auto", hide_possible_values = true)]
    #[arg(
        help = "How a backend is picked: auto, round-robin (rr), least-connections (lc), random \
                  (rand), p2c, source-hash, maglev, first"
    )]
    pub algorithm: AlgorithmName,
    /// Bring a client to the same backend again, by its address (ip) or address and port [default: off]
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "ip", ignore_case = true)]
    pub sticky_key: Option<StickyKey>,
    /// Connections at a time to each backend; who comes then waits in a queue
    #[arg(long, value_name = "N", value_parser = number)]
    pub backend_max_connections: Option<NonZeroU32>,
    /// How long a client waits in that queue
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub queue_timeout: Duration,
    /// How long a backend that came up gets less than its share
    #[arg(long, value_name = "TIME", value_parser = duration_or_none)]
    pub slow_start: Option<Duration>,
    /// Seconds that a client is held while no backend can be reached
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub wait_for_backend_timeout: Duration,
    /// What it gets then: the end, a reset or the text "503 Service Unavailable"
    #[arg(long, value_enum, ignore_case = true, default_value = "close")]
    pub on_unavailable: Unavailable,
    /// Go on with another backend when a running session's ends abnormally
    #[arg(long)]
    pub session_failover: bool,
    /// The PROXY header that backends get [default: off]
    #[arg(long, value_enum, ignore_case = true)]
    pub send_proxy: Option<ProxyName>,
    /// Addresses of this host that connections to backends come from, in turn [default: the kernel's choice]
    #[arg(long, value_name = "IP,...", value_delimiter = ',', value_parser = source)]
    pub source: Vec<IpAddr>,
    /// Probe clients and backends that are silent for this long [default: never]
    #[arg(long, value_name = "TIME", value_parser = duration_or_none)]
    pub tcp_keepalive: Option<Duration>,
    /// How long clients and backends may leave what they were sent without an acknowledgement [default: the
    /// kernel's, about 15 minutes]
    #[arg(long, value_name = "TIME", value_parser = duration_or_none)]
    pub tcp_user_timeout: Option<Duration>,
    /// How long a backend may take to accept a connection
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    pub connect_timeout: Duration,
    /// How long a session may be silent in both directions
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub idle_timeout: Duration,
    /// How long a session may be silent after one side has finished writing
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub half_closed_timeout: Duration,
    /// When a session is ended however busy it is [default: never]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_connection_age: Option<Duration>,
    /// Up to so much earlier or later, at random [default: a tenth of the age]
    #[arg(long, value_name = "TIME", value_parser = duration_or_none, requires = "max_connection_age")]
    pub max_connection_age_jitter: Option<Duration>,
    /// Ask each backend for GET /status at its port + N, and show what it says [default: off]
    #[arg(long, value_name = "N", value_parser = port_offset)]
    pub backend_status_port_offset: Option<NonZeroU16>,
    /// Whether bytes go through pipes, without being copied: while they come in bulk, never, always
    #[arg(long, value_enum, ignore_case = true, default_value = "auto")]
    pub splice: SpliceName,
}

/// Whether backends are fit.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Health checks")]
pub struct HealthFlags {
    /// Seconds between health checks; 0 switches them off
    #[arg(long, short = 'c', value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub health_check_interval: Duration,
    /// Seconds that a health check may take
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = some_seconds)]
    pub health_check_timeout: Duration,
    /// What is checked: that it accepts a connection, or that it answers GET
    #[arg(long, value_enum, ignore_case = true, default_value = "tcp")]
    pub health_check: HealthCheck,
    /// What GET asks for [default: /health]
    #[arg(long, value_name = "PATH", value_parser = http_path)]
    pub health_check_path: Option<String>,
    /// Good answers in a row that bring a backend up
    #[arg(long, value_name = "N", default_value = "2", value_parser = number)]
    pub rise: NonZeroU32,
    /// Bad answers in a row that take it down
    #[arg(long, value_name = "N", default_value = "3", value_parser = number)]
    pub fall: NonZeroU32,
    /// What becomes of the sessions of a backend that goes down
    #[arg(long, value_enum, ignore_case = true, default_value = "keep")]
    pub on_marked_down: MarkedDown,
}

/// What belongs to the program; also beside a file, and stronger than what that says.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Program (also beside --config, and stronger)")]
pub struct ProcessFlags {
    /// Shards, one thread and one CPU each [default: one for each CPU, as far as the cgroup's quota goes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub shards: Option<u16>,
    /// CPUs of the shards, in turn, as in 0,2-5 [default: all that may be used]
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<CpuList>,
    /// What moves the bytes; auto is io_uring, and epoll where that is blocked or missing [default: auto]
    #[arg(long, value_enum, ignore_case = true)]
    pub engine: Option<EngineName>,
    /// Sessions at a time, divided over the shards [default: what the file limit allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_sessions: Option<u32>,
    /// Buffers of 32 KiB for each shard [default: two for each session, up to 16384]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32768))]
    pub buffers: Option<u16>,
    /// How long a shard looks for work before it sleeps: lower latency for a busy CPU, as in 50us
    #[arg(long, value_name = "TIME", value_parser = busy_poll)]
    pub busy_poll: Option<Duration>,
    /// How long sessions may go on after the signal to stop [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration_or_none)]
    pub drain_timeout: Option<Duration>,
    /// How often the state of backends and shards is logged, at INFO [default: only at the end]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub report_interval: Option<Duration>,
    /// Where the program can be looked at and changed: unix:PATH[,mode=0600] or HOST:PORT; repeatable [default:
    /// nowhere]
    #[arg(long, value_name = "ENDPOINT")]
    pub admin: Vec<AdminListen>,
    /// A file with the secret that --admin HOST:PORT asks for, of 16 characters or more
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// Let everybody look, and change nothing, at --admin HOST:PORT
    #[arg(long)]
    pub admin_public_read: bool,
    /// Where the dashboard of --http-port is
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1", requires = "http_port")]
    pub http_host: String,
    /// One more endpoint of --admin, at which everybody may look
    #[arg(long, value_name = "PORT")]
    pub http_port: Option<u16>,
    /// Keep what was changed while the program ran here, over reloads and restarts
    #[arg(long, value_name = "FILE")]
    pub state_file: Option<PathBuf>,
    /// Look at some connections now and then, to say who is the bottleneck (TCP_INFO) [default: on]
    #[arg(long, value_enum, ignore_case = true)]
    pub tcp_info: Option<OnOff>,
    /// What is logged to standard error; DEBUG logs every connection, INFO the first few a second [default: INFO]
    #[arg(long, value_enum, ignore_case = true)]
    pub log_level: Option<LogLevel>,
    /// Append the log to this file instead, and a line for each session; SIGUSR1 opens it again
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Where a line for each session that ended goes: off, stderr, journald or a file [default: to
    /// --log-file, or off]
    #[arg(long, value_name = "WHERE", value_parser = session_log)]
    pub session_log: Option<SessionLogTo>,
    /// What such a line looks like [default: text]
    #[arg(long, value_enum, ignore_case = true)]
    pub session_log_format: Option<SessionLogFormat>,
    /// Sessions of each shard that may wait for their line; more are dropped and counted [default: 16384]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=SESSION_LOG_QUEUE_MOST))]
    pub session_log_queue: Option<u32>,
}

/// With or without the brackets that an IPv6 address has beside a port.
fn listen_host(text: &str) -> Result<String, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        crate::config::text::unix_path(path)?;
    }
    crate::config::text::passed(text).transpose()?;
    let host = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if host.is_empty() {
        return Err("it is empty; write an address or a name, as in 0.0.0.0, :: or lb1".to_owned());
    }
    Ok(host.to_owned())
}

/// Beyond this it is no queue: 200 MB a shard.
const SESSION_LOG_QUEUE_MOST: i64 = 1 << 20;

/// The pool of the first version of this balancer, so that `evenkeel` alone does what
/// `python load_balancer.py` alone did.
const DEFAULT_BACKENDS: &str = "127.0.0.1:8881,127.0.0.1:8882";
