//! The seeded stand-in for the kernel: holds what is in flight, decides when and how each
//! operation ends, and panics when the shard does what would be a fault with a real kernel.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockAddr;
use uring::{ConnectOptions, Errno, Op, Owner, Spliced, Token};

use crate::core::BufferId;
use crate::core::bottleneck::Sample;
use crate::core::moment::Moment;
use crate::core::relay::Held;
use crate::shard::driver::{Completion, Driver, HANDED_OVER, ListenerNumber, Outcome, Readiness};
use crate::shard::listener::Sockets;
use crate::shard::listeners::Listeners;
use crate::shard::shared::{Shared, Stopping};

use super::buffers::Buffers;
use super::control::Control;
use super::faults::Fault;
use super::ledger::Ledger;
use super::outcomes::{OUTCOMES, kind_and_value};
use super::pipes::SimPipe;
use super::plan::{Answer, Plan};
use super::tcp::End;
use super::world::World;

mod perform;
mod tests;

/// The kernel of one run, and the world behind it.
#[derive(Debug)]
pub(super) struct SimDriver {
    pub(super) world: World,
    pub(super) ledger: Ledger,
    pub(super) buffers: Buffers,
    pipe_capacity: usize,
    /// The shard next door has fewer.
    next_door_sessions: u32,
    shared: Arc<Shared>,
    /// Where in the world each listens.
    listeners: Listeners<usize>,
    pub(super) control: Control,
    in_flight: Vec<InFlight>,
    /// Connections given to the shard next door, which gives each back some time.
    next_door: Vec<(u64, SimSocket, u32)>,
    /// Done, and not yet told. Per socket they are told in the order in which they were done.
    ready: Vec<Ready>,
    /// What the last wait told; the shard may cancel it, not having looked yet.
    told: Vec<Token>,
    late_ns_max: u64,
    tick_ns_max: u64,
    /// When it was asked to stop, and to stop at once.
    told_to_stop_at: [Option<u64>; 2],
    /// Since when an accept would fail again for want of descriptors, as far as the shard knows.
    exhausted_since: Option<u64>,
    /// Whether a socket was closed since the last accept, so that there is a descriptor again.
    closed_since: bool,
    pub(super) turns: u64,
    /// Turns in a row that brought nothing while time stood still.
    fruitless_turns: u64,
    /// Completions told, by kind, as in [`OUTCOMES`].
    pub(super) outcomes: [u64; OUTCOMES.len()],
    /// Of everything that was told, and when: equal runs have equal digests.
    pub(super) digest: u64,
    /// Prints every operation and completion.
    verbose: bool,
}

/// An address to listen on that nobody else has.
#[derive(Debug)]
pub(in crate::shard) struct SimListener {
    backlog: usize,
}

/// The balancer's end of a connection.
#[derive(Debug)]
pub(in crate::shard) struct SimSocket {
    pub(super) link: usize,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    token: Token,
    what: What,
    not_before: u64,
    cancelled: bool,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Accept {
        backlog: usize,
    },
    Connect {
        link: usize,
        answer: Answer,
    },
    Recv {
        link: usize,
        /// Looks for a buffer at once, even if there is nothing to read.
        eager: bool,
    },
    Send {
        link: usize,
        held: Held,
    },
    Poll {
        link: usize,
        readiness: Readiness,
    },
}

#[derive(Debug)]
struct Ready {
    what: What,
    cancelled: bool,
    completion: Completion<SimSocket>,
}

impl What {
    fn link(self) -> Option<usize> {
        match self {
            Self::Accept { .. } => None,
            Self::Connect { link, .. }
            | Self::Recv { link, .. }
            | Self::Send { link, .. }
            | Self::Poll { link, .. } => Some(link),
        }
    }
}

impl SimDriver {
    pub(super) fn new(plan: &Plan, shared: Arc<Shared>, rng: fastrand::Rng, verbose: bool) -> Self {
        let mut world = World::new(plan, rng);
        let control = Control::new(plan, Arc::clone(&shared), &mut world);
        Self {
            world,
            control,
            ledger: Ledger::default(),
            buffers: Buffers::new(plan.buffers, plan.buffer_size),
            pipe_capacity: plan.pipe_capacity,
            next_door_sessions: plan.next_door_sessions,
            shared,
            listeners: Listeners::default(),
            in_flight: Vec::new(),
            next_door: Vec::new(),
            ready: Vec::new(),
            told: Vec::new(),
            late_ns_max: plan.late_ns_max,
            tick_ns_max: plan.tick_ns_max,
            told_to_stop_at: [None; 2],
            exhausted_since: None,
            closed_since: false,
            turns: 0,
            fruitless_turns: 0,
            outcomes: [0; OUTCOMES.len()],
            digest: 0,
            verbose,
        }
    }

