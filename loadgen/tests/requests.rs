//! Requests of every workload on both engines, against servers that behave and servers that do not:
//! whatever happens, each request is accounted for once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

mod peers;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use loadgen::Close;
use loadgen::Engine;
use loadgen::load::{self, Address, Arrivals, LoadError, Plan, Rate, Sizes, Workload};
use loadgen::report::{Phase, Progress, Report};
use loadgen::serve::Mode;
use peers::{check, echo, scripted, serve};

const ENGINES: [Engine; 2] = [Engine::Uring, Engine::Epoll];

/// `requests` of them in a closed loop over three connections.
fn plan(address: SocketAddr, workload: Workload, requests: u64) -> Plan {
    Plan {
        connections: NonZeroU32::new(3).unwrap(),
        requests: NonZeroU64::new(requests),
        timeout: Duration::from_millis(200),
        ..Plan::new(address, workload)
    }
}

#[track_caller]
fn run(plan: &Plan) -> Report {
    let report = load::run(plan, &mut |_| {}, &AtomicBool::new(false)).unwrap();
    check(&report);
    report
}

/// A closed loop on each engine: how many were right, and how many errors of the only kind.
#[track_caller]
fn outcome(plan: &Plan) -> (u64, Option<(String, u64)>) {
    let outcomes = ENGINES.map(|engine| {
        let report = run(&Plan { engine, ..plan.clone() });
        assert!(report.errors.len() <= 1, "{:?}", report.errors);
        let error = report.errors.iter().next().map(|(kind, &count)| (kind.clone(), count));
        (report.totals.ok, error)
    });
    assert_eq!(outcomes[0], outcomes[1], "the engines agree");
    outcomes[0].clone()
}

fn only(kind: &str, count: u64) -> Option<(String, u64)> {
    Some((kind.to_owned(), count))
}

#[test]
fn several_replies_in_one_segment_are_several_replies() {
    let gathering = scripted(|stream| {
        let mut all = [0; 64 * 8];
        while stream.read_exact(&mut all).and_then(|()| stream.write_all(&all)).is_ok() {}
    });
    let pipeline = NonZeroU32::new(8).unwrap();
    let connections = NonZeroU32::MIN;
    let plan = Plan { pipeline, connections, ..plan(gathering, Workload::Ping, 800) };
    assert_eq!(outcome(&plan), (800, None));
}

#[test]
fn replies_may_be_cut_anywhere() {
    let cutting = scripted(|stream| {
        let (mut piece, mut turn) = ([0; 700], 0);
        stream.set_nodelay(true).unwrap();
        while let Ok(len @ 1..) = stream.read(&mut piece[..1 + turn * 37 % 700]) {
            if stream.write_all(&piece[..len]).is_err() {
                return;
            }
            turn += 1;
        }
    });
    let pipeline = NonZeroU32::new(16).unwrap();
    let timeout = Duration::from_secs(20);
    let plan = Plan { pipeline, timeout, ..plan(cutting, Workload::Ping, 2000) };
    assert_eq!(outcome(&plan), (2000, None));
}

#[test]
fn more_than_was_asked_for_is_an_unexpected_reply() {
    let talkative = scripted(|stream| {
        let mut request = [0; 64];
        while stream.read_exact(&mut request).is_ok() {
            let twice = [request, request].concat();
            if stream.write_all(&twice).is_err() {
                return;
            }
        }
    });
    // The reply was right, and what came with it was to no request: it ends the connection.
    for engine in ENGINES {
        let report = run(&Plan { engine, ..plan(talkative, Workload::Ping, 30) });
        assert_eq!(report.totals.intended, 30);
        assert!(report.totals.connects >= 10, "{}", report.totals.connects);
    }
}

#[test]
fn each_way_to_fail_has_its_name_and_is_no_response() {
    let reset = |stream: &mut TcpStream| {
        let _ = stream.read(&mut [0; 10]);
        socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap();
    };
    let answer = |text: &'static str| {
        move |stream: &mut TcpStream| {
            let mut request = [0; 4096];
            while stream.read(&mut request).is_ok_and(|len| len > 0) {
                let _ = stream.write_all(text.as_bytes());
            }
        }
    };
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    for (workload, address, kind) in [
        (Workload::Ping, scripted(reset), "reset"),
        (Workload::Ping, scripted(answer("nonsense\n")), "unexpected_reply"),
        (Workload::Http, scripted(answer("nonsense\r\n\r\n")), "unexpected_reply"),
        (Workload::Http, scripted(answer(busy)), "http_503"),
        (Workload::Conn, scripted(|stream| drop(stream.read(&mut [0; 64]))), "closed_early"),
        (Workload::Conn, scripted(|stream| drop(stream.read_to_end(&mut vec![]))), "timeout"),
    ] {
        assert_eq!(outcome(&plan(address, workload, 12)), (0, only(kind, 12)), "{workload:?}");
    }
}

