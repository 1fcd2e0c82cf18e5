//! What was typed. Two dialects are understood: long options in the manner of
//! `--backends a:1,b:2 --algorithm auto`, and short ones in the manner of `-b a:1 b:2 -s rr -p 80`.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use uring::CpuList;

use crate::core::balance::Algorithm;
use crate::core::relay::{Bulk, Splice};

/// A TCP load balancer on io_uring, one shard a core.
///
/// Without backends it balances 127.0.0.1:8881 and 127.0.0.1:8882.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
#[command(after_help = "Examples:
  evenkeel demo
  evenkeel --port 8080 --backends 10.0.0.11:8881,10.0.0.12:8881 --algorithm least-connections
  evenkeel -b 10.0.0.11:8881 '[fd00::12]:8881' web3:8881 -s rr -p 8080")]
pub struct Cli {
    /// Something else than balancing.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The balancer's options.
    #[command(flatten)]
    pub serve: Serve,
}

/// The other things that the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Three embedded backends, the balancer and parallel clients, all in this process
    Demo(Demo),
}

/// Options of `evenkeel demo`.
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// How long the clients run
    #[arg(long, short = 'd', value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub duration: Duration,
    /// How many clients run in parallel
    #[arg(long, short = 'c', value_name = "N", default_value = "64")]
    pub connections: NonZeroU32,
}

/// Options of the balancer.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Address or name to listen on
    #[arg(long, value_name = "HOST", default_value = "0.0.0.0", value_parser = listen_host)]
    pub host: String,
    /// Port to listen on; 0 lets the kernel choose
    #[arg(long, short = 'p', default_value_t = 8080)]
    pub port: u16,
    /// Backends, separated by commas or spaces; an IPv6 address in brackets
    #[arg(long, short = 'b', value_name = "HOST:PORT", num_args = 1.., value_delimiter = ',')]
    #[arg(default_value = DEFAULT_BACKENDS, value_parser = backend)]
    pub backends: Vec<Endpoint>,
    /// How a backend is picked
    #[arg(long, short = 's', visible_alias = "strategy", value_enum, ignore_case = true)]
    #[arg(default_value = "auto")]
    pub algorithm: AlgorithmName,
    /// Shards, one thread and one CPU each [default: one for each CPU, as far as the cgroup's quota goes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub shards: Option<u16>,
    /// CPUs of the shards, in turn, as in 0,2-5 [default: all that may be used]
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<CpuList>,
    /// What moves the bytes; auto is io_uring, and epoll where that is blocked or missing
    #[arg(long, value_enum, ignore_case = true, default_value = "auto")]
    pub engine: EngineName,
    /// Sessions at a time, divided over the shards [default: what the file limit allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_sessions: Option<u32>,
    /// Buffers of 32 KiB for each shard [default: two for each session, up to 16384]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32768))]
    pub buffers: Option<u16>,
    /// Whether bytes go through pipes, without being copied: while they come in bulk, never, always
    #[arg(long, value_enum, ignore_case = true, default_value = "auto")]
    pub splice: SpliceName,
    /// How long a shard looks for work before it sleeps: lower latency for a busy CPU, as in 50us
    #[arg(long, value_name = "TIME", value_parser = busy_poll)]
    pub busy_poll: Option<Duration>,
    /// Connections that may wait to be accepted, for each shard
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub backlog: u16,
    /// Hand a client on when it has sent something, or after this long; only where clients speak first
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub defer_accept: Option<Duration>,
    /// Clients that may send with their SYN at a time, for each shard (TCP Fast Open)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub tcp_fastopen: Option<u16>,
    /// How long a backend may take to accept a connection
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    pub connect_timeout: Duration,
    /// How long a session may be silent in both directions
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub idle_timeout: Duration,
    /// How long a session may be silent after one side has finished writing
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub half_closed_timeout: Duration,
    /// How often the state of backends and shards is logged, at INFO [default: only at the end]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub report_interval: Option<Duration>,
    /// What is logged to standard error; DEBUG logs every connection, INFO the first few a second
    #[arg(long, value_enum, ignore_case = true, default_value = "INFO")]
    pub log_level: LogLevel,
    /// Accepted from older command lines
    #[command(flatten)]
    pub not_yet: NotYet,
}

