//! What a shard needs of the operating system: operations that are asked for now and answered
//! later, by completions.
//!
//! A driver owns the listeners it was given and the buffers. It starts an operation when it likes, at the latest
//! in [`Driver::wait`], and answers each exactly once, there, with the owner that came with it;
//! a cancelled operation too, either with what it did or with `ECANCELED`. So a ring fits, and so
//! does a poller that tries a call and waits when it would block.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockAddr;
use uring::{ConnectOptions, Errno, Op, Owner, Spliced, Token, WakeSource};

use crate::core::bottleneck::Sample;
use crate::core::moment::Moment;
use crate::core::relay::Held;
use crate::core::{BufferId, Direction};

use super::listener::Sockets;
use super::post::Post;

/// The operating system, as a shard sees it.
pub trait Driver {
    /// One connection. Dropped only through [`Driver::close`], when nothing is in flight on it.
    type Socket;

    /// What bytes are spliced through.
    type Pipe;

    /// Where connections come in.
    type Listener;

    /// The present; it does not go back.
    fn now(&mut self) -> Moment;

    /// Owns one more listener, and names it for as long as it does.
    ///
    /// # Errors
    /// What the system says when it cannot be waited for.
    fn listen(&mut self, listener: Self::Listener) -> io::Result<ListenerNumber>;

    /// The next of those that were made for this shard, each once.
    fn claim(&self, sockets: &Sockets) -> Option<Self::Listener>;

    /// Takes one connection from a listener, now, if one is there. For when no accept is in flight
    /// there.
    fn accept_now(&mut self, listener: ListenerNumber) -> Option<Self::Socket>;

    /// Takes one connection from a listener; answered by [`Outcome::Accepted`]. No two accepts that
    /// are in flight have the same owner, whatever their listeners.
    fn accept(&mut self, listener: ListenerNumber, owner: Owner);

    /// Descriptors are short: lets go of some that were kept, for accepts, as long as as many are left
    /// for the connects of those who are accepted. So many accepts may be in flight, of this shard's.
    fn make_room(&mut self) -> usize;

    /// Connects a new socket to `address`; answered by [`Outcome::Done`].
    ///
    /// # Errors
    /// The errno when no socket is to be had; nothing is in flight then.
    fn connect(
        &mut self,
        address: &SockAddr,
        options: &ConnectOptions,
        owner: Owner,
    ) -> Result<Self::Socket, Errno>;

    /// Receives into a buffer of the driver's choice; answered by [`Outcome::Received`],
    /// [`Outcome::EndOfStream`] or [`Outcome::NoBuffer`]. `ready` says that bytes are probably
    /// there already.
    fn recv(&mut self, socket: &Self::Socket, ready: bool, owner: Owner);

    /// Sends what is held; answered by [`Outcome::Done`] with the number of bytes taken. The
    /// buffer stays the session's.
    fn send(&mut self, socket: &mut Self::Socket, held: Held, owner: Owner);

    /// Waits until the socket is worth a look; answered by [`Outcome::Done`], at once if it is
    /// already.
    fn poll(&mut self, socket: &Self::Socket, what: Readiness, owner: Owner);

    /// Looks at bytes that have come, at once, and leaves them there; 0 is the end of the stream. No
    /// receive or poll may be in flight. A poll is answered at once as long as bytes are there: who
    /// waits for more of them takes these first.
    ///
    /// # Errors
    /// `EAGAIN` when none have come; the rest as recv(2), told once.
    fn peek(&mut self, socket: &mut Self::Socket, into: &mut [u8]) -> Result<usize, Errno>;

    /// Whether its peer has reset it, or is gone in another way that leaves nothing to be done; also while
    /// something is in flight.
    fn is_gone(&self, socket: &Self::Socket) -> bool;

    /// Whether its peer has everything, the end included: a reset takes nothing back then.
    fn has_delivered_all(&self, socket: &Self::Socket) -> bool;

    /// Forgets up to so many bytes that were peeked; how many.
    ///
    /// # Errors
    /// As [`Driver::peek`].
    fn take(&mut self, socket: &mut Self::Socket, bytes: usize) -> Result<usize, Errno>;

    /// Sends as much of `bytes` as there is room for, at once. No send may be in flight.
    ///
    /// # Errors
    /// `EAGAIN` when there is none; the rest as send(2), told once.
    fn send_now(&mut self, socket: &mut Self::Socket, bytes: &[u8]) -> Result<usize, Errno>;

    /// A pipe that is worth splicing through.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` without a descriptor, `EPERM` when only a tiny pipe is to be had.
    fn make_pipe(&mut self) -> Result<Self::Pipe, Errno>;

    /// Moves bytes into an empty pipe, at once.
    ///
    /// # Errors
    /// The socket's.
    fn fill(&mut self, pipe: &mut Self::Pipe, source: &mut Self::Socket) -> Result<Spliced, Errno>;

