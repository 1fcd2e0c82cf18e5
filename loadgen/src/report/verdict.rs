//! Whether a report can be believed: the rules that make a run SUSPECT, each with its cure.

use std::collections::BTreeMap;

use super::slo::Slo;
use super::{Interval, Report, Verdict, figures};

/// Judges `report` by itself, and by the objective where there is one. Pure: the same report gives
/// the same verdict, whenever it is read.
#[must_use]
pub fn judge(report: &Report, slo: Option<&Slo>) -> Verdict {
    let reasons: Vec<String> = RULES.iter().filter_map(|rule| rule(report)).collect();
    let slo_missed = slo.map(|slo| slo.missed(report)).unwrap_or_default();
    Verdict {
        valid: reasons.is_empty(),
        reasons,
        notes: NOTES.iter().filter_map(|note| note(report)).collect(),
        slo_met: slo.map(|_| slo_missed.is_empty()),
        slo_missed,
    }
}

/// By the rules alone that only its workload knows; the others need what is filled in later.
#[must_use]
pub(crate) fn judge_workload(report: &Report) -> Verdict {
    let rules: [Rule; 3] = [streams_broken, probe_broken, held_missing];
    let reasons: Vec<String> = rules.iter().filter_map(|rule| rule(report)).collect();
    Verdict { valid: reasons.is_empty(), reasons, ..Verdict::default() }
}

type Rule = fn(&Report) -> Option<String>;

/// What makes a run suspect.
const RULES: [Rule; 17] = [
    sums_broken,
    nothing_measured,
    generator_busy,
    rate_not_reached,
    generator_late,
    ports_used_up,
    connections_missing,
    held_missing,
    streams_broken,
    probe_broken,
    unanswered,
    silent_end,
    many_silent,
    too_few_samples,
    processor_stolen,
    wrong_bytes,
    target_ended,
];

/// What a reader should know.
const NOTES: [Rule; 9] = [
    stopped,
    started_apart,
    few_samples,
    some_silent,
    closed_loop_hides,
    coarse_clock,
    retransmissions,
    listen_drops,
    some_stolen,
];

fn sums_broken(report: &Report) -> Option<String> {
    let totals = &report.totals;
    let sum = totals.ok + totals.errors + totals.unanswered + totals.unsent;
    let by_kind: u64 = report.errors.values().sum();
    let by_backend: u64 = report.backends.iter().map(|backend| backend.responses).sum();
    let broken = if totals.intended != sum {
        format!("intended is {}, and its parts are {sum}", totals.intended)
    } else if by_kind != totals.errors {
        format!("errors are {}, and by kind {by_kind}", totals.errors)
    } else if !report.backends.is_empty() && by_backend != totals.ok {
        format!("ok is {}, and by backend {by_backend}", totals.ok)
    } else {
        return None;
    };
    Some(format!("the counts do not add up: {broken}; this is a bug of loadgen, please report it"))
}

fn nothing_measured(report: &Report) -> Option<String> {
    let totals = &report.totals;
    let other = report.stream.is_some() || report.hold.is_some();
    let empty = totals.elapsed_s <= 0.0 || (totals.intended == 0 && !other);
    empty.then(|| {
        "nothing was measured: the run ended before its first request; give it a longer -d".into()
    })
}

fn generator_busy(report: &Report) -> Option<String> {
    let busiest = report.generator.busiest;
    (busiest > BUSY_MAX).then(|| {
        format!(
            "the busiest worker of the generator used {} of its processor: what is measured may be \
             the generator; give it another thread (-t), more processors, or a lower rate",
            figures::percent(busiest)
        )
    })
}

