//! Unix sockets on both sides of a shard.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use uring::{Spliced, UnixListen};

use super::*;

on_every_driver!(
    a_client_of_a_unix_listener_is_served_as_any_other,
    a_listener_that_others_have_too_ends_for_this_shard_alone,
    a_backend_in_the_file_system_is_connected_to,
    a_backend_that_is_not_there_or_full_fails_at_once,
    many_bytes_are_spliced_both_ways_until_each_has_ended,
    many_bytes_are_copied_both_ways_until_each_has_ended,
);

fn a_client_of_a_unix_listener_is_served_as_any_other<D>(mut rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    let place = Place::new();
    let (listener, _file) = place.listen();
    let listener = rig.driver.listen(listener).expect("it can be waited for");
    rig.driver.accept(listener, owner(5));
    rig.assert_silent();
    let mut there = UnixStream::connect(&place.path).expect("the driver listens");
    let mut socket = rig.accepted(owner(5));
    assert_eq!(rig.driver.peer_address(&socket), None);
    assert_eq!(rig.driver.local_address(&socket), None);
    assert_eq!(rig.driver.original_destination(&socket), None);
    assert!(!rig.driver.is_connected_to_itself(&socket));
    assert_eq!(rig.driver.tcp_info(&socket), None);
    there.write_all(b"PROXY hello").expect("the driver's socket takes it");
    assert_eq!(rig.driver.peek(&mut socket, &mut [0; 8]), Ok(8));
    assert_eq!(rig.driver.take(&mut socket, 6), Ok(6));
    for _ in 0..3 {
        let held = rig.received(&socket);
        rig.driver.send(&mut socket, held, owner(1));
        rig.assert_done(Op::Send, owner(1));
        rig.driver.release(held.buffer);
        let mut bytes = [0; 5];
        there.read_exact(&mut bytes).expect("it was sent");
        assert_eq!(&bytes, b"hello");
        there.write_all(&bytes).expect("the driver's socket takes it");
    }
    rig.close(socket);
}

fn a_listener_that_others_have_too_ends_for_this_shard_alone<D>(mut rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    let place = Place::new();
    let (listener, _file) = place.listen();
    let of_another = listener.try_clone().expect("a descriptor");
    let number = rig.driver.listen(listener).expect("it can be waited for");
    rig.driver.accept(number, owner(5));
    rig.assert_silent();
    rig.driver.cancel(Token { op: Op::Accept, owner: owner(5) });
    rig.assert_failed(Op::Accept, owner(5), Errno::ECANCELED);
    rig.driver.stop_listening(number);
    let _there = UnixStream::connect(&place.path).expect("the other one listens");
    rig.assert_silent();
    assert_eq!(rig.count("epoll_stale_event"), 0, "it is watched on");
    uring::try_accept(&of_another).expect("the client waits for the other one");
}

fn a_backend_in_the_file_system_is_connected_to<D>(mut rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    let place = Place::new();
    let backend = UnixListener::bind(&place.path).expect("a free path");
    // Options of TCP say nothing here.
    let options = ConnectOptions {
        source: Some(Ipv4Addr::LOCALHOST.into()),
        keepalive: Some(WATCHDOG),
        user_timeout: Some(WATCHDOG),
    };
    let mut socket = rig.connect(&place.address(), options, owner(1));
    rig.assert_done(Op::Connect, owner(1));
    let (mut there, _) = backend.accept().expect("it is connected");
    assert!(!rig.driver.is_connected_to_itself(&socket));
    // More than one, so that Nagle's algorithm would be switched off.
    for _ in 0..3 {
        assert_eq!(rig.driver.send_now(&mut socket, b"hello"), Ok(5));
        let mut bytes = [0; 5];
        there.read_exact(&mut bytes).expect("it was sent");
    }
    drop(there);
    rig.driver.recv(&socket, false, owner(1));
    let outcome = rig.answer().outcome;
    assert!(matches!(outcome, Outcome::EndOfStream), "{}", name(&outcome));
    rig.close(socket);
}

fn a_backend_that_is_not_there_or_full_fails_at_once<D>(mut rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    let place = Place::new();
    let connect = |rig: &mut Rig<D>, expected| {
        let socket = rig.connect(&place.address(), ConnectOptions::default(), owner(1));
        rig.assert_failed(Op::Connect, owner(1), expected);
        rig.close(socket);
    };
    connect(&mut rig, Errno::ENOENT);
    let how = UnixListen { path: place.path.clone(), backlog: 0, mode: None };
    let (backend, file) = uring::listen_unix(&how).expect("a free path");
    let _filler = UnixStream::connect(&place.path).expect("the kernel takes one more");
    connect(&mut rig, Errno::EAGAIN);
    drop(backend);
    connect(&mut rig, Errno::ECONNREFUSED);
    drop(file);
}

