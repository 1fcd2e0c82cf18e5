//! One client connection of a soak: blocking, with a limit on every wait, and every byte checked.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Protocol, Socket, Type};

use super::talk::{self, Kind, RIGHT, Request};

/// A connection to the balancer.
#[derive(Debug)]
pub(super) struct Peer {
    stream: TcpStream,
}

/// Why a connection did not do what was asked.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Other bytes came back, or the backend got others.
    WrongBytes,
    /// What was being done, and what the kernel said.
    Failed(&'static str, io::Error),
}

/// How a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// In order.
    Fin,
    /// With a reset.
    Rst,
    /// The backend is asked to close first, and its end is read.
    ByBackend,
}

type Done = Result<(), Trouble>;

impl Peer {
    /// Connects to `target` from `source`; `receive_buffer` makes a reader that is soon full.
    pub(super) fn connect(
        target: SocketAddr,
        source: Ipv4Addr,
        receive_buffer: Option<usize>,
    ) -> Result<Self, Trouble> {
        let connect = || -> io::Result<Self> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM.cloexec(), Some(Protocol::TCP))?;
            // The port is chosen with the whole address known, so that one in TIME_WAIT towards
            // another address does not count.
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
            if let Some(bytes) = receive_buffer {
                socket.set_recv_buffer_size(bytes)?;
            }
            socket.set_tcp_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.connect_timeout(&target.into(), PATIENCE)?;
            Ok(Self { stream: socket.into() })
        };
        connect().map_err(|error| Trouble::Failed("connect", error))
    }

    /// Sends bytes that come back. They must fit the buffers on the way, since nothing is read
    /// before all are sent.
    pub(super) fn echo(&mut self, seed: u32, len: u32) -> Done {
        self.ask_with_bytes(Kind::Echo, seed, len)?;
        self.read_right("echo", seed, 0..len)
    }

    /// Streams bytes to the backend, which says whether they were right.
    pub(super) fn upload(&mut self, seed: u32, len: u32) -> Done {
        self.ask_with_bytes(Kind::Sink, seed, len)?;
        let mut answer = [0];
        self.stream.read_exact(&mut answer).map_err(|error| Trouble::Failed("upload", error))?;
        if answer == [RIGHT] { Ok(()) } else { Err(Trouble::WrongBytes) }
    }

    /// Streams bytes that nobody answers; the backend checks and counts them.
    pub(super) fn upload_unanswered(&mut self, seed: u32, len: u32) -> Done {
        self.ask_with_bytes(Kind::Sink, seed, len)
    }

    /// Asks for a stream that is then read by [`Peer::read_stream`].
    pub(super) fn ask_for_stream(&mut self, seed: u32, len: u32) -> Done {
        self.write("ask", &Request { kind: Kind::Source, seed, len }.pack())
    }

    /// Reads the given part of the stream that was asked for.
    pub(super) fn read_stream(&mut self, seed: u32, part: std::ops::Range<u32>) -> Done {
        self.read_right("download", seed, part)
    }

    /// Asks for a stream after which the backend finishes writing, and reads it to its end.
    pub(super) fn download_to_the_end(&mut self, seed: u32, len: u32) -> Done {
        self.write("ask", &Request { kind: Kind::SourceAndFinish, seed, len }.pack())?;
        self.read_right("download", seed, 0..len)?;
        self.read_end()
    }

    /// Sends bytes that come back, and finishes writing before it reads them.
    pub(super) fn echo_half_closed(&mut self, seed: u32, len: u32) -> Done {
        self.ask_with_bytes(Kind::Echo, seed, len)?;
        let finished = self.stream.shutdown(Shutdown::Write);
        finished.map_err(|error| Trouble::Failed("half-close", error))?;
        self.read_right("echo after half-close", seed, 0..len)?;
        self.read_end()
    }

    /// Ends the connection.
    pub(super) fn close(mut self, how: Close) -> Done {
        match how {
            Close::Fin => Ok(()),
            Close::Rst => {
                uring::close_with_reset(self.stream.into());
                Ok(())
            }
            Close::ByBackend => {
                self.write("ask", &Request { kind: Kind::Leave, seed: 0, len: 0 }.pack())?;
                self.read_end()
            }
        }
    }

    fn ask_with_bytes(&mut self, kind: Kind, seed: u32, len: u32) -> Done {
        let mut said = Request { kind, seed, len }.pack().to_vec();
        let mut at = 0;
        while at < len {
            let bytes = talk::pattern(seed, at, CHUNK.min((len - at) as usize));
            said.extend_from_slice(bytes);
            at += u32::try_from(bytes.len()).expect("a block is small");
            self.write("send", &said)?;
            said.clear();
        }
        Ok(())
    }

    fn write(&mut self, step: &'static str, bytes: &[u8]) -> Done {
        self.stream.write_all(bytes).map_err(|error| Trouble::Failed(step, error))
    }

    fn read_right(&mut self, step: &'static str, seed: u32, part: std::ops::Range<u32>) -> Done {
        let mut buffer = vec![0; CHUNK.min(part.len())];
        let mut at = part.start;
        while at < part.end {
            let want = buffer.len().min((part.end - at) as usize);
            let read = match self.stream.read(&mut buffer[..want]) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                read => read,
            };
            let read = read.map_err(|error| Trouble::Failed(step, error))?;
            if !talk::is_right(seed, at, &buffer[..read]) {
                return Err(Trouble::WrongBytes);
            }
            at += u32::try_from(read).expect("a buffer is small");
        }
        Ok(())
    }

    /// The end of the stream comes next, and nothing before it.
    fn read_end(&mut self) -> Done {
        match self.stream.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Trouble::WrongBytes),
            Err(error) => Err(Trouble::Failed("end", error)),
        }
    }
}

impl Trouble {
    /// What is counted.
    pub(super) fn label(&self) -> String {
        match self {
            Self::WrongBytes => "wrong bytes".to_owned(),
            Self::Failed(step, error) => format!("{step}: {}", kind(error)),
        }
    }
}

/// Errno by its name; without one, what std calls it.
fn kind(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) if error.kind() == io::ErrorKind::WouldBlock => "timed out".to_owned(),
        Some(_) => format!("{:?}", uring::errno(error)),
        None => error.kind().to_string(),
    }
}

/// Far above what a busy machine needs, below what anybody would wait for.
const PATIENCE: Duration = Duration::from_secs(20);
const CHUNK: usize = 64 * 1024;
