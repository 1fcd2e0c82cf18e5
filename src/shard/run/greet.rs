//! What is read from a client before it is relayed, and instead.

use uring::{Errno, Owner};

use crate::core::proxy::{Origin, Parsed, parse};
use crate::core::session::Greeting;
use crate::shard::driver::Driver;

use super::{ALIVE, Entry, Shard};

impl<D: Driver> Shard<D> {
    /// Reads as much of a PROXY header as has come, and not a byte behind it.
    pub(super) fn greet(&mut self, owner: Owner) -> Greeting {
        let Entry { client, extra, .. } = self.sessions.find(owner).expect(ALIVE);
        let extra = extra.get_or_insert_default();
        let mut peeked = [0; PEEK];
        let bytes = match self.driver.peek(client, &mut peeked) {
            Ok(0) => return self.bad_greeting("the end"),
            Ok(bytes) => bytes,
            Err(Errno::EAGAIN) => return Greeting::Part,
            Err(_) => return self.bad_greeting("a reset"),
        };
        let before = extra.greeting.len();
        extra.greeting.extend_from_slice(&peeked[..bytes]);
        let (taken, greeting) = match parse(&extra.greeting) {
            Parsed::NeedMore => (bytes, Greeting::Part),
            Parsed::Header { len, origin } => {
                match origin {
                    Origin::Proxied { source, destination } => {
                        (extra.client, extra.destination) = (Some(source), Some(destination));
                    }
                    // The connection is its own origin, or nobody knows.
                    Origin::Local | Origin::Unknown => {}
                }
                (len - before, Greeting::Whole)
            }
            Parsed::Invalid(reason) => return self.bad_greeting(&reason.to_string()),
        };
        // What was peeked is there to be taken.
        match self.driver.take(client, taken) {
            Ok(gone) if gone == taken => {
                if greeting == Greeting::Whole {
                    extra.greeting = Vec::new();
                }
                greeting
            }
            _ => self.bad_greeting("a reset"),
        }
    }

    fn bad_greeting(&mut self, what: &str) -> Greeting {
        self.counters().bad_greeting.add(1);
        if self.may_warn() {
            tracing::warn!(
                "a client that must begin with a PROXY header sent something else: {what}"
            );
        }
        Greeting::Bad
    }

    /// Tells a client that there is nobody, in the words of the pool.
    pub(super) fn turn_away(&mut self, owner: Owner) {
        self.wait_no_more(owner);
        self.defer_no_more(owner);
        self.discharge(owner);
        let Entry { client, here, .. } = self.sessions.find(owner).expect(ALIVE);
        if !here.pool.farewell.is_empty() {
            // Nothing was sent to it before, so there is room for a sentence; and if it is gone, it
            // does not matter.
            let _ = self.driver.send_now(client, &here.pool.farewell);
        }
        self.driver.finish_writing(client);
        self.counters().turned_away.add(1);
    }

    /// Throws away what a client sends that was turned away. Whether it may send more.
    pub(super) fn discard(&mut self, owner: Owner) -> bool {
        let Entry { client, .. } = self.sessions.find(owner).expect(ALIVE);
        let mut peeked = [0; PEEK];
        for _ in 0..DISCARDS {
            match self.driver.peek(client, &mut peeked) {
                Ok(0) => return false,
                Ok(bytes) => {
                    if self.driver.take(client, bytes).is_err() {
                        return false;
                    }
                }
                Err(errno) => return errno == Errno::EAGAIN,
            }
        }
        true
    }
}

/// More than a header without unusual additions has.
const PEEK: usize = 2048;

/// Looks at a client that is turned away before others have their turn.
const DISCARDS: usize = 8;
