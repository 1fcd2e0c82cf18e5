//! What workers bring back, and the report that it becomes.

use std::collections::BTreeMap;

use super::plan::{Direction, StreamPlan};
use super::probe::Rounds;
use crate::crew::{self, per_second, seconds};
use crate::load::failure::Failure;
use crate::report::{
    self, Config, Distribution, Env, Generator, Interval, Latency, Report, SCHEMA, Totals, Verdict,
    judge_workload,
};

/// What one worker counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) streams: Vec<(Direction, StreamTally)>,
    /// Bytes in and out of each interval.
    pub(super) intervals: Vec<[u64; 2]>,
    pub(super) established: u32,
    pub(super) connect_failure: Option<Failure>,
    pub(super) connect: Distribution,
    pub(super) errors: u64,
    /// The load was on.
    pub(super) started: bool,
    /// Of the measured time.
    pub(super) elapsed_ns: u64,
    pub(super) cpu_ns: u64,
    pub(super) turn: Distribution,
}

/// What one stream brought, while it was measured.
#[derive(Debug)]
pub(super) struct StreamTally {
    pub(super) asked_ns: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// From the first byte on, the warm-up included.
    pub(super) wrong_bytes: u64,
    pub(super) failure: Option<Failure>,
}

impl StreamTally {
    pub(super) const NONE: Self =
        Self { asked_ns: 0, bytes_in: 0, bytes_out: 0, wrong_bytes: 0, failure: None };

    /// What is wrong with the stream, if something is; `whole`: it had its full time.
    fn error(&self, direction: Direction, whole: bool) -> Option<String> {
        let silent = |wanted: bool, bytes: u64| whole && wanted && bytes == 0;
        if let Some(failure) = self.failure {
            Some(failure.name())
        } else if self.wrong_bytes > 0 {
            Some(CORRUPT.to_owned())
        } else if silent(direction.sends(), self.bytes_out)
            || silent(direction.receives(), self.bytes_in)
        {
            Some(STALLED.to_owned())
        } else {
            None
        }
    }
}

pub(super) fn report(
    plan: &StreamPlan,
    env: Env,
    tallies: Vec<Tally>,
    rounds: Option<Rounds>,
    stopped: bool,
) -> Report {
    let elapsed_ns = tallies.iter().map(|tally| tally.elapsed_ns).max().unwrap_or(0);
    let elapsed_s = seconds(elapsed_ns);
    let errors = errors(&tallies, stopped);
    let totals = totals(&tallies, &errors, elapsed_s, stopped);
    let generator = generator(plan, &tallies, elapsed_s);
    let mut latency = Latency::default();
    tallies.iter().for_each(|tally| latency.connect.add(&tally.connect));
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        config: config(plan),
        env,
        verdict: Verdict::default(),
        intervals: intervals(plan, &tallies, elapsed_s),
        stream: Some(stream(&tallies, rounds, elapsed_s)),
        totals,
        latency,
        errors,
        backends: Vec::new(),
        generator,
        sut: None,
        network: None,
        hold: None,
    };
    report.verdict = judge_workload(&report);
    report
}

fn config(plan: &StreamPlan) -> Config {
    let verify = if plan.verify { "full" } else { "off" };
    Config {
        workload: "stream".to_owned(),
        target: crew::address_text(&plan.address),
        address: crew::address_text(&plan.address),
        connections: plan.streams(),
        threads: u32::try_from(plan.workers()).unwrap_or(u32::MAX),
        duration_s: plan.duration.as_secs_f64(),
        warm_up_s: plan.warm_up.as_secs_f64(),
        timeout_s: plan.timeout.as_secs_f64(),
        request_bytes: plan.send_bytes().into(),
        pipeline: 1,
        verify: verify.to_owned(),
        close: plan.close.name().to_owned(),
        sources: plan.sources.iter().map(ToString::to_string).collect(),
        cpus: plan.cpus.clone(),
        ..Config::default()
    }
}

/// One for each stream that did not run to its end, or not rightly.
fn errors(tallies: &[Tally], stopped: bool) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    for tally in tallies {
        let whole = tally.started && !stopped;
        let kinds = tally.streams.iter().filter_map(|(way, stream)| stream.error(*way, whole));
        kinds.for_each(|kind| *errors.entry(kind).or_default() += 1);
    }
    errors
}

