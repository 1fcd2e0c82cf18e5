//! Listeners: what they share, and what is said when there can be none.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use support::{accepted, alone_on, answer, client_of, listener_on, loopback, owner, ring, skip};
use uring::{
    ConnectOptions, Errno, Listen, ListenError, ListenOptions, check_unused, listen,
    listen_options, local_address, stream_socket,
};

#[test]
fn a_port_in_use_is_named_with_the_command_that_shows_who_has_it() {
    let (_holder, address) = listener_on(Ipv4Addr::LOCALHOST);
    let error = listen(&alone_on(address)).unwrap_err();
    assert!(matches!(error, ListenError::InUse(where_) if where_ == address), "{error:?}");
    assert!(error.to_string().contains(&format!("sport = :{}", address.port())), "{error}");
}

#[test]
fn a_port_of_a_listener_that_does_not_share_cannot_be_shared() {
    let (_holder, address) = listener_on(Ipv4Addr::LOCALHOST);
    let shared = Listen { shared: true, ..alone_on(address) };
    assert!(matches!(listen(&shared).unwrap_err(), ListenError::InUse(_)));
}

#[test]
fn an_address_of_another_machine_is_named_with_its_cure() {
    // TEST-NET-2 (RFC 5737): no machine has it.
    let address = SocketAddr::from(([198, 51, 100, 1], 0));
    let error = listen(&alone_on(address)).unwrap_err();
    assert!(matches!(error, ListenError::NoSuchAddress(_)), "{error:?}");
    assert!(error.to_string().contains("use 0.0.0.0 or [::]"), "{error}");
}

#[test]
fn two_listeners_share_one_port_and_clients_reach_both() {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let first = listen(&Listen { shared: true, ..alone_on(any_port) }).unwrap();
    let address = local_address(&first).unwrap();
    let second = listen(&Listen { shared: true, ..alone_on(address) }).unwrap();
    let clients: Vec<TcpStream> = (0..64).map(|_| client_of(address)).collect();
    let shares = [count_waiting(first.into()), count_waiting(second.into())];
    assert_eq!(shares.iter().sum::<usize>(), clients.len());
    // The kernel hashes; all 64 on one side has a chance of 2^-63.
    assert!(shares.iter().all(|&share| share > 0), "{shares:?}");
}

#[test]
fn a_port_that_others_share_is_not_unused_and_looking_takes_nothing() {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    check_unused(any_port).unwrap();
    let shared = listen(&Listen { shared: true, ..alone_on(any_port) }).unwrap();
    let address = local_address(&shared).unwrap();
    let error = check_unused(address).unwrap_err();
    assert!(matches!(error, ListenError::InUse(_)), "{error:?}");
    drop(shared);
    check_unused(address).unwrap();
    listen(&alone_on(address)).unwrap();
}

#[test]
fn a_listener_binds_again_at_once_although_connections_linger() {
    let (listener, address) = listener_on(Ipv4Addr::LOCALHOST);
    let listener = std::net::TcpListener::from(listener);
    let mut client = client_of(address);
    listener.set_nonblocking(false).unwrap();
    // The side that closes first keeps TIME_WAIT on the port.
    drop(listener.accept().unwrap());
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    drop(client);
    drop(listener);
    listen(&alone_on(address)).unwrap();
}

#[test]
fn a_listener_is_non_blocking_and_without_nagle() {
    let (listener, _) = listener_on(Ipv4Addr::LOCALHOST);
    let seen = SockRef::from(&listener);
    assert!(seen.nonblocking().unwrap() && seen.tcp_nodelay().unwrap());
    assert!(seen.is_listener().unwrap());
}

