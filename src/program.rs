//! The program from arguments to exit code: 0 when it ended as asked, 1 when it could not run, 2
//! when the command line was wrong.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use tracing::{info, warn};
use uring::ListenOptions;

use crate::balancer::{Balancer, Handle, StartError};
use crate::cli::{Cli, Command, Serve};
use crate::config::{BUFFER_BYTES, Config, ConfigError};
use crate::core::relay::Splice;
use crate::logging::Logging;
use crate::report;
use crate::shard::shared::Stopping;

/// Why the program ends with exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The command line cannot be used on this host.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The balancer did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There was nothing to show.
    #[error(transparent)]
    Demo(#[from] crate::demo::DemoError),
    /// A shard could not go on.
    #[error("a shard could not go on: {0}")]
    Shard(io::Error),
    /// Standard output is closed, or signals cannot be taken.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs the program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let done = match &cli.command {
        None => serve(&cli.serve),
        Some(Command::Demo(demo)) => block_signals()
            .map_err(ProgramError::from)
            .and_then(|signals| Ok(crate::demo::run(demo, signals)?)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Help and version as they are; a mistake in one line.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Nobody is left to be told when standard output is closed.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    // The usage comes after what is wrong, and is what --help is for.
    let said = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let said = said.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let said = said.collect::<Vec<_>>().join("; ");
    complain(&format!("{}; see `evenkeel --help`", said.trim_start_matches("error: ")));
    ExitCode::from(2)
}

/// To standard error, if that is open; `eprintln!` would panic if it is not.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "evenkeel: {what}");
}

fn serve(serve: &Serve) -> Result<(), ProgramError> {
    // Before any thread starts, so that all of them inherit the mask.
    let signals = block_signals()?;
    uring::refuse_huge_pages();
    let config = Config::resolve(serve)?;
    let logging = Logging::start(config.log_level);
    let balancer = Balancer::start(&config)?;
    print_settings(&config, &balancer)?;
    warn_of_fast_open(config.listen_options);
    let shared = balancer.shared().clone();
    if let Some(interval) = config.report_interval {
        let engine = balancer.engine().to_string();
        report::regularly(interval, engine, config.cpus.clone(), shared.clone())?;
    }
    stop_on_signal(signals, balancer.handle())?;
    let drivers = balancer.join().map_err(ProgramError::Shard)?;
    report::at_the_end(&config, &shared, &drivers, &logging);
    Ok(())
}

fn block_signals() -> io::Result<SigSet> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    Ok(signals)
}

/// The option of a listener changes nothing while the kernel's own setting keeps servers from it.
fn warn_of_fast_open(options: ListenOptions) {
    let setting = uring::sysctl("net/ipv4/tcp_fastopen").and_then(|value| value.parse().ok());
    let Some(setting) = setting.filter(|setting: &u32| setting & FAST_OPEN_SERVER == 0) else {
        return;
    };
    if options.fast_open > 0 {
        let mended = setting | FAST_OPEN_SERVER;
        warn!(
            "--tcp-fastopen has no effect while net.ipv4.tcp_fastopen is {setting}, which lacks the \
             server's bit: try `sysctl -w net.ipv4.tcp_fastopen={mended}`"
        );
    }
}

/// The first signal lets sessions end; a second one does not wait for them.
fn stop_on_signal(signals: SigSet, balancer: Handle) -> io::Result<()> {
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for how in [Stopping::Drain, Stopping::Cut] {
            if let Ok(signal) = signals.wait() {
                info!("{signal}: stopping");
                balancer.stop(how);
            }
        }
    })?;
    Ok(())
}

