use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream as StdStream};
use std::os::unix::net::UnixListener;

use super::*;

/// Far from what any probe here takes, except those that are to run out of time.
const AMPLE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(60);

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be had").block_on(future)
}

/// A server for one connection, which does with it what `script` says.
fn server(script: impl FnOnce(&mut StdStream) + Send + 'static) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a probe comes");
        script(&mut client);
    });
    Address::Inet(address)
}

/// Reads the question, gives this answer, and closes when the probe has.
fn answers(answer: &'static [u8]) -> Address {
    server(move |client| {
        let _ = client.read(&mut [0; 4096]);
        let _ = client.write_all(answer);
        let _ = client.read(&mut [0; 4096]);
    })
}

/// The same, but closes at once.
fn answers_and_closes(answer: &'static [u8]) -> Address {
    server(move |client| {
        let _ = client.read(&mut [0; 4096]);
        let _ = client.write_all(answer);
    })
}

fn asked(check: &Check, address: &Address, timeout: Duration) -> String {
    match run(probe(check, address, "backend:80", timeout)) {
        Ok(()) => "good".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn http() -> Check {
    Check::Http { path: "/health".into(), host: None, status: vec![(200, 399), (401, 401)] }
}

fn expect(expect: &[u8]) -> Check {
    Check::SendExpect { send: b"PING\r\n".into(), expect: expect.into() }
}

#[test]
fn who_accepts_is_there() {
    let address = server(|client| drop(client.read(&mut [0])));
    assert_eq!(asked(&Check::Tcp, &address, AMPLE), "good");
}

#[test]
fn where_nobody_listens_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
    let address = Address::Inet(listener.local_addr().expect("it is bound"));
    drop(listener);
    for check in [Check::Tcp, http(), expect(b"x")] {
        assert_eq!(asked(&check, &address, AMPLE), "refused");
    }
}

#[test]
fn a_status_decides() {
    for (answer, expected) in [
        (b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), "good"),
        (b"HTTP/1.0 204\r\n", "good"),
        (b"HTTP/1.1 302 Found\n", "good"),
        (b"HTTP/1.1 401 \r\n", "good"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "status 503, expected 200-399,401"),
        (b"HTTP/1.1 400\r\n", "status 400, expected 200-399,401"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "status 101, expected 200-399,401"),
        (b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "good"),
        (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 100\r\n\r\nHTTP/1.1 200 OK\r\n", "good"),
        (b"HTTP/1.1 100\r\n\r\nHTTP/1.1 500\r\n", "status 500, expected 200-399,401"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "its answer is not HTTP: \"SSH-2.0-OpenSSH_9.6\""),
        (b"HTTP/1.1 2000 OK\r\n", "its answer is not HTTP: \"HTTP/1.1 2000 OK\""),
        (b"HTTP/1.1 20\r\n", "its answer is not HTTP: \"HTTP/1.1 20\""),
        (b"HTTP/2 200 OK\r\n", "its answer is not HTTP: \"HTTP/2 200 OK\""),
        (b"\xff\n", "its answer is not HTTP: \"\u{fffd}\""),
    ] {
        let text = String::from_utf8_lossy(answer);
        assert_eq!(asked(&http(), &answers(answer), AMPLE), expected, "{text}");
        assert_eq!(asked(&http(), &answers_and_closes(answer), AMPLE), expected, "{text}");
    }
}

#[test]
fn an_end_before_the_status_is_bad() {
    let ended = "the connection ended before a status line came";
    for answer in
        [b"".as_slice(), b"HTTP/1.1 200 OK", b"HTTP/1.1 100\r\n\r\n", b"HTTP/1.1 100\r\nA"]
    {
        let text = String::from_utf8_lossy(answer);
        assert_eq!(asked(&http(), &answers_and_closes(answer), AMPLE), ended, "{text}");
    }
    let resets = server(|client| {
        // It has been connected when its request is there.
        let _ = client.read(&mut [0]);
        let socket = socket2::SockRef::from(&*client);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket lingers");
    });
    let told = asked(&http(), &resets, AMPLE);
    assert!(told.starts_with("the connection ended before"), "{told}");
}

#[test]
fn a_stalled_http_probe_ends_by_its_timeout() {
    let no_answer = "connected, but no answer within 60ms";
    for answer in [b"".as_slice(), b"HTTP/1.1 200 OK", b"HTTP/1.1 100 Continue\r\n\r\n"] {
        assert_eq!(asked(&http(), &answers(answer), SHORT), no_answer);
    }
}

#[test]
fn a_dribbled_answer_is_understood_and_ends_by_the_timeout() {
    let dribble = |text: &'static [u8]| {
        server(move |client| {
            client.set_nodelay(true).expect("a socket has no delay");
            let mut bytes = text.iter().cycle();
            while client.write_all(&[*bytes.next().expect("it goes on")]).is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        })
    };
    assert_eq!(asked(&http(), &dribble(b"HTTP/1.1 200 OK\r\n\r\n"), AMPLE), "good");
    let told = asked(&http(), &dribble(b"HTTP/1.1 100\r\nHeader: value\r\n\r\n"), SHORT);
    assert_eq!(told, "connected, but no answer within 60ms");
}

