//! Where a redirected client wanted to go, in a network namespace of the test's own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use uring::{listen, local_address, original_destination, peer_address};

use support::{alone_on, skip};

#[test]
fn the_original_destination_is_where_the_client_wanted_to_go() {
    // The namespace is this thread's, and ends with it.
    if unshare(CloneFlags::CLONE_NEWNET).is_err() {
        return skip("the privilege to make a network namespace");
    }
    if !run("ip", &["link", "set", "lo", "up"], "") || !run("nft", &["--file", "-"], REDIRECT) {
        return skip("ip and nft, with NAT in the kernel");
    }
    // What listens on IPv6 takes clients of IPv4 too, whose addresses it sees mapped.
    for (listens, wanted) in
        [("127.0.0.1", "127.0.0.7:81"), ("::1", "[::1]:81"), ("::", "127.0.0.7:81")]
    {
        let ip: IpAddr = listens.parse().unwrap();
        let listener = listen(&alone_on(SocketAddr::new(ip, 8080))).unwrap();
        let wanted: SocketAddr = wanted.parse().unwrap();
        let client = TcpStream::connect(wanted).unwrap();
        let (server, _) = std::net::TcpListener::from(listener).accept().unwrap();
        assert_eq!(original_destination(&server), Some(wanted), "on {listens}");
        assert_eq!(local_address(&server).unwrap().port(), 8080);
        assert_eq!(peer_address(&server).unwrap().port(), client.local_addr().unwrap().port());
    }
}

/// Whether it succeeded.
fn run(program: &str, arguments: &[&str], input: &str) -> bool {
    let (stdin, stderr) = (Stdio::piped(), Stdio::null());
    let child = Command::new(program).args(arguments).stdin(stdin).stderr(stderr).spawn();
    let Ok(mut child) = child else { return false };
    // A program that does not read has failed, or needs nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait().unwrap().success()
}

const REDIRECT: &str = "table inet away {
    chain output {
        type nat hook output priority -100
        tcp dport 81 redirect to :8080
    }
}
";
