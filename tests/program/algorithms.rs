//! Who gets how many, and who gets whom, by each algorithm.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};

use crate::support::Balancer;
use crate::support::backend::Backend;
use crate::support::scene::{ConfigFile, UNCHECKED, before_pool, one_pool, own_address};
use nix::sys::signal::Signal;

#[test]
fn weights_are_the_shares_of_a_whole_round() {
    let trio = NAMES.map(Backend::named);
    for (weights, shares) in
        [([5, 1, 1], [50, 10, 10]), ([1, 2, 4], [10, 20, 40]), ([256, 0, 128], [46, 0, 23])]
    {
        for shards in ["--shards 1", "--shards 3"] {
            let balancer = before(&trio, "round-robin", weights, shards);
            let many = shares.iter().sum();
            assert_eq!(count((0..many).map(|_| balancer.ask())), shares, "{weights:?} {shards}");
        }
    }
}

#[test]
fn a_heavy_backend_has_its_turns_between_the_others() {
    let trio = NAMES.map(Backend::named);
    let balancer = before(&trio, "round-robin", [5, 1, 1], "");
    let said: Vec<String> = (0..14).map(|_| balancer.ask()).collect();
    assert_eq!(said[..7].concat(), "B1B1B2B1B3B1B1");
    assert_eq!(said[7..], said[..7]);
}

#[test]
fn connections_at_a_time_follow_the_weights() {
    let trio = NAMES.map(Backend::named_and_held);
    for algorithm in ["least-connections", "auto"] {
        let balancer = before(&trio, algorithm, [3, 2, 1], "--shards 2");
        let held: Vec<(String, TcpStream)> = (0..18).map(|_| balancer.connect_and_hear()).collect();
        let shares = count(held.iter().map(|(name, _)| name.clone()));
        assert_eq!(shares, [9, 6, 3], "{algorithm}");
    }
}

#[test]
fn while_all_are_idle_nobody_is_passed_over_for_its_weight() {
    let trio = NAMES.map(Backend::named);
    for algorithm in ["least-connections", "p2c"] {
        let balancer = before(&trio, algorithm, [1, 4, 1], "--shards 1");
        let idle = balancer.descriptors();
        let shares = count((0..90).map(|_| {
            let name = balancer.ask();
            balancer.wait_for_descriptors(idle);
            name
        }));
        match algorithm {
            "p2c" => assert!(shares.iter().all(|&share| share > 0), "{shares:?}"),
            _ => assert_eq!(shares, [30, 30, 30]),
        }
    }
}

#[test]
fn two_choices_among_two_are_the_less_busy_one() {
    let pair = ["B1", "B2"].map(Backend::named_and_held);
    let balancer = before_pool(
        &format!("algorithm = \"p2c\"\n{UNCHECKED}"),
        &pair.each_ref().map(|one| (one.address, "")),
        "",
    );
    let mut held = Vec::new();
    for pairs in 1..20 {
        held.extend([balancer.connect_and_hear(), balancer.connect_and_hear()]);
        let first = held.iter().filter(|(name, _)| name == "B1").count();
        assert_eq!(first, pairs, "of {}", held.len());
    }
}

#[test]
fn what_is_drawn_reaches_everybody_by_weight() {
    let trio = NAMES.map(Backend::named);
    for algorithm in ["random", "p2c"] {
        let balancer = before(&trio, algorithm, [1, 1, 2], "");
        let shares = count((0..400).map(|_| balancer.ask()));
        // A quarter, or a half, of 400 draws is outside of these once in 10^8 runs.
        let generous = |share, low, high| (low..=high).contains(&share);
        let fair = generous(shares[0], 50, 150) && generous(shares[1], 50, 150);
        assert!(fair && generous(shares[2], 140, 260), "{algorithm}: {shares:?}");
    }
}

#[test]
fn without_an_algorithm_in_the_file_it_is_two_choices() {
    let backend = Backend::named("B1");
    let balancer = before_pool(UNCHECKED, &[(backend.address, "")], "");
    assert_eq!(balancer.ask(), "B1");
    balancer.wait_for_lines("(p2c)", 1);
}

#[test]
fn the_first_is_filled_before_the_next_and_again_when_it_has_room() {
    let trio = NAMES.map(Backend::named_and_held);
    let two = "max_connections = 2";
    let listed = trio.each_ref().map(|one| (one.address, two));
    let balancer = before_pool(&format!("algorithm = \"first\"\n{UNCHECKED}"), &listed, "");
    let mut held: Vec<(String, TcpStream)> = (0..5).map(|_| balancer.connect_and_hear()).collect();
    let names: Vec<&str> = held.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["B1", "B1", "B2", "B2", "B3"]);
    let before = balancer.descriptors();
    held.remove(2);
    held.remove(0);
    balancer.wait_for_descriptors(before - 4);
    let next = [balancer.connect_and_hear(), balancer.connect_and_hear()];
    assert_eq!(next.each_ref().map(|(name, _)| name.as_str()), ["B1", "B2"]);
}

