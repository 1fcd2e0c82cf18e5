//! One worker: its part of a plan's connections, driven over one ring.
//!
//! A turn submits what the last one queued, waits once, and works off what came. The clock is read
//! twice a turn, on both sides of the wait: what is submitted was sent at the first reading, what
//! came was received at the second. Nothing is allocated for a request.

mod conns;
mod slots;

use std::collections::VecDeque;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use uring::{BufferId, Config, Ring};

use self::slots::{Retries, Slot};
use super::LoadError;
use super::failure::Failure;
use super::flow::State;
use super::gate::Arrival;
use super::pace::Pace;
use super::plan::{Part, Plan, Workload};
use super::reply::Names;
use super::report::Tally;
use super::window::{Leave, Window, nanoseconds};

/// Everything that one worker owns. The ring comes first: it must be gone, and with it every
/// operation, before the sockets are closed.
pub(super) struct Worker<'a> {
    ring: Ring,
    slots: Vec<Slot>,
    plan: &'a Plan,
    /// This worker's share.
    part: Part,
    /// Of an open loop, once the load is on.
    pace: Option<Pace>,
    arrival: Arrival<'a>,
    phase: Phase,
    /// The text that every send of this worker reads.
    request: BufferId,
    names: Names,
    /// Slots that shall go on, a burst a turn.
    pending: VecDeque<u32>,
    retries: Retries,
    /// Slots whose operations leave with the next enter, which is when they count as asked.
    to_stamp: Vec<u32>,
    now_ns: u64,
    sweep_at_ns: u64,
    connecting: u32,
    connected: u32,
    /// Requests that are started and not finished.
    asked: u32,
    connect_failures: u32,
    errors: u64,
    cpu_before: Duration,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Connections are established; those that are not by then come later.
    Connecting { until_ns: u64 },
    /// The other workers are not ready yet.
    Waiting,
    /// The load is on.
    Running(Window),
}

impl<'a> Worker<'a> {
    /// A worker that has not begun; must be called on the thread that runs it.
    pub(super) fn new(
        plan: &'a Plan,
        arrival: Arrival<'a>,
        index: usize,
    ) -> Result<Self, LoadError> {
        let text = plan.request();
        let mut ring = Ring::new(&ring_config(text.len()))?;
        let request = ring.take_reserved().expect("one buffer is reserved");
        ring.bytes_mut(request)[..text.len()].copy_from_slice(&text);
        let part = plan.part(index);
        let now_ns = uring::monotonic_ns();
        let pending = match plan.workload {
            Workload::Ping => (0..part.connections).collect(),
            Workload::Conn => VecDeque::new(),
        };
        Ok(Self {
            ring,
            slots: (0..part.connections).map(|_| Slot::default()).collect(),
            plan,
            part,
            pace: None,
            arrival,
            phase: Phase::Connecting { until_ns: now_ns + nanoseconds(plan.timeout) },
            request,
            names: Names::of_lines(
                &text,
                super::Sizes { request: plan.request_len(), reply: None },
                super::Verify::Full,
            ),
            pending,
            retries: Retries::default(),
            to_stamp: Vec::with_capacity(COMPLETIONS_PER_TURN + BURST),
            now_ns,
            sweep_at_ns: now_ns,
            connecting: 0,
            connected: 0,
            asked: 0,
            connect_failures: 0,
            errors: 0,
            cpu_before: Duration::ZERO,
            tally: Tally::new(plan.workload),
        })
    }

