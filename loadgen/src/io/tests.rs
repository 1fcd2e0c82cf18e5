//! Each operation, on both engines, against real sockets.

use super::*;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};

use ::uring::{ConnectOptions, Errno, Op, Outcome};
use socket2::SockRef;

/// Makes a test for each engine out of a function that works on any.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod on_io_uring {
            $(#[test] fn $name() { super::$name::<::uring::Ring>(); })*
        }
        mod on_epoll {
            $(#[test] fn $name() { super::$name::<crate::io::Epoll>(); })*
        }
    };
}

on_both! {
    nothing_is_told_before_it_is_submitted
    an_echo_comes_back
    a_reply_that_dribbles_comes_in_parts_and_in_order
    bytes_that_came_before_they_were_asked_for_are_received
    more_than_a_buffer_comes_in_several
    the_end_comes_after_the_bytes
    a_peer_that_has_finished_can_still_be_written_to
    a_reset_is_told
    a_connect_that_is_refused_fails
    a_connect_that_nobody_answers_can_be_cancelled
    a_receive_that_is_cancelled_leaves_the_connection_as_it_was
    what_is_cancelled_before_it_was_submitted_ends_too
    a_cancel_that_comes_too_late_changes_nothing
    a_big_send_to_a_slow_reader_is_whole
    a_send_that_breaks_half_way_is_short
    a_send_that_is_cancelled_half_way_is_short
    a_send_to_nobody_fails
    both_ways_are_in_flight_at_the_same_time
    unix_sockets_do_the_same
    without_a_buffer_a_receive_fails_until_there_is_one
    descriptors_are_used_again
    many_sockets_are_served_at_once
    a_reset_of_ours_reaches_the_peer
    a_wait_ends_with_its_time
    completions_that_have_no_room_stay
}

const BUFFER_BYTES: u32 = 64 * 1024;
const CONFIG: Config = Config {
    entries: 64,
    buffers: 16,
    published: 8,
    buffer_bytes: BUFFER_BYTES,
    reserved: 2,
    busy_poll: None,
};

/// An engine, and what it told that nobody has asked for yet.
struct Bench<I> {
    io: I,
    came: Vec<Completion>,
}

impl<I: Io> Bench<I> {
    fn new() -> Self {
        Self::with(&CONFIG)
    }

    fn with(config: &Config) -> Self {
        Self { io: I::open(config).expect("an engine"), came: Vec::with_capacity(64) }
    }

    /// Waits for the end of an operation of `slot`.
    fn wait(&mut self, op: Op, slot: u32) -> Outcome {
        for _ in 0..1000 {
            let is_it = |came: &Completion| came.token == Token { op, owner: Owner::slot(slot) };
            if let Some(at) = self.came.iter().position(is_it) {
                return self.came.remove(at).outcome;
            }
            self.io.submit_and_wait(1, Some(SHORT)).expect("a wait");
            self.io.completions(&mut self.came);
        }
        panic!("{op:?} of {slot} never ended");
    }

    /// Submits and waits a little: nothing comes.
    fn expect_nothing(&mut self) {
        self.io.submit_and_wait(1, Some(SHORT)).expect("a wait");
        self.io.completions(&mut self.came);
        assert!(self.came.is_empty(), "{:?}", self.came);
    }

    fn connect(&mut self, address: &SockAddr, slot: u32) -> Socket {
        let socket = new_socket(address);
        self.io.connect(&socket, address, Owner::slot(slot));
        assert_eq!(done(self.wait(Op::Connect, slot)), Ok(0));
        socket
    }

    /// A connection, and the other side of it.
    fn pair(&mut self, slot: u32) -> (Socket, TcpStream) {
        let listener = listener();
        let socket = self.connect(&address(&listener), slot);
        (socket, accepted(&listener))
    }

    fn receive(&mut self, socket: &Socket, slot: u32) -> Result<Vec<u8>, Errno> {
        self.io.recv(socket, Readiness::Unknown, Owner::slot(slot));
        self.received(slot)
    }

    fn received(&mut self, slot: u32) -> Result<Vec<u8>, Errno> {
        match self.wait(Op::Recv, slot) {
            Outcome::Received { buffer, len, .. } => {
                let bytes = self.io.bytes(buffer, 0..len).to_vec();
                self.io.release(buffer);
                Ok(bytes)
            }
            Outcome::EndOfStream => Ok(Vec::new()),
            Outcome::Failed(errno) => Err(errno),
            other => panic!("{other:?}"),
        }
    }

