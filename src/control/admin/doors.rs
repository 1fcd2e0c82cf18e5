//! The listening sockets of the admin API: made before the balancer starts, so that what is wrong
//! with them is said while nothing runs yet.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::JoinHandle;
use uring::{SocketFile, UnixListen, UnixListenError};

use crate::config::admin::{AdminConfig, AdminEndpoint};
use crate::service::passed::Passed;

/// An endpoint that listens.
#[derive(Debug)]
pub struct Door {
    /// Where it is, with the real port.
    pub endpoint: AdminEndpoint,
    /// As it is written.
    asked: String,
    /// Listens, and does not block.
    pub socket: OwnedFd,
}

/// All endpoints.
#[derive(Debug, Default)]
pub struct Doors {
    /// In the order of the configuration.
    pub doors: Vec<Door>,
    /// To be removed when the program ends.
    pub files: Files,
}

/// The files of endpoints, which go at the end unless another process has them then.
#[derive(Clone, Debug, Default)]
pub struct Files(Arc<Mutex<Vec<SocketFile>>>);

/// Removes them when it is dropped, whoever else knows them.
#[derive(Debug)]
pub struct UntilTheEnd(Files);

impl UntilTheEnd {
    /// The process that hands over will not go on with them.
    pub fn own(&self) {
        self.0.own();
    }
}

impl Drop for UntilTheEnd {
    fn drop(&mut self) {
        self.0.lock().clear();
    }
}

impl Files {
    /// To be kept until the program ends.
    #[must_use]
    pub fn until_the_end(&self) -> UntilTheEnd {
        UntilTheEnd(self.clone())
    }

    fn add(&self, file: SocketFile) {
        self.lock().push(file);
    }

    /// The process that hands over will not go on with them.
    pub fn own(&self) {
        // Without its file there is nothing to remove.
        self.lock().iter_mut().for_each(|file| drop(file.own()));
    }

    fn leave(&self) {
        self.lock().drain(..).for_each(SocketFile::leave);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SocketFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Endpoints that are served.
#[derive(Debug, Default)]
pub struct OpenDoors {
    pub(super) tasks: Vec<JoinHandle<()>>,
    /// As it is written, and one more hold of its socket.
    pub(super) sockets: Vec<(String, OwnedFd)>,
    pub(super) files: Files,
}

impl OpenDoors {
    /// What another process needs to go on with them.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn to_pass(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let copy = |(asked, socket): &(String, OwnedFd)| Ok((asked.clone(), socket.try_clone()?));
        self.sockets.iter().map(copy).collect()
    }

    /// Another process has them: nobody more is accepted here. Who is connected gets his answers.
    pub fn leave(&mut self) {
        self.files.leave();
        self.tasks.drain(..).for_each(|task| task.abort());
        self.sockets.clear();
    }
}

/// Why an endpoint does not listen, with the cure.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// In the file system.
    #[error("the admin API {0}")]
    Unix(#[from] UnixListenError),
    /// Someone listens there.
    #[error(
        "the admin API cannot listen on {0}: the address is in use; see who has it with \
         `ss -ltnp 'sport = :{port}'`, or choose another port for --admin",
        port = .0.port()
    )]
    InUse(SocketAddr),
    /// A low port and no privilege.
    #[error(
        "the admin API cannot listen on {0}: no permission for so low a port; choose a higher one for --admin"
    )]
    NoPermission(SocketAddr),
    /// Not an address of this machine.
    #[error(
        "the admin API cannot listen on {0}: this machine has no such address; see `ip address`, or \
         choose another one for --admin"
    )]
    NoSuchAddress(SocketAddr),
    /// Anything else.
    #[error("the admin API cannot listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
}

impl Door {
    /// As it is written, and one more hold of its socket.
    pub(super) fn to_pass(&self) -> io::Result<(String, OwnedFd)> {
        Ok((self.asked.clone(), self.socket.try_clone()?))
    }
}

impl Doors {
    /// Listens on all of them, with the sockets that the process which hands over has passed for them.
    ///
    /// # Errors
    /// A [`DoorError`]; nothing listens then.
    pub fn open(config: &AdminConfig, passed: &mut Passed) -> Result<Self, DoorError> {
        let mut doors = Self::default();
        for endpoint in &config.endpoints {
            let asked = endpoint.to_string();
            if let Some(socket) = passed.take_door(&asked) {
                doors.add_passed(endpoint, asked, socket);
                continue;
            }
            let door = match endpoint {
                AdminEndpoint::Unix { path, mode } => {
                    let how =
                        UnixListen { path: path.clone(), backlog: BACKLOG, mode: Some(*mode) };
                    let (socket, file) = uring::listen_unix(&how)?;
                    doors.files.add(file);
                    Door { endpoint: endpoint.clone(), asked, socket }
                }
                AdminEndpoint::Tcp { address, host, public_read } => {
                    let (socket, address) =
                        listen(*address).map_err(|error| explain(*address, error))?;
                    let (host, public_read) = (host.clone(), *public_read);
                    let endpoint = AdminEndpoint::Tcp { address, host, public_read };
                    Door { endpoint, asked, socket }
                }
            };
            doors.doors.push(door);
        }
        Ok(doors)
    }

    fn add_passed(&mut self, endpoint: &AdminEndpoint, asked: String, socket: OwnedFd) {
        let mut endpoint = endpoint.clone();
        match &mut endpoint {
            // Should this process not start, the other one goes on with it.
            AdminEndpoint::Unix { path, .. } => {
                self.files.add(SocketFile::lent(path));
            }
            AdminEndpoint::Tcp { address, .. } => {
                *address = uring::local_address(&socket).unwrap_or(*address);
            }
        }
        self.doors.push(Door { endpoint, asked, socket });
    }

    /// Where they are, as the settings show it.
    #[must_use]
    pub fn addresses(&self) -> Vec<AdminEndpoint> {
        self.doors.iter().map(|door| door.endpoint.clone()).collect()
    }
}

fn listen(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    // A restart binds at once although old connections linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.into())?;
    let address = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok((socket.into(), address))
}

fn explain(address: SocketAddr, error: io::Error) -> DoorError {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EADDRINUSE) => DoorError::InUse(address),
        Some(Errno::EACCES) => DoorError::NoPermission(address),
        Some(Errno::EADDRNOTAVAIL) => DoorError::NoSuchAddress(address),
        _ => DoorError::Other(address, error),
    }
}

/// Who comes is accepted at once.
const BACKLOG: u16 = 128;
