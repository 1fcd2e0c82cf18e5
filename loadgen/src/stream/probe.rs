//! Small requests beside the bulk, on a connection and a thread of their own: how long they take
//! while nothing else goes on, and how long under load.
//!
//! A request is a numbered line. A peer that echoes gives it back; another line is taken for the
//! answer on raw connections only, where there is no more than one request at a time.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use uring::{BufferId, Completion, Config, Errno, Op, Outcome, Owner, Readiness, Ring};

use super::plan::{Probe, StreamPlan};
use crate::crew::{self, Connects, How, Pass, RunError, WAITING_TURN_NS, Window};
use crate::load::failure::Failure;
use crate::report::Distribution;

/// What the probe found.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Before the bulk began.
    pub(super) idle: Distribution,
    /// While it was measured.
    pub(super) loaded: Distribution,
    /// Why there is not more.
    pub(super) failure: Option<Failure>,
}

/// One connection with a ring of its own, which comes first.
pub(super) struct Prober<'a> {
    ring: Ring,
    socket: Option<OwnedFd>,
    plan: &'a StreamPlan,
    interval_ns: u64,
    pass: Pass<'a>,
    connects: Connects,
    window: Option<Window>,
    /// What is sent from; how much of it is sent, and how much there is.
    line: BufferId,
    sent: u32,
    line_bytes: u32,
    sending: bool,
    /// When the first request was due, and the number of the next.
    from_ns: u64,
    next: u64,
    /// The next request was due and had to wait.
    held_up: bool,
    /// Number, time, and whether it counts, in the order in which they were sent.
    pending: VecDeque<(u64, u64)>,
    /// A reply that has not come to its end.
    partial: Vec<u8>,
    now_ns: u64,
    rounds: Rounds,
}

impl<'a> Prober<'a> {
    pub(super) fn new(
        plan: &'a StreamPlan,
        probe: &Probe,
        pass: Pass<'a>,
    ) -> Result<Self, RunError> {
        let mut ring = Ring::new(&RING)?;
        let line = ring.take_reserved().expect("one buffer is reserved");
        let now_ns = uring::monotonic_ns();
        let address = probe.address.clone().unwrap_or_else(|| plan.address.clone());
        let how = How { address, congestion: None, ..plan.how() };
        Ok(Self {
            ring,
            socket: None,
            plan,
            interval_ns: crew::nanoseconds(probe.interval).max(1),
            pass,
            connects: Connects::new(how, 1, now_ns),
            window: None,
            line,
            sent: 0,
            line_bytes: 0,
            sending: false,
            from_ns: 0,
            next: 0,
            held_up: false,
            pending: VecDeque::new(),
            partial: Vec::new(),
            now_ns,
            rounds: Rounds::default(),
        })
    }

    /// Probes from the meeting to the end of the run.
    pub(super) fn run(mut self) -> Result<Rounds, RunError> {
        if let Some(index) = self.connects.next(self.now_ns) {
            match self.connects.open(&mut self.ring, index, self.now_ns) {
                Ok(socket) => self.socket = Some(socket),
                Err(failure) => self.rounds.failure = Some(failure),
            }
        }
        let mut completions = Vec::with_capacity(8);
        while !self.is_done() {
            self.probe_if_due();
            let wake_ns = self.wake_ns();
            let timeout = Duration::from_nanos(wake_ns.saturating_sub(uring::monotonic_ns()));
            self.ring.submit_and_wait(1, Some(timeout))?;
            self.now_ns = uring::monotonic_ns();
            self.ring.completions(&mut completions);
            for completion in completions.drain(..) {
                self.on_completion(completion);
            }
            self.on_time();
        }
        Ok(self.finish())
    }

    /// Nothing is asked any more, and what was asked is answered or has had its time.
    fn is_done(&self) -> bool {
        let Some(window) = self.window else {
            return self.rounds.failure.is_some() || self.pass.stopped();
        };
        let over = window.is_over(self.now_ns);
        let drained = self.pending.is_empty()
            || self.now_ns > window.until_ns + crew::nanoseconds(self.plan.timeout);
        self.rounds.failure.is_some() || (over && drained) || (!over && self.pass.stopped())
    }

    fn wake_ns(&self) -> u64 {
        let look_ns = self.now_ns + WAITING_TURN_NS * if self.window.is_some() { 50 } else { 1 };
        match self.from_ns {
            0 => look_ns,
            _ if self.held_up || self.is_past_end(self.due_ns()) => look_ns,
            _ => look_ns.min(self.due_ns()),
        }
    }

    fn due_ns(&self) -> u64 {
        self.from_ns + self.next * self.interval_ns
    }

    fn is_past_end(&self, due_ns: u64) -> bool {
        self.window.is_some_and(|window| window.is_over(due_ns))
    }

    fn on_time(&mut self) {
        self.connects.cancel_overdue(&mut self.ring, self.now_ns, |_| true);
        if self.from_ns == 0
            && let Some(met_ns) = self.pass.met_ns()
        {
            self.from_ns = met_ns;
        }
        if self.window.is_none()
            && let Some(start_ns) = self.pass.start_ns()
        {
            self.window = Some(Window::new(start_ns, self.plan.warm_up, self.plan.duration));
        }
    }

