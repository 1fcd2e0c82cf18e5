//! A schedule of requests: as many as were asked for whatever the target does, each with its three
//! times, and every one accounted for.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

mod peers;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use loadgen::load::{self, Arrivals, Lifetime, Plan, Rate, Workload};
use loadgen::report::{Phase, Report};
use loadgen::serve::Mode;
use peers::{check, echo, scripted, serve};

/// Half a second at `rate` over `connections`.
fn plan(address: SocketAddr, connections: u32, rate: f64) -> Plan {
    Plan {
        connections: NonZeroU32::new(connections).unwrap(),
        duration: Duration::from_millis(500),
        rate: Some(Rate::constant(rate)),
        timeout: Duration::from_secs(2),
        ..Plan::new(address, Workload::Ping)
    }
}

/// Runs it and checks what holds for every run.
#[track_caller]
fn run(plan: &Plan) -> Report {
    let report = load::run(plan, &mut |_| {}, &AtomicBool::new(false)).unwrap();
    check(&report);
    report
}

#[test]
fn as_many_are_intended_as_the_rate_says() {
    let (_serving, address) = serve(Mode::Echo);
    for threads in [1, 3] {
        let plan =
            Plan { threads: NonZeroUsize::new(threads).unwrap(), ..plan(address, 8, 2000.0) };
        let report = run(&plan);
        assert_eq!((report.totals.intended, report.totals.errors), (1000, 0));
        assert!((report.totals.elapsed_s - 0.5).abs() < 1e-9, "{}", report.totals.elapsed_s);
        assert_eq!(report.generator.connections_established, 8);
        assert_eq!(report.intervals.len(), 5);
    }
}

