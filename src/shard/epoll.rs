//! The driver for hosts without io_uring: each call is tried, and waits for epoll when it would block.
//!
//! What can be answered at once is, but the answer is told in the next wait, in the order in which
//! things happened: a failure of a connection is told once by the kernel, and who was told first must
//! be heard first.

mod buffers;
mod counters;
mod listener;
mod socket;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::epoll::{EpollEvent, EpollFlags};
use socket2::SockAddr;
use uring::{ConnectOptions, Errno, Op, Owner, Pipe, Poller, Slots, Spliced, Token, WakeSource};

use crate::core::BufferId;
use crate::core::bottleneck::Sample;
use crate::core::moment::Moment;
use crate::core::relay::Held;

use self::buffers::Buffers;
use self::counters::EpollCounters;
use self::listener::{Accepted, Listener};
use self::socket::{Input, Output, Watched};
use self::waiting::Waiting;

use super::busy_poll::BusyPoll;
use super::conn::{Conn, Spares};
use super::driver::{
    BATCH, Completion, Counts, Driver, HANDED_OVER, ListenerNumber, Outcome, Readiness, Wiring,
};
use super::listener::Sockets;
use super::listeners::Listeners;
use super::pipes::make_pipe;
use super::post::Post;

/// An epoll instance, the sockets that it watches, and what waits for them.
#[derive(Debug)]
pub struct EpollDriver {
    poller: Poller,
    listeners: Listeners<Listener>,
    wake: WakeSource,
    post: Arc<Post>,
    /// Which mailbox is ours.
    shard: usize,
    spares: Spares,
    sockets: Slots<Watched>,
    waiting: Waiting,
    buffers: Buffers,
    events: Vec<EpollEvent>,
    /// Answers that are not told yet, in the order in which they came.
    answers: VecDeque<Completion<Socket>>,
    /// Answers told since the last look at epoll.
    told: usize,
    /// Whether the last wait did without one.
    looked_away: bool,
    /// Whether the last look met a wake-up, which is no answer and ends a wait nevertheless.
    woken: bool,
    counters: EpollCounters,
    busy_poll: BusyPoll,
}

/// Names one connection in the driver's table.
#[derive(Debug, PartialEq, Eq)]
pub struct Socket(Owner);

/// The memory of a driver.
#[derive(Clone, Copy, Debug)]
pub struct EpollConfig {
    /// Sessions that there may be, with two sockets each.
    pub sessions: usize,
    /// Buffers at most; each takes memory from its first use on.
    pub buffers: u16,
    /// Bytes in each.
    pub buffer_bytes: u32,
    /// How long to look for events before sleeping.
    pub busy_poll: Option<Duration>,
}

impl EpollDriver {
    /// A driver that watches its wake-ups.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`, or `ENOSPC` beyond `fs.epoll.max_user_watches`.
    pub fn new(config: &EpollConfig, wiring: Wiring) -> io::Result<Self> {
        let Wiring { wake, post, shard } = wiring;
        let sessions = config.sessions.min(TABLE_SESSIONS_MAX);
        let poller = Poller::new()?;
        poller.add(&wake, EpollFlags::EPOLLIN, WAKE)?;
        let mut driver = Self {
            poller,
            listeners: Listeners::default(),
            wake,
            post,
            shard,
            spares: Spares::default(),
            sockets: Slots::with_capacity(2 * sessions),
            waiting: Waiting::with_capacity(sessions),
            buffers: Buffers::new(config.buffers, config.buffer_bytes),
            events: vec![EpollEvent::empty(); BATCH],
            answers: VecDeque::with_capacity(2 * BATCH),
            told: 0,
            looked_away: false,
            woken: false,
            counters: EpollCounters::default(),
            busy_poll: BusyPoll::new(config.busy_poll),
        };
        driver.spares.refill(&driver.wake);
        Ok(driver)
    }

    /// Waits for events, or only looks, and answers what they make possible.
    fn look(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.counters.waits += 1;
        (self.told, self.looked_away, self.woken) = (0, false, false);
        let count = match self.poller.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        for index in 0..count {
            let event = self.events[index];
            self.on_event(event.data(), event.events());
        }
        Ok(())
    }

