//! `evenkeel demo`: three backends, the balancer and parallel clients in one process, so that the
//! first command shows the whole of it.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use loadgen::load::{LoadError, Plan, Workload};
use loadgen::report::{Report, figures};
use loadgen::serve::{Backend, Mode, ServeError, Serving};
use nix::sys::signal::SigSet;

use crate::balancer::{Balancer, StartError};
use crate::cli::{Cli, Demo};
use crate::config::{Config, Problems};
use crate::shard::shared::Stopping;

/// Why there was nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// All ends are in one process.
    #[error(
        "{connections} clients take {needed} open files here, where client, balancer and backend are one \
         process, and the limit is {limit}: raise it with `ulimit -n {needed}`, or use fewer (-c)"
    )]
    TooManyClients {
        /// What was asked for.
        connections: u32,
        /// What it takes.
        needed: u64,
        /// What there is.
        limit: u64,
    },
    /// The backends did not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// This host does not fit the settings.
    #[error(transparent)]
    Config(#[from] Problems),
    /// The balancer did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The clients got no answer.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Standard output is closed, or no thread can be had.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs everything, prints what happened, and says what to try next.
///
/// # Errors
/// A [`DemoError`] that names the cause.
pub fn run(demo: &Demo, signals: SigSet) -> Result<(), DemoError> {
    check_limit(demo)?;
    let backends = start_backends()?;
    let balancer = start_balancer(&backends)?;
    let mut out = io::stdout().lock();
    introduce(&mut out, &backends, &balancer, demo)?;
    let report = put_load(&balancer, demo, signals)?;
    show(&mut out, &report, &balancer)?;
    balancer.handle().stop(Stopping::Cut);
    balancer.join()?;
    backends.stop();
    Ok(())
}

fn check_limit(demo: &Demo) -> Result<(), DemoError> {
    let (connections, limit) = (demo.connections.get(), uring::raise_nofile_limit()?.now);
    let needed = u64::from(connections) * FDS_A_CLIENT + FDS_BESIDES;
    if needed > limit {
        return Err(DemoError::TooManyClients { connections, needed, limit });
    }
    Ok(())
}

fn start_backends() -> Result<Serving, ServeError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let backend =
        |name: &&str| Backend { name: Some((*name).to_owned()), address, mode: Mode::Hello };
    loadgen::serve::start(NAMES.iter().map(backend).collect(), NonZeroUsize::MIN)
}

/// The balancer as `evenkeel --host 127.0.0.1 --port 0 --backends …` would start it.
fn start_balancer(backends: &Serving) -> Result<Balancer, DemoError> {
    let addresses: Vec<String> = backends.addresses().iter().map(ToString::to_string).collect();
    let backends = addresses.join(",");
    let words = ["evenkeel", "--host", "127.0.0.1", "--port", "0", "--backends", &backends];
    let cli = Cli::parse_from(words);
    Ok(Balancer::start(&Config::load(&cli.serve)?)?)
}

fn put_load(balancer: &Balancer, demo: &Demo, signals: SigSet) -> Result<Report, DemoError> {
    let plan = Plan {
        connections: demo.connections,
        duration: demo.duration,
        ..Plan::new(balancer.address(), Workload::Ping)
    };
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        // The clients stop, and what they saw until then is shown.
        if signals.wait().is_ok() {
            stopped.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(loadgen::load::run(&plan, &mut |_| {}, &stop)?)
}

fn introduce(
    out: &mut impl Write,
    backends: &Serving,
    balancer: &Balancer,
    demo: &Demo,
) -> io::Result<()> {
    writeln!(out, "evenkeel demo: three backends, the balancer and {} clients", demo.connections)?;
    for (name, address) in NAMES.iter().zip(backends.addresses()) {
        writeln!(out, "  backend   {name} on {address}")?;
    }
    let shards = balancer.shared().counters.len();
    writeln!(out, "  balancer  on {}, {shards} shards, auto", balancer.address())?;
    let duration = humantime::format_duration(demo.duration);
    writeln!(
        out,
        "  clients   {} connections, 64 B requests, for {duration} ...\n",
        demo.connections
    )?;
    out.flush()
}

fn show(out: &mut impl Write, report: &Report, balancer: &Balancer) -> io::Result<()> {
    show_load(out, report)?;
    let snapshot = balancer.shared().snapshot();
    let members = snapshot.pools.iter().flat_map(|pool| &pool.members);
    let connections: Vec<String> = members
        .zip(NAMES)
        .map(|(member, name)| {
            let (connected, failed) = member.backend.connected_and_failed();
            format!("{name} {connected} ({failed} failed)")
        })
        .collect();
    writeln!(out, "balancer's connections  {}", connections.join("  "))?;
    writeln!(out, "\nClients, backends and balancer shared this machine's CPUs. Try next:")?;
    writeln!(
        out,
        "  cargo run --release -p loadgen -- serve --name B1 --port 8881 --name B2 --port 8882"
    )?;
    writeln!(out, "  cargo run --release -- --backends 127.0.0.1:8881,127.0.0.1:8882")?;
    writeln!(out, "  cargo run --release -p loadgen -- ping 127.0.0.1:8080 -c 64 -d 5s")?;
    out.flush()
}

/// What the clients saw, without what a comparison would ask.
fn show_load(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let totals = &report.totals;
    let stopped = if totals.stopped { " (stopped early)" } else { "" };
    let (elapsed_s, per_s) = (totals.elapsed_s, totals.goodput_per_s);
    writeln!(out, "requests   {} in {elapsed_s:.2} s: {per_s:.0}/s{stopped}", totals.ok)?;
    let kind = |(kind, count): (&String, &u64)| format!("{kind} {count}");
    let errors: Vec<String> = report.errors.iter().map(kind).collect();
    let errors = if errors.is_empty() { "none".to_owned() } else { errors.join(", ") };
    writeln!(out, "errors     {errors}")?;
    let response = &report.latency.response;
    let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
    let quantiles = quantiles.map(|(name, quantile)| (name, response.quantile_ns(quantile)));
    let times = quantiles.into_iter().chain([("max", response.max_ns())]);
    let shown: Vec<String> =
        times.map(|(name, ns)| format!("{name} {}", figures::time_or_dash(ns))).collect();
    writeln!(out, "latency    {}", shown.join("  "))?;
    for (index, one) in report.backends.iter().enumerate() {
        let label = if index == 0 { "backends" } else { "" };
        let percent = one.share * 100.0;
        writeln!(out, "{label:<10} {}  {:>8}  {percent:5.1} %", one.name, one.responses)?;
    }
    Ok(())
}

const NAMES: [&str; 3] = ["B1", "B2", "B3"];

/// The client's socket, two of the balancer, the backend's.
const FDS_A_CLIENT: u64 = 4;
/// Rings, listeners, standard streams, and what the balancer keeps to spare.
const FDS_BESIDES: u64 = 256;