#[test]
fn a_pipeline_that_breaks_costs_all_that_was_in_flight() {
    // Answers three and then leaves with the rest unread.
    let leaving = scripted(|stream| {
        let mut all = [0; 64 * 8];
        let _ = stream.read_exact(&mut all).and_then(|()| stream.write_all(&all[..64 * 3]));
    });
    for engine in ENGINES {
        let pipeline = NonZeroU32::new(8).unwrap();
        let report = run(&Plan { pipeline, engine, ..plan(leaving, Workload::Ping, 240) });
        let totals = &report.totals;
        assert_eq!(totals.intended, 240, "{totals:?}");
        // As the three were answered three more were sent, and eight were lost with the connection.
        assert!(totals.ok >= 48 && totals.errors >= 150, "{totals:?}");
    }
}

#[test]
fn http_connections_end_as_their_server_says() {
    let one_each = scripted(|stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 14\r\n\r\nHello from B1\n",
        );
    });
    let until_close = scripted(|stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nHello from B1\n");
    });
    for address in [one_each, until_close] {
        assert_eq!(outcome(&plan(address, Workload::Http, 60)), (60, None));
        let report = run(&plan(address, Workload::Http, 60));
        assert!(report.totals.connects >= 60, "{}", report.totals.connects);
        assert_eq!(report.backends[0].name, "B1");
    }
}

#[test]
fn a_server_that_goes_away_is_missed_by_every_request_from_then_on() {
    let (serving, address) = serve(Mode::Echo);
    let mut serving = Some(serving);
    let mut on_progress = |progress: &Progress<'_>| {
        if progress.phase == Phase::Measuring && progress.so_far.ok > 0 {
            serving.take().into_iter().for_each(loadgen::serve::Serving::stop);
        }
    };
    let plan = Plan {
        rate: Some(Rate::constant(1000.0)),
        duration: Duration::from_secs(1),
        progress_every: Duration::from_millis(50),
        requests: None,
        ..plan(address, Workload::Conn, 1)
    };
    let report = load::run(&plan, &mut on_progress, &AtomicBool::new(false)).unwrap();
    check(&report);
    assert_eq!(report.totals.intended, 1000);
    assert!(report.errors["connect_refused"] > 100, "{:?}", report.errors);
}

#[test]
fn requests_that_wait_for_a_connection_that_never_comes_say_why() {
    for rate in [Some(Rate::constant(1000.0)), None] {
        let (serving, address) = serve(Mode::Echo);
        let mut serving = Some(serving);
        let mut on_progress = |progress: &Progress<'_>| {
            if progress.phase == Phase::Measuring && progress.so_far.ok > 0 {
                serving.take().into_iter().for_each(loadgen::serve::Serving::stop);
            }
        };
        let plan = Plan {
            rate,
            duration: Duration::from_secs(1),
            progress_every: Duration::from_millis(50),
            requests: None,
            ..plan(address, Workload::Ping, 1)
        };
        let report = load::run(&plan, &mut on_progress, &AtomicBool::new(false)).unwrap();
        check(&report);
        assert!(report.errors["connect_refused"] > 0, "{:?}", report.errors);
        assert_eq!(report.totals.unsent > 0, rate.is_some(), "{:?}", report.totals);
    }
}

#[test]
fn a_socket_in_the_file_system_is_a_target() {
    let path = std::env::temp_dir().join(format!("loadgen-requests-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while stream.read_exact(&mut buffer).is_ok() && stream.write_all(&buffer).is_ok() {}
            });
        }
    });
    for engine in ENGINES {
        for workload in [Workload::Ping, Workload::Conn] {
            let target = plan(([127, 0, 0, 1], 1).into(), workload, 100);
            let report = run(&Plan { address: Address::Unix(path.clone()), engine, ..target });
            assert_eq!((report.totals.ok, report.generator.ports), (100, None));
        }
    }
    std::fs::remove_file(&path).unwrap();
    let gone = Plan::new(Address::Unix(path), Workload::Ping);
    let error = load::run(&gone, &mut |_| {}, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, LoadError::CannotConnect { .. }), "{error}");
}

#[test]
fn connections_come_from_the_addresses_that_were_given_in_turn() {
    let (seen, sources) = std::sync::mpsc::channel();
    let seen = std::sync::Mutex::new(seen);
    let address = scripted(move |stream| {
        let source = stream.peer_addr().unwrap().ip().to_string();
        seen.lock().unwrap().send(source).unwrap();
        echo(stream, || {});
    });
    let plan = Plan {
        connections: NonZeroU32::new(6).unwrap(),
        threads: NonZeroUsize::new(6).unwrap(),
        sources: ["127.0.0.11", "127.0.0.12", "127.0.0.13"].map(|ip| ip.parse().unwrap()).to_vec(),
        ..plan(address, Workload::Ping, 60)
    };
    assert_eq!(run(&plan).totals.ok, 60);
    let mut sources: Vec<String> = sources.try_iter().collect();
    sources.sort();
    let twice = ["127.0.0.11", "127.0.0.12", "127.0.0.13"].map(|ip| [ip, ip]).concat();
    assert_eq!(sources, twice);
}

