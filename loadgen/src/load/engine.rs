//! One worker: its part of a plan's connections, driven over one engine.
//!
//! A turn queues what may be sent, submits it, waits once, and works off what came. The clock is
//! read twice a turn, on both sides of the wait: what is submitted was sent at the first reading,
//! what came was received at the second. What lies between the second reading of one turn and the
//! first of the next is the turn's own time, within which nothing can be told apart: it is
//! measured. Nothing is allocated for a request.

mod conns;
mod places;
mod sends;
mod slots;

use std::collections::VecDeque;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rand::SeedableRng as _;
use rand_pcg::Pcg64;
use socket2::SockAddr;
use uring::{BufferId, Config};

use self::places::{Place, Places};
use self::slots::{Retries, Slot};
use super::failure::Failure;
use super::gate::{Arrival, Told};
use super::offer::{Offer, nanoseconds};
use super::plan::{Address, Part, Plan, Workload};
use super::reply::Names;
use super::tally::Recorder;
use super::{LoadError, Settled};
use crate::io::Io;

/// Everything that one worker owns. The engine comes first: it must be gone, and with it every
/// operation, before the sockets are closed.
pub(super) struct Worker<'a, I> {
    io: I,
    slots: Vec<Slot>,
    plan: &'a Plan,
    /// Which worker it is.
    index: usize,
    /// This worker's share.
    part: Part,
    arrival: Arrival<'a>,
    phase: Phase,
    address: SockAddr,
    request: Request,
    names: Names,
    recorder: Recorder,
    /// For the lives of connections.
    random: Pcg64,
    /// Where requests may go.
    places: Places,
    /// Slots that shall have a connection.
    to_open: VecDeque<u32>,
    retries: Retries,
    /// Slots with requests that leave with the next enter, which is when they count as sent.
    to_stamp: Vec<u32>,
    /// Operations queued since the last enter.
    queued: u32,
    now_ns: u64,
    /// When the last enter began.
    entered_ns: u64,
    sweep_at_ns: u64,
    drain_until_ns: u64,
    connecting: u32,
    connected: u32,
    /// Measured requests that are sent and not ended.
    in_flight: u64,
    connect_failures: u32,
    summary: Summary,
    cpu_before: Option<Duration>,
}

/// What every send of a worker reads: the request, as often as fits.
#[derive(Clone, Copy, Debug)]
struct Request {
    buffer: BufferId,
    len: u32,
    copies: u32,
}

/// What a worker brings back beside what it recorded.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) intended: u64,
    pub(super) unsent: u64,
    pub(super) elapsed: Duration,
    pub(super) cpu: Duration,
    /// Connections that were established.
    pub(super) connects: u64,
    /// Of these, that stood when the load began.
    pub(super) established: u32,
    /// Connections that were asked before the measured time and had not answered at its end.
    pub(super) silent: u32,
    /// What the last failed connect met.
    pub(super) connect_failure: Option<Failure>,
    /// What backends are called, by their number.
    pub(super) names: Vec<String>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in each worker")]
enum Phase {
    /// Connections are established; those that are not by then come later.
    Connecting { until_ns: u64 },
    /// The other workers are not ready yet.
    Waiting,
    /// The load is on, or over and not drained.
    Running(Offer),
}

impl<'a, I: Io> Worker<'a, I> {
    /// A worker that has not begun; must be called on the thread that runs it.
    pub(super) fn new(
        settled: &Settled<'a>,
        arrival: Arrival<'a>,
        recorder: Recorder,
        index: usize,
    ) -> Result<Self, LoadError> {
        let Settled { plan, request: text, .. } = *settled;
        let copies = (BATCH_BYTES_MAX / text.len()).clamp(1, BATCH_MAX);
        let batch = text.len() * copies.min(usize::try_from(plan.depth()).unwrap_or(BATCH_MAX));
        let mut io = I::open(&ring_config(plan, text.len(), batch))?;
        let request = Request::fill(&mut io, text, batch);
        let part = plan.part(index);
        let now_ns = uring::monotonic_ns();
        // Otherwise a wait may end 50 µs late (`timer_slack_ns`, io_cqring_wait). It is as good
        // without, only later.
        let _ = nix::sys::prctl::set_timerslack(1);
        Ok(Self {
            io,
            slots: (0..part.connections).map(|_| Slot::default()).collect(),
            plan,
            index,
            part,
            arrival,
            phase: Phase::Connecting { until_ns: now_ns + nanoseconds(plan.timeout) },
            address: socket_address(&plan.address)?,
            request,
            names: plan.names(text),
            recorder,
            random: Pcg64::seed_from_u64(plan.seed.wrapping_add(index as u64)),
            places: Places::default(),
            to_open: match plan.workload {
                Workload::Ping | Workload::Http => (0..part.connections).collect(),
                Workload::Conn => VecDeque::new(),
            },
            retries: Retries::default(),
            to_stamp: Vec::with_capacity(QUEUE_MAX as usize),
            queued: 0,
            now_ns,
            entered_ns: now_ns,
            sweep_at_ns: now_ns,
            drain_until_ns: u64::MAX,
            connecting: 0,
            connected: 0,
            in_flight: 0,
            connect_failures: 0,
            summary: Summary::default(),
            cpu_before: None,
        })
    }

