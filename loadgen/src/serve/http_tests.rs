//! What requests are answered, whole and byte by byte.

use super::super::Mode;
use super::*;

/// Feeds `input` whole and byte by byte; both must give `expected` status lines and the end.
fn check(input: &str, expected: &[&str], last: bool) -> String {
    let who = Personality::named("B1", Mode::Http);
    let (mut whole, mut cut) = (Replies::default(), Replies::default());
    let answer = Http::default().on_bytes(&who, input.as_bytes(), &mut whole);
    let mut http = Http::default();
    let end = input
        .as_bytes()
        .chunks(1)
        .map(|byte| http.on_bytes(&who, byte, &mut cut))
        .find(|answer| *answer == Answer::WrittenAndLast);
    assert_eq!(answer == Answer::WrittenAndLast, last, "{input:?}");
    assert_eq!(end.is_some(), last, "{input:?} byte by byte");
    assert_eq!(whole.requests, cut.requests, "{input:?} byte by byte");
    let text = whole.text();
    let statuses: Vec<&str> =
        text.split("HTTP/1.1 ").skip(1).filter_map(|part| part.lines().next()).collect();
    assert_eq!(statuses, expected, "{input:?}");
    if !text.contains("100 Continue") {
        assert_eq!(text, cut.text(), "{input:?} byte by byte");
    }
    text
}

#[test]
fn requests_are_answered_in_order_and_the_connection_stays() {
    let text = check("GET / HTTP/1.1\r\nHost: x\r\n\r\n", &["200 OK"], false);
    assert!(text.ends_with("\r\nX-Backend: B1\r\n\r\nHello from B1"), "{text}");
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
fn chunks_are_skipped_before_the_next_request() {
    let chunks = "5\r\nGET /\r\n0\r\n\r\n";
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n";
    check(&format!("{head}{chunks}GET / HTTP/1.1\r\n\r\n"), &["200 OK", "200 OK"], false);
    check(&format!("{head}5\r\nhalf"), &[], false);
}

#[test]
fn as_many_bytes_come_as_were_asked_for() {
    for (path, bytes) in [("/bytes/0", 0), ("/bytes/1", 1), ("/bytes/30000?x", 30_000)] {
        let text = check(&format!("GET {path} HTTP/1.1\r\n\r\n"), &["200 OK"], false);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("Content-Length: {bytes}\r\n")), "{head}");
        assert!(body.bytes().eq((b'a'..=b'z').cycle().take(bytes)), "{path}");
    }
    let two = "GET /bytes/3 HTTP/1.1\r\n\r\nGET /bytes/2 HTTP/1.1\r\n\r\n";
    assert!(check(two, &["200 OK", "200 OK"], false).contains("\r\n\r\nabcHTTP/1.1"));
    let text = check("HEAD /bytes/9 HTTP/1.1\r\n\r\n", &["200 OK"], false);
    assert!(text.contains("Content-Length: 9\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    for bytes in ["", "-1", "x", "1099511627777"] {
        check(&format!("GET /bytes/{bytes} HTTP/1.1\r\n\r\n"), &[BAD], false);
    }
}

#[test]
fn status_is_json_and_not_counted() {
    let who = Personality::named("B1", Mode::Http);
    who.counters.of(0).requests.add(7);
    let mut replies = Replies::default();
    let requests = "GET /status HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n";
    Http::default().on_bytes(&who, requests.as_bytes(), &mut replies);
    assert_eq!(replies.requests, 0);
    let text = replies.text();
    assert!(text.contains("Content-Type: application/json\r\n"), "{text}");
    let body = text.split("\r\n\r\n").nth(1).and_then(|body| body.split('\n').next());
    let status: serde_json::Value = serde_json::from_str(body.expect("a body")).expect("JSON");
    assert_eq!((&status["name"], &status["status"]), (&"B1".into(), &"ok".into()));
    assert_eq!(status["requests"], 7);
}

#[test]
fn faults_meet_requests_and_not_who_watches() {
    let who = Personality::faulty("B1", Mode::Http, &["error every 2", "drop every 3"]);
    let mut replies = Replies::default();
    let one = "GET /health HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    let answer = Http::default().on_bytes(&who, one.repeat(6).as_bytes(), &mut replies);
    assert_eq!((answer, replies.requests), (Answer::Written, 6));
    let text = replies.text();
    assert_eq!(text.matches("\r\n\r\nOK").count(), 6);
    assert_eq!(text.matches("Hello from B1").count(), 2);
    let error = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 15\r\n";
    assert_eq!(text.matches(error).count(), 3, "{text}");
}

#[test]
fn an_end_instead_of_an_answer_ends_the_talk() {
    for spec in ["close every 2", "reset every 2"] {
        let who = Personality::faulty("B1", Mode::Http, &[spec]);
        let mut replies = Replies::default();
        let three = "GET / HTTP/1.1\r\n\r\n".repeat(3);
        let answer = Http::default().on_bytes(&who, three.as_bytes(), &mut replies);
        assert_eq!((answer, replies.requests), (Answer::WrittenAndLast, 2), "{spec}");
        assert_eq!(replies.text().matches("200 OK").count(), 1, "{spec}");
    }
}

#[test]
fn who_gets_no_answer_keeps_the_connection() {
    let who = Personality::faulty("B1", Mode::Http, &["drop every 1"]);
    let mut replies = Replies::default();
    let request = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
    let answer = Http::default().on_bytes(&who, request, &mut replies);
    assert_eq!((answer, replies.text().as_str()), (Answer::Written, ""));
}

#[test]
fn head_has_a_length_and_no_body() {
    let text = check("HEAD / HTTP/1.1\r\n\r\n", &["200 OK"], false);
    assert!(text.contains("Content-Length: 13\r\n") && text.ends_with("\r\n\r\n"), "{text}");
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
        ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", NOT_IMPLEMENTED),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", NOT_IMPLEMENTED),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx", BAD),
        ("POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", BAD),
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
