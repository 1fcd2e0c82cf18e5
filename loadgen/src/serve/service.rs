//! What a backend answers: bytes of one connection in, bytes of the answer out. No sockets here.

use std::path::Path;
use std::time::Instant;

use super::Mode;
use super::counters::{Counters, Counts};
use super::echo::Echo;
use super::hello::{self, Hello};
use super::http::Http;
use super::replies::Replies;
use super::rules::Rules;
use super::stream::Stream;

/// Who answers: the same for all connections of a backend.
#[derive(Debug)]
pub(super) struct Personality {
    pub(super) name: String,
    pub(super) greeting: String,
    pub(super) mode: Mode,
    /// It listens in the file system, where clients have no address.
    pub(super) in_files: bool,
    /// The faults that are injected, if there are any.
    pub(super) rules: Option<Rules>,
    pub(super) counters: Counters,
    pub(super) started: Instant,
}

/// Where a backend without a name gets one from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    Port(u16),
    File(&'a Path),
}

/// One connection's side of the talk.
#[derive(Debug)]
pub(super) enum Service {
    Hello(Hello),
    Echo(Echo),
    Http(Box<Http>),
    Discard,
    Stream(Stream),
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
    /// The pattern, from here on and without end.
    Source,
}

impl Personality {
    /// Who answers at `place`, on so many threads.
    pub(super) fn new(name: Option<&str>, mode: Mode, place: Place<'_>, threads: usize) -> Self {
        let (name, greeting) = match (name, place) {
            (Some(name), _) => (name.to_owned(), format!("Hello from {name}")),
            (None, Place::Port(port)) => (format!("Server {port}"), greeting_of_port(mode, port)),
            (None, Place::File(path)) => {
                let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
                (format!("Server {stem}"), format!("Hello from Server {stem}!"))
            }
        };
        Self {
            name,
            greeting,
            mode,
            in_files: matches!(place, Place::File(_)),
            rules: None,
            counters: Counters::new(threads),
            started: Instant::now(),
        }
    }

    /// One for tests of a service.
    #[cfg(test)]
    pub(super) fn named(name: &str, mode: Mode) -> Self {
        Self::new(Some(name), mode, Place::Port(0), 1)
    }

    /// The same with faults.
    #[cfg(test)]
    pub(super) fn faulty(name: &str, mode: Mode, specs: &[&str]) -> Self {
        let fault = |spec: &&str| spec.parse::<super::Injection>().expect(spec).fault;
        Self { rules: Rules::new(specs.iter().map(fault), 0), ..Self::named(name, mode) }
    }

    /// What it has seen so far.
    pub(super) fn counts(&self) -> Counts {
        let injected = self.rules.as_ref().map(Rules::injected).unwrap_or_default();
        Counts { injected, ..self.counters.sum() }
    }
}

fn greeting_of_port(mode: Mode, port: u16) -> String {
    match mode {
        Mode::Http => format!("Hello from the Backend Server on port {port}!"),
        Mode::Hello | Mode::Echo | Mode::Discard | Mode::Source | Mode::Stream => {
            format!("Hello from Server {port}!")
        }
    }
}

impl Service {
    /// The service of a new connection.
    pub(super) fn new(mode: Mode) -> Self {
        match mode {
            Mode::Hello => Self::Hello(Hello::default()),
            Mode::Echo => Self::Echo(Echo::default()),
            Mode::Http => Self::Http(Box::default()),
            Mode::Discard | Mode::Source => Self::Discard,
            Mode::Stream => Self::Stream(Stream::default()),
        }
    }

    /// Bytes came; `more` follow at once, so a message may go on.
    pub(super) fn on_bytes(
        &mut self,
        who: &Personality,
        bytes: &[u8],
        more: bool,
        replies: &mut Replies,
    ) -> Answer {
        match self {
            Self::Hello(hello) => hello.on_bytes(who, bytes, more, replies),
            Self::Echo(echo) => echo.on_bytes(who, bytes, replies),
            Self::Http(http) => http.on_bytes(who, bytes, replies),
            Self::Discard => Answer::Written,
            Self::Stream(stream) => stream.on_bytes(who, bytes, more, replies),
        }
    }

    /// The client has finished writing: what it is still owed, where answers have a time to leave.
    pub(super) fn on_end(&mut self, who: &Personality, replies: &mut Replies) {
        if self.owes_greeting_at_end() {
            hello::answer(who, None, false, replies);
        }
    }

    /// The client has finished writing: whether the bare greeting is still owed to it.
    pub(super) fn owes_greeting_at_end(&self) -> bool {
        match self {
            Self::Hello(hello) => hello.is_mid_message(),
            Self::Stream(stream) => stream.owes_greeting_at_end(),
            Self::Echo(_) | Self::Http(_) | Self::Discard => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_without_a_name_is_called_after_its_place() {
        let port = Place::Port(9001);
        let file = Place::File(Path::new("/run/backend-1.sock"));
        for (name, mode, place, expected, greeting) in [
            (Some("B1"), Mode::Hello, port, "B1", "Hello from B1"),
            (Some("B1"), Mode::Http, port, "B1", "Hello from B1"),
            (Some("B1"), Mode::Http, file, "B1", "Hello from B1"),
            (None, Mode::Hello, port, "Server 9001", "Hello from Server 9001!"),
            (None, Mode::Http, port, "Server 9001", "Hello from the Backend Server on port 9001!"),
            (None, Mode::Hello, file, "Server backend-1", "Hello from Server backend-1!"),
            (None, Mode::Http, file, "Server backend-1", "Hello from Server backend-1!"),
        ] {
            let who = Personality::new(name, mode, place, 1);
            assert_eq!((who.name.as_str(), who.greeting.as_str()), (expected, greeting));
        }
    }
}