    /// Runs the plan to its end.
    pub(super) fn run(mut self) -> Result<Tally, LoadError> {
        let mut completions = Vec::with_capacity(COMPLETIONS_PER_TURN);
        while !self.is_done() {
            self.start_pending();
            let (want, timeout) = self.wait();
            self.stamp();
            self.ring.submit_and_wait(want, Some(timeout))?;
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
        let over = match self.phase {
            Phase::Running(window) => window.is_over(self.now_ns) && self.asked == 0,
            Phase::Connecting { .. } | Phase::Waiting => false,
        };
        over || self.arrival.stopped() || self.gives_up()
    }

    /// A first wave of connects without a single success: the target is not there.
    fn gives_up(&self) -> bool {
        let first_wave = u32::try_from(self.slots.len()).unwrap_or(u32::MAX).min(CONNECTING_MAX);
        !self.tally.connected_once && self.connect_failures >= first_wave
    }

    /// How many completions to wait for, and until when something is due in any case.
    fn wait(&self) -> (u32, Duration) {
        let due_ns = match self.phase {
            Phase::Connecting { .. } | Phase::Waiting => self.now_ns + WAITING_TURN_NS,
            Phase::Running(window) if window.is_over(self.now_ns) => self.sweep_at_ns,
            Phase::Running(window) => self.sweep_at_ns.min(window.until_ns),
        };
        let sooner = [self.retries.next_ns(), self.pace.as_ref().and_then(Pace::wake_at_ns)];
        let due_ns = sooner.into_iter().flatten().fold(due_ns, u64::min);
        let may_wait = self.pending.is_empty() || !self.may_start_pending();
        (u32::from(may_wait), Duration::from_nanos(due_ns.saturating_sub(self.now_ns)))
    }

    /// Everything queued since the last turn leaves now. A turn queues less than the ring holds,
    /// so nothing has left earlier.
    fn stamp(&mut self) {
        if self.to_stamp.is_empty() {
            return;
        }
        let now_ns = uring::monotonic_ns();
        for index in self.to_stamp.drain(..) {
            self.slots[index as usize].asked_ns = now_ns;
        }
    }

    fn start_pending(&mut self) {
        if let Some(pace) = &mut self.pace {
            self.pending.extend(pace.wake(self.now_ns));
        }
        for _ in 0..BURST {
            if !self.may_start_pending() {
                return;
            }
            let Some(index) = self.pending.pop_front() else { return };
            self.go_on(index);
        }
    }

    /// While all connect, only so many at a time: a backlog that overflows costs a second.
    fn may_start_pending(&self) -> bool {
        !matches!(self.phase, Phase::Connecting { .. }) || self.connecting < CONNECTING_MAX
    }

    /// Starts what comes next for a slot that is at rest, if there is something.
    fn go_on(&mut self, index: u32) {
        let state = self.slots[index as usize].flow.state();
        match (state, self.plan.workload) {
            (State::Idle, Workload::Ping) if self.may_connect() => self.open(index),
            (State::Idle, Workload::Conn) if self.asks(index) => self.open(index),
            (State::Connected, Workload::Ping) if self.asks(index) => {
                self.request(index);
                // An open loop counts from when it should have been sent.
                if self.pace.is_none() {
                    self.to_stamp.push(index);
                }
            }
            // It was asked for before the connect, and its time began there.
            (State::Connected, Workload::Conn) => self.request(index),
            // In flight, or the run is over for it.
            (_, _) => {}
        }
    }

    fn may_connect(&self) -> bool {
        match self.phase {
            Phase::Connecting { .. } | Phase::Waiting => true,
            Phase::Running(window) => !window.is_over(self.now_ns),
        }
    }

    /// Takes leave to start a request on this slot.
    fn asks(&mut self, index: u32) -> bool {
        let Phase::Running(window) = &mut self.phase else { return false };
        let asked_ns = match &mut self.pace {
            Some(_) if window.is_over(self.now_ns) => return false,
            Some(pace) => pace.take(index, self.now_ns),
            None => Some(self.now_ns),
        };
        let Some(asked_ns) = asked_ns else { return false };
        let leave = window.leave(self.now_ns);
        if leave == Leave::Refused {
            return false;
        }
        let slot = &mut self.slots[index as usize];
        slot.asking = true;
        slot.measured = leave == Leave::Measured;
        slot.asked_ns = asked_ns;
        self.asked += 1;
        true
    }

    fn on_time(&mut self) {
        while let Some(index) = self.retries.take_due(self.now_ns) {
            self.pending.push_back(index);
        }
        if self.now_ns >= self.sweep_at_ns {
            self.sweep_at_ns = self.now_ns + sweep_period_ns(self.plan.timeout);
            self.end_overdue();
        }
        self.change_phase();
        self.arrival.tell(self.connected.into(), self.tally.requests, self.errors);
    }

    fn end_overdue(&mut self) {
        let timeout_ns = nanoseconds(self.plan.timeout);
        for index in (0..).take(self.slots.len()) {
            if self.slots[index as usize].is_overdue(self.now_ns, timeout_ns) {
                self.note_failure(index, Failure::TimedOut);
                let step = self.slots[index as usize].flow.close();
                self.perform(index, step);
            }
        }
    }

    fn change_phase(&mut self) {
        match self.phase {
            Phase::Connecting { until_ns } => {
                let settled =
                    self.pending.is_empty() && self.connecting == 0 && self.retries.is_empty();
                if settled || self.now_ns >= until_ns {
                    self.arrival.arrive();
                    self.phase = Phase::Waiting;
                }
            }
            Phase::Waiting => {
                if self.arrival.start_ns().is_some_and(|start_ns| self.now_ns >= start_ns) {
                    self.begin();
                }
            }
            Phase::Running(window) => {
                if self.cpu_before.is_zero() && self.now_ns >= window.measure_from_ns {
                    self.cpu_before = thread_cpu();
                }
            }
        }
    }

    fn begin(&mut self) {
        let Plan { warm_up, duration, .. } = *self.plan;
        self.phase =
            Phase::Running(Window::new(self.now_ns, warm_up, duration, self.part.requests));
        self.pace = self.part.rate.map(|per_s| Pace::new(self.now_ns, per_s));
        self.pending = (0..).take(self.slots.len()).collect();
    }

    fn finish(mut self) -> Tally {
        if let Phase::Running(window) = self.phase {
            let ended_early = window.is_used_up() || self.arrival.stopped();
            let end_ns =
                if ended_early { self.now_ns.min(window.until_ns) } else { window.until_ns };
            let elapsed_ns = end_ns.saturating_sub(window.measure_from_ns);
            self.tally.elapsed = Duration::from_nanos(elapsed_ns);
            if !self.cpu_before.is_zero() {
                self.tally.cpu = thread_cpu().saturating_sub(self.cpu_before);
            }
        }
        let responses = self.names.responses();
        self.tally.responses = responses.map(|(name, count)| (name.to_owned(), count)).collect();
        self.tally
    }
}

impl std::fmt::Debug for Worker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("phase", &self.phase).finish_non_exhaustive()
    }
}

