//! The modes of `loadgen serve` for bulk, the sizes of answers, and backends in the file system.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use crate::common::{Served, ask_and_finish, expect, loadgen, run, text};
use nix::sys::signal::Signal;

fn served(mode: &str) -> Served {
    Served::start(&["--name", "B1", "--port", "0", "--mode", mode], 1)
}

/// Reads so many bytes and says whether they are the pattern from its beginning.
#[track_caller]
fn expect_pattern(stream: &mut TcpStream, bytes: usize) {
    let mut got = vec![0; bytes];
    stream.read_exact(&mut got).unwrap();
    let wrong = got.iter().zip((0..=250).cycle()).position(|(got, expected)| *got != expected);
    assert_eq!(wrong, None, "the byte at the place is the place's remainder by 251");
}

/// `/status` of the HTTP backend.
fn status(served: &Served) -> serde_json::Value {
    let reply = text(&ask_and_finish(&mut served.connect(0), b"GET /status HTTP/1.1\r\n\r\n"));
    serde_json::from_str(reply.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[test]
fn discard_reads_everything_and_says_nothing() {
    let served = served("discard");
    let all = vec![b'\n'; 16 << 20];
    assert_eq!(text(&ask_and_finish(&mut served.connect(0), &all)), "");
}

#[test]
fn source_sends_the_pattern_unasked_until_the_client_goes() {
    let served = served("source");
    for _ in 0..3 {
        expect_pattern(&mut served.connect(0), 5_000_011);
    }
    // What the client says is dropped, and so is its end.
    let mut stream = served.connect(0);
    stream.write_all(&[7; 3 << 20]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    expect_pattern(&mut stream, 5_000_011);
}

#[test]
fn a_client_that_reads_slowly_misses_nothing() {
    let served = served("source");
    let mut stream = served.connect(0);
    socket2::SockRef::from(&stream).set_recv_buffer_size(128 * 1024).unwrap();
    let mut expected = (0..=250_u8).cycle();
    let mut buffer = [0; 1009];
    for _ in 0..2000 {
        let read = stream.read(&mut buffer).unwrap();
        assert!(buffer[..read].iter().all(|byte| Some(*byte) == expected.next()));
    }
}

#[test]
fn the_first_line_of_a_stream_decides() {
    let served = served("stream");
    let mut up = served.connect(0);
    up.write_all(b"up\n").unwrap();
    assert_eq!(text(&ask_and_finish(&mut up, &vec![b'\n'; 4 << 20])), "");
    let mut down = served.connect(0);
    down.write_all(b"down\n").unwrap();
    expect_pattern(&mut down, 3_000_000);
    let mut bidir = served.connect(0);
    let mut writer = bidir.try_clone().unwrap();
    writer.write_all(b"bidir\n").unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&vec![1; 8 << 20]));
    expect_pattern(&mut bidir, 8 << 20);
    writing.join().unwrap().unwrap();
    let mut echo = served.connect(0);
    echo.write_all(b"echo\nfirst").unwrap();
    expect(&mut echo, "first");
    let long = "x".repeat(1 << 17);
    assert_eq!(text(&ask_and_finish(&mut echo, long.as_bytes())), long);
    assert_eq!(text(&ask_and_finish(&mut served.connect(0), b"hi\n")), "Hello from B1\n");
    assert_eq!(text(&ask_and_finish(&mut served.connect(0), b"dow")), "Hello from B1");
}

#[test]
fn hello_gives_lines_of_the_size_that_is_asked_for() {
    let served = served("hello");
    let request = "reply=20 \nreply=1048576 xyz\nplain\nreply=70000 \n".repeat(10);
    let reply = text(&ask_and_finish(&mut served.connect(0), request.as_bytes()));
    let lengths: Vec<usize> = reply.split_inclusive('\n').map(str::len).collect();
    assert_eq!(lengths, [20, 1 << 20, 14, 70_000].repeat(10));
    assert!(reply.lines().all(|line| line.starts_with("Hello from B1")));
    assert!(reply.starts_with("Hello from B1 abcde\n"), "{}", &reply[..20]);
}

#[test]
fn http_gives_bodies_of_the_size_that_is_asked_for() {
    let served = served("http");
    let request = "GET /bytes/100000 HTTP/1.1\r\n\r\nGET /bytes/0 HTTP/1.1\r\n\r\n".repeat(10);
    let reply = text(&ask_and_finish(&mut served.connect(0), request.as_bytes()));
    let alphabets: String = ('a'..='z').cycle().take(100_000).collect();
    let bodies: Vec<&str> = reply
        .split("HTTP/1.1 200 OK\r\n")
        .skip(1)
        .map(|reply| reply.split_once("X-Backend: B1\r\n\r\n").unwrap().1)
        .collect();
    assert_eq!(bodies, [alphabets.as_str(), ""].repeat(10));
}

#[test]
fn http_drops_bodies_in_chunks() {
    let served = served("http");
    let chunk = format!("10000\r\n{}\r\n", "\r\n0\r\n\r\n ".repeat(8192));
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let request = format!("{head}{chunk}{chunk}0\r\n\r\nGET /health HTTP/1.1\r\n\r\n");
    let reply = text(&ask_and_finish(&mut served.connect(0), request.as_bytes()));
    assert_eq!(reply.matches("HTTP/1.1 200 OK").count(), 2, "{reply}");
    assert!(reply.ends_with("OK"));
}

#[test]
fn status_counts_what_was_served_by_all_threads() {
    let served = Served::start(&["--name", "B1", "-p", "0", "--mode", "http", "-t", "2"], 1);
    let request = "GET / HTTP/1.1\r\n\r\n".repeat(5);
    let mut bytes_out = 0;
    for _ in 0..20 {
        bytes_out += ask_and_finish(&mut served.connect(0), request.as_bytes()).len();
    }
    let status = status(&served);
    assert_eq!((&status["name"], &status["status"]), (&"B1".into(), &"ok".into()), "{status}");
    assert_eq!(status["connections"], 21);
    assert_eq!(status["active_connections"], 1, "the one that asks");
    assert_eq!(status["requests"], 100, "requests of who watches are not counted");
    assert_eq!(status["bytes_in"], 20 * request.len() + "GET /status HTTP/1.1\r\n\r\n".len());
    assert_eq!(status["bytes_out"], bytes_out);
    assert!(status["uptime_s"].as_f64().unwrap() > 0.0);
}

/// A new directory, removed with this value.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("loadgen-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn ask_file(path: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"hi\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn backends_listen_in_the_file_system_beside_ports() {
    let directory = Directory::new("unix");
    let (first, second) = (directory.file("first.sock"), directory.file("second.sock"));
    let names = ["--name", "B1", "--name", "U1", "--name", "U2"];
    let places = ["--port", "0", "--unix", &first, "--unix", &second, "-t", "2"];
    let mut child = loadgen(&["serve"])
        .args([&names[..], &places].concat())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let lines: Vec<String> = (0..3)
        .map(|_| {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            line
        })
        .collect();
    assert_eq!(lines[1], format!("Backend server 'U1' listening on {first}\n"));
    assert_eq!(lines[2], format!("Backend server 'U2' listening on {second}\n"));
    for _ in 0..10 {
        assert_eq!(ask_file(&first), "Hello from U1\n");
        assert_eq!(ask_file(&second), "Hello from U2\n");
    }
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!std::path::Path::new(&first).exists(), "the file goes with its listener");
}

#[test]
fn a_path_that_cannot_be_listened_on_is_said_clearly() {
    let directory = Directory::new("taken");
    let path = directory.file("plain");
    std::fs::write(&path, "").unwrap();
    let output = run(&["serve", "--unix", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("a file that is no socket"), "{}", text(&output.stderr));
}
