//! Options of the commands that talk to a running evenkeel: `ctl` and `top`; and of `completions`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use crate::config::text::duration;
use crate::ctl::client::Address;

/// Where the admin API is, and what it is shown.
#[derive(Clone, Debug, Default, Args)]
pub struct Admin {
    /// Where evenkeel's admin API is: unix:PATH or HOST:PORT [default: EVENKEEL_ADMIN, else unix:/run/evenkeel/admin.sock]
    // The balancer's own `--admin` is another option, and a global one is looked for there as well.
    #[arg(
        id = "asked",
        long = "admin",
        global = true,
        value_name = "ADDRESS",
        help_heading = "Connection"
    )]
    pub admin: Option<Address>,
    /// File with the token that a TCP address asks for [default: EVENKEEL_ADMIN_TOKEN_FILE, else none]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub token_file: Option<PathBuf>,
}

/// Options of `evenkeel ctl`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "A backend is named POOL/BACKEND; BACKEND alone is enough where only one pool has it.
One that was removed is named POOL/BACKEND as long as it has sessions: for sessions, dump, kill, wait and explain.

Examples:
  evenkeel ctl status
  evenkeel ctl drain web/a && evenkeel ctl wait web/a --drained --timeout 5m
  evenkeel ctl sessions --backend web/a --min-idle 10m
  evenkeel ctl explain backend web/a
  evenkeel ctl --admin 10.0.0.1:9000 --token-file /etc/evenkeel/token backends --json

Exit codes: 0 done, 1 it could not be done, 2 wrong command line."
)]
pub struct Ctl {
    /// Where to.
    #[command(flatten)]
    pub admin: Admin,
    /// Print what the API says, as JSON, instead of a table
    // After the options of each command, and before --help: there it is one of the global ones.
    #[arg(long, global = true, display_order = 900)]
    pub json: bool,
    /// What for.
    #[command(subcommand)]
    pub command: CtlCommand,
}

/// What `evenkeel ctl` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum CtlCommand {
    /// All that is to be seen at a glance
    Status,
    /// Backends: state, weight, connections, latency, and why one is out
    Backends {
        /// Only those of this pool
        #[arg(long, value_name = "POOL")]
        pool: Option<String>,
    },
    /// Pools, with the sums of their backends
    Pools,
    /// Where clients connect
    Listeners,
    /// The threads that move the bytes
    Shards,
    /// Adds a backend
    #[command(override_usage = "evenkeel ctl add [OPTIONS] [POOL] ADDRESS")]
    Add(Add),
    /// Takes a backend out of the configuration; its sessions go on
    Remove {
        /// Which
        #[arg(value_name = "POOL/BACKEND")]
        backend: String,
    },
    /// Gives a backend another weight
    Weight {
        /// Which
        #[arg(value_name = "POOL/BACKEND")]
        backend: String,
        /// 0 to 256
        #[arg(value_name = "N", value_parser = weight, allow_negative_numbers = true)]
        weight: u16,
    },
    /// Lets backends have new connections again
    Ready(Which),
    /// Gives backends no new clients but sticky ones; sessions go on
    Drain(Which),
    /// Takes backends out for work on them: nobody comes, nothing is checked; sessions go on
    Maint(Which),
    /// Sessions now
    Sessions(Sessions),
    /// Cuts sessions: by id, or all that fit a filter
    Kill(Kill),
    /// Why something is as it is
    #[command(subcommand)]
    Explain(Explain),
    /// The last changes, and what they were based on
    Events {
        /// Go on with those that come
        #[arg(long, short)]
        follow: bool,
        /// How many
        #[arg(
            short = 'n',
            long = "number",
            value_name = "N",
            default_value_t = 20,
            allow_negative_numbers = true
        )]
        number: usize,
    },
    /// Version, kernel, engine, limits, and every effective setting
    Info,
    /// Whether it works: exit code 0 or 1, as a container's HEALTHCHECK wants it
    Health {
        /// Whether clients should come: not while it stops or a shard does not turn, nor while a pool that a
        /// listener uses has no usable backend
        #[arg(long)]
        ready: bool,
        /// Whether every thread is alive
        #[arg(long, conflicts_with = "ready")]
        live: bool,
    },
    /// What Prometheus is told
    Metrics,
    /// Reads the configuration again, without resetting a connection
    Reload,
    /// One line for each session, with a legend
    Dump(Filter),
    /// Waits until a backend has no connections
    Wait(Wait),
}

