//! The real binary, started and ended by its process id.

#![allow(dead_code, reason = "each test file uses the part that it needs")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The binary, ready for arguments.
pub(crate) fn loadgen(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    loadgen(arguments).output().unwrap()
}

/// What a program printed.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `loadgen serve` in a process of its own.
pub(crate) struct Served {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// The lines that say who listens.
    pub(crate) lines: Vec<String>,
    /// Where, on loopback.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Served {
    /// Starts it and waits until all its `backends` listen.
    pub(crate) fn start(arguments: &[&str], backends: usize) -> Self {
        Self::spawn(loadgen(&["serve"]).args(arguments), backends)
    }

    /// Starts `command`, which becomes a `loadgen serve`.
    pub(crate) fn spawn(command: &mut Command, backends: usize) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut lines = Vec::new();
        for _ in 0..backends {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            lines.push(line);
        }
        let addresses = lines.iter().map(|line| (Ipv4Addr::LOCALHOST, port(line)).into()).collect();
        Self { child, stdout, lines, addresses }
    }

    pub(crate) fn connect(&self, backend: usize) -> TcpStream {
        connect(self.addresses[backend])
    }

    /// Sends `signal` and waits: the exit code and what it said meanwhile.
    pub(crate) fn end(&mut self, signal: Signal) -> (Option<i32>, String) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        let code = self.child.wait().unwrap().code();
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).unwrap();
        self.child.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
        (code, said)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Ended already, then both fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The port in `... listening on ('127.0.0.1', 8881)`.
fn port(line: &str) -> u16 {
    let (_, rest) = line.split_once(" listening on ").unwrap_or_else(|| panic!("{line:?}"));
    rest.split(", ").nth(1).unwrap().trim_end().trim_end_matches(')').parse().unwrap()
}

/// A connection whose reads end after a while, so that a lost reply is a failure and no hang.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends `request`, finishes writing, and reads to the end.
pub(crate) fn ask_and_finish(stream: &mut TcpStream, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    reply
}

/// Reads exactly `expected`.
#[track_caller]
pub(crate) fn expect(stream: &mut TcpStream, expected: &str) {
    let mut reply = vec![0; expected.len()];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(text(&reply), expected);
}

/// An address where nothing listens: the port was free a moment ago, and stays bound so that
/// nobody else gets it.
pub(crate) fn refusing() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Deals connections out to `backends` in turn, as a balancer does; ends with the test.
pub(crate) fn round_robin(backends: &[SocketAddr]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let backends = backends.to_vec();
    std::thread::spawn(move || {
        for (client, backend) in listener.incoming().zip(backends.iter().cycle()) {
            let (client, backend) = (Arc::new(client.unwrap()), Arc::new(connect(*backend)));
            for (from, to) in [(&client, &backend), (&backend, &client)] {
                let (from, to) = (Arc::clone(from), Arc::clone(to));
                std::thread::spawn(move || {
                    // A side that is gone ends the copy, and the other side is told.
                    let _ = std::io::copy(&mut &*from, &mut &*to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    address
}
