//! Responses, whole and cut at every place, and what must not be taken for one.

use super::head::HEAD_BYTES_MAX;
use super::*;

/// Keeps what it is shown.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    heads: Vec<u16>,
    body: Vec<u8>,
}

impl Watch for Seen {
    fn on_head(&mut self, head: &httparse::Response<'_, '_>) {
        self.heads.push(head.code.expect("a head has a status"));
        self.body.clear();
    }

    fn on_body(&mut self, piece: &[u8]) {
        assert!(!piece.is_empty(), "nothing is no piece");
        self.body.extend_from_slice(piece);
    }
}

/// What `parts` make of a response, the bytes that follow it, and what was shown.
fn feed(head_only: bool, parts: &[&[u8]]) -> (Parsed, Vec<u8>, Seen) {
    let (mut parser, mut seen) = (Parser::new(head_only), Seen::default());
    let mut parsed = Parsed::Part;
    for (at, part) in parts.iter().enumerate() {
        let mut bytes = *part;
        parsed = parser.next(&mut bytes, &mut seen);
        if parsed != Parsed::Part {
            let rest =
                parts[at + 1..].iter().fold(bytes.to_vec(), |rest, part| [&rest, *part].concat());
            return (parsed, rest, seen);
        }
        assert!(bytes.is_empty(), "a part is taken whole");
    }
    (parsed, Vec::new(), seen)
}

/// Feeds `input` whole, byte by byte, and cut in two at every place: always the same.
fn check_as(head_only: bool, input: &[u8], expected: Parsed, rest: &[u8]) -> Seen {
    let (parsed, left, seen) = feed(head_only, &[input]);
    let text = String::from_utf8_lossy(input);
    assert_eq!(parsed, expected, "{text}");
    if let Parsed::Whole(response) = expected {
        assert_eq!(left, rest, "{text}");
        assert_eq!(seen.heads, [response.status], "{text}");
        assert_eq!(seen.body.len() as u64, response.body_bytes, "{text}");
    }
    let refused = matches!(expected, Parsed::Refused(_));
    for cut in 0..=input.len() {
        let (first, second) = input.split_at(cut);
        let again = feed(head_only, &[first, second]);
        assert_eq!(again.0, expected, "{text} cut at {cut}");
        assert!(refused || (&again.1, &again.2) == (&left, &seen), "{text} cut at {cut}");
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    let again = feed(head_only, &bytes);
    assert_eq!(again.0, expected, "{text} byte by byte");
    assert!(refused || (&again.1, &again.2) == (&left, &seen), "{text} byte by byte");
    seen
}

fn whole(status: u16, stays: bool, body_bytes: u64) -> Parsed {
    Parsed::Whole(Response { status, stays, body_bytes })
}

/// A response after which the connection stays, followed by `next`.
fn check(input: &str, status: u16, body: &str) {
    let input = format!("{input}next").into_bytes();
    let seen = check_as(false, &input, whole(status, true, body.len() as u64), b"next");
    assert_eq!(seen.body, body.as_bytes());
}

fn check_refused(input: &str, refusal: Refusal) {
    check_as(false, input.as_bytes(), Parsed::Refused(refusal), b"");
}

#[test]
fn a_length_ends_a_body() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello");
    check("HTTP/1.1 404 Not Found\r\ncontent-length:  0 \r\n\r\n", 404, "");
    check("HTTP/1.1 200\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 200, "hi");
    check("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi", 200, "hi");
}

#[test]
fn an_empty_chunk_ends_chunks_and_trailers_are_passed_over() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
    check(&format!("{head}5\r\nhello\r\n0\r\n\r\n"), 200, "hello");
    check(&format!("{head}0\r\n\r\n"), 200, "");
    let long = "x".repeat(0x1a);
    check(&format!("{head}1A\r\n{long}\r\n00\r\n\r\n"), 200, &long);
    check(&format!("{head}2;a=b;c=\"d\"\r\nhe\r\n3  ;x\r\nllo\r\n0;e\r\n\r\n"), 200, "hello");
    check(&format!("{head}1 \r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n"), 200, "x");
    check(&format!("{head}2\r\n\r\n\r\n0\r\n\r\n"), 200, "\r\n");
}

#[test]
fn some_responses_have_no_body_whatever_they_say() {
    check("HTTP/1.1 204 No Content\r\n\r\n", 204, "");
    check("HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", 204, "");
    check("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, "");
    for length in ["Content-Length: 9", "Transfer-Encoding: chunked", "X: y"] {
        let input = format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\nnext");
        check_as(true, input.as_bytes(), whole(200, true, 0), b"next");
    }
}

#[test]
fn interim_responses_are_passed_over() {
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    check(&format!("HTTP/1.1 100 Continue\r\n\r\n{last}"), 200, "hi");
    check(
        &format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100\r\n\r\n{last}"),
        200,
        "hi",
    );
}

#[test]
fn the_connection_ends_when_that_is_said_or_the_version_means_it() {
    for head in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2",
        "HTTP/1.1 200 OK\r\nConnection: x , CLOSE\r\nContent-Length: 2",
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\nContent-Length: 2",
        "HTTP/1.0 200 OK\r\nContent-Length: 2",
    ] {
        let input = format!("{head}\r\n\r\nhi");
        check_as(false, input.as_bytes(), whole(200, false, 2), b"");
    }
}

