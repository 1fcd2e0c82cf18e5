//! Clients that come to the same backend again, and when they do not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::scene::{ConfigFile, UNCHECKED, before_pool, name_of, one_pool, own_address};
use crate::support::{Balancer, reset};
use nix::sys::signal::Signal;

#[test]
fn nobody_sticks_unless_that_is_asked_for() {
    let trio = Trio::new();
    let balancer = trio.behind("algorithm = \"round-robin\"", "");
    let said: Vec<String> = (0..6).map(|_| balancer.ask_from(1)).collect();
    assert_eq!(said, ["B1", "B2", "B3", "B1", "B2", "B3"]);
}

#[test]
fn a_client_sticks_by_its_address_whatever_its_port() {
    let trio = Trio::new();
    for algorithm in ["auto", "round-robin", "least-connections", "random", "p2c", "first"] {
        let lines = format!("algorithm = \"{algorithm}\"\nsticky_key = \"ip\"");
        let balancer = trio.behind(&lines, "");
        for client in 1..20 {
            let first = balancer.ask_from(client);
            (0..5).for_each(|_| assert_eq!(balancer.ask_from(client), first, "{algorithm}"));
        }
    }
}

#[test]
fn clients_of_different_addresses_are_spread() {
    let trio = Trio::new();
    let balancer = trio.behind(STICKY, "");
    let said: Vec<String> = (1..=6).map(|client| balancer.ask_from(client)).collect();
    assert_eq!(said, ["B1", "B2", "B3", "B1", "B2", "B3"]);
    // Once more: whose turn it is has nothing to do with it.
    let again: Vec<String> = (1..=6).rev().map(|client| balancer.ask_from(client)).collect();
    assert_eq!(again, ["B3", "B2", "B1", "B3", "B2", "B1"]);
}

#[test]
fn the_option_without_a_value_sticks_by_address() {
    let trio = Trio::new();
    let addresses = trio.0.each_ref().map(|one| one.address);
    let balancer = Balancer::before(&addresses, "-s rr --log-level DEBUG --sticky-key");
    let first = balancer.ask_from(7);
    (0..5).for_each(|_| assert_eq!(balancer.ask_from(7), first));
    balancer.wait_for_lines("(sticky)", 5);
}

#[test]
fn by_address_and_port_another_port_is_another_client() {
    let backends = ["B1", "B2", "B3"].map(Backend::named_and_held);
    let listed = backends.each_ref().map(|one| (one.address, ""));
    let lines = format!("algorithm = \"round-robin\"\nsticky_key = \"ip-port\"\n{UNCHECKED}");
    let balancer = before_pool(&lines, &listed, "");
    let ports = [7001, 7002, 7003];
    for _ in 0..4 {
        let said = ports.map(|port| {
            let client = balancer.connect_from_port(9, port);
            let name = name_of(&client);
            // Without TIME_WAIT, so that the port can be used again.
            reset(client);
            name
        });
        assert_eq!(said, ["B1", "B2", "B3"]);
    }
}

#[test]
fn all_shards_know_where_a_client_was() {
    let trio = Trio::new();
    let balancer = trio.behind(STICKY, "--shards 4");
    for client in 1..20 {
        let first = balancer.ask_from(client);
        (0..16).for_each(|_| assert_eq!(balancer.ask_from(client), first, "client {client}"));
    }
    let shards = balancer.end().shards;
    assert!(shards.len() == 4 && shards.iter().all(|one| one.served > 0), "{shards:?}");
}

#[test]
fn a_client_that_stays_away_for_its_time_is_a_new_one() {
    let trio = Trio::new();
    let balancer = trio.behind(&format!("{STICKY}\nsticky_ttl = \"200ms\""), "");
    for name in ["B1", "B2", "B3", "B1"] {
        assert_eq!(balancer.ask_from(1), name);
        std::thread::sleep(Duration::from_millis(250));
    }
}

#[test]
fn a_full_table_forgets_who_was_there_longest_ago() {
    let trio = Trio::new();
    let balancer = trio.behind(&format!("{STICKY}\nsticky_size = 1"), "");
    let asked: Vec<String> = [1, 1, 2, 1, 1].map(|client| balancer.ask_from(client)).into();
    assert_eq!(asked, ["B1", "B1", "B2", "B3", "B3"]);
}

