use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::{Floor, Kind};

/// A relay in a thread that ends with the test program, and the listener that is its backend.
fn relay(kind: Kind) -> (SocketAddr, TcpListener) {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let backend = TcpListener::bind(any).expect("a free port");
    let address = backend.local_addr().expect("it is bound");
    let floor = Floor::listen(any, address, kind).expect("a free port");
    let front = floor.address().expect("it is bound");
    thread::spawn(move || floor.run().map_err(|error| eprintln!("{kind:?}: {error}")));
    (front, backend)
}

/// A client and its other end at the backend.
pub(crate) fn session(front: SocketAddr, backend: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(front).expect("the relay listens");
    let (served, _) = backend.accept().expect("the relay connects");
    for socket in [&client, &served] {
        socket.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
        socket.set_write_timeout(Some(PATIENCE)).expect("it is not zero");
    }
    (client, served)
}

pub(crate) fn random_bytes(mut seed: u64, len: usize) -> Vec<u8> {
    let mut next = || {
        // xorshift64: bytes that lost, doubled or swapped blocks do not reproduce.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    };
    (0..len / 8).flat_map(|_| next()).collect()
}

/// Reads to the end, after a while in which the relay finds no room.
fn read_late(mut socket: &TcpStream) -> io::Result<Vec<u8>> {
    thread::sleep(STALL);
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write_and_finish(mut socket: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    socket.write_all(bytes)?;
    socket.shutdown(Shutdown::Write)
}

/// That the relay at `front`, called `name`, takes every byte to `backend` and back, and the ends of
/// streams with them.
pub(crate) fn check(name: &str, front: SocketAddr, backend: &TcpListener) {
    let (up, down) = (random_bytes(1, BYTES), random_bytes(2, BYTES));
    // Both ways at the same time, to readers that are late; twice, so that a slot is used again.
    for _ in 0..2 {
        let (client, served) = session(front, backend);
        thread::scope(|scope| {
            scope.spawn(|| write_and_finish(&client, &up).expect("the client writes"));
            scope.spawn(|| write_and_finish(&served, &down).expect("the backend writes"));
            let at_backend = scope.spawn(|| read_late(&served).expect("the backend reads"));
            assert!(read_late(&client).expect("the client reads") == down, "{name}: down");
            assert!(at_backend.join().expect("no panic") == up, "{name}: up");
        });
    }
    // One side finishes first; the other goes on.
    let (client, served) = session(front, backend);
    write_and_finish(&client, b"request").expect("the client writes");
    assert_eq!(read_late(&served).expect("the backend reads"), b"request");
    thread::scope(|scope| {
        scope.spawn(|| write_and_finish(&served, &down).expect("the backend writes"));
        let read = read_late(&client).expect("the client reads");
        assert!(read == down, "{name}: after a half-close");
    });
    // A reset travels as a reset.
    let (client, mut served) = session(front, backend);
    uring::close_with_reset(client.into());
    let error = served.read(&mut [0]).expect_err("not a clean end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{name}");
}

fn check_kind(kind: Kind) {
    let (front, backend) = relay(kind);
    check(&format!("{kind:?}"), front, &backend);
}

#[test]
fn epoll_relays_every_byte() {
    check_kind(Kind::Epoll);
}

#[test]
fn splice_relays_every_byte() {
    check_kind(Kind::Splice);
}

#[test]
fn the_ring_relays_every_byte() {
    if let Err(error) = uring::self_test() {
        eprintln!("skipped: {error}");
        return;
    }
    check_kind(Kind::Ring);
}

#[test]
fn a_backend_that_is_not_there_resets_the_client() {
    for kind in [Kind::Epoll, Kind::Splice] {
        let (front, backend) = relay(kind);
        drop(backend);
        let mut client = TcpStream::connect(front).expect("the relay listens");
        client.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
        let error = client.read(&mut [0]).expect_err("not a clean end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{kind:?}");
    }
}

/// Much more than the buffers of three connections and a pipe hold.
const BYTES: usize = 24 << 20;
const STALL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);
