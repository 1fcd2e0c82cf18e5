//! Every effective setting as text: what is printed at the start and by `evenkeel check`.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use uring::ListenOptions;

use crate::config::admin::AdminEndpoint;
use crate::config::plan::{
    Access, Address, BackendConfig, Check, Connect, Destination, HealthConfig, ListenerConfig,
    LogConfig, On, OnUnavailable, PerIp, PoolConfig, ProxyVersion, SessionLogTo, StickyBy,
};
use crate::config::{BUFFER_BYTES, Config, ProcessConfig};
use crate::core::relay::Splice;
use crate::engine::Engine;

/// What only the running balancer knows, or would.
#[derive(Clone, Debug)]
pub struct Effective {
    /// What moves the bytes.
    pub engine: String,
    /// What the control thread runs on.
    pub control: String,
    /// Where each listener is and what the kernel made of its options, in the order of the
    /// configuration.
    pub listeners: Vec<(On<Address>, ListenOptions)>,
    /// Where the admin API is, with the real ports.
    pub admin: Vec<AdminEndpoint>,
}

impl Effective {
    /// What was asked for, where nothing runs.
    #[must_use]
    pub fn as_configured(config: &Config, engine: &Engine) -> Self {
        let listeners = config.listeners.iter().map(|one| (one.address.clone(), one.options));
        let control = match engine {
            Engine::Uring(_) => "tokio-uring",
            Engine::Epoll | Engine::EpollInstead(_) => "tokio",
        };
        let (engine, control) = (engine.to_string(), control.to_owned());
        let admin = config.process.admin.endpoints.clone();
        Self { engine, control, listeners: listeners.collect(), admin }
    }
}

