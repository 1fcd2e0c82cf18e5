//! Listeners in the file system: unix stream sockets. One listener serves all shards, each with a
//! descriptor of its own, because `SO_REUSEPORT` does not spread connections there.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{AccessFlags, access};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::setup::errno;

/// How a listener in the file system is made.
#[derive(Clone, Debug)]
pub struct UnixListen {
    /// Its file, which is made.
    pub path: PathBuf,
    /// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
    pub backlog: u16,
    /// The permissions of the file, of which writing lets connect (unix(7)); those of a new file if
    /// nothing is said.
    pub mode: Option<u32>,
}

/// Why there is no listener in the file system, with the cure.
#[derive(Debug, thiserror::Error)]
pub enum UnixListenError {
    /// Someone listens there.
    #[error(
        "cannot listen on unix:{path}: someone listens there; see who with `ss -lxp src {path}`, or \
         choose another path",
        path = .0.display()
    )]
    InUse(PathBuf),
    /// The file is there and is no socket.
    #[error(
        "cannot listen on unix:{path}: there is a file that is no socket; remove it, or choose \
         another path",
        path = .0.display()
    )]
    NotASocket(PathBuf),
    /// There is no such directory.
    #[error("cannot listen on unix:{path}: its directory does not exist; create it", path = .0.display())]
    NoDirectory(PathBuf),
    /// The path does not fit into an address.
    #[error(
        "cannot listen on unix:{path}: the path is longer than 107 bytes, all that fit into an \
         address; choose a shorter one",
        path = .0.display()
    )]
    TooLong(PathBuf),
    /// Anything else.
    #[error("cannot listen on unix:{path}: {1}", path = .0.display())]
    Other(PathBuf, io::Error),
}

/// The file of a listener, which is removed with this value, unless it is another's by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Held open, so that no other file gets its number (O_PATH, open(2)); nothing where it is another's.
    held: Option<File>,
}

impl SocketFile {
    /// The file at `path`, which somebody else has made for us.
    ///
    /// # Errors
    /// As open(2).
    pub fn adopt(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let held = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
        Ok(Self { path: path.to_owned(), held: Some(held) })
    }

    /// The file at `path` of a listener that another process still has, which may go on with it: it is
    /// not removed until it is owned.
    #[must_use]
    pub fn lent(path: &Path) -> Self {
        Self { path: path.to_owned(), held: None }
    }

    /// Nobody else goes on with it.
    ///
    /// # Errors
    /// As open(2); if it is gone, nobody finds the listener and there is nothing to remove.
    pub fn own(&mut self) -> io::Result<()> {
        self.held = Self::adopt(&self.path)?.held.take();
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the file to somebody else, who listens there from now on.
    pub fn leave(mut self) {
        self.held = None;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Some(held) = &self.held else { return };
        let (Ok(held), Ok(found)) = (held.metadata(), self.path.symlink_metadata()) else { return };
        if (held.dev(), held.ino()) == (found.dev(), found.ino()) {
            // It may be gone or forbidden by now, and nobody is there to do more about it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A listening socket, non-blocking, and its file. A file that is left over from somebody who
/// listens no more is replaced.
///
/// # Errors
/// A [`UnixListenError`] that names the cause and the cure.
pub fn listen_unix(how: &UnixListen) -> Result<(OwnedFd, SocketFile), UnixListenError> {
    let path = &how.path;
    let address = SockAddr::unix(path).map_err(|_| UnixListenError::TooLong(path.clone()))?;
    let socket = stream().map_err(|error| UnixListenError::Other(path.clone(), error))?;
    remove_stale(path, &address)?;
    let file = bind(&socket, how, &address).map_err(|error| match errno(&error) {
        Errno::EADDRINUSE => UnixListenError::InUse(path.clone()),
        Errno::ENOENT => UnixListenError::NoDirectory(path.clone()),
        _ => UnixListenError::Other(path.clone(), error),
    })?;
    Ok((socket.into(), file))
}

/// Whether a listener could be made at `path`, whoever listens there now; nothing is made.
///
/// # Errors
/// As [`listen_unix`], but never that someone listens there.
pub fn check_unix(path: &Path) -> Result<(), UnixListenError> {
    SockAddr::unix(path).map_err(|_| UnixListenError::TooLong(path.to_owned()))?;
    match path.symlink_metadata() {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(UnixListenError::NotASocket(path.to_owned()));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(UnixListenError::Other(path.to_owned(), error));
        }
        _ => {}
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let may_make = AccessFlags::W_OK | AccessFlags::X_OK;
    access(folder.unwrap_or(Path::new(".")), may_make).map_err(|error| match error {
        Errno::ENOENT => UnixListenError::NoDirectory(path.to_owned()),
        _ => UnixListenError::Other(path.to_owned(), error.into()),
    })
}

fn stream() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)
}

fn bind(socket: &Socket, how: &UnixListen, address: &SockAddr) -> io::Result<SocketFile> {
    if let Some(mode) = how.mode {
        // The file gets the permissions of the socket, less the umask (`unix_bind_bsd`,
        // net/unix/af_unix.c): so it has never more than it shall have in the end.
        fchmod(socket, Mode::from_bits_truncate(mode))?;
    }
    socket.bind(address)?;
    let file = SocketFile::adopt(&how.path)?;
    if let Some(mode) = how.mode {
        std::fs::set_permissions(&how.path, std::fs::Permissions::from_mode(mode & 0o7777))?;
    }
    socket.listen(how.backlog.into())?;
    Ok(file)
}

/// Makes way at `path`: what is there may be the file of a listener that is no more.
fn remove_stale(path: &Path, address: &SockAddr) -> Result<(), UnixListenError> {
    let other = |error| UnixListenError::Other(path.to_owned(), error);
    let found = match path.symlink_metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(other(error)),
    };
    if !found.file_type().is_socket() {
        return Err(UnixListenError::NotASocket(path.to_owned()));
    }
    let tried = stream().map_err(other)?.connect(address).map_err(|error| errno(&error));
    match tried {
        Err(Errno::ECONNREFUSED) => match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(other(error)),
            _ => Ok(()),
        },
        Err(Errno::ENOENT) => Ok(()),
        Err(Errno::EACCES) => Err(other(Errno::EACCES.into())),
        // Connected; or it would be if the backlog were not full (EAGAIN), or if it were a socket
        // for streams (EPROTOTYPE).
        _ => Err(UnixListenError::InUse(path.to_owned())),
    }
}
