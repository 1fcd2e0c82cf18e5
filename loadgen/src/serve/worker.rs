//! One thread of `serve`: a ring, a listener for each backend, and the connections that came.
//!
//! At a backend with faults each connection is [`paced`] too; all others go by that.

mod buffers;
mod paced;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use uring::{
    BufferId, Completion, Errno, Op, Outcome, Owner, Ring, SetupError, Slots, Token, WakeSource,
};

use super::Mode;
use super::accepts::Accepts;
use super::connection_log::ConnectionLog;
use super::counters::OfThread;
use super::relay::{Actions, Piece, Relay, Rest};
use super::replies::Replies;
use super::service::{Answer, Personality, Service};
use crate::python_address;
use buffers::{pattern_piece, ring_config, take_pattern};
use paced::{Paced, SendPool, Timers};

/// A listener and who answers there.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) listener: OwnedFd,
    pub(super) personality: Arc<Personality>,
}

/// Everything that one thread owns. The ring comes first: it must be gone, and with it every
/// operation, before the sockets are closed.
#[derive(Debug)]
pub(super) struct Worker {
    ring: Ring,
    backends: Vec<Backend>,
    conns: Slots<Conn>,
    /// Connections whose receive found no buffer.
    starved: VecDeque<Owner>,
    /// Connections that we ended, and when we stop waiting for their peers; in order of time.
    lingering: VecDeque<(Instant, Owner)>,
    /// When paced connections are looked at.
    timers: Timers,
    /// Buffers for answers that were held.
    send_pool: SendPool,
    wake: WakeSource,
    log: ConnectionLog,
    /// Where answers are written before they go into a buffer.
    replies: Replies,
    /// Holds the pattern, where a backend sends it.
    pattern: Option<BufferId>,
    /// Which of the threads this is: its counters.
    thread: usize,
    /// Read once a turn.
    now: Instant,
}

#[derive(Debug)]
struct Backend {
    post: Post,
    accepts: Accepts,
    /// Nobody listens at the moment.
    refusing: bool,
    /// Holds the greeting, for answers that are owed when no received buffer is at hand.
    greeting: BufferId,
}

#[derive(Debug)]
struct Conn {
    socket: OwnedFd,
    backend: u32,
    service: Service,
    relay: Relay,
    /// Where the backend has faults.
    paced: Option<Box<Paced>>,
}

impl Worker {
    /// The worker with this index, for `posts`; must be called on the thread that runs it.
    pub(super) fn new(
        thread: usize,
        posts: Vec<Post>,
        wake: WakeSource,
        log_connections: bool,
    ) -> Result<Self, SetupError> {
        let bulk = posts.iter().any(|post| post.personality.mode.is_bulk());
        let faulty = posts.iter().any(|post| post.personality.rules.is_some());
        let mut ring = Ring::new(&ring_config(posts.len(), bulk, faulty))?;
        let pattern = bulk.then(|| take_pattern(&mut ring));
        let backends: Vec<_> =
            posts.into_iter().map(|post| Backend::new(post, &mut ring)).collect();
        let send_pool = SendPool::take(&mut ring);
        ring.poll_readable(&wake, Owner::slot(0));
        Ok(Self {
            ring,
            backends,
            conns: Slots::default(),
            starved: VecDeque::new(),
            lingering: VecDeque::new(),
            timers: Timers::default(),
            send_pool,
            wake,
            log: ConnectionLog::new(log_connections),
            replies: Replies::default(),
            pattern,
            thread,
            now: Instant::now(),
        })
    }

    /// Serves until `stop` is set and the wake source was woken.
    pub(super) fn run(mut self, stop: &AtomicBool) {
        let mut completions = Vec::with_capacity(COMPLETIONS_PER_TURN);
        while !stop.load(Ordering::Acquire) {
            self.refuse_or_listen();
            self.arm_accepts();
            // The time that this turn took is over too.
            let left = |at: Instant| at.saturating_duration_since(Instant::now());
            let timeout = self.next_deadline().map(left);
            if let Err(error) = self.ring.submit_and_wait(1, timeout) {
                eprintln!("loadgen: the kernel refuses the ring ({error}); this thread ends");
                return;
            }
            self.now = Instant::now();
            self.ring.completions(&mut completions);
            for completion in completions.drain(..) {
                self.on_completion(completion);
            }
            self.feed_starved();
            self.on_time();
        }
    }

