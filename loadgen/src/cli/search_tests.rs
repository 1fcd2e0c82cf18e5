use std::sync::atomic::{AtomicBool, Ordering};

use loadgen::report::{Distribution, sample};

use super::*;

fn options() -> Options {
    Options { from: 1000.0, to: 1e8, trial: Duration::from_secs(5), precision: 0.05 }
}

fn slo() -> Slo {
    "p99<2ms".parse().expect("an objective")
}

/// A run at a rate whose p99 is this.
fn run_of(setting: &Setting, p99_ns: u64, busiest: f64) -> Report {
    let mut report = sample();
    let times = |ns: u64| {
        let mut times = Distribution::default();
        (0..2000).for_each(|_| times.record_ns(ns));
        times
    };
    let rate = setting.rate_per_s.expect("trials have a rate");
    (report.totals.offered_per_s, report.totals.achieved_per_s) = (rate, rate);
    (report.totals.goodput_per_s, report.totals.unanswered) = (rate, 0);
    report.totals.intended = report.totals.ok + report.totals.errors + report.totals.unsent;
    (report.latency.response, report.latency.service) = (times(p99_ns), times(100_000));
    report.latency.wait_late = times(100);
    (report.generator.busiest, report.generator.ports) = (busiest, None);
    report.generator.connections_established = report.generator.connections_wanted;
    report.env.steal = None;
    report
}

fn run_search(
    options: &Options,
    mut target: impl FnMut(&Setting) -> Result<Report, Failure>,
) -> Result<Outcome, Failure> {
    let stop = AtomicBool::new(false);
    search(options, &slo(), &mut Runs { measure: &mut target, stop: &stop })
}

#[test]
fn both_bounds_are_told_with_what_failed() {
    let outcome = run_search(&options(), |setting| {
        assert_eq!(setting.duration, Some(Duration::from_secs(5)));
        let p99_ns = if setting.rate_per_s <= Some(41_234.0) { 1_000_000 } else { 3_000_000 };
        Ok(run_of(setting, p99_ns, 0.3))
    });
    let outcome = outcome.expect("it runs");
    assert!(outcome.text.contains("is the highest rate that keeps p99<2ms;"), "{}", outcome.text);
    assert!(outcome.text.contains("2 of 2 trials  p99<2ms: it is 3.00 ms"), "{}", outcome.text);
    assert!(
        outcome.text.contains("2 of 2 trials  p99 1.00 ms, goodput 39 740/s"),
        "{}",
        outcome.text
    );
    let rate = |name: &str| outcome.json[name]["rate_per_s"].as_f64().expect("a rate");
    assert!(rate("highest_passing") <= 41_234.0 && rate("lowest_failing") > 41_234.0);
    assert_eq!((outcome.json["limit"].as_str(), outcome.code), (Some("target"), 0));
    assert_eq!(outcome.json["trials"][0]["result"], "pass");
}

#[test]
fn a_generator_at_its_limit_is_said_instead_of_a_capacity() {
    let outcome = run_search(&options(), |setting| {
        let busiest = if setting.rate_per_s <= Some(41_234.0) { 0.5 } else { 0.97 };
        Ok(run_of(setting, 1_000_000, busiest))
    });
    let outcome = outcome.expect("it runs");
    assert!(
        outcome.text.starts_with(
            "the generator is the limit: the target keeps p99<2ms at 39 740/s at least"
        ),
        "{}",
        outcome.text
    );
    assert!(outcome.text.contains("its busiest worker used 97 %"), "{}", outcome.text);
    assert_eq!(outcome.json["limit"], "generator");
    assert!(outcome.suspect);
}

#[test]
fn nothing_that_passes_is_a_missed_objective() {
    let outcome =
        run_search(&options(), |setting| Ok(run_of(setting, 3_000_000, 0.1))).expect("it runs");
    assert!(outcome.text.starts_with("no rate keeps p99<2ms: 1/s does not"), "{}", outcome.text);
    assert_eq!(outcome.code, MISSED);
}

#[test]
fn too_few_samples_for_the_objective_are_no_failure_of_the_target() {
    let failure = run_search(&options(), |setting| {
        let mut report = run_of(setting, 1, 0.1);
        report.latency.response = Distribution::default();
        (0..500).for_each(|_| report.latency.response.record_ns(1000));
        Ok(report)
    });
    let Err(Failure::Run(message)) = failure else { panic!("{failure:?}") };
    assert!(
        message.contains("a trial at 1 000/s cannot be judged: p99<2ms: not known"),
        "{message}"
    );
    assert!(message.contains("use a longer --trial"), "{message}");
}

#[test]
fn trials_that_become_too_short_end_the_search_with_what_is_known() {
    let outcome = run_search(&options(), |setting| {
        let few = setting.rate_per_s < Some(1000.0);
        let mut report = run_of(setting, 3_000_000, 0.1);
        if few {
            report.latency.response = Distribution::default();
            (0..500).for_each(|_| report.latency.response.record_ns(1000));
        }
        Ok(report)
    });
    let outcome = outcome.expect("something is known");
    assert!(outcome.text.contains("p99<2ms does not hold at 1 000/s"), "{}", outcome.text);
    assert!(outcome.text.contains("a trial at 500/s cannot be judged"), "{}", outcome.text);
    assert_eq!(outcome.code, NOT_RUN);
}

#[test]
fn a_stopped_search_tells_the_bounds_so_far() {
    let stop = AtomicBool::new(false);
    let mut trials = 0;
    let mut target = |setting: &Setting| {
        trials += 1;
        stop.store(trials == 3, Ordering::Relaxed);
        Ok(run_of(setting, 1_000_000, 0.1))
    };
    let outcome = search(&options(), &slo(), &mut Runs { measure: &mut target, stop: &stop });
    let outcome = outcome.expect("it runs");
    assert!(outcome.stopped);
    assert!(outcome.text.contains("not finished: p99<2ms holds at 2 000/s"), "{}", outcome.text);
    assert_eq!(outcome.json["trials"].as_array().map(Vec::len), Some(2), "half a trial is none");
}

#[test]
fn precision_is_per_cent() {
    for (text, value) in
        [("5%", Some(0.05)), ("0.5", Some(0.005)), ("0%", None), ("x", None), ("101%", None)]
    {
        assert_eq!(precision(text).ok(), value, "{text}");
    }
}
