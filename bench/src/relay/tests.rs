use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::Relay;
use crate::floor::tests::{check, random_bytes, session};

/// A relay in a thread that ends with the test program, and the listener that is its backend; or
/// nothing where there is no ring.
fn relay() -> Option<(SocketAddr, TcpListener)> {
    if let Err(error) = uring::self_test() {
        assert!(std::env::var_os("EVENKEEL_NO_SKIP").is_none(), "needs io_uring: {error}");
        eprintln!("SKIPPED: needs io_uring: {error}");
        return None;
    }
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let backend = TcpListener::bind(any).expect("a free port");
    let relay = Relay::listen(any, backend.local_addr().expect("it is bound"));
    let relay = relay.expect("a free port");
    let front = relay.address().expect("it is bound");
    thread::spawn(move || relay.run().map_err(|error| eprintln!("{error}")));
    Some((front, backend))
}

#[test]
fn every_byte_and_every_end_is_relayed() {
    let Some((front, backend)) = relay() else { return };
    check("tokio-uring", front, &backend);
}

#[test]
fn many_sessions_at_once_each_get_their_own_bytes() {
    let Some((front, backend)) = relay() else { return };
    let mut sessions: Vec<[TcpStream; 2]> =
        (0..SESSIONS).map(|_| session(front, &backend).into()).collect();
    for round in 1..=ROUNDS {
        // In other lengths each round, shorter ones too: what a buffer held before stays there.
        let bytes = |index: usize| {
            let seed = round << 32 | (index as u64 + 1);
            random_bytes(seed, 8 << ((seed + 3 * round) % 8))
        };
        // All are on the way before the first is read, one way and then the other.
        for from in [0, 1] {
            for (index, sockets) in sessions.iter_mut().enumerate() {
                sockets[from].write_all(&bytes(index)).expect("there is room");
            }
            for (index, sockets) in sessions.iter_mut().enumerate() {
                let mut read = vec![0; bytes(index).len()];
                sockets[1 - from].read_exact(&mut read).expect("it arrives");
                assert!(read == bytes(index), "session {index}, round {round}");
            }
        }
    }
}

#[test]
fn a_backend_that_is_not_there_resets_the_client() {
    let Some((front, backend)) = relay() else { return };
    drop(backend);
    let mut client = TcpStream::connect(front).expect("the relay listens");
    client.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    let error = client.read(&mut [0]).expect_err("not a clean end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// More than accepts are in flight.
const SESSIONS: usize = 200;
const ROUNDS: u64 = 3;

/// After this long a test fails with a message instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);
