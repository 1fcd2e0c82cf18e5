//! Each rule of the verdict, just inside its bound and just outside.

use super::*;
use crate::report::{Direction, Distribution, Env, Hold, Network, Part, Stream, sample};

/// A report that nothing is wrong with, and nothing to be said about.
fn sound() -> Report {
    let mut report = sample();
    (report.totals.errors, report.totals.unanswered, report.totals.unsent) = (0, 0, 0);
    report.errors.clear();
    report.totals.ok = report.totals.intended;
    report.backends.clear();
    report.totals.achieved_per_s = report.totals.offered_per_s;
    report
}

fn changed(change: impl FnOnce(&mut Report)) -> Verdict {
    let mut report = sound();
    change(&mut report);
    judge(&report, None)
}

fn times(samples: u64, ns: u64) -> Distribution {
    let mut times = Distribution::default();
    (0..samples).for_each(|_| times.record_ns(ns));
    times
}

#[test]
fn a_sound_run_is_valid_and_there_is_nothing_to_say() {
    let verdict = judge(&sound(), None);
    assert_eq!(verdict, Verdict { valid: true, ..Verdict::default() });
}

type Change = fn(&mut Report);

#[test]
fn each_bound_makes_a_run_suspect_from_just_outside() {
    let cases: &[(&str, Change, Change)] = &[
        ("do not add up", |_| {}, |one| one.totals.ok -= 1),
        ("by kind 1", |_| {}, |one| _ = one.errors.insert("reset".into(), 1)),
        (
            "by backend",
            |one| one.backends = vec![backend(one.totals.ok)],
            |one| one.backends = vec![backend(one.totals.ok - 1)],
        ),
        ("nothing was measured", |_| {}, |one| one.totals.elapsed_s = 0.0),
        ("busiest worker", |one| one.generator.busiest = 0.85, |one| one.generator.busiest = 0.851),
        (
            "of the offered",
            |one| one.totals.achieved_per_s = 1980.0,
            |one| one.totals.achieved_per_s = 1979.0,
        ),
        ("sent late", |one| waits(one, 9_900), |one| waits(one, 10_200)),
        (
            "local ports",
            |one| one.generator.ports = Some([80, 100]),
            |one| one.generator.ports = Some([81, 100]),
        ),
        (
            "49 of 50 connections",
            |one| one.generator.connections_established = 50,
            |one| one.generator.connections_established = 49,
        ),
        (
            "in the last 1.0 of 9.0 s",
            |one| seconds(one, &[5, 5, 5, 5, 5, 0, 0, 5, 5, 5, 0]),
            |one| seconds(one, &[5, 5, 5, 0, 5, 5, 5, 5, 0]),
        ),
        ("2 of 100 connections answered nothing", |one| silent(one, 1), |one| silent(one, 2)),
        ("9 stood at the end", |one| hold(one, 10), |one| hold(one, 9)),
        ("the probe failed (reset)", |one| probe(one, None), |one| probe(one, Some("reset"))),
        (
            "never answered",
            |_| {},
            |one| (one.totals.ok, one.totals.unanswered) = (one.totals.ok - 1, 1),
        ),
        (
            "only 99 samples",
            |one| one.latency.response = times(100, 5),
            |one| one.latency.response = times(99, 5),
        ),
        ("hypervisor", |one| one.env.steal = Some(0.05), |one| one.env.steal = Some(0.06)),
        ("bytes arrived", |one| stream(one, 0), |one| stream(one, 1)),
    ];
    for &(words, inside, outside) in cases {
        let verdict = changed(inside);
        assert!(verdict.valid, "{words}: {verdict:?}");
        let verdict = changed(outside);
        assert!(!verdict.valid, "{words}");
        assert_eq!(verdict.reasons.len(), 1, "{verdict:?}");
        assert!(verdict.reasons[0].contains(words), "{verdict:?}");
    }
}

fn backend(responses: u64) -> crate::report::Backend {
    crate::report::Backend { responses, ..Default::default() }
}

fn waits(report: &mut Report, late_ns: u64) {
    report.latency.service = times(1000, 100_000);
    report.latency.wait_late = times(1000, late_ns);
}

/// Answers in each second; in the first case the silent end is a tenth at most.
fn seconds(report: &mut Report, ok: &[u64]) {
    let second = |(at, &ok): (usize, &u64)| Interval {
        start_s: at as f64,
        length_s: 1.0,
        ok,
        ..Interval::default()
    };
    report.intervals = ok.iter().enumerate().map(second).collect();
    report.config.rate_per_s = None;
    report.latency.response = times(2000, 490_000_000);
}

