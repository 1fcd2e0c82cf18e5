//! Where a service puts its answers: it asks what shall become of each request, and says where the
//! answer to it ends.

use std::time::Duration;

use super::output::Output;
use super::service::Personality;

/// Answers to the requests of one receive.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// What was written and goes out at once.
    pub(super) output: Output,
    /// Requests that were begun.
    pub(super) requests: u64,
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
#[expect(dead_code, reason = "what chooses among them comes next")]
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

impl Replies {
    /// A request is there, and is counted: what shall become of it.
    pub(super) fn begin(&mut self, _who: &Personality) -> Fate {
        self.requests += 1;
        Fate::FAIR
    }

    /// The same for a request of who watches: it is not counted and meets no fault.
    #[expect(clippy::unused_self, reason = "stalls will matter here")]
    pub(super) fn begin_watched(&mut self, _who: &Personality) -> Fate {
        Fate::FAIR
    }

    /// The answer to a request is written, if it gets one; whether the connection goes on.
    pub(super) fn end(&mut self, _who: &Personality, _fate: Fate) -> bool {
        true
    }

    /// Everything that was written and not sent yet, as text.
    #[cfg(test)]
    pub(super) fn text(mut self) -> String {
        let mut all = vec![0; usize::try_from(self.output.left()).expect("tests are small")];
        self.output.fill(&mut all);
        String::from_utf8(all).expect("answers are text")
    }
}

impl Fate {
    /// The answer, at once.
    pub(super) const FAIR: Self = Self { act: Act::Answer, delay: Duration::ZERO };
}
