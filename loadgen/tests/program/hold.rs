//! `loadgen hold` against peers that are known: what stands, what ends, and who answers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::{NonZeroU32, NonZeroUsize};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::{Served, loadgen, refusing, round_robin, run, text};
use loadgen::hold::{self, HoldPlan};
use loadgen::report::{Hold, Phase, Report};
use loadgen::{Close, RunError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A peer that does `talk` with each connection and its number, from 0.
fn peer(talk: impl Fn(TcpStream, usize) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, connection) in listener.incoming().enumerate() {
            let talk = talk.clone();
            std::thread::spawn(move || talk(connection.unwrap(), number));
        }
    });
    address
}

/// Answers each line with what `reply` makes of it and of its number, from 0.
fn answer(connection: &TcpStream, reply: impl Fn(&str, usize) -> Option<String>) {
    let mut lines = BufReader::new(connection);
    for number in 0.. {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some(reply) = reply(&line, number) {
            // The peer may be gone.
            let _ = (&*connection).write_all(reply.as_bytes());
        }
    }
}

fn echo(connection: &TcpStream) {
    answer(connection, |line, _| Some(line.to_owned()));
}

fn plan(address: SocketAddr, connections: u32) -> HoldPlan {
    HoldPlan {
        connections: NonZeroU32::new(connections).unwrap(),
        duration: Duration::from_millis(300),
        probe_every: Some(Duration::from_millis(100)),
        timeout: Duration::from_secs(2),
        ..HoldPlan::new(address.into())
    }
}

/// Runs it and checks what holds for every report.
fn measure(plan: &HoldPlan) -> Report {
    let report = hold::run(plan, &mut |_| {}, &AtomicBool::new(false)).unwrap();
    check_sums(&report);
    report
}

fn check_sums(report: &Report) {
    let totals = &report.totals;
    let parts = totals.ok + totals.errors + totals.unanswered + totals.unsent;
    assert_eq!(totals.intended, parts, "{totals:?}");
    assert_eq!(report.errors.values().sum::<u64>(), totals.errors, "{:?}", report.errors);
    let responses: u64 = report.backends.iter().map(|backend| backend.responses).sum();
    assert_eq!(responses, totals.ok, "{:?}", report.backends);
    assert_eq!(report.intervals.iter().map(|one| one.ok).sum::<u64>(), totals.ok);
    assert_eq!(report.intervals.iter().map(|one| one.errors).sum::<u64>(), totals.errors);
    assert_eq!(report.latency.response.count(), totals.ok + totals.unanswered);
    let held = held(report);
    assert_eq!(held.wanted, held.alive + held.lost.values().sum::<u64>(), "{held:?}");
    assert_eq!(held.probes_ok, totals.ok);
    assert_eq!(report.latency.connect.count(), held.established);
}

fn held(report: &Report) -> &Hold {
    report.hold.as_ref().unwrap()
}

#[track_caller]
fn assert_lost(report: &Report, expected: &[(&str, u64)]) {
    let lost: Vec<(&str, u64)> =
        held(report).lost.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    assert_eq!(lost, expected);
}

#[test]
fn every_connection_is_held_and_probed_in_turn() {
    let served = Served::start(&["--name", "B1", "--name", "B2", "--port", "0", "--port", "0"], 2);
    let threads = NonZeroUsize::new(3).unwrap();
    let plan = HoldPlan { threads, ..plan(round_robin(&served.addresses), 100) };
    let report = measure(&plan);
    let held = held(&report);
    assert_eq!((held.wanted, held.established, held.alive), (100, 100, 100), "{held:?}");
    // Each of 100 at 0, 100 and 200 ms, which is a schedule and no guess.
    assert_eq!((report.totals.intended, report.totals.ok), (300, 300));
    let backends: Vec<_> =
        report.backends.iter().map(|one| (one.name.as_str(), one.responses)).collect();
    assert_eq!(backends, [("B1", 150), ("B2", 150)]);
    assert!(report.verdict.valid, "{:?}", report.verdict);
}

#[test]
fn without_probes_nothing_is_sent() {
    let address = peer(|connection, _| answer(&connection, |line, _| panic!("{line:?} came")));
    let report = measure(&HoldPlan { probe_every: None, ..plan(address, 20) });
    assert_eq!((held(&report).alive, report.totals.intended, report.totals.bytes_in), (20, 0, 0));
    assert!(report.verdict.valid, "{:?}", report.verdict);
}

#[test]
fn connections_that_end_are_counted_by_kind() {
    let read_line = |connection: &TcpStream| {
        BufReader::new(connection).read_line(&mut String::new()).unwrap();
    };
    let address = peer(move |connection, number| match number % 10 {
        0 => read_line(&connection),
        1 => {
            read_line(&connection);
            uring::close_with_reset(connection.into());
        }
        _ => echo(&connection),
    });
    let report = measure(&plan(address, 50));
    assert_eq!((held(&report).established, held(&report).alive), (50, 40), "{:?}", held(&report));
    assert_lost(&report, &[("closed_early", 5), ("reset", 5)]);
    // The probes that they ended with were not answered; nobody asks who is gone.
    assert_eq!(report.totals.intended - report.totals.unsent, 130, "{:?}", report.totals);
    assert_eq!((report.totals.ok, report.totals.errors), (120, 10), "{:?}", report.errors);
    assert_eq!((report.errors["closed_early"], report.errors["reset"]), (5, 5));
    assert!(report.verdict.reasons[0].contains("40 stood at the end"), "{:?}", report.verdict);
}

