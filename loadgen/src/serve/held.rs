//! Replies of one connection that may not leave yet, in order.

use std::collections::VecDeque;
use std::time::Instant;

use super::output::Output;

/// A reply and when it may leave.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) due: Instant,
    pub(super) output: Output,
    pub(super) then: Then,
}

/// What follows a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The connection goes on.
    Stay,
    /// It ends in order.
    Finish,
    /// It is reset.
    Reset,
}

/// The replies that wait. A reply that is delayed holds up those behind it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    replies: VecDeque<Held>,
    bytes: u64,
}

impl Queue {
    /// Another reply. It leaves no earlier than the one before it.
    pub(super) fn push(&mut self, mut held: Held) {
        if let Some(last) = self.replies.back() {
            held.due = held.due.max(last.due);
        }
        self.bytes += held.output.left();
        self.replies.push_back(held);
    }

    /// Nothing more will be said after what is here, and that is its end.
    pub(super) fn finish(&mut self, at: Instant) {
        match self.replies.back_mut() {
            Some(last) if last.then == Then::Stay => last.then = Then::Finish,
            Some(_) => {}
            None => {
                self.push(Held { due: at, output: Output::default(), then: Then::Finish });
            }
        }
    }

    /// The first reply, if it may leave at `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Held> {
        self.due().filter(|&due| due <= now)?;
        let held = self.replies.pop_front()?;
        self.bytes -= held.output.left();
        Some(held)
    }

    /// When the first one may leave.
    pub(super) fn due(&self) -> Option<Instant> {
        self.replies.front().map(|held| held.due)
    }

    /// Whether the first one is only an end, without bytes.
    pub(super) fn ends_next(&self) -> bool {
        self.replies.front().is_some_and(|held| held.output.is_done())
    }

    /// Whether the connection ends behind what is here.
    pub(super) fn ends(&self) -> bool {
        self.replies.back().is_some_and(|held| held.then != Then::Stay)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    /// Whether so much waits that nothing more should be asked for.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > BYTES_MAX || self.replies.len() > REPLIES_MAX
    }
}

/// As a socket that nobody reads would hold.
const BYTES_MAX: u64 = 4 << 20;
/// Each takes about a hundred bytes.
const REPLIES_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    fn held(due: Instant, text: &str) -> Held {
        let mut output = Output::default();
        output.push(text.as_bytes());
        Held { due, output, then: Then::Stay }
    }

    #[test]
    fn replies_leave_in_order_and_when_they_are_due() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut queue = Queue::default();
        queue.push(held(start + 2 * second, "slow"));
        queue.push(held(start, "fast"));
        queue.push(held(start + 3 * second, "last"));
        assert!(queue.pop_due(start + second).is_none(), "the slow one holds up the fast one");
        let at = start + 2 * second;
        let texts: Vec<u64> =
            std::iter::from_fn(|| queue.pop_due(at)).map(|held| held.output.left()).collect();
        assert_eq!(texts, [4, 4]);
        assert_eq!(queue.due(), Some(start + 3 * second));
        assert!(!queue.is_empty());
    }

    #[test]
    fn the_end_comes_behind_the_last_reply() {
        let start = Instant::now();
        let mut queue = Queue::default();
        queue.push(held(start, "a"));
        assert!(!queue.ends());
        queue.finish(start);
        assert!(queue.ends() && !queue.ends_next());
        assert_eq!(queue.pop_due(start).map(|held| held.then), Some(Then::Finish));
        queue.finish(start);
        assert!(queue.ends_next());
    }

    #[test]
    fn what_waits_is_bounded() {
        let start = Instant::now();
        let mut queue = Queue::default();
        let mut long = held(start, "");
        long.output.push_filler(BYTES_MAX);
        queue.push(long);
        assert!(!queue.is_full());
        queue.push(held(start, "x"));
        assert!(queue.is_full());
        queue.pop_due(start);
        assert!(!queue.is_full());
    }
}
