//! What the listener does for clients before a session opens: `--defer-accept`, `--tcp-fastopen`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::time::Duration;

use crate::support::Balancer;
use crate::support::backend::Backend;
use nix::sys::signal::Signal;

#[test]
fn with_defer_accept_a_client_reaches_a_backend_when_it_speaks() {
    let backend = Backend::echo();
    let balancer = Balancer::before(&[backend.address], "--defer-accept 30s");
    assert!(balancer.setting("listener").contains("silent for 31s"), "{:?}", balancer.settings);
    let mut silent = balancer.connect();
    let mut speaking = balancer.connect();
    assert_eq!(echoed(&mut speaking), b"hello");
    // The silent one came first; were it not held back, it would have been there before.
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(backend.accepted(), 1, "the silent client was handed on");
    assert_eq!(echoed(&mut silent), b"hello");
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn without_defer_accept_a_silent_client_reaches_a_backend() {
    let backend = Backend::echo();
    let balancer = Balancer::before(&[backend.address], "");
    assert!(!balancer.setting("listener").contains("silent"), "{:?}", balancer.settings);
    let _silent = balancer.connect();
    backend.wait_for_accepted(1);
}

#[test]
fn fast_open_is_told_and_where_the_kernel_keeps_servers_from_it_so_is_the_cure() {
    let backend = Backend::echo();
    let mut balancer = Balancer::before(&[backend.address], "--tcp-fastopen 16");
    assert!(balancer.setting("listener").contains("Fast Open for 16"), "{:?}", balancer.settings);
    assert_eq!(echoed(&mut balancer.connect()), b"hello");
    balancer.signal(Signal::SIGTERM);
    balancer.wait();
    let setting: u32 = uring::sysctl("net/ipv4/tcp_fastopen").unwrap().parse().unwrap();
    let cure = format!("sysctl -w net.ipv4.tcp_fastopen={}", setting | 2);
    assert_eq!(balancer.log().contains(&cure), setting & 2 == 0, "{}", balancer.log());
}

/// What comes back of a word, to the end of the stream.
fn echoed(client: &mut std::net::TcpStream) -> Vec<u8> {
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).unwrap();
    said
}