    /// A buffer with `text`.
    fn text(&mut self, text: &[u8]) -> (BufferId, Range<u32>) {
        let buffer = self.io.take_reserved().expect("one is reserved");
        self.io.bytes_mut(buffer)[..text.len()].copy_from_slice(text);
        (buffer, 0..u32::try_from(text.len()).expect("it fits"))
    }

    fn send(&mut self, socket: &Socket, text: &[u8], slot: u32) {
        let (buffer, range) = self.text(text);
        self.io.send_whole(socket, buffer, range, Owner::slot(slot));
    }

    /// A send of a full buffer that has filled the little room there is, and the other side.
    fn stuck_send(&mut self, slot: u32) -> (Socket, TcpStream, Vec<u8>) {
        let listener = listener();
        SockRef::from(&listener).set_recv_buffer_size(4096).expect("it can be small");
        let target = address(&listener);
        let socket = new_socket(&target);
        SockRef::from(&*socket).set_send_buffer_size(4096).expect("it can be small");
        self.io.connect(&socket, &target, Owner::slot(slot));
        assert_eq!(done(self.wait(Op::Connect, slot)), Ok(0));
        let peer = accepted(&listener);
        let text: Vec<u8> = (0..BUFFER_BYTES).map(|at| (at % 251) as u8).collect();
        self.send(&socket, &text, slot);
        self.expect_nothing();
        (socket, peer, text)
    }
}

fn new_socket(address: &SockAddr) -> Socket {
    Rc::new(::uring::stream_socket(address, &ConnectOptions::default()).expect("a socket"))
}

fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")
}

/// A test that waits in vain shall fail.
fn accepted(listener: &TcpListener) -> TcpStream {
    let (peer, _) = listener.accept().expect("it is connected");
    peer.set_read_timeout(Some(Duration::from_secs(30))).expect("an open socket");
    peer
}

fn address(listener: &TcpListener) -> SockAddr {
    listener.local_addr().expect("it is bound").into()
}

fn done(outcome: Outcome) -> Result<u32, Errno> {
    match outcome {
        Outcome::Done(value) => Ok(value),
        Outcome::Failed(errno) => Err(errno),
        other => panic!("{other:?}"),
    }
}

/// Closes `socket` so that the other side sees a reset.
fn reset(socket: impl AsFd) {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("an open socket");
}

fn nothing_is_told_before_it_is_submitted<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (socket, mut peer) = bench.pair(1);
    peer.write_all(b"early").expect("it is connected");
    bench.expect_nothing();
    bench.send(&socket, b"hi", 1);
    bench.io.recv(&socket, Readiness::Unknown, Owner::slot(1));
    bench.io.completions(&mut bench.came);
    assert!(bench.came.is_empty(), "{:?}", bench.came);
    peer.set_nonblocking(true).expect("an open socket");
    let error = peer.read(&mut [0; 8]).expect_err("nothing was sent");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(done(bench.wait(Op::Send, 1)), Ok(2));
    assert_eq!(bench.received(1), Ok(b"early".to_vec()));
}

fn an_echo_comes_back<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (socket, mut peer) = bench.pair(1);
    let echo = std::thread::spawn(move || {
        let mut bytes = [0; 5];
        for _ in 0..100 {
            peer.read_exact(&mut bytes).expect("a request");
            peer.write_all(&bytes).expect("it is connected");
        }
    });
    let (buffer, range) = bench.text(b"hello");
    for _ in 0..100 {
        bench.io.send_whole(&socket, buffer, range.clone(), Owner::slot(1));
        bench.io.recv(&socket, Readiness::Empty, Owner::slot(1));
        assert_eq!(done(bench.wait(Op::Send, 1)), Ok(5));
        assert_eq!(bench.received(1), Ok(b"hello".to_vec()));
    }
    echo.join().expect("no panic");
    bench.io.close(socket);
    assert_eq!(bench.io.buffers_free(), 14);
}

