//! The report of a run, made from what its workers brought and its coordinator added up.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Settled;
use super::coordinator::Done;
use super::engine::Summary;
use super::plan::Plan;
use super::tally::Recorder;
use crate::Close;
use crate::report::{
    Backend, Config, Distribution, Generator, Interval, Latency, Report, SCHEMA, Totals,
};

/// Adds everything up.
///
/// # Panics
/// When the counts do not: every request that was intended was answered, or failed, or was not
/// answered, or not sent.
pub(super) fn report(
    settled: &Settled<'_>,
    workers: &[(Summary, Recorder)],
    done: Done,
    stopped: bool,
) -> Report {
    let plan = settled.plan;
    let totals = totals(plan, workers, &done, stopped);
    let accounted = totals.ok + totals.errors + totals.unanswered + totals.unsent;
    assert_eq!(totals.intended, accounted, "a request was lost or counted twice: {totals:?}");
    let generator = generator(settled, workers, &done, totals.elapsed_s);
    let latency = latency(plan, workers, &done.response);
    assert_eq!(latency.response.count(), totals.ok + totals.unanswered, "{totals:?}");
    let mut errors = BTreeMap::new();
    for (failure, count) in workers.iter().flat_map(|(_, recorder)| &recorder.errors) {
        *errors.entry(failure.name()).or_default() += count;
    }
    Report {
        schema: SCHEMA.to_owned(),
        config: config(plan, settled.request.len()),
        env: Default::default(),
        verdict: Default::default(),
        latency,
        errors,
        backends: backends(workers, totals.ok),
        intervals: intervals(done.intervals, totals.elapsed_s),
        generator,
        totals,
        sut: None,
        network: None,
        stream: None,
        hold: None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^52 requests are years of load")]
fn totals(plan: &Plan, workers: &[(Summary, Recorder)], done: &Done, stopped: bool) -> Totals {
    let elapsed = workers.iter().map(|(summary, _)| summary.elapsed).max();
    let elapsed_s = elapsed.unwrap_or(plan.duration).as_secs_f64();
    let per_s = |count: u64| if elapsed_s > 0.0 { count as f64 / elapsed_s } else { 0.0 };
    let summed = |count: fn(&Summary) -> u64| workers.iter().map(|(one, _)| count(one)).sum();
    let recorded = |count: fn(&Recorder) -> u64| workers.iter().map(|(_, one)| count(one)).sum();
    let (intended, ok) = (summed(|one| one.intended), recorded(|one| one.ok));
    let errors = recorded(Recorder::errors);
    Totals {
        intended,
        ok,
        errors,
        unanswered: recorded(|one| one.unanswered),
        unsent: summed(|one| one.unsent),
        offered_per_s: per_s(intended),
        achieved_per_s: per_s(ok + errors),
        goodput_per_s: per_s(ok),
        bytes_in: done.intervals.iter().map(|interval| interval.bytes_in).sum(),
        bytes_out: done.intervals.iter().map(|interval| interval.bytes_out).sum(),
        elapsed_s,
        connects: summed(|one| one.connects),
        stopped,
    }
}

fn latency(plan: &Plan, workers: &[(Summary, Recorder)], response: &Distribution) -> Latency {
    let sum = |kind: fn(&Recorder) -> &Distribution| {
        let mut all = Distribution::default();
        workers.iter().for_each(|(_, recorder)| all.add(kind(recorder)));
        all
    };
    let mut latency = Latency {
        response: response.clone(),
        service: sum(|recorder| &recorder.service),
        wait_late: sum(|recorder| &recorder.wait_late),
        wait_busy: sum(|recorder| &recorder.wait_busy),
        connect: sum(|recorder| &recorder.connect),
    };
    if plan.rate.is_none() {
        // A closed loop intends what it sends.
        latency.service = response.clone();
        for wait in [&mut latency.wait_late, &mut latency.wait_busy] {
            wait.0.saturating_record_n(0, response.count());
        }
    }
    latency
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more digits than a float has")]
fn backends(workers: &[(Summary, Recorder)], ok: u64) -> Vec<Backend> {
    let mut by_name = BTreeMap::<&str, Distribution>::new();
    for (summary, recorder) in workers {
        for (name, response) in summary.names.iter().zip(&recorder.by_backend) {
            by_name.entry(name).or_default().add(response);
        }
    }
    let backend = |(name, response): (&str, Distribution)| Backend {
        name: name.to_owned(),
        responses: response.count(),
        share: response.count() as f64 / ok.max(1) as f64,
        p99_ns: response.quantile_ns(0.99),
        response,
    };
    let answered = by_name.into_iter().filter(|(_, response)| response.count() > 0);
    answered.map(backend).collect()
}

/// The last one ends when the run does.
fn intervals(mut intervals: Vec<Interval>, elapsed_s: f64) -> Vec<Interval> {
    if let Some(last) = intervals.last_mut() {
        last.length_s = (elapsed_s - last.start_s).max(0.0);
    }
    intervals
}

fn generator(
    settled: &Settled<'_>,
    workers: &[(Summary, Recorder)],
    done: &Done,
    elapsed_s: f64,
) -> Generator {
    let plan = settled.plan;
    let mut turn = Distribution::default();
    workers.iter().for_each(|(_, recorder)| turn.add(&recorder.turn));
    let cpu = workers.iter().map(|(summary, _)| summary.cpu);
    let busiest_s = cpu.clone().max().unwrap_or_default().as_secs_f64();
    Generator {
        engine: settled.engine.name().to_owned(),
        threads: u32::try_from(plan.workers()).unwrap_or(u32::MAX),
        cpu_s: cpu.sum::<Duration>().as_secs_f64(),
        busiest: if elapsed_s > 0.0 { (busiest_s / elapsed_s).min(1.0) } else { 0.0 },
        turn,
        connections_wanted: plan.connections.get(),
        connections_established: workers.iter().map(|(summary, _)| summary.established).sum(),
        connections_silent: workers.iter().map(|(summary, _)| summary.silent).sum(),
        ports: done.ports.used(),
    }
}

fn config(plan: &Plan, request_bytes: usize) -> Config {
    let rate = plan.rate;
    Config {
        workload: plan.workload.name().to_owned(),
        target: plan.address.to_string(),
        address: plan.address.to_string(),
        connections: plan.connections.get(),
        threads: u32::try_from(plan.workers()).unwrap_or(u32::MAX),
        duration_s: plan.duration.as_secs_f64(),
        warm_up_s: plan.warm_up.as_secs_f64(),
        timeout_s: plan.timeout.as_secs_f64(),
        requests: plan.requests.map(Into::into),
        rate_per_s: rate.map(|rate| rate.from_per_s),
        rate_end_per_s: rate.filter(|rate| rate.is_ramp()).map(|rate| rate.to_per_s),
        arrivals: rate.map(|_| plan.arrivals.to_string()),
        seed: plan.seed,
        pipeline: plan.depth(),
        requests_per_connection: plan.lifetime_text(),
        request_bytes: request_bytes as u64,
        reply_bytes: plan.sizes.reply.map(Into::into),
        verify: plan.verify.to_string(),
        close: match plan.close {
            Close::Fin => "fin",
            Close::Rst => "rst",
        }
        .to_owned(),
        sources: plan.sources.iter().map(ToString::to_string).collect(),
        cpus: plan.cpus.clone(),
        ..Config::default()
    }
}
