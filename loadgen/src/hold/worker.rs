//! One worker: its part of the connections, driven over one ring.
//!
//! A receive is in flight on every connection, without a buffer until something comes; that is how
//! an end is noticed. Probes follow a schedule that was fixed when the load began.

mod conns;

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use uring::{BufferId, Config, Op, Owner, Ring, Token};

use super::plan::HoldPlan;
use super::reply::{PROBE, Replies};
use super::result::Tally;
use super::slot::{Slot, State};
use crate::crew::{self, Close, Connects, Pass, RunError, WAITING_TURN_NS, Window};
use crate::load::failure::Failure;

/// Everything that one worker owns. The ring comes first: it must be gone, and with it every
/// operation, before the sockets are closed.
pub(super) struct Worker<'a> {
    ring: Ring,
    slots: Vec<Slot>,
    plan: &'a HoldPlan,
    pass: Pass<'a>,
    connects: Connects,
    window: Option<Window>,
    probe: BufferId,
    /// Between two probes; none are sent without.
    gap_ns: Option<f64>,
    /// The number of the next probe.
    next: u64,
    /// Probes that are out, in the order in which they were sent.
    asked: VecDeque<(u32, u64)>,
    /// Probes that leave with the next enter.
    to_stamp: Vec<u32>,
    replies: Replies,
    began_ns: u64,
    now_ns: u64,
    interval_ns: u64,
    told_ns: u64,
    cpu_before_ns: u64,
    tally: Tally,
}

impl<'a> Worker<'a> {
    /// A worker that has not begun; must be called on the thread that runs it.
    pub(super) fn new(
        plan: &'a HoldPlan,
        connections: u32,
        pass: Pass<'a>,
    ) -> Result<Self, RunError> {
        let mut ring = Ring::new(&RING)?;
        let probe = ring.take_reserved().expect("one buffer is reserved");
        ring.bytes_mut(probe)[..PROBE.len()].copy_from_slice(PROBE.as_bytes());
        let now_ns = uring::monotonic_ns();
        let fraction = f64::from(connections) / f64::from(plan.connections.get());
        let gap_ns = plan.probe_every.filter(|_| connections > 0);
        let gap_ns = gap_ns.map(|every| every.as_secs_f64() * 1e9 / f64::from(connections));
        Ok(Self {
            ring,
            slots: (0..connections).map(|_| Slot::new()).collect(),
            plan,
            pass,
            connects: Connects::new(plan.how(fraction), connections, now_ns),
            window: None,
            probe,
            gap_ns,
            next: 0,
            asked: VecDeque::new(),
            to_stamp: Vec::with_capacity(BURST),
            replies: Replies::default(),
            began_ns: now_ns,
            now_ns,
            interval_ns: crew::nanoseconds(crew::interval_length(plan.duration)),
            told_ns: now_ns,
            cpu_before_ns: 0,
            tally: Tally::default(),
        })
    }

    /// Runs the plan to its end.
    pub(super) fn run(mut self) -> Result<Tally, RunError> {
        let mut completions = Vec::with_capacity(COMPLETIONS_PER_TURN);
        while !self.is_done() {
            self.open_some();
            self.probe_some();
            let turn_ns = self.stamp() - self.now_ns;
            if self.window.is_some_and(|window| window.measures(self.now_ns)) {
                self.tally.turn.record_ns(turn_ns);
            }
            let timeout_ns = self.wake_ns().saturating_sub(self.now_ns + turn_ns);
            self.ring.submit_and_wait(1, Some(Duration::from_nanos(timeout_ns)))?;
            self.now_ns = uring::monotonic_ns();
            self.ring.completions(&mut completions);
            for completion in completions.drain(..) {
                self.on_completion(completion);
            }
            self.on_time();
        }
        Ok(self.finish())
    }

    fn is_done(&self) -> bool {
        let over = self.window.is_some_and(|window| window.is_over(self.now_ns));
        // Nobody is left to be held, or will be.
        let nobody = self.tally.alive == 0 && self.connects.is_settled(self.now_ns);
        // What is asked is answered, or has had its time, soon enough.
        nobody || (over && self.asked.is_empty()) || self.pass.stopped()
    }

