//! Backends that nobody checks and that refuse: they are left alone for a while, and never too many of
//! them; and those that come back are not run over.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use crate::support::backend::Backend;
use crate::support::scene::{Checked, UNCHECKED, before_pool, own_address, speak};
use crate::support::{Balancer, End, eventually, read_to_the_end};

#[test]
fn a_backend_that_refuses_is_left_alone_after_three_clients() {
    let (dead, pair) = (own_address(), ["B1", "B2"].map(Backend::named));
    let lines = format!("{TURNS}\neject_time = \"1h\"\neject_time_max = \"1h\"\n{UNCHECKED}");
    let listed = [(dead, ""), (pair[0].address, ""), (pair[1].address, "")];
    let balancer = before_pool(&lines, &listed, "--shards 1");
    let names: Vec<String> = (0..60).map(|_| balancer.ask()).collect();
    assert!(names.iter().all(|name| name.starts_with('B')));
    // The two that are left share evenly, also what was its part.
    assert_eq!(names[50..].iter().filter(|name| *name == "B1").count(), 5);
    assert_eq!(balancer.lines_with(&format!("backend {dead} of pool web is ejected for 1h")), 1);
    let report = balancer.end();
    let words = format!("backend {dead}: 0 connections, 0 connected, 3 failed");
    assert_eq!(report.lines_with(&words), 1, "{report:?}");
    assert_eq!(report.counts(["ejected", "fail_open"]), [1, 0]);
}

#[test]
fn each_ejection_in_a_row_is_twice_as_long_up_to_the_longest() {
    let (dead, alive) = (own_address(), Backend::named("B1"));
    let lines = format!(
        "{TURNS}\neject_after = 1\neject_time = \"250ms\"\neject_time_max = \"1s\"\n{UNCHECKED}"
    );
    let balancer = before_pool(&lines, &[(dead, ""), (alive.address, "")], "--shards 1");
    let wanted = ["250ms", "500ms", "1s", "1s"];
    let times = || {
        let log = balancer.log();
        let times = log.lines().filter_map(|line| line.split_once(" is ejected for "));
        times.map(|(_, rest)| rest.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // A machine that stands still for longer than an ejection lasts makes the next one a first one.
    let reached = || {
        assert_eq!(balancer.ask(), "B1");
        times().windows(wanted.len()).any(|four| four == wanted)
    };
    eventually(reached, || format!("{:?}", times()));
    for pair in times().windows(2) {
        let next = wanted.iter().position(|time| *time == pair[0]).map(|place| wanted[place + 1]);
        assert!(pair[1] == wanted[0] || Some(pair[1].as_str()) == next, "{:?}", times());
    }
}

#[test]
fn an_ejected_backend_is_tried_again_and_serves_when_it_is_back() {
    let (address, other) = (own_address(), Backend::named("B2"));
    let lines = format!("{TURNS}\neject_after = 1\neject_time = \"50ms\"\n{UNCHECKED}");
    let balancer = before_pool(&lines, &[(address, ""), (other.address, "")], "");
    balancer.ask();
    balancer.ask();
    balancer.wait_for_lines("is ejected for", 1);
    let _back = Backend::named_on(address, "B1");
    eventually(|| balancer.ask() == "B1", || balancer.log());
    let both: BTreeSet<String> = [balancer.ask(), balancer.ask()].into();
    assert_eq!(both.len(), 2, "{both:?}");
}

#[test]
fn never_more_than_half_of_the_pool_is_ejected_and_that_is_told() {
    let (alive, dead) = (Backend::named("B1"), [own_address(), own_address()]);
    let lines = format!("{TURNS}\neject_time = \"1h\"\neject_time_max = \"1h\"\n{UNCHECKED}");
    let listed = [(dead[0], ""), (dead[1], ""), (alive.address, "")];
    let balancer = before_pool(&lines, &listed, "--shards 1");
    (0..60).for_each(|_| assert_eq!(balancer.ask(), "B1"));
    assert!(balancer.lines_with("pool web fails open") >= 1, "{}", balancer.log());
    let report = balancer.end();
    assert_eq!(report.count("ejected"), 1, "{report:?}");
    assert!(report.count("fail_open") > 1, "{report:?}");
}

#[test]
fn when_checks_have_half_of_the_pool_down_nobody_else_is_ejected() {
    // Clients are refused by the other one, but not checks: those go to another port.
    let (checked, refusing) = (Checked::new("B1"), own_address());
    let port = checked.address().port();
    let passing = Backend::on(refusing, |mut client| {
        let _ = client.read(&mut [0; 1024]);
        let _ = client.write_all(b"HTTP/1.0 200 So\r\n\r\n");
    });
    let refusing = SocketAddr::new(refusing.ip(), port + 1);
    let lines = format!(
        "{TURNS}\nwait_for_backend_timeout = \"0s\"\n[pool.web.health]\ntype = \"http\"\ninterval = \"20ms\"\nport = {port}"
    );
    let balancer = before_pool(&lines, &[(checked.address(), ""), (refusing, "")], "--shards 1");
    checked.wait_for_checks(2);
    passing.wait_for_accepted(2);
    checked.answer(500);
    balancer.wait_for_lines(" is down: ", 1);
    (0..6).for_each(|_| assert_eq!(read_to_the_end(&balancer.connect()), End::Finished(0)));
    balancer.wait_for_lines("pool web fails open", 1);
    checked.answer(200);
    balancer.wait_for_lines(" is up: ", 1);
    (0..6).for_each(|_| assert_eq!(speak(&balancer).0, "B1"));
}

#[test]
fn a_backend_that_has_just_come_up_gets_little_at_first() {
    for algorithm in ["round-robin", "random", "p2c", "least-connections"] {
        let (balancer, _pair) = after_a_return(algorithm, "1h");
        let names: Vec<String> = (0..200).map(|_| speak(&balancer).0).collect();
        let first = names.iter().filter(|name| *name == "B1").count();
        // Less than one is expected, and half without a slow start.
        assert!(first <= 30, "{algorithm}: {first} of 200");
    }
}

#[test]
fn a_backend_that_came_up_a_while_ago_gets_its_share() {
    let (balancer, _pair) = after_a_return("round-robin", "300ms");
    let in_turn = || {
        let names: Vec<String> = (0..10).map(|_| speak(&balancer).0).collect();
        names.iter().filter(|name| *name == "B1").count() == 5
    };
    eventually(in_turn, || "the first backend never gets its share".to_owned());
}

/// Of two backends the first was down and is up again.
fn after_a_return(algorithm: &str, slow_start: &str) -> (Balancer, [Checked; 2]) {
    let pair = [Checked::new("B1"), Checked::new("B2")];
    let lines = format!(
        "algorithm = \"{algorithm}\"\nslow_start = \"{slow_start}\"\n\
         [pool.web.health]\ntype = \"http\"\ninterval = \"20ms\"\ntimeout = \"10s\""
    );
    let listed = pair.each_ref().map(|one| (one.address(), ""));
    let balancer = before_pool(&lines, &listed, "");
    pair[0].answer(500);
    balancer.wait_for_lines(" is down: ", 1);
    pair[0].answer(200);
    balancer.wait_for_lines(" is up: ", 1);
    (balancer, pair)
}

const TURNS: &str = "algorithm = \"round-robin\"";