    /// Looks again and again for `time`, without sleeping; whether something came.
    fn spin(&mut self, time: Duration) -> io::Result<bool> {
        let started_ns = uring::monotonic_ns();
        loop {
            self.look(Some(Duration::ZERO))?;
            let looked = Duration::from_nanos(uring::monotonic_ns() - started_ns);
            let came = self.woken || !self.answers.is_empty();
            if came || looked >= time {
                return Ok(came);
            }
        }
    }

    fn on_event(&mut self, data: u64, told: EpollFlags) {
        match data {
            WAKE => self.on_wake(),
            data => match number(data) {
                Some(number) => self.on_client(number, Listener::on_event),
                None => self.on_ready(place(data), told),
            },
        }
    }

    /// A wake-up: the shard looks itself whether it shall stop; here are its letters.
    fn on_wake(&mut self) {
        self.wake.clear();
        self.woken = true;
        while let Some((fd, listener)) = self.post.receive(self.shard) {
            let socket = Socket(self.sockets.insert(Watched::connected(Conn::accepted(fd))));
            let outcome = Outcome::HandedOver(socket, listener);
            self.answers.push_back(Completion { token: HANDED_OVER, outcome });
        }
    }

    fn on_client(
        &mut self,
        number: ListenerNumber,
        take: fn(&mut Listener, &Poller, &mut dyn FnMut(Accepted)),
    ) {
        let Self { listeners, poller, sockets, answers, counters, .. } = self;
        let Some(listener) = listeners.find(number) else { return counters.stale_event += 1 };
        take(listener, poller, &mut |Accepted { owner, result }| {
            let outcome = match result {
                Ok(fd) => {
                    let watched = Watched::connected(Conn::accepted(fd));
                    Outcome::Accepted(Socket(sockets.insert(watched)))
                }
                Err(errno) => Outcome::Failed(errno),
            };
            answers.push_back(Completion { token: Token { op: Op::Accept, owner }, outcome });
        });
    }

    fn on_ready(&mut self, place: Owner, told: EpollFlags) {
        let Self { sockets, buffers, answers, counters, .. } = self;
        let Some(watched) = sockets.find(place) else { return counters.stale_event += 1 };
        watched.note(told);
        answers.extend(watched.resume_input(buffers, counters));
        answers.extend(watched.resume_output(buffers, counters));
    }

    /// What comes from a socket: tried now, or answered after an event.
    fn begin_input(&mut self, socket: &Socket, input: Input) {
        let Self { sockets, buffers, counters, .. } = self;
        let watched = sockets.find(socket.0).expect(OPEN);
        match watched.begin_input(input, buffers, counters) {
            Some(answer) => self.answers.push_back(answer),
            None => self.wait_at(socket, input.token()),
        }
    }

    /// What goes to a socket, in the same way.
    fn begin_output(&mut self, socket: &Socket, output: Output) {
        let Self { sockets, buffers, counters, .. } = self;
        let watched = sockets.find(socket.0).expect(OPEN);
        match watched.begin_output(output, buffers, counters) {
            Some(answer) => self.answers.push_back(answer),
            None => self.wait_at(socket, output.token()),
        }
    }

    fn wait_at(&mut self, socket: &Socket, token: Token) {
        let watched = self.sockets.find(socket.0).expect(OPEN);
        match watched.watch(&self.poller, data(socket.0)) {
            Ok(()) => self.waiting.note(token, socket.0),
            Err(errno) => {
                watched.cancel(token);
                self.answers.push_back(Completion { token, outcome: Outcome::Failed(errno) });
            }
        }
    }

    fn conn(&self, socket: &Socket) -> &Conn {
        &self.sockets.get(socket.0).expect(OPEN).conn
    }
}

impl Driver for EpollDriver {
    type Socket = Socket;
    type Pipe = Pipe;
    type Listener = OwnedFd;

    fn now(&mut self) -> Moment {
        Moment::from_ns(uring::monotonic_ns())
    }

    fn listen(&mut self, listener: OwnedFd) -> io::Result<ListenerNumber> {
        let number = self.listeners.next()?;
        self.listeners.add(Listener::new(listener, &self.poller, listener_data(number))?)
    }

    fn claim(&self, sockets: &Sockets) -> Option<OwnedFd> {
        sockets.take(self.shard)
    }

    fn accept_now(&mut self, number: ListenerNumber) -> Option<Socket> {
        let fd = self.listeners.find(number)?.accept_now()?;
        Some(Socket(self.sockets.insert(Watched::connected(Conn::accepted(fd)))))
    }