#[test]
fn connections_that_end_unprobed_are_noticed_too() {
    let address = peer(|connection, number| match number {
        3 => drop(connection),
        4 => uring::close_with_reset(connection.into()),
        _ => echo(&connection),
    });
    let report = measure(&HoldPlan { probe_every: None, ..plan(address, 10) });
    // A reset may come so early that the connect is told of it.
    assert_lost(&report, &[("closed_early", 1), ("reset", 1)]);
    assert_eq!(held(&report).alive, 8);
}

#[test]
fn a_run_ends_when_its_last_connection_has_ended() {
    let address = peer(|connection, _| {
        BufReader::new(connection).read_line(&mut String::new()).unwrap();
    });
    let duration = Duration::from_secs(3600);
    let report = measure(&HoldPlan { duration, ..plan(address, 10) });
    assert_eq!((held(&report).established, held(&report).alive), (10, 0));
    assert!(report.totals.elapsed_s < 3600.0 && !report.totals.stopped);
}

#[test]
fn probes_that_are_not_answered_are_errors_and_their_connections_not_alive() {
    let address = peer(|connection, number| {
        answer(&connection, |line, _| (number >= 5).then(|| line.to_owned()));
    });
    let timeout = Duration::from_millis(50);
    let report = measure(&HoldPlan { timeout, ..plan(address, 20) });
    assert_eq!(held(&report).alive, 15);
    assert_lost(&report, &[("timeout", 5)]);
    assert_eq!(report.errors.get("timeout"), Some(&5), "{:?}", report.errors);
    // Who owes an answer is not asked again, and that is not hidden.
    assert_eq!((report.totals.ok, report.totals.unsent), (45, 10));
    assert_eq!(held(&report).probes_failed, 5);
}

#[test]
fn who_answers_late_lives_again() {
    let address = peer(|connection, _| {
        answer(&connection, |line, number| {
            std::thread::sleep(Duration::from_millis(if number == 0 { 150 } else { 0 }));
            Some(line.to_owned())
        });
    });
    let timeout = Duration::from_millis(60);
    let duration = Duration::from_millis(600);
    let report = measure(&HoldPlan { timeout, duration, ..plan(address, 1) });
    assert_eq!(report.errors.get("timeout"), Some(&1), "{:?}", report.errors);
    assert_eq!((held(&report).alive, report.totals.ok > 0), (1, true), "{:?}", report.totals);
}

#[test]
fn only_a_greeting_or_an_echo_answers_unless_any_line_will_do() {
    let address = peer(|connection, number| {
        answer(&connection, |line, _| {
            Some(if number == 7 { "+PONG\n".to_owned() } else { line.to_owned() })
        });
    });
    let report = measure(&plan(address, 10));
    assert_lost(&report, &[("unexpected_reply", 1)]);
    assert_eq!(report.errors.get("unexpected_reply"), Some(&1));
    assert_eq!(held(&report).alive, 9);
    let address = peer(|connection, _| answer(&connection, |_, _| Some("+PONG\n".to_owned())));
    let report = measure(&HoldPlan { verify: false, ..plan(address, 10) });
    assert_eq!((held(&report).alive, report.totals.ok), (10, 30));
}

#[test]
fn who_speaks_unasked_is_not_held() {
    let address = peer(|mut connection, number| {
        if number == 2 {
            connection.write_all(b"220 ready\n").unwrap();
        }
        echo(&connection);
    });
    let report = measure(&HoldPlan { probe_every: None, ..plan(address, 10) });
    assert_lost(&report, &[("unexpected_reply", 1)]);
}

