//! Sends, and what is believed after them.

use super::*;

#[test]
fn a_send_is_tried_at_once_and_told_in_the_next_wait_without_another_look() {
    let mut rig = Rig::new();
    let (mut socket, mut there) = rig.pair();
    let held = rig.filled(b"hello");
    let waits = rig.driver.counters.waits;
    rig.driver.send(&mut socket, held, owner(1));
    assert_eq!(read(&mut there, 5), b"hello", "before anybody waited");
    let completion = rig.answer();
    assert_eq!(completion.token, Token { op: Op::Send, owner: owner(1) });
    assert!(matches!(completion.outcome, Outcome::Done(5)), "{completion:?}");
    assert_eq!(rig.driver.counters.waits, waits);
}

#[test]
fn a_send_that_finds_no_room_waits_for_it() {
    let mut rig = Rig::new();
    let (mut socket, mut there) = rig.pair();
    let held = rig.filled(&[7; BUFFER_BYTES as usize]);
    let sent = rig.stuff(&mut socket, held);
    rig.driver.send(&mut socket, held, owner(2));
    rig.assert_silent();
    assert_eq!(read(&mut there, sent).len(), sent);
    let completion = rig.answer();
    assert_eq!(completion.token, Token { op: Op::Send, owner: owner(2) });
    assert!(matches!(completion.outcome, Outcome::Done(1..)), "{completion:?}");
    rig.driver.release(held.buffer);
}

#[test]
fn a_reset_fails_a_send_and_that_is_heard_before_the_end_that_a_receive_then_finds() {
    let mut rig = Rig::new();
    let (mut socket, there) = rig.pair();
    rig.driver.recv(&socket, true, owner(1));
    rig.assert_silent();
    let held = rig.filled(b"x");
    reset(there);
    std::thread::sleep(Duration::from_millis(20));
    rig.driver.send(&mut socket, held, owner(2));
    let completions = rig.answers(2);
    let Outcome::Failed(errno) = completions[0].outcome else { panic!("{completions:?}") };
    assert_eq!(completions[0].token.op, Op::Send);
    assert!(matches!(errno, Errno::ECONNRESET | Errno::EPIPE), "{errno}");
    assert_eq!(completions[1].token.op, Op::Recv);
}