fn ring_config(request_bytes: usize) -> Config {
    let page_multiple = request_bytes.next_multiple_of(PAGE_BYTES);
    let buffer_bytes = u32::try_from(page_multiple).expect("a plan bounds its requests");
    let buffers = (BUFFER_MEMORY / page_multiple).next_power_of_two().clamp(16, 1024);
    let buffers = u16::try_from(buffers).expect("1024 fits");
    Config { buffers, buffer_bytes, reserved: 1, ..Config::default() }
}

/// A request that is overdue is noticed so much late at most.
fn sweep_period_ns(timeout: Duration) -> u64 {
    nanoseconds(timeout / 16).clamp(1_000_000, 100_000_000)
}

/// What this thread has used so far (`RUSAGE_THREAD`), at least a nanosecond.
fn thread_cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("the kernel knows this thread");
    let used = [usage.user_time(), usage.system_time()].map(|time| time.num_microseconds());
    Duration::from_micros(used.iter().sum::<i64>().unsigned_abs()) + Duration::from_nanos(1)
}

/// A completion queues two operations at most, a burst's slot too: together they fit the ring's
/// 1024 entries, so that nothing is submitted before the turn's end.
const COMPLETIONS_PER_TURN: usize = 400;
const BURST: usize = 100;
const _: () = assert!(2 * (COMPLETIONS_PER_TURN + BURST) <= 1024);
/// Connects in flight while all connect; below the backlog of any server that means it.
const CONNECTING_MAX: u32 = 100;
/// A worker that waits for the others looks at the gate so often.
const WAITING_TURN_NS: u64 = 1_000_000;
const PAGE_BYTES: usize = 4096;
/// Replies wait in buffers for a turn at most, so this is for the largest requests.
const BUFFER_MEMORY: usize = 16 << 20;