/// `ctl add`.
#[derive(Clone, Debug, Args)]
pub struct Add {
    /// Its pool, where there are several, and host:port or unix:PATH, as in `add web 10.0.0.1:80`
    #[arg(value_name = "ADDRESS", num_args = 1..=2, required = true)]
    pub target: Vec<String>,
    /// What it is called, instead of its address
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// 0 to 256; 1 without it
    #[arg(long, value_name = "N", value_parser = weight, allow_negative_numbers = true)]
    pub weight: Option<u16>,
    /// Only for when no other is there
    #[arg(long)]
    pub backup: bool,
    /// Connections that it may have
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub max_connections: Option<u32>,
}

/// Backends that are named.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// Which
    #[arg(value_name = "POOL/BACKEND", required = true)]
    pub backends: Vec<String>,
}

/// Which sessions.
#[derive(Clone, Debug, Default, Args)]
pub struct Filter {
    /// Of this pool
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    /// With this backend
    #[arg(long, value_name = "POOL/BACKEND")]
    pub backend: Option<String>,
    /// That came in here
    #[arg(long, value_name = "LISTENER")]
    pub listener: Option<String>,
    /// Of this client: an address, with a port or without
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<String>,
    /// In this state
    #[arg(long, value_name = "STATE", value_parser = STATES)]
    pub state: Option<String>,
    /// That are at least as old, as in 10m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub min_age: Option<Duration>,
    /// Without a byte for as long, as in 10m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub min_idle: Option<Duration>,
}

/// `ctl sessions`.
#[derive(Clone, Debug, Args)]
pub struct Sessions {
    /// Which.
    #[command(flatten)]
    pub filter: Filter,
    /// How many are shown
    #[arg(long, value_name = "N", default_value_t = 100, allow_negative_numbers = true)]
    pub limit: usize,
}

/// `ctl kill`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("whom").required(true).multiple(true).args([
    "ids", "all", "pool", "backend", "listener", "client", "state", "min_age", "min_idle",
]))]
pub struct Kill {
    /// Ids, as `ctl sessions` shows them
    #[arg(value_name = "ID", conflicts_with_all = [
        "all", "pool", "backend", "listener", "client", "state", "min_age", "min_idle",
    ])]
    pub ids: Vec<String>,
    /// Every session that there is
    #[arg(long, conflicts_with_all = [
        "pool", "backend", "listener", "client", "state", "min_age", "min_idle",
    ])]
    pub all: bool,
    /// Which.
    #[command(flatten)]
    pub filter: Filter,
}

/// `ctl explain`.
#[derive(Clone, Debug, Subcommand)]
pub enum Explain {
    /// Why a backend gets connections or none
    Backend {
        /// Which
        #[arg(value_name = "POOL/BACKEND")]
        backend: String,
    },
    /// Why a session is with its backend
    Session {
        /// As `ctl sessions` shows it
        id: String,
    },
    /// Where a client would come to, and why
    Client {
        /// An address, with a port or without
        address: String,
        /// Where it comes in; needed where there are several listeners
        #[arg(long, value_name = "LISTENER")]
        listener: Option<String>,
    },
}

/// `ctl wait`.
#[derive(Clone, Debug, Args)]
pub struct Wait {
    /// Which
    #[arg(value_name = "POOL/BACKEND")]
    pub backend: String,
    /// Until it has no connections
    #[arg(long, required = true)]
    pub drained: bool,
    /// For how long at the most; without it, for ever
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// Options of `evenkeel top`.
#[derive(Clone, Debug, Args)]
pub struct Top {
    /// Where to.
    #[command(flatten)]
    pub admin: Admin,
    /// How often it looks
    #[arg(long, short, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub interval: Duration,
    /// Print one picture as text, and end
    #[arg(long)]
    pub once: bool,
}

/// Options of `evenkeel completions`.
#[derive(Clone, Copy, Debug, Args)]
pub struct Completions {
    /// For which shell
    pub shell: Shell,
}

/// Shells that completions are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// As in `evenkeel completions bash > /etc/bash_completion.d/evenkeel`
    Bash,
    /// As in `evenkeel completions zsh > ~/.zfunc/_evenkeel`
    Zsh,
    /// As in `evenkeel completions fish > ~/.config/fish/completions/evenkeel.fish`
    Fish,
}

/// A weight that the API takes.
fn weight(text: &str) -> Result<u16, String> {
    let weight = text.trim().parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
    weight.ok_or_else(|| format!("write a whole number from 0 to {WEIGHT_MAX}"))
}

const WEIGHT_MAX: u16 = 256;
/// What a session can be doing.
const STATES: [&str; 7] =
    ["greeting", "waiting", "connecting", "relaying", "moving", "turned-away", "closing"];
