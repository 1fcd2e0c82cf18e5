//! The driver of the product: one ring for each shard.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockAddr;
use uring::{
    Completion as RingCompletion, Config, ConnectOptions, Errno, Op, Outcome as RingOutcome, Owner,
    Pipe, Readiness as Hint, Ring, RingCounters, SetupError, Spliced, Token, WakeSource,
};

use crate::core::BufferId;
use crate::core::bottleneck::Sample;
use crate::core::moment::Moment;
use crate::core::relay::Held;

use super::busy_poll::BusyPoll;
use super::conn::{Conn, Spares};
use super::driver::{
    BATCH, Completion, Counts, Driver, HANDED_OVER, ListenerNumber, Outcome, Readiness, Wiring,
};
use super::listener::Sockets;
use super::listeners::Listeners;
use super::pipes::make_pipe;
use super::post::Post;

/// A ring, its listeners, and the eventfd that wakes it.
#[derive(Debug)]
pub struct UringDriver {
    ring: Ring,
    listeners: Listeners<OwnedFd>,
    wake: WakeSource,
    post: Arc<Post>,
    /// Which mailbox is ours.
    shard: usize,
    spares: Spares,
    completions: Vec<RingCompletion>,
    /// Answers that did not need the ring, for the next wait.
    answers: VecDeque<Completion<Conn>>,
    busy_poll: BusyPoll,
}

impl UringDriver {
    /// A ring on the calling thread, which then must be the one that uses it.
    ///
    /// # Errors
    /// A [`SetupError`] that names the cause and the cure.
    pub fn new(config: &Config, wiring: Wiring) -> Result<Self, SetupError> {
        let Wiring { wake, post, shard } = wiring;
        let mut ring = Ring::new(config)?;
        ring.poll_readable(&wake, WAKE);
        let mut driver = Self {
            ring,
            listeners: Listeners::default(),
            wake,
            post,
            shard,
            spares: Spares::default(),
            completions: Vec::with_capacity(BATCH),
            answers: VecDeque::new(),
            busy_poll: BusyPoll::new(config.busy_poll),
        };
        driver.spares.refill(&driver.wake);
        Ok(driver)
    }

    /// A wake-up: the shard looks itself whether it shall stop; here are its letters.
    fn on_wake(&mut self, out: &mut Vec<Completion<Conn>>) {
        self.wake.clear();
        self.ring.poll_readable(&self.wake, WAKE);
        while let Some((fd, listener)) = self.post.receive(self.shard) {
            let outcome = Outcome::HandedOver(Conn::accepted(fd), listener);
            out.push(Completion { token: HANDED_OVER, outcome });
        }
    }

    /// Connecting to a unix socket never waits: a full queue is `EAGAIN`. The ring would take that for
    /// a reason to wait, and try 128 times, then once more in a thread (`io_arm_poll_handler`,
    /// io_uring/poll.c), before it says so.
    fn connect_at_once(&mut self, conn: &Conn, address: &SockAddr, owner: Owner) {
        let connected = uring::try_connect(conn.fd(), address);
        let outcome = connected.map_or_else(Outcome::Failed, |()| Outcome::Done(0));
        self.answers.push_back(Completion { token: Token { op: Op::Connect, owner }, outcome });
    }

    fn translate(completion: RingCompletion) -> Completion<Conn> {
        let RingCompletion { token, outcome } = completion;
        let outcome = match outcome {
            RingOutcome::Accepted(fd) => Outcome::Accepted(Conn::accepted(fd)),
            RingOutcome::Received { buffer, len, more } => {
                Outcome::Received(Held { buffer: BufferId(buffer.0), start: 0, end: len, more })
            }
            RingOutcome::EndOfStream => Outcome::EndOfStream,
            RingOutcome::Done(value) => Outcome::Done(value),
            RingOutcome::Failed(Errno::ENOBUFS) if token.op == Op::Recv => Outcome::NoBuffer,
            RingOutcome::Failed(errno) => Outcome::Failed(errno),
        };
        Completion { token, outcome }
    }
}

impl Driver for UringDriver {
    type Socket = Conn;
    type Pipe = Pipe;
    type Listener = OwnedFd;

    fn now(&mut self) -> Moment {
        Moment::from_ns(uring::monotonic_ns())
    }

    fn listen(&mut self, listener: OwnedFd) -> io::Result<ListenerNumber> {
        self.listeners.add(listener)
    }

    fn claim(&self, sockets: &Sockets) -> Option<OwnedFd> {
        sockets.take(self.shard)
    }

    fn accept_now(&mut self, listener: ListenerNumber) -> Option<Conn> {
        uring::try_accept(self.listeners.at(listener)).ok().map(Conn::accepted)
    }

    fn accept(&mut self, listener: ListenerNumber, owner: Owner) {
        self.ring.accept(self.listeners.at(listener), owner);
    }

    fn make_room(&mut self) -> usize {
        self.spares.make_room(&self.wake)
    }

    fn connect(
        &mut self,
        address: &SockAddr,
        options: &ConnectOptions,
        owner: Owner,
    ) -> Result<Conn, Errno> {
        let conn = Conn::connecting(self.spares.stream_socket(address, options)?, address);
        if address.is_unix() {
            self.connect_at_once(&conn, address, owner);
        } else {
            self.ring.connect(conn.fd(), address, owner);
        }
        Ok(conn)
    }