fn many_bytes_are_spliced_both_ways_until_each_has_ended<D>(rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    carried_both_ways(rig, splice);
}

fn many_bytes_are_copied_both_ways_until_each_has_ended<D>(rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    carried_both_ways(rig, copy);
}

/// A client over TCP, a backend in the file system, and each says a lot and then no more.
fn carried_both_ways<D>(
    mut rig: Rig<D>,
    carry: fn(&mut Rig<D>, &mut D::Socket, &mut D::Socket) -> usize,
) where
    D: Driver<Listener = OwnedFd>,
{
    let place = Place::new();
    let backend = UnixListener::bind(&place.path).expect("a free path");
    let mut to_backend = rig.connect(&place.address(), ConnectOptions::default(), owner(1));
    rig.assert_done(Op::Connect, owner(1));
    let (there, _) = backend.accept().expect("it is connected");
    let (mut to_client, client) = rig.pair();
    let client = std::thread::spawn(move || {
        (&client).write_all(&pattern(1)).expect("it is carried");
        client.shutdown(std::net::Shutdown::Write).expect("it is connected");
        assert!(read_to_the_end(&client) == pattern(2), "the client got other bytes");
    });
    let there = std::thread::spawn(move || {
        assert!(read_to_the_end(&there) == pattern(1), "the backend got other bytes");
        (&there).write_all(&pattern(2)).expect("it is carried");
    });
    assert_eq!(carry(&mut rig, &mut to_client, &mut to_backend), LEN);
    rig.driver.finish_writing(&to_backend);
    assert_eq!(carry(&mut rig, &mut to_backend, &mut to_client), LEN);
    rig.driver.finish_writing(&to_client);
    client.join().expect("the client is content");
    there.join().expect("the backend is content");
    rig.close(to_client);
    rig.close(to_backend);
}

/// Carries bytes to the end; how many.
fn splice<D>(rig: &mut Rig<D>, from: &mut D::Socket, to: &mut D::Socket) -> usize
where
    D: Driver<Listener = OwnedFd>,
{
    let mut pipe = rig.driver.make_pipe().expect("descriptors");
    let mut carried = 0;
    loop {
        if rig.driver.held(&pipe) > 0 {
            match rig.driver.drain(&mut pipe, to).expect("the reader reads") {
                Spliced::Moved(bytes) => carried += bytes as usize,
                Spliced::NotNow => {
                    rig.driver.poll(to, Readiness::Writable, owner(1));
                    rig.assert_done(Op::Poll, owner(1));
                }
                Spliced::EndOfStream => panic!("a pipe with bytes does not end"),
            }
            continue;
        }
        match rig.driver.fill(&mut pipe, from).expect("the writer writes") {
            Spliced::Moved(_) => {}
            Spliced::NotNow => {
                rig.driver.poll(from, Readiness::Readable, owner(1));
                rig.assert_done(Op::Poll, owner(1));
            }
            Spliced::EndOfStream => return carried,
        }
    }
}

/// The same by receives and sends.
fn copy<D>(rig: &mut Rig<D>, from: &mut D::Socket, to: &mut D::Socket) -> usize
where
    D: Driver<Listener = OwnedFd>,
{
    let mut carried = 0;
    let mut more = false;
    loop {
        rig.driver.recv(from, more, owner(1));
        let mut held = match rig.answer().outcome {
            Outcome::Received(held) => held,
            Outcome::EndOfStream => return carried,
            other => panic!("{}", name(&other)),
        };
        more = held.more;
        while held.start < held.end {
            rig.driver.send(to, held, owner(1));
            match rig.answer().outcome {
                Outcome::Done(bytes) => {
                    held.start += bytes;
                    carried += bytes as usize;
                }
                other => panic!("{}", name(&other)),
            }
        }
        rig.driver.release(held.buffer);
    }
}

fn read_to_the_end(mut stream: impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("it ends");
    bytes
}

fn pattern(seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.u8(..)).take(LEN).collect()
}

const LEN: usize = 3 << 20;

/// A path of one test, whose directory goes with it.
struct Place {
    directory: PathBuf,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let unique = (std::process::id(), std::thread::current().id());
        let directory = std::env::temp_dir().join(format!("evenkeel-{unique:?}"));
        std::fs::create_dir(&directory).expect("nobody else makes it");
        let path = directory.join("socket");
        Self { directory, path }
    }

    fn listen(&self) -> (OwnedFd, uring::SocketFile) {
        let how = UnixListen { path: self.path.clone(), backlog: 16, mode: None };
        uring::listen_unix(&how).expect("a free path")
    }

    fn address(&self) -> SockAddr {
        SockAddr::unix(&self.path).expect("a short path")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left over is in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
