//! `loadgen serve` as clients meet it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use crate::common::{Served, ask_and_finish, connect, expect, run, text};
use nix::sys::signal::Signal;

const NAMED: [&str; 9] =
    ["--name", "B1", "--port", "0", "--name", "B2", "--port", "0", "--host=127.0.0.1"];

fn served(mode: &str) -> Served {
    Served::start(&["--name", "B1", "--port", "0", "--mode", mode], 1)
}

#[test]
fn each_backend_says_where_it_listens() {
    let served = Served::start(&NAMED, 2);
    for (index, name) in ["B1", "B2"].iter().enumerate() {
        let port = served.addresses[index].port();
        let line = format!("Backend server '{name}' listening on ('127.0.0.1', {port})\n");
        assert_eq!(served.lines[index], line);
    }
}

#[test]
fn without_a_host_all_addresses_are_listened_on() {
    let served = served("hello");
    assert!(served.lines[0].contains("('0.0.0.0', "), "{:?}", served.lines);
}

#[test]
fn a_bare_port_is_the_name() {
    let served = Served::start(&["0", "0"], 2);
    let port = served.addresses[1].port();
    let reply = ask_and_finish(&mut served.connect(1), b"hi");
    assert_eq!(text(&reply), format!("Hello from Server {port}!"));
}

#[test]
fn several_threads_share_the_backends() {
    let served = Served::start(&["-t", "2", "--name", "B1", "--port", "0"], 1);
    for _ in 0..20 {
        assert_eq!(text(&ask_and_finish(&mut served.connect(0), b"hi\n")), "Hello from B1\n");
    }
}

#[test]
fn hello_answers_each_message_on_a_connection_that_stays() {
    let served = served("hello");
    let mut stream = served.connect(0);
    for _ in 0..3 {
        stream.write_all(b"Hello from Client").unwrap();
        expect(&mut stream, "Hello from B1");
    }
    stream.write_all(b"one\ntwo\n").unwrap();
    expect(&mut stream, "Hello from B1\nHello from B1\n");
}

#[test]
fn hello_answers_everything_before_the_end() {
    let served = served("hello");
    let lines = 100_000;
    let reply = ask_and_finish(&mut served.connect(0), "\n".repeat(lines).as_bytes());
    assert_eq!(reply.len(), lines * "Hello from B1\n".len());
    assert_eq!(text(&ask_and_finish(&mut served.connect(0), b"")), "");
    assert_eq!(
        text(&ask_and_finish(&mut served.connect(0), b"a\nb")),
        "Hello from B1\nHello from B1"
    );
}

