//! `loadgen hold`: options to a plan, a run, and its report.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use loadgen::Close;
use loadgen::hold::{self, HoldPlan};
use uring::CpuList;

use super::Failure;
use super::conduct::Common;
use super::load::Where;
use super::values::{CloseName, duration, positive_duration, small_count};

/// What `hold` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to: host:port, [::1]:port, name:port or unix:/path
    target: Where,
    /// Connections
    #[arg(short, long, default_value = "1000", value_parser = small_count)]
    connections: NonZeroU32,
    /// Hold fewer if the limit of open files allows no more
    #[arg(long)]
    as_many_as_fit: bool,
    /// Connects a second; otherwise as fast as a hundred at a time go
    #[arg(short = 'R', long, value_name = "N", value_parser = small_count)]
    connect_rate: Option<NonZeroU32>,
    /// Threads, each with a ring of its own
    #[arg(short, long, default_value = "1")]
    threads: NonZeroUsize,
    /// How long they are held, once all stand
    #[arg(short, long, default_value = "10s", value_parser = positive_duration)]
    duration: Duration,
    /// Ask each connection so often whether it lives, with a line that must be answered; 0 is never
    #[arg(long, value_name = "INTERVAL", default_value = "10s", value_parser = duration)]
    probe: Duration,
    /// Any line answers a probe; otherwise only a greeting or an echo
    #[arg(long)]
    any_reply: bool,
    /// How long a connect, or an answer, may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive_duration)]
    timeout: Duration,
    /// A local address to come from; several are used in turn
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    source: Vec<IpAddr>,
    /// How connections are closed in the end
    #[arg(long, value_enum, default_value_t = CloseName::Fin)]
    close: CloseName,
    /// Processors to keep the threads on, for example 0,2-3
    #[arg(long, value_name = "LIST")]
    cpus: Option<CpuList>,
    #[command(flatten)]
    common: Common,
}

/// Open connections, keep them, and probe that they live.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let address = arguments.target.socket_address(arguments.timeout, "hold", &arguments.source)?;
    let plan = HoldPlan {
        connections: arguments.connections,
        as_many_as_fit: arguments.as_many_as_fit,
        connect_rate: arguments.connect_rate,
        duration: arguments.duration,
        probe_every: Some(arguments.probe).filter(|every| !every.is_zero()),
        verify: !arguments.any_reply,
        threads: arguments.threads,
        cpus: arguments.cpus.clone().map(|CpuList(cpus)| cpus).unwrap_or_default(),
        timeout: arguments.timeout,
        close: Close::from(arguments.close),
        sources: arguments.source.clone(),
        ..HoldPlan::new(address)
    };
    arguments.common.conduct(&format!("hold {}", arguments.target), |progress, stop| {
        let mut report = hold::run(&plan, progress, stop).map_err(|error| match error {
            loadgen::RunError::TooManyConnections { .. } => {
                Failure::Run(format!("{error}, or --as-many-as-fit"))
            }
            error => Failure::run(error),
        })?;
        report.config.target = arguments.target.to_string();
        Ok(report)
    })
}
