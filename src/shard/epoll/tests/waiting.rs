//! Waiting, being woken, and connections from and to other shards.

use super::*;

#[test]
fn a_wake_ends_a_wait_and_is_no_answer() {
    let mut rig = Rig::new();
    let started = Instant::now();
    let waker = rig.waker.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        waker.wake();
    });
    let mut out = Vec::with_capacity(BATCH);
    rig.driver.wait(Some(WATCHDOG), &mut out).expect("epoll works");
    assert!(out.is_empty() && started.elapsed() < WATCHDOG);
    thread.join().expect("it only wakes");
    rig.assert_silent();
}

#[test]
fn a_wake_ends_a_wait_also_while_that_does_not_sleep() {
    let mut rig = Rig::looking_before_it_sleeps(Duration::from_millis(100));
    let started = Instant::now();
    let waker = rig.waker.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        waker.wake();
    });
    rig.driver.wait(Some(WATCHDOG), &mut Vec::with_capacity(BATCH)).expect("epoll works");
    assert!(started.elapsed() < WATCHDOG);
    thread.join().expect("it only wakes");
}

#[test]
fn a_wait_lasts_as_long_as_it_shall_also_for_less_than_a_millisecond() {
    let mut rig = Rig::new();
    let mut out = Vec::with_capacity(BATCH);
    for us in [1, 300, 2500] {
        let (timeout, started) = (Duration::from_micros(us), Instant::now());
        rig.driver.wait(Some(timeout), &mut out).expect("epoll works");
        assert!(started.elapsed() >= timeout, "{us} us");
    }
}

#[test]
fn a_connection_that_is_handed_over_belongs_to_the_other_driver_alone() {
    let [mut first, mut second] = Rig::two();
    let (socket, mut there) = first.pair();
    // It was watched, and has something to read.
    first.driver.recv(&socket, true, owner(1));
    first.assert_silent();
    first.driver.cancel(Token { op: Op::Recv, owner: owner(1) });
    first.answer();
    write(&mut there, b"hello");
    first.driver.hand_over(socket, 7, 1).expect("an empty mailbox");
    let completion = second.answer();
    assert_eq!(completion.token, HANDED_OVER);
    let Outcome::HandedOver(socket, 7) = completion.outcome else { panic!("{completion:?}") };
    first.assert_silent();
    second.driver.recv(&socket, true, owner(1));
    let held = received(second.answer(), owner(1));
    assert_eq!(second.driver.buffers.bytes(held), b"hello");
    assert_eq!(first.driver.counters.stale_event, 0);
}

#[test]
fn a_connection_comes_back_from_a_mailbox_that_is_full() {
    let [mut first, _second] = Rig::two();
    let mut kept = Vec::new();
    let back = loop {
        let (socket, there) = first.pair();
        kept.push(there);
        if let Err(socket) = first.driver.hand_over(socket, 7, 1) {
            break socket;
        }
    };
    let there = kept.pop().expect("the last one");
    assert_same_both_ways(&mut first, &back, there);
}

#[test]
fn who_has_answers_waiting_still_looks_now_and_then() {
    let mut rig = Rig::new();
    let (busy, mut there) = rig.pair();
    write(&mut there, b"x");
    rig.driver.poll(&busy, Readiness::Readable, owner(1));
    assert_ready(&rig.answer(), owner(1));
    let (quiet, mut other) = rig.pair();
    rig.driver.poll(&quiet, Readiness::Readable, owner(2));
    rig.assert_silent();
    write(&mut other, b"x");
    rig.driver.poll(&busy, Readiness::Readable, owner(1));
    let (mut told, mut out) = (0, Vec::with_capacity(BATCH));
    while out.iter().all(|one: &Completion<Socket>| one.token.owner == owner(1)) {
        if out.drain(..).count() > 0 {
            told += 1;
            rig.driver.poll(&busy, Readiness::Readable, owner(1));
        }
        assert!(told <= 2 * LOOK_AFTER, "nobody looks");
        rig.driver.wait(None, &mut out).expect("epoll works");
    }
    assert!(told >= LOOK_AFTER - 1, "a look for {told} answers");
}

#[test]
fn no_more_is_told_at_once_than_there_is_room_for() {
    let mut rig = Rig::new();
    (0..5).for_each(|slot| rig.driver.accept(LISTENER, owner(slot)));
    (0..5).for_each(|slot| rig.driver.cancel(Token { op: Op::Accept, owner: owner(slot) }));
    let mut out = Vec::with_capacity(2);
    let room = out.capacity();
    rig.driver.wait(None, &mut out).expect("epoll works");
    assert_eq!((out.len(), out.capacity()), (room, room));
    let mut rest = Vec::with_capacity(BATCH);
    rig.driver.wait(None, &mut rest).expect("epoll works");
    assert_eq!(rest.len(), 5 - room);
}