#[test]
fn a_client_is_hashed_to_the_same_backend_by_every_balancer() {
    let four = Four::new();
    for algorithm in HASHED {
        let balancer = four.behind(algorithm, &[0, 1, 2, 3]);
        let places = ask_all(&balancer);
        assert_eq!(ask_all(&balancer), places, "{algorithm}, the same balancer");
        // Another one, whose list has another order.
        assert_eq!(ask_all(&four.behind(algorithm, &[2, 0, 3, 1])), places, "{algorithm}");
        let mut shares: BTreeMap<&str, u32> = BTreeMap::new();
        places.values().for_each(|name| *shares.entry(name).or_default() += 1);
        // 60 of 240 are expected; the addresses of backends differ from run to run.
        let spread = shares.len() == 4 && shares.values().all(|&share| share >= 20);
        assert!(spread, "{algorithm}: {shares:?}");
    }
}

#[test]
fn only_clients_of_a_dead_backend_are_hashed_elsewhere() {
    let mut four = Four::new();
    for algorithm in HASHED {
        let balancer = four.behind(algorithm, &[0, 1, 2, 3]);
        let before = ask_all(&balancer);
        four.backends[1] = None;
        assert_only_moved("B2", &before, &ask_all(&balancer), 0, algorithm);
        four.backends[1] = Some(Backend::named_on(four.addresses[1], "B2"));
        assert_eq!(ask_all(&balancer), before, "{algorithm}: it is back");
    }
}

#[test]
fn only_clients_of_a_removed_backend_are_hashed_elsewhere() {
    let four = Four::new();
    // With maglev a few of the others move too: about 2 of 100 here (Eisenbud et al., 2016).
    for (algorithm, others) in [("source-hash", 0), ("maglev", 25)] {
        let file = ConfigFile::new(&four.text(algorithm, &[0, 1, 2, 3]));
        let balancer = file.start("");
        let before = ask_all(&balancer);
        file.write(&four.text(algorithm, &[0, 2, 3]));
        balancer.signal(Signal::SIGHUP);
        balancer.wait_for_lines("the new configuration is in force", 1);
        assert_only_moved("B2", &before, &ask_all(&balancer), others, algorithm);
    }
}

/// Clients of `gone` are elsewhere, and of the others at most so many.
fn assert_only_moved(gone: &str, before: &Places, after: &Places, most: usize, algorithm: &str) {
    assert!(after.values().all(|name| name != gone), "{algorithm}: {after:?}");
    let stayed_put = before.iter().filter(|(_, name)| *name != gone);
    let moved: Vec<_> = stayed_put.filter(|(client, name)| after[client] != **name).collect();
    assert!(moved.len() <= most, "{algorithm}: {moved:?} of {}", before.len());
}

const NAMES: [&str; 3] = ["B1", "B2", "B3"];

const HASHED: [&str; 2] = ["source-hash", "maglev"];

/// Who serves which client.
type Places = BTreeMap<u8, String>;

fn ask_all(balancer: &Balancer) -> Places {
    (1..=240).map(|client| (client, balancer.ask_from(client))).collect()
}

fn before(trio: &[Backend; 3], algorithm: &str, weights: [u16; 3], options: &str) -> Balancer {
    let weights = weights.map(|weight| format!("weight = {weight}"));
    let listed = [0, 1, 2].map(|place| (trio[place].address, weights[place].as_str()));
    before_pool(&format!("algorithm = \"{algorithm}\"\n{UNCHECKED}"), &listed, options)
}

/// How often each of [`NAMES`].
fn count(said: impl Iterator<Item = String>) -> [u32; 3] {
    let mut shares = [0; 3];
    said.for_each(|name| shares[NAMES.iter().position(|one| *one == name).unwrap()] += 1);
    shares
}

struct Four {
    addresses: [SocketAddr; 4],
    backends: [Option<Backend>; 4],
}

impl Four {
    fn new() -> Self {
        let addresses = [(); 4].map(|()| own_address());
        let mut names = ["B1", "B2", "B3", "B4"].into_iter();
        let backends =
            addresses.map(|address| Some(Backend::named_on(address, names.next().unwrap())));
        Self { addresses, backends }
    }

    /// With the backends of these places, in this order.
    fn text(&self, algorithm: &str, places: &[usize]) -> String {
        let listed: Vec<_> = places.iter().map(|&place| (self.addresses[place], "")).collect();
        one_pool(&format!("algorithm = \"{algorithm}\"\neject_after = 0\n{UNCHECKED}"), &listed)
    }

    fn behind(&self, algorithm: &str, places: &[usize]) -> Balancer {
        ConfigFile::new(&self.text(algorithm, places)).start("")
    }
}