#[test]
fn a_body_of_no_stated_length_ends_with_the_stream() {
    let input = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nall of this";
    for cut in 0..=input.len() {
        let (mut parser, mut seen) = (Parser::new(false), Seen::default());
        for mut part in [&input[..cut], &input[cut..]] {
            assert_eq!(parser.next(&mut part, &mut seen), Parsed::Part);
        }
        assert_eq!(parser.end(), whole(200, false, 11));
        assert_eq!(seen.body, b"all of this");
        assert!(parser.is_between());
    }
}

#[test]
fn the_end_of_the_stream_cuts_every_other_response_short() {
    for input in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let mut parser = Parser::new(false);
        assert_eq!(parser.next(&mut input.as_bytes(), &mut Seen::default()), Parsed::Part);
        assert_eq!(parser.end(), Parsed::Refused(Refusal::CutShort), "{input}");
    }
}

#[test]
fn responses_follow_each_other() {
    let one = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na".as_slice();
    let two =
        b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbb\r\n0\r\n\r\n".as_slice();
    let input = [one, two, one].concat();
    for cut in 0..=input.len() {
        let (mut parser, mut seen) = (Parser::new(false), Seen::default());
        let mut came = Vec::new();
        for mut part in [&input[..cut], &input[cut..]] {
            while let Parsed::Whole(response) = parser.next(&mut part, &mut seen) {
                assert!(parser.is_between());
                came.push((response.status, response.body_bytes));
                if part.is_empty() {
                    break;
                }
            }
        }
        assert_eq!(came, [(200, 1), (500, 2), (200, 1)], "cut at {cut}");
    }
}

#[test]
fn what_is_not_http_is_malformed() {
    for input in [
        "Hello from B1\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 two\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA\0: x\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "HTTP/1.1 600 High\r\n\r\n",
    ] {
        check_refused(input, Refusal::Malformed);
    }
}

#[test]
fn lengths_that_can_be_understood_in_two_ways_are_refused() {
    for length in [
        "Content-Length: -1",
        "Content-Length: +1",
        "Content-Length: 1 2",
        "Content-Length: 1, 1",
        "Content-Length: 0x10",
        "Content-Length: 18446744073709551616",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 1",
    ] {
        check_refused(&format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n"), Refusal::Length);
    }
}

#[test]
fn codings_that_we_do_not_know_are_refused() {
    for coding in
        ["gzip", "gzip, chunked", "chunked, chunked", "chunked\r\nTransfer-Encoding: chunked"]
    {
        let input = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n");
        check_refused(&input, Refusal::Coding);
    }
    check_refused("HTTP/1.1 101 Switching\r\n\r\n", Refusal::Upgrade);
}

#[test]
fn chunks_that_are_not_what_they_say_are_refused() {
    for chunks in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "5 5\r\nhello\r\n",
        "5\nhello\r\n",
        "5\rhello\r\n",
        "5\r\nhello!\r\n",
        "5\r\nhello\r!",
        "5;a\nhello",
        "10000000000000000\r\n",
        "0\r\n\n",
        "0\r\nA: b\n",
        "0\r\nA: b\rx",
        "0\r\n\rx",
    ] {
        let input = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        check_refused(&input, Refusal::Chunk);
    }
}

/// Whole and byte by byte only: every cut of so much takes minutes.
fn check_too_large(head: &str, endless: &str) {
    let input = format!("{head}{}", endless.repeat(40_000 / endless.len()));
    let bytes: Vec<&[u8]> = input.as_bytes().chunks(1000).collect();
    for parts in [vec![input.as_bytes()], bytes] {
        assert_eq!(feed(false, &parts).0, Parsed::Refused(Refusal::TooLarge), "{head}{endless}");
    }
}

#[test]
fn nobody_can_make_us_keep_or_read_without_end() {
    check_too_large("HTTP/1.1 200 OK\r\n", "A: bcdefghijklmnopqrstuvwxyz\r\n");
    check_too_large("HTTP/1.1 200 OK\r\nA: ", "x");
    check_too_large("HTTP/1.1 200 ", "x");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check_too_large(&format!("{chunked}1;"), "x");
    check_too_large(&format!("{chunked}0\r\n"), "A: b\r\n");
    check_too_large(chunked, "0");
    check_too_large(&format!("{chunked}1"), " ");
}

#[test]
fn a_head_may_be_as_long_as_that() {
    let filler = "x".repeat(HEAD_BYTES_MAX - 50);
    let input = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: {filler}\r\n\r\n");
    assert!(input.len() <= HEAD_BYTES_MAX);
    assert_eq!(feed(false, &[input.as_bytes()]).0, whole(200, true, 0));
    let longer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: {filler}{}\r\n\r\n", "x".repeat(50));
    assert_eq!(feed(false, &[longer.as_bytes()]).0, Parsed::Refused(Refusal::TooLarge));
}

#[test]
fn many_chunks_are_not_too_much() {
    let chunks = "1;some extension\r\nx\r\n".repeat(10_000);
    let input = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    assert_eq!(feed(false, &[input.as_bytes()]).0, whole(200, true, 10_000));
}
