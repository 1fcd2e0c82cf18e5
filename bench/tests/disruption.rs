//! The backends of the comparison's disruptions: processes that answer until they are killed.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Killed whatever comes.
struct Backend(Child);

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_backend_answers_by_name_until_it_is_killed() {
    let address = free_address();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["backend", "--listen", &address.to_string(), "--name", "B7"]);
    let mut backend = Backend(command.spawn().expect("this package's own program"));
    let give_up = Instant::now() + Duration::from_secs(30);
    let connection = loop {
        match TcpStream::connect(address) {
            Ok(connection) => break connection,
            Err(error) => assert!(Instant::now() < give_up, "it does not listen: {error}"),
        }
        sleep(Duration::from_millis(5));
    };
    (&connection).write_all(b"who are you?\n").expect("it is there");
    let mut lines = BufReader::new(&connection).lines();
    assert_eq!(lines.next().expect("an answer").expect("it is there"), "Hello from B7");
    backend.0.kill().expect("it runs");
    backend.0.wait().expect("it is ours");
    assert!(lines.next().is_none_or(|line| line.is_err()), "its connection has ended");
    let refused = TcpStream::connect(address).map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
}

/// Nobody else is likely to take it before the backend does.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}
