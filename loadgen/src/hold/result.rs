//! What workers bring back, and the report that it becomes.

use std::collections::BTreeMap;

use super::plan::HoldPlan;
use super::reply::PROBE;
use crate::crew::{self, per_second, seconds};
use crate::load::failure::Failure;
use crate::report::{
    Backend, Config, Distribution, Env, Generator, Hold, Interval, Latency, Report, SCHEMA, Totals,
    Verdict, judge_workload,
};

/// What one worker counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) established: u32,
    /// Stands now.
    pub(super) alive: u64,
    /// Ended, or never established, by kind.
    pub(super) lost: BTreeMap<String, u64>,
    /// Neither established nor failed when it ended.
    pub(super) not_tried: u64,
    pub(super) connect_failure: Option<Failure>,
    /// Until the last was established.
    pub(super) connect_ns: u64,
    pub(super) connect: Distribution,
    /// Probes.
    pub(super) intended: u64,
    pub(super) ok: u64,
    pub(super) errors_sum: u64,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) unanswered: u64,
    pub(super) unsent: u64,
    pub(super) response: Distribution,
    pub(super) service: Distribution,
    pub(super) wait_late: Distribution,
    pub(super) names: BTreeMap<String, u64>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) pieces: Vec<Piece>,
    pub(super) elapsed_ns: u64,
    pub(super) cpu_ns: u64,
    pub(super) turn: Distribution,
}

/// Of one interval.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) ok: u64,
    pub(super) errors: u64,
    pub(super) response: Distribution,
}

pub(super) fn report(
    plan: &HoldPlan,
    env: Env,
    tallies: Vec<Tally>,
    untried: u32,
    grown_bytes: u64,
    stopped: bool,
) -> Report {
    let elapsed_ns = tallies.iter().map(|tally| tally.elapsed_ns).max().unwrap_or(0);
    let elapsed_s = seconds(elapsed_ns);
    let totals = totals(&tallies, elapsed_s, stopped);
    let hold = hold(plan, &tallies, untried, grown_bytes);
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        config: config(plan),
        env,
        verdict: Verdict::default(),
        latency: latency(&tallies),
        errors: added(tallies.iter().map(|tally| &tally.errors)),
        backends: backends(&tallies),
        intervals: intervals(plan, &tallies, elapsed_s),
        generator: generator(plan, &tallies, elapsed_s),
        totals,
        sut: None,
        network: None,
        stream: None,
        hold: Some(hold),
    };
    report.verdict = judge_workload(&report);
    report
}

fn config(plan: &HoldPlan) -> Config {
    let verify = if plan.verify { "full" } else { "off" };
    Config {
        workload: "hold".to_owned(),
        target: crew::address_text(&plan.address),
        address: crew::address_text(&plan.address),
        connections: plan.connections.get(),
        threads: u32::try_from(plan.workers()).unwrap_or(u32::MAX),
        duration_s: plan.duration.as_secs_f64(),
        timeout_s: plan.timeout.as_secs_f64(),
        request_bytes: PROBE.len() as u64,
        pipeline: 1,
        verify: verify.to_owned(),
        close: plan.close.name().to_owned(),
        sources: plan.sources.iter().map(ToString::to_string).collect(),
        cpus: plan.cpus.clone(),
        ..Config::default()
    }
}

fn totals(tallies: &[Tally], elapsed_s: f64, stopped: bool) -> Totals {
    let sum = |count: fn(&Tally) -> u64| tallies.iter().map(count).sum::<u64>();
    let intended = sum(|tally| tally.intended);
    let (ok, errors) = (sum(|tally| tally.ok), sum(|tally| tally.errors_sum));
    Totals {
        intended,
        ok,
        errors,
        unanswered: sum(|tally| tally.unanswered),
        unsent: sum(|tally| tally.unsent),
        offered_per_s: per_second(intended, elapsed_s),
        achieved_per_s: per_second(ok + errors, elapsed_s),
        goodput_per_s: per_second(ok, elapsed_s),
        bytes_in: sum(|tally| tally.bytes_in),
        bytes_out: sum(|tally| tally.bytes_out),
        elapsed_s,
        connects: sum(|tally| tally.established.into()),
        stopped,
    }
}

