//! The queues of the ring: every operation comes back once, to whom it belongs, however full they are.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::collections::HashSet;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{answer, answers, assert_silent, owner, received, ring, ring_of, tcp_pair};
use uring::{Config, Errno, Op, Outcome, Owner, Readiness, Token, wake_pair};

#[test]
fn the_self_test_passes_on_this_kernel() {
    if ring().is_none() {
        return;
    }
    let flags = uring::self_test().unwrap();
    assert!(flags.to_string().contains("DEFER_TASKRUN"), "{flags}");
}

#[test]
fn a_nop_comes_back_with_its_token() {
    let Some(mut ring) = ring() else { return };
    let owner = owner(u32::MAX, Owner::GENERATIONS - 1, 15);
    ring.nop(owner);
    assert_eq!(ring.in_flight(), 1);
    let completion = answer(&mut ring);
    assert_eq!(completion.token, Token { op: Op::Nop, owner });
    assert!(matches!(completion.outcome, Outcome::Done(0)), "{completion:?}");
    assert_eq!(ring.in_flight(), 0);
}

#[test]
fn a_wait_for_nothing_ends_with_its_timeout() {
    let Some(mut ring) = ring() else { return };
    assert_silent(&mut ring);
    assert_eq!(ring.in_flight(), 0);
}

#[test]
fn more_operations_than_entries_are_submitted_early_and_each_answered_once() {
    let config = Config {
        entries: 4,
        buffers: 2,
        published: 2,
        buffer_bytes: 4096,
        reserved: 0,
        busy_poll: None,
    };
    let Some(mut ring) = ring_of(&config) else { return };
    // The completion queue has 32 entries: this overflows both, and the kernel keeps the rest.
    (0..1000).for_each(|slot| ring.nop(Owner::slot(slot)));
    assert!(ring.counters().sq_full >= 1000 / 4 - 1, "{:?}", ring.counters());
    let slots: HashSet<u32> =
        answers(&mut ring, 1000).iter().map(|completion| completion.token.owner.slot).collect();
    assert_eq!(slots.len(), 1000);
    assert_silent(&mut ring);
    assert_eq!((ring.in_flight(), ring.counters().foreign_cqe), (0, 0));
}

#[test]
fn completions_beyond_the_room_in_out_wait_for_the_next_call() {
    let Some(mut ring) = ring() else { return };
    (0..20).for_each(|slot| ring.nop(Owner::slot(slot)));
    ring.submit_and_wait(20, Some(support::WATCHDOG)).unwrap();
    let mut out = Vec::with_capacity(7);
    let room = out.capacity();
    ring.completions(&mut out);
    assert_eq!(out.len(), room, "the room is used, and no more");
    assert_eq!(ring.in_flight() as usize, 20 - room);
    // A full vector takes nothing and loses nothing.
    ring.completions(&mut out);
    assert_eq!((out.len(), out.capacity()), (room, room));
    let mut slots: Vec<u32> =
        out.drain(..3).map(|completion| completion.token.owner.slot).collect();
    while ring.in_flight() > 0 {
        ring.completions(&mut out);
        slots.extend(out.drain(..).map(|completion| completion.token.owner.slot));
    }
    assert_eq!(slots, (0..20).collect::<Vec<_>>());
}

#[test]
fn every_field_of_a_token_survives_a_real_receive() {
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    for (slot, generation, tag) in [(0, 0, 0), (7, 0xab_cdef, 9), (u32::MAX, 1, 15)] {
        let owner = owner(slot, generation, tag);
        ring.recv(&here, Readiness::Unknown, owner);
        there.write_all(b"x").unwrap();
        let completion = answer(&mut ring);
        assert_eq!(completion.token, Token { op: Op::Recv, owner });
        received(&mut ring, &completion);
    }
}

#[test]
fn a_late_completion_still_shows_the_generation_it_was_queued_for() {
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    let (then, now) = (owner(3, 1, 0), owner(3, 2, 0));
    ring.recv(&here, Readiness::Empty, then);
    // Cancelling for the slot's next user misses the operation of the previous one.
    ring.cancel(Token { op: Op::Recv, owner: now });
    assert_silent(&mut ring);
    assert_eq!(ring.counters().cancel_missed, 1);
    there.write_all(b"late").unwrap();
    let completion = answer(&mut ring);
    assert_eq!(completion.token.owner, then);
    assert_ne!(completion.token.owner.generation, now.generation);
    assert_eq!(received(&mut ring, &completion), b"late");
}

