//! Sums of results whose parts are known.

use super::*;
use crate::report::{Sut, sample};

fn times(of: &[u64]) -> Distribution {
    let mut times = Distribution::default();
    of.iter().for_each(|&ns| times.record_ns(ns));
    times
}

fn merged(change: impl FnOnce(&mut Report)) -> Result<Report, MergeError> {
    let mut other = sample();
    other.config.seed = 43;
    change(&mut other);
    merge(vec![("a.json".to_owned(), sample()), ("b.json".to_owned(), other)])
}

#[test]
fn counts_and_histograms_are_added_and_rates_follow() {
    let one = sample();
    let both = merged(|_| {}).expect("they fit");
    assert_eq!(both.totals.intended, 2 * one.totals.intended);
    assert_eq!(both.totals.unsent, 2 * one.totals.unsent);
    assert_eq!(both.totals.goodput_per_s, 3998.0);
    assert_eq!(both.totals.offered_per_s, 4000.0);
    assert_eq!(both.latency.response.count(), 2 * one.latency.response.count());
    assert_eq!(both.latency.response.quantile_ns(0.99), one.latency.response.quantile_ns(0.99));
    assert_eq!(both.errors["timeout"], 10);
    assert_eq!((both.config.connections, both.config.threads), (100, 2));
    assert_eq!(both.config.rate_per_s, Some(4000.0));
    assert_eq!(both.config.command, ["loadgen", "merge", "a.json", "b.json"]);
    assert_eq!(both.generator.connections_established, 100);
    assert_eq!(both.generator.busiest, one.generator.busiest);
    let files: Vec<_> = both.env.generators.iter().map(|part| part.file.as_str()).collect();
    assert_eq!(files, ["a.json", "b.json"]);
    assert_eq!(both.env.generators[1].totals, one.totals);
    assert_eq!(both.verdict.reasons.len(), 1, "the sums fit: {:?}", both.verdict);
}

#[test]
fn percentiles_are_those_of_all_requests_together() {
    let fast = vec![1_000; 990];
    let slow = vec![9_000_000; 990];
    let mut first = sample();
    first.latency.response = times(&fast);
    let mut second = sample();
    second.latency.response = times(&slow);
    let both = merge(vec![("a".to_owned(), first), ("b".to_owned(), second)]).expect("they fit");
    let quantile = |quantile| both.latency.response.quantile_ns(quantile).expect("enough");
    assert!(quantile(0.49) < 1_010 && quantile(0.51) > 8_990_000);
}

#[test]
fn backends_are_matched_by_name() {
    let both = merged(|other| {
        other.backends.retain(|backend| backend.name != "B1");
        other.backends[0].name = "A9".to_owned();
    })
    .expect("they fit");
    let responses: Vec<_> =
        both.backends.iter().map(|one| (one.name.as_str(), one.responses)).collect();
    assert_eq!(responses, [("A9", 6_666), ("B1", 6_667), ("B2", 6_666), ("B3", 2 * 6_657)]);
    assert!((both.backends[0].share - 6_666.0 / 39_980.0).abs() < 1e-9);
}

#[test]
fn intervals_are_aligned_by_their_beginning() {
    let both = merged(|other| {
        other.intervals.remove(0);
        other.intervals.iter_mut().for_each(|one| one.start_s += 0.02);
        let late = Interval { start_s: 10.02, length_s: 1.0, ok: 7, ..Interval::default() };
        other.intervals.push(late);
    })
    .expect("they fit");
    let ok: Vec<_> = both.intervals.iter().map(|one| one.ok).collect();
    assert_eq!(ok, [2000, 4000, 4000, 4000, 4000, 3980, 4000, 4000, 4000, 4000, 7]);
}

#[test]
fn silent_connections_are_added() {
    let both = merged(|other| other.generator.connections_silent = 3).expect("they fit");
    assert_eq!(both.generator.connections_silent, 3);
}

#[test]
fn a_merged_result_can_be_merged_again() {
    let both = merged(|_| {}).expect("they fit");
    let three = merge(vec![("ab".to_owned(), both), ("c".to_owned(), sample())]).expect("fit");
    let files: Vec<_> = three.env.generators.iter().map(|part| part.file.as_str()).collect();
    assert_eq!(files, ["a.json", "b.json", "c"]);
    assert_eq!(three.totals.intended, 60_000);
}

#[test]
fn the_system_under_test_is_one_and_its_cost_is_shared() {
    let both = merged(|other| other.sut = None).expect("they fit");
    let sut = both.sut.expect("one saw it");
    assert_eq!(sut.cpu_us_per_request, Some(0.52e6 / 39_980.0));
    let more = merged(|other| {
        other.sut = Some(Sut { cpu_s: 0.6, ..sample().sut.expect("there") });
    });
    assert_eq!(more.expect("they fit").sut.expect("one saw it").cpu_s, 0.6);
}

#[test]
fn bulk_and_held_connections_are_added() {
    let direction = |gbit_per_s| Direction {
        name: "up".to_owned(),
        streams_bytes: vec![5],
        bytes: 5,
        gbit_per_s,
        wrong_bytes: 0,
    };
    let hold = |established, bytes| Hold {
        wanted: 10,
        established,
        connect_s: bytes,
        generator_bytes_per_connection: bytes,
        ..Hold::default()
    };
    let with = |gbit, established, bytes| {
        let stream = Stream { directions: vec![direction(gbit)], ..Stream::default() };
        Report { stream: Some(stream), hold: Some(hold(established, bytes)), ..sample() }
    };
    let parts = vec![("a".to_owned(), with(4.0, 10, 100.0)), ("b".to_owned(), with(5.0, 5, 400.0))];
    let both = merge(parts).expect("they fit");
    let up = &both.stream.expect("bulk").directions[0];
    assert_eq!((up.bytes, up.gbit_per_s, up.streams_bytes.len()), (10, 9.0, 2));
    let hold = both.hold.expect("held");
    assert_eq!((hold.wanted, hold.established, hold.connect_s), (20, 15, 400.0));
    assert_eq!(hold.generator_bytes_per_connection, 200.0);
}

#[test]
fn what_is_not_one_run_is_refused_with_the_difference() {
    type Change = fn(&mut Report);
    let cases: [(Change, &str); 5] = [
        (|one| one.config.workload = "http".into(), "the workload is http, not ping"),
        (|one| one.config.rate_per_s = None, "the loop is closed, not open, poisson"),
        (|one| one.config.duration_s = 5.0, "the duration is 5, not 10"),
        (|one| one.config.pipeline = 16, "the pipeline is 16, not 1"),
        (|one| one.config.request_bytes = 65, "the request's size is 65, not 64"),
    ];
    for (change, words) in cases {
        let error = merged(change).expect_err(words).to_string();
        assert!(error.contains(words) && error.contains("b.json"), "{error}");
    }
    assert_eq!(merge(vec![("a".to_owned(), sample())]).err(), Some(MergeError::TooFew));
    let same = merged(|other| other.config.seed = 42).expect_err("the same").to_string();
    assert!(same.starts_with("a.json and b.json are the same result"), "{same}");
    assert_eq!(merge(Vec::new()).err(), Some(MergeError::TooFew));
}
