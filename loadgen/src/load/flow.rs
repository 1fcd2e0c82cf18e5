//! One connection of the load, without its socket: what is intended, and what the kernel holds.
//!
//! ```text
//!   Idle ──open──▶ Connecting ──connected──▶ Open ──┐ send ▶ sent, receive ▶ received, as often
//!     ▲                │                      │ ▲───┘ as it likes, one of each at a time
//!     │                └── failed, timed out, ┤
//!     │                    closed by us       ▼
//!     └──── released: nothing in flight ◀── Closing
//! ```
//!
//! Which requests are in flight is not known here: several may be, and one receive may bring the
//! ends of many.

/// The state of a connection and its operations in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flow {
    state: State,
    ops: Ops,
}

/// What is intended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// There is no socket.
    #[default]
    Idle,
    /// A connect is in flight.
    Connecting,
    /// Established.
    Open,
    /// Nothing new is started; the socket is closed when nothing is in flight.
    Closing,
}

/// What the kernel holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ops {
    pub(super) connect: bool,
    pub(super) send: bool,
    pub(super) receive: bool,
}

/// One of the operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Connect,
    Send,
    Receive,
}

/// What the driver has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait for the next event.
    Nothing,
    /// The operation did its work, and the connection goes on.
    Go,
    /// Cancel these operations and wait for them.
    Cancel(Ops),
    /// Close the socket: nothing is in flight.
    Release,
}

impl Flow {
    /// What is intended now.
    pub(super) fn state(self) -> State {
        self.state
    }

    /// Whether a send may be started.
    pub(super) fn can_send(self) -> bool {
        self.state == State::Open && !self.ops.send
    }

    /// A connect is started.
    pub(super) fn open(&mut self) {
        assert_eq!(self.state, State::Idle, "a connection is opened once");
        self.state = State::Connecting;
        self.ops.connect = true;
    }

    /// A send is started: one at a time, because the kernel does not keep the order of several.
    pub(super) fn send(&mut self) {
        assert!(self.can_send(), "a send in {self:?}");
        self.ops.send = true;
    }

    /// A receive is started.
    pub(super) fn receive(&mut self) {
        assert!(self.state == State::Open && !self.ops.receive, "a receive in {self:?}");
        self.ops.receive = true;
    }

    /// An operation did its work.
    pub(super) fn on_done(&mut self, op: Ended) -> Step {
        self.ops.end(op);
        match (self.state, op) {
            (State::Closing, _) => self.release_if_idle(),
            (State::Connecting, Ended::Connect) => {
                self.state = State::Open;
                Step::Go
            }
            (State::Open, Ended::Send | Ended::Receive) => Step::Go,
            (state, op) => unreachable!("a {op:?} ended in {state:?}"),
        }
    }

    /// An operation failed, or ended in a way that ends the connection.
    pub(super) fn on_failed(&mut self, op: Ended) -> Step {
        self.ops.end(op);
        self.close()
    }

    /// The connection shall end: done with, or overdue.
    pub(super) fn close(&mut self) -> Step {
        let closing_already = self.state == State::Closing;
        self.state = State::Closing;
        match self.release_if_idle() {
            Step::Nothing if !closing_already => Step::Cancel(self.ops),
            step => step,
        }
    }

    fn release_if_idle(&mut self) -> Step {
        if self.ops == Ops::default() {
            self.state = State::Idle;
            return Step::Release;
        }
        Step::Nothing
    }
}

impl Ops {
    fn end(&mut self, op: Ended) {
        let in_flight = match op {
            Ended::Connect => &mut self.connect,
            Ended::Send => &mut self.send,
            Ended::Receive => &mut self.receive,
        };
        assert!(*in_flight, "the kernel ended a {op:?} that was not in flight");
        *in_flight = false;
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
