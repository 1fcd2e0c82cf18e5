//! Receives, and what is believed after them.

use super::*;

#[test]
fn a_receive_waits_for_bytes_and_holds_no_buffer_until_then() {
    let mut rig = Rig::new();
    let (socket, mut there) = rig.pair();
    let free = rig.driver.buffers_free();
    rig.driver.recv(&socket, true, owner(1));
    rig.assert_silent();
    assert_eq!(rig.driver.buffers_free(), free);
    write(&mut there, b"hello");
    let held = received(rig.answer(), owner(1));
    assert_eq!(rig.driver.buffers.bytes(held), b"hello");
    assert!(!held.more);
    assert_eq!(rig.driver.buffers_free(), free - 1);
    rig.driver.release(held.buffer);
    assert_eq!(rig.driver.buffers_free(), free);
}

#[test]
fn bytes_that_came_before_anybody_looked_are_received_without_an_event() {
    let mut rig = Rig::new();
    let (socket, mut there) = rig.pair();
    write(&mut there, b"early");
    let waits = rig.driver.counters.waits;
    rig.driver.recv(&socket, false, owner(1));
    let held = received(rig.answer(), owner(1));
    assert_eq!(rig.driver.buffers.bytes(held), b"early");
    assert_eq!(rig.driver.counters.waits, waits, "nothing had to be waited for");
}

#[test]
fn a_buffer_that_was_filled_completely_says_that_there_may_be_more() {
    let mut rig = Rig::new();
    let (socket, mut there) = rig.pair();
    let sent = vec![7; BUFFER_BYTES as usize + 5];
    write(&mut there, &sent);
    let mut got = 0;
    while got < sent.len() {
        rig.driver.recv(&socket, true, owner(1));
        let held = received(rig.answer(), owner(1));
        assert_eq!(held.more, held.end == BUFFER_BYTES);
        got += held.end as usize;
        rig.driver.release(held.buffer);
    }
}

#[test]
fn the_end_behind_the_last_bytes_is_found_although_both_came_with_one_event() {
    let mut rig = Rig::new();
    let (socket, mut there) = rig.pair();
    rig.driver.recv(&socket, true, owner(1));
    rig.assert_silent();
    write(&mut there, b"bye");
    drop(there);
    let held = received(rig.answer(), owner(1));
    rig.driver.release(held.buffer);
    rig.driver.recv(&socket, false, owner(1));
    let completion = rig.answer();
    assert!(matches!(completion.outcome, Outcome::EndOfStream), "{completion:?}");
    assert_eq!(rig.driver.buffers_free(), usize::from(BUFFERS));
}

#[test]
fn a_reset_ends_a_receive_that_waits() {
    let mut rig = Rig::new();
    let (socket, there) = rig.pair();
    rig.driver.recv(&socket, true, owner(1));
    rig.assert_silent();
    reset(there);
    assert_failed(&rig.answer(), Op::Recv, owner(1), Errno::ECONNRESET);
    rig.close(socket);
}

#[test]
fn a_receive_without_a_buffer_is_answered_and_finds_its_bytes_later() {
    let mut rig = Rig::new();
    let (socket, mut there) = rig.pair();
    let all: Vec<BufferId> = std::iter::from_fn(|| rig.driver.buffers.take()).collect();
    rig.driver.recv(&socket, false, owner(1));
    let completion = rig.answer();
    assert!(matches!(completion.outcome, Outcome::NoBuffer), "{completion:?}");
    write(&mut there, b"later");
    all.into_iter().for_each(|buffer| rig.driver.release(buffer));
    rig.driver.recv(&socket, true, owner(1));
    let held = received(rig.answer(), owner(1));
    assert_eq!(rig.driver.buffers.bytes(held), b"later");
}

#[test]
fn a_receive_that_waits_finds_no_buffer_when_its_bytes_come() {
    let mut rig = Rig::new();
    let (socket, mut there) = rig.pair();
    rig.driver.recv(&socket, true, owner(1));
    rig.assert_silent();
    let all: Vec<BufferId> = std::iter::from_fn(|| rig.driver.buffers.take()).collect();
    write(&mut there, b"later");
    let completion = rig.answer();
    assert!(matches!(completion.outcome, Outcome::NoBuffer), "{completion:?}");
    all.into_iter().for_each(|buffer| rig.driver.release(buffer));
    // No event tells of these bytes again.
    rig.driver.recv(&socket, false, owner(1));
    let held = received(rig.answer(), owner(1));
    assert_eq!(rig.driver.buffers.bytes(held), b"later");
}

#[test]
fn an_urgent_byte_and_what_follows_it_is_not_forgotten_after_a_short_receive() {
    let mut rig = Rig::new();
    let (socket, mut there) = rig.pair();
    rig.driver.recv(&socket, true, owner(1));
    rig.assert_silent();
    // All of it is there at the first event; a receive stops before the urgent byte (tcp(7)).
    write(&mut there, b"before");
    send_urgent(&there, b'!');
    write(&mut there, b"after");
    let mut got = Vec::new();
    loop {
        let held = received(rig.answer(), owner(1));
        got.extend_from_slice(rig.driver.buffers.bytes(held));
        rig.driver.release(held.buffer);
        rig.driver.recv(&socket, false, owner(1));
        if got.len() == 12 {
            break;
        }
    }
    assert_eq!(got, b"before!after");
    rig.assert_silent();
    // From then on a short receive is the last one again.
    let vain = rig.driver.counters.recv_eagain;
    write(&mut there, b"x");
    received(rig.answer(), owner(1));
    rig.driver.recv(&socket, false, owner(1));
    rig.assert_silent();
    assert_eq!(rig.driver.counters.recv_eagain, vain);
}
