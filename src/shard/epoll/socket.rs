//! A socket in the driver's table: what is believed of its readiness, and what waits for that.
//!
//! It is watched edge-triggered, from the first operation on that must wait. An event is believed
//! until a call says otherwise: `EAGAIN`, or a transfer that was short. After either the kernel tells
//! the next change, so none is missed; a short receive proves nothing when the end, an error or an
//! urgent byte follows, whose change was told with the bytes before it.

use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::EpollFlags;
use uring::{Errno, Op, Owner, Poller, Token};

use crate::core::relay::Held;
use crate::shard::conn::Conn;
use crate::shard::driver::{Completion, Outcome};

use super::Socket;
use super::buffers::Buffers;
use super::counters::EpollCounters;

/// A socket with its readiness and the operations that wait.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) conn: Conn,
    interest: Interest,
    readable: bool,
    writable: bool,
    /// The end, an error or an urgent byte was told.
    odd: bool,
    /// Nobody has looked yet whether there is something to read: the first receive does.
    unseen: bool,
    input: Option<Input>,
    output: Option<Output>,
}

/// What waits for bytes to come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    Recv(Owner),
    Poll(Owner),
}

/// What waits for room to write.
#[derive(Clone, Copy, Debug)]
pub(super) enum Output {
    Connect(Owner),
    Send(Owner, Held),
    Poll(Owner),
}

/// What epoll was asked to tell. A send hardly ever has to wait, and an accepted socket is writable
/// from the beginning: telling so would be an event for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Interest {
    Nothing,
    Input,
    Both,
}

impl Watched {
    /// A connection that stands; nothing is known of it.
    pub(super) fn connected(conn: Conn) -> Self {
        Self {
            conn,
            interest: Interest::Nothing,
            readable: false,
            writable: true,
            odd: false,
            unseen: true,
            input: None,
            output: None,
        }
    }

    /// A connection that is being made.
    pub(super) fn connecting(conn: Conn) -> Self {
        Self { writable: false, unseen: false, ..Self::connected(conn) }
    }

    /// Believes an event.
    pub(super) fn note(&mut self, told: EpollFlags) {
        self.odd |= told.intersects(ODD);
        self.readable |= told.intersects(EpollFlags::EPOLLIN.union(ODD));
        self.writable |= told.intersects(EpollFlags::EPOLLOUT.union(FAILED));
    }

    /// Tries `input` if that is worth it; its answer, unless it has to wait.
    pub(super) fn begin_input(
        &mut self,
        input: Input,
        buffers: &mut Buffers,
        counters: &mut EpollCounters,
    ) -> Option<Completion<Socket>> {
        debug_assert!(self.input.is_none(), "{:?} is in flight already", self.input);
        self.input = Some(input);
        let worth_it = match input {
            Input::Recv(_) => self.readable || self.unseen,
            Input::Poll(_) => {
                self.readable = self.readable && self.is_now(PollFlags::POLLIN);
                self.readable
            }
        };
        if worth_it { self.try_input(buffers, counters) } else { None }
    }

    /// Tries the input that waits if an event made it worth it; its answer, unless it waits on.
    pub(super) fn resume_input(
        &mut self,
        buffers: &mut Buffers,
        counters: &mut EpollCounters,
    ) -> Option<Completion<Socket>> {
        if self.readable { self.try_input(buffers, counters) } else { None }
    }

    /// Tries `output` if that is worth it; its answer, unless it has to wait.
    pub(super) fn begin_output(
        &mut self,
        output: Output,
        buffers: &Buffers,
        counters: &mut EpollCounters,
    ) -> Option<Completion<Socket>> {
        debug_assert!(self.output.is_none(), "{:?} is in flight already", self.output);
        self.output = Some(output);
        if let Output::Poll(_) = output {
            self.writable = self.writable && self.is_now(PollFlags::POLLOUT);
        }
        self.resume_output(buffers, counters)
    }

