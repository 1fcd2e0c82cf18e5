//! One session: a client, a connection to the backend, and a task for each direction.
//!
//! tokio-uring does not cancel: a read or a write ends when its socket makes it end, and the task
//! that waits for it keeps both sockets until then. So whoever meets an error aborts both
//! connections, which wakes the other direction; the last of the two tasks closes the sockets.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use rustix::net::connect_unspec;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;
use uring::Errno;

use super::{BUFFER_BYTES, Shared};

/// The two connections.
struct Session {
    client: TcpStream,
    backend: TcpStream,
    shared: Rc<Shared>,
}

/// From where to where.
#[derive(Clone, Copy, Debug)]
enum Way {
    ToBackend,
    ToClient,
}

/// Connects `client` to the backend, and relays until both directions have ended.
pub(super) async fn run(client: TcpStream, shared: Rc<Shared>) {
    let backend = match connect(&shared).await {
        Ok(backend) => backend,
        Err(error) => {
            shared.aborter.abort(&client);
            if let Errno::EMFILE | Errno::ENFILE = uring::errno(&error) {
                shared.end("no socket for a connection to the backend", &error);
            }
            return;
        }
    };
    let session = Rc::new(Session { client, backend, shared });
    tokio_uring::spawn(Rc::clone(&session).relay(Way::ToClient));
    session.relay(Way::ToBackend).await;
}

/// Accepted sockets inherit TCP_NODELAY from the listener, this one does not.
async fn connect(shared: &Shared) -> io::Result<TcpStream> {
    let backend = TcpStream::connect(shared.backend).await?;
    backend.set_nodelay(true)?;
    Ok(backend)
}

impl Session {
    /// One direction, to its end.
    async fn relay(self: Rc<Self>, way: Way) {
        let (from, to) = match way {
            Way::ToBackend => (&self.client, &self.backend),
            Way::ToClient => (&self.backend, &self.client),
        };
        match copy(from, to).await {
            // ENOTCONN: reset meanwhile, which the other direction will be told.
            Ok(()) => drop(to.shutdown(Shutdown::Write)),
            Err(_) => [from, to].into_iter().for_each(|socket| self.shared.aborter.abort(socket)),
        }
    }
}

/// All bytes until the end of the stream, through one buffer.
async fn copy(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let received;
        (received, buffer) = from.read(buffer).await;
        let received = received?;
        if received == 0 {
            return Ok(());
        }
        let (sent, slice) = to.write_all(buffer.slice(..received)).await;
        sent?;
        buffer = slice.into_inner();
    }
}

/// Ends connections at once.
pub(super) struct Aborter {
    /// This process.
    own: OwnedFd,
}

impl Aborter {
    /// One for this process.
    ///
    /// # Errors
    /// When descriptors are short.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { own: pidfd_open(getpid(), PidfdFlags::empty())? })
    }

    /// Resets the connection of `socket`, so that the peer does not take it for a clean end, and
    /// wakes whatever waits for it, a full send buffer included. A shutdown would do only one: that
    /// of both sides sends a FIN, that of the read side wakes no write.
    ///
    /// tokio-uring shows a socket by its number only, which `connect_unspec` and SO_LINGER do not
    /// take without `unsafe`; so the process gets a second descriptor of it from itself. Sessions
    /// that end in order never come here.
    pub(super) fn abort(&self, socket: &TcpStream) {
        let number = socket.as_raw_fd();
        let reset = pidfd_getfd(&self.own, number, PidfdGetfdFlags::empty()).and_then(|socket| {
            // Dissolves the association: `tcp_disconnect` sends the reset and wakes all waiters.
            connect_unspec(socket)
        });
        if reset.is_err() {
            // The call is not allowed here (seccomp), or no descriptor is left: at least it ends.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