#[test]
fn an_endless_answer_ends_at_the_limit() {
    let endless = |piece: &'static [u8]| {
        server(move |client| {
            let _ = client.write_all(b"HTTP/1.1 100 Continue");
            while client.write_all(piece).is_ok() {}
        })
    };
    // One line, and many.
    let told = asked(&http(), &endless(b"x"), AMPLE);
    assert!(told.starts_with("its answer is not HTTP: \"HTTP/1.1 100 Continuexxx"), "{told}");
    let told = asked(&http(), &endless(b"\r\nHeader: value"), AMPLE);
    assert_eq!(told, "the connection ended before a status line came");
    assert_eq!(asked(&expect(b"never"), &endless(b"y"), AMPLE), ProbeError::Unexpected.to_string());
}

#[test]
fn the_question_is_a_whole_request_for_the_host() {
    let (tx, rx) = std::sync::mpsc::channel();
    for (named, expected) in
        [(None, "backend:80"), (Some("www.example.org".to_owned()), "www.example.org")]
    {
        let tx = tx.clone();
        let address = server(move |client| {
            let mut question = [0; 4096];
            let bytes = client.read(&mut question).expect("it asks");
            let _ = tx.send(String::from_utf8_lossy(&question[..bytes]).into_owned());
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        });
        let check = Check::Http { path: "/a?b=c".into(), host: named, status: vec![(200, 200)] };
        assert_eq!(asked(&check, &address, AMPLE), "good");
        let question = rx.recv().expect("it was asked");
        assert!(question.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{question}");
        assert!(question.contains(&format!("\r\nHost: {expected}\r\n")), "{question}");
        assert!(question.contains("\r\nConnection: close\r\n"), "{question}");
        assert!(question.ends_with("\r\n\r\n"), "{question}");
    }
}

#[test]
fn what_is_expected_may_come_anywhere_and_in_pieces() {
    let pieces = |pieces: &'static [&'static str]| {
        server(move |client| {
            client.set_nodelay(true).expect("a socket has no delay");
            for piece in pieces {
                let _ = client.write_all(piece.as_bytes());
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = client.read(&mut [0]);
            let _ = client.read(&mut [0; 100]);
            let _ = client.read(&mut [0; 100]);
        })
    };
    for said in [
        &["+PONG\r\n"][..],
        &["hello, +PO", "NG\r\n"],
        &["+", "+P", "ONG"],
        &["+", "P", "O", "N", "G"],
    ] {
        assert_eq!(asked(&expect(b"+PONG"), &pieces(said), AMPLE), "good", "{said:?}");
    }
    let told = asked(&expect(b"+PONG"), &pieces(&["+PING"]), SHORT);
    assert_eq!(told, "connected, but no answer within 60ms");
    let told = asked(&expect(b"+PONG"), &answers_and_closes(b"-ERR"), AMPLE);
    assert_eq!(told, "the connection ended before what was expected came");
    let anything = Check::SendExpect { send: Vec::new(), expect: Vec::new() };
    assert_eq!(asked(&anything, &pieces(&[]), AMPLE), "good");
}

#[test]
fn what_is_expected_counts_up_to_the_limit() {
    let after = |before: usize| {
        server(move |client| {
            let _ = client.write_all(&vec![b'x'; before]);
            let _ = client.write_all(b"yes");
            let _ = client.read(&mut [0; 100]);
            let _ = client.read(&mut [0; 100]);
        })
    };
    assert_eq!(asked(&expect(b"yes"), &after(LIMIT - 3), AMPLE), "good");
    let told = asked(&expect(b"yes"), &after(LIMIT - 2), AMPLE);
    assert_eq!(told, "what was expected is not in the first 16384 bytes of its answer");
}

#[test]
fn a_probe_goes_to_a_socket_in_the_file_system() {
    let path = std::env::temp_dir().join(format!("evenkeel-probe-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let address = Address::Unix(path.clone());
    let told = asked(&http(), &address, AMPLE);
    assert!(told.starts_with("cannot connect: No such file or directory"), "{told}");
    let listener = UnixListener::bind(&path).expect("there is a place for temporary files");
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a probe comes");
        let _ = client.read(&mut [0; 4096]);
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
    });
    assert_eq!(asked(&http(), &address, AMPLE), "good");
    server.join().expect("it answered");
    assert_eq!(asked(&Check::Tcp, &address, AMPLE), "refused");
    std::fs::remove_file(&path).expect("it was made here");
}

#[test]
fn a_probe_that_cannot_be_made_is_no_answer() {
    for (errno, is_an_answer) in [
        (Errno::EMFILE, false),
        (Errno::EADDRNOTAVAIL, false),
        (Errno::EHOSTUNREACH, true),
        (Errno::ECONNREFUSED, true),
    ] {
        let error = not_connected(io::Error::from_raw_os_error(errno as i32));
        assert_eq!(error.is_an_answer(), is_an_answer, "{errno}");
    }
}

#[test]
fn a_server_that_closes_after_its_answer_is_not_reset() {
    let (tx, rx) = std::sync::mpsc::channel();
    let address = server(move |client| {
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let _ = client.shutdown(std::net::Shutdown::Write);
        let _ = tx.send(client.read_to_end(&mut Vec::new()).map_err(|error| error.kind()));
    });
    assert_eq!(asked(&http(), &address, AMPLE), "good");
    let end = rx.recv().expect("the server saw the end");
    assert!(end.is_ok(), "{end:?}");
}
