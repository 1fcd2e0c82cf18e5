//! What depends on the kernel's network settings, each in a network namespace of its own where they
//! can be changed. Needs root and iproute2.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use support::backend::Backend;
use support::{Balancer, skip};

#[test]
fn a_dead_backend_is_never_met_by_the_connect_to_it_wherever_its_port_is() {
    if !in_own_network() {
        return skip("root and `ip`, to have a network of its own");
    }
    // So few that a connect to the first of them meets itself as soon as the kernel picks it.
    set("net/ipv4/ip_local_port_range", "40000 40009");
    for dead in [40000, 39999] {
        let dead = SocketAddr::from((Ipv4Addr::LOCALHOST, dead));
        let mut balancer = Balancer::with(&format!("{FIXED} --backends {dead}"));
        for _ in 0..20 {
            // What is sent would come back from a socket that is connected to itself.
            assert_eq!(said_to(balancer.connect()), "", "{dead}");
        }
        balancer.signal(Signal::SIGTERM);
        balancer.wait();
        assert!(balancer.log().contains("connect_failed=20"), "{dead}: {}", balancer.log());
    }
}

#[test]
fn a_live_backend_is_met_on_either_side_of_the_ports_that_the_kernel_picks() {
    if !in_own_network() {
        return skip("root and `ip`, to have a network of its own");
    }
    set("net/ipv4/ip_local_port_range", "40000 40099");
    let on = |port, name| Backend::named_on((Ipv4Addr::LOCALHOST, port).into(), name);
    let (_b1, _b2) = (on(40000, "B1"), on(39999, "B2"));
    let backends = "--backends 127.0.0.1:40000,127.0.0.1:39999 --algorithm round-robin";
    let balancer = Balancer::with(&format!("{FIXED} --shards 1 {backends}"));
    let said: Vec<String> = (0..6).map(|_| balancer.ask()).collect();
    assert_eq!(said, ["B1", "B2", "B1", "B2", "B1", "B2"]);
}

/// What the balancer answers to a word, before it ends the connection one way or the other.
fn said_to(mut client: TcpStream) -> String {
    let _ = client.write_all(b"hello");
    let mut said = Vec::new();
    let _ = client.read_to_end(&mut said);
    String::from_utf8(said).unwrap()
}

/// Moves this thread, and what it starts from now on, to a network with a loopback alone.
fn in_own_network() -> bool {
    let with_loopback = || Command::new("ip").args(["link", "set", "lo", "up"]).status();
    unshare(CloneFlags::CLONE_NEWNET).is_ok() && with_loopback().is_ok_and(|done| done.success())
}

/// /proc/sys/net shows the network of who looks.
fn set(sysctl: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{sysctl}"), value).unwrap();
}

/// Outside the ports that are picked.
const FIXED: &str = "--host 127.0.0.1 --port 8080";
