//! What a measurement brought: one value that every output, every verdict and every comparison is
//! made from, and that a JSON file holds without loss.
//!
//! Field names are those of the published schema. Times are nanoseconds where a name ends in `_ns`
//! and seconds where it ends in `_s`; rates are a second.

pub mod diff;
mod distribution;
pub mod env;
pub mod export;
pub mod figures;
pub mod file;
pub mod html;
pub mod merge;
pub mod plot;
mod sample;
pub mod slo;
pub mod statistics;
pub mod text;
mod verdict;
pub mod wrk;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use distribution::Distribution;
#[doc(hidden)]
pub use sample::sample;
pub use verdict::judge;
pub(crate) use verdict::{generator_late, judge_workload};

/// The result of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// What was asked for.
    pub config: Config,
    /// Where and with what it ran.
    pub env: Env,
    /// Whether the figures can be believed, and whether they are good enough.
    pub verdict: Verdict,
    /// Counts and rates of the measured time.
    pub totals: Totals,
    /// Times of single requests.
    pub latency: Latency,
    /// Failed requests by kind; they add up to [`Totals::errors`].
    pub errors: BTreeMap<String, u64>,
    /// Who answered, by name.
    pub backends: Vec<Backend>,
    /// The measured time in pieces, in order.
    pub intervals: Vec<Interval>,
    /// How the generator itself was doing.
    pub generator: Generator,
    /// What the system under test used, where it was named.
    pub sut: Option<Sut>,
    /// What TCP of this network namespace had to do.
    pub network: Option<Network>,
    /// Of a bulk run.
    pub stream: Option<Stream>,
    /// Of a run that holds connections.
    pub hold: Option<Hold>,
}

/// Names the form of the file; a change that a reader of the old form would misread changes it.
pub const SCHEMA: &str = "evenkeel.loadgen/1";

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The command line that does it again, program first.
    pub command: Vec<String>,
    /// `ping`, `http`, `conn`, `stream` or `hold`.
    pub workload: String,
    /// As it was typed.
    pub target: String,
    /// What that was resolved to.
    pub address: String,
    /// Connections at the same time.
    pub connections: u32,
    /// Worker threads.
    pub threads: u32,
    /// How long is measured.
    pub duration_s: f64,
    /// Load before that.
    pub warm_up_s: f64,
    /// How long one request, or a connect, may take.
    pub timeout_s: f64,
    /// The run ends after so many requests, if that comes first.
    pub requests: Option<u64>,
    /// Of an open loop: requests a second, at the beginning.
    pub rate_per_s: Option<f64>,
    /// The same at the end, where it differs (a ramp).
    pub rate_end_per_s: Option<f64>,
    /// `constant` or `poisson`, of an open loop.
    pub arrivals: Option<String>,
    /// What random choices began with.
    pub seed: u64,
    /// Requests in flight on one connection.
    pub pipeline: u32,
    /// After how many requests a connection is replaced, as typed; absent: never.
    pub requests_per_connection: Option<String>,
    /// Bytes of a request.
    pub request_bytes: u64,
    /// Bytes of a reply that was asked for.
    pub reply_bytes: Option<u64>,
    /// `off`, `len`, `crc` or `full`.
    pub verify: String,
    /// `fin` or `rst`.
    pub close: String,
    /// Local addresses that connections come from, in turn.
    pub sources: Vec<String>,
    /// Processors of the workers.
    pub cpus: Vec<usize>,
    /// The shares that backends should get, by name; empty: equal ones.
    pub weights: BTreeMap<String, f64>,
    /// The objective, as typed.
    pub slo: Option<String>,
}

