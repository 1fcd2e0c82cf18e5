//! Each operation of the driver on the real kernel.

mod connecting;
mod ending;
mod listening;
mod polling;
mod receiving;
mod sending;
mod splicing;
mod waiting;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use uring::Waker;

use super::*;

/// A driver and what its peers need.
struct Rig {
    driver: EpollDriver,
    address: SocketAddr,
    waker: Waker,
}

impl Rig {
    fn new() -> Self {
        let [first, _] = Self::two();
        first
    }

    fn looking_before_it_sleeps(time: Duration) -> Self {
        let [first, _] = Self::two_that(Some(time));
        first
    }

    /// Two that can hand connections to each other.
    fn two() -> [Self; 2] {
        Self::two_that(None)
    }

    fn two_that(busy_poll: Option<Duration>) -> [Self; 2] {
        let wakes = [(); 2].map(|()| uring::wake_pair().expect("descriptors"));
        let post = Arc::new(Post::new(wakes.each_ref().map(|(waker, _)| waker.clone())));
        let mut shard = 0..;
        wakes.map(|(waker, wake)| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            listener.set_nonblocking(true).expect("a socket");
            // Accepted sockets inherit it, as from the listeners of the balancer.
            let inline = socket2::SockRef::from(&listener).set_out_of_band_inline(true);
            inline.expect("a socket");
            let address = listener.local_addr().expect("bound");
            let (listener, post) = (listener.into(), Arc::clone(&post));
            let shard = shard.next().expect("it does not end");
            let wiring = Wiring { wake, post, shard };
            let (buffers, buffer_bytes) = (BUFFERS, BUFFER_BYTES);
            let config = EpollConfig { sessions: 1, buffers, buffer_bytes, busy_poll };
            let mut driver = EpollDriver::new(&config, wiring).expect("descriptors");
            assert_eq!(driver.listen(listener).expect("it can be watched"), LISTENER);
            Self { driver, address, waker }
        })
    }

    fn client(&self) -> TcpStream {
        patient(TcpStream::connect(self.address).expect("the driver listens"))
    }

    fn connect(&mut self, address: SocketAddr) -> Socket {
        let socket = self.driver.connect(&address.into(), &ConnectOptions::default(), owner(1));
        socket.expect("a descriptor")
    }

    /// A connection that the driver accepted, and its client.
    fn pair(&mut self) -> (Socket, TcpStream) {
        let there = self.client();
        self.driver.accept(LISTENER, owner(99));
        (accepted(self.answer()), there)
    }

    /// Waits for so many answers.
    fn answers(&mut self, want: usize) -> Vec<Completion<Socket>> {
        let started = Instant::now();
        let mut out = Vec::with_capacity(BATCH);
        while out.len() < want {
            self.driver.wait(Some(Duration::from_secs(1)), &mut out).expect("epoll works");
            assert!(started.elapsed() < WATCHDOG, "{} answers of {want}", out.len());
        }
        assert_eq!(out.len(), want, "{out:?}");
        out
    }

    fn answer(&mut self) -> Completion<Socket> {
        self.answers(1).pop().expect("one")
    }

    /// Looks whether anything comes; nothing should.
    fn assert_silent(&mut self) {
        let mut out = Vec::with_capacity(BATCH);
        let until = Instant::now() + Duration::from_millis(20);
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.driver.wait(Some(left), &mut out).expect("epoll works");
            assert!(out.is_empty(), "nothing was due, but: {out:?}");
        }
    }

    /// A buffer with these bytes in it.
    fn filled(&mut self, bytes: &[u8]) -> Held {
        let buffer = self.driver.buffers.take().expect("a buffer");
        self.driver.buffers.space(buffer)[..bytes.len()].copy_from_slice(bytes);
        let end = u32::try_from(bytes.len()).expect("at most a buffer");
        Held { buffer, start: 0, end, more: false }
    }

    /// Sends until nothing more is taken; how many bytes that was.
    fn stuff(&mut self, socket: &mut Socket, held: Held) -> usize {
        let mut sent = 0;
        loop {
            self.driver.send(socket, held, owner(9));
            let mut out = Vec::with_capacity(BATCH);
            self.driver.wait(Some(Duration::from_millis(50)), &mut out).expect("epoll works");
            match out.pop().map(|completion| completion.outcome) {
                Some(Outcome::Done(bytes)) => sent += bytes as usize,
                None => break,
                other => panic!("{other:?}"),
            }
        }
        self.driver.cancel(Token { op: Op::Send, owner: owner(9) });
        self.answer();
        sent
    }

    fn close(&mut self, socket: Socket) {
        self.driver.close(socket, false);
    }
}

