//! An intruder's afternoon: everything that comes to somebody who found the port. Nothing changes,
//! nothing falls over.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::client::{Answer, Scene, on_network, request, say_to};
use crate::places::{TOKEN, token_file};
use crate::support::backend::Backend;
use crate::support::file::ConfigFile;
use crate::support::{WATCHDOG, eventually, patient};

/// A balancer whose admin API is on the network, too.
pub(crate) struct House {
    pub(crate) scene: Scene,
    pub(crate) door: SocketAddr,
    pub(crate) backend: Backend,
    _token: ConfigFile,
}

impl House {
    pub(crate) fn new(options: &str) -> Self {
        let (backend, token) = (Backend::echo(), ConfigFile::new(""));
        let file = token_file(token.folder(), 0o600);
        let options = format!("--admin 127.0.0.1:0 --admin-token-file {file} {options}");
        let scene = Scene::before(&[backend.address], "", &options);
        let door = on_network(&scene.balancer);
        Self { scene, door, backend, _token: token }
    }

    /// Over the network, whole and with whatever headers.
    fn say(&self, words: &str) -> Option<Answer> {
        say_to(self.door, words.as_bytes())
    }

    /// A session that has moved bytes, and will move more.
    pub(crate) fn session(&self) -> Session {
        let mut session = Session { client: self.scene.balancer.connect(), said: 0 };
        session.goes_on();
        session
    }

    /// Nothing has changed, and a request with the token is answered.
    pub(crate) fn is_as_it_was(&self) {
        let expected = vec![(format!("web/{}", self.backend.address), 1, "ready".to_owned())];
        assert_eq!(self.scene.in_force(), expected);
        let kinds: Vec<String> = self.scene.events().into_iter().map(|event| event.kind).collect();
        assert_eq!(kinds, ["start"]);
        let words = request("GET /api/status", &bearer(TOKEN), "");
        assert_eq!(self.say(&words).expect("an answer").status, 200);
    }
}

/// A client of the data path.
pub(crate) struct Session {
    client: TcpStream,
    said: u8,
}