    /// Whether the shard has asked for nothing that is not answered.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.ready.is_empty()
    }

    /// The shard next door ends, too.
    pub(super) fn close_next_door(&mut self) {
        for (_, socket, _) in std::mem::take(&mut self.next_door) {
            self.close(socket, true);
        }
    }

    /// How long it took to stop when that was asked for, of which the longest delay of an operation
    /// is no fault of the shard's.
    pub(super) fn stopped_after_ns(&self, how: Stopping) -> Option<u64> {
        let asked_at = self.told_to_stop_at[usize::from(how == Stopping::Cut)]?;
        Some((self.world.now - asked_at).saturating_sub(2 * self.late_ns_max))
    }

    fn start(&mut self, token: Token, what: What) {
        if self.verbose {
            eprintln!("{:>15} start {:?} {:?} {what:?}", self.world.now, token.op, token.owner);
        }
        let twice = self.pending().any(|(other, _)| other == token);
        assert!(!twice, "{token:?} is in flight already");
        let same_way = self.pending().find(|(other, other_what)| {
            (other.op, other.owner) == (token.op, token.owner)
                && what.link().is_some()
                && other_what.link() == what.link()
        });
        assert!(same_way.is_none(), "{what:?} while {same_way:?} is in flight");
        let not_before = self.world.now + self.delay();
        self.in_flight.push(InFlight { token, what, not_before, cancelled: false });
    }

    /// What the shard waits for, done or not.
    fn pending(&self) -> impl Iterator<Item = (Token, What)> {
        let ready = self.ready.iter().map(|ready| (ready.completion.token, ready.what));
        self.in_flight.iter().map(|op| (op.token, op.what)).chain(ready)
    }

    fn assert_idle(&self, op: Op, link: usize) {
        let pending = self.pending().find(|(token, what)| {
            (token.op == op || token.op == Op::Poll) && what.link() == Some(link)
        });
        assert!(pending.is_none(), "{op:?} of link {link} overtakes {pending:?}");
    }

    fn strike(&mut self, fault: Fault) -> bool {
        self.world.faults.strike(fault, &mut self.world.rng)
    }

    fn delay(&mut self) -> u64 {
        if self.strike(Fault::Late) { self.world.rng.u64(..self.late_ns_max) } else { 0 }
    }

    // Telling -----------------------------------------------------------------------------------

    /// Tells some of what is done, in an order that differs between sockets and not within one.
    fn tell(&mut self, out: &mut Vec<Completion<SimSocket>>) {
        let most = self.ready.len().min(out.capacity() - out.len());
        self.told.clear();
        if most == 0 {
            return;
        }
        let count =
            if self.strike(Fault::HeldBack) { self.world.rng.usize(1..=most) } else { most };
        for _ in 0..count {
            let any = self.world.rng.usize(..self.ready.len());
            let link = self.ready[any].what.link();
            let first =
                self.ready.iter().position(|ready| link.is_some() && ready.what.link() == link);
            let ready = self.ready.remove(first.unwrap_or(any));
            self.note(&ready);
            self.told.push(ready.completion.token);
            out.push(ready.completion);
        }
    }

    fn note(&mut self, ready: &Ready) {
        let Completion { token, outcome } = &ready.completion;
        if self.verbose {
            eprintln!("{:>15} {:?} {:?} {outcome:?}", self.world.now, token.op, token.owner);
        }
        if let What::Send { held, .. } = ready.what {
            self.buffers.end_send(held);
        }
        let failed = matches!(outcome, Outcome::Failed(_)) && !ready.cancelled;
        if let Outcome::Accepted(SimSocket { link }) = outcome {
            self.ledger.on_accepted(&self.world, *link);
        }
        match ready.what {
            What::Recv { link, .. } | What::Send { link, .. } => {
                let starved = matches!(outcome, Outcome::NoBuffer);
                self.ledger.on_told(&self.world, link, token.op, failed, starved);
            }
            What::Accept { .. } => {
                if let Outcome::Failed(errno) = outcome
                    && EXHAUSTED.contains(errno)
                {
                    self.exhausted_since.get_or_insert(self.world.now);
                }
            }
            What::Connect { link, .. } => {
                if let Outcome::Failed(_) = outcome {
                    self.ledger.on_connect_failed(link);
                }
            }
            What::Poll { .. } => {}
        }
        let (kind, value) = kind_and_value(token.op, outcome);
        self.outcomes[kind] += 1;
        for part in [token.pack(), kind as u64, value, self.world.now] {
            self.digest = (self.digest ^ part).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
    }

    /// The next moment at which something can happen by itself.
    fn next_at(&self) -> Option<u64> {
        let late = self.in_flight.iter().map(|op| op.not_before);
        let next_door = self.next_door.iter().map(|&(at, ..)| at);
        let of_itself = late.chain(next_door).chain(self.control.next_at());
        of_itself.filter(|&at| at > self.world.now).chain(self.world.next_at()).min()
    }

    fn only_accepts(&self) -> bool {
        self.pending().all(|(token, _)| token.op == Op::Accept)
    }

    fn watch_for_a_spin(&mut self, since: u64, told: usize) {
        self.turns += 1;
        assert!(self.turns < TURNS_MAX, "livelock: {TURNS_MAX} turns");
        let fruitless = told == 0 && since == self.world.now;
        self.fruitless_turns = if fruitless { self.fruitless_turns + 1 } else { 0 };
        assert!(self.fruitless_turns < FRUITLESS_TURNS_MAX, "spin: nothing happens, over and over");
    }
}

