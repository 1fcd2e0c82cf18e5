//! Clients that nobody can take now: they are held, and served when somebody can, or told that nobody
//! could.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::scene::{UNCHECKED, before_pool, is_echoed, name_of, own_address};
use crate::support::{Balancer, End, eventually, read_to_the_end, reset};
use nix::sys::signal::Signal;

#[test]
fn all_are_dead_and_one_comes_back_every_held_client_is_served_with_what_it_had_sent() {
    for lines in [UNCHECKED, CHECKED] {
        let addresses = [(); 3].map(|()| own_address());
        let listed = addresses.map(|address| (address, ""));
        let balancer = before_pool(&format!("{WAIT_LONG}\n{lines}"), &listed, "");
        let clients: Vec<TcpStream> = (0..8).map(|n| say(&balancer, &request(n))).collect();
        balancer.settle();
        let _back = echo_on(addresses[1]);
        for (n, mut client) in clients.into_iter().enumerate() {
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, request(n), "client {n}");
        }
    }
}

#[test]
fn hundreds_are_held_at_once_and_all_of_them_are_served() {
    let address = own_address();
    let lines = format!("{WAIT_LONG}\n{UNCHECKED}");
    let balancer = before_pool(&lines, &[(address, "")], "--shards 2");
    let idle = balancer.descriptors();
    let clients: Vec<TcpStream> = (0..500).map(|_| say(&balancer, b"x")).collect();
    let all_in = || balancer.descriptors() >= idle + 500;
    eventually(all_in, || format!("{} descriptors", balancer.descriptors()));
    balancer.settle();
    let back = echo_on(address);
    for mut client in clients {
        let mut answer = [0];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"x");
    }
    assert_eq!(back.accepted(), 500);
    balancer.wait_for_descriptors(idle);
}

#[test]
fn who_resets_while_it_is_held_makes_room_for_others() {
    let full = "max_connections = 1";
    for (lines, keys) in
        [(format!("{WAIT_LONG}\n{UNCHECKED}"), ""), ("queue_timeout = \"60s\"".to_owned(), full)]
    {
        let backend = Backend::silent();
        let nobody = own_address();
        let address = if keys.is_empty() { nobody } else { backend.address };
        let balancer = before_pool(&lines, &[(address, keys)], "");
        let first = say(&balancer, b"x");
        if !keys.is_empty() {
            backend.wait_for_accepted(1);
        }
        balancer.settle();
        let idle = balancer.descriptors();
        let clients: Vec<TcpStream> = (0..20).map(|_| say(&balancer, b"x")).collect();
        let all_in = || balancer.descriptors() >= idle + 20;
        eventually(all_in, || format!("{} descriptors", balancer.descriptors()));
        clients.into_iter().for_each(reset);
        balancer.wait_for_descriptors(idle);
        drop(first);
    }
}

#[test]
fn a_client_in_vain_gets_the_end_a_reset_or_the_text_and_nothing_else() {
    let refusing = own_address();
    for wait in ["0s", "100ms"] {
        for (what, expected) in [
            ("\"close\"", Ok(Vec::new())),
            ("\"reset\"", Err(())),
            ("{ reply = \"503 Service Unavailable\" }", Ok(b"503 Service Unavailable".to_vec())),
        ] {
            let lines = format!(
                "wait_for_backend_timeout = \"{wait}\"\non_unavailable = {what}\n{UNCHECKED}"
            );
            let balancer = before_pool(&lines, &[(refusing, "")], "");
            // Some say nothing, some a request, some more than anybody has read.
            for sent in [0, 100, 300_000] {
                let client = balancer.connect();
                // A reset that comes meanwhile is told to the writer, and to nobody else.
                let got = match (&client).write_all(&vec![b'x'; sent]) {
                    Ok(()) => all_of(&client),
                    Err(_) => Err(()),
                };
                assert_eq!(got, expected, "{what} after {wait} and {sent} bytes");
            }
        }
    }
}

#[test]
fn the_option_for_503_answers_with_that_text() {
    let options = "--wait-for-backend-timeout 0 --on-unavailable 503";
    let balancer = Balancer::before(&[own_address()], options);
    assert_eq!(all_of(&say(&balancer, b"GET / HTTP/1.0\r\n\r\n")), Ok(TEXT_503.to_vec()));
    assert_eq!(all_of(&balancer.connect()), Ok(TEXT_503.to_vec()));
    let report = balancer.end();
    assert_eq!(report.lines_with("sessions ended: SC backend-unreachable 2"), 1, "{report:?}");
}

