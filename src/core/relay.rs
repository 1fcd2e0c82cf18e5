//! One direction of a session: bytes are received into a buffer and sent from that same buffer;
//! or, while it is bulk, they go through a pipe without being copied (splice(2)).
//!
//! ```text
//!             opened                   received
//!  Unopened ──────────▶ Receiving ──────────────────▶ Sending
//!                        │ ▲ │ ▲          sent all       │ │ ▲
//!              no buffer │ │ │ └─────────────────────────┤ └─┘ sent a part
//!                        ▼ │ │                           │
//!                    Starved │ end of stream             │ sent all, and it is bulk
//!             buffer free    ▼                           ▼
//!                        Finished               ┌──▶ Filling ──────▶ Draining ──────▶ Blocked
//!                                        ready  │   nothing│  ▲ filled  │ ▲   full       │
//!                                               │   there  ▼  └─────────┘ └──────────────┘
//!                                               └─────── Watching   empty       ready
//!
//!  From Filling back to Receiving: little came, twice in a row; the source has ended, or so it
//!  seems; it should have bytes and has none; there is no pipe. From any to Stopped: the session
//!  closes. To Paused, and from there to where the cargo belongs: the destination is gone, and another
//!  one is found (`relay/moving.rs`).
//! ```
//!
//! At most one operation is in flight, so bytes cannot be reordered, a slow destination stops the
//! source, and the end of the stream can only be seen when everything before it was delivered.
//!
//! The rules of splice(2) (Linux fs/splice.c, net/ipv4/tcp.c) that this obeys:
//! - A pipe is filled only when it is empty. So "nothing now" from the socket can only mean that
//!   the socket has nothing, never that the pipe has no slot left.
//! - "Nothing now" although the source was said to be readable: urgent data stands in the way. And
//!   "end" from splice may be the same thing with a FIN behind it. A receive, which sees both as
//!   they are, takes the next step.
//! - Only a pipe with bytes in it is held while waiting, and only for the destination.

mod moving;
mod words;

use super::{BufferId, PipeId};

pub use moving::Kept;
pub use words::{Bulk, Event, Held, Holder, InFlight, PathChange, Splice, Step, Unexpected};

/// Where a direction stands, and how much went through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    state: State,
    /// Pipes emptied since the source was waited for.
    rounds: u8,
    /// Times in a row that little came.
    little: u8,
    /// Copying: bytes that came in large receives, one after the other. Splicing: bytes moved since
    /// the source was waited for.
    run: u32,
    copied: u64,
    spliced: u64,
}

/// The states of the diagram. Receiving, sending, watching and blocked are also what the kernel
/// holds; filling and draining are over before anything else happens to the session.
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
    /// A poll tells when the source has bytes.
    Watching,
    /// An empty pipe is being filled from the source.
    Filling,
    /// A pipe is being emptied into the destination.
    Draining(PipeId),
    /// A poll tells when the destination takes more from the pipe.
    Blocked(PipeId),
    /// The source has finished, and everything from it was delivered.
    Finished,
    /// The destination is gone; this is kept for another one.
    Paused(Cargo),
    /// The session closes; nothing is in flight here.
    Stopped,
}

/// What a direction has of its source that its destination has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cargo {
    Nothing,
    Held(Held),
    Pipe(PipeId),
}

impl Relay {
    /// A direction whose destination is not there yet.
    pub const UNOPENED: Self =
        Self { state: State::Unopened, rounds: 0, little: 0, run: 0, copied: 0, spliced: 0 };

    /// Bytes delivered to the destination's socket from buffers.
    #[must_use]
    pub const fn copied(&self) -> u64 {
        self.copied
    }

    /// Bytes delivered to the destination's socket from pipes.
    #[must_use]
    pub const fn spliced(&self) -> u64 {
        self.spliced
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
        matches!(
            self.state,
            State::Sending(_)
                | State::Starved
                | State::Draining(_)
                | State::Blocked(_)
                | State::Paused(Cargo::Held(_) | Cargo::Pipe(_))
        )
    }

