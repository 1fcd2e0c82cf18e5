//! `loadgen ping` and `loadgen conn`: options to a plan, a run, and its report.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use loadgen::load::{self, Close, Plan, Progress, Report, Workload};
use loadgen::target::Target;
use uring::CpuList;

use super::signals::EndSignals;
use super::values::{count, duration, positive_duration, small_count};
use super::{Failure, print_now};

/// What `ping` takes, and `conn` too.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to: host:port, [::1]:port or name:port
    #[arg(required_unless_present = "port", conflicts_with_all = ["host", "port"])]
    target: Option<Target>,
    /// The host, if there is no TARGET
    #[arg(long, requires = "port", default_value = "127.0.0.1")]
    host: String,
    /// The port, if there is no TARGET
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
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
    /// Bytes of a request, its newline included
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = request_bytes())]
    size: u32,
    /// Load before the measurement
    #[arg(short, long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    warm_up: Duration,
    /// How long a request may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive_duration)]
    timeout: Duration,
    /// Write the report as JSON to this file; `-` is standard output, instead of the text
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Processors to keep the threads on, for example 0,2-3
    #[arg(long, value_name = "LIST")]
    cpus: Option<CpuList>,
}

/// What `conn` takes.
#[derive(Debug, Args)]
pub(super) struct ConnArguments {
    #[command(flatten)]
    common: Arguments,
    /// How a connection is closed, always from this side
    #[arg(long, value_enum, default_value_t = CloseName::Fin)]
    close: CloseName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CloseName {
    /// In order
    Fin,
    /// With a reset, which leaves no TIME_WAIT
    Rst,
}

/// Runs [`Workload::Ping`].
pub(super) fn ping(arguments: &Arguments) -> Result<ExitCode, Failure> {
    measure(arguments, Workload::Ping, Close::Fin)
}

/// Runs [`Workload::Conn`].
pub(super) fn conn(arguments: &ConnArguments) -> Result<ExitCode, Failure> {
    let close = match arguments.close {
        CloseName::Fin => Close::Fin,
        CloseName::Rst => Close::Rst,
    };
    measure(&arguments.common, Workload::Conn, close)
}

fn measure(arguments: &Arguments, workload: Workload, close: Close) -> Result<ExitCode, Failure> {
    let stop = stop_on_signal()?;
    let address = arguments.target().resolve(arguments.timeout).map_err(Failure::run)?;
    let plan = Plan { close, ..arguments.plan(address, workload) };
    let mut ticker = Ticker::new(plan.duration + plan.warm_up);
    let report = load::run(&plan, |progress| ticker.show(progress), &stop).map_err(Failure::run)?;
    write_report(&report, arguments.json.as_deref())?;
    Ok(exit_code(&report))
}

impl Arguments {
    fn target(&self) -> Target {
        let typed = || Target { host: self.host.clone(), port: self.port.unwrap_or_default() };
        self.target.clone().unwrap_or_else(typed)
    }

    fn plan(&self, address: SocketAddr, workload: Workload) -> Plan {
        Plan {
            connections: self.connections,
            threads: self.threads,
            duration: self.duration,
            requests: self.requests,
            request_bytes: self.size,
            warm_up: self.warm_up,
            timeout: self.timeout,
            cpus: self.cpus.clone().map(|CpuList(cpus)| cpus).unwrap_or_default(),
            ..Plan::new(address, workload)
        }
    }
}

/// The first signal ends the run with a report, the second ends the program.
fn stop_on_signal() -> Result<Arc<AtomicBool>, Failure> {
    let signals = EndSignals::block().map_err(Failure::run)?;
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let wait = move || {
        signals.wait();
        seen.store(true, Ordering::Relaxed);
        signals.wait();
        std::process::exit(STOPPED.into());
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(Failure::run)?;
    Ok(stop)
}

fn write_report(report: &Report, json: Option<&Path>) -> Result<(), Failure> {
    match json {
        Some(path) if path == Path::new("-") => print_now(&format!("{:#}\n", report.to_json())),
        Some(path) => {
            print_now(&report.to_text());
            std::fs::write(path, format!("{:#}\n", report.to_json())).map_err(|error| {
                Failure::Run(format!("cannot write the report to {}: {error}", path.display()))
            })?;
        }
        None => print_now(&report.to_text()),
    }
    Ok(())
}

fn exit_code(report: &Report) -> ExitCode {
    if report.stopped {
        ExitCode::from(STOPPED)
    } else if report.requests == 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// A line a second about a run that takes longer than two, if somebody watches.
#[derive(Debug)]
struct Ticker {
    shown: bool,
    requests: u64,
}

impl Ticker {
    fn new(expected: Duration) -> Self {
        let shown = expected > Duration::from_secs(2) && std::io::stderr().is_terminal();
        Self { shown, requests: 0 }
    }

    fn show(&mut self, progress: &Progress) {
        let Progress { elapsed, connected, requests, errors } = *progress;
        if self.shown {
            let seconds = elapsed.as_secs();
            let fresh = requests - self.requests;
            eprintln!(
                "{seconds:>4} s  {fresh:>8} requests/s  {connected} connections  {errors} errors"
            );
        }
        self.requests = requests;
    }
}

fn request_bytes() -> clap::builder::RangedI64ValueParser<u32> {
    let (min, max) = (load::REQUEST_BYTES_MIN, load::REQUEST_BYTES_MAX);
    clap::value_parser!(u32).range(i64::from(min)..=i64::from(max))
}

/// What shells answer for a program that SIGINT ended.
const STOPPED: u8 = 130;