#[test]
fn what_is_intended_does_not_depend_on_the_target() {
    let (_serving, well) = serve(Mode::Echo);
    let resetting = scripted(|stream| {
        let _ = stream.read(&mut [0; 10]);
        socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let closing = scripted(|stream| drop(stream.read(&mut [0; 64])));
    let silent = scripted(|stream| drop(stream.read_to_end(&mut Vec::new())));
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        for workload in [Workload::Ping, Workload::Conn] {
            let intended = |address: SocketAddr| {
                let timeout = Duration::from_millis(100);
                let rate = Some(Rate { from_per_s: 100.0, to_per_s: 1900.0 });
                let plan = plan(address, 4, 1.0);
                run(&Plan { arrivals, workload, timeout, rate, ..plan }).totals.intended
            };
            let wanted = intended(well);
            if arrivals == Arrivals::Constant {
                assert_eq!(wanted, 500);
            }
            for address in [resetting, closing, silent] {
                assert_eq!(intended(address), wanted, "{arrivals} {workload:?}");
            }
        }
    }
}

#[test]
fn a_pause_is_felt_by_all_that_should_have_been_sent_in_it() {
    let mut pause = Some(Duration::from_millis(200));
    let slow_at_first = peers::scripted_once(move |stream| {
        echo(stream, || pause.take().into_iter().for_each(std::thread::sleep));
    });
    let report = run(&plan(slow_at_first, 1, 1000.0));
    // A generator that is kept from running at the very end leaves a few unsent.
    assert!(report.totals.ok >= 450, "{:?}", report.totals);
    // A closed loop would have seen one slow answer of many. Here every fifth waits 100 ms or more:
    // a hundred of the first two hundred, of five hundred in all.
    let latency = &report.latency;
    assert!(latency.response.0.value_at_quantile(0.85) >= 100_000_000);
    assert!(latency.response.0.value_at_quantile(0.3) < 50_000_000);
    // It was the connection that was not free, and one request that took long.
    assert!(latency.wait_busy.0.value_at_quantile(0.85) >= 90_000_000);
    assert!(latency.service.0.value_at_quantile(0.99) < 50_000_000);
    assert!(latency.service.0.max() >= 200_000_000);
    assert!(latency.wait_late.0.value_at_quantile(0.9) < 50_000_000);
}

#[test]
fn pipelined_requests_do_not_wait_for_each_other() {
    let mut pause = Some(Duration::from_millis(200));
    let slow_at_first = peers::scripted_once(move |stream| {
        echo(stream, || pause.take().into_iter().for_each(std::thread::sleep));
    });
    let pipeline = NonZeroU32::new(500).unwrap();
    let report = run(&Plan { pipeline, ..plan(slow_at_first, 1, 1000.0) });
    assert!(report.totals.ok >= 450, "{:?}", report.totals);
    // All are sent when they are due, and it is the peer that is slow.
    assert!(report.latency.wait_busy.0.value_at_quantile(0.99) < 50_000_000);
    assert!(report.latency.service.0.value_at_quantile(0.85) >= 100_000_000);
}

#[test]
fn what_a_slow_target_leaves_no_place_for_is_unsent() {
    let slow = scripted(|stream| echo(stream, || std::thread::sleep(Duration::from_millis(20))));
    let report = run(&plan(slow, 1, 1000.0));
    assert_eq!(report.totals.intended, 500);
    // 20 ms each leave room for 25 at the most.
    assert!(report.totals.ok <= 26, "{:?}", report.totals);
    assert!(report.totals.unsent >= 470, "{:?}", report.totals);
    assert_eq!((report.totals.errors, report.totals.unanswered), (0, 0), "{:?}", report.totals);
}

#[test]
fn what_is_in_flight_at_the_end_and_never_answered_is_unanswered_at_its_age() {
    let silent = scripted(|stream| drop(stream.read_to_end(&mut Vec::new())));
    let report = run(&plan(silent, 3, 1000.0));
    let totals = &report.totals;
    assert_eq!([totals.ok, totals.errors, totals.unanswered, totals.unsent], [0, 0, 3, 497]);
    assert!(report.latency.response.0.min() >= 1_990_000_000, "the timeout is two seconds");
}

#[test]
fn a_request_that_takes_too_long_is_an_error_while_the_load_is_on() {
    let silent = scripted(|stream| drop(stream.read_to_end(&mut Vec::new())));
    let plan = Plan { timeout: Duration::from_millis(50), ..plan(silent, 3, 1000.0) };
    let report = run(&plan);
    assert!(report.errors["timeout"] >= 6, "{:?}", report.errors);
    assert_eq!(report.totals.ok, 0);
    assert!(report.totals.unanswered <= 3, "{:?}", report.totals);
}

#[test]
fn a_number_of_requests_bounds_a_schedule_too() {
    let (_serving, address) = serve(Mode::Echo);
    let requests = NonZeroU64::new(100);
    let report = run(&Plan { requests, ..plan(address, 2, 1000.0) });
    assert_eq!((report.totals.intended, report.totals.ok), (100, 100));
    assert!(report.totals.elapsed_s < 0.5, "{}", report.totals.elapsed_s);
    let report = run(&Plan { requests: NonZeroU64::new(501), ..plan(address, 2, 1000.0) });
    assert_eq!(report.totals.intended, 500, "time came first");
}

#[test]
fn a_stop_ends_the_schedule_where_it_is() {
    let (_serving, well) = serve(Mode::Echo);
    let silent = scripted(|stream| drop(stream.read_to_end(&mut Vec::new())));
    for (address, rate) in [(well, Some(Rate::constant(1000.0))), (well, None), (silent, None)] {
        let stop = AtomicBool::new(false);
        let mut on_progress = |progress: &loadgen::report::Progress<'_>| {
            if progress.phase == Phase::Measuring && progress.elapsed_s > 0.1 {
                stop.store(true, Ordering::Relaxed);
            }
        };
        // Pieces of 100 ms: the drain of what is silent takes longer, and is in none of its own.
        let plan = Plan { duration: Duration::from_secs(1), rate, ..plan(address, 2, 1.0) };
        let report = load::run(&plan, &mut on_progress, &stop).unwrap();
        check(&report);
        assert!(report.totals.stopped);
        assert!(report.totals.elapsed_s < 1.0, "{}", report.totals.elapsed_s);
        assert!(report.totals.intended > 0);
    }
}

