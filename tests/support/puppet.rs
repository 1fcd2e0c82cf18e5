//! Sessions of which a test holds both ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use super::backend::Backend;
use super::{Balancer, WATCHDOG, assert_same_bytes, pattern, with_little_room};

/// A backend whose connections are the test's.
pub(crate) struct Puppets {
    backend: Backend,
    accepted: Receiver<TcpStream>,
}

/// Both ends of a session.
pub(crate) struct Session {
    pub(crate) client: TcpStream,
    pub(crate) backend: TcpStream,
}

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the backend.
    Up,
    /// To the client.
    Down,
}

impl Puppets {
    pub(crate) const WAYS: [Way; 2] = [Way::Up, Way::Down];

    pub(crate) fn new() -> Self {
        let (tell, accepted) = channel();
        let tell = Mutex::new(tell);
        let backend = Backend::running(move |client| {
            // The test may have ended.
            let _ = tell.lock().expect("no test fails in here").send(client);
        });
        Self { backend, accepted }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.backend.address
    }

    /// A balancer in front of them.
    pub(crate) fn behind(&self, options: &str) -> Balancer {
        Balancer::before(&[self.backend.address], options)
    }

    pub(crate) fn session(&self, balancer: &Balancer) -> Session {
        self.session_of(balancer.connect())
    }

    /// The session of a client that has just connected.
    pub(crate) fn session_of(&self, client: TcpStream) -> Session {
        let backend = self.accepted.recv_timeout(WATCHDOG).expect("the backend is connected to");
        Session { client, backend }
    }

    /// The session of a client that stalls soon when it does not read.
    pub(crate) fn session_with_little_room(&self, balancer: &Balancer) -> Session {
        self.session_of(with_little_room(balancer.address))
    }
}

impl Session {
    /// The source and the destination of what goes there.
    pub(crate) fn ends(&self, way: Way) -> (&TcpStream, &TcpStream) {
        match way {
            Way::Up => (&self.client, &self.backend),
            Way::Down => (&self.backend, &self.client),
        }
    }

    /// The source and the destination, without the other.
    pub(crate) fn into_ends(self, way: Way) -> (TcpStream, TcpStream) {
        match way {
            Way::Up => (self.client, self.backend),
            Way::Down => (self.backend, self.client),
        }
    }

    /// Bytes go one way, and arrive.
    pub(crate) fn pass(&self, way: Way, bytes: &[u8]) {
        let (mut source, mut destination) = self.ends(way);
        let mut got = vec![0; bytes.len()];
        std::thread::scope(|scope| {
            scope.spawn(move || source.write_all(bytes).expect("the balancer takes it"));
            destination.read_exact(&mut got).expect("all of it arrives");
        });
        assert_same_bytes(&got, bytes, &format!("{way:?}"));
    }

    /// Sends one way until nothing more is taken, although the balancer does what it can; what was
    /// sent.
    pub(crate) fn fill(&self, balancer: &Balancer, way: Way) -> Vec<u8> {
        let mut sent = Vec::new();
        while self.write_what_fits(way, &mut sent) {
            balancer.settle();
        }
        sent
    }

    /// Sends one way until nothing more is taken at once; whether anything was.
    pub(crate) fn write_what_fits(&self, way: Way, sent: &mut Vec<u8>) -> bool {
        let (mut source, _) = self.ends(way);
        let before = sent.len();
        source.set_nonblocking(true).expect("a socket");
        loop {
            let chunk = pattern(sent.len() as u64, 256 * 1024);
            match source.write(&chunk) {
                Ok(bytes) => sent.extend_from_slice(&chunk[..bytes]),
                Err(_) => break,
            }
        }
        source.set_nonblocking(false).expect("a socket");
        sent.len() > before
    }

    /// Sends one way until a byte more is in a pipe, and less than fills it; what was sent.
    pub(crate) fn fill_a_pipe(&self, balancer: &Balancer, way: Way) -> Vec<u8> {
        let held = || balancer.pipes().iter().sum::<u64>();
        let (mut source, _) = self.ends(way);
        let (before, mut sent) = (held(), Vec::new());
        while held() <= before {
            let more = pattern(sent.len() as u64, 128 * 1024);
            source.write_all(&more).expect("the balancer takes it");
            sent.extend(more);
            balancer.settle();
        }
        sent
    }
}