/// Where and with what a run took place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Env {
    /// When it began, in UTC (RFC 3339).
    pub started_at: String,
    /// Of this program.
    pub version: String,
    /// Release of the kernel.
    pub kernel: String,
    /// What the processor calls itself.
    pub cpu_model: String,
    /// Processors that are online.
    pub cpus: u32,
    /// TCP's congestion control in this network namespace.
    pub congestion_control: String,
    /// Of the processor time of this machine during the run: what its hypervisor gave to others, 0
    /// to 1. Where the kernel tells.
    pub steal: Option<f64>,
    /// Of a merged result: the generators that it was added up from.
    pub generators: Vec<Part>,
}

/// One of the generators whose results were merged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The file that its result came from.
    pub file: String,
    /// Where and with what it ran.
    pub env: Env,
    /// How it was doing.
    pub generator: Generator,
    /// What it counted.
    pub totals: Totals,
    /// What TCP of its network namespace had to do.
    pub network: Option<Network>,
}

/// Whether the figures can be believed, and whether they are good enough.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// False makes the run SUSPECT.
    pub valid: bool,
    /// Why it is suspect, each with what to do about it.
    pub reasons: Vec<String>,
    /// What a reader should know, and what makes nothing suspect.
    pub notes: Vec<String>,
    /// Whether the objective was met, where there was one.
    pub slo_met: Option<bool>,
    /// Which parts of the objective were missed, with what was measured.
    pub slo_missed: Vec<String>,
}

/// Counts and rates of the measured time. Always: `intended = ok + errors + unanswered + unsent`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Requests that the plan called for; of a closed loop, those that were started.
    pub intended: u64,
    /// Answered, rightly and in time.
    pub ok: u64,
    /// Failed.
    pub errors: u64,
    /// Sent and not answered when the drain was over; in the latencies at their age then.
    pub unanswered: u64,
    /// Due and never sent.
    pub unsent: u64,
    /// Intended a second.
    pub offered_per_s: f64,
    /// Ended, well or badly, a second.
    pub achieved_per_s: f64,
    /// Answered rightly a second.
    pub goodput_per_s: f64,
    /// Received.
    pub bytes_in: u64,
    /// Sent.
    pub bytes_out: u64,
    /// The measured time.
    pub elapsed_s: f64,
    /// Connections that were established, from the first on.
    pub connects: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// Times of single requests. `response = wait_late + wait_busy + service`, request by request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// From when it should have been sent to the end of its reply.
    pub response: Distribution,
    /// From when it was sent to the end of its reply.
    pub service: Distribution,
    /// A connection was free, and the generator came late.
    pub wait_late: Distribution,
    /// No connection was free.
    pub wait_busy: Distribution,
    /// From the connect to the connection.
    pub connect: Distribution,
}

/// One backend's part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// What it calls itself, or `echo`.
    pub name: String,
    /// How many it answered.
    pub responses: u64,
    /// Of all that were answered, 0 to 1.
    pub share: f64,
    /// Where there are samples enough.
    pub p99_ns: Option<u64>,
    /// The response times of what it answered.
    pub response: Distribution,
}

/// A piece of the measured time. A request belongs to the interval in which it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Since the measurement began.
    pub start_s: f64,
    /// How long it is.
    pub length_s: f64,
    /// Answered rightly.
    pub ok: u64,
    /// Failed.
    pub errors: u64,
    /// Received.
    pub bytes_in: u64,
    /// Sent.
    pub bytes_out: u64,
    /// Of the answers.
    pub response: Distribution,
    /// Answers by backend.
    pub backends: BTreeMap<String, u64>,
}

/// How the generator itself was doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// `io_uring` or `epoll`.
    pub engine: String,
    /// Worker threads.
    pub threads: u32,
    /// Processor time of all workers while it was measured.
    pub cpu_s: f64,
    /// Of the busiest worker, 0 to 1.
    pub busiest: f64,
    /// From one wait to the next: within it a time cannot be told, so it is the error bar.
    pub turn: Distribution,
    /// Connections that were asked for.
    pub connections_wanted: u32,
    /// Connections that stood when the load began.
    pub connections_established: u32,
    /// Connections that were asked before the measured time began and had not answered when it was
    /// over: what their users waited is in no latency.
    #[serde(default)]
    pub connections_silent: u32,
    /// Local ports in use towards the target at the most, and those that there are.
    pub ports: Option<[u64; 2]>,
}

