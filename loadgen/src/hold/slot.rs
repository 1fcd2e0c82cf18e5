//! What a worker keeps for each connection. As little as can be: there are many of them.

use std::os::fd::OwnedFd;

/// One connection.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) socket: Option<OwnedFd>,
    pub(super) state: State,
    /// A connect or a send is in flight.
    pub(super) sending: bool,
    pub(super) receiving: bool,
    /// When the connect began, or when the probe should have been sent.
    pub(super) intended_ns: u64,
    /// When the probe was.
    pub(super) sent_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not opened, or the connect is in flight.
    Connecting,
    /// It stands, and owes nothing.
    Held,
    /// A probe is out.
    Asked,
    /// Its last probe was not answered in time; should the answer come, it is held again.
    Mute,
    /// It ended, or could not be connected; freed when nothing is in flight.
    Ended,
}

impl Slot {
    pub(super) const fn new() -> Self {
        Self {
            socket: None,
            state: State::Connecting,
            sending: false,
            receiving: false,
            intended_ns: 0,
            sent_ns: 0,
        }
    }

    /// It stands, and answers as far as is known.
    pub(super) const fn is_alive(&self) -> bool {
        matches!(self.state, State::Held | State::Asked)
    }
}

const _: () = assert!(size_of::<Slot>() <= 24);
