//! Who is chosen, who is left out, and who waits.

use std::net::{SocketAddr, TcpStream};

use crate::support::backend::Backend;
use crate::support::{Balancer, Nobody, Silent, all_from, greet_one, name_from};

/// A client that has been greeted and stays.
fn held(balancer: &Balancer) -> (String, TcpStream) {
    let client = balancer.connect();
    (name_from(&client), client)
}

fn pair() -> ([Backend; 2], [SocketAddr; 2]) {
    let backends = ["B1", "B2"].map(Backend::named_and_held);
    let addresses = backends.each_ref().map(|one| one.address);
    (backends, addresses)
}

#[test]
fn round_robin_goes_round_whoever_is_busy() {
    let (_backends, addresses) = pair();
    let Some(balancer) = Balancer::before(&addresses, "--algorithm round-robin") else { return };
    let clients: Vec<_> = (0..4).map(|_| held(&balancer)).collect();
    let names: Vec<_> = clients.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["B1", "B2", "B1", "B2"]);
}

#[test]
fn least_connections_counts_sessions_and_their_ends() {
    let (_backends, addresses) = pair();
    let options = "--algorithm least-connections";
    let Some(balancer) = Balancer::before(&addresses, options) else { return };
    let before = balancer.descriptors();
    let mut clients: Vec<_> = (0..6).map(|_| held(&balancer)).collect();
    assert_eq!(clients.iter().filter(|(name, _)| name == "B1").count(), 3);
    clients.retain(|(name, _)| name == "B2");
    // A session's descriptors are closed after it was discharged.
    balancer.wait_for_descriptors(before + 2 * clients.len());
    let next: Vec<_> = (0..3).map(|_| held(&balancer)).collect();
    assert!(next.iter().all(|(name, _)| name == "B1"), "{next:?}");
}

#[test]
fn least_connections_takes_turns_among_equals() {
    let backends = ["B1", "B2"].map(Backend::named);
    let addresses = backends.each_ref().map(|one| one.address);
    let options = "--algorithm least-connections";
    let Some(balancer) = Balancer::before(&addresses, options) else { return };
    let before = balancer.descriptors();
    for name in ["B1", "B2", "B1", "B2"] {
        assert_eq!(balancer.ask(), name);
        balancer.wait_for_descriptors(before);
    }
}

#[test]
fn connects_that_failed_are_not_counted_as_sessions() {
    let (nobody, backend) = (Nobody::new(), Backend::named_and_held("B2"));
    let options = "--algorithm least-connections";
    let addresses = [nobody.address, backend.address];
    let Some(balancer) = Balancer::before(&addresses, options) else { return };
    let clients: Vec<_> = (0..3).map(|_| held(&balancer)).collect();
    assert!(clients.iter().all(|(name, _)| name == "B2"), "{clients:?}");
    let listener = nobody.listen(16);
    std::thread::spawn(move || {
        loop {
            greet_one(&listener, "B1");
        }
    });
    // It has none until these come, and the other one three.
    let next: Vec<_> = (0..2).map(|_| held(&balancer)).collect();
    assert!(next.iter().all(|(name, _)| name == "B1"), "{next:?}");
}

#[test]
fn auto_goes_round_while_counts_are_equal_and_says_which_rule_it_used() {
    let (_backends, addresses) = pair();
    let options = "--algorithm auto --log-level INFO";
    let Some(balancer) = Balancer::before(&addresses, options) else { return };
    let clients: Vec<_> = (0..2).map(|_| held(&balancer)).collect();
    balancer.wait_for_log("Routing client", 2);
    for ((name, client), (backend, rule)) in
        clients.iter().zip(addresses.iter().zip(["round-robin", "least-connections"]))
    {
        let port = client.local_addr().unwrap().port();
        let line = format!("INFO Routing client ('127.0.0.1', {port}) -> {backend} ({rule})\n");
        assert!(balancer.log().contains(&line), "{name}: {line} in {}", balancer.log());
    }
}

#[test]
fn a_dead_backend_is_left_out_under_every_rule() {
    let (nobody, backend) = (Nobody::new(), Backend::named("B2"));
    for algorithm in ["round-robin", "least-connections", "auto"] {
        let options = format!("--algorithm {algorithm}");
        let addresses = [nobody.address, backend.address];
        let Some(balancer) = Balancer::before(&addresses, &options) else { return };
        for _ in 0..6 {
            assert_eq!(balancer.ask(), "B2", "{algorithm}");
        }
    }
}

