//! Listeners in the file system, and what splice(2) makes of their connections, on the real kernel.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockAddr;
use uring::{
    ConnectOptions, Errno, Op, Outcome, Owner, Pipe, SocketFile, Spliced, Token, UnixListen,
    UnixListenError, close_with_reset, finish_writing, listen_unix, peer_address, stream_socket,
    try_accept, try_connect, try_discard, try_peek, try_recv,
};

use support::{WATCHDOG, answers, assert_same_bytes, pattern, ring};

#[test]
fn what_listens_is_reached_by_its_path_and_the_file_goes_with_its_guard() {
    let place = Place::new("reached");
    let (listener, file) = listen_unix(&place.how()).unwrap();
    assert!(fs::symlink_metadata(&place.path).unwrap().file_type().is_socket());
    assert_eq!(file.path(), place.path);
    let mut client = UnixStream::connect(&place.path).unwrap();
    client.write_all(b"hello").unwrap();
    let server = try_accept(&listener).unwrap();
    let mut bytes = [0; 8];
    assert_eq!(try_recv(&server, &mut bytes), Ok(5));
    assert_eq!(peer_address(&server), None);
    drop(file);
    assert!(!place.path.exists());
}

#[test]
fn a_file_that_nobody_listens_on_is_replaced() {
    let place = Place::new("stale");
    drop(UnixListener::bind(&place.path).unwrap());
    let (_listener, _file) = listen_unix(&place.how()).unwrap();
    UnixStream::connect(&place.path).unwrap();
}

#[test]
fn a_file_that_somebody_listens_on_is_left_alone_also_when_its_queue_is_full() {
    let place = Place::new("live");
    let first = listen_unix(&UnixListen { backlog: 0, ..place.how() }).unwrap();
    for _ in 0..2 {
        let error = listen_unix(&place.how()).unwrap_err();
        assert!(matches!(&error, UnixListenError::InUse(path) if *path == place.path), "{error}");
        assert!(error.to_string().contains(place.path.to_str().unwrap()), "{error}");
    }
    // What was tried has been in the queue, and so fills it.
    assert_eq!(fill(&place.path).len(), 0);
    drop(first);

    let _datagrams = UnixDatagram::bind(&place.path).unwrap();
    assert!(matches!(listen_unix(&place.how()).unwrap_err(), UnixListenError::InUse(_)));
}

#[test]
fn a_file_of_another_kind_is_never_touched() {
    let place = Place::new("kinds");
    fs::write(&place.path, "precious").unwrap();
    assert!(matches!(listen_unix(&place.how()).unwrap_err(), UnixListenError::NotASocket(_)));
    assert_eq!(fs::read_to_string(&place.path).unwrap(), "precious");

    let link = place.path.with_extension("link");
    std::os::unix::fs::symlink(&place.path, &link).unwrap();
    let error = listen_unix(&UnixListen { path: link, ..place.how() }).unwrap_err();
    assert!(matches!(error, UnixListenError::NotASocket(_)), "{error}");
}

#[test]
fn a_path_that_cannot_be_is_told_with_the_cure() {
    let place = Place::new("paths");
    let path = place.path.join("missing").join("socket");
    let error = listen_unix(&UnixListen { path, ..place.how() }).unwrap_err();
    assert!(matches!(error, UnixListenError::NoDirectory(_)), "{error}");
    let path = place.path.with_extension("x".repeat(108));
    let error = listen_unix(&UnixListen { path, ..place.how() }).unwrap_err();
    assert!(matches!(error, UnixListenError::TooLong(_)), "{error}");
}

#[test]
fn the_file_has_the_permissions_that_were_asked_for() {
    for mode in [0o600, 0o660, 0o666, 0o777] {
        let place = Place::new(&format!("mode-{mode:o}"));
        let _listening = listen_unix(&UnixListen { mode: Some(mode), ..place.how() }).unwrap();
        let got = fs::symlink_metadata(&place.path).unwrap().permissions().mode();
        assert_eq!(got & 0o7777, mode);
    }
}