    /// Sends the next request when its time has come and there is room for it.
    fn probe_if_due(&mut self) {
        let due_ns = self.due_ns();
        if self.from_ns == 0 || self.now_ns < due_ns || self.is_past_end(due_ns) {
            return;
        }
        if self.sending || self.pending.len() >= if self.plan.raw { 1 } else { PENDING_MAX } {
            self.held_up = true;
            return;
        }
        // Who had to wait for the one before counts from when it was due; a timer that came late is
        // this side's own trouble.
        let now_ns = uring::monotonic_ns();
        let counts_from_ns = if std::mem::take(&mut self.held_up) { due_ns } else { now_ns };
        self.pending.push_back((self.next, counts_from_ns));
        self.begin_line(&line(self.next));
        self.next += 1;
    }

    fn begin_line(&mut self, text: &str) {
        self.ring.bytes_mut(self.line)[..text.len()].copy_from_slice(text.as_bytes());
        self.line_bytes = u32::try_from(text.len()).expect("a short line");
        self.sent = 0;
        self.send();
    }

    fn send(&mut self) {
        let Some(socket) = &self.socket else { return };
        self.ring.send(socket, self.line, self.sent..self.line_bytes, OWNER);
        self.sending = true;
    }

    fn receive(&mut self, readiness: Readiness) {
        if let Some(socket) = &self.socket {
            self.ring.recv(socket, readiness, OWNER);
        }
    }

    fn on_completion(&mut self, completion: Completion) {
        let failure = match (completion.token.op, completion.outcome) {
            (Op::Connect, Outcome::Failed(errno)) => {
                let failure = match errno {
                    Errno::ECANCELED => Failure::TimedOut,
                    errno => Failure::from_errno(errno),
                };
                self.connects.on_failed(failure);
                Some(failure)
            }
            (Op::Recv, Outcome::Failed(Errno::ENOBUFS)) => {
                self.receive(Readiness::Unknown);
                None
            }
            (_, Outcome::Failed(errno)) => Some(Failure::from_errno(errno)),
            (Op::Connect, _) => {
                self.on_connected();
                None
            }
            (Op::Send, Outcome::Done(sent)) => {
                self.on_sent(sent);
                None
            }
            (_, Outcome::Received { buffer, len, .. }) => {
                let bytes = self.ring.bytes(buffer, 0..len).to_vec();
                self.ring.release(buffer);
                self.receive(Readiness::Empty);
                self.on_bytes(&bytes).err()
            }
            (_, Outcome::EndOfStream) => Some(Failure::ClosedEarly),
            // The ring's own business.
            (_, Outcome::Accepted(_) | Outcome::Done(_)) => None,
        };
        self.rounds.failure = self.rounds.failure.or(failure);
    }

    fn on_connected(&mut self) {
        self.connects.on_established(self.now_ns);
        if let Some(socket) = &self.socket {
            // If it fails the requests are as good, only later when they follow each other.
            let _ = uring::set_nodelay(socket);
        }
        self.receive(Readiness::Empty);
        if self.plan.raw {
            self.pass.arrive();
        } else {
            self.begin_line(FIRST_LINE);
        }
    }

    fn on_sent(&mut self, sent: u32) {
        self.sending = false;
        self.sent += sent;
        if self.sent < self.line_bytes {
            self.send();
        } else {
            // After the first line all is ready; later it is known already.
            self.pass.arrive();
        }
    }

    fn on_bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|&byte| byte == b'\n') {
            let reply: Vec<u8> = self.partial.drain(..=end).collect();
            let (number, from_ns) = self.pending.pop_front().ok_or(Failure::UnexpectedReply)?;
            if !self.plan.raw && reply != line(number).as_bytes() {
                return Err(Failure::UnexpectedReply);
            }
            self.record(from_ns);
        }
        if self.partial.len() > REPLY_BYTES_MAX { Err(Failure::UnexpectedReply) } else { Ok(()) }
    }

    fn record(&mut self, from_ns: u64) {
        let latency_ns = self.now_ns.saturating_sub(from_ns);
        match self.window {
            Some(window) if window.measures(from_ns) => self.rounds.loaded.record_ns(latency_ns),
            // Of the warm-up, or of the moment after the end.
            Some(window) if from_ns >= window.start_ns => {}
            _ => self.rounds.idle.record_ns(latency_ns),
        }
    }

    fn finish(mut self) -> Rounds {
        // What was never answered took at least as long as it has waited.
        while let Some((_, from_ns)) = self.pending.pop_front() {
            self.record(from_ns);
        }
        self.rounds
    }
}

fn line(number: u64) -> String {
    format!("probe {number:057}\n")
}

/// Makes the connection an echo.
const FIRST_LINE: &str = "echo\n";
const OWNER: Owner = Owner::slot(0);
/// More would not come back any sooner.
const PENDING_MAX: usize = 1000;
const REPLY_BYTES_MAX: usize = 64 * 1024;
const RING: Config = Config {
    entries: 8,
    buffers: 3,
    published: 2,
    buffer_bytes: 64 * 1024,
    reserved: 1,
    busy_poll: None,
};
