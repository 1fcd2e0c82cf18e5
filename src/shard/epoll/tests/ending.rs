//! Cancels, and the end of sockets.

use super::*;

#[test]
fn each_operation_that_waits_can_be_cancelled_once() {
    let mut rig = Rig::new();
    let (mut socket, mut there) = rig.pair();
    let held = rig.filled(&[7; BUFFER_BYTES as usize]);
    rig.stuff(&mut socket, held);
    let (readable, writable) = (owner(3), owner(3).tagged(1));
    for op in [Op::Recv, Op::Poll, Op::Send, Op::Poll] {
        rig.driver.recv(&socket, true, readable);
        rig.driver.send(&mut socket, held, writable);
        rig.assert_silent();
        for (op, owner) in [(Op::Recv, readable), (Op::Send, writable)] {
            rig.driver.cancel(Token { op, owner });
            assert_failed(&rig.answer(), op, owner, Errno::ECANCELED);
        }
        rig.driver.poll(&socket, Readiness::Readable, readable);
        rig.driver.poll(&socket, Readiness::Writable, writable);
        rig.assert_silent();
        for owner in [readable, writable] {
            // Not what waits.
            rig.driver.cancel(Token { op: Op::Recv, owner });
            rig.assert_silent();
            rig.driver.cancel(Token { op: Op::Poll, owner });
            assert_failed(&rig.answer(), Op::Poll, owner, Errno::ECANCELED);
        }
        rig.driver.cancel(Token { op, owner: readable });
        rig.assert_silent();
    }
    assert_eq!(rig.driver.counters.cancel_missed, 4 * 3);
    // Nothing is left behind that an event could answer, and no byte was lost.
    write(&mut there, b"x");
    rig.assert_silent();
    rig.driver.recv(&socket, true, readable);
    let held = received(rig.answer(), readable);
    assert_eq!(rig.driver.buffers.bytes(held), b"x");
}

#[test]
fn an_event_for_a_socket_that_is_gone_does_not_meet_the_next_in_its_place() {
    let mut rig = Rig::new();
    let (socket, _there) = rig.pair();
    let old = data(socket.0);
    rig.close(socket);
    let (next, _there) = rig.pair();
    assert_eq!(place(old).slot, next.0.slot, "the place is used again");
    rig.driver.poll(&next, Readiness::Readable, owner(1));
    rig.driver.on_event(old, EpollFlags::EPOLLIN);
    rig.assert_silent();
    assert_eq!(rig.driver.counters.stale_event, 1);
}

#[test]
fn a_socket_that_is_closed_leaves_nothing_and_its_peer_sees_how() {
    let mut rig = Rig::new();
    for reset in [false, true] {
        let (socket, mut there) = rig.pair();
        rig.driver.recv(&socket, true, owner(1));
        rig.assert_silent();
        rig.driver.cancel(Token { op: Op::Recv, owner: owner(1) });
        rig.answer();
        rig.driver.close(socket, reset);
        let end = there.read(&mut [0]).map_err(|error| uring::errno(&error));
        assert_eq!(end, if reset { Err(Errno::ECONNRESET) } else { Ok(0) });
    }
    assert!(rig.driver.sockets.is_empty());
    rig.assert_silent();
}

#[test]
fn who_has_finished_writing_still_receives() {
    let mut rig = Rig::new();
    let (socket, mut there) = rig.pair();
    rig.driver.finish_writing(&socket);
    assert_eq!(there.read(&mut [0; 8]).expect("an end"), 0);
    write(&mut there, b"answer");
    rig.driver.recv(&socket, true, owner(1));
    let held = received(rig.answer(), owner(1));
    assert_eq!(rig.driver.buffers.bytes(held), b"answer");
}