#[test]
fn options_are_off_unless_asked_for_and_then_as_the_kernel_has_them() {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for (asked_ms, seconds) in [(0, 0), (1, 1), (1000, 1), (1001, 3), (3000, 3), (20_000, 31)] {
        let options = ListenOptions {
            defer_accept: (asked_ms > 0).then(|| Duration::from_millis(asked_ms)),
            fast_open: u16::try_from(asked_ms.min(7)).unwrap(),
            keepalive: (asked_ms > 0).then(|| Duration::from_millis(asked_ms)),
            user_timeout: (asked_ms > 0).then(|| Duration::from_millis(asked_ms)),
        };
        let listener = listen(&Listen { options, ..alone_on(any_port) }).unwrap();
        let expected = ListenOptions {
            defer_accept: (seconds > 0).then(|| Duration::from_secs(seconds)),
            keepalive: (asked_ms > 0).then(|| Duration::from_secs(asked_ms.div_ceil(1000))),
            ..options
        };
        assert_eq!(listen_options(&listener).unwrap(), expected, "{asked_ms} ms");
    }
}

#[test]
fn a_client_that_says_nothing_is_not_accepted_until_it_does() {
    let options =
        ListenOptions { defer_accept: Some(Duration::from_secs(30)), ..ListenOptions::default() };
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = listen(&Listen { options, ..alone_on(any_port) }).unwrap();
    let mut client = client_of(local_address(&listener).unwrap());
    let listener = std::net::TcpListener::from(listener);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    client.write_all(b"x").unwrap();
    listener.set_nonblocking(false).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    accepted.read_exact(&mut [0]).unwrap();
}

#[test]
fn what_a_listener_has_its_connections_have_too() {
    let (listener, address) = listener_on(Ipv4Addr::LOCALHOST);
    let (time, interval, tries) = (Duration::from_secs(77), Duration::from_secs(7), 3);
    let user_timeout = Some(Duration::from_millis(12_345));
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval);
    SockRef::from(&listener).set_tcp_keepalive(&keepalive.with_retries(tries)).unwrap();
    SockRef::from(&listener).set_tcp_user_timeout(user_timeout).unwrap();
    let keepalive = Some((time, interval, tries));
    let expected = Inherited { nodelay: true, oob_inline: true, keepalive, user_timeout };
    let Some(mut ring) = ring() else { return };
    ring.accept(&listener, owner(0, 0, 0));
    let _client = client_of(address);
    let by_ring = accepted(answer(&mut ring));
    assert_eq!(inherited(by_ring), expected);
    let _client = client_of(address);
    let (by_call, _) = std::net::TcpListener::from(listener).accept().unwrap();
    assert_eq!(inherited(by_call), expected);
}

#[test]
fn an_accepted_connection_is_only_non_blocking_because_the_accept_says_so() {
    let (listener, address) = listener_on(Ipv4Addr::LOCALHOST);
    let Some(mut ring) = ring() else { return };
    ring.accept(&listener, owner(0, 0, 0));
    let _client = client_of(address);
    assert!(SockRef::from(&accepted(answer(&mut ring))).nonblocking().unwrap());
    let _client = client_of(address);
    let (by_call, _) = std::net::TcpListener::from(listener).accept().unwrap();
    assert!(!SockRef::from(&by_call).nonblocking().unwrap());
}

#[test]
fn connections_inherit_the_options_that_are_for_them() {
    let keepalive = Some(Duration::from_secs(30));
    let user_timeout = Some(Duration::from_secs(40));
    let defer_accept = Some(Duration::from_secs(7));
    let options = ListenOptions { defer_accept, fast_open: 9, keepalive, user_timeout };
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = listen(&Listen { options, ..alone_on(any_port) }).unwrap();
    let mut client = client_of(local_address(&listener).unwrap());
    client.write_all(b"x").unwrap();
    let listener = std::net::TcpListener::from(listener);
    listener.set_nonblocking(false).unwrap();
    let (connection, _) = listener.accept().unwrap();
    let inherited = ListenOptions { keepalive, user_timeout, ..ListenOptions::default() };
    assert_eq!(listen_options(&connection).unwrap(), inherited);
    let probed_every = SockRef::from(&connection).tcp_keepalive_interval().unwrap();
    assert_eq!(Some(probed_every), keepalive);
}

