//! One connection of a backend, without its socket: answers go out in order, at most one send and
//! one receive are in flight, and nothing is received while an answer waits for an earlier one.
//!
//! ```text
//!            last answer, or the peer's end          all delivered
//!   Open ─────────────────────────────▶ Finishing ──┬──▶ closed          (the peer has ended)
//!     │                                    │        └──▶ Lingering ──▶ closed
//!     └── failed ──▶ Failed ◀── failed ────┘             (we ended first: the peer may still write,
//!                      └──▶ closed, when nothing is in flight        and a reset would cost it the answer)
//! ```

use std::ops::Range;

use uring::{BufferId, Op, Readiness};

use super::output::Output;

/// What is in flight and what waits on one connection.
#[derive(Debug, Default)]
pub(super) struct Relay {
    state: State,
    /// The answer whose send is in flight.
    sending: Option<Piece>,
    /// The answer after it; while there is one, nothing is received.
    queued: Option<Piece>,
    /// A receive is in flight, or waits for a buffer.
    receiving: bool,
    /// Answers are held elsewhere that have not been handed over.
    pub(super) owed: bool,
    /// Nothing is received until [`Relay::on_resumed`].
    pub(super) paused: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// What is left is delivered, then the connection ends.
    Finishing { peer_ended: bool },
    /// We have finished writing; what still comes is dropped until the peer has ended too.
    Lingering { bytes_left: u32 },
    /// Nothing new is started.
    Failed,
}

/// An answer, or as much of it as fits a buffer.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) buffer: BufferId,
    /// Bytes of the buffer still to be sent.
    pub(super) range: Range<u32>,
    /// What is sent after that, from the same buffer.
    pub(super) rest: Rest,
    /// Whether the buffer is given back after the last byte; shared texts stay.
    pub(super) owned: bool,
}

/// What follows the bytes that are in the buffer.
#[derive(Debug)]
pub(super) enum Rest {
    Nothing,
    /// What did not fit, in as many turns as it takes.
    Refilled(Box<Output>),
    /// The same buffer from its beginning, so many bytes, without end.
    Again(u32),
}

/// What the driver has to do now, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Actions {
    /// Give these buffers back.
    pub(super) release: [Option<BufferId>; 2],
    /// Fill this buffer from [`Relay::refill`] before the send.
    pub(super) refill: bool,
    /// Start this send.
    pub(super) send: Option<(BufferId, Range<u32>)>,
    /// Start a receive.
    pub(super) receive: Option<Readiness>,
    /// Tell the peer that nothing more will come, and limit the wait for its end.
    pub(super) finish_writing: bool,
    /// Cancel this operation.
    pub(super) cancel: Option<Op>,
    /// Close the socket: nothing is in flight.
    pub(super) close: bool,
}

impl Relay {
    /// The connection is accepted.
    pub(super) fn on_accepted(&mut self) -> Actions {
        self.proceed(Actions::default(), Readiness::Unknown)
    }

    /// A receive brought bytes and they were answered with `answer`, perhaps nothing; `last`: the
    /// service wants the end after it.
    pub(super) fn on_answer(&mut self, answer: Option<Piece>, last: bool, more: bool) -> Actions {
        self.receiving = false;
        let mut actions = Actions::default();
        if let Some(piece) = answer {
            self.enqueue(piece, &mut actions);
        }
        if last && self.state == State::Open {
            self.state = State::Finishing { peer_ended: false };
        }
        self.proceed(actions, if more { Readiness::Unknown } else { Readiness::Empty })
    }

    /// There is something to be sent although nothing came.
    pub(super) fn on_unasked(&mut self, piece: Piece) -> Actions {
        let mut actions = Actions::default();
        self.enqueue(piece, &mut actions);
        actions
    }

    /// An answer that was held is due; `owed`: others are not, `last`: the connection ends after it.
    pub(super) fn on_due(&mut self, answer: Option<Piece>, owed: bool, last: bool) -> Actions {
        let mut actions = Actions::default();
        self.owed = owed;
        if let Some(piece) = answer {
            self.enqueue(piece, &mut actions);
        }
        if last && self.state == State::Open {
            self.state = State::Finishing { peer_ended: false };
        }
        self.proceed(actions, Readiness::Unknown)
    }

    /// Receives may go on.
    pub(super) fn on_resumed(&mut self) -> Actions {
        self.paused = false;
        self.proceed(Actions::default(), Readiness::Unknown)
    }

    /// The connection shall end at once, whatever is on its way.
    pub(super) fn on_abort(&mut self) -> Actions {
        let mut actions = Actions::default();
        self.state = State::Failed;
        actions.cancel = self.receiving.then_some(Op::Recv);
        self.proceed(actions, Readiness::Unknown)
    }

    /// Whether an answer is on its way, so that the next one would wait here.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Whether answers that come now would not be sent any more.
    pub(super) fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// Whether bytes that come are dropped instead of answered.
    pub(super) fn drops_input(&self) -> bool {
        !matches!(self.state, State::Open)
    }

    /// A receive brought `len` bytes that nobody answers any more.
    pub(super) fn on_dropped(&mut self, len: u32) -> Actions {
        self.receiving = false;
        if let State::Lingering { bytes_left } = &mut self.state {
            match bytes_left.checked_sub(len) {
                Some(left) => *bytes_left = left,
                None => self.state = State::Failed,
            }
        }
        self.proceed(Actions::default(), Readiness::Empty)
    }