/// Every effective setting, and last the line that says where clients connect.
fn print_settings(config: &Config, balancer: &Balancer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let backends: Vec<String> = config.backends.iter().map(describe_backend).collect();
    let cpus: Vec<String> = config.cpus.iter().map(usize::to_string).collect();
    let shards = config.cpus.len();
    let sessions = config.room_a_shard.max_sessions * shards;
    let nofile = config.nofile;
    writeln!(out, "evenkeel {} (pid {})", env!("CARGO_PKG_VERSION"), std::process::id())?;
    let mut setting = |name: &str, value: String| writeln!(out, "  {name:<10} {value}");
    let unused = match config.listen_unused {
        0 => String::new(),
        unused => format!(", the first of {} addresses of that name", unused + 1),
    };
    let (backlog, options) = (config.backlog, describe_options(balancer.listen_options()));
    let address = balancer.address();
    setting("listener", format!("{address}{unused}, backlog {backlog} a shard{options}"))?;
    setting("backends", format!("{}: {}", backends.len(), backends.join(", ")))?;
    setting("algorithm", config.algorithm.to_string())?;
    let quota = config.cpu_quota.map(|quota| format!(" (the cgroup's quota is {quota} CPU)"));
    let quota = quota.unwrap_or_default();
    setting("shards", format!("{shards}, on CPU {}{quota}", cpus.join(" ")))?;
    setting("engine", balancer.engine().to_string())?;
    let raised = match nofile {
        _ if nofile.before == nofile.now => String::new(),
        _ => format!(", raised from {}", nofile.before),
    };
    let limit = nofile.now;
    setting("sessions", format!("at most {sessions} (open files: at most {limit}{raised})"))?;
    let (buffers, kib) = (config.buffers, BUFFER_BYTES / 1024);
    setting("buffers", format!("at most {buffers} of {kib} KiB a shard, taken as needed"))?;
    setting("splice", describe_splice(config))?;
    setting("busy poll", describe_busy_poll(config.busy_poll))?;
    let deadlines = config.rules.deadlines;
    let [connect, idle, half_closed] =
        [deadlines.connect, deadlines.idle, deadlines.half_closed].map(humantime::format_duration);
    setting("timeouts", format!("connect {connect}, idle {idle}, half-closed {half_closed}"))?;
    setting(
        "health",
        "no checks; a connect that fails goes to the next backend at once".to_owned(),
    )?;
    setting("log level", format!("{:?}", config.log_level).to_uppercase())?;
    if let not_yet @ [_, ..] = config.not_yet.given().as_slice() {
        setting("no effect", format!("{} (not in this version)", not_yet.join(" ")))?;
    }
    writeln!(out, "listening on {}", balancer.address())?;
    out.flush()
}

fn describe_busy_poll(time: Option<Duration>) -> String {
    match time.map(humantime::format_duration) {
        Some(time) => format!("{time} before each sleep, for as long as that pays"),
        None => "off".to_owned(),
    }
}

fn describe_splice(config: &Config) -> String {
    let pipes = config.room_a_shard.max_pipes;
    match config.rules.splice {
        Splice::Auto(_) => format!("auto: bulk goes through pipes, at most {pipes} a shard"),
        Splice::Off => "off: all bytes are copied".to_owned(),
        Splice::Always => format!("always, through at most {pipes} pipes a shard"),
    }
}

fn describe_options(options: ListenOptions) -> String {
    let deferred = options.defer_accept.map(|silence| {
        format!(", accepts who speaks or is silent for {}", humantime::format_duration(silence))
    });
    let fast_open = (options.fast_open > 0)
        .then(|| format!(", TCP Fast Open for {} at a time a shard", options.fast_open));
    [deferred, fast_open].into_iter().flatten().collect()
}

fn describe_backend(backend: &crate::config::BackendConfig) -> String {
    let addresses: Vec<String> = backend.addresses.iter().map(ToString::to_string).collect();
    match addresses.as_slice() {
        [address] if *address == backend.name => backend.name.clone(),
        _ => format!("{} ({})", backend.name, addresses.join(" ")),
    }
}

/// `TFO_SERVER_ENABLE` (include/net/tcp.h, Linux).
const FAST_OPEN_SERVER: u32 = 2;
