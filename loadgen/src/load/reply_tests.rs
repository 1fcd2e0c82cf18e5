//! Replies as they come: echoes, greetings and responses, cut anywhere, one after the other.

use super::*;

use crate::load::http::{HttpRequest, Method};
use crate::load::payload::{Sizes, Verify};

const LEVELS: [Verify; 4] = [Verify::Off, Verify::Len, Verify::Crc, Verify::Full];
const PART: &str = "…";
const WRONG: &str = "wrong";

fn sizes(text: &str) -> Sizes {
    text.parse().expect(text)
}

/// Of lines whose request is `abc` and its newline, or asks for a size.
fn lines(size: &str, verify: Verify) -> Names {
    let request = sizes(size).line().expect("room to ask");
    Names::of_lines(&request, sizes(size), verify)
}

fn said(progressed: Progressed, names: &Names) -> String {
    match progressed {
        Progressed::Part => PART.to_owned(),
        Progressed::Whole(backend) => names.name(backend.index()).to_owned(),
        Progressed::Status(status) => status.to_string(),
        Progressed::Wrong => WRONG.to_owned(),
    }
}

/// What `chunk` is to a connection: names, an ellipsis for a part, or `wrong`.
fn feed(reply: &mut Reply, names: &mut Names, chunk: &[u8]) -> Vec<String> {
    let mut bytes = chunk;
    let mut got = Vec::new();
    while !bytes.is_empty() {
        let progressed = reply.next(&mut bytes, names);
        got.push(said(progressed, names));
        if progressed == Progressed::Wrong {
            break;
        }
    }
    got
}

/// Feeds `chunks` to one connection; each gives names, separated by spaces.
fn check_with(mut names: Names, chunks: &[(&str, &str)]) {
    let mut reply = Reply::default();
    for (chunk, expected) in chunks {
        let got = feed(&mut reply, &mut names, chunk.as_bytes());
        assert_eq!(got.join(" "), *expected, "{chunks:?} at {chunk:?}");
    }
}

fn check(chunks: &[(&str, &str)]) {
    for verify in [Verify::Crc, Verify::Full] {
        check_with(lines("4", verify), chunks);
    }
}

/// Feeds `input` cut in two at every place and byte by byte: always the same replies.
fn check_cut(names: impl Fn() -> Names, input: &[u8], expected: &[&str]) {
    let parts = (0..=input.len()).map(|cut| vec![&input[..cut], &input[cut..]]);
    for parts in parts.chain([input.chunks(1).collect()]) {
        let (mut reply, mut names) = (Reply::default(), names());
        let got = parts.iter().flat_map(|part| feed(&mut reply, &mut names, part));
        let got: Vec<String> = got.filter(|said| said != PART).collect();
        assert_eq!(got, expected, "{} in {} parts", String::from_utf8_lossy(input), parts.len());
    }
}

#[test]
fn an_echo_is_compared_byte_for_byte() {
    check(&[("abc\n", "echo"), ("a", PART), ("bc", PART), ("\n", "echo")]);
    check(&[("ab", PART), ("X\n", WRONG)]);
    check(&[("abcX", WRONG)]);
}

#[test]
fn a_greeting_names_its_backend() {
    check(&[("Hello from B1\n", "B1"), ("Hello from B1\n", "B1")]);
    check(&[("Hello from Server 9001!\n", "Server 9001")]);
    check(&[("Hel", PART), ("lo from B", PART), ("1", PART), ("\n", "B1")]);
}

#[test]
fn another_backend_may_answer_on_the_same_connection() {
    check(&[("Hello from B1\n", "B1"), ("Hello from B2\n", "B2")]);
    check(&[("Hello from B1\n", "B1"), ("Hello from B", PART), ("12\n", "B12")]);
    check(&[("Hello from B1\n", "B1"), ("abc\n", "echo")]);
    check(&[("Hello from B1\n", "B1"), ("ab", PART), ("c\n", "echo")]);
}

#[test]
fn replies_to_pipelined_requests_come_together() {
    check(&[("abc\nabc\nab", "echo echo …"), ("c\n", "echo")]);
    check(&[("Hello from B1\nHello from B1\nHello from B2\n", "B1 B1 B2")]);
    check(&[("abc\nwhat\n", "echo wrong")]);
    let input = b"Hello from B1\nabc\nHello from B1\nHello from B12\n";
    for verify in LEVELS {
        check_cut(|| lines("4", verify), input, &["B1", "echo", "B1", "B12"]);
    }
}

#[test]
fn what_is_neither_is_wrong() {
    check(&[("HTTP/1.1 400 Bad Request\r\n", WRONG)]);
    check(&[("Hello from \n", WRONG)]);
    check(&[("HTTP", WRONG)]);
    let endless = format!("Hello from {}", "x".repeat(1024));
    check(&[(&endless, WRONG)]);
    check(&[(&(endless + "\n"), WRONG)]);
}