    /// Runs the plan to its end.
    pub(super) fn run(mut self) -> Result<(Summary, Recorder), LoadError> {
        let mut completions = Vec::with_capacity(COMPLETIONS_PER_TURN);
        while !self.is_done() {
            self.start_what_may();
            let (want, due_ns) = self.wait();
            self.stamp();
            let timeout = Duration::from_nanos(due_ns.saturating_sub(self.entered_ns));
            self.io.submit_and_wait(want, Some(timeout))?;
            self.now_ns = uring::monotonic_ns();
            self.recorder.turn_page(self.now_ns, |backend| self.names.name(backend).to_owned());
            self.io.completions(&mut completions);
            for completion in completions.drain(..) {
                self.on_completion(completion);
            }
            self.on_time();
        }
        Ok(self.finish())
    }

    fn is_done(&self) -> bool {
        let over = match &self.phase {
            Phase::Running(offer) => offer.is_over(self.now_ns) && self.in_flight == 0,
            Phase::Connecting { .. } | Phase::Waiting => self.arrival.stopped(),
        };
        over || self.gives_up()
    }

    /// A first wave of connects without a single success, and nobody else has one: the target is
    /// not there.
    fn gives_up(&self) -> bool {
        let first_wave = u32::try_from(self.slots.len()).unwrap_or(u32::MAX).min(CONNECTING_MAX);
        self.summary.connects == 0
            && self.connect_failures >= first_wave
            && !self.arrival.somebody_connected()
    }

    /// How many completions to wait for, and until when something is due in any case.
    fn wait(&mut self) -> (u32, u64) {
        let may_send = self.first_place().is_some();
        let due_ns = match &self.phase {
            Phase::Connecting { .. } => self.now_ns + WAITING_TURN_NS,
            Phase::Waiting => {
                let start_ns = self.arrival.start_ns().unwrap_or(u64::MAX);
                start_ns.min(self.now_ns + WAITING_TURN_NS)
            }
            Phase::Running(offer) if offer.is_over(self.now_ns) => self.sweep_at_ns,
            Phase::Running(offer) => {
                // A place that is free although nothing keeps it has met a full queue.
                let next_ns = offer.next_ns().unwrap_or(self.now_ns);
                let next_ns = if may_send { next_ns } else { u64::MAX };
                self.sweep_at_ns.min(offer.until_ns).min(next_ns)
            }
        };
        let due_ns = due_ns.min(self.recorder.edge_ns());
        let due_ns = self.retries.next_ns().map_or(due_ns, |retry_ns| due_ns.min(retry_ns));
        let waits = due_ns > self.now_ns && (self.to_open.is_empty() || !self.may_open());
        (u32::from(waits), due_ns)
    }

    /// Everything queued since the last turn leaves now. A turn queues less than the ring holds,
    /// so nothing has left earlier.
    fn stamp(&mut self) {
        let now_ns = uring::monotonic_ns();
        for index in self.to_stamp.drain(..) {
            let slot = &mut self.slots[index as usize];
            slot.send_ns = now_ns;
            let unsent = slot.asked.iter_mut().rev().take_while(|asked| asked.sent_ns == 0);
            unsent.for_each(|asked| asked.stamp(now_ns));
        }
        if self.recorder.counts_at(self.now_ns) {
            self.recorder.turn.record_ns(now_ns - self.now_ns);
        }
        self.entered_ns = now_ns;
        self.queued = 0;
    }

    fn on_time(&mut self) {
        while let Some(index) = self.retries.take_due(self.now_ns) {
            self.rest(index);
        }
        if self.now_ns >= self.sweep_at_ns {
            self.sweep_at_ns = self.now_ns + sweep_period_ns(self.plan.timeout);
            self.end_overdue();
        }
        self.change_phase();
        if self.now_ns >= self.drain_until_ns {
            self.end_drain();
        }
        let started = match &self.phase {
            Phase::Running(offer) => offer.started(),
            Phase::Connecting { .. } | Phase::Waiting => 0,
        };
        self.arrival.tell(Told {
            connected: self.connected.into(),
            connects: self.summary.connects,
            started,
            ok: self.recorder.ok,
            errors: self.recorder.errors(),
        });
    }

