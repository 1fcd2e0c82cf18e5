//! `loadgen stream` against peers that are known: what is counted, what is verified, and what is
//! said when something goes wrong.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{loadgen, refusing, run, text};
use loadgen::report::{Phase, Report, Stream};
use loadgen::stream::{self, Probe, StreamPlan};
use loadgen::{Close, RunError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A peer that does `talk` with each connection and its number, from 0.
fn peer(talk: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let talk = Arc::new(talk);
    std::thread::spawn(move || {
        for (number, connection) in listener.incoming().enumerate() {
            let talk = Arc::clone(&talk);
            std::thread::spawn(move || talk(connection.unwrap(), number));
        }
    });
    address
}

/// The line that a connection begins with, its newline included.
fn first_line(connection: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") && connection.read(&mut byte).unwrap_or(0) == 1 {
        line.push(byte[0]);
    }
    text(&line)
}

/// Blocks of the pattern, without end unless the peer leaves.
fn source(connection: &mut TcpStream) -> u64 {
    let block: Vec<u8> = (0..=250).cycle().take(251 * 400).collect();
    let mut sent = 0;
    while let Ok(some @ 1..) = connection.write(&block[usize::try_from(sent % 251).unwrap()..]) {
        sent += some as u64;
    }
    sent
}

/// Reads to the end, for who does not care what comes.
fn swallow(mut connection: TcpStream) {
    sink(&mut connection);
}

/// Reads to the end: how many bytes, and how many of them were not the pattern.
fn sink(connection: &mut TcpStream) -> (u64, u64) {
    let mut block = vec![0; 128 * 1024];
    let (mut came, mut wrong) = (0, 0);
    while let Ok(some @ 1..) = connection.read(&mut block) {
        let expected = (0..=250_u8).cycle().skip(usize::try_from(came % 251).unwrap());
        wrong += block[..some].iter().zip(expected).filter(|(a, b)| **a != *b).count() as u64;
        came += some as u64;
    }
    (came, wrong)
}

fn echo(connection: &mut TcpStream) {
    let mut other = connection.try_clone().unwrap();
    // The peer leaves, and that is the end of it.
    let _ = std::io::copy(connection, &mut other);
}

/// Does what the first line asks.
fn obey(mut connection: TcpStream) {
    match first_line(&mut connection).as_str() {
        "up\n" => swallow(connection),
        "down\n" => {
            source(&mut connection);
        }
        "bidir\n" => {
            let mut other = connection.try_clone().unwrap();
            std::thread::spawn(move || source(&mut other));
            sink(&mut connection);
        }
        "echo\n" => echo(&mut connection),
        other => panic!("{other:?} is no direction"),
    }
}

fn plan(address: SocketAddr, up: u32, down: u32, bidir: u32) -> StreamPlan {
    StreamPlan {
        up,
        down,
        bidir,
        duration: Duration::from_millis(200),
        warm_up: Duration::ZERO,
        probe_idle: Duration::from_millis(100),
        timeout: Duration::from_secs(2),
        ..StreamPlan::new(address.into())
    }
}

/// Runs it and checks what holds for every report.
fn measure(plan: &StreamPlan) -> Report {
    let report = stream::run(plan, &mut |_| {}, &AtomicBool::new(false)).unwrap();
    check_sums(&report);
    report
}

fn check_sums(report: &Report) {
    let totals = &report.totals;
    let parts = totals.ok + totals.errors + totals.unanswered + totals.unsent;
    assert_eq!(totals.intended, parts, "{totals:?}");
    assert_eq!(report.errors.values().sum::<u64>(), totals.errors, "{:?}", report.errors);
    let intervals = |bytes: fn(&loadgen::report::Interval) -> u64| {
        report.intervals.iter().map(bytes).sum::<u64>()
    };
    assert_eq!(intervals(|one| one.bytes_in), totals.bytes_in);
    assert_eq!(intervals(|one| one.bytes_out), totals.bytes_out);
    for direction in &bulk(report).directions {
        assert_eq!(direction.streams_bytes.iter().sum::<u64>(), direction.bytes);
        let all = if direction.name == "up" { totals.bytes_out } else { totals.bytes_in };
        assert!(direction.bytes <= all);
        let gbit_per_s = direction.bytes as f64 * 8e-9 / totals.elapsed_s;
        assert!((direction.gbit_per_s - gbit_per_s).abs() < 1e-9, "{direction:?}");
    }
}

