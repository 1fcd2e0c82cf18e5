//! The words of a session: what it goes by, what can happen to it, what it wants done, and why it
//! ends.

use std::time::Duration;

use arrayvec::ArrayVec;

use crate::core::moment::Moment;
use crate::core::relay::{self, Held, InFlight, PathChange, Splice};
use crate::core::{BufferId, Candidate, Direction, PipeId, Side};

/// How long a session may wait, and for what. All are finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For the client to say whom it speaks for.
    pub greeting: Duration,
    /// For any backend to be there, from the first moment that there is none.
    pub wait: Duration,
    /// For a backend to have room, from the first moment that none has.
    pub queue: Duration,
    /// For one backend to accept the connection.
    pub connect: Duration,
    /// For any byte in either direction.
    pub idle: Duration,
    /// For any byte after one side has finished writing.
    pub half_closed: Duration,
}

/// What sessions go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long they may wait.
    pub deadlines: Deadlines,
    /// When their bytes go through pipes.
    pub splice: Splice,
    /// What becomes of a client that waited in vain.
    pub unavailable: Unavailable,
    /// Whether a session whose backend ends abnormally goes on with another one.
    pub failover: bool,
}

/// How a client is turned away that no backend could be found for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// By a reset.
    Reset,
    /// By the end of the stream, perhaps after a text. What the client has sent is read and thrown
    /// away meanwhile: the kernel would answer it with a reset, which takes the text back.
    Linger,
}

/// Why a session ended; the first cause wins. Logs and counters use the two letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// `--` Both sides finished and every received byte was delivered.
    Finished,
    /// `CD` The client reset the connection, or could not be written to.
    ClientGone,
    /// `SD` The backend reset the connection, or could not be written to.
    BackendGone,
    /// `SC` No backend accepted the connection.
    BackendUnreachable,
    /// `sQ` No backend had room for longer than the queue timeout.
    QueueTimeout,
    /// `SQ` No backend had room, and the queue was full.
    QueueFull,
    /// `PR` The client did not say whom it speaks for, or nothing that could be understood.
    BadGreeting,
    /// `PD` The client is not let in: by the access list, or because its address has too much already.
    Denied,
    /// `tD` No byte in either direction for the idle timeout.
    IdleTimeout,
    /// `hD` One side had finished and no byte came for the half-closed timeout.
    HalfClosedTimeout,
    /// `aD` It was as old as a session may become.
    MaxAge,
    /// `DD` Health checks marked its backend down, whose sessions are to be cut then.
    BackendDown,
    /// `KD` The program stops.
    Cut,
    /// `KD` An operator ended it.
    Killed,
}

impl EndReason {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 14] = [
        Self::Finished,
        Self::ClientGone,
        Self::BackendGone,
        Self::BackendUnreachable,
        Self::QueueTimeout,
        Self::QueueFull,
        Self::BadGreeting,
        Self::Denied,
        Self::IdleTimeout,
        Self::HalfClosedTimeout,
        Self::MaxAge,
        Self::BackendDown,
        Self::Cut,
        Self::Killed,
    ];

    /// Two letters and a word.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Finished => "-- finished",
            Self::ClientGone => "CD client-gone",
            Self::BackendGone => "SD backend-gone",
            Self::BackendUnreachable => "SC backend-unreachable",
            Self::QueueTimeout => "sQ queue-timeout",
            Self::QueueFull => "SQ queue-full",
            Self::BadGreeting => "PR bad-greeting",
            Self::Denied => "PD denied",
            Self::IdleTimeout => "tD idle-timeout",
            Self::HalfClosedTimeout => "hD half-closed-timeout",
            Self::MaxAge => "aD max-age",
            Self::BackendDown => "DD backend-down",
            Self::Cut => "KD cut",
            Self::Killed => "KD killed",
        }
    }
}

/// Where a session stands, without what only it needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The client is to say whom it speaks for.
    Greeting,
    /// There is no backend for it now.
    Waiting,
    /// A connect is in flight.
    Connecting,
    /// Both sides are connected.
    Relaying,
    /// Its backend is gone, and it is to go on with another.
    Moving,
    /// It was told that there is nobody.
    TurnedAway,
    /// It waits for the last of what is in flight.
    Closing,
}