#[test]
fn who_goes_on_sending_while_it_is_told_is_not_reset() {
    let options = "--wait-for-backend-timeout 0 --on-unavailable 503";
    let balancer = Balancer::before(&[own_address()], options);
    for _ in 0..5 {
        let mut client = say(&balancer, b"POST / HTTP/1.0\r\n\r\n");
        let mut text = [0; TEXT_503.len()];
        client.read_exact(&mut text).unwrap();
        assert_eq!(text, TEXT_503);
        // Much less than it may take to notice, and long enough for whoever does not wait for it.
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(20));
            client.write_all(&[b'x'; 10_000]).unwrap();
        }
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(all_of(&client), Ok(Vec::new()));
    }
}

#[test]
fn many_at_once_are_all_told_that_there_is_nobody() {
    let options = "--wait-for-backend-timeout 0.2 --on-unavailable 503 --shards 2";
    let balancer = Balancer::before(&[own_address()], options);
    let idle = balancer.descriptors();
    let clients: Vec<TcpStream> = (0..300).map(|_| say(&balancer, b"anybody?")).collect();
    for client in clients {
        assert_eq!(all_of(&client), Ok(TEXT_503.to_vec()));
    }
    balancer.wait_for_descriptors(idle);
}

#[test]
fn over_the_limit_of_connections_clients_wait_and_are_served_in_turn() {
    let (balancer, _backend) = before_one_place("queue_timeout = \"60s\"", "--shards 1");
    let mut served = say(&balancer, b"0");
    assert_eq!(name_of(&served), "B1");
    let waiting: Vec<TcpStream> = (1..6).map(|_| one_more_waits(&balancer)).collect();
    for next in waiting {
        // The others wait on: only one is served at a time.
        drop(served);
        assert_eq!(name_of(&next), "B1");
        served = next;
    }
}

#[test]
fn whoever_waits_in_the_queue_for_too_long_is_turned_away() {
    let lines = "queue_timeout = \"100ms\"\non_unavailable = { reply = \"later\" }";
    let (balancer, _backend) = before_one_place(lines, "");
    let served = say(&balancer, b"0");
    assert_eq!(name_of(&served), "B1");
    for _ in 0..3 {
        assert_eq!(all_of(&say(&balancer, b"me too")), Ok(b"later".to_vec()));
    }
    assert!(is_echoed(&served, 7), "who is served has nothing to do with it");
    let report = balancer.end();
    assert_eq!(report.lines_with("sQ queue-timeout 3"), 1, "{report:?}");
}

#[test]
fn when_the_queue_is_full_the_next_client_is_turned_away_at_once() {
    let (balancer, _backend) = before_one_place("queue_size = 2\nqueue_timeout = \"60s\"", "");
    let served = say(&balancer, b"0");
    assert_eq!(name_of(&served), "B1");
    let waiting = [one_more_waits(&balancer), one_more_waits(&balancer)];
    balancer.settle();
    (0..3).for_each(|_| assert_eq!(all_of(&balancer.connect()), Ok(Vec::new())));
    drop(served);
    // Whoever it is: they may be of different shards.
    let (first, second) = whoever_is_first(waiting);
    drop(first);
    assert_eq!(name_of(&second), "B1");
    let report = balancer.end();
    assert_eq!(report.lines_with("SQ queue-full 3"), 1, "{report:?}");
}

#[test]
fn clients_that_leave_while_they_are_held_take_nobodys_place() {
    let address = own_address();
    let lines = format!("{WAIT_LONG}\n{UNCHECKED}");
    let balancer = before_pool(&lines, &[(address, "")], "");
    let idle = balancer.descriptors();
    for n in 0..40 {
        let client = say(&balancer, b"x");
        match n % 2 {
            0 => drop(client),
            _ => reset(client),
        }
    }
    let stays = say(&balancer, b"!");
    balancer.settle();
    let _back = echo_on(address);
    let mut answer = [0];
    (&stays).read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"!");
    drop(stays);
    balancer.wait_for_descriptors(idle);
    let report = balancer.end();
    let left_over = report.lines_with(": 0 connections");
    assert_eq!(left_over, 1, "{report:?}");
}

