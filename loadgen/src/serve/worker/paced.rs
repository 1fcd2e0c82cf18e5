//! Connections of backends with faults: what leaves later, is read later, or ends otherwise.
//!
//! [`Worker::pace`] looks at one connection and does everything that is due; it is called after each
//! event there and when a timer says so, and doing it once too often does nothing.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::{Shutdown, shutdown};
use uring::{BufferId, Owner, Ring};

use super::super::held::{Queue, Then};
use super::super::relay::{Piece, Rest};
use super::super::replies::Fate;
use super::super::rules::Rules;
use super::super::service::{Answer, Personality};
use super::super::{BACKLOG, Mode};
use super::buffers::pattern_piece;
use super::{Came, Worker};

/// What a connection of a backend with faults has beside the others.
#[derive(Debug)]
pub(super) struct Paced {
    queue: Queue,
    /// Nothing is read before; at first that is when the connection is noticed at all.
    read_at: Instant,
    /// A source has begun to send.
    started: bool,
    /// A send of bulk that waits for the end of a stall.
    stalled: Option<(BufferId, Range<u32>)>,
    /// It is in the pool's list.
    waits_for_buffer: bool,
    /// It ends with a reset, after what is being sent.
    pub(super) resets: bool,
    /// The timer that was set last.
    timer_at: Option<Instant>,
}

impl Paced {
    /// A connection that is accepted now.
    pub(super) fn new(rules: &Rules, now: Instant) -> Self {
        Self {
            queue: Queue::default(),
            read_at: now + rules.on_connection(now),
            started: false,
            stalled: None,
            waits_for_buffer: false,
            resets: false,
            timer_at: None,
        }
    }

    /// Whether nothing more is answered.
    pub(super) fn ends(&self) -> bool {
        self.queue.ends() || self.resets
    }

    /// Keeps a send that must not leave before the end of a stall; gives back one that may.
    pub(super) fn stall(
        &mut self,
        rules: &Rules,
        now: Instant,
        send: (BufferId, Range<u32>),
    ) -> Option<(BufferId, Range<u32>)> {
        if rules.release_at(now) == now {
            return Some(send);
        }
        self.stalled = Some(send);
        None
    }

    fn must_pause(&self, now: Instant) -> bool {
        self.read_at > now || self.queue.is_full()
    }

    /// Takes replies that are due, as many as fit into `memory` or begin there, up to an end.
    fn take_due(&mut self, now: Instant, memory: &mut [u8]) -> Batch {
        let mut batch = Batch { len: 0, rest: Rest::Nothing, then: Then::Stay };
        let mut filled = 0;
        while batch.then == Then::Stay
            && (filled < memory.len() || self.queue.ends_next())
            && let Some(mut held) = self.queue.pop_due(now)
        {
            filled += held.output.fill(&mut memory[filled..]);
            batch.then = held.then;
            if !held.output.is_done() {
                batch.rest = Rest::Refilled(Box::new(held.output));
                break;
            }
        }
        batch.len = u32::try_from(filled).expect("a buffer's size is a u32");
        batch
    }
}

/// What one buffer takes of the replies that are due, and what follows.
#[derive(Debug)]
struct Batch {
    len: u32,
    rest: Rest,
    then: Then,
}

/// When connections are to be looked at. Timers of connections that are gone, or that were set
/// before an earlier one, find nothing to do.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, u32, u32)>>);

impl Timers {
    fn set(&mut self, at: Instant, owner: Owner) {
        self.0.push(Reverse((at, owner.slot, owner.generation)));
    }

    /// The next one.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, ..))| *at)
    }

    fn pop_due(&mut self, now: Instant) -> Option<(Instant, Owner)> {
        self.next().filter(|&at| at <= now)?;
        let Reverse((at, slot, generation)) = self.0.pop()?;
        Some((at, Owner { slot, generation, tag: 0 }))
    }
}

/// Buffers for answers that were held, and connections that wait for one.
#[derive(Debug)]
pub(super) struct SendPool {
    free: Vec<BufferId>,
    /// All of the pool, ascending.
    all: Vec<BufferId>,
    waiting: VecDeque<Owner>,
}

impl SendPool {
    /// Everything that is left of the reserved buffers.
    pub(super) fn take(ring: &mut Ring) -> Self {
        let mut all: Vec<BufferId> = std::iter::from_fn(|| ring.take_reserved()).collect();
        all.sort_by_key(|buffer| buffer.0);
        Self { free: all.clone(), all, waiting: VecDeque::new() }
    }

