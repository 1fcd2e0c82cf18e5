//! The HTTP/1.1 service: keep-alive, pipelining, bodies read and dropped, of a length or in chunks.
//!
//! `/bytes/N` is N bytes of filler, `/health` and `/status` are for whoever watches, and every other
//! path is the greeting. A request is answered when its body has passed, so that a client that writes first and reads
//! later never meets an answer it does not expect. What cannot be understood is answered once, and
//! the connection ends.

use std::io::Write;

use super::chunked::{Chunked, Passed};
use super::replies::{Act, Fate, Replies};
use super::service::{Answer, Personality};
use super::status;

/// One connection's requests.
#[derive(Debug, Default)]
pub(super) struct Http {
    /// The beginning of a head whose end has not come.
    head: Vec<u8>,
    /// The request whose body is passing, and what is to come of that.
    body: Option<(Request, Body)>,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// After so many bytes.
    Length(u64),
    /// As its chunks say.
    Chunked(Chunked),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Greeting,
    Health,
    Status,
    /// So much filler.
    Bytes(u64),
    /// Some other number of bytes, which there are not.
    BadBytes,
}

/// What of a request matters for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    route: Route,
    head_only: bool,
    version: u8,
    keep_alive: bool,
    wants_continue: bool,
    body: Body,
}

/// What the beginning of the input turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parsed {
    /// A head of so many bytes.
    Whole(Request, usize),
    /// A head that goes on.
    Part,
    /// Not acceptable; the status line says why.
    Refused(&'static str),
}

impl Http {
    /// Answers the requests that end in `bytes`.
    pub(super) fn on_bytes(
        &mut self,
        who: &Personality,
        bytes: &[u8],
        replies: &mut Replies,
    ) -> Answer {
        if self.head.is_empty() {
            return self.answer_all(who, bytes, replies);
        }
        let mut joined = std::mem::take(&mut self.head);
        joined.extend_from_slice(bytes);
        self.answer_all(who, &joined, replies)
    }

    fn answer_all(&mut self, who: &Personality, mut input: &[u8], replies: &mut Replies) -> Answer {
        loop {
            if let Some((request, mut body)) = self.body.take() {
                match body.pass(input) {
                    Passed::Ended(bytes) => input = &input[bytes..],
                    Passed::All => {
                        self.body = Some((request, body));
                        return Answer::Written;
                    }
                    Passed::Broken => return refuse(who, BAD, replies),
                }
                if !respond(who, request, replies) {
                    return Answer::WrittenAndLast;
                }
            }
            if input.is_empty() {
                return Answer::Written;
            }
            match parse(input) {
                Parsed::Whole(request, head_bytes) => {
                    input = &input[head_bytes..];
                    if request.wants_continue && input.is_empty() {
                        replies.output.push(b"HTTP/1.1 100 Continue\r\n\r\n");
                    }
                    self.body = Some((request, request.body));
                }
                Parsed::Part => {
                    self.head = input.to_vec();
                    return Answer::Written;
                }
                Parsed::Refused(status) => return refuse(who, status, replies),
            }
        }
    }
}

impl Body {
    fn pass(&mut self, input: &[u8]) -> Passed {
        match self {
            Self::Length(left) => match usize::try_from(*left) {
                Ok(bytes) if bytes <= input.len() => Passed::Ended(bytes),
                _ => {
                    *left -= input.len() as u64;
                    Passed::All
                }
            },
            Self::Chunked(chunked) => chunked.pass(input),
        }
    }
}

impl Route {
    fn of(path: &str) -> Self {
        let path = path.split('?').next().unwrap_or(path);
        match path.strip_prefix("/bytes/") {
            Some(bytes) => match content_length(bytes.as_bytes()) {
                Some(bytes) if bytes <= BYTES_MAX => Self::Bytes(bytes),
                _ => Self::BadBytes,
            },
            None if path == "/health" => Self::Health,
            None if path == "/status" => Self::Status,
            None => Self::Greeting,
        }
    }

    /// Whether it is asked by who watches: such requests are not counted and meet no fault but a
    /// stall, so that a balancer's health checks do not change what the clients meet.
    fn is_watched(self) -> bool {
        matches!(self, Self::Health | Self::Status)
    }
}

fn parse(input: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(input) {
        Ok(httparse::Status::Complete(bytes)) if bytes > HEAD_BYTES_MAX => {
            Parsed::Refused(TOO_LARGE)
        }
        Ok(httparse::Status::Partial) if input.len() > HEAD_BYTES_MAX => Parsed::Refused(TOO_LARGE),
        Err(httparse::Error::TooManyHeaders) => Parsed::Refused(TOO_LARGE),
        Ok(httparse::Status::Partial) => Parsed::Part,
        Ok(httparse::Status::Complete(bytes)) => match understand(&request) {
            Ok(request) => Parsed::Whole(request, bytes),
            Err(status) => Parsed::Refused(status),
        },
        Err(_) => Parsed::Refused(BAD),
    }
}

