//! HTTP/1.1 as a client needs it: requests that are written once, and responses that are understood
//! as they come, cut anywhere (RFC 9112).
//!
//! A head is kept until it is whole; of a body only the length is kept, and who wants more is shown
//! the pieces. What could be understood in two ways is refused.

mod chunks;
mod head;
mod request;

pub use request::{Header, HttpRequest, HttpRequestError, Method};

use self::chunks::{Chunks, Progress};
use self::head::{Body, Head};

/// What of a response is shown while it comes.
pub(super) trait Watch {
    /// The head is there; not told of interim responses (1xx).
    fn on_head(&mut self, head: &httparse::Response<'_, '_>);
    /// A piece of the body.
    fn on_body(&mut self, piece: &[u8]);
}

/// One response as it comes, and then the next.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The request was a HEAD: its responses have no body, whatever they say.
    head_only: bool,
    /// The beginning of a head whose end has not come.
    part: Vec<u8>,
    state: State,
}

/// A response that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    /// The connection can be used again.
    pub(super) stays: bool,
    pub(super) body_bytes: u64,
}

/// What bytes made of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// All of them belong to it, and there is more to come.
    Part,
    Whole(Response),
    Refused(Refusal),
}

/// Why a response cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not HTTP/1, or a head that breaks its grammar.
    Malformed,
    /// More of a head, or of what stands around chunks, than anybody needs.
    TooLarge,
    /// A length that is none, two that differ, or a length beside chunks.
    Length,
    /// A transfer coding that is not chunked.
    Coding,
    /// Chunks that are not what they say.
    Chunk,
    /// Another protocol from here on (101).
    Upgrade,
    /// The stream ended in the middle.
    CutShort,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    /// So many bytes of the body are to come.
    Counted(Response, u64),
    Chunked(Response, Chunks),
    /// Everything until the end of the stream.
    UntilClose(Response),
}

impl Parser {
    /// Of responses to GET and POST, or to HEAD.
    pub(super) fn new(head_only: bool) -> Self {
        Self { head_only, ..Self::default() }
    }

    /// Nothing of a response has come.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.state, State::Head) && self.part.is_empty()
    }

    /// The connection is new.
    pub(super) fn restart(&mut self) {
        self.part.clear();
        self.state = State::Head;
    }

    /// Takes from `bytes` what belongs to the response. After a refusal there is no way on but
    /// [`Parser::restart`].
    pub(super) fn next(&mut self, bytes: &mut &[u8], watch: &mut impl Watch) -> Parsed {
        loop {
            match std::mem::take(&mut self.state) {
                State::Head => match self.head(bytes, watch) {
                    Ok(Some(state)) => self.state = state,
                    Ok(None) => return Parsed::Part,
                    Err(refusal) => return Parsed::Refused(refusal),
                },
                State::Counted(mut response, to_come) => {
                    let piece = take(bytes, to_come);
                    show(piece, &mut response, watch);
                    match to_come - piece.len() as u64 {
                        0 => return Parsed::Whole(response),
                        to_come => self.state = State::Counted(response, to_come),
                    }
                    return Parsed::Part;
                }
                State::Chunked(mut response, mut chunks) => {
                    match chunks.next(bytes, |piece| show(piece, &mut response, watch)) {
                        Progress::Part => self.state = State::Chunked(response, chunks),
                        Progress::Whole => return Parsed::Whole(response),
                        Progress::Refused(refusal) => return Parsed::Refused(refusal),
                    }
                    return Parsed::Part;
                }
                State::UntilClose(mut response) => {
                    show(std::mem::take(bytes), &mut response, watch);
                    self.state = State::UntilClose(response);
                    return Parsed::Part;
                }
            }
        }
    }

    /// The stream has ended: with it a response may have, and any other is cut short.
    pub(super) fn end(&mut self) -> Parsed {
        match std::mem::take(&mut self.state) {
            State::UntilClose(response) => Parsed::Whole(response),
            State::Head | State::Counted(..) | State::Chunked(..) => {
                Parsed::Refused(Refusal::CutShort)
            }
        }
    }

    /// What follows the head, if it is whole; an interim response is left behind.
    fn head(
        &mut self,
        bytes: &mut &[u8],
        watch: &mut impl Watch,
    ) -> Result<Option<State>, Refusal> {
        if self.part.is_empty() {
            let (head, rest) = match head::parse(bytes, self.head_only, watch)? {
                Some((head, len)) => (head, &bytes[len..]),
                None => {
                    self.part.extend_from_slice(bytes);
                    *bytes = &[];
                    return Ok(None);
                }
            };
            *bytes = rest;
            return Ok(Some(begin(head)));
        }
        let before = self.part.len();
        self.part.extend_from_slice(bytes);
        match head::parse(&self.part, self.head_only, watch)? {
            Some((head, len)) => {
                // What had come before was not a head, so its end is in the new bytes.
                *bytes = &bytes[len - before..];
                self.part.clear();
                Ok(Some(begin(head)))
            }
            None => {
                *bytes = &[];
                Ok(None)
            }
        }
    }
}

/// The state behind a head.
fn begin(head: Head) -> State {
    let Head::Final { status, stays, body } = head else { return State::Head };
    let response = Response { status, stays, body_bytes: 0 };
    match body {
        Body::Counted(bytes) => State::Counted(response, bytes),
        Body::Chunked => State::Chunked(response, Chunks::default()),
        Body::UntilClose => State::UntilClose(Response { stays: false, ..response }),
    }
}

fn show(piece: &[u8], response: &mut Response, watch: &mut impl Watch) {
    if !piece.is_empty() {
        response.body_bytes += piece.len() as u64;
        watch.on_body(piece);
    }
}

/// At most `most` bytes from the front.
fn take<'a>(bytes: &mut &'a [u8], most: u64) -> &'a [u8] {
    let len = usize::try_from(most).map_or(bytes.len(), |most| most.min(bytes.len()));
    let (front, rest) = bytes.split_at(len);
    *bytes = rest;
    front
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
