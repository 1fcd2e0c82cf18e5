//! epoll(7), whose wait takes a timeout in nanoseconds where the kernel can (5.11).

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use io_uring::types::Timespec;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// An epoll instance. Files leave it by themselves when they are closed.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    /// Whether epoll_pwait2(2) is there, as far as is known.
    nanoseconds: bool,
}

impl Poller {
    /// One that watches nothing.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, nanoseconds: true })
    }

    /// Watches `file` for `events`; `data` comes with each of them. What is so already is told with
    /// the next wait.
    ///
    /// # Errors
    /// `ENOSPC` beyond `fs.epoll.max_user_watches`, `ENOMEM`.
    pub fn add(&self, file: &impl AsFd, events: EpollFlags, data: u64) -> Result<(), Errno> {
        self.epoll.add(file, EpollEvent::new(events, data))
    }

    /// Watches a file that is watched already for other `events`; what is so already is told with
    /// the next wait.
    ///
    /// # Errors
    /// As epoll_ctl(2); none for a file that was added.
    pub fn modify(&self, file: &impl AsFd, events: EpollFlags, data: u64) -> Result<(), Errno> {
        self.epoll.modify(file, &mut EpollEvent::new(events, data))
    }

    /// Watches a file no more that is not going to be closed.
    ///
    /// # Errors
    /// As epoll_ctl(2); none for a file that was added.
    pub fn delete(&self, file: &impl AsFd) -> Result<(), Errno> {
        self.epoll.delete(file)
    }

    /// Waits until something happens or `timeout` is over; how many of `events` tell what.
    ///
    /// # Errors
    /// `EINTR` when a signal came first.
    pub fn wait(
        &mut self,
        events: &mut [EpollEvent],
        timeout: Option<Duration>,
    ) -> Result<usize, Errno> {
        if self.nanoseconds {
            match self.wait_nanoseconds(events, timeout) {
                // A seccomp profile that is older than the call answers EPERM.
                Err(Errno::ENOSYS | Errno::EPERM) => self.nanoseconds = false,
                waited => return waited,
            }
        }
        self.epoll.wait(events, timeout.map_or(EpollTimeout::NONE, whole_milliseconds))
    }

    fn wait_nanoseconds(
        &self,
        events: &mut [EpollEvent],
        timeout: Option<Duration>,
    ) -> Result<usize, Errno> {
        let timespec = timeout.map(Timespec::from);
        let capacity = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: `events` is exclusively borrowed and the kernel writes at most `capacity` of its
        // entries, whose layout is that of epoll_event (nix declares it transparent); the timespec,
        // if there is one, is laid out as the kernel's and lives across the call; a null signal mask
        // changes nothing (epoll_pwait2(2)).
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.0.as_raw_fd(),
                events.as_mut_ptr(),
                capacity,
                timespec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref),
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        usize::try_from(count).map_err(|_| Errno::last())
    }
}

/// Rounded up: a wait that ends too early would be repeated until the time has come.
fn whole_milliseconds(timeout: Duration) -> EpollTimeout {
    EpollTimeout::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(EpollTimeout::MAX)
}
