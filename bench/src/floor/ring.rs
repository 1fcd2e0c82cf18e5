//! The relay on io_uring: a receive into a buffer that the kernel picks, a send from that buffer.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::OwnedFd;

use socket2::Socket;
use uring::{
    BufferId, Completion, Config, Errno, Op, Outcome, Owner, Readiness, Ring, Slots, Token,
};

use super::BUFFER_BYTES;

/// A ring, a listener, a backend, and the sessions between them.
pub(super) struct Relay {
    ring: Ring,
    listener: Socket,
    backend: SocketAddr,
    sessions: Slots<Session>,
    /// Directions whose receive found no buffer; they go on when one comes back.
    starved: Vec<Owner>,
}

struct Session {
    /// The client's and the backend's.
    sockets: [OwnedFd; 2],
    /// From the client, and from the backend.
    ways: [Way; 2],
    /// Connects, receives and sends whose completion is awaited; sockets are closed at none.
    in_flight: u8,
    failed: bool,
}

enum Way {
    /// Nothing is in flight: not connected yet, or no buffer.
    Waiting,
    Receiving,
    /// `more`: the source had more than these bytes.
    Sending {
        buffer: BufferId,
        left: Range<u32>,
        more: bool,
    },
    Ended,
}

impl Relay {
    /// A relay from `listener` to `backend`; for the calling thread.
    ///
    /// # Errors
    /// When the kernel gives no ring.
    pub(super) fn new(listener: Socket, backend: SocketAddr) -> io::Result<Self> {
        let buffer_bytes = u32::try_from(BUFFER_BYTES).expect("it is 32 KiB");
        let config = Config { buffer_bytes, ..Config::default() };
        let ring = Ring::new(&config).map_err(io::Error::other)?;
        Ok(Self { ring, listener, backend, sessions: Slots::default(), starved: Vec::new() })
    }

    /// Waits and relays.
    ///
    /// # Errors
    /// Whatever makes it impossible to go on.
    pub(super) fn run(mut self) -> io::Result<Infallible> {
        (0..ACCEPTS).for_each(|slot| self.ring.accept(&self.listener, Owner::slot(slot)));
        let mut completions = Vec::with_capacity(COMPLETIONS);
        loop {
            self.ring.submit_and_wait(1, None)?;
            self.ring.completions(&mut completions);
            for completion in completions.drain(..) {
                self.on_completion(completion)?;
            }
            self.feed_starved();
        }
    }

    fn on_completion(&mut self, completion: Completion) -> io::Result<()> {
        let Completion { token: Token { op, owner }, outcome } = completion;
        if op == Op::Accept {
            self.ring.accept(&self.listener, owner);
            return match outcome {
                Outcome::Accepted(client) => self.connect(client),
                Outcome::Failed(Errno::ECONNABORTED | Errno::EINTR) => Ok(()),
                Outcome::Failed(error) => Err(error.into()),
                _ => unreachable!("an accept brings a connection or fails"),
            };
        }
        let session =
            self.sessions.find(owner).expect("a session stays until nothing is in flight");
        session.in_flight -= 1;
        let side = usize::from(owner.tag);
        match outcome {
            Outcome::Done(_) if op == Op::Connect => {
                self.receive(owner.tagged(0), Readiness::Empty);
                self.receive(owner.tagged(1), Readiness::Empty);
            }
            Outcome::Received { buffer, len, more } => {
                session.ways[side] = Way::Sending { buffer, left: 0..len, more };
                self.send(owner);
            }
            Outcome::Done(sent) => self.on_sent(owner, sent),
            Outcome::EndOfStream => {
                session.ways[side] = Way::Ended;
                // ENOTCONN: reset meanwhile, which the other direction's receive will tell.
                let _ = uring::finish_writing(&session.sockets[1 - side]);
            }
            Outcome::Failed(Errno::ENOBUFS) if op == Op::Recv => {
                session.ways[side] = Way::Waiting;
                self.starved.push(owner);
            }
            Outcome::Failed(_) => self.fail(owner),
            Outcome::Accepted(_) => unreachable!("accepts are answered above"),
        }
        self.close_if_done(owner);
        Ok(())
    }

    fn connect(&mut self, client: OwnedFd) -> io::Result<()> {
        let sockets = [client, super::backend_socket(self.backend)?.into()];
        let ways = [Way::Waiting, Way::Waiting];
        let owner = self.sessions.insert(Session { sockets, ways, in_flight: 1, failed: false });
        let session = self.sessions.find(owner).expect("it was just inserted");
        self.ring.connect(&session.sockets[1], &self.backend.into(), owner);
        Ok(())
    }

    fn receive(&mut self, owner: Owner, readiness: Readiness) {
        let Some(session) = self.sessions.find(owner).filter(|session| !session.failed) else {
            return;
        };
        let side = usize::from(owner.tag);
        session.ways[side] = Way::Receiving;
        session.in_flight += 1;
        self.ring.recv(&session.sockets[side], readiness, owner);
    }

    /// Sends what the direction holds; a session that failed drops it.
    fn send(&mut self, owner: Owner) {
        let Some(session) = self.sessions.find(owner) else { return };
        let side = usize::from(owner.tag);
        let Way::Sending { buffer, left, .. } = &session.ways[side] else { return };
        let (buffer, left) = (*buffer, left.clone());
        if session.failed {
            session.ways[side] = Way::Ended;
            self.ring.release(buffer);
        } else {
            session.in_flight += 1;
            self.ring.send(&session.sockets[1 - side], buffer, left, owner);
        }
    }

    fn on_sent(&mut self, owner: Owner, sent: u32) {
        let Some(session) = self.sessions.find(owner) else { return };
        let Way::Sending { buffer, left, more } = &mut session.ways[usize::from(owner.tag)] else {
            return;
        };
        left.start += sent;
        if left.start < left.end {
            return self.send(owner);
        }
        let readiness = if *more { Readiness::Unknown } else { Readiness::Empty };
        self.ring.release(*buffer);
        session.ways[usize::from(owner.tag)] = Way::Waiting;
        self.receive(owner, readiness);
    }

    /// One operation of a session failed: the others are asked to end.
    fn fail(&mut self, owner: Owner) {
        let Some(session) = self.sessions.find(owner) else { return };
        let side = usize::from(owner.tag);
        if let Way::Sending { buffer, .. } = session.ways[side] {
            self.ring.release(buffer);
        }
        session.ways[side] = Way::Ended;
        if !std::mem::replace(&mut session.failed, true) {
            let opposite = 1 - owner.tag;
            let op = match session.ways[usize::from(opposite)] {
                Way::Receiving => Op::Recv,
                Way::Sending { .. } => Op::Send,
                Way::Waiting | Way::Ended => return,
            };
            self.ring.cancel(Token { op, owner: owner.tagged(opposite) });
        }
    }

    fn close_if_done(&mut self, owner: Owner) {
        let done = self.sessions.find(owner).is_some_and(|session| {
            let ended = session.ways.iter().all(|way| matches!(way, Way::Ended));
            session.in_flight == 0 && (ended || session.failed)
        });
        if !done {
            return;
        }
        let session = self.sessions.remove(owner);
        let Some(Session { sockets, failed, .. }) = session else { return };
        for socket in sockets {
            if failed { uring::close_with_reset(socket) } else { self.ring.close(socket) }
        }
    }

    fn feed_starved(&mut self) {
        while self.ring.buffers_free() > 0
            && let Some(owner) = self.starved.pop()
        {
            self.receive(owner, Readiness::Unknown);
        }
    }
}

/// Accepts in flight.
const ACCEPTS: u32 = 64;

const COMPLETIONS: usize = 512;