fn understand(request: &httparse::Request<'_, '_>) -> Result<Request, &'static str> {
    let version = request.version.unwrap_or(1);
    let path = request.path.unwrap_or("/");
    let mut understood = Request {
        route: Route::of(path),
        head_only: request.method == Some("HEAD"),
        version,
        keep_alive: version == 1,
        wants_continue: false,
        body: Body::Length(0),
    };
    let (mut length, mut chunked) = (None, false);
    for header in request.headers.iter() {
        let (name, value) = (header.name, header.value.trim_ascii());
        if name.eq_ignore_ascii_case("content-length") {
            let bytes = content_length(value).ok_or(BAD)?;
            // Two lengths that differ are how requests are smuggled.
            if length.is_some_and(|other| other != bytes) {
                return Err(BAD);
            }
            length = Some(bytes);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(NOT_IMPLEMENTED);
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case("connection") {
            understood.keep_alive = keep_alive(value, understood.keep_alive);
        } else if name.eq_ignore_ascii_case("expect") {
            understood.wants_continue = value.eq_ignore_ascii_case(b"100-continue");
        }
    }
    understood.body = match (length, chunked) {
        // A length beside the chunks is how requests are smuggled too.
        (Some(_), true) => return Err(BAD),
        (None, true) => Body::Chunked(Chunked::new()),
        (length, false) => Body::Length(length.unwrap_or(0)),
    };
    Ok(understood)
}

fn content_length(value: &[u8]) -> Option<u64> {
    // `parse` alone would take a sign.
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

fn keep_alive(value: &[u8], default: bool) -> bool {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).fold(default, |keep, option| {
        if option.eq_ignore_ascii_case(b"close") {
            false
        } else {
            keep || option.eq_ignore_ascii_case(b"keep-alive")
        }
    })
}

/// Answers `request`; whether the connection goes on.
fn respond(who: &Personality, request: Request, replies: &mut Replies) -> bool {
    let watched = request.route.is_watched();
    let fate = if watched { Fate::FAIR } else { replies.begin(who) };
    match fate.act {
        Act::Answer => write_answer(who, request, replies),
        Act::Error => write_text(who, request, "500 Internal Server Error", ERROR_BODY, replies),
        Act::Drop | Act::Close | Act::Reset => {}
    }
    let goes_on = replies.end(who, fate);
    // Who gets no answer keeps the connection to wait on.
    goes_on && (request.keep_alive || fate.act == Act::Drop)
}

fn write_answer(who: &Personality, request: Request, replies: &mut Replies) {
    match request.route {
        Route::Greeting => write_text(who, request, OK, who.greeting.as_bytes(), replies),
        Route::Health => write_text(who, request, OK, b"OK", replies),
        Route::Status => {
            let body = status::body(who);
            let head = Head { content_type: "application/json", ..Head::text(OK, request) };
            write_head(who, &head, body.len() as u64, replies);
            if !request.head_only {
                replies.output.push(&body);
            }
        }
        Route::Bytes(bytes) => {
            write_head(who, &Head::text(OK, request), bytes, replies);
            if !request.head_only {
                replies.output.push_filler(bytes);
            }
        }
        Route::BadBytes => write_text(who, request, BAD, BAD_BYTES_BODY, replies),
    }
}

fn write_text(
    who: &Personality,
    request: Request,
    status: &'static str,
    body: &[u8],
    replies: &mut Replies,
) {
    write_head(who, &Head::text(status, request), body.len() as u64, replies);
    if !request.head_only {
        replies.output.push(body);
    }
}

fn refuse(who: &Personality, status: &'static str, replies: &mut Replies) -> Answer {
    let head = Head { status, connection: CLOSE, content_type: TEXT };
    write_head(who, &head, status.len() as u64 + 1, replies);
    replies.output.push(status.as_bytes());
    replies.output.push(b"\n");
    replies.end(who, Fate::FAIR);
    Answer::WrittenAndLast
}

/// What differs from head to head.
#[derive(Clone, Copy, Debug)]
struct Head {
    status: &'static str,
    connection: &'static str,
    content_type: &'static str,
}

impl Head {
    fn text(status: &'static str, request: Request) -> Self {
        // Only what differs from the version's default needs to be said (RFC 9112, 9.3).
        let connection = match (request.version, request.keep_alive) {
            (1, false) => CLOSE,
            (0, true) => "Connection: keep-alive\r\n",
            (_, _) => "",
        };
        Self { status, connection, content_type: TEXT }
    }
}

fn write_head(who: &Personality, head: &Head, length: u64, replies: &mut Replies) {
    let Head { status, connection, content_type } = head;
    let name = &who.name;
    write!(
        replies.output.text(),
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nContent-Type: {content_type}\r\n\
         {connection}X-Backend: {name}\r\n\r\n"
    )
    .expect("a vector takes every byte");
}

/// The usual bound of servers for a head; beyond it stands 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// As many as fit a head that people write; more is 431 too.
const HEADERS_MAX: usize = 100;
/// Filler takes no memory, so this is only where a number is taken for a mistake.
const BYTES_MAX: u64 = 1 << 40;
const CLOSE: &str = "Connection: close\r\n";
const TEXT: &str = "text/plain";
const ERROR_BODY: &[u8] = b"ERROR injected\n";
const BAD_BYTES_BODY: &[u8] = b"/bytes/N takes a number from 0 to 1099511627776\n";
const OK: &str = "200 OK";
const BAD: &str = "400 Bad Request";
const TOO_LARGE: &str = "431 Request Header Fields Too Large";
const NOT_IMPLEMENTED: &str = "501 Not Implemented";

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
