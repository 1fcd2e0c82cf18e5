//! The driver of the product: one ring for each shard.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use uring::{
    Completion as RingCompletion, Config, Errno, Op, Outcome as RingOutcome, Owner, Pipe,
    Readiness as Hint, Ring, RingCounters, SetupError, SetupFlags, Spliced, Token, WakeSource,
};

use crate::core::BufferId;
use crate::core::moment::Moment;
use crate::core::relay::Held;
use crate::core::spin::Spin;

use super::driver::{BATCH, Completion, Driver, HANDED_OVER, Outcome, Readiness, Wiring};
use super::pipes::make_pipe;
use super::post::Post;

/// A ring, its listener, and the eventfd that wakes it.
#[derive(Debug)]
pub struct UringDriver {
    ring: Ring,
    listener: Option<OwnedFd>,
    wake: WakeSource,
    post: Arc<Post>,
    /// Which mailbox is ours.
    shard: usize,
    /// Descriptors kept for connects: when accepted clients have taken all others, some of them can
    /// still be served, and what they free serves the rest.
    spare: Vec<OwnedFd>,
    completions: Vec<RingCompletion>,
    spin: Option<Spin>,
    spins: Spins,
}

/// Looks for completions before a sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spins {
    /// Something came.
    pub found: u64,
    /// Nothing came.
    pub vain: u64,
}

/// A connection and whether Nagle's algorithm is off on it.
#[derive(Debug)]
pub struct Conn {
    fd: OwnedFd,
    nodelay: Nodelay,
}

/// Accepted sockets inherit TCP_NODELAY from the listener. A socket that we connect does not, but
/// its first send is never held back, so the option is set before the second: a connection that
/// carries one request saves the system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nodelay {
    On,
    OffNothingSent,
    OffSentOnce,
}

impl Conn {
    /// Before each send: Nagle's algorithm is switched off before the second.
    fn note_send(&mut self) {
        self.nodelay = match self.nodelay {
            Nodelay::On => Nodelay::On,
            Nodelay::OffNothingSent => Nodelay::OffSentOnce,
            Nodelay::OffSentOnce => {
                // It fails only on a connection that is gone, which the send will find out.
                let _ = uring::set_nodelay(&self.fd);
                Nodelay::On
            }
        };
    }
}

impl UringDriver {
    /// A ring on the calling thread, which then must be the one that uses it.
    ///
    /// # Errors
    /// A [`SetupError`] that names the cause and the cure.
    pub fn new(config: &Config, wiring: Wiring) -> Result<Self, SetupError> {
        let Wiring { listener, wake, post, shard } = wiring;
        let mut ring = Ring::new(config)?;
        ring.poll_readable(&wake, WAKE);
        let mut driver = Self {
            ring,
            listener: Some(listener),
            wake,
            post,
            shard,
            spare: Vec::new(),
            completions: Vec::with_capacity(BATCH),
            spin: config.busy_poll.map(Spin::new),
            spins: Spins::default(),
        };
        driver.keep_spares();
        Ok(driver)
    }

    /// The optional flags that the kernel granted.
    #[must_use]
    pub fn flags(&self) -> SetupFlags {
        self.ring.flags()
    }

    /// What happened on the ring so far.
    #[must_use]
    pub fn counters(&self) -> RingCounters {
        self.ring.counters()
    }

    /// How often it looked for completions before it slept.
    #[must_use]
    pub fn spins(&self) -> Spins {
        self.spins
    }

    /// Looks for completions before the shard sleeps, if that pays; whether there are any.
    fn spin(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let Some(spin) = &mut self.spin else { return Ok(false) };
        let Some(time) = spin.time() else { return Ok(false) };
        let time = timeout.map_or(time, |timeout| timeout.min(time));
        let found = self.ring.submit_and_spin(time)?;
        spin.looked(found);
        self.spins.found += u64::from(found);
        self.spins.vain += u64::from(!found);
        Ok(found)
    }

