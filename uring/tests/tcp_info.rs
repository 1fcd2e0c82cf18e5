//! What the kernel says of connections in situations whose answer is known.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use support::{WATCHDOG, tcp_pair};
use uring::TcpInfo;

#[test]
fn bytes_that_were_acknowledged_are_counted_with_the_segments_that_carried_them() {
    let (here, there) = pair();
    let before = TcpInfo::of(&here).unwrap();
    (&here).write_all(b"hello").unwrap();
    (&there).read_exact(&mut [0; 5]).unwrap();
    let info = eventually(&here, |info| info.bytes_acked == before.bytes_acked + 5);
    assert_eq!((info.segments_sent, info.segments_received), (1, 0));
    assert_eq!((info.segments_unacked, info.bytes_unsent, info.retransmits), (0, 0, 0));
    assert!(!info.recovers && info.congestion_window > 0);
    assert!(info.rtt_us > 0 && info.rtt_us_min > 0, "{info:?}");
    assert_eq!(TcpInfo::of(&there).unwrap().segments_received, 1);
}

#[test]
fn while_the_peer_does_not_read_time_counts_as_limited_by_its_window() {
    let (here, there) = pair();
    let full = fill(&here);
    let early = eventually(&here, |info| info.rwnd_limited_us > 0);
    let info = eventually(&here, |info| info.rwnd_limited_us > early.rwnd_limited_us + 20_000);
    assert!(info.busy_us >= info.rwnd_limited_us, "{info:?}");
    assert!(info.bytes_unsent > 0, "what does not fit is not sent");
    // Read, all of it is sent, and the time stands still.
    let mut bytes = vec![0; full];
    (&there).read_exact(&mut bytes).unwrap();
    let done = eventually(&here, |info| info.bytes_unsent == 0 && info.segments_unacked == 0);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(TcpInfo::of(&here).unwrap().rwnd_limited_us, done.rwnd_limited_us);
}

#[test]
fn a_socket_that_is_not_tcp_has_none() {
    let (here, _there) = UnixStream::pair().unwrap();
    assert_eq!(TcpInfo::of(&here), None);
}

fn pair() -> (TcpStream, TcpStream) {
    let (here, there): (OwnedFd, TcpStream) = tcp_pair();
    (here.into(), there)
}

/// Writes until nothing more is taken; how much that was.
fn fill(socket: &TcpStream) -> usize {
    let chunk = [0; 65_536];
    let mut taken = 0;
    let mut quiet = 0;
    // The kernel makes the buffers larger while bytes move.
    while quiet < 3 {
        match (&*socket).write(&chunk) {
            Ok(bytes) => (taken, quiet) = (taken + bytes, 0),
            Err(_) => {
                quiet += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    taken
}

fn eventually(socket: &TcpStream, reached: impl Fn(&TcpInfo) -> bool) -> TcpInfo {
    let started = Instant::now();
    loop {
        let info = TcpInfo::of(socket).unwrap();
        if reached(&info) {
            return info;
        }
        assert!(started.elapsed() < WATCHDOG, "{info:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
