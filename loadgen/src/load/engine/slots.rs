//! What a worker keeps for each connection, and which of them come back when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;

use uring::Owner;

use super::super::flow::{Flow, State};
use super::super::reply::{BackendId, Reply};

/// A connection's place; the connections in it follow each other, told apart by generation.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) socket: Option<OwnedFd>,
    pub(super) flow: Flow,
    pub(super) reply: Reply,
    generation: u32,
    /// When what is in flight was submitted.
    pub(super) asked_ns: u64,
    /// A request is started and not finished.
    pub(super) asking: bool,
    /// That request counts.
    pub(super) measured: bool,
    /// The connection stands.
    pub(super) established: bool,
    /// Who answered last.
    pub(super) backend: BackendId,
    /// Failures in a row.
    pub(super) failures: u32,
}

impl Slot {
    /// Whose operations those of the present connection are.
    pub(super) fn owner(&self, index: u32) -> Owner {
        Owner { slot: index, generation: self.generation, tag: 0 }
    }

    /// Begins the next connection.
    pub(super) fn renew(&mut self, index: u32) -> Owner {
        self.generation = (self.generation + 1) % Owner::GENERATIONS;
        self.reply.restart();
        self.flow.open();
        self.owner(index)
    }

    /// Whether what is in flight has had its time.
    pub(super) fn is_overdue(&self, now_ns: u64, timeout_ns: u64) -> bool {
        match self.flow.state() {
            State::Connecting | State::Waiting | State::Answered => {
                now_ns.saturating_sub(self.asked_ns) >= timeout_ns
            }
            State::Idle | State::Connected | State::Closing => false,
        }
    }
}

/// Slots that failed and try again, the first due first.
#[derive(Debug, Default)]
pub(super) struct Retries(BinaryHeap<Reverse<(u64, u32)>>);

impl Retries {
    /// `failures` in a row: the slot comes back after a pause that doubles with each.
    pub(super) fn add(&mut self, now_ns: u64, failures: u32, index: u32) {
        let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
        self.0.push(Reverse((now_ns + (FIRST_PAUSE_NS << doublings), index)));
    }

    pub(super) fn next_ns(&self) -> Option<u64> {
        self.0.peek().map(|&Reverse((due_ns, _))| due_ns)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A slot whose time has come.
    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<u32> {
        self.next_ns().filter(|&due_ns| due_ns <= now_ns)?;
        self.0.pop().map(|Reverse((_, index))| index)
    }
}

/// Long enough not to flood a target that is down, short enough to be back at once.
const FIRST_PAUSE_NS: u64 = 10_000_000;
/// 640 ms at most.
const DOUBLINGS_MAX: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_come_in_order() {
        let mut retries = Retries::default();
        for (index, failures) in [(0, 100), (1, 2), (2, 1)] {
            retries.add(0, failures, index);
        }
        let mut due = Vec::new();
        while let Some(due_ns) = retries.next_ns() {
            assert_eq!(retries.take_due(due_ns - 1), None);
            due.push((due_ns / 1_000_000, retries.take_due(due_ns)));
        }
        assert_eq!(due, [(10, Some(2)), (20, Some(1)), (640, Some(0))]);
    }
}
