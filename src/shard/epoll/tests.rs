//! Each operation of the driver on the real kernel.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use uring::Waker;

use super::*;

#[test]
fn an_accept_waits_for_a_client_and_takes_it() {
    let mut rig = Rig::new();
    rig.driver.accept(LISTENER, owner(1));
    rig.assert_silent();
    let client = rig.client();
    let completion = rig.answer();
    assert_eq!(completion.token, Token { op: Op::Accept, owner: owner(1) });
    let socket = accepted(completion);
    assert_eq!(rig.driver.peer_address(&socket), client.local_addr().ok());
}

#[test]
fn a_crowd_is_taken_by_as_many_accepts_as_there_are() {
    let mut rig = Rig::new();
    let clients: Vec<TcpStream> = (0..9).map(|_| rig.client()).collect();
    (0..6).for_each(|slot| rig.driver.accept(LISTENER, owner(slot)));
    let mut sockets: Vec<Socket> = rig.answers(6).into_iter().map(accepted).collect();
    // Three wait, and nobody wants them: that costs nothing.
    rig.assert_silent();
    let waits = rig.driver.counters.waits;
    rig.assert_silent();
    assert_eq!(rig.driver.counters.waits, waits + 1, "the listener is told again and again");
    (0..6).for_each(|slot| rig.driver.accept(LISTENER, owner(slot)));
    sockets.extend(rig.answers(3).into_iter().map(accepted));
    rig.assert_silent();
    let mut peers: Vec<_> =
        sockets.iter().filter_map(|socket| rig.driver.peer_address(socket)).collect();
    let mut expected: Vec<_> =
        clients.iter().filter_map(|client| client.local_addr().ok()).collect();
    peers.sort_unstable();
    expected.sort_unstable();
    assert_eq!(peers, expected);
    // The three accepts that are left take whom they meet.
    let _late = rig.client();
    accepted(rig.answer());
}

#[test]
fn a_cancelled_accept_leaves_the_other_and_loses_no_client() {
    let mut rig = Rig::new();
    rig.driver.accept(LISTENER, owner(1));
    rig.driver.accept(LISTENER, owner(2));
    rig.driver.cancel(Token { op: Op::Accept, owner: owner(1) });
    assert_failed(&rig.answer(), Op::Accept, owner(1), Errno::ECANCELED);
    let _client = rig.client();
    assert_eq!(rig.answer().token.owner, owner(2));
    rig.driver.cancel(Token { op: Op::Accept, owner: owner(2) });
    rig.assert_silent();
    assert_eq!(rig.driver.counters.cancel_missed, 1);
}

#[test]
fn nobody_is_accepted_after_listening_has_stopped() {
    let mut rig = Rig::new();
    rig.driver.stop_listening(LISTENER);
    assert!(TcpStream::connect(rig.address).is_err());
    rig.assert_silent();
}

#[test]
fn a_connect_to_a_listener_is_done() {
    let mut rig = Rig::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let socket = rig.connect(address);
    let completion = rig.answer();
    assert_eq!(completion.token, Token { op: Op::Connect, owner: owner(1) });
    assert!(matches!(completion.outcome, Outcome::Done(_)), "{completion:?}");
    assert_eq!(rig.driver.peer_address(&socket), Some(address));
    assert!(!rig.driver.is_connected_to_itself(&socket));
    let (there, _) = listener.accept().expect("it is connected");
    assert_same_both_ways(&mut rig, &socket, there);
}

#[test]
fn a_connect_to_nobody_is_refused() {
    let mut rig = Rig::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let socket = rig.connect(address);
    assert_failed(&rig.answer(), Op::Connect, owner(1), Errno::ECONNREFUSED);
    rig.close(socket);
}

#[test]
fn a_connect_that_fails_at_once_is_told_like_one_that_fails_later() {
    let mut rig = Rig::new();
    // TCP does not broadcast.
    let address = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
    let socket = rig.connect(address);
    assert_failed(&rig.answer(), Op::Connect, owner(1), Errno::ENETUNREACH);
    rig.close(socket);
}

