//! One round trip through a fresh ring before any traffic: what the engine stands on is tried on
//! this kernel, so that a surprise is found at start and not under load.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::setup::is_refusal;
use crate::{
    Completion, Config, Op, Outcome, Owner, Readiness, Ring, SetupError, SetupFlags, Token, errno,
};

/// Sets up a small ring on the calling thread, sends bytes through a socket pair with it, cancels
/// a receive and tears it down.
///
/// # Errors
/// The [`SetupError`] that a real ring would meet, or the step that gave a wrong answer.
pub fn self_test() -> Result<SetupFlags, SetupError> {
    let config = Config {
        entries: 8,
        buffers: 4,
        published: 4,
        buffer_bytes: 4096,
        reserved: 1,
        busy_poll: None,
    };
    let mut ring = Ring::new(&config)?;
    let (here, there) = pair().map_err(SetupError::Resources)?;
    send_and_receive(&mut ring, &here, &there)
        .map_err(|error| failed("send and receive", error))?;
    cancel(&mut ring, &here).map_err(|error| failed("cancel", error))?;
    Ok(ring.flags())
}

fn send_and_receive(ring: &mut Ring, here: &OwnedFd, there: &OwnedFd) -> io::Result<()> {
    let greeting = ring.take_reserved().ok_or(io::ErrorKind::OutOfMemory)?;
    ring.bytes_mut(greeting)[..TEXT.len()].copy_from_slice(TEXT);
    ring.recv(here, Readiness::Empty, Owner::slot(1));
    ring.send(there, greeting, 0..TEXT_LEN, Owner::slot(2));
    let mut received = false;
    for completion in answers(ring, 2)? {
        match completion.outcome {
            Outcome::Received { buffer, len, .. } => {
                received = ring.bytes(buffer, 0..len) == TEXT;
                ring.release(buffer);
            }
            Outcome::Done(TEXT_LEN) => {}
            other => return Err(io::Error::other(format!("{other:?}"))),
        }
    }
    if received { Ok(()) } else { Err(io::Error::other("other bytes arrived than were sent")) }
}

fn cancel(ring: &mut Ring, here: &OwnedFd) -> io::Result<()> {
    let owner = Owner::slot(3);
    ring.recv(here, Readiness::Unknown, owner);
    ring.cancel(Token { op: Op::Recv, owner });
    match answers(ring, 1)?.pop().map(|completion| completion.outcome) {
        Some(Outcome::Failed(nix::errno::Errno::ECANCELED)) => Ok(()),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}

fn answers(ring: &mut Ring, want: usize) -> io::Result<Vec<Completion>> {
    let mut completions = Vec::with_capacity(8);
    for _ in 0..8 {
        ring.submit_and_wait(1, Some(Duration::from_secs(1)))?;
        ring.completions(&mut completions);
        if completions.len() >= want {
            return Ok(completions);
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    Ok(socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?)
}

fn failed(step: &'static str, source: io::Error) -> SetupError {
    match errno(&source) {
        refused if is_refusal(refused) => SetupError::Blocked(refused),
        _ => SetupError::SelfTest { step, source, kernel: crate::kernel_release() },
    }
}

const TEXT: &[u8] = b"evenkeel";
const TEXT_LEN: u32 = 8;
