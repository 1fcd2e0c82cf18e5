//! What was typed. Two dialects are understood: long options in the manner of
//! `--backends a:1,b:2 --algorithm auto`, and short ones in the manner of `-b a:1 b:2 -s rr -p 80`.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::text::{duration, number};

mod flags;
mod mistake;
mod operate;
mod words;

pub(crate) use mistake::mistake;

pub use flags::{HealthFlags, ListenerFlags, PoolFlags, ProcessFlags, Serve};
pub use operate::{
    Add, Admin, Completions, Ctl, CtlCommand, Explain, Filter, Kill, Sessions, Shell, Top, Wait,
    Which,
};
pub use words::{
    AlgorithmName, EngineName, HealthCheck, HealthType, LogLevel, MarkedDown, OnOff, ProxyName,
    SessionLogFormat, SpliceName, StickyKey, Unavailable,
};

/// A TCP load balancer on io_uring, one shard a core.
///
/// Without backends it balances 127.0.0.1:8881 and 127.0.0.1:8882.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
#[command(after_help = "Examples:
  evenkeel demo
  evenkeel --port 8080 --backends 10.0.0.11:8881,10.0.0.12:8881 --algorithm least-connections
  evenkeel -b 10.0.0.11:8881 '[fd00::12]:8881' web3:8881 -s rr -p 8080
  evenkeel check --config evenkeel.toml && evenkeel --config evenkeel.toml
  evenkeel doctor --config evenkeel.toml
  evenkeel top
  evenkeel ctl drain web/a")]
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
    /// Says whether these options, or the file that they name, can be used here, and what is effective
    Check(Box<Serve>),
    /// Says what of this host will limit a balancer with these options, why that matters, and what mends it
    #[command(
        after_help = "Exit codes: 0 nothing is bad, 1 something is or could not be used, 2 wrong command line."
    )]
    Doctor(Box<Doctor>),
    /// Asks a running evenkeel, and changes it: backends, sessions, events, explanations
    Ctl(Box<Ctl>),
    /// Shows a running evenkeel live in the terminal
    Top(Top),
    /// Prints completions for a shell
    Completions(Completions),
}

/// Options of `evenkeel doctor`.
#[derive(Clone, Debug, Args)]
pub struct Doctor {
    /// Prints one JSON document instead of lines
    #[arg(long)]
    pub json: bool,
    /// The balancer's options.
    #[command(flatten)]
    pub serve: Serve,
}

/// Options of `evenkeel demo`.
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// How long the clients run
    #[arg(long, short = 'd', value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub duration: Duration,
    /// How many clients run in parallel
    #[arg(long, short = 'c', value_name = "N", default_value = "64", value_parser = number, allow_negative_numbers = true)]
    pub connections: NonZeroU32,
}

/// A host and a port, not resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// An address without brackets, or a name.
    pub host: String,
    /// Of a backend never 0.
    pub port: u16,
}

impl Cli {
    /// Reads the arguments. Options of listeners and pools are refused beside a file, which says all
    /// of that.
    ///
    /// # Errors
    /// What is wrong with them, or the help that was asked for.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(arguments)?;
        let same_options = ["check", "doctor"].into_iter();
        let below = same_options.filter_map(|name| matches.subcommand_matches(name)).next();
        refuse_beside_a_file(below.unwrap_or(&matches))?;
        Self::from_arg_matches(&matches)
    }
}

fn refuse_beside_a_file(matches: &ArgMatches) -> Result<(), clap::Error> {
    if !matches.contains_id("config") {
        return Ok(());
    }
    let of_file = ListenerFlags::augment_args(clap::Command::new("listener"));
    let of_file = HealthFlags::augment_args(PoolFlags::augment_args(of_file));
    for option in of_file.get_arguments() {
        let name = option.get_id().as_str();
        if matches.value_source(name) == Some(ValueSource::CommandLine) {
            let (option, key) = (name.replace('_', "-"), key_of(name));
            let text =
                format!("--{option} is not for use beside --config; write {key} in the file");
            return Err(Cli::command().error(ErrorKind::ArgumentConflict, text));
        }
    }
    Ok(())
}

