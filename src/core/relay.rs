//! One direction of a session: receive into a buffer, send from that same buffer, again.
//!
//! ```text
//!             opened                   received
//!  Unopened ──────────▶ Receiving ──────────────────▶ Sending
//!                        │ ▲ │ ▲          sent all       │ │
//!              no buffer │ │ │ └─────────────────────────┘ │ sent a part
//!                        ▼ │ │                       ▲     │
//!                    Starved │ end of stream         └─────┘
//!             buffer free    ▼
//!                        Finished          (any, when the session closes) ──▶ Stopped
//! ```
//!
//! At most one operation is in flight, so bytes cannot be reordered, a slow destination stops the
//! source, and the end of the stream can only be seen when everything before it was delivered.

use super::BufferId;

/// Bytes that were received and not yet sent: `start..end` of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The buffer, which this direction owns until they are sent.
    pub buffer: BufferId,
    /// First byte to send.
    pub start: u32,
    /// One past the last byte to send.
    pub end: u32,
    /// Whether the source held more when they were received.
    pub more: bool,
}

/// Where a direction stands, and how much went through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    state: State,
    bytes: u64,
}

/// The states of the diagram. Receiving and sending are also what the kernel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The other side is not connected yet; bytes wait in the kernel.
    Unopened,
    /// A receive is in flight.
    Receiving,
    /// There was no buffer; the shard tells when there is one.
    Starved,
    /// A send of these bytes is in flight.
    Sending(Held),
    /// The source has finished, and everything from it was delivered.
    Finished,
    /// The session closes; nothing is in flight here.
    Stopped,
}

/// What can happen to a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Both sides are connected.
    Opened,
    /// The receive brought bytes.
    Received(Held),
    /// The receive found the end of the stream.
    EndOfStream,
    /// The receive failed: the source is gone.
    RecvFailed,
    /// The receive found no buffer.
    NoBuffer,
    /// Buffers came back after [`Event::NoBuffer`].
    BufferFree,
    /// The send took so many bytes.
    Sent(u32),
    /// The send failed: the destination is gone.
    SendFailed,
}

/// What a direction wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Receive; `release` is empty and goes back first.
    Recv {
        /// The buffer that has been sent completely.
        release: Option<BufferId>,
        /// Whether bytes are probably there already.
        ready: bool,
    },
    /// Send these bytes, of which none or some were sent before.
    Send(Held),
    /// Be told when buffers are free.
    AwaitBuffer,
    /// The end was reached: tell the destination.
    Finish,
    /// The source is gone.
    SourceGone,
    /// The destination is gone; what was held is released.
    DestinationGone(BufferId),
}

/// The kernel answered something that was not asked. Our bug or the driver's; it is counted, and
/// a buffer that came with it is not lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unexpected {
    /// To be released.
    pub buffer: Option<BufferId>,
}

/// What the kernel holds for a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFlight {
    /// A receive from the source.
    Recv,
    /// A send to the destination.
    Send,
}

impl Relay {
    /// A direction whose destination is not there yet.
    pub const UNOPENED: Self = Self { state: State::Unopened, bytes: 0 };

    /// Bytes delivered to the destination's socket.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the source has finished and everything was delivered.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// Whether the source has said something that is not delivered, or perhaps has: without a buffer
    /// the kernel does not look.
    #[must_use]
    pub const fn holds_bytes(&self) -> bool {
        matches!(self.state, State::Sending(_) | State::Starved)
    }

    /// What the kernel holds.
    #[must_use]
    pub const fn in_flight(&self) -> Option<InFlight> {
        match self.state {
            State::Receiving => Some(InFlight::Recv),
            State::Sending(_) => Some(InFlight::Send),
            State::Unopened | State::Starved | State::Finished | State::Stopped => None,
        }
    }

    /// One event while the session lives.
    ///
    /// # Errors
    /// [`Unexpected`] when nothing is in flight that could have this result.
    pub fn on(&mut self, event: Event) -> Result<Step, Unexpected> {
        let (state, step) = match (self.state, event) {
            (State::Unopened, Event::Opened) => receive(None, true),
            (State::Starved, Event::BufferFree) => receive(None, true),
            (State::Receiving, Event::Received(held)) => (State::Sending(held), Step::Send(held)),
            (State::Receiving, Event::EndOfStream) => (State::Finished, Step::Finish),
            (State::Receiving, Event::RecvFailed) => (State::Stopped, Step::SourceGone),
            (State::Receiving, Event::NoBuffer) => (State::Starved, Step::AwaitBuffer),
            (State::Sending(held), Event::Sent(bytes)) => self.sent(held, bytes),
            (State::Sending(held), Event::SendFailed) => {
                (State::Stopped, Step::DestinationGone(held.buffer))
            }
            (_, event) => return Err(Unexpected::at(event)),
        };
        self.state = state;
        Ok(step)
    }

    fn sent(&mut self, held: Held, bytes: u32) -> (State, Step) {
        self.bytes += u64::from(bytes);
        let rest = Held { start: held.start + bytes, ..held };
        if rest.start < rest.end {
            (State::Sending(rest), Step::Send(rest))
        } else {
            receive(Some(held.buffer), held.more)
        }
    }

    /// The session closes: what is in flight will end, and nothing follows it.
    pub fn stop(&mut self) {
        if matches!(self.state, State::Unopened | State::Starved) {
            self.state = State::Stopped;
        }
    }