    /// `owner` gets the next buffer that comes back.
    fn wait(&mut self, paced: &mut Paced, owner: Owner) {
        if !std::mem::replace(&mut paced.waits_for_buffer, true) {
            self.waiting.push_back(owner);
        }
    }

    /// Takes `buffer` back, if it is one of the pool's.
    pub(super) fn give_back(&mut self, buffer: BufferId) -> bool {
        let is_ours = self.all.binary_search_by_key(&buffer.0, |one| one.0).is_ok();
        if is_ours {
            self.free.push(buffer);
        }
        is_ours
    }
}

impl Worker {
    pub(super) fn is_paced(&self, owner: Owner) -> bool {
        self.conns.get(owner).is_some_and(|conn| conn.paced.is_some())
    }

    /// A receive into `buffer` was answered with `answer`. Everything that was said is held, if only
    /// until this turn is over, so that it stays in order.
    pub(super) fn on_paced_answer(
        &mut self,
        owner: Owner,
        buffer: BufferId,
        came: Came,
        answer: Answer,
    ) {
        let Some(who) = self.who(owner) else { return };
        if answer == Answer::Same {
            self.replies.output.push(self.ring.bytes(buffer, 0..came.len));
        }
        self.ring.release(buffer);
        let pause = who.rules.as_ref().map_or(Duration::ZERO, |rules| rules.read_pause(came.len));
        let pattern = self.pattern.filter(|_| answer == Answer::Source).map(pattern_piece);
        self.hold(owner, &who, answer == Answer::WrittenAndLast);
        let now = self.now;
        self.act(owner, |conn| {
            if let Some(paced) = &mut conn.paced {
                paced.read_at = paced.read_at.max(now) + pause;
                conn.relay.paused = paced.must_pause(now);
            }
            conn.relay.on_answer(pattern, false, came.more)
        });
        self.pace(owner);
    }

    /// The client has finished writing.
    pub(super) fn on_paced_end(&mut self, owner: Owner) {
        let (Some(who), Some(conn)) = (self.who(owner), self.conns.find(owner)) else { return };
        let heard = !conn.relay.drops_input() && !conn.paced.as_ref().is_some_and(|one| one.ends());
        if heard {
            self.replies.output.clear();
            self.replies.now = self.now;
            conn.service.on_end(&who, &mut self.replies);
            let counters = who.counters.of(self.thread);
            counters.requests.add(std::mem::take(&mut self.replies.requests));
            self.hold(owner, &who, false);
        }
        self.act(owner, |conn| conn.relay.on_end_of_stream(None));
        self.pace(owner);
    }

    /// Queues what the service said.
    fn hold(&mut self, owner: Owner, who: &Personality, last: bool) {
        if !self.replies.output.is_done() {
            // Said beside any request; a stall holds it too.
            self.replies.end(who, Fate::FAIR);
        }
        let Some(conn) = self.conns.find(owner) else { return };
        let Some(paced) = &mut conn.paced else { return };
        self.replies.held.drain(..).for_each(|held| paced.queue.push(held));
        if last {
            paced.queue.finish(self.now);
        }
        conn.relay.owed = !paced.queue.is_empty();
    }

    /// Does what is due on one connection, and sets its timer.
    pub(super) fn pace(&mut self, owner: Owner) {
        let Some(who) = self.who(owner) else { return };
        self.send_stalled(owner, &who);
        self.start_source(owner, &who);
        self.hand_over(owner);
        let now = self.now;
        let Some(conn) = self.conns.find(owner) else { return };
        let Some(paced) = &conn.paced else { return };
        if conn.relay.paused && !paced.must_pause(now) {
            self.act(owner, |conn| conn.relay.on_resumed());
        }
        self.set_timer(owner, &who);
    }

    fn send_stalled(&mut self, owner: Owner, who: &Personality) {
        let now = self.now;
        let over = who.rules.as_ref().is_none_or(|rules| rules.stall_end(now) == now);
        let Some(conn) = self.conns.find(owner) else { return };
        let Some(paced) = conn.paced.as_mut().filter(|_| over) else { return };
        if let Some((buffer, range)) = paced.stalled.take() {
            self.ring.send(&conn.socket, buffer, range, owner);
        }
    }

    fn start_source(&mut self, owner: Owner, who: &Personality) {
        let Some(pattern) = self.pattern.filter(|_| who.mode == Mode::Source) else { return };
        let now = self.now;
        let Some(conn) = self.conns.find(owner) else { return };
        let Some(paced) = &mut conn.paced else { return };
        if !paced.started && paced.read_at <= now {
            paced.started = true;
            self.act(owner, |conn| conn.relay.on_unasked(pattern_piece(pattern)));
        }
    }