#[test]
fn a_pending_receive_is_cancelled_and_costs_no_buffer() {
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    let (token, free) = (Token { op: Op::Recv, owner: owner(1, 1, 1) }, ring.buffers_free());
    for readiness in [Readiness::Empty, Readiness::Unknown] {
        ring.recv(&here, readiness, token.owner);
        assert_silent(&mut ring);
        ring.cancel(token);
        let completion = answer(&mut ring);
        assert_eq!(completion.token, token);
        assert!(matches!(completion.outcome, Outcome::Failed(Errno::ECANCELED)), "{completion:?}");
        assert_eq!(ring.buffers_free(), free);
    }
    // The socket is as good as before.
    there.write_all(b"still here").unwrap();
    ring.recv(&here, Readiness::Unknown, token.owner);
    let completion = answer(&mut ring);
    assert_eq!(received(&mut ring, &completion), b"still here");
    assert_eq!(ring.counters().cancel_missed, 0);
}

#[test]
fn a_cancel_tells_operations_of_one_slot_apart() {
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    let owner = owner(5, 5, 5);
    ring.recv(&here, Readiness::Empty, owner.tagged(1));
    ring.poll_readable(&here, owner);
    assert_silent(&mut ring);
    ring.cancel(Token { op: Op::Poll, owner });
    let completion = answer(&mut ring);
    assert_eq!(completion.token, Token { op: Op::Poll, owner });
    there.write_all(b"x").unwrap();
    let completion = answer(&mut ring);
    assert_eq!(completion.token, Token { op: Op::Recv, owner: owner.tagged(1) });
    received(&mut ring, &completion);
}

#[test]
fn another_thread_wakes_a_ring_that_sleeps() {
    let Some(mut ring) = ring() else { return };
    let (waker, source) = wake_pair().unwrap();
    for round in 0..3 {
        ring.poll_readable(&source, Owner::slot(round));
        assert_silent(&mut ring);
        let asleep = Arc::new(AtomicBool::new(false));
        let (waker, about_to_sleep) = (waker.clone(), Arc::clone(&asleep));
        let thread = std::thread::spawn(move || {
            while !about_to_sleep.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(20));
            // Several before the wait returns add up to one.
            (0..3).for_each(|_| waker.wake());
        });
        asleep.store(true, Ordering::Release);
        assert_eq!(answer(&mut ring).token.owner.slot, round);
        thread.join().unwrap();
        source.clear();
    }
    // Nothing is left over once it is cleared.
    ring.poll_readable(&source, Owner::slot(9));
    assert_silent(&mut ring);
}

#[test]
fn a_wake_before_the_wait_is_not_lost() {
    let Some(mut ring) = ring() else { return };
    let (waker, source) = wake_pair().unwrap();
    waker.wake();
    ring.poll_readable(&source, Owner::slot(1));
    assert_eq!(answer(&mut ring).token.owner.slot, 1);
}

#[test]
fn a_poll_waits_until_the_socket_is_readable() {
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    ring.poll_readable(&here, Owner::slot(1));
    assert_silent(&mut ring);
    there.write_all(b"x").unwrap();
    let completion = answer(&mut ring);
    assert_eq!(completion.token.op, Op::Poll);
    let Outcome::Done(events) = completion.outcome else { panic!("{completion:?}") };
    assert_ne!(events & u32::from(libc::POLLIN.unsigned_abs()), 0);
    // Once means once.
    there.write_all(b"y").unwrap();
    assert_silent(&mut ring);
}

#[test]
fn a_poll_waits_until_the_socket_is_writable() {
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    ring.poll_writable(&here, Owner::slot(1));
    assert!(matches!(answer(&mut ring).outcome, Outcome::Done(_)), "an empty socket is writable");
    let (mut here, full) = (std::net::TcpStream::from(here), [0; 65536]);
    let mut sent = 0;
    while let Ok(bytes) = here.write(&full) {
        sent += bytes;
    }
    ring.poll_writable(&here, Owner::slot(2));
    assert_silent(&mut ring);
    std::io::copy(&mut std::io::Read::take(&mut there, sent as u64), &mut std::io::sink()).unwrap();
    let completion = answer(&mut ring);
    let Outcome::Done(events) = completion.outcome else { panic!("{completion:?}") };
    assert_ne!(events & u32::from(libc::POLLOUT.unsigned_abs()), 0);
}