    /// Sleeps until there is a completion.
    fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match &mut self.spin {
            Some(spin) if spin.time().is_none() => {
                let started_ns = uring::monotonic_ns();
                self.ring.submit_and_wait(1, timeout)?;
                spin.slept(Duration::from_nanos(uring::monotonic_ns() - started_ns));
                Ok(())
            }
            _ => self.ring.submit_and_wait(1, timeout),
        }
    }

    fn keep_spares(&mut self) {
        while self.spare.len() < SPARES
            && let Ok(spare) = self.wake.as_fd().try_clone_to_owned()
        {
            self.spare.push(spare);
        }
    }

    fn stream_socket(&mut self, address: &SocketAddr) -> Result<OwnedFd, Errno> {
        let errno = match uring::stream_socket(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => uring::errno(&error),
        };
        // Only a descriptor of this process cures EMFILE, and it cures nothing else.
        match self.spare.pop() {
            Some(spare) if errno == Errno::EMFILE => {
                drop(spare);
                uring::stream_socket(address).map_err(|error| uring::errno(&error))
            }
            spare => {
                self.spare.extend(spare);
                Err(errno)
            }
        }
    }

    /// A wake-up: the shard looks itself whether it shall stop; here are its letters.
    fn on_wake(&mut self, out: &mut Vec<Completion<Conn>>) {
        self.wake.clear();
        self.ring.poll_readable(&self.wake, WAKE);
        while let Some(fd) = self.post.receive(self.shard) {
            let conn = Conn { fd, nodelay: Nodelay::On };
            out.push(Completion { token: HANDED_OVER, outcome: Outcome::HandedOver(conn) });
        }
    }

    fn translate(completion: RingCompletion) -> Completion<Conn> {
        let RingCompletion { token, outcome } = completion;
        let outcome = match outcome {
            RingOutcome::Accepted(fd) => Outcome::Accepted(Conn { fd, nodelay: Nodelay::On }),
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

    fn now(&mut self) -> Moment {
        Moment::from_ns(uring::monotonic_ns())
    }

    fn accept(&mut self, owner: Owner) {
        let listener = self.listener.as_ref().expect("accepts end before listening does");
        self.ring.accept(listener, owner);
    }

    fn connect(
        &mut self,
        address: &SocketAddr,
        client: &Conn,
        owner: Owner,
    ) -> Result<Conn, Errno> {
        let fd = self.stream_socket(address)?;
        if uring::has_bytes(&client.fd) {
            uring::acknowledge_with_first_bytes(&fd);
        }
        self.ring.connect(&fd, address, owner);
        Ok(Conn { fd, nodelay: Nodelay::OffNothingSent })
    }

    fn recv(&mut self, socket: &Conn, ready: bool, owner: Owner) {
        let readiness = if ready { Hint::Unknown } else { Hint::Empty };
        self.ring.recv(&socket.fd, readiness, owner);
    }

    fn send(&mut self, socket: &mut Conn, held: Held, owner: Owner) {
        socket.note_send();
        let Held { buffer, start, end, .. } = held;
        self.ring.send(&socket.fd, uring::BufferId(buffer.0), start..end, owner);
    }

    fn poll(&mut self, socket: &Conn, what: Readiness, owner: Owner) {
        match what {
            Readiness::Readable => self.ring.poll_readable(&socket.fd, owner),
            Readiness::Writable => self.ring.poll_writable(&socket.fd, owner),
        }
    }

    fn make_pipe(&mut self) -> Result<Pipe, Errno> {
        make_pipe()
    }

    fn fill(&mut self, pipe: &mut Pipe, source: &mut Conn) -> Result<Spliced, Errno> {
        pipe.fill(&source.fd, pipe.capacity())
    }

    fn drain(&mut self, pipe: &mut Pipe, destination: &mut Conn) -> Result<Spliced, Errno> {
        destination.note_send();
        pipe.drain(&destination.fd)
    }

    fn held(&self, pipe: &Pipe) -> u32 {
        pipe.held()
    }

    fn is_connected_to_itself(&self, socket: &Conn) -> bool {
        uring::is_connected_to_itself(&socket.fd)
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
        let _ = uring::finish_writing(&socket.fd);
    }

    fn close(&mut self, socket: Conn, reset: bool) {
        if self.spare.len() < SPARES {
            self.keep_spares();
        }
        if reset {
            uring::close_with_reset(socket.fd);
        } else {
            self.ring.close(socket.fd);
        }
    }

    fn hand_over(&mut self, socket: Conn, shard: usize) -> Result<(), Conn> {
        // What others accepted has Nagle's algorithm off like our own.
        let nodelay = socket.nodelay;
        self.post.send(shard, socket.fd).map_err(|fd| Conn { fd, nodelay })
    }

    fn stop_listening(&mut self) {
        self.listener = None;
    }

    fn peer_address(&self, socket: &Conn) -> Option<SocketAddr> {
        uring::peer_address(&socket.fd)
    }

    fn wait(
        &mut self,
        timeout: Option<Duration>,
        out: &mut Vec<Completion<Conn>>,
    ) -> io::Result<()> {
        if !self.spin(timeout)? {
            self.sleep(timeout)?;
        }
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
}

/// A handful: each lets one accepted client be connected when no descriptor is left.
const SPARES: usize = 4;

/// The one poll that is not a session's.
const WAKE: Owner = Owner::slot(u32::MAX);
const WAKE_TOKEN: Token = Token { op: Op::Poll, owner: WAKE };