    fn change_phase(&mut self) {
        let stopped = self.arrival.stopped();
        match &mut self.phase {
            Phase::Connecting { until_ns } => {
                let settled =
                    self.to_open.is_empty() && self.connecting == 0 && self.retries.is_empty();
                if settled || self.now_ns >= *until_ns {
                    self.arrival.arrive();
                    self.phase = Phase::Waiting;
                }
            }
            Phase::Waiting => {
                if let Some(start_ns) = self.arrival.start_ns()
                    && self.now_ns >= start_ns
                {
                    self.begin(start_ns);
                }
            }
            Phase::Running(offer) => {
                if stopped && self.now_ns < offer.until_ns {
                    offer.end(self.now_ns);
                    self.recorder.end();
                    let drain_ns = nanoseconds(self.plan.timeout).min(STOPPED_DRAIN_NS);
                    self.drain_until_ns = self.now_ns + drain_ns;
                }
                if self.cpu_before.is_none() && self.now_ns >= offer.measure_from_ns {
                    self.cpu_before = Some(thread_cpu());
                }
                let is_over = self.summary.cpu.is_zero() && offer.is_over(self.now_ns);
                if let Some(before) = self.cpu_before.filter(|_| is_over) {
                    self.summary.cpu = thread_cpu().saturating_sub(before);
                    let silent = self.slots.iter().filter(|slot| slot.is_silent()).count();
                    self.summary.silent = u32::try_from(silent).unwrap_or(u32::MAX);
                }
            }
        }
    }

    fn begin(&mut self, start_ns: u64) {
        let offer = Offer::new(self.plan, &self.part, self.index, start_ns);
        self.drain_until_ns = offer.until_ns.saturating_add(nanoseconds(self.plan.timeout));
        self.recorder.begin(&offer);
        self.summary.established = match self.plan.workload {
            Workload::Ping | Workload::Http => self.connected,
            // Each of them is made for a request.
            Workload::Conn => self.part.connections,
        };
        self.phase = Phase::Running(offer);
        for index in (0..).take(self.slots.len()) {
            if self.plan.workload == Workload::Conn {
                self.rest(index);
            }
        }
    }

    fn finish(mut self) -> (Summary, Recorder) {
        // Nothing is in flight any more, unless it was given up.
        self.end_drain();
        if let Phase::Running(offer) = &self.phase {
            let end_ns =
                if offer.is_used_up() { self.now_ns.min(offer.until_ns) } else { offer.until_ns };
            self.summary.elapsed =
                Duration::from_nanos(end_ns.saturating_sub(offer.measure_from_ns));
            self.summary.intended = offer.intended(self.part.requests);
            self.summary.unsent = offer.unsent();
        }
        self.recorder.finish(|backend| self.names.name(backend).to_owned());
        let backends = 0..self.recorder.by_backend.len();
        self.summary.names = backends.map(|backend| self.names.name(backend).to_owned()).collect();
        (self.summary, self.recorder)
    }
}

impl Request {
    /// Fills a reserved buffer with as many copies of `text` as `batch` bytes hold.
    fn fill(io: &mut impl Io, text: &[u8], batch: usize) -> Self {
        let buffer = io.take_reserved().expect("one buffer is reserved");
        let bytes = &mut io.bytes_mut(buffer)[..batch];
        bytes.chunks_exact_mut(text.len()).for_each(|copy| copy.copy_from_slice(text));
        let number = |count| u32::try_from(count).expect("a plan bounds its requests");
        Self { buffer, len: number(text.len()), copies: number(batch / text.len()) }
    }
}

impl<I> std::fmt::Debug for Worker<'_, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("phase", &self.phase).finish_non_exhaustive()
    }
}

fn socket_address(address: &Address) -> Result<SockAddr, LoadError> {
    match address {
        Address::Tcp(address) => Ok((*address).into()),
        Address::Unix(path) => Ok(SockAddr::unix(path)?),
    }
}

/// Buffers that hold a batch of requests, and what comes back at once.
fn ring_config(plan: &Plan, request: usize, batch: usize) -> Config {
    let reply = plan.sizes.reply.map_or(request, |bytes| bytes as usize).min(RECEIVE_BYTES_MAX);
    let is_more = batch > request || plan.workload == Workload::Http;
    let receive = if is_more { reply.max(RECEIVE_BYTES_MIN) } else { reply };
    let page_multiple = batch.max(receive).next_multiple_of(PAGE_BYTES);
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

/// A completion queues one operation at most, unless its connection fails: with what a turn starts
/// they fit the ring's 1024 entries, so that nothing is submitted before the turn's end.
const COMPLETIONS_PER_TURN: usize = 400;
const QUEUE_MAX: u32 = 1000;
/// Connects in flight while all connect; below the backlog of any server that means it.
const CONNECTING_MAX: u32 = 100;
/// A worker that waits for the others looks at the gate so often.
const WAITING_TURN_NS: u64 = 1_000_000;
/// Who stops a run does not want to wait long for what is still in flight.
const STOPPED_DRAIN_NS: u64 = 500_000_000;
/// Requests that one send carries at the most.
const BATCH_MAX: usize = 256;
/// The same in bytes, of more than one.
const BATCH_BYTES_MAX: usize = 256 << 10;
const PAGE_BYTES: usize = 4096;
/// Several replies come at once where several requests are in flight, and pages are longer than
/// lines.
const RECEIVE_BYTES_MIN: usize = 16 << 10;
/// What a socket's buffer holds anyway.
const RECEIVE_BYTES_MAX: usize = 256 << 10;
/// Replies wait in buffers for a turn at most, so this is for the largest requests.
const BUFFER_MEMORY: usize = 16 << 20;