impl Driver for SimDriver {
    type Socket = SimSocket;
    type Pipe = SimPipe;
    type Listener = SimListener;

    fn now(&mut self) -> Moment {
        Moment::from_ns(self.world.now)
    }

    fn listen(&mut self, listener: SimListener) -> io::Result<ListenerNumber> {
        self.listeners.add(listener.backlog)
    }

    fn claim(&self, sockets: &Sockets) -> Option<SimListener> {
        let backlog = self.control.backlog_of(sockets)?;
        let is_taken = self.listeners.iter().any(|&taken| taken == backlog);
        (!is_taken).then_some(SimListener { backlog })
    }

    fn accept_now(&mut self, listener: ListenerNumber) -> Option<SimSocket> {
        let link = self.world.accept(*self.listeners.at(listener))?;
        self.ledger.on_accepted(&self.world, link);
        Some(SimSocket { link })
    }

    fn accept(&mut self, listener: ListenerNumber, owner: Owner) {
        let excused = std::mem::take(&mut self.closed_since);
        if let Some(since) = self.exhausted_since.take().filter(|_| !excused) {
            let pause_ns = self.world.now - since;
            assert!(pause_ns >= PAUSE_NS_MIN, "accepting goes on {pause_ns} ns after it failed");
        }
        let backlog = *self.listeners.at(listener);
        self.start(Token { op: Op::Accept, owner }, What::Accept { backlog });
    }

    fn make_room(&mut self) -> usize {
        self.world.rng.usize(..3)
    }

    fn connect(
        &mut self,
        address: &SockAddr,
        _: &ConnectOptions,
        owner: Owner,
    ) -> Result<SimSocket, Errno> {
        let address = &address.as_socket().expect("every backend here has such an address");
        self.ledger.on_attempt(owner, address, &self.shared);
        if self.strike(Fault::ConnectImpossible) {
            let errnos = [Errno::EMFILE, Errno::ENFILE, Errno::EADDRNOTAVAIL];
            let errno = errnos[self.world.rng.usize(..errnos.len())];
            self.ledger.on_no_socket(owner, errno);
            return Err(errno);
        }
        let (link, mut answer) = self.world.dial(address);
        if self.strike(Fault::ConnectRefused) {
            answer = Answer::Refuse;
        }
        if self.strike(Fault::ConnectLost) {
            answer = Answer::Lose;
        }
        self.ledger.on_connect(owner, link);
        self.start(Token { op: Op::Connect, owner }, What::Connect { link, answer });
        Ok(SimSocket { link })
    }

    fn recv(&mut self, socket: &SimSocket, ready: bool, owner: Owner) {
        self.ledger.on_recv(&mut self.world, owner, socket.link);
        self.start(Token { op: Op::Recv, owner }, What::Recv { link: socket.link, eager: ready });
    }

    fn send(&mut self, socket: &mut SimSocket, held: Held, owner: Owner) {
        let has_finished = self.world.links[socket.link].conn.has_finished(End::Balancer);
        assert!(!has_finished, "send after finish_writing on {socket:?}");
        self.buffers.begin_send(held);
        self.start(Token { op: Op::Send, owner }, What::Send { link: socket.link, held });
    }