#[test]
fn a_connect_that_is_not_answered_can_be_cancelled() {
    let mut rig = Rig::new();
    let listener = full_listener();
    let address = uring::local_address(&listener).expect("bound");
    let _filler = TcpStream::connect(address).expect("room for one");
    let socket = rig.connect(address);
    rig.assert_silent();
    rig.driver.cancel(Token { op: Op::Connect, owner: owner(1) });
    assert_failed(&rig.answer(), Op::Connect, owner(1), Errno::ECANCELED);
    rig.assert_silent();
    rig.close(socket);
}

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

#[test]
fn what_was_spliced_away_is_waited_for_and_not_believed_again() {
    let mut rig = Rig::new();
    let (mut here, mut there) = rig.pair();
    let (mut out, mut reader) = rig.pair();
    let mut pipe = rig.driver.make_pipe().expect("a pipe");
    for word in [b"first", b"other"] {
        rig.driver.poll(&here, Readiness::Readable, owner(1));
        rig.assert_silent();
        write(&mut there, word);
        assert_ready(&rig.answer(), owner(1));
        assert_eq!(rig.driver.fill(&mut pipe, &mut here), Ok(Spliced::Moved(5)));
        assert_eq!(rig.driver.held(&pipe), 5);
        assert_eq!(rig.driver.drain(&mut pipe, &mut out), Ok(Spliced::Moved(5)));
        assert_eq!(read(&mut reader, 5), word);
        assert_eq!(rig.driver.fill(&mut pipe, &mut here), Ok(Spliced::NotNow));
    }
    drop(there);
    rig.driver.poll(&here, Readiness::Readable, owner(1));
    assert_ready(&rig.answer(), owner(1));
    assert_eq!(rig.driver.fill(&mut pipe, &mut here), Ok(Spliced::EndOfStream));
}

#[test]
fn a_poll_after_everything_was_spliced_away_waits_although_nothing_has_met_the_end() {
    let mut rig = Rig::new();
    let (mut here, mut there) = rig.pair();
    let mut pipe = rig.driver.make_pipe().expect("a pipe");
    rig.driver.poll(&here, Readiness::Readable, owner(1));
    rig.assert_silent();
    write(&mut there, b"first");
    assert_ready(&rig.answer(), owner(1));
    assert_eq!(rig.driver.fill(&mut pipe, &mut here), Ok(Spliced::Moved(5)));
    rig.driver.poll(&here, Readiness::Readable, owner(1));
    rig.assert_silent();
    write(&mut there, b"x");
    assert_ready(&rig.answer(), owner(1));
}

#[test]
fn a_drain_that_finds_no_room_waits_for_it() {
    let mut rig = Rig::new();
    let (mut here, mut there) = rig.pair();
    let (mut out, mut reader) = rig.pair();
    let mut pipe = rig.driver.make_pipe().expect("a pipe");
    let mut sent = 0;
    loop {
        if rig.driver.held(&pipe) == 0 {
            write(&mut there, &[7; 50_000]);
            rig.driver.poll(&here, Readiness::Readable, owner(1));
            assert_ready(&rig.answer(), owner(1));
            assert!(matches!(rig.driver.fill(&mut pipe, &mut here), Ok(Spliced::Moved(_))));
        }
        match rig.driver.drain(&mut pipe, &mut out).expect("its peer only does not read") {
            Spliced::Moved(bytes) => sent += bytes as usize,
            Spliced::NotNow => break,
            Spliced::EndOfStream => panic!("a pipe has no end"),
        }
    }
    rig.driver.poll(&out, Readiness::Writable, owner(1));
    rig.assert_silent();
    assert_eq!(read(&mut reader, sent).len(), sent);
    assert_ready(&rig.answer(), owner(1));
    assert!(matches!(rig.driver.drain(&mut pipe, &mut out), Ok(Spliced::Moved(_))));
}

