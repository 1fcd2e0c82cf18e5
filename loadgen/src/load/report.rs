//! What a run brought: the workers' tallies added up, and how that reads.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::failure::{Failure, advice};
use super::plan::{Close, Plan, Workload};
use crate::Percentile;
use crate::histogram::{latencies, percentiles};

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was run.
    pub plan: Plan,
    /// Requests that were answered, rightly and in time.
    pub requests: u64,
    /// Requests that were answered after the run's end, one a connection at most: in `latency`, so
    /// that the slowest are not forgotten, and nowhere else.
    pub late: u64,
    /// What went wrong, by kind, and how often.
    pub errors: BTreeMap<String, u64>,
    /// The measured time.
    pub elapsed: Duration,
    /// From the send to the end of the reply; for [`Workload::Conn`] from the connect on, with
    /// [`Plan::rate`] from when it should have been sent.
    pub latency: Histogram<u64>,
    /// From the connect to the connection, of [`Workload::Conn`].
    pub connect: Option<Histogram<u64>>,
    /// Who answered how many of `requests`.
    pub backends: BTreeMap<String, u64>,
    /// Processor time of the workers while it was measured.
    pub cpu: Duration,
    /// Whether the run was stopped before its end.
    pub stopped: bool,
    pub(super) connected_once: bool,
    pub(super) connect_failure: Option<Failure>,
}

/// One backend's part of the responses.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// What it calls itself, or `echo`.
    pub name: String,
    /// How many it answered.
    pub responses: u64,
    /// How many of all, 0 to 1.
    pub share: f64,
}

/// What one worker brings back.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) late: u64,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) elapsed: Duration,
    pub(super) latency: Histogram<u64>,
    pub(super) connect: Option<Histogram<u64>>,
    pub(super) responses: Vec<(String, u64)>,
    pub(super) cpu: Duration,
    pub(super) connected_once: bool,
    pub(super) connect_failure: Option<Failure>,
}

impl Tally {
    pub(super) fn new(workload: Workload) -> Self {
        Self {
            requests: 0,
            late: 0,
            errors: BTreeMap::new(),
            elapsed: Duration::ZERO,
            latency: latencies(),
            connect: (workload == Workload::Conn).then(latencies),
            responses: Vec::new(),
            cpu: Duration::ZERO,
            connected_once: false,
            connect_failure: None,
        }
    }
}

impl Report {
    /// Adds up what the workers brought.
    pub(super) fn merge(plan: &Plan, tallies: Vec<Tally>, stopped: bool) -> Self {
        let empty = Tally::new(plan.workload);
        let mut report = Self {
            plan: plan.clone(),
            requests: 0,
            late: 0,
            errors: BTreeMap::new(),
            elapsed: Duration::ZERO,
            latency: empty.latency,
            connect: empty.connect,
            backends: BTreeMap::new(),
            cpu: Duration::ZERO,
            stopped,
            connected_once: false,
            connect_failure: None,
        };
        tallies.into_iter().for_each(|tally| report.add(tally));
        report
    }

    fn add(&mut self, tally: Tally) {
        self.requests += tally.requests;
        self.late += tally.late;
        for (kind, count) in tally.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        for (name, responses) in tally.responses {
            *self.backends.entry(name).or_default() += responses;
        }
        self.elapsed = self.elapsed.max(tally.elapsed);
        self.latency.add(&tally.latency).expect("all have the same bounds");
        if let (Some(all), Some(one)) = (&mut self.connect, &tally.connect) {
            all.add(one).expect("all have the same bounds");
        }
        self.cpu += tally.cpu;
        self.connected_once |= tally.connected_once;
        self.connect_failure = self.connect_failure.or(tally.connect_failure);
    }

