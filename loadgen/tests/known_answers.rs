//! Answers that arithmetic gives beforehand: faults are injected into `loadgen serve`, and what the
//! generator reports has to be what they amount to. On the ring and on epoll.
//!
//! Times are only bounded from below, by what was injected; who was faster is told by thresholds that
//! lie far from everything that was injected.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

mod common;

use std::process::{Command, Stdio};

use common::{Served, run, text};
use loadgen::report::{Report, Totals};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const ENGINES: [&str; 2] = ["uring", "epoll"];

/// Runs `words` against a backend with this fault, with every engine.
fn each_engine(serve: &[&str], words: &[&str], check: impl Fn(&Report)) {
    for engine in ENGINES {
        let served = Served::start(&[&["--name", "B1", "--port", "0"], serve].concat(), 1);
        let target = served.addresses[0].to_string();
        let words = [&words[..1], &[&target, "--engine", engine, "--json", "-"], &words[1..]];
        let output = run(&words.concat());
        let report: Report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {} {}", text(&output.stdout), text(&output.stderr))
        });
        let told = if engine == "uring" { "io_uring" } else { "epoll" };
        assert_eq!(report.generator.engine, told);
        check_identity(&report);
        check(&report);
    }
}

/// What holds whatever happens.
fn check_identity(report: &Report) {
    let totals = &report.totals;
    let sum = totals.ok + totals.errors + totals.unanswered + totals.unsent;
    assert_eq!(totals.intended, sum, "{totals:?}");
    assert_eq!(totals.errors, report.errors.values().sum::<u64>(), "{:?}", report.errors);
    assert_eq!(totals.ok, report.backends.iter().map(|one| one.responses).sum::<u64>());
    assert_eq!(totals.ok, report.intervals.iter().map(|one| one.ok).sum::<u64>());
    assert_eq!(report.latency.response.count(), report.latency.service.count());
}

/// Response times of at least so long.
fn slower(report: &Report, ns: u64) -> u64 {
    let histogram = &report.latency.response.0;
    histogram.count_between(ns, histogram.high())
}

#[test]
fn a_constant_delay_is_in_every_answer() {
    let words = ["ping", "-c", "4", "-n", "200"];
    each_engine(&["--inject", "delay 20ms"], &words, |report| {
        assert_eq!(report.totals.ok, 200);
        assert!(report.latency.service.0.min() >= 20 * MS * 999 / 1000, "three digits are kept");
        // Four connections, each at most one request in 20 ms.
        assert!(report.totals.goodput_per_s <= 201.0, "{}", report.totals.goodput_per_s);
    });
}

#[test]
fn a_bimodal_delay_is_seen_in_its_shares() {
    let words = ["ping", "-c", "5", "-n", "1000"];
    each_engine(&["--inject", "delay 1ms 90% 200ms 10%"], &words, |report| {
        assert_eq!(report.totals.ok, 1000);
        assert_eq!(slower(report, 190 * MS), 100, "every tenth");
        let quantile = |quantile| report.latency.response.quantile_ns(quantile).unwrap();
        assert!(quantile(0.5) < 190 * MS && quantile(0.95) >= 190 * MS);
    });
}

#[test]
fn a_stall_hits_only_those_in_flight_in_a_closed_loop() {
    // Coordinated omission: whoever waits asks nothing, and what was not asked is not slow.
    let words = ["ping", "-c", "8", "-d", "3s"];
    each_engine(&["--inject", "stall 1s at 1s"], &words, |report| {
        let slow = slower(report, 500 * MS);
        assert!((1..=8).contains(&slow), "{slow} of {}", report.totals.ok);
        assert!(report.latency.response.max_ns().unwrap() >= 900 * MS);
    });
}

#[test]
fn connections_that_answer_nothing_while_it_is_measured_are_counted() {
    // Whoever is asked in the warm-up and then stalled for longer is in no latency.
    let words = ["ping", "-c", "4", "--warm-up", "1s", "-d", "300ms"];
    each_engine(&["--inject", "stall 1m at 300ms"], &words, |report| {
        assert_eq!((report.totals.intended, report.generator.connections_silent), (0, 4));
        let said = "4 of 4 connections answered nothing";
        assert!(report.verdict.reasons.iter().any(|why| why.contains(said)), "{report:?}");
    });
    let words = ["ping", "-c", "4", "--warm-up", "300ms", "-d", "300ms"];
    each_engine(&["--inject", "delay 1ms"], &words, |report| {
        assert_eq!(report.generator.connections_silent, 0);
    });
}

#[test]
fn a_stall_hits_everybody_who_was_due_in_an_open_loop() {
    // 200/s: of those that are due in a stall of a second, half wait for half a second or longer.
    for arrivals in ["constant", "poisson"] {
        let words = ["ping", "-c", "8", "-d", "3s", "-R", "200", "--arrivals", arrivals];
        each_engine(&["--inject", "stall 1s at 1s"], &words, |report| {
            let slow = slower(report, 500 * MS);
            assert!(slow >= 75, "{slow} of {}", report.totals.intended);
            if arrivals == "constant" {
                assert_eq!(report.totals.intended, 600);
            }
            let Totals { ok, intended, unsent, .. } = report.totals;
            assert_eq!(ok + unsent, intended, "all that are sent are answered");
            // A generator that does not run at the end has more due then than connections.
            let late_ns = report.latency.wait_late.max_ns().unwrap_or(0);
            assert!(unsent * SECOND <= 2 * 200 * late_ns, "{unsent} unsent, {late_ns} ns late");
            // Eight wait for their answer, the others for one of these connections.
            let busy = &report.latency.wait_busy.0;
            assert!(busy.count_between(400 * MS, busy.high()) >= 75, "it was not the generator");
        });
    }
}

