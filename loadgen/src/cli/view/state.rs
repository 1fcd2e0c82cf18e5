//! What the view knows: the last progress, and the intervals so far in little memory.

use std::collections::VecDeque;

use loadgen::report::{Distribution, Interval, Phase, Progress, Totals};

use super::heat;

/// What is drawn.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// What is measured; its first word is the workload.
    pub(super) title: String,
    /// Whether bytes count, and not answers.
    bulk: bool,
    /// Where it stands.
    pub(super) phase: Phase,
    /// Since the phase began.
    pub(super) elapsed_s: f64,
    /// How long the phase should take.
    pub(super) expected_s: Option<f64>,
    /// Connections that stand, and that should.
    pub(super) connections: (u64, u64),
    /// What has been measured so far.
    pub(super) totals: Totals,
    /// For how long.
    pub(super) measured_s: f64,
    /// Response times so far.
    pub(super) so_far: Quantiles,
    /// The interval that ended last.
    pub(super) last: Option<Last>,
    /// Name and answers of each backend, in the order of their names.
    pub(super) backends: Vec<(String, u64)>,
    /// The last intervals, from the oldest on.
    pub(super) history: VecDeque<Column>,
}

/// p50, p90, p99, p99.9 and the maximum, each where samples carry it.
pub(super) type Quantiles = [Option<u64>; 5];

/// The interval that ended last.
#[derive(Clone, Debug)]
pub(super) struct Last {
    /// What went through it.
    pub(super) rate: Rate,
    /// Its response times.
    pub(super) response: Quantiles,
    /// Failures in it.
    pub(super) errors: u64,
}

/// How much went through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rate {
    /// Answers a second.
    Answers(f64),
    /// Gbit/s sent and received.
    Bulk { up: f64, down: f64 },
}

/// An interval, as small as its picture.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// How long it is.
    pub(super) length_s: f64,
    /// Answers a second, or bits a second.
    pub(super) rate: f64,
    /// Whether something failed in it.
    pub(super) failed: bool,
    /// Answers by piece of latency; see [`heat::buckets`].
    pub(super) counts: Vec<u32>,
}

impl State {
    /// Nothing has happened yet.
    pub(super) fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            bulk: title.starts_with("stream"),
            phase: Phase::Connecting,
            elapsed_s: 0.0,
            expected_s: None,
            connections: (0, 0),
            totals: Totals::default(),
            measured_s: 0.0,
            so_far: [None; 5],
            last: None,
            backends: Vec::new(),
            history: VecDeque::new(),
        }
    }

    /// Takes over what has changed.
    pub(super) fn update(&mut self, progress: &Progress<'_>) {
        (self.phase, self.elapsed_s) = (progress.phase, progress.elapsed_s);
        self.expected_s = progress.expected_s;
        self.connections = (progress.connected, progress.wanted);
        self.totals.clone_from(progress.so_far);
        if self.phase == Phase::Measuring {
            self.measured_s = self.elapsed_s;
        }
        // A percentile is looked up in thousands of counts, and changes with an interval only.
        if let Some(interval) = progress.interval {
            self.so_far = quantiles(progress.response);
            self.backends =
                progress.backends.iter().map(|(name, count)| (name.clone(), *count)).collect();
            self.add(interval);
        }
    }

    fn add(&mut self, interval: &Interval) {
        let bytes = (interval.bytes_out, interval.bytes_in);
        let rate = self.rate(interval.ok, bytes, interval.length_s);
        if self.history.len() == COLUMNS_MAX {
            self.history.pop_front();
        }
        self.history.push_back(Column {
            length_s: interval.length_s,
            rate: match rate {
                Rate::Answers(rate) => rate,
                Rate::Bulk { up, down } => (up + down) * 1e9,
            },
            failed: interval.errors > 0,
            counts: heat::buckets(&interval.response),
        });
        let response = quantiles(&interval.response);
        self.last = Some(Last { rate, response, errors: interval.errors });
    }

    /// What went through on average.
    pub(super) fn average(&self) -> Rate {
        let Totals { ok, bytes_in, bytes_out, .. } = self.totals;
        self.rate(ok, (bytes_out, bytes_in), self.measured_s)
    }

    fn rate(&self, ok: u64, (up, down): (u64, u64), seconds: f64) -> Rate {
        let a_second = |count: u64| if seconds > 0.0 { float(count) / seconds } else { 0.0 };
        if self.bulk {
            let gbit = |bytes| a_second(bytes) * 8.0 / 1e9;
            Rate::Bulk { up: gbit(up), down: gbit(down) }
        } else {
            Rate::Answers(a_second(ok))
        }
    }

    /// How much of the phase is over, 0 to 1, where that is known.
    pub(super) fn done(&self) -> Option<f64> {
        match (self.phase, self.connections, self.expected_s) {
            (Phase::Done, ..) => Some(1.0),
            (Phase::Connecting, (connected, wanted), _) if wanted > 0 => {
                Some((float(connected) / float(wanted)).min(1.0))
            }
            (_, _, Some(expected)) if expected > 0.0 => Some((self.elapsed_s / expected).min(1.0)),
            _ => None,
        }
    }

    /// What the phase is called.
    pub(super) fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::Connecting => "connecting",
            Phase::WarmUp => "warm-up",
            Phase::Measuring => "measuring",
            Phase::Draining => "draining",
            Phase::Done => "done",
        }
    }
}

fn quantiles(times: &Distribution) -> Quantiles {
    let [p50, p90, p99, p99_9] =
        [0.5, 0.9, 0.99, 0.999].map(|quantile| times.quantile_ns(quantile));
    [p50, p90, p99, p99_9, times.max_ns()]
}

#[expect(clippy::cast_precision_loss, reason = "2^52 requests are years of load")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

/// Wider than any terminal.
const COLUMNS_MAX: usize = 512;
