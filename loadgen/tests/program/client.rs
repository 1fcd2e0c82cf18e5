//! `loadgen client`, line by line.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Served, loadgen, refusing, run, text};
use loadgen::client::{ClientError, Prompt, converse};

fn served() -> (Served, String) {
    let served = Served::start(&["--name", "B1", "--port", "0"], 1);
    let port = served.addresses[0].port().to_string();
    (served, port)
}

/// The client, line by line from `input`.
fn spawn(port: &str, input: impl Into<Stdio>) -> Child {
    loadgen(&["client", "--host", "127.0.0.1", "--port", port])
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs the client with `input` as its standard input.
fn talk(port: &str, input: &str) -> Output {
    let mut child = spawn(port, Stdio::piped());
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

/// A client whose standard input stays open and silent, and the server's side of its connection.
fn silent_client() -> (Child, UnixStream, TcpStream, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (theirs, ours) = UnixStream::pair().unwrap();
    let child = spawn(&port, std::os::fd::OwnedFd::from(theirs));
    (child, ours, listener.accept().unwrap().0, port)
}

/// Waits for a client that has to end by itself.
fn ended(mut child: Child) -> Output {
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() >= deadline {
            child.kill().unwrap();
            panic!("still there: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn a_server_that_closes_is_noticed_while_nobody_types() {
    let (child, _input, server, port) = silent_client();
    drop(server);
    let output = ended(child);
    let expected = format!("Connecting to 127.0.0.1:{port}...\nClosing the connection.\n");
    assert_eq!((text(&output.stdout), output.status.code()), (expected, Some(1)));
    assert_eq!(text(&output.stderr), "loadgen: the server closed the connection\n");
}

#[test]
fn late_bytes_are_shown_while_nobody_types() {
    let (mut child, mut input, mut server, port) = silent_client();
    server.write_all(b"too late\n").unwrap();
    let expected = format!("Connecting to 127.0.0.1:{port}...\nReceived: 'too late'\n");
    let mut seen = vec![0; expected.len()];
    child.stdout.as_mut().unwrap().read_exact(&mut seen).unwrap();
    assert_eq!(text(&seen), expected);
    // The conversation goes on.
    input.write_all(b"more\nquit\n").unwrap();
    server.read_exact(&mut [0; 4]).unwrap();
    server.write_all(b"more").unwrap();
    let output = ended(child);
    let expected = "Sending: 'more'\nReceived: 'more'\nClosing the connection.\n";
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), (expected, Some(0)));
}

#[test]
fn the_end_of_the_input_comes_before_that_of_the_server() {
    let (child, mut input, mut server, _port) = silent_client();
    input.write_all(b"one\n").unwrap();
    server.read_exact(&mut [0; 3]).unwrap();
    // Both are there when the client has its answer.
    input.write_all(b"quit\n").unwrap();
    server.write_all(b"bye").unwrap();
    drop(server);
    let output = ended(child);
    assert_eq!((text(&output.stderr).as_str(), output.status.code()), ("", Some(0)));
}

#[test]
fn lines_come_from_a_file_too() {
    let (_served, port) = served();
    let path = std::env::temp_dir().join(format!("loadgen-client-{}", std::process::id()));
    std::fs::write(&path, "one\ntwo").unwrap();
    let output = ended(spawn(&port, File::open(&path).unwrap()));
    std::fs::remove_file(&path).unwrap();
    let expected = format!(
        "Connecting to 127.0.0.1:{port}...\nSending: 'one'\nReceived: 'Hello from B1'\n\
         Sending: 'two'\nReceived: 'Hello from B1'\nClosing the connection.\n"
    );
    assert_eq!((text(&output.stdout), output.status.code()), (expected, Some(0)));
}

#[test]
fn the_prompt_is_shown_again_after_late_bytes() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"late"));
    let (mut typed, _typing) = UnixStream::pair().unwrap();
    let mut shown = Vec::new();
    let talked = converse(&address.into(), &mut typed, &mut shown, Prompt::Shown);
    server.join().unwrap().unwrap();
    assert!(matches!(talked, Err(ClientError::ServerLeft)), "{talked:?}");
    let expected = format!(
        "Connecting to {address}...\nOne message a line; an empty line says hello, `quit` ends.\n\
         > \nReceived: 'late'\n> \nClosing the connection.\n"
    );
    assert_eq!(text(&shown), expected);
}