#[test]
fn every_tenth_answer_that_never_comes_is_counted() {
    let words = ["ping", "-c", "2", "-n", "100", "--timeout", "300ms"];
    each_engine(&["--inject", "drop every 10"], &words, |report| {
        assert_eq!(report.totals.intended, 100);
        assert_eq!(report.totals.ok, 90, "{:?} {:?}", report.totals, report.errors);
    });
}

#[test]
fn every_tenth_that_is_closed_or_reset_is_an_error_of_its_kind() {
    for (inject, kind) in [("close every 10", "closed_early"), ("reset every 10", "reset")] {
        let words = ["ping", "-c", "2", "-n", "100"];
        each_engine(&["--inject", inject], &words, |report| {
            assert_eq!(report.totals.ok, 90, "{:?} {:?}", report.totals, report.errors);
            assert_eq!(report.errors.get(kind), Some(&10), "{:?}", report.errors);
        });
    }
}

#[test]
fn fast_errors_never_raise_the_goodput() {
    let http = ["--mode", "http", "--inject", "error every 2"];
    each_engine(&http, &["http", "-c", "4", "-n", "1000"], |report| {
        assert_eq!((report.totals.ok, report.totals.errors), (500, 500), "{:?}", report.errors);
        let seconds = report.totals.elapsed_s;
        let expected = 500.0 / seconds;
        let goodput = report.totals.goodput_per_s;
        assert!((goodput / expected - 1.0).abs() < 0.01, "{goodput} and not {expected}");
    });
}

#[test]
fn what_is_due_is_counted_though_the_target_is_far_too_slow() {
    // Two connections and 100 ms for each answer: 20 of 100 a second.
    let words = ["ping", "-c", "2", "-d", "2s", "-R", "100", "--timeout", "500ms"];
    each_engine(&["--inject", "delay 100ms"], &words, |report| {
        let totals = &report.totals;
        assert_eq!(totals.intended, 200);
        assert!(totals.ok <= 50 && totals.unsent >= 150, "{totals:?}");
        assert!(!report.verdict.valid, "a generator that cannot keep its rate is suspect");
    });
}

#[test]
fn a_stall_at_half_of_what_the_target_can_do_is_worked_off_as_queueing_says() {
    // Eight connections and 10 ms for each answer: 800/s, of which 400/s are asked. What is due in
    // the stall waits for its turn: due t seconds into it, it is answered at 1 + t/2 s at the
    // earliest, which is half a second late or more for all 400 of that second.
    let words = ["ping", "-c", "8", "-d", "5s", "-R", "400"];
    let inject = ["--inject", "delay 10ms", "--inject", "stall 1s at 1s"];
    each_engine(&inject, &words, |report| {
        assert_eq!((report.totals.intended, report.totals.ok), (2000, 2000));
        assert_eq!(slower(report, 9_990_000), 2000, "all have the delay");
        let slow = slower(report, 490 * MS);
        assert!(slow >= 390, "{slow}");
        // Service is the target's: those in flight when it stalled, and no other.
        let service = &report.latency.service.0;
        let stalled = service.count_between(490 * MS, service.high());
        assert!((1..=8).contains(&stalled), "{stalled}");
    });
}

#[test]
fn watching_a_run_changes_none_of_its_numbers() {
    let path = std::env::temp_dir().join(format!("loadgen-watched-{}.json", std::process::id()));
    let seen = [true, false].map(|watched| {
        let inject = ["--name", "B1", "--port", "0", "--inject", "delay 1ms 90% 200ms 10%"];
        let served = Served::start(&inject, 1);
        let command = format!(
            "{} ping {} -c 5 -n 500 --json {}",
            env!("CARGO_BIN_EXE_loadgen"),
            served.addresses[0],
            path.display()
        );
        // script(1) is a terminal for what it runs.
        let shell = ["-qec", &command, "/dev/null"];
        let plain = ["-c", &command];
        let (program, words) = if watched { ("script", &shell[..]) } else { ("sh", &plain[..]) };
        let mut run = Command::new(program);
        let output = run.args(words).env("TERM", "xterm-256color").stdin(Stdio::null()).output();
        let output = output.unwrap();
        let alternate_screen = text(&output.stdout).contains("\u{1b}[?1049h");
        assert_eq!(alternate_screen, watched, "{}", text(&output.stdout));
        let report: Report = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        check_identity(&report);
        (report.totals.intended, report.totals.ok, slower(&report, 190 * MS))
    });
    std::fs::remove_file(&path).unwrap();
    assert_eq!(seen, [(500, 500, 50); 2]);
}
