//! What a worker keeps for each connection, and which of them come back when.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use uring::Owner;

use super::super::flow::{Flow, State};
use super::super::offer::Due;
use super::super::reply::Reply;
use super::super::tally::Times;
use crate::io::Socket;

/// A connection's place; the connections in it follow each other, told apart by generation.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) socket: Option<Socket>,
    pub(super) flow: Flow,
    pub(super) reply: Reply,
    /// Requests that are not answered, the oldest first.
    pub(super) asked: VecDeque<Asked>,
    generation: u32,
    /// The connection stands.
    pub(super) established: bool,
    /// It has answered something.
    pub(super) answered: bool,
    /// The peer has said that its last reply was the last.
    pub(super) ends: bool,
    /// Requests that may still be given to this connection; `None` is no bound.
    pub(super) life: Option<u64>,
    /// Free places of the pipeline, wherever they wait.
    pub(super) free: u32,
    /// Of these, places that wait here until the send in flight has ended, and since when the
    /// first of them has been free.
    pub(super) held: u32,
    pub(super) held_since_ns: u64,
    /// When the connect or the last send was submitted; 0 while that is to come.
    pub(super) send_ns: u64,
    /// Bytes of the send in flight.
    pub(super) sending: u32,
    /// Failures in a row.
    pub(super) failures: u32,
}

/// A request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// When it should have been sent; 0 stands for the time at which it will be.
    intended_ns: u64,
    /// When a place was free for it, not before it was due.
    free_ns: u64,
    /// 0 until it is submitted.
    pub(super) sent_ns: u64,
    /// It counts.
    pub(super) measured: bool,
}

impl Asked {
    /// `due` is given to a place that has been free since `since_ns`.
    pub(super) fn new(due: Due, since_ns: u64) -> Self {
        let intended_ns = due.intended_ns.unwrap_or(0);
        let free_ns = if intended_ns == 0 { 0 } else { since_ns.max(intended_ns) };
        Self { intended_ns, free_ns, sent_ns: 0, measured: due.measured }
    }

    /// It leaves now.
    pub(super) fn stamp(&mut self, now_ns: u64) {
        self.sent_ns = now_ns;
        if self.intended_ns == 0 {
            (self.intended_ns, self.free_ns) = (now_ns, now_ns);
        }
    }

    /// It ends now. Were it never submitted, it would have been sent at this moment.
    pub(super) fn times(&self, now_ns: u64) -> Times {
        let sent_ns = if self.sent_ns == 0 { now_ns } else { self.sent_ns };
        let (intended_ns, free_ns) = if self.intended_ns == 0 {
            (sent_ns, sent_ns)
        } else {
            (self.intended_ns, self.free_ns)
        };
        Times {
            service_ns: now_ns - sent_ns,
            wait_late_ns: sent_ns - free_ns,
            wait_busy_ns: free_ns - intended_ns,
        }
    }
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
        (self.free, self.held) = (0, 0);
        (self.answered, self.ends) = (false, false);
        self.flow.open();
        self.owner(index)
    }

    /// Takes up to `count` places of the pipeline for requests to come, as far as the connection's
    /// life goes; how many that were.
    pub(super) fn grant(&mut self, count: u32) -> u32 {
        let granted = match &mut self.life {
            None => count,
            Some(life) => {
                let granted = u32::try_from(*life).unwrap_or(u32::MAX).min(count);
                *life -= u64::from(granted);
                granted
            }
        };
        self.free += granted;
        granted
    }

    /// Free places wait until the send in flight has ended.
    pub(super) fn hold(&mut self, count: u32, since_ns: u64) {
        if count > 0 {
            let first_ns = if self.held == 0 { since_ns } else { self.held_since_ns };
            self.held_since_ns = first_ns.min(since_ns);
            self.held += count;
        }
    }

    /// Whether the connection has carried all that it shall.
    pub(super) fn has_lived(&self) -> bool {
        self.life == Some(0) && self.free == 0 && self.asked.is_empty()
    }

    /// Whether it still waits for what it was asked before anything counted.
    pub(super) fn is_silent(&self) -> bool {
        self.asked.front().is_some_and(|asked| !asked.measured)
    }

    /// What has been in flight for longest: since when.
    fn oldest_ns(&self) -> Option<u64> {
        match self.flow.state() {
            State::Connecting => Some(self.send_ns),
            State::Open => self.asked.front().map(|asked| asked.sent_ns),
            State::Idle | State::Closing => None,
        }
    }

    /// Whether what is in flight has had its time.
    pub(super) fn is_overdue(&self, now_ns: u64, timeout_ns: u64) -> bool {
        // What is not submitted yet has all its time.
        let since_ns = self.oldest_ns().filter(|&since_ns| since_ns != 0);
        since_ns.is_some_and(|since_ns| now_ns.saturating_sub(since_ns) >= timeout_ns)
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

    /// Due, free since, sent and done at these times: late, busy and service.
    #[track_caller]
    fn check(due: Option<u64>, free: u64, sent: u64, done: u64, expected: [u64; 3]) {
        let mut asked = Asked::new(Due { intended_ns: due, measured: true }, free);
        asked.stamp(sent);
        let times = asked.times(done);
        assert_eq!([times.wait_late_ns, times.wait_busy_ns, times.service_ns], expected);
        assert_eq!(times.response_ns(), done - due.unwrap_or(sent));
    }

    #[test]
    fn a_wait_is_the_generators_from_when_a_place_was_free() {
        check(Some(100), 50, 130, 200, [30, 0, 70]);
        check(Some(100), 120, 130, 200, [10, 20, 70]);
        check(Some(100), 100, 100, 100, [0, 0, 0]);
    }

    #[test]
    fn a_closed_loop_intends_what_it_sends() {
        check(None, 50, 130, 200, [0, 0, 70]);
    }

    #[test]
    fn a_life_ends_when_all_its_requests_are_answered() {
        let mut slot = Slot { life: Some(3), ..Slot::default() };
        assert_eq!(slot.grant(2), 2);
        assert_eq!(slot.grant(2), 1);
        assert_eq!(slot.grant(2), 0);
        assert!(!slot.has_lived(), "places are free");
        slot.free = 0;
        slot.asked.push_back(Asked::new(Due { intended_ns: None, measured: true }, 1));
        assert!(!slot.has_lived(), "a request is in flight");
        slot.asked.clear();
        assert!(slot.has_lived());
        assert!(!Slot::default().has_lived(), "it has no bound");
    }
}