#[test]
fn nothing_of_the_warm_up_counts() {
    let (_serving, address) = serve(Mode::Echo);
    let mut phases = Vec::new();
    let mut on_progress = |progress: &loadgen::report::Progress<'_>| {
        if phases.last() != Some(&progress.phase) {
            phases.push(progress.phase);
        }
    };
    let warm_up = Duration::from_millis(300);
    let plan = Plan { warm_up, ..plan(address, 4, 1000.0) };
    let report = load::run(&plan, &mut on_progress, &AtomicBool::new(false)).unwrap();
    check(&report);
    assert_eq!(report.totals.intended, 500);
    assert!((report.totals.elapsed_s - 0.5).abs() < 1e-9, "{}", report.totals.elapsed_s);
    let all = [Phase::Connecting, Phase::WarmUp, Phase::Measuring, Phase::Draining, Phase::Done];
    assert_eq!(phases, all);
}

#[test]
fn connections_that_are_replaced_lose_no_request() {
    let (serving, address) = serve(Mode::Hello);
    for (lifetime, pipeline) in [("3", 1), ("7", 4), ("geo:5", 1), ("1", 16)] {
        let plan = Plan {
            rate: None,
            lifetime: lifetime.parse::<Lifetime>().unwrap(),
            pipeline: NonZeroU32::new(pipeline).unwrap(),
            requests: NonZeroU64::new(420),
            duration: Duration::from_secs(60),
            ..plan(address, 4, 1.0)
        };
        let report = run(&plan);
        assert_eq!((report.totals.ok, report.totals.errors), (420, 0), "{lifetime}");
        let connects = report.totals.connects;
        let few = match lifetime {
            "3" => 140,
            "7" => 60,
            "1" => 420,
            _ => 40,
        };
        assert!((few..few + 140).contains(&connects), "{lifetime}: {connects}");
        assert!(report.latency.connect.count() == connects, "{lifetime}");
    }
    serving.stop();
}

#[test]
fn a_server_that_closes_every_connection_after_a_while_costs_only_what_was_in_flight() {
    let closing = scripted(|stream| {
        let mut buffer = [0; 64];
        for _ in 0..5 {
            if stream.read_exact(&mut buffer).and_then(|()| stream.write_all(&buffer)).is_err() {
                return;
            }
        }
    });
    let report = run(&plan(closing, 4, 1000.0));
    assert_eq!(report.totals.intended, 500);
    assert!(report.totals.ok > 100, "{:?}", report.totals);
    let closed = ["closed_early", "reset"];
    assert!(
        report.errors.keys().all(|kind| closed.contains(&kind.as_str())),
        "{:?}",
        report.errors
    );
}

#[test]
fn gaps_between_random_arrivals_are_exponential_where_they_arrive() {
    let distance = |arrivals| {
        let came = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&came);
        let address =
            scripted(move |stream| echo(stream, || seen.lock().unwrap().push(Instant::now())));
        let duration = Duration::from_secs(5);
        let report = run(&Plan { arrivals, duration, ..plan(address, 16, 100.0) });
        let mut came = std::mem::take(&mut *came.lock().unwrap());
        assert_eq!(came.len() as u64, report.totals.intended);
        came.sort_unstable();
        let gaps = came.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64());
        (kolmogorov_smirnov(gaps.collect(), 100.0), came.len())
    };
    let (random, many) = distance(Arrivals::Poisson);
    // Rejected by chance once in a thousand times; a gap is 10 ms, ten times what a scheduler adds.
    let critical = |many: usize| 1.95 / (many as f64).sqrt();
    assert!(random < critical(many), "{random} of {many}");
    let (even, many) = distance(Arrivals::Constant);
    assert!(even > 3.0 * critical(many), "even gaps are no random ones: {even}");
}

/// How far the distribution of `gaps` lies from the exponential one of this rate, at the most.
fn kolmogorov_smirnov(mut gaps: Vec<f64>, rate: f64) -> f64 {
    gaps.sort_by(f64::total_cmp);
    let many = gaps.len() as f64;
    let steps = gaps.iter().zip(0_u32..).map(|(gap, below)| {
        let expected = 1.0 - (-gap * rate).exp();
        let below = f64::from(below) / many;
        (expected - below).abs().max((expected - below - 1.0 / many).abs())
    });
    steps.fold(0.0, f64::max)
}
