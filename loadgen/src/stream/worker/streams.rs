//! What happens to single streams of a worker.

use uring::{BufferId, Completion, Errno, Op, Outcome, Owner, Readiness, Token};

use super::{State, Worker, line_range};
use crate::load::failure::Failure;
use crate::stream::pattern::PERIOD;

impl Worker<'_> {
    pub(super) fn on_completion(&mut self, completion: Completion) {
        let Completion { token: Token { op, owner }, outcome } = completion;
        let stream = &mut self.streams[owner.slot as usize];
        match op {
            Op::Connect => {
                stream.sending = false;
                self.on_connect(owner.slot, outcome);
            }
            Op::Send => {
                stream.sending = false;
                self.on_send(owner.slot, outcome);
            }
            Op::Recv => {
                stream.receiving = false;
                self.on_receive(owner.slot, outcome);
            }
            // Never asked for here, or the ring's own business.
            Op::Accept | Op::Poll | Op::Nop | Op::Cancel | Op::Close => {}
        }
        self.free_if_idle(owner.slot);
    }

    fn on_connect(&mut self, index: u32, outcome: Outcome) {
        let stream = &mut self.streams[index as usize];
        if let Outcome::Failed(errno) = outcome {
            let failure = match errno {
                Errno::ECANCELED => Failure::TimedOut,
                errno => Failure::from_errno(errno),
            };
            self.connects.on_failed(failure);
            self.fail(index, failure);
            return;
        }
        stream.state = State::Connected;
        self.connects.on_established(self.now_ns);
        self.tally.connect.record_ns(self.now_ns.saturating_sub(stream.tally.asked_ns));
    }

    fn on_send(&mut self, index: u32, outcome: Outcome) {
        let stream = &mut self.streams[index as usize];
        let sent = match outcome {
            Outcome::Done(sent) => sent,
            Outcome::Failed(errno) => return self.fail(index, Failure::from_errno(errno)),
            _ => return,
        };
        stream.sent_to += sent;
        match stream.state {
            State::Asking => {
                let line = line_range(stream.direction);
                if stream.sent_to == line.end - line.start {
                    (stream.state, stream.sent_to) = (State::Running, 0);
                }
                let more = stream.state == State::Asking || stream.direction.sends();
                if more {
                    self.send(index);
                }
            }
            State::Running => {
                stream.sent_to %= u32::from(PERIOD);
                self.count(index, 0, sent);
                // Short, although the kernel repeats short sends: the connection broke half-way.
                match sent == self.send_bytes {
                    true => self.send(index),
                    false => self.fail(index, Failure::Reset),
                }
            }
            State::Connecting | State::Connected | State::Ended => {}
        }
    }

    fn on_receive(&mut self, index: u32, outcome: Outcome) {
        let readiness = match outcome {
            Outcome::Received { buffer, len, more } => {
                self.on_bytes(index, buffer, len);
                if more { Readiness::Unknown } else { Readiness::Empty }
            }
            // Dropped in the kernel, as was asked; there may be more.
            Outcome::Done(len) => {
                self.count(index, len, 0);
                Readiness::Unknown
            }
            // Every buffer of this turn is given back by its end, so the next receive finds one.
            Outcome::Failed(Errno::ENOBUFS) => return self.hungry.push(index),
            Outcome::Failed(errno) => return self.fail(index, Failure::from_errno(errno)),
            _ => return self.fail(index, Failure::ClosedEarly),
        };
        self.to_receive.push((index, readiness));
    }

    fn on_bytes(&mut self, index: u32, buffer: BufferId, len: u32) {
        let stream = &mut self.streams[index as usize];
        if self.plan.verify && stream.direction.receives() {
            let bytes = self.ring.bytes(buffer, 0..len);
            stream.tally.wrong_bytes += self.pattern.wrong(stream.offset, bytes);
            stream.offset += u64::from(len);
        }
        self.ring.release(buffer);
        self.count(index, len, 0);
    }

    /// Bytes that went or came, if they do so while it is measured.
    fn count(&mut self, index: u32, bytes_in: u32, bytes_out: u32) {
        let Some(window) = self.window.filter(|window| window.measures(self.now_ns)) else {
            return;
        };
        let (bytes_in, bytes_out) = (u64::from(bytes_in), u64::from(bytes_out));
        let stream = &mut self.streams[index as usize].tally;
        stream.bytes_in += bytes_in;
        stream.bytes_out += bytes_out;
        let at = (self.now_ns - window.measure_from_ns) / self.interval_ns;
        let at = usize::try_from(at).expect("intervals are few");
        if self.tally.intervals.len() <= at {
            self.tally.intervals.resize(at + 1, [0; 2]);
        }
        self.tally.intervals[at][0] += bytes_in;
        self.tally.intervals[at][1] += bytes_out;
    }

    pub(super) fn fail(&mut self, index: u32, failure: Failure) {
        let stream = &mut self.streams[index as usize];
        if stream.state == State::Ended {
            return;
        }
        stream.tally.failure = Some(failure);
        stream.state = State::Ended;
        self.tally.errors += 1;
        self.open -= 1;
        let owner = Owner::slot(index);
        for (in_flight, op) in [(stream.sending, Op::Send), (stream.receiving, Op::Recv)] {
            if in_flight {
                self.ring.cancel(Token { op, owner });
            }
        }
    }

    fn free_if_idle(&mut self, index: u32) {
        let stream = &mut self.streams[index as usize];
        if stream.state == State::Ended
            && !stream.sending
            && !stream.receiving
            && let Some(socket) = stream.socket.take()
        {
            self.ring.close(socket);
        }
    }
}