#[test]
fn a_socket_to_connect_with_has_what_it_is_given_and_nothing_else() {
    let (_listener, address) = listener_on(Ipv4Addr::LOCALHOST);
    let socket = stream_socket(&address.into(), &ConnectOptions::default()).unwrap();
    // TCP_NODELAY is for who sends twice; see `set_nodelay`.
    let (nodelay, oob_inline) = (false, true);
    let expected = Inherited { nodelay, oob_inline, keepalive: None, user_timeout: None };
    assert_eq!(inherited(socket), expected);
}

#[test]
fn an_ipv6_listener_takes_clients() {
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skip("the IPv6 loopback ::1");
    }
    let (listener, address) = listener_on(Ipv6Addr::LOCALHOST);
    assert!(address.is_ipv6());
    let _client = client_of(address);
    assert_eq!(count_waiting(listener.into()), 1);
}

/// How many clients wait at a non-blocking listener.
fn count_waiting(listener: std::net::TcpListener) -> usize {
    std::iter::from_fn(|| listener.accept().ok()).count()
}

/// The options that a connection could have from its listener.
#[derive(Debug, PartialEq, Eq)]
struct Inherited {
    nodelay: bool,
    oob_inline: bool,
    /// Time, interval and tries, if it is on.
    keepalive: Option<(Duration, Duration, u32)>,
    user_timeout: Option<Duration>,
}

fn inherited(socket: impl AsFd) -> Inherited {
    let socket = SockRef::from(&socket);
    let keepalive = || {
        let (time, interval) = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
        (time.unwrap(), interval.unwrap(), socket.tcp_keepalive_retries().unwrap())
    };
    Inherited {
        nodelay: socket.tcp_nodelay().unwrap(),
        oob_inline: socket.out_of_band_inline().unwrap(),
        keepalive: socket.keepalive().unwrap().then(keepalive),
        user_timeout: socket.tcp_user_timeout().unwrap(),
    }
}

#[test]
fn a_socket_to_connect_with_has_the_options_that_were_asked_for() {
    for ip in loopback() {
        let (listener, address) = listener_on(ip);
        let keepalive = Some(Duration::from_millis(29_001));
        let user_timeout = Some(Duration::from_secs(40));
        let source = Some(ip);
        let options = ConnectOptions { source, keepalive, user_timeout };
        let socket = stream_socket(&address.into(), &options).unwrap();
        let seen = SockRef::from(&socket);
        assert!(seen.keepalive().unwrap());
        assert_eq!(seen.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(seen.tcp_keepalive_interval().unwrap(), Duration::from_secs(30));
        assert_eq!(seen.tcp_user_timeout().unwrap(), user_timeout);
        // The port is chosen when it is known where to.
        assert_eq!(local_address(&socket).unwrap(), SocketAddr::new(ip, 0));
        seen.set_nonblocking(false).unwrap();
        seen.connect(&address.into()).unwrap();
        let (_, client) = SockRef::from(&listener).accept().unwrap();
        assert_eq!(client.as_socket().unwrap(), local_address(&socket).unwrap());
    }
}

#[test]
fn the_source_is_the_address_that_was_asked_for() {
    let (listener, address) = listener_on(Ipv4Addr::LOCALHOST);
    let source = IpAddr::from([127, 0, 0, 9]);
    let options = ConnectOptions { source: Some(source), ..ConnectOptions::default() };
    let socket = stream_socket(&address.into(), &options).unwrap();
    SockRef::from(&socket).set_nonblocking(false).unwrap();
    SockRef::from(&socket).connect(&address.into()).unwrap();
    let (_, client) = SockRef::from(&listener).accept().unwrap();
    assert_eq!(client.as_socket().unwrap().ip(), source);
}

#[test]
fn a_source_that_cannot_be_fails_before_the_connect() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9)).into();
    // TEST-NET-2 (RFC 5737): no machine has it.
    let foreign = IpAddr::from([198, 51, 100, 1]);
    for (source, errno) in
        [(IpAddr::V6(Ipv6Addr::LOCALHOST), Errno::EAFNOSUPPORT), (foreign, Errno::EADDRNOTAVAIL)]
    {
        let options = ConnectOptions { source: Some(source), ..ConnectOptions::default() };
        let error = stream_socket(&address, &options).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno as i32), "{source}");
    }
}
