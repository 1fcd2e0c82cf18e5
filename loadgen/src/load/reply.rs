//! Replies: whether one is complete, whether it is right, and whose it is.
//!
//! A reply is compared with the one before it on the same connection, so that the name of the
//! backend is looked at once a connection and not once a request. What was received once is taken
//! for right the next time without a second look, for the same bytes are understood in the same
//! way. The first guess is an echo.

mod body;
mod names;

pub(super) use names::{BackendId, Names};

use self::body::Body;
use super::http::{Parsed, Parser, Response};

/// The replies that one connection is getting.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// Whose reply is expected.
    expected: BackendId,
    /// So many bytes of it have come.
    matched: usize,
    /// What has come is not the expected reply.
    differs: bool,
    /// That other reply, as far as it has come, if it is a line.
    line: Vec<u8>,
    /// The same of a response, once there was one.
    http: Option<Box<Http>>,
    /// The last reply was one after which the connection ends.
    last: bool,
}

#[derive(Debug)]
struct Http {
    parser: Parser,
    body: Body,
}

/// What bytes made of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progressed {
    Part,
    Whole(BackendId),
    /// A response that is whole, and says that the request failed (4xx, 5xx).
    Status(u16),
    /// Not what was asked for; nothing more can be understood on this connection.
    Wrong,
}

impl Reply {
    /// The connection is new; who answered the last one is still the best guess.
    pub(super) fn restart(&mut self) {
        self.next_begins();
        self.last = false;
        if let Some(http) = &mut self.http {
            http.parser.restart();
        }
    }

    /// Whether the connection can carry another request after the reply that was whole.
    pub(super) fn stays(&self) -> bool {
        !self.last
    }

    /// Takes one reply from `bytes`, or all of them if that is not enough: more replies may follow,
    /// each by another call. Bytes that are left when no reply is awaited are more than was asked
    /// for.
    pub(super) fn next(&mut self, bytes: &mut &[u8], names: &mut Names) -> Progressed {
        if bytes.is_empty() {
            return Progressed::Part;
        }
        if !self.differs {
            let expected = names.expected(self.expected);
            let to_come = &expected[self.matched..];
            if !to_come.is_empty() && bytes.starts_with(to_come) {
                *bytes = &bytes[to_come.len()..];
                self.matched = 0;
                return Progressed::Whole(self.expected);
            }
            if to_come.starts_with(bytes) {
                self.matched += bytes.len();
                *bytes = &[];
                return Progressed::Part;
            }
            self.differs = true;
            if !names.are_http() {
                self.line.extend_from_slice(&expected[..self.matched]);
            }
        }
        if names.are_http() { self.response(bytes, names) } else { self.line(bytes, names) }
    }

    /// The stream has ended: the reply that this completed, if it did.
    pub(super) fn end(&mut self, names: &mut Names) -> Option<Progressed> {
        let http = self.http.as_mut().filter(|_| self.differs)?;
        match http.parser.end() {
            Parsed::Whole(response) => Some(self.on_response(response, names)),
            Parsed::Part | Parsed::Refused(_) => None,
        }
    }

    fn line(&mut self, bytes: &mut &[u8], names: &mut Names) -> Progressed {
        let end = line_end(bytes);
        let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        let room = names.line_bytes_max().saturating_sub(self.line.len());
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
        *bytes = rest;
        if end.is_none() {
            let hopeful = names.may_become_reply(&self.line);
            return if hopeful { Progressed::Part } else { Progressed::Wrong };
        }
        match names.recognize(&self.line) {
            Some(backend) => {
                self.expected = backend;
                self.next_begins();
                Progressed::Whole(backend)
            }
            None => Progressed::Wrong,
        }
    }

    fn response(&mut self, bytes: &mut &[u8], names: &mut Names) -> Progressed {
        let http = self.http.get_or_insert_with(|| Box::new(Http::new(names)));
        let Http { parser, body } = http.as_mut();
        let begins = parser.is_between();
        if begins && self.matched > 0 {
            let mut before = &names.expected(self.expected)[..self.matched];
            let parsed = parser.next(&mut before, body);
            debug_assert_eq!(parsed, Parsed::Part, "the beginning of a response is not all of it");
        }
        let all = *bytes;
        match parser.next(bytes, body) {
            Parsed::Part => Progressed::Part,
            Parsed::Refused(_) => Progressed::Wrong,
            Parsed::Whole(response) => {
                let in_one_piece = begins && self.matched == 0;
                let progressed = self.on_response(response, names);
                if let (Progressed::Whole(backend), true) =
                    (progressed, in_one_piece && response.stays)
                {
                    names.expect(backend, &all[..all.len() - bytes.len()]);
                }
                progressed
            }
        }
    }

    fn on_response(&mut self, response: Response, names: &mut Names) -> Progressed {
        self.next_begins();
        self.last = !response.stays;
        if response.status >= FIRST_FAILURE {
            return Progressed::Status(response.status);
        }
        let http = self.http.as_ref().expect("a response went through it");
        match names.recognize_response(&http.body, response) {
            Some(backend) => {
                self.expected = backend;
                Progressed::Whole(backend)
            }
            None => Progressed::Wrong,
        }
    }

    fn next_begins(&mut self) {
        self.matched = 0;
        self.differs = false;
        self.line.clear();
    }
}

impl Http {
    fn new(names: &Names) -> Self {
        Self { parser: Parser::new(names.are_head_only()), body: Body::new(names.body()) }
    }
}

/// How many bytes the first line has with its newline, if that has come.
fn line_end(bytes: &[u8]) -> Option<usize> {
    // The standard library's fast search for a byte is behind this only.
    let len = std::io::BufRead::skip_until(&mut &*bytes, b'\n').unwrap_or(0);
    Some(len).filter(|&len| len > 0 && bytes[len - 1] == b'\n')
}

const FIRST_FAILURE: u16 = 400;

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