    /// The peer has finished writing; `answer` is what it is still owed.
    pub(super) fn on_end_of_stream(&mut self, answer: Option<Piece>) -> Actions {
        self.receiving = false;
        let mut actions = Actions::default();
        self.state = match self.state {
            State::Open | State::Finishing { .. } => State::Finishing { peer_ended: true },
            State::Lingering { .. } | State::Failed => State::Failed,
        };
        if let Some(piece) = answer {
            self.enqueue(piece, &mut actions);
        }
        self.proceed(actions, Readiness::Empty)
    }

    /// A buffer is there again for the receive that found none.
    pub(super) fn on_buffer_free(&mut self) -> Actions {
        self.receiving = false;
        self.proceed(Actions::default(), Readiness::Unknown)
    }

    /// A send ended well: `sent` bytes are the kernel's.
    pub(super) fn on_sent(&mut self, sent: u32) -> Actions {
        let mut actions = Actions::default();
        let Some(mut piece) = self.sending.take() else { return actions };
        piece.range.start += sent;
        let unsent = !piece.range.is_empty() || !matches!(piece.rest, Rest::Nothing);
        if unsent && self.state != State::Failed {
            self.start_send(piece, &mut actions);
        } else if piece.owned {
            actions.release[0] = Some(piece.buffer);
        }
        self.proceed(actions, Readiness::Unknown)
    }

    /// An operation failed: the connection is over. The other operation is made to end.
    pub(super) fn on_failed(&mut self, op: Op) -> Actions {
        let mut actions = Actions::default();
        self.state = State::Failed;
        if op == Op::Recv {
            self.receiving = false;
            actions.cancel = self.sending.as_ref().map(|_| Op::Send);
        } else {
            let sent = self.sending.take().filter(|piece| piece.owned);
            actions.release[0] = sent.map(|piece| piece.buffer);
            actions.cancel = self.receiving.then_some(Op::Recv);
        }
        let queued = self.queued.take().filter(|piece| piece.owned);
        actions.release[1] = queued.map(|piece| piece.buffer);
        self.proceed(actions, Readiness::Unknown)
    }

    /// The peer was given long enough to end.
    pub(super) fn on_linger_over(&mut self) -> Actions {
        let mut actions = Actions::default();
        if matches!(self.state, State::Lingering { .. }) {
            self.state = State::Failed;
            actions.cancel = self.receiving.then_some(Op::Recv);
        }
        self.proceed(actions, Readiness::Unknown)
    }

    /// Fills `memory` with what comes next of the answer that is being sent.
    pub(super) fn refill(&mut self, memory: &mut [u8]) {
        let piece = self.sending.as_mut().expect("a refill follows the start of a send");
        let Rest::Refilled(output) = &mut piece.rest else { return };
        output.fill(&mut memory[..piece.range.len()]);
        if output.is_done() {
            piece.rest = Rest::Nothing;
        }
    }

    fn enqueue(&mut self, piece: Piece, actions: &mut Actions) {
        if self.state == State::Failed {
            actions.release[0] = piece.owned.then_some(piece.buffer);
        } else if self.sending.is_none() {
            self.start_send(piece, actions);
        } else {
            debug_assert!(self.queued.is_none(), "nothing is received while an answer waits");
            self.queued = Some(piece);
        }
    }

    fn start_send(&mut self, mut piece: Piece, actions: &mut Actions) {
        if piece.range.is_empty() {
            piece.range = match &piece.rest {
                Rest::Refilled(output) => {
                    actions.refill = true;
                    0..u32::try_from(output.left()).unwrap_or(u32::MAX).min(PIECE_BYTES)
                }
                Rest::Again(len) => 0..*len,
                Rest::Nothing => 0..0,
            };
        }
        actions.send = Some((piece.buffer, piece.range.clone()));
        self.sending = Some(piece);
    }

    /// Starts what may start now; every event ends here.
    fn proceed(&mut self, mut actions: Actions, readiness: Readiness) -> Actions {
        if self.sending.is_none()
            && let Some(piece) = self.queued.take()
        {
            self.start_send(piece, &mut actions);
        }
        let sent = self.sending.is_none();
        let delivered = sent && !self.owed;
        match self.state {
            State::Open => self.receive_if_useful(readiness, &mut actions),
            State::Finishing { peer_ended: true } => actions.close = delivered,
            State::Finishing { peer_ended: false } if delivered => {
                actions.finish_writing = true;
                self.state = State::Lingering { bytes_left: LINGER_BYTES };
                self.receive_if_useful(readiness, &mut actions);
            }
            State::Finishing { peer_ended: false } => {}
            State::Lingering { .. } => self.receive_if_useful(readiness, &mut actions),
            State::Failed => actions.close = sent && !self.receiving,
        }
        actions
    }

    fn receive_if_useful(&mut self, readiness: Readiness, actions: &mut Actions) {
        let answers_wait = self.queued.is_some()
            || self.sending.as_ref().is_some_and(|piece| matches!(piece.rest, Rest::Refilled(_)));
        if !self.receiving && !answers_wait && !self.paused {
            self.receiving = true;
            actions.receive = Some(readiness);
        }
    }
}

/// What a refill takes of a buffer; none is smaller (see the worker's ring).
pub(super) const PIECE_BYTES: u32 = 16 * 1024;
/// A client that writes on after the last answer is heard out so far; then it may lose the answer.
const LINGER_BYTES: u32 = 1 << 20;

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