fn hold(plan: &HoldPlan, tallies: &[Tally], untried: u32, grown_bytes: u64) -> Hold {
    let sum = |count: fn(&Tally) -> u64| tallies.iter().map(count).sum::<u64>();
    let established = sum(|tally| tally.established.into());
    let mut lost = added(tallies.iter().map(|tally| &tally.lost));
    let not_tried = sum(|tally| tally.not_tried) + u64::from(untried);
    if not_tried > 0 {
        lost.insert(NOT_TRIED.to_owned(), not_tried);
    }
    let connect_ns = tallies.iter().map(|tally| tally.connect_ns).max().unwrap_or(0);
    Hold {
        wanted: plan.connections.get().into(),
        established,
        alive: sum(|tally| tally.alive),
        connect_s: seconds(connect_ns),
        probes_ok: sum(|tally| tally.ok),
        probes_failed: sum(|tally| tally.errors_sum + tally.unanswered),
        generator_bytes_per_connection: ratio(grown_bytes, established),
        lost,
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory is below 2^53")]
fn ratio(bytes: u64, connections: u64) -> f64 {
    if connections == 0 { 0.0 } else { bytes as f64 / connections as f64 }
}

fn latency(tallies: &[Tally]) -> Latency {
    let mut latency = Latency::default();
    for tally in tallies {
        latency.response.add(&tally.response);
        latency.service.add(&tally.service);
        latency.wait_late.add(&tally.wait_late);
        latency.connect.add(&tally.connect);
    }
    latency
}

fn backends(tallies: &[Tally]) -> Vec<Backend> {
    let names = added(tallies.iter().map(|tally| &tally.names));
    let all = names.values().sum();
    let backend = |(name, responses): (String, u64)| Backend {
        name,
        responses,
        share: ratio(responses, all),
        ..Backend::default()
    };
    names.into_iter().map(backend).collect()
}

fn intervals(plan: &HoldPlan, tallies: &[Tally], elapsed_s: f64) -> Vec<Interval> {
    let length_s = crew::interval_length(plan.duration).as_secs_f64();
    let mut intervals = Vec::new();
    let mut start_s = 0.0;
    while start_s < elapsed_s {
        let length_s = length_s.min(elapsed_s - start_s);
        let mut interval = Interval { start_s, length_s, ..Interval::default() };
        for piece in tallies.iter().filter_map(|tally| tally.pieces.get(intervals.len())) {
            interval.ok += piece.ok;
            interval.errors += piece.errors;
            interval.response.add(&piece.response);
        }
        intervals.push(interval);
        start_s += length_s;
    }
    intervals
}

fn generator(plan: &HoldPlan, tallies: &[Tally], elapsed_s: f64) -> Generator {
    let mut turn = Distribution::default();
    tallies.iter().for_each(|tally| turn.add(&tally.turn));
    let cpu_s = tallies.iter().map(|tally| seconds(tally.cpu_ns));
    let busiest = cpu_s.clone().fold(0.0, f64::max);
    let established: u32 = tallies.iter().map(|tally| tally.established).sum();
    let ports = crew::local_ports() * plan.sources.len().max(1) as u64;
    Generator {
        engine: "io_uring".to_owned(),
        threads: u32::try_from(tallies.len()).unwrap_or(u32::MAX),
        cpu_s: cpu_s.sum(),
        busiest: if elapsed_s > 0.0 { busiest / elapsed_s } else { 0.0 },
        turn,
        connections_wanted: plan.connections.get(),
        connections_established: established,
        connections_silent: 0,
        ports: (!plan.address.is_unix()).then(|| [established.into(), ports]),
    }
}

fn added<'a>(counts: impl Iterator<Item = &'a BTreeMap<String, u64>>) -> BTreeMap<String, u64> {
    let mut sum = BTreeMap::new();
    for (kind, count) in counts.flatten() {
        *sum.entry(kind.clone()).or_default() += count;
    }
    sum
}

const NOT_TRIED: &str = "not_tried";