/// Options that are read and checked but have no effect in this version; the program says so.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Accepted, without effect in this version")]
pub struct NotYet {
    /// Seconds between health checks
    #[arg(long, short = 'c', value_name = "SECONDS", value_parser = seconds)]
    pub health_check_interval: Option<Duration>,
    /// Seconds that a health check may take
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub health_check_timeout: Option<Duration>,
    /// Seconds that a client is held while no backend can be reached
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub wait_for_backend_timeout: Option<Duration>,
    /// What makes a client go to the same backend again
    #[arg(long, value_enum)]
    pub sticky_key: Option<StickyKey>,
}

impl NotYet {
    /// The options that were given, as they are typed.
    #[must_use]
    pub fn given(&self) -> Vec<&'static str> {
        [
            (self.health_check_interval.is_some(), "--health-check-interval"),
            (self.health_check_timeout.is_some(), "--health-check-timeout"),
            (self.wait_for_backend_timeout.is_some(), "--wait-for-backend-timeout"),
            (self.sticky_key.is_some(), "--sticky-key"),
        ]
        .into_iter()
        .filter_map(|(given, name)| given.then_some(name))
        .collect()
    }
}

/// A host and a port, not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// An address without brackets, or a name.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// The names of the algorithms, those of both dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AlgorithmName {
    /// Round robin while all have equally many connections, else least connections
    Auto,
    /// One after the other
    #[value(alias = "rr")]
    RoundRobin,
    /// The fewest connections
    #[value(alias = "lc")]
    LeastConnections,
    /// Any
    #[value(alias = "rand")]
    Random,
}

impl From<AlgorithmName> for Algorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::Auto => Self::Auto,
            AlgorithmName::RoundRobin => Self::RoundRobin,
            AlgorithmName::LeastConnections => Self::LeastConnections,
            AlgorithmName::Random => Self::Random,
        }
    }
}

/// The names of the engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// io_uring where this host has it for us, else epoll
    Auto,
    /// io_uring or nothing (Linux 6.1 or later)
    Uring,
    /// epoll, also where there is io_uring
    Epoll,
}

/// When bytes are spliced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SpliceName {
    /// Each direction of a session for as long as it is bulk
    Auto,
    /// Never: bytes are copied through buffers
    Off,
    /// Whenever a pipe is to be had
    Always,
}

impl From<SpliceName> for Splice {
    fn from(name: SpliceName) -> Self {
        match name {
            SpliceName::Auto => Self::Auto(Bulk::MEASURED),
            SpliceName::Off => Self::Off,
            SpliceName::Always => Self::Always,
        }
    }
}

/// What makes a client the same client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StickyKey {
    /// Its address
    Ip,
    /// Its address and port
    IpPort,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum LogLevel {
    /// Every connection
    Debug,
    /// What happens, and the first few connections of each second
    Info,
    /// What should be looked at
    #[value(alias = "WARN")]
    Warning,
    /// What does not work
    Error,
}

/// With or without the brackets that an IPv6 address has beside a port.
fn listen_host(text: &str) -> Result<String, String> {
    let host = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if host.is_empty() {
        return Err("it is empty; write an address or a name, as in 0.0.0.0, :: or lb1".to_owned());
    }
    Ok(host.to_owned())
}