#[test]
fn a_length_is_enough_where_only_that_is_verified() {
    check_with(lines("4", Verify::Len), &[("xyz\n", "unnamed"), ("abc\n", "echo")]);
    check_with(
        lines("4", Verify::Len),
        &[("Hello from B1\n", "B1"), ("x", PART), ("yz\n", "unnamed")],
    );
    check_with(lines("4", Verify::Len), &[("xy\n", WRONG)]);
    check_with(lines("4", Verify::Len), &[("wxyz\n", WRONG)]);
    check_with(lines("4", Verify::Len), &[(&"x".repeat(1024), WRONG)]);
}

#[test]
fn any_line_will_do_where_nothing_is_verified() {
    let long = "x".repeat(5000);
    check_with(
        lines("4", Verify::Off),
        &[
            ("\n", "unnamed"),
            (&long, PART),
            (&long, PART),
            ("y\nabc\n", "unnamed echo"),
            ("Hello from B1\n", "B1"),
        ],
    );
    check_with(lines("64:20", Verify::Off), &[("Hello from B1\nno\n", "B1 unnamed")]);
    let echo = String::from_utf8(sizes("64:20").line().expect("room")).expect("text");
    check_with(lines("64:20", Verify::Off), &[(&echo, "echo")]);
}

/// The reply of `name` to a request for `bytes`.
fn sized(name: &str, bytes: usize) -> String {
    let letters = ('a'..='z').cycle();
    let text: String =
        format!("Hello from {name} ").chars().chain(letters).take(bytes - 1).collect();
    text + "\n"
}

#[test]
fn a_reply_of_a_size_is_a_greeting_that_is_filled_up() {
    assert_eq!(sized("B1", 20), "Hello from B1 abcde\n");
    for (name, bytes) in
        [("B1", 20), ("B1", 64), ("B1", 16_000), ("Server 9001", 100), ("B1", 14), ("B1", 15)]
    {
        let text = sized(name, bytes);
        for verify in LEVELS {
            let names = || lines(&format!("64:{bytes}"), verify);
            check_with(
                names(),
                &[(&text, name), (&(text.clone() + &text), &format!("{name} {name}"))],
            );
            check_with(names(), &[(&text[..9], PART), (&text[9..], name)]);
        }
    }
    let input = sized("B1", 30) + &sized("B2", 30) + &sized("B1", 30);
    for verify in LEVELS {
        check_cut(|| lines("64:30", verify), input.as_bytes(), &["B1", "B2", "B1"]);
    }
}

#[test]
fn a_reply_without_room_for_a_name_is_cut() {
    for (bytes, name) in
        [(2, "unnamed"), (11, "unnamed"), (12, "unnamed"), (13, "S"), (18, "Server")]
    {
        let text = sized("Server 9001", bytes);
        check_with(lines(&format!("64:{bytes}"), Verify::Full), &[(&text, name), (&text, name)]);
    }
}

#[test]
fn a_reply_of_another_size_or_content_is_wrong() {
    let right = sized("B1", 200);
    for verify in [Verify::Len, Verify::Crc, Verify::Full] {
        let names = || lines("64:200", verify);
        check_with(names(), &[(&sized("B1", 199), WRONG)]);
        check_with(names(), &[(&sized("B1", 201), WRONG)]);
        check_with(names(), &[(&right, "B1"), (&sized("B1", 201)[..200], WRONG)]);
        check_with(names(), &[("Hello from B1\n", WRONG)]);
        let echo = String::from_utf8(sizes("64:200").line().expect("room")).expect("text");
        check_with(names(), &[(&echo, WRONG)]);
    }
    for at in [0, 5, 13, 14, 100, 198] {
        let mut bytes = right.clone().into_bytes();
        bytes[at] ^= 1;
        let other = String::from_utf8(bytes).expect("still text");
        for verify in [Verify::Crc, Verify::Full] {
            check_with(lines("64:200", verify), &[(&other, WRONG)]);
            check_with(lines("64:200", verify), &[(&right, "B1"), (&other, WRONG)]);
        }
        let mut names = lines("64:200", Verify::Len);
        let got = feed(&mut Reply::default(), &mut names, other.as_bytes());
        assert_ne!(got.join(" "), WRONG, "{at}");
    }
}

#[test]
fn each_name_has_one_number() {
    let (mut reply, mut names) = (Reply::default(), lines("4", Verify::Full));
    let mut number = |mut line: &[u8]| match reply.next(&mut line, &mut names) {
        Progressed::Whole(backend) => backend,
        other => panic!("{other:?}"),
    };
    let [one, same, echo] =
        [b"Hello from B1\n".as_slice(), b"Hello from B1!\n", b"abc\n"].map(&mut number);
    assert_eq!(one, same);
    assert_ne!(one, echo);
    assert_eq!([one, echo].map(|backend| names.name(backend.index())), ["B1", "echo"]);
}