    fn accept(&mut self, number: ListenerNumber, owner: Owner) {
        let listener = self.listeners.find(number).expect("accepts end before listening does");
        listener.want(owner);
        if listener.is_worth_a_try() {
            self.on_client(number, Listener::try_once);
        }
    }

    fn make_room(&mut self) -> usize {
        self.spares.make_room(&self.wake)
    }

    fn connect(
        &mut self,
        address: &SockAddr,
        options: &ConnectOptions,
        owner: Owner,
    ) -> Result<Socket, Errno> {
        let conn = Conn::connecting(self.spares.stream_socket(address, options)?, address);
        let connected = uring::try_connect(conn.fd(), address);
        if connected == Err(Errno::EINPROGRESS) {
            let socket = Socket(self.sockets.insert(Watched::connecting(conn)));
            self.begin_output(&socket, Output::Connect(owner));
            return Ok(socket);
        }
        let outcome = connected.map_or_else(Outcome::Failed, |()| Outcome::Done(0));
        self.answers.push_back(Completion { token: Token { op: Op::Connect, owner }, outcome });
        Ok(Socket(self.sockets.insert(Watched::connected(conn))))
    }

    /// Whether `ready` or not is known here: epoll tells.
    fn recv(&mut self, socket: &Socket, _ready: bool, owner: Owner) {
        self.begin_input(socket, Input::Recv(owner));
    }

    fn send(&mut self, socket: &mut Socket, held: Held, owner: Owner) {
        self.sockets.find(socket.0).expect(OPEN).conn.note_send();
        self.begin_output(socket, Output::Send(owner, held));
    }

    fn poll(&mut self, socket: &Socket, what: Readiness, owner: Owner) {
        match what {
            Readiness::Readable => self.begin_input(socket, Input::Poll(owner)),
            Readiness::Writable => self.begin_output(socket, Output::Poll(owner)),
        }
    }

    fn peek(&mut self, socket: &mut Socket, into: &mut [u8]) -> Result<usize, Errno> {
        self.sockets.find(socket.0).expect(OPEN).peek(into)
    }

    fn is_gone(&self, socket: &Socket) -> bool {
        self.sockets.get(socket.0).is_some_and(|watched| uring::is_gone(watched.conn.fd()))
    }

    fn has_delivered_all(&self, socket: &Socket) -> bool {
        self.sockets
            .get(socket.0)
            .is_some_and(|watched| uring::has_delivered_all(watched.conn.fd()))
    }

    fn take(&mut self, socket: &mut Socket, bytes: usize) -> Result<usize, Errno> {
        self.sockets.find(socket.0).expect(OPEN).take(bytes)
    }

    fn send_now(&mut self, socket: &mut Socket, bytes: &[u8]) -> Result<usize, Errno> {
        self.sockets.find(socket.0).expect(OPEN).send_now(bytes)
    }

    fn make_pipe(&mut self) -> Result<Pipe, Errno> {
        make_pipe()
    }

    fn fill(&mut self, pipe: &mut Pipe, source: &mut Socket) -> Result<Spliced, Errno> {
        pipe.fill(self.conn(source).fd(), pipe.capacity())
    }

    fn drain(&mut self, pipe: &mut Pipe, destination: &mut Socket) -> Result<Spliced, Errno> {
        let conn = &mut self.sockets.find(destination.0).expect(OPEN).conn;
        conn.note_send();
        pipe.drain(conn.fd())
    }

    fn held(&self, pipe: &Pipe) -> u32 {
        pipe.held()
    }

    fn is_connected_to_itself(&self, socket: &Socket) -> bool {
        uring::is_connected_to_itself(self.conn(socket).fd())
    }

    fn cancel(&mut self, target: Token) {
        let waited = if target.op == Op::Accept {
            self.listeners.iter_mut().any(|listener| listener.cancel(target.owner))
        } else {
            let place = self.waiting.place(target);
            self.sockets.find(place).is_some_and(|watched| watched.cancel(target))
        };
        if waited {
            let outcome = Outcome::Failed(Errno::ECANCELED);
            self.answers.push_back(Completion { token: target, outcome });
        } else {
            self.counters.cancel_missed += 1;
        }
    }

    fn release(&mut self, buffer: BufferId) {
        self.buffers.release(buffer);
    }

