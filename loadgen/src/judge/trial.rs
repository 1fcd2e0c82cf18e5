//! Whether one run at a rate shows that the target carries it.

use super::search::Vote;
use crate::report::{Report, figures, generator_late};

/// A trial's vote, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// How it counts.
    pub vote: Vote,
    /// What was missed, or what the generator's limit was; empty when it passed.
    pub why: Vec<String>,
}

impl Trial {
    /// Judges a run of an open loop whose verdict, with the objective, has been made.
    ///
    /// It passes only if the objective is met, the rate was achieved and the generator was well.
    /// When it was not well, a failure is not the target's. That it sent late fails no trial that
    /// passes: the response times have what was late in them.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let mut limit = generator_at_its_limit(report);
        let (verdict, totals) = (&report.verdict, &report.totals);
        let mut why = verdict.slo_missed.clone();
        if totals.achieved_per_s < totals.offered_per_s * ACHIEVED_SHARE {
            let share = 100.0 * totals.achieved_per_s / totals.offered_per_s.max(f64::MIN_POSITIVE);
            why.push(format!("{share:.1} % of the rate achieved"));
        }
        if !why.is_empty() {
            limit.extend(late(report));
        }
        if !limit.is_empty() {
            return Self { vote: Vote::Unjudged, why: limit };
        }
        if why.is_empty() {
            let late = generator_late(report);
            why =
                verdict.reasons.iter().filter(|&why| Some(why) != late.as_ref()).cloned().collect();
        }
        let vote = if why.is_empty() { Vote::Pass } else { Vote::Fail };
        Self { vote, why }
    }
}

/// Whether it came so late that this may be why an objective was missed.
#[expect(clippy::cast_precision_loss, reason = "2^53 ns are 104 days")]
fn late(report: &Report) -> Option<String> {
    let latency = &report.latency;
    let late = latency.wait_late.quantile_ns(0.99)?;
    let response = latency.response.quantile_ns(0.99)?;
    (late as f64 > response as f64 * LATE_SHARE).then(|| {
        let [late, response] = [late, response].map(|ns| figures::time(ns as f64));
        format!("it sent late: p99 {late}, in response times of {response}")
    })
}

/// What in a run was the generator's own limit; then nothing is known about the target.
fn generator_at_its_limit(report: &Report) -> Vec<String> {
    let generator = &report.generator;
    let mut why = Vec::new();
    if generator.busiest > BUSY_SHARE {
        why.push(format!(
            "its busiest worker used {:.0} % of a processor",
            generator.busiest * 100.0
        ));
    }
    if let Some([used, all]) = generator.ports
        && used as f64 > all as f64 * PORTS_SHARE
    {
        why.push(format!("{used} of {all} local ports were in use"));
    }
    if let Some(steal) = report.env.steal.filter(|&steal| steal > STEAL_SHARE) {
        why.push(format!("the hypervisor took {:.0} % of the processors away", steal * 100.0));
    }
    why
}

/// Of the offered rate, what has to be achieved.
pub const ACHIEVED_SHARE: f64 = 0.99;
// The same bounds as those of the verdict of a single run, lateness against what is judged.
const BUSY_SHARE: f64 = 0.85;
const LATE_SHARE: f64 = 0.1;
const PORTS_SHARE: f64 = 0.8;
const STEAL_SHARE: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Distribution, sample};

    fn times(ns: u64) -> Distribution {
        let mut times = Distribution::default();
        (0..2000).for_each(|_| times.record_ns(ns));
        times
    }

    /// A run that passes.
    fn good() -> Report {
        let mut report = sample();
        report.verdict = crate::report::Verdict { valid: true, ..Default::default() };
        (report.totals.offered_per_s, report.totals.achieved_per_s) = (1000.0, 1000.0);
        (report.generator.busiest, report.generator.ports) = (0.3, Some([10, 100]));
        (report.latency.service, report.latency.wait_late) = (times(100_000), times(1000));
        report.env.steal = Some(0.0);
        report
    }

    #[test]
    fn a_trial_passes_only_when_everything_is_right() {
        let missed = || vec!["p99<2ms: it is 3 ms".to_owned()];
        let check = |vote: Vote, said: &str, change: &dyn Fn(&mut Report)| {
            let mut report = good();
            change(&mut report);
            let trial = Trial::of(&report);
            assert_eq!(trial.vote, vote, "{trial:?}");
            assert!(trial.why.concat().contains(said), "{trial:?} without {said}");
            assert_eq!(trial.why.is_empty(), vote == Vote::Pass);
        };
        check(Vote::Pass, "", &|_| {});
        check(Vote::Fail, "it is 3 ms", &|report| report.verdict.slo_missed = missed());
        check(Vote::Fail, "98.9 % of the rate", &|report| report.totals.achieved_per_s = 989.0);
        check(Vote::Fail, "never answered", &|report| {
            report.verdict.valid = false;
            report.verdict.reasons = vec!["7 never answered".to_owned()];
        });
        check(Vote::Unjudged, "90 % of a processor", &|report| report.generator.busiest = 0.9);
        let late = |late: u64, response: u64| {
            move |report: &mut Report| {
                report.latency.wait_late = times(late);
                report.latency.response = times(response);
                report.verdict.valid = false;
                report.verdict.reasons = generator_late(report).into_iter().collect();
                assert_eq!(report.verdict.reasons.len(), 1, "a single run is suspect");
            }
        };
        let also_missed = |change: &dyn Fn(&mut Report), report: &mut Report| {
            change(report);
            report.verdict.slo_missed = missed();
        };
        check(Vote::Pass, "", &late(20_000, 150_000));
        check(Vote::Unjudged, "sent late: p99 20.0 µs", &|report| {
            also_missed(&late(20_000, 150_000), report);
        });
        check(Vote::Fail, "it is 3 ms", &|report| also_missed(&late(20_000, 3_000_000), report));
        check(Vote::Unjudged, "90 of 100", &|report| report.generator.ports = Some([90, 100]));
        check(Vote::Unjudged, "hypervisor", &|report| report.env.steal = Some(0.1));
    }

    #[test]
    fn what_the_generator_could_not_do_is_no_failure_of_the_target() {
        let mut report = good();
        report.generator.busiest = 0.99;
        report.totals.achieved_per_s = 500.0;
        report.verdict.slo_missed = vec!["p99<2ms: it is 1 s".to_owned()];
        assert_eq!(Trial::of(&report).vote, Vote::Unjudged);
    }
}