#[test]
fn names_without_end_are_put_together() {
    let (mut reply, mut names) = (Reply::default(), lines("4", Verify::Full));
    let mut others = 0;
    for number in 0..3000 {
        let line = format!("Hello from B{number}\n");
        match reply.next(&mut line.as_bytes(), &mut names) {
            Progressed::Whole(backend) => {
                others += u32::from(names.name(backend.index()) == "others");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(others, 3000 - 999);
    assert_eq!(feed(&mut reply, &mut names, b"Hello from B7\nabc\n"), ["B7", "echo"]);
}

#[test]
fn a_new_connection_begins_with_a_new_reply() {
    for (verify, part) in [(Verify::Full, "Hello from B"), (Verify::Full, "a"), (Verify::Off, "x")]
    {
        let (mut reply, mut names) = (Reply::default(), lines("4", verify));
        assert_eq!(feed(&mut reply, &mut names, part.as_bytes()), [PART]);
        reply.restart();
        assert_eq!(feed(&mut reply, &mut names, b"abc\n"), ["echo"]);
    }
    let (mut reply, mut names) = (Reply::default(), http("64", Verify::Full));
    assert_eq!(
        feed(&mut reply, &mut names, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"),
        [PART]
    );
    reply.restart();
    assert_eq!(feed(&mut reply, &mut names, response("B1", "hi").as_bytes()), ["B1"]);
}

fn http(size: &str, verify: Verify) -> Names {
    Names::of_http(&HttpRequest::new("lb".to_owned()), sizes(size), verify)
}

fn response(name: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Backend: {name}\r\n\r\n{body}", body.len())
}

fn filler(bytes: usize) -> String {
    ('a'..='z').cycle().take(bytes).collect()
}

#[test]
fn responses_are_named_by_header_body_or_server() {
    for (head, body, name) in [
        ("X-Backend: B1\r\nServer: nginx", "Hello from B2", "B1"),
        ("x-backend:  Server 9001 ", "hi", "Server 9001"),
        ("Server: nginx", "Hello from B2\n", "B2"),
        ("A: b", "Hello from B2!\nand more", "B2"),
        ("Server: nginx/1.2", "hello", "nginx/1.2"),
        ("A: b", "", "http"),
        ("X-Backend: ", "", "http"),
    ] {
        let length = body.len();
        let text = format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}");
        for verify in LEVELS {
            check_cut(|| http("64", verify), text.repeat(3).as_bytes(), &[name; 3]);
        }
    }
}

#[test]
fn responses_of_several_backends_follow_each_other() {
    let big = filler(20_000);
    let input = [
        response("B1", "hi"),
        response("B2", "hi"),
        response("B1", "hi"),
        "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno".to_owned(),
        response("B1", "hi"),
    ];
    check_cut(
        || http("64", Verify::Full),
        input.concat().as_bytes(),
        &["B1", "B2", "B1", "503", "B1"],
    );
    let greetings = ["B1", "B2", "B1"].map(|name| {
        let body = format!("Hello from {name}");
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    });
    check_cut(|| http("64", Verify::Full), greetings.concat().as_bytes(), &["B1", "B2", "B1"]);
    let input = response("B1", &big).repeat(2) + &response("B2", &big);
    check_with(http("64:20k", Verify::Full), &[(&input, "B1 B1 B2"), (&input, "B1 B1 B2")]);
}

#[test]
fn a_status_that_means_failure_is_told_and_the_connection_may_go_on() {
    for (status, expected) in
        [(200, "http"), (302, "http"), (400, "400"), (404, "404"), (503, "503")]
    {
        let (mut reply, mut names) = (Reply::default(), http("64", Verify::Full));
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(feed(&mut reply, &mut names, text.as_bytes()), [expected]);
        assert!(reply.stays());
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(feed(&mut reply, &mut names, text.as_bytes()), [expected]);
        assert!(!reply.stays());
        reply.restart();
        assert!(reply.stays());
        assert_eq!(feed(&mut reply, &mut names, text.as_bytes()), [expected]);
        assert!(!reply.stays(), "the same on another connection");
    }
}

#[test]
fn the_end_of_the_stream_completes_a_response_of_no_length() {
    for (text, expected) in [
        ("HTTP/1.1 200 OK\r\nX-Backend: B1\r\n\r\nsome", Some("B1")),
        ("HTTP/1.1 502 No\r\n\r\nsome", Some("502")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsome", None),
        ("HTTP/1.1 200", None),
    ] {
        let (mut reply, mut names) = (Reply::default(), http("64", Verify::Full));
        assert_eq!(feed(&mut reply, &mut names, text.as_bytes()), [PART]);
        let ended = reply.end(&mut names).map(|progressed| said(progressed, &names));
        assert_eq!(ended.as_deref(), expected, "{text}");
        assert_eq!(reply.stays(), expected.is_none());
    }
    let (mut reply, mut names) = (Reply::default(), http("64", Verify::Full));
    feed(&mut reply, &mut names, response("B1", "hi").as_bytes());
    assert_eq!(reply.end(&mut names), None);
    let (mut reply, mut names) = (Reply::default(), lines("4", Verify::Full));
    feed(&mut reply, &mut names, b"ab");
    assert_eq!(reply.end(&mut names), None);
}

#[test]
fn a_body_that_reads_like_a_response_is_none() {
    let inner = response("B2", "hi");
    let outer = response("B1", &inner);
    let (head, body) = outer.split_at(outer.len() - inner.len());
    check_with(http("64", Verify::Full), &[(head, PART), (body, "B1"), (&inner, "B2")]);
}

#[test]
fn the_last_response_is_not_mistaken_for_one_before_it() {
    // The same bytes but for the header that ends the connection, and cut everywhere.
    let first = response("B1", "hi");
    let last = first.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let input = first.clone() + &last;
    for cut in first.len()..input.len() {
        let (mut reply, mut names) = (Reply::default(), http("64", Verify::Full));
        feed(&mut reply, &mut names, &input.as_bytes()[..cut]);
        assert!(reply.stays());
        feed(&mut reply, &mut names, &input.as_bytes()[cut..]);
        assert!(!reply.stays(), "{cut}");
    }
}

#[test]
fn what_is_no_response_is_wrong() {
    for text in ["Hello from B1\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"] {
        check_with(http("64", Verify::Off), &[(text, WRONG)]);
    }
    let right = response("B1", "hi");
    check_with(http("64", Verify::Off), &[(&right, "B1"), ("HTTP/1.1 20", PART), ("x", WRONG)]);
}

#[test]
fn a_body_of_a_size_is_filler_of_that_size() {
    for bytes in [2, 26, 1664, 1665, 5000, 30_000] {
        let text = filler(bytes);
        let lined = text[1..].len();
        let lined = filler(lined) + "\n";
        for verify in LEVELS {
            let names = || http(&format!("64:{bytes}"), verify);
            check_with(names(), &[(&response("B1", &text), "B1"), (&response("B1", &lined), "B1")]);
            let other = response("B1", &filler(bytes + 1));
            let expected = if verify == Verify::Off { "B1" } else { WRONG };
            check_with(names(), &[(&other, expected)]);
            for at in [0, bytes / 2, bytes - 1] {
                let mut changed = text.clone().into_bytes();
                changed[at] ^= 1;
                let changed = response("B1", &String::from_utf8(changed).expect("still text"));
                let looks = matches!(verify, Verify::Crc | Verify::Full);
                let expected = if looks { WRONG } else { "B1" };
                check_with(names(), &[(&changed, expected)]);
                check_with(names(), &[(&response("B1", &text), "B1"), (&changed, expected)]);
            }
        }
    }
    for verify in LEVELS {
        check_cut(|| http("64:100", verify), response("B1", &filler(100)).as_bytes(), &["B1"]);
    }
}

#[test]
fn a_body_that_nobody_knows_has_the_checksum_of_the_one_before() {
    let (one, other) = (response("B1", "one"), response("B1", "two"));
    for verify in LEVELS {
        let expected = if verify == Verify::Crc { WRONG } else { "B1" };
        check_with(http("64", verify), &[(&one, "B1"), (&other, expected)]);
        check_with(
            http("64", verify),
            &[(&one, "B1"), (&response("B2", "two"), "B2"), (&one, "B1")],
        );
    }
    let request = HttpRequest { path: Some("/x".to_owned()), ..HttpRequest::new("lb".to_owned()) };
    for verify in [Verify::Len, Verify::Crc, Verify::Full] {
        let names = || Names::of_http(&request, sizes("64:3"), verify);
        check_with(names(), &[(&one, "B1"), (&response("B1", "four"), WRONG)]);
        check_with(names(), &[(&response("B1", "four"), WRONG)]);
    }
}

#[test]
fn the_answer_to_head_has_no_body() {
    let request = HttpRequest { method: Method::Head, ..HttpRequest::new("lb".to_owned()) };
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX-Backend: B1\r\n\r\n";
    for verify in LEVELS {
        let names = || Names::of_http(&request, sizes("64:100"), verify);
        check_cut(names, text.repeat(2).as_bytes(), &["B1"; 2]);
    }
}
