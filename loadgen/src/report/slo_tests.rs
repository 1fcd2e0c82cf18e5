//! What objectives mean, checked against a report whose figures are known by arithmetic.

use super::*;
use crate::report::{Direction, Stream, sample};

/// 10 000 intended, 9 980 ok; response times 1 µs, 2 µs, … 10 ms; service times of 1 ms, ten of
/// them.
fn known() -> Report {
    let mut report = sample();
    let totals = &mut report.totals;
    (totals.intended, totals.ok) = (10_000, 9_980);
    (totals.achieved_per_s, totals.goodput_per_s) = (1000.0, 998.0);
    report.latency.response = Distribution::default();
    (1..=10_000).for_each(|us| report.latency.response.record_ns(us * 1000));
    report.latency.service = Distribution::default();
    (0..10).for_each(|_| report.latency.service.record_ns(1_000_000));
    report.latency.connect = Distribution::default();
    report
}

fn missed(slo: &str) -> Vec<String> {
    slo.parse::<Slo>().expect(slo).missed(&known())
}

#[test]
fn each_figure_is_compared_with_its_limit() {
    for (slo, met) in [
        ("p50<5.1ms", true),
        ("p50<4.9ms", false),
        ("response.p50<5.1ms", true),
        ("p99.9<9.9ms", false),
        ("p99.9<10.1ms", true),
        ("p95<=9.6ms", true),
        ("max<10.1ms", true),
        ("max>10100us", false),
        ("mean<5.1ms", true),
        ("mean<5000µs", false),
        ("service.mean<1.1ms", true),
        ("service.max<0.9ms", false),
        ("err<0.3%", true),
        ("err<0.2%", false),
        ("err<=0.2%", true),
        ("err<0.003", true),
        ("rate>=1k", true),
        ("rate>1k", false),
        ("goodput>997/s", true),
        ("goodput>0.999k", false),
        ("p50<1s, err<1%, rate<2M", true),
        ("p50<1s, err<0.1%", false),
    ] {
        assert_eq!(missed(slo).is_empty(), met, "{slo}: {:?}", missed(slo));
    }
}

#[test]
fn what_is_missed_says_what_was_measured() {
    assert_eq!(
        missed("err<0.1%,goodput>10k,p50<1s"),
        ["err<0.1%: it is 0.20 %", "goodput>10k: it is 998/s"]
    );
}

#[test]
fn a_percentile_without_samples_is_missed_and_says_why() {
    assert_eq!(
        missed("p99.99<1s"),
        ["p99.99<1s: not known, for it needs 100 000 samples and there are 10 000: run longer"]
    );
    assert_eq!(missed("connect.mean<1s"), ["connect.mean<1s: not known, there is no sample of it"]);
    assert_eq!(missed("gbit>1"), ["gbit>1: not known, this is no bulk run"]);
}

#[test]
fn bulk_has_objectives_of_its_own() {
    let direction = |name: &str, gbit_per_s| Direction {
        name: name.to_owned(),
        gbit_per_s,
        ..Direction::default()
    };
    let mut probe = Distribution::default();
    (0..1000).for_each(|_| probe.record_ns(300_000));
    let directions = vec![direction("up", 4.0), direction("down", 5.5)];
    let stream = Stream { directions, probe: Some(probe), probe_idle: None, probe_error: None };
    let report = Report { stream: Some(stream), ..known() };
    for (slo, met) in
        [("gbit>9.4", true), ("gbit>9.6", false), ("probe.p99<1ms", true), ("probe.p99<1us", false)]
    {
        assert_eq!(slo.parse::<Slo>().expect(slo).missed(&report).is_empty(), met, "{slo}");
    }
}

#[test]
fn what_is_typed_wrongly_is_answered_with_the_problem_and_an_example() {
    for (slo, problem) in [
        ("", "no < or >"),
        ("p99", "no < or >"),
        ("p99<2", "a time has a unit"),
        ("p99<ms", "is no number"),
        ("p99<2kg", "a time has a unit"),
        ("p100<1ms", "between p0 and p100"),
        ("q99<1ms", "nothing is called `q99`"),
        ("servce.p99<1ms", "no times are called `servce`"),
        ("err<200%", "at most 100%"),
        ("err<1ms", "0.1%"),
        ("rate>10x", "may end in k or M"),
        ("p99<2ms,", "no < or >"),
        ("p99<-2ms", "is no number"),
    ] {
        let error = slo.parse::<Slo>().expect_err(slo).to_string();
        assert!(error.contains(problem), "{slo}: {error}");
        assert!(error.ends_with("write for example p99<2ms,err<0.1%,goodput>10k"), "{error}");
    }
}
