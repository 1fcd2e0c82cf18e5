//! `loadgen stream`: options to a plan, a run, and its report.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use loadgen::Close;
use loadgen::stream::{self, BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, Probe, StreamPlan};
use uring::CpuList;

use super::Failure;
use super::conduct::Common;
use super::load::Where;
use super::values::{CloseName, bytes, duration, positive_duration, whole};

/// What `stream` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to: host:port, [::1]:port, name:port or unix:/path
    target: Where,
    /// Streams on which this side sends; one if no direction is named
    #[arg(long, value_name = "N", value_parser = whole)]
    up: Option<u32>,
    /// Streams on which the peer sends
    #[arg(long, value_name = "N", value_parser = whole)]
    down: Option<u32>,
    /// Streams on which both send at the same time
    #[arg(long, value_name = "N", value_parser = whole)]
    bidir: Option<u32>,
    /// Streams up, if no direction is named
    #[arg(
        short, long, value_name = "N", default_value = "1", value_parser = whole,
        conflicts_with_all = ["up", "down", "bidir"]
    )]
    connections: u32,
    /// Threads, each with a ring of its own
    #[arg(short, long, default_value = "1")]
    threads: NonZeroUsize,
    /// How long is measured
    #[arg(short, long, default_value = "10s", value_parser = positive_duration)]
    duration: Duration,
    /// Load before the measurement, in which the buffers of both sides fill
    #[arg(short, long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    warm_up: Duration,
    /// The most that is sent or received at once
    #[arg(short, long, value_name = "BYTES", default_value = "128k", value_parser = bytes)]
    block: u32,
    /// Measure round trips of small requests beside the bulk, one every INTERVAL
    #[arg(
        long, value_name = "INTERVAL", num_args = 0..=1, require_equals = true,
        default_missing_value = "10ms", value_parser = positive_duration
    )]
    probe: Option<Duration>,
    /// Where the probe goes, if not where the streams go
    #[arg(long, value_name = "HOST:PORT", requires = "probe")]
    probe_target: Option<Where>,
    /// Send no first line (up, down, bidir, echo): for peers that do one thing only
    #[arg(long)]
    raw: bool,
    /// Compare every byte that comes with what `loadgen serve` sends
    #[arg(long)]
    verify: bool,
    /// Let the kernel drop what comes, without a copy; says nothing of programs that read it
    #[arg(long, conflicts_with = "verify")]
    skip_copy: bool,
    /// TCP's congestion control, for example cubic or bbr
    #[arg(long, value_name = "NAME")]
    congestion: Option<String>,
    /// A local address to come from; several are used in turn
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    source: Vec<IpAddr>,
    /// How connections are closed in the end
    #[arg(long, value_enum, default_value_t = CloseName::Fin)]
    close: CloseName,
    /// How long a connect may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive_duration)]
    timeout: Duration,
    /// Processors to keep the threads on, for example 0,2-3
    #[arg(long, value_name = "LIST")]
    cpus: Option<CpuList>,
    #[command(flatten)]
    common: Common,
}

/// Measure bulk: one or more streams up, down or both ways.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let plan = arguments.plan()?;
    arguments.common.conduct(&format!("stream {}", arguments.target), |progress, stop| {
        let mut report = stream::run(&plan, progress, stop).map_err(Failure::run)?;
        report.config.target = arguments.target.to_string();
        Ok(report)
    })
}

impl Arguments {
    fn plan(&self) -> Result<StreamPlan, Failure> {
        let address = self.target.socket_address(self.timeout, "stream", &self.source)?;
        let probe_address = self
            .probe_target
            .as_ref()
            .map(|target| target.socket_address(self.timeout, "stream", &self.source));
        let probe_address = probe_address.transpose()?;
        let named = [self.up, self.down, self.bidir];
        let count = |direction: Option<u32>| direction.unwrap_or(0);
        let plan = StreamPlan {
            up: if named == [None; 3] { self.connections } else { count(self.up) },
            down: count(self.down),
            bidir: count(self.bidir),
            threads: self.threads,
            cpus: self.cpus.clone().map(|CpuList(cpus)| cpus).unwrap_or_default(),
            duration: self.duration,
            warm_up: self.warm_up,
            block_bytes: self.block,
            verify: self.verify,
            skip_copy: self.skip_copy,
            raw: self.raw,
            probe: self.probe.map(|interval| Probe { interval, address: probe_address }),
            timeout: self.timeout,
            close: Close::from(self.close),
            sources: self.source.clone(),
            congestion: self.congestion.clone(),
            ..StreamPlan::new(address)
        };
        self.check(&plan)?;
        Ok(plan)
    }

    fn check(&self, plan: &StreamPlan) -> Result<(), Failure> {
        if plan.streams() == 0 {
            let message = "no stream is left: name at least one of --up, --down and --bidir";
            return Err(Failure::Usage(message.to_owned()));
        }
        if plan.verify && plan.down + plan.bidir == 0 {
            let message = "--verify compares what comes, and nothing does: add --down or --bidir";
            return Err(Failure::Usage(message.to_owned()));
        }
        if !(BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&self.block) {
            let message = format!("--block is {BLOCK_BYTES_MIN} to {BLOCK_BYTES_MAX} bytes");
            return Err(Failure::Usage(message));
        }
        Ok(())
    }
}
