//! `loadgen ping`, `http` and `conn`: options to a plan, a run, and its report.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use loadgen::Engine;
use loadgen::load::{
    self, Address, Arrivals, Header, HttpRequest, Lifetime, Method, Plan, Rate, Sizes, Verify,
    Workload,
};
use loadgen::target::{Target, TargetError};
use socket2::SockAddr;
use uring::CpuList;

use super::Failure;
use super::conduct::Common;
use super::values::{CloseName, count, duration, positive_duration, small_count};

/// What `ping` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    stay: StayArguments,
    #[command(flatten)]
    common: Common,
}

/// Of connections that stay.
#[derive(Clone, Debug, Args)]
pub(super) struct StayArguments {
    /// Requests in flight on each connection
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = small_count)]
    pipeline: NonZeroU32,
    /// Replace each connection after so many requests: a number, or geo:MEAN for a random one
    #[arg(long, value_name = "N", default_value_t = Lifetime::Forever)]
    requests_per_connection: Lifetime,
}

/// What `http` takes.
#[derive(Debug, Args)]
pub(super) struct HttpArguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    stay: StayArguments,
    #[command(flatten)]
    request: RequestArguments,
    #[command(flatten)]
    common: Common,
}

/// What is asked over HTTP.
#[derive(Clone, Debug, Args)]
pub(super) struct RequestArguments {
    /// GET, HEAD or POST; a POST has a body of --size
    #[arg(short = 'X', long, default_value_t = Method::Get)]
    method: Method,
    /// A line of the head, such as `Accept: text/html`; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<Header>,
}

/// What `conn` takes.
#[derive(Debug, Args)]
pub(super) struct ConnArguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    load: LoadArguments,
    /// Only connect and close, and ask nothing
    #[arg(long, conflicts_with_all = ["size", "verify"])]
    connect_only: bool,
    #[command(flatten)]
    common: Common,
}

/// The options that say where the load goes.
#[derive(Clone, Debug, Args)]
pub(super) struct TargetArguments {
    /// Where to: host:port, [::1]:port, name:port or unix:/path; for http also http://host:port/path
    #[arg(required_unless_present = "port", conflicts_with_all = ["host", "port"])]
    target: Option<Where>,
    /// The host, if there is no TARGET
    #[arg(long, requires = "port", default_value = "127.0.0.1")]
    host: String,
    /// The port, if there is no TARGET
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
}

/// The options that say what load it is.
#[derive(Clone, Debug, Args)]
pub(super) struct LoadArguments {
    /// Connections
    #[arg(short, long, default_value = "50", value_parser = small_count)]
    connections: NonZeroU32,
    /// Threads, each with a ring of its own
    #[arg(short, long, default_value = "1")]
    threads: NonZeroUsize,
    /// How long it is measured
    #[arg(short, long, default_value = "10s", value_parser = positive_duration)]
    duration: Duration,
    /// End after so many requests, if that comes first
    #[arg(short = 'n', long, value_name = "N", value_parser = count)]
    requests: Option<NonZeroU64>,
    /// Open loop: so many requests a second whatever comes back, such as 10k, or a ramp 1k:5k
    #[arg(short = 'R', long, value_name = "RATE")]
    rate: Option<Rate>,
    /// How the requests of an open loop are spread: constant or poisson
    #[arg(long, default_value_t = Arrivals::Constant)]
    arrivals: Arrivals,
    /// What random choices begin with
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Bytes of a request with its newline, and of the reply to ask for; over HTTP of the bodies
    #[arg(long, value_name = "REQ[:REPLY]", default_value_t = Sizes::default())]
    size: Sizes,
    /// How closely replies are looked at: off, len, crc or full
    #[arg(long, default_value_t = Verify::Full)]
    verify: Verify,
    /// Load before the measurement
    #[arg(short, long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    warm_up: Duration,
    /// How long a request may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive_duration)]
    timeout: Duration,
    /// Local addresses to connect from, in turn: 10.0.0.1,10.0.0.2 or 10.0.0.1-10.0.0.9
    #[arg(long, value_name = "LIST", value_parser = sources)]
    source: Option<Sources>,
    /// Processors to keep the threads on, for example 0,2-3
    #[arg(long, value_name = "LIST")]
    cpus: Option<CpuList>,
    /// What drives the sockets: auto, uring or epoll
    #[arg(long, default_value_t = Engine::Auto)]
    engine: Engine,
    /// How a connection is closed that this side ends
    #[arg(long, value_enum, default_value_t = CloseName::Fin)]
    close: CloseName,
}

/// A target as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Where {
    Tcp(Target),
    Url { target: Target, path: String },
    Unix(PathBuf),
}

/// Local addresses.
#[derive(Clone, Debug)]
struct Sources(Vec<IpAddr>);