#[test]
fn a_client_is_held_until_a_backend_comes_with_checks_and_without() {
    for interval in ["0", "0.05"] {
        let nobody = Nobody::new();
        let options = format!(
            "--wait-for-backend-timeout 60 --health-check-interval {interval} --log-level WARNING"
        );
        let Some(balancer) = Balancer::before(&[nobody.address], &options) else { return };
        let client = balancer.connect();
        if interval != "0" {
            balancer.wait_for_log("is down", 1);
        }
        balancer.settle();
        let listener = nobody.listen(16);
        if interval == "0" {
            greet_one(&listener, "B1");
            assert_eq!(all_from(client), "B1");
        } else {
            // Checks come, say nothing and leave; the client's connection is among them.
            std::thread::spawn(move || {
                loop {
                    greet_one(&listener, "B1");
                }
            });
            assert_eq!(name_from(&client), "B1");
        }
    }
}

#[test]
fn a_client_that_nobody_can_serve_is_closed_and_the_balancer_lives() {
    let nobody = Nobody::new();
    let options = "--wait-for-backend-timeout 0.05";
    let Some(balancer) = Balancer::before(&[nobody.address], options) else { return };
    for _ in 0..3 {
        assert_eq!(balancer.ask(), "");
    }
    let listener = nobody.listen(16);
    let client = balancer.connect();
    greet_one(&listener, "B1");
    assert_eq!(all_from(client), "B1");
}

#[test]
fn sticky_clients_keep_their_backend_by_address_or_not_at_all() {
    let backends = ["B1", "B2"].map(Backend::named);
    let addresses = backends.each_ref().map(|one| one.address);
    let Some(balancer) = Balancer::before(&addresses, "--sticky-key ip") else { return };
    for _ in 0..3 {
        assert_eq!(all_from(balancer.connect_from(2)), "B1");
        assert_eq!(all_from(balancer.connect_from(3)), "B2");
    }
    // By its default, `auto`, a session whose end is not counted yet would decide where the next one goes.
    for options in ["--algorithm round-robin --sticky-key ip-port", "--algorithm round-robin"] {
        let Some(balancer) = Balancer::before(&addresses, options) else { return };
        let names: Vec<_> = (0..4).map(|_| all_from(balancer.connect_from(2))).collect();
        assert_eq!(names, ["B1", "B2", "B1", "B2"], "each is a port of its own: {options:?}");
    }
}

#[test]
fn a_sticky_client_moves_when_its_backend_is_gone_and_stays_there() {
    let mut first = Some(Backend::named("B1"));
    let address = first.as_ref().unwrap().address;
    let second = Backend::named("B2");
    let options = "--sticky-key ip";
    let Some(balancer) = Balancer::before(&[address, second.address], options) else { return };
    assert_eq!(balancer.ask(), "B1");
    first.take();
    assert_eq!(balancer.ask(), "B2");
    let _back = Backend::named_on(address, "B1");
    for _ in 0..3 {
        assert_eq!(balancer.ask(), "B2");
    }
}

#[test]
fn a_silent_backend_freezes_no_checks_and_its_clients_go_elsewhere() {
    let silent = Silent::new();
    let steady = Nobody::new();
    // The silent one is asked once, and for longer than this test may take.
    let options = "--health-check-interval 0.02 --health-check-timeout 600 --log-level INFO \
                   --wait-for-backend-timeout 0";
    let addresses = [silent.address, steady.address];
    let steady_address = steady.address;
    let Some(balancer) = Balancer::before(&addresses, options) else { return };
    balancer.wait_for_log(&format!("Backend {steady_address} is down"), 1);
    let listener = steady.listen(16);
    std::thread::spawn(move || {
        loop {
            greet_one(&listener, "B2");
        }
    });
    balancer.wait_for_log(&format!("Backend {steady_address} is up"), 1);
    // Half of these are sent to the silent one first, and go on to the other when it says nothing.
    let clients: Vec<_> = (0..4).map(|_| balancer.connect()).collect();
    assert!(clients.iter().all(|client| name_from(client) == "B2"), "{}", balancer.log());
    balancer
        .wait_for_log(&format!("Backend {} is down: no answer to a connect", silent.address), 1);
}

#[test]
fn a_backend_that_does_not_answer_a_check_in_time_is_down() {
    let (silent, steady) = (Silent::new(), Backend::named("B2"));
    let options = "--health-check-interval 0.05 --health-check-timeout 0.1 --log-level WARNING";
    let addresses = [silent.address, steady.address];
    let Some(balancer) = Balancer::before(&addresses, options) else { return };
    let words = format!("Backend {} is down: no answer to a health check", silent.address);
    balancer.wait_for_log(&words, 1);
    assert_eq!(balancer.ask(), "B2");
}