#[test]
fn where_answers_take_their_time_an_end_without_one_is_no_sign() {
    let verdict = changed(|one| {
        seconds(one, &[5, 5, 5, 0, 5, 5, 5, 5, 0]);
        one.latency.response = times(2000, 510_000_000);
    });
    assert!(verdict.valid, "{verdict:?}");
}

fn silent(report: &mut Report, silent: u32) {
    (report.generator.connections_wanted, report.generator.connections_established) = (100, 100);
    report.generator.connections_silent = silent;
}

fn hold(report: &mut Report, established: u64) {
    report.hold = Some(Hold { wanted: 10, established, alive: established, ..Hold::default() });
}

fn probe(report: &mut Report, error: Option<&str>) {
    let probe_error = error.map(str::to_owned);
    report.stream = Some(Stream { probe_error, ..Stream::default() });
}

fn stream(report: &mut Report, wrong_bytes: u64) {
    let direction = Direction { wrong_bytes, ..Direction::default() };
    report.stream = Some(Stream { directions: vec![direction], ..Stream::default() });
}

#[test]
fn a_closed_loop_has_no_rate_to_reach() {
    let verdict = changed(|one| {
        one.config.rate_per_s = None;
        one.totals.achieved_per_s = 1.0;
    });
    assert!(verdict.valid, "{verdict:?}");
}

#[test]
fn each_note_is_written_from_its_bound_on_and_makes_nothing_suspect() {
    let cases: &[(&str, Change, Change)] = &[
        ("stopped after 10.0 of 10.0 s", |_| {}, |one| one.totals.stopped = true),
        ("began 1.1 s apart", |one| begun(one, "01.3"), |one| begun(one, "01.4")),
        (
            "carry no p99",
            |one| one.latency.response = times(1000, 5),
            |one| one.latency.response = times(999, 5),
        ),
        (
            "one turn",
            |one| one.generator.turn = times(1000, 90_000),
            |one| {
                one.generator.turn = times(1000, 900_000);
            },
        ),
        ("1 of 100 connections answered nothing", |one| silent(one, 0), |one| silent(one, 1)),
        ("segments again", |one| network(one, 10, 0), |one| network(one, 11, 0)),
        ("backlog", |one| network(one, 0, 0), |one| network(one, 0, 1)),
        ("hypervisor", |one| one.env.steal = Some(0.009), |one| one.env.steal = Some(0.02)),
    ];
    for &(words, inside, outside) in cases {
        let verdict = changed(inside);
        assert_eq!(verdict.notes, Vec::<String>::new(), "{words}");
        let verdict = changed(outside);
        assert!(verdict.valid && verdict.notes.len() == 1, "{words}: {verdict:?}");
        assert!(verdict.notes[0].contains(words), "{verdict:?}");
    }
}

fn begun(report: &mut Report, seconds: &str) {
    let part = |seconds: &str| {
        let started_at = format!("2026-11-21T19:30:{seconds}Z");
        Part { env: Env { started_at, ..Env::default() }, ..Part::default() }
    };
    report.env.generators = vec![part("00.3"), part(seconds)];
}

fn network(report: &mut Report, retransmitted: u64, listen_drops: u64) {
    report.network = Some(Network { segments_out: 10_000, retransmitted, listen_drops });
}

#[test]
fn a_stall_in_a_closed_loop_is_told_with_what_it_hides() {
    // One connection: 100 000 requests of 100 µs, 10 s, and one stall of a second, which 10 000
    // requests would have met. A hundredth of all 110 000, the 1100 that waited longest, waited 0.89 s
    // and more.
    let stalled = |one: &mut Report| {
        one.latency.response = times(100_000, 100_000);
        one.latency.response.record_ns(1_000_000_000);
    };
    let closed = changed(|one| {
        stalled(one);
        one.config.rate_per_s = None;
    });
    assert!(closed.notes.len() == 1 && closed.valid, "{closed:?}");
    assert!(closed.notes[0].contains("p99 would be about 891 ms, not 100 µs"), "{closed:?}");
    assert_eq!(changed(stalled).notes, Vec::<String>::new());
}

#[test]
fn the_objective_is_judged_apart_from_the_belief() {
    let slo: Slo = "p50<1us,err<1%".parse().expect("sound");
    let verdict = judge(&sound(), Some(&slo));
    assert!(verdict.valid);
    assert_eq!(verdict.slo_met, Some(false));
    assert_eq!(verdict.slo_missed.len(), 1);
    let slo: Slo = "p50<1s".parse().expect("sound");
    assert_eq!(judge(&sound(), Some(&slo)).slo_met, Some(true));
}