#[test]
fn splicing_that_stops_at_an_urgent_byte_leaves_it_to_the_next_receive() {
    let mut rig = Rig::new();
    let (mut socket, mut there) = rig.pair();
    let mut pipe = rig.driver.make_pipe().expect("a pipe");
    rig.driver.poll(&socket, Readiness::Readable, owner(1));
    rig.assert_silent();
    write(&mut there, b"before");
    send_urgent(&there, b'!');
    assert_ready(&rig.answer(), owner(1));
    assert_eq!(rig.driver.fill(&mut pipe, &mut socket), Ok(Spliced::Moved(6)));
    assert_eq!(rig.driver.fill(&mut pipe, &mut socket), Ok(Spliced::NotNow));
    // No event tells of the byte again.
    rig.driver.poll(&socket, Readiness::Readable, owner(1));
    assert_ready(&rig.answer(), owner(1));
    assert_eq!(rig.driver.fill(&mut pipe, &mut socket), Ok(Spliced::NotNow));
    rig.driver.recv(&socket, true, owner(1));
    let held = received(rig.answer(), owner(1));
    assert_eq!(rig.driver.buffers.bytes(held), b"!");
    rig.driver.recv(&socket, true, owner(1));
    rig.assert_silent();
}

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
    first.driver.hand_over(socket, 1).expect("an empty mailbox");
    let completion = second.answer();
    assert_eq!(completion.token, HANDED_OVER);
    let Outcome::HandedOver(socket) = completion.outcome else { panic!("{completion:?}") };
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
        if let Err(socket) = first.driver.hand_over(socket, 1) {
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

/// A driver and what its peers need.
struct Rig {
    driver: EpollDriver,
    address: SocketAddr,
    waker: Waker,
}

impl Rig {
    fn new() -> Self {
        let [first, _] = Self::two();
        first
    }

    fn looking_before_it_sleeps(time: Duration) -> Self {
        let [first, _] = Self::two_that(Some(time));
        first
    }

    /// Two that can hand connections to each other.
    fn two() -> [Self; 2] {
        Self::two_that(None)
    }

    fn two_that(busy_poll: Option<Duration>) -> [Self; 2] {
        let wakes = [(); 2].map(|()| uring::wake_pair().expect("descriptors"));
        let post = Arc::new(Post::new(wakes.each_ref().map(|(waker, _)| waker.clone())));
        let mut shard = 0..;
        wakes.map(|(waker, wake)| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            listener.set_nonblocking(true).expect("a socket");
            // Accepted sockets inherit it, as from the listeners of the balancer.
            let inline = socket2::SockRef::from(&listener).set_out_of_band_inline(true);
            inline.expect("a socket");
            let address = listener.local_addr().expect("bound");
            let (listener, post) = (listener.into(), Arc::clone(&post));
            let shard = shard.next().expect("it does not end");
            let wiring = Wiring { wake, post, shard };
            let (buffers, buffer_bytes) = (BUFFERS, BUFFER_BYTES);
            let config = EpollConfig { sessions: 1, buffers, buffer_bytes, busy_poll };
            let mut driver = EpollDriver::new(&config, wiring).expect("descriptors");
            assert_eq!(driver.listen(listener).expect("it can be watched"), LISTENER);
            Self { driver, address, waker }
        })
    }

    fn client(&self) -> TcpStream {
        patient(TcpStream::connect(self.address).expect("the driver listens"))
    }

    fn connect(&mut self, address: SocketAddr) -> Socket {
        let socket = self.driver.connect(&address.into(), &ConnectOptions::default(), owner(1));
        socket.expect("a descriptor")
    }

    /// A connection that the driver accepted, and its client.
    fn pair(&mut self) -> (Socket, TcpStream) {
        let there = self.client();
        self.driver.accept(LISTENER, owner(99));
        (accepted(self.answer()), there)
    }

    /// Waits for so many answers.
    fn answers(&mut self, want: usize) -> Vec<Completion<Socket>> {
        let started = Instant::now();
        let mut out = Vec::with_capacity(BATCH);
        while out.len() < want {
            self.driver.wait(Some(Duration::from_secs(1)), &mut out).expect("epoll works");
            assert!(started.elapsed() < WATCHDOG, "{} answers of {want}", out.len());
        }
        assert_eq!(out.len(), want, "{out:?}");
        out
    }

    fn answer(&mut self) -> Completion<Socket> {
        self.answers(1).pop().expect("one")
    }

    /// Looks whether anything comes; nothing should.
    fn assert_silent(&mut self) {
        let mut out = Vec::with_capacity(BATCH);
        let until = Instant::now() + Duration::from_millis(20);
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.driver.wait(Some(left), &mut out).expect("epoll works");
            assert!(out.is_empty(), "nothing was due, but: {out:?}");
        }
    }

    /// A buffer with these bytes in it.
    fn filled(&mut self, bytes: &[u8]) -> Held {
        let buffer = self.driver.buffers.take().expect("a buffer");
        self.driver.buffers.space(buffer)[..bytes.len()].copy_from_slice(bytes);
        let end = u32::try_from(bytes.len()).expect("at most a buffer");
        Held { buffer, start: 0, end, more: false }
    }

    /// Sends until nothing more is taken; how many bytes that was.
    fn stuff(&mut self, socket: &mut Socket, held: Held) -> usize {
        let mut sent = 0;
        loop {
            self.driver.send(socket, held, owner(9));
            let mut out = Vec::with_capacity(BATCH);
            self.driver.wait(Some(Duration::from_millis(50)), &mut out).expect("epoll works");
            match out.pop().map(|completion| completion.outcome) {
                Some(Outcome::Done(bytes)) => sent += bytes as usize,
                None => break,
                other => panic!("{other:?}"),
            }
        }
        self.driver.cancel(Token { op: Op::Send, owner: owner(9) });
        self.answer();
        sent
    }

    fn close(&mut self, socket: Socket) {
        self.driver.close(socket, false);
    }
}