#[test]
fn a_guard_removes_its_own_file_only() {
    let place = Place::new("guard");
    let (listener, file) = listen_unix(&place.how()).unwrap();
    drop(listener);
    let (_successor, successors) = listen_unix(&place.how()).unwrap();
    drop(file);
    assert!(place.path.exists(), "the file of the successor is gone");
    successors.leave();
    assert!(place.path.exists(), "a file that was left is gone");
    drop(SocketFile::adopt(&place.path).unwrap());
    assert!(!place.path.exists());
    SocketFile::adopt(&place.path).unwrap_err();
}

#[test]
fn the_ring_connects_and_accepts_as_with_tcp() {
    let place = Place::new("ring");
    let (listener, _file) = listen_unix(&place.how()).unwrap();
    let Some(mut ring) = ring() else { return };
    let socket = connecting();
    ring.connect(&socket, &place.address(), Owner::slot(1));
    ring.accept(&listener, Owner::slot(2));
    let mut completions = answers(&mut ring, 2);
    completions.sort_by_key(|completion| completion.token.owner.slot);
    assert!(matches!(completions[0].outcome, Outcome::Done(0)), "{completions:?}");
    assert!(matches!(completions[1].outcome, Outcome::Accepted(_)), "{completions:?}");
}

#[test]
fn a_connect_that_fails_says_why_and_a_full_queue_is_no_wait() {
    let place = Place::new("fails");
    let Some(mut ring) = ring() else { return };
    let mut connect = |expected| {
        let socket = connecting();
        assert_eq!(try_connect(&socket, &place.address()), Err(expected));
        ring.connect(&socket, &place.address(), Owner::slot(1));
        let completion = answers(&mut ring, 1).remove(0);
        assert_eq!(completion.token, Token { op: Op::Connect, owner: Owner::slot(1) });
        let as_expected = matches!(completion.outcome, Outcome::Failed(errno) if errno == expected);
        assert!(as_expected, "{completion:?} instead of {expected}");
    };
    connect(Errno::ENOENT);
    let listener = listen_unix(&UnixListen { backlog: 0, ..place.how() }).unwrap();
    let fillers = fill(&place.path);
    connect(Errno::EAGAIN);
    drop(fillers);
    let (listener, file) = listener;
    drop(listener);
    connect(Errno::ECONNREFUSED);
    drop(file);
}

#[test]
fn what_is_looked_at_stays_and_what_is_discarded_is_gone() {
    let (here, mut there) = pair();
    let mut space = [0; 4];
    assert_eq!(try_peek(&here, &mut space), Err(Errno::EAGAIN));
    there.write_all(b"header, then bytes").unwrap();
    for _ in 0..2 {
        assert_eq!(try_peek(&here, &mut space), Ok(4));
        assert_eq!(&space, b"head");
    }
    assert_eq!(try_discard(&here, 8), Ok(8));
    assert_eq!(try_recv(&here, &mut space), Ok(4));
    assert_eq!(&space, b"then");
    // More than there is.
    assert_eq!(try_discard(&here, 100), Ok(6));
    assert_eq!(try_discard(&here, 100), Err(Errno::EAGAIN));
    drop(there);
    assert_eq!(try_peek(&here, &mut space), Ok(0));
    assert_eq!(try_discard(&here, 1), Ok(0));
}

