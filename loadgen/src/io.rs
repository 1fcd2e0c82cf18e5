//! What the workers do with sockets, on io_uring or, where there is none, on epoll.
//!
//! Both engines keep the manners of a ring. Operations are queued, start with the next
//! [`Io::submit_and_wait`], and are answered after one; of each kind a socket has one in flight; a
//! send is whole. Who works on one engine works on the other.

mod buffers;
mod epoll;
mod uring;

use std::fmt;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use ::uring::{BufferId, Completion, Config, Owner, Readiness, Ring, SetupError, Token};
use socket2::SockAddr;

pub(crate) use self::epoll::Epoll;

/// A socket as both engines take it. Epoll holds on to it for as long as it watches it.
pub(crate) type Socket = Rc<OwnedFd>;

/// An engine of one thread. See [`Ring`] for what each operation is; an owner's slot has one socket
/// at a time.
pub(crate) trait Io: Sized {
    /// One with buffers, for the calling thread only.
    ///
    /// # Errors
    /// A [`SetupError`] that names the cause and the cure.
    fn open(config: &Config) -> Result<Self, SetupError>;
    /// Connects `socket`, which is new, to `address`.
    fn connect(&mut self, socket: &Socket, address: &SockAddr, owner: Owner);
    /// Sends all of `range` of a held buffer. The result is short when the connection fails
    /// half-way, or the send is cancelled there.
    fn send_whole(&mut self, socket: &Socket, buffer: BufferId, range: Range<u32>, owner: Owner);
    /// Receives into a buffer. Fails with ENOBUFS when bytes are there and no buffer is.
    fn recv(&mut self, socket: &Socket, readiness: Readiness, owner: Owner);
    /// Asks for the end of one operation, whose own completion is the answer: `ECANCELED`, or
    /// whatever it did just before.
    fn cancel(&mut self, target: Token);
    /// Closes a socket on which nothing is in flight.
    fn close(&mut self, socket: Socket);
    /// The same so that the peer sees a reset, at once.
    fn reset(&mut self, socket: Socket);
    /// Starts what is queued and waits until `want` completions are there or `timeout` is over.
    ///
    /// # Errors
    /// Only what cannot be waited out.
    fn submit_and_wait(&mut self, want: u32, timeout: Option<Duration>) -> std::io::Result<()>;
    /// Appends the completions that are there to `out`, at most as many as its free capacity.
    fn completions(&mut self, out: &mut Vec<Completion>);
    /// The bytes of a buffer that the program holds.
    fn bytes(&self, buffer: BufferId, range: Range<u32>) -> &[u8];
    /// The whole of a buffer that the program holds; not while a send from it is in flight.
    fn bytes_mut(&mut self, buffer: BufferId) -> &mut [u8];
    /// Gives a buffer back for the next receives.
    fn release(&mut self, buffer: BufferId);
    /// One of the buffers that [`Config::reserved`] kept for the program.
    fn take_reserved(&mut self) -> Option<BufferId>;
    /// Buffers that receives can be answered in.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the tests look for what leaks"))]
    fn buffers_free(&self) -> u16;
}

/// What drives the sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// io_uring where this host has it, otherwise epoll.
    #[default]
    Auto,
    /// io_uring, or nothing.
    Uring,
    /// epoll, as nearly every other generator.
    Epoll,
}

/// An engine that was settled on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// [`Ring`].
    Uring,
    /// [`Epoll`].
    Epoll,
}

/// Why a text names no engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an engine: write auto, uring or epoll")]
pub struct EngineError(String);

impl Engine {
    /// The engine to use on this host.
    ///
    /// # Errors
    /// What is wrong with the host although it has io_uring: with epoll it would only be hidden.
    pub(crate) fn choose(self) -> Result<Chosen, SetupError> {
        self.choose_after(|| Ring::new(&PROBE).map(drop))
    }

    fn choose_after(
        self,
        probe: impl FnOnce() -> Result<(), SetupError>,
    ) -> Result<Chosen, SetupError> {
        match self {
            Self::Uring => Ok(Chosen::Uring),
            Self::Epoll => Ok(Chosen::Epoll),
            Self::Auto => match probe() {
                Ok(()) => Ok(Chosen::Uring),
                Err(error) if error.means_no_io_uring() => Ok(Chosen::Epoll),
                Err(error) => Err(error),
            },
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

impl Chosen {
    /// As reports have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

impl FromStr for Engine {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let engines = [Self::Auto, Self::Uring, Self::Epoll];
        let engine = engines.into_iter().find(|engine| engine.name() == text);
        engine.ok_or_else(|| EngineError(text.to_owned()))
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Enough to learn whether there can be a ring.
const PROBE: Config = Config {
    entries: 8,
    buffers: 1,
    published: 1,
    buffer_bytes: 4096,
    reserved: 0,
    busy_poll: None,
};

#[cfg(test)]
mod tests;