fn owner(slot: u32) -> Owner {
    Owner { slot, generation: 7, tag: 0 }
}

fn accepted(completion: Completion<Socket>) -> Socket {
    match completion.outcome {
        Outcome::Accepted(socket) => socket,
        other => panic!("no connection but {other:?}"),
    }
}

fn received(completion: Completion<Socket>, by: Owner) -> Held {
    assert_eq!(completion.token, Token { op: Op::Recv, owner: by });
    match completion.outcome {
        Outcome::Received(held) => held,
        other => panic!("no bytes but {other:?}"),
    }
}

fn assert_ready(completion: &Completion<Socket>, by: Owner) {
    assert_eq!(completion.token, Token { op: Op::Poll, owner: by });
    assert!(matches!(completion.outcome, Outcome::Done(_)), "{completion:?}");
}

fn assert_failed(completion: &Completion<Socket>, op: Op, owner: Owner, errno: Errno) {
    assert_eq!(completion.token, Token { op, owner });
    assert!(matches!(completion.outcome, Outcome::Failed(e) if e == errno), "{completion:?}");
}

fn assert_same_both_ways(rig: &mut Rig, socket: &Socket, there: TcpStream) {
    let (mut there, mut socket) = (patient(there), Socket(socket.0));
    rig.driver.recv(&socket, true, owner(1));
    write(&mut there, b"hello");
    let held = received(rig.answer(), owner(1));
    rig.driver.send(&mut socket, held, owner(1));
    assert_eq!(read(&mut there, 5), b"hello");
    assert!(matches!(rig.answer().outcome, Outcome::Done(5)));
}

/// Writes, and waits until it has arrived: over loopback that is when the write returns.
fn write(there: &mut TcpStream, bytes: &[u8]) {
    there.write_all(bytes).expect("the driver's socket takes it");
}

fn read(there: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    there.read_exact(&mut bytes).expect("it was sent");
    bytes
}

fn reset(there: TcpStream) {
    uring::close_with_reset(there.into());
}

fn send_urgent(there: &TcpStream, byte: u8) {
    let sent = socket2::SockRef::from(there).send_out_of_band(&[byte]);
    assert_eq!(sent.expect("the connection stands"), 1);
}

/// Its backlog holds one.
fn full_listener() -> socket2::Socket {
    let kind = socket2::Type::STREAM;
    let listener = socket2::Socket::new(socket2::Domain::IPV4, kind, None).expect("a socket");
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    listener.bind(&any_port.into()).expect("a free port");
    // The kernel takes one more than the backlog (sk_acceptq_is_full, include/net/sock.h).
    listener.listen(0).expect("bound");
    listener
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(WATCHDOG)).expect("not zero");
    stream.set_write_timeout(Some(WATCHDOG)).expect("not zero");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

/// The listener of every rig.
const LISTENER: ListenerNumber = ListenerNumber(0);

const BUFFERS: u16 = 4;
const BUFFER_BYTES: u32 = 4096;

/// Nothing here takes a second; after this long a test fails with a message instead of hanging.
const WATCHDOG: Duration = Duration::from_secs(30);
