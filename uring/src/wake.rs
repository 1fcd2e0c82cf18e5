//! Waking a thread that waits on its ring, through an eventfd that the ring polls.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Wakes the thread that polls the other end. Cheap to clone, usable from every thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<EventFd>);

/// The end that a ring polls: register it with [`crate::Ring::poll_readable`], and after each
/// completion call [`WakeSource::clear`] and register it again.
#[derive(Debug)]
pub struct WakeSource(Arc<EventFd>);

/// Both ends of a wake-up.
///
/// # Errors
/// `EMFILE` or `ENFILE` when no descriptor is left.
pub fn wake_pair() -> io::Result<(Waker, WakeSource)> {
    let event = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
    Ok((Waker(Arc::clone(&event)), WakeSource(event)))
}

impl Waker {
    /// Makes the next, or the current, wait return. Calls before that wait add up to one.
    pub fn wake(&self) {
        // EAGAIN means that the counter is full, so the wake-up is there already.
        let _ = self.0.write(1);
    }
}

impl WakeSource {
    /// Forgets the wake-ups so far.
    pub fn clear(&self) {
        // EAGAIN means that there were none.
        let _ = self.0.read();
    }
}

impl AsFd for WakeSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