    fn poll(&mut self, socket: &SimSocket, readiness: Readiness, owner: Owner) {
        let link = socket.link;
        // A client may be waited for before its session has a backend.
        if readiness == Readiness::Readable && self.ledger.has_backend(owner) {
            self.ledger.on_recv(&mut self.world, owner, link);
        }
        self.start(Token { op: Op::Poll, owner }, What::Poll { link, readiness });
    }

    fn peek(&mut self, socket: &mut SimSocket, into: &mut [u8]) -> Result<usize, Errno> {
        self.assert_idle(Op::Recv, socket.link);
        self.perform_peek(socket.link, into)
    }

    fn is_gone(&self, socket: &SimSocket) -> bool {
        self.world.links[socket.link].conn.was_reset(End::Balancer)
    }

    fn has_delivered_all(&self, socket: &SimSocket) -> bool {
        self.world.links[socket.link].conn.has_read_all(End::Peer)
    }

    fn take(&mut self, socket: &mut SimSocket, bytes: usize) -> Result<usize, Errno> {
        self.assert_idle(Op::Recv, socket.link);
        self.perform_take(socket.link, bytes)
    }

    fn send_now(&mut self, socket: &mut SimSocket, bytes: &[u8]) -> Result<usize, Errno> {
        self.assert_idle(Op::Send, socket.link);
        let sent = self.perform_send_now(socket.link, bytes);
        self.ledger.on_said(
            &self.world,
            socket.link,
            &bytes[..sent.unwrap_or(0)],
            sent == Ok(bytes.len()),
        );
        sent
    }

    fn make_pipe(&mut self) -> Result<SimPipe, Errno> {
        if self.strike(Fault::NoPipe) {
            return Err(if self.world.rng.bool() { Errno::EMFILE } else { Errno::EPERM });
        }
        Ok(SimPipe::new(self.pipe_capacity))
    }

    fn fill(&mut self, pipe: &mut SimPipe, source: &mut SimSocket) -> Result<Spliced, Errno> {
        self.perform_fill(pipe, source.link)
    }

    fn drain(&mut self, pipe: &mut SimPipe, to: &mut SimSocket) -> Result<Spliced, Errno> {
        self.perform_drain(pipe, to.link)
    }

    fn held(&self, pipe: &SimPipe) -> u32 {
        u32::try_from(pipe.bytes.len()).expect("pipes are small")
    }

    fn is_connected_to_itself(&self, _: &Self::Socket) -> bool {
        false
    }

    fn cancel(&mut self, target: Token) {
        if self.verbose {
            eprintln!("{:>15} cancel {:?} {:?}", self.world.now, target.op, target.owner);
        }
        let pending = self.pending().find(|(token, _)| *token == target);
        let Some((_, what)) = pending else {
            assert!(
                self.told.contains(&target),
                "{target:?} is cancelled, and was never asked for"
            );
            return;
        };
        if let Some(link) = what.link() {
            self.ledger.on_ending(&self.world, link);
        }
        let delay = self.delay();
        for op in self.in_flight.iter_mut().filter(|op| op.token == target && !op.cancelled) {
            (op.cancelled, op.not_before) = (true, self.world.now + delay);
        }
        for ready in self.ready.iter_mut().filter(|ready| ready.completion.token == target) {
            ready.cancelled = true;
        }
    }

    fn release(&mut self, buffer: BufferId) {
        self.buffers.release(buffer);
    }

    fn buffers_free(&self) -> usize {
        self.buffers.free()
    }

    fn finish_writing(&mut self, socket: &SimSocket) {
        self.ledger.on_finish_writing(&self.world, socket.link);
        let sending = self
            .pending()
            .find(|(token, what)| token.op == Op::Send && what.link() == Some(socket.link));
        assert!(sending.is_none(), "finish_writing on {socket:?} overtakes {sending:?}");
        self.world.links[socket.link].conn.finish(End::Balancer);
    }

    fn close(&mut self, socket: SimSocket, reset: bool) {
        if self.verbose {
            eprintln!("{:>15} close {socket:?} reset {reset}", self.world.now);
        }
        let pending = self.pending().find(|(_, what)| what.link() == Some(socket.link));
        assert!(pending.is_none(), "{socket:?} is closed while {pending:?} is in flight");
        self.closed_since = true;
        self.ledger.on_close(&self.world, &self.shared, socket.link, reset);
        self.world.close(socket.link, reset);
    }

    fn hand_over(
        &mut self,
        socket: SimSocket,
        listener: u32,
        shard: usize,
    ) -> Result<(), SimSocket> {
        assert_eq!(shard, NEXT_DOOR, "only that shard is there");
        if self.next_door.len() == NEXT_DOOR_MAX {
            return Err(socket);
        }
        let back_at = self.world.now + self.world.rng.u64(..self.tick_ns_max);
        self.next_door.push((back_at, socket, listener));
        Ok(())
    }

