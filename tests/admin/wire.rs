//! Clients that shut their side once they have asked, and those that promise more than may come.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::client::{Scene, request};
use crate::intruder::House;
use crate::places::TOKEN;
use crate::support::backend::Backend;
use crate::support::{WATCHDOG, eventually, patient};

/// A client's side of a connection that can be shut.
trait Half: std::io::Read + std::io::Write {
    fn shut(&self);
}

impl Half for UnixStream {
    fn shut(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

impl Half for TcpStream {
    fn shut(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

/// What is answered to somebody who says this and shuts his side, up to the end, which comes at once.
fn heard(mut stream: impl Half, words: &[u8]) -> String {
    let started = Instant::now();
    stream.write_all(words).unwrap();
    stream.shut();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(started.elapsed() < AT_ONCE, "{:?} until the end: {said}", started.elapsed());
    said
}

#[test]
fn who_shuts_his_side_after_the_request_gets_the_answer_and_the_connection_ends() {
    let house = House::new("");
    let unix = || {
        let stream = UnixStream::connect(&house.scene.socket).unwrap();
        stream.set_read_timeout(Some(WATCHDOG)).unwrap();
        stream
    };
    let tcp = || patient(TcpStream::connect(house.door).unwrap());
    let ask = format!(
        "GET /api/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    );
    for _ in 0..20 {
        let [over_unix, over_tcp] = [heard(unix(), ask.as_bytes()), heard(tcp(), ask.as_bytes())];
        for said in [over_unix, over_tcp] {
            assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
            assert!(said.ends_with('}') || said.ends_with("0\r\n\r\n"), "{said}");
        }
    }
    // Several requests are as many answers.
    let said = heard(unix(), ask.repeat(3).as_bytes());
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 3, "{said}");
    // Half a head is no request, and half a body is none that could be done.
    assert_eq!(heard(unix(), b"GET /api/status HTTP/1.1\r\nHost: loc"), "");
    assert_eq!(heard(unix(), b""), "");
    let line = "POST /api/pools/web/backends";
    let headers = "Content-Type: application/json\r\nContent-Length: 100\r\n";
    let said = heard(unix(), (request(line, headers, "") + "{\"address\":").as_bytes());
    assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    house.is_as_it_was();
}

#[test]
fn who_shuts_his_side_and_does_not_read_is_ended_as_anybody() {
    let backend = Backend::echo();
    let scene = Scene::before(&[backend.address], "", "");
    // The first look opens what others need, too.
    assert_eq!(scene.status().sessions, 0);
    let descriptors = scene.balancer.descriptors();
    let mut greedy = UnixStream::connect(&scene.socket).unwrap();
    // A hundred answers are some megabytes, which no buffer takes.
    let ask = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    greedy.write_all(ask.repeat(100).as_bytes()).unwrap();
    greedy.shut();
    let timed_out = || scene.status().counters.get("admin_timed_out").copied().unwrap_or(0);
    eventually(|| timed_out() == 1, || format!("{} timed out", timed_out()));
    // The client still has its side; the balancer has none.
    scene.balancer.wait_for_descriptors(descriptors);
    drop(greedy);
}

#[test]
fn a_body_that_is_promised_to_be_too_large_is_refused_by_the_head() {
    let house = House::new("");
    let line = "POST /api/pools/web/backends";
    let json = format!("Content-Type: application/json\r\nAuthorization: Bearer {TOKEN}\r\n");
    for length in ["65537", "99999999999"] {
        for expect in ["", "Expect: 100-continue\r\n"] {
            let started = Instant::now();
            let mut stream = patient(TcpStream::connect(house.door).unwrap());
            let headers = format!("{json}{expect}Content-Length: {length}\r\n");
            let words = request(line, &headers, "").replace("Connection: close\r\n", "");
            stream.write_all(words.as_bytes()).unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).unwrap();
            assert!(said.starts_with("HTTP/1.1 413"), "{headers}: {said}");
            assert!(said.contains("more than 65536 bytes"), "{said}");
            assert!(started.elapsed() < AT_ONCE, "{headers}: {:?}", started.elapsed());
        }
    }
    // Who may not ask is told nothing else, and who promises what may come is asked to go on.
    let words = request(line, "Content-Length: 99999999999\r\n", "");
    let mut stream = patient(TcpStream::connect(house.door).unwrap());
    stream.write_all(words.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 401"), "{said}");
    let mut stream = patient(TcpStream::connect(house.door).unwrap());
    let headers = format!("{json}Expect: 100-continue\r\nContent-Length: 2\r\n");
    stream.write_all(request(line, &headers, "").as_bytes()).unwrap();
    let mut said = [0; 25];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 422"), "{said}");
    house.is_as_it_was();
}

#[test]
fn a_head_that_cannot_be_read_is_answered_with_nothing_but_its_status() {
    let backend = Backend::echo();
    let scene = Scene::before(&[backend.address], "", "");
    let many = (0..70).map(|n| format!("X-{n}: a\r\n")).collect::<String>();
    for (headers, status) in [
        (format!("X: {}\r\n", "a".repeat(17_000)), 431),
        (many, 431),
        ("Content-Length: 18446744073709551615\r\n".to_owned(), 431),
        ("Content-Length: +13\r\n".to_owned(), 400),
        ("Content-Length: 1\r\nContent-Length: 2\r\n".to_owned(), 400),
        ("X: y\r\n z\r\n".to_owned(), 400),
    ] {
        let answer = scene.say(request("GET /api/status", &headers, "").as_bytes());
        assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{headers}: {answer:?}");
    }
    // As the OpenAPI file and the documentation say.
    let told = scene.ask("GET /openapi.json").body;
    assert!(told.contains("but for heads that cannot be read"), "{told}");
}

/// Well before anything is given up.
const AT_ONCE: Duration = Duration::from_secs(5);