impl Session {
    /// Bytes come back as they were sent.
    pub(crate) fn goes_on(&mut self) {
        let words = [self.said; 1000];
        self.client.write_all(&words).unwrap();
        let mut heard = [0; 1000];
        self.client.read_exact(&mut heard).unwrap();
        assert_eq!(heard, words);
        self.said = self.said.wrapping_add(1);
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn without_the_right_token_nothing_is_told_and_nothing_changed() {
    let house = House::new("");
    let mut session = house.session();
    let name = house.backend.address;
    let one = format!("/api/pools/web/backends/{name}");
    for headers in [
        String::new(),
        bearer(""),
        bearer("wrong"),
        bearer(&TOKEN[..31]),
        bearer(&TOKEN.to_uppercase()),
        format!("Authorization: Basic {TOKEN}\r\n"),
        format!("X-Authorization: Bearer {TOKEN}\r\n"),
        format!("{}{}", bearer("wrong"), bearer(TOKEN)),
    ] {
        for (line, body) in [
            ("GET /api/status", ""),
            ("GET /api/backends", ""),
            ("GET /api/sessions", ""),
            ("GET /api/events", ""),
            ("GET /metrics", ""),
            ("GET /info", ""),
            ("GET /openapi.json", ""),
            ("POST /api/pools/web/backends", "{\"address\":\"127.0.0.1:1\"}"),
            (&format!("PATCH {one}"), "{\"weight\":9}"),
            (&format!("DELETE {one}"), ""),
            ("DELETE /api/sessions?all=true", ""),
            ("POST /api/reload", ""),
        ] {
            let headers = format!("{headers}Content-Type: application/json\r\n");
            let answer = house.say(&request(line, &headers, body)).expect("an answer");
            assert_eq!(answer.status, 401, "{line} {headers}: {answer:?}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{answer:?}");
            answer.problem();
        }
    }
    session.goes_on();
    house.is_as_it_was();
}

#[test]
fn tricks_with_paths_and_methods_lead_nowhere() {
    let house = House::new("");
    let name = house.backend.address;
    for path in [
        "//",
        "/.",
        "/./",
        "/..",
        "//api/status",
        "/api//status",
        "/api/../api/status",
        "/healthz/../api/status",
        "/healthz/..%2fapi/status",
        "/%2e%2e/api/status",
        "/api/%2e%2e/healthz",
        "/API/status",
        "/api/STATUS",
        "/api/status/",
        "/api/status%00",
        "/api/status;x=1",
        "/api/%73tatus/x",
        "/api\\status",
        "/healthz%20",
        "/etc/passwd",
        "/../../etc/passwd",
        "/.git/config",
        "/api/pools/web/backends/../../../status",
        "/api/sessions/0-0-0/..",
        "*",
    ] {
        for (headers, least) in [(String::new(), 400), (bearer(TOKEN), 400)] {
            for method in ["GET", "POST", "DELETE", "PATCH"] {
                let words = request(&format!("{method} {path}"), &headers, "");
                let answer = house.say(&words).unwrap_or_else(|| panic!("no answer to {path}"));
                let answered = (least..500).contains(&answer.status);
                assert!(answered, "{method} {path}: {answer:?}");
            }
        }
    }
    // With the token: paths that there are, asked for in ways that there are not.
    for (method, path, allow) in [
        ("POST", "/", "GET,HEAD"),
        ("PUT", "/api/status", "GET,HEAD"),
        ("DELETE", "/api/status", "GET,HEAD"),
        ("OPTIONS", "/api/status", "GET,HEAD"),
        ("TRACE", "/api/status", "GET,HEAD"),
        ("GET", "/api/reload", "POST"),
        ("HEAD", "/api/reload", "POST"),
        ("get", "/api/status", "GET,HEAD"),
        ("BREW", "/healthz", "GET,HEAD"),
        ("PUT", &format!("/api/pools/web/backends/{name}"), "GET,HEAD,PATCH,DELETE"),
        ("GET", "/api/pools/web/backends", "POST"),
    ] {
        let answer = house.say(&request(&format!("{method} {path}"), &bearer(TOKEN), ""));
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 405, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    house.is_as_it_was();
}

#[test]
fn a_head_that_is_too_large_or_is_none_is_refused_before_anything_is_looked_at() {
    let house = House::new("");
    let long = "a".repeat(20_000);
    let many = (0..100).map(|n| format!("X-{n}: a\r\n")).collect::<String>();
    for (what, words, statuses) in [
        ("a long header", request("GET /healthz", &format!("X: {long}\r\n"), ""), &[431][..]),
        ("a long path", request(&format!("GET /{long}"), "", ""), &[431, 414]),
        ("many headers", request("GET /healthz", &many, ""), &[431]),
        ("a long token", request("GET /info", &bearer(&long), ""), &[431]),
        ("no HTTP", "hello\r\n\r\n".to_owned(), &[400]),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\r\n\r\n".to_owned(), &[400]),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[400, 505]),
        ("a header without a name", request("GET /healthz", ": x\r\n", ""), &[400]),
        ("a space before the colon", request("GET /healthz", "X : y\r\n", ""), &[400]),
        ("a folded header", request("GET /healthz", "X: y\r\n z: 1\r\n", ""), &[400]),
        ("a zero in a header", request("GET /healthz", "X: a\0b\r\n", ""), &[400]),
        (
            "two lengths",
            request("POST /api/reload", "Content-Length: 1\r\nContent-Length: 2\r\n", ""),
            &[400],
        ),
        (
            "a length that is none",
            request("POST /api/reload", "Content-Length: -1\r\n", ""),
            &[400],
        ),
        (
            "a length and chunks",
            request("POST /api/reload", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "")
                + "0\r\n\r\nGET /info HTTP/1.1\r\n\r\n",
            &[400, 401],
        ),
        (
            "a coding that nobody knows",
            request("POST /api/reload", "Transfer-Encoding: xchunked\r\n", ""),
            &[400, 401, 501],
        ),
    ] {
        // Nothing at all is an answer, too, to what cannot be understood.
        if let Some(answer) = house.say(&words) {
            assert!(statuses.contains(&answer.status), "{what}: {answer:?}");
            // Nobody listens to what comes after it.
            assert!(!answer.body.contains("HTTP/1.1"), "{what}: {answer:?}");
        }
    }
    house.is_as_it_was();
}

#[test]
fn a_body_that_is_too_large_or_does_not_come_is_given_up() {
    let house = House::new("");
    let json = format!("Content-Type: application/json\r\n{}", bearer(TOKEN));
    let large = format!("{{\"address\":\"{}\"}}", "a".repeat(70_000));
    let answer = house.say(&request("POST /api/pools/web/backends", &json, &large));
    assert_eq!(answer.expect("an answer").status, 413);
    let chunks = format!("{json}Transfer-Encoding: chunked\r\n");
    let mut words = request("POST /api/pools/web/backends", &chunks, "");
    (0..100).for_each(|_| words += &format!("400\r\n{}\r\n", "a".repeat(1024)));
    assert_eq!(house.say(&words).expect("an answer").status, 413);
    for chunk in ["x\r\n", "-1\r\n", "fffffffffffffffff\r\n", "1\r\nab"] {
        let words = request("POST /api/pools/web/backends", &chunks, "") + chunk;
        let answer = house.say(&words).expect("an answer");
        assert_eq!(answer.status, 400, "{chunk:?}: {answer:?}");
    }
    // A request in the body of another is no request.
    let inner = request("DELETE /api/sessions?all=true", &bearer(TOKEN), "");
    let mut session = house.session();
    let answer = house.say(&request("POST /api/reload", "", &inner)).expect("an answer");
    assert_eq!(answer.status, 401);
    session.goes_on();
    // Promised, and never sent.
    let mut silent = patient(TcpStream::connect(house.door).unwrap());
    let promise = format!("{json}Content-Length: 10\r\n");
    silent.write_all(request("POST /api/pools/web/backends", &promise, "").as_bytes()).unwrap();
    let mut said = String::new();
    silent.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    house.is_as_it_was();
}

#[test]
fn a_head_that_comes_slowly_and_a_connection_that_says_nothing_are_ended() {
    let house = House::new("");
    let mut silent = patient(TcpStream::connect(house.door).unwrap());
    let mut asked = patient(TcpStream::connect(house.door).unwrap());
    asked.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let slow = patient(TcpStream::connect(house.door).unwrap());
    let mut writer = slow.try_clone().unwrap();
    let dribble = std::thread::spawn(move || {
        let head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n".bytes();
        for byte in head.chain(std::iter::repeat(b'x')) {
            if writer.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    });
    let mut said = Vec::new();
    silent.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"");
    asked.read_to_end(&mut said).unwrap();
    assert!(said.starts_with(b"HTTP/1.1 200 OK"));
    // Ended with a reset or without, but ended, however often a byte came.
    let _ = (&slow).read_to_end(&mut said);
    let _ = slow.shutdown(Shutdown::Both);
    dribble.join().unwrap();
    let timed_out = || house.scene.status().counters.get("admin_timed_out").copied().unwrap_or(0);
    eventually(|| timed_out() >= 3, || format!("{} timed out", timed_out()));
    house.is_as_it_was();
    let _ = WATCHDOG;
}

#[test]
fn what_a_browser_sends_for_another_site_is_refused_also_with_the_token() {
    let house = House::new("");
    let json = format!("Content-Type: application/json\r\n{}", bearer(TOKEN));
    let one = format!("PATCH /api/pools/web/backends/{}", house.backend.address);
    for headers in [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        for (line, body) in
            [(one.as_str(), "{\"weight\":9}"), ("POST /api/reload", ""), ("GET /api/status", "")]
        {
            let words = request(line, &format!("{json}{headers}"), body);
            let answer = house.say(&words).expect("an answer");
            assert_eq!(answer.status, 403, "{line} {headers}: {answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
        // The same over the unix socket, where a proxy could have brought it.
        let words = request("POST /api/reload", headers, "");
        assert_eq!(house.scene.say(words.as_bytes()).status, 403, "{headers}");
    }
    let preflight = "Origin: http://evil.example\r\nAccess-Control-Request-Method: PATCH\r\n\
                     Access-Control-Request-Headers: authorization\r\n";
    let answer = house.say(&request("OPTIONS /api/status", preflight, "")).expect("an answer");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None));
    house.is_as_it_was();
}