fn a_reply_that_dribbles_comes_in_parts_and_in_order<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (socket, mut peer) = bench.pair(1);
    for byte in b"dribble" {
        bench.io.recv(&socket, Readiness::Empty, Owner::slot(1));
        bench.expect_nothing();
        peer.write_all(&[*byte]).expect("it is connected");
        assert_eq!(bench.received(1), Ok(vec![*byte]));
    }
}

fn bytes_that_came_before_they_were_asked_for_are_received<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (socket, mut peer) = bench.pair(1);
    for text in [b"one", b"two"] {
        peer.write_all(text).expect("it is connected");
        bench.expect_nothing();
        assert_eq!(bench.receive(&socket, 1), Ok(text.to_vec()));
    }
}

fn more_than_a_buffer_comes_in_several<I: Io>() {
    let mut bench = Bench::<I>::with(&Config { buffer_bytes: 4096, ..CONFIG });
    let (socket, mut peer) = bench.pair(1);
    let text: Vec<u8> = (0..20_000_u32).map(|at| (at % 251) as u8).collect();
    peer.write_all(&text).expect("it fits the socket");
    let mut all = Vec::new();
    while all.len() < text.len() {
        let bytes = bench.receive(&socket, 1).expect("an open connection");
        assert!(bytes.len() <= 4096);
        all.extend(bytes);
    }
    assert!(all == text, "{} bytes", all.len());
}

fn the_end_comes_after_the_bytes<I: Io>() {
    for ask_first in [false, true] {
        let mut bench = Bench::<I>::new();
        let (socket, mut peer) = bench.pair(1);
        if ask_first {
            bench.io.recv(&socket, Readiness::Empty, Owner::slot(1));
            bench.expect_nothing();
        }
        peer.write_all(b"last words").expect("it is connected");
        drop(peer);
        let words = if ask_first { bench.received(1) } else { bench.receive(&socket, 1) };
        assert_eq!(words, Ok(b"last words".to_vec()));
        assert_eq!(bench.receive(&socket, 1), Ok(Vec::new()));
        assert_eq!(bench.receive(&socket, 1), Ok(Vec::new()), "it does not come to life again");
        assert_eq!(bench.io.buffers_free(), 14, "the end needs no buffer");
    }
}

fn a_peer_that_has_finished_can_still_be_written_to<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (socket, mut peer) = bench.pair(1);
    bench.io.recv(&socket, Readiness::Empty, Owner::slot(1));
    bench.expect_nothing();
    peer.shutdown(Shutdown::Write).expect("it is connected");
    assert_eq!(bench.received(1), Ok(Vec::new()));
    bench.send(&socket, b"still here", 1);
    assert_eq!(done(bench.wait(Op::Send, 1)), Ok(10));
    bench.io.close(socket);
    bench.expect_nothing();
    let mut text = String::new();
    peer.read_to_string(&mut text).expect("a clean end");
    assert_eq!(text, "still here");
}

fn a_reset_is_told<I: Io>() {
    for ask_first in [false, true] {
        let mut bench = Bench::<I>::new();
        let (socket, peer) = bench.pair(1);
        if ask_first {
            bench.io.recv(&socket, Readiness::Empty, Owner::slot(1));
            bench.expect_nothing();
        }
        reset(&peer);
        drop(peer);
        let told = if ask_first { bench.received(1) } else { bench.receive(&socket, 1) };
        assert_eq!(told, Err(Errno::ECONNRESET));
        assert_eq!(bench.io.buffers_free(), 14);
    }
}

fn a_connect_that_is_refused_fails<I: Io>() {
    // Bound, so that nobody else gets the port, and not listening.
    let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let held = held.expect("a socket");
    held.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    let address = held.local_addr().expect("it is bound");
    let mut bench = Bench::<I>::new();
    let socket = new_socket(&address);
    bench.io.connect(&socket, &address, Owner::slot(1));
    assert_eq!(done(bench.wait(Op::Connect, 1)), Err(Errno::ECONNREFUSED));
    bench.io.close(socket);
}

/// A listener whose backlog is full, so that the kernel drops what asks for a connection; and those
/// who fill it.
fn full_listener() -> (OwnedFd, Vec<TcpStream>) {
    let listener = ::uring::listen(&::uring::Listen {
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        backlog: 0,
        shared: false,
        options: ::uring::ListenOptions::default(),
    })
    .expect("a free port");
    let address = ::uring::local_address(&listener).expect("it is bound");
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let waiting = (0..8).map_while(connect).collect();
    (listener, waiting)
}

