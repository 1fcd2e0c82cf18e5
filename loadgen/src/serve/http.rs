//! The HTTP/1.1 service: keep-alive, pipelining, bodies skipped by their length.
//!
//! A request is answered when its body has passed, so that a client that writes first and reads
//! later never meets an answer it does not expect. What cannot be understood is answered once, and
//! the connection ends.

use std::io::Write;

use super::service::{Answer, Personality};

/// One connection's requests.
#[derive(Debug, Default)]
pub(super) struct Http {
    /// The beginning of a head whose end has not come.
    head: Vec<u8>,
    /// The request whose body is passing, and the bytes of it to come.
    body: Option<(Request, u64)>,
}

/// What of a request matters for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    health: bool,
    head_only: bool,
    version: u8,
    keep_alive: bool,
    wants_continue: bool,
    content_length: u64,
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
        out: &mut Vec<u8>,
    ) -> Answer {
        if self.head.is_empty() {
            return self.answer_all(who, bytes, out);
        }
        let mut joined = std::mem::take(&mut self.head);
        joined.extend_from_slice(bytes);
        self.answer_all(who, &joined, out)
    }

    fn answer_all(&mut self, who: &Personality, mut input: &[u8], out: &mut Vec<u8>) -> Answer {
        loop {
            if let Some((request, to_come)) = self.body.take() {
                let passing = to_come.min(input.len() as u64);
                input = &input[usize::try_from(passing).expect("at most the input's length")..];
                if passing < to_come {
                    self.body = Some((request, to_come - passing));
                    return Answer::Written;
                }
                respond(who, request, out);
                if !request.keep_alive {
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
                        out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                    }
                    self.body = Some((request, request.content_length));
                }
                Parsed::Part => {
                    self.head = input.to_vec();
                    return Answer::Written;
                }
                Parsed::Refused(status) => {
                    refuse(who, status, out);
                    return Answer::WrittenAndLast;
                }
            }
        }
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
        health: path.split('?').next() == Some("/health"),
        head_only: request.method == Some("HEAD"),
        version,
        keep_alive: version == 1,
        wants_continue: false,
        content_length: 0,
    };
    let mut length = None;
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
            return Err(NOT_IMPLEMENTED);
        } else if name.eq_ignore_ascii_case("connection") {
            understood.keep_alive = keep_alive(value, understood.keep_alive);
        } else if name.eq_ignore_ascii_case("expect") {
            understood.wants_continue = value.eq_ignore_ascii_case(b"100-continue");
        }
    }
    understood.content_length = length.unwrap_or(0);
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

fn respond(who: &Personality, request: Request, out: &mut Vec<u8>) {
    let body = if request.health { "OK" } else { &who.greeting };
    // Only what differs from the version's default needs to be said (RFC 9112, 9.3).
    let connection = match (request.version, request.keep_alive) {
        (1, false) => "Connection: close\r\n",
        (0, true) => "Connection: keep-alive\r\n",
        (_, _) => "",
    };
    write_head(who, "200 OK", connection, body.len(), out);
    if !request.head_only {
        out.extend_from_slice(body.as_bytes());
    }
}

fn refuse(who: &Personality, status: &'static str, out: &mut Vec<u8>) {
    write_head(who, status, "Connection: close\r\n", status.len() + 1, out);
    out.extend_from_slice(status.as_bytes());
    out.push(b'\n');
}

fn write_head(who: &Personality, status: &str, connection: &str, length: usize, out: &mut Vec<u8>) {
    let name = &who.name;
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nContent-Type: text/plain\r\n\
         {connection}X-Backend: {name}\r\n\r\n"
    )
    .expect("a vector takes every byte");
}

/// The usual bound of servers for a head; beyond it stands 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// As many as fit a head that people write; more is 431 too.
const HEADERS_MAX: usize = 100;
const BAD: &str = "400 Bad Request";
const TOO_LARGE: &str = "431 Request Header Fields Too Large";
const NOT_IMPLEMENTED: &str = "501 Not Implemented";

#[cfg(test)]
mod tests {
    use super::super::Mode;
    use super::*;

    /// Feeds `input` whole and byte by byte; both must give `expected` status lines and the end.
    fn check(input: &str, expected: &[&str], last: bool) -> String {
        let who = Personality { name: "B1".into(), greeting: "Hi".into(), mode: Mode::Http };
        let (mut whole, mut cut) = (Vec::new(), Vec::new());
        let answer = Http::default().on_bytes(&who, input.as_bytes(), &mut whole);
        let mut http = Http::default();
        let end = input
            .as_bytes()
            .chunks(1)
            .map(|byte| http.on_bytes(&who, byte, &mut cut))
            .find(|answer| *answer == Answer::WrittenAndLast);
        assert_eq!(answer == Answer::WrittenAndLast, last, "{input:?}");
        assert_eq!(end.is_some(), last, "{input:?} byte by byte");
        let text = String::from_utf8(whole).expect("answers are text");
        let statuses: Vec<&str> =
            text.split("HTTP/1.1 ").skip(1).filter_map(|part| part.lines().next()).collect();
        assert_eq!(statuses, expected, "{input:?}");
        if !text.contains("100 Continue") {
            assert_eq!(text.as_bytes(), cut, "{input:?} byte by byte");
        }
        text
    }

    #[test]
    fn requests_are_answered_in_order_and_the_connection_stays() {
        let text = check("GET / HTTP/1.1\r\nHost: x\r\n\r\n", &["200 OK"], false);
        assert!(text.ends_with("\r\nX-Backend: B1\r\n\r\nHi"), "{text}");
        let two = "GET /a HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n";
        assert!(check(two, &["200 OK", "200 OK"], false).ends_with("\r\n\r\nOK"));
    }

    #[test]
    fn a_body_is_skipped_before_the_next_request() {
        let posts = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /GET / HTTP/1.1\r\n\r\n";
        check(posts, &["200 OK", "200 OK"], false);
        check("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhalf", &[], false);
    }

    #[test]
    fn head_has_a_length_and_no_body() {
        let text = check("HEAD / HTTP/1.1\r\n\r\n", &["200 OK"], false);
        assert!(text.contains("Content-Length: 2\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }

    #[test]
    fn versions_and_the_connection_header_decide_who_stays() {
        let text = check("GET / HTTP/1.1\r\nConnection: close\r\n\r\nGET /", &["200 OK"], true);
        assert!(text.contains("Connection: close\r\n"));
        check("GET / HTTP/1.0\r\n\r\n", &["200 OK"], true);
        let text = check("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &["200 OK"], false);
        assert!(text.contains("Connection: keep-alive\r\n"));
    }

    #[test]
    fn what_is_not_a_request_is_refused_once() {
        for (input, status) in [
            ("nonsense\r\n\r\n", BAD),
            ("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", BAD),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", BAD),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", NOT_IMPLEMENTED),
        ] {
            check(input, &[status], true);
        }
    }

    #[test]
    fn a_head_over_16_kib_is_too_large() {
        let filler = "a".repeat(HEAD_BYTES_MAX);
        check(&format!("GET / HTTP/1.1\r\nX: {filler}\r\n\r\n"), &[TOO_LARGE], true);
        check(&format!("GET / HTTP/1.1\r\nX: {filler}"), &[TOO_LARGE], true);
        check(&format!("GET /{} HTTP/1.1\r\n\r\n", &filler[64..]), &["200 OK"], false);
    }

    #[test]
    fn a_client_that_waits_for_leave_to_send_gets_it() {
        let head = "POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
        check(head, &["100 Continue"], false);
    }
}
