//! Ten thousand connections to the admin API: nobody who has something to ask is kept out, and no
//! client of the balancer notices.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::client::{request, say_to};
use crate::intruder::House;
use crate::places::TOKEN;

#[test]
fn ten_thousand_connections_keep_nobody_out_and_touch_no_session() {
    let house = House::new("");
    let mut sessions: Vec<_> = (0..4).map(|_| house.session()).collect();
    let descriptors = house.scene.balancer.descriptors();
    let (done, opened) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut held = VecDeque::new();
            for number in 0..CONNECTIONS {
                let mut stream = TcpStream::connect(house.door).unwrap();
                // Some say nothing, some begin and do not go on.
                if number % 2 == 0 {
                    let _ = stream.write_all(b"GET /api/status HTTP/1.1\r\nHost: ");
                }
                held.push_back(stream);
                if held.len() > HELD {
                    held.pop_front();
                }
                opened.fetch_add(1, Ordering::Relaxed);
            }
            done.store(true, Ordering::Relaxed);
        });
        let headers = format!("Authorization: Bearer {TOKEN}\r\n");
        let words = request("GET /healthz", &headers, "");
        let (mut asked, mut served) = (0, 0);
        while !done.load(Ordering::Relaxed) {
            sessions.iter_mut().for_each(crate::intruder::Session::goes_on);
            // The operator's own socket is another room.
            assert_eq!(house.scene.ask("GET /healthz").status, 200);
            asked += 1;
            served += usize::from(
                say_to(house.door, words.as_bytes()).is_some_and(|one| one.status == 200),
            );
        }
        // On the network whoever asks at once is served, unless as many as there are places came
        // before a word was read.
        assert!(served * 2 > asked, "{served} of {asked} were answered");
    });
    assert_eq!(opened.load(Ordering::Relaxed), CONNECTIONS);
    sessions.iter_mut().for_each(crate::intruder::Session::goes_on);
    let counters = house.scene.status().counters;
    assert!(counters["admin_connections"] >= CONNECTIONS as u64);
    assert!(counters["admin_made_way"] >= 1000, "{counters:?}");
    house.scene.balancer.wait_for_descriptors(descriptors);
    house.is_as_it_was();
}

#[test]
fn connections_over_the_unix_socket_make_way_for_each_other_too() {
    let house = House::new("");
    let held: Vec<_> = (0..1000).map(|_| UnixStream::connect(&house.scene.socket)).collect();
    assert_eq!(house.scene.ask("GET /healthz").status, 200);
    assert_eq!(house.scene.ask("GET /api/status").status, 200);
    drop(held);
    house.is_as_it_was();
}

const CONNECTIONS: usize = 10_000;

/// That the client keeps, so that it is the other side that has to end them.
const HELD: usize = 500;
