//! `loadgen serve --inject`: every fault as clients meet it, counted and not estimated. Times are
//! only ever compared with what they must at least be.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::common::{Served, ask_and_finish, expect, run, text};

const LINE: &str = "Hello from B1\n";
const MS: Duration = Duration::from_millis(1);

fn served(mode: &str, specs: &[&str]) -> Served {
    let mut arguments = vec!["--name", "B1", "--port", "0", "--mode", mode, "-t", "2"];
    specs.iter().for_each(|spec| arguments.extend(["--inject", spec]));
    Served::start(&arguments, 1)
}

/// So many requests on one connection at once, and everything that comes back.
fn ask_at_once(served: &Served, request: &str, times: usize) -> String {
    text(&ask_and_finish(&mut served.connect(0), request.repeat(times).as_bytes()))
}

/// So many requests over ten connections, each waiting for its answer or for the connection's end;
/// whatever came.
fn ask_in_turn(served: &Served, request: &str, times: usize) -> Vec<String> {
    let mut streams: Vec<Option<TcpStream>> = (0..10).map(|_| None).collect();
    let ask = |index: usize| {
        let slot = &mut streams[index % 10];
        let stream = slot.get_or_insert_with(|| served.connect(0));
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = vec![0; 4096];
        match stream.read(&mut reply) {
            Ok(0) => {
                *slot = None;
                "closed".to_owned()
            }
            Ok(len) => text(&reply[..len]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                *slot = None;
                "reset".to_owned()
            }
            Err(error) => panic!("{error}"),
        }
    };
    (0..times).map(ask).collect()
}