#[test]
fn splice_moves_many_bytes_both_ways_and_a_half_close_between_them() {
    let (here, mut there) = pair();
    let (to_tcp, mut tcp) = support::tcp_pair();
    let sent = pattern(1, 3 << 20);
    for forth in [true, false] {
        let sent = sent.clone();
        let (from, to) = if forth { (&here, &to_tcp) } else { (&to_tcp, &here) };
        let (mut writer, mut reader): (Box<dyn io::Write + Send>, Box<dyn io::Read + Send>) = {
            let (unix, tcp) = (there.try_clone().unwrap(), tcp.try_clone().unwrap());
            if forth { (Box::new(unix), Box::new(tcp)) } else { (Box::new(tcp), Box::new(unix)) }
        };
        let len = sent.len();
        let expected = sent.clone();
        let writes = std::thread::spawn(move || writer.write_all(&sent).unwrap());
        let reads = std::thread::spawn(move || {
            let mut bytes = vec![0; len];
            reader.read_exact(&mut bytes).unwrap();
            bytes
        });
        carry(from, to, len);
        writes.join().unwrap();
        assert_same_bytes(&reads.join().unwrap(), &expected);
    }

    there.shutdown(std::net::Shutdown::Write).unwrap();
    let mut pipe = Pipe::new(1 << 16).unwrap();
    assert_eq!(pipe.fill(&here, 1 << 16), Ok(Spliced::EndOfStream));
    finish_writing(&to_tcp).unwrap();
    assert_eq!(tcp.read(&mut [0]).unwrap(), 0);
    tcp.write_all(b"and back").unwrap();
    drop(tcp);
    carry(&to_tcp, &here, 8);
    assert_eq!(pipe.fill(&to_tcp, 1 << 16), Ok(Spliced::EndOfStream));
    finish_writing(&here).unwrap();
    let mut back = Vec::new();
    there.read_to_end(&mut back).unwrap();
    assert_eq!(back, b"and back");
}

#[test]
fn a_reset_is_known_on_the_other_side_only_where_bytes_were_left_unread() {
    let (here, mut there) = pair();
    close_with_reset(here);
    assert_eq!(there.read(&mut [0]).unwrap(), 0, "there is no reset without bytes");

    let (here, mut there) = pair();
    there.write_all(b"unread").unwrap();
    close_with_reset(here);
    assert_eq!(there.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(there.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

/// Moves `len` bytes through a pipe, waiting as a shard does.
fn carry(from: &OwnedFd, to: &OwnedFd, len: usize) {
    let mut pipe = Pipe::new(1 << 16).unwrap();
    let mut moved = 0;
    while moved < len {
        if pipe.held() > 0 {
            match pipe.drain(to).unwrap() {
                Spliced::Moved(bytes) => moved += bytes as usize,
                _ => wait_until(to, PollFlags::POLLOUT),
            }
        } else if pipe.fill(from, pipe.capacity()).unwrap() == Spliced::NotNow {
            wait_until(from, PollFlags::POLLIN);
        }
    }
}

fn wait_until(socket: &OwnedFd, what: PollFlags) {
    let mut asked = [PollFd::new(socket.as_fd(), what)];
    let timeout = PollTimeout::try_from(WATCHDOG).unwrap();
    assert_eq!(poll(&mut asked, timeout).unwrap(), 1, "nothing came for too long");
}

/// Connects until the queue is full.
fn fill(path: &Path) -> Vec<OwnedFd> {
    let address = SockAddr::unix(path).unwrap();
    let connect = || {
        let socket = connecting();
        try_connect(&socket, &address).map(|()| socket)
    };
    let mut fillers = Vec::new();
    loop {
        match connect() {
            Ok(filler) => fillers.push(filler),
            Err(errno) => {
                assert_eq!(errno, Errno::EAGAIN);
                return fillers;
            }
        }
    }
}

fn connecting() -> OwnedFd {
    let address = SockAddr::unix("any").unwrap();
    let options = ConnectOptions {
        source: Some([127, 0, 0, 1].into()),
        keepalive: Some(WATCHDOG),
        user_timeout: Some(WATCHDOG),
    };
    stream_socket(&address, &options).unwrap()
}

/// Two ends of one connection: one as the ring likes it, and one for `std`.
fn pair() -> (OwnedFd, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    there.set_read_timeout(Some(WATCHDOG)).unwrap();
    there.set_write_timeout(Some(WATCHDOG)).unwrap();
    (here.into(), there)
}

/// A directory of one test, with a path in it.
struct Place {
    directory: PathBuf,
    path: PathBuf,
}

impl Place {
    fn new(test: &str) -> Self {
        let name = format!("evenkeel-{test}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        let path = directory.join("socket");
        Self { directory, path }
    }

    fn how(&self) -> UnixListen {
        UnixListen { path: self.path.clone(), backlog: 16, mode: None }
    }

    fn address(&self) -> SockAddr {
        SockAddr::unix(&self.path).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