fn a_connect_that_nobody_answers_can_be_cancelled<I: Io>() {
    let (listener, _waiting) = full_listener();
    let address = ::uring::local_address(&listener).expect("it is bound").into();
    let mut bench = Bench::<I>::new();
    let socket = new_socket(&address);
    bench.io.connect(&socket, &address, Owner::slot(1));
    bench.expect_nothing();
    bench.io.cancel(Token { op: Op::Connect, owner: Owner::slot(1) });
    assert_eq!(done(bench.wait(Op::Connect, 1)), Err(Errno::ECANCELED));
    bench.io.close(socket);
    bench.expect_nothing();
}

fn a_receive_that_is_cancelled_leaves_the_connection_as_it_was<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (socket, mut peer) = bench.pair(1);
    bench.io.recv(&socket, Readiness::Empty, Owner::slot(1));
    bench.expect_nothing();
    bench.io.cancel(Token { op: Op::Recv, owner: Owner::slot(1) });
    assert_eq!(bench.received(1), Err(Errno::ECANCELED));
    bench.expect_nothing();
    peer.write_all(b"after all").expect("it is connected");
    bench.expect_nothing();
    assert_eq!(bench.receive(&socket, 1), Ok(b"after all".to_vec()));
    assert_eq!(bench.io.buffers_free(), 14);
}

fn what_is_cancelled_before_it_was_submitted_ends_too<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (socket, _peer) = bench.pair(1);
    bench.io.recv(&socket, Readiness::Unknown, Owner::slot(1));
    bench.io.cancel(Token { op: Op::Recv, owner: Owner::slot(1) });
    assert_eq!(bench.received(1), Err(Errno::ECANCELED));
}

fn a_cancel_that_comes_too_late_changes_nothing<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (socket, mut peer) = bench.pair(1);
    peer.write_all(b"here").expect("it is connected");
    assert_eq!(bench.receive(&socket, 1), Ok(b"here".to_vec()));
    bench.io.cancel(Token { op: Op::Recv, owner: Owner::slot(1) });
    bench.io.cancel(Token { op: Op::Send, owner: Owner::slot(77) });
    bench.expect_nothing();
    // Nor does one that means the user of the slot before.
    bench.io.recv(&socket, Readiness::Empty, Owner::slot(1));
    let before = Owner { generation: 1, ..Owner::slot(1) };
    bench.io.cancel(Token { op: Op::Recv, owner: before });
    bench.expect_nothing();
    peer.write_all(b"again").expect("it is connected");
    assert_eq!(bench.received(1), Ok(b"again".to_vec()));
}

fn a_big_send_to_a_slow_reader_is_whole<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (socket, mut peer, text) = bench.stuck_send(1);
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).map(|_| all)
    });
    assert_eq!(done(bench.wait(Op::Send, 1)), Ok(BUFFER_BYTES));
    bench.io.close(socket);
    bench.expect_nothing();
    let all = reading.join().expect("no panic").expect("a clean end");
    assert!(all == text, "{} bytes", all.len());
}

fn a_send_that_breaks_half_way_is_short<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (_socket, peer, _) = bench.stuck_send(1);
    reset(&peer);
    drop(peer);
    let sent = done(bench.wait(Op::Send, 1)).expect("some of it was taken");
    assert!(sent > 0 && sent < BUFFER_BYTES, "{sent}");
}

fn a_send_that_is_cancelled_half_way_is_short<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (socket, _peer, _) = bench.stuck_send(1);
    bench.io.cancel(Token { op: Op::Send, owner: Owner::slot(1) });
    let sent = done(bench.wait(Op::Send, 1)).expect("some of it was taken");
    assert!(sent > 0 && sent < BUFFER_BYTES, "{sent}");
    bench.io.reset(socket);
}

fn a_send_to_nobody_fails<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (socket, peer) = bench.pair(1);
    reset(&peer);
    drop(peer);
    bench.send(&socket, b"hello?", 1);
    assert!(matches!(done(bench.wait(Op::Send, 1)), Err(Errno::ECONNRESET | Errno::EPIPE)));
}

