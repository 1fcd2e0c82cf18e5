//! A socket: what is believed of its readiness, and what waits for that.
//!
//! It is watched edge-triggered, from the first operation on that must wait. An event is believed
//! until a call says otherwise: `EAGAIN`, or a transfer that was short. After either the kernel tells
//! the next change, so none is missed; a short receive proves nothing when the end or an error
//! follows, whose change was told with the bytes before it.

use std::ops::Range;

use ::uring::{BufferId, Completion, Errno, Op, Outcome, Owner, Poller, Token};
use nix::sys::epoll::EpollFlags;
use socket2::SockAddr;

use super::super::Socket;
use super::super::buffers::Buffers;

#[derive(Debug)]
pub(super) struct Watched {
    socket: Socket,
    interest: Interest,
    readable: bool,
    writable: bool,
    /// The end, an error or an urgent byte was told.
    odd: bool,
    input: Option<Owner>,
    output: Option<Output>,
}

/// What goes out.
#[derive(Clone, Debug)]
pub(super) enum Output {
    /// Not begun.
    Connect(Owner, SockAddr),
    /// Begun, and not known how it ends.
    Connecting(Owner),
    Send {
        owner: Owner,
        buffer: BufferId,
        range: Range<u32>,
        sent: u32,
    },
}

/// What epoll was asked to tell. A send hardly ever has to wait, and telling that it need not would
/// be an event for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Interest {
    Nothing,
    Input,
    Both,
}

