//! What is left when a ring is gone: no operation, no descriptor, no port, no memory.
//!
//! Descriptors and mappings belong to the process, so these tests take turns.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use support::{
    alone_on, answer, assert_silent, client_of, listener_on, received, ring, ring_of, tcp_pair,
};
use uring::{Config, Op, Owner, Readiness, Token, listen, wake_pair};

#[test]
fn a_ring_with_operations_in_flight_is_dropped_and_leaves_no_descriptor() {
    let _turn = turn();
    if ring().is_none() {
        return;
    }
    let before = descriptors();
    in_time(|| {
        let mut ring = ring().unwrap();
        let (listener, _) = listener_on(Ipv4Addr::LOCALHOST);
        let ((here, there), (_, source)) = (tcp_pair(), wake_pair().unwrap());
        (0..5).for_each(|slot| ring.accept(&listener, Owner::slot(slot)));
        ring.recv(&here, Readiness::Empty, Owner::slot(5));
        ring.poll_readable(&source, Owner::slot(6));
        assert_silent(&mut ring);
        assert_eq!(ring.in_flight(), 7);
        // These were never submitted.
        ring.recv(&here, Readiness::Unknown, Owner::slot(7));
        ring.cancel(Token { op: Op::Poll, owner: Owner::slot(6) });
        ring.close(there.into());
        drop(ring);
    });
    assert_eq!(descriptors(), before);
}

#[test]
fn a_port_is_free_again_as_soon_as_ring_and_listener_are_gone() {
    let _turn = turn();
    for _ in 0..20 {
        let Some(mut ring) = ring() else { return };
        let (listener, address) = listener_on(Ipv4Addr::LOCALHOST);
        ring.accept(&listener, Owner::slot(1));
        assert_silent(&mut ring);
        drop(ring);
        drop(listener);
        listen(&alone_on(address)).unwrap();
    }
}

#[test]
fn a_connection_accepted_at_the_last_moment_is_closed_and_not_kept() {
    let _turn = turn();
    let Some(mut ring) = ring() else { return };
    let (listener, address) = listener_on(Ipv4Addr::LOCALHOST);
    ring.accept(&listener, Owner::slot(1));
    assert_silent(&mut ring);
    let mut client = client_of(address);
    // The completion is there but nobody asked for it.
    ring.submit_and_wait(1, Some(support::WATCHDOG)).unwrap();
    drop(ring);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn bytes_that_nobody_took_do_not_keep_a_ring() {
    let _turn = turn();
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    there.write_all(b"unread").unwrap();
    ring.recv(&here, Readiness::Unknown, Owner::slot(1));
    ring.submit_and_wait(1, Some(support::WATCHDOG)).unwrap();
    drop(ring);
    // The socket is no business of the ring, and outlives it.
    there.write_all(b"!").unwrap();
    let mut here = TcpStream::from(here);
    here.set_nonblocking(false).unwrap();
    let mut byte = [0];
    here.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"!");
}

#[test]
fn ten_thousand_operations_in_flight_are_all_waited_for() {
    let _turn = turn();
    // The mapping is large, so that it shows among everything else that a process maps.
    let config = Config {
        entries: 256,
        buffers: 16384,
        published: 16384,
        buffer_bytes: 64 << 10,
        reserved: 0,
        busy_poll: None,
    };
    let Some(mut ring) = ring_of(&config) else { return };
    let mapped = mapped_bytes();
    let (_waker, source) = wake_pair().unwrap();
    (0..10_000).for_each(|slot| ring.poll_readable(&source, Owner::slot(slot)));
    assert_silent(&mut ring);
    assert_eq!(ring.in_flight(), 10_000);
    drop(ring);
    let unmapped = mapped.saturating_sub(mapped_bytes());
    assert!(unmapped > 900 << 20, "the buffers stay mapped: only {unmapped} bytes went");
}

#[test]
fn a_closed_descriptor_is_back_and_its_number_may_serve_the_next_connection() {
    let _turn = turn();
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    let (number, before) = (here.as_raw_fd(), descriptors());
    ring.close(here);
    assert_eq!(descriptors(), before, "queued is not yet closed, so the number is not free");
    ring.submit_and_wait(1, Some(support::WATCHDOG)).unwrap();
    assert_eq!(descriptors(), before - 1);
    // The next connection gets the number while the close's completion is still unread.
    let pairs: Vec<(OwnedFd, TcpStream)> = (0..2).map(|_| tcp_pair()).collect();
    let numbers: Vec<i32> =
        pairs.iter().flat_map(|(here, there)| [here.as_raw_fd(), there.as_raw_fd()]).collect();
    assert!(numbers.contains(&number), "{number} is not among {numbers:?}");
    ring.completions(&mut Vec::with_capacity(1));
    assert_eq!(there.read(&mut [0; 1]).unwrap(), 0, "the closed one has ended");
    for (here, mut there) in pairs {
        there.write_all(b"alive").unwrap();
        ring.recv(&here, Readiness::Unknown, Owner::slot(1));
        let completion = answer(&mut ring);
        assert_eq!(received(&mut ring, &completion), b"alive");
    }
    assert_eq!(ring.counters().close_failed, 0);
}

#[test]
fn closes_through_a_small_queue_leave_no_descriptor() {
    let _turn = turn();
    let config = Config {
        entries: 4,
        buffers: 2,
        published: 2,
        buffer_bytes: 4096,
        reserved: 0,
        busy_poll: None,
    };
    let Some(mut ring) = ring_of(&config) else { return };
    let before = descriptors();
    let pairs: Vec<(OwnedFd, TcpStream)> = (0..100).map(|_| tcp_pair()).collect();
    for (here, there) in pairs {
        ring.close(here);
        ring.close(there.into());
    }
    let mut nothing = Vec::with_capacity(64);
    while ring.in_flight() > 0 {
        ring.submit_and_wait(1, Some(support::WATCHDOG)).unwrap();
        ring.completions(&mut nothing);
    }
    assert!(nothing.is_empty(), "closes answer to the ring alone: {nothing:?}");
    assert_eq!((descriptors(), ring.counters().close_failed), (before, 0));
}

#[test]
fn rings_made_in_turn_on_one_thread_are_all_as_good_as_the_first() {
    let _turn = turn();
    let Some(first) = ring() else { return };
    let (flags, before) = (first.flags(), descriptors());
    drop(first);
    // A thread has room for 16 registered rings (IO_RINGFD_REG_MAX, io_uring/tctx.c).
    for turn in 0..40 {
        let ring = ring().unwrap();
        assert_eq!(ring.flags(), flags, "ring {turn}");
    }
    assert_eq!(descriptors(), before - 1);
}

#[test]
fn a_ring_that_was_never_used_is_dropped() {
    let _turn = turn();
    let before = descriptors();
    drop(ring());
    assert_eq!(descriptors(), before);
}

/// Waits until the other tests of this file are done; one that failed does not fail the others.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `test` on its own thread, and fails if it hangs.
fn in_time(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    let thread = std::thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    let hangs = ended.recv_timeout(support::WATCHDOG) == Err(RecvTimeoutError::Timeout);
    assert!(!hangs, "the ring does not come down");
    thread.join().unwrap();
}

/// Descriptors that this process has open.
fn descriptors() -> usize {
    // The listing itself is one of them each time.
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Address space that this process uses.
fn mapped_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}
