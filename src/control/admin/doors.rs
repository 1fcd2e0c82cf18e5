//! The listening sockets of the admin API: made before the balancer starts, so that what is wrong
//! with them is said while nothing runs yet.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use uring::{SocketFile, UnixListen, UnixListenError};

use crate::config::admin::{AdminConfig, AdminEndpoint};

/// An endpoint that listens.
#[derive(Debug)]
pub struct Door {
    /// Where it is, with the real port.
    pub endpoint: AdminEndpoint,
    /// Listens, and does not block.
    pub socket: OwnedFd,
}

/// All endpoints.
#[derive(Debug, Default)]
pub struct Doors {
    /// In the order of the configuration.
    pub doors: Vec<Door>,
    /// Removed when this is dropped; to be kept until the program ends.
    pub files: Vec<SocketFile>,
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

impl Doors {
    /// Listens on all of them.
    ///
    /// # Errors
    /// A [`DoorError`]; nothing listens then.
    pub fn open(config: &AdminConfig) -> Result<Self, DoorError> {
        let mut doors = Self::default();
        for endpoint in &config.endpoints {
            let door = match endpoint {
                AdminEndpoint::Unix { path, mode } => {
                    let how =
                        UnixListen { path: path.clone(), backlog: BACKLOG, mode: Some(*mode) };
                    let (socket, file) = uring::listen_unix(&how)?;
                    doors.files.push(file);
                    Door { endpoint: endpoint.clone(), socket }
                }
                AdminEndpoint::Tcp { address, host, public_read } => {
                    let (socket, address) =
                        listen(*address).map_err(|error| explain(*address, error))?;
                    let (host, public_read) = (host.clone(), *public_read);
                    Door { endpoint: AdminEndpoint::Tcp { address, host, public_read }, socket }
                }
            };
            doors.doors.push(door);
        }
        Ok(doors)
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