fn totals(
    tallies: &[Tally],
    errors: &BTreeMap<String, u64>,
    elapsed_s: f64,
    stopped: bool,
) -> Totals {
    let streams = || tallies.iter().flat_map(|tally| &tally.streams);
    let intended = streams().count() as u64;
    let errors = errors.values().sum();
    // Stopped before the load began.
    let unsent = tallies.iter().filter(|tally| !tally.started);
    let waiting = |(_, stream): &&(Direction, _)| StreamTally::is_whole(stream);
    let unsent = unsent.flat_map(|tally| &tally.streams).filter(waiting).count() as u64;
    let ok = intended - errors - unsent;
    Totals {
        intended,
        ok,
        errors,
        unanswered: 0,
        unsent,
        offered_per_s: per_second(intended, elapsed_s),
        achieved_per_s: per_second(ok + errors, elapsed_s),
        goodput_per_s: per_second(ok, elapsed_s),
        bytes_in: streams().map(|(_, stream)| stream.bytes_in).sum(),
        bytes_out: streams().map(|(_, stream)| stream.bytes_out).sum(),
        elapsed_s,
        connects: tallies.iter().map(|tally| u64::from(tally.established)).sum(),
        stopped,
    }
}

impl StreamTally {
    const fn is_whole(&self) -> bool {
        self.failure.is_none() && self.wrong_bytes == 0
    }
}

fn stream(tallies: &[Tally], rounds: Option<Rounds>, elapsed_s: f64) -> report::Stream {
    let streams: Vec<_> = tallies.iter().flat_map(|tally| &tally.streams).collect();
    let one_way = |name: &str, goes: fn(Direction) -> bool, bytes: fn(&StreamTally) -> u64| {
        let ours: Vec<_> = streams.iter().filter(|(way, _)| goes(*way)).collect();
        let streams_bytes: Vec<u64> = ours.iter().map(|(_, stream)| bytes(stream)).collect();
        let sum = streams_bytes.iter().sum();
        // What comes is verified here, what goes only by the peer.
        let wrong_bytes = match name {
            "down" => ours.iter().map(|(_, stream)| stream.wrong_bytes).sum(),
            _ => 0,
        };
        (!ours.is_empty()).then(|| report::Direction {
            name: name.to_owned(),
            bytes: sum,
            gbit_per_s: per_second(sum, elapsed_s) * 8e-9,
            streams_bytes,
            wrong_bytes,
        })
    };
    let up = one_way("up", Direction::sends, |stream| stream.bytes_out);
    let down = one_way("down", Direction::receives, |stream| stream.bytes_in);
    let failure = rounds.as_ref().and_then(|rounds| rounds.failure);
    let (probe, probe_idle) = rounds.map(|rounds| (rounds.loaded, rounds.idle)).unzip();
    report::Stream {
        directions: up.into_iter().chain(down).collect(),
        probe,
        probe_idle,
        probe_error: failure.map(Failure::name),
    }
}

fn intervals(plan: &StreamPlan, tallies: &[Tally], elapsed_s: f64) -> Vec<Interval> {
    let length_s = crew::interval_length(plan.duration).as_secs_f64();
    let mut intervals = Vec::new();
    let mut start_s = 0.0;
    while start_s < elapsed_s {
        let at = intervals.len();
        let bytes = |way: usize| {
            tallies.iter().filter_map(|tally| tally.intervals.get(at)).map(|one| one[way]).sum()
        };
        intervals.push(Interval {
            start_s,
            length_s: length_s.min(elapsed_s - start_s),
            bytes_in: bytes(0),
            bytes_out: bytes(1),
            ..Interval::default()
        });
        start_s += length_s;
    }
    intervals
}

fn generator(plan: &StreamPlan, tallies: &[Tally], elapsed_s: f64) -> Generator {
    let mut turn = Distribution::default();
    tallies.iter().for_each(|tally| turn.add(&tally.turn));
    let cpu_s = tallies.iter().map(|tally| seconds(tally.cpu_ns));
    let busiest = cpu_s.clone().fold(0.0, f64::max);
    Generator {
        engine: "io_uring".to_owned(),
        threads: u32::try_from(tallies.len()).unwrap_or(u32::MAX),
        cpu_s: cpu_s.sum(),
        busiest: if elapsed_s > 0.0 { busiest / elapsed_s } else { 0.0 },
        turn,
        connections_wanted: plan.streams(),
        connections_established: tallies.iter().map(|tally| tally.established).sum(),
        connections_silent: 0,
        ports: None,
    }
}

/// A byte came that was not sent.
const CORRUPT: &str = "corrupt";
/// Not one byte went, or came, in the whole time.
const STALLED: &str = "stalled";