    /// Asks the kernel. A poll does not go by what is believed. Splicing takes and gives without saying
    /// whether it met the end; and when it moves nothing, that may also be for want of memory or for an
    /// urgent byte, of which no change would be told. A poll that is answered wrongly makes the shard
    /// think that there is nothing to splice.
    fn is_now(&self, what: PollFlags) -> bool {
        let mut asked = [PollFd::new(self.conn.fd().as_fd(), what)];
        poll(&mut asked, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Tries the output that waits if that is worth it; its answer, unless it waits on.
    pub(super) fn resume_output(
        &mut self,
        buffers: &Buffers,
        counters: &mut EpollCounters,
    ) -> Option<Completion<Socket>> {
        if self.writable { self.try_output(buffers, counters) } else { None }
    }

    /// Looks at what has come. What is believed stays: that something is there costs at most a try too
    /// many, and of what comes after a receive that found nothing there is an event on its way.
    pub(super) fn peek(&self, into: &mut [u8]) -> Result<usize, Errno> {
        debug_assert!(self.input.is_none(), "{:?} is in flight", self.input);
        uring::try_peek(self.conn.fd(), into)
    }

    /// Takes what was looked at. More may be behind it, so what is believed stays here too.
    pub(super) fn take(&self, bytes: usize) -> Result<usize, Errno> {
        debug_assert!(self.input.is_none(), "{:?} is in flight", self.input);
        uring::try_discard(self.conn.fd(), bytes)
    }

    /// Sends what is no session's, at once or not.
    pub(super) fn send_now(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        debug_assert!(self.output.is_none(), "{:?} is in flight", self.output);
        self.conn.note_send();
        let sent = uring::try_send(self.conn.fd(), bytes);
        self.believe_sent(sent, bytes.len());
        sent
    }

    /// Whether something waits.
    pub(super) fn is_busy(&self) -> bool {
        self.input.is_some() || self.output.is_some()
    }

    /// The operation `target`, if it waits; it does not any more.
    pub(super) fn cancel(&mut self, target: Token) -> bool {
        if self.input.is_some_and(|input| input.token() == target) {
            self.input = None;
        } else if self.output.is_some_and(|output| output.token() == target) {
            self.output = None;
        } else {
            return false;
        }
        true
    }

    /// Sees to it that what the waiting operations need is told.
    pub(super) fn watch(&mut self, poller: &Poller, data: u64) -> Result<(), Errno> {
        let wanted = if self.output.is_some() { Interest::Both } else { Interest::Input };
        if self.interest >= wanted {
            return Ok(());
        }
        match self.interest {
            Interest::Nothing => poller.add(self.conn.fd(), wanted.events(), data)?,
            Interest::Input | Interest::Both => {
                poller.modify(self.conn.fd(), wanted.events(), data)?;
            }
        }
        self.interest = wanted;
        Ok(())
    }

    /// Nothing more is to be told, and the socket stays open.
    pub(super) fn unwatch(&mut self, poller: &Poller) {
        if self.interest != Interest::Nothing {
            poller.delete(self.conn.fd()).expect("it was added, and is open");
        }
    }

    fn try_input(
        &mut self,
        buffers: &mut Buffers,
        counters: &mut EpollCounters,
    ) -> Option<Completion<Socket>> {
        let input = self.input?;
        let outcome = match input {
            Input::Poll(_) => Outcome::Done(0),
            Input::Recv(_) => self.recv(buffers, counters)?,
        };
        self.input = None;
        Some(Completion { token: input.token(), outcome })
    }

    fn recv(
        &mut self,
        buffers: &mut Buffers,
        counters: &mut EpollCounters,
    ) -> Option<Outcome<Socket>> {
        let Some(buffer) = buffers.take() else { return Some(Outcome::NoBuffer) };
        self.unseen = false;
        let space = buffers.space(buffer);
        let room = space.len();
        let received = uring::try_recv(self.conn.fd(), space);
        if let Ok(bytes @ 1..) = received {
            let more = bytes == room;
            self.readable = more || self.odd;
            let end = u32::try_from(bytes).expect("a buffer is not that large");
            return Some(Outcome::Received(Held { buffer, start: 0, end, more }));
        }
        buffers.release(buffer);
        match received {
            Ok(_) => Some(Outcome::EndOfStream),
            Err(Errno::EAGAIN) => {
                counters.recv_eagain += 1;
                (self.readable, self.odd) = (false, false);
                None
            }
            Err(errno) => Some(Outcome::Failed(errno)),
        }
    }

    fn try_output(
        &mut self,
        buffers: &Buffers,
        counters: &mut EpollCounters,
    ) -> Option<Completion<Socket>> {
        let output = self.output?;
        let outcome = match output {
            Output::Poll(_) => Outcome::Done(0),
            Output::Send(_, held) => self.send(buffers.bytes(held), counters)?,
            // Without a failure there is nothing to ask for.
            Output::Connect(_) if !self.odd => Outcome::Done(0),
            Output::Connect(_) => {
                uring::take_error(self.conn.fd()).map_or(Outcome::Done(0), Outcome::Failed)
            }
        };
        self.output = None;
        Some(Completion { token: output.token(), outcome })
    }

    fn send(&mut self, bytes: &[u8], counters: &mut EpollCounters) -> Option<Outcome<Socket>> {
        let sent = uring::try_send(self.conn.fd(), bytes);
        self.believe_sent(sent, bytes.len());
        match sent {
            Ok(sent) => Some(Outcome::Done(u32::try_from(sent).expect("at most a buffer"))),
            Err(Errno::EAGAIN) => {
                counters.send_eagain += 1;
                None
            }
            Err(errno) => Some(Outcome::Failed(errno)),
        }
    }

    /// A short send has met the end of the room, and the kernel will tell when there is some again
    /// (SOCK_NOSPACE is set, tcp_sendmsg_locked, net/ipv4/tcp.c).
    fn believe_sent(&mut self, sent: Result<usize, Errno>, of: usize) {
        match sent {
            Ok(sent) => self.writable = sent == of,
            Err(Errno::EAGAIN) => self.writable = false,
            Err(_) => {}
        }
    }
}

impl Input {
    pub(super) fn token(self) -> Token {
        match self {
            Self::Recv(owner) => Token { op: Op::Recv, owner },
            Self::Poll(owner) => Token { op: Op::Poll, owner },
        }
    }
}

impl Output {
    pub(super) fn token(self) -> Token {
        match self {
            Self::Connect(owner) => Token { op: Op::Connect, owner },
            Self::Send(owner, _) => Token { op: Op::Send, owner },
            Self::Poll(owner) => Token { op: Op::Poll, owner },
        }
    }
}

impl Interest {
    fn events(self) -> EpollFlags {
        let input = EpollFlags::EPOLLET
            | EpollFlags::EPOLLIN
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLPRI;
        match self {
            Self::Nothing | Self::Input => input,
            Self::Both => input | EpollFlags::EPOLLOUT,
        }
    }
}

const FAILED: EpollFlags = EpollFlags::EPOLLERR.union(EpollFlags::EPOLLHUP);
const ODD: EpollFlags = FAILED.union(EpollFlags::EPOLLRDHUP).union(EpollFlags::EPOLLPRI);
