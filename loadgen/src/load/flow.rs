//! One connection of the load, without its socket: what is intended, and what the kernel holds.
//!
//! ```text
//!   Idle ──open──▶ Connecting ──connected──▶ Connected ──request──▶ Waiting ──reply──▶ Connected
//!     ▲                │                         │                     │  └─▶ Answered ──sent──┘
//!     │                └───── failed, timed out, closed by us ─────────┤      (the reply was first)
//!     └── released: nothing in flight ◀── Closing ◀────────────────────┘
//! ```

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
    /// Established, and nothing is asked.
    Connected,
    /// A request is asked and its reply is not complete.
    Waiting,
    /// The reply is complete; the completion of the request's send is still to come.
    Answered,
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
    /// Start another receive.
    Receive,
    /// The connection stands: ask for something, or leave it.
    Connected,
    /// The request is answered: ask for something else, or close.
    Answered,
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

    /// A connect is started.
    pub(super) fn open(&mut self) {
        assert_eq!(self.state, State::Idle, "a connection is opened once");
        self.state = State::Connecting;
        self.ops.connect = true;
    }

    /// The send of a request and the receive of its reply are started.
    pub(super) fn request(&mut self) {
        assert_eq!(self.state, State::Connected, "one request at a time");
        self.state = State::Waiting;
        (self.ops.send, self.ops.receive) = (true, true);
    }

    /// The connect ended well.
    pub(super) fn on_connected(&mut self) -> Step {
        self.ops.end(Ended::Connect);
        if self.state == State::Closing {
            return self.release_if_idle();
        }
        self.state = State::Connected;
        Step::Connected
    }

    /// The send of the whole request ended well.
    pub(super) fn on_sent(&mut self) -> Step {
        self.ops.end(Ended::Send);
        match self.state {
            State::Answered => self.answered(),
            State::Closing => self.release_if_idle(),
            State::Idle | State::Connecting | State::Connected | State::Waiting => Step::Nothing,
        }
    }

    /// A receive ended with a part of the reply, or found no buffer for it.
    pub(super) fn on_reply_part(&mut self) -> Step {
        self.ops.end(Ended::Receive);
        if self.state == State::Closing {
            return self.release_if_idle();
        }
        self.ops.receive = true;
        Step::Receive
    }

    /// A receive ended with the last of the reply.
    pub(super) fn on_reply(&mut self) -> Step {
        self.ops.end(Ended::Receive);
        match (self.state, self.ops.send) {
            (State::Closing, _) => self.release_if_idle(),
            (_, true) => {
                self.state = State::Answered;
                Step::Nothing
            }
            (_, false) => self.answered(),
        }
    }

    /// An operation failed, or ended in a way that ends the connection.
    pub(super) fn on_ended(&mut self, op: Ended) -> Step {
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

    fn answered(&mut self) -> Step {
        self.state = State::Connected;
        Step::Answered
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
