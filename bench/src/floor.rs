//! The least that a relay can cost: two sockets, one receive, one send, and nothing else. No
//! timers, no balancing, no counters, no health. What a balancer costs beyond this is its own; what
//! this costs is the kernel's TCP, and the way readiness is learned.
//!
//! It is a measuring device and not a product: one thread, one backend, and it ends with an error
//! where a balancer would have to cope (no descriptor left, for example), rather than go on and
//! measure something else.

mod carry;
mod epoll;
mod ring;
#[cfg(test)]
pub(crate) mod tests;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use socket2::{Domain, Protocol, Socket, Type};
use uring::{Listen, ListenOptions};

use carry::{Copy, Splice};

/// What `bench floor` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Where clients connect; port 0 lets the kernel choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where every connection is relayed to
    #[arg(long, value_name = "ADDR")]
    backend: SocketAddr,
    /// How readiness is learned
    #[arg(long, value_enum, default_value_t = Engine::Epoll)]
    engine: Engine,
    /// Move bytes through a pipe for each direction instead of copying them (epoll only)
    #[arg(long)]
    splice: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// epoll(7), edge triggered; recv(2) and send(2)
    Epoll,
    /// io_uring: a receive into a provided buffer, a send from it
    Ring,
}

/// A relay that listens and does not relay yet.
#[derive(Debug)]
pub(crate) struct Floor {
    listener: Socket,
    backend: SocketAddr,
    kind: Kind,
}

/// The three forms of the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// epoll(7), recv(2), send(2).
    Epoll,
    /// epoll(7), splice(2) into a pipe and out of it.
    Splice,
    /// The ring of the `uring` crate.
    Ring,
}

/// Relays until the process is ended by a signal.
///
/// # Errors
/// When it cannot listen, or cannot go on.
pub(crate) fn run(arguments: &Arguments) -> io::Result<Infallible> {
    let kind = match (arguments.engine, arguments.splice) {
        (Engine::Epoll, false) => Kind::Epoll,
        (Engine::Epoll, true) => Kind::Splice,
        (Engine::Ring, false) => Kind::Ring,
        (Engine::Ring, true) => {
            let reason = "--splice goes with --engine epoll: IORING_OP_SPLICE is always run by a \
                          kernel thread, which is no floor";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
    };
    uring::raise_nofile_limit()?;
    let floor = Floor::listen(arguments.listen, arguments.backend, kind)?;
    println!("listening on {}", floor.address()?);
    floor.run()
}

impl Floor {
    /// Listens on `address`.
    ///
    /// # Errors
    /// As [`uring::listen`].
    pub(crate) fn listen(address: SocketAddr, backend: SocketAddr, kind: Kind) -> io::Result<Self> {
        let how =
            Listen { address, backlog: BACKLOG, shared: false, options: ListenOptions::default() };
        let listener = uring::listen(&how).map_err(io::Error::other)?.into();
        Ok(Self { listener, backend, kind })
    }

    /// Where clients connect.
    ///
    /// # Errors
    /// As getsockname(2).
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        uring::local_address(&self.listener)
    }

    /// Relays on the calling thread.
    ///
    /// # Errors
    /// Whatever makes it impossible to go on.
    pub(crate) fn run(self) -> io::Result<Infallible> {
        let Self { listener, backend, kind } = self;
        match kind {
            Kind::Epoll => epoll::Relay::<Copy>::new(listener, backend)?.run(),
            Kind::Splice => epoll::Relay::<Splice>::new(listener, backend)?.run(),
            Kind::Ring => ring::Relay::new(listener, backend)?.run(),
        }
    }
}

/// Accepted sockets inherit TCP_NODELAY from the listener, this one does not.
fn backend_socket(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// As the contenders that it stands beside.
const BACKLOG: u16 = 4096;

/// Bytes that one receive asks for, as evenkeel does (bench/results/buffers-*).
const BUFFER_BYTES: usize = 32 * 1024;
