//! A connection for whoever does one thing at a time: an operation is queued on the ring and waited
//! for. Only the next bytes may be awaited longer, beside something else that has news.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use uring::{
    BufferId, Completion, Config, ConnectOptions, Errno, Op, Outcome, Owner, Readiness, Ring,
    SetupError, Token,
};

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// There is no ring.
    Ring(SetupError),
    /// No address answered; what the last one said.
    Connect(io::Error),
}

/// What came first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The other file can be read.
    InputReadable,
    /// These bytes came; none means that the peer has finished writing.
    Received(Vec<u8>),
}

/// A connection that stands, and a ring of its own.
pub(crate) struct Connection {
    /// Comes first: it must be gone, and with it every operation, before the socket is closed.
    operations: Operations,
    socket: OwnedFd,
    address: SocketAddr,
    /// A receive is in flight, or its answer was not asked for yet.
    receiving: bool,
    /// The same for the poll of the other file.
    polling: bool,
}

impl Connection {
    /// Connects to the first of `addresses` that answers within `timeout`.
    pub(crate) fn open(addresses: &[SocketAddr], timeout: Duration) -> Result<Self, OpenError> {
        let mut operations = Operations::new().map_err(OpenError::Ring)?;
        let mut last = io::Error::other("the name has no address");
        for &address in addresses {
            match operations.connect(&address, timeout) {
                Ok(socket) => {
                    return Ok(Self {
                        operations,
                        socket,
                        address,
                        receiving: false,
                        polling: false,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(OpenError::Connect(last))
    }

    /// The address that answered.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends all of `bytes`.
    pub(crate) fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // What a short send left is copied again: it is rare, and nobody waits for it.
            let sent = self.operations.send(&self.socket, bytes)?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// The next bytes; none means that the peer has finished writing.
    pub(crate) fn receive(&mut self) -> io::Result<Vec<u8>> {
        self.start_receiving();
        let outcome = self.operations.wait_for(Op::Recv)?;
        self.received(outcome)
    }

    /// The next bytes, or the news that `input` can be read, whichever comes first. It must be the
    /// same file each time.
    pub(crate) fn receive_beside(&mut self, input: &impl AsFd) -> io::Result<Event> {
        self.start_receiving();
        if !std::mem::replace(&mut self.polling, true) {
            self.operations.ring.poll_readable(input, OWNER);
        }
        loop {
            // The end of the stream comes after the input: who has nothing more to ask can leave
            // in peace although the peer has left already.
            if !self.operations.has_bytes() && self.operations.take(Op::Poll).is_some() {
                self.polling = false;
                // A regular file is readable at once (`vfs_poll`, include/linux/poll.h). So is what
                // cannot be polled (EPERM), and any other trouble is told by the read.
                return Ok(Event::InputReadable);
            }
            if let Some(outcome) = self.operations.take(Op::Recv) {
                return self.received(outcome).map(Event::Received);
            }
            self.operations.turn(None)?;
        }
    }

    fn start_receiving(&mut self) {
        if !std::mem::replace(&mut self.receiving, true) {
            self.operations.ring.recv(&self.socket, Readiness::Unknown, OWNER);
        }
    }

    fn received(&mut self, outcome: Outcome) -> io::Result<Vec<u8>> {
        self.receiving = false;
        match outcome {
            Outcome::Received { buffer, len, .. } => {
                let bytes = self.operations.ring.bytes(buffer, 0..len).to_vec();
                self.operations.ring.release(buffer);
                Ok(bytes)
            }
            Outcome::Failed(errno) => Err(errno.into()),
            Outcome::EndOfStream | Outcome::Accepted(_) | Outcome::Done(_) => Ok(Vec::new()),
        }
    }
}

/// A ring on which at most one operation of each kind is in flight.
struct Operations {
    ring: Ring,
    /// What is sent is copied here.
    outgoing: BufferId,
    /// Completions that nobody asked for yet.
    came: Vec<Completion>,
}

impl Operations {
    fn new() -> Result<Self, SetupError> {
        let mut ring = Ring::new(&RING)?;
        let outgoing = ring.take_reserved().expect("one buffer is reserved");
        Ok(Self { ring, outgoing, came: Vec::with_capacity(RING.entries as usize) })
    }

    fn connect(&mut self, address: &SocketAddr, timeout: Duration) -> io::Result<OwnedFd> {
        let address = (*address).into();
        let socket = uring::stream_socket(&address, &ConnectOptions::default())?;
        let deadline = Instant::now() + timeout;
        self.ring.connect(&socket, &address, OWNER);
        let outcome = loop {
            if let Some(outcome) = self.take(Op::Connect) {
                break outcome;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // The socket may be closed only when the connect has ended.
                self.ring.cancel(Token { op: Op::Connect, owner: OWNER });
                break self.wait_for(Op::Connect)?;
            }
            self.turn(Some(left))?;
        };
        match outcome {
            Outcome::Failed(Errno::ECANCELED) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "connection timed out"))
            }
            Outcome::Failed(errno) => Err(errno.into()),
            _ => Ok(socket),
        }
    }

    /// Sends as much of `bytes` as fits a buffer and the socket; how much that was.
    fn send(&mut self, socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        let room = self.ring.bytes_mut(self.outgoing);
        let part = bytes.len().min(room.len());
        room[..part].copy_from_slice(&bytes[..part]);
        let len = u32::try_from(part).expect("a buffer's size is a u32");
        self.ring.send(socket, self.outgoing, 0..len, OWNER);
        match self.wait_for(Op::Send)? {
            Outcome::Done(sent) => Ok(sent as usize),
            Outcome::Failed(errno) => Err(errno.into()),
            other => unreachable!("a send ended with {other:?}"),
        }
    }

    fn wait_for(&mut self, op: Op) -> io::Result<Outcome> {
        loop {
            if let Some(outcome) = self.take(op) {
                return Ok(outcome);
            }
            self.turn(None)?;
        }
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.ring.submit_and_wait(1, timeout)?;
        self.ring.completions(&mut self.came);
        Ok(())
    }

    fn take(&mut self, op: Op) -> Option<Outcome> {
        let at = self.came.iter().position(|completion| completion.token.op == op)?;
        Some(self.came.swap_remove(at).outcome)
    }

    fn has_bytes(&self) -> bool {
        self.came.iter().any(|came| matches!(came.outcome, Outcome::Received { .. }))
    }
}

/// One connection, and one operation of each kind.
const OWNER: Owner = Owner::slot(0);

/// One buffer to send from, and one to receive into while another is looked at. A buffer holds what
/// a person reads as one answer.
const RING: Config = Config {
    entries: 8,
    buffers: 3,
    published: 2,
    buffer_bytes: 64 * 1024,
    reserved: 1,
    busy_poll: None,
};

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let connection = Connection::open(&[address], Duration::from_secs(5)).expect("it listens");
        assert_eq!(connection.address(), address);
        (connection, listener.accept().expect("it is connected").0)
    }

