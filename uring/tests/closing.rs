//! Closing a listener without a reset for anybody, on the real kernel.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use uring::{
    Errno, Listen, ListenOptions, listen, local_address, refuse_new_connections, try_accept,
};

use support::{alone_on, client_of, listener_on, loopback, patient};

#[test]
fn who_is_in_the_queue_can_still_be_accepted_and_talks_on() {
    for ip in loopback() {
        let (listener, address) = listener_on(ip);
        let clients = [(); 3].map(|()| client_of(address));
        refuse_new_connections(&listener).unwrap();
        for mut client in clients {
            client.write_all(b"hello").unwrap();
            let mut server = stream(try_accept(&listener).unwrap());
            let mut bytes = [0; 5];
            server.read_exact(&mut bytes).unwrap();
            server.write_all(&bytes).unwrap();
            drop(server);
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"hello");
        }
        assert_eq!(try_accept(&listener).unwrap_err(), Errno::EAGAIN);
    }
}

#[test]
fn a_handshake_under_way_is_completed() {
    for ip in loopback() {
        // The kernel holds the last step of the handshake back until the client has said something.
        let defer_accept = Some(Duration::from_secs(30));
        let options = ListenOptions { defer_accept, ..ListenOptions::default() };
        let listener = listen(&Listen { options, ..alone_on(SocketAddr::new(ip, 0)) }).unwrap();
        let mut client = client_of(local_address(&listener).unwrap());
        assert_eq!(try_accept(&listener).unwrap_err(), Errno::EAGAIN);
        refuse_new_connections(&listener).unwrap();
        client.write_all(b"hello").unwrap();
        let mut bytes = [0; 5];
        stream(try_accept(&listener).unwrap()).read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
    }
}

#[test]
fn who_comes_now_is_neither_let_in_nor_refused_until_the_listener_is_closed() {
    for ip in loopback() {
        let (listener, address) = listener_on(ip);
        refuse_new_connections(&listener).unwrap();
        let error = TcpStream::connect_timeout(&address, UNANSWERED).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(listener);
        let error = TcpStream::connect_timeout(&address, UNANSWERED).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn who_comes_now_is_let_in_by_who_listens_there_next() {
    let shared = |address| Listen { shared: true, ..alone_on(address) };
    let first = listen(&shared(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).unwrap();
    let address = local_address(&first).unwrap();
    refuse_new_connections(&first).unwrap();
    let client = std::thread::spawn(move || TcpStream::connect(address));
    while !is_connecting_to(address) {
        assert!(!client.is_finished(), "it was answered");
        std::thread::yield_now();
    }
    let _second = listen(&shared(address)).unwrap();
    drop(first);
    client.join().unwrap().unwrap();
}

/// Whether somebody has sent a SYN there that is not answered (state 02 in proc_net_tcp(5)).
fn is_connecting_to(address: SocketAddr) -> bool {
    let port = format!(":{:04X} 02 ", address.port());
    std::fs::read_to_string("/proc/net/tcp").unwrap().lines().any(|line| line.contains(&port))
}

fn stream(fd: OwnedFd) -> TcpStream {
    let stream = TcpStream::from(fd);
    stream.set_nonblocking(false).unwrap();
    patient(stream)
}

/// Over loopback an answer comes before connect(2) returns, so that any time will do.
const UNANSWERED: Duration = Duration::from_millis(50);