    /// Whether it waits for a buffer.
    #[must_use]
    pub const fn is_starved(&self) -> bool {
        matches!(self.state, State::Starved)
    }

    /// What the kernel holds.
    #[must_use]
    pub const fn in_flight(&self) -> Option<InFlight> {
        match self.state {
            State::Receiving => Some(InFlight::Recv),
            State::Sending(_) => Some(InFlight::Send),
            State::Watching | State::Blocked(_) => Some(InFlight::Poll),
            State::Unopened
            | State::Starved
            | State::Filling
            | State::Draining(_)
            | State::Finished
            | State::Paused(_)
            | State::Stopped => None,
        }
    }

    /// One event while the session lives.
    ///
    /// # Errors
    /// [`Unexpected`] when nothing is in flight that could have this result.
    pub fn on(&mut self, event: Event, splice: &Splice) -> Result<Step, Unexpected> {
        let (state, step) = match (self.state, event) {
            (State::Unopened | State::Paused(Cargo::Nothing), Event::Opened) => open(splice),
            (State::Paused(Cargo::Held(held)), Event::Opened) => {
                (State::Sending(held), Step::Send(held))
            }
            (State::Paused(Cargo::Pipe(pipe)), Event::Opened) => {
                (State::Draining(pipe), Step::Drain(pipe))
            }
            (State::Starved, Event::BufferFree) => receive(None, true),
            (State::Receiving, Event::Received(held)) => self.received(held, splice),
            (State::Receiving, Event::EndOfStream) => (State::Finished, Step::Finish),
            (State::Receiving | State::Filling, Event::RecvFailed)
            | (State::Watching, Event::PollFailed) => (State::Stopped, Step::SourceGone),
            (State::Receiving, Event::NoBuffer) => (State::Starved, Step::AwaitBuffer),
            (State::Sending(held), Event::Sent(bytes)) => self.sent(held, bytes, splice),
            (State::Sending(held), Event::SendFailed | Event::DestinationEnded) => {
                (State::Stopped, Step::DestinationGone(Holder::Buffer(held.buffer)))
            }
            (State::Watching, Event::Ready) => self.fill(None, None),
            (State::Filling, Event::Filled(pipe)) => (State::Draining(pipe), Step::Drain(pipe)),
            (State::Filling, Event::FilledNothing) => self.filled_nothing(splice),
            (State::Filling, Event::FilledEnd) => self.copy(PathChange::End, true),
            (State::Filling, Event::NoPipe) => self.copy(PathChange::NoPipe, true),
            (State::Draining(pipe), Event::Drained { bytes, empty }) => {
                self.drained(pipe, bytes, empty)
            }
            (State::Blocked(pipe), Event::Ready) => (State::Draining(pipe), Step::Drain(pipe)),
            (State::Draining(pipe), Event::SendFailed | Event::DestinationEnded)
            | (State::Blocked(pipe), Event::PollFailed) => {
                (State::Stopped, Step::DestinationGone(Holder::Pipe(pipe)))
            }
            (_, event) => return Err(Unexpected::at(event)),
        };
        self.state = state;
        Ok(step)
    }

    fn received(&mut self, held: Held, splice: &Splice) -> (State, Step) {
        if let Splice::Auto(bulk) = splice {
            let bytes = held.end - held.start;
            self.run = if bytes < bulk.large_receive { 0 } else { self.run.saturating_add(bytes) };
        }
        (State::Sending(held), Step::Send(held))
    }

    fn sent(&mut self, held: Held, bytes: u32, splice: &Splice) -> (State, Step) {
        self.copied += u64::from(bytes);
        let rest = Held { start: held.start + bytes, ..held };
        if rest.start < rest.end {
            (State::Sending(rest), Step::Send(rest))
        } else if self.is_bulk(splice) {
            self.fill(Some(held.buffer), Some(PathChange::Bulk))
        } else {
            receive(Some(held.buffer), held.more)
        }
    }

