//! What happens to single connections of a worker.

use uring::{Completion, Errno, Op, Outcome, Owner, Readiness, Token};

use super::Worker;
use crate::hold::reply::{PROBE, Progressed};
use crate::hold::result::Piece;
use crate::hold::slot::State;
use crate::load::failure::Failure;

impl Worker<'_> {
    pub(super) fn on_completion(&mut self, completion: Completion) {
        let Completion { token: Token { op, owner }, outcome } = completion;
        let (index, slot) = (owner.slot, &mut self.slots[owner.slot as usize]);
        match op {
            Op::Connect => {
                slot.sending = false;
                self.on_connect(index, outcome);
            }
            Op::Send => {
                slot.sending = false;
                self.on_send(index, outcome);
            }
            Op::Recv => {
                slot.receiving = false;
                self.on_receive(index, outcome);
            }
            // Never asked for here, or the ring's own business.
            Op::Accept | Op::Poll | Op::Nop | Op::Cancel | Op::Close => {}
        }
        self.free_if_idle(index);
    }

    fn on_connect(&mut self, index: u32, outcome: Outcome) {
        if let Outcome::Failed(errno) = outcome {
            let failure = match errno {
                Errno::ECANCELED => Failure::TimedOut,
                errno => Failure::from_errno(errno),
            };
            self.connects.on_failed(failure);
            self.lose(index, failure);
            return;
        }
        self.connects.on_established(self.now_ns);
        let slot = &mut self.slots[index as usize];
        slot.state = State::Held;
        self.tally.connect.record_ns(self.now_ns.saturating_sub(slot.intended_ns));
        self.tally.connect_ns = self.now_ns - self.began_ns;
        self.tally.alive += 1;
        self.receive(index);
    }

    fn receive(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if let Some(socket) = &slot.socket {
            self.ring.recv(socket, Readiness::Empty, Owner::slot(index));
            slot.receiving = true;
        }
    }

    fn on_send(&mut self, index: u32, outcome: Outcome) {
        match outcome {
            Outcome::Failed(errno) => self.lose(index, Failure::from_errno(errno)),
            Outcome::Done(sent) if sent as usize == PROBE.len() => {}
            // A line of five bytes that does not fit an idle connection: it is none any more.
            _ => self.lose(index, Failure::Reset),
        }
    }

    fn on_receive(&mut self, index: u32, outcome: Outcome) {
        match outcome {
            Outcome::Received { buffer, len, .. } => {
                let bytes = self.ring.bytes(buffer, 0..len);
                let progressed = self.replies.on_bytes(index, bytes, self.plan.verify);
                self.tally.bytes_in += u64::from(len);
                self.ring.release(buffer);
                self.on_reply(index, progressed);
            }
            // Every buffer of this turn is given back by its end, so the next receive finds one.
            Outcome::Failed(Errno::ENOBUFS) => {}
            Outcome::Failed(errno) => self.lose(index, Failure::from_errno(errno)),
            _ => self.lose(index, Failure::ClosedEarly),
        }
        if self.slots[index as usize].state != State::Ended {
            self.receive(index);
        }
    }

    fn on_reply(&mut self, index: u32, progressed: Progressed) {
        let state = self.slots[index as usize].state;
        match (progressed, state) {
            (Progressed::Part, _) | (_, State::Connecting | State::Ended) => {}
            (Progressed::Whole(name), State::Asked) => self.on_answered(index, name),
            // Too late to count.
            (Progressed::Whole(_), State::Mute) => self.slots[index as usize].state = State::Held,
            // Wrong, or nothing was asked.
            (Progressed::Wrong, _) | (Progressed::Whole(_), State::Held) => {
                self.lose(index, Failure::UnexpectedReply);
            }
        }
    }

    fn on_answered(&mut self, index: u32, name: Option<String>) {
        let slot = &mut self.slots[index as usize];
        slot.state = State::Held;
        let service_ns = self.now_ns.saturating_sub(slot.sent_ns);
        let late_ns = slot.sent_ns.saturating_sub(slot.intended_ns);
        self.tally.ok += 1;
        self.tally.bytes_out += PROBE.len() as u64;
        self.tally.service.record_ns(service_ns);
        self.tally.wait_late.record_ns(late_ns);
        self.tally.response.record_ns(service_ns + late_ns);
        self.replies.count(name);
        if let Some(piece) = self.piece() {
            piece.ok += 1;
            piece.response.record_ns(service_ns + late_ns);
        }
    }

    /// The interval that it is now; what comes after the end belongs to the last.
    fn piece(&mut self) -> Option<&mut Piece> {
        let window = self.window?;
        let now_ns = self.now_ns.clamp(window.measure_from_ns, window.until_ns - 1);
        let at = usize::try_from((now_ns - window.measure_from_ns) / self.interval_ns).ok()?;
        while self.tally.pieces.len() <= at {
            self.tally.pieces.push(Piece::default());
        }
        self.tally.pieces.get_mut(at)
    }

    /// The connection is no more, or never was.
    pub(super) fn lose(&mut self, index: u32, failure: Failure) {
        let slot = &mut self.slots[index as usize];
        let state = std::mem::replace(&mut slot.state, State::Ended);
        if state == State::Ended {
            return;
        }
        let owner = Owner::slot(index);
        for (in_flight, op) in [(slot.sending, Op::Send), (slot.receiving, Op::Recv)] {
            if in_flight {
                self.ring.cancel(Token { op, owner });
            }
        }
        if state != State::Connecting {
            self.tally.alive -= 1;
        }
        if state == State::Asked {
            self.count_error(failure);
        }
        self.replies.forget(index);
        *self.tally.lost.entry(failure.name()).or_default() += 1;
    }

    pub(super) fn count_error(&mut self, failure: Failure) {
        self.tally.errors_sum += 1;
        *self.tally.errors.entry(failure.name()).or_default() += 1;
        if let Some(piece) = self.piece() {
            piece.errors += 1;
        }
    }

    fn free_if_idle(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if slot.state == State::Ended
            && !slot.sending
            && !slot.receiving
            && let Some(socket) = slot.socket.take()
        {
            self.ring.close(socket);
        }
    }
}