    /// Moves bytes out of a pipe, at once.
    ///
    /// # Errors
    /// The socket's.
    fn drain(
        &mut self,
        pipe: &mut Self::Pipe,
        destination: &mut Self::Socket,
    ) -> Result<Spliced, Errno>;

    /// Bytes in a pipe.
    fn held(&self, pipe: &Self::Pipe) -> u32;

    /// Whether a connect to an address of this host has met its own socket instead of a listener.
    fn is_connected_to_itself(&self, socket: &Self::Socket) -> bool;

    /// Asks for the end of one operation, whose own completion still comes.
    fn cancel(&mut self, target: Token);

    /// Gives a buffer back.
    fn release(&mut self, buffer: BufferId);

    /// Buffers that receives can be answered in.
    fn buffers_free(&self) -> usize;

    /// The peer reads the end of the stream after what was sent.
    fn finish_writing(&mut self, socket: &Self::Socket);

    /// The end of a socket; with `reset` the peer sees that it was not a clean one.
    fn close(&mut self, socket: Self::Socket, reset: bool);

    /// Hands a connection that came to the listener with this id, and with nothing in flight on it,
    /// to another shard, where it comes as [`Outcome::HandedOver`].
    ///
    /// # Errors
    /// The connection, when that shard takes no more at the moment.
    fn hand_over(
        &mut self,
        socket: Self::Socket,
        listener: u32,
        shard: usize,
    ) -> Result<(), Self::Socket>;

    /// Closes a listener, if it is open still; its number may then be another's. Its accepts must have
    /// been cancelled and answered.
    fn stop_listening(&mut self, listener: ListenerNumber);

    /// Who is on the other side, if that can still be known; nobody with an address on a unix socket.
    fn peer_address(&self, socket: &Self::Socket) -> Option<SocketAddr>;

    /// Which address of this host it has: for an accepted socket, what the client connected to.
    fn local_address(&self, socket: &Self::Socket) -> Option<SocketAddr>;

    /// What the client of a redirected connection wanted to connect to, if the system knows.
    fn original_destination(&self, socket: &Self::Socket) -> Option<SocketAddr>;

    /// What the system knows of a TCP connection; nothing of a unix socket's.
    fn tcp_info(&self, socket: &Self::Socket) -> Option<Sample>;

    /// Starts what was asked for, then waits until something is answered, somebody wakes the
    /// shard, or `timeout` is over; appends completions to `out`, at most its free capacity.
    ///
    /// # Errors
    /// Only what makes the driver unusable.
    fn wait(
        &mut self,
        timeout: Option<Duration>,
        out: &mut Vec<Completion<Self::Socket>>,
    ) -> io::Result<()>;

    /// What happened between this driver and the kernel that is worth knowing.
    fn counters(&self) -> Counts {
        Counts::new()
    }
}

/// Names a listener of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerNumber(pub u16);

/// Names and values of counters.
pub type Counts = Vec<(&'static str, u64)>;

/// What a poll waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Bytes to read, an end or an error.
    Readable,
    /// Room to write, or an error.
    Writable,
}

/// The answer to one operation.
#[derive(Debug)]
pub struct Completion<S> {
    /// What was asked, and by whom.
    pub token: Token,
    /// How it went.
    pub outcome: Outcome<S>,
}

/// How an operation ended.
#[derive(Debug)]
pub enum Outcome<S> {
    /// An accept.
    Accepted(S),
    /// Another shard accepted it, for the listener with this id; nobody has asked, so the token says only [`HANDED_OVER`].
    HandedOver(S, u32),
    /// A receive brought bytes.
    Received(Held),
    /// A receive found the end of the stream.
    EndOfStream,
    /// A receive found no buffer.
    NoBuffer,
    /// A connect succeeded, a poll found what it waited for, or a send took so many bytes.
    Done(u32),
    /// The errno, as the kernel's manual page of the operation names it.
    Failed(Errno),
}

/// The tag of a session's operations tells their direction; a connect has the first.
#[must_use]
pub fn tag(direction: Direction) -> u8 {
    direction as u8
}

/// The direction that an operation was tagged with.
#[must_use]
pub fn direction(owner: Owner) -> Direction {
    match owner.tag {
        0 => Direction::ClientToBackend,
        _ => Direction::BackendToClient,
    }
}

/// What a driver of real sockets is connected to, besides the kernel.
#[derive(Debug)]
pub struct Wiring {
    /// What wakes it.
    pub wake: WakeSource,
    /// Connections from and to other shards.
    pub post: Arc<Post>,
    /// Which shard it is.
    pub shard: usize,
}

/// The token of what comes unasked.
pub const HANDED_OVER: Token = Token { op: Op::Accept, owner: Owner::slot(u32::MAX) };

/// Completions dealt with between two waits. More would delay the first answers of a batch, fewer
/// would cost more enters.
pub const BATCH: usize = 256;