fn both_ways_are_in_flight_at_the_same_time<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (socket, mut peer, text) = bench.stuck_send(1);
    bench.io.recv(&socket, Readiness::Empty, Owner::slot(1));
    bench.expect_nothing();
    peer.write_all(b"meanwhile").expect("it is connected");
    assert_eq!(bench.received(1), Ok(b"meanwhile".to_vec()));
    let reading = std::thread::spawn(move || {
        let mut all = vec![0; BUFFER_BYTES as usize];
        peer.read_exact(&mut all).map(|()| all)
    });
    assert_eq!(done(bench.wait(Op::Send, 1)), Ok(BUFFER_BYTES));
    assert!(reading.join().expect("no panic").expect("all of it") == text);
}

fn unix_sockets_do_the_same<I: Io>() {
    let unique = (std::process::id(), std::any::type_name::<I>().len());
    let path = std::env::temp_dir().join(format!("loadgen-io-{}-{}", unique.0, unique.1));
    let listener = UnixListener::bind(&path).expect("a new path");
    let address = SockAddr::unix(&path).expect("a short path");
    let mut bench = Bench::<I>::new();
    let socket = bench.connect(&address, 1);
    let (mut peer, _): (UnixStream, _) = listener.accept().expect("it is connected");
    bench.io.recv(&socket, Readiness::Empty, Owner::slot(1));
    bench.send(&socket, b"hello", 1);
    assert_eq!(done(bench.wait(Op::Send, 1)), Ok(5));
    let mut bytes = [0; 5];
    peer.read_exact(&mut bytes).expect("a request");
    peer.write_all(&bytes).expect("it is connected");
    assert_eq!(bench.received(1), Ok(b"hello".to_vec()));
    drop(peer);
    assert_eq!(bench.receive(&socket, 1), Ok(Vec::new()));
    drop(listener);
    let late = new_socket(&address);
    bench.io.connect(&late, &address, Owner::slot(2));
    assert_eq!(done(bench.wait(Op::Connect, 2)), Err(Errno::ECONNREFUSED));
    std::fs::remove_file(path).expect("it is ours");
}

fn without_a_buffer_a_receive_fails_until_there_is_one<I: Io>() {
    let mut bench = Bench::<I>::with(&Config { buffers: 2, published: 1, reserved: 1, ..CONFIG });
    let (first, mut first_peer) = bench.pair(1);
    let (second, mut second_peer) = bench.pair(2);
    first_peer.write_all(b"one").expect("it is connected");
    second_peer.write_all(b"two").expect("it is connected");
    bench.io.recv(&first, Readiness::Empty, Owner::slot(1));
    let Outcome::Received { buffer, .. } = bench.wait(Op::Recv, 1) else { panic!("one buffer") };
    assert_eq!(bench.io.buffers_free(), 0);
    for _ in 0..2 {
        assert_eq!(bench.receive(&second, 2), Err(Errno::ENOBUFS));
    }
    bench.io.release(buffer);
    assert_eq!(bench.io.buffers_free(), 1);
    assert_eq!(bench.receive(&second, 2), Ok(b"two".to_vec()));
}

fn descriptors_are_used_again<I: Io>() {
    let mut bench = Bench::<I>::new();
    let listener = listener();
    let (buffer, range) = bench.text(b"ask");
    for generation in 0..200 {
        let owner = Owner { generation, ..Owner::slot(0) };
        let socket = new_socket(&address(&listener));
        bench.io.connect(&socket, &address(&listener), owner);
        let wait = |bench: &mut Bench<I>| {
            while bench.came.is_empty() {
                bench.io.submit_and_wait(1, None).expect("a wait");
                bench.io.completions(&mut bench.came);
            }
            let came = bench.came.remove(0);
            assert_eq!(came.token.owner, owner);
            came.outcome
        };
        assert_eq!(done(wait(&mut bench)), Ok(0));
        let mut peer = accepted(&listener);
        bench.io.send_whole(&socket, buffer, range.clone(), owner);
        assert_eq!(done(wait(&mut bench)), Ok(3));
        bench.io.recv(&socket, Readiness::Empty, owner);
        peer.write_all(b"answer").expect("it is connected");
        let Outcome::Received { buffer: received, len: 6, .. } = wait(&mut bench) else {
            panic!("an answer")
        };
        bench.io.release(received);
        if generation % 2 == 0 { bench.io.close(socket) } else { bench.io.reset(socket) }
    }
}

