//! Pipes and splice(2): moving bytes between sockets without copying them.
//!
//! By system call and not through the ring: `IORING_OP_SPLICE` always goes to a kernel thread
//! (`REQ_F_FORCE_ASYNC`, io_uring/splice.c). Readiness comes from [`crate::Ring::poll_readable`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

/// A pipe that carries one direction of a connection, and how many bytes are in it.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    capacity: u32,
    held: u32,
}

/// What one call moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spliced {
    /// So many bytes, at least one.
    Moved(u32),
    /// Nothing now. Into a pipe this is ambiguous: the socket may be empty, or the pipe may have
    /// no free slot (each skb fragment takes one, whatever its size).
    NotNow,
    /// The source has ended.
    EndOfStream,
}

impl Pipe {
    /// A pipe of about `capacity` bytes; an unprivileged process over its budget
    /// (`fs.pipe-user-pages-soft`) gets less, see [`Pipe::capacity`].
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left.
    pub fn new(capacity: u32) -> io::Result<Self> {
        let (read, write) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        let wanted = i32::try_from(capacity).unwrap_or(i32::MAX);
        // EPERM: over the budget, the pipe keeps the size that it has; read back what that is.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(wanted));
        let capacity = fcntl(&write, FcntlArg::F_GETPIPE_SZ)?;
        Ok(Self { read, write, capacity: capacity.unsigned_abs(), held: 0 })
    }

    /// Bytes that fit if they come in full pages; the kernel's word, not the wish.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Bytes in the pipe now. A pipe that holds any must be closed, not used for someone else.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.held
    }

    /// Moves up to `len` bytes from `socket` (non-blocking) into the pipe.
    ///
    /// # Errors
    /// As splice(2): the socket's error, `ECONNRESET` for example.
    pub fn fill(&mut self, socket: &impl AsFd, len: u32) -> Result<Spliced, Errno> {
        let spliced = call(socket, &self.write, len)?;
        if let Spliced::Moved(bytes) = spliced {
            self.held += bytes;
        }
        Ok(spliced)
    }

    /// Moves what the pipe holds into `socket` (non-blocking), or a part of it.
    ///
    /// # Errors
    /// As splice(2): the socket's error, `EPIPE` for example.
    pub fn drain(&mut self, socket: &impl AsFd) -> Result<Spliced, Errno> {
        if self.held == 0 {
            return Ok(Spliced::NotNow);
        }
        let spliced = call(&self.read, socket, self.held)?;
        if let Spliced::Moved(bytes) = spliced {
            self.held -= bytes;
        }
        Ok(spliced)
    }
}

/// Never with `SPLICE_F_MORE`: it holds the last bytes back for 200 ms.
fn call(from: &impl AsFd, to: &impl AsFd, len: u32) -> Result<Spliced, Errno> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    match splice(from, None, to, None, len as usize, flags) {
        Ok(0) => Ok(Spliced::EndOfStream),
        Ok(bytes) => Ok(Spliced::Moved(u32::try_from(bytes).expect("at most `len`"))),
        Err(Errno::EAGAIN) => Ok(Spliced::NotNow),
        Err(error) => Err(error),
    }
}