fn status(served: &Served) -> serde_json::Value {
    let reply = ask_at_once(served, "GET /status HTTP/1.1\r\n\r\n", 1);
    serde_json::from_str(reply.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[test]
fn of_a_hundred_requests_ten_are_not_answered() {
    for mode in ["hello", "echo"] {
        let served = served(mode, &["drop every 10"]);
        assert_eq!(ask_at_once(&served, LINE, 100), LINE.repeat(90), "{mode}");
    }
    let served = served("http", &["drop every 10"]);
    let reply = ask_at_once(&served, "GET / HTTP/1.1\r\n\r\n", 100);
    assert_eq!(reply.matches("HTTP/1.1 200 OK").count(), 90);
    let status = status(&served);
    assert_eq!((&status["requests"], &status["injected"]["drop"]), (&100.into(), &10.into()));
}

#[test]
fn a_connection_stays_whose_request_is_dropped() {
    let served = served("hello", &["drop every 2"]);
    let mut stream = served.connect(0);
    for _ in 0..10 {
        stream.write_all(b"answered\nnot answered\n").unwrap();
        expect(&mut stream, LINE);
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(text(&rest), "");
}

#[test]
fn errors_are_counted_over_all_connections_and_threads() {
    for mode in ["hello", "echo"] {
        let served = served(mode, &["error every 10"]);
        let replies = ask_in_turn(&served, LINE, 100);
        for (number, reply) in (1..).zip(&replies) {
            let expected = if number % 10 == 0 { "ERROR injected\n" } else { LINE };
            assert_eq!(reply, expected, "{mode}: request {number}");
        }
    }
    let served = served("http", &["error 1%"]);
    let replies = ask_in_turn(&served, "GET / HTTP/1.1\r\n\r\n", 300);
    let failed = replies.iter().filter(|reply| reply.starts_with("HTTP/1.1 500 ")).count();
    let right = replies.iter().filter(|reply| reply.starts_with("HTTP/1.1 200 ")).count();
    assert_eq!((failed, right), (3, 297));
    assert!(replies.iter().all(|reply| reply.contains("X-Backend: B1\r\n")));
}

#[test]
fn a_hundredth_request_ends_or_resets_its_connection() {
    for (spec, end) in [("close every 100", "closed"), ("reset every 100", "reset")] {
        for (mode, request) in [("hello", LINE), ("echo", LINE), ("http", "GET / HTTP/1.1\r\n\r\n")]
        {
            let replies = ask_in_turn(&served(mode, &[spec]), request, 300);
            for (number, reply) in (1..).zip(&replies) {
                assert_eq!(reply == end, number % 100 == 0, "{spec}, {mode}: {number}: {reply}");
            }
        }
    }
}

#[test]
fn what_was_answered_before_the_end_arrives() {
    let served = served("hello", &["close every 5"]);
    let mut stream = served.connect(0);
    stream.write_all(LINE.repeat(20).as_bytes()).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert_eq!(text(&reply), LINE.repeat(4));
    drop(stream);
    // What came behind the end was nobody's request.
    assert_eq!(ask_in_turn(&served, LINE, 5), [LINE, LINE, LINE, LINE, "closed"]);
}

#[test]
fn every_reply_is_delayed_and_those_asked_for_together_overlap() {
    for (mode, reply) in [("hello", LINE), ("echo", LINE)] {
        let served = served(mode, &["delay 50ms"]);
        let started = Instant::now();
        assert_eq!(ask_at_once(&served, LINE, 1000), reply.repeat(1000));
        let took = started.elapsed();
        assert!(took >= 50 * MS, "{mode}: {took:?}");
        assert!(took < 1000 * 50 * MS, "{mode}: one after the other");
    }
    let served = served("http", &["delay 20ms..30ms"]);
    for _ in 0..3 {
        let started = Instant::now();
        assert!(ask_at_once(&served, "GET / HTTP/1.1\r\n\r\n", 1).ends_with(LINE.trim_end()));
        assert!(started.elapsed() >= 20 * MS);
    }
}

#[test]
fn every_tenth_reply_is_a_slow_one() {
    let served = served("hello", &["delay 0ms 90% 200ms 10%"]);
    let mut stream = served.connect(0);
    let mut slow = Vec::new();
    for number in 1..=30 {
        let started = Instant::now();
        stream.write_all(b"hi\n").unwrap();
        expect(&mut stream, LINE);
        if started.elapsed() >= 200 * MS {
            slow.push(number);
        }
    }
    assert!([10, 20, 30].iter().all(|number| slow.contains(number)), "{slow:?}");
}

#[test]
fn replies_stay_in_order_behind_a_slow_one() {
    let served = served("echo", &["delay 0ms 90% 100ms 10%"]);
    let mut lines = String::new();
    (0..500).for_each(|number| lines += &format!("{number}\n"));
    assert_eq!(ask_at_once(&served, &lines, 1), lines);
}

#[test]
fn a_delayed_connection_does_not_hold_up_others() {
    let served = served("hello", &["delay 0ms 99% 10s 1%"]);
    // The hundredth request waits; what follows on other connections does not.
    assert_eq!(ask_in_turn(&served, LINE, 99), [LINE; 99]);
    let mut slow = served.connect(0);
    slow.write_all(b"hi\n").unwrap();
    slow.set_read_timeout(Some(100 * MS)).unwrap();
    assert_eq!(slow.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(ask_in_turn(&served, LINE, 99), [LINE; 99]);
    assert_eq!(slow.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn in_a_stall_no_reply_leaves() {
    let served = served("http", &["stall 300ms at 0s"]);
    let started = Instant::now();
    // Who watches waits too; it has been the first connection.
    assert!(ask_at_once(&served, "GET /health HTTP/1.1\r\n\r\n", 1).ends_with("OK"));
    assert!(started.elapsed() >= 300 * MS);
    assert_eq!(ask_in_turn(&served, "GET / HTTP/1.1\r\n\r\n", 10).len(), 10);
    assert_eq!(status(&served)["injected"]["stall"], 1);
}

#[test]
fn a_stall_holds_bulk_too() {
    for (mode, first) in [("source", ""), ("stream", "down\n"), ("stream", "echo\nxyz")] {
        let served = served(mode, &["stall 300ms at 0s"]);
        let started = Instant::now();
        let mut stream = served.connect(0);
        stream.write_all(first.as_bytes()).unwrap();
        stream.read_exact(&mut [0; 3]).unwrap();
        assert!(started.elapsed() >= 300 * MS, "{mode} {first}");
    }
}

#[test]
fn bulk_after_a_stall_is_whole() {
    let served = served("source", &["stall 100ms at 50ms every 200ms"]);
    let mut stream = served.connect(0);
    let mut got = vec![0; 1 << 20];
    let mut expected = (0..=250_u8).cycle();
    let started = Instant::now();
    while started.elapsed() < 500 * MS {
        stream.read_exact(&mut got).unwrap();
        assert!(got.iter().all(|byte| Some(*byte) == expected.next()));
    }
}

#[test]
fn a_slow_reader_reads_no_faster() {
    let served = served("discard", &["slow-read 10M/s"]);
    let started = Instant::now();
    ask_and_finish(&mut served.connect(0), &vec![0; 4_000_000]);
    // The last receive is not waited for.
    assert!(started.elapsed() >= 300 * MS, "{:?}", started.elapsed());
    let served = self::served("hello", &["slow-read 1M/s"]);
    let started = Instant::now();
    assert_eq!(ask_at_once(&served, LINE, 20_000), LINE.repeat(20_000));
    assert!(started.elapsed() >= 200 * MS, "{:?}", started.elapsed());
}

#[test]
fn a_new_connection_is_left_alone_at_first() {
    for (mode, request) in [("hello", "hi\n"), ("source", "")] {
        let served = served(mode, &["accept-delay 100ms"]);
        let started = Instant::now();
        let mut stream = served.connect(0);
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        assert!(started.elapsed() >= 100 * MS, "{mode}: {:?}", started.elapsed());
    }
}

#[test]
fn for_a_while_nobody_listens_and_then_somebody_does_again() {
    let served = served("hello", &["refuse at 100ms for 300ms"]);
    let mut early = served.connect(0);
    expect_served(&mut early);
    let deadline = Instant::now() + Duration::from_secs(20);
    let refused = || match TcpStream::connect(served.addresses[0]) {
        Ok(_) => false,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => true,
        Err(error) => panic!("{error}"),
    };
    while !refused() {
        assert!(Instant::now() < deadline, "it never refuses");
        std::thread::sleep(5 * MS);
    }
    expect_served(&mut early);
    while refused() {
        assert!(Instant::now() < deadline, "it refuses for ever");
        std::thread::sleep(5 * MS);
    }
    for _ in 0..20 {
        expect_served(&mut served.connect(0));
    }
}

#[test]
fn a_fault_can_be_for_one_backend_only() {
    let arguments = ["--name", "B1", "--port", "0", "--name", "B2", "--port", "0"];
    let faults = ["--inject", "B2:drop every 2", "--inject", "B2:error every 3"];
    let served = Served::start(&[&arguments[..], &faults].concat(), 2);
    let lines = "hi\n".repeat(6);
    let ask = |index| text(&ask_and_finish(&mut served.connect(index), lines.as_bytes()));
    assert_eq!(ask(0), "Hello from B1\n".repeat(6));
    assert_eq!(ask(1), "Hello from B2\nERROR injected\nHello from B2\n");
}

#[test]
fn clients_that_go_away_harm_nobody() {
    let served = served("hello", &["delay 20ms"]);
    for _ in 0..200 {
        let stream = served.connect(0);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        (&stream).write_all(LINE.repeat(10).as_bytes()).unwrap();
    }
    assert_eq!(ask_at_once(&served, LINE, 300), LINE.repeat(300));
}

#[test]
fn more_connections_than_send_buffers_are_all_answered() {
    let served = served("hello", &["delay 50ms"]);
    let mut streams: Vec<TcpStream> = (0..700).map(|_| served.connect(0)).collect();
    for stream in &mut streams {
        stream.write_all(b"reply=100000 \n").unwrap();
    }
    for stream in &mut streams {
        let mut reply = vec![0; 100_000];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(reply.last(), Some(&b'\n'));
    }
}

#[test]
fn a_client_that_reads_nothing_is_not_asked_for_more() {
    let served = served("hello", &["delay 1ms"]);
    let mut stream = served.connect(0);
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let asking = {
        let mut writer = stream.try_clone().unwrap();
        std::thread::spawn(move || {
            let _ = writer.write_all("reply=1048576 \n".repeat(200).as_bytes());
        })
    };
    let mut reply = vec![0; 1 << 20];
    for _ in 0..200 {
        stream.read_exact(&mut reply).unwrap();
    }
    asking.join().unwrap();
}

#[test]
fn answers_that_nobody_reads_are_not_heaped_up() {
    let served = served("http", &["delay 1ms"]);
    let mut stream = served.connect(0);
    // A receive holds some of them; they fit the sockets, so this does not wait.
    let asked = 2000;
    stream.write_all("GET /bytes/1048576 HTTP/1.1\r\n\r\n".repeat(asked).as_bytes()).unwrap();
    while status(&served)["requests"] == 0 {
        std::thread::sleep(5 * MS);
    }
    std::thread::sleep(200 * MS);
    let begun = status(&served)["requests"].as_u64().unwrap();
    assert!(begun < asked as u64, "all {begun} were answered into memory");
}

#[test]
fn what_cannot_be_injected_is_said_with_the_cure() {
    for (arguments, code, what) in [
        (&["--inject", "dely 5ms"][..], 2, "there is no fault `dely`"),
        (&["--inject", "dely 5ms"], 2, "delay 1ms..9ms"),
        (&["--inject", "B9:delay 5ms"], 1, "no backend is called \"B9\""),
        (&["--inject", "drop every 2", "--mode", "source"], 1, "bulk has no requests"),
    ] {
        let output = run(&[&["serve", "--name", "B1", "--port", "0"], arguments].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(what), "{said}");
    }
}

fn expect_served(stream: &mut TcpStream) {
    stream.write_all(b"hi\n").unwrap();
    expect(stream, LINE);
}
