//! What happens to single connections of a worker: completions become events of their flows, and
//! what the flows say is done.

use uring::{BufferId, Completion, ConnectOptions, Errno, Op, Outcome, Readiness, Token};

use super::{Phase, Worker};
use crate::load::failure::Failure;
use crate::load::flow::{Ended, Ops, State, Step};
use crate::load::plan::{Close, Workload};
use crate::load::reply::Progressed;

impl Worker<'_> {
    /// Starts the slot's next connection.
    pub(super) fn open(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.asked_ns = self.now_ns;
        let socket =
            match uring::stream_socket(&self.plan.address.into(), &ConnectOptions::default()) {
                Ok(socket) => socket,
                Err(error) => {
                    let failure = Failure::from_errno(uring::errno(&error));
                    self.on_connect_failed(failure);
                    self.count_failure(index, failure);
                    self.retry_later(index);
                    return;
                }
            };
        if self.plan.workload == Workload::Ping {
            // A request longer than a segment must not wait for the answer to its first part. If
            // it fails the connection is as good, only slower.
            let _ = uring::set_nodelay(&socket);
        }
        let owner = slot.renew(index);
        self.ring.connect(&socket, &self.plan.address.into(), owner);
        slot.socket = Some(socket);
        self.to_stamp.push(index);
        self.connecting += 1;
    }

    /// Starts the request of a slot that is connected.
    pub(super) fn request(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let owner = slot.owner(index);
        let socket = slot.socket.as_ref().expect("a connected flow has a socket");
        slot.flow.request();
        self.ring.send_whole(socket, self.request, 0..self.plan.request_len(), owner);
        self.ring.recv(socket, Readiness::Empty, owner);
    }

    /// Hands what the kernel answered to the connection that asked.
    pub(super) fn on_completion(&mut self, completion: Completion) {
        let Completion { token: Token { op, owner }, outcome } = completion;
        let index = owner.slot;
        if self.slots[index as usize].owner(index) != owner {
            // Of a connection that is gone; only its buffer matters.
            if let Outcome::Received { buffer, .. } = outcome {
                self.ring.release(buffer);
            }
            return;
        }
        let step = match op {
            Op::Connect => self.on_connect(index, outcome),
            Op::Send => self.on_send(index, outcome),
            Op::Recv => self.on_receive(index, outcome),
            // Never asked for here, or the ring's own business.
            Op::Accept | Op::Poll | Op::Nop | Op::Cancel | Op::Close => Step::Nothing,
        };
        self.perform(index, step);
    }

    fn on_connect(&mut self, index: u32, outcome: Outcome) -> Step {
        match outcome {
            Outcome::Failed(errno) => {
                self.on_failed(index, Ended::Connect, Failure::from_errno(errno))
            }
            _ => self.slots[index as usize].flow.on_connected(),
        }
    }

    fn on_send(&mut self, index: u32, outcome: Outcome) -> Step {
        match outcome {
            Outcome::Done(sent) if sent == self.plan.request_len() => {
                self.slots[index as usize].flow.on_sent()
            }
            // A failed send may take the socket's error with it, and the receive then looks like
            // a clean end: what counts is what came first.
            Outcome::Failed(errno) => {
                self.on_failed(index, Ended::Send, Failure::from_errno(errno))
            }
            // Short, although the kernel repeats short sends: the connection broke half-way.
            _ => self.on_failed(index, Ended::Send, Failure::Reset),
        }
    }

    fn on_receive(&mut self, index: u32, outcome: Outcome) -> Step {
        match outcome {
            Outcome::Received { buffer, len, .. } => self.on_bytes(index, buffer, len),
            // Every buffer of this turn is given back by its end, so the next receive finds one.
            Outcome::Failed(Errno::ENOBUFS) => self.slots[index as usize].flow.on_reply_part(),
            Outcome::Failed(errno) => {
                self.on_failed(index, Ended::Receive, Failure::from_errno(errno))
            }
            _ => self.on_failed(index, Ended::Receive, Failure::ClosedEarly),
        }
    }

    fn on_bytes(&mut self, index: u32, buffer: BufferId, len: u32) -> Step {
        let slot = &mut self.slots[index as usize];
        let mut bytes = self.ring.bytes(buffer, 0..len);
        let progressed = slot.reply.next(&mut bytes, &mut self.names);
        let is_all = bytes.is_empty();
        self.ring.release(buffer);
        match progressed {
            Progressed::Part => slot.flow.on_reply_part(),
            Progressed::Whole(backend) if is_all => {
                slot.backend = backend;
                slot.flow.on_reply()
            }
            // Neither right nor, with more than was asked for, only that.
            Progressed::Whole(_) | Progressed::Status(_) | Progressed::Wrong => {
                self.on_failed(index, Ended::Receive, Failure::UnexpectedReply)
            }
        }
    }

    fn on_failed(&mut self, index: u32, op: Ended, failure: Failure) -> Step {
        self.note_failure(index, failure);
        self.slots[index as usize].flow.on_ended(op)
    }

    /// Does what a flow says.
    pub(super) fn perform(&mut self, index: u32, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Receive => {
                let slot = &self.slots[index as usize];
                let socket = slot.socket.as_ref().expect("a flow that receives has a socket");
                self.ring.recv(socket, Readiness::Unknown, slot.owner(index));
            }
            Step::Connected => self.on_established(index),
            Step::Answered => self.on_answered(index),
            Step::Cancel(ops) => self.cancel(index, ops),
            Step::Release => self.on_released(index),
        }
    }

    fn on_established(&mut self, index: u32) {
        self.connecting -= 1;
        self.connected += 1;
        self.tally.connected_once = true;
        let slot = &mut self.slots[index as usize];
        slot.established = true;
        if let Some(connect) = self.tally.connect.as_mut().filter(|_| slot.measured) {
            connect.saturating_record(self.now_ns.saturating_sub(slot.asked_ns));
        }
        self.go_on(index);
    }

    fn on_answered(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.failures = 0;
        slot.asking = false;
        self.asked -= 1;
        if slot.measured {
            let latency_ns = self.now_ns.saturating_sub(slot.asked_ns);
            self.tally.latency.saturating_record(latency_ns);
            match self.phase {
                Phase::Running(window) if self.now_ns > window.until_ns => self.tally.late += 1,
                _ => {
                    self.tally.requests += 1;
                    self.names.count(slot.backend);
                }
            }
        }
        match self.plan.workload {
            Workload::Ping => self.go_on(index),
            Workload::Conn => {
                let step = self.slots[index as usize].flow.close();
                self.perform(index, step);
            }
        }
    }

    fn cancel(&mut self, index: u32, ops: Ops) {
        let owner = self.slots[index as usize].owner(index);
        for (in_flight, op) in
            [(ops.connect, Op::Connect), (ops.send, Op::Send), (ops.receive, Op::Recv)]
        {
            if in_flight {
                self.ring.cancel(Token { op, owner });
            }
        }
    }

    fn on_released(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let failed = slot.failures > 0;
        if std::mem::take(&mut slot.established) {
            self.connected -= 1;
        }
        if let Some(socket) = slot.socket.take() {
            match (self.plan.workload, self.plan.close) {
                (Workload::Conn, Close::Rst) => uring::close_with_reset(socket),
                (Workload::Ping, _) | (Workload::Conn, Close::Fin) => self.ring.close(socket),
            }
        }
        if failed { self.retry_later(index) } else { self.go_on(index) }
    }

    fn retry_later(&mut self, index: u32) {
        let failures = self.slots[index as usize].failures;
        self.retries.add(self.now_ns, failures, index);
    }

    /// Counts a failure of the flow, the first one of this connection only.
    pub(super) fn note_failure(&mut self, index: u32, failure: Failure) {
        match self.slots[index as usize].flow.state() {
            State::Closing => return,
            State::Connecting => {
                self.connecting -= 1;
                self.on_connect_failed(failure);
            }
            State::Idle | State::Connected | State::Waiting | State::Answered => {}
        }
        self.count_failure(index, failure);
    }

    fn on_connect_failed(&mut self, failure: Failure) {
        self.connect_failures += 1;
        self.tally.connect_failure = Some(failure);
    }

    fn count_failure(&mut self, index: u32, failure: Failure) {
        let slot = &mut self.slots[index as usize];
        slot.failures += 1;
        // What happened to a request of the warm-up is not part of the result; what happened to
        // a connection that carried none is.
        let counts = !slot.asking || slot.measured;
        if std::mem::take(&mut slot.asking) {
            self.asked -= 1;
        }
        if counts {
            self.errors += 1;
            *self.tally.errors.entry(failure.name()).or_default() += 1;
        }
    }
}
