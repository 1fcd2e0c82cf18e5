//! Receives into buffers that the kernel picks, and sends from them: no byte and no buffer is lost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::time::Duration;

use support::{
    answer, answers, assert_same_bytes, assert_silent, pattern, received, ring, ring_of, tcp_pair,
};
use uring::{BufferId, Config, Errno, Outcome, Owner, Readiness, Ring};

#[test]
fn received_bytes_are_exact_however_they_were_written() {
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    let sent = pattern(1, 1_000_003);
    let script = sent.clone();
    let writer = std::thread::spawn(move || {
        let mut rest = script.as_slice();
        for size in [1, 2, 4095, 4096, 4097, 65536, 100_000].into_iter().cycle() {
            let (now, later) = rest.split_at(size.min(rest.len()));
            there.write_all(now).unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
    });
    let (mut got, mut readiness) = (Vec::new(), Readiness::Empty);
    loop {
        ring.recv(&here, readiness, Owner::slot(1));
        let completion = answer(&mut ring);
        match completion.outcome {
            Outcome::EndOfStream => break,
            Outcome::Received { more: true, .. } => readiness = Readiness::Unknown,
            _ => readiness = Readiness::Empty,
        }
        got.extend(received(&mut ring, &completion));
    }
    writer.join().unwrap();
    assert_same_bytes(&got, &sent);
}

#[test]
fn a_buffer_has_one_holder_and_without_buffers_a_receive_fails_with_enobufs() {
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    // Six of eight: two are reserved. One byte over a full buffer each, so that all fill.
    let sent = pattern(2, 6 * 4096 + 1);
    there.write_all(&sent).unwrap();
    let mut held = Vec::new();
    for free in (0..6).rev() {
        ring.recv(&here, Readiness::Unknown, Owner::slot(1));
        let Outcome::Received { buffer, len, .. } = answer(&mut ring).outcome else { panic!() };
        assert_eq!(len, 4096);
        assert_eq!((ring.buffers_free(), ring.buffers_held()), (free, 8 - free));
        held.push(buffer);
    }
    assert_eq!(held.iter().collect::<HashSet<_>>().len(), 6, "{held:?}");
    // What is held stays as it was while others are filled.
    let got: Vec<u8> =
        held.iter().flat_map(|&buffer| ring.bytes(buffer, 0..4096).to_vec()).collect();
    assert_same_bytes(&got, &sent[..6 * 4096]);
    ring.recv(&here, Readiness::Unknown, Owner::slot(1));
    let completion = answer(&mut ring);
    assert!(matches!(completion.outcome, Outcome::Failed(Errno::ENOBUFS)), "{completion:?}");
    // One that comes back is used again, and the byte that waited is not lost.
    ring.release(held[3]);
    ring.recv(&here, Readiness::Unknown, Owner::slot(1));
    let completion = answer(&mut ring);
    let Outcome::Received { buffer, len: 1, .. } = completion.outcome else {
        panic!("{completion:?}")
    };
    assert_eq!(buffer, held[3]);
    assert_eq!(ring.bytes(buffer, 0..1), &sent[6 * 4096..]);
}

#[test]
fn more_receives_at_once_than_published_buffers_fail_and_succeed_at_the_next_enter() {
    let config = Config {
        entries: 8,
        buffers: 7,
        published: 2,
        buffer_bytes: 64,
        reserved: 1,
        busy_poll: None,
    };
    let Some(mut ring) = ring_of(&config) else { return };
    let mut pairs: Vec<_> = (0..6).map(|_| tcp_pair()).collect();
    for (_, there) in &mut pairs {
        there.write_all(b"x").unwrap();
    }
    let mut waiting: Vec<u32> = (0..6).collect();
    let mut held = HashSet::new();
    for round in 0..3 {
        assert_eq!(waiting.len(), 6 - 2 * round);
        let want = waiting.len();
        waiting.drain(..).for_each(|slot| {
            ring.recv(&pairs[slot as usize].0, Readiness::Unknown, Owner::slot(slot));
        });
        for completion in answers(&mut ring, want) {
            match completion.outcome {
                Outcome::Received { buffer, .. } => assert!(held.insert(buffer)),
                Outcome::Failed(Errno::ENOBUFS) => waiting.push(completion.token.owner.slot),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((waiting.len(), held.len()), (0, 6));
    assert_eq!((ring.buffers_free(), ring.buffers_held()), (0, 7));
}

#[test]
fn buffers_go_round_many_times() {
    let config = Config {
        entries: 4,
        buffers: 4,
        published: 4,
        buffer_bytes: 64,
        reserved: 1,
        busy_poll: None,
    };
    let Some(mut ring) = ring_of(&config) else { return };
    let (here, mut there) = tcp_pair();
    // Over 65536 times, because the ring's tail is a u16 that wraps.
    for round in 0..70_000_u32 {
        there.write_all(&round.to_le_bytes()).unwrap();
        ring.recv(&here, Readiness::Unknown, Owner::slot(1));
        let completion = answer(&mut ring);
        assert_eq!(received(&mut ring, &completion), round.to_le_bytes());
    }
    assert_eq!(ring.buffers_free(), 3);
}

#[test]
fn a_buffer_released_before_the_queue_overflows_is_there_for_the_receives_in_it() {
    let config = Config {
        entries: 4,
        buffers: 1,
        published: 1,
        buffer_bytes: 4096,
        reserved: 0,
        busy_poll: None,
    };
    let Some(mut ring) = ring_of(&config) else { return };
    let (here, mut there) = tcp_pair();
    there.write_all(b"x").unwrap();
    ring.recv(&here, Readiness::Unknown, Owner::slot(1));
    let completion = answer(&mut ring);
    received(&mut ring, &completion);
    // The only buffer is back; the receive starts in the flush that the fifth operation causes.
    assert_eq!(ring.buffers_free(), 1);
    there.write_all(b"y").unwrap();
    ring.recv(&here, Readiness::Unknown, Owner::slot(1));
    (2..6).for_each(|slot| ring.nop(Owner::slot(slot)));
    let receive =
        answers(&mut ring, 5).into_iter().find(|completion| completion.token.owner.slot == 1);
    assert_eq!(received(&mut ring, &receive.unwrap()), b"y");
}

#[test]
fn the_end_of_a_stream_costs_no_buffer() {
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    let free = ring.buffers_free();
    there.write_all(b"last words").unwrap();
    there.shutdown(Shutdown::Write).unwrap();
    ring.recv(&here, Readiness::Unknown, Owner::slot(1));
    let completion = answer(&mut ring);
    assert_eq!(received(&mut ring, &completion), b"last words");
    for readiness in [Readiness::Unknown, Readiness::Empty] {
        ring.recv(&here, readiness, Owner::slot(1));
        assert!(matches!(answer(&mut ring).outcome, Outcome::EndOfStream));
        assert_eq!(ring.buffers_free(), free);
    }
}

#[test]
fn a_reset_fails_the_receive_and_costs_no_buffer() {
    let Some(mut ring) = ring() else { return };
    let (here, there) = tcp_pair();
    let free = ring.buffers_free();
    ring.recv(&here, Readiness::Empty, Owner::slot(1));
    assert_silent(&mut ring);
    uring::close_with_reset(there.into());
    let completion = answer(&mut ring);
    assert!(matches!(completion.outcome, Outcome::Failed(Errno::ECONNRESET)), "{completion:?}");
    assert_eq!(ring.buffers_free(), free);
}

#[test]
fn more_says_whether_the_socket_held_more() {
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    there.write_all(&pattern(3, 2 * 4096 + 10)).unwrap();
    let said: Vec<(u32, bool)> = (0..3)
        .map(|_| {
            ring.recv(&here, Readiness::Unknown, Owner::slot(1));
            let completion = answer(&mut ring);
            let Outcome::Received { len, more, .. } = completion.outcome else { panic!() };
            received(&mut ring, &completion);
            (len, more)
        })
        .collect();
    assert_eq!(said, [(4096, true), (4096, true), (10, false)]);
}

#[test]
fn reserved_buffers_are_the_programs_until_it_gives_them_back() {
    let config = Config {
        entries: 4,
        buffers: 4,
        published: 4,
        buffer_bytes: 4096,
        reserved: 3,
        busy_poll: None,
    };
    let Some(mut ring) = ring_of(&config) else { return };
    assert_eq!((ring.buffers_free(), ring.buffers_held(), ring.buffer_bytes()), (1, 3, 4096));
    let reserved: HashSet<BufferId> = std::iter::from_fn(|| ring.take_reserved()).collect();
    assert_eq!(reserved.len(), 3);
    let (here, mut there) = tcp_pair();
    for &buffer in &reserved {
        ring.bytes_mut(buffer).fill(7);
    }
    there.write_all(&[9; 4096]).unwrap();
    ring.recv(&here, Readiness::Unknown, Owner::slot(1));
    let Outcome::Received { buffer, .. } = answer(&mut ring).outcome else { panic!() };
    assert!(!reserved.contains(&buffer));
    for &buffer in &reserved {
        assert!(ring.bytes(buffer, 0..4096).iter().all(|&byte| byte == 7));
    }
}

#[test]
fn a_send_takes_exactly_its_range() {
    let Some(mut ring) = ring() else { return };
    let (here, mut there) = tcp_pair();
    let buffer = ring.take_reserved().unwrap();
    let text = pattern(4, 4096);
    ring.bytes_mut(buffer).copy_from_slice(&text);
    for (start, end) in [(0, 4096), (1, 2), (1000, 3000), (4095, 4096)] {
        ring.send(&here, buffer, start..end, Owner::slot(1));
        let Outcome::Done(taken) = answer(&mut ring).outcome else { panic!() };
        assert_eq!(taken, end - start);
        let mut got = vec![0; taken as usize];
        there.read_exact(&mut got).unwrap();
        assert_same_bytes(&got, &text[start as usize..end as usize]);
    }
}

#[test]
fn a_received_buffer_is_sent_on_without_copying() {
    let Some(mut ring) = ring() else { return };
    let ((here, mut there), (onward, mut beyond)) = (tcp_pair(), tcp_pair());
    there.write_all(b"pass it on").unwrap();
    ring.recv(&here, Readiness::Unknown, Owner::slot(1));
    let Outcome::Received { buffer, len, .. } = answer(&mut ring).outcome else { panic!() };
    ring.send(&onward, buffer, 0..len, Owner::slot(2));
    assert!(matches!(answer(&mut ring).outcome, Outcome::Done(10)));
    ring.release(buffer);
    let mut got = [0; 10];
    beyond.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"pass it on");
}

#[test]
fn a_big_send_to_a_slow_reader_is_completed_whole() {
    const LEN: u32 = 4 << 20;
    let config = Config {
        entries: 4,
        buffers: 1,
        published: 1,
        buffer_bytes: LEN,
        reserved: 1,
        busy_poll: None,
    };
    let Some(mut ring) = ring_of(&config) else { return };
    let (here, mut there) = tcp_pair();
    // A small send buffer makes the kernel come back for more many times.
    socket2::SockRef::from(&here).set_send_buffer_size(16 * 1024).unwrap();
    let (buffer, sent) = (ring.take_reserved().unwrap(), pattern(5, LEN as usize));
    ring.bytes_mut(buffer).copy_from_slice(&sent);
    ring.send_whole(&here, buffer, 0..LEN, Owner::slot(1));
    assert_silent(&mut ring);
    let reader = std::thread::spawn(move || {
        let (mut got, mut chunk) = (Vec::new(), [0; 30_000]);
        while got.len() < LEN as usize {
            let bytes = there.read(&mut chunk).unwrap();
            got.extend_from_slice(&chunk[..bytes]);
            if got.len() < 600_000 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        got
    });
    let completion = answer(&mut ring);
    assert!(matches!(completion.outcome, Outcome::Done(LEN)), "{completion:?}");
    assert_same_bytes(&reader.join().unwrap(), &sent);
}

#[test]
fn a_send_after_the_peers_reset_fails_with_econnreset_then_epipe() {
    let Some(mut ring) = ring() else { return };
    let (here, there) = tcp_pair();
    uring::close_with_reset(there.into());
    let buffer = ring.take_reserved().unwrap();
    assert_eq!(send_failure(&mut ring, &here, buffer), Errno::ECONNRESET);
    // The first failure consumed the socket's error; what is left is a socket that cannot send.
    assert_eq!(send_failure(&mut ring, &here, buffer), Errno::EPIPE);
}

#[test]
fn a_reset_ends_a_send_that_waits_for_room() {
    const LEN: u32 = 16 << 20;
    let config = Config {
        entries: 4,
        buffers: 1,
        published: 1,
        buffer_bytes: LEN,
        reserved: 1,
        busy_poll: None,
    };
    let Some(mut ring) = ring_of(&config) else { return };
    let (here, there) = tcp_pair();
    let buffer = ring.take_reserved().unwrap();
    ring.send_whole(&here, buffer, 0..LEN, Owner::slot(1));
    assert_silent(&mut ring);
    uring::close_with_reset(there.into());
    // What went out before the reset is told first, as send(2) would; then the error.
    match answer(&mut ring).outcome {
        Outcome::Done(taken) => {
            assert!(taken < LEN, "short, because the connection failed half-way");
            send_failure(&mut ring, &here, buffer);
        }
        Outcome::Failed(errno) => assert!(matches!(errno, Errno::ECONNRESET | Errno::EPIPE)),
        other => panic!("{other:?}"),
    }
}

/// Waits until the reset is known here, then sends.
fn send_failure(ring: &mut Ring, here: &OwnedFd, buffer: BufferId) -> Errno {
    ring.poll_readable(here, Owner::slot(8));
    answer(ring);
    ring.send(here, buffer, 0..1, Owner::slot(1));
    match answer(ring).outcome {
        Outcome::Failed(errno) => errno,
        other => panic!("the peer is gone, but {other:?}"),
    }
}
