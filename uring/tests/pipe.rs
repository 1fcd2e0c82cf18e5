//! splice(2) through a pipe: every byte arrives, and "not now" means what it says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Instant;

use support::{answer, assert_same_bytes, pattern, ring, tcp_pair};
use uring::{Errno, Owner, Pipe, Ring, Spliced};

const PIPE_BYTES: u32 = 64 * 1024;

#[test]
fn bytes_that_go_through_a_pipe_are_exact() {
    let Some(mut ring) = ring() else { return };
    let ((from, mut writer), (to, mut reader)) = (tcp_pair(), tcp_pair());
    let sent = pattern(1, 8_000_001);
    let script = sent.clone();
    let writing = std::thread::spawn(move || {
        for chunk in script.chunks(77_777) {
            writer.write_all(chunk).unwrap();
        }
    });
    let reading = std::thread::spawn(move || {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        got
    });
    let mut pipe = Pipe::new(PIPE_BYTES).unwrap();
    relay(&mut ring, &mut pipe, &from, &to);
    assert_eq!(pipe.held(), 0);
    drop(to);
    writing.join().unwrap();
    assert_same_bytes(&reading.join().unwrap(), &sent);
}

/// Moves everything until the end of the stream, by the rules: a pipe that holds bytes is drained
/// first, and what is waited for is the side that stopped.
fn relay(ring: &mut Ring, pipe: &mut Pipe, from: &OwnedFd, to: &OwnedFd) {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < support::WATCHDOG, "{} bytes do not move", pipe.held());
        if pipe.held() > 0 {
            if pipe.drain(to).unwrap() == Spliced::NotNow {
                ring.poll_writable(to, Owner::slot(2));
                answer(ring);
            }
            continue;
        }
        match pipe.fill(from, PIPE_BYTES).unwrap() {
            Spliced::Moved(_) => {}
            Spliced::NotNow => {
                ring.poll_readable(from, Owner::slot(1));
                answer(ring);
            }
            Spliced::EndOfStream => return,
        }
    }
}

#[test]
fn an_empty_socket_is_not_now_and_not_the_end() {
    let (from, mut writer) = tcp_pair();
    let mut pipe = Pipe::new(PIPE_BYTES).unwrap();
    assert_eq!(pipe.fill(&from, PIPE_BYTES), Ok(Spliced::NotNow));
    writer.write_all(b"hello").unwrap();
    assert_eq!(pipe.fill(&from, PIPE_BYTES), Ok(Spliced::Moved(5)));
    assert_eq!(pipe.held(), 5);
    assert_eq!(pipe.fill(&from, PIPE_BYTES), Ok(Spliced::NotNow));
    assert_eq!(pipe.held(), 5, "a pipe that could not be filled keeps what it has");
}

#[test]
fn an_empty_pipe_is_not_now_for_the_receiver() {
    let (to, _reader) = tcp_pair();
    let mut pipe = Pipe::new(PIPE_BYTES).unwrap();
    assert_eq!(pipe.drain(&to), Ok(Spliced::NotNow));
}

#[test]
fn the_end_of_a_stream_comes_after_its_last_byte() {
    let ((from, mut writer), (to, mut reader)) = (tcp_pair(), tcp_pair());
    let mut pipe = Pipe::new(PIPE_BYTES).unwrap();
    writer.write_all(b"last").unwrap();
    writer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(pipe.fill(&from, PIPE_BYTES), Ok(Spliced::Moved(4)));
    assert_eq!(pipe.fill(&from, PIPE_BYTES), Ok(Spliced::EndOfStream));
    assert_eq!((pipe.held(), pipe.drain(&to)), (4, Ok(Spliced::Moved(4))));
    let mut got = [0; 4];
    reader.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"last");
}

#[test]
fn a_fill_takes_no_more_than_it_is_asked_for() {
    let (from, mut writer) = tcp_pair();
    let mut pipe = Pipe::new(PIPE_BYTES).unwrap();
    writer.write_all(&pattern(2, 1000)).unwrap();
    assert_eq!(pipe.fill(&from, 300), Ok(Spliced::Moved(300)));
    assert_eq!(pipe.fill(&from, 300), Ok(Spliced::Moved(300)));
    assert_eq!(pipe.held(), 600);
}

#[test]
fn a_full_pipe_is_not_now_although_the_socket_has_bytes() {
    let ((from, writer), (to, mut reader)) = (tcp_pair(), tcp_pair());
    let sent = pattern(3, 1 << 20);
    writer.set_nonblocking(true).unwrap();
    let written = write_until_full(&writer, &sent);
    let mut pipe = Pipe::new(PIPE_BYTES).unwrap();
    let filled = fill_until_not_now(&mut pipe, &from);
    assert!(filled > 0 && (filled as usize) < written, "{filled} of {written}");
    assert_eq!(pipe.held(), filled);
    // Draining makes room: that, and not waiting for the socket, is what goes on.
    assert!(matches!(pipe.drain(&to), Ok(Spliced::Moved(_))));
    assert!(matches!(pipe.fill(&from, PIPE_BYTES), Ok(Spliced::Moved(_))));
    let mut got = vec![0; filled as usize];
    while pipe.held() > 0 && matches!(pipe.drain(&to), Ok(Spliced::Moved(_))) {}
    reader.read_exact(&mut got).unwrap();
    assert_same_bytes(&got, &sent[..filled as usize]);
}