    fn recv(&mut self, socket: &Conn, ready: bool, owner: Owner) {
        let readiness = if ready { Hint::Unknown } else { Hint::Empty };
        self.ring.recv(socket.fd(), readiness, owner);
    }

    fn send(&mut self, socket: &mut Conn, held: Held, owner: Owner) {
        socket.note_send();
        let Held { buffer, start, end, .. } = held;
        self.ring.send(socket.fd(), uring::BufferId(buffer.0), start..end, owner);
    }

    fn poll(&mut self, socket: &Conn, what: Readiness, owner: Owner) {
        match what {
            Readiness::Readable => self.ring.poll_readable(socket.fd(), owner),
            Readiness::Writable => self.ring.poll_writable(socket.fd(), owner),
        }
    }

    fn peek(&mut self, socket: &mut Conn, into: &mut [u8]) -> Result<usize, Errno> {
        uring::try_peek(socket.fd(), into)
    }

    fn is_gone(&self, socket: &Conn) -> bool {
        uring::is_gone(socket.fd())
    }

    fn has_delivered_all(&self, socket: &Conn) -> bool {
        uring::has_delivered_all(socket.fd())
    }

    fn take(&mut self, socket: &mut Conn, bytes: usize) -> Result<usize, Errno> {
        uring::try_discard(socket.fd(), bytes)
    }

    fn send_now(&mut self, socket: &mut Conn, bytes: &[u8]) -> Result<usize, Errno> {
        socket.note_send();
        uring::try_send(socket.fd(), bytes)
    }

    fn make_pipe(&mut self) -> Result<Pipe, Errno> {
        make_pipe()
    }

    fn fill(&mut self, pipe: &mut Pipe, source: &mut Conn) -> Result<Spliced, Errno> {
        pipe.fill(source.fd(), pipe.capacity())
    }

    fn drain(&mut self, pipe: &mut Pipe, destination: &mut Conn) -> Result<Spliced, Errno> {
        destination.note_send();
        pipe.drain(destination.fd())
    }

    fn held(&self, pipe: &Pipe) -> u32 {
        pipe.held()
    }

    fn is_connected_to_itself(&self, socket: &Conn) -> bool {
        uring::is_connected_to_itself(socket.fd())
    }

    fn cancel(&mut self, target: Token) {
        self.ring.cancel(target);
    }

    fn release(&mut self, buffer: BufferId) {
        self.ring.release(uring::BufferId(buffer.0));
    }

    fn buffers_free(&self) -> usize {
        self.ring.buffers_free().into()
    }

    fn finish_writing(&mut self, socket: &Conn) {
        // ENOTCONN: the peer has reset the connection, which the next receive or send will tell.
        let _ = uring::finish_writing(socket.fd());
    }

    fn close(&mut self, socket: Conn, reset: bool) {
        self.spares.refill(&self.wake);
        if reset {
            uring::close_with_reset(socket.into_fd());
        } else {
            self.ring.close(socket.into_fd());
        }
    }

    fn hand_over(&mut self, socket: Conn, listener: u32, shard: usize) -> Result<(), Conn> {
        // Only what was accepted is handed over.
        let sent = self.post.send(shard, (socket.into_fd(), listener));
        sent.map_err(|(fd, _)| Conn::accepted(fd))
    }

    fn stop_listening(&mut self, listener: ListenerNumber) {
        drop(self.listeners.remove(listener));
    }

    fn peer_address(&self, socket: &Conn) -> Option<SocketAddr> {
        uring::peer_address(socket.fd())
    }

    fn local_address(&self, socket: &Conn) -> Option<SocketAddr> {
        uring::local_address(socket.fd()).ok()
    }

    fn original_destination(&self, socket: &Conn) -> Option<SocketAddr> {
        uring::original_destination(socket.fd())
    }

    fn tcp_info(&self, socket: &Conn) -> Option<Sample> {
        socket.tcp_info()
    }

    fn wait(
        &mut self,
        timeout: Option<Duration>,
        out: &mut Vec<Completion<Conn>>,
    ) -> io::Result<()> {
        let timeout = if self.answers.is_empty() { timeout } else { Some(Duration::ZERO) };
        let (look, sleep) =
            (Ring::submit_and_spin, |ring: &mut Ring, timeout| ring.submit_and_wait(1, timeout));
        self.busy_poll.wait(&mut self.ring, timeout, look, sleep)?;
        let room = out.capacity() - out.len();
        out.extend(self.answers.drain(..room.min(self.answers.len())));
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.completions(&mut completions);
        for completion in completions.drain(..) {
            match completion.token {
                WAKE_TOKEN => self.on_wake(out),
                _ => out.push(Self::translate(completion)),
            }
        }
        self.completions = completions;
        Ok(())
    }

    fn counters(&self) -> Counts {
        let RingCounters { enters, sq_full, cq_overflow, cancel_missed, close_failed, foreign_cqe } =
            self.ring.counters();
        let mut counts = self.busy_poll.counts();
        counts.extend([
            ("ring_enters", enters),
            ("ring_sq_full", sq_full),
            ("ring_cq_overflow", cq_overflow),
            ("ring_cancel_missed", cancel_missed),
            ("ring_close_failed", close_failed),
            ("ring_foreign_cqe", foreign_cqe),
        ]);
        counts
    }
}

/// The one poll that is not a session's.
const WAKE: Owner = Owner::slot(u32::MAX);
const WAKE_TOKEN: Token = Token { op: Op::Poll, owner: WAKE };