#[test]
fn a_client_whose_backend_is_out_moves_and_stays_where_it_went() {
    let (balancer, mut pair) = Pair::behind(STICKY);
    assert_eq!([balancer.ask_from(1), balancer.ask_from(2)], ["B1", "B2"]);
    pair.leave();
    assert_eq!(balancer.ask_from(1), "B2");
    pair.come_back();
    (0..10).for_each(|_| assert_eq!(balancer.ask_from(1), "B2"));
    // It is in use again: for clients that are new.
    let new: BTreeSet<String> = (10..20).map(|client| balancer.ask_from(client)).collect();
    assert_eq!(new.len(), 2, "{new:?}");
}

#[test]
fn a_client_goes_back_where_that_is_asked_for() {
    let (balancer, mut pair) = Pair::behind(&format!("{STICKY}\nsticky_return = true"));
    assert_eq!(balancer.ask_from(1), "B1");
    for _ in 0..3 {
        pair.leave();
        (0..3).for_each(|_| assert_eq!(balancer.ask_from(1), "B2"));
        pair.come_back();
        (0..3).for_each(|_| assert_eq!(balancer.ask_from(1), "B1"));
    }
}

#[test]
fn a_client_whose_backend_is_only_full_goes_elsewhere_once() {
    let backends = ["B1", "B2"].map(Backend::named_and_held);
    let listed =
        [(backends[0].address, "max_connections = 1"), (backends[1].address, "weight = 1")];
    let balancer = before_pool(&format!("{STICKY}\n{UNCHECKED}"), &listed, "");
    let first = balancer.connect_from(1);
    assert_eq!(name_of(&first), "B1");
    let second = balancer.connect_from(1);
    assert_eq!(name_of(&second), "B2");
    let before = balancer.descriptors();
    drop(first);
    balancer.wait_for_descriptors(before - 2);
    assert_eq!(name_of(&balancer.connect_from(1)), "B1");
}

#[test]
fn a_backend_of_weight_0_keeps_its_clients_and_gets_no_other() {
    let trio = Trio::new();
    let lines = format!("{STICKY}\n{UNCHECKED}");
    let with_weight = |weight: &str| {
        one_pool(&lines, &[(trio.0[0].address, weight), (trio.0[1].address, "name = \"two\"")])
    };
    let file = ConfigFile::new(&with_weight("weight = 1"));
    let balancer = file.start("");
    assert_eq!([balancer.ask_from(1), balancer.ask_from(2)], ["B1", "B2"]);
    file.write(&with_weight("weight = 0"));
    balancer.signal(Signal::SIGHUP);
    balancer.wait_for_lines("the new configuration is in force", 1);
    for client in 10..20 {
        assert_eq!([balancer.ask_from(1), balancer.ask_from(2)], ["B1", "B2"]);
        assert_eq!(balancer.ask_from(client), "B2");
    }
}

const STICKY: &str = "algorithm = \"round-robin\"\nsticky_key = \"ip\"";

struct Trio([Backend; 3]);

impl Trio {
    fn new() -> Self {
        Self(["B1", "B2", "B3"].map(Backend::named))
    }

    fn behind(&self, lines: &str, options: &str) -> Balancer {
        let listed = self.0.each_ref().map(|one| (one.address, ""));
        before_pool(&format!("{lines}\n{UNCHECKED}"), &listed, options)
    }
}

/// Two backends, the first of which comes and goes.
struct Pair {
    address: SocketAddr,
    first: Option<Backend>,
    _second: Backend,
}

impl Pair {
    fn behind(lines: &str) -> (Balancer, Self) {
        let second = Backend::named("B2");
        let mut pair = Self { address: own_address(), first: None, _second: second };
        pair.come_back();
        let listed = [(pair.address, ""), (pair._second.address, "")];
        let balancer = before_pool(&format!("{lines}\neject_after = 0\n{UNCHECKED}"), &listed, "");
        (balancer, pair)
    }

    fn come_back(&mut self) {
        self.first = Some(Backend::named_on(self.address, "B1"));
    }

    fn leave(&mut self) {
        self.first.take().unwrap();
    }
}
