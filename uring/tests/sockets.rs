//! Connections: accept, connect, and the ways in which they end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::collections::HashSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use socket2::SockRef;
use support::{
    accepted, answer, answers, assert_silent, client_of, listener_on, owner, patient, received,
    ring, ring_of, skip, tcp_pair,
};
use uring::{
    Config, ConnectOptions, Errno, Op, Outcome, Owner, Readiness, Token, local_address,
    peer_address, stream_socket,
};

#[test]
fn an_accept_waits_for_a_client_and_takes_it() {
    let Some(mut ring) = ring() else { return };
    let (listener, address) = listener_on(Ipv4Addr::LOCALHOST);
    ring.accept(&listener, owner(1, 2, 3));
    assert_silent(&mut ring);
    let client = client_of(address);
    let completion = answer(&mut ring);
    assert_eq!(completion.token, Token { op: Op::Accept, owner: owner(1, 2, 3) });
    assert_eq!(peer_address(&accepted(completion)), client.local_addr().ok());
}

#[test]
fn an_accepted_connection_is_non_blocking_close_on_exec_and_has_no_nagle() {
    let Some(mut ring) = ring() else { return };
    let (listener, address) = listener_on(Ipv4Addr::LOCALHOST);
    let _client = client_of(address);
    ring.accept(&listener, Owner::slot(1));
    let socket = accepted(answer(&mut ring));
    assert!(SockRef::from(&socket).nonblocking().unwrap());
    assert!(closes_on_exec(&socket));
    assert!(SockRef::from(&socket).tcp_nodelay().unwrap(), "inherited from the listener");
}

#[test]
fn several_accepts_armed_on_one_listener_take_one_client_each() {
    let Some(mut ring) = ring() else { return };
    let (listener, address) = listener_on(Ipv4Addr::LOCALHOST);
    (0..6).for_each(|slot| ring.accept(&listener, Owner::slot(slot)));
    assert_silent(&mut ring);
    let clients: Vec<TcpStream> = (0..4).map(|_| client_of(address)).collect();
    let completions = answers(&mut ring, 4);
    let slots: HashSet<u32> =
        completions.iter().map(|completion| completion.token.owner.slot).collect();
    assert_eq!(slots.len(), 4, "{completions:?}");
    let sockets: Vec<OwnedFd> = completions.into_iter().map(accepted).collect();
    let peers: HashSet<_> = sockets.iter().filter_map(peer_address).collect();
    assert_eq!(peers, clients.iter().map(|client| client.local_addr().unwrap()).collect());
    // Two are still armed.
    assert_silent(&mut ring);
    assert_eq!(ring.in_flight(), 2);
}

#[test]
fn accepts_take_all_clients_that_came_before_them() {
    let Some(mut ring) = ring() else { return };
    let (listener, address) = listener_on(Ipv4Addr::LOCALHOST);
    let clients: Vec<TcpStream> = (0..4).map(|_| client_of(address)).collect();
    (0..6).for_each(|slot| ring.accept(&listener, Owner::slot(slot)));
    let sockets: Vec<OwnedFd> = answers(&mut ring, 4).into_iter().map(accepted).collect();
    let peers: HashSet<_> = sockets.iter().filter_map(peer_address).collect();
    assert_eq!(peers, clients.iter().map(|client| client.local_addr().unwrap()).collect());
    // The other two wait for the next.
    assert_silent(&mut ring);
    let _next = client_of(address);
    accepted(answer(&mut ring));
}

#[test]
fn a_cancelled_accept_leaves_the_other_armed_and_loses_no_client() {
    let Some(mut ring) = ring() else { return };
    let (listener, address) = listener_on(Ipv4Addr::LOCALHOST);
    ring.accept(&listener, Owner::slot(1));
    ring.accept(&listener, Owner::slot(2));
    assert_silent(&mut ring);
    ring.cancel(Token { op: Op::Accept, owner: Owner::slot(1) });
    let completion = answer(&mut ring);
    assert_eq!(completion.token.owner.slot, 1);
    assert!(matches!(completion.outcome, Outcome::Failed(Errno::ECANCELED)), "{completion:?}");
    let clients = [client_of(address), client_of(address)];
    let completion = answer(&mut ring);
    assert_eq!(completion.token.owner.slot, 2);
    let first = accepted(completion);
    // The second waits in the backlog until somebody asks for it.
    assert_silent(&mut ring);
    ring.accept(&listener, Owner::slot(3));
    let second = accepted(answer(&mut ring));
    let peers = [peer_address(&first), peer_address(&second)];
    assert_eq!(peers, clients.map(|client| client.local_addr().ok()));
}

