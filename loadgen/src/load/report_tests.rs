//! Sums and words of a report.

use super::*;

fn tally(requests: u64, responses: &[(&str, u64)], errors: &[(&str, u64)]) -> Tally {
    let mut tally = Tally::new(Workload::Ping);
    tally.requests = requests;
    tally.elapsed = Duration::from_secs(2);
    tally.cpu = Duration::from_secs(1);
    tally.connected_once = true;
    tally.responses = responses.iter().map(|&(name, count)| (name.to_owned(), count)).collect();
    tally.errors = errors.iter().map(|&(kind, count)| (kind.to_owned(), count)).collect();
    for _ in 0..requests {
        tally.latency.saturating_record(61_200);
    }
    tally
}

fn report() -> Report {
    let plan = Plan::new("127.0.0.1:8080".parse().expect("a literal address"), Workload::Ping);
    let one = tally(75, &[("B2", 25), ("B1", 50)], &[("reset", 1)]);
    let other = tally(25, &[("B2", 25)], &[("reset", 1), ("ports_exhausted", 3)]);
    Report::merge(&plan, vec![one, other], false)
}

#[test]
fn tallies_add_up() {
    let report = report();
    assert_eq!((report.requests, report.latency.len()), (100, 100));
    assert_eq!(report.elapsed, Duration::from_secs(2));
    assert!((report.requests_per_s() - 50.0).abs() < 1e-9);
    assert_eq!(report.backends["B1"] + report.backends["B2"], report.requests);
    assert_eq!(report.errors["reset"], 2);
}

#[test]
fn the_text_says_what_was_run_and_what_came_of_it() {
    let text = report().to_text();
    for part in [
        "127.0.0.1:8080",
        "ping, connections 50",
        "100 in 2.00 s: 50/s",
        "reset 2",
        "ports_exhausted: the local ports",
        "p50 61.2 µs  p90 61.2 µs  p99 -  p99.9 -  max 61.2 µs",
        "B1  50   50.0 %\n",
        "2.00 s of CPU in 2.00 s: 100 % busy",
        "the generator may be the bottleneck",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn json_has_every_figure_in_its_place() {
    let json = report().to_json();
    assert_eq!(json["totals"]["requests"], 100);
    assert_eq!(json["totals"]["errors"]["reset"], 2);
    assert_eq!(json["totals"]["elapsed_s"], 2.0);
    assert_eq!(json["totals"]["requests_per_s"], 50.0);
    assert_eq!(json["latency_ns"]["count"], 100);
    assert!(json["latency_ns"]["p50"].is_u64() && json["latency_ns"]["p99"].is_null());
    assert_eq!(json["backends"][0]["name"], "B1");
    assert_eq!(json["backends"][0]["share"], 0.5);
    assert_eq!(json["generator"]["cpu_s"], 2.0);
}

#[test]
fn durations_have_three_digits_and_a_unit() {
    for (nanoseconds, text) in [
        (12, "12.0 ns"),
        (61_234, "61.2 µs"),
        (1_250_000, "1.25 ms"),
        (999_000_000, "999 ms"),
        (3_000_000_000, "3.00 s"),
    ] {
        assert_eq!(format_duration(Duration::from_nanos(nanoseconds)), text);
    }
}
