//! Where a service puts its answers: it asks what shall become of each request, and says where the
//! answer to it ends. At a backend without faults the answers are one run of bytes; where there are
//! faults, each has a time to leave.

use std::time::{Duration, Instant};

use super::held::{Held, Then};
use super::output::Output;
use super::service::Personality;

/// Answers to the requests of one receive.
#[derive(Debug)]
pub(super) struct Replies {
    /// What was written, since the last answer that was held.
    pub(super) output: Output,
    /// Answers that have a time to leave.
    pub(super) held: Vec<Held>,
    /// Requests that were begun.
    pub(super) requests: u64,
    /// When the requests came.
    pub(super) now: Instant,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    /// What is done instead of answering, or that.
    pub(super) act: Act,
    /// How long after the request.
    pub(super) delay: Duration,
}

/// How a request is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// As it should be.
    Answer,
    /// With an answer that is an error.
    Error,
    /// Not at all.
    Drop,
    /// With the end of the connection.
    Close,
    /// With a reset.
    Reset,
}

impl Default for Replies {
    fn default() -> Self {
        Self { output: Output::default(), held: Vec::new(), requests: 0, now: Instant::now() }
    }
}

impl Replies {
    /// A request is there, and is counted: what shall become of it.
    pub(super) fn begin(&mut self, who: &Personality) -> Fate {
        self.requests += 1;
        who.rules.as_ref().map_or(Fate::FAIR, |rules| rules.fate())
    }

    /// The answer to a request is written, or a part of it; whether the connection goes on.
    pub(super) fn end(&mut self, who: &Personality, fate: Fate) -> bool {
        let Some(rules) = &who.rules else { return true };
        let then = match fate.act {
            Act::Answer | Act::Error | Act::Drop => Then::Stay,
            Act::Close => Then::Finish,
            Act::Reset => Then::Reset,
        };
        if !self.output.is_done() || then != Then::Stay {
            let due = rules.release_at(self.now + fate.delay);
            self.held.push(Held { due, output: std::mem::take(&mut self.output), then });
        }
        then == Then::Stay
    }

    /// Everything that was written and not sent yet, as text.
    #[cfg(test)]
    pub(super) fn text(self) -> String {
        let outputs = self.held.into_iter().map(|held| held.output).chain([self.output]);
        let bytes = outputs.flat_map(|mut output| {
            let mut all = vec![0; usize::try_from(output.left()).expect("tests are small")];
            output.fill(&mut all);
            all
        });
        String::from_utf8(bytes.collect()).expect("answers are text")
    }
}

impl Fate {
    /// The answer, at once.
    pub(super) const FAIR: Self = Self { act: Act::Answer, delay: Duration::ZERO };
}
