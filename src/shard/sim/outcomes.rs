//! The kinds of answers, to count them.

use uring::Op;

use crate::shard::driver::Outcome;

use super::driver::SimSocket;

/// Kinds of answers; each must be met in enough runs.
pub(super) const OUTCOMES: [&str; 12] = [
    "accepted",
    "accept_failed",
    "connected",
    "connect_failed",
    "received",
    "end_of_stream",
    "no_buffer",
    "recv_failed",
    "sent",
    "send_failed",
    "ready",
    "poll_failed",
];

/// Index in [`OUTCOMES`], and what else tells two answers apart.
pub(super) fn kind_and_value(op: Op, outcome: &Outcome<SimSocket>) -> (usize, u64) {
    match (op, outcome) {
        (_, Outcome::Accepted(socket)) => (0, socket.link as u64),
        (Op::Accept, Outcome::Failed(errno)) => (1, *errno as u64),
        (Op::Connect, Outcome::Done(_)) => (2, 0),
        (Op::Connect, Outcome::Failed(errno)) => (3, *errno as u64),
        (_, Outcome::Received(held)) => (4, held.end.into()),
        (_, Outcome::EndOfStream) => (5, 0),
        (_, Outcome::NoBuffer) => (6, 0),
        (Op::Recv, Outcome::Failed(errno)) => (7, *errno as u64),
        (Op::Send, Outcome::Done(bytes)) => (8, (*bytes).into()),
        (Op::Send, Outcome::Failed(errno)) => (9, *errno as u64),
        (_, Outcome::Done(_)) => (10, 0),
        (_, Outcome::Failed(errno)) => (11, *errno as u64),
        (_, Outcome::HandedOver(..)) => unreachable!("it is not an answer"),
    }
}