    fn stop_listening(&mut self, listener: ListenerNumber) {
        let Some(closed) = self.listeners.remove(listener) else { return };
        let mut pending = self.pending();
        let accept = pending
            .find(|(_, what)| matches!(what, What::Accept { backlog } if *backlog == closed));
        assert!(accept.is_none(), "a listener is closed while {accept:?} is in flight");
        drop(pending);
        self.world.stop_listening(closed);
    }

    fn peer_address(&self, socket: &SimSocket) -> Option<SocketAddr> {
        self.world.links[socket.link].ends.map(|(peer, _)| peer)
    }

    fn local_address(&self, socket: &SimSocket) -> Option<SocketAddr> {
        self.world.links[socket.link].ends.map(|(_, own)| own)
    }

    fn original_destination(&self, _: &SimSocket) -> Option<SocketAddr> {
        None
    }

    /// Times that grow as the clock does.
    fn tcp_info(&self, socket: &SimSocket) -> Option<Sample> {
        self.world.links[socket.link].ends?;
        let us = self.world.now / 1000;
        let (rwnd_limited_us, sndbuf_limited_us) = (us / 2, us / 3);
        Some(Sample { busy_us: us, rwnd_limited_us, sndbuf_limited_us, ..Sample::default() })
    }

    fn wait(
        &mut self,
        timeout: Option<Duration>,
        out: &mut Vec<Completion<SimSocket>>,
    ) -> io::Result<()> {
        let since = self.world.now;
        let deadline = timeout
            .filter(|timeout| *timeout < FOR_EVER)
            .map(|timeout| since + u64::try_from(timeout.as_nanos()).expect("less than for ever"));
        let starving = self.buffers.free() > 0 && self.ledger.is_anybody_starved();
        let short = timeout.is_some_and(|timeout| timeout <= Duration::from_millis(1));
        assert!(!starving || short, "a receive waits for a free buffer");
        let stopping = self.shared.stopping();
        let told = &mut self.told_to_stop_at[usize::from(stopping == Stopping::Cut)];
        if stopping != Stopping::No && told.is_none() {
            // A wake-up; the shard looks itself what it is about.
            *told = Some(since);
            self.watch_for_a_spin(since, 1);
            return Ok(());
        }
        self.shared.counters[NEXT_DOOR].sessions.set(self.world.rng.u32(..self.next_door_sessions));
        loop {
            let mut progress = self.world.step();
            progress |= self.control.step(&mut self.world);
            self.execute_all();
            let back = self.next_door.extract_if(.., |&mut (at, ..)| at <= self.world.now);
            out.extend(back.map(|(_, socket, listener)| Completion {
                token: HANDED_OVER,
                outcome: Outcome::HandedOver(socket, listener),
            }));
            if !out.is_empty() || !self.ready.is_empty() {
                self.world.now += self.world.rng.u64(..self.tick_ns_max);
                self.tell(out);
                break;
            }
            let is_over = deadline.is_some_and(|deadline| deadline <= self.world.now);
            if is_over || self.shared.bells.hear() || self.strike(Fault::EmptyWait) {
                break;
            }
            if !progress {
                let Some(next) = deadline.into_iter().chain(self.next_at()).min() else {
                    // Only the world knows that nobody will come any more.
                    let is_over = self.world.clients_are_through() && self.only_accepts();
                    assert!(is_over, "deadlock: nothing can happen, and nobody set a timer");
                    break;
                };
                self.world.now = next;
            }
        }
        self.watch_for_a_spin(since, out.len());
        Ok(())
    }
}

/// The other shard, of which only the number of its sessions is simulated.
const NEXT_DOOR: usize = 1;

/// Connections that it takes at a time.
pub(super) const NEXT_DOOR_MAX: usize = 4;

/// A timeout of more is none: the shard says so when it waits for nothing but the last completions.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What an accept fails with when there is no descriptor or memory for a connection (accept(2)).
const EXHAUSTED: [Errno; 4] = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];

/// Without a pause, an accept that finds no descriptor would spin (the connection stays queued).
const PAUSE_NS_MIN: u64 = 10_000_000;

/// Ten times what the longest of the first ten thousand runs takes.
const TURNS_MAX: u64 = 1_000_000;

/// More than any chain of empty waits, which strike with at most three in ten.
const FRUITLESS_TURNS_MAX: u64 = 1000;