#[test]
fn echo_is_exact_at_16_mib_in_both_directions_at_once() {
    let served = served("echo");
    let sent: Vec<u8> =
        (0..16_u32 << 20).map(|index| (index.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    let mut reader = served.connect(0);
    let mut writer = reader.try_clone().unwrap();
    let copy = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::with_capacity(sent.len());
    reader.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert!(received == sent, "{} bytes came back of {}", received.len(), sent.len());
}

#[test]
fn echo_holds_what_the_client_does_not_read_yet() {
    let served = served("echo");
    let mut slow = served.connect(0);
    let block = vec![7; 256 * 1024];
    slow.write_all(&block).unwrap();
    // Others are served meanwhile.
    assert_eq!(text(&ask_and_finish(&mut served.connect(0), b"hi")), "hi");
    assert!(ask_and_finish(&mut slow, b"tail").ends_with(b"tail"));
}

#[test]
fn bytes_may_come_one_at_a_time() {
    let served = served("echo");
    let mut stream = served.connect(0);
    for byte in b"dribble" {
        stream.write_all(&[*byte]).unwrap();
        let mut back = [0];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back[0], *byte);
    }
    let served = Served::start(&["--mode", "http", "--name", "B1", "-p", "0"], 1);
    let mut stream = served.connect(0);
    for byte in b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(rest(&mut stream).ends_with("\r\n\r\nOK"));
}

#[test]
fn http_says_who_answers() {
    let served = Served::start(&["--mode", "http", "-p", "0"], 1);
    let port = served.addresses[0].port();
    let reply = text(&ask_and_finish(&mut served.connect(0), b"GET / HTTP/1.1\r\n\r\n"));
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\nContent-Length: "), "{reply}");
    assert!(
        reply.ends_with(&format!("\r\n\r\nHello from the Backend Server on port {port}!")),
        "{reply}"
    );
    assert!(reply.contains(&format!("X-Backend: Server {port}\r\n")), "{reply}");
}

#[test]
fn http_answers_a_pipeline_in_order() {
    let served = served("http");
    let requests = "GET / HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n".repeat(2000);
    let reply = text(&ask_and_finish(&mut served.connect(0), requests.as_bytes()));
    let bodies: Vec<&str> = reply.split("HTTP/1.1 200 OK\r\n").skip(1).collect();
    assert_eq!(bodies.len(), 4000);
    assert!(
        bodies.chunks(2).all(|two| two[0].ends_with("Hello from B1") && two[1].ends_with("OK"))
    );
}

#[test]
fn http_refuses_and_closes_but_the_answer_arrives() {
    let served = served("http");
    let large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    for (request, status) in [("nonsense\r\n\r\n", "400 "), (large.as_str(), "431 ")] {
        let mut stream = served.connect(0);
        // More than the server reads: closing with that unread would reset the answer away.
        stream.write_all(request.as_bytes()).unwrap();
        stream.write_all(&[b'x'; 50_000]).unwrap();
        let reply = rest(&mut stream);
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{reply}");
        assert!(reply.contains("Connection: close\r\n"), "{reply}");
    }
}

#[test]
fn http_10_ends_the_connection() {
    let served = served("http");
    let mut stream = served.connect(0);
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(rest(&mut stream).ends_with("Hello from B1"));
}

#[test]
fn a_client_that_resets_harms_nobody() {
    let served = served("echo");
    for _ in 0..20 {
        let stream = served.connect(0);
        socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        (&stream).write_all(&[1; 100_000]).unwrap();
    }
    assert_eq!(text(&ask_and_finish(&mut served.connect(0), b"hi")), "hi");
}

#[test]
fn many_connections_at_once_are_all_served() {
    let served = served("hello");
    let mut streams: Vec<TcpStream> = (0..300).map(|_| served.connect(0)).collect();
    for stream in &mut streams {
        stream.write_all(b"hi\n").unwrap();
    }
    for stream in &mut streams {
        expect(stream, "Hello from B1\n");
    }
}

#[test]
fn without_descriptors_clients_wait_and_are_served_later() {
    let shell =
        format!("ulimit -n 40; exec {} serve --name B1 --port 0", env!("CARGO_BIN_EXE_loadgen"));
    let served = Served::spawn(Command::new("sh").args(["-c", &shell]), 1);
    let mut streams: Vec<TcpStream> = (0..60).map(|_| served.connect(0)).collect();
    let mut last = streams.split_off(50);
    streams.iter_mut().take(10).for_each(expect_served);
    drop(streams);
    last.iter_mut().for_each(expect_served);
}

#[test]
fn a_long_message_without_a_newline_is_answered() {
    let served = served("hello");
    let mut stream = served.connect(0);
    stream.write_all(&[b'x'; 100_000]).unwrap();
    expect(&mut stream, "Hello from B1");
}

#[test]
fn signals_end_it_without_noise() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut served = served("hello");
        let mut idle = served.connect(0);
        expect_served(&mut idle);
        assert_eq!(served.end(signal), (Some(0), String::new()), "{signal}");
    }
}

#[test]
fn verbose_tells_connections() {
    let mut served = Served::start(&["--verbose", "--name", "B1", "--port", "0"], 1);
    let mut stream = served.connect(0);
    let from = stream.local_addr().unwrap().port();
    expect_served(&mut stream);
    let (_, said) = served.end(Signal::SIGTERM);
    assert_eq!(said, format!("[B1] Connection from ('127.0.0.1', {from})\n"));
}

#[test]
fn a_restart_binds_the_same_port_at_once() {
    let mut first = served("hello");
    expect_served(&mut first.connect(0));
    let port = first.addresses[0].port().to_string();
    let open = connect(first.addresses[0]);
    assert_eq!(first.end(Signal::SIGTERM).0, Some(0));
    let second = Served::start(&["--name", "B1", "--port", &port], 1);
    expect_served(&mut second.connect(0));
    drop(open);
}

#[test]
fn a_port_in_use_is_said_clearly() {
    let served = Served::start(&NAMED, 2);
    let port = served.addresses[0].port().to_string();
    let output = run(&["serve", "--host", "127.0.0.1", &port]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the address is in use"), "{}", text(&output.stderr));
}

#[test]
fn wrong_arguments_are_exit_code_2() {
    for arguments in [
        &["serve"][..],
        &["serve", "--name", "B1", "--name", "B2", "--port", "0"],
        &["serve", "--port", "70000"],
        &["serve", "--mode", "loud", "0"],
        &["serve", "--host", "no such host", "0"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

fn expect_served(stream: &mut TcpStream) {
    stream.write_all(b"hi\n").unwrap();
    expect(stream, "Hello from B1\n");
}

fn rest(stream: &mut TcpStream) -> String {
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    text(&reply)
}