/// What an option of the command line is called in a file.
fn key_of(name: &str) -> String {
    let listener: &[&str] = &[
        "backlog",
        "defer_accept",
        "tcp_fastopen",
        "allow",
        "deny",
        "max_sessions_per_ip",
        "max_rate_per_ip",
        "accept_proxy",
    ];
    match name {
        "host" | "port" => "`listen` in [[listener]]".to_owned(),
        "backends" => "`backends` in [pool.NAME]".to_owned(),
        "original_dst" => "`destination = \"original-dst\"` in [pool.NAME]".to_owned(),
        "backend_max_connections" => "`max_connections` in [[pool.NAME.backend]]".to_owned(),
        "backend_status_port_offset" => "`status_port_offset` in [pool.NAME]".to_owned(),
        "health_check" => "`type` in [pool.NAME.health]".to_owned(),
        "health_check_interval" => "`interval` in [pool.NAME.health]".to_owned(),
        "health_check_timeout" => "`timeout` in [pool.NAME.health]".to_owned(),
        "health_check_path" => "`path` in [pool.NAME.health]".to_owned(),
        "rise" | "fall" => format!("`{name}` in [pool.NAME.health]"),
        "tcp_keepalive" | "tcp_user_timeout" => format!("`{name}` in [defaults]"),
        _ if listener.contains(&name) => format!("`{name}` in [[listener]]"),
        _ => format!("`{name}` in [pool.NAME]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::Target;

    fn parse(line: &str) -> Result<Serve, String> {
        let words = std::iter::once("evenkeel").chain(line.split_whitespace()).map(OsString::from);
        Cli::read(words).map(|cli| cli.serve).map_err(|error| error.to_string())
    }

    fn endpoints(list: &[(&str, u16)]) -> Vec<Target> {
        let target = |&(host, port): &(&str, u16)| Endpoint { host: host.to_owned(), port };
        list.iter().map(target).map(Target::Host).collect()
    }

    fn targets(pool: &PoolFlags) -> Vec<Target> {
        pool.backends.iter().flat_map(|some| some.0.clone()).collect()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn where_to_ask_is_another_option_than_where_to_be_asked() {
        for line in ["ctl status --admin unix:/a", "ctl --admin unix:/a status", "top --admin a:1"]
        {
            parse(line).expect(line);
        }
        assert!(parse("--admin unix:/a,mode=0660").is_ok());
    }

    #[test]
    fn both_dialects_mean_the_same() {
        let long = parse("--backends a:1,b:2 --algorithm round-robin --port 99").expect("valid");
        let short = parse("-b a:1 b:2 -s rr -p 99").expect("valid");
        assert_eq!(targets(&long.pool), endpoints(&[("a", 1), ("b", 2)]));
        assert_eq!(targets(&long.pool), targets(&short.pool));
        assert_eq!(long.pool.algorithm, short.pool.algorithm);
        assert_eq!(long.listener.port, short.listener.port);
    }

    #[test]
    fn the_defaults_are_those_of_the_first_version() {
        let serve = parse("").expect("valid");
        let (listener, pool, health) = (serve.listener, serve.pool, serve.health);
        assert_eq!(targets(&pool), endpoints(&[("127.0.0.1", 8881), ("127.0.0.1", 8882)]));
        assert_eq!((listener.host.as_str(), listener.port), ("0.0.0.0", 8080));
        assert_eq!((pool.algorithm, pool.sticky_key), (AlgorithmName::Auto, None));
        assert_eq!(pool.wait_for_backend_timeout, Duration::from_secs(30));
        assert_eq!(health.health_check_interval, Duration::from_secs(5));
        assert_eq!(health.health_check_timeout, Duration::from_secs(1));
    }

    #[test]
    fn every_word_that_people_have_in_their_fingers_is_understood() {
        let line = "--host 127.0.0.1 --port 1 --backends a:1 --algorithm auto --sticky-key ip-port \
                    --health-check-interval 5 --health-check-timeout 1 \
                    --wait-for-backend-timeout 30 --log-level debug";
        let serve = parse(line).expect("valid");
        assert_eq!(serve.pool.sticky_key, Some(StickyKey::IpPort));
        assert_eq!(serve.process.log_level, Some(LogLevel::Debug));
        let serve = parse("-b a:1 [::1]:2 -c 10 -s rand -p 80").expect("valid");
        assert_eq!(targets(&serve.pool), endpoints(&[("a", 1), ("::1", 2)]));
        assert_eq!(serve.pool.algorithm, AlgorithmName::Random);
        assert_eq!(serve.health.health_check_interval, Duration::from_secs(10));
    }

    #[test]
    fn a_sticky_key_without_a_value_is_the_address() {
        for (line, key) in [
            ("--sticky-key", Some(StickyKey::Ip)),
            ("--sticky-key --port 1", Some(StickyKey::Ip)),
            ("--sticky-key ip --port 1", Some(StickyKey::Ip)),
            ("--sticky-key=ip-port", Some(StickyKey::IpPort)),
            ("-b a:1 b:2 --sticky-key", Some(StickyKey::Ip)),
            ("", None),
        ] {
            assert_eq!(parse(line).expect(line).pool.sticky_key, key, "{line}");
        }
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
            ("unix:", "no path"),
        ] {
            let error = parse(&format!("-b {text}")).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn backends_are_separated_by_whatever_comes_to_mind() {
        let expected = endpoints(&[("a", 1), ("b", 2)]);
        for words in
            [&["a:1,b:2"][..], &["a:1", "b:2"], &["a:1 b:2"], &["a:1,", "b:2"], &["a:1, b:2"]]
        {
            let words = ["evenkeel", "-b"].iter().chain(words).map(OsString::from);
            let read = Cli::read(words).map_err(|error| error.to_string()).expect("valid");
            assert_eq!(targets(&read.serve.pool), expected);
        }
        let read = |word: &str| {
            let words = ["evenkeel", "-b", word].map(OsString::from);
            Cli::read(words).map_err(|error| error.to_string())
        };
        let path = targets(&read("unix:/a b,c:3").expect("valid").serve.pool);
        assert_eq!(path, [Target::Unix("/a b".into()), endpoints(&[("c", 3)]).remove(0)]);
        assert!(read("a:1 b").expect_err("no port").contains("`b`: it has no port"));
        for nothing in [",", "", "a:1,,b:2"] {
            let error = read(nothing).expect_err("one is missing");
            assert!(error.contains("a backend is missing; write host:port"), "{error}");
        }
    }

    #[test]
    fn seconds_may_have_a_unit() {
        for (text, ms) in [("5", 5000), ("0.5", 500), ("500ms", 500), ("1m", 60_000)] {
            let health = parse(&format!("--health-check-interval {text}")).expect(text).health;
            assert_eq!(health.health_check_interval.as_millis(), ms, "{text}");
        }
        let error = parse("--health-check-interval soon").expect_err("no time");
        assert!(error.contains("write seconds, as in 5 or 0.5, or a time"), "{error}");
    }

    #[test]
    fn a_number_out_of_range_is_refused_with_the_range() {
        for line in [
            "--rise 0",
            "--fall 1.5",
            "--max-sessions-per-ip 0",
            "-b a:1 --backend-max-connections x",
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains("write a whole number from 1"), "{line}: {error}");
        }
        let error = parse("--backend-status-port-offset 70000").expect_err("too much");
        assert!(error.contains("write a whole number from 1 to 65535"), "{error}");
        assert!(parse("--backlog 0").is_err());
        for line in ["--tcp-fastopen 0", "--tcp-keepalive 0s", "--slow-start 0s"] {
            parse(line).expect(line);
        }
    }

    #[test]
    fn beside_a_file_every_option_of_listeners_and_pools_is_refused_with_its_key() {
        for (options, key) in [
            ("--port 1", "`listen` in [[listener]]"),
            ("-b a:1", "`backends` in [pool.NAME]"),
            ("-s rr", "`algorithm` in [pool.NAME]"),
            ("--allow 10.0.0.0/8", "`allow` in [[listener]]"),
            ("--tcp-keepalive 1s", "`tcp_keepalive` in [defaults]"),
            ("--source 127.0.0.1", "`source` in [pool.NAME]"),
            ("-c 5", "`interval` in [pool.NAME.health]"),
            ("--original-dst", "destination = \"original-dst\""),
            ("--backend-max-connections 5", "`max_connections` in [[pool.NAME.backend]]"),
        ] {
            for command in ["", "check "] {
                let error = parse(&format!("{command}--config a.toml {options}"));
                let error = error.expect_err(options);
                assert!(error.contains(key) && error.contains("--config"), "{options}: {error}");
            }
        }
    }

    #[test]
    fn beside_a_file_the_options_of_the_program_are_taken() {
        let line = "--config a.toml --shards 2 --engine epoll --log-level error --drain-timeout 5s";
        let serve = parse(line).expect("valid");
        assert_eq!(serve.config.as_deref(), Some(std::path::Path::new("a.toml")));
        assert_eq!(
            (serve.process.shards, serve.process.engine),
            (Some(2), Some(EngineName::Epoll))
        );
    }
}