    const fn is_bulk(&self, splice: &Splice) -> bool {
        match splice {
            Splice::Auto(bulk) => self.run >= bulk.after,
            Splice::Off => false,
            Splice::Always => true,
        }
    }

    /// A first look at the source. What was moved so far does not count.
    fn fill(&mut self, release: Option<BufferId>, change: Option<PathChange>) -> (State, Step) {
        self.rounds = 0;
        self.run = 0;
        if change.is_some() {
            self.little = 0;
        }
        (State::Filling, Step::Fill { release, change })
    }

    fn filled_nothing(&mut self, splice: &Splice) -> (State, Step) {
        if self.run == 0 {
            return self.copy(PathChange::Nothing, true);
        }
        let Splice::Auto(bulk) = splice else { return watch() };
        self.little = if self.run < bulk.little { self.little + 1 } else { 0 };
        if self.little < LITTLE_IN_A_ROW { watch() } else { self.copy(PathChange::Little, false) }
    }

    fn copy(&mut self, why: PathChange, ready: bool) -> (State, Step) {
        self.run = 0;
        (State::Receiving, Step::Recv { release: None, ready, change: Some(why) })
    }

    fn drained(&mut self, pipe: PipeId, bytes: u32, empty: bool) -> (State, Step) {
        self.spliced += u64::from(bytes);
        self.run = self.run.saturating_add(bytes);
        if !empty {
            return (State::Blocked(pipe), Step::PollDestination);
        }
        self.rounds += 1;
        // Others have their turn: a poll of a source with bytes comes back at once, behind them.
        if self.rounds < ROUNDS {
            (State::Filling, Step::Fill { release: None, change: None })
        } else {
            watch()
        }
    }

    /// The session closes: what is in flight will end, and nothing follows it. What was kept for
    /// another destination is given back.
    #[must_use]
    pub fn stop(&mut self) -> Option<Holder> {
        let (State::Unopened | State::Starved | State::Paused(_)) = self.state else {
            return None;
        };
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Paused(Cargo::Held(held)) => Some(Holder::Buffer(held.buffer)),
            State::Paused(Cargo::Pipe(pipe)) => Some(Holder::Pipe(pipe)),
            _ => None,
        }
    }

    /// One event while the session closes: the end of what was in flight, whatever it is.
    ///
    /// # Errors
    /// [`Unexpected`] when nothing is in flight that could have this result.
    pub fn wind_up(&mut self, event: Event) -> Result<Option<Holder>, Unexpected> {
        let released = match (self.state, event) {
            (State::Receiving, Event::Received(held)) => Some(Holder::Buffer(held.buffer)),
            (State::Receiving, Event::EndOfStream | Event::RecvFailed | Event::NoBuffer) => None,
            (
                State::Sending(held),
                Event::Sent(_) | Event::SendFailed | Event::DestinationEnded,
            ) => Some(Holder::Buffer(held.buffer)),
            (State::Watching, Event::Ready | Event::PollFailed) => None,
            (State::Blocked(pipe), Event::Ready | Event::PollFailed) => Some(Holder::Pipe(pipe)),
            // The shard's waiting list does not know that this direction has stopped.
            (State::Stopped | State::Finished, Event::BufferFree) => return Ok(None),
            (_, event) => return Err(Unexpected::at(event)),
        };
        self.state = State::Stopped;
        Ok(released)
    }
}

fn open(splice: &Splice) -> (State, Step) {
    if *splice == Splice::Always { watch() } else { receive(None, true) }
}

fn receive(release: Option<BufferId>, ready: bool) -> (State, Step) {
    (State::Receiving, Step::Recv { release, ready, change: None })
}

fn watch() -> (State, Step) {
    (State::Watching, Step::PollSource)
}

/// One small message within a bulk transfer is no reason to change the path, another one is.
const LITTLE_IN_A_ROW: u8 = 2;

/// Pipes in a row for one direction.
const ROUNDS: u8 = 16;

#[cfg(test)]
pub(super) mod tests;