fn many_sockets_are_served_at_once<I: Io>() {
    let mut bench =
        Bench::<I>::with(&Config { entries: 1024, buffers: 512, published: 512, ..CONFIG });
    let (sockets, mut peers): (Vec<Socket>, Vec<TcpStream>) =
        (0..300).map(|slot| bench.pair(slot)).unzip();
    for round in 0..3_u8 {
        for (slot, socket) in (0..).zip(&sockets) {
            bench.io.recv(socket, Readiness::Empty, Owner::slot(slot));
        }
        for (mark, peer) in (0..=250).cycle().zip(&mut peers) {
            peer.write_all(&[round, mark]).expect("it is connected");
        }
        for slot in 0..300_u32 {
            assert_eq!(bench.received(slot), Ok(vec![round, (slot % 251) as u8]));
        }
    }
}

fn a_reset_of_ours_reaches_the_peer<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (socket, mut peer) = bench.pair(1);
    bench.io.recv(&socket, Readiness::Empty, Owner::slot(1));
    bench.expect_nothing();
    bench.io.cancel(Token { op: Op::Recv, owner: Owner::slot(1) });
    assert_eq!(bench.received(1), Err(Errno::ECANCELED));
    bench.io.reset(socket);
    let error = peer.read(&mut [0; 8]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

fn a_wait_ends_with_its_time<I: Io>() {
    let mut bench = Bench::<I>::new();
    let (socket, _peer) = bench.pair(1);
    bench.io.recv(&socket, Readiness::Empty, Owner::slot(1));
    for (want, timeout) in
        [(1, SHORT), (2, SHORT), (1, Duration::ZERO), (0, Duration::from_secs(3600))]
    {
        bench.io.submit_and_wait(want, Some(timeout)).expect("a wait");
        bench.io.completions(&mut bench.came);
        assert!(bench.came.is_empty(), "{:?}", bench.came);
    }
}

fn completions_that_have_no_room_stay<I: Io>() {
    let mut bench = Bench::<I>::new();
    let sockets: Vec<(Socket, TcpStream)> = (0..4).map(|slot| bench.pair(slot)).collect();
    for (slot, (socket, peer)) in (0..).zip(&sockets) {
        (&*peer).write_all(b"x").expect("it is connected");
        bench.io.recv(socket, Readiness::Unknown, Owner::slot(slot));
    }
    let mut seen = Vec::new();
    for _ in 0..4 {
        // One at a time, and never a second receive of the same.
        let mut one = Vec::with_capacity(1);
        while one.is_empty() {
            bench.io.submit_and_wait(1, None).expect("a wait");
            bench.io.completions(&mut one);
        }
        assert_eq!(one.len(), 1);
        seen.push(one[0].token.owner.slot);
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3]);
}

#[test]
fn engines_have_names() {
    for engine in [Engine::Auto, Engine::Uring, Engine::Epoll] {
        assert_eq!(engine.to_string().parse(), Ok(engine));
    }
    let error = "kqueue".parse::<Engine>().expect_err("not here").to_string();
    assert!(error.contains("auto, uring or epoll"), "{error}");
}

#[test]
fn epoll_is_for_hosts_without_io_uring_and_hides_no_other_trouble() {
    let no_ring = || Err(SetupError::Missing("5.0".to_owned()));
    let no_memory = || Err(SetupError::Resources(Errno::ENOMEM.into()));
    assert_eq!(Engine::Auto.choose_after(|| Ok(())).ok(), Some(Chosen::Uring));
    assert_eq!(Engine::Auto.choose_after(no_ring).ok(), Some(Chosen::Epoll));
    assert!(Engine::Auto.choose_after(no_memory).is_err());
    assert_eq!(Engine::Epoll.choose_after(|| Ok(())).ok(), Some(Chosen::Epoll));
    assert_eq!(Engine::Uring.choose_after(no_ring).ok(), Some(Chosen::Uring));
    assert!(Engine::Auto.choose().is_ok());
}

/// Long enough for what is on its way over loopback, and no test depends on more than that nothing
/// comes.
const SHORT: Duration = Duration::from_millis(20);