/// Runs [`Workload::Ping`].
pub(super) fn ping(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let target = arguments.target.target();
    let plan = arguments.stay.plan(arguments.load.plan(&target, Workload::Ping)?);
    measure(&plan, &target, &arguments.common)
}

/// Runs [`Workload::Http`].
pub(super) fn http(arguments: &HttpArguments) -> Result<ExitCode, Failure> {
    let target = arguments.target.target();
    let plan = arguments.stay.plan(arguments.load.plan(&target, Workload::Http)?);
    let plan = Plan { http: Some(arguments.request.request(&target)), ..plan };
    measure(&plan, &target, &arguments.common)
}

/// Runs [`Workload::Conn`].
pub(super) fn conn(arguments: &ConnArguments) -> Result<ExitCode, Failure> {
    let target = arguments.target.target();
    let connect_only = arguments.connect_only;
    let plan = Plan { connect_only, ..arguments.load.plan(&target, Workload::Conn)? };
    measure(&plan, &target, &arguments.common)
}

fn measure(plan: &Plan, target: &Where, common: &Common) -> Result<ExitCode, Failure> {
    if plan.rate.is_none() && plan.arrivals != Arrivals::Constant {
        return Err(Failure::Usage("--arrivals is for an open loop: give its rate with -R".into()));
    }
    plan.check().map_err(|error| Failure::Usage(error.to_string()))?;
    let title = format!("{} {target}", plan.workload.name());
    common.conduct(&title, |progress, stop| {
        let mut report = load::run(plan, progress, stop).map_err(Failure::run)?;
        report.config.target = target.to_string();
        Ok(report)
    })
}

impl StayArguments {
    pub(super) fn plan(&self, plan: Plan) -> Plan {
        Plan { pipeline: self.pipeline, lifetime: self.requests_per_connection, ..plan }
    }
}

impl RequestArguments {
    /// The request to `target`.
    pub(super) fn request(&self, target: &Where) -> HttpRequest {
        HttpRequest { method: self.method, headers: self.headers.clone(), ..target.request() }
    }
}

impl TargetArguments {
    /// Where that is.
    pub(super) fn target(&self) -> Where {
        let typed = || Target { host: self.host.clone(), port: self.port.unwrap_or_default() };
        self.target.clone().unwrap_or_else(|| Where::Tcp(typed()))
    }
}

impl LoadArguments {
    /// Whether a rate was typed.
    pub(super) fn has_rate(&self) -> bool {
        self.rate.is_some()
    }

    /// The plan that these options make of a target; a name is looked up.
    pub(super) fn plan(&self, target: &Where, workload: Workload) -> Result<Plan, Failure> {
        let address = match target {
            Where::Url { target, .. } if workload == Workload::Http => {
                target.resolve(self.timeout).map_err(Failure::run)?.into()
            }
            other => other.resolve(self.timeout, workload.name())?,
        };
        let plan = Plan {
            connections: self.connections,
            threads: self.threads,
            duration: self.duration,
            requests: self.requests,
            sizes: self.size,
            verify: self.verify,
            warm_up: self.warm_up,
            timeout: self.timeout,
            cpus: self.cpus.clone().map(|CpuList(cpus)| cpus).unwrap_or_default(),
            rate: self.rate,
            arrivals: self.arrivals,
            seed: self.seed,
            engine: self.engine,
            sources: self.source.clone().map(|Sources(sources)| sources).unwrap_or_default(),
            close: self.close.into(),
            ..Plan::new(address, workload)
        };
        check_sources(&plan)?;
        Ok(plan)
    }
}

/// Sources must be of this machine and of the target's family.
fn check_sources(plan: &Plan) -> Result<(), Failure> {
    for source in &plan.sources {
        let Address::Tcp(address) = &plan.address else {
            return Err(Failure::Usage(NO_SOURCE.to_owned()));
        };
        if source.is_ipv4() != address.is_ipv4() {
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(Failure::Usage(format!(
                "the target is {family} and --source {source} is not: give one of its family"
            )));
        }
        if !uring::is_on_this_host(*source) {
            return Err(Failure::Usage(format!(
                "--source {source} is no address of this machine: see `ip addr`, or add it with \
                 `ip addr add {source} dev lo`"
            )));
        }
    }
    Ok(())
}

impl Where {
    /// Where `command`, which speaks no HTTP, connects to; a name is looked up.
    pub(super) fn resolve(&self, timeout: Duration, command: &str) -> Result<Address, Failure> {
        match self {
            Self::Tcp(target) => Ok(target.resolve(timeout).map_err(Failure::run)?.into()),
            Self::Unix(path) => Ok(Address::Unix(path.clone())),
            Self::Url { .. } => Err(Failure::Usage(format!(
                "`{command}` speaks no HTTP: write host:port, or use `loadgen http`"
            ))),
        }
    }