fn rate_not_reached(report: &Report) -> Option<String> {
    report.config.rate_per_s?;
    let (offered, achieved) = (report.totals.offered_per_s, report.totals.achieved_per_s);
    (achieved < offered * ACHIEVED_MIN).then(|| {
        format!(
            "only {}/s of the offered {}/s were achieved ({}): this is overload, and its latencies \
             grow with the duration; lower -R, or raise -c if the wait was for a free connection",
            figures::number(achieved.round()),
            figures::number(offered.round()),
            figures::percent(achieved / offered)
        )
    })
}

/// Of held connections the probes only tell whether they live.
pub(crate) fn generator_late(report: &Report) -> Option<String> {
    if report.hold.is_some() {
        return None;
    }
    let late = report.latency.wait_late.quantile_ns(0.99)?;
    let service = report.latency.service.quantile_ns(0.5)?;
    (late as f64 > service as f64 * LATE_MAX).then(|| {
        format!(
            "the generator sent late: p99 {} where the target's median is {}; give it processors \
             of its own (--cpus), more threads (-t), or a lower rate",
            figures::time(late as f64),
            figures::time(service as f64)
        )
    })
}

fn ports_used_up(report: &Report) -> Option<String> {
    let [used, all] = report.generator.ports?;
    (used as f64 > all as f64 * PORTS_MAX).then(|| {
        format!(
            "{} of {} local ports were in use: connects slow down before they fail; use --close \
             rst, more --source addresses, or widen net.ipv4.ip_local_port_range",
            figures::count(used),
            figures::count(all)
        )
    })
}

fn connections_missing(report: &Report) -> Option<String> {
    // Of held connections another rule says more.
    if report.hold.is_some() {
        return None;
    }
    let generator = &report.generator;
    let (wanted, established) = (generator.connections_wanted, generator.connections_established);
    (established < wanted).then(|| {
        format!(
            "only {established} of {wanted} connections were established: see the errors; \
             `loadgen doctor` shows the limits of this side"
        )
    })
}

fn held_missing(report: &Report) -> Option<String> {
    let hold = report.hold.as_ref()?;
    let missing = hold.alive < hold.wanted && !report.totals.stopped;
    missing.then(|| {
        format!(
            "of {} connections {} were established and {} stood at the end ({}); look at the \
             target's log and limits, and at this side's with `loadgen doctor`",
            hold.wanted,
            hold.established,
            hold.alive,
            kinds(&hold.lost)
        )
    })
}

fn streams_broken(report: &Report) -> Option<String> {
    let totals = &report.totals;
    (report.stream.is_some() && totals.errors > 0).then(|| {
        format!(
            "{} of {} streams did not run to their end as they should ({}): the sums are not those \
             of all streams; look at the target's log",
            totals.errors,
            totals.intended,
            kinds(&report.errors)
        )
    })
}

fn probe_broken(report: &Report) -> Option<String> {
    let stream = report.stream.as_ref()?;
    let silent = stream.probe.as_ref().is_some_and(|probe| probe.count() == 0);
    let nothing = silent.then_some("no answer");
    stream.probe_error.as_deref().or(nothing).map(|why| {
        format!(
            "the probe failed ({why}), so its round trips are not of the whole time; it needs a peer \
             that answers lines: `loadgen serve --mode stream`, or another one with --probe-target"
        )
    })
}

/// `2 reset, 1 timeout`.
fn kinds(counts: &BTreeMap<String, u64>) -> String {
    let counts: Vec<String> =
        counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    counts.join(", ")
}

fn unanswered(report: &Report) -> Option<String> {
    let unanswered = report.totals.unanswered;
    let (requests, they) = if unanswered == 1 {
        ("request was", "it counts")
    } else {
        ("requests were", "they count")
    };
    (unanswered > 0).then(|| {
        format!(
            "{} {requests} sent and never answered: {they} with the age at the end, and the truth \
             is worse; look for a backend that hangs",
            figures::count(unanswered)
        )
    })
}

