//! Bytes before the stream: looked at, taken and sent at once, and what receives and polls make of
//! the rest.

use super::*;

on_every_driver!(
    what_is_peeked_stays_until_it_is_taken_and_the_rest_is_received,
    a_poll_after_everything_was_taken_waits_for_more,
    bytes_that_came_while_nobody_waited_are_received_after_a_peek_that_was_too_early,
    an_end_that_was_peeked_is_received_too,
    a_reset_is_told_by_a_peek,
    what_is_sent_at_once_comes_before_what_is_sent_later,
    who_finds_no_room_can_wait_for_it,
);

fn what_is_peeked_stays_until_it_is_taken_and_the_rest_is_received<D>(mut rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    let (mut socket, mut there) = rig.pair();
    let mut space = [0; 8];
    assert_eq!(rig.driver.peek(&mut socket, &mut space), Err(Errno::EAGAIN));
    rig.driver.poll(&socket, Readiness::Readable, owner(1));
    rig.assert_silent();
    there.write_all(b"PROXY hello").expect("the driver's socket takes it");
    rig.assert_done(Op::Poll, owner(1));
    for _ in 0..2 {
        assert_eq!(rig.driver.peek(&mut socket, &mut space), Ok(8));
        assert_eq!(&space, b"PROXY he");
    }
    assert_eq!(rig.driver.take(&mut socket, 6), Ok(6));
    let held = rig.received(&socket);
    assert_eq!((held.start, held.end), (0, 5));
    rig.driver.send(&mut socket, held, owner(1));
    rig.assert_done(Op::Send, owner(1));
    let mut bytes = [0; 5];
    there.read_exact(&mut bytes).expect("it was sent");
    assert_eq!(&bytes, b"hello");
    let info = rig.driver.tcp_info(&socket).expect("it is one of TCP");
    assert_eq!((info.segments_sent, info.segments_received), (1, 1), "{info:?}");
    rig.close(socket);
}

fn a_poll_after_everything_was_taken_waits_for_more<D>(mut rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    let (mut socket, mut there) = rig.pair();
    let mut space = [0; 8];
    for part in [&b"PR"[..], b"OX", b"Y"] {
        rig.driver.poll(&socket, Readiness::Readable, owner(1));
        rig.assert_silent();
        there.write_all(part).expect("the driver's socket takes it");
        rig.assert_done(Op::Poll, owner(1));
        assert_eq!(rig.driver.peek(&mut socket, &mut space), Ok(part.len()));
        assert_eq!(&space[..part.len()], part);
        assert_eq!(rig.driver.take(&mut socket, part.len()), Ok(part.len()));
        assert_eq!(rig.driver.peek(&mut socket, &mut space), Err(Errno::EAGAIN));
    }
    rig.driver.recv(&socket, true, owner(1));
    rig.assert_silent();
    there.write_all(b"x").expect("the driver's socket takes it");
    assert!(matches!(rig.answer().outcome, Outcome::Received(Held { end: 1, .. })));
    rig.close(socket);
}

fn bytes_that_came_while_nobody_waited_are_received_after_a_peek_that_was_too_early<D>(
    mut rig: Rig<D>,
) where
    D: Driver<Listener = OwnedFd>,
{
    let (mut socket, mut there) = rig.pair();
    // From now on the driver is told of changes.
    rig.driver.poll(&socket, Readiness::Readable, owner(1));
    there.write_all(b"1").expect("the driver's socket takes it");
    rig.assert_done(Op::Poll, owner(1));
    assert_eq!(rig.driver.take(&mut socket, 9), Ok(1));
    assert_eq!(rig.driver.peek(&mut socket, &mut [0]), Err(Errno::EAGAIN));
    there.write_all(b"23").expect("the driver's socket takes it");
    // The change is told, and nobody waits.
    rig.assert_silent();
    assert_eq!(rig.driver.peek(&mut socket, &mut [0]), Ok(1));
    assert_eq!(rig.driver.take(&mut socket, 1), Ok(1));
    assert_eq!(rig.received(&socket).end, 1);
    rig.close(socket);
}

fn an_end_that_was_peeked_is_received_too<D>(mut rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    let (mut socket, there) = rig.pair();
    there.shutdown(std::net::Shutdown::Write).expect("it is connected");
    rig.driver.poll(&socket, Readiness::Readable, owner(1));
    rig.assert_done(Op::Poll, owner(1));
    assert_eq!(rig.driver.peek(&mut socket, &mut [0]), Ok(0));
    assert_eq!(rig.driver.take(&mut socket, 1), Ok(0));
    rig.driver.recv(&socket, false, owner(1));
    let outcome = rig.answer().outcome;
    assert!(matches!(outcome, Outcome::EndOfStream), "{}", name(&outcome));
    rig.close(socket);
}

fn a_reset_is_told_by_a_peek<D>(mut rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    let (mut socket, there) = rig.pair();
    uring::close_with_reset(there.into());
    rig.driver.poll(&socket, Readiness::Readable, owner(1));
    rig.assert_done(Op::Poll, owner(1));
    assert_eq!(rig.driver.peek(&mut socket, &mut [0]), Err(Errno::ECONNRESET));
    rig.close(socket);
}

fn what_is_sent_at_once_comes_before_what_is_sent_later<D>(mut rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    let (mut socket, mut there) = rig.pair();
    there.write_all(b"hello").expect("the driver's socket takes it");
    let held = rig.received(&socket);
    assert_eq!(rig.driver.send_now(&mut socket, b"PROXY "), Ok(6));
    rig.driver.send(&mut socket, held, owner(1));
    rig.assert_done(Op::Send, owner(1));
    let mut bytes = [0; 11];
    there.read_exact(&mut bytes).expect("it was sent");
    assert_eq!(&bytes, b"PROXY hello");
    rig.close(socket);
}

fn who_finds_no_room_can_wait_for_it<D>(mut rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    let (mut socket, mut there) = rig.pair();
    let many = vec![b'x'; 1 << 20];
    let mut sent = 0;
    // Acknowledgements make room behind a send that found none.
    for _ in 0..2 {
        loop {
            match rig.driver.send_now(&mut socket, &many) {
                Ok(bytes) => sent += bytes,
                Err(errno) => break assert_eq!(errno, Errno::EAGAIN),
            }
        }
        rig.driver.poll(&socket, Readiness::Writable, owner(1));
        let mut bytes = vec![0; sent];
        there.read_exact(&mut bytes).expect("it was sent");
        sent = 0;
        rig.assert_done(Op::Poll, owner(1));
    }
    assert_eq!(rig.driver.send_now(&mut socket, b"end"), Ok(3));
    rig.close(socket);
}