    /// Hands replies that are due to the relay, one buffer full at a time.
    fn hand_over(&mut self, owner: Owner) {
        while let Some(conn) = self.conns.find(owner)
            && let Some(paced) = &mut conn.paced
            && !conn.relay.is_sending()
            && !conn.relay.has_failed()
        {
            if paced.resets {
                self.act(owner, |conn| conn.relay.on_abort());
                return;
            }
            if paced.queue.due().is_none_or(|due| due > self.now) {
                return;
            }
            let buffer = match paced.queue.ends_next() {
                true => None,
                false => match self.send_pool.free.pop() {
                    Some(buffer) => Some(buffer),
                    None => return self.send_pool.wait(paced, owner),
                },
            };
            let memory = buffer.map(|buffer| self.ring.bytes_mut(buffer)).unwrap_or_default();
            let batch = paced.take_due(self.now, memory);
            paced.resets = batch.then == Then::Reset;
            let (owed, last) = (!paced.queue.is_empty(), batch.then == Then::Finish);
            let piece = buffer.map(|buffer| Piece {
                buffer,
                range: 0..batch.len,
                rest: batch.rest,
                owned: true,
            });
            self.act(owner, |conn| conn.relay.on_due(piece, owed, last));
        }
    }

    fn set_timer(&mut self, owner: Owner, who: &Personality) {
        let now = self.now;
        let Some(conn) = self.conns.find(owner) else { return };
        let Some(paced) = &mut conn.paced else { return };
        let reply = paced.queue.due().filter(|_| !conn.relay.is_sending());
        let read = Some(paced.read_at).filter(|_| conn.relay.paused);
        let stall = paced.stalled.as_ref().and(who.rules.as_ref());
        let stall = stall.map(|rules| rules.stall_end(now));
        let next = [reply, read, stall].into_iter().flatten().filter(|&at| at > now).min();
        if let Some(next) = next
            && paced.timer_at.is_none_or(|set| next < set)
        {
            paced.timer_at = Some(next);
            self.timers.set(next, owner);
        }
    }

    /// Looks at the connections whose time has come, and at those for which there is a buffer again.
    pub(super) fn on_timers(&mut self) {
        while let Some((at, owner)) = self.timers.pop_due(self.now) {
            if let Some(paced) = self.conns.find(owner).and_then(|conn| conn.paced.as_mut()) {
                paced.timer_at = paced.timer_at.filter(|&set| set != at);
                self.pace(owner);
            }
        }
        while !self.send_pool.free.is_empty()
            && let Some(owner) = self.send_pool.waiting.pop_front()
        {
            if let Some(paced) = self.conns.find(owner).and_then(|conn| conn.paced.as_mut()) {
                paced.waits_for_buffer = false;
                self.pace(owner);
            }
        }
    }

    /// Stops listening where nobody shall, and begins again.
    ///
    /// A listener that is shut down resets who waits in its backlog, keeps its port because that was
    /// bound by number, and can listen again (`inet_shutdown`, net/ipv4/af_inet.c).
    pub(super) fn refuse_or_listen(&mut self) {
        for backend in &mut self.backends {
            let Some(rules) = &backend.post.personality.rules else { continue };
            let refuses = rules.refuses(self.now);
            if refuses == backend.refusing {
                continue;
            }
            backend.refusing = refuses;
            let listener = &backend.post.listener;
            let done = if refuses {
                if self.thread == 0 {
                    rules.count_refusal();
                }
                shutdown(listener.as_raw_fd(), Shutdown::Both).map_err(io::Error::from)
            } else {
                backend.accepts.on_listening();
                uring::set_backlog(listener, BACKLOG)
            };
            if let Err(error) = done {
                let what = if refuses { "stop listening" } else { "listen again" };
                eprintln!("loadgen: {} cannot {what}: {error}", backend.post.personality.name);
            }
        }
    }

    /// When [`Worker::refuse_or_listen`] has something to do.
    pub(super) fn next_refusal(&self) -> Option<Instant> {
        let rules = self.backends.iter().filter_map(|one| one.post.personality.rules.as_ref());
        rules.filter_map(|rules| rules.next_refusal(self.now)).min()
    }

    fn who(&self, owner: Owner) -> Option<Arc<Personality>> {
        let conn = self.conns.get(owner)?;
        Some(Arc::clone(&self.backends[conn.backend as usize].post.personality))
    }
}

/// Enough to keep every processor busy; what is delayed waits outside of them.
pub(super) const POOL_BUFFERS: u16 = 256;
