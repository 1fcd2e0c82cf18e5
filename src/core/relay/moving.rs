//! A direction whose destination is gone, while another one is looked for: what the source has said and
//! the destination has not taken is kept.

use super::{Cargo, Event, Held, InFlight, Relay, State, Unexpected};
use crate::core::BufferId;

/// What came of an event in a direction that has no destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// What there is, is kept.
    All,
    /// All of it was taken after all; the buffer is empty.
    Release(BufferId),
    /// The source has finished, and nothing of it is left for another destination.
    SourceFinished,
    /// The source is gone.
    SourceGone,
}

impl Relay {
    /// Whether this is the abnormal end of the source.
    #[must_use]
    pub const fn loses_source(&self, event: Event) -> bool {
        matches!(
            (self.state, event),
            (State::Receiving | State::Filling, Event::RecvFailed)
                | (State::Watching, Event::PollFailed)
        )
    }

    /// Whether this is the abnormal end of the destination.
    #[must_use]
    pub const fn loses_destination(&self, event: Event) -> bool {
        matches!(
            (self.state, event),
            (State::Sending(_) | State::Draining(_), Event::SendFailed)
                | (State::Blocked(_), Event::PollFailed)
        )
    }

    /// Whether the source has finished with this event.
    #[must_use]
    pub const fn finishes(&self, event: Event) -> bool {
        matches!((self.state, event), (State::Receiving, Event::EndOfStream))
    }

    /// The source has ended, and will be another one: everything that came from it was delivered.
    pub fn close_source(&mut self) {
        self.state = State::Unopened;
    }

    /// Whether there is no source, or not yet.
    #[must_use]
    pub const fn is_unopened(&self) -> bool {
        matches!(self.state, State::Unopened)
    }

    /// What the kernel holds that concerns the source.
    #[must_use]
    pub const fn in_flight_at_source(&self) -> Option<InFlight> {
        match self.state {
            State::Receiving | State::Watching => self.in_flight(),
            _ => None,
        }
    }

    /// What the kernel holds that concerns the destination.
    #[must_use]
    pub const fn in_flight_at_destination(&self) -> Option<InFlight> {
        match self.state {
            State::Sending(_) | State::Blocked(_) => self.in_flight(),
            _ => None,
        }
    }

    /// One event while the destination is gone. Nothing new is started; what was in flight may end,
    /// or wait: from the source there is at most one receive or poll, which goes on for the next
    /// destination if it has not ended until then.
    ///
    /// # Errors
    /// [`Unexpected`] when nothing is in flight that could have this result.
    pub fn keep(&mut self, event: Event) -> Result<Kept, Unexpected> {
        let (state, kept) = match (self.state, event) {
            (State::Receiving, Event::Received(held))
            | (State::Sending(held), Event::SendFailed | Event::DestinationEnded) => {
                (State::Paused(Cargo::Held(held)), Kept::All)
            }
            (State::Sending(held), Event::Sent(bytes)) => self.taken(held, bytes),
            (State::Blocked(pipe), Event::Ready | Event::PollFailed)
            | (State::Draining(pipe), Event::SendFailed) => {
                (State::Paused(Cargo::Pipe(pipe)), Kept::All)
            }
            (State::Receiving, Event::NoBuffer)
            | (State::Starved, Event::BufferFree)
            | (State::Watching, Event::Ready) => (State::Paused(Cargo::Nothing), Kept::All),
            (State::Receiving, Event::EndOfStream) => (State::Stopped, Kept::SourceFinished),
            (State::Receiving, Event::RecvFailed) | (State::Watching, Event::PollFailed) => {
                (State::Stopped, Kept::SourceGone)
            }
            (_, event) => return Err(Unexpected::at(event)),
        };
        self.state = state;
        Ok(kept)
    }

    fn taken(&mut self, held: Held, bytes: u32) -> (State, Kept) {
        self.copied += u64::from(bytes);
        let rest = Held { start: held.start + bytes, ..held };
        if rest.start < rest.end {
            (State::Paused(Cargo::Held(rest)), Kept::All)
        } else {
            (State::Paused(Cargo::Nothing), Kept::Release(held.buffer))
        }
    }
}
