//! Socket options that are an int and that neither socket2 nor nix has.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Sets an option.
pub(crate) fn set_option(
    socket: &impl AsFd,
    level: i32,
    option: i32,
    value: i32,
) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of_val(&value)).expect("four bytes");
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `socket` is borrowed, so the fd is open for the whole call; the kernel reads exactly
    // `len` bytes from `value`, an int (tcp(7), ip(7)), and keeps no pointer to it.
    let set = unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), len) };
    Errno::result(set).map(drop).map_err(io::Error::from)
}

/// Reads an option of TCP.
pub(crate) fn tcp_option(socket: &impl AsFd, option: i32) -> io::Result<i32> {
    option_of(socket, libc::IPPROTO_TCP, option)
}

/// Reads an option.
pub(crate) fn option_of(socket: &impl AsFd, level: i32, option: i32) -> io::Result<i32> {
    let mut value = 0_i32;
    let mut len = libc::socklen_t::try_from(size_of_val(&value)).expect("four bytes");
    let fd = socket.as_fd().as_raw_fd();
    let to = (&raw mut value).cast();
    // SAFETY: `socket` is borrowed, so the fd is open for the whole call; the kernel writes at most
    // `len` bytes to `value`, an int (tcp(7), socket(7)), and how many to `len`, and keeps no pointer to either.
    let read = unsafe { libc::getsockopt(fd, level, option, to, &raw mut len) };
    Errno::result(read).map(|_| value).map_err(io::Error::from)
}
