//! One direction of a relay over epoll: by copying, or through a pipe.

use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use socket2::Socket;
use uring::{Pipe, Spliced};

use super::BUFFER_BYTES;

/// Moves bytes from one socket to another, and keeps what the other has no room for.
pub(super) trait Carry: Sized {
    /// A direction that carries nothing yet.
    fn new() -> Result<Self, Errno>;

    /// Moves what there is, until one of the sockets has to be waited for or the turn is over.
    /// `buffer` is shared by all directions and holds nothing between calls. `ending`: the end of
    /// the stream, or an error, is known to be there, so that reading must go on until it is met.
    fn pump(&mut self, path: Path<'_>, buffer: &mut [u8], ending: bool) -> Result<Pumped, Errno>;
}

/// From where to where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path<'a> {
    pub(super) from: &'a Socket,
    pub(super) to: &'a Socket,
}

/// Why a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pumped {
    /// The source has nothing now.
    Empty,
    /// The destination has no room now.
    Blocked,
    /// There may be more, but others have their turn first.
    TurnOver,
    /// The source has ended, and every byte was delivered.
    Ended,
}

/// recv(2) and send(2).
#[derive(Debug)]
pub(super) struct Copy {
    /// What a short send left over.
    rest: Vec<u8>,
}

impl Carry for Copy {
    fn new() -> Result<Self, Errno> {
        Ok(Self { rest: Vec::new() })
    }

    fn pump(&mut self, path: Path<'_>, buffer: &mut [u8], ending: bool) -> Result<Pumped, Errno> {
        if !self.send_rest(path.to)? {
            return Ok(Pumped::Blocked);
        }
        for _ in TURN {
            let received = match recv(path.from.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(0) => return Ok(Pumped::Ended),
                Ok(received) => received,
                Err(Errno::EAGAIN) => return Ok(Pumped::Empty),
                Err(error) => return Err(error),
            };
            let sent = send_now(path.to, &buffer[..received])?;
            if sent < received {
                self.rest.extend_from_slice(&buffer[sent..received]);
                return Ok(Pumped::Blocked);
            }
            // A short read has emptied the socket: the next bytes make a new edge (epoll(7)).
            if received < buffer.len() && !ending {
                return Ok(Pumped::Empty);
            }
        }
        Ok(Pumped::TurnOver)
    }
}

impl Copy {
    /// Whether nothing is left.
    fn send_rest(&mut self, to: &Socket) -> Result<bool, Errno> {
        if !self.rest.is_empty() {
            let sent = send_now(to, &self.rest)?;
            self.rest.drain(..sent);
        }
        Ok(self.rest.is_empty())
    }
}

/// How much there was room for.
fn send_now(to: &Socket, bytes: &[u8]) -> Result<usize, Errno> {
    match send(to.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
        Err(Errno::EAGAIN) => Ok(0),
        sent => sent,
    }
}

/// splice(2) through a pipe.
#[derive(Debug)]
pub(super) struct Splice {
    pipe: Pipe,
}

impl Carry for Splice {
    fn new() -> Result<Self, Errno> {
        let pipe = Pipe::new(PIPE_BYTES).map_err(|error| uring::errno(&error))?;
        Ok(Self { pipe })
    }

    fn pump(&mut self, path: Path<'_>, _buffer: &mut [u8], _ending: bool) -> Result<Pumped, Errno> {
        for _ in TURN {
            // Only an empty pipe is filled: then NotNow means that the socket is empty, and not
            // that the pipe has no free slot.
            if self.pipe.held() == 0 {
                match self.pipe.fill(path.from, PIPE_BYTES)? {
                    Spliced::Moved(_) => {}
                    Spliced::NotNow => return Ok(Pumped::Empty),
                    Spliced::EndOfStream => return Ok(Pumped::Ended),
                }
            }
            if self.pipe.drain(path.to)? == Spliced::NotNow {
                return Ok(Pumped::Blocked);
            }
        }
        Ok(Pumped::TurnOver)
    }
}

/// So many receives in a row for one direction, half a MiB by copying.
const TURN: Range<u32> = 0..16;

/// The kernel gives it to root, and to others as long as their budget lasts
/// (`fs.pipe-user-pages-soft`); otherwise the pipe has 64 KiB.
const PIPE_BYTES: u32 = 1 << 20;

const _: () = assert!(BUFFER_BYTES < PIPE_BYTES as usize, "a pipe is for more than one receive");