/// What the system under test used while it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sut {
    /// `pid 4711` or `cgroup /sys/fs/cgroup/...`.
    pub what: String,
    /// It was gone before the measured time was over.
    pub ended: bool,
    /// Processor time, children included.
    pub cpu_s: f64,
    /// A request that was answered rightly; for bulk absent.
    pub cpu_us_per_request: Option<f64>,
    /// A gigabyte (10⁹ bytes) in both directions together; for bulk only.
    pub cpu_s_per_gb: Option<f64>,
    /// Resident memory before the load.
    pub resident_before_bytes: u64,
    /// At the end of the measurement.
    pub resident_bytes: u64,
    /// The growth of resident memory for each connection.
    pub bytes_per_connection: Option<f64>,
    /// Where the kernel tells.
    pub voluntary_switches: Option<u64>,
    /// Where the kernel tells.
    pub involuntary_switches: Option<u64>,
}

/// What TCP of this network namespace had to do while it was measured, other programs included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Segments sent.
    pub segments_out: u64,
    /// Of these, sent again.
    pub retransmitted: u64,
    /// Connections that a full backlog dropped.
    pub listen_drops: u64,
}

/// Bulk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// `up`, `down`, or both.
    pub directions: Vec<Direction>,
    /// Round trips of a probe beside the bulk.
    pub probe: Option<Distribution>,
    /// The same before the bulk began.
    pub probe_idle: Option<Distribution>,
    /// Why the probe ended before its time, by kind as in [`Report::errors`].
    #[serde(default)]
    pub probe_error: Option<String>,
}

/// Bulk one way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Direction {
    /// `up` or `down`.
    pub name: String,
    /// Bytes of each stream in the measured time.
    pub streams_bytes: Vec<u64>,
    /// Of all.
    pub bytes: u64,
    /// Of all.
    pub gbit_per_s: f64,
    /// Bytes that were not what the sender sends, where they are verified.
    pub wrong_bytes: u64,
}

/// Connections that are held.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// As many as were asked for.
    pub wanted: u64,
    /// As many as were established.
    pub established: u64,
    /// As many as still stood at the end.
    pub alive: u64,
    /// Until all stood.
    pub connect_s: f64,
    /// Probes that were answered.
    pub probes_ok: u64,
    /// Probes that were not.
    pub probes_failed: u64,
    /// Connections that were not established, or ended, by kind as in [`Report::errors`];
    /// `not_tried`: given up because none before them succeeded, or because the run was stopped.
    #[serde(default)]
    pub lost: BTreeMap<String, u64>,
    /// Resident memory of this program for each connection.
    pub generator_bytes_per_connection: f64,
}

/// How far a run is; told a few times a second, and at each change of phase.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// Where it stands.
    pub phase: Phase,
    /// Since the phase began.
    pub elapsed_s: f64,
    /// How long the phase should take, where that is known.
    pub expected_s: Option<f64>,
    /// Connections that stand.
    pub connected: u64,
    /// Connections that should.
    pub wanted: u64,
    /// What has been measured so far; the latencies of it are as old as the last interval.
    pub so_far: &'a Totals,
    /// The response times so far.
    pub response: &'a Distribution,
    /// Answers by backend so far.
    pub backends: &'a BTreeMap<String, u64>,
    /// An interval that has just ended.
    pub interval: Option<&'a Interval>,
}

/// The phases of a run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are established.
    Connecting,
    /// The load is on and does not count.
    WarmUp,
    /// It counts.
    Measuring,
    /// Nothing new is asked; answers may still come.
    Draining,
    /// It is over.
    Done,
}
