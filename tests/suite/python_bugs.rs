//! What went wrong in the Python programs that this one takes the place of, and must not here. Not in
//! it: what other files show, such as half-closes (`ends.rs`), bytes of all kinds (`bytes.rs`), dead
//! backends (`balance.rs`), and signals (`program.rs`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::backend::Backend;
use crate::support::scene::{Checked, before_pool, is_echoed, name_of, own_address, speak};
use crate::support::{Balancer, WATCHDOG, eventually, patient};
use nix::sys::signal::Signal;

#[test]
fn a_client_that_waits_is_served_by_its_own_backend_when_that_returns() {
    let (address, backup) = (own_address(), own_address());
    let lines = format!("sticky_key = \"ip\"\nwait_for_backend_timeout = \"60s\"\n{OFTEN}");
    let mut backend = Some(Backend::named_on(address, "B1"));
    let balancer = before_pool(&lines, &[(address, ""), (backup, "")], "");
    assert_eq!(balancer.ask_from(1), "B1");
    backend.take();
    balancer.wait_for_lines(&format!("web/{address} is down"), 1);
    let mut waiting = balancer.connect_from(1);
    balancer.settle();
    let _back = Backend::named_on(address, "B1");
    assert_eq!(name_of(&waiting), "B1");
    assert_eq!(waiting.read(&mut [0]).unwrap(), 0);
}

#[test]
fn the_balancer_lives_through_a_time_without_any_backend() {
    for lines in [OFTEN, "[pool.web.health]\ntype = \"off\""] {
        let addresses = [own_address(), own_address()];
        let listed = addresses.map(|address| (address, ""));
        let lines = format!("wait_for_backend_timeout = \"0s\"\neject_time = \"10ms\"\n{lines}");
        let balancer = before_pool(&lines, &listed, "");
        for round in 0..4 {
            for _ in 0..20 {
                assert_eq!(balancer.ask(), "", "nobody is there");
            }
            let _back = Backend::named_on(addresses[round % 2], "B1");
            eventually(|| balancer.ask() == "B1", || balancer.log());
        }
    }
}

#[test]
fn a_silent_backend_freezes_no_checks_and_checks_stall_no_client() {
    let [silent, steady] = ["B1", "B2"].map(Checked::new);
    // Longer than this test may take.
    let lines = "[pool.web.health]\ntype = \"http\"\ninterval = \"20ms\"\ntimeout = \"10m\"";
    silent.be_silent(true);
    let listed = [(silent.address(), ""), (steady.address(), "")];
    let lines = format!("algorithm = \"round-robin\"\n{lines}");
    let balancer = before_pool(&lines, &listed, "");
    silent.wait_for_checks(1);
    for round in 1..=2 {
        let names = [speak(&balancer).0, speak(&balancer).0].concat();
        assert!(names == "B1B2" || names == "B2B1", "{names}");
        steady.wait_for_checks(2);
        steady.answer(500);
        balancer.wait_for_lines(&format!("web/{} is down", steady.address()), round);
        steady.answer(200);
        balancer.wait_for_lines(&format!("web/{} is up", steady.address()), round);
    }
    assert_eq!(silent.checks(), 1, "one is asked again when it has answered");
}

#[test]
fn counts_are_right_after_a_backend_was_down_and_up_again() {
    for (what, left) in [("keep", 5_u32), ("close", 0)] {
        let pair = [Checked::new("B1"), Checked::new("B2")];
        let listed = pair.each_ref().map(|one| (one.address(), ""));
        let lines = format!(
            "algorithm = \"least-connections\"\non_marked_down = \"{what}\"\n\
             [pool.web.health]\ntype = \"http\"\ninterval = \"20ms\"\ntimeout = \"10s\""
        );
        let balancer = before_pool(&lines, &listed, "--report-interval 50ms --shards 2");
        let mut sessions: Vec<(String, TcpStream)> = (0..10).map(|_| speak(&balancer)).collect();
        for round in 1..=3 {
            pair[0].answer(500);
            balancer.wait_for_lines(" is down: ", round);
            pair[0].answer(200);
            balancer.wait_for_lines(" is up: ", round);
        }
        wait_for_counts(&balancer, &pair, [left, 5]);
        // So the next ones go where the counts say.
        let next: Vec<_> = (0..15 - left).map(|_| speak(&balancer)).collect();
        let first = next.iter().filter(|(name, _)| name == "B1").count();
        assert_eq!(first, if what == "keep" { 5 } else { 10 }, "{what}");
        sessions.retain(|(name, _)| what == "keep" || name == "B2");
        assert!(sessions.iter().chain(&next).all(|(_, client)| is_echoed(client, 1)), "{what}");
        drop((sessions, next));
        wait_for_counts(&balancer, &pair, [0, 0]);
    }
}

