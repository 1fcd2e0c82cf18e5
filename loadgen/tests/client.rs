//! `loadgen client`, line by line.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

mod common;

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Output, Stdio};

use common::{Served, loadgen, refusing, run, text};

fn served() -> (Served, String) {
    let served = Served::start(&["--name", "B1", "--port", "0"], 1);
    let port = served.addresses[0].port().to_string();
    (served, port)
}

/// Runs the client with `input` as its standard input.
fn talk(port: &str, input: &str) -> Output {
    let mut child = loadgen(&["client", "--host", "127.0.0.1", "--port", port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The client may have ended before it reads all of it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn a_message_is_sent_and_its_answer_shown() {
    let (_served, port) = served();
    let output = run(&["client", "--port", &port, "--message", "Good day"]);
    let expected = format!(
        "Connecting to 127.0.0.1:{port}...\nSending: 'Good day'\nReceived: 'Hello from B1'\n\
         Closing the connection.\n"
    );
    assert_eq!((text(&output.stdout), output.status.code()), (expected, Some(0)));
}

#[test]
fn without_input_it_says_hello_once() {
    let (_served, port) = served();
    let output = talk(&port, "");
    let expected = format!(
        "Connecting to 127.0.0.1:{port}...\nSending: 'Hello from Client'\n\
         Received: 'Hello from B1'\nClosing the connection.\n"
    );
    assert_eq!((text(&output.stdout), output.status.code()), (expected, Some(0)));
}

#[test]
fn a_line_is_a_message_until_quit() {
    let (_served, port) = served();
    for end in ["quit\nnever\n", "exit\n", ""] {
        let output = talk(&port, &format!("one\n\n{end}"));
        let expected = format!(
            "Connecting to 127.0.0.1:{port}...\nSending: 'one'\nReceived: 'Hello from B1'\n\
             Sending: 'Hello from Client'\nReceived: 'Hello from B1'\nClosing the connection.\n"
        );
        assert_eq!((text(&output.stdout), output.status.code()), (expected, Some(0)), "{end:?}");
    }
}

#[test]
fn nobody_there_is_one_clear_line() {
    let (_held, address) = refusing();
    let output = run(&["client", "--port", &address.port().to_string(), "--message", "x"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("refused") && said.contains("is it running?"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_server_that_closes_is_one_clear_line() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let closing = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let output = run(&["client", "--port", &port, "--message", "x"]);
    closing.join().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said, "loadgen: the server closed the connection without an answer\n");
    assert!(text(&output.stdout).ends_with("Closing the connection.\n"));
}