    fn buffers_free(&self) -> usize {
        self.buffers.free()
    }

    fn finish_writing(&mut self, socket: &Socket) {
        // ENOTCONN: the peer has reset the connection, which the next receive or send will tell.
        let _ = uring::finish_writing(self.conn(socket).fd());
    }

    fn close(&mut self, socket: Socket, reset: bool) {
        self.spares.refill(&self.wake);
        let watched = self.sockets.remove(socket.0).expect(OPEN);
        debug_assert!(!watched.is_busy(), "a socket is closed with something in flight");
        // Closed, it is watched no more (epoll(7)).
        let fd = watched.conn.into_fd();
        if reset {
            uring::close_with_reset(fd);
        }
    }

    fn hand_over(&mut self, socket: Socket, listener: u32, shard: usize) -> Result<(), Socket> {
        let mut watched = self.sockets.remove(socket.0).expect(OPEN);
        watched.unwatch(&self.poller);
        // Only what was accepted is handed over.
        self.post
            .send(shard, (watched.conn.into_fd(), listener))
            .map_err(|(fd, _)| Socket(self.sockets.insert(Watched::connected(Conn::accepted(fd)))))
    }

    fn stop_listening(&mut self, listener: ListenerNumber) {
        if let Some(listener) = self.listeners.remove(listener) {
            listener.close(&self.poller);
        }
    }

    fn peer_address(&self, socket: &Socket) -> Option<SocketAddr> {
        uring::peer_address(self.conn(socket).fd())
    }

    fn local_address(&self, socket: &Socket) -> Option<SocketAddr> {
        uring::local_address(self.conn(socket).fd()).ok()
    }

    fn original_destination(&self, socket: &Socket) -> Option<SocketAddr> {
        uring::original_destination(self.conn(socket).fd())
    }

    fn tcp_info(&self, socket: &Socket) -> Option<Sample> {
        self.conn(socket).tcp_info()
    }

    fn wait(
        &mut self,
        timeout: Option<Duration>,
        out: &mut Vec<Completion<Socket>>,
    ) -> io::Result<()> {
        if self.answers.is_empty() {
            let mut busy_poll = std::mem::take(&mut self.busy_poll);
            let waited = busy_poll.wait(self, timeout, Self::spin, Self::look);
            self.busy_poll = busy_poll;
            waited?;
        } else if self.looked_away && self.told >= LOOK_AFTER {
            self.look(Some(Duration::ZERO))?;
        } else {
            // What was received has been sent meanwhile: hearing of that first gives its buffers back.
            self.looked_away = true;
        }
        let count = self.answers.len().min(out.capacity() - out.len());
        out.extend(self.answers.drain(..count));
        self.told += count;
        Ok(())
    }

    fn counters(&self) -> Counts {
        self.counters.list()
    }
}

fn data(place: Owner) -> u64 {
    u64::from(place.generation) << 32 | u64::from(place.slot)
}

fn place(data: u64) -> Owner {
    let [slot, generation] = [data & u64::from(u32::MAX), data >> 32]
        .map(|half| u32::try_from(half).expect("32 bits of 64"));
    Owner { slot, generation, tag: 0 }
}

fn listener_data(number: ListenerNumber) -> u64 {
    LISTENERS | u64::from(number.0)
}

/// Of the listener whose event it is, if it is one's.
fn number(data: u64) -> Option<ListenerNumber> {
    u16::try_from(data.checked_sub(LISTENERS)?).ok().map(ListenerNumber)
}

const OPEN: &str = "a socket is in the table until it is closed";

/// Events that no socket can have: generations are shorter.
const WAKE: u64 = u64::MAX;
/// The first of as many as there are numbers of listeners.
const LISTENERS: u64 = (u32::MAX as u64) << 32;
const _: () = assert!(Owner::GENERATIONS as u64 <= LISTENERS >> 32);
const _: () = assert!(LISTENERS + (u16::MAX as u64) < WAKE);

/// The tables of so many sessions are laid out at the start, without touching the memory: as those of
/// the shard.
const TABLE_SESSIONS_MAX: usize = 1 << 16;

/// Answers are told so often without a look at epoll. A look costs less than a tenth of an answer, so
/// after 16 it is hardly seen, and a stream that always has more keeps others waiting for no longer
/// than eight of its buffers take.
const LOOK_AFTER: usize = 16;