    fn arm_accepts(&mut self) {
        for (index, backend) in (0..).zip(&mut self.backends) {
            if backend.refusing {
                continue;
            }
            for _ in 0..backend.accepts.arm_missing(self.now) {
                self.ring.accept(&backend.post.listener, Owner::slot(index));
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let resume = self.backends.iter().filter_map(|backend| backend.accepts.resume_at());
        let linger = self.lingering.front().map(|&(at, _)| at);
        let others = [linger, self.log.flush_at(), self.timers.next(), self.next_refusal()];
        resume.chain(others.into_iter().flatten()).min()
    }

    fn on_completion(&mut self, completion: Completion) {
        let Completion { token: Token { op, owner }, outcome } = completion;
        match op {
            Op::Accept => self.on_accept(owner.slot, outcome),
            Op::Recv => self.on_receive(owner, outcome),
            Op::Send => self.on_send(owner, outcome),
            Op::Poll => {
                self.wake.clear();
                self.ring.poll_readable(&self.wake, Owner::slot(0));
            }
            // Never asked for here, or the ring's own business.
            Op::Connect | Op::Nop | Op::Cancel | Op::Close => {}
        }
    }

    fn on_accept(&mut self, index: u32, outcome: Outcome) {
        let backend = &mut self.backends[index as usize];
        let failure = match &outcome {
            Outcome::Failed(errno) => Some(*errno),
            _ => None,
        };
        backend.accepts.on_ended(failure, self.now);
        let Outcome::Accepted(socket) = outcome else { return };
        let who = &*backend.post.personality;
        let Personality { mode, counters, rules, .. } = who;
        counters.of(self.thread).connections.add(1);
        self.log.print(self.now, || describe(who, &socket));
        let service = Service::new(*mode);
        let paced = rules.as_ref().map(|rules| Box::new(Paced::new(rules, self.now)));
        let sends = self.pattern.filter(|_| *mode == Mode::Source);
        let mut relay = Relay::default();
        relay.paused = paced.is_some();
        let is_paced = paced.is_some();
        let owner = self.conns.insert(Conn { socket, backend: index, service, relay, paced });
        self.act(owner, |conn| conn.relay.on_accepted());
        if is_paced {
            self.pace(owner);
        } else if let Some(pattern) = sends {
            self.act(owner, |conn| conn.relay.on_unasked(pattern_piece(pattern)));
        }
    }

    fn on_receive(&mut self, owner: Owner, outcome: Outcome) {
        match outcome {
            Outcome::Received { buffer, len, more } => self.on_bytes(owner, buffer, len, more),
            Outcome::EndOfStream if self.is_paced(owner) => self.on_paced_end(owner),
            Outcome::EndOfStream => {
                let greeting = self.greeting_owed(owner);
                self.act(owner, |conn| conn.relay.on_end_of_stream(greeting));
            }
            // It counts as receiving until a buffer is there again; see `feed_starved`.
            Outcome::Failed(Errno::ENOBUFS) => self.starved.push_back(owner),
            _ => self.act(owner, |conn| conn.relay.on_failed(Op::Recv)),
        }
    }

    fn on_bytes(&mut self, owner: Owner, buffer: BufferId, len: u32, more: bool) {
        let Some(conn) = self.conns.find(owner) else {
            self.ring.release(buffer);
            return;
        };
        if conn.relay.drops_input() || conn.paced.as_ref().is_some_and(|paced| paced.ends()) {
            self.ring.release(buffer);
            self.act(owner, |conn| conn.relay.on_dropped(len));
            return;
        }
        self.replies.output.clear();
        self.replies.now = self.now;
        let who = &self.backends[conn.backend as usize].post.personality;
        let counters = who.counters.of(self.thread);
        counters.bytes_in.add(len.into());
        let bytes = self.ring.bytes(buffer, 0..len);
        let answer = conn.service.on_bytes(who, bytes, more, &mut self.replies);
        counters.requests.add(std::mem::take(&mut self.replies.requests));
        if conn.paced.is_some() {
            return self.on_paced_answer(owner, buffer, Came { len, more }, answer);
        }
        let piece = match answer {
            Answer::Same => Some(Piece { buffer, range: 0..len, rest: Rest::Nothing, owned: true }),
            Answer::Written | Answer::WrittenAndLast => self.pack_answer(buffer),
            Answer::Source => {
                self.ring.release(buffer);
                self.pattern.map(pattern_piece)
            }
        };
        self.act(owner, |conn| conn.relay.on_answer(piece, answer == Answer::WrittenAndLast, more));
    }

    /// Puts the written answer into the buffer that its question came in.
    fn pack_answer(&mut self, buffer: BufferId) -> Option<Piece> {
        if self.replies.output.is_done() {
            self.ring.release(buffer);
            return None;
        }
        let filled = self.replies.output.fill(self.ring.bytes_mut(buffer));
        let rest = match self.replies.output.is_done() {
            true => Rest::Nothing,
            false => Rest::Refilled(Box::new(std::mem::take(&mut self.replies.output))),
        };
        let len = u32::try_from(filled).expect("a buffer's size is a u32");
        Some(Piece { buffer, range: 0..len, rest, owned: true })
    }

    fn greeting_owed(&mut self, owner: Owner) -> Option<Piece> {
        let conn = self.conns.find(owner).filter(|conn| conn.service.owes_greeting_at_end())?;
        let backend = &self.backends[conn.backend as usize];
        let len = u32::try_from(backend.post.personality.greeting.len()).ok()?;
        Some(Piece { buffer: backend.greeting, range: 0..len, rest: Rest::Nothing, owned: false })
    }

    fn on_send(&mut self, owner: Owner, outcome: Outcome) {
        match outcome {
            Outcome::Done(sent) => {
                if let Some(counters) = self.counters(owner) {
                    counters.bytes_out.add(sent.into());
                }
                self.act(owner, |conn| conn.relay.on_sent(sent));
            }
            _ => self.act(owner, |conn| conn.relay.on_failed(Op::Send)),
        }
        if self.is_paced(owner) {
            self.pace(owner);
        }
    }

    /// Gives each waiting receive one of the buffers that came back.
    fn feed_starved(&mut self) {
        let fed = self.starved.len().min(usize::from(self.ring.buffers_free()));
        for owner in self.starved.drain(..fed).collect::<Vec<_>>() {
            self.act(owner, |conn| conn.relay.on_buffer_free());
        }
    }

    fn on_time(&mut self) {
        self.log.flush(self.now);
        while let Some(&(at, owner)) = self.lingering.front()
            && at <= self.now
        {
            self.lingering.pop_front();
            self.act(owner, |conn| conn.relay.on_linger_over());
        }
        self.on_timers();
    }

    /// Hands an event to the connection, if it still is the one, and does what it says.
    fn act(&mut self, owner: Owner, event: impl FnOnce(&mut Conn) -> Actions) {
        let Some(conn) = self.conns.find(owner) else { return };
        let actions = event(conn);
        let ring = &mut self.ring;
        for buffer in actions.release.into_iter().flatten() {
            if !self.send_pool.give_back(buffer) {
                ring.release(buffer);
            }
        }
        if let Some((buffer, range)) = actions.send {
            if actions.refill {
                conn.relay.refill(ring.bytes_mut(buffer));
            }
            let rules = self.backends[conn.backend as usize].post.personality.rules.as_ref();
            let send = match (&mut conn.paced, rules) {
                (Some(paced), Some(rules)) => paced.stall(rules, self.now, (buffer, range)),
                _ => Some((buffer, range)),
            };
            if let Some((buffer, range)) = send {
                ring.send(&conn.socket, buffer, range, owner);
            }
        }
        if let Some(readiness) = actions.receive {
            ring.recv(&conn.socket, readiness, owner);
        }
        if actions.finish_writing {
            // ENOTCONN: the peer has reset the connection, which the receive will tell.
            let _ = uring::finish_writing(&conn.socket);
            self.lingering.push_back((self.now + LINGER, owner));
        }
        if let Some(op) = actions.cancel {
            ring.cancel(Token { op, owner });
        }
        if actions.close {
            self.close(owner);
        }
    }

    fn counters(&self, owner: Owner) -> Option<&OfThread> {
        let conn = self.conns.get(owner)?;
        Some(self.backends[conn.backend as usize].post.personality.counters.of(self.thread))
    }

    fn close(&mut self, owner: Owner) {
        if let Some(Conn { socket, backend, paced, .. }) = self.conns.remove(owner) {
            if paced.is_some_and(|paced| paced.resets) {
                uring::close_with_reset(socket);
            } else {
                self.ring.close(socket);
            }
            let who = &self.backends[backend as usize].post.personality;
            who.counters.of(self.thread).closed.add(1);
            self.backends.iter_mut().for_each(|backend| backend.accepts.on_closed());
        }
    }
}

impl Backend {
    fn new(post: Post, ring: &mut Ring) -> Self {
        let greeting = ring.take_reserved().expect("one buffer is reserved for each backend");
        let text = post.personality.greeting.as_bytes();
        ring.bytes_mut(greeting)[..text.len()].copy_from_slice(text);
        Self { post, accepts: Accepts::default(), refusing: false, greeting }
    }
}

/// What a receive brought.
#[derive(Clone, Copy, Debug)]
struct Came {
    len: u32,
    more: bool,
}

fn describe(who: &Personality, socket: &OwnedFd) -> String {
    let name = &who.name;
    match uring::peer_address(socket) {
        Some(peer) => format!("[{name}] Connection from {}", python_address(peer)),
        None if who.in_files => format!("[{name}] Connection from this machine"),
        None => format!("[{name}] Connection from a client that is gone already"),
    }
}

/// Each completion queues at most two operations, so a turn's fit the ring's 1024 entries.
const COMPLETIONS_PER_TURN: usize = 448;
/// A client that was told the end has this long to end too.
const LINGER: Duration = Duration::from_secs(2);