#[test]
fn a_drain_to_a_slow_reader_is_partial_and_then_not_now() {
    let ((from, mut writer), (to, mut reader)) = (tcp_pair(), tcp_pair());
    socket2::SockRef::from(&to).set_send_buffer_size(16 * 1024).unwrap();
    let sent = pattern(4, 16 << 20);
    let script = sent.clone();
    let writing = std::thread::spawn(move || writer.write_all(&script).map(|()| drop(writer)));
    let mut pipe = Pipe::new(1 << 20).unwrap();
    let mut stopped_partial = false;
    let mut drained = 0;
    // What both sockets and the pipe can hold is less than what is sent (tcp_wmem, tcp_rmem).
    let started = Instant::now();
    while !stopped_partial {
        assert!(started.elapsed() < support::WATCHDOG, "it takes everything");
        fill_until_not_now(&mut pipe, &from);
        match pipe.drain(&to).unwrap() {
            Spliced::Moved(bytes) => drained += bytes as usize,
            Spliced::NotNow => stopped_partial = pipe.held() > 0,
            Spliced::EndOfStream => panic!("a pipe has no end while it is open"),
        }
    }
    let held = pipe.held();
    assert_eq!(pipe.drain(&to), Ok(Spliced::NotNow));
    assert_eq!(pipe.held(), held, "nothing moved, nothing lost");
    assert!(drained < sent.len());
    let reading = std::thread::spawn(move || {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).map(|_| got)
    });
    let Some(mut ring) = ring() else { return };
    relay(&mut ring, &mut pipe, &from, &to);
    drop(to);
    writing.join().unwrap().unwrap();
    assert_same_bytes(&reading.join().unwrap().unwrap(), &sent);
}

#[test]
fn the_last_bytes_of_a_drain_are_sent_at_once_although_they_fill_no_segment() {
    let ((from, mut writer), (to, reader)) = (tcp_pair(), tcp_pair());
    uring::set_nodelay(&to).unwrap();
    let mut pipe = Pipe::new(PIPE_BYTES).unwrap();
    // Less than a segment, a segment and a bit, and what several calls make of a page and a bit.
    for bytes in [1, 100, 4097, mss(&to) + 1, mss(&to) + 1000] {
        writer.write_all(&pattern(5, bytes)).unwrap();
        let mut moved = 0;
        while moved < bytes {
            if let Spliced::Moved(filled) = pipe.fill(&from, PIPE_BYTES).unwrap() {
                moved += filled as usize;
                assert_eq!(pipe.drain(&to), Ok(Spliced::Moved(filled)));
            }
        }
        // The reader has room for all of it, so what is not sent is held back.
        assert_eq!(unsent(&to), 0, "of {bytes} bytes");
        (&reader).read_exact(&mut vec![0; bytes]).unwrap();
    }
}

/// The kernel's maximum segment size, as bytes of payload.
fn mss(socket: &OwnedFd) -> usize {
    socket2::SockRef::from(socket).tcp_mss().unwrap() as usize
}

/// Bytes that the kernel has taken and not sent (SIOCOUTQNSD, include/uapi/linux/sockios.h).
fn unsent(socket: &OwnedFd) -> i32 {
    const SIOCOUTQNSD: libc::Ioctl = 0x894b;
    let mut bytes = -1;
    // SAFETY: `socket` is borrowed, so it is open for the whole call; the kernel writes one int to
    // `bytes` (tcp_ioctl, net/ipv4/tcp.c) and keeps no pointer to it.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCOUTQNSD, &raw mut bytes) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    bytes
}

#[test]
fn a_reset_is_an_error_on_both_sides_of_a_pipe() {
    let ((from, mut writer), (to, reader)) = (tcp_pair(), tcp_pair());
    let mut pipe = Pipe::new(PIPE_BYTES).unwrap();
    writer.write_all(b"hello").unwrap();
    assert_eq!(pipe.fill(&from, PIPE_BYTES), Ok(Spliced::Moved(5)));
    uring::close_with_reset(writer.into());
    assert_eq!(pipe.fill(&from, PIPE_BYTES), Err(Errno::ECONNRESET));
    uring::close_with_reset(reader.into());
    let gone = pipe.drain(&to);
    assert!(matches!(gone, Err(Errno::ECONNRESET | Errno::EPIPE)), "{gone:?}");
    assert_eq!(pipe.held(), 5, "what was not delivered is still counted");
}

#[test]
fn the_capacity_is_the_kernels_word() {
    // A page at least, and the kernel rounds up to a power of two of pages (pipe(7)).
    let page = Pipe::new(1).unwrap().capacity();
    assert!(page.is_power_of_two() && page >= 4096, "{page}");
    for (wanted, granted) in [(page, page), (page + 1, 2 * page), (PIPE_BYTES, PIPE_BYTES)] {
        let pipe = Pipe::new(wanted).unwrap();
        assert_eq!((pipe.capacity(), pipe.held()), (granted, 0));
    }
    // More than anybody may have: the pipe keeps its size, and says so.
    let huge = Pipe::new(u32::MAX).unwrap();
    assert!(huge.capacity() < u32::MAX && huge.capacity() >= page, "{}", huge.capacity());
}

fn fill_until_not_now(pipe: &mut Pipe, from: &OwnedFd) -> u32 {
    let before = pipe.held();
    while matches!(pipe.fill(from, 1 << 20).unwrap(), Spliced::Moved(_)) {}
    pipe.held() - before
}

fn write_until_full(mut writer: &std::net::TcpStream, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Ok(taken) = writer.write(&bytes[written..]) {
        if taken == 0 {
            break;
        }
        written += taken;
    }
    written
}