    /// Requests a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^52 requests are years of load")]
    pub fn requests_per_s(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.requests as f64 / seconds } else { 0.0 }
    }

    /// p50 to the maximum of the latency, each where there are samples enough for it.
    #[must_use]
    pub fn percentiles(&self) -> Vec<Percentile> {
        percentiles(&self.latency)
    }

    /// Who answered how much, by name.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits than a float has")]
    pub fn shares(&self) -> Vec<Share> {
        let all = self.requests.max(1) as f64;
        let share = |(name, &responses): (&String, &u64)| Share {
            name: name.clone(),
            responses,
            share: responses as f64 / all,
        };
        self.backends.iter().map(share).collect()
    }

    /// The report for people, settings first.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |label: &str, value: &str| {
            for (index, value) in value.lines().enumerate() {
                let label = if index == 0 { label } else { "" };
                writeln!(text, "{label:<10} {value}").expect("a string takes every character");
            }
        };
        line("target", &self.plan.address.to_string());
        line("settings", &self.settings_text());
        line("requests", &self.requests_text());
        line("errors", &self.errors_text());
        line("latency", &self.latency_text());
        if let Some(connect) = &self.connect {
            line("connect", &percentiles_text(&percentiles(connect)));
        }
        line("backends", &self.backends_text());
        line("generator", &self.generator_text());
        text
    }

    /// `p50 61.2 µs  p90 ...` in one line.
    #[must_use]
    pub fn latency_text(&self) -> String {
        percentiles_text(&self.percentiles())
    }

    /// A line for each backend: name, responses, share.
    #[must_use]
    pub fn backends_text(&self) -> String {
        let shares = self.shares();
        let width = |len: fn(&Share) -> usize| shares.iter().map(len).max().unwrap_or(0);
        let name_width = width(|share| share.name.chars().count());
        let count_width = width(|share| share.responses.to_string().len());
        let line = |Share { name, responses, share }: &Share| {
            let percent = share * 100.0;
            format!("{name:<name_width$}  {responses:>count_width$}  {percent:5.1} %")
        };
        let lines: Vec<String> = shares.iter().map(line).collect();
        if lines.is_empty() { "none answered".to_owned() } else { lines.join("\n") }
    }

    /// `none`, or each kind with its count, and below what to do about it.
    #[must_use]
    pub fn errors_text(&self) -> String {
        if self.errors.is_empty() {
            return "none".to_owned();
        }
        let counts: Vec<String> =
            self.errors.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let hints =
            self.errors.keys().filter_map(|kind| Some(format!("{kind}: {}", advice(kind)?)));
        std::iter::once(counts.join(", ")).chain(hints).collect::<Vec<_>>().join("\n")
    }

    fn settings_text(&self) -> String {
        let plan = &self.plan;
        let (workload, bytes) = match (plan.workload, plan.close) {
            (Workload::Ping, _) => ("ping", plan.request_bytes),
            (Workload::Conn, Close::Fin) => ("conn, close fin", plan.request_bytes),
            (Workload::Conn, Close::Rst) => ("conn, close rst", plan.request_bytes),
        };
        let requests =
            plan.requests.map_or(String::new(), |requests| format!(" or {requests} requests"));
        let rate = plan.rate.map_or(String::new(), |rate| format!(" at {rate}/s"));
        format!(
            "{workload}{rate}, connections {}, threads {}, {}{requests}, {bytes} bytes, warm-up {}, timeout {}",
            plan.connections,
            plan.workers(),
            humantime::format_duration(plan.duration),
            humantime::format_duration(plan.warm_up),
            humantime::format_duration(plan.timeout),
        )
    }

    fn requests_text(&self) -> String {
        let seconds = self.elapsed.as_secs_f64();
        let stopped = if self.stopped { " (stopped early)" } else { "" };
        format!("{} in {seconds:.2} s: {:.0}/s{stopped}", self.requests, self.requests_per_s())
    }

    fn generator_text(&self) -> String {
        let threads = u32::try_from(self.plan.workers()).unwrap_or(u32::MAX);
        let (cpu, available) = (self.cpu.as_secs_f64(), (self.elapsed * threads).as_secs_f64());
        let busy = if available > 0.0 { cpu / available } else { 0.0 };
        let mut text = format!("{cpu:.2} s of CPU in {available:.2} s: {:.0} % busy", busy * 100.0);
        if busy > BUSY_MAX {
            text.push_str("\nthe generator may be the bottleneck: give it another thread (-t)");
        }
        text
    }
}

fn percentiles_text(percentiles: &[Percentile]) -> String {
    let show = |one: &Percentile| {
        let value = one.value.map_or_else(|| "-".to_owned(), format_duration);
        format!("{} {value}", one.name)
    };
    percentiles.iter().map(show).collect::<Vec<_>>().join("  ")
}

/// A duration with three digits and the unit that fits: `61.2 µs`, `1.25 ms`, `3.00 s`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_secs_f64() * 1e9;
    let (value, unit) = match nanoseconds {
        ..1e3 => (nanoseconds, "ns"),
        1e3..1e6 => (nanoseconds / 1e3, "µs"),
        1e6..1e9 => (nanoseconds / 1e6, "ms"),
        _ => (nanoseconds / 1e9, "s"),
    };
    let decimals = match value {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// Above it a worker's own turns, and not the target, begin to set the pace.
const BUSY_MAX: f64 = 0.85;

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
