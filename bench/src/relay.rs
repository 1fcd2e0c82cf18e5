//! A relay on tokio-uring, as somebody would write it who takes that crate as it is: the other way
//! to io_uring, a contender beside the balancers.
//!
//! As [the floor](crate::floor) it is a measuring device and not a product: one thread, one
//! backend, no timers, no balancing, no counters, no health, and it ends with an error where no
//! descriptor is left. Each session has two tasks, one a direction, and each direction has one
//! buffer that it lends to the ring and gets back.
//!
//! What tokio-uring 0.5 does not offer, it does without: multishot and provided buffers, so that each
//! resting direction keeps a buffer; `IORING_SETUP_DEFER_TASKRUN`, because its runtime waits in
//! epoll_wait(2) and never enters the ring to fetch completions, which that flag asks for. It has
//! registered buffers, but no more than 1024 (UIO_MAXIOV) in its pool, which is 512 sessions.
//!
//! What costs it most is the kernel's TCP, as with the floor: of the samples of perf(1) at 64 and at 1000
//! connections (1.5 s each) 95 and 96 in a hundred were in the kernel, and most of these in its sends, with the
//! delivery that they do on loopback. What is its own: each turn is an io_uring_enter(2) and an
//! epoll_wait(2), which took 3 in a hundred at 64 connections and nothing to speak of at 1000; and the
//! kernel looks up each operation's descriptor (`io_file_get_flags`, `fget`), 6 in a hundred at 1000.

mod session;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;

use clap::Args;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_uring::Runtime;
use tokio_uring::net::TcpListener;
use uring::{Errno, Listen, ListenOptions};

use session::Aborter;

/// What `bench relay` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Where clients connect; port 0 lets the kernel choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where every connection is relayed to
    #[arg(long, value_name = "ADDR")]
    backend: SocketAddr,
}

/// A relay that listens and does not relay yet.
#[derive(Debug)]
pub(crate) struct Relay {
    listener: StdListener,
    backend: SocketAddr,
}

/// What all tasks know.
struct Shared {
    backend: SocketAddr,
    aborter: Aborter,
    /// Where a task says why the relay cannot go on.
    fatal: UnboundedSender<io::Error>,
}

/// Relays until the process is ended by a signal.
///
/// # Errors
/// When it cannot listen, or cannot go on.
pub(crate) fn run(arguments: &Arguments) -> io::Result<Infallible> {
    uring::raise_nofile_limit()?;
    let relay = Relay::listen(arguments.listen, arguments.backend)?;
    println!("listening on {}", relay.address()?);
    relay.run()
}

impl Relay {
    /// Listens on `address`.
    ///
    /// # Errors
    /// As [`uring::listen`].
    pub(crate) fn listen(address: SocketAddr, backend: SocketAddr) -> io::Result<Self> {
        let how =
            Listen { address, backlog: BACKLOG, shared: false, options: ListenOptions::default() };
        let listener = uring::listen(&how).map_err(io::Error::other)?.into();
        Ok(Self { listener, backend })
    }

    /// Where clients connect.
    ///
    /// # Errors
    /// As getsockname(2).
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Relays on the calling thread.
    ///
    /// # Errors
    /// Whatever makes it impossible to go on.
    pub(crate) fn run(self) -> io::Result<Infallible> {
        let Self { listener, backend } = self;
        let runtime = runtime()?;
        runtime.block_on(async {
            let (fatal, mut ended) = unbounded_channel();
            let shared = Rc::new(Shared { backend, aborter: Aborter::new()?, fatal });
            let listener = Rc::new(TcpListener::from_std(listener));
            for _ in 0..ACCEPTS {
                tokio_uring::spawn(accept(Rc::clone(&listener), Rc::clone(&shared)));
            }
            Err(ended.recv().await.expect("`shared` has a sender"))
        })
    }
}

/// The runtime of tokio-uring; its ring belongs to the calling thread.
fn runtime() -> io::Result<Runtime> {
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(COMPLETIONS).setup_coop_taskrun().setup_single_issuer();
    Runtime::new(tokio_uring::builder().entries(ENTRIES).uring_builder(&ring)).map_err(|error| {
        match uring::self_test() {
            Err(explained) => io::Error::other(explained),
            Ok(_) => error,
        }
    })
}

/// Takes one connection after another, until there is no descriptor.
async fn accept(listener: Rc<TcpListener>, shared: Rc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                tokio_uring::spawn(session::run(client, Rc::clone(&shared)));
            }
            Err(error) => match uring::errno(&error) {
                Errno::ECONNABORTED | Errno::EINTR => {}
                _ => return shared.end("cannot accept", &error),
            },
        }
    }
}

impl Shared {
    /// Ends the relay.
    fn end(&self, what: &str, error: &dyn Display) {
        let reason = format!(
            "{what}: {error}. A relay takes two descriptors a connection and has no patience: \
             raise the limit of open files (ulimit -n), or use fewer connections"
        );
        // Nobody listens any more when another task was first.
        let _ = self.fatal.send(io::Error::other(reason));
    }
}

/// As the contenders that it stands beside.
const BACKLOG: u16 = 4096;

/// Accepts in flight, as many as the floor has: with one, each turn takes one connection.
const ACCEPTS: u32 = 64;

/// Submissions in a batch. The runtime polls at most 61 tasks before it submits
/// (`MAX_TASKS_PER_TICK` of tokio's `LocalSet`), so this is plenty.
const ENTRIES: u32 = 1024;

/// A direction has one operation in flight, so the completions of 8000 sessions have room at once;
/// of more sessions, the kernel keeps what has none (`IORING_FEAT_NODROP`).
const COMPLETIONS: u32 = 16 * 1024;

/// Bytes that one receive asks for, as the floor does.
const BUFFER_BYTES: usize = 32 * 1024;
