//! What the tests of the ring share: rings or a reason to skip, answers with a watchdog, TCP pairs.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use uring::{Completion, Config, Listen, ListenOptions, Outcome, Owner, Ring, SetupError};

/// Nothing here takes a second; after this long a test fails with a message instead of hanging.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(30);

/// The ring most tests want: small, so that limits are near.
pub(crate) fn ring() -> Option<Ring> {
    ring_of(&Config {
        entries: 8,
        buffers: 8,
        published: 8,
        buffer_bytes: 4096,
        reserved: 2,
        busy_poll: None,
    })
}

/// A ring, or nothing and a loud word where this kernel or its sandbox has none.
pub(crate) fn ring_of(config: &Config) -> Option<Ring> {
    match Ring::new(config) {
        Ok(ring) => Some(ring),
        Err(error @ SetupError::Resources(_)) => panic!("{error}"),
        Err(error) => {
            skip(&format!("io_uring: {error}"));
            None
        }
    }
}

/// Says what is missing; where nothing may be missing (`EVENKEEL_NO_SKIP`), fails.
pub(crate) fn skip(needs: &str) {
    assert!(std::env::var_os("EVENKEEL_NO_SKIP").is_none(), "needs {needs}");
    eprintln!("SKIPPED: needs {needs}");
}

/// Submits, and waits for exactly `want` completions.
pub(crate) fn answers(ring: &mut Ring, want: usize) -> Vec<Completion> {
    let started = Instant::now();
    let mut completions = Vec::with_capacity(want);
    while completions.len() < want {
        ring.submit_and_wait(1, Some(Duration::from_secs(1))).unwrap();
        ring.completions(&mut completions);
        let missing = want - completions.len();
        assert!(started.elapsed() < WATCHDOG, "{missing} of {want} answers did not come");
    }
    completions
}

/// Submits, and waits for one completion.
pub(crate) fn answer(ring: &mut Ring) -> Completion {
    answers(ring, 1).pop().unwrap()
}

/// Submits, and looks whether anything comes; nothing should.
pub(crate) fn assert_silent(ring: &mut Ring) {
    let mut completions = Vec::with_capacity(1);
    ring.submit_and_wait(1, Some(Duration::from_millis(20))).unwrap();
    ring.completions(&mut completions);
    assert!(completions.is_empty(), "nothing was due, but: {completions:?}");
}

/// The connection that one accept brought.
pub(crate) fn accepted(completion: Completion) -> OwnedFd {
    match completion.outcome {
        Outcome::Accepted(socket) => socket,
        other => panic!("no connection but {other:?}"),
    }
}

/// The bytes that one receive brought; the buffer is given back.
pub(crate) fn received(ring: &mut Ring, completion: &Completion) -> Vec<u8> {
    let Outcome::Received { buffer, len, .. } = completion.outcome else {
        panic!("no bytes but {:?}", completion.outcome)
    };
    let bytes = ring.bytes(buffer, 0..len).to_vec();
    ring.release(buffer);
    bytes
}

/// Two ends of one TCP connection: one as the ring likes it, non-blocking, and one for `std`.
pub(crate) fn tcp_pair() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (there, _) = listener.accept().unwrap();
    here.set_nonblocking(true).unwrap();
    (here.into(), patient(there))
}

/// A stream whose reads and writes fail, rather than hang, when the watchdog's time is over.
pub(crate) fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    stream.set_write_timeout(Some(WATCHDOG)).unwrap();
    stream
}

/// A client of `address`.
pub(crate) fn client_of(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).unwrap())
}

/// A listener of the crate under test, on a port that the kernel chose.
pub(crate) fn listener_on(ip: impl Into<IpAddr>) -> (OwnedFd, SocketAddr) {
    let address = SocketAddr::new(ip.into(), 0);
    let listener = uring::listen(&alone_on(address)).unwrap();
    let address = uring::local_address(&listener).unwrap();
    (listener, address)
}

/// The loopback addresses that there are; where one is missing, a loud word.
pub(crate) fn loopback() -> Vec<IpAddr> {
    let families = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let is_there = |ip: &IpAddr| {
        let there = TcpListener::bind((*ip, 0)).is_ok();
        if !there {
            skip(&format!("the loopback address {ip}"));
        }
        there
    };
    families.into_iter().filter(is_there).collect()
}

/// A listener that shares its port with nobody.
pub(crate) fn alone_on(address: SocketAddr) -> Listen {
    Listen { address, backlog: 128, shared: false, options: ListenOptions::default() }
}

/// Bytes that show it when one is lost, doubled or moved: no period shorter than 2^64.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        // splitmix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    };
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(&mut next).take(len.div_ceil(8)).flatten().collect();
    bytes.truncate(len);
    bytes
}

/// Compares long byte strings and says where they part, not what they are.
pub(crate) fn assert_same_bytes(got: &[u8], sent: &[u8]) {
    let parted = got.iter().zip(sent).position(|(got, sent)| got != sent);
    assert_eq!(parted, None, "the bytes differ from this offset on");
    assert_eq!(got.len(), sent.len(), "bytes were lost or doubled at the end");
}

/// An owner with every field in use.
pub(crate) fn owner(slot: u32, generation: u32, tag: u8) -> Owner {
    Owner { slot, generation, tag }
}
