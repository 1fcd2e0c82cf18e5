//! Targets compared by their runs: is there a difference, how large is it, and how sure is that.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Serialize;

use super::holm::holm;
use super::metric::Metric;
use super::power::detectable;
use super::rank::{Shift, mann_whitney, p_by_u, shift};

/// The runs of one target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// What the target is called.
    pub name: String,
    /// For each metric that every run carries, its value in each run.
    pub values: BTreeMap<Metric, Vec<f64>>,
}

/// One metric of two targets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What is compared.
    pub metric: Metric,
    /// The first target.
    pub a: String,
    /// The second.
    pub b: String,
    /// Mann and Whitney's, two-sided, of this comparison alone.
    pub p: f64,
    /// The same after Holm's correction for all comparisons; this one decides.
    pub p_corrected: f64,
    /// Whether a difference was seen.
    pub differs: bool,
    /// How far B lies from A in the metric's own unit (Hodges and Lehmann).
    pub shift: f64,
    /// The same as a part of A, with its 95 % interval: 0.08 is 8 % more.
    pub change: Option<[f64; 3]>,
    /// A change that so many runs would have shown in four of five cases; absent where no change
    /// could be shown.
    pub detectable_change: Option<f64>,
    /// All of it as a sentence.
    pub sentence: String,
}

/// Compares each target with each other one in each metric that both carry. A difference counts
/// when its corrected probability is not above `alpha`.
#[must_use]
pub fn compare(samples: &[Sample], alpha: f64) -> Vec<Comparison> {
    let mut raw = Vec::new();
    for (at, a) in samples.iter().enumerate() {
        for b in &samples[at + 1..] {
            for metric in Metric::ALL {
                if let (Some(of_a), Some(of_b)) = (a.of(metric), b.of(metric)) {
                    raw.push((a, b, Values { metric, a: of_a, b: of_b }));
                }
            }
        }
    }
    let p: Vec<f64> = raw.iter().map(|(_, _, values)| mann_whitney(values.a, values.b).p).collect();
    #[expect(clippy::cast_precision_loss, reason = "comparisons are few")]
    let strictest = alpha / raw.len().max(1) as f64;
    let corrected = p.iter().zip(holm(&p));
    let all = raw.iter().zip(corrected);
    all.map(|((a, b, values), (&p, p_corrected))| {
        let mut one = Comparison {
            metric: values.metric,
            a: a.name.clone(),
            b: b.name.clone(),
            p,
            p_corrected,
            differs: p_corrected <= alpha,
            shift: shift(values.a, values.b, CONFIDENCE).estimate,
            change: values.change(),
            detectable_change: values.detectable_change(strictest),
            sentence: String::new(),
        };
        one.sentence = one.say(values.a.len(), values.b.len());
        one
    })
    .collect()
}

/// As many runs of each target as can show a difference at all when so many comparisons are
/// corrected for: with fewer even complete separation is not rare enough.
#[must_use]
pub fn pairs_needed(comparisons: usize, alpha: f64) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "comparisons are few")]
    let shows = |runs: usize| p_by_u(runs, runs)[0] * comparisons as f64 <= alpha;
    (1..=RUNS_MAX).find(|&runs| shows(runs)).unwrap_or(RUNS_MAX)
}

impl Sample {
    fn of(&self, metric: Metric) -> Option<&[f64]> {
        self.values.get(&metric).map(Vec::as_slice).filter(|values| !values.is_empty())
    }
}

impl Comparison {
    fn say(&self, runs_a: usize, runs_b: usize) -> String {
        let (metric, p) = (self.metric, show_p(self.p_corrected));
        if !self.differs {
            let runs = runs_a.min(runs_b);
            let could = match self.detectable_change {
                Some(change) => {
                    format!("{runs} runs each could see a change of about {} %", percent(change))
                }
                None => format!("{runs} runs each could not show any"),
            };
            return format!(
                "{metric}: no difference seen between {} and {} (p = {p}; {could})",
                self.a, self.b
            );
        }
        let b_is_more = self.shift > 0.0;
        let b_is_better = b_is_more == metric.more_is_better();
        let (better, worse) = if b_is_better { (&self.b, &self.a) } else { (&self.a, &self.b) };
        let (how, within) = match metric {
            Metric::Goodput => ("faster", "goodput"),
            Metric::P50 => ("lower", "p50"),
            Metric::P99 => ("lower", "p99"),
            Metric::CpuPerRequest => ("cheaper", "CPU time a request"),
        };
        let Some(change) = self.change else {
            return format!(
                "{better} is {how} than {worse} in {within} by {} (p = {p})",
                metric.show(self.shift.abs())
            );
        };
        let [estimate, low, high] = if b_is_better { change } else { reversed(change) };
        // What is lower is lower by a positive part.
        let [estimate, low, high] =
            if metric.more_is_better() { [estimate, low, high] } else { [-estimate, -high, -low] };
        let (estimate, low, high) = (percent(estimate), percent(low), percent(high));
        format!(
            "{better} is {estimate} % ({low}..{high} %) {how} than {worse} in {within} (p = {p})"
        )
    }
}

/// A change from A to B, seen from B.
fn reversed([estimate, low, high]: [f64; 3]) -> [f64; 3] {
    let reverse = |change: f64| 1.0 / (1.0 + change) - 1.0;
    [reverse(estimate), reverse(high), reverse(low)]
}

/// One metric of both targets.
struct Values<'a> {
    metric: Metric,
    a: &'a [f64],
    b: &'a [f64],
}

impl Values<'_> {
    /// Of logarithms, whose shift is a factor; a run of nothing has none.
    fn change(&self) -> Option<[f64; 3]> {
        let (a, b) = (logarithms(self.a)?, logarithms(self.b)?);
        let Shift { estimate, low, high } = shift(&a, &b, CONFIDENCE);
        let finite = low.is_finite() && high.is_finite();
        finite.then(|| [estimate, low, high].map(f64::exp_m1))
    }

    /// How much the runs of one target scatter around its own mean, times what the test needs.
    #[expect(clippy::cast_precision_loss, reason = "runs are few")]
    fn detectable_change(&self, alpha: f64) -> Option<f64> {
        let (a, b) = (logarithms(self.a)?, logarithms(self.b)?);
        let squares = |values: &[f64]| -> f64 {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            values.iter().map(|value| (value - mean).powi(2)).sum()
        };
        let freedom = (a.len() + b.len()).checked_sub(2).filter(|&freedom| freedom > 0)?;
        let deviation = ((squares(&a) + squares(&b)) / freedom as f64).sqrt();
        Some((detectable(a.len(), b.len(), alpha)? * deviation).exp_m1())
    }
}

fn logarithms(values: &[f64]) -> Option<Vec<f64>> {
    values.iter().map(|&value| (value > 0.0).then(|| value.ln())).collect()
}

/// Two digits, and no more than that is known.
fn percent(part: f64) -> String {
    let value = part * 100.0;
    match value.abs().partial_cmp(&9.95) {
        Some(Ordering::Less) => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn show_p(p: f64) -> String {
    match p {
        p if p < 0.0001 => "< 0.0001".to_owned(),
        p if p < 0.1 => {
            format!("{p:.2e}").parse::<f64>().map_or_else(|_| p.to_string(), |p| p.to_string())
        }
        p => format!("{p:.2}"),
    }
}

const CONFIDENCE: f64 = 0.95;
/// More than the exact distribution is counted for is never needed.
const RUNS_MAX: usize = 30;

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
