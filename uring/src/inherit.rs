//! Descriptors across exec: those that came with the program, opened by whoever started it, and those
//! that a program which it starts gets.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use socket2::{Domain, SockRef, Type};

use crate::setup::errno;

/// Why a descriptor that was said to be passed cannot be used, with the cure.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// There is none.
    #[error(
        "descriptor {0} is not open: whoever starts this program has to pass it, as \
         `systemd-socket-activate -l 8080` passes descriptor 3"
    )]
    NotOpen(u32),
    /// It is used for something else, or used already.
    #[error(
        "descriptor {0} was not passed to this program, which has opened it itself or uses it already: \
         each one that was passed is one listener's"
    )]
    Ours(u32),
    /// A file, a pipe, a terminal.
    #[error("descriptor {0} is not a socket: pass one that listens")]
    NotASocket(u32),
    /// UDP, for example.
    #[error(
        "descriptor {0} is a socket of another kind: pass one for streams (TCP or unix), which systemd \
         calls ListenStream="
    )]
    WrongKind(u32),
    /// It was only bound, or it is a connection.
    #[error(
        "descriptor {0} is a socket that does not listen: call listen(2) before passing it; a socket \
         unit of systemd needs Accept=no"
    )]
    NotListening(u32),
    /// Anything else.
    #[error("descriptor {0} cannot be used: {1}")]
    Other(u32, io::Error),
}

/// The listening stream socket that came with the program under this number; it is close-on-exec from
/// now on. What is something else is left as it is.
///
/// # Errors
/// An [`InheritError`] that names the cause and the cure.
pub fn inherited_listener(number: u32) -> Result<OwnedFd, InheritError> {
    let fd = inherited(number)?;
    match check_listener(number, &fd) {
        Ok(()) => Ok(fd),
        Err(error) => {
            // It may be somebody's who knows its number: that it is open is no harm.
            let _ = fd.into_raw_fd();
            Err(error)
        }
    }
}

/// Any descriptor that came with the program under this number; it is close-on-exec from now on.
///
/// # Errors
/// It is not open, a standard stream, or was not passed.
pub fn inherited(number: u32) -> Result<OwnedFd, InheritError> {
    let fd = RawFd::try_from(number).map_err(|_| InheritError::NotOpen(number))?;
    if fd < FIRST {
        return Err(InheritError::Ours(number));
    }
    let _alone = PASSING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: F_GETFD takes any number, also one that is not open, and touches no memory (fcntl(2)).
    let flags = Errno::result(unsafe { libc::fcntl(fd, libc::F_GETFD) })
        .map_err(|_| InheritError::NotOpen(number))?;
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(InheritError::Ours(number));
    }
    // SAFETY: as above; the flag is all that F_SETFD changes.
    let set = unsafe { libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC) };
    Errno::result(set).map_err(|errno| InheritError::Other(number, errno.into()))?;
    // SAFETY: `fd` is open, and nobody in this process owns it. Everything that the standard library,
    // this crate and the libraries around it open is close-on-exec from its beginning, and
    // `passing_on` keeps this function out while that is different; so what had not the flag came
    // through exec. The flag that it has now keeps it from being given twice.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check_listener(number: u32, fd: &OwnedFd) -> Result<(), InheritError> {
    let socket = SockRef::from(fd);
    let other = |error: io::Error| match errno(&error) {
        Errno::ENOTSOCK => InheritError::NotASocket(number),
        _ => InheritError::Other(number, error),
    };
    let known = [Domain::IPV4, Domain::IPV6, Domain::UNIX];
    if socket.r#type().map_err(other)? != Type::STREAM
        || !known.contains(&socket.domain().map_err(other)?)
    {
        return Err(InheritError::WrongKind(number));
    }
    match socket.is_listener().map_err(other)? {
        true => Ok(()),
        false => Err(InheritError::NotListening(number)),
    }
}

/// Gives `start` the numbers under which a program that it starts finds copies of these descriptors,
/// in their order. The copies are closed when it comes back.
///
/// # Errors
/// `EMFILE` when no descriptor is left; `start` has not been called then.
pub fn passing_on<T>(
    descriptors: &[BorrowedFd<'_>],
    start: impl FnOnce(&[u32]) -> T,
) -> io::Result<T> {
    let _alone = PASSING.lock().unwrap_or_else(PoisonError::into_inner);
    let copies: io::Result<Vec<OwnedFd>> =
        descriptors.iter().map(BorrowedFd::try_clone_to_owned).collect();
    let copies = copies?;
    let mut numbers = Vec::with_capacity(copies.len());
    for copy in &copies {
        fcntl(copy.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        numbers.push(u32::try_from(copy.as_raw_fd()).expect("an open descriptor is not negative"));
    }
    Ok(start(&numbers))
}

/// Held while a descriptor that is ours is not close-on-exec.
static PASSING: Mutex<()> = Mutex::new(());

/// After the standard streams.
const FIRST: RawFd = 3;