    #[test]
    fn a_message_longer_than_buffers_and_sockets_arrives_whole() {
        let (mut connection, mut peer) = pair();
        let message: Vec<u8> = (0..8_u32 << 20).map(|at| (at % 251) as u8).collect();
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).map(|_| all)
        });
        connection.send(&message).expect("the peer reads");
        drop(connection);
        let all = reading.join().expect("no panic").expect("no error");
        assert!(all == message, "{} bytes came", all.len());
    }

    #[test]
    fn bytes_come_before_the_input_and_the_input_before_the_end() {
        let (mut connection, mut peer) = pair();
        let (input, mut typing) = UnixStream::pair().expect("descriptors");
        peer.write_all(b"late").expect("it is connected");
        assert_eq!(connection.receive_beside(&input).ok(), Some(Event::Received(b"late".to_vec())));
        typing.write_all(b"line").expect("it is connected");
        assert_eq!(connection.receive_beside(&input).ok(), Some(Event::InputReadable));
        drop(peer);
        // The receive that was in flight all the time is the one that ends.
        assert_eq!(connection.receive().ok(), Some(Vec::new()));
    }

    #[test]
    fn a_file_is_readable_at_once() {
        let (mut connection, _peer) = pair();
        let file = std::fs::File::open("/proc/self/exe").expect("this test");
        for _ in 0..2 {
            assert_eq!(connection.receive_beside(&file).ok(), Some(Event::InputReadable));
        }
    }

    #[test]
    fn an_address_that_does_not_answer_is_given_up_and_the_next_one_tried() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let silent = full_listener();
        let silent_address = uring::local_address(&silent.0).expect("it is bound");
        let timeout = Duration::from_millis(50);
        let connection =
            Connection::open(&[silent_address, address], timeout).expect("one listens");
        assert_eq!(connection.address(), address);
        match Connection::open(&[silent_address], timeout) {
            Err(OpenError::Connect(error)) => assert_eq!(error.to_string(), "connection timed out"),
            other => panic!("{:?}", other.map(|connection| connection.address())),
        }
    }

    /// A listener whose backlog is full, so that the kernel drops what asks for a connection; and
    /// those who fill it.
    fn full_listener() -> (OwnedFd, Vec<TcpStream>) {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let listener = uring::listen(&uring::Listen {
            address,
            backlog: 0,
            shared: false,
            options: uring::ListenOptions::default(),
        })
        .expect("a free port");
        let address = uring::local_address(&listener).expect("it is bound");
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let waiting = (0..8).map_while(connect).collect();
        (listener, waiting)
    }
}
