//! The tokio-uring relay from outside: what it keeps, and how it ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use uring::close_with_reset;

/// `bench relay` in front of a listener of the test, killed when it is dropped.
struct Relay {
    child: Child,
    front: SocketAddr,
    backend: TcpListener,
}

impl Relay {
    /// Nothing where there is no ring. `prelude` is shell that runs before it in the same process.
    fn start(prelude: &str) -> Option<Self> {
        if let Err(error) = uring::self_test() {
            assert!(std::env::var_os("EVENKEEL_NO_SKIP").is_none(), "needs io_uring: {error}");
            eprintln!("SKIPPED: needs io_uring: {error}");
            return None;
        }
        let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = backend.local_addr().expect("it is bound");
        let script = format!("{prelude}\nexec \"$0\" relay --backend {address}");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_bench")]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("there is a shell");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it is text");
        let front = line.trim().strip_prefix("listening on ").expect("it says where it listens");
        let front = front.parse().expect("an address");
        Some(Self { child, front, backend })
    }

    /// A client and its other end at the backend.
    fn session(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.front).expect("the relay listens");
        let (served, _) = self.backend.accept().expect("the relay connects");
        for socket in [&client, &served] {
            socket.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
        }
        (client, served)
    }

    /// How many it has open.
    fn sockets(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs");
        // One may be closed while this looks at it.
        let open = open.flatten().filter_map(|one| std::fs::read_link(one.path()).ok());
        open.filter(|what| what.to_string_lossy().starts_with("socket:")).count()
    }

    /// The listener, and what else it has from the start: the runtime's own pair for signals.
    fn sockets_at_rest(&self) -> usize {
        // The relay may still be starting; when it has taken a connection it is not.
        let (client, served) = self.session();
        let rest = self.sockets() - 2;
        drop((client, served));
        self.wait_for_sockets(rest, "after the first session");
        rest
    }

    fn wait_for_sockets(&self, count: usize, when: &str) {
        let reached = eventually(|| (self.sockets() == count).then_some(()));
        assert!(reached.is_some(), "{when}: {} sockets and not {count}", self.sockets());
    }

    /// Its exit status and what it wrote to standard error.
    fn ended(&mut self) -> (ExitStatus, String) {
        let status = eventually(|| self.child.try_wait().expect("it is our child"));
        let mut said = String::new();
        let status = status.expect("it ends");
        let stderr = self.child.stderr.as_mut().expect("it is piped");
        stderr.read_to_string(&mut said).expect("it is text");
        (status, said)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `probe` finds in the end; nothing when the patience is over.
fn eventually<T>(mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(found) = probe() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Ends a session, and hands back what stays open: a relay that has not understood keeps its sockets.
type End = fn(TcpStream, TcpStream) -> Option<TcpStream>;

const ENDS: [(&str, End); 6] = [
    ("the client closes", |client, mut served| {
        drop(client);
        assert_eq!(served.read(&mut [0]).expect("a clean end"), 0);
        None
    }),
    ("the backend closes", |mut client, served| {
        drop(served);
        assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
        None
    }),
    ("one finishes, then the other", |mut client, mut served| {
        client.shutdown(Shutdown::Write).expect("it is connected");
        assert_eq!(served.read(&mut [0]).expect("a clean end"), 0);
        served.write_all(b"!").expect("this way is open");
        drop(served);
        assert_eq!(client.read(&mut [0]).expect("a byte"), 1);
        Some(client)
    }),
    ("the client resets", |client, served| {
        close_with_reset(client.into());
        Some(served)
    }),
    ("the backend resets", |client, served| {
        close_with_reset(served.into());
        Some(client)
    }),
    ("the client resets while the backend does not read", |mut client, mut served| {
        // The relay takes no more: its write to the backend waits, and nothing but the other
        // direction, whose write to the client fails, can tell it of the reset.
        client.set_write_timeout(Some(STALL)).expect("it is not zero");
        while client.write(&[0; 64 << 10]).is_ok() {}
        close_with_reset(client.into());
        served.write_all(b"!").expect("it is connected");
        Some(served)
    }),
];

#[test]
fn whatever_ends_a_session_both_sockets_are_closed() {
    let Some(mut relay) = Relay::start("") else { return };
    let rest = relay.sockets_at_rest();
    for (what, end) in ENDS {
        let (client, served) = relay.session();
        assert_eq!(relay.sockets(), rest + 2, "{what}");
        let open = end(client, served);
        relay.wait_for_sockets(rest, what);
        drop(open);
    }
    kill(Pid::from_raw(relay.child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    assert_eq!(relay.ended().0.signal(), Some(Signal::SIGTERM as i32));
}

#[test]
fn without_a_descriptor_it_ends_and_says_what_to_do() {
    // A session takes two: in one case the last is the client's, in the other the backend's.
    let said: Vec<_> = [24, 25].into_iter().map_while(said_with_descriptors).collect();
    let [even, odd] = &said[..] else { return };
    for what in ["cannot accept", "no socket for a connection to the backend"] {
        assert!(even.contains(what) != odd.contains(what), "{what}: {even} {odd}");
    }
}

/// What a relay that may have so many descriptors says in the end.
fn said_with_descriptors(limit: u32) -> Option<String> {
    let mut relay = Relay::start(&format!("ulimit -n {limit}"))?;
    relay.backend.set_nonblocking(true).expect("it is a socket");
    let mut sockets = Vec::new();
    let ended = eventually(|| {
        sockets.push(TcpStream::connect(relay.front).ok());
        // One after the other, so that it is known who gets the last.
        let next = eventually(|| match relay.child.try_wait().expect("it is our child") {
            Some(status) => Some(Err(status)),
            None => relay.backend.accept().ok().map(|(served, _)| Ok(served)),
        });
        next.expect("it goes on or ends").map(|served| sockets.push(Some(served))).err()
    });
    let said = relay.ended().1;
    assert_eq!(ended.expect("it ends").code(), Some(1), "{said}");
    assert!(said.contains("Too many open files") && said.contains("ulimit -n"), "{said}");
    Some(said)
}

/// After this long a test fails with a message instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// A write that takes longer does not go on.
const STALL: Duration = Duration::from_millis(300);