impl Watched {
    /// A socket of which nothing is known.
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket,
            interest: Interest::Nothing,
            readable: false,
            writable: true,
            odd: false,
            input: None,
            output: None,
        }
    }

    pub(super) fn start_input(&mut self, owner: Owner) {
        assert!(self.input.is_none(), "{:?} is in flight already", self.input);
        self.input = Some(owner);
    }

    pub(super) fn start_output(&mut self, output: Output) {
        assert!(self.output.is_none(), "{:?} is in flight already", self.output);
        self.output = Some(output);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.input.is_some() || self.output.is_some()
    }

    /// Believes an event.
    pub(super) fn note(&mut self, told: EpollFlags) {
        self.odd |= told.intersects(ODD);
        self.readable |= told.intersects(EpollFlags::EPOLLIN.union(ODD));
        self.writable |= told.intersects(EpollFlags::EPOLLOUT.union(FAILED));
    }

    /// Tries the receive that waits if that is worth it; its answer, unless it waits on.
    pub(super) fn try_input(&mut self, buffers: &mut Buffers) -> Option<Completion> {
        let owner = self.input.filter(|_| self.readable)?;
        let outcome = self.recv(buffers)?;
        self.input = None;
        Some(Completion { token: Token { op: Op::Recv, owner }, outcome })
    }

    fn recv(&mut self, buffers: &mut Buffers) -> Option<Outcome> {
        let Some(buffer) = buffers.take() else { return Some(Outcome::Failed(Errno::ENOBUFS)) };
        let space = buffers.space(buffer);
        let room = space.len();
        let received = ::uring::try_recv(&self.socket, space);
        if let Ok(bytes @ 1..) = received {
            let more = bytes == room;
            self.readable = more || self.odd;
            let len = u32::try_from(bytes).expect("a buffer's size is a u32");
            return Some(Outcome::Received { buffer, len, more });
        }
        buffers.release(buffer);
        match received {
            Ok(_) => Some(Outcome::EndOfStream),
            Err(Errno::EAGAIN) => {
                (self.readable, self.odd) = (false, false);
                None
            }
            Err(errno) => Some(Outcome::Failed(errno)),
        }
    }

    /// Tries what goes out and waits if that is worth it; its answer, unless it waits on.
    pub(super) fn try_output(&mut self, buffers: &Buffers) -> Option<Completion> {
        if !self.writable {
            return None;
        }
        let mut output = self.output.take()?;
        let outcome = match &mut output {
            Output::Connect(owner, address) => {
                let connected = ::uring::try_connect(&self.socket, address);
                if connected == Err(Errno::EINPROGRESS) {
                    self.writable = false;
                    self.output = Some(Output::Connecting(*owner));
                    return None;
                }
                Some(connected.map_or_else(Outcome::Failed, |()| Outcome::Done(0)))
            }
            // Without a failure there is nothing to ask for.
            Output::Connecting(_) if !self.odd => Some(Outcome::Done(0)),
            Output::Connecting(_) => {
                Some(::uring::take_error(&self.socket).map_or(Outcome::Done(0), Outcome::Failed))
            }
            Output::Send { buffer, range, sent, .. } => {
                self.send(buffers.bytes(*buffer, range.clone()), sent)
            }
        };
        match outcome {
            Some(outcome) => Some(Completion { token: output.token(), outcome }),
            None => {
                self.output = Some(output);
                None
            }
        }
    }

    /// Sends what is left, until it has to wait.
    fn send(&mut self, bytes: &[u8], sent: &mut u32) -> Option<Outcome> {
        while (*sent as usize) < bytes.len() {
            match ::uring::try_send(&self.socket, &bytes[*sent as usize..]) {
                Ok(some) => *sent += u32::try_from(some).expect("a buffer's size is a u32"),
                Err(Errno::EAGAIN) => {
                    self.writable = false;
                    return None;
                }
                Err(errno) if *sent == 0 => return Some(Outcome::Failed(errno)),
                Err(_) => break,
            }
        }
        Some(Outcome::Done(*sent))
    }

    /// The operation `target` shall end: how it does, if it waits.
    pub(super) fn cancel(&mut self, target: Token) -> Option<Outcome> {
        if target.op == Op::Recv && self.input == Some(target.owner) {
            self.input = None;
            return Some(CANCELED);
        }
        let output = self.output.take_if(|output| output.token() == target)?;
        Some(output.end(Errno::ECANCELED))
    }

    /// Ends everything that waits, because nothing would be told of it.
    pub(super) fn give_up(&mut self, errno: Errno) -> impl Iterator<Item = Completion> + use<> {
        let input = self.input.take().map(|owner| Completion {
            token: Token { op: Op::Recv, owner },
            outcome: Outcome::Failed(errno),
        });
        let output = self
            .output
            .take()
            .map(|output| Completion { token: output.token(), outcome: output.end(errno) });
        input.into_iter().chain(output)
    }

    /// Sees to it that what the waiting operations need is told.
    pub(super) fn watch(&mut self, poller: &Poller, data: u64) -> Result<(), Errno> {
        let wanted = match (&self.input, &self.output) {
            (_, Some(_)) => Interest::Both,
            (Some(_), None) => Interest::Input,
            (None, None) => Interest::Nothing,
        };
        if self.interest >= wanted {
            return Ok(());
        }
        match self.interest {
            Interest::Nothing => poller.add(&self.socket, wanted.events(), data)?,
            Interest::Input | Interest::Both => {
                poller.modify(&self.socket, wanted.events(), data)?;
            }
        }
        self.interest = wanted;
        Ok(())
    }
}

impl Output {
    fn token(&self) -> Token {
        match *self {
            Self::Connect(owner, _) | Self::Connecting(owner) => Token { op: Op::Connect, owner },
            Self::Send { owner, .. } => Token { op: Op::Send, owner },
        }
    }

    /// How it ends before its time: a send half-way says how far it came.
    fn end(&self, errno: Errno) -> Outcome {
        match *self {
            Self::Send { sent: sent @ 1.., .. } => Outcome::Done(sent),
            Self::Connect(..) | Self::Connecting(_) | Self::Send { .. } => Outcome::Failed(errno),
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

const CANCELED: Outcome = Outcome::Failed(Errno::ECANCELED);
/// A try fails, or ends what comes.
const FAILED: EpollFlags = EpollFlags::EPOLLERR.union(EpollFlags::EPOLLHUP);
/// What a receive does not take with the bytes before it.
const ODD: EpollFlags = FAILED.union(EpollFlags::EPOLLRDHUP).union(EpollFlags::EPOLLPRI);