#[test]
fn a_connect_reaches_its_backend() {
    let Some(mut ring) = ring() else { return };
    connects_to(&mut ring, &TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
}

#[test]
fn a_connect_reaches_an_ipv6_backend() {
    let Some(mut ring) = ring() else { return };
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return skip("the IPv6 loopback ::1");
    };
    connects_to(&mut ring, &listener);
}

fn connects_to(ring: &mut uring::Ring, listener: &TcpListener) {
    let address = listener.local_addr().unwrap();
    let socket = stream_socket(&address.into(), &ConnectOptions::default()).unwrap();
    ring.connect(&socket, &address.into(), owner(4, 5, 6));
    let completion = answer(ring);
    assert_eq!(completion.token, Token { op: Op::Connect, owner: owner(4, 5, 6) });
    assert!(matches!(completion.outcome, Outcome::Done(0)), "{completion:?}");
    assert_eq!(peer_address(&socket), Some(address));
    let (mut backend, client) = listener.accept().unwrap();
    assert_eq!(local_address(&socket).unwrap(), client);
    backend.write_all(b"hello").unwrap();
    ring.recv(&socket, Readiness::Unknown, Owner::slot(4));
    let completion = answer(ring);
    assert_eq!(received(ring, &completion), b"hello");
}

#[test]
fn a_connect_to_nobody_is_refused_and_the_ring_goes_on() {
    let Some(mut ring) = ring() else { return };
    // Bound but not listening: nobody else can be given this port meanwhile.
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let nobody = bound.local_addr().unwrap().as_socket().unwrap();
    for slot in 0..3 {
        let socket = stream_socket(&nobody.into(), &ConnectOptions::default()).unwrap();
        ring.connect(&socket, &nobody.into(), Owner::slot(slot));
        let completion = answer(&mut ring);
        assert_eq!(completion.token.owner.slot, slot);
        assert!(matches!(completion.outcome, Outcome::Failed(Errno::ECONNREFUSED)));
    }
    connects_to(&mut ring, &TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
}

#[test]
fn many_connects_over_a_small_queue_keep_their_addresses() {
    let config = Config {
        entries: 4,
        buffers: 2,
        published: 2,
        buffer_bytes: 4096,
        reserved: 0,
        busy_poll: None,
    };
    let Some(mut ring) = ring_of(&config) else { return };
    let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    // Two families, whose addresses differ in length; half with other operations between them.
    let listeners: Vec<TcpListener> = (0..64)
        .map(|index| match v6 && index % 3 == 0 {
            true => TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap(),
            false => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
        })
        .collect();
    let mut sockets = Vec::new();
    for (slot, listener) in (0..).zip(&listeners) {
        let address = listener.local_addr().unwrap();
        let socket = stream_socket(&address.into(), &ConnectOptions::default()).unwrap();
        (32..slot).take(slot as usize % 4).for_each(|_| ring.nop(Owner::slot(u32::MAX)));
        ring.connect(&socket, &address.into(), Owner::slot(slot));
        sockets.push(socket);
    }
    assert!(ring.counters().sq_full > 0, "the queue is small, so it must have overflowed");
    let want = usize::try_from(ring.in_flight()).unwrap();
    for completion in answers(&mut ring, want) {
        assert!(matches!(completion.outcome, Outcome::Done(0)), "{completion:?}");
    }
    for (socket, listener) in sockets.iter().zip(&listeners) {
        assert_eq!(peer_address(socket), listener.local_addr().ok());
        assert_eq!(listener.accept().unwrap().1, local_address(socket).unwrap());
    }
}

#[test]
fn a_pending_connect_can_be_cancelled() {
    let Some(mut ring) = ring() else { return };
    let full = FullListener::new();
    let socket = stream_socket(&full.address.into(), &ConnectOptions::default()).unwrap();
    ring.connect(&socket, &full.address.into(), owner(1, 1, 1));
    assert_silent(&mut ring);
    ring.cancel(Token { op: Op::Connect, owner: owner(1, 1, 1) });
    let completion = answer(&mut ring);
    assert!(matches!(completion.outcome, Outcome::Failed(Errno::ECANCELED)), "{completion:?}");
}

#[test]
fn a_closed_connection_is_the_end_of_the_stream_for_the_peer() {
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    ring.close(here);
    ring.submit_and_wait(1, Some(support::WATCHDOG)).unwrap();
    assert_eq!(there.read(&mut [0; 8]).unwrap(), 0);
    ring.completions(&mut Vec::with_capacity(1));
    assert_eq!((ring.in_flight(), ring.counters().close_failed), (0, 0));
}

#[test]
fn a_close_with_reset_is_econnreset_for_the_peer() {
    let (here, mut there) = tcp_pair();
    uring::close_with_reset(here);
    assert_eq!(there.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn who_has_finished_writing_still_receives() {
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    uring::finish_writing(&here).unwrap();
    assert_eq!(there.read(&mut [0; 8]).unwrap(), 0, "the peer reads the end");
    there.write_all(b"answer").unwrap();
    ring.recv(&here, Readiness::Unknown, Owner::slot(1));
    let completion = answer(&mut ring);
    assert_eq!(received(&mut ring, &completion), b"answer");
}

#[test]
fn finishing_writing_after_a_reset_is_an_error_and_no_more() {
    let (here, there) = tcp_pair();
    uring::close_with_reset(there.into());
    let mut here = TcpStream::from(here);
    here.set_nonblocking(false).unwrap();
    assert_eq!(here.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(uring::finish_writing(&here).unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(peer_address(&here), None);
}

#[test]
fn socket_options_are_what_their_names_say() {
    let (_, address) = listener_on(Ipv4Addr::LOCALHOST);
    let socket = stream_socket(&address.into(), &ConnectOptions::default()).unwrap();
    let seen = SockRef::from(&socket);
    assert!(seen.nonblocking().unwrap() && closes_on_exec(&socket));
    assert!(!seen.tcp_nodelay().unwrap());
    uring::set_nodelay(&socket).unwrap();
    assert!(seen.tcp_nodelay().unwrap());
    assert!(seen.out_of_band_inline().unwrap());
    assert_eq!(peer_address(&socket), None, "not connected yet");
}

#[test]
fn urgent_bytes_stay_in_the_stream_and_do_not_take_buffers() {
    let Some(mut ring) = ring() else { return };
    let (listener, address) = listener_on(Ipv4Addr::LOCALHOST);
    ring.accept(&listener, Owner::slot(0));
    let client = client_of(address);
    let Outcome::Accepted(socket) = answer(&mut ring).outcome else { panic!("a client waits") };
    let free = ring.buffers_free();
    // One more than the wake-ups after which the kernel would hand a receive to a thread.
    for _ in 0..=128 {
        ring.recv(&socket, Readiness::Empty, Owner::slot(1));
        SockRef::from(&client).send_out_of_band(b"!").unwrap();
        let completion = answer(&mut ring);
        assert_eq!(received(&mut ring, &completion), b"!");
    }
    assert_eq!(ring.buffers_free(), free);
}

fn closes_on_exec(socket: &OwnedFd) -> bool {
    let flags = nix::fcntl::fcntl(socket, nix::fcntl::FcntlArg::F_GETFD).unwrap();
    nix::fcntl::FdFlag::from_bits_retain(flags).contains(nix::fcntl::FdFlag::FD_CLOEXEC)
}

/// A listener whose backlog is full: what connects now gets no answer.
struct FullListener {
    address: SocketAddr,
    _listener: socket2::Socket,
    _fillers: Vec<TcpStream>,
}

impl FullListener {
    fn new() -> Self {
        let listener =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        // The kernel takes one more than the backlog (sk_acceptq_is_full, include/net/sock.h).
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let fillers = vec![patient(TcpStream::connect(address).unwrap())];
        Self { address, _listener: listener, _fillers: fillers }
    }
}

/// A port of our own is as good as one that the kernel picks: the connect meets its own socket.
#[test]
fn a_socket_that_met_itself_is_known_also_by_a_wildcard_address() {
    for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let port = local_address(&socket).unwrap().port();
        socket.connect(&SocketAddr::from((address, port)).into()).unwrap();
        assert!(uring::is_connected_to_itself(&socket), "by {address}");
        // By a reset, which leaves nothing in TIME_WAIT.
        uring::close_with_reset(socket.into());
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
    let (here, _there) = tcp_pair();
    assert!(!uring::is_connected_to_itself(&here));
}

#[test]
fn what_is_discarded_is_counted_and_gone_and_takes_no_buffer() {
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    ring.discard(&here, 5, Readiness::Empty, Owner::slot(1));
    assert_silent(&mut ring);
    let free = ring.buffers_free();
    there.write_all(b"12345rest").unwrap();
    let discarded = answer(&mut ring);
    assert!(matches!(discarded.outcome, Outcome::Done(5)), "{discarded:?}");
    assert_eq!((discarded.token.op, ring.buffers_free()), (Op::Recv, free));
    ring.recv(&here, Readiness::Unknown, Owner::slot(1));
    let rest = answer(&mut ring);
    assert_eq!(received(&mut ring, &rest), b"rest");
    drop(there);
    ring.discard(&here, 5, Readiness::Unknown, Owner::slot(1));
    assert!(matches!(answer(&mut ring).outcome, Outcome::EndOfStream));
}