/// A target that is gone, or hangs, before the end: the rates are those of the time before, spread
/// over all of it.
fn silent_end(report: &Report) -> Option<String> {
    let answered = report.intervals.iter().rposition(|one| one.ok > 0)?;
    let length = |some: &[Interval]| some.iter().map(|one| one.length_s).sum::<f64>();
    let (silent, all) = (length(&report.intervals[answered + 1..]), length(&report.intervals));
    let asked = report.config.rate_per_s.is_none() || report.totals.intended > report.totals.ok;
    let requests = report.hold.is_none() && report.stream.is_none();
    // Where answers take their time, none comes for a while.
    let longest_s = report.latency.response.max_ns().unwrap_or(0) as f64 / 1e9;
    let bound = (all * SILENT_END_MAX).max(2.0 * longest_s);
    (requests && asked && silent > bound).then(|| {
        format!(
            "nothing was answered in the last {silent:.1} of {all:.1} s, so the rates are not those \
             of the time before: the target is gone or hangs; look at its log"
        )
    })
}

fn many_silent(report: &Report) -> Option<String> {
    silent(report, |share| share > SILENT_MAX)
}

fn some_silent(report: &Report) -> Option<String> {
    silent(report, |share| share > 0.0 && share <= SILENT_MAX)
}

/// Who waits for as long as it is measured is in no percentile: the latencies are of the others,
/// and look the better for it.
fn silent(report: &Report, matters: fn(f64) -> bool) -> Option<String> {
    let generator = &report.generator;
    let (silent, all) = (generator.connections_silent, generator.connections_established);
    matters(f64::from(silent) / f64::from(all.max(1))).then(|| {
        format!(
            "{silent} of {all} connections answered nothing while it was measured: the latencies \
             are of the others, and whoever waited longest is in none; measure for longer (-d), \
             or with a rate (-R)",
        )
    })
}

fn too_few_samples(report: &Report) -> Option<String> {
    let samples = report.latency.response.count();
    let requests = report.totals.intended > 0 && report.hold.is_none() && report.stream.is_none();
    (requests && samples < SAMPLES_MIN).then(|| {
        format!(
            "only {samples} samples: not even p90 is more than luck with fewer than \
             {SAMPLES_MIN}; run longer (-d, -n)"
        )
    })
}

fn processor_stolen(report: &Report) -> Option<String> {
    report.env.steal.filter(|&steal| steal > STEAL_MAX).map(|steal| {
        format!(
            "the hypervisor took {} of the processors away during the run: measure on a quieter \
             host, or compare only runs that alternate (loadgen ab)",
            figures::percent(steal)
        )
    })
}

fn wrong_bytes(report: &Report) -> Option<String> {
    let directions = &report.stream.as_ref()?.directions;
    let wrong: u64 = directions.iter().map(|direction| direction.wrong_bytes).sum();
    (wrong > 0).then(|| {
        format!(
            "{} bytes arrived that were not sent so: something between the ends changes data",
            figures::count(wrong)
        )
    })
}

fn target_ended(report: &Report) -> Option<String> {
    let sut = report.sut.as_ref().filter(|sut| sut.ended)?;
    Some(format!(
        "the system under test ({}) ended while it was measured: look into its log, and measure \
         again",
        sut.what
    ))
}

fn stopped(report: &Report) -> Option<String> {
    let (totals, config) = (&report.totals, &report.config);
    totals.stopped.then(|| {
        format!("it was stopped after {:.1} of {:.1} s", totals.elapsed_s, config.duration_s)
    })
}

/// Intervals of merged results are aligned by the time since each generator began.
fn started_apart(report: &Report) -> Option<String> {
    let parts = report.env.generators.iter();
    let begun =
        || parts.clone().filter_map(|part| humantime::parse_rfc3339(&part.env.started_at).ok());
    let apart = begun().max()?.duration_since(begun().min()?).ok()?.as_secs_f64();
    let interval = report.intervals.first().map_or(1.0, |interval| interval.length_s);
    (apart > interval).then(|| {
        format!(
            "the generators began {apart:.1} s apart, so that they loaded the target together for \
             only a part of the time; start them at the same time"
        )
    })
}