#[test]
fn answers_may_come_in_pieces() {
    let address = peer(|connection, _| {
        connection.set_nodelay(true).unwrap();
        answer(&connection, |_, _| {
            for piece in ["Hello ", "from B", "1"] {
                (&connection).write_all(piece.as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
            Some("\n".to_owned())
        });
    });
    let report = measure(&plan(address, 10));
    assert_eq!((report.totals.ok, report.backends[0].name.as_str()), (30, "B1"));
}

#[test]
fn connects_keep_to_their_rate() {
    let address = peer(|connection, _| echo(&connection));
    let connect_rate = NonZeroU32::new(100);
    let report = measure(&HoldPlan { connect_rate, ..plan(address, 21) });
    assert_eq!(held(&report).alive, 21);
    assert!(held(&report).connect_s >= 0.2, "{:?}", held(&report));
}

#[test]
fn nobody_there_is_an_error_that_says_what_to_do() {
    let (_held, address) = refusing();
    for connections in [3, 500] {
        let duration = Duration::from_secs(3600);
        let plan = HoldPlan { duration, ..plan(address, connections) };
        let error = hold::run(&plan, &mut |_| {}, &AtomicBool::new(false));
        let Err(RunError::CannotConnect { why, .. }) = error else { panic!("{error:?}") };
        assert!(why.contains("connection refused"), "{why}");
    }
}

#[test]
fn a_peer_that_takes_no_more_is_not_waited_for_without_end() {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(3).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let timeout = Duration::from_millis(100);
    let report = measure(&HoldPlan { timeout, probe_every: None, ..plan(address, 1000) });
    let held = held(&report);
    assert!((1..=10).contains(&held.established), "{held:?}");
    assert!(held.lost["not_tried"] > 500 && held.lost["timeout"] >= 90, "{held:?}");
}

#[test]
fn a_stop_ends_the_run_with_what_there_is() {
    let address = peer(|connection, _| echo(&connection));
    let stop = AtomicBool::new(false);
    let plan = HoldPlan { duration: Duration::from_secs(3600), ..plan(address, 20) };
    let mut phases = Vec::new();
    let report = hold::run(
        &plan,
        &mut |progress| {
            phases.push(progress.phase);
            stop.fetch_or(progress.so_far.ok > 0, Ordering::Relaxed);
        },
        &stop,
    )
    .unwrap();
    check_sums(&report);
    assert!(report.totals.stopped && report.totals.ok > 0, "{:?}", report.totals);
    assert_eq!(held(&report).alive, 20);
    phases.dedup();
    assert_eq!(phases, [Phase::Connecting, Phase::Measuring, Phase::Draining, Phase::Done]);
}

#[test]
fn connections_end_as_is_asked() {
    for close in [Close::Fin, Close::Rst] {
        let (ended, end) = std::sync::mpsc::channel();
        let address = peer(move |connection, _| {
            let mut line = String::new();
            let end = match BufReader::new(connection).read_line(&mut line) {
                Ok(_) => Close::Fin,
                Err(_) => Close::Rst,
            };
            ended.send(end).unwrap();
        });
        measure(&HoldPlan { close, probe_every: None, ..plan(address, 2) });
        assert_eq!((end.recv().unwrap(), end.recv().unwrap()), (close, close));
    }
}

#[test]
fn a_limit_of_open_files_is_named_or_kept_to() {
    let address = peer(|connection, _| echo(&connection)).to_string();
    let limited = |more: &str| {
        let program = env!("CARGO_BIN_EXE_loadgen");
        let command =
            format!("ulimit -n 100; exec {program} hold {address} -c 1000 -d 0.1s {more}");
        Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).output().unwrap()
    };
    let output = limited("");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["1000 connections", "limit of 100", "ulimit -n 1064", "--as-many-as-fit"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let output = limited("--as-many-as-fit");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn as_many_as_fit_says_how_many_were_not_tried() {
    let address = peer(|connection, _| echo(&connection));
    let limit = uring::raise_nofile_limit().unwrap().now;
    // More than fit, but so that this test, which is the peer too, does not use them up.
    let wanted = u32::try_from(limit + 1000).unwrap();
    let (connect_rate, probe_every) = (NonZeroU32::new(100), None);
    let plan =
        HoldPlan { as_many_as_fit: true, connect_rate, probe_every, ..plan(address, wanted) };
    let stop = AtomicBool::new(false);
    let mut stop_soon = |progress: &loadgen::report::Progress<'_>| {
        stop.fetch_or(progress.connected > 0, Ordering::Relaxed);
    };
    let report = hold::run(&plan, &mut stop_soon, &stop).unwrap();
    check_sums(&report);
    assert!(held(&report).lost["not_tried"] > 1000, "{:?}", held(&report));
}

#[test]
fn an_interrupt_gives_a_partial_report() {
    let (begun, begins) = std::sync::mpsc::channel();
    let address = peer(move |connection, _| {
        answer(&connection, |line, _| {
            begun.send(()).unwrap();
            Some(line.to_owned())
        });
    });
    let arguments = ["hold", &address.to_string(), "-c", "7", "-d", "1h", "--json", "-"];
    let child = loadgen(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    begins.recv().unwrap();
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    check_sums(&report);
    assert!(report.totals.stopped && held(&report).alive == 7, "{:?}", report.totals);
}

#[test]
fn the_command_says_what_is_wrong_with_its_arguments() {
    let (_held, address) = refusing();
    let address = address.to_string();
    for (arguments, code, said) in [
        (&["-c", "0"][..], 2, "write a number from 1"),
        (&["-d", "0s"], 2, "longer than 0"),
        (&["-c", "3"], 1, "connection refused; nothing listens there"),
        (&["--cpus", "4000"], 1, "cannot run on processor 4000"),
    ] {
        let output = run(&[&["hold", &address], arguments].concat());
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}
