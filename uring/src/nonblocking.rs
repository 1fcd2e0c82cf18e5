//! Calls on non-blocking sockets, for who waits by epoll instead of a ring: each is tried, and
//! `EAGAIN` says that it has to wait.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, SockFlag, accept4, recv, send};
use socket2::{SockAddr, SockRef};

use crate::setup::errno;

/// Takes one connection from `listener`, non-blocking and close-on-exec.
///
/// # Errors
/// `EAGAIN` when none waits; the rest as accept(2).
pub fn try_accept(listener: &impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = accept4(listener.as_fd().as_raw_fd(), flags)?;
    // SAFETY: the kernel has just installed this descriptor for us, and nobody else was told of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Starts to connect `socket` to `address`.
///
/// # Errors
/// `EINPROGRESS` when it has to wait until the socket is writable, which it is also when the connect
/// has failed: [`take_error`] tells.
pub fn try_connect(socket: &impl AsFd, address: &SockAddr) -> Result<(), Errno> {
    SockRef::from(socket).connect(address).map_err(|error| errno(&error))
}

/// Why the connection failed, told once.
#[must_use]
pub fn take_error(socket: &impl AsFd) -> Option<Errno> {
    match SockRef::from(socket).take_error() {
        Ok(error) => error.map(|error| errno(&error)),
        Err(error) => Some(errno(&error)),
    }
}

/// Receives what is there, as far as it fits; 0 is the end of the stream.
///
/// # Errors
/// `EAGAIN` when nothing is there; the rest as recv(2).
pub fn try_recv(socket: &impl AsFd, space: &mut [u8]) -> Result<usize, Errno> {
    recv(socket.as_fd().as_raw_fd(), space, MsgFlags::empty())
}

/// Looks at what is there without taking it; 0 is the end of the stream.
///
/// # Errors
/// `EAGAIN` when nothing is there; the rest as recv(2).
pub fn try_peek(socket: &impl AsFd, space: &mut [u8]) -> Result<usize, Errno> {
    recv(socket.as_fd().as_raw_fd(), space, MsgFlags::MSG_PEEK)
}

/// Whether the peer of a stream socket has reset it, or both sides have ended (poll(2): `POLLERR`,
/// `POLLHUP`). Errors are left to be told.
#[must_use]
pub fn is_gone(socket: &impl AsFd) -> bool {
    let mut looked = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    let found = poll(&mut looked, PollTimeout::ZERO);
    // Who cannot be looked at will be told by what is done with it.
    found.is_ok_and(|found| found > 0)
}

/// Takes up to `bytes` that were looked at, and forgets them; how many.
///
/// # Errors
/// As [`try_recv`], when that was the first thing that happened.
pub fn try_discard(socket: &impl AsFd, bytes: usize) -> Result<usize, Errno> {
    // MSG_TRUNC would do without the memory, but for TCP only (tcp(7)).
    let mut space = [0; 512];
    let mut taken = 0;
    while taken < bytes {
        let wanted = space.len().min(bytes - taken);
        match try_recv(socket, &mut space[..wanted]) {
            Ok(0) => break,
            Ok(some) => taken += some,
            Err(errno) if taken == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(taken)
}

/// Sends as much of `bytes` as there is room for.
///
/// # Errors
/// `EAGAIN` when there is none; the rest as send(2).
pub fn try_send(socket: &impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    send(socket.as_fd().as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)
}