fn few_samples(report: &Report) -> Option<String> {
    let samples = report.latency.response.count();
    (SAMPLES_MIN..SAMPLES_FOR_P99).contains(&samples).then(|| {
        format!("{samples} samples carry no p99: it needs {SAMPLES_FOR_P99}; run longer (-d, -n)")
    })
}

/// A closed loop asks nothing while it waits, so a stall is measured once a connection, where users
/// would have met it many times (coordinated omission).
fn closed_loop_hides(report: &Report) -> Option<String> {
    let response = &report.latency.response;
    let p99 = response.quantile_ns(0.99).filter(|_| report.config.rate_per_s.is_none())?;
    let usual = response.quantile_ns(0.5)?;
    let corrected = response.0.clone_correct(usual.max(1)).value_at_quantile(0.99);
    (corrected > p99.saturating_mul(2)).then(|| {
        format!(
            "a closed loop asks nothing while it waits: had requests come at the usual pace during \
             the slow ones too, p99 would be about {}, not {}; measure with -R",
            figures::time(corrected as f64),
            figures::time(p99 as f64)
        )
    })
}

fn coarse_clock(report: &Report) -> Option<String> {
    let turn = report.generator.turn.quantile_ns(0.99)?;
    let service = report.latency.service.quantile_ns(0.5)?;
    (turn > service).then(|| {
        format!(
            "times are told to within one turn of the generator, p99 {}, which is more than the \
             median of the target, {}: read small differences as none",
            figures::time(turn as f64),
            figures::time(service as f64)
        )
    })
}

fn retransmissions(report: &Report) -> Option<String> {
    let network = report.network.as_ref()?;
    let (again, all) = (network.retransmitted, network.segments_out);
    let noticeable = again >= RETRANSMITTED_MIN && again as f64 > all as f64 * RETRANSMITTED_MAX;
    noticeable.then(|| {
        format!(
            "TCP of this network namespace, other programs included, sent {} of {} segments again \
             ({}): packets are lost, which costs 200 ms and more each; look at `ip -s link` and `nstat -az TcpExtTCPTimeouts`",
            figures::count(again),
            figures::count(all),
            figures::percent(again as f64 / all as f64)
        )
    })
}

fn listen_drops(report: &Report) -> Option<String> {
    let drops = report.network.as_ref()?.listen_drops;
    (drops > 0).then(|| {
        format!(
            "a full backlog of this network namespace, other programs' included, dropped {} \
             connects, each of which waits a second or more: raise the listener's backlog and \
             net.core.somaxconn",
            figures::count(drops)
        )
    })
}

fn some_stolen(report: &Report) -> Option<String> {
    let steal = report.env.steal.filter(|steal| (STEAL_NOTED..=STEAL_MAX).contains(steal))?;
    Some(format!("the hypervisor took {} of the processors away", figures::percent(steal)))
}

/// Above it a worker's own turns, and not the target, begin to set the pace.
const BUSY_MAX: f64 = 0.85;
const ACHIEVED_MIN: f64 = 0.99;
/// Of the measured time.
const SILENT_END_MAX: f64 = 0.1;
/// With more of them p99 is another one's.
const SILENT_MAX: f64 = 0.01;
/// Of the median service time: more would be seen in the response times.
const LATE_MAX: f64 = 0.1;
const PORTS_MAX: f64 = 0.8;
/// p90 with ten samples beyond it.
const SAMPLES_MIN: u64 = 100;
const SAMPLES_FOR_P99: u64 = 1000;
const STEAL_MAX: f64 = 0.05;
const STEAL_NOTED: f64 = 0.01;
/// A few are usual, and a few are no share.
const RETRANSMITTED_MIN: u64 = 10;
const RETRANSMITTED_MAX: f64 = 0.001;

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