    fn wake_ns(&self) -> u64 {
        let overdue_ns =
            self.asked.front().map_or(u64::MAX, |&(_, sent_ns)| sent_ns + self.timeout_ns());
        let look_ns = match self.window {
            None => self.now_ns + WAITING_TURN_NS,
            Some(_) => self.now_ns + STOP_TURN_NS,
        };
        let due_ns = match self.window {
            None => self.connects.wake_ns(),
            Some(window) if window.is_over(self.now_ns) => u64::MAX,
            Some(window) => window.until_ns.min(self.due_ns(window)),
        };
        due_ns.min(overdue_ns).min(look_ns)
    }

    fn timeout_ns(&self) -> u64 {
        crew::nanoseconds(self.plan.timeout)
    }

    fn open_some(&mut self) {
        while let Some(index) = self.connects.next(self.now_ns) {
            match self.connects.open(&mut self.ring, index, self.now_ns) {
                Ok(socket) => {
                    let slot = &mut self.slots[index as usize];
                    slot.socket = Some(socket);
                    slot.intended_ns = self.now_ns;
                    slot.sending = true;
                }
                Err(failure) => self.lose(index, failure),
            }
        }
    }

    /// When the next probe is due.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "times and numbers of one run are far below 2^52"
    )]
    fn due_ns(&self, window: Window) -> u64 {
        let Some(gap_ns) = self.gap_ns else { return u64::MAX };
        window.measure_from_ns + (gap_ns * self.next as f64) as u64
    }

    /// Sends the probes whose time has come. A connection that has ended is passed over; one that
    /// still owes an answer cannot be asked.
    fn probe_some(&mut self) {
        let Some(window) = self.window else { return };
        for _ in 0..BURST {
            let due_ns = self.due_ns(window);
            if due_ns > self.now_ns || !window.measures(due_ns) {
                return;
            }
            let index = self.next % self.slots.len() as u64;
            self.next += 1;
            self.probe(u32::try_from(index).expect("slots are counted in u32"), due_ns);
        }
    }

    fn probe(&mut self, index: u32, due_ns: u64) {
        let slot = &mut self.slots[index as usize];
        match (slot.state, &slot.socket) {
            (State::Held, Some(socket)) if !slot.sending => {
                let len = u32::try_from(PROBE.len()).expect("a short line");
                self.ring.send(socket, self.probe, 0..len, Owner::slot(index));
                (slot.state, slot.sending, slot.intended_ns) = (State::Asked, true, due_ns);
                self.tally.intended += 1;
                self.to_stamp.push(index);
            }
            (State::Held | State::Asked | State::Mute, _) => {
                self.tally.intended += 1;
                self.tally.unsent += 1;
            }
            (State::Connecting | State::Ended, _) => {}
        }
    }

    /// What is queued leaves now; the time of that.
    fn stamp(&mut self) -> u64 {
        let now_ns = uring::monotonic_ns();
        for index in self.to_stamp.drain(..) {
            self.slots[index as usize].sent_ns = now_ns;
            self.asked.push_back((index, now_ns));
        }
        now_ns
    }

    fn on_time(&mut self) {
        let Self { connects, ring, slots, .. } = self;
        connects.cancel_overdue(ring, self.now_ns, |index| {
            slots[index as usize].state == State::Connecting
        });
        self.end_overdue();
        if self.window.is_none() {
            self.meet();
        }
        self.tell();
    }

    /// Probes are answered in time or not at all.
    fn end_overdue(&mut self) {
        while let Some(&(index, sent_ns)) = self.asked.front() {
            let slot = &mut self.slots[index as usize];
            let is_out = slot.state == State::Asked && slot.sent_ns == sent_ns;
            if is_out && self.now_ns < sent_ns + crew::nanoseconds(self.plan.timeout) {
                return;
            }
            if is_out {
                slot.state = State::Mute;
                self.count_error(Failure::TimedOut);
            }
            self.asked.pop_front();
        }
    }

    fn meet(&mut self) {
        if self.connects.is_settled(self.now_ns) {
            self.pass.arrive();
        }
        if let Some(start_ns) = self.pass.start_ns().filter(|&start_ns| self.now_ns >= start_ns) {
            self.window = Some(Window::new(start_ns, Duration::ZERO, self.plan.duration));
            self.cpu_before_ns = crew::thread_cpu_ns();
        }
    }

    fn tell(&mut self) {
        let counts = self.pass.counts();
        counts.connected.store(self.tally.alive, Relaxed);
        counts.ok.store(self.tally.ok, Relaxed);
        counts.errors.store(self.tally.errors_sum, Relaxed);
        counts.bytes_in.store(self.tally.bytes_in, Relaxed);
        counts.bytes_out.store(self.tally.bytes_out, Relaxed);
        if self.window.is_some() && self.now_ns >= self.told_ns + TELL_NS {
            self.told_ns = self.now_ns;
            let mut told = counts.response.lock().unwrap_or_else(PoisonError::into_inner);
            told.clone_from(&self.tally.response);
        }
    }

    /// Ends what is in flight, one by one: to cancel everything in a single call, the kernel looks
    /// through all of it for each (15 000 receives took it three seconds on Linux 6.18).
    fn let_go(&mut self) {
        let mut completions = Vec::with_capacity(COMPLETIONS_PER_TURN);
        for (index, slot) in (0..).zip(&self.slots) {
            let op = if slot.state == State::Connecting { Op::Connect } else { Op::Send };
            for (in_flight, op) in [(slot.sending, op), (slot.receiving, Op::Recv)] {
                if in_flight {
                    self.ring.cancel(Token { op, owner: Owner::slot(index) });
                }
            }
        }
        // The ring waits for the rest, should there be one.
        for _ in 0..LET_GO_TURNS_MAX {
            let left = self.ring.in_flight();
            if left == 0 || self.ring.submit_and_wait(left, Some(LET_GO_TURN)).is_err() {
                return;
            }
            while {
                self.ring.completions(&mut completions);
                !completions.is_empty()
            } {
                completions.clear();
            }
        }
    }

    fn finish(mut self) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        if let Some(window) = self.window {
            let ended_ns = self.now_ns.min(window.until_ns);
            tally.elapsed_ns = ended_ns.saturating_sub(window.measure_from_ns);
            tally.cpu_ns = crew::thread_cpu_ns() - self.cpu_before_ns;
        }
        for slot in self.slots.iter().filter(|slot| slot.state == State::Asked) {
            tally.unanswered += 1;
            let age_ns = self.now_ns.saturating_sub(slot.intended_ns);
            tally.response.record_ns(age_ns);
        }
        tally.established = self.connects.established();
        tally.connect_failure = self.connects.last_failure();
        tally.alive = self.slots.iter().filter(|slot| slot.is_alive()).count() as u64;
        let mute = self.slots.iter().filter(|slot| slot.state == State::Mute).count() as u64;
        let connecting = self.slots.iter().filter(|slot| slot.state == State::Connecting);
        tally.not_tried = connecting.count() as u64;
        if mute > 0 {
            *tally.lost.entry(Failure::TimedOut.name()).or_default() += mute;
        }
        tally.names = std::mem::take(&mut self.replies.names);
        self.let_go();
        let Self { ring, slots, plan, .. } = self;
        // Nothing may be in flight on what is closed.
        drop(ring);
        for socket in slots.into_iter().filter_map(|slot| slot.socket) {
            match plan.close {
                Close::Rst => uring::close_with_reset(socket),
                Close::Fin => drop(socket),
            }
        }
        tally
    }
}

const RING: Config = Config {
    entries: 1024,
    buffers: 257,
    published: 256,
    buffer_bytes: 4096,
    reserved: 1,
    busy_poll: None,
};
const COMPLETIONS_PER_TURN: usize = 400;
const BURST: usize = 400;
/// A completion queues a receive, or two cancels, and a probe one send.
const _: () = assert!(COMPLETIONS_PER_TURN + BURST <= RING.entries as usize);
const STOP_TURN_NS: u64 = 50_000_000;
const LET_GO_TURNS_MAX: u32 = 100;
const LET_GO_TURN: Duration = Duration::from_millis(10);
/// A histogram is some hundred kilobytes to copy.
const TELL_NS: u64 = 1_000_000_000;