fn owner(slot: u32) -> Owner {
    Owner { slot, generation: 7, tag: 0 }
}

fn accepted(completion: Completion<Socket>) -> Socket {
    match completion.outcome {
        Outcome::Accepted(socket) => socket,
        other => panic!("no connection but {other:?}"),
    }
}

fn received(completion: Completion<Socket>, by: Owner) -> Held {
    assert_eq!(completion.token, Token { op: Op::Recv, owner: by });
    match completion.outcome {
        Outcome::Received(held) => held,
        other => panic!("no bytes but {other:?}"),
    }
}

fn assert_ready(completion: &Completion<Socket>, by: Owner) {
    assert_eq!(completion.token, Token { op: Op::Poll, owner: by });
    assert!(matches!(completion.outcome, Outcome::Done(_)), "{completion:?}");
}

fn assert_failed(completion: &Completion<Socket>, op: Op, owner: Owner, errno: Errno) {
    assert_eq!(completion.token, Token { op, owner });
    assert!(matches!(completion.outcome, Outcome::Failed(e) if e == errno), "{completion:?}");
}

fn assert_same_both_ways(rig: &mut Rig, socket: &Socket, there: TcpStream) {
    let (mut there, mut socket) = (patient(there), Socket(socket.0));
    rig.driver.recv(&socket, true, owner(1));
    write(&mut there, b"hello");
    let held = received(rig.answer(), owner(1));
    rig.driver.send(&mut socket, held, owner(1));
    assert_eq!(read(&mut there, 5), b"hello");
    assert!(matches!(rig.answer().outcome, Outcome::Done(5)));
}

/// Writes, and waits until it has arrived: over loopback that is when the write returns.
fn write(there: &mut TcpStream, bytes: &[u8]) {
    there.write_all(bytes).expect("the driver's socket takes it");
}

fn read(there: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    there.read_exact(&mut bytes).expect("it was sent");
    bytes
}

fn reset(there: TcpStream) {
    uring::close_with_reset(there.into());
}

fn send_urgent(there: &TcpStream, byte: u8) {
    let sent = socket2::SockRef::from(there).send_out_of_band(&[byte]);
    assert_eq!(sent.expect("the connection stands"), 1);
}

/// Its backlog holds one.
fn full_listener() -> socket2::Socket {
    let kind = socket2::Type::STREAM;
    let listener = socket2::Socket::new(socket2::Domain::IPV4, kind, None).expect("a socket");
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    listener.bind(&any_port.into()).expect("a free port");
    // The kernel takes one more than the backlog (sk_acceptq_is_full, include/net/sock.h).
    listener.listen(0).expect("bound");
    listener
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(WATCHDOG)).expect("not zero");
    stream.set_write_timeout(Some(WATCHDOG)).expect("not zero");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

/// The listener of every rig.
const LISTENER: ListenerNumber = ListenerNumber(0);

const BUFFERS: u16 = 4;
const BUFFER_BYTES: u32 = 4096;

/// Nothing here takes a second; after this long a test fails with a message instead of hanging.
const WATCHDOG: Duration = Duration::from_secs(30);