/// Prints all of it.
///
/// # Errors
/// When nobody takes it.
pub fn print(out: &mut impl Write, config: &Config, effective: &Effective) -> io::Result<()> {
    writeln!(out, "evenkeel {} (pid {})", env!("CARGO_PKG_VERSION"), std::process::id())?;
    lines(config, effective).iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// All of it, a line each. One listener with one pool is told of without their names.
#[must_use]
pub fn lines(config: &Config, effective: &Effective) -> Vec<String> {
    let mut lines = Lines::default();
    let simple = config.listeners.len() == 1 && config.pools.len() == 1;
    for (listener, (address, options)) in config.listeners.iter().zip(&effective.listeners) {
        let pool = (!simple).then(|| config.pools[listener.pool].name.as_str());
        lines.listener(listener, address, *options, pool);
    }
    for pool in &config.pools {
        if !simple {
            lines.add("pool", pool.name.clone());
            lines.indent = "    ";
        }
        lines.pool(pool, config.process.room_a_shard.max_pipes);
        lines.indent = "  ";
    }
    lines.process(&config.process, effective);
    lines.text.lines().map(str::to_owned).collect()
}

struct Lines {
    indent: &'static str,
    text: String,
}

impl Default for Lines {
    fn default() -> Self {
        Self { indent: "  ", text: String::new() }
    }
}

impl Lines {
    fn add(&mut self, name: &str, value: impl AsRef<str>) {
        let indent = self.indent;
        writeln!(self.text, "{indent}{name:<10} {}", value.as_ref())
            .expect("a string takes it all");
    }

    fn listener(
        &mut self,
        listener: &ListenerConfig,
        address: &On<Address>,
        options: ListenOptions,
        pool: Option<&str>,
    ) {
        let name = match pool {
            Some(_) if listener.name != listener.address.to_string() => {
                format!("{}: ", listener.name)
            }
            _ => String::new(),
        };
        let pool = pool.map(|pool| format!(" -> {pool}")).unwrap_or_default();
        let unused = match listener.unused_addresses {
            0 => String::new(),
            unused => format!(", the first of {} addresses of that name", unused + 1),
        };
        let most = listener.max_sessions.map(|most| format!(", at most {most} sessions"));
        let (most, backlog) = (most.unwrap_or_default(), listener.backlog);
        let options = describe_options(options);
        self.add(
            "listener",
            format!("{name}{address}{pool}{unused}, backlog {backlog} a shard{most}{options}"),
        );
        if listener.access != Access::default() {
            self.add("access", describe_access(&listener.access));
        }
        if listener.per_ip != PerIp::default() {
            self.add("per client", describe_per_ip(&listener.per_ip));
        }
        if let Some(proxy) = &listener.accept_proxy {
            let timeout = time(proxy.timeout);
            self.add(
                "proxies",
                format!("{}, whose header comes within {timeout}", list(&proxy.from)),
            );
        }
    }

    fn pool(&mut self, pool: &PoolConfig, max_pipes: u16) {
        match pool.destination {
            Destination::OriginalDst => {
                self.add("backends", "where each client wanted to go (original-dst)")
            }
            Destination::Backends => {
                let backends: Vec<String> = pool.backends.iter().map(describe_backend).collect();
                self.add("backends", format!("{}: {}", backends.len(), backends.join(", ")));
                self.add("algorithm", pool.algorithm.to_string());
                self.add("sticky", describe_sticky(pool));
                self.add("health", describe_health(pool));
            }
        }
        let [connect, idle, half_closed] =
            [pool.connect_timeout, pool.idle_timeout, pool.half_closed_timeout].map(time);
        self.add("timeouts", format!("connect {connect}, idle {idle}, half-closed {half_closed}"));
        self.add("no backend", describe_unavailable(pool));
        if pool.backends.iter().any(|backend| backend.max_connections.is_some()) {
            let (size, timeout) = (pool.queue.size, time(pool.queue.timeout));
            self.add("queue", format!("at most {size} clients, {timeout} each"));
        }
        if let Some(age) = pool.max_age {
            self.add(
                "age",
                format!("at most {}, up to {} earlier or later", time(age.age), time(age.jitter)),
            );
        }
        if pool.session_failover {
            self.add("failover", "a running session goes on with another backend");
        }
        if let Some(version) = pool.send_proxy {
            let version = match version {
                ProxyVersion::V1 => "1",
                ProxyVersion::V2 => "2",
            };
            self.add("header", format!("PROXY version {version} to backends"));
        }
        if pool.connect != Connect::default() {
            self.add("connects", describe_connect(&pool.connect));
        }
        self.add("splice", describe_splice(pool.splice, max_pipes));
    }

    fn process(&mut self, process: &ProcessConfig, effective: &Effective) {
        let cpus: Vec<String> = process.cpus.iter().map(usize::to_string).collect();
        let shards = cpus.len();
        let quota = process.cpu_quota.map(|quota| format!(" (the cgroup's quota is {quota} CPU)"));
        let quota = quota.unwrap_or_default();
        self.add("shards", format!("{shards}, on CPU {}{quota}", cpus.join(" ")));
        self.add("engine", effective.engine.clone());
        self.add("control", effective.control.clone());
        self.admin(process, &effective.admin);
        let (sessions, nofile) = (process.room_a_shard.max_sessions * shards, process.nofile);
        let raised = match nofile {
            _ if nofile.before == nofile.now => String::new(),
            _ => format!(", raised from {}", nofile.before),
        };
        let limit = nofile.now;
        self.add("sessions", format!("at most {sessions} (open files: at most {limit}{raised})"));
        let (buffers, kib) = (process.buffers, BUFFER_BYTES / 1024);
        self.add("buffers", format!("at most {buffers} of {kib} KiB a shard, taken as needed"));
        self.add("busy poll", describe_busy_poll(process.busy_poll));
        let tcp_info = if process.tcp_info { TCP_INFO_ON } else { "off" };
        self.add("tcp info", tcp_info);
        self.add(
            "drain",
            format!("at most {} after the signal to stop", time(process.drain_timeout)),
        );
        self.add(
            "names",
            format!(
                "looked up again after their time to live, at least {}",
                time(process.resolve_ttl_min)
            ),
        );
        let report =
            process.report_interval.map(|interval| format!(", state every {}", time(interval)));
        let level = format!("{:?}", process.log_level).to_uppercase();
        self.add("log level", format!("{level}{}", report.unwrap_or_default()));
        if let Some(file) = &process.log.file {
            self.add("log file", file.display().to_string());
        }
        self.add("log lines", describe_session_log(&process.log));
    }
}

impl Lines {
    fn admin(&mut self, process: &ProcessConfig, endpoints: &[AdminEndpoint]) {
        if endpoints.is_empty() {
            self.add("admin", "off");
        }
        let token = process.admin.token.is_some();
        for endpoint in endpoints {
            let who = match endpoint {
                AdminEndpoint::Unix { mode, .. } => format!("mode {mode:04o}"),
                AdminEndpoint::Tcp { public_read, .. } => match (public_read, token) {
                    (true, true) => "everybody looks, changes with the token".to_owned(),
                    (true, false) => "everybody looks, nobody changes".to_owned(),
                    (false, _) => "with the token".to_owned(),
                },
            };
            self.add("admin", format!("{endpoint}, {who}"));
        }
        let state = match &process.state_file {
            Some(path) => format!("changes are kept in {}", path.display()),
            None => "changes are lost at the next reload or restart".to_owned(),
        };
        if process.state_file.is_some() || !endpoints.is_empty() {
            self.add("state", state);
        }
    }
}

fn describe_options(options: ListenOptions) -> String {
    let deferred = options
        .defer_accept
        .map(|silence| format!(", accepts who speaks or is silent for {}", time(silence)));
    let fast_open = (options.fast_open > 0)
        .then(|| format!(", TCP Fast Open for {} at a time a shard", options.fast_open));
    let watch = describe_watch(options.keepalive, options.user_timeout);
    let watch = watch.into_iter().map(|part| format!(", {part}"));
    [deferred, fast_open].into_iter().flatten().chain(watch).collect()
}

fn describe_connect(connect: &Connect) -> String {
    let sources: Vec<String> = connect.sources.iter().map(ToString::to_string).collect();
    let sources = match sources.as_slice() {
        [] => None,
        [source] => Some(format!("from {source}")),
        [..] => Some(format!("from {} in turn", sources.join(" "))),
    };
    let watch = describe_watch(connect.keepalive, connect.user_timeout);
    sources.into_iter().chain(watch).collect::<Vec<_>>().join(", ")
}

/// How a peer that is lost is noticed.
fn describe_watch(
    keepalive: Option<Duration>,
    user_timeout: Option<Duration>,
) -> impl Iterator<Item = String> {
    let keepalive = keepalive.map(|silence| format!("probed after {} of silence", time(silence)));
    let user_timeout = user_timeout
        .map(|timeout| format!("lost after {} without an acknowledgement", time(timeout)));
    [keepalive, user_timeout].into_iter().flatten()
}

fn describe_access(access: &Access) -> String {
    let allow = if access.allow.is_empty() { "all".to_owned() } else { list(&access.allow) };
    match access.deny.as_slice() {
        [] => format!("allow {allow}"),
        deny => format!("allow {allow}, but deny {}", list(deny)),
    }
}

fn describe_per_ip(per_ip: &PerIp) -> String {
    let sessions = per_ip.sessions.map(|sessions| format!("at most {sessions} sessions"));
    let rate = per_ip
        .rate
        .map(|rate| format!("at most {} connections in {}", rate.events, time(rate.period)));
    [sessions, rate].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A list that stays on a line.
fn list(nets: &[ipnet::IpNet]) -> String {
    let shown: Vec<String> = nets.iter().take(MOST_SHOWN).map(ToString::to_string).collect();
    let more = nets.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(" "))
}

fn describe_backend(backend: &BackendConfig) -> String {
    let addresses: Vec<String> = backend.addresses.iter().map(ToString::to_string).collect();
    let mut text = match addresses.as_slice() {
        [address] if *address == backend.name => backend.name.clone(),
        _ => format!("{} ({})", backend.name, addresses.join(" ")),
    };
    if backend.weight != 1 {
        text += &format!(" weight {}", backend.weight);
    }
    if let Some(most) = backend.max_connections {
        text += &format!(" at most {most}");
    }
    text + if backend.backup { " backup" } else { "" }
}

fn describe_sticky(pool: &PoolConfig) -> String {
    let Some(sticky) = pool.sticky else { return "off".to_owned() };
    let key = match sticky.key {
        StickyBy::Ip => "ip",
        StickyBy::IpPort => "ip-port",
    };
    let returns = if sticky.returns { ", goes back" } else { "" };
    format!("by {key} for {}, at most {} clients{returns}", time(sticky.ttl), sticky.size)
}

fn describe_health(pool: &PoolConfig) -> String {
    let active = pool.health.as_ref().map_or_else(|| "no checks".to_owned(), describe_checks);
    let passive = pool.ejection.map(|ejection| {
        let (first, longest) = (time(ejection.first), time(ejection.longest));
        format!("; {} failed connects in a row eject for {first} to {longest}", ejection.after)
    });
    let close = pool.health.is_some() && pool.close_when_down;
    let close = if close { "; down cuts sessions" } else { "" };
    let slow =
        pool.slow_start.map(|slow| format!("; slow start {}", time(slow))).unwrap_or_default();
    format!("{active}{}{close}{slow}", passive.unwrap_or_default())
}

fn describe_checks(health: &HealthConfig) -> String {
    let check = match &health.check {
        Check::Tcp => "TCP connect".to_owned(),
        Check::SendExpect { .. } => "send and expect".to_owned(),
        Check::Http { path, host, status } => {
            let host = host.as_ref().map(|host| format!(" of {host}")).unwrap_or_default();
            let range = |&(from, to): &(u16, u16)| {
                if from == to { from.to_string() } else { format!("{from}-{to}") }
            };
            let status: Vec<String> = status.iter().map(range).collect();
            format!("GET {path}{host} -> {}", status.join(" "))
        }
    };
    let port = health.port.map(|port| format!(" at port {port}")).unwrap_or_default();
    let [interval, fast, timeout] =
        [health.interval, health.fast_interval, health.timeout].map(time);
    let (rise, fall, jitter) = (health.rise, health.fall, health.jitter * 100.0);
    format!(
        "{check}{port} every {interval} \u{b1}{jitter:.0} % ({fast} in transition), timeout {timeout}, rise {rise}, fall {fall}"
    )
}

fn describe_unavailable(pool: &PoolConfig) -> String {
    let then = match &pool.on_unavailable {
        OnUnavailable::Close => "closed".to_owned(),
        OnUnavailable::Reset => "reset".to_owned(),
        OnUnavailable::Reply(text) => {
            let text = String::from_utf8_lossy(text);
            let first: String = text.lines().next().unwrap_or_default().chars().take(40).collect();
            format!("answered {} bytes, {first:?}", text.len())
        }
    };
    match pool.wait_for_backend {
        Duration::ZERO => format!("clients are {then} at once"),
        wait => format!("clients are held for {}, then {then}", time(wait)),
    }
}

fn describe_splice(splice: Splice, pipes: u16) -> String {
    match splice {
        Splice::Auto(_) => format!("auto: bulk goes through pipes, at most {pipes} a shard"),
        Splice::Off => "off: all bytes are copied".to_owned(),
        Splice::Always => format!("always, through at most {pipes} pipes a shard"),
    }
}

fn describe_session_log(log: &LogConfig) -> String {
    let LogConfig { sessions, format, queue, .. } = log;
    match sessions {
        SessionLogTo::Off => "for each session: none".to_owned(),
        _ => format!("for each session: {format}, to {sessions}; up to {queue} wait a shard"),
    }
}

fn describe_busy_poll(busy: Option<Duration>) -> String {
    match busy.map(time) {
        Some(time) => format!("{time} before each sleep, for as long as that pays"),
        None => "off".to_owned(),
    }
}

fn time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// Networks.
const MOST_SHOWN: usize = 8;

const TCP_INFO_ON: &str = "of up to 32 sessions a shard at a time, to say who is the bottleneck";