#[test]
fn clients_that_leave_the_queue_take_nobodys_place() {
    let (balancer, _backend) = before_one_place("queue_timeout = \"60s\"", "");
    let served = say(&balancer, b"0");
    assert_eq!(name_of(&served), "B1");
    for n in 0..20 {
        match (n % 2, one_more_waits(&balancer)) {
            (0, client) => drop(client),
            (_, client) => reset(client),
        }
    }
    let stays = one_more_waits(&balancer);
    drop(served);
    assert_eq!(name_of(&stays), "B1");
}

#[test]
fn clients_held_at_the_signal_are_served_if_a_backend_returns_in_time() {
    let address = own_address();
    let lines = format!("{WAIT_LONG}\n{UNCHECKED}");
    let mut balancer = before_pool(&lines, &[(address, "")], "--drain-timeout 60s");
    let clients: Vec<TcpStream> = (0..5).map(|_| say(&balancer, b"x")).collect();
    balancer.settle();
    balancer.signal(Signal::SIGTERM);
    balancer.wait_for_lines("SIGTERM: stopping; 5 open sessions", 1);
    let _back = echo_on(address);
    for mut client in clients {
        client.read_exact(&mut [0]).unwrap();
    }
    assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
}

#[test]
fn clients_held_at_the_end_of_the_drain_are_cut() {
    let lines = format!("{WAIT_LONG}\n{UNCHECKED}");
    let mut balancer = before_pool(&lines, &[(own_address(), "")], "");
    let clients: Vec<TcpStream> = (0..5).map(|_| say(&balancer, b"x")).collect();
    balancer.settle();
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
    for client in clients {
        assert_eq!(read_to_the_end(&client), End::Reset(0));
    }
}

const WAIT_LONG: &str = "wait_for_backend_timeout = \"60s\"";

const CHECKED: &str =
    "[pool.web.health]\ninterval = \"50ms\"\ntimeout = \"1s\"\nrise = 2\nfall = 2\njitter = 0";

const TEXT_503: &[u8] = b"503 Service Unavailable";

fn request(n: usize) -> Vec<u8> {
    format!("request {n}: {}", "x".repeat(n * 3000)).into_bytes()
}

fn say(balancer: &Balancer, words: &[u8]) -> TcpStream {
    let mut client = balancer.connect();
    client.write_all(words).unwrap();
    client
}

/// All that comes to a client, up to the end, or to a reset.
fn all_of(mut client: &TcpStream) -> Result<Vec<u8>, ()> {
    let mut all = Vec::new();
    client.read_to_end(&mut all).map(|_| all).map_err(|error| {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    })
}

fn echo_on(address: SocketAddr) -> Backend {
    Backend::on(address, |mut client| {
        let mut chunk = [0; 16 * 1024];
        while let Ok(bytes @ 1..) = client.read(&mut chunk) {
            if client.write_all(&chunk[..bytes]).is_err() {
                break;
            }
        }
    })
}

/// A pool with one backend for one connection at a time, which says its name to who speaks and then
/// echoes.
fn before_one_place(lines: &str, options: &str) -> (Balancer, Backend) {
    let backend = Backend::running(|mut client| {
        if client.read_exact(&mut [0]).is_err() {
            return;
        }
        let _ = client.write_all(b"B1");
        let mut chunk = [0; 1024];
        while let Ok(bytes @ 1..) = client.read(&mut chunk) {
            let _ = client.write_all(&chunk[..bytes]);
        }
    });
    let listed = [(backend.address, "max_connections = 1")];
    (before_pool(&format!("{lines}\n{UNCHECKED}"), &listed, options), backend)
}

/// A client that has spoken and was accepted; who comes then comes after it.
fn one_more_waits(balancer: &Balancer) -> TcpStream {
    let before = balancer.descriptors();
    let client = say(balancer, b"x");
    let accepted = || balancer.descriptors() > before;
    eventually(accepted, || format!("nobody is accepted: {}", balancer.log()));
    client
}

/// Who of two is served, and who not yet.
fn whoever_is_first(mut pair: [TcpStream; 2]) -> (TcpStream, TcpStream) {
    let is_served = |client: &TcpStream| {
        client.set_nonblocking(true).unwrap();
        let there = client.peek(&mut [0; 2]).is_ok_and(|bytes| bytes == 2);
        client.set_nonblocking(false).unwrap();
        there
    };
    let look = || {
        if is_served(&pair[1]) {
            pair.swap(0, 1);
        }
        is_served(&pair[0])
    };
    eventually(look, || "nobody is served".to_owned());
    pair.into()
}