impl Phase {
    /// Each of them.
    pub const ALL: [Self; 7] = [
        Self::Greeting,
        Self::Waiting,
        Self::Connecting,
        Self::Relaying,
        Self::Moving,
        Self::TurnedAway,
        Self::Closing,
    ];

    /// A word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Relaying => "relaying",
            Self::Moving => "moving",
            Self::TurnedAway => "turned-away",
            Self::Closing => "closing",
        }
    }
}

/// Where a session without a backend goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Connect there.
    Go(Candidate),
    /// Wait until there is somebody.
    Wait(WaitFor),
    /// Nowhere, for this reason.
    Nowhere(EndReason),
}

/// What a held client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// A backend that is there.
    Backend,
    /// Room in one of those that are.
    Room,
}

/// What was found of a client's greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// A part of it, which has been taken.
    Part,
    /// All of it.
    Whole,
    /// Something else, or the end.
    Bad,
}

/// What can happen to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The answer to [`Action::Place`] and [`Action::Move`]; also told to a session that waits, when that changes.
    Placed(Next),
    /// The answer to [`Action::Greet`].
    Greeted(Greeting),
    /// The answer to [`Action::Discard`]: whether the client may say more.
    Discarded {
        /// False at its end, and when it is gone.
        more: bool,
    },
    /// The connect in flight succeeded.
    Connected,
    /// The connect in flight failed, or could not be started.
    ConnectFailed {
        /// Where to go instead.
        next: Next,
    },
    /// The connect could not be started because this host is short of something; it will be tried
    /// again.
    ConnectDeferred,
    /// Something happened in one direction.
    Relay(Direction, relay::Event),
    /// The timer of this session fired.
    TimerFired,
    /// It is to be ended now, for this reason.
    Cut(EndReason),
}

/// What is to be done for a session, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Find a backend, and say at once how that went: [`Event::Placed`].
    Place,
    /// The backend is gone: close its socket, find another one, and say at once how that went:
    /// [`Event::Placed`].
    Move,
    /// Look what the client says of itself, now: [`Event::Greeted`].
    Greet,
    /// Tell the client that there is nobody, as the pool is configured, and that this is all.
    TurnAway,
    /// Throw away what the client has sent, now: [`Event::Discarded`].
    Discard,
    /// Connect there.
    Connect(Candidate),
    /// Give up the connect in flight.
    CancelConnect,
    /// Receive from the direction's source.
    Recv {
        /// Which direction.
        direction: Direction,
        /// Whether bytes are probably there already.
        ready: bool,
    },
    /// Send to the direction's destination.
    Send {
        /// Which direction.
        direction: Direction,
        /// What to send.
        held: Held,
    },
    /// Send [`relay::Event::BufferFree`] when buffers are free.
    AwaitBuffer(Direction),
    /// Fill an empty pipe from the direction's source, now, and say at once how that went:
    /// [`relay::Event::Filled`], `FilledNothing`, `FilledEnd`, `NoPipe` or `RecvFailed`.
    Fill(Direction),
    /// Empty the pipe into the direction's destination, now, and say at once how that went:
    /// [`relay::Event::Drained`] or `SendFailed`.
    Drain(Direction, PipeId),
    /// Wait until the direction's source has bytes, or its destination takes some.
    Poll(Direction, Side),
    /// Tell the direction's destination that its source has finished.
    FinishWriting(Direction),
    /// Give up what is in flight in this direction.
    Cancel(Direction, InFlight),
    /// Give a buffer back.
    Release(BufferId),
    /// Give a pipe back that still holds bytes, which nobody will get.
    ClosePipe(PipeId),
    /// The direction changed its path.
    CountPath(Direction, PathChange),
    /// Send [`Event::TimerFired`] at this moment; replaces the timer that was armed.
    ArmTimer(Moment),
    /// Nothing is in flight and nothing will be: close the sockets, forget the session.
    Free {
        /// Why it ended.
        reason: EndReason,
        /// Whether the client must see a reset, because what it got is not the whole.
        reset_client: bool,
        /// The same for the backend.
        reset_backend: bool,
    },
    /// The kernel answered what was not asked: count it.
    CountUnexpected,
}

/// What one event leads to: at most a released buffer, two cancels and a timer.
pub type Actions = ArrayVec<Action, 4>;