fn backend(text: &str) -> Result<Endpoint, String> {
    let endpoint = endpoint(text)?;
    if endpoint.port == 0 {
        return Err(
            "port 0 cannot be connected to; write host:port, as in 10.0.0.11:8881".to_owned()
        );
    }
    Ok(endpoint)
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let form = "write host:port, as in 10.0.0.11:8881, web1:8881 or [::1]:8881";
    let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("it has no port; {form}"))?;
    let port =
        port.parse().map_err(|_| format!("`{port}` is not a port from 1 to 65535; {form}"))?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
        Some(_) => return Err(format!("`{host}` is not an IPv6 address; {form}")),
        None if host.contains(':') => {
            return Err(format!("an IPv6 address needs brackets, as in [{host}]:{port}"));
        }
        None if host.is_empty() => return Err(format!("it has no host; {form}")),
        None => host,
    };
    Ok(Endpoint { host: host.to_owned(), port })
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number with a unit, as in 500ms, 3s or 1h"))?;
    if duration.is_zero() {
        return Err("it must be longer than nothing, as in 500ms, 3s or 1h".to_owned());
    }
    Ok(duration)
}

fn busy_poll(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time > BUSY_POLL_MAX {
        return Err("it is at most 10ms; what pays is about as long as an answer takes, as in \
                    50us or 200us"
            .to_owned());
    }
    Ok(time)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let problem = || "write seconds, as in 5 or 0.5".to_owned();
    text.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok()).ok_or_else(problem)
}

/// A sleep and a wake-up take some tens of microseconds; who looks longer than this wants no sleep
/// at all.
const BUSY_POLL_MAX: Duration = Duration::from_millis(10);

/// The pool of the first version of this balancer, so that `evenkeel` alone does what
/// `python load_balancer.py` alone did.
const DEFAULT_BACKENDS: &str = "127.0.0.1:8881,127.0.0.1:8882";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Serve, String> {
        let words = std::iter::once("evenkeel").chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.serve).map_err(|error| error.to_string())
    }

    fn endpoints(list: &[(&str, u16)]) -> Vec<Endpoint> {
        list.iter().map(|&(host, port)| Endpoint { host: host.to_owned(), port }).collect()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn both_dialects_mean_the_same() {
        let long = parse("--backends a:1,b:2 --algorithm round-robin --port 99").expect("valid");
        let short = parse("-b a:1 b:2 -s rr -p 99").expect("valid");
        assert_eq!(long.backends, endpoints(&[("a", 1), ("b", 2)]));
        assert_eq!(long.backends, short.backends);
        assert_eq!((long.algorithm, long.port), (short.algorithm, short.port));
    }

    #[test]
    fn the_defaults_are_those_of_the_first_version() {
        let serve = parse("").expect("valid");
        assert_eq!(serve.backends, endpoints(&[("127.0.0.1", 8881), ("127.0.0.1", 8882)]));
        assert_eq!((serve.host.as_str(), serve.port), ("0.0.0.0", 8080));
        assert_eq!(serve.algorithm, AlgorithmName::Auto);
    }

    #[test]
    fn every_word_that_people_have_in_their_fingers_is_understood() {
        let line = "--host 127.0.0.1 --port 1 --backends a:1 --algorithm auto --sticky-key ip-port \
                    --health-check-interval 5 --health-check-timeout 1 \
                    --wait-for-backend-timeout 30 --log-level debug";
        let serve = parse(line).expect("valid");
        assert_eq!(serve.not_yet.given().len(), 4);
        assert_eq!(serve.log_level, LogLevel::Debug);
        let serve = parse("-b a:1 [::1]:2 -c 10 -s rand -p 80").expect("valid");
        assert_eq!(serve.backends, endpoints(&[("a", 1), ("::1", 2)]));
        assert_eq!(serve.algorithm, AlgorithmName::Random);
    }

    #[test]
    fn a_backend_that_cannot_be_meant_is_refused_with_the_right_form() {
        for (text, says) in [
            ("a", "no port"),
            ("a:b", "not a port"),
            ("a:70000", "not a port"),
            ("a:0", "port 0"),
            (":80", "no host"),
            ("::1:80", "[::1]:80"),
            ("[::g]:80", "not an IPv6 address"),
        ] {
            let error = parse(&format!("-b {text}")).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
