//! What a backend answers: bytes of one connection in, bytes of the answer out. No sockets here.

use super::hello::Hello;
use super::http::Http;
use super::{Backend, Mode};

/// Who answers: the same for all connections of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Personality {
    pub(super) name: String,
    pub(super) greeting: String,
    pub(super) mode: Mode,
}

/// One connection's side of the talk.
#[derive(Debug)]
pub(super) enum Service {
    Hello(Hello),
    Echo,
    Http(Box<Http>),
}

/// How an answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// What was written to the output, perhaps nothing yet.
    Written,
    /// What was written, and nothing after it: the connection ends on our side.
    WrittenAndLast,
    /// The bytes that came, as they are.
    Same,
}

impl Personality {
    /// `backend` as it shall answer, now that its port is known.
    pub(super) fn new(backend: &Backend, port: u16) -> Self {
        let mode = backend.mode;
        let (name, greeting) = match (&backend.name, mode) {
            (Some(name), _) => (name.clone(), format!("Hello from {name}")),
            (None, Mode::Http) => {
                (format!("Server {port}"), format!("Hello from the Backend Server on port {port}!"))
            }
            (None, Mode::Hello | Mode::Echo) => {
                (format!("Server {port}"), format!("Hello from Server {port}!"))
            }
        };
        Self { name, greeting, mode }
    }
}

impl Service {
    /// The service of a new connection.
    pub(super) fn new(mode: Mode) -> Self {
        match mode {
            Mode::Hello => Self::Hello(Hello::default()),
            Mode::Echo => Self::Echo,
            Mode::Http => Self::Http(Box::default()),
        }
    }

    /// Bytes came; `more` follow at once, so a message may go on.
    pub(super) fn on_bytes(
        &mut self,
        who: &Personality,
        bytes: &[u8],
        more: bool,
        out: &mut Vec<u8>,
    ) -> Answer {
        match self {
            Self::Hello(hello) => hello.on_bytes(who, bytes, more, out),
            Self::Echo => Answer::Same,
            Self::Http(http) => http.on_bytes(who, bytes, out),
        }
    }

    /// The client has finished writing: whether the bare greeting is still owed to it.
    pub(super) fn owes_greeting_at_end(&self) -> bool {
        match self {
            Self::Hello(hello) => hello.is_mid_message(),
            Self::Echo | Self::Http(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_without_a_name_is_called_after_its_port() {
        for (name, mode, expected, greeting) in [
            (Some("B1"), Mode::Hello, "B1", "Hello from B1"),
            (Some("B1"), Mode::Http, "B1", "Hello from B1"),
            (None, Mode::Hello, "Server 9001", "Hello from Server 9001!"),
            (None, Mode::Http, "Server 9001", "Hello from the Backend Server on port 9001!"),
        ] {
            let address = "127.0.0.1:0".parse().expect("a literal address");
            let backend = Backend { name: name.map(str::to_owned), address, mode };
            let who = Personality::new(&backend, 9001);
            assert_eq!((who.name.as_str(), who.greeting.as_str()), (expected, greeting));
        }
    }
}