    /// The same for sockets that come from `sources`, if there are any.
    pub(super) fn socket_address(
        &self,
        timeout: Duration,
        command: &str,
        sources: &[IpAddr],
    ) -> Result<SockAddr, Failure> {
        match self.resolve(timeout, command)? {
            Address::Unix(_) if !sources.is_empty() => Err(Failure::Usage(NO_SOURCE.to_owned())),
            Address::Unix(path) => SockAddr::unix(&path).map_err(|error| {
                Failure::Run(format!("{}: {error}; give a shorter path", path.display()))
            }),
            Address::Tcp(address) => Ok(address.into()),
        }
    }

    /// What is asked there, if nothing else is said.
    fn request(&self) -> HttpRequest {
        match self {
            Self::Tcp(target) => HttpRequest::new(target.to_string()),
            Self::Url { target, path } => {
                HttpRequest { path: Some(path.clone()), ..HttpRequest::new(target.to_string()) }
            }
            Self::Unix(_) => HttpRequest::new("localhost".to_owned()),
        }
    }
}

impl FromStr for Where {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        if text.starts_with("https://") {
            return Err("TLS is not spoken here: give an http:// URL".to_owned());
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return text.parse().map(Self::Tcp).map_err(|error: TargetError| error.to_string());
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => (&rest[..at], Some(rest[at..].to_owned())),
            None => (rest, None),
        };
        let with_port = || format!("{authority}:80").parse().ok();
        let target: Option<Target> = authority.parse().ok().or_else(with_port);
        match (target, path) {
            (Some(target), Some(path)) => Ok(Self::Url { target, path }),
            (Some(target), None) => Ok(Self::Url { target, path: "/".to_owned() }),
            (None, _) => Err(format!("`{text}` is not a URL such as http://127.0.0.1:8080/path")),
        }
    }
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(target) => target.fmt(f),
            Self::Url { target, path } => write!(f, "http://{target}{path}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

const NO_SOURCE: &str = "a socket in the file system has no --source";

/// `10.0.0.1,10.0.0.5-10.0.0.9`.
fn sources(text: &str) -> Result<Sources, String> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let address = |text: &str| {
            text.parse::<IpAddr>().map_err(|_| format!("`{text}` is not an IP address"))
        };
        all.extend(range(address(first)?, address(last)?)?);
    }
    Ok(Sources(all))
}

fn range(first: IpAddr, last: IpAddr) -> Result<Vec<IpAddr>, String> {
    let refuse = || format!("{first}-{last} is no range of at most {SOURCES_MAX} addresses");
    let (from, to) = match (first, last) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (from.to_bits().into(), to.to_bits().into()),
        (IpAddr::V6(from), IpAddr::V6(to)) => (from.to_bits(), to.to_bits()),
        _ => return Err(refuse()),
    };
    if to.checked_sub(from).is_none_or(|more| more >= SOURCES_MAX) {
        return Err(refuse());
    }
    let address = |bits: u128| match first {
        IpAddr::V4(_) => {
            IpAddr::V4(u32::try_from(bits).expect("between two IPv4 addresses").into())
        }
        IpAddr::V6(_) => IpAddr::V6(bits.into()),
    };
    Ok((from..=to).map(address).collect())
}

/// More addresses than anybody gives a machine.
const SOURCES_MAX: u128 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_addresses_names_urls_and_files() {
        for (text, shown) in [
            ("127.0.0.1:80", Some("127.0.0.1:80")),
            ("unix:/run/x", Some("unix:/run/x")),
            ("http://[::1]:8080/a?b=c", Some("http://[::1]:8080/a?b=c")),
            ("http://name", Some("http://name:80/")),
            ("http://name/x", Some("http://name:80/x")),
            ("https://name/x", None),
            ("http://", None),
            ("unix:", None),
            ("nowhere", None),
        ] {
            let parsed = text.parse::<Where>().ok().map(|parsed| parsed.to_string());
            assert_eq!(parsed.as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn sources_are_addresses_and_ranges() {
        for (text, expected) in [
            ("127.0.0.1", Some("127.0.0.1")),
            ("127.0.0.9,127.0.0.1-127.0.0.3", Some("127.0.0.9 127.0.0.1 127.0.0.2 127.0.0.3")),
            ("fd00::ffff-fd00::1:0", Some("fd00::ffff fd00::1:0")),
            ("127.0.0.3-127.0.0.1", None),
            ("127.0.0.1-::1", None),
            ("0.0.0.0-127.0.0.1", None),
            ("10.0.0.0/8", None),
            ("", None),
        ] {
            let shown = |Sources(all): Sources| {
                all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            };
            assert_eq!(sources(text).ok().map(shown).as_deref(), expected, "{text}");
        }
    }
}
