//! Policy and state machines: values only.
//!
//! Nothing in here knows a socket, a clock, a thread or unsafe code. The present moment and random
//! numbers come in as arguments; what is to be done goes out as a value. That is why every state
//! can be met by every event in a table, and why a simulation can replay a failure from a number.
//!
//! - [`session`]: a client and its backend, from accept to the freed slot
//! - [`relay`]: one direction of a session
//! - [`balance`]: which backend is next
//! - [`bottleneck`]: who holds sessions up
//! - [`even`]: which shard takes a connection
//! - [`access`]: who may come in
//! - [`limits`]: how much one client may have
//! - [`proxy`]: who the client was, when a proxy says so
//! - [`health`]: what answers to checks and failed connects make of a backend
//! - [`spin`]: whether to look for completions before sleeping
//! - [`timers`]: one deadline for each session, in a wheel
//! - [`moment`]: points in time as plain numbers
//! - [`wanted`]: what the operator wants of a backend
#![forbid(unsafe_code)]

pub mod access;
pub mod balance;
pub mod bottleneck;
pub mod even;
pub mod health;
pub mod limits;
pub mod moment;
pub mod proxy;
pub mod relay;
pub mod session;
pub mod spin;
pub mod timers;
pub mod wanted;

/// Index of a backend in the configured list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub u16);

/// One of a shard's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferId(pub u16);

/// One of a shard's pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PipeId(pub u16);

/// Where a session is going to be connected: a name may stand for several addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// The backend, which is charged with the connection.
    pub backend: BackendId,
    /// Index in the backend's list of addresses.
    pub address: u8,
    /// How many addresses of this backend come after this one, cyclically.
    pub left: u8,
}

/// The two ends of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who connected to us.
    Client,
    /// Whom we connected to.
    Backend,
}

/// The way that bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// What the client says.
    ClientToBackend = 0,
    /// What the backend answers.
    BackendToClient = 1,
}

impl Direction {
    /// Both, in the order of their numbers.
    pub const BOTH: [Self; 2] = [Self::ClientToBackend, Self::BackendToClient];

    /// Where the bytes come from.
    #[must_use]
    pub const fn source(self) -> Side {
        match self {
            Self::ClientToBackend => Side::Client,
            Self::BackendToClient => Side::Backend,
        }
    }

    /// Where the bytes go to.
    #[must_use]
    pub const fn destination(self) -> Side {
        match self {
            Self::ClientToBackend => Side::Backend,
            Self::BackendToClient => Side::Client,
        }
    }
}
