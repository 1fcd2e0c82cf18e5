//! What the text says, and that it fits.

use super::*;
use crate::report::{Direction, Distribution, Hold, Stream, judge, sample};

#[test]
fn no_line_is_longer_than_eighty_columns() {
    let mut report = sample();
    report.config.slo = Some("p99<2ms,err<0.1%,goodput>10k".to_owned());
    let slo = report.config.slo.as_ref().and_then(|slo| slo.parse().ok());
    report.verdict = judge(&report, slo.as_ref());
    report.errors.insert("ports_exhausted".to_owned(), 3);
    report.backends[0].name = "a-name-that-is-far-too-long-for-a-table".to_owned();
    for look in [Look { colour: false }, Look { colour: true }] {
        for line in text(&report, look).lines() {
            assert!(page::shown_width(line) <= 80, "{line}");
        }
    }
}

#[test]
fn each_section_says_what_the_report_holds() {
    let text = text(&sample(), Look::default());
    for words in [
        "verdict    SUSPECT\n",
        "suspect: 1 request was sent and never answered",
        "target     127.0.0.1:8880\n",
        "open loop at 2 000/s, poisson, 50 connections, 1 thread",
        "requests   19 990 answered rightly in 10 s: 1 999/s goodput\n",
        "20 000 intended = 19 990 ok + 7 errors + 1 unanswered + 2 unsent\n",
        "offered 2 000/s, achieved 2 000/s (100.0 %)\n",
        "errors     reset 2, timeout 5\n",
        "B1  6 667   33.4 %  ████████████████████  p99 ",
        "Jain's index 1.0000 against equal shares; chi-square 0.01",
        "cost       pid 4711: 26.0 CPU-µs a request (0.52 s, 5.2 % of a processor)\n",
        "memory 9.00 MiB before, 9.72 MiB at the end, 14.7 KiB a connection\n",
        "network    40 211 segments sent, 3 again (0.0075 %)",
        "generator  io_uring, busiest worker 13.7 % of a processor, 50 of 50 connections",
        "steadiness 1 999/s ± ",
        "again      loadgen ping 127.0.0.1:8880 -c 50",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert!(!text.contains('\x1b'));
}

#[test]
fn a_percentile_that_samples_do_not_carry_is_a_dash() {
    let mut report = sample();
    report.latency.response = Distribution::default();
    (1..=100).for_each(|us| report.latency.response.record_ns(us * 1000));
    let text = text(&report, Look::default());
    let row = text.lines().find(|line| line.starts_with("response")).expect("a row");
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!(
        cells,
        ["response", "50.0", "µs", "90.0", "µs", "-", "-", "100", "µs", "50.5", "µs"]
    );
}

#[test]
fn waits_that_nobody_met_are_not_shown() {
    let mut report = sample();
    report.latency.wait_busy = Distribution::default();
    (0..1000).for_each(|_| report.latency.wait_busy.record_ns(0));
    let text = text(&report, Look::default());
    assert!(text.contains("\nwait late ") && !text.contains("\nwait busy "), "{text}");
    assert!(!text.lines().any(|line| line.ends_with(' ')), "{text}");
}

#[test]
fn bulk_and_held_connections_have_sections() {
    let mut probe = Distribution::default();
    (0..2000).for_each(|_| probe.record_ns(340_000));
    let direction = Direction {
        name: "up".to_owned(),
        streams_bytes: vec![3 << 30, 1 << 30],
        bytes: 4 << 30,
        gbit_per_s: 9.414,
        wrong_bytes: 0,
    };
    let stream = Stream {
        directions: vec![direction],
        probe: Some(probe),
        probe_idle: None,
        probe_error: None,
    };
    let hold = Hold {
        wanted: 15_000,
        established: 15_000,
        alive: 14_999,
        connect_s: 0.8,
        probes_ok: 300,
        probes_failed: 1,
        generator_bytes_per_connection: 312.0,
        ..Hold::default()
    };
    let text =
        text(&Report { stream: Some(stream), hold: Some(hold), ..sample() }, Look::default());
    for words in [
        "bulk       up   9.41 Gbit/s, 4.00 GiB in 2 streams, Jain's index 0.8000\n",
        "probe under load p50   340 µs  p99   340 µs",
        "hold       15 000 of 15 000 connections stood after 0.80 s, 14 999 at the end\n",
        "probes: 300 answered, 1 not; 312 B of this program",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn colours_only_where_they_are_wanted() {
    let coloured = text(&sample(), Look { colour: true });
    assert!(coloured.contains("\x1b[1;31mSUSPECT\x1b[0m"), "{coloured}");
}

#[test]
fn a_command_line_is_quoted_where_a_shell_would_read_it_otherwise() {
    let arguments = ["loadgen", "ping", "[::1]:80", "--slo", "p99<2ms", "it's", ""];
    let arguments = arguments.map(str::to_owned);
    assert_eq!(command_line(&arguments), r"loadgen ping [::1]:80 --slo 'p99<2ms' 'it'\''s' ''");
}