    /// One event while the session closes: the end of what was in flight, whatever it is.
    ///
    /// # Errors
    /// [`Unexpected`] when nothing is in flight that could have this result.
    pub fn wind_up(&mut self, event: Event) -> Result<Option<BufferId>, Unexpected> {
        let released = match (self.state, event) {
            (State::Receiving, Event::Received(held)) => Some(held.buffer),
            (State::Receiving, Event::EndOfStream | Event::RecvFailed | Event::NoBuffer) => None,
            (State::Sending(held), Event::Sent(_) | Event::SendFailed) => Some(held.buffer),
            // The shard's waiting list does not know that this direction has stopped.
            (State::Stopped | State::Finished, Event::BufferFree) => return Ok(None),
            (_, event) => return Err(Unexpected::at(event)),
        };
        self.state = State::Stopped;
        Ok(released)
    }
}

fn receive(release: Option<BufferId>, ready: bool) -> (State, Step) {
    (State::Receiving, Step::Recv { release, ready })
}

impl Unexpected {
    fn at(event: Event) -> Self {
        match event {
            Event::Received(held) => Self { buffer: Some(held.buffer) },
            _ => Self { buffer: None },
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::core) const HELD: Held =
        Held { buffer: BufferId(4), start: 0, end: 100, more: false };

    const STATES: [State; 6] = [
        State::Unopened,
        State::Receiving,
        State::Starved,
        State::Sending(HELD),
        State::Finished,
        State::Stopped,
    ];

    const EVENTS: [Event; 9] = [
        Event::Opened,
        Event::Received(HELD),
        Event::EndOfStream,
        Event::RecvFailed,
        Event::NoBuffer,
        Event::BufferFree,
        Event::Sent(100),
        Event::Sent(40),
        Event::SendFailed,
    ];

    /// The whole behaviour: every event in every state, `!` where nothing could have caused it.
    #[test]
    fn every_event_in_every_state_while_the_session_lives() {
        let table =
            STATES.map(|state| EVENTS.map(|event| name(Relay { state, bytes: 0 }.on(event))));
        #[rustfmt::skip]
        assert_eq!(table, [
            //            opened  received  end       failed  no buffer free    sent all        sent part send failed
            /* unopened */ ["recv", "!",    "!",      "!",    "!",     "!",     "!",            "!",      "!"],
            /* receiving */["!",    "send", "finish", "gone", "await", "!",     "!",            "!",      "!"],
            /* starved */  ["!",    "!",    "!",      "!",    "!",     "recv",  "!",            "!",      "!"],
            /* sending */  ["!",    "!",    "!",      "!",    "!",     "!",     "release recv", "send",   "release gone"],
            /* finished */ ["!",    "!",    "!",      "!",    "!",     "!",     "!",            "!",      "!"],
            /* stopped */  ["!",    "!",    "!",      "!",    "!",     "!",     "!",            "!",      "!"],
        ]);
    }

    #[test]
    fn every_event_in_every_state_while_the_session_closes() {
        let table = STATES.map(|state| {
            EVENTS.map(|event| match (Relay { state, bytes: 0 }).wind_up(event) {
                Ok(Some(_)) => "release",
                Ok(None) => "end",
                Err(_) => "!",
            })
        });
        #[rustfmt::skip]
        assert_eq!(table, [
            //            opened received   end    failed no buffer free  sent all   sent part  send failed
            /* unopened */ ["!", "!",       "!",   "!",   "!",   "!",   "!",       "!",       "!"],
            /* receiving */["!", "release", "end", "end", "end", "!",   "!",       "!",       "!"],
            /* starved */  ["!", "!",       "!",   "!",   "!",   "!",   "!",       "!",       "!"],
            /* sending */  ["!", "!",       "!",   "!",   "!",   "!",   "release", "release", "release"],
            /* finished */ ["!", "!",       "!",   "!",   "!",   "end", "!",       "!",       "!"],
            /* stopped */  ["!", "!",       "!",   "!",   "!",   "end", "!",       "!",       "!"],
        ]);
    }

    fn name(step: Result<Step, Unexpected>) -> &'static str {
        match step {
            Ok(Step::Recv { release: None, .. }) => "recv",
            Ok(Step::Recv { release: Some(_), .. }) => "release recv",
            Ok(Step::Send(_)) => "send",
            Ok(Step::AwaitBuffer) => "await",
            Ok(Step::Finish) => "finish",
            Ok(Step::SourceGone) => "gone",
            Ok(Step::DestinationGone(_)) => "release gone",
            Err(_) => "!",
        }
    }

    #[test]
    fn a_short_send_goes_on_where_it_stopped() {
        let mut relay = Relay { state: State::Sending(HELD), bytes: 0 };
        let rest = Held { start: 40, ..HELD };
        assert_eq!(relay.on(Event::Sent(40)), Ok(Step::Send(rest)));
        assert_eq!(
            relay.on(Event::Sent(60)),
            Ok(Step::Recv { release: Some(HELD.buffer), ready: false })
        );
        assert_eq!(relay.bytes(), 100);
    }

    #[test]
    fn a_buffer_that_comes_unasked_is_handed_back() {
        let mut relay = Relay::UNOPENED;
        let lost = Unexpected { buffer: Some(HELD.buffer) };
        assert_eq!(relay.on(Event::Received(HELD)), Err(lost));
    }
}
