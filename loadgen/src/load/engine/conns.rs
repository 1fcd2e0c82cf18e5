//! What happens to single connections of a worker: completions become events of their flows, and
//! what the flows say is done.

use uring::{BufferId, Completion, Errno, Op, Outcome, Readiness, Token};

use super::{Phase, Place, Worker};
use crate::Close;
use crate::io::Io;
use crate::load::failure::Failure;
use crate::load::flow::{Ended, Ops, State, Step};
use crate::load::offer::nanoseconds;
use crate::load::plan::Workload;
use crate::load::reply::{BackendId, Progressed};

impl<I: Io> Worker<'_, I> {
    /// Hands what the kernel answered to the connection that asked.
    pub(super) fn on_completion(&mut self, completion: Completion) {
        let Completion { token: Token { op, owner }, outcome } = completion;
        let index = owner.slot;
        if self.slots[index as usize].owner(index) != owner {
            // Of a connection that is gone; only its buffer matters.
            if let Outcome::Received { buffer, .. } = outcome {
                self.io.release(buffer);
            }
            return;
        }
        match op {
            Op::Connect => self.on_connect(index, &outcome),
            Op::Send => self.on_send(index, &outcome),
            Op::Recv => self.on_receive(index, &outcome),
            // Never asked for here, or the ring's own business.
            Op::Accept | Op::Poll | Op::Nop | Op::Cancel | Op::Close => {}
        }
    }

    fn on_connect(&mut self, index: u32, outcome: &Outcome) {
        if let Outcome::Failed(errno) = outcome {
            self.on_failed(index, Ended::Connect, Failure::from_errno(*errno));
            return;
        }
        match self.slots[index as usize].flow.on_done(Ended::Connect) {
            Step::Go => self.on_established(index),
            step => self.perform(index, step),
        }
    }

    fn on_established(&mut self, index: u32) {
        self.connecting -= 1;
        self.connected += 1;
        self.summary.connects += 1;
        let slot = &mut self.slots[index as usize];
        slot.established = true;
        // Of a connection for one request only if that counts.
        if slot.asked.front().is_none_or(|asked| asked.measured) {
            self.recorder.connect.record_ns(self.now_ns - slot.send_ns);
        }
        match self.plan.workload {
            Workload::Ping | Workload::Http => {
                slot.life = self.plan.lifetime.draw(&mut self.random);
                let count = slot.grant(self.plan.depth());
                let generation = slot.owner(index).generation;
                self.places.add(Place { slot: index, generation, count, since_ns: self.now_ns });
            }
            Workload::Conn if self.plan.connect_only => {
                // That it stands is the answer.
                self.on_reply(index, Progressed::Whole(BackendId::default()));
                self.slots[index as usize].failures = 0;
                let step = self.slots[index as usize].flow.close();
                self.perform(index, step);
                return;
            }
            Workload::Conn => self.send(index, 1),
        }
        self.receive(index, Readiness::Empty);
    }

    fn on_send(&mut self, index: u32, outcome: &Outcome) {
        let slot = &mut self.slots[index as usize];
        match outcome {
            Outcome::Done(sent) if *sent == slot.sending => match slot.flow.on_done(Ended::Send) {
                Step::Go => self.on_sent(index),
                step => self.perform(index, step),
            },
            // A failed send may take the socket's error with it, and the receive then looks like
            // a clean end: what counts is what came first.
            Outcome::Failed(errno) => {
                self.on_failed(index, Ended::Send, Failure::from_errno(*errno));
            }
            // Short, although the kernel repeats short sends: the connection broke half-way.
            _ => self.on_failed(index, Ended::Send, Failure::Reset),
        }
    }

    /// Places that waited for the end of the send are free again. If it ended with the enter that
    /// began it they always were; otherwise the connection took nothing for a while.
    fn on_sent(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let count = std::mem::take(&mut slot.held);
        if count > 0 {
            let at_once = slot.send_ns == self.entered_ns;
            let since_ns = if at_once { slot.held_since_ns } else { self.now_ns };
            let generation = slot.owner(index).generation;
            self.places.add(Place { slot: index, generation, count, since_ns });
        }
    }

    fn on_receive(&mut self, index: u32, outcome: &Outcome) {
        match *outcome {
            Outcome::Received { buffer, len, more } => {
                let step = self.slots[index as usize].flow.on_done(Ended::Receive);
                match step {
                    Step::Go => self.on_bytes(index, buffer, len, more),
                    step => {
                        self.io.release(buffer);
                        self.perform(index, step);
                    }
                }
            }
            // Every buffer of this turn is given back by its end, so the next receive finds one.
            Outcome::Failed(Errno::ENOBUFS) => {
                match self.slots[index as usize].flow.on_done(Ended::Receive) {
                    Step::Go => self.receive(index, Readiness::Unknown),
                    step => self.perform(index, step),
                }
            }
            Outcome::Failed(errno) => {
                self.on_failed(index, Ended::Receive, Failure::from_errno(errno));
            }
            _ => self.on_end_of_stream(index),
        }
    }

    /// The peer has finished writing: with it ends a response that has no length, and what else was
    /// asked is not answered.
    fn on_end_of_stream(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if slot.flow.state() == State::Open
            && !slot.asked.is_empty()
            && let Some(progressed) = slot.reply.end(&mut self.names)
        {
            self.on_reply(index, progressed);
        }
        let slot = &mut self.slots[index as usize];
        let answered_all = slot.asked.is_empty() && slot.answered;
        if answered_all {
            // As it said, or as it may: only the next connection is to come.
            let step = slot.flow.on_failed(Ended::Receive);
            self.perform(index, step);
        } else {
            self.on_failed(index, Ended::Receive, Failure::ClosedEarly);
        }
    }

    fn on_bytes(&mut self, index: u32, buffer: BufferId, len: u32, more: bool) {
        if self.recorder.counts_at(self.now_ns) {
            self.recorder.received(len);
        }
        let read = self.read_replies(index, buffer, len);
        self.io.release(buffer);
        let answered = match read {
            Ok(answered) => answered,
            Err(failure) => {
                self.fail(index, failure);
                let step = self.slots[index as usize].flow.close();
                self.perform(index, step);
                return;
            }
        };
        if answered > 0 {
            self.slots[index as usize].failures = 0;
        }
        if self.is_finished(index, answered) {
            let step = self.slots[index as usize].flow.close();
            self.perform(index, step);
        } else {
            let readiness = if more { Readiness::Unknown } else { Readiness::Empty };
            self.receive(index, readiness);
        }
    }

    /// Takes every reply out of a receive; how many there were.
    fn read_replies(&mut self, index: u32, buffer: BufferId, len: u32) -> Result<u32, Failure> {
        let mut at = 0;
        let mut answered = 0;
        while at < len {
            let slot = &mut self.slots[index as usize];
            if slot.asked.is_empty() || slot.ends {
                return Err(Failure::UnexpectedReply);
            }
            let mut bytes = self.io.bytes(buffer, at..len);
            let progressed = slot.reply.next(&mut bytes, &mut self.names);
            at = len - u32::try_from(bytes.len()).expect("less than there was");
            match progressed {
                Progressed::Part => {}
                Progressed::Wrong => return Err(Failure::UnexpectedReply),
                Progressed::Whole(_) | Progressed::Status(_) => {
                    self.on_reply(index, progressed);
                    answered += 1;
                }
            }
        }
        Ok(answered)
    }

    /// The oldest request has its reply, good or bad.
    fn on_reply(&mut self, index: u32, progressed: Progressed) {
        let slot = &mut self.slots[index as usize];
        let asked = slot.asked.pop_front().expect("a reply is to a request");
        slot.answered = true;
        slot.ends = !slot.reply.stays();
        if !asked.measured {
            return;
        }
        self.in_flight -= 1;
        match progressed {
            Progressed::Whole(backend) => {
                self.recorder.answered(asked.times(self.now_ns), backend);
            }
            Progressed::Status(status) => self.recorder.failed(Failure::Status(status), 1),
            Progressed::Part | Progressed::Wrong => {
                self.recorder.failed(Failure::UnexpectedReply, 1);
            }
        }
    }

    /// Gives the places of answered requests to others, if the connection goes on for that; whether
    /// it is finished.
    fn is_finished(&mut self, index: u32, answered: u32) -> bool {
        if self.plan.workload == Workload::Conn {
            return answered > 0;
        }
        let slot = &mut self.slots[index as usize];
        if slot.ends {
            // The peer said so, and answers nothing more.
            let left = !slot.asked.is_empty();
            if left {
                self.fail(index, Failure::ClosedEarly);
            }
            return true;
        }
        let count = slot.grant(answered);
        if count > 0 {
            if slot.flow.can_send() {
                let generation = slot.owner(index).generation;
                self.places.add(Place { slot: index, generation, count, since_ns: self.now_ns });
            } else {
                slot.hold(count, self.now_ns);
            }
        }
        slot.has_lived()
    }

    fn on_failed(&mut self, index: u32, op: Ended, failure: Failure) {
        match self.slots[index as usize].flow.state() {
            State::Connecting => {
                self.connecting -= 1;
                self.connect_failed(index, failure);
            }
            State::Open => self.fail(index, failure),
            // It is ended already, and counted.
            State::Closing | State::Idle => {}
        }
        let step = self.slots[index as usize].flow.on_failed(op);
        self.perform(index, step);
    }

    /// A connect failed. In a closed loop its connection would have carried a request at once: that
    /// is the one that failed. In an open loop requests wait for another connection; if there is
    /// none, the one that has waited for longest fails, so that it is told why.
    pub(super) fn connect_failed(&mut self, index: u32, failure: Failure) {
        self.connect_failures += 1;
        self.summary.connect_failure = Some(failure);
        if let Phase::Running(offer) = &mut self.phase
            && self.slots[index as usize].asked.is_empty()
            && (self.connected == 0 || !offer.is_open_loop())
            && offer.take(self.now_ns).is_some_and(|due| due.measured)
        {
            self.recorder.failed(failure, 1);
        }
        self.fail(index, failure);
    }

    /// All requests of a connection failed.
    fn fail(&mut self, index: u32, failure: Failure) {
        let slot = &mut self.slots[index as usize];
        slot.failures += 1;
        let measured = slot.asked.drain(..).filter(|asked| asked.measured).count() as u64;
        (slot.free, slot.held) = (0, 0);
        self.in_flight -= measured;
        self.recorder.failed(failure, measured);
    }

    /// Ends connections that are overdue. While the load is on that is an error; what is not
    /// answered when it is over is unanswered.
    pub(super) fn end_overdue(&mut self) {
        let timeout_ns = nanoseconds(self.plan.timeout);
        for index in (0..).take(self.slots.len()) {
            if !self.slots[index as usize].is_overdue(self.now_ns, timeout_ns) {
                continue;
            }
            let drains = match &self.phase {
                Phase::Running(offer) => self.now_ns >= offer.until_ns,
                Phase::Connecting { .. } | Phase::Waiting => false,
            };
            let is_connecting = self.slots[index as usize].flow.state() == State::Connecting;
            if is_connecting {
                self.connecting -= 1;
            }
            match (drains, is_connecting) {
                (true, _) => self.give_up(index),
                (false, true) => self.connect_failed(index, Failure::TimedOut),
                (false, false) => self.fail(index, Failure::TimedOut),
            }
            let step = self.slots[index as usize].flow.close();
            self.perform(index, step);
        }
    }

    /// The drain is over.
    pub(super) fn end_drain(&mut self) {
        for index in (0..).take(self.slots.len()) {
            self.give_up(index);
        }
    }

    /// What a connection was asked is never answered.
    fn give_up(&mut self, index: u32) {
        for asked in self.slots[index as usize].asked.drain(..).filter(|asked| asked.measured) {
            self.in_flight -= 1;
            self.recorder.unanswered(asked.times(self.now_ns));
        }
    }

    /// Does what a flow says.
    fn perform(&mut self, index: u32, step: Step) {
        match step {
            Step::Nothing | Step::Go => {}
            Step::Cancel(ops) => self.cancel(index, ops),
            Step::Release => self.on_released(index),
        }
    }

    fn cancel(&mut self, index: u32, ops: Ops) {
        let owner = self.slots[index as usize].owner(index);
        for (in_flight, op) in
            [(ops.connect, Op::Connect), (ops.send, Op::Send), (ops.receive, Op::Recv)]
        {
            if in_flight {
                self.io.cancel(Token { op, owner });
                self.queued += 1;
            }
        }
    }

    fn on_released(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if std::mem::take(&mut slot.established) {
            self.connected -= 1;
        }
        if let Some(socket) = slot.socket.take() {
            match self.plan.close {
                Close::Rst => self.io.reset(socket),
                Close::Fin => {
                    self.io.close(socket);
                    self.queued += 1;
                }
            }
        }
        self.come_back(index);
    }

    /// A slot without a connection goes on: at once, or after a failure later. Where a schedule
    /// says when the next connection is made, failures need no pause.
    pub(super) fn come_back(&mut self, index: u32) {
        let failures = self.slots[index as usize].failures;
        let is_paced = self.plan.workload == Workload::Conn && self.plan.rate.is_some();
        if failures > 0 && !is_paced {
            self.retries.add(self.now_ns, failures, index);
        } else {
            self.rest(index);
        }
    }

    /// A slot without a connection may have one.
    pub(super) fn rest(&mut self, index: u32) {
        match self.plan.workload {
            Workload::Ping | Workload::Http => self.to_open.push_back(index),
            Workload::Conn => {
                let slot = &mut self.slots[index as usize];
                slot.free = 1;
                let generation = slot.owner(index).generation;
                self.places.add(Place { slot: index, generation, count: 1, since_ns: self.now_ns });
            }
        }
    }
}
