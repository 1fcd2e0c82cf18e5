//! Polls, which ask the kernel.

use super::*;

#[test]
fn a_poll_waits_until_there_is_something_to_read_and_then_does_not() {
    let mut rig = Rig::new();
    let (socket, mut there) = rig.pair();
    rig.driver.poll(&socket, Readiness::Readable, owner(1));
    rig.assert_silent();
    write(&mut there, b"x");
    assert_ready(&rig.answer(), owner(1));
    let waits = rig.driver.counters.waits;
    rig.driver.poll(&socket, Readiness::Readable, owner(1));
    assert_ready(&rig.answer(), owner(1));
    assert_eq!(rig.driver.counters.waits, waits);
    rig.driver.recv(&socket, true, owner(1));
    received(rig.answer(), owner(1));
    rig.driver.poll(&socket, Readiness::Readable, owner(1));
    rig.assert_silent();
}

#[test]
fn a_poll_for_room_waits_until_there_is_some() {
    let mut rig = Rig::new();
    let (mut socket, mut there) = rig.pair();
    rig.driver.poll(&socket, Readiness::Writable, owner(1));
    assert_ready(&rig.answer(), owner(1));
    let held = rig.filled(&[7; BUFFER_BYTES as usize]);
    let sent = rig.stuff(&mut socket, held);
    rig.driver.poll(&socket, Readiness::Writable, owner(1));
    rig.assert_silent();
    assert_eq!(read(&mut there, sent).len(), sent);
    assert_ready(&rig.answer(), owner(1));
}

#[test]
fn an_end_is_something_to_read_and_a_reset_something_to_write_at() {
    let mut rig = Rig::new();
    let (socket, there) = rig.pair();
    rig.driver.poll(&socket, Readiness::Readable, owner(1));
    rig.assert_silent();
    drop(there);
    assert_ready(&rig.answer(), owner(1));
    let (mut socket, there) = rig.pair();
    let held = rig.filled(&[7; BUFFER_BYTES as usize]);
    rig.stuff(&mut socket, held);
    rig.driver.poll(&socket, Readiness::Writable, owner(1));
    rig.assert_silent();
    reset(there);
    assert_ready(&rig.answer(), owner(1));
}
