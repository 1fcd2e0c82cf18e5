//! What depends on the kernel's network settings, each in a network namespace of its own where they
//! can be changed. Needs root, iproute2 and nftables.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc::channel;

use crate::support::backend::Backend;
use crate::support::network::{in_own_network, set};
use crate::support::{Balancer, End, WATCHDOG, read_to_the_end, skip};
use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

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

#[test]
fn with_tcp_fastopen_the_first_bytes_of_a_known_client_come_with_its_syn() {
    if !in_own_network() {
        return skip("root and `ip`, to have a network of its own");
    }
    // Clients and servers.
    set("net/ipv4/tcp_fastopen", "3");
    let backend = Backend::echo();
    let mut balancer = Balancer::before(&[backend.address], "--tcp-fastopen 16");
    // The first connection brings the cookie that the second shows (RFC 7413).
    for with_syn in [0, 1] {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.send_to_with_flags(b"hello", &balancer.address.into(), MSG_FASTOPEN).unwrap();
        let mut client = crate::support::patient(socket.into());
        client.read_exact(&mut [0; 5]).unwrap();
        assert_eq!(passive_fast_opens(), with_syn);
    }
    balancer.signal(Signal::SIGTERM);
    balancer.wait();
    assert!(!balancer.log().contains("sysctl"), "{}", balancer.log());
}

/// Nothing comes from it any more, not even an acknowledgement or a reset. Without the options the
/// session would last for an hour, or for as long as the kernel tries.
#[test]
fn a_session_with_a_lost_host_ends_and_says_who_was_lost() {
    if !in_own_network() || !drop_packets("tcp sport 1") {
        return skip("root, `ip` and `nft`, to lose packets in a network of its own");
    }
    let unanswered = "--tcp-user-timeout 1s";
    let silent = "--tcp-user-timeout 1s --tcp-keepalive 1s";
    for (lost, speaks, options, reason) in [
        (Side::Backend, true, unanswered, "SD backend-gone 1"),
        (Side::Client, true, unanswered, "CD client-gone 1"),
        (Side::Backend, false, silent, "SD backend-gone 1"),
        (Side::Client, false, silent, "CD client-gone 1"),
    ] {
        let (accepted, accepts) = channel();
        let backend = Backend::running(move |client| accepted.send(client).unwrap());
        let mut balancer = Balancer::before(&[backend.address], options);
        let mut client = balancer.connect();
        let mut backends = accepts.recv_timeout(WATCHDOG).unwrap();
        // What the lost host sends is dropped where it would arrive.
        let (there, here) = match lost {
            Side::Backend => (&backends, &mut client),
            Side::Client => (&client, &mut backends),
        };
        let port = there.local_addr().unwrap().port();
        // Dropped before the backend, which ends by a connection to it, also when this fails.
        let lossy = Lossy;
        assert!(drop_packets(&format!("tcp sport {port}")));
        if speaks {
            here.write_all(b"hello").unwrap();
        }
        assert_eq!(read_to_the_end(here), End::Reset(0), "{reason}");
        drop(lossy);
        balancer.signal(Signal::SIGTERM);
        balancer.wait();
        assert!(
            balancer.log().contains(&format!("sessions ended: {reason}")),
            "{}",
            balancer.log()
        );
    }
}

enum Side {
    Client,
    Backend,
}

/// Packets like these do not arrive any more in the network of this thread.
fn drop_packets(like: &str) -> bool {
    let rules = format!(
        "add table inet lossy; \
         add chain inet lossy input {{ type filter hook input priority 0; }}; \
         add rule inet lossy input {like} drop"
    );
    nft(&rules)
}

/// Packets arrive again when it is dropped.
struct Lossy;

impl Drop for Lossy {
    fn drop(&mut self) {
        nft("delete table inet lossy");
    }
}

fn nft(command: &str) -> bool {
    Command::new("nft").arg(command).status().is_ok_and(|done| done.success())
}

/// Connections that were accepted with data in the SYN, in the network of this thread.
fn passive_fast_opens() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("TcpExt:")).collect();
    let [names, values] = lines.as_slice() else { panic!("two lines: {lines:?}") };
    let mut counts = names.split_whitespace().zip(values.split_whitespace());
    let count = counts.find(|&(name, _)| name == "TCPFastOpenPassive");
    count.unwrap().1.parse().unwrap()
}

/// What the balancer answers to a word, before it ends the connection one way or the other.
fn said_to(mut client: TcpStream) -> String {
    let _ = client.write_all(b"hello");
    let mut said = Vec::new();
    let _ = client.read_to_end(&mut said);
    String::from_utf8(said).unwrap()
}

/// Connects and sends (include/linux/socket.h).
const MSG_FASTOPEN: i32 = 0x2000_0000;

/// Outside the ports that are picked.
const FIXED: &str = "--host 127.0.0.1 --port 8080";
