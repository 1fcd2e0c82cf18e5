//! io_uring_enter(2), with the ring's descriptor registered where the kernel allows it.
//!
//! By system call of our own, because the flags and the registration outlive a borrow of the ring.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::IoUring;
use io_uring::types::Timespec;

/// How a ring is entered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Enter {
    ring: RawFd,
    /// Index for `IORING_ENTER_REGISTERED_RING`.
    registered: Option<u32>,
    no_iowait: bool,
}

impl Enter {
    /// Registers the ring's own descriptor for this thread; without that every enter takes and
    /// drops a reference. It goes without where the kernel is too old (5.18) or has no room.
    pub(crate) fn new(ring: &IoUring, no_iowait: bool) -> Self {
        let ring = ring.as_raw_fd();
        Self { ring, registered: register(ring), no_iowait }
    }

    /// Whether the kernel took the registration.
    pub(crate) fn is_registered(&self) -> bool {
        self.registered.is_some()
    }

    /// Submits the first `to_submit` queued entries, then waits until `want` completions are there
    /// or `timeout` is over.
    ///
    /// # Errors
    /// As io_uring_enter(2).
    pub(crate) fn call(
        &self,
        to_submit: u32,
        want: u32,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let timespec = timeout.map(Timespec::from);
        let argument = GetEvents {
            sigmask: 0,
            sigmask_bytes: 0,
            min_wait_us: 0,
            timespec: timespec.as_ref().map_or(0, |timespec| std::ptr::from_ref(timespec) as u64),
        };
        let mut flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
        if self.no_iowait {
            flags |= IORING_ENTER_NO_IOWAIT;
        }
        let fd = match self.registered {
            Some(index) => {
                flags |= IORING_ENTER_REGISTERED_RING;
                i64::from(index)
            }
            None => i64::from(self.ring),
        };
        // SAFETY: `argument` and the timespec behind it live across the call, and their sizes are
        // what IORING_ENTER_EXT_ARG says (io_uring_enter(2)); every entry that can be submitted was
        // checked by `Ring::push`.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                fd,
                to_submit,
                want,
                flags,
                std::ptr::from_ref(&argument),
                size_of::<GetEvents>(),
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Gives the registration back: it holds a reference to the ring, which would live until the
    /// thread ends, and a thread has room for only 16 (`IO_RINGFD_REG_MAX`, io_uring/tctx.c).
    pub(crate) fn unregister(&mut self) {
        let Some(index) = self.registered.take() else { return };
        let mut update = ResourceUpdate { offset: index, reserved: 0, data: 0 };
        // SAFETY: `update` is one io_uring_rsrc_update as IORING_UNREGISTER_RING_FDS wants it, with
        // a zero `data`, and lives across the call.
        let unregistered = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                self.ring,
                IORING_UNREGISTER_RING_FDS,
                std::ptr::from_mut(&mut update),
                1,
            )
        };
        debug_assert_eq!(unregistered, 1, "the registration was ours");
    }
}

fn register(ring: RawFd) -> Option<u32> {
    let mut update = ResourceUpdate {
        offset: u32::MAX,
        reserved: 0,
        data: u64::try_from(ring).expect("a descriptor is not negative"),
    };
    // SAFETY: `update` is one io_uring_rsrc_update as IORING_REGISTER_RING_FDS wants it, and lives
    // across the call; an offset of u32::MAX asks the kernel to pick one and write it back.
    let registered = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            ring,
            IORING_REGISTER_RING_FDS,
            std::ptr::from_mut(&mut update),
            1,
        )
    };
    (registered == 1).then_some(update.offset)
}

/// `struct io_uring_getevents_arg` (include/uapi/linux/io_uring.h).
#[repr(C)]
struct GetEvents {
    sigmask: u64,
    sigmask_bytes: u32,
    min_wait_us: u32,
    timespec: u64,
}
const _: () = assert!(size_of::<GetEvents>() == 24);

/// `struct io_uring_rsrc_update` (include/uapi/linux/io_uring.h).
#[repr(C)]
struct ResourceUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}
const _: () = assert!(size_of::<ResourceUpdate>() == 16);

// include/uapi/linux/io_uring.h
const IORING_ENTER_GETEVENTS: u32 = 1 << 0;
const IORING_ENTER_EXT_ARG: u32 = 1 << 3;
const IORING_ENTER_REGISTERED_RING: u32 = 1 << 4;
const IORING_ENTER_NO_IOWAIT: u32 = 1 << 7;
const IORING_REGISTER_RING_FDS: u32 = 20;
const IORING_UNREGISTER_RING_FDS: u32 = 21;
