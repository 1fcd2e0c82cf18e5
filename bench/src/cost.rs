//! CPU per request and per connection, each contender in turn, in alternating order, restarted for
//! every run.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use loadgen::load::{Plan, Progress, Workload};
use loadgen::serve::Serving;
use serde::Serialize;

use crate::contender::Contender;
use crate::stats::Spread;

/// What is run, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Runs of each contender and workload.
    pub(crate) rounds: u32,
    /// How long each run is measured, after the warm-up.
    pub(crate) duration: Duration,
    /// Before the measurement.
    pub(crate) warm_up: Duration,
    /// The balancer's CPU.
    pub(crate) balancer_cpu: usize,
    /// The CPU of clients and backend.
    pub(crate) other_cpu: usize,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// What the clients do.
    pub(crate) workload: Workload,
    /// How many of them there are.
    pub(crate) connections: NonZeroU32,
}

/// What a case showed for one contender.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// The workload, as it is printed.
    pub(crate) case: String,
    /// Who.
    pub(crate) contender: &'static str,
    /// CPU time of the balancer, µs for each request (and its connection, in `conn`).
    pub(crate) cpu_us: Spread,
    /// Requests a second that were answered.
    pub(crate) per_second: Spread,
    /// Median latency of a run, µs.
    pub p50_us: Spread,
    /// 99th percentile of a run, µs.
    pub p99_us: Spread,
    /// Requests that failed, over all runs.
    pub(crate) errors: u64,
    /// CPU of this contender over CPU of evenkeel in the same round.
    pub(crate) over_evenkeel: Spread,
}

/// One run.
#[derive(Clone, Copy, Debug)]
struct Run {
    cpu_us: f64,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    errors: u64,
}

impl Case {
    /// Request and reply of 64 bytes on open connections, and a connection for each request.
    pub(crate) const ALL: [Self; 4] = [
        Self::of(Workload::Ping, 1),
        Self::of(Workload::Ping, 64),
        Self::of(Workload::Ping, 1000),
        Self::of(Workload::Conn, 64),
    ];

    const fn of(workload: Workload, connections: u32) -> Self {
        Self { workload, connections: NonZeroU32::new(connections).expect("not 0") }
    }

    /// As it is printed.
    #[must_use]
    pub(crate) fn name(self) -> String {
        match self.workload {
            Workload::Ping => format!("ping 64 B, {} connections", self.connections),
            Workload::Conn => format!("connect, one request, close; {} clients", self.connections),
        }
    }
}

/// Runs a case `rounds` times for each contender; a row for each of them.
///
/// # Errors
/// When a contender does not start, or answers nothing.
pub(crate) fn measure(
    case: Case,
    contenders: &[Contender],
    settings: &Settings,
    backend: &Serving,
) -> io::Result<Vec<Row>> {
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); contenders.len()];
    for round in 0..settings.rounds {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        // There and back: what drifts with time hits each alike.
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let contender = contenders[index];
            eprintln!("  {}, round {}: {}", case.name(), round + 1, contender.name());
            runs[index].push(run(case, contender, settings, backend.addresses()[0])?);
        }
    }
    let evenkeel = contenders.iter().position(|&one| one == Contender::Evenkeel).unwrap_or(0);
    let rows = contenders.iter().enumerate();
    Ok(rows.map(|(index, one)| row(case, *one, &runs[index], &runs[evenkeel])).collect())
}

fn run(
    case: Case,
    contender: Contender,
    settings: &Settings,
    backend: SocketAddr,
) -> io::Result<Run> {
    uring::pin_to(settings.balancer_cpu)?;
    let running = contender.start(backend);
    uring::pin_to(settings.other_cpu)?;
    let running = running?;
    let plan = Plan {
        connections: case.connections,
        warm_up: settings.warm_up,
        duration: settings.duration,
        ..Plan::new(running.address, case.workload)
    };
    // Between the first and the last second of the measurement, so that making the connections and
    // closing them is not counted.
    let mut samples = Vec::new();
    let sample = |progress: &Progress| {
        if progress.requests > 0 {
            samples.extend(running.cpu().ok().map(|cpu| (cpu, progress.requests)));
        }
    };
    let stop = AtomicBool::new(false);
    let report = loadgen::load::run(&plan, sample, &stop)
        .map_err(|error| io::Error::other(format!("{}: {error}", contender.name())))?;
    let (Some(&first), Some(&last)) = (samples.first(), samples.last()) else {
        return Err(io::Error::other(format!("{} answered nothing", contender.name())));
    };
    let cpu = last.0.saturating_sub(first.0);
    let requests = (last.1 - first.1).max(1) as f64;
    Ok(Run {
        cpu_us: cpu.as_secs_f64() * 1e6 / requests,
        per_second: report.requests_per_s(),
        p50_us: report.latency.value_at_quantile(0.5) as f64 / 1e3,
        p99_us: report.latency.value_at_quantile(0.99) as f64 / 1e3,
        errors: report.errors.values().sum(),
    })
}

fn row(case: Case, contender: Contender, runs: &[Run], evenkeel: &[Run]) -> Row {
    let spread = |of: fn(&Run) -> f64| Spread::of(&runs.iter().map(of).collect::<Vec<_>>());
    let ratios = runs.iter().zip(evenkeel).map(|(run, ours)| run.cpu_us / ours.cpu_us);
    Row {
        case: case.name(),
        contender: contender.name(),
        cpu_us: spread(|run| run.cpu_us),
        per_second: spread(|run| run.per_second),
        p50_us: spread(|run| run.p50_us),
        p99_us: spread(|run| run.p99_us),
        errors: runs.iter().map(|run| run.errors).sum(),
        over_evenkeel: Spread::of(&ratios.collect::<Vec<_>>()),
    }
}