/// Waits until the last report has so many connections of each.
fn wait_for_counts(balancer: &Balancer, pair: &[Checked; 2], wanted: [u32; 2]) {
    let told = || {
        let log = balancer.log();
        pair.each_ref().map(|one| {
            let words = format!("backend {}: ", one.address());
            let last = log.lines().rev().find_map(|line| Some(line.split_once(&words)?.1));
            last.and_then(|rest| rest.split_once(' ')?.0.parse::<u32>().ok())
        })
    };
    eventually(|| told() == wanted.map(Some), || format!("{:?}, not {wanted:?}", told()));
}

#[test]
fn sixty_four_clients_at_once_find_room_before_anybody_is_accepted() {
    let backend = Backend::named("B1");
    let balancer = Balancer::before(&[backend.address], "");
    // It accepts nobody meanwhile, and where the backlog is short the kernel drops what does not fit
    // and the client tries again a second later, in vain.
    let clients: Vec<TcpStream> = balancer.standing_still(|| {
        let connect = |_| TcpStream::connect_timeout(&balancer.address, WATCHDOG).unwrap();
        (0..64).map(connect).map(patient).collect()
    });
    for mut client in clients {
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert_eq!(said, "B1");
    }
}

#[test]
fn sixty_four_clients_at_a_time_go_on_and_on_without_an_error() {
    let backends = ["B1", "B2"].map(Backend::named);
    let balancer = Balancer::before(&backends.each_ref().map(|one| one.address), "");
    let served = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert!(balancer.ask().starts_with('B'));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(served.into_inner(), 64 * 20);
}

#[test]
fn many_messages_of_one_client_go_to_one_backend_while_others_come_and_go() {
    let pair = [Checked::new("B1"), Checked::new("B2")];
    let balancer = Balancer::before(&pair.each_ref().map(Checked::address), "--shards 2");
    let (name, client) = speak(&balancer);
    for byte in 0..200 {
        assert!(is_echoed(&client, byte), "{name} forgot it after {byte} messages");
        speak(&balancer);
    }
}

#[test]
fn a_client_that_sends_nothing_holds_up_nobody() {
    let pair = [Checked::new("B1"), Checked::new("B2")];
    let addresses = pair.each_ref().map(Checked::address);
    let balancer = Balancer::before(&addresses, "--shards 1 -s rr");
    let silent: Vec<TcpStream> = (0..50).map(|_| balancer.connect()).collect();
    (0..50).for_each(|_| assert!(is_echoed(&speak(&balancer).1, 1)));
    for mut client in silent {
        client.write_all(b"?").unwrap();
        assert!(name_of(&client).starts_with('B'));
    }
}

#[test]
fn it_ends_with_0_and_without_noise_while_clients_come_and_go() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let backend = Backend::named("B1");
        let mut balancer = Balancer::before(&[backend.address], "");
        let (address, ended) = (balancer.address, AtomicBool::new(false));
        assert_eq!(balancer.ask(), "B1");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                // Refused, served or cut: all of it is well at this moment.
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        let client = TcpStream::connect(address).map(patient);
                        let _ = client.map(|mut client| client.read_to_end(&mut Vec::new()));
                    }
                });
            }
            backend.wait_for_accepted(50);
            balancer.signal(signal);
            let status = balancer.wait();
            ended.store(true, Ordering::Relaxed);
            assert_eq!(status.code(), Some(0), "{signal}: {}", balancer.log());
        });
        let noise = ["Traceback", "panicked", "ERROR", "WARN"];
        let log = balancer.log();
        assert!(noise.iter().all(|word| !log.contains(word)), "{signal}: {log}");
    }
}

/// Health checks by TCP, often.
const OFTEN: &str = "[pool.web.health]\ninterval = \"20ms\"\ntimeout = \"10s\"\njitter = 0";