#[test]
fn a_connection_alone_is_a_request_too() {
    let (_serving, address) = serve(Mode::Hello);
    for (rate, close) in [(None, Close::Fin), (Some(Rate::constant(2000.0)), Close::Rst)] {
        let connect_only =
            Plan { connect_only: true, rate, close, ..plan(address, Workload::Conn, 300) };
        assert_eq!(outcome(&connect_only), (300, None));
        let report = run(&connect_only);
        assert_eq!((report.totals.bytes_out, report.totals.connects), (0, 300));
        assert_eq!(report.latency.connect.count(), 300);
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused_before_the_first_connect() {
    let sizes: Sizes = "4:100".parse().unwrap();
    let plan = Plan { sizes, ..plan(([127, 0, 0, 1], 1).into(), Workload::Ping, 1) };
    assert!(matches!(plan.check(), Err(LoadError::Sizes(_))));
    let error = load::run(&plan, &mut |_| {}, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, LoadError::Sizes(_)), "{error}");
}

#[test]
fn whoever_watches_changes_nothing() {
    let (_serving, address) = serve(Mode::Echo);
    let plan = Plan {
        requests: None,
        rate: Some(Rate::constant(2000.0)),
        duration: Duration::from_millis(500),
        timeout: Duration::from_secs(5),
        ..plan(address, Workload::Ping, 1)
    };
    let numbers = |progress: &mut dyn FnMut(&Progress<'_>)| {
        let report = load::run(&plan, progress, &AtomicBool::new(false)).unwrap();
        check(&report);
        let lengths: Vec<f64> = report.intervals.iter().map(|one| one.length_s).collect();
        (report.totals.intended, report.totals.errors, report.totals.elapsed_s, lengths)
    };
    let told = AtomicUsize::new(0);
    let slowly = numbers(&mut |_| {
        told.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(120));
    });
    assert_eq!(slowly, numbers(&mut |_| {}));
    assert!(told.load(Ordering::Relaxed) >= 8, "five intervals, and the phases");
}

/// Servers that do something else with every connection, by turns.
fn unreliable() -> SocketAddr {
    let turn = AtomicUsize::new(0);
    scripted(move |stream| {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let mut buffer = [0; 64];
        for _ in 0..turn % 23 {
            if stream.read_exact(&mut buffer).and_then(|()| stream.write_all(&buffer)).is_err() {
                return;
            }
        }
        match turn % 5 {
            0 => {}
            1 => socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap(),
            2 => std::thread::sleep(Duration::from_millis(150)),
            3 => drop(stream.write_all(b"something else\n")),
            _ => echo(stream, || {}),
        }
    })
}

#[test]
fn every_request_is_accounted_for_whatever_happens() {
    let address = unreliable();
    let mut case = 0_u32;
    for engine in ENGINES {
        for workload in [Workload::Ping, Workload::Conn, Workload::Http] {
            for rate in [None, Some(Rate { from_per_s: 500.0, to_per_s: 5000.0 })] {
                case += 1;
                let plan = Plan {
                    rate,
                    engine,
                    arrivals: if case.is_multiple_of(3) {
                        Arrivals::Poisson
                    } else {
                        Arrivals::Constant
                    },
                    connections: NonZeroU32::new(1 + case * 3 % 8).unwrap(),
                    threads: NonZeroUsize::new(1 + case as usize % 2).unwrap(),
                    pipeline: NonZeroU32::new([1, 4, 16][case as usize % 3]).unwrap(),
                    lifetime: ["forever", "9", "geo:6"][case as usize % 3].parse().unwrap(),
                    close: if case.is_multiple_of(2) { Close::Fin } else { Close::Rst },
                    timeout: Duration::from_millis(60),
                    warm_up: Duration::from_millis(u64::from(case % 2) * 50),
                    duration: Duration::from_millis(250),
                    requests: case.is_multiple_of(4).then(|| NonZeroU64::new(300).unwrap()),
                    ..plan(address, workload, 1)
                };
                let report = run(&plan);
                assert!(report.totals.intended > 0, "{plan:?}");
                if rate.is_some() && plan.arrivals == Arrivals::Constant {
                    let due = if plan.requests.is_some() { 300 } else { 688 };
                    assert_eq!(report.totals.intended, due, "{plan:?}");
                }
            }
        }
    }
}
