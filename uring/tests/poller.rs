//! epoll and the calls that go with it, for hosts without a ring.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use nix::sys::epoll::{EpollEvent, EpollFlags};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use socket2::SockRef;
use support::{WATCHDOG, client_of, listener_on, tcp_pair};
use uring::{
    ConnectOptions, Errno, Poller, stream_socket, take_error, try_accept, try_connect, try_recv,
    try_send,
};

#[test]
fn what_is_so_already_is_told_at_once_and_with_its_data() {
    let (here, mut there) = tcp_pair();
    there.write_all(b"x").unwrap();
    let mut poller = Poller::new().unwrap();
    poller.add(&here, EpollFlags::EPOLLIN, u64::MAX - 7).unwrap();
    let mut events = [EpollEvent::empty(); 4];
    assert_eq!(poller.wait(&mut events, Some(WATCHDOG)), Ok(1));
    assert_eq!((events[0].data(), events[0].events()), (u64::MAX - 7, EpollFlags::EPOLLIN));
    poller.modify(&here, EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT, 1).unwrap();
    assert_eq!(poller.wait(&mut events, None), Ok(1));
    assert_eq!(events[0].events(), EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT);
    poller.delete(&here).unwrap();
    assert_eq!(poller.wait(&mut events, Some(Duration::ZERO)), Ok(0));
}

#[test]
fn a_wait_lasts_its_time_whatever_calls_the_kernel_has() {
    lasts_its_time();
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        let filter = without_nanoseconds(errno);
        // Filters stay on their thread.
        let thread = std::thread::spawn(move || {
            seccompiler::apply_filter(&filter).unwrap();
            lasts_its_time();
        });
        thread.join().unwrap();
    }
}

fn lasts_its_time() {
    let mut poller = Poller::new().unwrap();
    let mut events = [EpollEvent::empty(); 4];
    for timeout in [0, 1, 999, 1_000_001, 20_000_000].map(Duration::from_nanos) {
        let started = Instant::now();
        assert_eq!(poller.wait(&mut events, Some(timeout)), Ok(0));
        assert!(started.elapsed() >= timeout, "{timeout:?}");
    }
    // More than either call can express is no error.
    let (here, mut there) = tcp_pair();
    poller.add(&here, EpollFlags::EPOLLIN, 1).unwrap();
    there.write_all(b"x").unwrap();
    assert_eq!(poller.wait(&mut events, Some(Duration::from_secs(u64::MAX / 4))), Ok(1));
}

fn without_nanoseconds(errno: Errno) -> BpfProgram {
    let answer = SeccompAction::Errno((errno as i32).unsigned_abs());
    let rules = [(libc::SYS_epoll_pwait2, Vec::new())].into_iter().collect();
    let arch = std::env::consts::ARCH.try_into().unwrap();
    SeccompFilter::new(rules, SeccompAction::Allow, answer, arch).unwrap().try_into().unwrap()
}

#[test]
fn an_accept_finds_a_client_or_nobody() {
    let (listener, address) = listener_on(Ipv4Addr::LOCALHOST);
    assert_eq!(try_accept(&listener).unwrap_err(), Errno::EAGAIN);
    let client = client_of(address);
    let socket = try_accept(&listener).unwrap();
    assert_eq!(uring::peer_address(&socket), client.local_addr().ok());
    assert!(SockRef::from(&socket).nonblocking().unwrap());
    let flags = nix::fcntl::fcntl(&socket, nix::fcntl::FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags, libc::FD_CLOEXEC);
}

#[test]
fn a_connect_goes_on_until_the_socket_is_writable_and_then_tells_how_it_went() {
    let (listener, address) = listener_on(Ipv4Addr::LOCALHOST);
    for refused in [false, true] {
        if refused {
            SockRef::from(&listener).shutdown(std::net::Shutdown::Both).unwrap();
        }
        let socket = stream_socket(&address.into(), &ConnectOptions::default()).unwrap();
        assert_eq!(try_connect(&socket, &address.into()), Err(Errno::EINPROGRESS));
        let mut poller = Poller::new().unwrap();
        poller.add(&socket, EpollFlags::EPOLLOUT, 1).unwrap();
        let mut events = [EpollEvent::empty(); 1];
        assert_eq!(poller.wait(&mut events, Some(WATCHDOG)), Ok(1));
        assert_eq!(take_error(&socket), refused.then_some(Errno::ECONNREFUSED));
        assert_eq!(take_error(&socket), None, "it is told once");
    }
}

#[test]
fn bytes_come_and_go_as_far_as_they_fit() {
    let (here, mut there) = tcp_pair();
    let mut space = [0; 4];
    assert_eq!(try_recv(&here, &mut space), Err(Errno::EAGAIN));
    there.write_all(b"hello").unwrap();
    assert_eq!((try_recv(&here, &mut space), &space), (Ok(4), b"hell"));
    assert_eq!((try_recv(&here, &mut space), space[0]), (Ok(1), b'o'));
    assert_eq!(try_send(&here, b"back"), Ok(4));
    there.read_exact(&mut space).unwrap();
    assert_eq!(&space, b"back");
    let lots = vec![7; 64 << 20];
    assert!(try_send(&here, &lots).unwrap() < lots.len());
    assert_eq!(try_send(&here, &lots), Err(Errno::EAGAIN));
    drop(there);
    // No signal ends the process.
    while try_send(&here, &lots).is_ok() {}
    assert_eq!(try_send(&here, &lots), Err(Errno::EPIPE));
}