fn bulk(report: &Report) -> &Stream {
    report.stream.as_ref().unwrap()
}

#[track_caller]
fn assert_errors(report: &Report, expected: &[(&str, u64)]) {
    let errors: Vec<(&str, u64)> =
        report.errors.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    assert_eq!(errors, expected);
}

#[test]
fn what_is_sent_is_the_pattern_and_counted_to_the_block() {
    let (came, wrong, lines) =
        (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = (Arc::clone(&came), Arc::clone(&wrong), Arc::clone(&lines));
    let (done, all_done) = std::sync::mpsc::channel();
    let address = peer(move |mut connection, _| {
        seen.2.fetch_add(usize::from(first_line(&mut connection) == "up\n"), Ordering::Relaxed);
        let (bytes, not_so) = sink(&mut connection);
        seen.0.fetch_add(bytes, Ordering::Relaxed);
        seen.1.fetch_add(not_so, Ordering::Relaxed);
        done.send(()).unwrap();
    });
    let threads = NonZeroUsize::new(2).unwrap();
    let plan = StreamPlan { threads, block_bytes: 8192, ..plan(address, 3, 0, 0) };
    let report = measure(&plan);
    (0..3).for_each(|_| all_done.recv().unwrap());
    let (came, wrong) = (came.load(Ordering::Relaxed), wrong.load(Ordering::Relaxed));
    assert_eq!((report.totals.ok, wrong, lines.load(Ordering::Relaxed)), (3, 0, 3));
    assert_eq!((bulk(&report).directions.len(), report.totals.bytes_in), (1, 0));
    // What was on its way when the time was over came, and is not counted.
    let missing = came - report.totals.bytes_out;
    assert!(missing <= 3 * 2 * 8192, "{came} came, {missing} were not counted");
    assert!(report.totals.bytes_out > 1_000_000, "{:?}", report.totals);
}

#[test]
fn what_comes_is_verified_to_the_byte() {
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let (done, all_done) = std::sync::mpsc::channel();
    let address = peer(move |mut connection, _| {
        assert_eq!(first_line(&mut connection), "down\n");
        counted.fetch_add(source(&mut connection), Ordering::Relaxed);
        done.send(()).unwrap();
    });
    let report = measure(&StreamPlan { verify: true, ..plan(address, 0, 2, 0) });
    (0..2).for_each(|_| all_done.recv().unwrap());
    let down = &bulk(&report).directions[0];
    assert_eq!((down.name.as_str(), down.wrong_bytes, report.totals.ok), ("down", 0, 2));
    assert!(down.bytes > 1_000_000 && down.bytes <= sent.load(Ordering::Relaxed));
    assert!(report.verdict.valid, "{:?}", report.verdict);
}

#[test]
fn one_byte_that_is_wrong_is_found() {
    let address = peer(|mut connection, number| {
        first_line(&mut connection);
        let mut block: Vec<u8> = (0..=250).cycle().take(251 * 4000).collect();
        block[777_777] ^= u8::from(number == 1);
        if connection.write_all(&block).is_ok() {
            source(&mut connection);
        }
    });
    let report = measure(&StreamPlan { verify: true, ..plan(address, 0, 3, 0) });
    assert_eq!(bulk(&report).directions[0].wrong_bytes, 1);
    assert_errors(&report, &[("corrupt", 1)]);
    assert_eq!(report.totals.ok, 2);
    assert!(!report.verdict.valid);
    let report = measure(&plan(address, 0, 3, 0));
    assert_eq!(report.totals.ok, 3, "nobody asked for a look");
}

#[test]
fn both_ways_at_once_and_each_way_alone_beside_each_other() {
    let address = peer(|connection, _| obey(connection));
    let report = measure(&StreamPlan { verify: true, ..plan(address, 1, 2, 3) });
    assert_eq!(report.totals.ok, 6, "{:?}", report.errors);
    let bulk = bulk(&report);
    let counts: Vec<_> =
        bulk.directions.iter().map(|way| (way.name.as_str(), way.streams_bytes.len())).collect();
    assert_eq!(counts, [("up", 4), ("down", 5)]);
    assert!(bulk.directions.iter().all(|way| way.bytes > 0 && way.wrong_bytes == 0), "{bulk:?}");
}

#[test]
fn raw_streams_say_nothing_first() {
    let address = peer(|mut connection, _| echo(&mut connection));
    let report = measure(&StreamPlan { raw: true, verify: true, ..plan(address, 0, 0, 2) });
    assert_eq!(report.totals.ok, 2, "an echo of the pattern is the pattern: {:?}", report.errors);
    assert!(report.totals.bytes_in > 0);
    // The line would come back too, and then nothing is where it should be.
    let report = measure(&StreamPlan { verify: true, ..plan(address, 0, 0, 1) });
    assert_errors(&report, &[("corrupt", 1)]);
}

#[test]
fn what_a_peer_sends_unasked_is_dropped_and_counted() {
    let address = peer(|mut connection, _| echo(&mut connection));
    let report = measure(&plan(address, 1, 0, 0));
    assert_eq!((report.totals.ok, bulk(&report).directions.len()), (1, 1));
    assert!(report.totals.bytes_in > 0 && report.totals.bytes_out > 0, "{:?}", report.totals);
}

#[test]
fn bytes_that_the_kernel_drops_are_counted_too() {
    let address = peer(|connection, _| obey(connection));
    let report = measure(&StreamPlan { skip_copy: true, ..plan(address, 0, 2, 0) });
    assert_eq!(report.totals.ok, 2, "{:?}", report.errors);
    assert!(report.totals.bytes_in > 1_000_000, "{:?}", report.totals);
}

#[test]
fn streams_that_end_early_are_errors_by_kind() {
    let address = peer(|mut connection, number| {
        let line = first_line(&mut connection);
        match number {
            0 => drop(connection),
            1 => uring::close_with_reset(connection.into()),
            _ if line == "down\n" => {
                source(&mut connection);
            }
            _ => panic!("{line:?}"),
        }
    });
    let report = measure(&plan(address, 0, 4, 0));
    assert_errors(&report, &[("closed_early", 1), ("reset", 1)]);
    assert_eq!((report.totals.intended, report.totals.ok), (4, 2));
    assert!(report.verdict.reasons[0].contains("2 of 4 streams"), "{:?}", report.verdict);
}

#[test]
fn a_run_ends_when_its_last_stream_has_ended() {
    let address = peer(|mut connection, _| {
        first_line(&mut connection);
    });
    let duration = Duration::from_secs(3600);
    let report = measure(&StreamPlan { duration, ..plan(address, 2, 2, 2) });
    assert_eq!((report.totals.ok, report.totals.errors), (0, 6), "{:?}", report.errors);
    assert!(report.totals.elapsed_s < 3600.0 && !report.totals.stopped);
}

#[test]
fn a_stream_on_which_nothing_moves_is_an_error() {
    let address = peer(|mut connection, number| {
        first_line(&mut connection);
        if number == 0 {
            source(&mut connection);
        }
        std::thread::park();
    });
    assert_errors(&measure(&plan(address, 0, 3, 0)), &[("stalled", 2)]);
}

#[test]
fn nobody_there_is_an_error_that_says_what_to_do() {
    let (_held, address) = refusing();
    let error = stream::run(&plan(address, 2, 0, 0), &mut |_| {}, &AtomicBool::new(false));
    let Err(RunError::CannotConnect { address: shown, why }) = error else { panic!("{error:?}") };
    assert_eq!(shown, address.to_string());
    assert!(why.contains("connection refused"), "{why}");
}

#[test]
fn what_cannot_be_had_is_said_before_anything_is_measured() {
    let address = peer(|connection, _| obey(connection));
    let check = |plan: &StreamPlan, expected: &str| {
        let error = stream::run(plan, &mut |_| {}, &AtomicBool::new(false)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let congestion = Some("nothing".to_owned());
    check(&StreamPlan { congestion, ..plan(address, 1, 0, 0) }, "tcp_available_congestion_control");
    // TEST-NET-2 (RFC 5737): no machine has it.
    let sources = vec!["198.51.100.1".parse().unwrap()];
    check(&StreamPlan { sources, ..plan(address, 1, 0, 0) }, "cannot come from 198.51.100.1");
    check(&plan(address, 4_000_000_000, 0, 0), "ulimit -n");
}

#[test]
fn streams_come_from_the_source_with_the_congestion_control_that_is_asked_for() {
    let seen = Arc::new(AtomicUsize::new(0));
    let right = Arc::clone(&seen);
    let address = peer(move |connection, _| {
        let from = connection.peer_addr().unwrap().ip().to_string();
        right.fetch_add(usize::from(from == "127.0.0.77"), Ordering::Relaxed);
        obey(connection);
    });
    let sources = vec!["127.0.0.77".parse().unwrap()];
    let congestion = Some("reno".to_owned());
    let report = measure(&StreamPlan { sources, congestion, ..plan(address, 2, 0, 0) });
    assert_eq!((report.totals.ok, seen.load(Ordering::Relaxed)), (2, 2));
}

#[test]
fn the_probe_measures_before_and_under_load() {
    let address = peer(|connection, _| obey(connection));
    let probe = Some(Probe { interval: Duration::from_millis(2), address: None });
    let report = measure(&StreamPlan { probe, ..plan(address, 1, 1, 0) });
    let stream = bulk(&report);
    let (idle, loaded) = (stream.probe_idle.as_ref().unwrap(), stream.probe.as_ref().unwrap());
    assert_eq!(stream.probe_error, None);
    // One every 2 ms of the 100 ms before and of the 200 ms in which it is measured.
    assert!((45..=60).contains(&idle.count()), "{}", idle.count());
    assert!((60..=101).contains(&loaded.count()), "{}", loaded.count());
    assert_eq!(report.totals.intended, 2, "the probe is no stream");
}

#[test]
fn what_the_probe_was_never_answered_counts_with_its_age() {
    let address = peer(|connection, _| swallow(connection));
    let probe = Some(Probe { interval: Duration::from_millis(10), address: None });
    let timeout = Duration::from_millis(50);
    let report = measure(&StreamPlan { probe, timeout, ..plan(address, 1, 0, 0) });
    let loaded = bulk(&report).probe.as_ref().unwrap();
    assert!((18..=20).contains(&loaded.count()), "{}", loaded.count());
    // The last one was asked 10 ms before the end, and all of them waited for the timeout then.
    assert!(loaded.0.min() >= 50_000_000, "{}", loaded.0.min());
}

#[test]
fn a_probe_that_breaks_leaves_the_streams_and_is_told() {
    for (reply, kind) in [(None, "closed_early"), (Some("Hello from B1\n"), "unexpected_reply")] {
        let address = peer(move |mut connection, _| match first_line(&mut connection).as_str() {
            "echo\n" => {
                let mut line = [0; 16];
                let _ = connection.read(&mut line);
                if let Some(reply) = reply {
                    let _ = connection.write_all(reply.as_bytes());
                    sink(&mut connection);
                }
            }
            _ => swallow(connection),
        });
        let probe = Some(Probe { interval: Duration::from_millis(10), address: None });
        let report = measure(&StreamPlan { probe, ..plan(address, 1, 0, 0) });
        let error = bulk(&report).probe_error.as_deref();
        // What was in the way of a close comes back as a reset.
        let is_kind = error == Some(kind) || (reply.is_none() && error == Some("reset"));
        assert!(is_kind, "{error:?} is not {kind}");
        assert_eq!((report.totals.ok, report.verdict.valid), (1, false));
        assert!(report.verdict.reasons[0].contains("the probe failed"), "{:?}", report.verdict);
    }
}

#[test]
fn a_raw_probe_takes_any_line_of_another_peer() {
    let sinks = peer(|connection, _| swallow(connection));
    let greets = peer(|mut connection, _| {
        while !first_line(&mut connection).is_empty() {
            connection.write_all(b"Hello from B1\n").unwrap();
        }
    });
    let address = Some(SocketAddr::into(greets));
    let probe = Some(Probe { interval: Duration::from_millis(5), address });
    let report = measure(&StreamPlan { raw: true, probe, ..plan(sinks, 1, 0, 0) });
    let stream = bulk(&report);
    assert_eq!(stream.probe_error, None);
    assert!(stream.probe.as_ref().unwrap().count() >= 20, "{:?}", stream.probe);
}

#[test]
fn a_stop_ends_the_run_with_what_there_is() {
    let address = peer(|connection, _| obey(connection));
    let stop = AtomicBool::new(false);
    let plan = StreamPlan { duration: Duration::from_secs(3600), ..plan(address, 1, 1, 0) };
    let mut told = Vec::new();
    let report = stream::run(
        &plan,
        &mut |progress| {
            told.push(progress.phase);
            let measured = progress.phase == Phase::Measuring && progress.so_far.bytes_in > 0;
            stop.fetch_or(measured, Ordering::Relaxed);
        },
        &stop,
    )
    .unwrap();
    check_sums(&report);
    assert!(report.totals.stopped && report.totals.bytes_in > 0 && report.totals.elapsed_s > 0.0);
    assert_eq!(report.totals.ok, 2, "{:?}", report.errors);
    assert!(told.is_sorted() && told.last() == Some(&Phase::Done), "{told:?}");
}

#[test]
fn phases_come_in_order_and_intervals_one_after_the_other() {
    let address = peer(|connection, _| obey(connection));
    let (warm_up, duration) = (Duration::from_millis(50), Duration::from_millis(1300));
    let plan = StreamPlan { warm_up, duration, ..plan(address, 1, 0, 0) };
    let (mut phases, mut intervals) = (Vec::new(), Vec::new());
    let mut progress = |progress: &loadgen::report::Progress<'_>| {
        phases.push(progress.phase);
        intervals.extend(progress.interval.map(|one| (one.start_s, one.length_s)));
    };
    let report = stream::run(&plan, &mut progress, &AtomicBool::new(false)).unwrap();
    check_sums(&report);
    phases.dedup();
    use Phase::{Connecting, Done, Draining, Measuring, WarmUp};
    assert_eq!(phases, [Connecting, WarmUp, Measuring, Draining, Done]);
    assert_eq!(intervals.len(), 2, "{intervals:?}");
    let of_report: Vec<_> =
        report.intervals.iter().map(|one| (one.start_s, one.length_s)).collect();
    assert_eq!(of_report.iter().map(|(start_s, _)| *start_s).collect::<Vec<_>>(), [0.0, 1.0]);
    assert!((report.totals.elapsed_s - 1.3).abs() < 1e-9, "{}", report.totals.elapsed_s);
}

#[test]
fn connections_end_as_is_asked() {
    for close in [Close::Fin, Close::Rst] {
        let (ended, end) = std::sync::mpsc::channel();
        let address = peer(move |mut connection, _| {
            let mut block = vec![0; 128 * 1024];
            let end = loop {
                match connection.read(&mut block) {
                    Ok(0) => break Close::Fin,
                    Ok(_) => {}
                    Err(_) => break Close::Rst,
                }
            };
            ended.send(end).unwrap();
        });
        measure(&StreamPlan { close, ..plan(address, 1, 0, 0) });
        assert_eq!(end.recv().unwrap(), close);
    }
}

#[test]
fn streams_go_over_unix_sockets_too() {
    let path = std::env::temp_dir().join(format!("loadgen-stream-{}", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        std::io::copy(&mut connection, &mut std::io::sink())
    });
    let address = socket2::SockAddr::unix(&path).unwrap();
    let report = measure(&StreamPlan { address, ..plan((Ipv4Addr::LOCALHOST, 1).into(), 1, 0, 0) });
    std::fs::remove_file(&path).unwrap();
    assert!(report.totals.ok == 1 && report.totals.bytes_out > 1_000_000, "{:?}", report.totals);
    assert_eq!(report.config.address, format!("unix:{}", path.display()));
}

#[test]
fn the_command_measures_and_says_what_is_wrong_with_its_arguments() {
    let address = peer(|connection, _| obey(connection)).to_string();
    let output = run(&["stream", &address, "--down", "2", "--verify", "-d", "0.2s", "-w", "0s"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!output.stdout.is_empty());
    for (arguments, code, said) in [
        (&["--up", "0"][..], 2, "no stream is left"),
        (&["--verify"], 2, "add --down or --bidir"),
        (&["--block", "1k"], 2, "--block is 4096 to"),
        (&["--down", "1", "--verify", "--skip-copy"], 2, "cannot be used with"),
        (&["--congestion", "nothing"], 1, "tcp_available_congestion_control"),
    ] {
        let output = run(&[&["stream", &address], arguments].concat());
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
    let (_held, address) = refusing();
    let output = run(&["stream", &address.to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("connection refused; nothing listens there"));
}

#[test]
fn an_interrupt_gives_a_partial_report() {
    let (begun, begins) = std::sync::mpsc::channel();
    let address = peer(move |mut connection, _| {
        first_line(&mut connection);
        begun.send(()).unwrap();
        sink(&mut connection);
    });
    let arguments = ["stream", &address.to_string(), "-d", "1h", "-w", "0s", "--json", "-"];
    let child = loadgen(&arguments).stdout(std::process::Stdio::piped()).spawn().unwrap();
    begins.recv().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    check_sums(&report);
    assert!(report.totals.stopped && report.totals.bytes_out > 0, "{:?}", report.totals);
    assert_eq!(report.config.command[1..], arguments);
}
